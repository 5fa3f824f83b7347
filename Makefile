# volinit: `make help` lists what can be made.
#
# Cargo does the work. This file gives it the machine's own target (see .cargo/config.toml), installs what it needs
# from Debian and from rustup, and keeps the order of the checks, so that a person, CI and the packages do the same.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

# Cargo's features. `make release FEATURES=` leaves out the source `ebs` and all that it brings.
FEATURES ?= default

HOST := $(shell rustc -vV | sed -n 's/^host: //p')
TARGET := $(subst -gnu,-musl,$(HOST))
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
OUT := $(TARGET_DIR)/$(TARGET)
CARGO_ARGS := --locked --target $(TARGET)
WITH := --no-default-features $(addprefix --features ,$(FEATURES))

# Debian's packages. libclang is for bindgen, by which libblkid-rs reads blkid.h; dpkg-dev unpacks libblkid's source.
BUILD_NEEDS := dpkg-dev gcc libc6-dev libclang-dev make musl-tools pkg-config
DEMO_NEEDS := btrfs-progs mount util-linux
# What writes the disks of tests/gauntlet; the same list stands there.
GAUNTLET_NEEDS := apfsprogs bcache-tools cryptsetup-bin dosfstools drbd-utils erofs-utils exfatprogs f2fs-tools fdisk \
	gdisk genisoimage genromfs gfs2-utils hfsutils jfsutils lvm2 makefs mtd-utils nilfs-tools ntfs-3g ocfs2-tools parted \
	reiser4progs reiserfsprogs squashfs-tools udftools xorriso
# What tests/vm makes its machines of and boots them with.
VM_NEEDS := binutils busybox-static cpio kmod mmdebstrap qemu-system-x86 qemu-utils
# What `make bench` runs: the limits' compiler, the rivals' tools, and what counts their processes.
BENCH_NEEDS := btrfs-progs e2fsprogs gcc libc6-dev mount python3 python3-venv strace systemd util-linux xfsprogs
# What the packages are made and looked at with.
PACKAGE_NEEDS := binutils dpkg fish lintian mmdebstrap mount packer rpm squashfs-tools systemd util-linux zsh
TEST_NEEDS := $(DEMO_NEEDS) $(GAUNTLET_NEEDS) $(VM_NEEDS) $(PACKAGE_NEEDS) docker.io e2fsprogs file g++ git iproute2 \
	libblkid-dev man-db mdadm procps python3-venv redis-tools strace systemd xfsprogs

# For size, in the release alone. The standard library is built along: the one that comes with Rust is built for
# speed, has the code that prints backtraces and tables to unwind by, and a panic of ours just ends the process.
# That takes half a megabyte off. -Z is unstable, so RUSTC_BOOTSTRAP lets a stable toolchain do it; the code itself
# stays stable Rust. The linker is the one that Rust brings: it packs relocations, and links equal functions and ends of
# strings once. There are no tables to unwind by; no path of the machine that builds is in it, and a panic tells its
# words, which stand once in the source.
RELEASE_FLAGS := -Z unstable-options -C linker-features=+lld -C link-self-contained=+linker -C force-unwind-tables=no -C link-arg=-Wl,-z,pack-relative-relocs -C link-arg=-Wl,--icf=all -C link-arg=-Wl,-O2 -C link-arg=-Wl,--no-eh-frame-hdr -C link-arg=-Wl,-T,packaging/layout.ld -Z location-detail=none
BUILD_STD := -Z build-std=std,panic_abort -Z build-std-features=optimize_for_size -Z trim-paths --config "profile.release.trim-paths=\"all\""
RUST_SRC := $(shell rustc --print sysroot)/lib/rustlib/src/rust/library

.PHONY: help
help: ## List what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r name text; do \
		printf '  make %-13s %s\n' "$$name" "$$text"; done

# What cargo needs before it can build anything.
.PHONY: toolchain
toolchain:
	@packaging/deps.sh $(BUILD_NEEDS)
	@[ -d "$$(rustc --print target-libdir --target $(TARGET))" ] || rustup target add $(TARGET)
	@packaging/libblkid.sh target/libblkid

.PHONY: deps
deps: toolchain ## Install Debian's packages that the tests need, where one is missing
	@packaging/deps.sh $(TEST_NEEDS)
	@packaging/moto.sh $(TARGET_DIR)/moto
	@packaging/checkers.sh $(TARGET_DIR)/checkers

