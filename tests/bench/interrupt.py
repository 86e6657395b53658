# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A recovery is interrupted at random moments, by SIGINT and by SIGKILL, and run again: is the ledger whole?

    .venv/bin/python -m tests.bench.interrupt [--moments 20] [--seed N] [--out docs]

Each moment has an outage of its own on a local lab, under load. The moments are spread evenly over the length of a
recovery that nobody interrupted, each at random within its share.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.lab import processes
from tests.lab.outage import PATIENCE, Outage, outage
from tests.lab.state import CHECKOUT

from .diagnose import LICENCE

BEGIN = 0.5
"""Seconds in which Python starts: nothing of ours has begun before."""


@dataclass(frozen=True)
class Row:
    """One interruption: when, by what, in which task, and what the ledger says after the second run."""

    after: float
    by: str
    task: str
    effects: int
    findings: tuple[str, ...]

    def cells(self) -> str:
        """Return it as a line of the table."""
        told = "; ".join(self.findings) or "whole"
        return f"| {self.after:.1f} s | {self.by} | {self.task} | {self.effects} | {told} |"


def length(it: Outage) -> float:
    """Return the seconds of a recovery that nobody interrupts."""
    began = time.monotonic()
    it.run("recover_rabbitmq")
    return time.monotonic() - began


def interrupted(it: Outage, after: float, number: signal.Signals) -> Row:
    """Interrupt a recovery after so many seconds, run it again, and ask the ledger."""
    playbook = it.playbook("recover_rabbitmq").start()
    processes.wait_until(playbook.ended, after, 0.05)
    playbook.signal(number)
    # Ansible forgets a Ctrl-C that comes in the moment in which it forks: a person presses it again.
    for _press in range(15):
        if processes.wait_until(playbook.ended, 2.0):
            break
        playbook.signal(number)
    playbook.wait(PATIENCE)
    tasks = re.findall(r"^TASK \[(?:[\w.]+ : )?(.*?)\]", playbook.text(), re.MULTILINE)
    it.run("recover_rabbitmq")
    verdict = it.judge_audited()
    return Row(after, number.name, tasks[-1] if tasks else "before the first task", verdict.effects,
               tuple(verdict.findings()))  # fmt: skip


def measure(moments: int, chance: random.Random) -> list[Row]:
    """Return a row for each moment."""
    with outage(name="interrupt") as it:
        whole = length(it)
    print(f"uninterrupted: {whole:.1f} s", flush=True)
    rows = []
    for moment in range(moments):
        share = (whole - BEGIN) / moments
        after = BEGIN + share * (moment + chance.random())
        with outage(name="interrupt") as it:
            rows.append(interrupted(it, after, (signal.SIGINT, signal.SIGKILL)[moment % 2]))
        print(rows[-1].cells(), flush=True)
    return rows


def page(rows: list[Row], seed: int) -> str:
    """Return the page."""
    whole = sum(not row.findings for row in rows)
    table = "\n".join(row.cells() for row in rows)
    return f"""<!--
Copyright (c) 2026, Veza infrastructure team
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
{LICENCE}
-->

# Interrupted recoveries

A recovery of a real broker, under load, that is interrupted after so many seconds, and run again. Each line is an
outage of its own on a local lab. The ledger shares nothing with what it judges: no event missing, none doubled, and
what is listed as lost is what was lost. Made on {datetime.now(UTC):%Y-%m-%d} by
`.venv/bin/python -m tests.bench.interrupt --moments {len(rows)} --seed {seed}`.

**The ledger is whole after {whole} of {len(rows)}.**

| Interrupted after | By | In the task | Effects | Ledger |
| --- | --- | --- | --- | --- |
{table}
"""


def main() -> int:
    """Measure, print and write docs/interrupted.md; 1 when a ledger is not whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--out", type=Path, default=CHECKOUT / "docs")
    options = parser.parse_args()
    rows = measure(options.moments, random.Random(options.seed))
    options.out.mkdir(exist_ok=True)
    (options.out / "interrupted.md").write_text(page(rows, options.seed))
    return 1 if any(row.findings for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
