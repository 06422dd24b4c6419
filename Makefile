# The whole interface of a contributor: `make help`.
SHELL := bash
.DEFAULT_GOAL := help

LISTEN ?= 127.0.0.1:8000
DIR ?=

# What the black-box suites run in.
PYTHON := .venv/main/bin/python
PYTEST := $(PYTHON) -m pytest -q -p no:cacheprovider
FUZZ := .venv/fuzz/bin/python -m pytest -q -p no:cacheprovider
VENVS := $(patsubst tests/clients/requirements/%.txt,.venv/%/ready,$(wildcard tests/clients/requirements/*.txt))

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: quickstart
quickstart: build ## Build and start a server with embedded storage and a sample repository (DIR=..., LISTEN=...)
	exec target/release/lakebed quickstart --listen-address $(LISTEN) $(if $(DIR),--dir $(DIR))

.PHONY: build
build: ## Build the release binary
	cargo build --release -p lakebed

.PHONY: test
test: test-rust test-golden test-clients test-operations test-stores test-engines test-promises ## All tests, installing what they need

.PHONY: test-rust
test-rust: ## The tests of the crates
	cargo test --workspace

.PHONY: test-golden
test-golden: build venvs ## Recorded conversations and the acceptance scripts of published clients
	$(PYTHON) tests/golden/check.py
	$(PYTHON) tests/golden/clients.py

.PHONY: test-clients
test-clients: build venvs ## Published clients, unmodified, against the built server
	scripts/need.sh rclone=rclone restic=restic /usr/bin/aws=awscli s3fs=s3fs
	$(PYTEST) tests/clients/today tests/clients/boto3 tests/s3 tests/rest tests/description
	.venv/boto3_1_28/bin/python -m pytest -q -p no:cacheprovider tests/clients/boto3
	.venv/s3_tools/bin/python -m pytest -q -p no:cacheprovider tests/clients/s3_tools
	.venv/commands/bin/python -m pytest -q -p no:cacheprovider tests/clients/commands
	.venv/client_1_44/bin/python -m pytest -q -p no:cacheprovider tests/clients/classic
	.venv/client_0_99/bin/python -m pytest -q -p no:cacheprovider tests/clients/classic

.PHONY: test-operations
test-operations: build venvs ## What operators see and do: health, stopping, logs, metrics, TLS
	scripts/need.sh curl=curl
	$(PYTEST) tests/operations

.PHONY: test-chart
test-chart: ## The Helm chart, checked and rendered (a part of test-all: Helm is built for it)
	scripts/need.sh go=golang-go
	GOBIN=$(CURDIR)/.tools go install helm.sh/helm/v3/cmd/helm@v3.19.0
	.tools/helm lint deploy/helm/lakebed --set secrets.authEncryptSecretKey=x
	.tools/helm template x deploy/helm/lakebed --kube-version 1.30.0 --set secrets.authEncryptSecretKey=x --set ingress.enabled=true --set ingress.host=a.example >/dev/null
	.tools/helm template x deploy/helm/lakebed --kube-version 1.30.0 --set secrets.authEncryptSecretKey=x --set replicaCount=1 --set persistence.enabled=true >/dev/null

.PHONY: test-spark
test-spark: build .venv/spark_3_5/ready .venv/spark_4_0/ready ## Spark on s3a:// with each of its committers (a part of test-all: its packages are large)
	.venv/spark_3_5/bin/python -m pytest -q -p no:cacheprovider tests/clients/spark
	.venv/spark_4_0/bin/python -m pytest -q -p no:cacheprovider tests/clients/spark

.PHONY: test-suites
test-suites: build .venv/main/ready ## Public S3 suites and MinIO's mc against the built server (a part of test-all: their programs are built for it)
	scripts/need_suites.sh
	$(PYTHON) tests/suites/run.py versitygw
	$(PYTHON) tests/suites/run.py minio-go
	$(PYTHON) tests/suites/run.py s3s-e2e
	$(PYTEST) tests/clients/mc

.PHONY: test-java
test-java: build venvs .venv/java_sdk/ready ## The AWS SDK for Java (a part of test-all: it is fetched by Maven)
	$(PYTEST) tests/clients/java

.PHONY: test-stores
test-stores: build venvs node_modules/azurite ## Object stores: the conformance suite on emulators, a server over each, trouble
	scripts/need_versitygw.sh
	PATH="$(CURDIR)/.tools:$$PATH" $(PYTHON) tests/stores/conformance.py
	$(PYTEST) tests/stores

node_modules/azurite:
	scripts/need.sh node=nodejs npm=npm
	npm install --no-save --no-package-lock --no-audit --no-fund --silent azurite@3

.PHONY: test-engines
test-engines: build venvs .tools/pglite/node_modules ## Key-value engines on real servers: conformance, faults, histories, several servers over one
	scripts/need.sh postgres-server=postgresql psql=postgresql-client setpriv=util-linux
	cargo test -q -p lakebed-kv --test postgres --test dynamo -- --ignored
	$(PYTEST) tests/engines tests/formats

# Apart from the others: npm takes away what it was not asked for.
.tools/pglite/node_modules:
	scripts/need.sh node=nodejs npm=npm
	mkdir -p $(@D)
	npm install --prefix $(@D) --no-save --no-package-lock --no-audit --no-fund --silent --legacy-peer-deps \
		@electric-sql/pglite@0.5.14 @electric-sql/pglite-socket@0.2.17

.PHONY: test-promises
test-promises: build venvs ## Durability, crashes, memory, hostile input, fuzzing, the peer's losses: the short forms
	scripts/need.sh strace=strace
	$(PYTEST) tests/durability tests/torture tests/hostile tests/losses tests/bounded
	$(FUZZ) tests/fuzz

.PHONY: torture
torture: build venvs ## 64 writers through both doors while the server is killed 50 times
	$(PYTHON) tests/torture/torture.py --kills 50 --writers 64

.PHONY: test-all
test-all: test test-chart test-spark test-java test-suites torture ## Everything, the long forms included
	LAKEBED_HISTORIES=10000 cargo test --release -p lakebed-catalog --test simulation --test linearizable --test tasks_simulation -- --include-ignored
	LAKEBED_HISTORIES=2000 cargo test -q -p lakebed-kv --test postgres -- --ignored
	LAKEBED_HISTORIES=200 cargo test -q -p lakebed-kv --test dynamo -- --ignored histories
	LAKEBED_BOUNDED=full $(PYTEST) tests/bounded
	LAKEBED_FUZZ=1000000 LAKEBED_FUZZ_EXAMPLES=200 LAKEBED_SEED=$$RANDOM $(FUZZ) tests/fuzz
	$(PYTHON) tests/golden/check.py --all

.PHONY: venvs
venvs: $(VENVS) ## The Python environments of the black-box suites

.venv/%/ready: tests/clients/requirements/%.txt
	scripts/need.sh python3=python3 python-venv=python3-venv
	python3 -m venv --clear .venv/$*
	.venv/$*/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

# Spark, and what it needs for s3a:// in the versions that belong together.
.venv/spark_%/ready: tests/clients/spark/requirements_%.txt tests/clients/spark/jars_%.txt
	scripts/need.sh python3=python3 python-venv=python3-venv java=openjdk-17-jre-headless mvn=maven
	python3 -m venv --clear .venv/spark_$*
	.venv/spark_$*/bin/pip install --quiet --disable-pip-version-check -r $<
	set -e; for jar in $$(cat tests/clients/spark/jars_$*.txt); do \
		mvn -q -B dependency:copy -Dartifact=$$jar -DoutputDirectory=$(CURDIR)/.venv/spark_$*/jars; done
	touch $@

.venv/java_sdk/ready: tests/clients/java/pom.xml
	scripts/need.sh javac=openjdk-17-jdk-headless mvn=maven
	mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.venv/java_sdk/jars
	touch $@

.PHONY: lint
lint: ## Formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

.PHONY: licences
licences: ## Licences of all dependencies against deny.toml
	python3 scripts/check_licences.py

.PHONY: bench
bench: build ## Micro benchmarks, then what each operation costs the server (bench/README.md)
	cargo bench -p lakebed-tree -p lakebed-kv -p lakebed-catalog
	cargo build --release -p lakebed-bench
	target/release/lakebed-bench
