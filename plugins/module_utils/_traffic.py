# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What messages do: named queues and where their dead letters go, who is blocked, what the broker has dropped.

The counters lag by several seconds, and one look says nothing about movement. So where a queue holds messages and
nothing proves yet that they are being worked off, a second look is taken, as soon as it can tell more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ._arguments import segment
from ._checks import STATISTICS_AGE, Expected, Seen, sees_all
from ._deadline import Later
from ._management import Answer, Management, by_name, mapping, records, version_of
from ._metrics import Metrics
from ._nodes import young
from ._queues import VERY_FEW, Depth, depth_of, read_totals

PAUSE = 1.0
"""Seconds between two questions whether the counters have moved."""

SECOND_LOOK = 2.0
"""Seconds that the requests of the second look may take together."""

TOTALS_AGE = 5.0
"""Seconds by which the totals of a quorum queue lag; those of a classic queue don't."""

HISTORY, STEP = 600, 10
"""Seconds of the past whose samples are read where two looks may not tell enough, and from one to the next."""

MANY = 100
"""Messages of a queue above which it is asked whether they become ever more."""

DROPS_LOOK = 2.0
"""Seconds after which counters of lost messages are read again, where nothing else asks for a second look."""

CONNECTIONS = 500
"""Connections that are read: as many as the broker gives on a page."""

DELIVERY_LIMIT = 20
"""Deliveries after which a quorum queue gives a message up since RabbitMQ 4.0, where nothing else is said."""

# Our names of counters, and RabbitMQ's that they are the sum of. What is delivered without acks is done with it.
COUNTERS = {
    "published": ("publish",),
    "delivered": ("deliver", "deliver_no_ack", "get", "get_no_ack"),
    "acked": ("ack", "deliver_no_ack", "get_no_ack"),
    "redelivered_count": ("redeliver",),
}

# Our names of limits, and the argument and the policy key that set them.
LIMITS = {
    "ttl": ("x-message-ttl", "message-ttl"),
    "max_length": ("x-max-length", "max-length"),
    "max_bytes": ("x-max-length-bytes", "max-length-bytes"),
    "delivery_limit": ("x-delivery-limit", "delivery-limit"),
}

# Our names of what is dropped, the Prometheus counter, and the same in message_stats of the overview.
DROPPED = {
    "expired": ("rabbitmq_global_messages_dead_lettered_expired_total", None),
    "maxlen": ("rabbitmq_global_messages_dead_lettered_maxlen_total", None),
    "rejected": ("rabbitmq_global_messages_dead_lettered_rejected_total", None),
    "delivery_limit": ("rabbitmq_global_messages_dead_lettered_delivery_limit_total", None),
    "unroutable": ("rabbitmq_global_messages_unroutable_dropped_total", "drop_unroutable"),
    "returned": ("rabbitmq_global_messages_unroutable_returned_total", "return_unroutable"),
}

DEAD_LETTERED = ("expired", "maxlen", "rejected", "delivery_limit")
"""Those of them that were in a queue."""

_SPAN = {"age": HISTORY, "incr": STEP}

# What is read of queues that are listed; who consumes them is told one by one only.
_QUEUE = (
    "name", "type", "state", "consumers", "messages", "messages_ready", "messages_unacknowledged",
    "messages_persistent", "message_bytes_ready", "messages_details", "message_stats", "arguments",
    "effective_policy_definition",
)  # fmt: skip

_NODE = (
    "name", "running", "uptime", "mem_used", "mem_limit", "fd_used", "fd_total", "partitions", "being_drained",
)  # fmt: skip


Bindings = dict[str, list[dict[str, Any]]]
"""By name of a queue or an exchange."""


