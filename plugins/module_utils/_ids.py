# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many ids in little room: integers that follow one another are a pair, the first and the last of them.

A sequence gives consecutive numbers, so what a million inserts made are a few pairs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

Id = Any
"""An id as JSON can hold it: int or str."""

FEW = 1000
"""So many ids are told one by one."""


class Ids:
    """A set of ids. Integers are told in ascending order, others as they came."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._others: dict[Id, None] = {}

    def add(self, ids: Iterable[Id]) -> None:
        """Take ids up."""
        numbers = []
        for value in ids:
            if isinstance(value, int):
                numbers.append(value)
            else:
                self._others[value] = None
        for first, last in _runs(sorted(numbers)):
            self._put(first, last)

    def _put(self, first: int, last: int) -> None:
        begin = bisect_left(self._firsts, first)
        if begin and self._lasts[begin - 1] >= first - 1:
            begin -= 1
        end = begin
        while end < len(self._firsts) and self._firsts[end] <= last + 1:
            first, last = min(first, self._firsts[end]), max(last, self._lasts[end])
            end += 1
        self._firsts[begin:end], self._lasts[begin:end] = [first], [last]

    def __len__(self) -> int:
        """Return how many they are."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts) + len(self._others)

    def told(self) -> list[Any]:
        """Return a few one by one, and many with pairs."""
        runs = zip(self._firsts, self._lasts)
        if len(self) <= FEW:
            return [*spelled_out([[first, last] for first, last in runs]), *self._others]
        return [*(first if first == last else [first, last] for first, last in runs), *self._others]


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Return the runs of ascending numbers."""
    first = last = None
    for number in numbers:
        if last is not None and first is not None and number > last + 1:
            yield first, last
            first = number
        elif first is None:
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last


def spelled_out(told: Iterable[Any]) -> Iterator[Id]:
    """Return the ids one by one."""
    return chain.from_iterable(range(entry[0], entry[1] + 1) if is_pair(entry) else (entry,) for entry in told)


def count(told: Iterable[Any]) -> int:
    """Return how many ids these are."""
    return sum(entry[1] - entry[0] + 1 if is_pair(entry) else 1 for entry in told)


def is_pair(entry: Any) -> bool:
    """Tell whether it is a pair: two integers, the second not below the first."""
    return (
        isinstance(entry, (list, tuple))
        and len(entry) == 2
        and all(type(value) is int for value in entry)
        and entry[0] <= entry[1]
    )
