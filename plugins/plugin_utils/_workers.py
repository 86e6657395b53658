# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which worker is guilty, what it needs, and what the plan does about it. Pure.

A worker is ``{service, host, target, state, queues}``: its compose service, its host, both in one word, and the state
that module compose_service is to bring it into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._choice import Choice, Step
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._findings_apps import (
    crash_loops,
    crashed,
    frozen,
    in_order,
)

Container = Mapping[str, Any]
Infos = Mapping[str, Mapping[str, Any]]
"""What app_host_info returned, by host."""

RESTART, START, STOP = "restart_worker", "start_worker", "stop_worker"

NEEDS = {"running": "restarted", **dict.fromkeys(("created", "exited", "dead", "paused"), "started")}
"""What a guilty worker's container needs, by its state; in a state that is not here nothing helps."""

NAMES = {"restarted": RESTART, "started": START, "stopped": STOP}
"""What bringing a worker into a state is called in the plan and in the record."""


ABOUT: dict[str, Callable[[Container], bool | None]] = {
    "worker_crashed": crashed,
    "worker_stopped": in_order,
    "worker_wedged": frozen,
}
"""Which containers each of these causes is about: what one was stopped for is no reason to leave another one down."""


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
    found, unseen = list(containers(infos, service)), ", ".join(_unseen(infos))
    if not found and not unseen:
        return [], f"no host of veza_workers has a container of {service}"
    # Of several, those that plainly do nothing are guilty, and not the others.
    plain = [(host, one) for host, one in found if hangs(one)]
    if unseen and not plain:
        return (
            [],
            f"no container of {service} was seen to hang, and {unseen}, which may have one, could not be looked at",
        )
    plain = plain or found
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
    return _each_once(workers), "; ".join(dict.fromkeys(why))


def _unseen(infos: Infos) -> list[str]:
    """Return the hosts that told nothing of their containers, or whose engine did not."""
    return [
        host
        for host, info in sorted(infos.items())
        if (info or {}).get("containers") is None or (info.get("docker") or {}).get("ok") is False
    ]


