# The commands of this repository. `make help` lists them; docs/ARCHITECTURE.md says what they build.

# What `make tools` fetches comes first, so that everything below finds it like any other program.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

# Handed on by `make run` and `make bench`: make run ARGS="--api 127.0.0.1:9000"
ARGS ?=

# In a recipe: $(fetch) and the names of programs.
define fetch
command -v python3 >/dev/null || { echo "Crier's tools are found and fetched with python3 and pip" >&2; exit 1; }; \
	exec python3 scripts/tools.py
endef

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

# The dev profile: it builds in a fraction of the release profile's time, because nothing of ours is optimised and
# nothing is linked twice, and what the demo waits for (TLS, hashing, the database engine, the JSON of a dependency) is
# optimised in it all the same (`profile.dev.package` in Cargo.toml). Measure with `make bench`, not here.
# exec, and cargo execs in turn: Ctrl-C and SIGTERM reach Crier itself, and make waits until it is through.
.PHONY: run
run: ## Fetch what is missing, build, and start the demo (ARGS="…" for crier up)
	@$(fetch) nats-server
	@exec cargo run --locked --package crier -- up --demo $(ARGS)

.PHONY: test
test: tools ## Everything CI runs: format, lints, all tests
	@cargo fmt --version >/dev/null 2>&1 || { echo "make test needs rustfmt: rustup component add rustfmt" >&2; exit 1; }
	@cargo clippy --version >/dev/null 2>&1 || { echo "make test needs clippy: rustup component add clippy" >&2; exit 1; }
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
# Some tests start the real binary, which `cargo test` alone does not build.
	cargo build --locked --workspace --all-targets
	cargo test --locked --workspace --no-fail-fast
	@echo "make test: passed (format, lints, all tests)"

.PHONY: tools
tools: ## Fetch into .tools/ what this machine lacks for running and testing
	@$(fetch) nats-server postgres chromium faketime

.PHONY: bench
bench: ## Measure, optimised (ARGS="…" for the benchmark)
	@$(fetch) nats-server postgres
# Other gateways, for the benchmarks that stand beside them or behind nginx: these alone, or all.
	$(if $(filter-out peers http2,$(firstword $(ARGS))),,@python3 bench/peers/fetch.py)
	cargo build --locked --release --package crier --package crier-bench --features crier/jemalloc
	@exec "$${CARGO_TARGET_DIR:-target}/release/crier-bench" $(ARGS)

SEED ?= 1
SEEDS ?= 3
# A mistake on purpose, which the campaign must notice. Only this build can make one: the next without it can't.
SABOTAGE ?=
.PHONY: chaos
chaos: ## Break a running Crier and count what it got wrong (SEED=n SEEDS=k SABOTAGE=name, ARGS="…")
	@$(fetch) nats-server postgres faketime
	cargo build --locked --package crier --package crier-chaos $(if $(SABOTAGE),--features crier/sabotage)
	@exec "$${CARGO_TARGET_DIR:-target}/debug/crier-chaos" --seed $(SEED) --seeds $(SEEDS) \
		$(if $(SABOTAGE),--sabotage $(SABOTAGE)) $(ARGS)

SECONDS ?= 60
# All of one target's seeds are in fuzz/seeds; what libFuzzer finds besides is kept in fuzz/corpus, and what fails in
# fuzz/artifacts. `make test` runs the same functions for a moment (libs/domain/tests/fuzz).
.PHONY: fuzz
fuzz: ## Any bytes for all that is parsed, on all cores (SECONDS=n for each target)
	@cargo fuzz --version >/dev/null 2>&1 || { echo "make fuzz needs cargo-fuzz: cargo install --locked cargo-fuzz" >&2; exit 1; }
	@cargo +nightly --version >/dev/null 2>&1 || { echo "make fuzz needs a nightly compiler: rustup toolchain install nightly" >&2; exit 1; }
	@for target in cursor ticket header snapshot; do \
		mkdir -p fuzz/corpus/$$target && \
		cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-fork=$$(nproc) -max_total_time=$(SECONDS) || exit 1; \
	done

.PHONY: schemathesis
schemathesis: ## Call everything that OpenAPI names with all that it allows and forbids (ARGS="…" for schemathesis run)
	@$(fetch) nats-server
	cargo build --locked --package crier
	@exec python3 scripts/schemathesis.py "$${CARGO_TARGET_DIR:-target}/debug/crier" $(ARGS)

.PHONY: clean
clean: ## Remove what was built and fetched; data/ stays
	cargo clean
	rm -rf .tools fuzz/target fuzz/corpus fuzz/artifacts
