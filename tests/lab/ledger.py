# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger: what was asked of Veza against what came of it.

It is an oracle, and judges recoveries: it shares no code and no record with what it judges. Everything here is pure;
``evidence.py`` reads the facts. What it promises to find is at most one committed effect for each idempotency key,
and at least one for each accepted request, unless the audit lists the event for a human.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Literal

REPLAYED = frozenset({"transcode", "dmca"})
"""Kinds that a recovery replays by itself: listing such an event for a human is a failure, not an excuse."""

OBLIGES: Mapping[str, tuple[str, ...]] = {
    "upload": ("transcode", "search"),
    "takedown": ("dmca",),
    "distribute": ("distribution",),
    "read": (),
}
"""Which kinds of event each request obliges Veza to bring to its effect, once the API has accepted it."""

GONE = 451
"""What a track that was taken down must be answered with."""

Outcome = Literal["ok", "failed", "unknown"]
Event = tuple[str, str]
"""A kind and an entity's id: how the audit lists what was lost."""


@dataclass(frozen=True)
class Request:
    """One request of the load generator. Instants are seconds since the epoch."""

    id: str
    what: str
    api: str
    sent_at: float
    ended_at: float | None
    outcome: Outcome
    entity_id: str | None = None
    track_id: str | None = None

    @property
    def events(self) -> tuple[Event, ...]:
        """The events that this request obliges; none unless the API said that it was accepted."""
        if self.outcome != "ok" or self.entity_id is None:
            return ()
        return tuple((kind, self.entity_id) for kind in OBLIGES[self.what])


@dataclass(frozen=True)
class Attempt:
    """A worker had a task in its hands, before any deduplication."""

    key: str
    dispatch: str
    at: float
    redelivered: bool = False


@dataclass(frozen=True)
class Effect:
    """A committed effect."""

    key: str
    dispatch: str
    at: float


@dataclass(frozen=True)
class Job:
    """A row of transcode_jobs. Nothing but a replay inserts one: uploads are dispatched as messages."""

    id: str
    track_id: str
    status: str
    created_at: float

    @property
    def dispatch(self) -> str:
        """What the attempts and effects of this row are recorded under."""
        return f"job:{self.id}"


@dataclass(frozen=True)
class Outage:
    """What was seen of the outage from outside."""

    killed_at: float
    refused: int
    """How often the broker's port refused a connection."""
    back_at: float | None
    """When it accepted one again."""


@dataclass(frozen=True)
class Settled:
    """The state in which all was left. None anywhere means: could not be read."""

    at: float
    needed: float
    """Seconds without load that must have passed: the publisher's backoff and three heartbeats."""
    buffered: Mapping[str, int | None]
    """Events that each API instance still tries to publish."""
    sockets: int | None
    """Bytes that wait in sockets to the broker, and connections that it blocks."""
    ready: Mapping[str, int | None]
    unacked: Mapping[str, int | None]
    live_jobs: int | None
    dead_letters: tuple[str, ...] | None
    """Keys of the messages in the dead letter queues."""
    dead_letter_depth: int | None


@dataclass(frozen=True)
class Facts:
    """All that the ledger judges by."""

    requests: tuple[Request, ...]
    attempts: tuple[Attempt, ...]
    effects: tuple[Effect, ...]
    jobs: tuple[Job, ...]
    final_reads: Mapping[str, Mapping[str, int | None]]
    """For each track that was taken down: what each instance answers in the end."""
    settled: Settled
    outage: Outage | None
    listed: frozenset[Event] | None
    """What the audit left for a human; None when there is no audit to read."""
    demanded: frozenset[str] = frozenset({"transcode", "dmca", "distribution", "search"})
    """Kinds of which at least one event must have been lost, or this run proves nothing."""


@dataclass(frozen=True)
class Verdict:
    """What the ledger says. Sets are sorted, so that two verdicts can be compared."""

    effects: int
    missing: tuple[Event, ...]
    doubled: Mapping[str, str]
    """Key -> why."""
    listed: tuple[Event, ...]
    lost: tuple[Event, ...]
    """What was lost and has no replay: what must be listed, neither more nor less."""
    not_listed: tuple[Event, ...]
    wrongly_listed: tuple[Event, ...]
    replayed: Mapping[str, int]
    """By kind: accepted events that no message brought to an effect, and a replay did."""
    redeliveries: int
    accepted: int
    unknown: int
    unattributed: tuple[Event, ...] = ()
    """Listed, without an effect, and explained by requests whose outcome is unknown."""
    invalid: tuple[str, ...] = field(default=())
    """Why nothing can be concluded from this run; empty when it is valid."""

    @property
    def ok(self) -> bool:
        """Nothing is missing, doubled or wrongly accounted for, and the run is worth something."""
        return not (self.invalid or self.missing or self.doubled or self.not_listed or self.wrongly_listed)

    def line(self) -> str:
        """Return the ledger's line, which scripts read."""
        return (
            f"ledger: {self.effects} effects, {len(self.missing)} missing, {len(self.doubled)} doubled, "
            f"{len(self.listed)} listed as lost"
        )

    def findings(self) -> list[str]:
        """Return a sentence for everything that is wrong, by id; empty when all is well."""
        return [
            *(f"INVALID: {reason}" for reason in self.invalid),
            *(f"missing: {_name(event)} was accepted, has no effect and is not listed" for event in self.missing),
            *(f"doubled: {key}: {why}" for key, why in sorted(self.doubled.items())),
            *(f"not listed: {_name(event)} was lost" for event in self.not_listed),
            *(f"wrongly listed: {_name(event)} {self._why_wrong(event)}" for event in self.wrongly_listed),
        ]

    def _why_wrong(self, event: Event) -> str:
        return "has an automatic replay" if event[0] in REPLAYED else "was not lost"


