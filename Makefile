# The commands for developers and CI. Everything builds without a database, because .sqlx is committed. Commands that need
# a database get a temporary Postgres from with-postgres, unless DATABASE_URL is set. bench/ is a workspace of its own.

SHELL := /bin/bash
CARGO ?= cargo
export PATH := $(HOME)/.cargo/bin:$(PATH)
export SQLX_OFFLINE := true

WITH_POSTGRES := target/debug/with-postgres
IN_BENCH := env --chdir=bench $(CARGO)
DOC_LINTS := -D warnings -A rustdoc::private_intra_doc_links

.DEFAULT_GOAL := help
.PHONY: help setup run serve call test soak check audit words prepare settings bench conformance test-livekit fuzz secrets build with-postgres

help: ## Show this list
	@grep -Eh '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 16

setup: ## Install missing programs: asks once on a terminal; GREENROOM_SETUP=no only lists them
	@.ci/setup

run: build ## Run everything in one process on http://127.0.0.1:8080 (debug build); ARGS="--fresh" …
	$(CARGO) build --workspace
	target/debug/greenroom up $(ARGS)

serve: build ## Run one service as a separate process, in addition to `make run`: SVC=token (docs/development.md)
	@.ci/serve "$(SVC)" $(ARGS)

call: ## Let two participants join a booked session of the running `make run`; URL=http://127.0.0.1:8080
	@.ci/setup call
	@target/sdk/venv/bin/python .ci/call $(URL)

test: ## Run all tests, with a real Postgres (POSTGRES=18: that version) and livekit-dev; ARGS="-p booking" …
	@.ci/setup build $(if $(ARGS),,test)
	@$(MAKE) --no-print-directory with-postgres
	$(WITH_POSTGRES) $(if $(POSTGRES),--major $(POSTGRES)) -- $(CARGO) test $(or $(ARGS),--workspace)
	$(if $(ARGS),,$(IN_BENCH) test)

soak: with-postgres ## Test live rooms under random faults for SECONDS=3600 (see docs/testing.md); ARGS="MODEL_SEED=7"
	$(WITH_POSTGRES) -- env MODEL_SECONDS=$(or $(filter-out 0,$(SECONDS)),3600) $(ARGS) \
		$(CARGO) test -p greenroom --test it -- live_rooms_recover --nocapture

check: ## Check format, lints, docs, queries, dependencies, interfaces, words, links, alert rules, the OpenAPI document
	@.ci/setup build check
	@$(MAKE) --no-print-directory with-postgres
	$(CARGO) fmt --all --check
	$(IN_BENCH) fmt --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(IN_BENCH) clippy --all-targets -- -D warnings
	.ci/queries verify
	.ci/migrations
	RUSTDOCFLAGS="$(DOC_LINTS)" $(CARGO) doc --workspace --no-deps --document-private-items --quiet
	RUSTDOCFLAGS="$(DOC_LINTS)" $(IN_BENCH) doc --no-deps --document-private-items --quiet
	.ci/bench
	.ci/dependencies
	.ci/unused
	.ci/imports
	.ci/proto
	.ci/words
	.ci/links
	.ci/rules
	.ci/api

audit: build ## Check licences, sources, duplicates and known vulnerabilities with cargo-deny, which it installs
	.ci/dependencies audit

words: ## Count words that are not plain English, and long test names, for each file
	.ci/words

prepare: with-postgres ## Describe the checked queries again (.sqlx, bench/.sqlx), after SQL or the schema changed
	.ci/queries refresh

settings: ## Write docs/settings.md and .env.example from the code
	$(CARGO) build --quiet -p greenroom
	target/debug/greenroom settings markdown >docs/settings.md
	target/debug/greenroom settings env >.env.example

bench: with-postgres ## Measure load, and compare it with bare baselines (release build)
	$(CARGO) build --release -p greenroom
	$(IN_BENCH) build --release
	$(WITH_POSTGRES) -- target/release/bench $(ARGS)

conformance: build ## Test livekit-dev, or the server of LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET, against LiveKit's behaviour
	$(CARGO) test -p livekit-dev --test conformance

test-livekit: with-postgres ## Test with a real LiveKit server: LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET, GATEWAY_PORT
	.ci/test-livekit $(ARGS)

fuzz: build ## Fuzz the parsers of untrusted input, SECONDS=60 for each target; ARGS="nip98" for one of them
	SECONDS_EACH=$(or $(filter-out 0,$(SECONDS)),60) .ci/fuzz $(ARGS)

secrets: ## Write .env with strong secrets, for docker compose; never overwrites it
	.ci/secrets

# -p, not --workspace: this crate must build while .sqlx is out of date.
with-postgres: build
	$(CARGO) build --quiet -p postgres-dev

build:
	@.ci/setup build