def _each_once(workers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each worker once: one call sees to all containers of a service on a host, and a restart starts too."""
    once: dict[str, dict[str, Any]] = {}
    for one in workers:
        if one["target"] not in once or one["state"] == "restarted":
            once[one["target"]] = one
    return list(once.values())


def restarts(recent: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return when workers were started or restarted last, by their targets."""
    return {one["target"]: one["at"] for one in recent if one["name"] in (RESTART, START)}


def bring_back(
    step: Step, remedy: Mapping[str, Any], evidence: Mapping[str, Any], settings: Mapping[str, Any]
) -> Choice:
    """Start or restart the workers that plainly do nothing, each once in an incident.

    One that somebody has stopped is asked about, unless it was this command, interrupted while it set messages aside:
    then that is finished first, if it is still asked for. What is asked about one worker keeps no other one down.
    """
    aside, incident = settings["set_aside"], settings["incident"]
    ours = [one for one in settings["recent_actions"] if one["incident"] == incident]
    done = restarts(ours)
    choice, asks = Choice(arguments={"workers": []}), []
    for service, host, found in _guilty(step, evidence, settings):
        name = target(service, host)
        by_us = [one["name"] for one in ours if one["target"] == name][-1:] == [STOP]
        stopped = next((one for one in found if in_order(one)), None)
        queues = [queue for queue, worked_by in settings["workers"].items() if worked_by == service]
        if aside.get("queue") in queues:
            wrong = _wrong(aside)
            every = len(list(containers(_infos(evidence), service)))
            if wrong or every != len(found):
                return Choice(ask=wrong or _several(aside, every, service))
            _set_aside(choice, found, service, host, queues, aside)
        elif stopped and not by_us and not settings["flags"]["outage_recover_start_stopped"]:
            asks.append(
                f"{name} was stopped in order at {stopped.get('finished_at')}: ask who did it, and why. If it "
                "may run again, the same command with -e outage_recover_start_stopped=true starts it."
            )
        elif name in done and not by_us:
            asks.append(
                f"{name} was started by this command at {done[name]} already, and it does nothing again. Look into "
                f"its log on {host}: docker logs --tail 50 {next(filter(hangs, found))['name']}"
            )
        else:
            needs = {NEEDS[one["state"]] for one in found if hangs(one)}
            state = "restarted" if "restarted" in needs else "started"
            choice.arguments["workers"].append(worker(service, host, state, queues))
            choice.actions.append({"name": NAMES[state], "target": name, "may_lose": remedy["may_lose"]})
    if choice.actions or not asks:
        choice.not_simulated += asks
        return choice
    return Choice(ask=" ".join(asks))


def _guilty(
    step: Step, evidence: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[tuple[str, str, list[Container]]]:
    """Yield service, host and all containers of each worker of which one does nothing, as the step's cause has it."""
    infos, about = _infos(evidence), ABOUT[step["cause"]]
    for service in dict.fromkeys(settings["workers"].values()):
        for host in step["targets"]:
            found = [one for _host, one in containers({host: infos.get(host, {})}, service)]
            if any(hangs(one) and about(one) for one in found):
                yield service, host, found


def set_aside(
    step: Step, _remedy: Mapping[str, Any], evidence: Mapping[str, Any], settings: Mapping[str, Any]
) -> Choice:
    """Move the redelivered messages at a queue's head into a file, as many as a person typed, its worker stopped."""
    aside = settings["set_aside"]
    wrong = _wrong(aside)
    if wrong:
        return Choice(ask=wrong)
    service = settings["workers"].get(aside["queue"])
    found = list(containers(_infos(evidence), service)) if service else []
    if aside["queue"] not in step["queues"] and not any(crash_loops(container) for _host, container in found):
        return Choice(
            ask=f"outage_recover_set_aside names {aside['queue']}, of which it can't be seen that messages fail again "
            f"and again{', but of ' + ', '.join(step['queues']) if step['queues'] else ''}."
        )
    if len(found) != 1:
        return Choice(ask=_several(aside, len(found), service))
    choice = Choice(arguments={"workers": []})
    queues = [queue for queue, name in settings["workers"].items() if name == service]
    host, container = found[0]
    _set_aside(choice, [container], container["service"], host, queues, aside)
    return choice


def _several(aside: Mapping[str, Any], number: int, service: str | None) -> str:
    """Return what a person is asked where another consumer would take the messages meanwhile, or may hold them."""
    return (
        f"The worker of {aside['queue']} has to be stopped meanwhile, and {number} containers of "
        f"{service or 'no service'} are known. Stop them, then set the messages aside with module queue_give_up."
    )


def _wrong(aside: Mapping[str, Any]) -> str | None:
    """Return what a person is asked whose words can't be carried out; queue_give_up would refuse them too late."""
    count = str(aside.get("count", ""))
    if aside.get("queue") and count.isdecimal() and int(count) >= 1:
        return None
    return (
        "outage_recover_set_aside needs queue, and count, the number of messages at most, which is 1 or more: "
        f"it has queue {aside.get('queue') or 'none'} and count {count or 'none'}. Nothing was touched."
    )


def _set_aside(
    choice: Choice,
    found: Sequence[Container],
    service: str,
    host: str,
    queues: Sequence[str],
    aside: Mapping[str, Any],
) -> None:
    """Add what sets messages of a worker's queue aside."""
    brought = worker(service, host, "started", queues)
    asked = {"queue": str(aside["queue"]), "count": int(aside["count"])}
    choice.arguments["workers"].append({**brought, "set_aside": asked})
    if any(one["state"] != "exited" for one in found):
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


def _infos(evidence: Mapping[str, Any]) -> dict[str, Any]:
    return {host: (views or {}).get("info") or {} for host, views in (evidence.get("apps") or {}).items()}
