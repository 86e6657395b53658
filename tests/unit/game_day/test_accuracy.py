# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.game_day import accuracy
from tests.game_day.accuracy import HEALTHY
from tests.game_day.result import Row

VERSIONS = {"rabbitmq": "4.0.5", "ansible_core": "2.19.14", "collection": "0.1.0"}


def row(name: str = "crash", rabbitmq: str = "4.0", seed: int = 1, **more: Any) -> Row:
    common: dict[str, Any] = {
        "at": "2026-11-24T01:02:03.000Z",
        "versions": VERSIONS,
        "expected": ["broker_crashed"],
        "cause": "broker_crashed",
        "seconds_to_name": 5.0,
    }
    return Row(name, "A fault", rabbitmq, seed, **{**common, **more})


def healthy(**more: Any) -> Row:
    return row(HEALTHY.name, **{"expected": ["healthy"], "cause": "healthy", **more})


WRONG = row(seed=2, cause="broker_hung", also=["network_down"], seconds_to_name=9.0)
INVALID = row(seed=3, cause=None, seconds_to_name=None, invalid="never seen")


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(0, 0, 0.0, 1.0), (10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (30, 32, 0.7985, 0.9827), (1, 1, 0.2065, 1.0)],
)
def test_the_interval_is_wilsons(right: int, count: int, low: float, high: float) -> None:
    assert accuracy.wilson(right, count) == pytest.approx((low, high), abs=5e-5)


def test_invalid_runs_count_nowhere_but_apart() -> None:
    assert accuracy.summary([row(), WRONG, INVALID]) == (
        "1 of 2 right: 50.0 %, 95 % confidence interval 9.5 to 90.5 %; 1 invalid; "
        "named in 7.0 s (median), 9.0 s (longest)."
    )


def test_nothing_measured_is_no_figure() -> None:
    assert accuracy.summary([INVALID]) == (
        "0 of 0 right: 95 % confidence interval 0.0 to 100.0 %; 1 invalid; named in -."
    )


def test_whoever_names_a_cause_besides_healthy_is_wrong() -> None:
    assert accuracy.wrong(healthy()) is None
    assert accuracy.wrong(healthy(also=["worker_wedged"])) == "healthy and worker_wedged instead of healthy"
    assert accuracy.wrong(healthy(cause="network_down")) == "network_down instead of healthy"


def test_what_is_wrong_is_said_with_all_that_was_named() -> None:
    assert accuracy.wrong(row()) is None
    assert accuracy.wrong(WRONG) == "broker_hung and network_down instead of broker_crashed"
    assert accuracy.wrong(INVALID) == "INVALID: never seen"
    assert accuracy.wrong(row(cause=None)) == "nothing instead of broker_crashed"


def test_two_faults_at_once_are_told_apart_from_the_first_cause() -> None:
    two = row("two", each=[["broker_crashed"], ["worker_wedged"]])
    assert accuracy.wrong(two) == "worker_wedged was not named besides"
    assert accuracy.is_right(two)
    named = row("two", seed=2, each=two.each, also=["worker_wedged"])
    assert accuracy.wrong(named) is None
    assert "1 of 2 with two faults at once named both; " in accuracy.summary([two, named])


def test_the_matrix_has_a_line_for_each_fault_and_family() -> None:
    lines = accuracy.matrix([row(), WRONG, INVALID, row(rabbitmq="3.10"), healthy(also=["clock_off"])]).splitlines()
    assert lines[2:] == [
        "| crash | 4.0 | 2 | 1 | 1 | broker_crashed 1, **broker_hung** 1 | network_down 1 "
        "| 7.0 s (median), 9.0 s (longest) |",
        "| crash | 3.10 | 1 | 1 | 0 | broker_crashed 1 | - | 5.0 s (median), 5.0 s (longest) |",
        "| healthy_under_load | 4.0 | 1 | 0 | 0 | **healthy** 1 | **clock_off** 1 | 5.0 s (median), 5.0 s (longest) |",
    ]
    assert {line.count("|") for line in lines} == {len(accuracy.HEADINGS) + 1}


def test_a_fault_that_was_only_invalid_has_a_line() -> None:
    assert accuracy.matrix([INVALID]).splitlines()[2] == "| crash | 4.0 | 0 | 0 | 1 | - | - | - |"


def test_a_new_run_replaces_that_of_its_fault_family_and_seed(tmp_path: Path) -> None:
    accuracy.write(tmp_path / "docs", [row(), row(seed=2), row(rabbitmq="3.10")])
    every = accuracy.write(tmp_path / "docs", [row(at="new")])
    assert [(entry.rabbitmq, entry.seed, entry.at[:3]) for entry in every] == [
        ("3.10", 1, "202"),
        ("4.0", 1, "new"),
        ("4.0", 2, "202"),
    ]
    assert accuracy.read(tmp_path / "docs") == every


def test_the_page_is_written_anew_from_the_runs(tmp_path: Path) -> None:
    accuracy.write(tmp_path, [row(), WRONG, INVALID, row(rabbitmq="3.10")])
    page = tmp_path / "accuracy.md"
    before = page.read_text()
    page.unlink()
    accuracy.write(tmp_path, [])
    assert page.read_text() == before
    assert json.loads((tmp_path / "accuracy.json").read_text())["summary"] in before.replace("\n", " ")


def test_the_page_names_dates_versions_families_and_what_is_wrong() -> None:
    page = accuracy.markdown([row(), WRONG, INVALID])
    assert "Measured on 2026-11-24: RabbitMQ 4.0.5, ansible-core 2.19.14, veza.rabbitmq 0.1.0." in page
    assert "- RabbitMQ 4.0: 1 of 2 right" in page
    assert "RabbitMQ 3.10" not in page
    assert "- crash (4.0, seed 2): broker_hung and network_down instead of broker_crashed" in page
    assert "- crash (4.0, seed 3): INVALID: never seen" in page
    assert all(len(line) <= 120 or line.startswith("|") for line in page.splitlines())


def test_a_page_of_nothing_says_so() -> None:
    assert "Not measured yet." in accuracy.markdown([])
    assert "## Wrong or invalid" not in accuracy.markdown([row()])
