# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the systemd journal tells of a service: how its runs ended, who stopped it, OOM kills, a stepped clock. Pure.

Under Debian's unit the broker's own lines are in its log files; the journal has systemd's, sudo's and the kernel's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ._broker_log import Line, line_of
from ._mask import masked
from ._record import instant, stamp

NO_PROCESS = "none"
"""The status of a run for which systemd could not even make a process."""

LINES = 5000
"""Entries of the last day that are read, the newest."""

COMMAND = [
    "journalctl", "--quiet", "--no-pager", "--output=json", "--since=-24h", f"--lines={LINES}",
    "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,UNIT,_SYSTEMD_UNIT,_TRANSPORT,_COMM",
]  # fmt: skip

_ANSIBLE = tuple(
    f"ansible-{collection}{module}"
    for collection in ("", "ansible.builtin.", "ansible.legacy.")
    for module in ("systemd", "systemd_service", "service", "sysvinit", "command")
)
_WRITERS = ("sudo", "systemd-logind", *_ANSIBLE)
"""Whose entries are wanted besides the service's own and the kernel's: a busy host writes 5000 others in minutes."""

_EXITED = re.compile(r"Main process exited, code=(?:exited|killed|dumped), status=(\S+)")
# What is run before the main process fails the start, too; what is run to stop it does not.
_BEFORE = re.compile(r"Control process exited, code=(?:exited|killed|dumped), status=(\S+)")
_NO_PROCESS = re.compile(r"Failed to (?:run|spawn) '(?:start|start-pre)' task")
_WHY = re.compile(r"(?:Failed at step|Unable to locate|Failed to (?:determine|load|locate)) .*")
_STARTING = re.compile(r"^Starting ")
_STARTED = re.compile(r"^Started ")
_STOPPING = re.compile(r"^Stopping ")
_OVER = re.compile(r": Deactivated successfully\.")
_SUDO = re.compile(r"^\s*(\S+) : .*?COMMAND=(.*)$")
_INVOKED = re.compile(r"^Invoked with (?:.*? )??name=(?P<name>\S+) (?:.*? )??state=(?P<state>stopped|restarted)\b")
_RAW = re.compile(r"^Invoked with (?:.*? )??_raw_params=(?P<command>.*?) _uses_shell=")
_ENDS = re.compile(
    r"\b(?:stop|stop_app|shutdown|restart|try-restart|reload-or-restart|force-reload|condrestart|kill)\b"
)
_KILLS = re.compile(r"\b(?:pkill|killall)\b.*\b(?:beam|rabbit)")
_TURNS_OFF = re.compile(r"(?:^|/|systemctl (?:-\S+ )*)(?:reboot|poweroff|halt|shutdown)\b|\binit [06]\b")
_OOM = re.compile(
    r"oom-kill:|[Oo]ut of memory: Killed process|has been killed by the OOM killer|Failed with result 'oom-kill'"
)
_SHUTDOWN = re.compile(r"System is (?:powering down|rebooting|halting)|The system will (?:power off|reboot|halt)")

BEFORE_STOP = 10.0
"""Seconds before a stop in which who asked for it is looked for."""

STEP = 5.0
"""Seconds by which the wall clock must move against the monotonic one to have been set."""

BEFORE_PACKAGE = 60.0
"""The same for a package's change: dpkg notes it when it begins, and before it stops the service."""


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


def command(service: str) -> list[str]:
    """Return the command that reads what is said about a service, and by whoever may have stopped it."""
    unit = unit_name(service)
    wanted = [f"UNIT={unit}", f"_SYSTEMD_UNIT={unit}", *(f"SYSLOG_IDENTIFIER={name}" for name in _WRITERS)]
    return [*COMMAND, "_TRANSPORT=kernel", *(part for match in wanted for part in ("+", match))]


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
    """Return the abnormal ends of a service's runs, the newest last: ``{at, status, started_at, why}``.

    ``started_at`` is when systemd began to start that run, None if that is not in the journal; ``why`` is what kept
    systemd from running it at all.
    """
    found: list[dict[str, Any]] = []
    began, why, starting = None, None, False
    for entry in entries:
        if entry.unit != unit_name(service):
            continue
        if _STARTING.match(entry.text):
            began, why, starting = entry.stamp(), None, True
        elif _STARTED.match(entry.text) or _STOPPING.match(entry.text):
            starting = False
        reason = _WHY.search(entry.text)
        why = masked(reason[0]) if reason else why
        match = _EXITED.search(entry.text) or (_BEFORE.search(entry.text) if starting else None)
        if match and not match[1].startswith("0/"):
            found.append({"at": entry.stamp(), "status": match[1], "started_at": began, "why": why})
        elif _NO_PROCESS.search(entry.text):  # systemd does not even say that it starts
            found.append({"at": entry.stamp(), "status": NO_PROCESS, "started_at": entry.stamp(), "why": why})
    return found


