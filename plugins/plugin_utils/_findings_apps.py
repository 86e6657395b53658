# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings about the application's containers: what each sees of the broker, from inside."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.module_utils._firewall import concerns

from ._findings import (
    NO,
    UNKNOWN,
    Evidence,
    Finding,
    Proof,
    Question,
    Truth,
    anywhere,
    both,
    goes_on,
    infos,
    proof,
    seconds_between,
    talks,
)

Container = Mapping[str, Any]

NO_WAY = ("timed_out", "unreachable")
CLOSED = ("refused", "reset")
IN_ORDER = (0, 143)
"""Exit codes of a container that was asked to end, and did: by itself, or of the signal."""
OF_LIMIT = re.compile(r"limit \(\d+\) is reached")
"""What the broker says to a login that it refuses only because there are too many."""


def running(evidence: Evidence) -> Iterator[tuple[str, Container | None]]:
    """Yield each running container with its host; None once for a host that told nothing.

    A host on which no container could be asked speaks for itself: an application need not be in a container.
    """
    for host, info in infos(evidence, "apps"):
        if info is None:
            yield host, None
            continue
        alive = [one for one in info.get("containers") or [] if one["state"] == "running"]
        yield from ((host, one) for one in alive)
        if info.get("probe") and not any(one.get("probe") for one in alive):
            yield host, {"name": "", "state": "running", "probe": info["probe"]}


def tell_probe(host: str, container: Container) -> Proof:
    """Say what the container's own probe says."""
    source = f"amqp_probe in {container['name']}" if container["name"] else "amqp_probe"
    return proof(host, source, container["probe"]["message"], (container.get("errors") or {}).get("first_at"))


def probes(holds: Callable[[Mapping[str, Any], Container], Truth]) -> Question:
    """Return a question to the probe from inside each running container."""

    def ask(evidence: Evidence) -> Finding:
        answers: list[tuple[str, Truth, list[Proof]]] = []
        for host, container in running(evidence):
            probe = (container or {}).get("probe")
            truth = None if not probe or container is None else holds(probe, container)
            answers.append((host, truth, [tell_probe(host, container)] if truth and container is not None else []))
        return anywhere(answers)

    return ask


def ended(probe: Mapping[str, Any], *outcomes: str, stage: str = "") -> bool:
    """Whether a probe ended in one of these, at this stage if one is named."""
    last = probe["stages"][-1]["name"] if probe.get("stages") else ""
    return probe["outcome"] in outcomes and stage in ("", last)


def one_does_not_resolve(probe: Mapping[str, Any], _container: Container) -> Truth:
    """Whether the broker's name is unknown there."""
    return ended(probe, "name_not_resolved")


def password_differs(evidence: Evidence) -> Finding:
    """Whether a container's login is refused, or is not the inventory's, which the broker takes."""
    refused = probes(lambda probe, _container: ended(probe, "login_refused"))(evidence)
    if not refused.holds:
        return refused
    told = list(refused.proof)
    for host, container in running(evidence):
        amqp = (container or {}).get("amqp") or {}
        if amqp.get("matches") is False and container is not None:
            text = f"the password of {container['name']} ({amqp['variable']}) is not the inventory's"
            told.append(proof(host, "fingerprint", text))
    return Finding(True, told, refused.targets)


def containers(
    holds: Callable[[Container], Truth],
    tell: Callable[[Container], str],
    workers: bool = False,
    began: Callable[[Container], str | None] | None = None,
) -> Question:
    """Return a question to each container, running or not, or to those of workers only.

    It holds since the container is as it is, unless ``began`` tells otherwise.
    """
    began = began or since

    def ask(evidence: Evidence) -> Finding:
        answers: list[tuple[str, Truth, list[Proof]]] = []
        found = []
        named = {one["worker"] for one in evidence.get("queues") or [] if one.get("worker")}
        seen = ((evidence.get("health") or {}).get("traffic") or {}).get("queues") or []
        acked = {queue["name"] for queue in seen if queue.get("acked")}
        at_work = {one.get("worker") for one in evidence.get("queues") or [] if one["name"] in acked}
        alive = {str(one.get("service")) for _host, one in running(evidence) if one and one.get("service")}
        for host, info in infos(evidence, "apps"):
            if info is None:
                answers.append((host, None, []))
                continue
            now = (info.get("clock") or {}).get("now")
            unread = [text for text in info.get("unknown") or [] if text.startswith("The log of ")]
            for container in info.get("containers") or []:
                service = str(container.get("service") or "")
                container = {**container, "now": now, "worker": service in named, "works": service in at_work}
                container["spared"], container["site_vhost"] = service in alive, evidence.get("vhost")
                container["log_read"] = not any(f" {container['name']}" in text for text in unread)
                if workers and (not of_worker(container) or container["state"] == "missing"):
                    continue
                truth = holds(container)
                if truth:
                    found.append(service)
                answers.append(
                    (host, truth, [proof(host, "docker", tell(container), began(container))] if truth else [])
                )
        return anywhere(answers, [one["name"] for one in evidence.get("queues") or [] if one.get("worker") in found])

    return ask


