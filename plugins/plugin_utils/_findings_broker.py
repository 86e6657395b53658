# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings about the broker's process, its host, and what its health checks say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ._findings import (
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
    either,
    infos,
    on_brokers,
    opposite,
    proof,
    seconds_between,
    talks,
)

MIB = 1024 * 1024

DEAD = ("stopped", "failed", "restarting")
"""States of a service in which no broker process can be alive."""

OWN_FAULT = ("11/SEGV", "4/ILL", "7/BUS", "8/FPE")
"""How a process ends that died of its own fault."""

DISK_LIMIT = 50 * MIB
"""RabbitMQ's own disk_free_limit, where the host's is not known."""

CLOCK_OFFSET = 30.0
"""Seconds of difference between two clocks that spoil what their logs say of before and after."""

IO_FULL = 50.0
"""Percent of the time in which a broker that waits for its disk does nothing else."""

FILES = 0.95
"""Share of the open files above which the broker stops to accept connections."""

BOOT_FAILURES = {
    "configuration": "its configuration",
    "port_in_use": "its port",
    "cookie_file": "its Erlang cookie",
    "permissions": "a directory or file that it can't use",
    "feature_flags": "feature flags",
    "inconsistent_cluster": "its cluster's other nodes disagree",
    "peers_missing": "its cluster's other nodes are missing",
    "name_resolution": "its host's name",
    "disk_full": "the disk",
    "disk_quota": "a quota of the disk",
    "boot_failed": "a reason that the log tells",
    "crash_dump": "a reason that the crash dump tells",
}
"""Signatures of a boot that failed, and what each is about."""


# ---- the process ---------------------------------------------------------------------------------------------------


def gone(info: Info) -> Truth:
    """Ask the process table first: a manager's word may be older than the process."""
    if info["process"]["running"] is not None:
        return not info["process"]["running"]
    state = info["service"]["state"]
    return None if state == "unknown" else state in DEAD


def tell_service(host: str, info: Info) -> list[Proof]:
    """Say what the service manager says."""
    service = info["service"]
    detail = f" ({service['detail']})" if service.get("detail") else ""
    return [proof(host, service["manager"], f"the service is {service['state']}{detail}", service.get("since"))]


def ended(clean: bool) -> Callable[[Info], Truth]:
    """Answer whether the last run of a broker that is gone ended in an orderly stop (or not)."""

    def holds(info: Info) -> Truth:
        dead, stopped = gone(info), info["lifecycle"]["clean_stop"]
        if dead is False:
            return False
        return None if dead is None or stopped is None else stopped is clean

    return holds


def tell_stop(host: str, info: Info) -> list[Proof]:
    """Say who stopped it, as far as that is known."""
    lifecycle, stopped_by = info["lifecycle"], info["service"].get("stopped_by") or {}
    by = " by ".join(["", *filter(None, [lifecycle.get("by"), stopped_by.get("who")])])
    at = lifecycle.get("stopped_at") or lifecycle.get("at")
    told = [proof(host, str(lifecycle.get("file") or "broker log"), f"stopped in order{by}: {lifecycle['line']}", at)]
    if stopped_by.get("how"):
        told.append(proof(host, "journal", f"{stopped_by['who']}: {stopped_by['how']}", stopped_by.get("at")))
    return told


def tell_death(host: str, info: Info) -> list[Proof]:
    """Say how it ended."""
    lifecycle, service = info["lifecycle"], info["service"]
    signal = f", killed by signal {service['exit_signal']}" if service.get("exit_signal") else ""
    text = f"no process{signal}, and the log of its last run ends without a stop (last entry: {lifecycle.get('line')})"
    return [proof(host, str(lifecycle.get("file") or "broker log"), text, died_at(info)), *tell_exits(host, info)]


