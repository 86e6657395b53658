# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.veza.rabbitmq.plugins.module_utils import _ids as many


@given(st.lists(st.lists(st.integers(-5, 40) | st.sampled_from(["1", "2", "3-4", "3f2a-41"]))))
def test_no_id_is_lost_or_added(batches: list[list[Any]]) -> None:
    ids = many.Ids()
    for batch in batches:
        ids.add(batch)
    every = {value for batch in batches for value in batch}
    numbers = sorted(value for value in every if isinstance(value, int))
    assert [value for value in ids.told() if isinstance(value, int)] == numbers
    assert set(ids.told()) == every
    assert len(ids) == len(every)


def test_a_million_that_two_lanes_took_in_turns_are_a_pair() -> None:
    ids = many.Ids()
    for start in range(0, 1_000_000, 5000):
        ids.add(range(start, start + 5000, 2))
        ids.add(range(start + 1, start + 5000, 2))
    ids.add([1_000_002, "x"])
    assert ids.told() == [[0, 999_999], 1_000_002, "x"]
    assert many.count(ids.told()) == len(ids) == 1_000_002
    assert sum(1 for _id in many.spelled_out(ids.told())) == len(ids)


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
