# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings about the broker: what its health checks and its cluster say, and the table of all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.module_utils._management import MAY_NOT

from . import _findings_apps
from ._findings import (
    MIB,
    NO,
    RECENT,
    UNKNOWN,
    Evidence,
    Finding,
    Info,
    Proof,
    Question,
    Truth,
    anywhere,
    both,
    infos,
    on_brokers,
    opposite,
    proof,
    seconds_between,
    talks,
)
from ._findings_process import (
    BOOT_FAILURES,
    OWN_FAULT,
    booting,
    crash_loops,
    crashed_and_back,
    ended,
    ended_by,
    failing_boot,
    gone,
    logged,
    logs_reach_back,
    logs_read,
    may_be_oom,
    oom_killed,
    runs,
    serves_itself,
    signature,
    slept_through_boot,
    start_fails,
    started_just_now,
    tell_boot,
    tell_death,
    tell_exits,
    tell_loop,
    tell_memory,
    tell_oom,
    tell_service,
    tell_signature,
    tell_slept,
    tell_start,
    tell_start_failure,
    tell_stop,
)
from ._findings_resources import (
    CLOCK_OFFSET,
    DISK_LIMIT,
    clock_off,
    clock_stepped,
    cookie_unusable,
    disk_is_full,
    files_exhausted,
    not_writable,
    port_taken,
    quota_is_used_up,
    slow_disk,
    starves,
    tell_clock,
    tell_cookie,
    tell_disk,
    tell_files,
    tell_port,
    tell_quota,
    tell_slow_disk,
    tell_starved,
    tell_step,
    tell_unusable,
)
from ._findings_serving import (
    application_stopped,
    being_stopped,
    closed,
    filtered,
    hanging,
    listens_elsewhere,
    listens_unheard,
    probed,
    refused_elsewhere,
    renamed,
    restored,
    tell_application,
    tell_being_stopped,
    tell_elsewhere,
    tell_filter,
    tell_probe,
    tell_refused_elsewhere,
    tell_renamed,
)


def check(evidence: Evidence, *names: str, about: str = "") -> Finding:
    """Whether one of these checks of rabbitmq_health failed, and its detail speaks of ``about``."""
    checks = [one for one in (evidence.get("health") or {}).get("checks", []) if one["name"] in names]
    failed = [one for one in checks if one["result"] == "fail" and about in one["detail"]]
    if failed:
        return Finding(True, [proof("controller", one["source"], one["detail"]) for one in failed])
    if checks and all(one["result"] in ("pass", "unavailable", "fail") for one in checks):
        return NO
    return UNKNOWN


def lasts(info: Info, began: str, ended: str) -> Truth:
    """Whether the broker's log tells that something began, and not that it has ended since."""
    begun, over = ((signature(info, name) or [{}])[0].get("last_at") or "" for name in (began, ended))
    return begun > over if begun else False if logs_reach_back(info) else None


def alarm(resource: str, set_line: str, cleared: str, tell: Callable[[str, Info], list[Proof]]) -> Question:
    """Return the question whether an alarm is in effect: the health check, else the broker's log.

    ``tell`` says how much there is of the resource; after it come the queues that hold most, and who consumes them.
    """

    def by_log(info: Info) -> Truth:
        return lasts(info, set_line, cleared)

    def ask(evidence: Evidence) -> Finding:
        found = check(evidence, "alarms", "local_alarms", about=resource)
        if found.holds is False:
            return found
        by_logs = on_brokers(lambda info: both(opposite(gone(info)), by_log(info)), tell_signature(set_line))(evidence)
        if found.holds is None and by_logs.holds is None:
            return UNKNOWN
        if not (found.holds or by_logs.holds):
            return NO
        figures = [told for host, info in infos(evidence, "brokers") if info for told in tell(host, info)]
        told = [*found.proof, *by_logs.proof, *figures, *fullest_queues(evidence)]
        return Finding(True, told, by_logs.targets)

    return ask


def tell_room(host: str, info: Info) -> list[Proof]:
    """Say what is free, and what the broker wants."""
    disk = info.get("disk") or {}
    if disk.get("free") is None:
        return []
    limit = (disk.get("limit") or DISK_LIMIT) // MIB
    return [proof(host, "statvfs", f"{disk['path']}: {disk['free'] // MIB} MiB free, the alarm ends above {limit} MiB")]


