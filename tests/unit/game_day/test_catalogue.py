# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.game_day import causes, watchers
from tests.game_day.fault import Fault, catalogue, chosen

FAULTS = catalogue()
DIRECTORY = Path(causes.__file__).with_name("faults")


def test_each_file_is_a_fault_of_its_name() -> None:
    assert set(FAULTS) == {path.stem for path in DIRECTORY.glob("*.py")} - {"__init__"}
    assert len(FAULTS) >= 10


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_each_cause_is_known_or_wanted(fault: Fault) -> None:
    assert fault.causes <= causes.known() | set(causes.WANTED)
    assert "unknown" not in fault.causes
    assert fault.title
    assert fault.source


def test_what_the_diagnosis_knows_is_wanted_no_more() -> None:
    assert not causes.known() & set(causes.WANTED)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_what_a_fault_excuses_is_watched(fault: Fault) -> None:
    assert fault.may_change <= set(watchers.WATCHERS)


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_chance_comes_from_the_seed(path: Path) -> None:
    """A fault that draws from the module's own generator can't be repeated."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    drawn = [node.attr for node in calls if isinstance(node.value, ast.Name) and node.value.id == "random"]
    assert set(drawn) <= {"Random"}


def test_a_title_is_told_once() -> None:
    titles = [fault.title for fault in FAULTS.values()]
    assert len(titles) == len(set(titles))


def test_faults_are_chosen_by_name() -> None:
    assert chosen("", FAULTS) == list(FAULTS.values())
    assert [fault.name for fault in chosen("stopped, crash", FAULTS)] == ["stopped", "crash"]
    with pytest.raises(ValueError, match="no such fault: crush; there are"):
        chosen("crush", FAULTS)


def test_a_fault_that_may_be_taken_for_nothing_is_refused() -> None:
    crash = FAULTS["crash"]
    with pytest.raises(ValueError, match="no cause"):
        Fault("x", "x", "x", frozenset(), crash.inject, crash.present, crash.heal)
    with pytest.raises(ValueError, match="versions"):
        Fault("x", "x", "x", crash.causes, crash.inject, crash.present, crash.heal, versions=("5.0",))
