# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The input of the accounting: what each source tells of dropped events, and what is known of the outage besides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.module_utils._ids import spelled_out
from ansible_collections.veza.rabbitmq.plugins.module_utils._window import LATEST, parse_instant
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_record import lies_in

AUDIT = "ansible-playbook -i <inventory> veza.rabbitmq.audit_rabbitmq"
NO_LOG = "its inventory has neither veza_backend_log_path nor veza_backend_log_command"
NO_API = "its inventory has no veza_api_url"
REPLAYS = ("transcode_requeue", "dmca_flush", "none")


@dataclass(frozen=True)
class Source:
    """One answer of eventbus_dropped_info."""

    name: str
    """``sentry``, ``log`` or ``database``."""
    label: str
    state: str
    reasons: list[str]
    events: list[dict[str, Any]]
    instance: str = ""


@dataclass
class Drops:
    """What the sources of dropped events say of one queue's events."""

    keys: dict[str, set[str]] = field(default_factory=dict)
    """By entity: the idempotency keys of its dropped events, as far as they are known."""
    seen: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    """By entity and source: what tells its events apart there, the key, or the instance and instant."""
    first: dict[str, str] = field(default_factory=dict)
    """By entity: the earliest instant."""
    last: dict[str, str] = field(default_factory=dict)
    """By entity: the latest instant; empty where none is known."""
    by_source: dict[str, set[str]] = field(default_factory=dict)
    """By the name of the source: the entities that it names."""
    nameless: int = 0
    """Events without an entity's id: they can be neither compared nor listed."""
    state: str = "unknown"

    def count(self) -> int:
        """Return the number of dropped events."""
        return sum(
            max(1, len(keys), *(len(seen - keys) for seen in self.seen[entity].values()))
            for entity, keys in self.keys.items()
        )

    def told_apart(self) -> bool:
        """Return whether an entity's event without a key is the only one that its source has of it.

        Else nobody knows whether it is another event, or one of those again.
        """
        return all(
            len(seen) == 1 or seen <= self.keys[entity]
            for entity, sources in self.seen.items()
            for seen in sources.values()
        )


@dataclass
class Case:
    """The filter's input, with every optional part present; and the sentences that are gathered on the way."""

    queues: list[dict[str, Any]]
    """And after them what has no queue, in the same form."""
    window: str
    sources: list[Source]
    truths: dict[str, Source | None]
    finished: dict[str, Source | None]
    """By queue: what the database shows as done since the window began, each at its instant."""
    requeue: dict[str, Any] | None
    requeued_before: set[str]
    """Tracks that this record has as queued again, and not as taken back since."""
    requeued_elsewhere: dict[str, str]
    """Likewise those of the site's other records whose windows overlap this one, each with the incident's id."""
    of_other_windows: set[str]
    """Those of either that an audit of more than this window queued again: they may have been lost outside of it."""
    flush: list[dict[str, Any]]
    drain: dict[str, dict[str, Any]]
    dead_letters: dict[str, int | None]
    """By queue: how many messages lie in its dead letter queue; None where that is not known."""
    audit_command: str
    incident: str
    """The option that names the incident, with a blank before it; empty where there is none."""
    earlier: str = ""
    """Why the outage may have begun before the window; empty if it did not."""
    differences: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def case_of(facts: Mapping[str, Any]) -> Case:
    """Return the input as a case; AnsibleFilterError for what makes no sense."""
    missing = [name for name in ("queues", "window") if not facts.get(name)]
    if missing:
        raise AnsibleFilterError(f"outage_accounting: the input lacks {' and '.join(missing)}.")
    queues = [dict(queue) for queue in facts["queues"]]
    for queue in queues:
        if queue.get("replay", "none") not in REPLAYS:
            raise AnsibleFilterError(
                f"outage_accounting: replay of {queue.get('name')} must be one of {', '.join(REPLAYS)}."
            )
    queues += [_queueless(subsystem) for subsystem in facts.get("subsystems") or []]
    answers = [_source(result) for result in _results(facts.get("dropped"))]
    flush = _results(facts.get("flush"))
    for backend in facts.get("backends") or []:
        if not any(source.name == "log" and source.instance == backend for source in answers):
            answers.append(Source("log", f"log of {backend}", "unknown", [NO_LOG], [], backend))
        if not any(result.get("item") == backend for result in flush):
            flush.append({"item": backend, "failed": True, "msg": NO_API})
    window = f"from {facts['window'].get('start')} to {facts['window'].get('end')}"
    command = (
        f"{AUDIT} -e outage_audit_start={facts['window'].get('start')} -e outage_audit_end={facts['window'].get('end')}"
    )
    incident = f" -e outage_audit_incident={facts['incident']}" if facts.get("incident") else ""
    before, elsewhere, of_other_windows = _requeued_before(facts)
    earlier, truths = _earlier(facts.get("outage") or {}), _truths(facts.get("unfinished"))
    if (facts.get("outage") or {}).get("confidence") == "at the latest":  # no evidence at all: nothing can be exact
        answers = [_short(source, earlier) for source in answers]
        truths = {name: truth and _short(truth, earlier) for name, truth in truths.items()}
    return Case(
        queues=queues,
        window=window,
        sources=answers,
        truths=truths,
        finished=_truths(facts.get("finished")),
        earlier=earlier,
        requeue=_requeue(facts.get("requeue")),
        requeued_before=before,
        requeued_elsewhere=elsewhere,
        of_other_windows=of_other_windows,
        flush=flush,
        drain={queue["name"]: dict(queue) for queue in (facts.get("drain") or {}).get("queues") or []},
        dead_letters={
            name: None if count is None else int(count) for name, count in (facts.get("dead_letters") or {}).items()
        },
        audit_command=str(facts.get("audit_command") or command),
        incident=incident,
    )