def booting(info: Info) -> Truth:
    """Whether it is on its way up."""
    if gone(info):
        return False
    state, last = info["service"]["state"], info["lifecycle"]["last"]
    if state == "starting":
        return True
    if serves_itself(info):
        return False
    # Where the log is silent, systemd's word counts, to which the broker itself says that it has booted.
    silent = False if (info["service"]["manager"], state) == ("systemd", "running") else None
    return silent if last == "none" else last == "starting"


def tell_boot(host: str, info: Info) -> list[Proof]:
    """Say that it boots."""
    lifecycle = info["lifecycle"]
    file = str(lifecycle.get("file") or "broker log")
    return [proof(host, file, f"booting: {lifecycle.get('line')}", lifecycle["at"])]


def runs(info: Info) -> Truth:
    """Whether a process lives that is not on its way up."""
    return both(opposite(gone(info)), opposite(booting(info)))


# ---- what its logs say ---------------------------------------------------------------------------------------------


def signature(info: Info, *names: str) -> list[dict[str, Any]]:
    """Return the bad lines of these names since the broker's last start."""
    return [found for found in info.get("signatures") or [] if found["name"] in names and found["count"]]


def tell_signature(*names: str) -> Callable[[str, Info], list[Proof]]:
    """Return what quotes the last line of each signature."""

    def tell(host: str, info: Info) -> list[Proof]:
        return [proof(host, found["file"], found["line"], found.get("last_at")) for found in signature(info, *names)]

    return tell


def logs_read(info: Info) -> bool:
    """Whether a line that is not there was not written."""
    return bool(info.get("logs"))


def logged(info: Info, *names: str) -> Truth:
    """Whether a signature was seen since the last start; unknown if nothing could be read."""
    return True if signature(info, *names) else False if logs_read(info) else None


def serves_itself(info: Info) -> Truth:
    """Whether the broker talks to a client on its own host; that it refuses the inventory's login is no silence."""
    seen = info.get("probe")
    return talks(seen) if seen else None


def failing(info: Info) -> bool:
    """Whether it does not run, or not yet."""
    if info["process"]["running"] and info["lifecycle"]["last"] == "started":
        return False
    return info["service"]["state"] in ("restarting", "failed", "starting") or bool(gone(info))


def of_a_boot(info: Info, found: Info) -> bool:
    """Whether bad lines may be about a boot that failed: not if the last was written when the last run had booted.

    A failed boot after that run need not have a log of its own; the service manager knows of it.
    """
    lifecycle, exits = info["lifecycle"], info["service"].get("exits")
    began = lifecycle.get("started_at")
    if not found.get("last_at") or (lifecycle["last"] == "starting" and not began):
        return True
    # A run of which the log has no start began before it.
    if began and (seconds_between(began, found["last_at"]) or 0.0) <= 0.0:
        return True
    if exits is None:
        return bool(found["file"] != lifecycle.get("file"))
    return any(
        end["status"].startswith("1/") and (not began or (seconds_between(began, end["at"]) or 0.0) > 0.0)
        for end in exits
    )


def boot_fails(info: Info, *names: str) -> Truth:
    """Whether its last boot ended in one of these failures."""
    exits = info["service"].get("exits") or []
    seen = any(of_a_boot(info, found) for found in signature(info, *names))
    return both(failing(info), True if seen else None if not exits and not logs_read(info) else False)


def failing_boot(*names: str) -> Question:
    """Return the question whether a boot failed for one of these reasons."""
    return on_brokers(lambda info: boot_fails(info, *names), tell_signature(*names))


# ---- how the last run ended ----------------------------------------------------------------------------------------


def recent_exits(info: Info) -> list[dict[str, Any]]:
    """Return the abnormal ends of the last hour, newest last; without one that an orderly stop has followed."""
    if info["lifecycle"]["clean_stop"]:
        return []
    now = (info.get("clock") or {}).get("now")
    exits = info["service"].get("exits") or []
    return [end for end in exits if (seconds_between(end["at"], now) or 0.0) < RECENT]