.PHONY: build
build: toolchain ## Build volinit with debug information: target/*/debug/volinit
	cargo build $(CARGO_ARGS) $(WITH)

.PHONY: release
release: toolchain ## Build the small static binary that ships: target/*/release/volinit
	@[ -d "$(RUST_SRC)" ] || rustup component add rust-src
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="$(RELEASE_FLAGS)" cargo build $(CARGO_ARGS) $(WITH) --release $(BUILD_STD)
	@ls -l $(OUT)/release/volinit

# Another binary to be packaged, as it is: `make packages BINARY=target/…/debug/volinit`.
BINARY ?=
# Where the packages go.
PACKAGES := target/packages

.PHONY: packages
packages: ## Make a .deb, an .rpm and a systemd-sysext image in target/packages, of the release or of BINARY=
	@packaging/deps.sh dpkg squashfs-tools
	@[ -n "$(BINARY)" ] || $(MAKE) release
	@rm -rf $(PACKAGES)
	@packaging/packages.sh $(or $(BINARY),$(OUT)/release/volinit) $(PACKAGES)
	@ls -l $(PACKAGES)

.PHONY: lint
lint: toolchain ## Check the format, clippy, the documentation, and the licences of what is linked
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	@packaging/cargo-deny.sh check bans licenses sources
	cargo clippy $(CARGO_ARGS) --all-targets --quiet -- -D warnings
	@# --all-targets leaves out those with `test = false`.
	cargo clippy $(CARGO_ARGS) --test boots --test faults --test hotplug --test nfs_story --test packages --test powercut --test story --quiet -- -D warnings
	PKG_CONFIG_PATH= cargo clippy --locked --target $(HOST) --manifest-path fuzz/Cargo.toml --target-dir $(TARGET_DIR) --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_ARGS) --no-deps --quiet

# --no-fail-fast: one run tells all that is wrong.
.PHONY: test
test: deps lint ## Run everything that CI runs; needs root, for loop devices and mounts
	@[ "$$(id -u)" = 0 ] || { echo "make test: run it as root: the tests make loop devices and mount them" >&2; exit 1; }
	cargo test $(CARGO_ARGS) --no-fail-fast
	@$(MAKE) faults
	@FUZZ_TARGET_DIR=$(TARGET_DIR) fuzz/run.sh short
	@$(MAKE) sized FEATURES=
	@$(MAKE) sized

.PHONY: sized
sized: release
	cargo test $(CARGO_ARGS) $(WITH) --test static -- --ignored --nocapture

.PHONY: gauntlet
gauntlet: deps ## Offer 332 disks that hold something to volinit and to its rivals, and print who destroys what
	cargo test $(CARGO_ARGS) --test gauntlet -- --ignored --nocapture

