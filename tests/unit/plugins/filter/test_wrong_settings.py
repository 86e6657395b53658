# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._wrong_numbers import wrong_numbers
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._wrong_window import wrong_window

LIMITS: dict[str, Any] = {"wait": [0, 3600], "table": {"count": [1, 9]}}
NOW = "2026-11-28T05:00:00Z"
WEEK = 604800


@pytest.mark.parametrize("value", [0, 3600, 12.5, "30", "", None])
def test_a_number_within_its_limits_is_right(value: Any) -> None:
    assert wrong_numbers({"wait": value}, LIMITS) == []


@pytest.mark.parametrize("value", [-5, 3601, 1e18, float("nan"), "nan", "-inf", float("inf"), "x", [], 10**400])
def test_what_is_no_number_within_its_limits_is_named(value: Any) -> None:
    [said] = wrong_numbers({"wait": value}, LIMITS)
    assert said.startswith("wait is ")
    assert said.endswith(", not a number from 0 to 3600")
    assert len(said) < 100


def test_all_that_is_wrong_is_said_at_once() -> None:
    wrong = {"count": "x"}
    assert wrong_numbers({"wait": -1, "table": wrong}, LIMITS) == [
        "wait is -1, not a number from 0 to 3600",
        "table.count is x, not a number from 1 to 9",
    ]
    assert wrong_numbers({"table": [{"name": "a", "count": 2}, {"name": "{b}", **wrong}, wrong, "c"]}, LIMITS) == [
        "table[{b}].count is x, not a number from 1 to 9",
        "table[2].count is x, not a number from 1 to 9",
    ]


@pytest.mark.parametrize("table", ["text", 5, {}, [], {"queue": "q"}])
def test_a_table_of_another_type_is_left_to_ansible(table: Any) -> None:
    assert wrong_numbers({"table": table}, LIMITS) == []


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-28T04:50:00Z", "2026-11-28T04:59:00Z"),
        ("2026-11-28 04:50:00 +00:00", "2026-11-28 04:59:00+00:00"),
        ("2026-11-28T04:50:00Z", ""),
        ("", None),
    ],
)
def test_a_window_of_the_past_is_believed(start: Any, end: Any) -> None:
    assert wrong_window({"from": start, "to": end}, NOW, WEEK) == []


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        pytest.param("noon", "2026-11-28T04:00:00", ["from: 'noon' is no", "to: '2026-11-28T04:00:00' has no offset"],
                     id="both are no instants"),
        pytest.param("2026-11-28T06:00:00Z", "", ["from: 2026-11-28T06:00:00Z lies in the future"], id="to come"),
        pytest.param("2026-11-28T04:50:00Z", "2026-11-28T04:40:00Z", ["to: 2026-11-28T04:40:00Z does not come after"],
                     id="the wrong way round"),
        pytest.param("0001-01-01T00:00:10Z", "2026-11-28T04:40:00Z", ["to: the window is "], id="a year mistyped"),
    ],
)  # fmt: skip
def test_all_that_is_wrong_with_a_window_is_said_by_name(start: str, end: str, said: list[str]) -> None:
    found = wrong_window({"from": start, "to": end}, NOW, WEEK)
    assert [problem[: len(text)] for problem, text in zip(found, said, strict=True)] == said
