# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was lost, replayed, healed and left, from all sources side by side. Pure: no clock, no network, no files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.module_utils._window import parse_instant
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._accounting_case import (
    AUDIT,
    Case,
    Drops,
    Source,
    case_of,
    dropped_by_queue,
    moment,
)

NAMED = 10
"""How many ids a sentence names."""

LOOK = "Nothing replays it: look it up by its id, and do again what it asked for."
NOT_IDEMPOTENT = "not queued again: its worker is not marked in veza_queues as honouring idempotency keys"
GIVEN_UP = "its transcode job has failed for good: the track is not transcoded, and nothing tries it again"
MEND = "See in the worker's log why track {entity_id} failed; when that is mended, insert a new job for it."
NOT_SEEN = "the requeue found no lack of a job for it in the window, and nobody saw that it is done"
SEE = "See in the database whether {entity_id} is done, and if it is not, insert a new job for it."
LOOK_UP = "See in the database whether {entity_id} is done; with unfinished_sql in veza_queues, an audit does so."
FLUSH = 'curl -fsS -X POST -H "Authorization: Bearer $ADMIN_TOKEN" {url}'


@dataclass
class Loss:
    """The entities of a queue whose event took no effect; ``ids`` is None where they can't be known yet.

    ``at_least`` promises that each of the ids was lost; where some of them may not have been, it is ``unknown``.
    """

    ids: list[str] | None
    state: str
    text: str
    extra: dict[str, Any] = field(default_factory=dict)
    noted: str = ""
    """How many were noted as dropped, in words, where that alone is known."""


@dataclass
class Outcome:
    """What became of the entities of a Loss; each of them is in exactly one of the three lists."""

    replayed: list[str] = field(default_factory=list)
    healed: list[str] = field(default_factory=list)
    healing: str = ""
    """What heals them, where nobody needs to see it."""
    left: list[str] = field(default_factory=list)
    how: str = ""
    reason: str = ""
    next_step: str = ""
    steps: dict[str, str] = field(default_factory=dict)
    """By entity: another next step than the one for all."""
    extra: dict[str, Any] = field(default_factory=dict)


