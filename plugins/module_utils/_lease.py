# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may act on a site: pure decisions over the content of lease.json, the holder's identity and the time.

A lease is ``{token, holder, acquired_at, renewed_at, expires_at, ttl, phase, eta_at, abort}``; ``abort`` is ``{at,
by}`` of who asked the holder to stop, else None. A holder is ``{host, boot_id, pid_namespace, pid, started, user, job,
playbook}``: its first five keys tell one process of one machine from all others. The token grows with each new holder,
and the file stays when the lease is released, so that it never shrinks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ._record import instant, stamp

MACHINE = ("host", "boot_id", "pid_namespace")
PROCESS = (*MACHINE, "pid", "started")
GONE = ""
OVERTAKEN = (
    "Another run had the lease between this run's look and its lease, so what it saw may be over. Nothing was done. "
    "Run the same command again."
)


@dataclass(frozen=True)
class Asked:
    """What the caller wants of the lease."""

    holder: Mapping[str, Any]
    ttl: int
    token: int | None = None
    phase: str | None = None
    eta_at: str | None = None
    previous_token: int | None = None  # what the caller saw before it decided
    dead_token: int | None = None  # the caller knows that the holder with this token is dead


@dataclass(frozen=True)
class Decision:
    """What becomes of the lease. ``lease`` is its new content, None when nothing is written."""

    lease: dict[str, Any] | None
    what: str  # acquired | renewed | released | aborted | held | lost | stopped | overtaken | not_held
    message: str
    taken_over: dict[str, Any] | None = None

    @property
    def refused(self) -> bool:
        """True when the caller must not act."""
        return self.what in ("held", "lost", "stopped", "overtaken")


