# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An incident's events in, the data of its report out. Pure: no clock, no files; the same events, the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput
from ansible_collections.veza.rabbitmq.plugins.module_utils._ids import spelled_out
from ansible_collections.veza.rabbitmq.plugins.module_utils._record import instant, stamp
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import plain

Event = Mapping[str, Any]

RECOVER = "ansible-playbook veza.rabbitmq.recover_rabbitmq"
AUDIT = "ansible-playbook veza.rabbitmq.audit_rabbitmq"

DOUBTFUL = "It may have arrived after all: look whether it is done before you do it again."

# How each type of event reads in the timeline.
LINES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "opened": lambda data: f"Incident opened: {_named(data)}",
    "began": lambda data: f"The outage began at {_time(data.get('at')) or 'no instant'}: {data.get('source')}",
    "verdict": lambda data: f"Cause named: {_named(data)}",
    "plan": lambda data: "Planned: " + (", ".join(_action(action) for action in _list(data, "actions")) or "nothing"),
    "action": lambda data: f"{_action(data)}{': ' if data.get('result') else ''}{_text(data.get('result'))}",
    "processes": lambda data: (
        data.get("text") or f"Noted which process the API is on {', '.join(data.get('backends') or {}) or 'no backend'}"
    ),
    "served": lambda data: (
        f"Not served yet: {'; '.join(data['missing'])}" if data.get("missing") else "Workers and consumers are back"
    ),
    "level": lambda data: f"{data.get('instance')} logs dropped events at level {data.get('level')}",
    "serving": lambda data: "It serves again",
    "drained": lambda data: "The queues have drained" if data.get("drained", True) else "The queues have not drained",
    "audit": lambda data: "What was lost has been accounted for",
    "note": lambda data: _text(data.get("text")),
    "failed": lambda data: (
        f"Failed{' in phase ' + str(data['phase']) if data.get('phase') else ''}: {data.get('message')}"
    ),
    "closed": lambda data: f"Incident closed: {data.get('reason')}",
}


def outage_record(events: Sequence[Event], postmortem_after: float = 600) -> dict[str, Any]:
    """Return what outage_record.yml describes."""
    if isinstance(events, (str, bytes, Mapping)) or not isinstance(events, Sequence):
        raise AnsibleFilterError("outage_record: give it the list of events that module incident returned.")
    try:
        return _told(_Record(plain(events)), float(postmortem_after))
    except (BadInput, KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"outage_record: this is not an incident's record: {error!r}") from error


def _told(record: _Record, postmortem_after: float) -> dict[str, Any]:
    outage = record.outage()
    milestones = record.milestones(outage)
    needs_postmortem = (outage["seconds"] or 0) > postmortem_after
    known = {
        **record.identity(),
        **record.cause(),
        "outage": outage,
        "last_began": record.last_began(),
        "milestones": milestones,
        "mttd": _between(milestones["began"], milestones["detected"]),
        "mttr": _between(milestones["began"], milestones["serving"]),
        "phases": record.timeline(outage),
        "actions": [_done(event) for event in record.of("action")],
        "backends": record.backends(),
        "drain": record.drain(),
        "accounting": record.accounting(),
        "left": record.listed(),
        "failures": record.failures(),
        "temporary": record.temporary(),
        "needs_postmortem": needs_postmortem,
    }
    return {**known, "todo": _todo(known, record), "summary": _summary(known)}


