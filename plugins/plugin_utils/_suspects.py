# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What changed shortly before the trouble began: a suspect, never a cause."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Any

from ..module_utils._record import instant, stamp
from ._findings import Evidence, Info, infos, seconds_between
from ._findings_broker import controller_clock_off
from ._findings_resources import CLOCK_OFFSET

WITHIN = 1800.0
"""Seconds before the first error in which a change is suspect: the runbook's 30 minutes."""


STILL, CALM = 600.0, 60.0
"""Seconds after its last error for which a container is still in trouble; and after one that a connection followed."""


def suspects(evidence: Evidence, began: str | None, about: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Return the changes before the trouble, the last first: ``{host, what, at, first_error, first_error_at}``.

    Both times must be known, else a change is no suspect. The first error of a container is that of its own log; that
    of a broker is ``began``. ``about`` are the application's hosts that are in trouble, None for all.
    """
    of_apps = (one for one in _of_apps(evidence) if about is None or one["host"] in about)
    return sorted([*of_apps, *_of_brokers(evidence, began)], key=lambda one: str(one["at"]), reverse=True)


def first_error(evidence: Evidence) -> dict[str, Any] | None:
    """Return the first AMQP error of a container that is still in trouble: ``{host, name, at}``; None without any."""
    # Where it is the controller's that is off, all hosts' instants are of one clock as they are.
    alike = controller_clock_off(evidence).holds
    found = [
        {
            "host": host,
            "name": container["name"],
            "at": errors["first_at"] if alike else by_our_clock(errors["first_at"], info or {}),
        }
        for host, info in infos(evidence, "apps")
        for container in (info or {}).get("containers") or []
        if (errors := _current(container, info or {})).get("first_at")
    ]
    return min(found, key=lambda one: str(one["at"]), default=None)


def by_our_clock(at: str, info: Info) -> str:
    """Return an instant of a host's log by the controller's clock, where the two differ by so much that it matters."""
    offset = (info.get("clock") or {}).get("offset") or 0.0
    return at if abs(offset) <= CLOCK_OFFSET else stamp(instant(at) - timedelta(seconds=offset))


def _before(at: str | None, error: str | None) -> bool:
    lapse = seconds_between(at, error)
    return lapse is not None and 0 <= lapse <= WITHIN


def _current(container: Any, info: Any) -> dict[str, Any]:
    """Return the errors of a container that are not over: an old trouble's have no part in this one."""
    errors = container.get("errors") or {}
    age = seconds_between(errors.get("last_at"), (info.get("clock") or {}).get("now"))
    return errors if age is not None and age < (CALM if errors.get("connected_at") else STILL) else {}


def _of_apps(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Yield each change once, with the first error that it may have caused."""
    for host, info in infos(evidence, "apps"):
        containers = [(one, _current(one, info or {})) for one in (info or {}).get("containers") or []]
        for change in (info or {}).get("changes") or []:
            # A container that was made anew breaks no other.
            about = change.get("container")
            errors = [
                (found["first_at"], one["name"])
                for one, found in containers
                if about in (None, one["name"]) and _before(change["at"], found.get("first_at"))
            ]
            if errors:
                first, name = min(errors)
                yield {"host": host, "what": change["what"], "at": change["at"],
                       "first_error": f"the first AMQP error of {name}", "first_error_at": first}  # fmt: skip


def _of_brokers(evidence: Evidence, began: str | None) -> Iterator[dict[str, Any]]:
    for host, info in infos(evidence, "brokers"):
        for change in (info or {}).get("changes") or []:
            if _before(change["at"], began):
                yield {"host": host, "what": change["what"], "at": change["at"], "first_error": "the outage",
                       "first_error_at": began}  # fmt: skip
