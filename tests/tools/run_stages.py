# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run stages of the noxfile and close with a table and a line of counts.

    .venv/bin/python tests/tools/run_stages.py [STAGE...]       without a name: all that `make test` runs
    .venv/bin/python tests/tools/run_stages.py --everything     that, and `make test-incus`

Every stage runs, whatever the others say. The exit status is 0 when none failed. All that `make test` runs goes in
lanes, side by side; each line of output then begins with the name of its lane.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.tools import junit  # noqa: E402

OUTPUT = ROOT / "tests" / "output"
# Sessions that only name others.
GROUPS = ("checks", "package", "lint", "unit")
# Seconds after the end of a lane in which its last lines must come: what it left running may hold its output open.
LAST_LINES = 10.0


@dataclass(frozen=True)
class Lane:
    """Stages, or a session that names them, that run one after the other in a nox of their own.

    ``yields``: what it runs makes way for the others, as tests that wait for servers should not have to wait for the
    processor too.
    """

    name: str
    stages: tuple[str, ...]
    yields: bool = False

    @property
    def report(self) -> Path:
        """The file in which nox notes what came of each stage."""
        return OUTPUT / f"stages-{self.name}.json"

    def command(self) -> list[str]:
        """The command that runs it."""
        nox = [sys.executable, "-m", "nox", "--report", str(self.report), "--session", *self.stages]
        return ["nice", "-n", "5", *nox] if self.yields else nox

    def sessions(self) -> list[dict[str, Any]]:
        """What came of its stages; a nox that never got so far as to say so is a stage that failed."""
        if not self.report.is_file():
            return [{"name": self.name, "result": "failed", "reason": "no report", "duration": 0.0}]
        sessions = json.loads(self.report.read_text())["sessions"]
        return [session for session in sessions if session["name"] not in GROUPS]


# In the order of the table, which is that of the noxfile.
# Two that yield: whichever is left when the others have ended would leave a processor idle.
CHECKS = (Lane("checks", ("checks",), yields=True), Lane("package", ("package",), yields=True))
TEST = (*CHECKS, Lane("servers", ("integration", "demo", "awx")))
# The hosts come last: with their own they need less of the processors, but must not wait for them. What is judged by
# the second is in the lane that does not yield.
EVERYTHING = (
    Lane("checks", ("checks", "demo", "awx"), yields=True),
    Lane("package", ("package",), yields=True),
    Lane("servers", ("integration", "incus", "incus-3.10")),
)


def table(sessions: Sequence[dict[str, Any]]) -> tuple[list[str], junit.Count]:
    """Lines for the screen, and the sum: a stage that counts no tests of its own is one test."""
    lines = []
    passed = failed = skipped = 0
    for session in sessions:
        name, result = session["name"], session["result"]
        tests = junit.count(OUTPUT / "junit" / f"{name}.xml")
        if result == "skipped":
            skipped += 1
            lines.append(f"{name:<16}          {session['reason'] or 'skipped'}")
            continue
        good = result == "success"
        counted = tests.passed + tests.failed
        passed += tests.passed if counted else int(good)
        failed += tests.failed if tests.failed else int(not good)
        what = f"{counted} tests" if counted else ""
        lines.append(f"{name:<16} {session['duration']:6.0f} s  {'ok' if good else 'FAILED':<7} {what}".rstrip())
    return lines, junit.Count(passed, failed, skipped)


def show(lane: Lane, output: IO[str]) -> None:
    """Print what a lane says, line by line."""
    for line in output:
        print(f"{lane.name:<7} | {line}", end="", flush=True)


def run_beside(lanes: Sequence[Lane]) -> int:
    """Run lanes at the same time; return the worst exit status."""
    running = []
    for lane in lanes:
        process = subprocess.Popen(
            lane.command(),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        printer = threading.Thread(target=show, args=(lane, process.stdout), daemon=True)
        printer.start()
        running.append((process, printer))
    statuses = []
    for process, printer in running:
        statuses.append(process.wait())
        printer.join(LAST_LINES)
    return max(abs(status) for status in statuses)


def main() -> int:
    """Run what the command line names."""
    stages = tuple(sys.argv[1:])
    lanes = EVERYTHING if stages == ("--everything",) else (Lane("stages", stages),) if stages else TEST
    (OUTPUT / "junit").mkdir(parents=True, exist_ok=True)
    for old in (*(OUTPUT / "junit").glob("*.xml"), *(lane.report for lane in lanes)):
        old.unlink(missing_ok=True)
    # Ctrl-C is for nox and its children, which clean up: this process waits for them.
    signal.signal(signal.SIGINT, lambda *_unused: None)
    if len(lanes) > 1:
        status = run_beside(lanes)
    else:
        status = subprocess.run(lanes[0].command(), cwd=ROOT, check=False).returncode
    sessions = [session for lane in lanes for session in lane.sessions()]
    lines, total = table(sessions)
    print("\n" + "\n".join(lines) + "\n")
    for session in sessions:
        for failure in junit.failures(OUTPUT / "junit" / f"{session['name']}.xml"):
            print(f"{session['name']}: {failure}")
    skipped = f", {total.skipped} skipped" if total.skipped else ""
    print(f"{total.passed} passed, {total.failed} failed{skipped}", flush=True)
    return 1 if status or total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
