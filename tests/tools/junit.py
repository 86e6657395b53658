# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counts from JUnit files, as pytest and ansible-test write them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

MESSAGE = 400
"""So many characters of what a test said when it failed are shown; its end, where the difference stands."""


@dataclass(frozen=True)
class Count:
    """How many tests a stage ran, and how they ended."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


def count(report: Path) -> Count:
    """The counts of one report; none at all when there is no report."""
    if not report.is_file():
        return Count()
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in suites:
        for name in totals:
            totals[name] += int(suite.get(name, 0))
    failed = totals["failures"] + totals["errors"]
    return Count(totals["tests"] - failed - totals["skipped"], failed, totals["skipped"])


def failures(report: Path) -> list[str]:
    """A line for each test of a report that failed: its name, and the end of what it said."""
    if not report.is_file():
        return []
    found = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        for kind in ("failure", "error"):
            if (bad := case.find(kind)) is not None:
                said = " ".join((bad.get("message") or bad.text or "").split())
                found.append(f"{case.get('classname')}::{case.get('name')}: {said[-MESSAGE:]}")
    return found