def same_process(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """True when both are the same process of the same machine since its boot."""
    return all(one.get(key) == other.get(key) for key in PROCESS)


def is_dead(holder: Mapping[str, Any], me: Mapping[str, Any], started: Callable[[int], str | None]) -> bool:
    """True only when it is certain, seen from ``me``, that the holder's process has ended.

    ``started(pid)`` returns a process's start time, GONE when there is no such process, None when it can't be told.
    """
    if any(not me.get(key) or holder.get(key) != me.get(key) for key in MACHINE):
        return False  # another machine, another boot or another container: its processes can't be seen from here
    pid = str(holder.get("pid"))
    now = started(int(pid)) if pid.isdecimal() else None
    return now is not None and now != holder.get("started")


def who(holder: Mapping[str, Any]) -> str:
    """Return a holder in words."""
    job = f", job {holder['job']}" if holder.get("job") else ""
    return f"{holder.get('user')} on {holder.get('host')} (pid {holder.get('pid')}, {holder.get('playbook')}{job})"


def remaining(lease: Mapping[str, Any], now: datetime) -> float:
    """Return the seconds until the lease expires; 0 when it has."""
    return max(0.0, (instant(lease["expires_at"]) - now).total_seconds())


def acquire(lease: Mapping[str, Any] | None, asked: Asked, now: datetime) -> Decision:
    """Give the lease to the caller, renew it where the caller has it already, or say who holds it."""
    if _overtaken(lease, asked):
        return Decision(None, "overtaken", OVERTAKEN)
    if lease is None or lease["holder"] is None:
        return Decision(_granted(lease, asked, now), "acquired", "The lease was free.")
    if same_process(lease["holder"], asked.holder):
        if lease.get("abort"):
            return Decision(None, "stopped", _stopped(lease))
        return Decision(_renewed(lease, asked, now), "renewed", "The lease was this run's already.")
    reason = _takeover_reason(lease, asked, now)
    if reason is None:
        return Decision(None, "held", _held(lease, now))
    if asked.previous_token not in (None, lease["token"]):
        return Decision(None, "overtaken", OVERTAKEN)  # it came after the look, and has ended: what it did is not seen
    message = f"The lease was taken over from {who(lease['holder'])}: {reason}."
    return Decision(
        _granted(lease, asked, now), "acquired", message, {"holder": dict(lease["holder"]), "reason": reason}
    )


def check(lease: Mapping[str, Any] | None, asked: Asked, now: datetime) -> Decision:
    """Renew the caller's lease, or say that it may not act any more.

    A lease that expired without being taken is still the caller's.
    """
    if lease is not None and lease["holder"] is not None and _owns(lease, asked):
        if lease.get("abort"):
            return Decision(None, "stopped", _stopped(lease))
        return Decision(_renewed(lease, asked, now), "renewed", "The lease is this run's.")
    return Decision(None, "lost", _lost(lease, asked))


def release(lease: Mapping[str, Any] | None, asked: Asked, now: datetime) -> Decision:
    """Give the caller's lease back; somebody else's is left alone."""
    if lease is None or lease["holder"] is None or not _owns(lease, asked):
        return Decision(None, "not_held", "There was nothing to release: the lease isn't this run's.")
    freed = {**lease, "renewed_at": stamp(now), "expires_at": stamp(now)}
    freed.update(holder=None, phase=None, eta_at=None, abort=None)
    return Decision(freed, "released", "The lease is free.")


def abort(lease: Mapping[str, Any] | None, asked: Asked, now: datetime) -> Decision:
    """Mark the holder's lease, whoever that is: it stops before its next action. The next holder begins without."""
    if lease is None or lease["holder"] is None:
        return Decision(None, "not_held", "There is nothing to stop: nobody holds the lease.")
    by = {name: asked.holder.get(name) for name in ("user", "host", "playbook")}
    marked = {**lease, "abort": lease.get("abort") or {"at": stamp(now), "by": by}}
    return Decision(marked, "aborted", f"{who(lease['holder'])} stops before its next action.")


DECISIONS: dict[str, Callable[[Mapping[str, Any] | None, Asked, datetime], Decision]] = {
    "acquired": acquire,
    "checked": check,
    "released": release,
    "aborted": abort,
}


def view(lease: Mapping[str, Any] | None, now: datetime) -> dict[str, Any] | None:
    """Return the lease as the module reports it, with what follows from the time."""
    if lease is None:
        return None
    held = lease["holder"] is not None
    left = remaining(lease, now) if held else 0.0
    return {**lease, "held": held, "expired": held and left == 0.0, "remaining": round(left, 3)}


def _owns(lease: Mapping[str, Any], asked: Asked) -> bool:
    return lease["token"] == asked.token and same_process(lease["holder"], asked.holder)


def _overtaken(lease: Mapping[str, Any] | None, asked: Asked) -> bool:
    """Whether another run has had the lease since the caller looked. One that holds it still is told as the holder."""
    if asked.previous_token is None or (lease is not None and lease["holder"] is not None):
        return False
    return (lease["token"] if lease else 0) != asked.previous_token


def _takeover_reason(lease: Mapping[str, Any], asked: Asked, now: datetime) -> str | None:
    if asked.dead_token is not None and asked.dead_token == lease["token"]:
        return "that process has ended"
    if remaining(lease, now) == 0.0:
        return f"it expired at {lease['expires_at']}"
    return None


def _granted(lease: Mapping[str, Any] | None, asked: Asked, now: datetime) -> dict[str, Any]:
    return {
        "token": (lease["token"] if lease else 0) + 1,
        "holder": dict(asked.holder),
        "acquired_at": stamp(now),
        "renewed_at": stamp(now),
        "expires_at": stamp(now + timedelta(seconds=asked.ttl)),
        "ttl": asked.ttl,
        "phase": asked.phase,
        "eta_at": asked.eta_at,
        "abort": None,
    }


def _renewed(lease: Mapping[str, Any], asked: Asked, now: datetime) -> dict[str, Any]:
    new_phase = asked.phase is not None and asked.phase != lease["phase"]
    return {
        **lease,
        "renewed_at": stamp(now),
        "expires_at": stamp(now + timedelta(seconds=asked.ttl)),
        "ttl": asked.ttl,
        "phase": asked.phase or lease["phase"],
        # An expected end belongs to its phase: the next one begins without.
        "eta_at": asked.eta_at or (None if new_phase else lease["eta_at"]),
    }


def _held(lease: Mapping[str, Any], now: datetime) -> str:
    phase = f", in phase {lease['phase']}" if lease["phase"] else ""
    eta = f", expected to end at {lease['eta_at']}" if lease["eta_at"] else ""
    return (
        f"{who(lease['holder'])} is at work here since {lease['acquired_at']}{phase}{eta}. Its lease runs until "
        f"{lease['expires_at']} ({remaining(lease, now):.0f} s from now) unless it is renewed. Follow that run, "
        "or stop it and run again: on its own controller at once, elsewhere when the lease has run out."
    )


def _stopped(lease: Mapping[str, Any]) -> str:
    by = lease["abort"]["by"]
    return (
        f"{by.get('user')} on {by.get('host')} asked this run to stop, at {lease['abort']['at']}. Nothing more is done "
        "by it. Run the same command again to go on: it finishes the work and doubles nothing."
    )


def _lost(lease: Mapping[str, Any] | None, asked: Asked) -> str:
    if lease is None or lease["holder"] is None:
        now_held = "nobody holds the lease"
    else:
        now_held = f"{who(lease['holder'])} holds the lease since {lease['acquired_at']}, token {lease['token']}"
    return (
        f"This run's lease (token {asked.token}) is not valid any more: {now_held}. "
        "Nothing more may be done here by this run; run again from the top."
    )
