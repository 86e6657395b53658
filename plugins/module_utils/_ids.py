# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many ids in little room: integers that follow one another are a pair, the first and the last of them.

A sequence gives consecutive numbers, so what a million inserts made are a few pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

Id = Any
"""An id as JSON can hold it: int or str."""

FEW = 1000
"""So many ids are told one by one."""

MANY = 50_000
"""So many integers are kept before they are joined: sessions take turns in a sequence, so each alone has gaps."""


class Ids:
    """A set of ids. Integers are told in ascending order, others as they came."""

    def __init__(self) -> None:
        self._runs: list[tuple[int, int]] = []
        self._numbers: list[int] = []
        self._others: dict[Id, None] = {}

    def add(self, ids: Iterable[Id]) -> None:
        """Take ids up."""
        for value in ids:
            if isinstance(value, int):
                self._numbers.append(value)
            else:
                self._others[value] = None
        if len(self._numbers) > MANY:
            self._join()

    def _join(self) -> None:
        self._numbers.sort()
        fresh = joined((number, number) for number in self._numbers)
        self._runs, self._numbers = joined(sorted([*self._runs, *fresh])), []

    def __len__(self) -> int:
        """Return how many they are."""
        self._join()
        return sum(last - first + 1 for first, last in self._runs) + len(self._others)

    def told(self) -> list[Any]:
        """Return a few one by one, and many with pairs."""
        few = len(self) <= FEW  # which joins them
        runs: list[Any] = [[first, last] for first, last in self._runs]
        if few:
            return [*spelled_out(runs), *self._others]
        return [*(run[0] if run[0] == run[1] else run for run in runs), *self._others]


def joined(runs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ascending runs with those joined that touch or overlap."""
    found: list[tuple[int, int]] = []
    first, last = None, -1
    for begin, end in runs:
        if first is None:
            first, last = begin, end
        elif begin <= last + 1:
            last = max(last, end)
        else:
            found.append((first, last))
            first, last = begin, end
    return found if first is None else [*found, (first, last)]


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
        and all(isinstance(value, int) and not isinstance(value, bool) for value in entry)
        and entry[0] <= entry[1]
    )