def outage_accounting(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the accounts of an outage: rows by queue, what is listed for a human, differences, unknowns, sums."""
    case = case_of(facts)
    if case.earlier:
        better = f"{AUDIT}{case.incident} -e outage_audit_start=…"
        case.unknown.append(f"What was lost before this window: {case.earlier}. Who knows better runs: {better}")
    for other in facts.get("overlapping") or []:
        case.unknown.append(
            f"Incident {other['incident']} has accounted for a part of this window too: what its report lists for a "
            "human may stand here again."
        )
    for source in case.sources:
        if source.state != "exact":
            case.unknown.append(f"{source.label}: {'; '.join(source.reasons) or 'incomplete'}.")
    drops = dropped_by_queue(case)
    rows: list[dict[str, Any]] = []
    listed: list[dict[str, Any]] = []
    for queue in case.queues:
        row, left = _row(queue, drops[queue["name"]], case)
        rows.append(row)
        listed += left
    sums = {
        name: sum(row[name]["count"] or 0 for row in rows) for name in ("dropped", "lost", "replayed", "healed", "left")
    }
    sums["uncertain"] = sum(row["lost"]["count"] or 0 for row in rows if row["lost"]["state"] == "unknown")
    sums["unknown"] = sum(1 for row in rows if row["lost"]["state"] != "exact")
    return {
        "rows": rows,
        "listed": listed,
        "differences": case.differences,
        "unknown": list(dict.fromkeys(case.unknown)),
        "sums": sums,
    }


def _row(queue: dict[str, Any], drops: Drops, case: Case) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if queue.get("independent"):
        if not drops.keys and not drops.nameless:
            return _unaffected(queue), []
        case.differences.append(
            f"{queue['name']}: events of it were dropped, though it is said to be independent ({queue['independent']})."
        )
    truth = case.truths.get(queue["name"])
    if queue["name"] in case.truths and (truth is None or truth.state == "unknown"):
        why = "; ".join(truth.reasons) if truth else "it was not asked"
        case.unknown.append(f"{queue['name']}: the database does not tell what is unfinished: {why}.")
        truth = None
    loss = _with_requeued(queue, drops, _loss(queue, drops, truth, case), case)
    loss = _with_doubt(queue, drops, truth, loss, case)
    loss = _with_other_windows(queue, loss, case)
    outcome = (_by_itself if queue.get("heals") else OUTCOMES[queue.get("replay", "none")])(queue, loss, case)
    _compare(queue, drops, truth, loss, case)
    figures: dict[str, dict[str, Any]] = {
        "dropped": {
            "count": drops.count(),
            "state": drops.state,
            "text": _text(drops.count(), drops.state, case.window),
        },
        "lost": {"count": None if loss.ids is None else len(loss.ids), "state": loss.state, "text": loss.text},
        "replayed": {"count": len(outcome.replayed), "how": outcome.how, "text": _replayed(outcome), **outcome.extra},
        "healed": {"count": len(outcome.healed), "ids": outcome.healed, "text": _healed(outcome, loss)},
        "left": {"count": len(outcome.left), "ids": outcome.left, "text": str(len(outcome.left))},
    }
    figures["lost"].update(ids=loss.ids or [], **loss.extra)
    figures["left"].update(reason=outcome.reason, next_step=outcome.next_step)
    silent = _silent(queue, drops, truth, loss)
    figures["silent"] = {"count": None if silent is None else len(silent), "ids": silent or []}
    return {**_about(queue), **figures}, _listed(queue, loss, outcome, drops, truth)


def _about(queue: dict[str, Any]) -> dict[str, Any]:
    about = {name: queue.get(name) for name in ("subsystem", "kind", "severity", "effect", "independent")}
    return {"queue": None if queue.get("queueless") else queue["name"], **about}


def _unaffected(queue: dict[str, Any]) -> dict[str, Any]:
    """Return the row of what an outage of the broker does not reach, with the reason in place of a figure."""
    none: dict[str, Any] = {"count": 0, "ids": [], "text": "0"}
    nothing: dict[str, Any] = {"count": 0, "state": "exact", "text": f"not affected: {queue['independent']}"}
    return {
        **_about(queue),
        "dropped": nothing,
        "lost": {**nothing, "ids": []},
        "replayed": {"count": 0, "how": "", "text": "none"},
        "healed": none,
        "left": {**none, "reason": "", "next_step": ""},
        "silent": {"count": 0, "ids": []},
    }


def _healed(outcome: Outcome, loss: Loss) -> str:
    if outcome.healed or not outcome.healing or (loss.ids == [] and loss.state == "exact"):
        return f"{len(outcome.healed)} {outcome.healing if outcome.healed else ''}".strip()
    return outcome.healing  # however many there were


def _text(count: int, state: str, window: str) -> str:
    return {"exact": f"exactly {count}", "at_least": f"at least {count}"}.get(state, f"unknown {window}")


def _replayed(outcome: Outcome) -> str:
    return f"{len(outcome.replayed)} {outcome.how}".strip() if outcome.replayed else outcome.how or "none"


def _loss(queue: dict[str, Any], drops: Drops, truth: Source | None, case: Case) -> Loss:
    """Judge what was lost. The database's word wins, once the queue holds nothing that may still arrive."""
    ids = _ordered(drops.keys)
    if truth is None:
        case.unknown.append(
            f"{queue['name']}: without the database, only what the API noted as dropped is known: not a message that "
            "vanished after its publish, nor one that arrived although it was given up."
        )
        noted = _noted(drops)
        return Loss(ids, "unknown", f"at least 0, {noted}" if noted else _text(0, "unknown", case.window), noted=noted)
    unfinished = _ordered({str(event.get("entity_id")) for event in truth.events})
    if truth.state == "exact" and drops.state != "exact":
        case.unknown.append(
            f"{queue['name']}: the database tells what began in the window and is not done. Of an event about anything "
            "else (older, or done before for an older event) only the logs and Sentry tell, and they are not complete."
        )
    if queue.get("replay") == "dmca_flush":
        return _bounded(ids, unfinished, truth, drops)
    state = "exact" if truth.state == drops.state == "exact" else "at_least"
    unfinished = _ordered({*unfinished, *_undone(queue, drops, unfinished, case)})
    if not unfinished and truth.state == "exact":
        return Loss([], state, _text(0, state, case.window))
    waiting = _waiting(queue, case)
    if waiting:
        case.unknown.append(f"{queue['name']}: {len(unfinished)} unfinished, {waiting}: some may be on their way.")
        return Loss(None, "unknown", f"unknown: {len(unfinished)} unfinished, {waiting}")
    dead = case.dead_letters.get(queue["name"], 0)
    if dead != 0:
        number = "an unknown number of" if dead is None else str(dead)
        said = f"{number} dead-lettered messages may be among them"
        case.unknown.append(f"{queue['name']}: {len(unfinished)} unfinished, {said}.")
        return Loss(unfinished, "unknown", f"unknown: {len(unfinished)} unfinished, {said}")
    return Loss(unfinished, state, _text(len(unfinished), state, case.window))


def _noted(drops: Drops) -> str:
    """Return how many were noted as dropped, in words; empty where no source was read."""
    if drops.state == "unknown":
        return ""
    more = "" if drops.state == "exact" else " or more"
    return f"{drops.count() if drops.keys or more else 'none'}{more} noted as dropped"


def _done(queue: dict[str, Any], case: Case) -> dict[str, datetime]:
    """Return when each entity's work was last done, as far as the database tells, since the window began."""
    source = case.finished.get(queue["name"])
    done: dict[str, datetime] = {}
    for event in source.events if source else []:
        if event.get("at"):
            entity, at = str(event.get("entity_id")), parse_instant(str(event["at"]))
            done[entity] = max(at, done.get(entity, at))
    return done


def _done_since(queue: dict[str, Any], drops: Drops, case: Case) -> set[str]:
    """Return the entities whose work was done after their last drop: only that heals it, or shows that it arrived."""
    done = _done(queue, case)
    return {entity for entity, at in drops.last.items() if entity in done and done[entity] >= moment(at)}


def _undone(queue: dict[str, Any], drops: Drops, unfinished: list[str], case: Case) -> set[str]:
    """Return what was dropped and, by a whole answer of the database, neither begun nor done in the window or since.

    What was done in the window and before its drop is not among them: a message may arrive at once, though its
    publisher gives it up after the whole backoff.
    """
    source = case.finished.get(queue["name"])
    if source is None or source.state != "exact":
        return set()
    return set(drops.keys) - set(unfinished) - set(_done(queue, case))


def _with_doubt(queue: dict[str, Any], drops: Drops, truth: Source | None, loss: Loss, case: Case) -> Loss:
    """Bound the loss by what was dropped and is not unfinished: it may have been done before, for an older event."""
    if truth is None or queue.get("replay") == "dmca_flush":
        return loss
    known = {str(event.get("entity_id")) for event in truth.events} | set(loss.ids or [])
    doubtful = _ordered(set(drops.keys) - known - _done_since(queue, drops, case))
    if not doubtful:
        return loss
    source = case.finished.get(queue["name"])
    before = "it was done in the window, but before the drop was noted"
    why = "finished_sql in veza_queues would tell" if source is None else "; ".join(source.reasons) or before
    case.unknown.append(
        f"{queue['name']}: noted as dropped, and not unfinished: {', '.join(doubtful)}. Whether the work was done for "
        f"the dropped event, or for an older one, is not known: {why}."
    )
    return _with_possible(loss, doubtful)


def _with_possible(loss: Loss, more: Iterable[str]) -> Loss:
    """Return an exact loss, or one with an upper bound, with entities that may have been lost besides."""
    if loss.state != "exact" and "at_most" not in loss.extra:
        return loss
    possible = _ordered({*loss.extra.get("possible", []), *more} - {*(loss.ids or [])})
    count = len(loss.ids or [])
    most = count + len(possible)
    return Loss(loss.ids, "at_least", f"at least {count}, at most {most}", {"at_most": most, "possible": possible})


def _with_other_windows(queue: dict[str, Any], loss: Loss, case: Case) -> Loss:
    """Bound the loss by what was queued again for a wider window: whether it was lost in this one is not recorded."""
    if queue.get("replay") != "transcode_requeue":
        return loss
    doubtful = _ordered(case.of_other_windows - set(loss.ids or []))
    if not doubtful:
        return loss
    case.unknown.append(
        f"{queue['name']}: {_some(doubtful)} were queued again by an audit of another window, which overlaps this one. "
        "Whether they were lost in this one is not known."
    )
    return _with_possible(loss, doubtful)


def _bounded(dropped: list[str], candidates: list[str], truth: Source, drops: Drops) -> Loss:
    """Bound what a cache missed from both sides: no database knows what a cache holds, only what it might lack.

    What was dropped may be older than the window, and then no candidate: without all drops there is no upper bound.
    """
    most = len({*dropped, *candidates})
    possible = _ordered({*candidates} - {*dropped})
    if truth.state != "exact" or drops.state != "exact":
        more = f", {len(possible)} more may be concerned" if possible else ""
        return Loss(dropped, "at_least", f"at least {len(dropped)}{more}", {"possible": possible} if possible else {})
    if most == len(dropped):
        return Loss(dropped, "exact", f"exactly {most}", {"at_most": most})
    text = f"at least {len(dropped)}, at most {most}"
    return Loss(dropped, "at_least", text, {"at_most": most, "possible": possible})


def _waiting(queue: dict[str, Any], case: Case) -> str:
    """Return what may still arrive, or an empty text if the queue was seen empty."""
    seen = case.drain.get(queue["name"])
    if seen is None:
        return "and whether the queue has drained is not known"
    messages = seen.get("messages")
    if seen.get("drained") and not messages:
        return ""
    return f"{'an unknown number of' if messages is None else messages} messages still in the queue"


def _with_requeued(queue: dict[str, Any], drops: Drops, loss: Loss, case: Case) -> Loss:
    """Add what was queued again: the requeue looked at the database last, and an earlier one before all others.

    And what was noted as dropped and is not done, though the database has another word for it than unfinished.
    """
    if queue.get("replay") != "transcode_requeue":
        return loss
    found = set(case.requeue["requeued"]) if case.requeue else set()
    # Of another window, it is known to be of this one where a drop in it says so.
    before = {*case.requeued_before, *case.requeued_elsewhere} - (case.of_other_windows - set(drops.keys))
    known = {*(loss.ids or []), *before}
    if found - known:
        beyond = _some(_ordered(found - known))
        case.differences.append(f"{queue['name']}: the requeue found {beyond} besides what was known as lost.")
    proved = found | before | (_given_up(queue, case) & set(drops.keys))
    return _with_proved(loss, proved, case)


def _with_proved(loss: Loss, proved: set[str], case: Case) -> Loss:
    """Return the loss with entities of which it is known that they were lost."""
    ids = _ordered({*(loss.ids or []), *proved})
    if loss.state != "unknown":
        return Loss(ids, loss.state, _text(len(ids), loss.state, case.window), loss.extra)
    if not proved:
        return loss
    text = f"at least {len(proved)}" + (f", {loss.noted}" if loss.noted else f" ({loss.text})")
    return Loss(ids, "at_least" if proved == set(ids) else "unknown", text, loss.extra)


def _given_up(queue: dict[str, Any], case: Case) -> set[str]:
    """Return the entities that the requeue saw not done, and tried by nothing any more."""
    return case.requeue["given_up"] if case.requeue and queue.get("replay") == "transcode_requeue" else set()


def _by_requeue(queue: dict[str, Any], loss: Loss, case: Case) -> Outcome:
    given_up = _given_up(queue, case)
    truth = case.truths.get(queue["name"])
    requeued = case.requeued_before.union(case.requeue["requeued"] if case.requeue else []) - given_up
    replayed = [track for track in loss.ids or [] if track in requeued]
    elsewhere = [track for track in loss.ids or [] if track in case.requeued_elsewhere.keys() - requeued - given_up]
    others = [track for track in loss.ids or [] if track not in requeued and track not in elsewhere]
    for incident in sorted({case.requeued_elsewhere[track] for track in elsewhere}):
        its = [track for track in elsewhere if case.requeued_elsewhere[track] == incident]
        case.differences.append(f"{queue['name']}: {_some(its)} were queued again in incident {incident}.")
    if case.requeue is None or case.requeue["failed"]:
        not_run = "the requeue was not run" if queue.get("idempotent") else NOT_IDEMPOTENT
        reason = not_run if case.requeue is None else f"not queued again: {case.requeue['reason']}"
        rest = Loss(others, loss.state, loss.text) if replayed or elsewhere else loss
        outcome = _left(queue, rest, case, reason, case.audit_command)
    elif not _looked_up(queue, case):
        # What began before the window has no candidate in it: passed over is not finished.
        outcome = Outcome(left=others, reason=NOT_SEEN if others else "", next_step=LOOK_UP if others else "")
    else:
        # The requeue passes over a track that has a live job, or was finished after the database was asked; and over
        # one whose job has failed, or that began before the window, which nothing heals.
        unfinished = {str(event.get("entity_id")) for event in truth.events} if truth else set()
        outcome = Outcome(healed=[track for track in others if track in unfinished - given_up])
        outcome.left = [track for track in others if track not in unfinished - given_up]
        failed = {track: MEND for track in outcome.left if track in given_up}
        reasons = [GIVEN_UP] * bool(failed) + [NOT_SEEN] * (len(failed) < len(outcome.left))
        outcome.reason, outcome.steps = "; ".join(reasons), failed
        outcome.next_step = SEE if NOT_SEEN in reasons else MEND if failed else ""
    outcome.healed = _ordered({*outcome.healed, *elsewhere})
    outcome.replayed = replayed
    outcome.how = "by new transcode jobs" if replayed else ""
    outcome.extra = {"jobs": case.requeue["jobs"] if case.requeue else []}
    return outcome


def _looked_up(queue: dict[str, Any], case: Case) -> bool:
    """Return whether the database was asked what is unfinished, and told."""
    truth = case.truths.get(queue["name"])
    return truth is not None and truth.state != "unknown"


def _by_flush(queue: dict[str, Any], loss: Loss, case: Case) -> Outcome:
    needless = loss.ids == [] and loss.state == "exact"
    failed = [result for result in case.flush if not _flushed(result, needless)]
    if failed or not (case.flush or needless):
        names = [f"{_api(result)} ({result.get('msg') or result.get('message') or 'no answer'})" for result in failed]
        reason = f"not flushed: {'; '.join(names)}" if failed else "no API instance was flushed"
        if loss.extra.get("possible"):  # all of them, so that each can be looked up
            ids = ", ".join(loss.extra["possible"])
            case.unknown.append(f"{queue['name']}: {reason}. The caches may lack these of the window as well: {ids}.")
        # Where the module did not get as far as a URL, something is to be set first: its name is no address.
        commands = [FLUSH.format(url=result["url"]) if result.get("url") else case.audit_command for result in failed]
        return _left(queue, loss, case, reason, " && ".join(dict.fromkeys(commands or [case.audit_command])))
    predicted = any(not result.get("flushed") for result in case.flush) and not needless
    count = f"{len(case.flush)} API instance{'s' if len(case.flush) != 1 else ''}"
    how = f"by the flush of {count}" + (", had this not been check mode" if predicted else "")
    return Outcome(replayed=list(loss.ids or []), how=how if case.flush else "")


def _flushed(result: dict[str, Any], needless: bool) -> bool:
    """Return whether an instance's cache is fresh; ``changed`` without an error is check mode's promise."""
    if result.get("failed") or result.get("unreachable") or result.get("proved") is False:
        return False
    if result.get("skipped_flush"):
        return needless
    return bool(result.get("flushed")) or (bool(result.get("changed")) and not result.get("msg"))


def _api(result: dict[str, Any]) -> str:
    item = result.get("item")
    return str(result.get("url") or (item if isinstance(item, str) else "") or "an API instance")


def _by_nobody(queue: dict[str, Any], loss: Loss, _case: Case) -> Outcome:
    if not loss.ids:
        return Outcome()
    return Outcome(left=list(loss.ids), reason="nothing replays this kind", next_step=queue.get("next_step") or LOOK)


def _by_itself(queue: dict[str, Any], loss: Loss, _case: Case) -> Outcome:
    return Outcome(healed=list(loss.ids or []), healing=f"by itself, {queue['heals']}")


def _left(queue: dict[str, Any], loss: Loss, case: Case, reason: str, next_step: str) -> Outcome:
    """Leave a replay that did not happen to a human, unless there was certainly nothing to replay."""
    if loss.ids == [] and loss.state == "exact":
        return Outcome()
    if not loss.ids:  # nothing to list by its id, but not nothing to do
        case.unknown.append(f"{queue['name']}: {reason}. Run: {next_step}")
    return Outcome(left=list(loss.ids or []), reason=reason, next_step=next_step)


OUTCOMES: dict[str, Callable[[dict[str, Any], Loss, Case], Outcome]] = {
    "transcode_requeue": _by_requeue,
    "dmca_flush": _by_flush,
    "none": _by_nobody,
}


def _compare(queue: dict[str, Any], drops: Drops, truth: Source | None, loss: Loss, case: Case) -> None:
    """Say where the sources disagree about one queue."""
    name = queue["name"]
    logs, sentry = drops.by_source.get("log", set()), drops.by_source.get("sentry", set())
    asked = {source.name for source in case.sources}
    if {"log", "sentry"} <= asked and logs - sentry:
        case.differences.append(f"{name}: Sentry lacks {_some(_ordered(logs - sentry))} that the logs name.")
    if {"log", "sentry"} <= asked and sentry - logs:
        case.differences.append(f"{name}: the logs lack {_some(_ordered(sentry - logs))} that Sentry names.")
    if truth is None or queue.get("replay") == "dmca_flush":
        return
    unfinished = {str(event.get("entity_id")) for event in truth.events}
    # What was queued again earlier is finished by now, and was lost all the same: it is in loss.ids.
    delivered = _ordered(_done_since(queue, drops, case) - unfinished - set(loss.ids or []))
    if delivered:
        case.differences.append(
            f"{name}: {_some(delivered)} noted as dropped, but finished in the database afterwards: delivered after "
            "all, or done again since."
        )
    silent = _silent(queue, drops, truth, loss)
    if silent:
        also = "" if drops.state == "exact" else ", or the sources, which are incomplete, missed it"
        case.differences.append(
            f"{name}: {_some(silent)} unfinished, but noted as dropped by none: the publish succeeded and the message "
            f"vanished{also}."
        )


def _silent(queue: dict[str, Any], drops: Drops, truth: Source | None, loss: Loss) -> list[str] | None:
    """Return what was lost and noted as dropped by none; None where only the database could tell, and doesn't."""
    if truth is None or queue.get("replay") == "dmca_flush" or loss.state == "unknown":
        return None
    unfinished = {str(event.get("entity_id")) for event in truth.events}
    return _ordered(unfinished & set(loss.ids or []) - set(drops.keys))


def _listed(
    queue: dict[str, Any], loss: Loss, outcome: Outcome, drops: Drops, truth: Source | None
) -> list[dict[str, Any]]:
    rows = {str(event.get("entity_id")): event for event in (truth.events if truth else [])}
    entries = []
    for entity in outcome.left:
        sources = [name for name in ("log", "sentry") if entity in drops.by_source.get(name, set())]
        entries.append(
            {
                "kind": queue.get("kind"),
                "entity_id": entity,
                "keys": sorted(drops.keys.get(entity, ())),
                "certain": loss.state != "unknown",
                "at": drops.first.get(entity) or rows.get(entity, {}).get("at"),
                "sources": sources + (["database"] if entity in rows else []),
                "next_step": outcome.steps.get(entity, outcome.next_step).replace("{entity_id}", entity),
            }
        )
    return entries


def _ordered(ids: Iterable[str]) -> list[str]:
    """Return ids in the order that a human expects: numbers as numbers."""
    return sorted(ids, key=lambda entity: (0, int(entity), "") if entity.isdecimal() else (1, 0, entity))


def _some(ids: list[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{len(ids)} ({', '.join(ids[:NAMED])}{more})"
