# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last block that a run prints: a few lines, the cause first."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_status import at_work

WIDTH = 10
NO_VERDICT: dict[str, Any] = {
    "cause": "healthy",
    "headline": "Nobody looked at the broker",
    "remedy": "none",
    "advice": "",
    "outage": {"start": None},
    "also": [],
    "impact": [],
    "suspects": [],
    "proof": [],
    "unknown": [],
    "not_ruled_out": [],
    "ruled_out": [],
}
RECOVER = "veza.rabbitmq.recover_rabbitmq"
FLAG = re.compile(r"\boutage_recover_\w+=true\b")
"""What says yes, where an advice names it."""
WHEN_IT_SERVES = "what the queues hold and what was lost, which a broker tells only when it serves"
LISTED = 30
"""Ids that the screen shows at one place; the report has more."""
CHANGES = 6
"""Suspects that it shows: the last ones."""


def outage_summary(run: Mapping[str, Any]) -> list[str]:
    """Return the lines for ``run``.

    Keys: ``verdict`` (outage_verdict), and as far as the run got: ``plan`` (outage_plan), ``check`` (bool), ``record``
    (outage_record), ``failure`` (text), ``report`` (path). An audit by itself has a record and no verdict. A diagnosis
    has ``inventories``, the files that its command was given, and ``incident``, as M(veza.rabbitmq.incident) read it.
    """
    run = {"verdict": NO_VERDICT, **run}
    sections = (
        ("CAUSE", _cause(run)),
        ("RUN", list(filter(None, [at_work(run.get("incident") or {})]))),
        ("FAILED", [run["failure"]] if run.get("failure") else []),
        ("PROOF", _proof(run)),
        ("SUSPECT", _suspects(run)),
        ("OUTAGE", _outage(run)),
        ("AFFECTED", _affected(run)),
        ("PLAN", _plan(run)),
        ("DONE", _done(run)),
        ("LOST", _lost(run)),
        ("LEFT", _left(run)),
        ("NEXT", _next(run)),
        ("UNKNOWN", _unknown(run)),
        ("REPORT", [run["report"]] if run.get("report") else []),
    )
    lines = []
    for label, texts in sections:
        for number, text in enumerate(texts):
            lines.append(f"{label if number == 0 else '':<{WIDTH}}{text}")
    return lines


def _serves(run: Mapping[str, Any]) -> bool:
    """Whether this run, or one before it, proved that the broker serves again."""
    return bool((_record(run).get("milestones") or {}).get("serving"))


def _record(run: Mapping[str, Any]) -> Mapping[str, Any]:
    return run.get("record") or {}


def _cause(run: Mapping[str, Any]) -> list[str]:
    """The incident's cause outlives the moment: a run that finishes the work finds a healthy broker."""
    verdict, record = run["verdict"], _record(run)
    if record.get("cause") and verdict["cause"] == "healthy":
        return [f"{record.get('headline') or record['cause']} [{record['cause']}]"]
    lines = [f"{verdict['headline']} [{verdict['cause']}]"]
    return lines + [f"also: {other['headline']} [{other['cause']}]" for other in verdict["also"]]


def _proof(run: Mapping[str, Any]) -> list[str]:
    record = _record(run)
    healed = record.get("cause") and run["verdict"]["cause"] == "healthy"
    proof = record.get("proof") if healed else run["verdict"]["proof"]
    others = [] if healed else [one for other in run["verdict"]["also"] for one in other["proof"]]
    return [
        f"{entry['host']}: {entry['text']} [{entry['source']}{', ' + entry['at'] if entry.get('at') else ''}]"
        for entry in [*(proof or []), *others]
    ]


def _suspects(run: Mapping[str, Any]) -> list[str]:
    """What changed within half an hour before the first error; no proof that it is to blame."""
    suspects = run["verdict"]["suspects"]
    lines = [
        f"{one['host']}: {one['what']} at {one['at']}; {one['first_error']} at {one['first_error_at']}"
        for one in suspects[:CHANGES]
    ]
    return lines + ([f"and {len(suspects) - CHANGES} earlier changes"] if len(suspects) > CHANGES else [])


def _outage(run: Mapping[str, Any]) -> list[str]:
    outage = _record(run).get("outage") or {}
    if outage.get("start") and outage.get("end"):
        return [f"{_length(outage['seconds'])}, from {outage['start']} ({outage['start_source']}) to {outage['end']}"]
    began = run["verdict"]["outage"]
    if began["start"]:
        return [f"since {began['start']} ({began['confidence']}; {began['source']})"]
    return []


def _length(seconds: float) -> str:
    whole = int(round(seconds))
    hours, minutes = whole // 3600, whole % 3600 // 60
    if whole < 60:
        return f"{seconds:.1f} s"
    return f"{f'{hours} h ' if hours else ''}{minutes} min {whole % 60} s"


