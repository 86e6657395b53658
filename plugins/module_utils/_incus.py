# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an Incus instance may use of disk and memory: who sets the limit, and how it is raised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from ._errors import BadInput
from ._record import stamp

_UNITS = {"": 1, "b": 1, **{f"{prefix}ib": 1024 ** (n + 1) for n, prefix in enumerate("kmgt")},
          **{f"{prefix}b": 1000 ** (n + 1) for n, prefix in enumerate("kmgt")}}  # fmt: skip

Kind = Literal["device", "volume", "pool"]

ALIGNED = 1024 * 1024
"""Sizes that are set are whole MiB."""


def bytes_of(text: str | int | None) -> int | None:
    """Return a size as Incus writes it (V(512MiB), V(2GB)) in bytes; None for none, and for a percentage.

    A bare number is one of bytes, also where YAML has made an int of it.
    """
    found = re.fullmatch(r"(\d+)\s*([a-zA-Z]*)", str(text or "").strip())
    factor = _UNITS.get(found.group(2).lower()) if found else None
    return int(found.group(1)) * factor if found and factor else None


def size(text: str, what: str) -> int:
    """Return a size in bytes; BadInput when it is none."""
    number = bytes_of(text)
    if number is None:
        raise BadInput(f"{what} is {text!r}; it must be a size such as 20GiB.")
    return number


@dataclass(frozen=True)
class Level:
    """One of the places where the size of the data's disk is limited; ``own`` tells a device set on the instance."""

    kind: Kind
    name: str
    size: int
    pool: str
    own: bool = True


def disk_of(instance: Mapping[str, Any], path: str) -> tuple[str, Mapping[str, Any]] | None:
    """Return name and description of the disk device that holds a path of the instance."""
    disks = [
        (len(str(device.get("path", "")).rstrip("/")), name, device)
        for name, device in (instance.get("expanded_devices") or {}).items()
        if device.get("type") == "disk" and device.get("pool") and _below(path, str(device.get("path", "")))
    ]
    longest = max(disks, key=lambda found: found[0], default=None)
    return longest[1:] if longest else None


def _below(path: str, place: str) -> bool:
    return bool(place) and (place == "/" or path == place or path.startswith(place.rstrip("/") + "/"))


def levels(
    instance: Mapping[str, Any],
    name: str,
    device: Mapping[str, Any],
    volume: Mapping[str, Any] | None,
    pool: Mapping[str, Any],
) -> list[Level]:
    """Return where the disk's size is limited, the narrowest first."""
    found = [
        ("device", name, device.get("size")),
        ("volume", device.get("source", ""), ((volume or {}).get("config") or {}).get("size")),
        ("pool", device["pool"], (pool.get("config") or {}).get("size")),
    ]
    own = name in (instance.get("devices") or {})
    limits = [
        Level(kind, label, number, device["pool"], own)  # type: ignore[arg-type]
        for kind, label, text in found
        if (number := bytes_of(text)) is not None
    ]
    return sorted(limits, key=lambda level: level.size)


def enlarge(limits: list[Level], wanted: int, instance: str) -> list[list[str]]:
    """Return the commands, without the program, that raise every limit below ``wanted`` bytes to it, widest first."""
    value = f"size={-(-wanted // ALIGNED)}MiB"
    commands: dict[Kind, Any] = {
        "device": lambda level: ["config", "device", "set" if level.own else "override", instance, level.name, value],
        "volume": lambda level: ["storage", "volume", "set", level.pool, level.name, value],
        "pool": lambda level: ["storage", "set", level.pool, value],
    }
    return [commands[level.kind](level) for level in reversed(limits) if level.size < wanted]


_OOM = re.compile(r"oom-kill:.*?/lxc\.payload\.(?P<instance>[^/,]+).*?task=(?P<task>[^,]+)")


def oom_kills(kernel: str, instance: str, project: str, now: float, uptime: float) -> list[dict[str, str]]:
    """Return the kernel's kills inside an instance, from the lines of dmesg: ``{at, task, line}``."""
    name = instance if project == "default" else f"{project}_{instance}"
    kills = []
    for line in kernel.splitlines():
        stamped = re.match(r"\[ *([0-9.]+)\] (.*)", line)
        found = _OOM.search(line)
        if stamped and found and found.group("instance") == name:
            at = datetime.fromtimestamp(now - uptime + float(stamped.group(1)), timezone.utc)
            kills.append({"at": stamp(at), "task": found.group("task"), "line": stamped.group(2)[:300]})
    return kills