def judge(facts: Facts) -> Verdict:
    """Return the verdict over ``facts``."""
    obliged = {event: request for request in facts.requests for event in request.events}
    done = {effect.key for effect in facts.effects}
    absent = {event for event, request in obliged.items() if not _came_true(event, request, done, facts.final_reads)}
    listed = facts.listed or frozenset()
    lost = {event for event in absent if event[0] not in REPLAYED}
    surplus = listed - lost
    unattributed = _unattributed(surplus, facts)
    undelivered = Counter(kind for kind, _id in _undelivered(obliged, facts) - absent)
    return Verdict(
        effects=len(facts.effects),
        missing=_sorted(event for event in absent if event not in listed or event[0] in REPLAYED),
        doubled=_doubled(facts),
        listed=_sorted(listed),
        lost=_sorted(lost),
        not_listed=_sorted(lost - listed),
        wrongly_listed=_sorted(surplus - unattributed),
        replayed=dict(sorted(undelivered.items())),
        redeliveries=_redeliveries(facts.attempts),
        accepted=sum(request.outcome == "ok" for request in facts.requests),
        unknown=sum(request.outcome == "unknown" for request in facts.requests),
        unattributed=_sorted(unattributed),
        invalid=tuple(reason for doubt in DOUBTS for reason in doubt(facts)),
    )


def key_of(event: Event) -> str:
    """Return the idempotency key of an event: its first version, the load generator never changes anything twice."""
    return f"{event[0]}:{event[1]}:1"


def _came_true(event: Event, request: Request, done: Set[str], reads: Mapping[str, Mapping[str, int | None]]) -> bool:
    """Tell whether an accepted request had its effect.

    A takedown is judged from outside: whatever the database says, every instance must refuse to serve the track.
    """
    if event[0] == "dmca":
        answers = reads.get(request.track_id or "", {})
        return bool(answers) and all(status == GONE for status in answers.values())
    return key_of(event) in done


def _undelivered(obliged: Iterable[Event], facts: Facts) -> set[Event]:
    """Return the obliged events that no message brought to an effect: what the outage swallowed."""
    delivered = {effect.key for effect in facts.effects if not effect.dispatch.startswith("job:")}
    return {event for event in obliged if key_of(event) not in delivered}


def _unattributed(surplus: Iterable[Event], facts: Facts) -> set[Event]:
    """Return what is listed rightly for all that can be known: an event that an unknown request may have caused.

    The load generator never learnt the entity's id, so each unknown request excuses at most one event of its kinds,
    of an entity that no known request made and that has no effect.
    """
    known = {event for request in facts.requests for event in request.events}
    effects = {effect.key for effect in facts.effects}
    allowed = Counter(
        kind for request in facts.requests if request.outcome == "unknown" for kind in OBLIGES[request.what]
    )
    excused = set()
    for event in sorted(surplus):
        if event[0] not in REPLAYED and event not in known and key_of(event) not in effects and allowed[event[0]] > 0:
            allowed[event[0]] -= 1
            excused.add(event)
    return excused


def _doubled(facts: Facts) -> dict[str, str]:
    """Return the keys that had two effects, or were replayed although they could still be delivered, with the reason.

    Redeliveries of one message are the broker's right (at least once) and no doubling as long as one effect is
    committed.
    """
    effects, attempts = defaultdict(list), defaultdict(list)
    for effect in facts.effects:
        effects[effect.key].append(effect)
    for attempt in facts.attempts:
        attempts[attempt.key].append(attempt)
    doubled = {
        key: f"{len(committed)} committed effects ({', '.join(effect.dispatch for effect in committed)})"
        for key, committed in effects.items()
        if len(committed) > 1
    }
    for job in facts.jobs:
        key = key_of(("transcode", job.track_id))
        for effect in effects[key]:
            if effect.dispatch != job.dispatch:
                doubled.setdefault(key, f"{job.dispatch} replays what {effect.dispatch} does already")
        for attempt in attempts[key]:
            if attempt.dispatch != job.dispatch and attempt.at >= job.created_at:
                doubled.setdefault(key, f"{attempt.dispatch} was still delivered after {job.dispatch} was inserted")
    return doubled