def tell_exits(host: str, info: Info) -> list[Proof]:
    """Say how the last run ended, as the service manager saw it."""
    return [
        proof(host, "journal", f"the broker's process ended: status={end['status']}", end["at"])
        for end in recent_exits(info)[-1:]
    ]


def ended_by(info: Info, statuses: tuple[str, ...]) -> Truth:
    """Whether the last abnormal end of the last hour was one of these."""
    if "exits" not in info["service"] or info["service"]["exits"] is None:
        return None
    return bool([end for end in recent_exits(info)[-1:] if end["status"] in statuses])


def crashed_and_back(info: Info) -> Truth:
    """Whether it died within the hour, and runs again."""
    if not runs(info):
        return runs(info)
    if "exits" not in info["service"]:
        return None
    return bool([end for end in recent_exits(info)[-1:] if not end["status"].startswith("1/")])


LOOP, APART = 3, 60.0
"""So many abnormal ends, each so many seconds after the one before, and nothing that could be called a run between."""


def crash_loops(info: Info) -> Truth:
    """Whether the service manager starts it again and again, and it ends each time before it has served for long.

    A broker that people have killed and started a few times is none: systemd's NRestarts counts its own starts alone.
    One that serves for the moment is one as long as it has not outlived its last runs.
    """
    restarts = info["service"].get("restarts")
    if info["service"].get("exits") is None or restarts is None:
        return None
    if restarts < LOOP - 1:
        return False
    times = [end["at"] for end in recent_exits(info)[-LOOP:]]
    until = [*times[1:], (info.get("clock") or {}).get("now")]
    lapses = [lapse for lapse in map(seconds_between, times, until) if lapse is not None]
    if len(lapses) < LOOP or max(lapses) > APART:
        return False
    *earlier, last = lapses
    return failing(info) or last <= max(earlier)


def tell_loop(host: str, info: Info) -> list[Proof]:
    """Say how its last runs ended."""
    return [
        proof(host, "journal", f"the broker's process ended: status={end['status']}", end["at"])
        for end in recent_exits(info)[-LOOP:]
    ]


def oom_killed(info: Info) -> Truth:
    """Whether the kernel killed it for want of memory, within the hour."""
    memory = info.get("memory") or {}
    now = (info.get("clock") or {}).get("now")
    kills = [kill for kill in memory.get("oom_kills") or [] if (seconds_between(kill["at"], now) or 0.0) < RECENT]
    if kills and recent_exits(info):
        return True
    if info["service"].get("result") == "oom-kill":
        return True
    return None if memory.get("oom_kills") is None and recent_exits(info) else False


def tell_oom(host: str, info: Info) -> list[Proof]:
    """Quote the kernel."""
    kills = (info.get("memory") or {}).get("oom_kills") or []
    told = [proof(host, kill["source"], kill["line"], kill.get("at")) for kill in kills[-1:]]
    return [*told, *tell_exits(host, info), *tell_memory(host, info)]


def may_be_oom(info: Info) -> Truth:
    """Whether it was killed, and nobody on its host can tell whether the kernel did it."""
    return both(oom_killed(info) is None, ended_by(info, ("9/KILL",)))


# ---- disk, files, memory, clock ------------------------------------------------------------------------------------


def disk_is_full(info: Info) -> Truth:
    """Whether the data directory has next to nothing left, and the broker has said so."""
    disk = info.get("disk") or {}
    if disk.get("free") is None:
        return None
    full = disk["free"] < (disk.get("limit") or DISK_LIMIT) or disk.get("inodes_free") == 0
    full = full or write_fails(info, "ENOSPC")
    return both(full, either(logged(info, "disk_full"), gone(info), booting(info), closed(info)))


