# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judge the numbers among the settings: a module that refuses one does so when the broker was started already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SHOWN = 40
"""Characters of a wrong value that are shown."""

Limits = Mapping[str, Any]


def wrong_numbers(given: Mapping[str, Any], limits: Limits) -> list[str]:
    """Return a sentence for each setting of ``given`` that is outside of its limits; what is not given is right.

    ``limits`` has ``[least, most]`` for each name; for a dict, and for a list of dicts, such limits for their keys.
    """
    return list(_wrong(given, limits, "{}"))


def _wrong(given: Mapping[str, Any], limits: Limits, called: str) -> Iterator[str]:
    for key, allowed in limits.items():
        name, value = called.format(key), given.get(key)
        if value is None or value == "":
            continue
        if isinstance(allowed, Mapping):
            for label, entry in _entries(name, value):
                yield from _wrong(entry, allowed, f"{label}.{{}}")
        elif not _between(value, allowed):
            yield f"{name} is {str(value)[:SHOWN]}, not a number from {allowed[0]} to {allowed[1]}"


def _entries(name: str, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return the dicts of a table, each with what it is called; of another type Ansible tells by itself."""
    if isinstance(value, Mapping):
        yield name, value
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, entry in enumerate(value):
            if isinstance(entry, Mapping):
                label = str(entry.get("name", number)).replace("{", "{{").replace("}", "}}")
                yield f"{name}[{label}]", entry


def _between(value: Any, allowed: Sequence[float]) -> bool:
    """Whether it is a number within its limits; "not a number" is within none."""
    try:
        return allowed[0] <= float(value) <= allowed[1]
    except (TypeError, ValueError, OverflowError):
        return False
