# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the container engine says of the application's containers. Pure, but for ``Engine``.

An environment holds secrets: it is read here, and nothing of it leaves but user, host, virtual host and a fingerprint.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote, urlsplit

from . import _command
from ._mask import masked
from ._record import stamp

SERVICE = "com.docker.compose.service"
FILES = "com.docker.compose.project.config_files"
DIRECTORY = "com.docker.compose.project.working_dir"
PROJECT = "com.docker.compose.project"
ONE_OFF = "com.docker.compose.oneoff"

STREAK = 600.0
"""Seconds without an AMQP error after which the next one is the first of another trouble."""

CALM = 60.0
"""The same after the application has said that it is connected."""

TAIL = 512 * 1024
"""Bytes that are read of the end of a container's log."""

_ABOUT_AMQP = re.compile(r"amqp|rabbit|eventbus", re.IGNORECASE)
_ERROR = re.compile(
    r"error|fail|refused|timed?.?out|denied|closed|reset|lost|degraded|not connected|unreachable|unresolv"
    r"|exception \(\d",
    re.IGNORECASE,
)

_CONNECTED = re.compile(r"\b(re)?connected\b|established|recovered", re.IGNORECASE)

_REFUSED = re.compile(
    r"\bnack|unroutable|no_route|not_found|precondition_failed|resource_locked"
    r"|access_refused(?!.{0,9}login was refused)",
    re.IGNORECASE,
)
"""How a client quotes a broker that talks to it, and refuses what it publishes; a login is another thing."""

_NEVER = "0001-01-01"
"""How docker writes an instant that has not been."""

_PORTS = {"amqp": 5672, "amqps": 5671}


class EngineSilent(Exception):
    """The engine gave no answer; the message says what it said. ``absent`` tells that there is none."""

    def __init__(self, message: str, absent: bool = False) -> None:
        super().__init__(message)
        self.absent = absent


@dataclass(frozen=True)
class Login:
    """Where and how a container's application logs in to the broker."""

    variable: str
    host: str
    port: int
    vhost: str
    user: str
    password: str
    tls: bool

    def shown(self, password: str | None) -> dict[str, Any]:
        """Return what may be shown, and whether its password is ``password``."""
        return {
            "variable": self.variable,
            "host": self.host,
            "port": self.port,
            "vhost": self.vhost,
            "user": self.user,
            "fingerprint": fingerprint(self.user, self.password),
            "matches": None if password is None else hmac.compare_digest(self.password.encode(), password.encode()),
        }


def fingerprint(user: str, password: str) -> str:
    """Return six hex digits that tell two passwords of a user apart.

    They are made slowly, and are so few that a guessed password which fits them is most likely another one.
    """
    return hashlib.pbkdf2_hmac("sha256", password.encode(), b"veza.rabbitmq:" + user.encode(), 100_000)[:3].hex()


def login_of(environment: list[str], variable: str) -> Login | None:
    """Return the login that a variable of an environment holds; None if it is not there, or is no AMQP URL."""
    for entry in environment:
        name, _is, value = entry.partition("=")
        if name != variable:
            continue
        with suppress(ValueError):
            url = urlsplit(value)
            if url.scheme in _PORTS and url.hostname:
                return Login(
                    variable=variable,
                    host=url.hostname,
                    port=url.port or _PORTS[url.scheme],
                    vhost=unquote(url.path[1:]) or "/",
                    user=unquote(url.username or "guest"),
                    password=unquote(url.password or "guest"),
                    tls=url.scheme == "amqps",
                )
    return None


def name_of(document: dict[str, Any]) -> str:
    """Return the name of a container, which the engine begins with a slash."""
    return str(document.get("Name", "")).lstrip("/")


def instant(text: str | None) -> str | None:
    """Return an instant of docker's (nanoseconds, any offset) as ours."""
    if not text or text.startswith(_NEVER):
        return None
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$", text)
    if not match:
        return None
    moment = datetime.fromisoformat(match[1] + (match[2] or ".0")[:7].ljust(7, "0") + match[3].replace("Z", "+00:00"))
    return stamp(moment.astimezone(timezone.utc))


def described(document: dict[str, Any]) -> dict[str, Any]:
    """Return what ``docker inspect`` says of a container's state, without its environment."""
    state, config = document.get("State") or {}, document.get("Config") or {}
    policy = (document.get("HostConfig") or {}).get("RestartPolicy") or {}
    ended = state.get("Status") in ("exited", "dead")
    return {
        "name": name_of(document),
        "service": (config.get("Labels") or {}).get(SERVICE),
        "image": config.get("Image"),
        "id": document.get("Id"),
        "pid": state.get("Pid") or None,
        "state": state.get("Status"),
        "created_at": instant(document.get("Created")),
        "started_at": instant(state.get("StartedAt")),
        "finished_at": instant(state.get("FinishedAt")),
        "exit_code": state.get("ExitCode") if ended else None,
        "oom_killed": bool(state.get("OOMKilled")),
        "restarts": document.get("RestartCount"),
        "restart_policy": policy.get("Name") or None,
        "networks": _networks(document),
    }


