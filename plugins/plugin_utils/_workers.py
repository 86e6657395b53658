# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which worker is guilty, what it needs, and what the plan does about it. Pure.

A worker is ``{service, host, target, state, queues}``: its compose service, its host, both in one word, and the state
that module compose_service is to bring it into.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._choice import Choice, Step
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._findings_apps import IN_ORDER, crash_loops

Container = Mapping[str, Any]
Infos = Mapping[str, Mapping[str, Any]]
"""What app_host_info returned, by host."""

RESTART, START, STOP = "restart_worker", "start_worker", "stop_worker"

NEEDS = {"running": "restarted", **dict.fromkeys(("created", "exited", "dead", "paused"), "started")}
"""What a guilty worker's container needs, by its state; in a state that is not here nothing helps."""

NAMES = {"restarted": RESTART, "started": START, "stopped": STOP}
"""What bringing a worker into a state is called in the plan and in the record."""


def target(service: str, host: str) -> str:
    """Return the name of a worker in the plan and in the record."""
    return f"{service}@{host}"


def containers(infos: Infos, service: str) -> Iterator[tuple[str, Container]]:
    """Yield each container of a compose service with its host."""
    for host, info in sorted(infos.items()):
        for container in (info or {}).get("containers") or []:
            if container.get("service") == service and container["state"] != "missing":
                yield host, container


def hangs(container: Container) -> bool:
    """Whether it is plain that a container does nothing: its process is suspended, or it does not run."""
    return bool(container.get("suspended")) or NEEDS.get(container["state"]) == "started"


def worker(service: str, host: str, state: str, queues: Sequence[str]) -> dict[str, Any]:
    """Return a worker that is to be brought into a state."""
    return {"service": service, "host": host, "target": target(service, host), "state": state, "queues": list(queues)}