def since(container: Container) -> str | None:
    """Return since when it is as it is, as far as the engine tells: of a paused one it does not."""
    times = {"running": container.get("started_at"), "paused": None}
    return times.get(container["state"], container.get("finished_at"))


def down(container: Container) -> Truth:
    """Whether it does not run, for whatever reason; one that is being restarted does not, either."""
    return container["state"] not in ("running", "paused")


def in_order(container: Container) -> bool:
    """Whether somebody stopped it: it was asked to end, and did."""
    return container["state"] == "exited" and container.get("exit_code") in IN_ORDER


def stopped(container: Container) -> Truth:
    """Whether somebody stopped a service: one of several containers of it is how it is made smaller."""
    return in_order(container) and not container.get("spared")


def crashed(container: Container) -> Truth:
    """Whether it does not run, and nobody stopped it."""
    return both(down(container), container["state"] != "restarting", not in_order(container))


def frozen(container: Container) -> Truth:
    """Whether it is paused, or a signal has suspended it."""
    return container["state"] == "paused" or bool(container.get("suspended"))


def tell_frozen(container: Container) -> str:
    """Say how it is frozen."""
    if container["state"] == "paused":
        return f"{container['name']} is paused: docker has frozen its processes"
    return f"{container['name']} is running for docker, but its process is suspended by a signal"


def of_worker(container: Container) -> bool:
    """Whether it is a worker's: veza_queues names it, or its service's name says so."""
    return bool(container.get("worker")) or str(container.get("service") or "").startswith("worker")


def other_vhost(container: Container) -> Truth:
    """Whether it uses another virtual host than the site: every light is green there, and nobody meets it."""
    if container["state"] in ("missing", "exited", "dead"):
        return False
    own, wanted = (container.get("amqp") or {}).get("vhost"), container.get("site_vhost")
    return None if own is None or wanted is None else own != wanted


def tell_vhost(container: Container) -> str:
    """Say which it uses."""
    amqp, site = container["amqp"], container["site_vhost"]
    return f"{container['name']} uses the vhost '{amqp['vhost']}' ({amqp['variable']}), the site '{site}'"


def tell_state(container: Container) -> str:
    """Say how it is."""
    code = f", exit code {container['exit_code']}" if container.get("exit_code") is not None else ""
    killed = ", killed for want of memory" if container.get("oom_killed") else ""
    restarts = f", restarted {container['restarts']} times" if container.get("restarts") else ""
    return f"{container['name']} is {container['state']}{code}{killed}{restarts}"


OUTLIVED, AT_WORK = 600.0, 60.0
"""Seconds for which a container must have run to be no longer one that ends again and again: docker never forgets. The
less where its queue's messages are being worked off: it ended while there was no broker."""


def crash_loops(container: Container) -> Truth:
    """Whether docker has restarted it again and again, and it has not outlived that."""
    lapse = seconds_between(container.get("started_at"), container.get("now"))
    enough = AT_WORK if container.get("works") else OUTLIVED
    if container["state"] == "running" and lapse is not None and lapse > enough:
        return False
    return container["state"] == "restarting" or (container.get("restarts") or 0) >= 2


def blocked_rules(evidence: Evidence) -> Finding:
    """Whether a firewall's rule on an application's host drops or rejects what goes to the broker."""
    answers: list[tuple[str, Truth, list[Proof]]] = []
    for host, info in infos(evidence, "apps"):
        rules = None if info is None else info.get("firewall")
        told = [proof(host, f"firewall {rule['table']} {rule['chain']}", rule["rule"]) for rule in rules or []]
        answers.append((host, None if rules is None else bool(rules), told))
    return anywhere(answers)