# The limits that `make bench` compares with: a static program of each file.
BENCH := $(TARGET_DIR)/bench
LIMITS := $(patsubst tests/bench/c/%.c,$(BENCH)/bin/%,$(wildcard tests/bench/c/*.c))
# How often each runs, and of S1,S1b,S2,S3,S4,S5,S6,S6b,curve those that shall run (all, if none is named).
ROUNDS ?= 15
SCENARIOS ?=
# volinit with the feature ec2, for the rows that show what that costs and brings; a rival. Both where they are here.
VOLINIT_EC2 ?=
EBS_BOOTSTRAP ?=

$(BENCH)/bin/%: tests/bench/c/%.c tests/bench/c/limit.h
	@mkdir -p $(@D)
	gcc -static -O2 -Wall -Wextra -o $@ $<

.PHONY: bench
bench: ## Time volinit, the release or BINARY=, beside its rivals; ROUNDS=15 and SCENARIOS=S1,S3 take less; needs root
	@[ "$$(id -u)" = 0 ] || { echo "make bench: run it as root: it makes loop devices and mounts them" >&2; exit 1; }
	@packaging/deps.sh $(BENCH_NEEDS)
	@packaging/checkers.sh $(TARGET_DIR)/checkers
	@[ -n "$(BINARY)" ] || $(MAKE) release FEATURES=
	@$(MAKE) -s $(LIMITS)
	@/usr/bin/python3 -B tests/bench/bench.py $(or $(BINARY),$(OUT)/release/volinit) $(BENCH) --rounds $(ROUNDS) \
		--scenarios "$(SCENARIOS)" --cloud-init $(TARGET_DIR)/checkers/bin/cloud-init \
		$(if $(VOLINIT_EC2),--volinit-ec2 $(VOLINIT_EC2)) $(if $(EBS_BOOTSTRAP),--ebs-bootstrap $(EBS_BOOTSTRAP))

# How long each target is run.
FUZZ_SECONDS ?= 600

.PHONY: fuzz
fuzz: ## Look for inputs that break the parsers and mergers, FUZZ_SECONDS=600 for each
	@FUZZ_TARGET_DIR=$(TARGET_DIR) fuzz/run.sh $(FUZZ_SECONDS)

# Those that `cargo test` runs too.
FAULT_TESTS := erase gauntlet growing locks readerrors repair surroundings

.PHONY: test-faults
test-faults: deps ## Run all that goes wrong on purpose, and print how often: power cuts, kills, bad disks; needs root
	@[ "$$(id -u)" = 0 ] || { echo "make test-faults: run it as root: it makes loop devices and mounts them" >&2; exit 1; }
	cargo test $(CARGO_ARGS) --no-fail-fast $(addprefix --test ,$(FAULT_TESTS)) -- --show-output
	@$(MAKE) faults

# Those that it does not. Short by default; FAULTS=long takes every case. On a tmpfs, since each of a thousand disks is
# flushed.
.PHONY: faults
faults:
	TMPDIR=/dev/shm cargo test $(CARGO_ARGS) --test faults -- --nocapture
	@$(MAKE) powercut
	@$(MAKE) hotplug

.PHONY: test-powercut
test-powercut: deps ## Cut the power of virtual machines, POWERCUTS=20 times, and look for what they had synced
	@$(MAKE) powercut

.PHONY: powercut
powercut:
	cargo test $(CARGO_ARGS) --test powercut -- --nocapture

.PHONY: test-vm
test-vm: deps ## Boot real machines, with systemd and cloud-init, on disks that are late, wrong, broken, grown; needs root
	@[ "$$(id -u)" = 0 ] || { echo "make test-vm: run it as root: it makes an image with Debian's packages" >&2; exit 1; }
	@$(MAKE) boots
	@$(MAKE) telling

.PHONY: test-nfs
test-nfs: deps ## Boot an NFS server and two nodes with Redis, and let the server stop, hang and go; needs root
	@[ "$$(id -u)" = 0 ] || { echo "make test-nfs: run it as root: it makes an image with Debian's packages" >&2; exit 1; }
	cargo test $(CARGO_ARGS) --test nfs_story -- --nocapture

# The same without a look at what is installed.
.PHONY: telling
telling:
	cargo test $(CARGO_ARGS) --test story -- --nocapture

.PHONY: story
story: deps ## Tell how PostgreSQL moves with its volume from core1, which dies, to core2 and back, on two machines; needs root
	@[ "$$(id -u)" = 0 ] || { echo "make story: run it as root: it makes an image with Debian's packages" >&2; exit 1; }
	@$(MAKE) telling

# BOOTS=growth runs one of the stories of tests/boots/main.rs.
.PHONY: boots
boots:
	cargo test $(CARGO_ARGS) --test boots -- --nocapture

.PHONY: hotplug
hotplug:
	cargo test $(CARGO_ARGS) --test hotplug -- --nocapture

# The packages are of the debug build, without symbols: FEATURES= makes that one small too.
.PHONY: test-packages
test-packages: toolchain ## Install and remove the packages in a Debian 12 of the test's own, and bake a root folder; needs root
	@[ "$$(id -u)" = 0 ] || { echo "make test-packages: run it as root: it makes loop devices and mounts them" >&2; exit 1; }
	@packaging/deps.sh $(PACKAGE_NEEDS)
	cargo test $(CARGO_ARGS) $(WITH) --test packages -- --nocapture

.PHONY: demo
demo: ## Show volinit at work on this machine, with an image of its own; needs root
	@packaging/demo.sh start
	@$(MAKE) toolchain
	@packaging/deps.sh $(DEMO_NEEDS)
	@echo "== Building volinit: half a minute on two cores, the first time"
	@cargo build $(CARGO_ARGS) --no-default-features --quiet
	@PATH="$(abspath $(OUT))/debug:$$PATH" packaging/demo.sh show

.PHONY: demo-clean
demo-clean: ## Undo the demo
	@packaging/demo.sh clean

.PHONY: generated
generated: toolchain ## Write the man page, the completions and the JSON schema anew
	UPDATE=1 cargo test $(CARGO_ARGS) --quiet --test generated
	UPDATE=1 cargo test $(CARGO_ARGS) --quiet --lib schema

.PHONY: clean
clean: ## Remove what was built
	cargo clean