def fullest_queues(evidence: Evidence) -> list[Proof]:
    """Name the queues that hold most, with their consumers: who acks, however slowly, is no culprit."""
    queues = ((evidence.get("health") or {}).get("traffic") or {}).get("queues") or []
    held = sorted((queue for queue in queues if queue.get("messages")), key=lambda queue: -queue["messages"])
    return [
        proof("controller", "management API", f"{queue['name']} holds {queue['messages']} messages: {consumed(queue)}")
        for queue in held[:2]
    ]


def consumed(queue: Info) -> str:
    """Say who consumes a queue, and whether it acks."""
    if not queue.get("consumers"):
        return "no consumer"
    hosts = ", ".join(queue.get("consumer_hosts") or [])
    acked = queue.get("acked")
    acks = (
        "whether it acks is not known" if acked is None else f"{acked} acked between two looks" if acked else "no acks"
    )
    return (
        f"{queue['consumers']} consumer{'s' if queue['consumers'] > 1 else ''}{' at ' + hosts if hosts else ''}, {acks}"
    )


def management(evidence: Evidence, *outcomes: str) -> Finding:
    """Whether the management API ended in one of these outcomes."""
    seen = (evidence.get("health") or {}).get("management")
    if not seen:
        return UNKNOWN
    holds = seen["outcome"] in outcomes
    told = "it answers" if seen["outcome"] == "ok" else seen["detail"]
    return Finding(holds, [proof("controller", "management API", told)] if holds else [])


def not_permitted(evidence: Evidence) -> Finding:
    """Whether the management API permits too little: at its door, or with some of what is asked of it.

    A user who sees the broker and not the vhost is told so by the check of its queues alone. What is not needed to call
    the broker healthy may be denied.
    """
    at_once, health = management(evidence, "not_permitted"), evidence.get("health") or {}
    checks = health.get("checks", []) if health.get("verdict") != "healthy" else []
    denied = [one for one in checks if one["result"] == "unknown" and MAY_NOT in one["detail"]]
    if at_once.holds or not denied:
        return at_once
    return Finding(True, [proof("controller", one["source"], one["detail"]) for one in denied])


def drained(evidence: Evidence) -> Finding:
    """Whether a node is in maintenance mode: its peers' word, or its log's and a closed port."""
    nodes = ((evidence.get("health") or {}).get("traffic") or {}).get("nodes") or []
    told = [
        proof("controller", "/api/nodes", f"{node['name']} is drained") for node in nodes if node.get("being_drained")
    ]
    by_logs = on_brokers(
        lambda info: both(opposite(gone(info)), closed(info), lasts(info, "maintenance", "revived")),
        tell_signature("maintenance"),
    )(evidence)
    return Finding(True, told + by_logs.proof, by_logs.targets) if told else by_logs


def cut_off(info: Info, peers: Iterable[Info | None]) -> Truth:
    """Whether a node has logged that it was cut off from another, and both live on as they were.

    That the network is whole again heals nothing: it takes a new start of one of them.
    """
    found = next(iter(signature(info, "partition")), None)
    if found is None or gone(info):
        return False if found or logs_read(info) else None
    for peer in filter(None, peers):
        name = str((peer.get("node") or {}).get("name"))
        if re.search(rf"{re.escape(name)}(?![\w.-])", found["line"]):
            anew = seconds_between(found.get("last_at"), peer["lifecycle"].get("started_at"))
            return both(opposite(gone(peer)), anew is None or anew <= 0.0)
    return None


def partitioned(evidence: Evidence) -> Finding:
    """Whether the cluster is partitioned: the management API's word, else its nodes' logs.

    They tell it when the nodes meet again, so that nothing in a log denies it.
    """
    checked = check(evidence, "partitions")
    if checked.holds is False:
        return checked
    views = list(infos(evidence, "brokers"))
    by_log = anywhere(
        (host, cut_off(info, [peer for other, peer in views if other != host]), tell_signature("partition")(host, info))
        for host, info in views
        if info is not None
    )
    if checked.holds:
        return Finding(True, [*checked.proof, *by_log.proof])
    return by_log if by_log.holds else UNKNOWN


