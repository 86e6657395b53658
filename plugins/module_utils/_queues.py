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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ._arguments import segment
from ._checks import PASS, PROMPT_CHECKS, health_check, whole
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
_STATISTICS = {"columns": f"{_COUNTS},type,state,consumers,message_stats,consumer_details"}
_CONNECTION = {"columns": "name,state,timeout,recv_oct"}

FEW_CONSUMERS = 3
"""Consumers of a queue whose connections are asked for: enough to tell what ails them all."""


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
    document: Mapping[str, Any] = field(default_factory=dict)
    """The statistics as they came: counters and consumers."""

    @property
    def messages(self) -> int | None:
        """Return ready and unacknowledged together: a worker that holds all of them has not drained the queue."""
        return None if self.ready is None or self.unacked is None else self.ready + self.unacked


@dataclass(frozen=True)
class Look:
    """What one look brought.

    ``connections`` has the documents of connections that consume a queue with messages in it, by their names.
    ``alarms`` says which are in effect, empty for none, None when that was not told.
    """

    depths: Mapping[str, Depth]
    alarms: str | None = ""
    connections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Reader:
    """Reads named queues of one virtual host."""

    def __init__(self, management: Management, vhost: str) -> None:
        self._management = management
        self._vhost = vhost
        self._path = f"/api/queues/{segment(vhost)}"
        self._overview: Answer | None = None

    def look(self, names: Sequence[str], seconds: float) -> Look:
        """Return the depth of each queue, and what stands around those that hold messages, within so many seconds."""
        depths = self.read(names, seconds)
        waiting = [depth for depth in depths.values() if depth.messages]
        if not waiting:
            return Look(depths)
        check = health_check(PROMPT_CHECKS[0], self._management.ask(f"/api/health/checks/{PROMPT_CHECKS[0].path}"))
        told = {PASS: "", "fail": check.detail}.get(check.result)
        consuming = dict.fromkeys(name for depth in waiting for name in connections_of(depth.document)[:FEW_CONSUMERS])
        answers = [self._management.ask(f"/api/connections/{segment(name)}", _CONNECTION) for name in consuming]
        return Look(depths, told, {name: mapping(a.document) for name, a in zip(consuming, answers) if a.ok})

    def read(self, names: Sequence[str], seconds: float) -> dict[str, Depth]:
        """Return the depth of each queue, read within so many seconds; nothing is raised for what is not there."""
        self._management.begin(seconds)
        # It counts all queues there are, and is good for as long as the broker runs.
        if self._overview is None or not self._overview.ok:
            self._overview = self._management.ask("/api/overview", {"columns": "rabbitmq_version,object_totals"})
        overview = self._overview
        statistics = {name: self._management.ask(f"{self._path}/{segment(name)}", _STATISTICS) for name in names}
        totals = read_totals(self._management, overview, self._path, [name for name in names if statistics[name].ok])
        # Last: a node that has restarted since the figures were read must be seen as young.
        nodes = self._management.ask("/api/nodes", {"columns": "name,running,uptime"})
        settled, why = settlement(nodes)
        if not settled:
            self._overview = None
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
        document=document,
    )
    if old is None:
        # Also where totals are there: a quorum queue without a leader has a total of 0, and no statistics.
        return replace(depth, reason="its count is missing: not settled after a boot, or without a leader")
    ready, unacked = new or old
    return replace(depth, ready=ready, unacked=unacked, known=True, fresh=new is not None)


def connections_of(document: Mapping[str, Any]) -> list[str]:
    """Return the names of the connections that consume a queue, each once, as often as the statistics tell them."""
    channels = [mapping(consumer.get("channel_details")) for consumer in records(document.get("consumer_details"))]
    return sorted({name for name in (channel.get("connection_name") for channel in channels) if isinstance(name, str)})


def _counts(document: dict[str, Any]) -> tuple[int, int] | None:
    """Return ready and unacknowledged. The total is read at another moment: what it has beyond both counts as ready."""
    counts = [document.get(key) for key in ("messages", "messages_ready", "messages_unacknowledged")]
    total, ready, unacked = map(whole, counts)
    if total is None or ready is None or unacked is None:
        return None
    return max(ready, total - unacked), unacked


def settlement(nodes: Answer) -> tuple[bool | None, str]:
    """Return whether every node has run long enough for its zeros to count, and if not, why; None if nobody may say."""
    if nodes.outcome == "not_permitted":
        return None, ""
    running = [node for node in records(nodes.document) if node.get("running") is not False]
    times = [node.get("uptime") for node in running]
    known = [time / 1000 for time in map(whole, times) if time is not None]
    if not nodes.ok or not known or len(known) < len(times):
        return False, "how long the broker has been up is not known"
    if min(known) < SETTLED_AFTER:
        return False, f"the broker has been up for {min(known):.0f} s only"
    return True, ""
