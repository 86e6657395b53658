# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole runbook is mapped: each step to what does it and what proves it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.plugins.filter.evidence import causes

ROOT = Path(__file__).parents[2]
STEPS = (
    "impact", "first-moves-1", "first-moves-2", "first-moves-3", "down-state", "down-disk-alarm", "down-memory-alarm",
    "down-crashed", "down-split-brain", "unreachable-path", "unreachable-credentials", "mitigation-level",
    "mitigation-no-restart", "recovery-1", "recovery-2", "recovery-3", "audit-1", "audit-2", "audit-3", "postmortem",
    "future-cluster", "future-idempotency",
)  # fmt: skip
"""The runbook's own headings, lists and numbers, in their order."""

ROWS = {
    cells[0].strip("`"): cells
    for line in (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| `") and (cells := [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
}


def test_every_step_is_there_once_and_in_order() -> None:
    assert tuple(ROWS) == STEPS


@pytest.mark.parametrize("step", STEPS)
def test_what_does_it_and_what_proves_it_exist(step: str) -> None:
    _step, _says, does, proof = ROWS[step]
    paths = [word for word in re.findall(r"`([^`]+)`", f"{does} {proof}") if "/" in word]
    assert len(paths) >= 2, step
    for path, _unused, test in (word.partition("::") for word in paths):
        assert (ROOT / path).is_file(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), test


def test_every_cause_belongs_to_a_step() -> None:
    assert {cause["runbook"] for cause in causes().values()} <= set(STEPS)