def certificate_expired(evidence: Evidence) -> Finding:
    """Whether TLS fails for the age of a certificate."""
    by_check = check(evidence, "certificate", about="expire")
    if by_check.holds:
        return by_check
    by_probe = on_brokers(lambda info: None if not info.get("probe") else is_expired(info["probe"]), tell_probe)
    own, from_afar = by_probe(evidence), _findings_apps.probes(lambda seen, _one: is_expired(seen))(evidence)
    if own.holds or not from_afar.holds or _findings_apps.some_get_through(evidence).holds:
        return own if own.holds else by_check
    return from_afar


def is_expired(seen: Mapping[str, Any]) -> bool:
    """Whether a probe ended at a certificate that is too old."""
    return seen["outcome"] == "tls_failed" and "expired" in seen["message"]


LIVES = re.compile(
    r"refused|banner exchange|key_exchange|permission denied|host key|reset by peer|closed by|password|sudo"
    r"|received disconnect|too many authentication|privilege escalation(?! prompt)",
    re.IGNORECASE,
)
"""What a login says that fails, while something answers."""

HUSHED = re.compile(r"waiting for privilege escalation prompt|banner exchange", re.IGNORECASE)
"""What it says where a connection was there and nothing came: of a host that is frozen, and of one that is slow."""

UNNAMED = re.compile("could not resolve hostname", re.IGNORECASE)
"""What it says where nobody was asked: as long as something answers there, it tells nothing of the network."""


def asked_from_afar(evidence: Evidence) -> Iterator[Mapping[str, Any]]:
    """Yield what the application's hosts and containers got from the broker."""
    for _host, info in infos(evidence, "apps"):
        seen = [info.get("probe"), *(one.get("probe") for one in info.get("containers") or [])] if info else []
        yield from filter(None, seen)


def answers_somebody(evidence: Evidence) -> bool:
    """Whether somebody got any answer from the broker's host, if only a refusal."""
    outcomes = [((evidence.get("health") or {}).get("management") or {}).get("outcome")]
    outcomes += [probe["outcome"] for probe in asked_from_afar(evidence)]
    return any(outcome not in (None, "timed_out", "unreachable", "name_not_resolved") for outcome in outcomes)


def peers_see_them(evidence: Evidence) -> bool:
    """Whether the nodes of the broker's hosts that were not seen run for their peers.

    No host's name tells its node's, so it is said of all of these hosts, or of none. While the peers of a node that is
    cut off have not noticed it yet, they list no nodes at all.
    """
    views = [info for _host, info in infos(evidence, "brokers")]
    seen = [(info.get("node") or {}).get("name") for info in views if info is not None]
    nodes = ((evidence.get("health") or {}).get("traffic") or {}).get("nodes") or []
    others = [bool(node.get("running")) for node in nodes if node["name"] not in seen]
    return None not in seen and all(others) and len(others) >= views.count(None)


def talks_to_somebody(evidence: Evidence) -> bool:
    """Whether a process of the broker lives, as what somebody got from it proves."""
    if management(evidence, "ok").holds:
        return True
    return any(talks(seen) or seen["outcome"] == "blocked" for seen in asked_from_afar(evidence))


def nodes_gone(evidence: Evidence) -> list[tuple[str, Truth, list[Proof]]]:
    """Return whether each host's process is gone; what others see tells it of a host that nobody could look at."""
    views = list(infos(evidence, "brokers"))
    lives = peers_see_them(evidence) or (len(views) == 1 and talks_to_somebody(evidence))
    unseen = False if lives else None
    return [
        (host, unseen, []) if info is None else (host, gone(info), tell_service(host, info)) for host, info in views
    ]


def talks_to_others(evidence: Evidence) -> Finding:
    """Whether a site's only broker talks AMQP with somebody: whoever gets no answer from it, the way is at fault."""
    talked = any(talks(seen) or seen["outcome"] == "blocked" for seen in asked_from_afar(evidence))
    return Finding(len(evidence.get("brokers") or {}) == 1 and talked)


def silent(evidence: Evidence) -> Finding:
    """Whether the broker does not talk on its own host either; one that talks to others is not silent.

    Where its own host does not know its name, the others tell it.
    """
    by_host = on_brokers(lambda info: opposite(serves_itself(info)), tell_probe)(evidence)
    if talks_to_others(evidence).holds:
        return NO
    seen = [info for _host, info in infos(evidence, "brokers") if info is not None]
    unnamed = len(seen) == len(evidence.get("brokers") or {}) == 1 and probed("name_not_resolved")(seen[0])
    asked = [probe for probe in asked_from_afar(evidence) if probe["outcome"] != "name_not_resolved"]
    if by_host.holds is None and unnamed and asked and not management(evidence, "ok").holds:
        return Finding(True, [proof("controller", "amqp_probe", probe["message"]) for probe in asked[:1]])
    return by_host


