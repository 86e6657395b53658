# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decision: what recover_rabbitmq does about a verdict. Pure, so that check mode and the real run share it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils._version import VERSION
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._actions import Choice, choose
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._choice import PAST
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_record import outage_record
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._resources import stopped_by_us
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import plain

Plan = dict[str, Any]

ACTS = ("act", "finish")
"""Decisions after which something is done."""

WHILE_IT_DRAINS = "restart_worker of a worker whose queue is stuck for want of it afterwards, once"

WAIT = "wait_for_boot"

DECISION = ("cause", "remedy", "targets", "queues", "arguments")
"""What of a step is the decision that a person approves; figures change by themselves."""


def outage_plan(
    verdict: Mapping[str, Any],
    remedies: Mapping[str, Mapping[str, Any]],
    incident: Mapping[str, Any],
    settings: Mapping[str, Any],
    evidence: Mapping[str, Any] | None = None,
    approved: Mapping[str, Any] | None = None,
) -> Plan:
    """Return what outage_plan.yml describes."""
    verdict, evidence, settings = plain(verdict), plain(evidence or {}), plain(settings)
    beside = [other for other in verdict["also"] if remedies[other["remedy"]]["kind"] != "none"]
    causes = [verdict, *(other for other in beside if not _accounted(other, verdict, incident))]
    considered = _once([_consider(cause, remedies, settings, evidence) for cause in causes])
    decision, reason = _decide(verdict, remedies[verdict["remedy"]], considered[0], incident)
    steps = _to_the_stop(_waits_last([step for step in considered if not step["ask"]])) if decision in ACTS else []
    _each_worker_once(steps)
    stops = [step.pop("stops") for step in steps]
    after = [] if any(stops) else _afterwards(settings)
    plan = {
        "decision": decision,
        "reason": reason,
        "remedy": verdict["remedy"],
        "steps": steps,
        "actions": [*(one for step in steps for one in step.pop("actions")), *after] if steps else [],
        "asks": [{"cause": step["cause"], "ask": step["ask"]} for step in considered if step["ask"]],
        "not_simulated": [
            *(text for step in steps for text in step.pop("not_simulated")),
            *([WHILE_IT_DRAINS] if steps and not any(stops) else []),
        ],
        "approval": {
            "incident": incident["id"] if incident["open"] else None,
            "version": VERSION,
            "steps": [{key: step[key] for key in DECISION} for step in steps],
        },
    }
    return _approved(plan, plain(approved)) if approved else plan