@dataclass
class Sample:
    """What was read at one time; ``at`` is the clock's reading."""

    at: float
    queues: dict[str, Answer]
    totals: dict[str, dict[str, Any]] = field(default_factory=dict)
    overview: Answer | None = None
    metrics: Metrics | None = None

    def few(self) -> bool:
        """Whether there are so few queues that it costs less to ask for all than for some by name."""
        overview = mapping(self.overview.document if self.overview else None)
        count = mapping(overview.get("object_totals")).get("queues")
        return isinstance(count, int) and count <= VERY_FEW

    def document(self, name: str) -> dict[str, Any]:
        """Return a queue's document; empty if it was not got, or is another's."""
        answer = self.queues.get(name)
        document = mapping(answer.document) if answer and answer.ok else {}
        return document if document.get("name") == name else {}

    def depth(self, name: str) -> Depth:
        """Return what a queue holds."""
        answer = self.queues.get(name)
        if answer is None:
            return Depth(name, outcome="not_asked")
        total = self.totals.get(name, {})
        depth = depth_of(name, answer, total)
        if depth.fresh and depth.type != "classic" and not depth.messages and depth.statistics:
            # A leader that does not answer counts 0.
            return depth_of(name, answer, {})
        return depth


@dataclass
class Surroundings:
    """What does not change between two looks. Where nothing was read there is no key.

    ``targets`` has the name of a queue's dead letter queue, or of the exchange where no queue is behind it.
    ``past`` has what became of a queue's messages lately (see past()).
    """

    bindings: Bindings = field(default_factory=dict)
    targets: dict[str, str | None] = field(default_factory=dict)
    dead_letter_queues: dict[str, str] = field(default_factory=dict)
    connections: Answer | None = None
    past: dict[str, dict[str, int | None]] = field(default_factory=dict)