def _redeliveries(attempts: Iterable[Attempt]) -> int:
    """Return how many attempts were a dispatch's second or later one."""
    return sum(count - 1 for count in Counter((attempt.key, attempt.dispatch) for attempt in attempts).values())


def _doubt_outage(facts: Facts) -> list[str]:
    outage = facts.outage
    if outage is None or outage.refused == 0:
        return ["the outage was never seen: the broker's port refused no connection"]
    if outage.back_at is None:
        return ["the broker's port was never seen to accept connections again"]
    killed, back = outage.killed_at, outage.back_at
    during = [r for r in facts.requests if r.events and r.ended_at is not None and killed <= r.ended_at <= back]
    return [] if during else ["no event was accepted while the broker was down"]


def _doubt_load(facts: Facts) -> list[str]:
    obliged = {event for request in facts.requests for event in request.events}
    if not obliged:
        return ["no request was accepted"]
    swallowed = {kind for kind, _id in _undelivered(obliged, facts)}
    if not swallowed:
        return ["no event was lost: nothing is proved"]
    return [f"no {kind} event was lost: nothing is proved for this kind" for kind in sorted(facts.demanded - swallowed)]


def _doubt_sink(facts: Facts) -> list[str]:
    """Effects of requests that the load generator never recorded mean that its record is not complete."""
    known = {key_of(event) for request in facts.requests for event in request.events}
    unknown = sum(len(OBLIGES[request.what]) for request in facts.requests if request.outcome != "ok")
    strangers = {effect.key for effect in facts.effects} - known
    if len(strangers) <= unknown:
        return []
    return [f"{len(strangers)} effects belong to no recorded request, such as {min(strangers)}"]


def _doubt_settled(facts: Facts) -> list[str]:
    settled = facts.settled
    figures: dict[str, int | None] = {
        **{f"the publisher of {name}": count for name, count in settled.buffered.items()},
        "the sockets to the broker": settled.sockets,
        **{f"{name} (ready)": count for name, count in settled.ready.items()},
        **{f"{name} (unacknowledged)": count for name, count in settled.unacked.items()},
        "transcode_jobs' live rows": settled.live_jobs,
    }
    empty = [text for text, mapping in (("publisher", settled.buffered), ("queue", settled.ready)) if not mapping]
    return [
        *(f"no {text} was looked at" for text in empty),
        *(f"{name}: could not be read" for name, count in figures.items() if count is None),
        *(f"{name}: {count} left" for name, count in figures.items() if count),
    ]


def _doubt_dead_letters(facts: Facts) -> list[str]:
    settled = facts.settled
    if settled.dead_letters is None or settled.dead_letter_depth is None:
        return ["the dead letter queues: could not be read"]
    if len(settled.dead_letters) != settled.dead_letter_depth:
        return [f"dead letters: {settled.dead_letter_depth} counted, {len(settled.dead_letters)} read"]
    known = {key_of(event) for request in facts.requests for event in request.events}
    return [f"the dead letter {key} belongs to no request" for key in settled.dead_letters if key not in known]


def _doubt_quiet(facts: Facts) -> list[str]:
    """Without this wait, what an API instance still retries or a worker still holds would count as lost."""
    last = max((request.ended_at or request.sent_at for request in facts.requests), default=0.0)
    if facts.outage is not None and facts.outage.back_at is not None:
        last = max(last, facts.outage.back_at)
    waited = facts.settled.at - last
    if waited > facts.settled.needed:
        return []
    return [f"only {waited:.1f} s passed since the last request; more than {facts.settled.needed:g} s are needed"]


def _doubt_final_reads(facts: Facts) -> list[str]:
    unread = []
    for request in facts.requests:
        if not any(kind == "dmca" for kind, _id in request.events):
            continue
        answers = facts.final_reads.get(request.track_id or "", {})
        if not answers or None in answers.values():
            unread.append(request.track_id)
    return [f"the final state of {len(unread)} taken-down tracks was not read"] if unread else []


def _doubt_audit(facts: Facts) -> list[str]:
    return ["the audit's list was not found"] if facts.listed is None else []


DOUBTS: tuple[Callable[[Facts], list[str]], ...] = (
    _doubt_outage,
    _doubt_load,
    _doubt_sink,
    _doubt_settled,
    _doubt_dead_letters,
    _doubt_quiet,
    _doubt_final_reads,
    _doubt_audit,
)
"""Each returns the reasons why nothing can be concluded from a run."""

OF_AN_OUTAGE = (_doubt_outage, _doubt_load)
"""Those that want the broker's port to have refused and events to have been lost: not every fault does that."""


def _sorted(events: Iterable[Event]) -> tuple[Event, ...]:
    """Sort by kind, then by id as a number where it is one."""
    return tuple(sorted(events, key=lambda event: (event[0], len(event[1]), event[1])))


def _name(event: Event) -> str:
    return f"{event[0]} {event[1]}"
