# `make run` - the service with everything embedded. `make test` - everything that needs Rust, Postgres and Vault.
# `make interop` - what others wrote against us; needs Python, node, Go and Java as well.
# `make bench` - what verification costs, as ratios to baselines of the same run; wants a quiet machine.

.PHONY: run test interop bench

run:
	cargo run -- dev

test:
	.ci/prepare postgres vault
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --workspace
	cargo test --workspace

interop:
	.ci/prepare postgres vault python node go java
	cargo clippy --test interop -- -D warnings
	cargo test --test interop

bench:
	cargo bench --package scrip-verify --bench main
