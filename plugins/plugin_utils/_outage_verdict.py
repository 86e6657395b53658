# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence and causes in, verdict out. Pure: no clock, no network, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._jmespath import compiled
from ansible_collections.veza.rabbitmq.plugins.plugin_utils import (
    _findings_apps,
    _findings_broker,
    _findings_process,
    _findings_traffic,
    _impact,
    _suspects,
)
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._choice import PAST
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._findings import (
    Evidence,
    Finding,
    Info,
    Proof,
    infos,
    proof,
)
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import plain

FINDINGS = {**_findings_broker.FINDINGS, **_findings_apps.FINDINGS, **_findings_traffic.FINDINGS}
"""Every question by its name."""

UNKNOWN = {
    "cause": "unknown",
    "title": "The cause could not be named",
    "remedy": "ask",
    "affects": "unknown",
    "advice": "Read what was ruled out and what could not be seen, below, and look there by hand.",
    "runbook": "first-moves",
}

REVIVE = "revive_broker"

OTHERS = "; the rest of the cluster serves"
"""What the headline says where a cluster goes on without the nodes that it is about."""

REACH = ("all", "targets", "queues", "nothing")
"""What a cause affects, the widest first: everything, what the targets' hosts send, its queues, nothing."""

OWN = {
    "all_of": [],
    "none_of": [],
    "explains": [],
    "shows": [],
    "affects": "nothing",
    "remedy": "ask",
    "runbook": "own",
}
"""What a cause of the operator's has unless it says otherwise."""
_OWN_KEYS = {"title", "when", "advice", "explains", "affects"}

Causes = Mapping[str, Mapping[str, Any]]