class _Record:
    """The events that stand, in the order in which they were written."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = _standing(events)

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]

    def temporary(self) -> list[Mapping[str, Any]]:
        """What was raised for a while and has not been set back."""
        raised: dict[Any, Mapping[str, Any]] = {}
        for event in sorted(self.events, key=lambda event: int(event["seq"])):
            data = _data(event)
            if isinstance(data.get("temporary"), Mapping):
                raised[data["temporary"].get("node")] = data["temporary"]
            elif data.get("name") == "set_back_watermark":
                raised.pop(data.get("target"), None)
        return list(raised.values())

    def last(self, kind: str) -> Event | None:
        events = self.of(kind)
        return events[-1] if events else None

    def identity(self) -> dict[str, Any]:
        data = _data(next(iter(self.of("opened")), None))
        ends = [event["type"] for event in self.events if event["type"] in ("opened", "closed")]
        return {"id": data.get("id"), "site": data.get("site"), "open": ends[-1:] == ["opened"]}

    def cause(self) -> dict[str, Any]:
        """What it was: the last verdict that named a trouble, since a run that finishes the work finds none."""
        verdicts = [_data(event) for event in self.of("verdict")]
        named = [data for data in verdicts if data.get("cause") not in (None, "healthy", "unknown")]
        data = (named or [_data(self.last("opened"))])[-1]
        latest = (verdicts or [{}])[-1]
        return {
            "cause": data.get("cause"),
            "title": data.get("title"),
            "headline": data.get("headline") or data.get("title"),
            "advice": data.get("advice"),
            "proof": [_proof(entry) for entry in _list(data, "proof")],
            "not_ruled_out": [_text(entry) for entry in _list(data, "not_ruled_out")],
            "unknown": _once(
                [_text(entry) for entry in [*_list(data, "unknown"), *_list(latest, "unknown")]]
                + [_text(entry) for entry in self.accounting()["unknown"]]
            ),
        }

    def outage(self) -> dict[str, Any]:
        """When it began and ended, each with the source of that."""
        start, start_source, confidence = self._began()
        serving, closed = self.last("serving"), self.last("closed")
        end, end_source, end_confidence, ongoing = None, None, None, True
        if serving is not None:
            end = _time(_data(serving).get("at")) or serving["at"]
            end_source, ongoing = _data(serving).get("source") or "it was proved to serve", False
            end_confidence = _data(serving).get("confidence") or "then or earlier"
        elif closed is not None and not self.identity()["open"]:
            end, end_source, ongoing = closed["at"], "the incident was closed; nobody saw it serve", False
            end_confidence = "unknown"
        # While it lasts, the record alone knows how long it has lasted at least.
        until = end or (self.events[-1]["at"] if self.events else None)
        return {
            "start": start,
            "start_source": start_source,
            "confidence": confidence,
            "end": end,
            "end_source": end_source,
            "end_confidence": end_confidence,
            "reconnected": max(filter(None, [end, _time(_data(serving).get("reconnected_at"))]), default=None),
            "seconds": _between(start, until),
            "ongoing": ongoing and bool(self.events),
        }

    def _began(self) -> tuple[str | None, str | None, str | None]:
        """Return the beginning that a person gave, else the earliest that any evidence tells.

        A later verdict can't shorten the outage, and evidence does not know better than the person who saw it.
        """
        given = _data(self.last("began"))
        if at := _time(given.get("at")):
            return at, given.get("source"), given.get("confidence")
        told = []
        for event in [*self.of("opened"), *self.of("verdict")]:
            data = _data(event)
            outage = data["outage"] if isinstance(data.get("outage"), Mapping) else {}
            told.append((_time(data.get("started_at")), data.get("start_source"), data.get("confidence")))
            told.append((_time(outage.get("start")), outage.get("source"), outage.get("confidence")))
        known = sorted((entry for entry in told if entry[0]), key=lambda entry: str(entry[0]))
        if known:
            return known[0]
        opened = self.last("opened")
        if opened is None:
            return None, None, None
        return opened["first_at"], "the incident's record: no evidence tells when it began", "at the latest"

    def last_began(self) -> str | None:
        """When an outage is known to have begun last: one more may come while the incident is open."""
        verdicts = [_data(event).get("outage") for event in self.of("verdict")]
        told = [_data(event).get("started_at") for event in self.of("opened")]
        told += [outage.get("start") for outage in verdicts if isinstance(outage, Mapping)]
        told += [_data(event).get("starts_at") for event in self.of("note") if _data(event).get("begins")]
        return max((at for at in map(_time, told) if at), default=None)

    def milestones(self, outage: Mapping[str, Any]) -> dict[str, str | None]:
        """When each step was reached, None where it wasn't."""
        first = {kind: next((event["first_at"] for event in self.of(kind)), None) for kind in ("opened", "verdict")}
        acted = [event["first_at"] for event in self.of("action") if _data(event).get("changed", True)]
        drained = [event["at"] for event in self.of("drained") if _data(event).get("drained", True)]
        audit, closed = self.last("audit"), self.last("closed")
        return {
            "began": outage["start"],
            "detected": first["opened"],
            "named": first["verdict"] or (first["opened"] if self.cause()["cause"] else None),
            "acted": min(acted, default=None),
            "serving": outage["end"] if self.of("serving") else None,
            "drained": drained[-1] if drained else None,
            "audited": audit["at"] if audit else None,
            "closed": closed["at"] if closed and not self.identity()["open"] else None,
        }

    def timeline(self, outage: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return ``[{at, what, by}]`` in the order in which it happened."""
        lines = (
            [{"at": outage["start"], "what": "The outage began", "by": outage["start_source"]}] if self.events else []
        )
        for event in self.events:
            line = LINES.get(event["type"], lambda data: _text(data.get("text")))
            at = (_time(_data(event).get("at")) if event["type"] == "serving" else None) or event["at"]
            by = event.get("by") or {}
            who = "@".join(str(by[part]) for part in ("user", "host") if by.get(part))
            lines.append({"at": at, "what": line(_data(event)) or event["type"], "by": who})
        return sorted(lines, key=lambda entry: str(entry["at"]))

    def backends(self) -> dict[str, Any]:
        """Return whether the API's processes are the same: in words, and the hosts where one is not, without leave."""
        judged = [data for data in map(_data, self.of("processes")) if "text" in data]
        return {"text": judged[-1]["text"], "changed": _list(judged[-1], "changed")} if judged else {}

    def drain(self) -> dict[str, Any]:
        """Return the queues and samples of the last wait."""
        data = _data(self.last("drained"))
        return {
            "drained": data.get("drained", True) if data else None,
            **{key: _list(data, key) for key in ("queues", "samples")},
        }

    def accounting(self) -> dict[str, Any]:
        """Return the last audit's accounting, each of its figures also in words."""
        event = self.last("audit")
        data = _data(event).get("accounting") or {}
        accounting = dict(data) if isinstance(data, Mapping) else {"rows": data}
        listed = _list(accounting, "listed")
        rows = [_row(row, listed) for row in _list(accounting, "rows")]
        unknown = [_text(entry) for entry in _list(accounting, "unknown")]
        window = _data(event).get("window") or accounting.get("window")
        return {**accounting, "rows": rows, "listed": listed, "unknown": unknown, "window": window}

    def listed(self) -> list[Any]:
        """Return the events that are left to a human: the last audit's, and those of audits of other windows.

        An audit answers for all windows that lie in its own.
        """
        answered: list[Mapping[str, Any]] = []
        listed: dict[str, Any] = {}
        for event in reversed(self.of("audit")):
            window = _data(event).get("window") or {}
            if not any(lies_in(window, later) for later in answered):
                accounting = _data(event).get("accounting") or {}
                entries = _list(accounting, "listed") if isinstance(accounting, Mapping) else []
                for entry in entries:
                    listed.setdefault(_which(entry), entry)
            answered.append(window)
        return list(listed.values())

    def taken_back(self) -> list[str]:
        """Return the tracks whose new jobs were taken back after an audit had counted them as replayed."""
        audit = self.last("audit")
        return _once(
            [
                str(track)
                for event in self.of("action")
                if _data(event).get("name") == "undo_requeue" and audit and int(event["seq"]) > int(audit["seq"])
                for track in spelled_out(_list(_data(event), "tracks"))
            ]
        )

    def unflushed(self) -> dict[str, str]:
        """Return by API instance why its DMCA cache was not flushed, where no later flush was done.

        It may lack takedowns that nobody knows of, however few are known as lost.
        """
        last = {
            str(_data(event).get("target")): _data(event) for event in self.of("action") if "flushed" in _data(event)
        }
        return {name: _text(data.get("result")) for name, data in sorted(last.items()) if data["flushed"] is False}

    def failures(self) -> list[dict[str, Any]]:
        """Return the failures that nothing later answers: a run that went on past that point mended them."""
        answers = ("serving", "drained", "audit", "closed")
        answered = max((event["seq"] for event in self.events if event["type"] in answers), default=0)
        return [
            {"at": event["at"], "phase": _data(event).get("phase"), "message": _data(event).get("message")}
            for event in self.of("failed")
            if event["seq"] > answered
        ]


def lies_in(window: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    """Return whether a window lies in another one; what does not tell its window is of the outage."""
    if not window.get("start") or not whole.get("start"):
        return True
    start, end, first, last = (_time(one.get(name)) or "" for one in (window, whole) for name in ("start", "end"))
    return first <= start and end <= last


def _which(entry: Any) -> str:
    return f"{entry.get('kind')}:{entry.get('entity_id')}" if isinstance(entry, Mapping) else str(entry)


def _standing(events: Sequence[Event]) -> list[Event]:
    """Drop what a later event of the same type and key supersedes; ``first_at`` keeps when it was first said."""
    stands: dict[tuple[Any, Any], Event] = {}
    for event in sorted(events, key=lambda event: int(event["seq"])):
        name = (event["type"], event.get("key"))
        before = stands.pop(name, event)
        stands[name] = {**event, "first_at": before.get("first_at", before["at"])}
    return list(stands.values())


def _todo(known: Mapping[str, Any], record: _Record) -> list[dict[str, Any]]:
    """Return ``[{what, how, ids}]``: what is left to a human, the most urgent first."""
    todo = []
    if known["outage"]["ongoing"]:
        how = " ".join(text for text in (known["advice"], f"When nothing stands against it, run: {RECOVER}") if text)
        todo.append({"what": "It has not been proved to serve again.", "how": how, "ids": []})
    for failure in known["failures"]:
        how = f"Mend what it names, then run the same command again, or: {RECOVER}"
        todo.append({"what": f"A step failed: {failure['message']}", "how": how, "ids": []})
    if known["backends"].get("changed"):
        how = "Nothing of this collection did it: find out what restarts the backend during an outage."
        todo.append({"what": f"{known['backends']['text']}.", "how": how, "ids": []})
    if known["drain"]["drained"] is False:
        names = ", ".join(_text(queue) for queue in known["drain"]["queues"] if not _drained(queue))
        todo.append({"what": f"Not drained: {names}.", "how": "Look at its worker, then run: " + RECOVER, "ids": []})
    for instance, why in record.unflushed().items():
        how = f"When that is mended, this flushes it: {AUDIT} -e outage_audit_incident={known['id']}"
        todo.append({"what": f"The DMCA cache of {instance} was not flushed: {why}", "how": how, "ids": []})
    for raised in known["temporary"]:
        what = (
            f"The memory watermark of {raised.get('node')} is still raised (it was {raised.get('before')}): what "
            "filled its memory is not gone."
        )
        todo.append(
            {"what": what, "how": f"When it is, this sets it back, and so does a restart: {RECOVER}", "ids": []}
        )
    if known["milestones"]["serving"] and not known["milestones"]["audited"]:
        todo.append({"what": "What was lost has not been accounted for.", "how": f"Run: {AUDIT}", "ids": []})
    if taken_back := record.taken_back():
        what = f"transcode: {len(taken_back)} that were queued again were taken back; they are not replayed any more."
        how = f"Where they are to be done after all, run: {AUDIT} -e outage_audit_incident={known['id']}"
        todo.append({"what": what, "how": how, "ids": taken_back})
    todo.extend(_left(known["left"]))
    for event in record.events:
        todo.extend({"what": _text(step), "how": "", "ids": []} for step in _list(_data(event), "next_steps"))
    if known["needs_postmortem"]:
        how = "The timeline and the figures of this report are its ground."
        todo.append({"what": "Write the postmortem.", "how": how, "ids": []})
    return todo


def _left(listed: Sequence[Any]) -> list[dict[str, Any]]:
    """Group the lost events that nothing replays by what a human must do with them."""
    groups: dict[tuple[str, str, bool], list[str]] = {}
    for event in listed:
        entry = event if isinstance(event, Mapping) else {"entity_id": event}
        certain = bool(entry.get("certain", True))
        name = (str(entry.get("kind") or "event"), str(entry.get("next_step") or ""), certain)
        keys = _list(entry, "keys")
        versions = f" ({', '.join(map(str, keys))})" if len(keys) > 1 else ""
        groups.setdefault(name, []).append(f"{entry.get('entity_id')}{versions}")
    return [
        {
            "what": f"{kind}: {len(ids)} {'lost and' if certain else 'may be lost, and'} not replayed.",
            "how": how if certain else f"{DOUBTFUL} {how}".strip(),
            "ids": ids,
        }
        for (kind, how, certain), ids in groups.items()
    ]


def _summary(known: Mapping[str, Any]) -> str:
    """Return the incident in one sentence, cause first."""
    outage = known["outage"]
    cause = known["headline"] or known["cause"] or "The cause has not been named"
    lasted = "for an unknown time" if outage["seconds"] is None else f"for {_length(outage['seconds'])}"
    lasted += " and is not over" if outage["ongoing"] else ""
    lost = [
        f"{row['kind']} {row['lost']['text']} (replayed: {row['replayed']['text']})"
        for row in known["accounting"]["rows"]
        if not row.get("independent")
    ]
    left = len(known["left"])
    parts = [
        cause,
        f"the outage lasted {lasted}",
        f"lost: {', '.join(lost)}" if lost else "what was lost has not been accounted for",
        *([f"left to a human: {left}"] if lost else []),
        *(["needs a postmortem"] if known["needs_postmortem"] else []),
    ]
    return "; ".join(parts) + "."


def _row(row: Any, listed: Sequence[Any]) -> dict[str, Any]:
    kind = row.get("kind") or row.get("queue") or row.get("subsystem")
    mine = [entry for entry in listed if isinstance(entry, Mapping) and entry.get("kind") == kind]
    left = row.get("left", {"count": len(mine), "ids": [str(entry.get("entity_id")) for entry in mine]})
    figures = {
        "lost": _figure(row.get("lost"), "exactly "),
        "replayed": _figure(row.get("replayed", {})),
        "healed": _figure(row.get("healed", {})),
        "left": _figure(left),
    }
    return {**row, "kind": kind, "subsystem": row.get("subsystem") or kind, **figures}


def _figure(figure: Any, exactly: str = "") -> dict[str, Any]:
    """Return a figure with its words: exactly n, at least n, or unknown and why."""
    data = dict(figure) if isinstance(figure, Mapping) else {"count": figure}
    count = data.get("count")
    state = data.get("state") or ("unknown" if count is None else "exact")
    words = {"exact": "none" if count == 0 else f"{exactly}{count}", "at_least": f"at least {count}"}
    text = data.get("text") or words.get(state) or _unknown(data)
    return {**data, "state": state, "count": count, "ids": [_text(entry) for entry in _list(data, "ids")], "text": text}


def _unknown(data: Mapping[str, Any]) -> str:
    since = f" between {data['from']} and {data['to']}" if data.get("from") and data.get("to") else ""
    why = ", ".join(_text(entry) for entry in _list(data, "reasons"))
    return f"unknown{since}{': ' + why if why else ''}"


def _done(event: Event) -> dict[str, Any]:
    data = _data(event)
    wanted = ("name", "target", "changed", "result")
    return {"at": event["first_at"], **{key: data.get(key) for key in wanted}}


def _proof(entry: Any) -> dict[str, Any]:
    data = entry if isinstance(entry, Mapping) else {"text": entry}
    return {"text": _text(data), **{key: data.get(key) for key in ("host", "source", "at")}}


def _action(action: Any) -> str:
    data = action if isinstance(action, Mapping) else {"name": action}
    target = f" on {data['target']}" if data.get("target") else ""
    return f"{data.get('name')}{target}{' (no change)' if data.get('changed') is False else ''}"


def _named(data: Mapping[str, Any]) -> str:
    return str(data.get("headline") or data.get("title") or data.get("cause") or "the cause is not known yet")


def _drained(queue: Any) -> bool:
    return bool(queue.get("drained")) if isinstance(queue, Mapping) else False


def _text(entry: Any) -> str:
    """Return a sentence from what may be one already, or a mapping that has one."""
    if isinstance(entry, Mapping):
        return str(
            next((entry[key] for key in ("text", "title", "message", "name", "entity_id") if entry.get(key)), "")
        )
    return "" if entry is None else str(entry)


def _data(event: Event | None) -> Mapping[str, Any]:
    data = (event or {}).get("data")
    return data if isinstance(data, Mapping) else {}


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if value is None:
        return []
    return [value] if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence) else list(value)


def _once(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))


def _time(value: Any) -> str | None:
    """Return an instant as the record writes it, so that instants compare as text; None for anything else."""
    try:
        return stamp(instant(value)) if value else None
    except BadInput:
        return None


def _between(start: str | None, end: str | None) -> float | None:
    """Return the seconds between two instants, never negative: hosts' clocks differ a little."""
    if start is None or end is None:
        return None
    return max(0.0, round((instant(end) - instant(start)).total_seconds(), 3))


def _length(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return " ".join(
        [*([f"{hours} h"] if hours else []), *([f"{minutes} min"] if hours or minutes else []), f"{rest} s"]
    )
