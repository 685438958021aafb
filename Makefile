# What a person types. Each target says in one line what it does; `make` alone lists them.
# The work is done by tools/ and by the nectar command (docs/command.md).
.PHONY: help lab lab-down clean status test check bench packages environment

# With sudo, all that is written still belongs to whoever typed it.
OWNER = tools/as-owner
NECTAR = $(OWNER) .venv/bin/nectar

help: ## list the targets
	@awk -F ' *## *' '/^[a-z-]+:.*##/ {sub(/:.*/, "", $$1); printf "make %-10s %s\n", $$1, $$2}' Makefile

lab: packages ## make the lab's hosts, converge them, deploy, show what is served (TOPOLOGY=ha or single)
	@$(NECTAR) lab up $(if $(TOPOLOGY),--topology $(TOPOLOGY))

status: environment ## ask every deployment again (FORMAT=table or json)
	@$(NECTAR) status $(if $(FORMAT),--format $(FORMAT))

lab-down: packages ## remove the lab's hosts, networks, volumes, secrets and state
	@$(NECTAR) lab down

clean: ## remove the lab, its images and the environment; installed packages stay
	@[ ! -x .venv/bin/nectar ] || $(NECTAR) lab clean
	@$(OWNER) rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache

check: environment ## the fast part of the tests: lint, types, units
	@$(OWNER) tools/check

test: packages ## everything that CI checks, on hosts of its own
	@$(OWNER) tools/test

bench: environment ## measure it against its peers (TARGET=name for one, ROUNDS=n for more certainty)
	@$(OWNER) .venv/bin/python -m bench $(TARGET) $(if $(ROUNDS),--rounds $(ROUNDS))

packages:
	@$(OWNER) tools/bootstrap

environment:
	@$(OWNER) tools/bootstrap environment
