# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why does a queue not drain? Judged by how its counters grew over the samples of a wait; nothing is asked here.

The counters are samples themselves, of every 5 s. So growth is looked at over 10 s at least, and never by the rate that
the broker gives: a worker that acknowledges every 20 s shows a rate of 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ._checks import DEAD_STATES, STATISTICS_AGE
from ._queues import Depth, Look, connections_of
from ._traffic import COUNTERS, counted, delta

WINDOW = 30.0
"""Seconds of samples that growth is taken over: several samples of the statistics."""

ROWS = 60
"""Samples that are kept of a window, so that short intervals cost no more."""

HEARTBEATS = 3
"""Heartbeats of its connection for which a consumer may be silent before it is called wedged: the broker itself closes
the connection of a host that has vanished, and gives its messages back, within so many."""

AGAIN = 2
"""Times that redeliveries must have grown without acknowledgements: once is what any restart of a worker brings."""

FAR_ABOVE = 5
"""Redeliveries to one acknowledgement that are far above it."""

FLAPPING = 3
"""Connections that consumed a queue within the window beyond those that do now: its worker comes and goes."""


AWAY = 120.0
"""Seconds without figures after which it is time to look at the broker again; one that boots takes less."""


@dataclass(frozen=True)
class Patience:
    """How long a queue may show the same before it is called stuck, and how long one message may take (seconds)."""

    stuck_after: float = 20.0
    task: float = 60.0
    tasks: Mapping[str, float] = field(default_factory=dict)

    def of(self, queue: str) -> float:
        """Return the seconds that one message of a queue may take."""
        return self.tasks.get(queue, self.task)


@dataclass(frozen=True)
class Facts:
    """What is known of one queue's movement. Growth is over ``seconds``, None where it can't be told."""

    known: bool = True
    reason: str = ""
    settled: bool = True
    type: str | None = "classic"
    state: str | None = "running"
    messages: int = 0
    unacked: int = 0
    consumers: int | None = 1
    seconds: float = 0.0
    grown: int | None = None
    acked: int | None = None
    delivered: int | None = None
    redelivered_count: int | None = None
    published: int | None = None
    dead_lettered: int | None = None
    quiet: float = 0.0
    """Seconds without an acknowledgement."""
    again: int = 0
    """Times that redeliveries have grown since then."""
    without: float = 0.0
    """Seconds without a consumer."""
    unread: float = 0.0
    """Seconds without figures."""
    turnover: int = 0
    """Connections that have consumed it within the window and do no more."""
    left: bool = False
    """Whether it has lost its last consumer within the window, or has none."""
    alarms: str = ""
    blocked: int = 0
    """Connections of its consumers that the broker blocks, because they publish."""
    silent: float | None = None
    """Seconds for which none of its consumers' connections has sent anything."""
    heartbeat: float = 0.0
    """Heartbeat of its consumers' connections, 0 for none."""
    task: float = 60.0

    @property
    def seen(self) -> bool:
        """Whether there are samples enough to tell growth."""
        return self.seconds >= STATISTICS_AGE and self.acked is not None

    @property
    def still(self) -> bool:
        """Whether nothing was acknowledged."""
        return self.seen and not self.acked and self.quiet >= STATISTICS_AGE

    @property
    def grace(self) -> float:
        """Return the seconds for which a consumer may hold messages without acknowledging one."""
        return max(HEARTBEATS * self.heartbeat, self.task)

    @property
    def fallen(self) -> int:
        """Return by how much it holds less."""
        return max(-(self.grown or 0), 0)


Holds = Callable[[Facts], bool]
Says = Callable[[Facts], str]


@dataclass(frozen=True)
class Case:
    """One way in which a queue does not drain, or does.

    ``lasting`` cases don't end by themselves: a queue that shows one for long enough is stuck; ``proven`` ones have
    lasted long enough when they are seen. ``restart`` says whether a restart of its worker may help.
    """

    name: str
    holds: Holds
    says: Says
    lasting: bool = False
    proven: bool = False
    restart: bool = False


def _vain(facts: Facts) -> bool:
    return facts.again >= AGAIN


def _comes_and_goes(facts: Facts) -> bool:
    return facts.left or facts.turnover > 0


def _dead_letters(facts: Facts) -> bool:
    lost = facts.dead_lettered or 0
    return facts.seen and lost > 0 and lost >= (facts.acked or 0) and 2 * lost >= facts.fallen


def _moves(facts: Facts) -> bool:
    return bool(facts.acked) or (facts.grown or 0) < 0


def _idle(facts: Facts) -> str:
    held = f"{facts.consumers} consumers hold {facts.unacked}"
    return f"{held} and have acknowledged none for {facts.quiet:.0f} s"


