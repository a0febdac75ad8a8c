# What people and CI call. Everything builds without a database (.sqlx is committed); what needs one gets a
# throw-away Postgres from with-postgres, unless DATABASE_URL is set.

SHELL := /bin/bash
CARGO ?= cargo
export PATH := $(HOME)/.cargo/bin:$(PATH)
export SQLX_OFFLINE := true

WITH_POSTGRES := target/debug/with-postgres

.DEFAULT_GOAL := help
.PHONY: help run test soak call check prepare bench conformance test-livekit fuzz secrets tools sdk with-postgres

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 16

run: tools ## Everything in one process on http://127.0.0.1:8080 (debug build); ARGS="--fresh" …
	$(CARGO) build --workspace
	target/debug/greenroom up $(ARGS)

call: ## Two participants meet in a booked session of the running `make run`; URL=http://127.0.0.1:8080
	@.ci/sdk python
	@target/sdk/venv/bin/python .ci/call $(URL)

test: with-postgres $(if $(ARGS),,sdk) ## All tests, against a real Postgres (POSTGRES=18: that version) and livekit-dev; ARGS="-p booking" …
	$(WITH_POSTGRES) $(if $(POSTGRES),--major $(POSTGRES)) -- $(CARGO) test $(or $(ARGS),--workspace)

soak: with-postgres ## Live rooms under random faults for SECONDS=3600 (see docs/testing.md); ARGS="MODEL_SEED=7"
	$(WITH_POSTGRES) -- env MODEL_SECONDS=$(or $(filter-out 0,$(SECONDS)),3600) $(ARGS) \
		$(CARGO) test -p greenroom --test it -- whatever_happens --nocapture

check: with-postgres ## Format, lints, checked queries, licences and sources, alert rules, the OpenAPI document
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	.ci/queries verify
	.ci/dependencies
	.ci/rules
	.ci/api

prepare: with-postgres ## Describe the checked queries anew in .sqlx, after SQL or migrations changed
	.ci/queries refresh

bench: with-postgres ## Load against bare baselines (release build)
	$(CARGO) build --workspace --release
	$(WITH_POSTGRES) -- target/release/bench $(ARGS)

conformance: tools ## livekit-dev's promise; with LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET against that server
	$(CARGO) test -p livekit-dev --test conformance

test-livekit: with-postgres ## Beside a real LiveKit of its own: LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET, GATEWAY_PORT
	.ci/test-livekit $(ARGS)

fuzz: tools ## Fuzz what strangers send, SECONDS=60 for each target; ARGS="nip98" for one of them
	SECONDS_EACH=$(or $(filter-out 0,$(SECONDS)),60) .ci/fuzz $(ARGS)

secrets: ## A .env with strong secrets, for docker compose; never overwrites one
	.ci/secrets

# -p, not --workspace: it must build while .sqlx is out of date.
with-postgres: tools
	$(CARGO) build --quiet -p postgres-dev

# The clients that test livekit-dev: Chromium with livekit-client, and the Python SDK.
sdk: tools
	@.ci/sdk

tools:
	@.ci/tools