def tell_disk(host: str, info: Info) -> list[Proof]:
    """Say what is free, and quote the log."""
    disk = info["disk"]
    text = f"{disk['path']}: {disk['free'] // MIB} MiB free of {(disk['total'] or 0) // MIB} MiB"
    if disk.get("inodes_free") == 0:
        text += ", and not one inode: it can hold no more files"
    return [proof(host, "statvfs", text), *tell_signature("disk_full")(host, info)]


def write_fails(info: Info, error: str) -> bool:
    """Whether nothing can be written to the data directory, for this reason."""
    return (info.get("disk") or {}).get("write_error") == error


LATELY = 600.0
"""Seconds after which a broker that is at work has written again what keeps it from writing."""


def quota_is_used_up(info: Info) -> Truth:
    """Whether it can't write for a quota: tried, or by its log, of which an old line tells nothing while it serves."""
    lines = signature(info, "disk_quota")
    now = (info.get("clock") or {}).get("now")
    lately = any((seconds_between(line.get("last_at"), now) or 0.0) < LATELY for line in lines)
    by_log = both(logged(info, "disk_quota"), either(lately, gone(info), booting(info), closed(info)))
    return either(write_fails(info, "EDQUOT"), by_log)


def tell_quota(host: str, info: Info) -> list[Proof]:
    """Quote the log, and say what df would."""
    free = (info.get("disk") or {}).get("free") or 0
    told = [proof(host, "statvfs", f"{free // MIB} MiB are free by df")]
    if write_fails(info, "EDQUOT"):
        told.insert(0, proof(host, "file system", f"writing to {info['disk']['path']} fails: disk quota exceeded"))
    return [*told, *tell_signature("disk_quota")(host, info)]


def unusable(info: Info) -> list[dict[str, Any]]:
    """Return the directories and files that the service's user can't use."""
    return [entry for entry in info.get("directories") or [] if entry.get("ok") is False]


def not_writable(info: Info) -> Truth:
    """Whether its boot fails because of owner or mode of what it writes."""
    if not failing(info):
        return False
    return either(
        boot_fails(info, "permissions"), bool(unusable(info)), (info.get("disk") or {}).get("writable") is False
    )


def tell_unusable(host: str, info: Info) -> list[Proof]:
    """Name the directory or file."""
    told = [
        proof(host, "stat", f"{entry['path']} is {entry['owner']}:{entry['group']} {entry['mode']}: {entry['detail']}")
        for entry in unusable(info)
    ]
    disk = info.get("disk") or {}
    if disk.get("writable") is False:
        told.insert(0, proof(host, "statvfs", f"{disk['path']} can't be written to: {disk.get('detail')}"))
    return [*told, *tell_signature("permissions")(host, info)]


def cookie_unusable(info: Info) -> Truth:
    """Whether its boot fails because of the Erlang cookie."""
    if not failing(info):
        return False
    return either(boot_fails(info, "cookie_file"), (info.get("cookie") or {}).get("ok") is False)


def tell_cookie(host: str, info: Info) -> list[Proof]:
    """Name the cookie's file."""
    cookie = info.get("cookie") or {}
    told = []
    if cookie.get("ok") is False:
        about = f"{cookie['path']} is {cookie.get('owner')} {cookie.get('mode')}, {cookie.get('size')} bytes"
        told = [proof(host, "stat", f"{about}: {cookie.get('detail')}")]
    return [*told, *tell_signature("cookie_file")(host, info)]


def strangers(info: Info) -> list[dict[str, Any]]:
    """Return the listeners on the broker's ports that are not the broker."""
    return [entry for entry in info.get("listeners") or [] if entry.get("holder") and entry.get("ours") is False]


def port_taken(info: Info) -> Truth:
    """Whether its boot fails because another process has its port."""
    if not failing(info):
        return False
    return either(boot_fails(info, "port_in_use"), bool(strangers(info)))


def tell_port(host: str, info: Info) -> list[Proof]:
    """Name the holder."""
    told = [
        proof(host, "kernel", f"port {entry['port']} is held by {whose(entry['holder'])}") for entry in strangers(info)
    ]
    return [*told, *tell_signature("port_in_use")(host, info)]