CASES = (
    Case(
        "queue_down",
        lambda f: str(f.state) in DEAD_STATES,
        lambda f: f"it is {f.state}",
        lasting=True,
    ),
    Case(
        "no_leader",
        lambda f: not f.known and f.type == "quorum" and f.settled and f.unread >= STATISTICS_AGE,
        lambda f: f"a quorum queue whose count is missing for {f.unread:.0f} s: it has no leader",
        lasting=True,
    ),
    Case(
        "broker_away",
        lambda f: not f.known and f.unread >= AWAY,
        lambda f: f"no figures for {f.unread:.0f} s: {f.reason or 'they are missing'}",
        lasting=True,
        proven=True,
    ),
    Case("unknown", lambda f: not f.known, lambda f: f.reason or "its figures are missing"),
    Case(
        "dead_lettering",
        _dead_letters,
        lambda f: f"{f.dead_lettered} more dead letters in {f.seconds:.0f} s, {f.acked} acknowledged",
    ),
    Case(
        "worker_blocked",
        lambda f: f.still and f.blocked > 0,
        lambda f: f"its worker publishes on a connection that the broker blocks{_because(f)}: a restart would not help",
        lasting=True,
    ),
    Case(
        "alarm",
        lambda f: f.still and f.alarms != "",
        lambda f: f"none acknowledged for {f.quiet:.0f} s{_because(f)}",
        lasting=True,
    ),
    Case(
        "crash_loop",
        lambda f: (_vain(f) and _comes_and_goes(f)) or (f.still and f.turnover >= FLAPPING),
        lambda f: (
            f"its consumers come and go ({f.turnover} have gone in {f.seconds:.0f} s), and what they took is "
            f"delivered again ({f.redelivered_count} times), none acknowledged for {f.quiet:.0f} s"
        ),
        lasting=True,
        proven=True,
    ),
    Case(
        "poison",
        _vain,
        lambda f: f"{f.redelivered_count} redeliveries in {f.seconds:.0f} s, {f.acked} acknowledged",
        lasting=True,
        proven=True,
    ),
    Case(
        "no_consumer",
        lambda f: f.without >= STATISTICS_AGE,
        lambda f: f"nobody has consumed it for {f.without:.0f} s",
        lasting=True,
        restart=True,
    ),
    Case(
        "consumer_vanished",
        lambda f: f.still and f.unacked > 0 and 0 < f.heartbeat < (f.silent or 0.0),
        lambda f: (
            f"{_idle(f)}; their connections have sent nothing for {f.silent:.0f} s: the broker closes them and gives "
            f"the messages back after {HEARTBEATS} heartbeats of {f.heartbeat:.0f} s"
        ),
    ),
    Case(
        "consumers_not_acking",
        lambda f: f.still and bool(f.consumers) and f.quiet >= f.grace,
        lambda f: f"{_idle(f)}, longer than a message may take ({f.grace:.0f} s)",
        lasting=True,
        proven=True,
        restart=True,
    ),
    Case(
        "quiet",
        lambda f: f.still and bool(f.consumers),
        lambda f: f"{_idle(f)}: a message may take {f.grace:.0f} s",
    ),
    Case(
        "inflow",
        lambda f: f.seen and (f.grown or 0) >= 0 and (f.published or 0) >= (f.acked or 0) > 0,
        lambda f: f"{f.published} published and {f.acked} acknowledged in {f.seconds:.0f} s",
    ),
    Case(
        "draining",
        lambda f: f.seen and _moves(f),
        lambda f: f"{f.acked} acknowledged in {f.seconds:.0f} s",
    ),
    Case("undecided", lambda f: True, lambda f: f"seen for {f.seconds:.0f} s"),
)
"""The first that holds is the answer."""

MOVING = ("draining", "slow", "inflow")
"""Cases of a queue that is worked on."""

NAMES = ("drained", "dead_lettered", "settling", "slow", *(case.name for case in CASES))
"""Every answer. The first three are of a queue at its threshold; ``slow`` is one that drains, not within the wait."""


