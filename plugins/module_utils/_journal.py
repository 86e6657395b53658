# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the systemd journal tells of a service: how its runs ended, who stopped it, OOM kills, a stepped clock. Pure.

Under Debian's unit the broker's own lines are in its log files; the journal has systemd's, sudo's and the kernel's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ._record import stamp

LINES = 5000
"""Entries of the last day that are read, the newest."""

COMMAND = [
    "journalctl", "--quiet", "--no-pager", "--output=json", "--since=-24h", f"--lines={LINES}",
    "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,UNIT,_SYSTEMD_UNIT,_TRANSPORT,_COMM",
]  # fmt: skip

_EXITED = re.compile(r"Main process exited, code=(?:exited|killed|dumped), status=(\S+)")
_STOPPING = re.compile(r"^Stopping ")
_SUDO = re.compile(r"^\s*(\S+) : .*?COMMAND=(.*)$")
_OOM = re.compile(
    r"oom-kill:|[Oo]ut of memory: Killed process|has been killed by the OOM killer|Failed with result 'oom-kill'"
)
_SHUTDOWN = re.compile(r"System is (?:powering down|rebooting|halting)|The system will (?:power off|reboot|halt)")

BEFORE_STOP = 10.0
"""Seconds before a stop in which who asked for it is looked for."""

STEP = 5.0
"""Seconds by which the wall clock must move against the monotonic one to have been set."""

_LENGTH = 300


@dataclass(frozen=True)
class Entry:
    """One line: seconds since 1970 and since the boot, who wrote it, about which unit, and what."""

    at: float
    since_boot: float
    boot: str
    identifier: str
    unit: str
    transport: str
    text: str

    def stamp(self) -> str:
        """Return when it was written."""
        return stamp(datetime.fromtimestamp(self.at, timezone.utc))


def parse(text: str) -> list[Entry]:
    """Return the entries of ``journalctl --output=json``, oldest first; what can't be read is left out."""
    entries = []
    for line in text.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            fields = json.loads(line)
            message = fields.get("MESSAGE")
            if isinstance(message, list):  # bytes that are no text
                message = bytes(message).decode("utf-8", "replace")
            entries.append(
                Entry(
                    at=int(fields["__REALTIME_TIMESTAMP"]) / 1e6,
                    since_boot=int(fields["__MONOTONIC_TIMESTAMP"]) / 1e6,
                    boot=str(fields.get("_BOOT_ID", "")),
                    identifier=str(fields.get("SYSLOG_IDENTIFIER") or fields.get("_COMM") or ""),
                    unit=str(fields.get("UNIT") or fields.get("_SYSTEMD_UNIT") or ""),
                    transport=str(fields.get("_TRANSPORT", "")),
                    text=str(message or ""),
                )
            )
    return entries


def unit_name(service: str) -> str:
    """Return the name of a service as systemd writes it."""
    return service if "." in service else f"{service}.service"


def exits(entries: Sequence[Entry], service: str) -> list[dict[str, Any]]:
    """Return the abnormal ends of a service's runs, the newest last: ``{at, status}``."""
    found = []
    for entry in entries:
        match = _EXITED.search(entry.text) if entry.unit == unit_name(service) else None
        if match and not match[1].startswith("0/"):
            found.append({"at": entry.stamp(), "status": match[1]})
    return found


def stopped_by(entries: Sequence[Entry], service: str) -> dict[str, Any] | None:
    """Return who asked for the last stop: ``{who, how, at}``; None without proof."""
    stops = [
        number
        for number, entry in enumerate(entries)
        if entry.identifier == "systemd" and entry.unit == unit_name(service) and _STOPPING.match(entry.text)
    ]
    if not stops:
        return None
    stop = entries[stops[-1]]
    near = [entry for entry in entries[: stops[-1]] if 0 <= stop.at - entry.at <= BEFORE_STOP]
    for entry in reversed(near):
        if _SHUTDOWN.search(entry.text):
            return {"who": "the shutdown of the host", "how": entry.text[:_LENGTH], "at": entry.stamp()}
        command = _SUDO.match(entry.text) if entry.identifier == "sudo" else None
        if command and service.partition(".")[0] in command[2]:
            return {"who": command[1], "how": f"sudo {command[2]}"[:_LENGTH], "at": entry.stamp()}
    return None


def oom_kills(entries: Sequence[Entry], service: str) -> list[dict[str, Any]]:
    """Return the OOM kills that concern a service: ``{at, line, source}``."""
    return [
        {
            "at": entry.stamp(),
            "line": entry.text[:_LENGTH],
            "source": "kernel" if entry.transport == "kernel" else "journal",
        }
        for entry in entries
        if _OOM.search(entry.text)
        and (entry.unit == unit_name(service) or (entry.transport == "kernel" and "beam" in entry.text))
    ]


def stepped_at(entries: Sequence[Entry]) -> str | None:
    """Return when the wall clock was last set by more than some seconds; None if it was not."""
    found = None
    for before, after in zip(entries, entries[1:]):
        if before.boot == after.boot:
            drift = (after.at - after.since_boot) - (before.at - before.since_boot)
            if abs(drift) > STEP:
                found = after.stamp()
    return found


def own_lines(entries: Sequence[Entry], service: str) -> str:
    """Return what the service itself wrote to the journal, as the end of a log file."""
    return "\n".join(
        entry.text for entry in entries if entry.unit == unit_name(service) and entry.identifier != "systemd"
    )