class Traffic:
    """Reads it; ``counters`` asks the Prometheus endpoint within so many seconds, None where there is none."""

    def __init__(
        self,
        management: Management,
        counters: Callable[[float], Metrics] | None,
        expected: Expected,
        sample_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._management = management
        self._counters = counters
        self._expected = expected
        self._seconds = sample_seconds
        self._clock = clock
        self._sleep = sleep
        self._vhost = segment(expected.vhost)

    def read(self, seen: Seen, counters: Later[Metrics] | None) -> dict[str, Any]:
        """Return what is known, in the module's form; ``seen`` and ``counters`` are what was asked for already."""
        first = Sample(self._clock(), dict(seen.queues), overview=seen.documents.get("overview"))
        around = self._surroundings(first, sees_all(seen))
        first.totals = self._totals(first)
        first.metrics = counters.result() if counters else None
        nodes = seen.document("nodes")
        second = self._second(first, nodes) if self._seconds else None
        return report(self._expected.queues, first, second, around, nodes)

    def _path(self, name: str) -> str:
        return f"/api/queues/{self._vhost}/{segment(name)}"

    def _totals(self, sample: Sample) -> dict[str, dict[str, Any]]:
        there = [name for name in sample.queues if sample.document(name)]
        overview = sample.overview or Answer("not_asked", "")
        return read_totals(self._management, overview, f"/api/queues/{self._vhost}", there)

    def _surroundings(self, first: Sample, sees_all_connections: bool) -> Surroundings:
        around, named = Surroundings(), [name for name in self._expected.queues if first.document(name)]
        exchanges = {name: dead_letters(first.document(name))[0] for name in named}
        around.bindings, behind = self._bindings(first, named, {name for name in exchanges.values() if name})
        for name, exchange in exchanges.items():
            if exchange == "":
                target = dead_letters(first.document(name))[1]
                found = [target] if target else []
            elif exchange in behind:
                keys = routing_keys(first.document(name), around.bindings.get(name, []))
                found = receivers(behind[exchange], keys)
            else:
                continue  # none is set, or nobody knows where it leads
            around.targets[name] = found[0] if found else exchange
            if found:
                around.dead_letter_queues[name] = found[0]
        self._add(first, list(around.dead_letter_queues.values()))
        around.past = self._history([name for name in named if is_telling(first, name)])
        if sees_all_connections:
            page = {"columns": "state,peer_host", "page": "1", "page_size": str(CONNECTIONS)}
            around.connections = self._management.ask("/api/connections", page)
        return around

    def _history(self, names: Sequence[str]) -> dict[str, dict[str, int | None]]:
        """Return what became of messages in the last minutes: a worker that ends at each attempt is started ever less
        often, and one that hangs looks like one that is slow, so that two looks some seconds apart tell little."""
        columns = [f"message_stats.{name}_details" for name in (*COUNTERS["acked"], *COUNTERS["redelivered_count"])]
        span = {f"{kind}_{what}": str(n) for kind in ("lengths", "msg_rates") for what, n in _SPAN.items()}
        wanted = {"columns": ",".join(["messages_details", "messages_unacknowledged_details", *columns]), **span}
        return {name: past(self._management.ask(self._path(name), wanted).document) for name in names}

    def _bindings(self, first: Sample, queues: Sequence[str], exchanges: set[str]) -> tuple[Bindings, Bindings]:
        """Return the bindings to each queue and from each exchange; what could not be read is missing."""
        columns = {"columns": "source,destination,destination_type,routing_key"}
        if first.few():
            answer = self._management.ask(f"/api/bindings/{self._vhost}", columns)
            found = records(answer.document)
            queued = [entry for entry in found if entry.get("destination_type") == "queue"]
            to = {name: [entry for entry in queued if entry.get("destination") == name] for name in queues}
            of = {name: [entry for entry in found if entry.get("source") == name] for name in exchanges}
            return (to, of) if answer.ok else ({}, {})
        asked = {name: self._management.ask(f"{self._path(name)}/bindings", columns) for name in queues}
        path = f"/api/exchanges/{self._vhost}"
        behind = {
            name: self._management.ask(f"{path}/{segment(name)}/bindings/source", columns) for name in sorted(exchanges)
        }
        # Some versions say that an exchange which is missing has no bindings, others that there is none.
        return (
            {name: records(answer.document) for name, answer in asked.items() if answer.ok},
            {name: records(a.document) for name, a in behind.items() if a.ok or a.outcome == "not_found"},
        )

    def _add(self, sample: Sample, names: Sequence[str]) -> None:
        new = [name for name in dict.fromkeys(names) if name not in sample.queues]
        if len(new) > 1 and sample.few():
            answer = self._management.ask(f"/api/queues/{self._vhost}", {"columns": ",".join(_QUEUE)})
            listed = by_name(answer.document)
            gone = Answer("not_found", f"{answer.detail}: it is not in the list.") if answer.ok else answer
            sample.queues.update(
                {name: replace(answer, document=listed[name]) if name in listed else gone for name in new}
            )
        else:
            sample.queues.update({name: self._management.ask(self._path(name)) for name in new})

    def _second(self, first: Sample, nodes: Any) -> Sample | None:
        """Look again if the first look leaves a question open: until it is answered, or time is over."""
        named = self._expected.queues
        questions = [name for name in first.queues if is_open(first, name, name in named)]
        drops = bool(named) and has_dropped(first) and young(records(nodes)) is False
        if not questions and not drops:
            return None
        span = left = self._seconds if questions else min(self._seconds, DROPS_LOOK)
        while True:
            self._sleep(min(PAUSE, left))
            self._management.begin(SECOND_LOOK)
            at = self._clock()
            asked = {name: self._management.ask(self._path(name)) for name in named}
            second = Sample(at, asked, overview=first.overview)
            self._add(second, list(first.queues))
            left = span - (second.at - first.at)
            gone = not any(second.document(name) for name in questions or named)
            answered = not drops and all(has_moved(first, second, name, name in named) for name in questions)
            if gone or left <= 0 or answered:
                break
        counters = self._counters
        later = Later(lambda: counters(SECOND_LOOK / 2)) if counters else None
        second.totals = self._totals(second)
        second.metrics = later.result() if later else None
        return second


def dead_letters(document: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the exchange and the routing key of a queue's dead letters; None where none is set."""
    arguments, policy = mapping(document.get("arguments")), mapping(document.get("effective_policy_definition"))
    found = [
        arguments.get(f"x-dead-letter-{key}", policy.get(f"dead-letter-{key}")) for key in ("exchange", "routing-key")
    ]
    exchange, key = (value if isinstance(value, str) else None for value in found)
    return exchange, key


def routing_keys(document: Mapping[str, Any], bindings: Sequence[Mapping[str, Any]]) -> set[Any]:
    """Return the keys with which a queue's dead letters may be published: its own, else those that they came with."""
    key = dead_letters(document)[1]
    return {key} if key is not None else {document.get("name"), *(str(b.get("routing_key")) for b in bindings)}


def receivers(bindings: Sequence[Mapping[str, Any]], keys: set[Any]) -> list[str]:
    """Return the queues behind an exchange that get messages with one of these keys, or all."""
    wanted = {*keys, "", "#"}
    return [
        binding["destination"]
        for binding in bindings
        if binding.get("destination_type") == "queue"
        and isinstance(binding.get("destination"), str)
        and str(binding.get("routing_key")) in wanted
    ]


def counted(document: Mapping[str, Any], counter: str) -> int | None:
    """Return one of COUNTERS; None where the broker has no statistics of the queue."""
    if not isinstance(document.get("messages"), int):
        return None
    found = mapping(document.get("message_stats"))  # what never happened is missing there
    figures = [found.get(name, 0) for name in COUNTERS[counter]]
    return sum(figure for figure in figures if isinstance(figure, int))


def _rate(figures: Mapping[str, Any], name: str) -> float:
    rate = mapping(figures.get(f"{name}_details")).get("rate")
    return rate if isinstance(rate, (int, float)) else 0.0


def is_open(sample: Sample, name: str, named: bool) -> bool:
    """Whether one look leaves open what a queue does; of a dead letter queue only whether it grows."""
    document = sample.document(name)
    if not named:
        return _rate(document, "messages") > 0
    figures = mapping(document.get("message_stats"))
    flows = any(_rate(figures, counter) > 0 for counter in COUNTERS["acked"])
    stands = bool(sample.depth(name).messages) and not flows
    return stands or document.get("consumers") == 0 or _rate(figures, "redeliver") > 0


def has_dropped(sample: Sample) -> bool:
    """Whether messages were lost since the node's start. Whether they still are, a second look tells."""
    found = [DROPPED[name][0] for name in DEAD_LETTERED]
    return bool(sample.metrics and any(discarded(sample.metrics, metric) for metric in found))


def discarded(metrics: Metrics | None, metric: str) -> int | None:
    """Return how many dead letters had nowhere to go; None where the endpoint does not tell."""
    return metrics.total(metric, dead_letter_strategy="disabled") if metrics else None


def is_telling(sample: Sample, name: str) -> bool:
    """Whether the past of a queue tells more than two looks: it holds messages that came back, stand, or are many."""
    held = sample.depth(name).messages or 0
    came_back = bool(counted(sample.document(name), "redelivered_count"))
    return bool(held) and (came_back or held >= MANY or is_open(sample, name, True))


def past(document: Any) -> dict[str, int | None]:
    """Return what the samples of a queue tell of the last minutes; None without samples.

    ``in_vain``: at how many of them messages had come back, since one was done with; ``back_before``: how often any had
    come back by then. ``stuck_for``: for how many
    seconds it has held messages of which none was done with; ``unacked_for``: those that its consumers have. ``risen``:
    how many more it holds than 5 minutes ago, if they have become ever more since.
    """
    figures = mapping(mapping(document).get("message_stats"))
    done, back = _samples(figures, COUNTERS["acked"]), _samples(figures, COUNTERS["redelivered_count"])
    return {
        "in_vain": _in_vain(done, back),
        "back_before": _back_before(done, back),
        "stuck_for": _stuck_for(done, _samples(mapping(document), ("messages",))),
        "unacked_for": _stuck_for(done, _samples(mapping(document), ("messages_unacknowledged",))),
        "risen": _risen(_samples(mapping(document), ("messages",))),
    }


def _samples(figures: Mapping[str, Any], names: Sequence[str]) -> dict[int, int]:
    """Return the sum of some figures by the time of each sample, in seconds, the oldest first."""
    totals: dict[int, int] = {}
    for name in names:
        for entry in records(mapping(figures.get(f"{name}_details")).get("samples")):
            at, figure = entry.get("timestamp"), entry.get("sample")
            if isinstance(at, int) and isinstance(figure, int):
                totals[at // 1000] = totals.get(at // 1000, 0) + figure
    return dict(sorted(totals.items()))


def _in_vain(done: Mapping[int, int], back: Mapping[int, int]) -> int | None:
    times, count = list(back), 0
    for earlier, later in zip(times, times[1:]):
        if done.get(later, 0) > done.get(earlier, 0):
            count = 0
        elif back[later] > back[earlier]:
            count += 1
    return count if times else None


def _back_before(done: Mapping[int, int], back: Mapping[int, int]) -> int | None:
    grown = [later for earlier, later in zip(done, list(done)[1:]) if done[later] > done[earlier]]
    since = [back[at] for at in back if not grown or at >= grown[-1]]
    return min(since, default=None)


def _stuck_for(done: Mapping[int, int], held: Mapping[int, int]) -> int | None:
    times = sorted(held, reverse=True)
    if not times:
        return None
    since = times[0]
    for at in times:
        if not held[at] or done.get(at, 0) != done.get(times[0], 0):
            break
        since = at
    return times[0] - since


def _risen(held: Mapping[int, int]) -> int | None:
    lately = [count for at, count in held.items() if at > max(held) - HISTORY // 2]
    third = len(lately) // 3
    if not third:
        return None
    parts = [sum(lately[n * third : (n + 1) * third]) for n in range(3)]
    return max(lately[-1] - lately[0], 0) if parts[0] < parts[1] < parts[2] else 0


def has_moved(first: Sample, second: Sample, name: str, named: bool) -> bool:
    """Whether a second look answers what the first has left open."""
    before, now = first.document(name), second.document(name)
    if not named:
        return before.get("messages") != now.get("messages")
    # Those of a worker that has just connected are not counted at once.
    came = before.get("consumers") == 0 and bool(now.get("consumers")) and not now.get("messages")
    return came or bool(delta(counted(before, "acked"), counted(now, "acked")))


def delta(old: int | None, new: int | None) -> int | None:
    """Return the growth of a counter; None where it is not known, or has begun anew."""
    return None if old is None or new is None or new < old else new - old


def report(
    names: Sequence[str], first: Sample, second: Sample | None, around: Surroundings, nodes: Any
) -> dict[str, Any]:
    """Return what was seen, in the module's form."""
    queues: list[tuple[str, str | None]] = [(name, None) for name in names]
    queues += [(target, name) for name, target in around.dead_letter_queues.items()]
    return {
        "seconds": round(second.at - first.at, 3) if second else 0.0,
        "queues": [_queue(name, of, first, second, around) for name, of in queues],
        "connections": _connections(around.connections),
        "dropped": {name: _dropped(name, first, second) for name in DROPPED},
        "nodes": [{**{key: node.get(key) for key in _NODE}, "age": STATISTICS_AGE} for node in records(nodes)],
    }


def _queue(name: str, of: str | None, first: Sample, second: Sample | None, around: Surroundings) -> dict[str, Any]:
    last = second if second and second.document(name) else first
    before, now, depth = first.document(name), last.document(name), last.depth(name)
    deltas = {
        counter: delta(counted(before, counter), counted(now, counter)) if last is second else None
        for counter in COUNTERS
    }
    earlier, redelivered = first.depth(name), counted(now, "redelivered_count")
    grown = None
    if last is second and depth.messages is not None and earlier.messages is not None and depth.fresh == earlier.fresh:
        grown = depth.messages - earlier.messages
    bindings, before_that = around.bindings.get(name), around.past.get(name) or past(None)
    return {
        "name": name,
        "of": of,
        "type": depth.type,
        "state": depth.state,
        "messages": depth.messages,
        "ready": depth.ready,
        "unacked": depth.unacked,
        "persistent": now.get("messages_persistent"),
        "ready_bytes": now.get("message_bytes_ready"),
        "age": age(depth),
        "consumers": depth.consumers,
        "consumer_hosts": consumer_hosts(now),
        "without_ack": without_ack(now),
        "redelivered": None if redelivered is None else redelivered > 0,
        "acked_total": counted(now, "acked"),
        **deltas,
        **{key: value for key, value in before_that.items() if key != "back_before"},
        "came_back": delta(before_that["back_before"], redelivered),
        "grown": grown,
        "bindings": None if bindings is None else sum(binding.get("source") != "" for binding in bindings),
        "arguments": mapping(now.get("arguments")),
        "policy": mapping(now.get("effective_policy_definition")),
        "dead_letter_target": around.targets.get(name),
        "limits": limits(now, last.overview),
        "overflow": overflow(now),
    }


def age(depth: Depth) -> float | None:
    """Return the seconds by which a queue's counts may lag; None where there are none."""
    if not depth.known:
        return None
    if not depth.fresh:
        return STATISTICS_AGE
    return 0.0 if depth.type == "classic" else TOTALS_AGE


def consumer_hosts(document: Mapping[str, Any]) -> list[str] | None:
    """Return the addresses from which a queue is consumed; None where they were not told."""
    if "consumer_details" not in document:
        return None
    channels = [mapping(consumer.get("channel_details")) for consumer in records(document.get("consumer_details"))]
    return sorted({channel["peer_host"] for channel in channels if isinstance(channel.get("peer_host"), str)})


def without_ack(document: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the ends of the connections of those that take messages without acks; None where it was not told."""
    if "consumer_details" not in document:
        return None
    takers = [one for one in records(document.get("consumer_details")) if one.get("ack_required") is False]
    channels = [mapping(one.get("channel_details")) for one in takers]
    return [{key: channel.get(f"peer_{key}") for key in ("host", "port")} for channel in channels]


def limits(document: Mapping[str, Any], overview: Answer | None) -> dict[str, int | None]:
    """Return a queue's limits: the smaller of what its arguments and its policy say."""
    arguments, policy = mapping(document.get("arguments")), mapping(document.get("effective_policy_definition"))
    found: dict[str, int | None] = {}
    for name, (argument, key) in LIMITS.items():
        values = [value for value in (arguments.get(argument), policy.get(key)) if isinstance(value, int)]
        found[name] = min(values) if values else None
    version = version_of(mapping(overview.document if overview else None).get("rabbitmq_version"))
    if document.get("type") == "quorum" and found["delivery_limit"] is None and version >= (4, 0, 0):
        found["delivery_limit"] = DELIVERY_LIMIT
    return found


def overflow(document: Mapping[str, Any]) -> str | None:
    """Return what a full queue does with what comes; None where nothing is said, and it drops its oldest message."""
    arguments, policy = mapping(document.get("arguments")), mapping(document.get("effective_policy_definition"))
    said = arguments.get("x-overflow", policy.get("overflow"))
    return said if isinstance(said, str) else None


def _connections(answer: Answer | None) -> dict[str, Any] | None:
    page = mapping(answer.document) if answer and answer.ok else {}
    if not isinstance(page.get("items"), list):
        return None
    entries = records(page["items"])
    states = [(str(entry.get("peer_host")), entry.get("state")) for entry in entries]
    hosts: dict[str, dict[str, int]] = {}
    for host, state in states:
        count = hosts.setdefault(host, {"total": 0, "blocked": 0})
        count["total"] += 1
        count["blocked"] += state == "blocked"
    total = page.get("total_count")
    return {
        "total": total if isinstance(total, int) else len(entries),
        "blocked": sum(state == "blocked" for _host, state in states),
        "blocking": sum(state == "blocking" for _host, state in states),
        "by_host": hosts,
        "age": STATISTICS_AGE,
    }


def _dropped(name: str, first: Sample, second: Sample | None) -> dict[str, Any] | None:
    """Return a counter of what was dropped; None where no source has it."""
    metric, statistic = DROPPED[name]
    if first.metrics and first.metrics.ok:
        total = first.metrics.total(metric)
        if total is not None:
            later = second.metrics.total(metric) if second and second.metrics else None
            ends = [
                discarded(metrics, metric) if name in DEAD_LETTERED else None
                for metrics in (first.metrics, second.metrics if second and later is not None else None)
            ]
            return {
                "total": total if later is None else later,
                "delta": delta(total, later),
                "discarded": ends[0] if ends[1] is None else ends[1],
                "discarded_delta": delta(*ends),
                "source": "prometheus",
                "age": 0.0,
            }
    figures = mapping(mapping(first.overview.document if first.overview else None).get("message_stats"))
    if statistic is None or not figures:
        return None
    total = figures.get(statistic, 0)  # what never happened is missing there
    if not isinstance(total, int):
        return None
    return {
        "total": total,
        "delta": None,
        "discarded": None,
        "discarded_delta": None,
        "source": "/api/overview",
        "age": STATISTICS_AGE,
    }
