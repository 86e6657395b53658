# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Each target sets up what it needs by itself (tests/setup.sh); the second time that takes no time.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# Ansible wants UTF-8, and a bare machine says POSIX.
export LC_ALL := C.UTF-8

# LAB=local: processes on this machine. LAB=incus: hosts of their own.
LAB ?= local
NAME ?= play
CONFIRMS ?= on
RABBITMQ ?= 4.0
NODES ?= 1
FAULTS ?=
VERSIONS ?= both

LABS := local incus
ifeq ($(filter $(LAB),$(LABS)),)
$(error LAB=$(LAB): there are $(LABS))
endif
lab_local := -m tests.lab
lab_incus := -m tests.lab.incus
up_local := --confirms "$(CONFIRMS)"
up_incus := --confirms "$(CONFIRMS)" --rabbitmq "$(RABBITMQ)" --nodes "$(NODES)"

# The command that a target is for replaces the shell (exec): Ctrl-C reaches it, and make waits until it has cleaned up.
.PHONY: help demo test test-incus test-incus-long test-all game-day lab-up lab-down lint sanity unit integration setup clean

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: ## a real outage of a real broker, mended, drained, audited and reported
	@tests/setup.sh lab
	@exec .venv/bin/python -m tests.lab.demo

lab-up: ## bring up a lab and keep it (LAB=local|incus NAME=play CONFIRMS=on|off; incus: RABBITMQ=4.0|3.10 NODES=1|2|3)
	@tests/setup.sh lab $(filter incus,$(LAB))
	@exec .venv/bin/python $(lab_$(LAB)) up --name "$(NAME)" $(up_$(LAB))

lab-down: ## take a lab down (LAB=local|incus NAME=play)
	@tests/setup.sh lab
	@exec .venv/bin/python $(lab_$(LAB)) down --name "$(NAME)"

test: ## every test that needs no hosts of its own
	@tests/setup.sh test
	@exec .venv/bin/python tests/tools/run_stages.py

test-incus: ## tests on real hosts: the Incus lab, game day E, a part of the fault catalogue
	@tests/setup.sh test incus
	@exec .venv/bin/python tests/tools/run_stages.py incus incus-3.10

test-incus-long: ## on real hosts, what takes long: game day E red, the chain from alert to report, more faults
	@tests/setup.sh test incus
	@exec .venv/bin/python tests/tools/run_stages.py incus-long

test-all: ## test and test-incus together: while one waits, the other works
	@tests/setup.sh test incus
	@exec .venv/bin/python tests/tools/run_stages.py --everything

game-day: ## the whole fault catalogue on real hosts; writes docs/scoreboard.md (FAULTS=a,b VERSIONS=4.0|3.10|both)
	@tests/setup.sh lab incus
	@exec .venv/bin/python -m tests.game_day --faults "$(FAULTS)" --rabbitmq "$(VERSIONS)"

lint: ## style, types, YAML, ansible-lint, documentation, changelog, licences
	@tests/setup.sh test
	@exec .venv/bin/python tests/tools/run_stages.py lint

sanity: ## ansible-test sanity
	@tests/setup.sh test
	@exec .venv/bin/python tests/tools/run_stages.py sanity

unit: ## unit tests with each supported ansible-core
	@tests/setup.sh test
	@exec .venv/bin/python tests/tools/run_stages.py unit

integration: ## tests against a real broker and database
	@tests/setup.sh test
	@exec .venv/bin/python tests/tools/run_stages.py integration

setup: ## only set up: servers, virtual environment
	@tests/setup.sh test

clean: ## remove what the targets made in this checkout
	@rm -rf .venv .nox .cache .ansible .hypothesis .mypy_cache .ruff_cache .pytest_cache dist tests/output
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
