# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Collect what the hosts have seen into one document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.module_utils._mask import masked
from ansible_collections.veza.rabbitmq.plugins.module_utils._record import instant

LOOKS = {
    "brokers": ("__outage_diagnose_broker_again", "__outage_diagnose_broker"),
    "apps": ("__outage_diagnose_app",),
}
"""The variables in which each host's looks are registered, the last one first; a small site's host may be both."""

SAME = 30.0
"""Seconds between the kernel's kill and the service manager's note of it, at most."""

TOLD = ("instance", "project", "status", "disk", "memory", "oom_kills")
"""What a hypervisor tells about a broker's instance."""

FINISHED = {"brokers": "service", "apps": "containers", "health": "verdict", "database": "outcome", "incus": "found"}
"""A key that only a finished look has."""


def outage_evidence(
    controller: Mapping[str, Any], hostvars: Mapping[str, Any], brokers: list[str], apps: list[str]
) -> dict[str, Any]:
    """Return the evidence that plugin_utils/_findings.py describes; what a host did not answer is None.

    ``controller`` has the results of rabbitmq_health and database_info, what each hypervisor was asked about each
    broker, when all looks were over by its own clock, the site's virtual host, and the project of instances of which
    the inventory names none: ``{health, database, incus, at, vhost, port, incus_project}``.
    """
    groups = {"brokers": brokers, "apps": apps}
    looks = {(group, host): _look(group, hostvars[host]) for group in groups for host in groups[group]}
    infos = {host: _finished("brokers", looks["brokers", host]) for host in brokers}
    views = {host: {"info": _with_proven_clock(info, controller.get("at"))} for host, info in infos.items()}
    asked: dict[str, list[Mapping[str, Any]]] = {}
    for answer in (controller.get("incus") or {}).get("results") or []:
        asked.setdefault(answer["__outage_diagnose_pair"][0], []).append(answer)
    asked_by_us = {name: controller.get(name) or {} for name in ("health", "database")}
    silent = {host: look for (group, host), look in looks.items() if look and not _finished(group, look)}
    return {
        **{name: _finished(name, look) for name, look in asked_by_us.items()},
        "vhost": controller.get("vhost"),
        "port": controller.get("port"),
        "brokers": {host: _with_hypervisor(view, asked.get(host, [])) for host, view in views.items()},
        "apps": {host: {"info": _finished("apps", looks["apps", host])} for host in apps},
        "unreachable": {host: _why(look) for host, look in silent.items() if look.get("unreachable")},
        "idle": _idle(asked.values(), {host: _instance(host, hostvars[host], controller) for host in apps}),
        "failed": {host: _why(look) for host, look in silent.items() if not look.get("unreachable")},
        "unanswered": {name: _why(look) for name, look in asked_by_us.items() if _gave_up(name, look)},
        "hypervisors": {
            answer["__outage_diagnose_pair"][1]: _why(answer)
            for answers in asked.values()
            for answer in answers
            if _gave_up("incus", answer)
        },
    }


def _with_proven_clock(info: Mapping[str, Any] | None, at: str | None) -> Mapping[str, Any] | None:
    """Return it with no more of a clock's lead than is proven: a look that began late is no clock that is ahead.

    A controller that has much to do sends a look long after it noted the time that the look compares with. What a host
    says is later than ``at``, when its answer had come, is ahead whatever the delay was.
    """
    clock = (info or {}).get("clock") or {}
    if info is None or at is None or (clock.get("offset") or 0.0) <= 0.0:
        return info
    proven = (instant(clock["now"], "clock.now") - instant(at, "at")).total_seconds()
    return {**info, "clock": {**clock, "offset": min(clock["offset"], max(0.0, proven))}}


def _with_hypervisor(view: dict[str, Any], asked: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Add what the hypervisor that has a broker's host says about it: its limits, and whom the kernel killed there."""
    here = next((answer for answer in asked if answer.get("found")), None)
    if here is None:
        return view
    hypervisor, info = here["__outage_diagnose_pair"][1], view["info"]
    view = {**view, "incus": {**{name: here.get(name) for name in TOLD}, "hypervisor": hypervisor}}
    memory = (info or {}).get("memory") or {}
    if info is not None and not memory.get("container_limit"):
        memory = {**memory, "container_limit": (here.get("memory") or {}).get("limit")}
        info = {**info, "memory": memory}
        view["info"] = info
    if info is None or here.get("oom_kills") is None or memory.get("oom_kills"):
        return view
    kills = [
        {"at": kill["at"], "line": kill["line"], "source": f"the kernel's log of {hypervisor}"}
        for kill in here["oom_kills"]
        if kill["task"].startswith("beam") and _of_an_end(kill["at"], info["service"].get("exits") or [])
    ]
    return {**view, "info": {**info, "memory": {**memory, "oom_kills": kills}}}


def _instance(host: str, variables: Mapping[str, Any], controller: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a hypervisor has a host."""
    project = variables.get("veza_incus_project") or controller.get("incus_project")
    return {"instance": variables.get("veza_incus_instance") or host.partition(".")[0], "project": project}


def _idle(
    asked: Iterable[list[Mapping[str, Any]]], instances: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the hosts of the application whose instance does not run, by the word of a broker's hypervisor."""
    found = {}
    for answer in (answer for answers in asked for answer in answers if answer.get("found")):
        for host, wanted in instances.items():
            status = (answer.get("idle") or {}).get(wanted["instance"])
            if status and answer.get("project") == wanted["project"]:
                found[host] = {**wanted, "status": status, "hypervisor": answer["__outage_diagnose_pair"][1]}
    return found


KILLED = ("9", "137")
"""How systemd, and a shell in between, write the end of a process that was killed."""


def _of_an_end(at: str, exits: list[Mapping[str, Any]]) -> bool:
    """Whether a kill is what ended one of the runs that the broker's own host tells of: both clocks are the same."""
    killed = [end for end in exits if end["status"].partition("/")[0] in KILLED]
    return any(abs((instant(end["at"]) - instant(at)).total_seconds()) < SAME for end in killed)


def _look(group: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the last look that was not left out."""
    made = (variables.get(name) or {} for name in LOOKS[group])
    return next((look for look in made if look and not look.get("skipped")), {})


def _finished(name: str, result: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return result if result and FINISHED[name] in result else None


def _gave_up(name: str, result: Mapping[str, Any]) -> bool:
    """Whether a look ended with a reason instead of an answer, for instance as its options make no sense."""
    return bool(result.get("msg")) and not result.get("skipped") and not _finished(name, result)


def _why(look: Mapping[str, Any]) -> str:
    """Return Ansible's reason, and what the interpreter said last when it got no further."""
    said = [line for line in str(look.get("module_stderr") or "").splitlines() if line.strip()]
    texts = [str(look.get("msg") or "no answer"), *(masked(line, 200) for line in said[-1:])]
    return ": ".join(" ".join(text.split()).rstrip(":.") for text in texts)
