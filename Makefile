# Tandem. Bare `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
COMPOSE := $(shell command -v docker-compose >/dev/null && echo docker-compose || echo docker compose)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## set everything up on this machine and start it on http://localhost (HTTP_PORT moves the port)
	@compose/up

# The passwords belong to root, as the container that made them did: the same container removes them.
down: ## stop it; with VOLUMES=1 also forget the data and the passwords
	@$(COMPOSE) down --remove-orphans $(if $(VOLUMES),--volumes)
	@$(if $(VOLUMES),$(COMPOSE) run --rm --entrypoint rm setup -rf /secrets/root /secrets/app && $(COMPOSE) down)

logs: ## follow the containers' output
	@$(COMPOSE) logs -f --tail 100

images: ## build the images
	@compose/up images

data: ## fetch or generate the data set for the image (EMPLOYEES=… and SEED=… size a generated one)
	@compose/up engine && images/base/build && images/binaries && images/mysql/data

test: ## install what the tests need and run all that this machine allows
	@tests/run

lint: ## check format, lints, documentation and scripts
	@tests/lint

docs: ## write the generated tables in docs/ anew
	@UPDATE_DOCS=1 cargo test --workspace --quiet documented

bench: ## measure the first start, restarts, memory and sizes
	@bench/images

.PHONY: help up down logs images data test lint docs bench