def whose(holder: Mapping[str, Any]) -> str:
    """Say who holds something."""
    more = [
        f"as {holder['user']}" if holder.get("user") else "",
        f"unit {holder['unit']}" if holder.get("unit") else "",
        f"command: {holder['command']}" if holder.get("command") else "",
    ]
    return ", ".join([f"{holder['name']} (process {holder['pid']})", *filter(None, more)])


def files_exhausted(info: Info) -> Truth:
    """Whether it has next to no file descriptors left."""
    files = info.get("files") or {}
    if files.get("open") is None or not files.get("limit"):
        return None
    return files["open"] >= FILES * files["limit"]


def tell_files(host: str, info: Info) -> list[Proof]:
    """Say how many are open."""
    files = info["files"]
    text = f"the broker has {files['open']} files open of {files['limit']}"
    return [proof(host, "/proc", text), *tell_signature("file_descriptors")(host, info)]


def stepped(clock: Mapping[str, Any]) -> bool:
    """Whether a clock was set by more than some seconds within the hour."""
    at = clock.get("stepped_at")
    return bool(at) and (seconds_between(at, clock.get("now")) or 0.0) < RECENT


def clock_off(info: Info) -> Truth:
    """Whether the host's clock differs from the controller's, or was set lately."""
    clock = info.get("clock") or {}
    if stepped(clock):
        return True
    return None if clock.get("offset") is None else abs(clock["offset"]) > CLOCK_OFFSET


def tell_clock(host: str, info: Info) -> list[Proof]:
    """Say by how much."""
    clock = info["clock"]
    if stepped(clock):
        return [proof(host, "logs", "the times of the log's lines run backwards", clock["stepped_at"])]
    return [proof(host, "clock", f"{clock['offset']:+.1f} s against the controller's", clock.get("now"))]


# ---- up, and not serving -------------------------------------------------------------------------------------------


def closed(info: Info) -> Truth:
    """Whether nothing listens on the broker's first port, or somebody else does."""
    first = next(iter(info.get("listeners") or []), None)
    if first is None or first["listening"] is None:
        return None
    return not first["listening"] or first.get("ours") is False


def application_stopped(info: Info) -> Truth:
    """Whether the process lives on after the application in it was stopped."""
    return both(opposite(gone(info)), closed(info), info["lifecycle"]["last"] in ("stopped", "stopping"))


def tell_application(host: str, info: Info) -> list[Proof]:
    """Quote the log."""
    lifecycle = info["lifecycle"]
    text = f"the process lives, nothing listens, and the log's last step is: {lifecycle['line']}"
    return [
        proof(host, str(lifecycle.get("file") or "broker log"), text, lifecycle.get("stopped_at") or lifecycle["at"])
    ]


def hangs(info: Info) -> Truth:
    """Whether connections are accepted in silence, or the process is suspended."""
    if gone(info):
        return False
    if info["process"].get("suspended"):
        return True
    seen = info.get("probe")
    if not seen:
        return None
    return seen["outcome"] == "timed_out" and any(stage["name"] == "header" for stage in seen["stages"])


def hanging(evidence: Evidence) -> Finding:
    """Whether a broker hangs. Of a cluster's nodes that ask one address, each sees the same one of them hang."""
    seen = list(infos(evidence, "brokers"))
    shared = len(seen) > 1 and all(hangs(info) for _host, info in seen if info is not None)
    answers: list[tuple[str, Truth, list[Proof]]] = []
    for host, info in seen:
        truth = None if info is None else hangs(info)
        if info is not None and shared and not info["process"].get("suspended"):
            truth = None
        answers.append((host, truth, tell_hang(host, info) if truth and info is not None else []))
    return anywhere(answers)


