# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real broker and a real database for the integration tests.

The labs are shared by all tests of a session: a test leaves them as it found them, the broker serving.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import state
from tests.lab.stack import Lab, Options, up


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
    """Take down what killed test sessions left: a lab of the tests has the id of its session in its name."""
    example = state.state_directory("x")
    before, after = example.name.split("-x-")
    pattern = re.compile(rf"{before}-(?:it|bare|killed|small|scenario|demo)-(\d+)-{after}")
    for directory in example.parent.iterdir():
        match = pattern.fullmatch(directory.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            state.remove(directory)
