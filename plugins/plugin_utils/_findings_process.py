# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings about the broker's process: whether it runs, what its logs say, how its last run ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._findings import (
    MIB,
    RECENT,
    Info,
    Proof,
    Question,
    Truth,
    both,
    on_brokers,
    opposite,
    proof,
    seconds_between,
    talks,
)

DEAD = ("stopped", "failed", "restarting")
"""States of a service in which no broker process can be alive."""

OWN_FAULT = ("11/SEGV", "4/ILL", "7/BUS", "8/FPE")
"""How a process ends that died of its own fault."""

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
        if dead is False or start_fails(info):
            return False
        return None if dead is None or stopped is None else stopped is clean

    return holds


def tell_stop(host: str, info: Info) -> list[Proof]:
    """Say who stopped it, as far as that is known."""
    lifecycle, stopped_by = info["lifecycle"], info["service"].get("stopped_by") or {}
    by = " by ".join(["", *filter(None, [lifecycle.get("by"), stopped_by.get("who")])])
    at = lifecycle.get("stopped_at") or lifecycle.get("at")
    said = proof(host, str(lifecycle.get("file") or "broker log"), f"stopped in order{by}: {lifecycle['line']}", at)
    return [said, *tell_stopper(host, info)]


def tell_stopper(host: str, info: Info) -> list[Proof]:
    """Say how somebody stopped it, where the journal tells."""
    stopped_by = info["service"].get("stopped_by") or {}
    if not stopped_by.get("how"):
        return []
    return [proof(host, "journal", f"{stopped_by['who']}: {stopped_by['how']}", stopped_by.get("at"))]


def tell_death(host: str, info: Info) -> list[Proof]:
    """Say how it ended."""
    lifecycle, service = info["lifecycle"], info["service"]
    signal = f", killed by signal {service['exit_signal']}" if service.get("exit_signal") else ""
    text = f"no process{signal}, and the log of its last run ends without a stop (last entry: {lifecycle.get('line')})"
    return [proof(host, str(lifecycle.get("file") or "broker log"), text, died_at(info)), *tell_exits(host, info)]


SETTLES_IN = 10.0
"""Seconds after its boot in which a look, which lasts some, may have asked its management API before: a broker opens
all its ports within a tenth of a second, when it has booted."""


def served_from(info: Info) -> str | None:
    """Return since when it can have served: its log's word, else the start of its process."""
    return max(filter(None, (info["process"].get("started_at"), info["lifecycle"].get("started_at"))), default=None)


def started_just_now(info: Info) -> Truth:
    """Whether it has served for no longer than that."""
    age = seconds_between(served_from(info), (info.get("clock") or {}).get("now"))
    return None if age is None else age < SETTLES_IN


def tell_start(host: str, info: Info) -> list[Proof]:
    """Say since when it serves."""
    started, booted = info["process"].get("started_at"), info["lifecycle"].get("started_at")
    if booted and booted == served_from(info):
        return [proof(host, str(info["lifecycle"].get("file")), f"the broker has served since {booted}", booted)]
    return [proof(host, "/proc", f"the broker's process was started at {started}", started)]


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


def logs_reach_back(info: Info) -> bool:
    """Whether what was read of the logs goes back to the broker's start: what it said once is not repeated."""
    whole = all(log.get("whole", True) for log in info.get("logs") or [])
    return logs_read(info) and (whole or bool(info["lifecycle"].get("started_at")))


def logged(info: Info, *names: str) -> Truth:
    """Whether a signature was seen since the last start; unknown if nothing could be read."""
    return True if signature(info, *names) else False if logs_read(info) else None


def serves_itself(info: Info) -> Truth:
    """Whether the broker talks to a client on its own host; that it refuses the inventory's login is no silence.

    Where its name is not known, nobody has asked it.
    """
    seen = info.get("probe")
    return talks(seen) if seen and seen["outcome"] != "name_not_resolved" else None


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


def slept_through_boot(info: Info) -> Truth:
    """Whether its host was booted after its last run, and no boot starts it."""
    if info["service"].get("enabled") is not False or info["service"]["state"] != "stopped":
        return False if info["service"].get("enabled") is not None else None
    last = info["lifecycle"].get("stopped_at") or info.get("last_log_at")
    since = seconds_between(last, (info.get("clock") or {}).get("booted_at"))
    return both(gone(info), None if since is None else since > 0)


