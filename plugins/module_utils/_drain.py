# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Have these queues drained? Judged over samples of their depths, one after the other; nothing is asked here.

Why one does not is told by ``_stall``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from ._checks import DEAD_STATES
from ._queues import Depth, Look
from ._stall import MOVING, Facts, Patience, Track, classify

CONFIRM = 10.0
"""Seconds that a zero which needs confirmation must last: two statistics that say so were then sampled."""

RATE_WINDOW = 30.0
"""Seconds of samples that the rate is taken over: several samples of the statistics."""

MAX_SAMPLES = 240
"""Samples that are kept; beyond it every second one is dropped, the first and the last never."""

UNREMARKABLE = ("draining", "undecided")
"""Cases that the figures of a line tell by themselves."""

DEAD_LETTERED = "dead_lettered"
"""The case of a queue that is empty, because what was in it was given up."""

LEFT = "messages are left"
"""The one reason that needs no further words."""

# Outcomes of a request that waiting does not change, and those that only mean it when nothing else was ever answered.
PERMANENT = frozenset({"login_refused", "not_permitted", "not_found"})
PERMANENT_AT_FIRST = frozenset({"tls_failed", "not_management", "not_http"})


@dataclass(frozen=True)
class Goal:
    """What is waited for. ``dead_letters`` has a queue's dead letter queue by its name."""

    queues: tuple[str, ...]
    threshold: int = 0
    not_before: datetime | None = None
    dead_letters: Mapping[str, str] = field(default_factory=dict)
    max_dead_lettered: int = 0
    timeout: float = float("inf")
    patience: Patience = field(default_factory=Patience)

    def names(self) -> list[str]:
        """Return the queues to read."""
        return list(dict.fromkeys([*self.queues, *self.dead_letters.values()]))


@dataclass
class View:
    """What is to be said about one queue. ``rate`` is in messages a second, negative while it drains."""

    name: str
    ready: int | None
    unacked: int | None
    messages: int | None
    consumers: int | None
    state: str | None
    drained: bool
    rate: float | None
    eta: float | None
    known: bool
    reason: str
    dead_lettered: int | None
    dead_letters: int | None
    case: str
    case_reason: str
    case_samples: list[dict[str, Any]]
    stuck: bool
    restart_may_help: bool

    @property
    def over(self) -> bool:
        """Whether waiting changes nothing any more."""
        return self.drained or self.case == DEAD_LETTERED

    @property
    def worked_on(self) -> bool:
        """Whether it has a consumer, and either nothing is left or what is left is acknowledged."""
        low = self.drained or self.case in (DEAD_LETTERED, "settling")
        return bool(self.consumers) and (low or self.case in MOVING)


@dataclass(frozen=True)
class Shown:
    """A case as it is shown, and after how many seconds a queue that shows it is stuck; None for never."""

    name: str
    reason: str
    stuck_after: float | None = None
    restart_may_help: bool = False