def tell_hang(host: str, info: Info) -> list[Proof]:
    """Say what hangs."""
    told = []
    if info["process"].get("suspended"):
        told.append(proof(host, "/proc", f"the broker's process {info['process']['pid']} is suspended by a signal"))
    return told + (tell_probe(host, info) if info.get("probe") else [])


def tell_probe(host: str, info: Info) -> list[Proof]:
    """Say what the probe on the broker's own host says."""
    return [proof(host, "amqp_probe", info["probe"]["message"])]


def probed(*outcomes: str) -> Callable[[Info], Truth]:
    """Answer whether the probe on the broker's own host ended so."""
    return lambda info: None if not info.get("probe") else info["probe"]["outcome"] in outcomes


def renamed(info: Info) -> Truth:
    """Whether the data of another node lie beside this node's, which is younger."""
    return None if (info.get("node") or {}).get("others") is None else bool(former(info))


SETTLED_IN = 7 * 86400.0
"""Seconds after which a node's name is the one that it has."""


def former(info: Info) -> list[dict[str, Any]]:
    """Return the other nodes whose data are older: younger ones are what a passing name has left behind.

    A node that has long had data of its own is no surprise any more, and a copy that keeps its times is as old as it.
    """
    node, now = info["node"], (info.get("clock") or {}).get("now")
    age = seconds_between(node.get("began_at"), now)
    if age is not None and age > SETTLED_IN:
        return []
    return [other for other in node["others"] if (other.get("began_at") or "") < (node.get("began_at") or "9")]


def tell_renamed(host: str, info: Info) -> list[Proof]:
    """Name the nodes."""
    others = ", ".join(f"{other['name']} (last written {other['modified_at']})" for other in former(info))
    return [proof(host, "data directory", f"the node is {info['node']['name']}; beside it lie the data of {others}")]


def restored(evidence: Evidence) -> Finding:
    """Whether the broker's data were put back to an earlier state under an application that lived on.

    Its file system is younger than the run before, and older than a container that runs.
    """
    alive = [
        one.get("started_at")
        for _host, app in infos(evidence, "apps")
        for one in (app or {}).get("containers") or []
        if one["state"] == "running"
    ]
    answers: list[tuple[str, Truth, list[Proof]]] = []
    for host, info in infos(evidence, "brokers"):
        since = None if info is None else (info.get("disk") or {}).get("snapshot_since")
        if info is None or since is None or not alive:
            answers.append((host, None, []))
            continue
        before, now = info["lifecycle"].get("previous_end"), (info.get("clock") or {}).get("now")
        lived_on = sorted(str(at) for at in alive if at and at < since)
        recent = (seconds_between(since, now) or 0.0) < RECENT
        text = (
            f"its file system is a snapshot restored at {since}; the broker's log before ends at {before}, and "
            f"{len(lived_on)} of the application's containers have run since {next(iter(lived_on), None)}"
        )
        holds = bool(before and before < since and lived_on and recent)
        answers.append((host, holds, [proof(host, "btrfs", text, before)] if holds else []))
    return anywhere(answers)


def slow_disk(info: Info) -> Truth:
    """Whether the broker's threads wait for the disk."""
    pressure = info.get("pressure") or {}
    full = pressure.get("io_full")
    return either(pressure.get("stuck"), None if full is None else full > IO_FULL) if pressure else None


def tell_slow_disk(host: str, info: Info) -> list[Proof]:
    """Say what waited, and how long."""
    pressure = info["pressure"]
    told = (
        [proof(host, "/proc", "a thread of the broker hung in a write for a whole second")] if pressure["stuck"] else []
    )
    if pressure.get("io_full"):
        text = f"for {pressure['io_full']:.0f} % of the last 10 s all of the broker waited for its disk"
        told.append(proof(host, "control group", text))
    return told


def filtered(info: Info) -> Truth:
    """Whether a rule of the broker's own firewall drops or rejects what belongs to it."""
    return None if info.get("firewall") is None else bool(info["firewall"])


