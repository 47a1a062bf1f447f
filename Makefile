# `make run` - the service with everything embedded. `make test` - everything that needs Rust, Postgres and Vault.
# `make interop` - what others wrote against us; needs Python, node, Go and Java as well.
# `make drill` - the long form of tests/drills: faults under a thousand revocations each, and the table of what was seen.
# `make bench` - what verifying, minting and revoking cost, as ratios to baselines of the same run; wants a quiet machine.
# `make fuzz` - each target of fuzz/ for FUZZ_SECONDS. `make mutants` - our checks broken one by one: do the tests notice?

.PHONY: run test interop drill bench fuzz mutants

run:
	cargo run -- dev

test:
	.ci/prepare postgres vault faketime
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --workspace
	cargo test --workspace

interop:
	.ci/prepare postgres vault python node go java
	cargo clippy --test interop -- -D warnings
	cargo test --test interop

# DRILL_SEED repeats the chances of a run; `make drill DRILLS=drills::clocks` runs a part. DRILL_MINUTES=30 with
# DRILLS=drills::soak breaks one thing after the other for as long.
DRILLS ?= drills::
drill:
	.ci/drill $(DRILLS)

bench:
	.ci/prepare postgres vault
	cargo bench --package scrip-verify --bench main
	cargo bench --package scrip --bench feed
	cargo bench --package scrip --bench mint

# Sanitizers are a nightly feature; RUSTC_BOOTSTRAP allows them to the compiler that builds the rest. What libFuzzer finds
# it adds to the first corpus, so the committed one stays as it is.
FUZZ_SECONDS ?= 20
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
fuzz: export RUSTC_BOOTSTRAP = 1
fuzz:
	.ci/prepare cargo-fuzz
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	@set -e; for target in $(FUZZ_TARGETS); do \
	  echo "fuzz: $$target"; \
	  mkdir -p fuzz/target/corpus/$$target; \
	  cargo fuzz run $$target fuzz/target/corpus/$$target fuzz/corpus/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -dict=fuzz/dictionary -timeout=5 -rss_limit_mb=1024 -malloc_limit_mb=16 \
	    -print_final_stats=1; \
	done

# The rules, and the mutants that need no test, are in .cargo/mutants.toml; `make mutants MUTANTS="--file cidr.rs"` runs a part.
mutants:
	.ci/prepare cargo-mutants
	cargo mutants --package scrip-token --package scrip-verify $(MUTANTS)
