# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings about what the broker's host gives it: disk, files, ports, memory, clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._findings import (
    MIB,
    RECENT,
    Info,
    Proof,
    Truth,
    both,
    either,
    proof,
    seconds_between,
)
from ._findings_process import boot_fails, booting, failing, gone, logged, signature, tell_signature
from ._findings_serving import closed

DISK_LIMIT = 50 * MIB
"""RabbitMQ's own disk_free_limit, where the host's is not known."""

CLOCK_OFFSET = 30.0
"""Seconds of difference between two clocks that spoil what their logs say of before and after."""

IO_FULL = 50.0
"""Percent of the time in which a broker that waits for its disk does nothing else."""

INODES_LEFT, INODES_SHARE = 1000, 0.01
"""A file system with fewer inodes than this, and a smaller share of its own, may lack them for a boot."""

FILES = 0.95
"""Share of the open files above which the broker stops to accept connections."""


def few_inodes(disk: Mapping[str, Any]) -> bool:
    """Whether it has next to no inodes left: a boot needs some dozens, and gives them back when it fails."""
    free, total = disk.get("inodes_free"), disk.get("inodes_total")
    return free == 0 or bool(free is not None and total and free < min(INODES_LEFT, INODES_SHARE * total))


def disk_is_full(info: Info) -> Truth:
    """Whether the data directory has next to nothing left, or the broker has said so of a disk that is low.

    A limit may be far above that: it is for the alarm, and no broker dies of it.
    """
    disk = info.get("disk") or {}
    if disk.get("free") is None:
        return None
    limit = disk.get("limit") or DISK_LIMIT
    nothing = disk["free"] < min(limit, DISK_LIMIT) or disk.get("inodes_free") == 0 or write_fails(info, "ENOSPC")
    told, down = logged(info, "disk_full"), either(gone(info), booting(info), closed(info))
    return either(
        both(nothing, either(told, down)),
        both(disk["free"] < limit, told),
        both(few_inodes(disk), told, down),
    )


def tell_disk(host: str, info: Info) -> list[Proof]:
    """Say what is free, and quote the log."""
    disk = info["disk"]
    text = f"{disk['path']}: {disk['free'] // MIB} MiB free of {(disk['total'] or 0) // MIB} MiB"
    if disk.get("inodes_free") == 0:
        text += ", and not one inode: it can hold no more files"
    elif few_inodes(disk):
        text += f", and {disk['inodes_free']} of {disk['inodes_total']} inodes: it can hold next to no more files"
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


def clock_stepped(info: Info) -> Truth:
    """Whether the host's clock was set by more than some seconds within the hour."""
    clock = info.get("clock") or {}
    at = clock.get("stepped_at")
    return bool(at) and (seconds_between(at, clock.get("now")) or 0.0) < RECENT


def tell_step(host: str, info: Info) -> list[Proof]:
    """Say when."""
    return [proof(host, "logs", "the clock was set to another time", info["clock"]["stepped_at"])]


def clock_off(info: Info) -> Truth:
    """Whether the host's clock differs from the controller's."""
    offset = (info.get("clock") or {}).get("offset")
    return None if offset is None else abs(offset) > CLOCK_OFFSET


def tell_clock(host: str, info: Info) -> list[Proof]:
    """Say by how much."""
    clock = info["clock"]
    return [proof(host, "clock", f"{clock['offset']:+.1f} s against the controller's", clock.get("now"))]


CPU_SHARE = 0.02
"""Of a processor, less than which is too little. It is 0.034 on two processors that 60 tasks share."""


def starves(info: Info) -> Truth:
    """Whether the host gets next to nothing of a processor."""
    share = (info.get("pressure") or {}).get("cpu_share")
    return None if share is None else share < CPU_SHARE


def tell_starved(host: str, info: Info) -> list[Proof]:
    """Say what is left of it."""
    text = f"this look got {100 * info['pressure']['cpu_share']:.1f} % of a processor while it waited for nothing else"
    return [proof(host, "processor time", text)]


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