def tell_filter(host: str, info: Info) -> list[Proof]:
    """Quote the rules."""
    return [proof(host, f"firewall {rule['table']} {rule['chain']}", rule["rule"]) for rule in info["firewall"]]


def listens_unheard(info: Info) -> Truth:
    """Whether the broker listens, and yet no connection to it comes about on its own host."""
    seen = info.get("probe")
    if not seen:
        return None
    last = seen["stages"][-1]["name"] if seen["stages"] else ""
    cut = seen["outcome"] in ("timed_out", "refused", "unreachable", "reset") and last == "connect"
    return both(opposite(gone(info)), opposite(closed(info)), cut)


# ---- from the controller -------------------------------------------------------------------------------------------


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
    return begun > over if begun else False if logs_read(info) else None


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


def tell_memory(host: str, info: Info) -> list[Proof]:
    """Say what the broker uses and may use, and whether its watermark is beyond what its container may use."""
    memory = info.get("memory") or {}
    used, watermark, limit = (memory.get(name) for name in ("used", "watermark", "container_limit"))
    if watermark is None:
        return []
    parts = [f"it uses {used // MIB} MiB" if used else "", f"its watermark is {watermark // MIB} MiB"]
    if limit and watermark > limit:
        parts.append(
            f"its container may use {limit // MIB} MiB, of which RabbitMQ knows nothing: the kernel kills it first"
        )
    return [proof(host, "memory", ", ".join(part for part in parts if part))]


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
    by_probe = on_brokers(
        lambda info: None if not info.get("probe") else (
            info["probe"]["outcome"] == "tls_failed" and "expired" in info["probe"]["message"]
        ),
        tell_probe,
    )(evidence)  # fmt: skip
    return by_check if by_check.holds or not by_probe.holds else by_probe


LIVES = re.compile(
    r"refused|banner exchange|key_exchange|permission denied|host key|reset by peer|closed by|password|sudo",
    re.IGNORECASE,
)
"""What a login says that fails, while something answers."""


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


def broker_gone(evidence: Evidence) -> Finding:
    """Whether no process of the broker lives: one node of a cluster that is gone rules nothing out of the others."""
    dead = [truth for _host, truth, _proofs in nodes_gone(evidence)]
    if dead and all(dead):
        return Finding(True)
    return NO if False in dead or talks_to_somebody(evidence) else UNKNOWN


def unreachable(evidence: Evidence) -> Finding:
    """Whether a host can't be reached: nothing of it answers, Ansible or anybody else."""
    brokers = list(evidence.get("brokers") or {})
    lives = brokers if peers_see_them(evidence) or (len(brokers) == 1 and answers_somebody(evidence)) else []
    hosts = {
        host: why
        for host, why in (evidence.get("unreachable") or {}).items()
        if not LIVES.search(why) and host not in lives
    }
    told = [
        proof("controller", "connection", f"{host} can't be reached from here: {why}") for host, why in hosts.items()
    ]
    return Finding(True, told, sorted(hosts)) if hosts else NO


