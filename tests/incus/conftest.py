# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One lab of real hosts for all tests of a session; each test begins where the lab was brought up.

This process moves into the lab's network: its names resolve here, and nothing outside can be reached.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.incus import chain, stack
from tests.lab.incus.lab import IncusLab, take_down
from tests.lab.scenario import Playbook
from tests.lab.state import orphans
from tests.tools import borrowed

PATIENCE = 300.0
"""Seconds that a playbook may take."""

Run = Callable[..., tuple[int, str]]

_USED: set[str] = set()
"""Names of labs that a test may have changed."""


@pytest.fixture(scope="session")
def outside() -> list[str]:
    """What runs a program where this process was before it moved into the lab's network."""
    namespaces = {kind: os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")}
    paths = {kind: f"/proc/{os.getpid()}/fd/{number}" for kind, number in namespaces.items()}
    return ["nsenter", f"--net={paths['net']}", f"--mount={paths['mnt']}", "--"]


@pytest.fixture(scope="session")
def session_lab(community_general: Path, event_driven: Path, outside: list[str]) -> Iterator[IncusLab]:
    """The lab of this session, as the tests before have left it: for those that only look."""
    assert outside, "noted before this process moves"
    for left in orphans("incus-it"):
        take_down(left)
    lab = stack.up(f"it-{os.getpid()}")
    try:
        lab.enter()
        yield lab
    finally:
        lab.down()


@pytest.fixture
def incus_lab(session_lab: IncusLab) -> IncusLab:
    """The lab, its hosts as they were when it was brought up."""
    if session_lab.name in _USED:
        session_lab.reset()
    _USED.add(session_lab.name)
    return session_lab


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a playbook against a lab; its exit status and what it printed."""

    def run_playbook(lab: IncusLab, name: str, *arguments: str) -> tuple[int, str]:
        playbook = Playbook(lab, name, *arguments, log=tmp_path / "log")
        return playbook.start().wait(PATIENCE), playbook.text()

    return run_playbook


@pytest.fixture(scope="session")
def community_general() -> Path:
    """A collections path with community.general, of which an operator may use the connection plugin incus."""
    return borrowed.path_with("community.general")


@pytest.fixture(scope="session")
def event_driven() -> Path:
    """The Python of an environment with ansible-rulebook."""
    return chain.python()