def guilty_workers(
    stuck: Sequence[Mapping[str, Any]],
    table: Sequence[Mapping[str, Any]],
    infos: Infos,
    recent: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what guilty_workers.yml describes."""
    services = {queue["name"]: queue.get("worker") for queue in table}
    queues: dict[str, list[str]] = {}
    left = []
    for queue in stuck:
        service = services.get(queue["name"])
        why = _objection(queue, service)
        if why or service is None:
            left.append({"queue": queue["name"], "why": why})
        else:
            queues.setdefault(service, []).append(queue["name"])
    workers = []
    for service, names in queues.items():
        found, why = _of(service, names, infos, recent)
        workers += found
        left += [{"queue": name, "why": why} for name in names if not found]
    return {"workers": workers, "left": left}


def _objection(queue: Mapping[str, Any], service: str | None) -> str:
    """Return why no restart may help a queue."""
    if not queue["restart_may_help"]:
        return f"{queue['case']}: {queue['case_reason']}"
    return "" if service else f"{queue['case']}, and veza_queues names no worker of it"


def _of(
    service: str, queues: Sequence[str], infos: Infos, recent: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], str]:
    """Return the guilty ones of a service's containers, and why there is none."""
    found = list(containers(infos, service))
    if not found:
        return [], f"no host of veza_workers has a container of {service}"
    # Of several, those that plainly do nothing are guilty, and not the others.
    plain = [(host, one) for host, one in found if hangs(one)] or found
    done = restarts(recent)
    workers, why = [], []
    for host, one in plain:
        state = NEEDS.get(one["state"])
        if state is None:
            why.append(f"{one['name']} is {one['state']}: what ends it again and again stands in its log")
        elif target(service, host) in done:
            why.append(f"{target(service, host)} was restarted at {done[target(service, host)]} and that did not help")
        else:
            workers.append(worker(service, host, state, queues))
    return workers, "; ".join(why)


def restarts(recent: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return when workers were started or restarted last, by their targets."""
    return {one["target"]: one["at"] for one in recent if one["name"] in (RESTART, START)}


def bring_back(
    step: Step, remedy: Mapping[str, Any], evidence: Mapping[str, Any], settings: Mapping[str, Any]
) -> Choice:
    """Start or restart the workers that plainly do nothing, each once in an incident.

    One that somebody has stopped is asked about, unless it was this command, interrupted while it set messages aside:
    then that is finished first, if it is still asked for.
    """
    found = [
        (host, container)
        for service in dict.fromkeys(settings["workers"].values())
        for host, container in containers(_infos(evidence), service)
        if host in step["targets"] and hangs(container)
    ]
    aside, incident = settings["set_aside"], settings["incident"]
    ours = [one for one in settings["recent_actions"] if one["incident"] == incident]
    done = restarts(ours)
    choice = Choice(arguments={"workers": []})
    for host, container in found:
        name = target(container["service"], host)
        by_us = any(one["name"] == STOP and one["target"] == name for one in ours)
        queues = [queue for queue, service in settings["workers"].items() if service == container["service"]]
        if aside.get("queue") in queues and aside.get("count"):
            _set_aside(choice, container, host, queues, aside)
        elif _in_order(container) and not by_us and not settings["flags"]["outage_recover_start_stopped"]:
            return Choice(
                ask=f"{name} was stopped in order at {container.get('finished_at')}: ask who did it, and why. If it "
                "may run again, the same command with -e outage_recover_start_stopped=true starts it."
            )
        elif name in done and not by_us:
            return Choice(
                ask=f"{name} was started by this command at {done[name]} already, and it does nothing again. Look into "
                f"its log on {host}: docker logs --tail 50 {container['name']}"
            )
        else:
            state = NEEDS[container["state"]]
            choice.arguments["workers"].append(worker(container["service"], host, state, queues))
            choice.actions.append({"name": NAMES[state], "target": name, "may_lose": remedy["may_lose"]})
    return choice


def set_aside(
    step: Step, _remedy: Mapping[str, Any], evidence: Mapping[str, Any], settings: Mapping[str, Any]
) -> Choice:
    """Move the redelivered messages at a queue's head into a file, as many as a person typed, its worker stopped."""
    aside = settings["set_aside"]
    if not aside.get("queue") or not str(aside.get("count", "")).isdigit() or int(aside["count"]) < 1:
        return Choice(ask="outage_recover_set_aside needs queue, and count, the number of messages at most.")
    service = settings["workers"].get(aside["queue"])
    found = list(containers(_infos(evidence), service)) if service else []
    if aside["queue"] not in step["queues"] and not any(crash_loops(container) for _host, container in found):
        return Choice(
            ask=f"outage_recover_set_aside names {aside['queue']}, of which it can't be seen that messages fail again "
            f"and again{', but of ' + ', '.join(step['queues']) if step['queues'] else ''}."
        )
    if len(found) != 1:
        return Choice(
            ask=f"The worker of {aside['queue']} has to be stopped meanwhile, and {len(found)} containers of "
            f"{service or 'no service'} are known. Stop them, then set the messages aside with module queue_give_up."
        )
    choice = Choice(arguments={"workers": []})
    queues = [queue for queue, name in settings["workers"].items() if name == service]
    _set_aside(choice, found[0][1], found[0][0], queues, aside)
    return choice


def _set_aside(
    choice: Choice, container: Mapping[str, Any], host: str, queues: Sequence[str], aside: Mapping[str, Any]
) -> None:
    """Add what sets messages of a worker's queue aside."""
    brought = worker(container["service"], host, "started", queues)
    asked = {"queue": str(aside["queue"]), "count": int(aside["count"])}
    choice.arguments["workers"].append({**brought, "set_aside": asked})
    if container["state"] != "exited":
        choice.actions.append({"name": STOP, "target": brought["target"], "may_lose": "nothing"})
    lost = f"nothing; {asked['count']} messages at most wait in a file for a human"
    choice.actions.append({"name": "set_aside", "target": asked["queue"], "may_lose": lost, "arguments": asked})
    choice.actions.append({"name": START, "target": brought["target"], "may_lose": "nothing"})


def watch_backlog(
    step: Step, _remedy: Mapping[str, Any], _evidence: Mapping[str, Any], settings: Mapping[str, Any]
) -> Choice:
    """Do nothing before the wait for the backlog has told who is to blame."""
    named = [settings["workers"].get(queue) or f"the worker of {queue}" for queue in step["queues"]]
    return Choice(
        not_simulated=[
            f"restart_worker of {name}, once, if its queue turns out to be stuck for want of it" for name in named
        ]
    )


def _in_order(container: Mapping[str, Any]) -> bool:
    """Whether somebody stopped it."""
    return container["state"] == "exited" and container.get("exit_code") in IN_ORDER


def _infos(evidence: Mapping[str, Any]) -> dict[str, Any]:
    return {host: (views or {}).get("info") or {} for host, views in (evidence.get("apps") or {}).items()}