def leads_elsewhere(evidence: Evidence) -> Finding:
    """Whether the name of the only broker leads elsewhere; of a cluster it may be that of a node that is away."""
    one = len(evidence.get("brokers") or {}) == 1
    return on_brokers(refused_elsewhere, tell_refused_elsewhere)(evidence) if one else NO


def broker_gone(evidence: Evidence) -> Finding:
    """Whether no process of the broker lives: one node of a cluster that is gone rules nothing out of the others."""
    dead = [truth for _host, truth, _proofs in nodes_gone(evidence)]
    if dead and all(dead):
        return Finding(True)
    return NO if False in dead or talks_to_somebody(evidence) else UNKNOWN


def unreachable(evidence: Evidence) -> Finding:
    """Whether a host can't be reached: nothing of it answers, Ansible or anybody else."""
    brokers = list(evidence.get("brokers") or {})
    answers = answers_somebody(evidence)
    lives = brokers if peers_see_them(evidence) or (len(brokers) == 1 and answers) else []
    hosts = {
        host: why
        for host, why in (evidence.get("unreachable") or {}).items()
        if not LIVES.search(why)
        and not HUSHED.search(why)
        and not (answers and UNNAMED.search(why))
        and host not in lives
        and host not in _findings_apps.idle_instances(evidence)
    }
    told = [
        proof("controller", "connection", f"{host} can't be reached from here: {why}") for host, why in hosts.items()
    ]
    return Finding(True, told, sorted(hosts)) if hosts else NO


def empty_broker(evidence: Evidence) -> Finding:
    """Whether a broker without the former one's data answers: another one, or one that has lost them.

    Of a cluster's node an empty directory is no loss, as the others have the data. Of the only broker's it is told for
    an hour, and for as long as the application is not let in: then somebody has put it right, as far as that goes.
    """
    another = check(evidence, "identity")
    brokers = [(host, info) for host, info in infos(evidence, "brokers") if info is not None]
    if another.holds or len(evidence.get("brokers") or {}) != 1 or not brokers:
        return another
    host, info = brokers[0]
    before, now = info["lifecycle"].get("previous_end"), (info.get("clock") or {}).get("now")
    recent = (seconds_between(info["lifecycle"].get("at"), now) or 0.0) < RECENT
    if not signature(info, "empty_boot") or not before:
        return another
    if not recent and _findings_apps.FINDINGS["app_gets_through"](evidence).holds:
        return another
    log = str(info["lifecycle"].get("file"))
    told = proof(host, log, f"the run before this one, which began with no data, ended at {before}", before)
    return Finding(True, [*tell_signature("empty_boot")(host, info), told], [host])


def host_silent(evidence: Evidence) -> Finding:
    """Whether a site's only broker is on a host that takes connections and answers none, those of SSH included.

    One that is slow for SSH alone is none, nor one that is cut off: the kernel of a frozen host takes the connection.
    """
    brokers = list(infos(evidence, "brokers"))
    if len(brokers) != 1:
        return NO
    host, info = brokers[0]
    why = (evidence.get("unreachable") or {}).get(host) or ""
    if info is not None or not HUSHED.search(why):
        return NO
    taken = [seen for seen in asked_from_afar(evidence) if _findings_apps.ended(seen, "timed_out", stage="header")]
    if answers_somebody(evidence):
        return NO
    told = [proof("controller", "connection", f"{host} gives no answer to a login: {why}")]
    told += [proof("controller", "amqp_probe", seen["message"]) for seen in taken[:1]]
    return Finding(True, told, [host]) if taken else UNKNOWN


def instance_is(*statuses: str) -> Question:
    """Return the question whether the hypervisor says so of an instance from which nobody gets an answer.

    One whose host was looked at, or whose broker talks, was not so at that time, or is another of its name.
    """

    def ask(evidence: Evidence) -> Finding:
        talks = peers_see_them(evidence) or talks_to_somebody(evidence)
        answers: list[tuple[str, Truth, list[Proof]]] = []
        for host, view in sorted((evidence.get("brokers") or {}).items()):
            told = (view or {}).get("incus") or {}
            holds = None if not told.get("status") else told["status"] in statuses
            if holds and (view.get("info") or talks):
                holds = None
            answers.append((host, holds, _findings_apps.tell_instance(told) if holds else []))
        return anywhere(answers)

    return ask


