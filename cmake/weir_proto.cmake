# protobuf-c code and one FileDescriptorSet from a list of .proto files.
#
#   weir_proto(OUT_SOURCES variable DESCRIPTORS file.binpb ROOTS dir... FILES weir/v1/document.proto ...)
#
# The generated code stands in ${PROJECT_BINARY_DIR}/gen and is included as "weir/v1/document.pb-c.h".

find_program(PROTOC protoc REQUIRED)

function(weir_proto)
  cmake_parse_arguments(ARG "" "OUT_SOURCES;DESCRIPTORS" "ROOTS;FILES" ${ARGN})
  set(gen ${PROJECT_BINARY_DIR}/gen)
  file(MAKE_DIRECTORY ${gen})
  set(paths)
  set(inputs)
  foreach(root IN LISTS ARG_ROOTS)
    list(APPEND paths -I${root})
  endforeach()
  set(sources)
  foreach(file IN LISTS ARG_FILES)
    string(REGEX REPLACE "\\.proto$" ".pb-c.c" source ${gen}/${file})
    string(REGEX REPLACE "\\.c$" ".h" header ${source})
    list(APPEND sources ${source} ${header})
    foreach(root IN LISTS ARG_ROOTS)
      if(EXISTS ${root}/${file})
        list(APPEND inputs ${root}/${file})
      endif()
    endforeach()
  endforeach()
  add_custom_command(
    OUTPUT ${sources} ${gen}/${ARG_DESCRIPTORS}
    COMMAND ${PROTOC} ${paths} -I/usr/include --c_out=${gen} --include_imports
      --descriptor_set_out=${gen}/${ARG_DESCRIPTORS} ${ARG_FILES}
    DEPENDS ${inputs}
    COMMENT "protoc-gen-c: ${ARG_DESCRIPTORS}" VERBATIM)
  set(${ARG_OUT_SOURCES} ${sources} PARENT_SCOPE)
endfunction()
