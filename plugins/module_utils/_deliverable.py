# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""May a message that was published before still reach its worker? Asked of the broker before anything is replayed.

A message can wait in four places: in its queue, with a worker that has not acknowledged it, in the dead letter queue
(from which a person may bring it back), and in the socket of a connection that the broker has blocked: that one is
enqueued when the alarm clears, even if its publisher is gone by then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ._arguments import segment
from ._drain import CONFIRM, Goal, Progress, View
from ._errors import Refused, VezaError
from ._management import SEES_ALL, Management, records
from ._queues import Look, Reader

REQUESTS = 8
"""A look may take as long as so many requests, each at its limit."""


@dataclass(frozen=True)
class Deliverable:
    """Where messages may wait."""

    ready: int
    unacked: int
    dead_letters: int | None
    """None when no dead letter queue was named."""
    alarms: str | None
    """The broker's own words, None when no alarm is in effect."""
    blocked: list[str]
    """Connections that publish, and from which the broker does not read."""


NOT_CHECKED: dict[str, Any] = {
    "checked": False,
    "ready": None,
    "unacked": None,
    "dead_letters": None,
    "alarms": None,
    "blocked": [],
}


def look(
    management: Management,
    vhost: str,
    queue: str,
    dead_letter_queue: str | None,
    *,
    timeout: float,
    sleep: Callable[[float], None],
) -> Deliverable:
    """Return where messages may wait. Refused when that can't be known: no answer is not "none".

    ``timeout`` is what one request may take. The queues come last: what leaves a socket while we look is then seen in
    its queue. A zero that needs confirmation is looked at again after 10 s.
    """
    management.begin(timeout * REQUESTS)
    try:
        alarms = _alarms(management)
        blocked = _blocked(management, vhost)
        names = (queue, dead_letter_queue) if dead_letter_queue else (queue,)
        views = _views(management, vhost, names, timeout * REQUESTS, sleep)
    except VezaError as error:
        raise Refused(
            f"Whether messages may still arrive can't be known: {error.message} Nothing was requeued. A person who "
            "knows that none can arrive may set deliverable_check to skip."
        ) from error
    ready, unacked = views[0].ready or 0, views[0].unacked or 0
    return Deliverable(ready, unacked, views[1].messages if dead_letter_queue else None, alarms, blocked)


def objections(
    found: Deliverable, queue: str, dead_letter_queue: str | None, *, allow_dead_letters: bool, was_empty: bool = False
) -> list[str]:
    """Return why a message may still arrive; empty if none can.

    ``was_empty`` says that the queue has been empty since the last of these messages can have come.
    """
    reasons = []
    if (found.ready or found.unacked) and not was_empty:
        reasons.append(f"queue {queue} holds {found.ready} ready and {found.unacked} unacknowledged messages")
    if found.dead_letters and not allow_dead_letters:
        reasons.append(
            f"dead letter queue {dead_letter_queue} holds {found.dead_letters} messages, which may be brought back "
            "(on_dead_letters=proceed leaves them out of account)"
        )
    if found.alarms:
        reasons.append(f"the broker has an alarm in effect ({found.alarms})")
    if found.blocked:
        shown = ", ".join(found.blocked[:3]) + (", …" if len(found.blocked) > 3 else "")
        reasons.append(f"{len(found.blocked)} publishing connections are blocked ({shown})")
    return reasons


def _alarms(management: Management) -> str | None:
    answer = management.ask("/api/health/checks/alarms")
    if answer.outcome == "check_failed":
        found = records(answer.document.get("alarms")) or [{}]
        return ", ".join(f"{alarm.get('resource', 'unknown')} on {alarm.get('node', '?')}" for alarm in found)
    if not answer.ok:
        raise VezaError(answer.detail)
    return None


def _blocked(management: Management, vhost: str) -> list[str]:
    who = management.ask("/api/whoami")
    if not who.ok:
        raise VezaError(who.detail)
    tags = who.document.get("tags") or []
    tags = tags.split(",") if isinstance(tags, str) else tags
    if not SEES_ALL & {tag.strip() for tag in tags}:
        raise VezaError("login_user has neither the tag monitoring nor administrator: others' connections are hidden.")
    connections = management.ask(f"/api/vhosts/{segment(vhost)}/connections", {"columns": "name,state"})
    if not connections.ok:
        raise VezaError(connections.detail)
    found = records(connections.document)
    return [str(entry.get("name")) for entry in found if entry.get("state") in ("blocked", "blocking")]


def _views(
    management: Management, vhost: str, names: tuple[str, ...], seconds: float, sleep: Callable[[float], None]
) -> list[View]:
    reader, goal, progress = Reader(management, vhost), Goal(names), Progress()
    pause = CONFIRM + 0.5
    views = progress.take(goal, Look(reader.read(names, seconds)), 0.0, _now())
    if any(view.messages == 0 and not view.drained for view in views):
        sleep(pause)
        views = progress.take(goal, Look(reader.read(names, seconds)), pause, _now())
    for view in views:
        if not view.drained and not view.messages:
            raise VezaError(f"queue {view.name} of vhost {vhost}: {view.reason}.")
    return views


def _now() -> datetime:
    # Only asked for because a goal may have an instant before which nothing counts; ours has none.
    return datetime.now(timezone.utc)
