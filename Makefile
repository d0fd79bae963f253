# Ployz: one Makefile, no recursion. A program is its folder's *.c plus libployz.a; adding a file
# needs no edit here.
#
#   make demo     install what is needed, build, and show the whole way of a deploy
#                 (KEEP=1 leaves it running, make demo-end ends it)
#   make check    install what the tests need, build, run every test
#                 (make check-quick: those without containers)
#   make check-thread  what shares the bus with nats.c's threads, with ThreadSanitizer looking on
#   make check-rollouts  random rollouts, RUNS=1000000 of them
#   make check-crash   every fault, at every phase of a deploy: about half an hour
#   make check-model   the models of the deploy protocol, with all their bounds and mutations
#   make check-mutants random mutants of FILES, and how many of them the quick tests notice
#   make fuzz     throw hostile bytes at everything that strangers write: tests/fuzz/NAME.c
#                 (make fuzz-corpus keeps the inputs that reached something new)
#   make bench-NAME   measure tests/bench/NAME: deploy, overhead, switch, propagate, start, footprint
#   make          build into $(BUILD)
#   make lint     clang-tidy, cppcheck, mandoc
#   make install  DESTDIR= PREFIX=/usr
#
# V=1 shows commands; SAN=address,undefined or SAN=thread builds with sanitizers.

VERSION := 0.1.0
comma := ,
BUILD ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
PREFIX ?= /usr
CC ?= cc
DAEMONS := meshd leased placerd routed dnsd agentd
PROGRAMS := $(DAEMONS) ployzctl
PACKAGES := libnats jansson libsystemd libcurl libknot yaml-0.1 libsodium libmnl

Q := $(if $(V),,@)
# Where the build is not what was asked for (TERSE), a line a program is enough.
say = $(if $(V),,@$(if $(and $(TERSE),$(filter CC CLANG,$(1))),,printf '  %-7s %s\n' $(1) $(2);))

# pkg-config is asked once, when something is built; a bare machine can still `make demo`.
ifeq ($(origin PKG_CFLAGS),undefined)
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)
endif

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wpointer-arith -Wundef -Werror
HARDENING := $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fstack-clash-protection -fPIE
CFLAGS ?= -O2 -g
# gcc's two runtimes do not share a log: beside address, what is undefined is a trap, and address tells of it.
SANITIZE := $(if $(SAN),-fsanitize=$(SAN) $(if $(filter address,$(subst $(comma), ,$(SAN))),\
	-fsanitize-undefined-trap-on-error,-fno-sanitize-recover=all) -fno-omit-frame-pointer)
override CFLAGS += -std=gnu11 $(WARNINGS) $(HARDENING) $(SANITIZE)
override CPPFLAGS += -I. -D_GNU_SOURCE -DPLOYZ_VERSION='"$(VERSION)"' $(PKG_CFLAGS) -MMD -MP
override LDFLAGS += -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed $(if $(SAN),-fsanitize=$(SAN))
LIBS := $(PKG_LIBS) -lm -pthread