def _lost(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return bool(before["consumers"]) and after["consumers"] == 0


def _because(facts: Facts) -> str:
    return f", because of an alarm ({facts.alarms})" if facts.alarms else ""


def classify(facts: Facts) -> Case:
    """Return the case of a queue that holds more than it should."""
    return next(case for case in CASES if case.holds(facts))


@dataclass
class Track:
    """What is remembered of one queue from sample to sample; goes through JSON between two slices of a wait."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """The samples of the window."""
    acked_at: float | None = None
    """When acknowledgements grew last, or the wait began."""
    again: int = 0
    consumed_at: float | None = None
    """When it had a consumer last, or the wait began."""
    read_at: float | None = None
    sent: dict[str, list[float]] = field(default_factory=dict)
    """By connection of a consumer: the bytes that it has sent, and when these grew last."""
    case: str = ""
    since: float = 0.0
    """Since when it shows that case."""

    def take(self, depth: Depth, dead_letters: Depth | None, look: Look, elapsed: float, task: float) -> Facts:
        """Take one sample in, and return what is known after it."""
        self.read_at = elapsed if self.read_at is None or depth.known else self.read_at
        # Nobody can acknowledge or consume while the broker is away, and clients need a moment to come back.
        if self.acked_at is None or not depth.known or not depth.messages:
            self.acked_at = elapsed
        if self.consumed_at is None or not depth.known or not depth.settled or depth.consumers != 0:
            self.consumed_at = elapsed
        connections = {name: look.connections.get(name, {}) for name in connections_of(depth.document)}
        if depth.known:
            self._row(depth, dead_letters, list(connections), elapsed)
        silent = self._listen(connections, elapsed)
        beats = [int(beat) for beat in (one.get("timeout") for one in connections.values()) if isinstance(beat, int)]
        return Facts(
            known=depth.known,
            reason=depth.reason,
            settled=depth.settled,
            type=depth.type,
            state=depth.state,
            messages=depth.messages or 0,
            unacked=depth.unacked or 0,
            consumers=depth.consumers,
            quiet=elapsed - self.acked_at,
            again=self.again,
            without=elapsed - self.consumed_at,
            unread=elapsed - self.read_at,
            alarms=look.alarms or "",
            blocked=sum(one.get("state") == "blocked" for one in connections.values()),
            silent=silent,
            heartbeat=max(beats, default=0),
            task=task,
            **self._growth(list(connections)),
        )

    def behind(self) -> list[dict[str, Any]]:
        """Return the samples that a case rests on: the first and the last of the window."""
        return [*self.rows[:1], *self.rows[1:][-1:]]

    def _row(self, depth: Depth, dead_letters: Depth | None, connections: list[str], elapsed: float) -> None:
        row = {
            "elapsed": round(elapsed, 3),
            "ready": depth.ready,
            "unacked": depth.unacked,
            "consumers": depth.consumers,
            **{name: counted(depth.document, name) for name in COUNTERS},
            "dead_letters": dead_letters.messages if dead_letters else None,
            "connections": connections,
        }
        if self.rows:
            self._acknowledge(self.rows[-1], row, elapsed)
        close = len(self.rows) > 1 and elapsed - self.rows[-2]["elapsed"] < WINDOW / ROWS
        self.rows = [*(self.rows[:-1] if close else self.rows), row]
        while len(self.rows) > 2 and self.rows[0]["elapsed"] < elapsed - WINDOW:
            del self.rows[0]

    def _acknowledge(self, before: Mapping[str, Any], row: Mapping[str, Any], elapsed: float) -> None:
        """Note whether acknowledgements have grown since the last sample, or only redeliveries."""
        told = [(before[name], row[name]) for name in ("acked", "redelivered_count")]
        acked, again = (delta(old, new) for old, new in told)
        if any(old is not None and new is not None and new < old for old, new in told):
            # The counters have begun anew, with a broker that was restarted.
            self.acked_at, self.again, self.rows = elapsed, 0, []
        elif acked is None or again is None:
            return
        elif acked and again < FAR_ABOVE * acked:
            self.acked_at, self.again = elapsed, 0
        elif again:
            self.again += 1

    def _listen(self, connections: Mapping[str, Mapping[str, Any]], elapsed: float) -> float | None:
        """Return for how long no connection of a consumer has sent anything; None where that is not told."""
        heard: dict[str, list[float]] = {}
        for name, document in connections.items():
            count = document.get("recv_oct")
            if isinstance(count, int):
                before = self.sent.get(name)
                heard[name] = before if before and before[0] == count else [count, elapsed]
        self.sent = heard
        return min((elapsed - at for _count, at in heard.values()), default=None)

    def _growth(self, connections: list[str]) -> dict[str, Any]:
        if len(self.rows) < 2:
            return {}
        first, last = self.rows[0], self.rows[-1]
        gone = {name for row in self.rows for name in row["connections"]} - set(connections)
        return {
            "seconds": last["elapsed"] - first["elapsed"],
            "grown": (last["ready"] + last["unacked"]) - (first["ready"] + first["unacked"]),
            **{name: delta(first[name], last[name]) for name in COUNTERS},
            "dead_lettered": delta(first["dead_letters"], last["dead_letters"]),
            "turnover": len(gone),
            "left": any(_lost(before, row) for before, row in zip(self.rows, self.rows[1:])) or last["consumers"] == 0,
        }

    def settle(self, case: str, elapsed: float) -> float:
        """Note the case, and return for how long it has been the same."""
        if case != self.case:
            self.case, self.since = case, elapsed
        return elapsed - self.since

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)