def _queueless(subsystem: Mapping[str, Any]) -> dict[str, Any]:
    """Return a subsystem without a queue as the table of queues would have it."""
    if bool(subsystem.get("heals")) == bool(subsystem.get("independent")):
        raise AnsibleFilterError(
            f"outage_accounting: subsystem {subsystem.get('name')} must have one of heals and independent."
        )
    return {**subsystem, "queueless": True, "replay": "none"}


def _earlier(outage: Mapping[str, Any]) -> str:
    if outage.get("confidence") not in ("then or earlier", "at the latest"):
        return ""
    return f"the outage began at {outage.get('start')} or earlier ({outage.get('start_source')})"


def _short(source: Source, why: str) -> Source:
    """Return a source whose answer may begin too late."""
    return replace(source, state="at_least", reasons=[*source.reasons, why]) if source.state == "exact" else source


def _results(results: Iterable[Any] | None) -> list[dict[str, Any]]:
    """Return the results of a loop, without the items that its condition left out."""
    return [dict(result) for result in results or [] if result and not result.get("skipped")]


def _source(result: Mapping[str, Any]) -> Source:
    name = str(result.get("source") or "log")
    item = result.get("item")
    instance = str(result.get("instance") or (item if isinstance(item, str) else "") or "")
    label = {"sentry": "Sentry", "database": "database"}.get(name) or f"log of {instance or 'an instance'}"
    completeness = result.get("completeness")
    if not completeness:  # the module never came to its answer: bad parameters, or a host out of reach
        return Source(name, label, "unknown", [str(result.get("msg") or "it gave no answer").rstrip(".")], [], instance)
    reasons = [str(reason).rstrip(".") for reason in completeness.get("reasons") or []]
    events = [dict(event) for event in result.get("events") or []]
    return Source(name, label, completeness["state"], reasons, events, instance)


def _truths(unfinished: Any) -> dict[str, Source | None]:
    """Return the database's answer by queue. It may come by queue, or as a loop's results whose items are queues."""
    if unfinished is None:
        return {}
    if isinstance(unfinished, Mapping):
        pairs = list(unfinished.items())
    else:
        pairs = [(result["item"]["name"], result) for result in unfinished]
    asked = {name: result for name, result in pairs if result and not result.get("skipped")}
    return {name: _source({"source": "database", **asked[name]}) if name in asked else None for name, _unused in pairs}


