# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests of a recovery do with it, and ask of it."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

from tests.lab import processes
from tests.lab.ledger import Verdict
from tests.lab.outage import PATIENCE, Outage
from tests.lab.stack import Lab


def records(lab: Lab) -> dict[str, str]:
    """Return all that stands in the incidents' records."""
    return {path.name: path.read_text() for path in Path(lab.paths["incidents"]).glob("*/*.jsonl")}


def assert_good(verdict: Verdict) -> None:
    assert verdict.ok, "\n".join([*verdict.findings(), verdict.line()])
    assert verdict.effects > 0
    assert verdict.lost, "nothing was lost for good: the list is not put to the test"


def interrupt(it: Outage, task: str) -> None:
    """Start a recovery, and press Ctrl-C when it has come to ``task``; again when it takes no notice, as a person does.

    Ansible forgets a Ctrl-C that comes in the moment in which it forks; the next one kills it.
    """
    playbook = it.playbook("recover_rabbitmq").start()
    marker = re.compile(rf"^TASK \[.*{re.escape(task)}\]", re.MULTILINE)
    try:
        reached = processes.wait_until(lambda: playbook.ended() or marker.search(playbook.text()), PATIENCE)
        assert reached, f"'{task}' never came:\n{playbook.text()}"
        time.sleep(random.uniform(0.0, 0.4))
        for _press in range(15):
            playbook.interrupt()
            if processes.wait_until(playbook.ended, 2.0):
                break
        assert playbook.wait(PATIENCE) != 0, f"it was not interrupted in '{task}':\n{playbook.text()}"
    finally:
        playbook.end()