def dropped_by_broker(evidence: Evidence) -> Finding:
    """Whether the broker's own host drops or rejects what comes from a host that waits in vain, by its rules.

    A rule that names addresses counts where a connection of that host came from one of them.
    """
    waiting = {host for host, one in running(evidence) if one and one.get("probe") and ended(one["probe"], *NO_WAY)}
    own: set[str] = set()
    for host, info in infos(evidence, "apps"):
        if host in waiting and info:
            seen = [info.get("probe"), *(one.get("probe") for one in info.get("containers") or [])]
            own |= {entry["local"] for one in seen if one for entry in one.get("addresses") or [] if entry.get("local")}
    answers: list[tuple[str, Truth, list[Proof]]] = []
    for host, info in infos(evidence, "brokers"):
        rules, first = (info or {}).get("firewall"), next(iter((info or {}).get("listeners") or []), None)
        if rules is None or first is None:
            answers.append((host, None, []))
            continue
        told = [
            proof(host, f"firewall {rule['table']} {rule['chain']}", rule["rule"])
            for rule in rules
            if waiting and concerns(rule["rule"], first["port"], own)
        ]
        answers.append((host, bool(told), told))
    return anywhere(answers)


def all_get_through(evidence: Evidence) -> Finding:
    """Whether every running container that could be asked gets through, and to the site's virtual host."""
    site = evidence.get("vhost")
    outcomes = [
        None
        if one is None or not one.get("probe")
        else bool(one["probe"]["ok"]) and not other_vhost({**one, "site_vhost": site})
        for _host, one in running(evidence)
    ]
    holds = False if False in outcomes else True if True in outcomes else None
    return UNKNOWN if holds is None else Finding(holds)


def some_get_through(evidence: Evidence) -> Finding:
    """Whether the broker takes the login of a container that could be asked, whatever keeps others from it."""
    seen = probes(lambda probe, _container: bool(probe["ok"]))(evidence)
    return Finding(seen.holds, seen.proof)


def host_gets_through(evidence: Evidence) -> Finding:
    """Whether a host gets through whose containers do not: then it is their own network or names."""
    answers: list[tuple[str, Truth, list[Proof]]] = []
    for host, info in infos(evidence, "apps"):
        own = (info or {}).get("probe")
        inside = [talks(one["probe"]) for one in (info or {}).get("containers") or [] if one.get("probe")]
        holds = None if not own or not inside else talks(own) and not all(inside)
        told = [
            proof(host, "amqp_probe", "the host itself gets through, so it is the container's own network or names")
        ]
        answers.append((host, holds, told if holds else []))
    return anywhere(answers)


def addresses(probe: Mapping[str, Any]) -> list[str]:
    """Return the addresses that a probe was given for the broker's name."""
    return [entry["address"] for entry in probe.get("addresses") or []]


def goes_elsewhere(evidence: Evidence) -> Finding:
    """Whether a container that gets no answer goes to none of the addresses at which its host does.

    A broker that refuses a login is one, at whatever address: that of a load balancer, say.
    """
    answers: list[tuple[str, Truth, list[Proof]]] = []
    for host, info in infos(evidence, "apps"):
        own = (info or {}).get("probe")
        if not own or not talks(own):
            answers.append((host, None, []))
            continue
        for container in (info or {}).get("containers") or []:
            probe, amqp = container.get("probe"), container.get("amqp") or {}
            inside, outside = addresses(probe or {}), addresses(own)
            holds = None if not probe else bool(not talks(probe) and inside and not {*inside} & {*outside})
            where = (
                f"{container['name']} goes to {', '.join(inside)}, and its host gets through at {', '.join(outside)}"
            )
            port = amqp.get("port")
            if probe and not talks(probe) and port and evidence.get("port") not in (None, port):
                holds = True
                where = (
                    f"{container['name']} goes to port {port} ({amqp['variable']}), the site's is {evidence['port']}"
                )
            answers.append((host, holds, [proof(host, "name resolution", where)] if holds else []))
    return anywhere(answers)


LATELY, AT_ONCE = 30.0, 5.0
"""Seconds without a refusal after which there are no more: a bus tries again within 30 s. The less after a connection:
the broker may close one at each refusal."""


def refused(container: Container) -> Truth:
    """Whether the broker refuses, again and again and to this moment, what a backend publishes, as its log tells."""
    errors = container.get("errors")
    if of_worker(container) or container["state"] != "running" or errors is None:
        return None if not container["log_read"] and not of_worker(container) else False
    lines = errors.get("refused")
    if not lines or lines["count"] < 2:
        return False if "refused" in errors else None
    within = AT_ONCE if errors.get("connected_at") else LATELY
    return None if not container["now"] else goes_on(lines, container["now"], within, AT_ONCE)


def tell_refused(container: Container) -> str:
    """Quote the last refusal."""
    lines = container["errors"]["refused"]
    return (
        f"{container['name']} logs {lines['count']} refusals since {lines['first_at']}, the last: {lines['last_line']}"
    )