def _requeue(result: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not result or result.get("skipped") is True:
        return None
    # Where a play goes on after a failure, only the message is left of it. What was committed before it, stays.
    failed = bool(result.get("failed") or "msg" in result) or "requeued" not in result
    requeued = [str(track) for track in spelled_out(result.get("requeued") or [])]
    reason = str(result.get("msg") or result.get("message") or "it failed").rstrip(".")
    given_up = {str(track) for track in result.get("given_up") or []}
    jobs = list(result.get("jobs") or [])
    return {"failed": failed, "requeued": requeued, "jobs": jobs, "given_up": given_up, "reason": reason}


def _requeued_before(facts: Mapping[str, Any]) -> tuple[set[str], dict[str, str], set[str]]:
    """Return what is queued again by this record, by others, and which of both by an audit of more than this window."""
    own, beyond = _still_requeued(
        [event.get("data") or {} for event in facts.get("record") or [] if event.get("type") == "action"], facts
    )
    elsewhere: dict[str, str] = {}
    for other in facts.get("overlapping") or []:
        tracks, wider = _still_requeued(other["actions"], facts)
        elsewhere.update({track: str(other["incident"]) for track in tracks - own})
        beyond |= wider - own
    return own, elsewhere, beyond


def _still_requeued(actions: Iterable[Mapping[str, Any]], facts: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Return the tracks whose jobs were inserted and not taken back since; and those that no audit of this window did.

    Each by its last requeue within the window, if there is one. An action that does not tell its window is of this one.
    """
    found: set[str] = set()
    within: set[str] = set()
    for data in actions:
        tracks = {str(track) for track in spelled_out(data.get("tracks") or [])}
        if data.get("name") == "transcode_requeue":
            found |= tracks
            within |= tracks if lies_in(data.get("window") or {}, facts["window"]) else set()
        elif data.get("name") == "undo_requeue":
            found -= tracks
            within -= tracks
    return found, found - within


def dropped_by_queue(case: Case) -> dict[str, Drops]:
    """Return the dropped events by queue; an event that belongs to none is said to be unknown."""
    names = {queue["name"]: queue["name"] for queue in case.queues}
    kinds = {queue["kind"]: queue["name"] for queue in case.queues if queue.get("kind")}
    drops = {name: Drops() for name in names}
    strangers: dict[str, int] = {}
    for source in case.sources:
        for event in source.events:
            queue = names.get(event.get("queue") or "") or kinds.get(event.get("kind"))
            if queue is None:
                kind = event.get("kind") or "unnamed"
                strangers[kind] = strangers.get(kind, 0) + 1
            else:
                _add(drops[queue], source.name, event)
    for kind, count in sorted(strangers.items()):
        case.unknown.append(f"{count} reports of dropped events of kind '{kind}', which no queue in veza_queues has.")
    for name, drop in drops.items():
        drop.state = _state(case.sources, drop)
        if drop.nameless:
            case.unknown.append(f"{name}: {drop.nameless} reports of dropped events name no entity.")
    return drops


def _add(drops: Drops, source: str, event: Mapping[str, Any]) -> None:
    entity = str(event.get("entity_id") or "")
    if not entity:
        drops.nameless += 1
        return
    keys = drops.keys.setdefault(entity, set())
    at = str(event.get("at") or "")
    key = str(event.get("key") or "")
    if key:
        keys.add(key)
    drops.seen.setdefault(entity, {}).setdefault(source, set()).add(key or f"{event.get('instance') or ''} {at}")
    drops.first[entity] = min(filter(None, (at, drops.first.get(entity, ""))), default="")
    drops.last[entity] = max(at, drops.last.get(entity, at), key=moment)
    drops.by_source.setdefault(source, set()).add(entity)


def moment(at: str) -> datetime:
    """Return an instant, to compare by; the latest of all where there is none: nothing is known to come after it."""
    try:
        return parse_instant(at)
    except ValueError:
        return LATEST


def _state(sources: list[Source], drops: Drops) -> str:
    """Return how complete the union of the sources is for one queue.

    All logs together, or Sentry, may be exact. What another source names beyond an exact one shows that it is not.
    """
    for name in ("log", "sentry"):
        states = [source.state for source in sources if source.name == name]
        complete = bool(states) and all(state == "exact" for state in states)
        if (
            complete
            and not drops.nameless
            and drops.told_apart()
            and drops.by_source.get(name, set()) == set(drops.keys)
        ):
            return "exact"
    seen = drops.keys or drops.nameless or any(source.state != "unknown" for source in sources)
    return "at_least" if seen else "unknown"
