# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Depths of queues that can be trusted.

The management API gives two kinds of figures. Statistics lag by up to 10 s, and are missing for up to 17 s after a
boot. Totals (``disable_stats`` and ``enable_queue_totals``) come from the queues themselves, but a quorum queue whose
leader does not answer counts 0 there. So both are read, a figure that is missing is unknown, and a zero says of itself
what it is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ._arguments import segment
from ._management import Answer, Management, by_name, mapping, records, version_of

SETTLED_AFTER = 10.0
"""Seconds of a node's uptime before a zero counts: twice the interval of the statistics."""

QUEUE_TOTALS_SINCE = (3, 13, 1)
"""The first version that gives the totals of a single queue; before, only with the list of all."""

FEW = 500
"""Queues up to which the list of a virtual host is read for the totals of some: 40 ms for 1000 queues."""

VERY_FEW = 50
"""Queues up to which that list costs less than to ask for some by name."""

_TOTALS = {"disable_stats": "true", "enable_queue_totals": "true"}
_COUNTS = "name,messages,messages_ready,messages_unacknowledged"
_STATISTICS = {"columns": f"{_COUNTS},type,state,consumers"}


@dataclass(frozen=True)
class Depth:
    """What one queue holds at one moment.

    ``known`` is false when the figures are missing; ``reason`` then says why, and also why a zero does not count.
    ``fresh`` says that they come from the queue itself, not from statistics. ``settled`` is false while a zero may
    only mean that the broker has not counted yet. ``outcome`` is what came of the request.
    """

    name: str
    ready: int | None = None
    unacked: int | None = None
    consumers: int | None = None
    state: str | None = None
    type: str | None = None
    known: bool = False
    fresh: bool = False
    settled: bool = False
    confirm: bool = True
    """Whether one zero is not enough: old figures, a quorum queue, or an uptime that is not known."""
    statistics: int | None = None
    """Messages by the statistics, which a quorum queue's zero must agree with."""
    reason: str = ""
    outcome: str = "ok"

    @property
    def messages(self) -> int | None:
        """Return ready and unacknowledged together: a worker that holds all of them has not drained the queue."""
        return None if self.ready is None or self.unacked is None else self.ready + self.unacked


class Reader:
    """Reads named queues of one virtual host."""

    def __init__(self, management: Management, vhost: str) -> None:
        self._management = management
        self._vhost = vhost
        self._path = f"/api/queues/{segment(vhost)}"

    def read(self, names: Sequence[str], seconds: float) -> dict[str, Depth]:
        """Return the depth of each queue, read within so many seconds; nothing is raised for what is not there."""
        self._management.begin(seconds)
        overview = self._management.ask("/api/overview", {"columns": "rabbitmq_version,object_totals"})
        statistics = {name: self._management.ask(f"{self._path}/{segment(name)}", _STATISTICS) for name in names}
        totals = read_totals(self._management, overview, self._path, [name for name in names if statistics[name].ok])
        # Last: a node that has restarted since the figures were read must be seen as young.
        nodes = self._management.ask("/api/nodes", {"columns": "name,running,uptime"})
        settled, why = settlement(nodes)
        depths = [depth_of(name, statistics[name], totals.get(name, {})) for name in names]
        return {
            depth.name: replace(
                depth,
                settled=settled is not False,
                confirm=not depth.fresh or depth.type != "classic" or settled is None,
                reason=depth.reason or why,
            )
            for depth in depths
        }


def read_totals(management: Management, overview: Answer, path: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the totals of the queues for which this version gives them at a fair price.

    ``path`` is that of the virtual host's queues, ``overview`` has the version and the number of all queues.
    """
    document = mapping(overview.document) if overview.ok else {}
    if not names or not document:
        return {}
    singly = version_of(document.get("rabbitmq_version")) >= QUEUE_TOTALS_SINCE
    count = mapping(document.get("object_totals")).get("queues")
    if isinstance(count, int) and count <= (VERY_FEW if singly else FEW):
        return by_name(management.ask(path, {**_TOTALS, "columns": _COUNTS}).document)
    return by_name([management.ask(f"{path}/{segment(name)}", _TOTALS).document for name in names]) if singly else {}


def depth_of(name: str, statistics: Answer, totals: dict[str, Any]) -> Depth:
    """Return one queue's depth from its statistics and its totals; what is in neither is unknown, not 0."""
    if not statistics.ok:
        return Depth(name, reason=statistics.detail, outcome=statistics.outcome)
    document = statistics.document
    if not isinstance(document, dict) or document.get("name") != name:
        return Depth(name, reason="the broker has no figures for it yet")
    old, new = _counts(document), _counts(totals)
    consumers, state = document.get("consumers"), document.get("state")
    depth = Depth(
        name,
        consumers=consumers if isinstance(consumers, int) else None,
        state=state if isinstance(state, str) else None,
        type=document.get("type"),
        statistics=None if old is None else sum(old),
    )
    if old is None:
        # Also where totals are there: a quorum queue without a leader has a total of 0, and no statistics.
        return replace(depth, reason="its count is missing: not settled after a boot, or without a leader")
    ready, unacked = new or old
    return replace(depth, ready=ready, unacked=unacked, known=True, fresh=new is not None)


def _counts(document: dict[str, Any]) -> tuple[int, int] | None:
    """Return ready and unacknowledged. The total is read at another moment: what it has beyond both counts as ready."""
    counts = [document.get(key) for key in ("messages", "messages_ready", "messages_unacknowledged")]
    total, ready, unacked = (count if isinstance(count, int) else None for count in counts)
    if total is None or ready is None or unacked is None:
        return None
    return max(ready, total - unacked), unacked


def settlement(nodes: Answer) -> tuple[bool | None, str]:
    """Return whether every node has run long enough for its zeros to count, and if not, why; None if nobody may say."""
    if nodes.outcome == "not_permitted":
        return None, ""
    running = [node for node in records(nodes.document) if node.get("running") is not False]
    times = [node.get("uptime") for node in running]
    known = [time / 1000 for time in times if isinstance(time, int)]
    if not nodes.ok or not known or len(known) < len(times):
        return False, "how long the broker has been up is not known"
    if min(known) < SETTLED_AFTER:
        return False, f"the broker has been up for {min(known):.0f} s only"
    return True, ""
