# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.veza.rabbitmq.plugins.module_utils import _ids as many


@given(st.lists(st.lists(st.integers(-5, 30) | st.sampled_from(["1", "2", "3-4", "3f2a-41"]))))
def test_no_id_is_lost_added_or_moved(batches: list[list[Any]]) -> None:
    told: list[Any] = []
    for batch in batches:
        many.add(told, batch)
    flat = [value for batch in batches for value in batch]
    assert list(many.spelled_out(told)) == flat
    assert many.count(told) == len(flat)
    assert many.brief(told) == flat


def test_a_million_that_follow_one_another_are_a_pair() -> None:
    told: list[Any] = []
    for start in range(0, 1_000_000, 5000):
        many.add(told, range(start, start + 5000))
    many.add(told, [7, "x"])
    assert told == [[0, 999_999], 7, "x"]
    assert many.brief(told) is told


@pytest.mark.parametrize(
    ("entry", "is_one"),
    [
        ([1, 2], True),
        ((3, 3), True),
        ([2, 1], False),
        ([True, 2], False),
        (["1", "2"], False),
        ([1], False),
        (1, False),
    ],
)
def test_what_a_pair_is(entry: Any, is_one: bool) -> None:
    assert many.is_pair(entry) == is_one
