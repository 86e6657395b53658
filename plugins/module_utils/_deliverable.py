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
from dataclasses import asdict, dataclass
from typing import Any

from ._arguments import segment
from ._errors import Refused, VezaError
from ._http import HttpClient

TOTALS = {
    "disable_stats": "true",
    "enable_queue_totals": "true",
    "columns": "name,type,messages,messages_ready,messages_unacknowledged",
}
"""Read from the queues themselves; the statistics are up to 10 s old."""

QUORUM_PAUSE = 10.5
"""A quorum queue whose leader does not answer counts 0 too; two statistics that say so this far apart don't."""

SEES_ALL = frozenset({"monitoring", "administrator"})
"""Tags of users who are shown the connections of others."""


@dataclass(frozen=True)
class Depth:
    """What a queue holds."""

    ready: int
    unacked: int


@dataclass(frozen=True)
class Deliverable:
    """Where messages may wait."""

    queue: Depth
    dead_letters: int | None
    """None when no dead letter queue was named."""
    alarms: str | None
    """The broker's own words, None when no alarm is in effect."""
    blocked: list[str]
    """Connections that publish, and from which the broker does not read."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a module returns them."""
        return {
            "checked": True,
            **asdict(self.queue),
            **{key: value for key, value in asdict(self).items() if key != "queue"},
        }


NOT_CHECKED: dict[str, Any] = {
    "checked": False,
    "ready": None,
    "unacked": None,
    "dead_letters": None,
    "alarms": None,
    "blocked": [],
}


def look(
    client: HttpClient, vhost: str, queue: str, dead_letter_queue: str | None, *, sleep: Callable[[float], None]
) -> Deliverable:
    """Return where messages may wait. Refused when that can't be known: no answer is not "none".

    The queues come last: what leaves a socket while we look is then seen in its queue.
    """
    try:
        alarms = _alarms(client)
        blocked = _blocked(client, vhost)
        found = {entry.get("name"): entry for entry in _get(client, f"/api/queues/{segment(vhost)}", TOTALS)}
        depth = _depth(client, vhost, queue, found, sleep)
        dead = _depth(client, vhost, dead_letter_queue, found, sleep) if dead_letter_queue else None
    except VezaError as error:
        raise Refused(
            f"Whether messages may still arrive can't be known: {error.message} Nothing was requeued. A person "
            "who knows that none can arrive may set deliverable_check to skip."
        ) from error
    return Deliverable(depth, None if dead is None else dead.ready + dead.unacked, alarms, blocked)


def objections(
    found: Deliverable, queue: str, dead_letter_queue: str | None, *, allow_dead_letters: bool, was_empty: bool = False
) -> list[str]:
    """Return why a message may still arrive; empty if none can.

    ``was_empty`` says that the queue has been empty since the last of these messages can have come.
    """
    reasons = []
    if (found.queue.ready or found.queue.unacked) and not was_empty:
        reasons.append(
            f"queue {queue} holds {found.queue.ready} ready and {found.queue.unacked} unacknowledged messages"
        )
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


def _get(client: HttpClient, path: str, params: dict[str, str] | None = None) -> Any:
    reply = client.get(path, params=params)
    answer = reply.json()
    if reply.status != 200 or answer is None:
        raise VezaError(f"GET {client.base_url}{path}: {reply.status} {reply.excerpt()}")
    return answer


def _alarms(client: HttpClient) -> str | None:
    path = "/api/health/checks/alarms"
    reply = client.get(path)
    answer = reply.json()
    if reply.status == 503 and isinstance(answer, dict) and answer.get("status") == "failed":
        found = answer.get("alarms") or [{}]
        return ", ".join(f"{alarm.get('resource', 'unknown')} on {alarm.get('node', '?')}" for alarm in found)
    if reply.status != 200 or not isinstance(answer, dict) or answer.get("status") != "ok":
        raise VezaError(f"GET {client.base_url}{path}: {reply.status} {reply.excerpt()}")
    return None


def _blocked(client: HttpClient, vhost: str) -> list[str]:
    tags = _get(client, "/api/whoami").get("tags") or []
    tags = tags.split(",") if isinstance(tags, str) else tags
    if not SEES_ALL & {tag.strip() for tag in tags}:
        raise VezaError(
            "login_user has neither the tag monitoring nor administrator: it can't see others' connections."
        )
    connections = _get(client, f"/api/vhosts/{segment(vhost)}/connections", {"columns": "name,state"})
    # A connection without statistics comes as an empty list.
    states = [entry for entry in connections if isinstance(entry, dict)]
    return [str(entry.get("name")) for entry in states if entry.get("state") in ("blocked", "blocking")]


def _depth(client: HttpClient, vhost: str, queue: str, found: dict[Any, Any], sleep: Callable[[float], None]) -> Depth:
    entry = found.get(queue)
    if entry is None:
        raise VezaError(f"vhost {vhost} has no queue {queue} (or login_user may not see it).")
    depth = _read(entry, queue)
    if entry.get("type") != "quorum" or depth.ready or depth.unacked:
        return depth
    path = f"/api/queues/{segment(vhost)}/{segment(queue)}"
    columns = {"columns": "state,messages,messages_ready,messages_unacknowledged"}
    for pause in (0.0, QUORUM_PAUSE):
        sleep(pause)
        entry = _get(client, path, columns)
        if entry.get("state") != "running":
            raise VezaError(f"quorum queue {queue} is in state {entry.get('state')}: its count means nothing.")
        depth = _read(entry, queue)
        if depth.ready or depth.unacked:
            break
    return depth


def _read(entry: dict[str, Any], queue: str) -> Depth:
    counts = [entry.get(key) for key in ("messages", "messages_ready", "messages_unacknowledged")]
    total, ready, unacked = (count if isinstance(count, int) else None for count in counts)
    if total is None or ready is None or unacked is None:
        raise VezaError(
            f"the broker gives no count for queue {queue} yet: an absent count is not 0. Try again in 20 s."
        )
    # The three are not read at the same instant: what the total has beyond the others counts too.
    return Depth(max(ready, total - unacked), unacked)