def _last_stop(entries: Sequence[Entry], unit: str) -> Entry | None:
    """Return the entry with which the last run began to end in order; None if it ended otherwise."""
    stop, stopping = None, False
    for entry in entries:
        if entry.identifier != "systemd" or entry.unit != unit:
            continue
        exited = _EXITED.search(entry.text)
        if _STOPPING.match(entry.text):
            stop, stopping = entry, True
        elif _STARTING.match(entry.text):
            stopping = False
        elif stopping:  # how it ends then is part of the stop
            continue
        elif _OVER.search(entry.text):  # the broker itself was asked
            stop = entry
        elif exited and not exited[1].startswith("0/"):
            stop = None
    return stop


def stopped_by(
    entries: Sequence[Entry], service: str, asked: float | None = None, changes: Iterable[dict[str, Any]] = ()
) -> dict[str, Any] | None:
    """Return who asked for the last stop: ``{who, how, at}``; None without proof.

    ``asked`` is when the broker's own log says that it was asked to stop, as by ``rabbitmqctl``; without it, systemd's
    word counts. ``changes`` are those of the packages. That somebody was logged in is no proof.
    """
    if asked is None:
        stop = _last_stop(entries, unit_name(service))
        if stop is None:
            return None
        asked = stop.at
    stem = service.partition(".")[0]
    near = [entry for entry in entries if -1.0 <= asked - entry.at <= BEFORE_STOP]
    for number in range(len(near) - 1, -1, -1):
        entry = near[number]
        if _SHUTDOWN.search(entry.text) and entry.identifier in ("systemd-logind", "systemd"):
            return _asker("the shutdown of the host", entry.text, entry)
        by_sudo = _SUDO.match(entry.text) if entry.identifier == "sudo" else None
        if by_sudo and _ends(by_sudo[2], stem):
            return _asker(by_sudo[1], f"sudo {by_sudo[2]}", entry)
        by_ansible = _by_ansible(entry, stem) if entry.identifier in _ANSIBLE else None
        if by_ansible:
            return _asker(_become_user(near[:number]) or "Ansible", by_ansible, entry)
    for change in changes:
        lapse = asked - instant(change["at"]).timestamp()
        if change["kind"] == "package" and f" {stem} " in f" {change['what']} " and abs(lapse) <= BEFORE_PACKAGE:
            return {"who": "the package manager", "how": change["what"], "at": change["at"]}
    return None


def _asker(who: str, how: str, entry: Entry) -> dict[str, Any]:
    return {"who": who, "how": masked(how), "at": entry.stamp()}


def _ends(command_line: str, stem: str) -> bool:
    """Whether a command ends the broker or the host; one that only looks does not."""
    if _TURNS_OFF.search(command_line) or _KILLS.search(command_line):
        return True
    return (stem in command_line or "rabbitmqctl" in command_line) and bool(_ENDS.search(command_line))


def _by_ansible(entry: Entry, stem: str) -> str | None:
    """Return what Ansible did, if it ended the broker."""
    invoked, raw = _INVOKED.match(entry.text), _RAW.match(entry.text)
    module = entry.identifier.partition("-")[2]
    if invoked and invoked["name"].partition(".")[0] == stem:
        return f"Ansible: {module} name={invoked['name']} state={invoked['state']}"
    return f"Ansible: {module} {raw['command']}" if raw and _ends(raw["command"], stem) else None


def _become_user(entries: Sequence[Entry]) -> str | None:
    """Return whose sudo the module that was run just after these ran under."""
    for entry in reversed(entries):
        match = _SUDO.match(entry.text) if entry.identifier == "sudo" else None
        if match and "BECOME-SUCCESS-" in match[2]:
            return match[1]
    return None


def oom_kills(entries: Sequence[Entry], service: str) -> list[dict[str, Any]]:
    """Return the OOM kills that concern a service: ``{at, line, source}``."""
    return [
        {
            "at": entry.stamp(),
            "line": masked(entry.text),
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


def own_lines(entries: Sequence[Entry], service: str) -> list[Line]:
    """Return what the service itself wrote to the journal, as lines of a log."""
    return [
        line_of(text, "journal", datetime.fromtimestamp(entry.at, timezone.utc))
        for entry in entries
        if entry.unit == unit_name(service) and entry.identifier != "systemd"
        for text in entry.text.splitlines()
        if text.strip()
    ]


def cut_at(entries: Sequence[Entry]) -> str | None:
    """Return back to when the journal was read, if that is less than all of it."""
    return entries[0].stamp() if len(entries) >= LINES else None
