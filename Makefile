# weir: everything that is typed to build, try and test it.  `make help` lists the targets.
#
# On Debian 13 all of it runs natively.  On another Debian or Ubuntu the compiler and the tests run in a
# Debian 13 root that is made once (tools/root), and the programs in build/bin still run from the host's own
# shell: they are linked to the root's loader and libraries.

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?= $(shell nproc)
# Set by `make test TESTS=store` to a regular expression that picks tests by name.
TESTS ?= .

# The retrieval test's collection, if it is beside the checkout or named.
export WEIR_CRANFIELD ?= $(wildcard $(dir $(CURDIR))shared/data/cranfield)

root := $(shell tools/root/make-root --path)
in_base := $(if $(root),WEIR_ROOT=$(root) WEIR_ENTER_ALSO=$(WEIR_CRANFIELD) tools/root/enter)
model := .model/all-minilm-l6-v2
unit_targets := $(patsubst tests/unit/%/CMakeLists.txt,tests/unit/%/all,$(wildcard tests/unit/*/CMakeLists.txt))
sources = $(shell find common services cli tests tools -name '*.[ch]' -o -name '*.cc')
configure = $(in_base) tools/build/configure
ninja = $(in_base) tools/build/ninja -j$(JOBS)
export CCACHE_DIR ?= $(CURDIR)/.cache/ccache

.PHONY: all build help root model configure demo test test-long asan failpoints references bench bench-long \
	lint format tidy install clean distclean
.NOTPARALLEL:

all: build model ## build everything and fetch the model (the default)

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-10s %s\n", $$1, $$2 }'

root: ## make the Debian 13 base system, or install its packages on Debian 13
	@tools/root/make-root

model: root ## fetch the default embedding model and build its ONNX file
	@tools/model/get-model $(if $(filter model,$(MAKECMDGOALS)),--retry)

configure: root
	@$(configure) $(BUILD) -DWEIR_LOADER_ROOT=$(root)

build: configure ## build the programs into build/bin
	@$(ninja) -C $(BUILD)

asan: root
	@$(configure) $(BUILD)/asan -DWEIR_SANITIZE=address,undefined -DWEIR_LOADER_ROOT=
	@$(ninja) -C $(BUILD)/asan $(unit_targets)

# The programs once more, with the named places of common/base/failpoint.h.
failpoints: root
	@$(configure) $(BUILD)/failpoints -DWEIR_FAILPOINTS=ON -DWEIR_TESTS=OFF -DWEIR_LOADER_ROOT=$(root)
	@$(ninja) -C $(BUILD)/failpoints

demo: all ## ingest real documents, kill a service, ask questions (DOCS=DIR, DEMO_STAY=1)
	@WEIR_BUILD=$(abspath $(BUILD)) WEIR_BASE=$(root) DOCS=$(DOCS) DEMO_STAY=$(DEMO_STAY) tests/demo/run-demo

# What other implementations say: the official interop clients, and the reference tokenizer's answers.
# Made on the host, once; what cannot be had here is skipped with its reason.
references: model
	@[ -x .cache/interop/grpcurl ] || tests/interop/build-clients || \
		echo "weir: the interop clients are not here; their tests skip"
	@[ -f .cache/tokenizer-vectors.txt ] || tests/tokenizer/run.sh $(abspath $(BUILD)) || \
		echo "weir: no reference tokenizer here; its test skips"

test: all asan failpoints references ## run every test (TESTS=REGEX picks by name)
	@$(in_base) ctest --test-dir $(BUILD) --output-on-failure -j$(JOBS) -R '$(TESTS)' -LE '^(long|bench)$$'

test-long: all failpoints ## run the tests that take long
	@$(in_base) ctest --test-dir $(BUILD) --output-on-failure -L '^long$$' --no-tests=error

bench: all ## measure speed and memory, each beside its raw limit
	@WEIR_BUILD=$(abspath $(BUILD)) WEIR_BASE=$(root) tests/bench/run bench.py

bench-long: all ## measure how cost grows, up to 100,000 documents (tests/bench/GROWTH.md)
	@WEIR_BUILD=$(abspath $(BUILD)) WEIR_BASE=$(root) tests/bench/run growth.py --write

lint: configure ## check arrows, headers, sizes, formatting, protos
	@$(in_base) ctest --test-dir $(BUILD) --output-on-failure -j$(JOBS) -L '^lint$$'

format: root ## lay the C files out by .clang-format
	@$(in_base) clang-format -i $(sources)

tidy: build ## run clang-tidy over the C files
	@$(in_base) run-clang-tidy -quiet -p $(BUILD) -j $(JOBS) '(common|services|cli)/.*\.c$$'

install: all ## copy programs, model, configuration and protos to PREFIX
	@tools/build/install $(BUILD) $(model) "$(DESTDIR)$(PREFIX)" "$(root)"

clean: ## delete what was built
	@rm -rf $(BUILD)

distclean: clean ## delete also the base system, the model and the caches
	@rm -rf .cache .model $(if $(root),.root)
