# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run stages of the noxfile and close with a table and a line of counts.

    .venv/bin/python tests/tools/run_stages.py [STAGE...]       without a name: all that `make test` runs

Every stage runs, whatever the others say. The exit status is 0 when none failed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.tools import junit  # noqa: E402

OUTPUT = ROOT / "tests" / "output"
# Sessions that only name others.
GROUPS = ("lint", "unit")


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


def run_nox(stages: Sequence[str], report: Path) -> int:
    """Run nox; Ctrl-C is for nox and its children, which clean up: this process waits for them."""
    signal.signal(signal.SIGINT, lambda *_unused: None)
    command = [sys.executable, "-m", "nox", "--report", str(report)]
    if stages:
        command += ["--session", *stages]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def main() -> int:
    """Run what the command line names."""
    report = OUTPUT / "stages.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    for old in (OUTPUT / "junit").glob("*.xml"):
        old.unlink()
    status = run_nox(sys.argv[1:], report)
    if not report.is_file():
        print("0 passed, 1 failed")
        return status or 1
    sessions = [session for session in json.loads(report.read_text())["sessions"] if session["name"] not in GROUPS]
    lines, total = table(sessions)
    print("\n" + "\n".join(lines) + "\n")
    skipped = f", {total.skipped} skipped" if total.skipped else ""
    print(f"{total.passed} passed, {total.failed} failed{skipped}", flush=True)
    return 1 if status or total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