@dataclass
class Progress:
    """What must be remembered from one sample to the next; goes through JSON between two slices of a wait."""

    elapsed: float = 0.0
    """Seconds since the wait began."""
    sampled: float | None = None
    """The same at the last sample; None before the first."""
    answered: bool = False
    """Whether the broker has ever given figures."""
    low_since: dict[str, float] = field(default_factory=dict)
    """When a queue's unbroken run of samples that count as drained began."""
    recent: dict[str, list[list[float]]] = field(default_factory=dict)
    """The samples of a queue in the rate's window: elapsed, messages."""
    tracks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What is remembered of each queue's movement."""
    first: dict[str, int] = field(default_factory=dict)
    """The lowest depth of a dead letter queue that counts: what is above it has come during the wait."""
    lost: dict[str, int] = field(default_factory=dict)
    """The most that a dead letter queue has grown by: later it may have been emptied, or give no answer."""

    def take(self, goal: Goal, look: Look, elapsed: float, now: datetime) -> list[View]:
        """Take one sample in, and return what is to be said about each queue after it."""
        depths = look.depths
        self.elapsed = self.sampled = elapsed
        self.answered = self.answered or any(depth.known for depth in depths.values())
        for name in set(goal.dead_letters.values()):
            self._bury(depths[name])
        return [self._view(goal, look, name, now) for name in goal.queues]

    def _view(self, goal: Goal, look: Look, name: str, now: datetime) -> View:
        depth, dead_letters = look.depths[name], look.depths.get(goal.dead_letters.get(name, ""))
        track = Track(**self.tracks.get(name, {}))
        facts = track.take(depth, dead_letters, look, self.elapsed, goal.patience.of(name))
        low, reason = self._low(depth, goal, now)
        rate, lost = self._rate(depth), self._dead_lettered(dead_letters)
        drained = low and (lost or 0) <= goal.max_dead_lettered
        left = 0.0 if low else eta(depth.messages, goal.threshold, rate)
        case = self._case(goal, facts, low, drained, reason, lost, left)
        lasted = track.settle(case.name, self.elapsed)
        self.tracks[name] = track.as_dict()
        return View(
            name=name,
            ready=depth.ready,
            unacked=depth.unacked,
            messages=depth.messages,
            consumers=depth.consumers,
            state=depth.state,
            drained=drained,
            rate=rate,
            eta=left,
            known=depth.known,
            reason=case.reason if case.name == DEAD_LETTERED else reason,
            dead_lettered=lost,
            dead_letters=standing(dead_letters),
            case=case.name,
            case_reason=case.reason,
            case_samples=track.behind(),
            stuck=case.stuck_after is not None and lasted >= case.stuck_after,
            restart_may_help=case.restart_may_help,
        )

    def _low(self, depth: Depth, goal: Goal, now: datetime) -> tuple[bool, str]:
        """Return whether a queue is at its threshold for certain, and why not."""
        reason = objection(depth, goal, now)
        if reason:
            self.low_since.pop(depth.name, None)
            return False, reason
        lasted = self.elapsed - self.low_since.setdefault(depth.name, self.elapsed)
        if lasted >= CONFIRM or not depth.confirm:
            return True, ""
        return False, f"not confirmed yet: this must last {CONFIRM - lasted:.0f} s more"

    def _case(
        self, goal: Goal, facts: Facts, low: bool, drained: bool, reason: str, lost: int | None, left: float | None
    ) -> Shown:
        if drained:
            return Shown("drained", "")
        if low:
            return Shown(DEAD_LETTERED, f"it has emptied into its dead letter queue, which grew by {lost}")
        if facts.known and facts.messages <= goal.threshold and str(facts.state) not in DEAD_STATES:
            return Shown("settling", reason)
        case = classify(facts)
        slow = case.name == "draining" and (left is None or self.elapsed + left > goal.timeout)
        after = 0.0 if case.proven else goal.patience.stuck_after
        return Shown("slow" if slow else case.name, case.says(facts), after if case.lasting else None, case.restart)

    def _rate(self, depth: Depth) -> float | None:
        window = self.recent.setdefault(depth.name, [])
        if depth.messages is not None:
            window.append([self.elapsed, depth.messages])
        while len(window) > 2 and window[0][0] < self.elapsed - RATE_WINDOW:
            del window[0]
        if len(window) < 2 or depth.messages is None or window[-1][0] <= window[0][0]:
            return None
        return round((window[-1][1] - window[0][1]) / (window[-1][0] - window[0][0]), 3)

    def _bury(self, dead_letters: Depth) -> None:
        """Note by how much a dead letter queue has grown, also where somebody empties it meanwhile."""
        name, messages = dead_letters.name, dead_letters.messages
        if messages is None or not (messages or dead_letters.settled):
            return  # a zero right after a boot is none to begin with
        # A quorum queue's total is 0 without its leader: a fall counts when the statistics say so too.
        self.first[name] = min(self.first.get(name, messages), max(messages, dead_letters.statistics or 0))
        self.lost[name] = max(self.lost.get(name, 0), messages - self.first[name])

    def _dead_lettered(self, dead_letters: Depth | None) -> int | None:
        if dead_letters is None:
            return None
        lost = self.lost.get(dead_letters.name)
        return lost if dead_letters.messages is not None else lost or None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def objection(depth: Depth, goal: Goal, now: datetime) -> str:
    """Return why a sample does not count as drained; empty if it does."""
    if not depth.known or depth.messages is None:
        return depth.reason or "its figures are missing"
    if depth.messages > goal.threshold:
        return LEFT
    if not depth.settled:
        return depth.reason
    if goal.not_before is not None and now < goal.not_before:
        return f"publishers may still be retrying until {goal.not_before.isoformat()}"
    if str(depth.state) in DEAD_STATES:
        return f"the queue is {depth.state}: its count means nothing"
    if depth.type == "quorum" and depth.state != "running":
        return f"the quorum queue is {depth.state}: its count means nothing"
    if depth.type == "quorum" and (depth.statistics is None or depth.statistics > goal.threshold):
        return "the statistics don't agree yet"
    return ""