def _affected(run: Mapping[str, Any]) -> list[str]:
    """The runbook's table, as it is now; what is not affected is left out, but for what never is."""
    rows = [row for row in run["verdict"]["impact"] if row["affected"] is not False]
    if _serves(run) or not rows:
        return []
    lines = [f"{row['severity']:<7}{row['subsystem']}: {row['effect']}{_waits(row)}" for row in rows]
    never = [row for row in run["verdict"]["impact"] if row["severity"] == "NONE" and row["queue"] is None]
    return [*lines, *(f"NONE   {row['subsystem']}: {row['why']}" for row in never)]


def _waits(row: Mapping[str, Any]) -> str:
    waiting = "not known how many wait" if row["waiting"] is None else f"{row['waiting']} wait"
    about = {None: f"affected or not: {row['why']}"}.get(row["affected"], row["why"])
    parts = [about, f"{waiting} in {row['queue']}" if row["queue"] else ""]
    return f" ({', '.join(filter(None, parts))})"


def _plan(run: Mapping[str, Any]) -> list[str]:
    plan = run.get("plan")
    if not plan or not (run.get("check") or plan["decision"] == "nothing"):
        return []
    if not plan["actions"]:
        return [f"nothing to do: {plan['reason']}"]
    lines = [
        f"would {action['name']} on {action['target']} (may lose: {action['may_lose']})" for action in plan["actions"]
    ]
    unknown = [*(plan.get("not_simulated") or []), WHEN_IT_SERVES]
    return [*lines, *(f"not simulated: {text}" for text in unknown)]


def _done(run: Mapping[str, Any]) -> list[str]:
    backends = (_record(run).get("backends") or {}).get("text")
    lines = [
        f"{action['name']} on {action['target']}{'' if action.get('changed') else ' (no change)'}: {action['result']}"
        for action in _record(run).get("actions") or []
    ]
    return [*lines, *([backends] if backends else [])]


def _accounting(run: Mapping[str, Any]) -> Mapping[str, Any]:
    return _record(run).get("accounting") or {}


def _lost(run: Mapping[str, Any]) -> list[str]:
    rows: Iterable[Mapping[str, Any]] = _accounting(run).get("rows") or []
    return [f"{row['kind']:<14}{row['lost']['text']}{_became(row)}" for row in rows]


def _became(row: Mapping[str, Any]) -> str:
    if row.get("independent"):
        return ""
    healed = row.get("healed") or {}
    return f"; replayed {row['replayed']['text']}" + (f"; healed {healed['text']}" if healed.get("count") else "")


def _left(run: Mapping[str, Any]) -> list[str]:
    """What a human must do, each with the ids that it is about."""
    lines = []
    for todo in _record(run).get("todo") or []:
        ids = [str(entity) for entity in todo["ids"]]
        more = f" and {len(ids) - LISTED} more in the report" if len(ids) > LISTED else ""
        lines.append(" ".join(part for part in (todo["what"], todo["how"]) if part))
        lines.extend([f"  {', '.join(ids[:LISTED])}{more}"] if ids else [])
    return lines or (["nothing for a human to do"] if _accounting(run) else [])


def _unknown(run: Mapping[str, Any]) -> list[str]:
    """What a look at a dead broker could not see no longer matters once it serves; what was lost does."""
    verdict = run["verdict"]
    unseen = [] if _serves(run) else [*verdict["unknown"], *_open_questions(verdict)]
    differ = len(_accounting(run).get("differences") or [])
    more = [f"the sources differ in {differ} points, which the report names"] if differ else []
    return [*unseen, *(_accounting(run).get("unknown") or []), *more]


def _open_questions(verdict: Mapping[str, Any]) -> list[str]:
    """What could not be ruled out matters most where nothing could be named."""
    if verdict["cause"] != "unknown":
        return []
    named = [("not ruled out", verdict["not_ruled_out"]), ("ruled out", verdict["ruled_out"])]
    return [f"{label}: {', '.join(names)}" for label, names in named if names]


def _next(run: Mapping[str, Any]) -> list[str]:
    plan = run.get("plan")
    if run["verdict"]["cause"] == "healthy" and not run.get("failure"):
        return []
    if run.get("failure"):
        return ["mend what FAILED names, then run the same command again: it finishes the work and doubles nothing"]
    if plan is None and run["verdict"]["remedy"] not in ("none", "ask"):
        inventories = [f"-i {shlex.quote(str(one))}" for one in run.get("inventories") or []]
        flags = [f"-e {flag}" for flag in FLAG.findall(run["verdict"]["advice"])]
        return [run["verdict"]["advice"], " ".join(["ansible-playbook", *inventories, RECOVER, *flags])]
    if plan is None:
        return [run["verdict"]["advice"]]
    if plan["decision"] == "ask":
        return [plan["reason"]]
    return [f"{one['cause']}: {one['ask']}" for one in plan.get("asks") or []]
