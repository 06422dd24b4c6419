# The whole interface of a contributor: `make help`.
SHELL := bash
.DEFAULT_GOAL := help

LISTEN ?= 127.0.0.1:8000
DIR ?=

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: quickstart
quickstart: ## Build and start a server with embedded storage and a sample repository (DIR=..., LISTEN=...)
	cargo build --release -p lakebed
	exec target/release/lakebed quickstart --listen-address $(LISTEN) $(if $(DIR),--dir $(DIR))

.PHONY: build
build: ## Build the release binary
	cargo build --release -p lakebed

.PHONY: test
test: test-rust ## All tests, installing what they need

.PHONY: test-rust
test-rust: ## The tests of the crates
	cargo test --workspace

.PHONY: lint
lint: ## Formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

.PHONY: licences
licences: ## Licences of all dependencies against deny.toml
	python3 scripts/check_licences.py

.PHONY: bench
bench: ## Micro benchmarks
	cargo bench --workspace