def _waits_last(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put what only waits behind what acts: a node may wait for the very one that is yet to be started."""
    return sorted(steps, key=lambda step: step["remedy"] == WAIT)


def _to_the_stop(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop what comes after a step that ends the run."""
    stop = next((place for place, step in enumerate(steps) if step["stops"]), len(steps))
    return steps[: stop + 1]


def _each_worker_once(steps: list[dict[str, Any]]) -> None:
    """Take from a step the workers that an earlier one has brought back: a step sees to all of its hosts'."""
    seen: set[str] = set()
    for step in steps:
        workers = step["arguments"].get("workers") or []
        again = [one for one in workers if one["target"] in seen]
        if again:
            gone = {name for one in again for name in (one["target"], one.get("set_aside", {}).get("queue"))}
            left = [one for one in workers if one not in again]
            step["arguments"] = {**step["arguments"], "workers": left}
            step["actions"] = [action for action in step["actions"] if action["target"] not in gone]
        seen |= {one["target"] for one in workers}


def _once(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop what an earlier cause has had done already."""
    once: dict[str, dict[str, Any]] = {}
    for step in steps:
        workers = [one["target"] for one in step["arguments"].get("workers") or []]
        once.setdefault(repr([workers, *(step[key] for key in ("remedy", "targets", "queues", "ask"))]), step)
    return list(once.values())


def _consider(
    cause: Mapping[str, Any],
    remedies: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Any],
    evidence: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the step that a cause leads to; ``ask`` is why there is none before a human has decided."""
    # A run that was interrupted after it had stopped a broker whose disk was full: nobody else's purpose.
    seen = {node: (view or {}).get("info") or {} for node, view in (evidence.get("brokers") or {}).items()}
    recent = settings["recent_actions"]
    ours = cause["targets"] and all(stopped_by_us(node, recent, seen.get(node, {})) for node in cause["targets"])
    name = "free_disk" if cause["remedy"] == "start_stopped_broker" and ours else cause["remedy"]
    remedy = remedies[name]
    step = {
        "cause": cause["cause"],
        "remedy": name,
        "targets": cause["targets"],
        "queues": cause["queues"],
        "says": remedy["says"],
    }
    choice = _chosen(step, cause, remedy, settings, evidence)
    return {
        **step,
        "arguments": choice.arguments,
        "actions": choice.actions,
        "ask": choice.ask,
        "stops": choice.stops,
        "not_simulated": choice.not_simulated,
    }


def outage_accounted(verdict: Mapping[str, Any], read: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what outage_accounted.yml describes."""
    verdict, read = plain(verdict), plain(read)
    served = outage_record(read["events"])["milestones"]["serving"] if read.get("found") else None
    incident = {"open": read.get("open"), "served_at": served}
    over = [one for one in [verdict, *verdict["also"]] if one["remedy"] in PAST]
    left = over if incident["open"] and verdict["serves"] else []
    return {
        "accounted": [one["cause"] for one in over if _accounted(one, verdict, incident)],
        "finishes": [one["cause"] for one in left],
    }


def _chosen(
    step: Mapping[str, Any],
    cause: Mapping[str, Any],
    remedy: Mapping[str, Any],
    settings: Mapping[str, Any],
    evidence: Mapping[str, Any],
) -> Choice:
    # The advice says how to say yes (a unit test takes care).
    flag = remedy.get("needs")
    if remedy["kind"] == "ask" or (flag and not settings["flags"][flag]):
        return Choice(ask=cause["advice"])
    return choose(step, remedy, evidence, settings)


def _decide(
    verdict: Mapping[str, Any], remedy: Mapping[str, Any], step: Mapping[str, Any], incident: Mapping[str, Any]
) -> tuple[str, str]:
    if remedy["kind"] == "none":
        if incident.get("open"):
            return "finish", f"It serves; the incident {incident['id']} is still open, so the rest of its work is done."
        return "nothing", "It serves, and no incident is open."
    if _accounted(verdict, verdict, incident):
        return (
            "nothing",
            f"It serves, and the incident {incident['id']}, which is closed, has accounted for that outage.",
        )
    return ("ask", step["ask"]) if step["ask"] else ("act", step["says"])


def _accounted(one: Mapping[str, Any], verdict: Mapping[str, Any], incident: Mapping[str, Any]) -> bool:
    """Whether one of a verdict's causes is over, and the last incident, closed, has seen it served since it began.

    Instants are in UTC, so text will do. What else is wrong beside it has its own beginning: then its proof tells.
    """
    known = [proof["at"] for proof in one.get("proof") or [] if proof.get("at")]
    began = verdict["outage"]["start"] if one["cause"] == verdict["cause"] else max(known, default=None)
    over = one["remedy"] in PAST and not incident.get("open")
    over = over and (verdict["serves"] or one["cause"] != verdict["cause"])
    served = incident.get("served_at")
    return bool(over and began and served and began < served)


def _afterwards(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the actions that follow whatever the remedies were, in their order."""
    flushes = [{"name": "dmca_flush", "target": host, "may_lose": "nothing"} for host in settings["apis"]]
    requeue = [{"name": "transcode_requeue", "target": "database", "may_lose": "nothing"}]
    again = [{**flush, "name": "dmca_flush_again"} for flush in flushes]
    return [*flushes, *(requeue if settings["database"] else []), *again]


def _approved(plan: Plan, approved: Mapping[str, Any]) -> Plan:
    """Refuse to do anything else than what was approved; that less of it is left to do is no difference.

    So a run that was interrupted can be started again as it was.
    """
    if plan["decision"] not in ACTS:
        return plan
    wanted, now = _as_yaml_reads(approved), _as_yaml_reads(plan["approval"])
    differ = [name for name in ("incident", "version") if wanted.get(name) != now[name]]
    steps = wanted.get("steps") or []
    differ += ["steps" for step in now["steps"] if step["remedy"] != "none" and step not in steps][:1]
    # That a run before this one has opened the incident is not another decision.
    differ = [name for name in differ if not (name == "incident" and not approved.get("incident"))]
    if not differ:
        return plan
    return {
        **plan,
        "decision": "ask",
        "reason": "What would be done now is not what was approved: "
        + "; ".join(
            f"{name}: approved {_told(approved.get(name))}, now {_told(plan['approval'][name])}" for name in differ
        )
        + ". Nothing was done. Look at the plan (--check) and approve it anew.",
        "steps": [],
        "actions": [],
    }


def _as_yaml_reads(value: Any) -> Any:
    """Return a value with its texts as YAML would read them, to compare what may have passed through it.

    AWX hands an artifact to the next job as YAML whose texts are tagged ``!unsafe``, which ansible-core 2.19 and later
    read as if nobody had tagged them: "5" becomes 5, an empty text null, an instant a date.
    """
    if isinstance(value, Mapping):
        return {key: _as_yaml_reads(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_as_yaml_reads(one) for one in value]
    if isinstance(value, str):
        loader = yaml.SafeLoader("")
        node = yaml.ScalarNode(loader.resolve(yaml.ScalarNode, value, (True, False)), value)
        try:
            value = loader.construct_object(node)
        except (ValueError, yaml.YAMLError):
            return value  # it looks like a number or a date, and is none
    return value.isoformat() if isinstance(value, date) else value


def _told(value: Any) -> str:
    if isinstance(value, list):
        return (
            ", ".join(
                f"{step.get('remedy')} on {', '.join(step.get('targets') or step.get('queues') or ['-'])}"
                for step in value
            )
            or "nothing"
        )
    return str(value)
