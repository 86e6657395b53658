# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence and causes in, verdict out. Pure: no clock, no network, no files."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.module_utils._findings import (
    FINDINGS,
    Evidence,
    Finding,
    died_at,
    down_since,
)
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import untrusted

UNKNOWN = {
    "cause": "unknown",
    "title": "The cause could not be named",
    "remedy": "ask",
    "advice": "Read what was ruled out and what could not be seen, below, and look there by hand.",
    "runbook": "first-moves",
}


def outage_verdict(evidence: Evidence, causes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Judge ``evidence`` (see module_utils/_findings.py) by ``causes`` (see roles/outage_diagnose/causes)."""
    findings = _ask(evidence, causes)
    judged = {name: _judge(cause, findings) for name, cause in causes.items()}
    named = _ranked([name for name, truth in judged.items() if truth], causes)
    cause = {**UNKNOWN} if not named else {**causes[named[0]], "cause": named[0]}
    proof = _proof(causes[named[0]], findings) if named else _everything(findings)
    targets = sorted({host for name in cause.get("all_of", []) for host in findings[name].targets})
    return {
        "cause": cause["cause"],
        "title": cause["title"],
        "headline": cause["title"] + (f" ({', '.join(targets)})" if targets else ""),
        "proof": proof,
        "targets": targets,
        "remedy": cause["remedy"],
        "advice": cause["advice"],
        "runbook": cause["runbook"],
        "also": [
            {"cause": name, "title": causes[name]["title"], "proof": _proof(causes[name], findings)}
            for name in named[1:]
        ],
        "not_ruled_out": sorted(name for name, truth in judged.items() if truth is None),
        "ruled_out": sorted(name for name, truth in judged.items() if truth is False),
        "unknown": _unseen(evidence),
        "outage": _began(evidence, cause["cause"]),
    }


def _ask(evidence: Evidence, causes: dict[str, dict[str, Any]]) -> dict[str, Finding]:
    wanted = {name for cause in causes.values() for key in ("all_of", "none_of") for name in cause.get(key, [])}
    strangers = sorted(wanted - set(FINDINGS))
    if strangers:
        raise AnsibleFilterError(
            f"outage_verdict: no such finding: {', '.join(strangers)}. Known: {', '.join(FINDINGS)}."
        )
    return {name: FINDINGS[name](evidence) for name in sorted(wanted)}


def _judge(cause: dict[str, Any], findings: dict[str, Finding]) -> bool | None:
    """All of all_of and none of none_of; one certain contradiction outweighs any number of unknowns."""
    answers = [findings[name].holds for name in cause.get("all_of", [])]
    for name in cause.get("none_of", []):
        holds = findings[name].holds
        answers.append(None if holds is None else not holds)
    if False in answers:
        return False
    return None if None in answers else True


def _ranked(named: list[str], causes: dict[str, dict[str, Any]]) -> list[str]:
    """Drop what another named cause explains: it is a consequence. The widest explanation comes first."""
    explained = {name for cause in named for name in causes[cause].get("explains", [])}
    return sorted(set(named) - explained, key=lambda name: (-len(causes[name].get("explains", [])), name))


def _proof(cause: dict[str, Any], findings: dict[str, Finding]) -> list[dict[str, Any]]:
    return [proof for name in cause.get("all_of", []) for proof in findings[name].proof]


def _everything(findings: dict[str, Finding]) -> list[dict[str, Any]]:
    """Return what was found at all, once each, for a verdict that names nothing."""
    seen: list[dict[str, Any]] = []
    for finding in findings.values():
        seen.extend(proof for proof in finding.proof if proof not in seen)
    return seen


def _unseen(evidence: Evidence) -> list[str]:
    """Say in sentences what could not be seen."""
    unseen = []
    for group, views in (("brokers", ("info", "probe")), ("backends", ("probe",))):
        for host, seen in sorted((evidence.get(group) or {}).items()):
            missing = [view for view in views if not (seen or {}).get(view)]
            if missing:
                why = (seen or {}).get("why") or "it gave no answer"
                unseen.append(f"{host}: {' and '.join(missing)} not seen: {why}")
            unseen.extend(f"{host}: {text}" for text in ((seen or {}).get("info") or {}).get("unknown", []))
    health = evidence.get("health") or {}
    if not health:
        unseen.append("controller: rabbitmq_health gave no answer")
    elif health.get("unknown"):
        unseen.append(f"controller: checks without an answer: {', '.join(health['unknown'])}")
    return unseen


def _began(evidence: Evidence, cause: str) -> dict[str, Any]:
    """Infer when the outage began, with the source and how sure that is; all None when nothing tells."""
    for host, seen in sorted((evidence.get("brokers") or {}).items()):
        info = (seen or {}).get("info")
        if not info:
            continue
        lifecycle = info["lifecycle"]
        # Whatever was still written after that: from its stop on, completed or not, it served nobody.
        stop = lifecycle.get("stopped_at") or (lifecycle["at"] if lifecycle["last"] == "stopping" else None)
        if cause in ("broker_stopped_on_purpose", "broker_down") and stop:
            return {
                "start": stop,
                "source": f"{host}: stop in the broker's log",
                "confidence": "exact",
            }
        if cause == "broker_booting" and down_since(info):
            return {
                "start": down_since(info),
                "source": f"{host}: last sign of life before it boots",
                "confidence": "then or later",
            }
        if cause in ("broker_crashed", "broker_down") and died_at(info):
            return {"start": died_at(info), "source": f"{host}: last sign of life", "confidence": "then or later"}
    return {"start": None, "source": None, "confidence": None}


class FilterModule:
    """The verdict."""

    def filters(self) -> dict[str, Any]:
        """Return it by name."""
        return {"outage_verdict": untrusted(outage_verdict)}
