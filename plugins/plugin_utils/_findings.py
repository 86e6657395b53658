# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings: what the evidence says, one small question each, answered true, false or unknown.

The evidence is plain data, gathered by the role ``outage_diagnose``::

    health       result of rabbitmq_health from the controller, with ``traffic``
    database     result of database_info from the controller
    vhost, port  the virtual host that the site uses, and the port of its broker
    brokers      {host: {info: result of rabbitmq_host_info, with ``probe`` from the broker's own host}}
    apps         {host: {info: result of app_host_info, with the probes of its containers}}
    unreachable  {host: why Ansible did not get through to it}
    idle         {host of the application: {instance, project, status, hypervisor}} where its instance does not run
    failed       {host: why it gave no answer, though it was reached}
    unanswered   {health or database: why there is no result of it}
    hypervisors  {host of veza_incus: why it gave no answer}
    queues       veza_queues, which names each queue's worker (added by the filter)

A result that is missing is None, and what depends on it is unknown: missing evidence is never "no".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Evidence = Mapping[str, Any]
Info = Mapping[str, Any]
Truth = bool | None
Proof = dict[str, Any]

MIB = 1024 * 1024

RECENT = 3600.0
"""Seconds for which the end of a run that the service manager answered with a restart is still told."""


@dataclass(frozen=True)
class Finding:
    """The answer to one question."""

    holds: Truth
    proof: list[Proof] = field(default_factory=list)
    """``{host, source, at, text}`` each; at is an instant or None."""
    targets: list[str] = field(default_factory=list)
    """The inventory hosts on which it holds."""
    queues: list[str] = field(default_factory=list)
    """The queues that it is about, where it is about queues."""


NO = Finding(False)
UNKNOWN = Finding(None)

Question = Callable[[Evidence], Finding]


def proof(host: str, source: str, text: str, at: str | None = None) -> Proof:
    """Return one piece of proof."""
    return {"host": host, "source": source, "at": at, "text": text}


def either(*answers: Truth) -> Truth:
    """Return whether any holds; unknown if none does and one is unknown."""
    return True if True in answers else None if None in answers else False


def both(*answers: Truth) -> Truth:
    """Return whether all hold; one that does not outweighs any number of unknowns."""
    return False if False in answers else None if None in answers else True


def opposite(answer: Truth) -> Truth:
    """Return the opposite; that of unknown is unknown."""
    return None if answer is None else not answer


TURNED_AWAY = ("login_refused", "vhost_missing", "vhost_refused")
"""Outcomes of a probe whose login the broker refuses: it is at work, and may well take that of others."""


def talks(probe: Mapping[str, Any]) -> bool:
    """Whether the broker talks AMQP with a probe, if only to refuse its login."""
    return bool(probe["ok"]) or probe["outcome"] in TURNED_AWAY


def infos(evidence: Evidence, group: str) -> Iterator[tuple[str, Info | None]]:
    """Yield each host of ``brokers`` or ``apps`` with what it told, None if it told nothing."""
    for host, views in sorted((evidence.get(group) or {}).items()):
        yield host, (views or {}).get("info") or None


def anywhere(answers: Iterable[tuple[str, Truth, list[Proof]]], queues: Iterable[str] = ()) -> Finding:
    """Sum up ``(host, answer, proof)``: one yes is yes, all no is no, otherwise (and for nobody asked) unknown."""
    every = list(answers)
    yes = [(host, proofs) for host, holds, proofs in every if holds]
    if yes:
        targets = sorted({host for host, _proofs in yes})
        return Finding(True, [one for _host, proofs in yes for one in proofs], targets, sorted(set(queues)))
    return NO if every and all(holds is False for _host, holds, _proofs in every) else UNKNOWN


def on_brokers(holds: Callable[[Info], Truth], tell: Callable[[str, Info], list[Proof]]) -> Question:
    """Return a question to each broker's host."""

    def ask(evidence: Evidence) -> Finding:
        answers = []
        for host, info in infos(evidence, "brokers"):
            truth = None if info is None else holds(info)
            answers.append((host, truth, tell(host, info) if truth and info is not None else []))
        return anywhere(answers)

    return ask


def seconds_between(earlier: str | None, later: str | None) -> float | None:
    """Return the seconds from one instant to another; None while either is unknown."""
    if not earlier or not later:
        return None
    first, second = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (earlier, later))
    return (second - first).total_seconds()


PAUSES = 5.0
"""A multiple of the usual pause between two lines, after which a trouble is over."""


def goes_on(line: Mapping[str, Any], now: str | None, within: float, quiet: float) -> bool:
    """Whether a trouble that writes a line is not over: one that wrote it often would have written it again by now."""
    lapse, lasted = seconds_between(line["last_at"], now), seconds_between(line.get("first_at"), line["last_at"])
    if lapse is None:
        return True
    pause = lasted / (line["count"] - 1) if lasted and line["count"] > 1 else within
    return lapse < min(within, max(quiet, PAUSES * pause))
