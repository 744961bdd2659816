# Compiler flags for all of weir, and the helpers that make a wrong arrow a configure error.
#
#   weir_library(store LAYER 1 SOURCES a.c b.c USES base EXTERNAL rocksdb)
#   weir_program(weir-gateway SOURCES main.c ... USES gateway_core service)
#   weir_test(base/error_test USES base)          # tests/unit/base/error_test.c, one cmocka program
#
# A library may use libraries of its own layer or below that were declared before it, and nobody else's.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

option(WEIR_TESTS "build the tests" ON)
option(WEIR_PROGRAMS "build the programs; OFF: libraries and their tests alone" ON)
set(WEIR_SANITIZE "" CACHE STRING "sanitizers, such as address,undefined or thread")
set(WEIR_LOADER_ROOT "" CACHE PATH "a Debian 13 root whose loader and libraries the programs use on another host")

add_library(weir_flags INTERFACE)
target_compile_options(weir_flags INTERFACE
  -fvisibility=hidden -fstack-protector-strong -fno-omit-frame-pointer
  $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Werror -Wshadow -Wconversion -Wswitch-enum -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Wno-missing-field-initializers>)
target_compile_definitions(weir_flags INTERFACE _GNU_SOURCE WEIR_VERSION="${PROJECT_VERSION}")
target_include_directories(weir_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/gen)
if(WEIR_SANITIZE)
  target_compile_options(weir_flags INTERFACE -fsanitize=${WEIR_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(weir_flags INTERFACE -fsanitize=${WEIR_SANITIZE})
else()
  target_compile_definitions(weir_flags INTERFACE _FORTIFY_SOURCE=2)
endif()
if(WEIR_LOADER_ROOT)
  target_link_options(weir_flags INTERFACE
    -Wl,--dynamic-linker=${WEIR_LOADER_ROOT}/lib64/ld-linux-x86-64.so.2
    -Wl,-rpath,${WEIR_LOADER_ROOT}/usr/lib/x86_64-linux-gnu,--disable-new-dtags)
endif()

# weir_folders(a b c): add each folder that exists, in order.
function(weir_folders)
  foreach(folder IN LISTS ARGN)
    if(EXISTS ${PROJECT_SOURCE_DIR}/${folder}/CMakeLists.txt)
      add_subdirectory(${PROJECT_SOURCE_DIR}/${folder} ${PROJECT_BINARY_DIR}/${folder})
    endif()
  endforeach()
endfunction()

function(weir_link_uses target layer)
  foreach(used IN LISTS ARGN)
    if(NOT TARGET weir_${used})
      message(FATAL_ERROR "${target} uses '${used}', which is not declared before it: arrows point down only")
    endif()
    get_target_property(used_layer weir_${used} WEIR_LAYER)
    if(used_layer GREATER layer)
      message(FATAL_ERROR "${target} (layer ${layer}) uses '${used}' (layer ${used_layer}): arrows point down only")
    endif()
    target_link_libraries(${target} PUBLIC weir_${used})
  endforeach()
endfunction()

function(weir_library name)
  cmake_parse_arguments(ARG "" "LAYER" "SOURCES;USES;EXTERNAL" ${ARGN})
  add_library(weir_${name} STATIC ${ARG_SOURCES})
  set_target_properties(weir_${name} PROPERTIES WEIR_LAYER ${ARG_LAYER})
  target_link_libraries(weir_${name} PUBLIC weir_flags)
  weir_link_uses(weir_${name} ${ARG_LAYER} ${ARG_USES})
  target_link_libraries(weir_${name} PUBLIC ${ARG_EXTERNAL})
endfunction()

function(weir_program name)
  if(NOT WEIR_PROGRAMS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;USES;EXTERNAL" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE weir_flags)
  foreach(used IN LISTS ARG_USES)
    target_link_libraries(${name} PRIVATE weir_${used})
  endforeach()
  target_link_libraries(${name} PRIVATE ${ARG_EXTERNAL})
endfunction()

# weir_test(module/name USES ...): build tests/unit/module/name.c, run it by ctest with the label `module`.
function(weir_test path)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;USES;EXTERNAL;LABELS" ${ARGN})
  get_filename_component(module ${path} DIRECTORY)
  get_filename_component(name ${path} NAME)
  add_executable(${name} ${PROJECT_SOURCE_DIR}/tests/unit/${path}.c ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  target_link_libraries(${name} PRIVATE weir_flags)
  foreach(used IN LISTS ARG_USES)
    target_link_libraries(${name} PRIVATE weir_${used})
  endforeach()
  target_link_libraries(${name} PRIVATE cmocka ${ARG_EXTERNAL})
  target_compile_options(${name} PRIVATE -Wno-unused-parameter)
  add_test(NAME ${path} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  set_tests_properties(${path} PROPERTIES LABELS "unit;${module};${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()
