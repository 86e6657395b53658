# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many ids in little room: integers that follow one another are a pair, the first and the last of them.

A sequence gives consecutive numbers, so what a million inserts made are a few pairs. The order is kept: two such lists
that were filled side by side still belong together, item by item.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

Id = Any
"""An id as JSON can hold it: int or str."""

FEW = 1000
"""So many ids are told one by one."""


def add(told: list[Any], ids: Iterable[Id]) -> None:
    """Append ids to a list of ids and pairs."""
    for value in ids:
        last = told[-1] if told else None
        if not isinstance(value, int):
            told.append(value)
        elif isinstance(last, list) and last[1] + 1 == value:
            last[1] = value
        elif isinstance(last, int) and last + 1 == value:
            told[-1] = [last, value]
        else:
            told.append(value)


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


def brief(told: list[Any]) -> list[Any]:
    """Return a few ids one by one, and many as they are."""
    return list(spelled_out(told)) if count(told) <= FEW else told
