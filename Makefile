# Tandem. Bare `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
COMPOSE := $(shell command -v docker-compose >/dev/null && echo docker-compose || echo docker compose)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## set everything up on this machine and start it on http://localhost (HTTP_PORT moves the port)
	@compose/up

# Only what is given to make itself asks for it: a shell may have exported a VOLUMES of another program.
FORGET := $(if $(filter command,$(origin VOLUMES)),$(VOLUMES))

# The passwords belong to root, as the container that made them did: the same container removes them.
down: ## stop it; with VOLUMES=1 also forget the data and the passwords
	@$(if $(filter-out 1,$(FORGET)),$(error VOLUMES is "$(FORGET)": give VOLUMES=1 to forget the data and the passwords, or nothing to keep them))
	@$(COMPOSE) down --remove-orphans
	@$(if $(FORGET),$(COMPOSE) run --rm --entrypoint rm setup -rf /secrets/root /secrets/app && $(COMPOSE) down --volumes)

logs: ## follow the containers' output
	@$(COMPOSE) logs -f --tail 100

images: ## build the images (EMPLOYEES=… and SEED=… give them a generated data set of that size)
	@compose/up images

operator-image: ## build the operator's image
	@compose/up engine && images/base/build && images/binaries tandem-operator && images/build operator

kind-up: ## start a Kubernetes with kind, and on it the operator and the example on http://localhost
	@manifests/kind check && $(MAKE) --no-print-directory operator-image && compose/up images && manifests/kind up

kind-down: ## delete that Kubernetes
	@manifests/kind down

data: ## fetch or generate the data set alone; images and up do it too, and take EMPLOYEES=… and SEED=… themselves
	@compose/up engine && images/base/build && images/binaries && images/mysql/data

test: ## install what the tests need and run all that this machine allows
	@tests/run

cluster-test: ## run the operator's tests on a real Kubernetes (KUBECONFIG, TEST_CLUSTER, or kind)
	@tests/run images cluster

chaos: ## let everything happen to a group of MySQL servers, again and again and at random (CHAOS_MINUTES, CHAOS_ROUNDS, CHAOS_SEED)
	@tests/run images chaos

lint: ## check format, lints, documentation and scripts
	@tests/lint

generate: ## write all generated files anew: the custom resource, its reference, the OpenAPI document, the tables in docs/
	@mkdir -p target
	@cargo run --quiet -p tandem-operator -- crd >target/crd.yaml && mv target/crd.yaml manifests/crd/webstacks.yaml
	@cargo run --quiet -p tandem-operator -- reference >target/webstack.md && mv target/webstack.md docs/webstack.md
	@cargo run --quiet -p tandem-webapp -- openapi >target/openapi.json && mv target/openapi.json docs/openapi.json
	@UPDATE_DOCS=1 cargo test --workspace --quiet the_documented_table_is_current

bench: ## measure the pages beside the same ones in Flask, FastAPI and Go; writes bench/report
	@# The peers' images are packages, which are fetched while the compiler works.
	@compose/up engine && images/base/build && \
	  { bench/web --peers & peers=$$!; compose/up images; built=$$?; wait $$peers && [ $$built = 0 ]; } && bench/web

bench-images: ## measure the first start, restarts, memory and sizes
	@compose/up images && bench/images

.PHONY: help up down logs images operator-image kind-up kind-down data test cluster-test chaos lint generate bench bench-images
