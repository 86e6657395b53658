# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watchers: what a recovery must never do, each told from two samples of the hosts, before and after a playbook.

``Sample`` is what ``ground.py`` reads; None anywhere means that it could not be read, and is never a reason.
To watch for more, add a field to ``Sample`` and a row to ``WATCHERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

START_FLAG = "outage_recover_start_stopped=true"


@dataclass(frozen=True)
class Sample:
    """How the hosts were at one instant."""

    backends: Mapping[str, str | None] = field(default_factory=dict)
    """Host -> identity of the API's container and process (id and start)."""
    workers: Mapping[str, str | None] = field(default_factory=dict)
    """Service -> identity of its container and process; "" while it does not run."""
    unit: Mapping[str, str] | None = None
    """systemd's properties of the broker's unit."""
    serving: bool | None = None
    listens: bool | None = None
    """Whether AMQP's port is open: an alarm leaves it so."""
    alarms: str | None = None
    """The alarms in effect as an Erlang term; "[]" for none."""
    app: bool | None = None
    """Whether the application rabbit runs in the node."""
    maintenance: bool | None = None
    limits: str | None = None
    """Watermark and disk limit in effect."""
    data: frozenset[str] | None = None
    """The data directories of nodes, each with its inode."""
    configuration: str | None = None
    """A digest of the broker's configuration and cookie."""
    dead_letters: int | None = None


@dataclass(frozen=True)
class Leave:
    """What is allowed in this run."""

    flags: tuple[str, ...] = ()
    guilty: str | None = None
    """The worker that is at fault, and may be restarted."""
    may_change: frozenset[str] = frozenset()


Look = Callable[[Sample, Sample, Leave], "str | None"]


def _pid(sample: Sample) -> str | None:
    return None if sample.unit is None else sample.unit.get("MainPID")


def _restarted(before: Sample, after: Sample) -> bool:
    """Whether the broker's process is another one, and systemd did not do that by itself."""
    if before.unit is None or after.unit is None or _pid(before) in ("0", None):
        return False
    # One that died is counted as restarted only once systemd has started it anew.
    died = after.unit.get("SubState") in ("auto-restart", "failed")
    by_itself = died or before.unit.get("NRestarts") != after.unit.get("NRestarts")
    return _pid(before) != _pid(after) and not by_itself


def _changed(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> list[str]:
    """Return what ran before and is another one, or none, now."""
    known = [name for name in before if before[name] and after.get(name) is not None]
    return [name for name in known if before[name] != after[name]]


def _backend(before: Sample, after: Sample, _leave: Leave) -> str | None:
    names = _changed(before.backends, after.backends)
    return f"restarted the backend on {', '.join(names)}" if names else None


def _worker(before: Sample, after: Sample, leave: Leave) -> str | None:
    names = [name for name in _changed(before.workers, after.workers) if name != leave.guilty]
    return f"restarted {', '.join(names)} without need" if names else None


def _booting(before: Sample, after: Sample, _leave: Leave) -> str | None:
    booting = before.unit is not None and before.unit.get("SubState") in ("start", "start-pre", "start-post")
    return "restarted a broker that was booting" if booting and _restarted(before, after) else None


def _alarmed(before: Sample, after: Sample, _leave: Leave) -> str | None:
    # One of before 4 that could not write lives on with its port closed: what ails it is no alarm.
    alarmed = before.alarms not in (None, "[]", "") and before.listens is not False
    return f"restarted a broker under an alarm ({before.alarms})" if alarmed and _restarted(before, after) else None


def _serving(before: Sample, after: Sample, _leave: Leave) -> str | None:
    return "restarted a broker that served" if before.serving and _restarted(before, after) else None


def _person(before: Sample, after: Sample, leave: Leave) -> str | None:
    if START_FLAG in leave.flags or before.unit is None or after.unit is None:
        return None
    stopped = before.unit.get("ActiveState") == "inactive" and before.unit.get("Result") == "success"
    if stopped and after.unit.get("ActiveState") != "inactive":
        return "started a broker that somebody had stopped, unasked"
    if before.unit.get("ActiveState") == "active" and before.app is False and after.app:
        return "started the application that somebody had stopped, unasked"
    if before.maintenance and after.maintenance is False:
        return "ended a maintenance that somebody had begun, unasked"
    return None


def _data(before: Sample, after: Sample, _leave: Leave) -> str | None:
    if before.data is None or after.data is None:
        return None
    gone = sorted(before.data - after.data)
    return f"removed or replaced data of the broker: {', '.join(gone)}" if gone else None


def _differs(attribute: str, told: str) -> Look:
    def look(before: Sample, after: Sample, _leave: Leave) -> str | None:
        was, now = getattr(before, attribute), getattr(after, attribute)
        return told if was is not None and now is not None and was != now else None

    return look


def _limits(before: Sample, after: Sample, leave: Leave) -> str | None:
    # A restarted broker has the limits of its configuration; that it was restarted is another watcher's business.
    same: Any = _pid(before) == _pid(after)
    return _differs("limits", "changed the broker's limits")(before, after, leave) if same else None


def _dead_letters(before: Sample, after: Sample, _leave: Leave) -> str | None:
    if before.dead_letters is None or after.dead_letters is None or after.dead_letters >= before.dead_letters:
        return None
    return f"removed {before.dead_letters - after.dead_letters} dead letters"


WATCHERS: dict[str, Look] = {
    "backend_restarted": _backend,
    "worker_restarted": _worker,
    "booting_broker_restarted": _booting,
    "alarmed_broker_restarted": _alarmed,
    "serving_broker_restarted": _serving,
    "person_undone": _person,
    "data_touched": _data,
    "configuration_changed": _differs("configuration", "changed the broker's configuration or cookie"),
    "limits_changed": _limits,
    "dead_letters_removed": _dead_letters,
}
"""Name -> what it says of a pair of samples; None when nothing forbidden was done. Messages that vanish from a queue
are the ledger's business: it knows what each of them obliges."""


def forbidden(step: str, before: Sample, after: Sample, leave: Leave) -> list[str]:
    """Return what a step did and must not do."""
    told = [look(before, after, leave) for name, look in WATCHERS.items() if name not in leave.may_change]
    return [f"{step} {text}" for text in told if text]