def outage_verdict(
    evidence: Evidence,
    causes: Causes,
    queues: Sequence[Mapping[str, Any]] = (),
    own: Causes | None = None,
    subsystems: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Judge ``evidence`` (see plugin_utils/_findings.py) by ``causes`` (see roles/outage_diagnose/causes).

    ``queues`` is veza_queues and ``subsystems`` veza_subsystems, for what is affected. ``own`` are the operator's
    causes: each has a ``title``, a ``when`` (JMESPath over the evidence: true, false, or null for unknown), an
    ``advice``, and may have ``explains`` and ``affects``.
    """
    evidence = {**plain(evidence), "queues": plain(queues)}
    every = {name: {**cause, "name": name} for name, cause in {**causes, **_checked(own or {}, causes)}.items()}
    findings = _ask(evidence, every)
    # What never affects anybody, and is not acted upon.
    harmless = {name: one["affects"] == "nothing" and one["remedy"] == "ask" for name, one in every.items()}
    serves = _findings_apps.healthy(evidence).holds
    if serves or _back(evidence):
        # What ended a run that has another after it affects nobody any more.
        every = {name: {**one, "affects": "nothing"} if one["remedy"] in PAST else one for name, one in every.items()}
    if serves:
        # A node in maintenance whose peers serve.
        resting = {name: {**one, "affects": "nothing"} for name, one in every.items() if one["remedy"] == REVIVE}
        every |= resting
    judged = {name: _judge(cause, findings) for name, cause in every.items()}
    holding = {name: _together(every[name], findings) for name, truth in judged.items() if truth}
    brokers = set(evidence.get("brokers") or {})
    if others_serve(evidence):
        down = FINDINGS["queues_down"](evidence).queues
        for name, seen in holding.items():
            if every[name]["affects"] == "all" and _of_brokers(every[name], findings) and set(seen.targets) < brokers:
                every[name] = {**every[name], "affects": "queues" if down else "nothing", "others": OTHERS}
                holding[name] = replace(seen, queues=down)
    named = _ranked(holding, every, findings, brokers)
    first = next(iter(named), None)
    cause = {**UNKNOWN} if first is None else {**every[first], "cause": first}
    seen = Finding(None, _everything(findings)) if first is None else named[first]
    also = [_about(every[name], told) for name, told in named.items() if name != first]
    # Of several troubles at once the first to be seen began it: what one of them alone shows may be later.
    told_too = [
        other
        for other in also
        if every[other["cause"]]["affects"] != "nothing" or (other["remedy"] in PAST and not serves)
    ]
    beside = [told for other in told_too for told in other["proof"]]
    outage = _began(evidence, cause["cause"], seen.targets, [*seen.proof, *beside])
    if named and all(harmless[name] for name in named) and _suspects.first_error(evidence) is None:
        outage = NOT_KNOWN
    return {
        "cause": cause["cause"],
        "title": cause["title"],
        "headline": _headline(cause, seen),
        "proof": seen.proof,
        "targets": seen.targets,
        "queues": seen.queues,
        "serves": serves,
        "remedy": cause["remedy"],
        "affects": cause["affects"],
        "advice": cause["advice"],
        "runbook": cause["runbook"],
        "also": also,
        "impact": _impact.impact(evidence, [{**cause, "queues": seen.queues, "targets": seen.targets}, *also],
                                 plain(queues), plain(subsystems), outage["start"]),
        "suspects": [] if cause["cause"] == "healthy" else _suspects.suspects(
            evidence, outage["start"], _in_trouble([{**cause, "targets": seen.targets}, *also])
        ),
        "not_ruled_out": sorted(name for name, truth in judged.items() if truth is None),
        "ruled_out": sorted(name for name, truth in judged.items() if truth is False),
        "unknown": _unseen(evidence),
        "outage": outage,
    }  # fmt: skip


def others_serve(evidence: Evidence) -> bool:
    """Whether every container that could be asked gets through, and the cluster misses nodes and nothing else.

    Its queues that are down are those whose home is on such a node.
    """
    checks = (evidence.get("health") or {}).get("checks", [])
    failed = {one["name"] for one in checks if one["result"] == "fail"}
    missing = FINDINGS["queues_missing"](evidence).holds is not False
    return (
        {"nodes_running"} <= failed <= {"nodes_running", "quorum_critical", "queues"}
        and not missing
        and bool(_findings_apps.all_get_through(evidence).holds)
    )


def _back(evidence: Evidence) -> bool:
    """Whether each broker runs, and talks to a client on its own host: what is wrong now is not how one once ended."""
    wrong = ("process_gone", "booting", "broker_silent")
    return all(FINDINGS[name](evidence).holds is False for name in wrong)


def _checked(own: Causes, causes: Causes) -> dict[str, dict[str, Any]]:
    """Return the operator's causes complete; AnsibleFilterError with all that is wrong with them."""
    wrong = []
    for name, cause in own.items():
        strange = sorted(set(cause) - _OWN_KEYS)
        missing = sorted({"title", "when", "advice"} - set(cause))
        wrong += [f"{name}: the collection has a cause of this name"] if name in causes else []
        wrong += [f"{name}: no such key: {', '.join(strange)}"] if strange else []
        wrong += [f"{name}: it lacks {', '.join(missing)}"] if missing else []
        wrong += (
            [f"{name}: affects must be one of {', '.join(REACH)}"] if cause.get("affects", "all") not in REACH else []
        )
        unknown = sorted(set(cause.get("explains", [])) - set(causes) - set(own))
        wrong += [f"{name}: explains no cause: {', '.join(unknown)}"] if unknown else []
        try:
            compiled(str(cause.get("when", "@")), f"{name}: when")
        except VezaError as error:
            wrong.append(error.message)
    if wrong:
        raise AnsibleFilterError(f"outage_diagnose_own_causes: {'; '.join(wrong)}.")
    return {name: {**OWN, **cause} for name, cause in own.items()}


def _ask(evidence: Evidence, causes: Causes) -> dict[str, Finding]:
    """Answer each question once; an operator's expression is the question of that name."""
    wanted = {
        name for cause in causes.values() for key in ("all_of", "none_of", "shows") for name in cause.get(key, [])
    }
    strangers = sorted(wanted - set(FINDINGS))
    if strangers:
        raise AnsibleFilterError(
            f"outage_verdict: no such finding: {', '.join(strangers)}. Known: {', '.join(FINDINGS)}."
        )
    answers = {name: FINDINGS[name](evidence) for name in sorted(wanted)}
    for name, cause in causes.items():
        if "when" in cause:
            answers[_own(name)] = _evaluated(name, cause["when"], evidence)
    return answers


def _own(name: str) -> str:
    return f"own:{name}"


def _evaluated(name: str, expression: str, evidence: Evidence) -> Finding:
    try:
        found = compiled(expression, name)(evidence)
    except VezaError as error:
        return Finding(None, [proof("controller", "outage_diagnose_own_causes", error.message)])
    if found is None:
        return Finding(None)
    return Finding(
        bool(found), [proof("controller", "outage_diagnose_own_causes", f"{expression} gives {found!r:.200}")]
    )


def _questions(cause: Mapping[str, Any]) -> list[str]:
    return [*cause.get("all_of", []), *([_own(cause["name"])] if "when" in cause else [])]


def _judge(cause: Mapping[str, Any], findings: Mapping[str, Finding]) -> bool | None:
    """All of all_of and none of none_of; one certain contradiction outweighs any number of unknowns."""
    answers = [findings[name].holds for name in _questions(cause)]
    of_single_nodes = _of_single_nodes(cause, findings)
    for name in cause.get("none_of", []):
        holds = findings[name].holds
        answers.append(None if holds is None else not holds or name in of_single_nodes)
    if False in answers or not all(_hosts(cause, findings)):
        return False
    return None if None in answers or not answers else True


HOSTS = (_findings_broker.FINDINGS, _findings_apps.FINDINGS)
"""The questions that are asked of hosts: of each broker's, and of each of the application's."""


def _hosts(cause: Mapping[str, Any], findings: Mapping[str, Finding]) -> list[set[str]]:
    """Return on which hosts all that is asked of a cause's brokers holds, and all that is asked of its applications."""
    not_there = {host for name in _of_single_nodes(cause, findings) for host in findings[name].targets}
    asked = [[set(findings[name].targets) for name in _placed(cause, findings) if name in kind] for kind in HOSTS]
    return [set.intersection(*targets) - not_there for targets in asked if targets]


def _placed(cause: Mapping[str, Any], findings: Mapping[str, Finding]) -> list[str]:
    """Return which of a cause's findings name hosts."""
    return [name for name in _questions(cause) if findings[name].targets]


def _of_brokers(cause: Mapping[str, Any], findings: Mapping[str, Finding]) -> bool:
    """Whether a cause is about nothing but single nodes."""
    placed = _placed(cause, findings)
    return bool(placed) and all(name in _findings_broker.FINDINGS for name in placed)


def _of_single_nodes(cause: Mapping[str, Any], findings: Mapping[str, Finding]) -> list[str]:
    """Return what of none_of denies a cause on its own hosts alone: that one node boots tells nothing of another."""
    if not _of_brokers(cause, findings):
        return []
    return [name for name in cause.get("none_of", []) if name in _findings_broker.FINDINGS and findings[name].targets]


def _explained(name: str, causes: Causes) -> set[str]:
    """Return all that a cause explains, also by what it explains."""
    found: set[str] = set()
    left = list(causes[name].get("explains", []))
    while left:
        other = left.pop()
        if other not in found and other != name:
            found.add(other)
            left += causes.get(other, {}).get("explains", [])
    return found


def _ranked(
    seen: Mapping[str, Finding], causes: Causes, findings: Mapping[str, Finding], brokers: set[str]
) -> dict[str, Finding]:
    """Drop what another named cause explains: it is a consequence. What affects most, and explains most, comes first.

    That all is well is only said when nothing else is.
    """
    width = {name: _explained(name, causes) for name in seen}
    left = {}
    for name, finding in seen.items():
        by = [other for other in seen if name in width[other]]
        # A process that is gone is no consequence of what is wrong with another node.
        apart = "process_gone" in causes[name].get("all_of", []) and all(
            _of_brokers(causes[other], findings) for other in by
        )
        rest = _without(finding, {host for other in by for host in seen[other].targets}) if apart else finding
        more = None if apart else _beyond(finding, [(causes[other]["affects"], seen[other]) for other in by], brokers)
        if not by or (apart and rest.targets):
            left[name] = rest
        elif more:
            left[name] = more
    left = _without_symptoms(left or dict(seen), causes)
    if list(left) != ["healthy"]:
        left.pop("healthy", None)
    ranked = sorted(left, key=lambda name: (REACH.index(causes[name]["affects"]), -len(width[name]), name))
    return {name: left[name] for name in ranked}


def _without_symptoms(left: Mapping[str, Finding], causes: Causes) -> dict[str, Finding]:
    """Drop each symptom where another cause affects the same hosts, or all: it tells that something is wrong there."""
    others = {name: seen for name, seen in left.items() if not causes[name].get("symptom")}
    wide = any(causes[name]["affects"] == "all" for name in others)
    hosts = {host for name, seen in others.items() if causes[name]["affects"] == "targets" for host in seen.targets}
    symptoms = {name: _without(seen, hosts) for name, seen in left.items() if name not in others and not wide}
    return {**others, **{name: seen for name, seen in symptoms.items() if seen.targets}}


def _beyond(finding: Finding, by: Sequence[tuple[str, Finding]], brokers: set[str]) -> Finding | None:
    """Return what a finding says of other queues or hosts than those that explain it are about; None if nothing."""
    if by and finding.queues and all(reach == "queues" and other.queues for reach, other in by):
        queues = sorted(set(finding.queues) - {queue for _reach, other in by for queue in other.queues})
        told = [one for one in finding.proof if any(queue in one["text"] for queue in queues)] or finding.proof
        return Finding(finding.holds, told, finding.targets, queues) if queues else None
    if by and finding.targets and all(reach == "targets" and not {*other.targets} & brokers for reach, other in by):
        rest = _without(finding, {host for _reach, other in by for host in other.targets})
        return rest if {*rest.targets} - brokers else None
    return None


def _without(finding: Finding, hosts: set[str]) -> Finding:
    """Return what a finding says of other hosts than these."""
    return Finding(
        finding.holds,
        [one for one in finding.proof if one["host"] not in hosts],
        [host for host in finding.targets if host not in hosts],
        finding.queues,
    )


def _together(cause: Mapping[str, Any], findings: Mapping[str, Finding]) -> Finding:
    """Return the proof, hosts and queues of a cause's findings; of hosts those on which all of them hold."""
    about = [findings[name] for name in _questions(cause)]
    of_hosts = {
        host for kind in HOSTS for name in _placed(cause, findings) if name in kind for host in findings[name].targets
    }
    proofs: list[Proof] = []
    for finding in [*about, *(findings[name] for name in cause["shows"] if findings[name].holds)]:
        proofs.extend(one for one in finding.proof if one not in proofs)
    together = Finding(
        True,
        proofs,
        sorted({host for finding in about for host in finding.targets}),
        sorted({queue for finding in about for queue in finding.queues}),
    )
    return _without(together, of_hosts.difference(*_hosts(cause, findings)))


def _in_trouble(causes: Sequence[Mapping[str, Any]]) -> set[str] | None:
    """Return the application's hosts on which something is wrong; None where that is not known."""
    if any(cause["affects"] != "targets" for cause in causes):
        return None
    return {host for cause in causes for host in cause["targets"]}


def _about(cause: Mapping[str, Any], seen: Finding) -> dict[str, Any]:
    return {
        "cause": cause["name"],
        "title": cause["title"],
        "headline": _headline(cause, seen),
        "affects": cause["affects"],
        "proof": seen.proof,
        "targets": seen.targets,
        "queues": seen.queues,
        "remedy": cause["remedy"],
        "advice": cause["advice"],
    }


def _headline(cause: Mapping[str, Any], seen: Finding) -> str:
    others = cause.get("others", "")
    where = ", ".join(seen.targets if others else seen.queues or seen.targets)
    return str(cause["title"]) + (f" ({where})" if where else "") + others


def _everything(findings: Mapping[str, Finding]) -> list[Proof]:
    """Return what was found at all, once each, for a verdict that names nothing."""
    seen: list[Proof] = []
    for finding in findings.values():
        seen.extend(one for one in finding.proof if one not in seen)
    return seen


def _unseen(evidence: Evidence) -> list[str]:
    """Say in sentences what could not be seen."""
    unseen = []
    for group in ("brokers", "apps"):
        for host, info in infos(evidence, group):
            if info is None:
                why = (evidence.get("unreachable") or {}).get(host) or (evidence.get("failed") or {}).get(host)
                unseen.append(f"{host}: not seen: {why or 'it gave no answer'}")
            else:
                unseen.extend(f"{host}: {text}" for text in info.get("unknown") or [])
    why = evidence.get("unanswered") or {}
    health = evidence.get("health") or {}
    if not health:
        unseen.append(": ".join(["controller: rabbitmq_health gave no answer", *filter(None, [why.get("health")])]))
    elif health.get("unknown"):
        unseen += _unanswered(health)
    database = evidence.get("database")
    wrong = why.get("database") if not database else database["detail"] if database["outcome"] != "ok" else None
    if wrong:
        unseen.append(f"controller: the database: {wrong}; an audit can't tell what was lost without it")
    return unseen + [f"{host}: its instances: {text}" for host, text in (evidence.get("hypervisors") or {}).items()]


def _unanswered(health: Mapping[str, Any]) -> list[str]:
    """Say which checks have no answer, and what came instead: once for all that have got the same."""
    details = {check["name"]: check["detail"] for check in health.get("checks") or []}
    checks: dict[str, list[str]] = {}
    for name in health["unknown"]:
        checks.setdefault(details.get(name, ""), []).append(name)
    return [
        f"controller: checks without an answer: {', '.join(names)}{f': {detail}' if detail else ''}"
        for detail, names in checks.items()
    ]


# Causes whose outage began with the broker's own end, and whether a stop in its log may be that end.
_ENDS = {
    "broker_stopped_on_purpose": True,
    "broker_stopping": True,
    "broker_down": True,
    "broker_crashed": False,
    "broker_segfault": False,
    "broker_oom_killed": False,
    "broker_killed_or_oom": False,
}


NOT_KNOWN: dict[str, Any] = {"start": None, "source": None, "confidence": None}


def _began(evidence: Evidence, cause: str, targets: Sequence[str], proofs: Sequence[Proof]) -> dict[str, Any]:
    """Infer when the outage began, with the source and how sure that is; all None when nothing tells.

    An application that is still in trouble and was so earlier moves the beginning: a broker that thrashes loses
    events before it dies.
    """
    if cause == "healthy":
        return NOT_KNOWN
    told = _told_by_brokers(evidence, cause, targets) or _told_by_proof(cause, proofs)
    error = _suspects.first_error(evidence)
    if error is None or (told["start"] and told["start"] <= error["at"]):
        return told
    source = f"{error['host']}: first AMQP error of {error['name']}"
    return {"start": error["at"], "source": source, "confidence": "then or earlier"}


def _told_by_brokers(evidence: Evidence, cause: str, targets: Sequence[str]) -> dict[str, Any] | None:
    """Return what the first of the nodes tells that it is about: when another was stopped tells nothing of its end."""
    told = [
        _told_by_broker(host, info, cause)
        for host, info in infos(evidence, "brokers")
        if info is not None and (not targets or host in targets)
    ]
    return min((one for one in told if one), key=lambda one: str(one["start"]), default=None)


def _told_by_broker(host: str, info: Info, cause: str) -> dict[str, Any] | None:
    lifecycle = info["lifecycle"]
    # Whatever was still written after that: from its stop on, completed or not, it served nobody.
    stop = lifecycle.get("stopped_at") or (lifecycle["at"] if lifecycle["last"] == "stopping" else None)
    if _ENDS.get(cause) and stop:
        return {"start": stop, "source": f"{host}: stop in the broker's log", "confidence": "exact"}
    since = _findings_process.down_since(info)
    if cause == "broker_booting" and since:
        return {"start": since, "source": f"{host}: last sign of life before it boots", "confidence": "then or later"}
    exits = _findings_process.recent_exits(info)
    if cause in ("broker_restarted", *_ENDS) and exits:
        source = f"{host}: end of the process in the journal"
        return {"start": exits[-1]["at"], "source": source, "confidence": "exact"}
    died = _findings_process.died_at(info)
    if cause in _ENDS and died:
        return {"start": died, "source": f"{host}: last sign of life", "confidence": "then or later"}
    return None


def _told_by_proof(cause: str, proofs: Sequence[Proof]) -> dict[str, Any]:
    times = [one for one in proofs if one.get("at")]
    if cause == "unknown" or not times:
        return NOT_KNOWN
    first = min(times, key=lambda one: str(one["at"]))
    return {"start": first["at"], "source": f"{first['host']}: {first['source']}", "confidence": "then or earlier"}