AGREE = 5.0
"""Seconds by which the clocks of hosts that are kept right may differ, as told by looks of different length."""


def controller_clock_off(evidence: Evidence) -> Finding:
    """Whether the hosts' clocks agree with one another, and differ from the controller's."""
    seen = {host: info for group in ("brokers", "apps") for host, info in infos(evidence, group) if info is not None}
    offsets = [offset for info in seen.values() if (offset := (info.get("clock") or {}).get("offset")) is not None]
    if len(offsets) < 2:
        return UNKNOWN
    if max(offsets) - min(offsets) > AGREE or min(map(abs, offsets)) <= CLOCK_OFFSET:
        return NO
    text = f"the clocks of {len(offsets)} hosts are {offsets[0]:+.1f} s against this one's, and agree with one another"
    return Finding(True, [proof("controller", "clock", text)])


def no_files_left(evidence: Evidence) -> Finding:
    """Whether the broker has no file descriptors left: its process, else its alarm (RabbitMQ before 4 has one)."""
    by_host = on_brokers(files_exhausted, tell_files)(evidence)
    return by_host if by_host.holds else check(evidence, "alarms", "local_alarms", about="file")


def unheard(info: Info) -> Truth:
    """Whether a node sends to another one, which does not acknowledge it: that hangs or is cut off."""
    return None if info.get("unheard") is None else bool(info["unheard"])


def tell_unheard(host: str, info: Info) -> list[Proof]:
    """Say to whom it sends."""
    return [
        proof(
            host, "/proc/net/tcp", f"{one['address']} port {one['port']} acknowledges nothing: {one['tries']} retries"
        )
        for one in info["unheard"]
    ]


def queues_down(evidence: Evidence) -> Finding:
    """Whether queues are down, and which."""
    found = check(evidence, "queues", about=" is ")
    names = [str(queue["name"]) for queue in evidence.get("queues") or []]
    told = " ".join(one["text"] for one in found.proof)
    return replace(found, queues=sorted(name for name in names if f"queue '{name}' is " in told))


DEAD = ("stopped", "terminated", "crashed")
"""What the broker says of a queue whose process has ended; of one whose node is away it says that it is down."""


def queues_dead(evidence: Evidence) -> Finding:
    """Whether queues' processes are dead while every node runs, and which: nothing that is started brings them back."""
    found, nodes = queues_down(evidence), check(evidence, "nodes_running")
    if found.holds is not True or nodes.holds is not False:
        return NO if found.holds is False or nodes.holds else UNKNOWN
    told = " ".join(one["text"] for one in found.proof)
    names = [name for name in found.queues if any(f"queue '{name}' is {state}" in told for state in DEAD)]
    return replace(found, queues=names) if any(f"' is {state}" in told for state in DEAD) else NO


def leaderless(evidence: Evidence) -> Finding:
    """Whether a quorum queue has no leader: RabbitMQ's check, which is younger than 4.0, else no count and the log."""
    checked = check(evidence, "leaders")
    if checked.holds:
        return checked
    uncounted = [
        one
        for one in (evidence.get("health") or {}).get("checks", [])
        if one["name"] == "queues" and one["result"] == "unknown" and "without a leader" in one["detail"]
    ]
    by_log = on_brokers(lambda info: logged(info, "quorum_member_missing"), tell_signature("quorum_member_missing"))(
        evidence
    )
    if not uncounted or not by_log.holds:
        return checked
    return Finding(True, [proof("controller", uncounted[0]["source"], uncounted[0]["detail"]), *by_log.proof])


