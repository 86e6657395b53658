# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real broker and a real database for the integration tests.

The labs are shared by all tests of a session: a test leaves them as it found them, the broker serving. When pytest
distributes the tests over several processes (``-n``), each of them is such a session, with labs of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import NodeManager

from tests.lab import state
from tests.lab.stack import Lab, Options, up

# Seconds that each process has, after Ctrl-C, to take its labs down.
NodeManager.EXIT_TIMEOUT = 60

# The files (or the tests: how their names begin) by how long they take: what takes longest comes first, so that all
# processes end together.
ORDER = (
    "test_secrets",
    "test_queue_drain_wait",
    "test_recover_scenarios::test_interrupted",
    "test_runner",
    "test_answer",
    "test_lab",
    "test_transcode_requeue",
    "test_recover_scenarios",
    "test_rabbitmq_host_info",
    "test_amqp_probe",
    "test_queue_give_up",
    "test_rabbitmq_health",
    "test_dmca_flush",
    "test_eventbus_dropped_info",
    "test_incident",
    "test_demo",
)
# Files whose tests share nothing: each test goes where there is time. Those of the others stay in one process, which
# brings up what they share.
SPREAD = ("test_recover_scenarios", "test_incident", "test_demo", "test_secrets")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests; in a file their order stays."""

    def place(item: pytest.Item) -> int:
        name = f"{item.path.stem}::{item.name}"
        return next((number for number, begin in enumerate(ORDER) if name.startswith(begin)), -1)

    items.sort(key=place)


class Scheduling(LoadScopeScheduling):
    """Gives the tests to the processes."""

    def _split_scope(self, nodeid: str) -> str:
        """Return a name for what must stay together, given the id of a test."""
        path = nodeid.partition("::")[0]
        return nodeid if Path(path).stem in SPREAD else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Let pytest-xdist use that."""
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The full lab: broker, database, Sentry, two API instances and the workers."""
    yield from _brought_up("it", Options())


@pytest.fixture(scope="session")
def bare_lab() -> Iterator[Lab]:
    """Broker and database only: nothing but the test publishes, consumes or writes."""
    yield from _brought_up("bare", Options(apps=False))


def _brought_up(prefix: str, options: Options) -> Iterator[Lab]:
    _remove_orphans()
    lab = up(f"{prefix}-{os.getpid()}", options)
    try:
        yield lab
    finally:
        lab.down()


def _remove_orphans() -> None:
    """Take down what killed test sessions left: a lab of the tests has the id of its process in its name."""
    cache = state.CHECKOUT / ".cache"
    cache.mkdir(exist_ok=True)
    # One at a time: processes that work side by side would get into each other's way.
    with state.lock(cache / "orphans.lock"):
        for left in state.orphans("it|bare|killed|small|scenario|demo"):
            state.remove(left)
