# The front that people type. Meson and ninja do the work; scripts/deps.sh installs what a target lacks.

BUILD = build
PREFIX = /usr/local
DESTDIR =
# Seconds for each fuzz target, and for nothing else.
FUZZ_SECONDS = 60

.PHONY: all help demo test bench sanitize fuzz valgrind install clean

all:
	@scripts/deps.sh build
	@scripts/setup.sh $(BUILD) --prefix=$(PREFIX) -Dtests=false
	@ninja -C $(BUILD)

help:
	@echo 'make            build $(BUILD)/xenkit, one static file'
	@echo 'make demo       build it and examine damaged sample disks, a simulated pool and this machine'
	@echo 'make test       every test, in every build; ends with the numbers'
	@echo 'make bench      us and the tools we replace in turn: ratios of medians'
	@echo 'make sanitize   unit and command tests under ASan and UBSan'
	@echo 'make fuzz       each fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS) seconds (clang, libFuzzer)'
	@echo 'make valgrind   unit tests under valgrind'
	@echo 'make install    into DESTDIR=$(DESTDIR) PREFIX=$(PREFIX)'
	@echo 'make clean      remove all build folders'
	@echo
	@echo 'Each installs the Debian packages that it lacks first (scripts/deps.sh).'

demo: all
	@$(BUILD)/xenkit checkup --demo

test:
	@scripts/deps.sh test
	@scripts/test.sh

bench: all
	@scripts/deps.sh bench
	@bench/run.sh $(BUILD)

sanitize:
	@scripts/deps.sh sanitize
	@scripts/test.sh sanitize

fuzz:
	@scripts/deps.sh fuzz
	@scripts/fuzz.sh $(FUZZ_SECONDS)

valgrind:
	@scripts/deps.sh valgrind
	@scripts/test.sh valgrind

install: all
	@DESTDIR='$(DESTDIR)' meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf build build-*
