# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restart lost, as a number where it can be one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COUNTS = ("messages", "ready", "unacked", "persistent")

Queue = Mapping[str, Any]


def restart_loss(
    before: Sequence[Queue] | None, after: Sequence[Queue] | None, dropped: Sequence[Mapping[str, Any]] | None
) -> dict[str, Any]:
    """Return what restart_loss.yml describes."""
    was, now = _by_name(before), _by_name(after)
    rows = [_row(name, was.get(name), now.get(name)) for name in sorted({*was, *now})]
    return {"queues": rows, "dropped": None if dropped is None else list(dropped), "summary": _summary(rows, dropped)}


def _by_name(queues: Sequence[Queue] | None) -> dict[str, Queue]:
    return {queue["name"]: queue for queue in queues or []}


def _row(name: str, was: Queue | None, now: Queue | None) -> dict[str, Any]:
    before, after = ({key: (queue or {}).get(key) for key in COUNTS} for queue in (was, now))
    return {
        "name": name,
        "before": before,
        "after": after,
        "difference": _difference(after["messages"], before["messages"]),
        # Only a classic queue tells them apart; a quorum queue keeps all.
        "transient_before": _transient(before),
    }


def _difference(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one - other


def _transient(before: Mapping[str, Any]) -> int | None:
    """Return how many would not survive; None where the two counts can't be of one instant."""
    transient = _difference(before["messages"], before["persistent"])
    return None if transient is None or transient < 0 else transient


def _summary(rows: Sequence[Mapping[str, Any]], dropped: Sequence[Mapping[str, Any]] | None) -> str:
    return f"{_counted(rows)}; {_told(dropped)}"


def _counted(rows: Sequence[Mapping[str, Any]]) -> str:
    read = [row for row in rows if row["difference"] is not None]
    if not read:
        return "what the queues held before could not be read"
    moved = [
        f"{row['name']} {row['before']['messages']} -> {row['after']['messages']}" for row in read if row["difference"]
    ]
    lost = [f"{row['name']} {row['before']['messages']} -> not known" for row in rows if _unread(row)]
    transient = [f"{row['transient_before']} of {row['name']}" for row in read if row["transient_before"]]
    told = [*moved, *lost]
    text = f"messages before and after: {', '.join(told)}" if told else "as many messages in each queue as before"
    return f"{text}; transient ones, which a restart loses: {', '.join(transient)}" if transient else text


def _unread(row: Mapping[str, Any]) -> bool:
    return row["before"]["messages"] is not None and row["difference"] is None


def _told(dropped: Sequence[Mapping[str, Any]] | None) -> str:
    if dropped is None:
        return "whether the broker's log tells of dropped messages could not be read"
    lost = [one for one in dropped if one["persistent"] or one["transient"]]
    if not lost:
        return "the broker's log tells of no dropped message"
    parts = [f"{one['queue']}: {one['persistent']} persistent, {one['transient']} transient" for one in lost]
    return f"dropped by the broker after its unclean end: {', '.join(parts)}"