def no_files_left(evidence: Evidence) -> Finding:
    """Whether the broker has no file descriptors left: its process, else its alarm (RabbitMQ before 4 has one)."""
    by_host = on_brokers(files_exhausted, tell_files)(evidence)
    return by_host if by_host.holds else check(evidence, "alarms", "local_alarms", about="file")


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
    "process_runs": on_brokers(runs, tell_service),
    "crashed_and_back": on_brokers(crashed_and_back, tell_exits),
    "crash_loops": on_brokers(crash_loops, tell_loop),
    "died_of_own_fault": on_brokers(lambda info: ended_by(info, OWN_FAULT), tell_exits),
    "oom_killed": on_brokers(oom_killed, tell_oom),
    "oom_or_kill": on_brokers(may_be_oom, tell_exits),
    "boot_fails": failing_boot(*BOOT_FAILURES),
    "configuration_refused": failing_boot("configuration"),
    "feature_flags_refused": failing_boot("feature_flags"),
    "peers_disagree": failing_boot("inconsistent_cluster"),
    "own_name_unresolved": failing_boot("name_resolution"),
    "waits_for_peers": on_brokers(
        # A node that has booted has written the same when it did.
        lambda info: both(
            booting(info), opposite(serves_itself(info)), logged(info, "waiting_for_tables", "peers_missing")
        ),
        tell_signature("waiting_for_tables", "peers_missing"),
    ),
    "port_taken": on_brokers(port_taken, tell_port),
    "cookie_unusable": on_brokers(cookie_unusable, tell_cookie),
    "not_writable": on_brokers(not_writable, tell_unusable),
    "disk_full": on_brokers(disk_is_full, tell_disk),
    "quota_used_up": on_brokers(quota_is_used_up, tell_quota),
    "data_restored": restored,
    "disk_slow": on_brokers(slow_disk, tell_slow_disk),
    "files_exhausted": no_files_left,
    "clock_off": on_brokers(clock_off, tell_clock),
    "hangs": hanging,
    "application_stopped": on_brokers(application_stopped, tell_application),
    "minority_paused": on_brokers(
        lambda info: both(opposite(gone(info)), closed(info), logged(info, "minority_paused")),
        tell_signature("minority_paused"),
    ),
    "maintenance": drained,
    "other_node_data": on_brokers(renamed, tell_renamed),
    "broker_refuses_itself": on_brokers(lambda info: opposite(serves_itself(info)), tell_probe),
    "broker_serves_itself": on_brokers(serves_itself, tell_probe),
    "broker_refuses_inventory": on_brokers(probed("login_refused"), tell_probe),
    "management_answers": lambda e: management(e, "ok"),
    "management_login_refused": lambda e: management(e, "login_refused"),
    "management_not_permitted": lambda e: management(e, "not_permitted"),
    "management_silent": lambda e: management(
        e, "name_not_resolved", "refused", "timed_out", "reset", "tls_failed", "unreachable", "not_http",
        "not_management", "server_error",
    ),
    "disk_alarm": alarm("disk", "disk_alarm_set", "disk_alarm_cleared", tell_room),
    "memory_alarm": alarm("memory", "memory_alarm_set", "memory_alarm_cleared", tell_memory),
    "any_alarm": lambda e: check(e, "alarms", "local_alarms"),
    "vhost_missing": lambda e: check(e, "vhost"),
    "queues_missing": lambda e: check(e, "queues", about="does not exist"),
    "queues_down": lambda e: check(e, "queues", about=" is "),
    "identity_changed": lambda e: check(e, "identity"),
    "partitioned": partitioned,
    "nodes_down": lambda e: check(e, "nodes_running"),
    "quorum_lost": leaderless,
    "check_failed": lambda e: check(
        e, "listeners", "quorum_critical", "virtual_hosts", "in_service", "file_descriptors"
    ),
    "certificate_expired": certificate_expired,
    "host_unreachable": unreachable,
    "broker_filtered": on_brokers(filtered, tell_filter),
    "broker_listens_unheard": on_brokers(listens_unheard, tell_probe),
}  # fmt: skip


def down_since(info: Info) -> str | None:
    """Return since when a broker that boots has not served: the last sign of life of its run before, else its start."""
    lifecycle = info["lifecycle"]
    return lifecycle.get("previous_end") or lifecycle.get("at")


def died_at(info: Info) -> str | None:
    """Return the last sign of life of a broker that is gone: it died at that instant or later."""
    since = info["service"].get("since")
    if info["service"]["state"] in DEAD and since:
        return str(since)
    signs = [sign for sign in (info.get("last_log_at"), (info.get("disk") or {}).get("last_write_at")) if sign]
    return max(signs, default=None)
