# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real outage on a local lab of its own, under load, with the ledger for a judge."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from . import scenario, stack
from .ledger import Event, Verdict
from .scenario import Load, Playbook, ScenarioError, Watch
from .stack import Lab, Options

PATIENCE = 300.0
"""Seconds after which something has gone wrong, however busy the machine is."""


@dataclass
class Outage:
    """An outage that goes on, with load."""

    lab: Lab
    load: Load
    watch: Watch
    killed_at: float
    quiet_since: float | None = None
    """When the last request had its answer."""

    def playbook(self, name: str, *arguments: str) -> Playbook:
        """Return a playbook that is not started yet."""
        number = len(list(self.lab.dir.glob("logs/playbook-*"))) + 1
        log = self.lab.dir / "logs" / f"playbook-{number}.log"
        log.touch()
        return Playbook(self.lab, name, *arguments, log=log)

    def run(self, name: str, *arguments: str) -> str:
        """Run a playbook that must succeed; return what it printed."""
        playbook = self.playbook(name, *arguments)
        status = playbook.start().wait(PATIENCE)
        if status != 0:
            raise ScenarioError(f"{name} ended with {status}:\n{playbook.text()}")
        return playbook.text()

    def judge(self, listed: frozenset[Event] | None) -> Verdict:
        """End the load, let all come to rest, and return the verdict."""
        self.load.stop()
        self.quiet_since = self.quiet_since or time.time()
        if not scenario.settle(self.lab, self.quiet_since, PATIENCE):
            raise ScenarioError(f"still under way: {scenario.under_way(self.lab)}")
        self.watch.stop()
        return scenario.verdict(self.lab, self.watch.outage(), listed)

    def judge_audited(self) -> Verdict:
        """Return the verdict, by what the audit listed."""
        return self.judge(scenario.audits(self.lab))


@contextmanager
def outage(options: Options | None = None, name: str = "scenario") -> Iterator[Outage]:
    """Bring up a lab, let it work, kill its broker and wait until events of every kind were lost."""
    lab = stack.up(f"{name}-{os.getpid()}", options or Options())
    try:
        with Load(lab) as load:
            time.sleep(3)
            killed_at = time.time()
            watch = scenario.kill_broker(lab)
            scenario.await_losses(lab, timeout=PATIENCE)
            yield Outage(lab, load, watch, killed_at)
    finally:
        lab.down()