def tell_slept(host: str, info: Info) -> list[Proof]:
    """Say when it was booted."""
    booted = info["clock"]["booted_at"]
    return [
        proof(host, "systemd", f"the host was booted at {booted}, and the unit is not enabled to start then", booted)
    ]


NEVER_RAN = 200
"""From here on systemd's own exit codes begin: the program was never run (systemd.exec(5))."""


def never_ran(end: Mapping[str, Any]) -> bool:
    """Whether systemd, or the shell of the start script (126, 127), could not run the program at all."""
    number = end["status"].partition("/")[0]
    return not number.isdecimal() or int(number) in (126, 127) or int(number) >= NEVER_RAN


def tries(info: Info) -> list[dict[str, Any]]:
    """Return the ends of runs that systemd began after the broker's last orderly stop, and that left no log."""
    stop = info["lifecycle"].get("stopped_at") if info["lifecycle"]["clean_stop"] else None
    exits = info["service"].get("exits") or []
    return [end for end in exits if stop and (end.get("started_at") or "") > stop]


def start_fails(info: Info) -> Truth:
    """Whether the service manager tries to start it, and it ends before the broker itself can say anything."""
    exits = info["service"].get("exits")
    if info["service"]["state"] == "stopped":  # by whom is another question
        return False
    if not gone(info):
        return gone(info)
    if signature(info, "start_script") or (exits and never_ran(exits[-1])):
        return True
    if tries(info):
        return opposite(boot_fails(info, *BOOT_FAILURES))
    return None if exits is None else False


def tell_start_failure(host: str, info: Info) -> list[Proof]:
    """Say how the last try ended, and why it did as far as that is known."""
    told = []
    for end in (info["service"].get("exits") or [])[-1:]:
        why = f": {end['why']}" if end.get("why") else ""
        told.append(proof(host, "journal", f"it could not be started: status={end['status']}{why}", end["at"]))
    return [*told, *tell_signature("start_script")(host, info)]


def recent_exits(info: Info) -> list[dict[str, Any]]:
    """Return the abnormal ends of the last hour, newest last; without one that an orderly stop has followed."""
    if info["lifecycle"]["clean_stop"]:
        return []
    now, stop = (info.get("clock") or {}).get("now"), info["lifecycle"].get("previous_stop") or ""
    exits = info["service"].get("exits") or []
    return [end for end in exits if (seconds_between(end["at"], now) or 0.0) < RECENT and end["at"] > stop]


def tell_exits(host: str, info: Info) -> list[Proof]:
    """Say how the last run ended, as the service manager saw it."""
    return [
        proof(host, "journal", f"the broker's process ended: status={end['status']}", end["at"])
        for end in recent_exits(info)[-1:]
    ]


def ended_by(info: Info, statuses: tuple[str, ...]) -> Truth:
    """Whether the last abnormal end of the last hour was one of these."""
    if info["service"].get("exits") is None:
        return None
    return bool([end for end in recent_exits(info)[-1:] if end["status"] in statuses])


def crashed_and_back(info: Info) -> Truth:
    """Whether it died within the hour, and runs again."""
    if not runs(info):
        return runs(info)
    if info["service"].get("exits") is None:
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
    if info["service"].get("exits") is None and gone(info) and info["lifecycle"]["clean_stop"] is not True:
        return None  # without a journal neither its end nor the kernel's lines were read
    return None if memory.get("oom_kills") is None and recent_exits(info) else False


def tell_oom(host: str, info: Info) -> list[Proof]:
    """Quote the kernel."""
    kills = (info.get("memory") or {}).get("oom_kills") or []
    told = [proof(host, kill["source"], kill["line"], kill.get("at")) for kill in kills[-1:]]
    return [*told, *tell_exits(host, info), *tell_memory(host, info)]


def may_be_oom(info: Info) -> Truth:
    """Whether it was killed, and nobody on its host can tell whether the kernel did it."""
    return both(oom_killed(info) is None, ended_by(info, ("9/KILL",)))


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