def _networks(document: dict[str, Any]) -> list[str] | None:
    """Return the networks that a container is in; None where it was given the host's, or another container's."""
    mode = str((document.get("HostConfig") or {}).get("NetworkMode") or "")
    if mode in ("host", "none") or mode.startswith("container:"):
        return None
    found = (document.get("NetworkSettings") or {}).get("Networks")
    return None if found is None else sorted(found)


def missing(name: str, service: str | None) -> dict[str, Any]:
    """Return a container that was asked for, and that is not there."""
    keys = (
        "image",
        "id",
        "pid",
        "created_at",
        "started_at",
        "finished_at",
        "exit_code",
        "restarts",
        "restart_policy",
        "networks",
    )
    return {"name": name, "service": service, "state": "missing", "oom_killed": False, **dict.fromkeys(keys)}


def labels(document: Mapping[str, Any]) -> dict[str, str]:
    """Return a container's labels."""
    found: dict[str, str] = (document.get("Config") or {}).get("Labels") or {}
    return found


def of_service(documents: list[dict[str, Any]], service: str) -> list[dict[str, Any]]:
    """Return the containers of a compose service, without what ``compose run`` has left of it."""
    found = [(document, labels(document)) for document in documents]
    return [one for one, known in found if known.get(SERVICE) == service and known.get(ONE_OFF) != "True"]


def chosen(documents: list[dict[str, Any]], names: list[str], services: list[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield ``(name, service, document)`` of each wanted container, with None for one that is not there."""
    by_name = {name_of(document): document for document in documents}
    for name in names:
        yield name, "", by_name.get(name)
    for service in services:
        found = of_service(documents, service)
        for document in found:
            yield name_of(document), service, document
        if not found:
            yield service, service, None


def errors(text: str, started_at: str | None) -> dict[str, Any] | None:
    """Return the last streak of AMQP errors in a container's log (docker's json-file) since it was started.

    A while without errors ends a streak; a shorter one does if it began with a connection.
    """
    lines: list[tuple[str, str, bool]] = []
    for raw in text.splitlines():
        with suppress(ValueError, AttributeError, TypeError):
            entry = json.loads(raw)
            at, said = instant(entry.get("time")), str(entry.get("log", "")).strip()
            if at and (not started_at or at >= started_at) and _ABOUT_AMQP.search(said):
                bad = bool(_ERROR.search(said))
                if bad or _CONNECTED.search(said):
                    lines.append((at, said, bad))
    streak: list[tuple[str, str]] = []
    before: tuple[str, bool] | None = None
    for at, said, bad in lines:
        if bad and before and _lapse(before[0], at) >= (STREAK if before[1] else CALM):
            streak = []
        if bad:
            streak.append((at, said))
        before = (at, bad)
    if not streak:
        return None
    first, last = streak[0], streak[-1]
    connected = None if before is None or before[1] else before[0]
    return {
        "first_at": first[0],
        "last_at": last[0],
        "count": len(streak),
        "last_line": masked(last[1]),
        "connected_at": connected,
        "refused": _refused(streak),
    }


def _refused(streak: list[tuple[str, str]]) -> dict[str, Any] | None:
    """Return those of a streak in which the broker refuses what is published; None if there are none."""
    found = [(at, said) for at, said in streak if _REFUSED.search(said)]
    if not found:
        return None
    first, last = found[0], found[-1]
    return {"first_at": first[0], "last_at": last[0], "count": len(found), "last_line": masked(last[1])}


def _lapse(earlier: str, later: str) -> float:
    first, second = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (earlier, later))
    return (second - first).total_seconds()


class Engine:
    """The container engine, by its command line."""

    def __init__(self, command: str, timeout: float) -> None:
        self.command = command
        self.timeout = timeout

    def inspect(self) -> list[dict[str, Any]]:
        """Return what it says of all containers, with their environments; EngineSilent if it says nothing."""
        ids = self._run("ps", "--all", "--quiet", "--no-trunc").split()
        if not ids:
            return []
        # Said even when one of them has just gone.
        found = self._run("container", "inspect", *ids, partial=True)
        try:
            documents = json.loads(found)
        except (ValueError, RecursionError):
            documents = None
        if not isinstance(documents, list):
            raise EngineSilent(f"{self.command} container inspect did not answer with a list in JSON")
        return [document for document in documents if isinstance(document, dict)]

    def _run(self, *arguments: str, partial: bool = False) -> str:
        ended = _command.run([self.command, *arguments], self.timeout)
        if ended.absent:
            raise EngineSilent(f"there is no program {self.command}", absent=True)
        if ended.code is None or (ended.code != 0 and not (partial and ended.out.strip())):
            raise EngineSilent(f"{self.command} {arguments[0]} {ended.failure()[:300]}")
        return ended.out