def docker_down(evidence: Evidence) -> Finding:
    """Whether a host's container engine does not answer."""
    answers: list[tuple[str, Truth, list[Proof]]] = []
    for host, info in infos(evidence, "apps"):
        engine = None if info is None else info.get("docker")
        told = [proof(host, "docker", engine["detail"])] if engine and engine["ok"] is False else []
        # None: there is no engine on that host, so none that is down.
        answers.append((host, None if engine is None else engine["ok"] is False, told))
    return anywhere(answers) if answers else NO


WARNINGS = frozenset({"quorum_critical"})
"""Checks of rabbitmq_health that fail while nothing is wrong yet."""


def healthy(evidence: Evidence) -> Finding:
    """Whether the broker is fit to serve, and everybody who could be asked gets through.

    A backend that could not be asked doesn't make the broker ill; it is listed among the unknowns.
    """
    if FINDINGS["publishes_refused"](evidence).holds:
        return NO
    health = evidence.get("health") or {}
    failed = {one["name"] for one in health.get("checks") or [] if one["result"] == "fail"}
    warned = bool(failed) and failed <= WARNINGS and not health.get("unknown")
    if (health.get("verdict") == "unhealthy" and not warned) or all_get_through(evidence).holds is False:
        return NO
    if health.get("verdict") != "healthy" and not warned:
        return UNKNOWN
    return Finding(True, [proof("controller", f"rabbitmq_health ({health['rung']})", health["reason"])])


WAKES = {"Frozen": "resume", "Freezing": "resume", "Stopped": "start"}
"""Incus's command for an instance of this status."""


def tell_instance(told: Mapping[str, Any]) -> list[Proof]:
    """Quote the hypervisor, with the command that ends it."""
    command = f"incus --project {told.get('project')} {WAKES[told['status']]} {told.get('instance')}"
    text = f"the instance {told.get('instance')} is {told['status']}; on this hypervisor: {command}"
    return [proof(str(told["hypervisor"]), "incus", text)]


def idle_instances(evidence: Evidence) -> dict[str, Mapping[str, Any]]:
    """Return what the hypervisor says of hosts that nobody could look at, and whose instance does not run."""
    unreachable, idle = evidence.get("unreachable") or {}, evidence.get("idle") or {}
    return {
        host: idle[host]
        for host, info in infos(evidence, "apps")
        if info is None and host in unreachable and (idle.get(host) or {}).get("status") in WAKES
    }


def instance_idle(evidence: Evidence) -> Finding:
    """Whether an instance of the application's hosts is stopped or frozen; whoever could be looked at is not."""
    idle = idle_instances(evidence)
    return Finding(True, [one for told in idle.values() for one in tell_instance(told)], sorted(idle)) if idle else NO


workers_crash_loop = containers(crash_loops, tell_state, workers=True)

FINDINGS: dict[str, Question] = {
    "healthy": healthy,
    "app_gets_through": some_get_through,
    "app_refused": probes(lambda probe, _container: not probe["ok"]),
    "app_name_unresolved": probes(one_does_not_resolve),
    "app_no_way": probes(lambda probe, _one: ended(probe, *NO_WAY, stage="connect")),
    "app_connection_refused": probes(lambda probe, _one: ended(probe, *CLOSED, stage="connect")),
    "app_login_refused": password_differs,
    "app_vhost_refused": probes(
        lambda probe, _one: ended(probe, "vhost_missing", "vhost_refused") and not OF_LIMIT.search(probe["message"])
    ),
    "app_blocked": probes(lambda probe, _one: ended(probe, "blocked")),
    "app_filtered": blocked_rules,
    "app_dropped_by_broker": dropped_by_broker,
    "app_host_gets_through": host_gets_through,
    "app_goes_elsewhere": goes_elsewhere,
    "app_without_network": containers(
        lambda one: both(one["state"] == "running", None if one.get("networks") is None else not one["networks"]),
        lambda one: f"{one['name']} runs, and is in no network",
    ),
    "engine_down": docker_down,
    "backend_down": containers(lambda one: both(down(one), not of_worker(one)), tell_state),
    "worker_down": containers(crashed, tell_state, workers=True),
    "worker_stopped": containers(stopped, tell_state, workers=True),
    "backend_frozen": containers(lambda one: both(frozen(one), not of_worker(one)), tell_frozen),
    "worker_frozen": containers(frozen, tell_frozen, workers=True),
    "worker_crash_loops": workers_crash_loop,
    "app_instance_idle": instance_idle,
    "publishes_refused": containers(
        refused, tell_refused, began=lambda one: str(one["errors"]["refused"]["first_at"])
    ),
    "backend_other_vhost": containers(lambda one: both(other_vhost(one), not of_worker(one)), tell_vhost),
    "worker_other_vhost": containers(other_vhost, tell_vhost, workers=True),
}  # fmt: skip
