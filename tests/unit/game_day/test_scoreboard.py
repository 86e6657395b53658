# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.game_day import scoreboard
from tests.game_day.result import Row
from tests.unit.game_day.fakes import fault

FAULTS = [fault(name="one"), fault(name="two", versions=("4.0",))]
VERSIONS = {"rabbitmq": "4.0.5", "ansible_core": "2.19.14", "collection": "0.1.0"}


def row(name: str = "one", rabbitmq: str = "4.0", **more: Any) -> Row:
    common: dict[str, Any] = {
        "at": "2026-11-24T01:02:03.000Z",
        "versions": VERSIONS,
        "expected": ["broker_crashed"],
        "cause": "broker_crashed",
        "seconds_to_name": 6.25,
        "listed": 2,
        "second_changed": 0,
        "mended_by": "recover",
    }
    return Row(name, "A fault", rabbitmq, 1, **{**common, **more})


def test_a_new_row_replaces_the_one_of_its_fault_and_family_only(tmp_path: Path) -> None:
    scoreboard.write(tmp_path, [row("two"), row(at="old"), row(rabbitmq="3.10")], FAULTS)
    every = scoreboard.write(tmp_path, [row(at="new")], FAULTS)
    assert [(*entry.key, entry.at[:3]) for entry in every] == [
        ("one", "4.0", "new"),
        ("one", "3.10", "202"),
        ("two", "4.0", "202"),
    ]
    assert scoreboard.read(tmp_path) == every


def test_rows_of_faults_that_are_no_more_are_dropped() -> None:
    assert scoreboard.merged([row("gone"), row("two", "3.10")], [row()], FAULTS) == [row()]


def test_a_line_of_the_table() -> None:
    assert scoreboard.cells(row()) == (
        "one", "4.0.5", "broker_crashed", "right", "6.2 s", "-", "-",
        "0", "0", "2", "0", "none", "recover", "2026-11-24",
    )  # fmt: skip
    assert len(scoreboard.cells(row())) == len(scoreboard.HEADINGS)


def test_a_wrong_row_and_an_invalid_one_say_so() -> None:
    wrong, invalid = row(cause="healthy"), row("two", invalid="never seen", cause=None)
    assert "**WRONG**" in scoreboard.cells(wrong)
    assert "**INVALID**" in scoreboard.cells(invalid)
    assert scoreboard.findings([row(), wrong, invalid]) == [
        "one (4.0): named healthy instead of broker_crashed",
        "two (4.0): INVALID: never seen",
    ]
    assert scoreboard.tally([row(), wrong, invalid]).startswith("3 runs: 1 causes right, 1 wrong, 1 invalid; ")


def test_the_table_is_aligned_and_nothing_breaks_its_columns() -> None:
    lines = scoreboard.table([row(), row(forbidden=["restarted a|b"])]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert {line.count("|") for line in lines} == {len(scoreboard.HEADINGS) + 1}


def test_the_page_names_versions_dates_and_what_never_ran(tmp_path: Path) -> None:
    scoreboard.write(tmp_path, [row(missing=["dmca 3"])], FAULTS)
    page = (tmp_path / "scoreboard.md").read_text()
    assert "RabbitMQ 4.0.5, ansible-core 2.19.14, veza.rabbitmq 0.1.0" in page
    assert "- one (4.0): 1 missing: dmca 3" in page
    assert "one (3.10), two (4.0)." in page
    assert all(len(line) <= 120 or line.startswith("|") for line in page.splitlines())


def test_a_row_survives_its_json_and_a_later_version_of_itself() -> None:
    entry = row(forbidden=["x"], params={"signal": "KILL"})
    assert Row.read({**entry.document(), "of a later version": 1}) == entry