FINDINGS: dict[str, Question] = {
    "process_gone": lambda e: anywhere(nodes_gone(e)),
    "broker_gone": broker_gone,
    "stopped_in_order": on_brokers(ended(True), tell_stop),
    "ended_without_stop": on_brokers(ended(False), tell_death),
    "booting": on_brokers(booting, tell_boot),
    "started_just_now": on_brokers(started_just_now, tell_start),
    "process_runs": on_brokers(runs, tell_service),
    "crashed_and_back": on_brokers(crashed_and_back, tell_exits),
    "crash_loops": on_brokers(crash_loops, tell_loop),
    "died_of_own_fault": on_brokers(lambda info: ended_by(info, OWN_FAULT), tell_exits),
    "oom_killed": on_brokers(oom_killed, tell_oom),
    "oom_or_kill": on_brokers(may_be_oom, tell_exits),
    "start_fails": on_brokers(start_fails, tell_start_failure),
    "boot_fails": failing_boot(*BOOT_FAILURES),
    "configuration_refused": failing_boot("configuration"),
    "feature_flags_refused": failing_boot("feature_flags"),
    "peers_disagree": failing_boot("inconsistent_cluster"),
    "own_name_unresolved": failing_boot("name_resolution"),
    "waits_for_peers": on_brokers(
        # A node that has booted has written the same when it did.
        lambda info: both(
            booting(info), serves_itself(info) is not True, logged(info, "waiting_for_tables", "peers_missing")
        ),
        tell_signature("waiting_for_tables", "peers_missing"),
    ),
    "port_taken": on_brokers(port_taken, tell_port),
    "cookie_unusable": on_brokers(cookie_unusable, tell_cookie),
    "not_writable": on_brokers(not_writable, tell_unusable),
    "disk_full": on_brokers(disk_is_full, tell_disk),
    "quota_used_up": on_brokers(quota_is_used_up, tell_quota),
    "data_restored": restored,
    "host_starves": on_brokers(starves, tell_starved),
    "not_enabled_at_boot": on_brokers(slept_through_boot, tell_slept),
    "disk_slow": on_brokers(slow_disk, tell_slow_disk),
    "files_exhausted": no_files_left,
    "clock_off": on_brokers(clock_off, tell_clock),
    "clock_stepped": on_brokers(clock_stepped, tell_step),
    "controller_clock_off": controller_clock_off,
    "hangs": hanging,
    "listens_elsewhere": on_brokers(listens_elsewhere, tell_elsewhere),
    "application_stopped": on_brokers(application_stopped, tell_application),
    "being_stopped": on_brokers(being_stopped, tell_being_stopped),
    "minority_paused": on_brokers(
        lambda info: both(opposite(gone(info)), closed(info), logged(info, "minority_paused")),
        tell_signature("minority_paused"),
    ),
    "maintenance": drained,
    "other_node_data": on_brokers(renamed, tell_renamed),
    "broker_silent": silent,
    "broker_serves_itself": on_brokers(serves_itself, tell_probe),
    "broker_talks_to_others": talks_to_others,
    "broker_refused_elsewhere": leads_elsewhere,
    "broker_refuses_inventory": on_brokers(probed("login_refused"), tell_probe),
    "management_answers": lambda e: management(e, "ok"),
    "management_login_refused": lambda e: management(e, "login_refused"),
    "management_not_permitted": not_permitted,
    "management_silent": lambda e: management(
        e, "name_not_resolved", "refused", "timed_out", "reset", "tls_failed", "unreachable", "not_http",
        "not_management", "server_error",
    ),
    "disk_alarm": alarm("disk", "disk_alarm_set", "disk_alarm_cleared", tell_room),
    "memory_alarm": alarm("memory", "memory_alarm_set", "memory_alarm_cleared", tell_memory),
    "any_alarm": lambda e: check(e, "alarms", "local_alarms"),
    "vhost_missing": lambda e: check(e, "vhost"),
    "queues_missing": lambda e: check(e, "queues", about="does not exist"),
    "queues_down": queues_down,
    "queues_dead": queues_dead,
    "empty_broker": empty_broker,
    "partitioned": partitioned,
    "nodes_unheard": on_brokers(unheard, tell_unheard),
    "nodes_down": lambda e: check(e, "nodes_running"),
    "quorum_lost": leaderless,
    "check_failed": lambda e: check(
        e, "listeners", "virtual_hosts", "in_service", "file_descriptors",
        # With a node down it may have been one too many already: RabbitMQ before 3.13 says the same of both.
        *(["quorum_critical"] if check(e, "nodes_running").holds else []),
    ),
    "quorum_critical": lambda e: check(e, "quorum_critical"),
    "certificate_expired": certificate_expired,
    "host_unreachable": unreachable,
    "host_silent": host_silent,
    "instance_frozen": instance_is("Frozen", "Freezing"),
    "instance_stopped": instance_is("Stopped"),
    "broker_filtered": on_brokers(filtered, tell_filter),
    "broker_listens_unheard": on_brokers(listens_unheard, tell_probe),
}  # fmt: skip