LIB_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard lib/*.c lib/model/*.c))
BINARIES := $(addprefix $(BUILD)/bin/,$(PROGRAMS))
# tests/NAME.c is a TAP program. tests/DAEMON-NAME.c is linked with that daemon's files.
TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/*.c))
# tests/tool/NAME.c is a program that tests use.
TOOLS := $(patsubst tests/tool/%.c,$(BUILD)/tool/%,$(wildcard tests/tool/*.c))

UNITS := $(wildcard */ployz*.service */ployz*.target)
MANUALS := $(wildcard man/*.[1-9])
LOG := $(BUILD)/setup.log
# As many jobs as there are processors, unless -j was said.
JOBS = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: all tests tools fuzzers clean demo demo-end check check-quick check-thread check-crash check-rollouts check-model \
	check-mutants fuzz fuzz-corpus lint lint-files install setup setup-check setup-fuzz
.SECONDEXPANSION:
.SECONDARY:

# The empty recipe: that there was nothing to do is no news.
all: $(BINARIES)
	@:
tests: $(TESTS) tools
	@:
tools: $(TOOLS)
	@:

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/libployz.a: $(LIB_OBJECTS)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

objects = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(1)/*.c))

$(BINARIES): $(BUILD)/bin/%: $$(call objects,$$*) $(BUILD)/libployz.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# tests/routed-table.c needs routed's files; its main gives way to the test's own.
room = $(filter $(PROGRAMS),$(firstword $(subst -, ,$(1))))
room_objects = $(if $(1),$(patsubst $(BUILD)/$(1)/$(1).o,$(BUILD)/$(1)/$(1).guest.o,$(call objects,$(1))))

$(BUILD)/%.guest.o: $(BUILD)/%.o
	@objcopy --weaken-symbol=main $< $@

# tests/rollouts/ is the world in which tests run leased's rollouts.
ROLLOUT_TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/leased-*.c))
$(ROLLOUT_TESTS): $(BUILD)/tests/%: $(BUILD)/tests/%.o $$(call room_objects,leased) $$(call objects,tests/rollouts) \
		$(BUILD)/libployz.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/%: $(BUILD)/tests/%.o $$(call room_objects,$$(call room,$$*)) $(BUILD)/libployz.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# tests/lib/surroundings.h defines what stands around a daemon in the place of the library's.
$(patsubst tests/%.c,$(BUILD)/tests/%,$(shell grep -l tests/lib/surroundings.h tests/*.c)): LDFLAGS += -Wl,--allow-multiple-definition

$(BUILD)/tool/%: $(BUILD)/tests/tool/%.o $(BUILD)/libployz.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# Shakes hands for a WebSocket, as testsvc does.
$(BUILD)/tool/linger: LIBS += -lnettle

# Runs inside an image that holds nothing else: no libraries, no loader.
$(BUILD)/tool/testsvc: tests/tool/testsvc.c tests/tool/wire.h
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -I. -std=gnu11 -D_GNU_SOURCE -O2 $(WARNINGS) -static -pthread -o $@ $< -lresolv -lnettle

# tests/fuzz/NAME.c is a libFuzzer target; tests/fuzz/DAEMON-NAME.c may use that daemon's files, in which main
# has another name. clang builds them apart from the rest, with the sanitizers. What a target defines itself
# (another side that answers whatever it likes) is linked in the place of ours.
FUZZ := $(BUILD)/fuzz
FUZZERS := $(patsubst tests/fuzz/%.c,$(FUZZ)/%,$(wildcard tests/fuzz/*.c))
FUZZ_SAN := address,undefined
FUZZ_CFLAGS := -std=gnu11 $(WARNINGS) -O2 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,$(FUZZ_SAN) \
	-fno-sanitize-recover=all -fprofile-instr-generate -fcoverage-mapping

fuzzers: $(FUZZERS)

$(FUZZ)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CLANG,$<)clang $(CPPFLAGS) $(FUZZ_CFLAGS) $(FUZZ_MAIN) -c -o $@ $<

$(foreach program,$(PROGRAMS),$(FUZZ)/obj/$(program)/$(program).o): FUZZ_MAIN := -Dmain=program_main -Wno-missing-prototypes

$(FUZZ)/obj/libployz.a: $(patsubst %.c,$(FUZZ)/obj/%.o,$(wildcard lib/*.c lib/model/*.c))
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

$(FUZZ)/obj/fuzz.a: $(patsubst %.c,$(FUZZ)/obj/%.o,$(wildcard tests/fuzz/lib/*.c))
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

fuzz_objects = $(patsubst %.c,$(FUZZ)/obj/%.o,$(wildcard $(1)/*.c))
$(patsubst %,$(FUZZ)/obj/%.a,$(PROGRAMS)): $(FUZZ)/obj/%.a: $$(call fuzz_objects,$$*)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

# Memory that is gone ends a daemon by _exit(), which libFuzzer would not see.
$(FUZZERS): $(FUZZ)/%: $(FUZZ)/obj/tests/fuzz/%.o $$(addprefix $(FUZZ)/obj/,$$(addsuffix .a,$$(call room,$$*))) \
		$(FUZZ)/obj/fuzz.a $(FUZZ)/obj/libployz.a
	$(call say,LD,$@)clang -fsanitize=fuzzer,$(FUZZ_SAN) -fprofile-instr-generate \
		-Wl,--wrap=mem_exhausted,--allow-multiple-definition -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

# What is installed here changes what pkg-config says above: the build is a make of its own.
setup:
	@tests/setup/packages -l $(LOG) build run

setup-check:
	@tests/setup/packages -l $(LOG) build run check fuzz
	@tests/setup/nats-servers -l $(LOG) $(BUILD)/nats

demo: setup
	@$(MAKE) --no-print-directory $(JOBS) TERSE=yes all tools
	@BUILD=$(BUILD) KEEP=$(KEEP) tests/demo

demo-end:
	@BUILD=$(BUILD) tests/demo end

check: setup-check
	@$(MAKE) --no-print-directory $(JOBS) TERSE=yes all tests fuzzers
	@BUILD=$(BUILD) tests/run

# Without containers: what takes seconds.
check-quick: setup-check
	@$(MAKE) --no-print-directory $(JOBS) TERSE=yes all tests fuzzers
	@BUILD=$(BUILD) tests/run quick

# Where threads hand over: lib/bus, driven hard, and the daemons on top of it. A build of its own; each report is a
# failed test.
THREAD_TESTS := $(patsubst %,tests/%.t,handover bus leased placerd dnsd routed meshd meshd-store meshd-machine agentd)
check-thread:
	@tests/setup/packages -l $(LOG) build run check
	@$(MAKE) --no-print-directory $(JOBS) TERSE=yes SAN=thread BUILD=build-thread all tools
	@BUILD=build-thread tests/run $(THREAD_TESTS)

# Random rollouts in a simulated world: RUNS of them (100,000 are part of make check).
RUNS ?= 1000000
check-rollouts: setup-check
	@$(MAKE) --no-print-directory $(JOBS) TERSE=yes $(BUILD)/tests/leased-rollouts
	@$(BUILD)/tests/leased-rollouts $(RUNS) $(SEED)

# Every fault test with all its cases; the last line is their count.
check-crash: setup-check
	@$(MAKE) --no-print-directory $(JOBS) TERSE=yes all tests
	@BUILD=$(BUILD) tests/crash

# The models of the deploy protocol in SPIN, each explored completely within its bounds; the last line is the count.
check-model:
	@tests/setup/packages -l $(LOG) build check
	@tests/model/run

# N random mutants of FILES (leased and the shared parts of the protocol), chosen by SEED, and the quick tests; the last
# line is their count.
check-mutants: setup-check
	@$(MAKE) --no-print-directory $(JOBS) TERSE=yes all tests
	@BUILD=$(BUILD) tests/mutants $(if $(N),-n $(N)) $(if $(SEED),-s $(SEED)) $(FILES)

setup-fuzz:
	@tests/setup/packages -l $(LOG) build fuzz

fuzz: setup-fuzz
	@$(MAKE) --no-print-directory $(JOBS) TERSE=yes fuzzers
	@BUILD=$(BUILD) tests/fuzz/run

fuzz-corpus: setup-fuzz
	@$(MAKE) --no-print-directory $(JOBS) TERSE=yes fuzzers
	@BUILD=$(BUILD) tests/fuzz/run keep

# Measurements: tests/bench/NAME says what and how; the last line is the figures.
bench-%: tests/bench/%
	@tests/setup/packages -l $(LOG) build run bench
	@$(MAKE) --no-print-directory $(JOBS) TERSE=yes all tools
	@BUILD=$(BUILD) tests/bench/$*

lint:
	@tests/setup/packages -l $(LOG) build lint
	@$(MAKE) --no-print-directory lint-files

# $(CPPFLAGS) says -D…='"…"': it goes through the environment, where nothing takes its quotes away.
lint-files: export LINT_FLAGS = $(filter-out -MMD -MP,$(CPPFLAGS)) -std=gnu11
lint-files:
	@tests/lint

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/ployz $(DESTDIR)$(PREFIX)/share/doc/ployz/examples
	install -m 755 $(BUILD)/bin/ployzctl $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(addprefix $(BUILD)/bin/,$(DAEMONS)) $(DESTDIR)$(PREFIX)/lib/ployz/
	install -m 644 $(wildcard examples/*) $(DESTDIR)$(PREFIX)/share/doc/ployz/examples/
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	$(if $(UNITS),install -m 644 $(UNITS) $(DESTDIR)$(PREFIX)/lib/systemd/system/)
	$(foreach page,$(MANUALS),install -D -m 644 $(page) \
		$(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $(page)))/$(notdir $(page)) &&) :

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