def standing(dead_letters: Depth | None) -> int | None:
    """Return how many messages a dead letter queue holds; None if that is not known."""
    messages = None if dead_letters is None else dead_letters.messages
    if dead_letters is None or messages is None or not (messages or dead_letters.settled):
        return None
    # A quorum queue's total is 0 without its leader.
    return max(messages, dead_letters.statistics or 0) if dead_letters.confirm else messages


def eta(messages: int | None, threshold: int, rate: float | None) -> float | None:
    """Return the seconds until a queue is at the threshold if it goes on like this; None if it does not get there."""
    if messages is None or rate is None or rate >= 0 or messages <= threshold:
        return None
    return round((messages - threshold) / -rate, 1)


def sample(depths: Mapping[str, Depth], elapsed: float, now: datetime) -> dict[str, Any]:
    """Return a sample as the module returns it."""
    queues = {
        name: {"ready": depth.ready, "unacked": depth.unacked, "consumers": depth.consumers}
        for name, depth in depths.items()
    }
    at = now.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"at": at, "elapsed": round(elapsed, 3), "queues": queues}


def thin(samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return so few samples that they can be kept, evenly spread, with the first and the last."""
    kept = list(samples)
    while len(kept) > MAX_SAMPLES:
        kept = [*kept[:-1:2], kept[-1]]
    return kept


def told(case: str, reason: str, stuck: bool) -> str:
    """Return a case with its reason."""
    return reason if case == "unknown" else f"{case}{' (stuck)' if stuck else ''}: {reason}"


def line(queue: Mapping[str, Any]) -> str:
    """Return one queue's line of progress."""
    case = told(queue["case"], queue["case_reason"], queue["stuck"])
    if not queue["known"]:
        return f"{queue['name']}  unknown, condition not met yet: {case}"
    left = f"{queue['name']}  {queue['messages']} left (ready {queue['ready']}, unacked {queue['unacked']})"
    lost = f"  {queue['dead_lettered']} dead-lettered" if queue["dead_lettered"] else ""
    if queue["drained"]:
        return f"{left}  drained{lost}"
    if queue["case"] == DEAD_LETTERED:
        return f"{left}  not drained, but given up{lost}"
    if queue["rate"] is None or queue["reason"] != LEFT:
        return f"{left}  condition not met yet: {queue['reason']}{lost}"
    time = f"ETA {queue['eta']:.0f} s" if queue["eta"] is not None else "no ETA: it does not get less"
    why = "" if queue["case"] in UNREMARKABLE else f"  {case}"
    return f"{left}  {queue['rate']:+.1f}/s  {time}{lost}{why}"


def message(views: Sequence[View], elapsed: float) -> str:
    """Return the wait's outcome in a few sentences."""
    if all(view.drained for view in views):
        lost = [f"{view.dead_lettered} messages of {view.name}" for view in views if view.dead_lettered]
        text = f"Drained: {', '.join(view.name for view in views)} ({elapsed:.1f} s)."
        return f"{text} But dead-lettered instead of done: {', '.join(lost)}." if lost else text
    left = "; ".join(_left(view) for view in views if not view.drained)
    return f"Not drained after {elapsed:.1f} s: {left}."


def _left(view: View) -> str:
    case = told(view.case, view.case_reason.rstrip("."), view.stuck)
    if not view.known:
        return f"{view.name}: unknown ({case})"
    rate = "no rate yet" if view.rate is None else f"{view.rate:+.1f}/s"
    consumers = "consumers unknown" if view.consumers is None else f"{view.consumers} consumers"
    lost = f", {view.dead_lettered} dead-lettered" if view.dead_lettered else ""
    figures = f"{view.messages} left (ready {view.ready}, unacked {view.unacked})"
    why = "" if view.case in UNREMARKABLE else f", {case}"
    return f"{view.name}: {figures}, {consumers}, {rate}{lost}{why}"
