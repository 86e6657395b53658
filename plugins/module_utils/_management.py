# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""RabbitMQ's management API: asks, and says what an answer means.

The API has its own ways: it never answers 403, ``not_authorized`` and ``not_authorised`` mean different things, a
500 has an empty body, and a proxy before it may answer 200 with a page of its own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ._errors import RequestFailed
from ._http import Reply

SEES_ALL = frozenset({"monitoring", "administrator"})
"""Tags of users for whom a vhost or a node that is not listed does not exist; to others it may be hidden."""

# What the broker calls the missing right, and the way to it.
_RIGHTS = {
    "Not management user": "it needs the tag monitoring",
    "Not monitor user": "it needs the tag monitoring",
    "Not administrator user": "it needs the tag administrator",
    "User not authorised to access virtual host": (
        "it needs a permission on the virtual host; set_permissions -p VHOST USER '^$' '^$' '^$' allows nothing more"
    ),
}


class Http(Protocol):
    """The part of HttpClient that is used here."""

    base_url: str
    timeout: float

    def get(self, path: str, *, params: Any = None, timeout: float | None = None) -> Reply:
        """Send a GET."""


MAY_NOT = "may not read this"
"""What is said of a user who is logged in, and has not the right."""


@dataclass(frozen=True)
class Answer:
    """What one request brought.

    ``outcome`` is ``ok``; ``check_failed`` (a health check says no), ``not_found``, ``login_refused``,
    ``not_permitted`` (logged in, but without the right), ``server_error``, ``not_management`` (another server
    answers), ``not_asked``; or one of RequestFailed's. ``document`` is the parsed body, None where there is none.
    ``detail`` is a sentence, or for ``ok`` what was asked.
    """

    outcome: str
    detail: str
    document: Any = None

    @property
    def ok(self) -> bool:
        """Whether the document is what was asked for."""
        return self.outcome == "ok"


def meaning(reply: Reply, user: str) -> Answer:
    """Return what an answer of any status means; ``user`` is who asked."""
    asked, document = f"GET {reply.url}", reply.json()
    error = document.get("error") if isinstance(document, dict) else None
    status = document.get("status") if isinstance(document, dict) else None
    if reply.status == 200 and document is not None:
        return Answer("ok", asked, document)
    if reply.status == 503 and status == "failed":
        return Answer("check_failed", f"{asked}: {document.get('reason', 'failed')}.", document)
    if reply.status == 401 and error == "not_authorised":
        reason = str(document.get("reason", "not authorised"))
        right = f"; {_RIGHTS[reason]}" if reason in _RIGHTS else ""
        return Answer("not_permitted", f"{asked}: the management user '{user}' {MAY_NOT} ({reason}{right}).")
    if reply.status == 401 and (error == "not_authorized" or not reply.body):
        return Answer("login_refused", f"{asked}: wrong user or password: the login of '{user}' is refused.")
    if reply.status == 404 and error is not None:
        return Answer("not_found", f"{asked}: there is no such thing (404).")
    said = reply.excerpt() or "an empty body"
    if reply.status >= 500 or error is not None:
        return Answer("server_error", f"{asked}: the server answers {reply.status} with {said}.")
    return Answer("not_management", f"{asked}: {reply.status} is not an answer of RabbitMQ's management API: {said}.")


class Management:
    """The management API behind an HTTP client; ``user`` is whom the client logs in as.

    One look is a handful of requests. It ends with the first that gets no answer in time: one that hangs must not
    cost the time of ten.
    """

    def __init__(self, http: Http, user: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = http.base_url
        self.user = user
        self._http = http
        self._clock = clock
        self._until = float("inf")
        self._hung = ""

    def begin(self, seconds: float) -> None:
        """Begin a look that may take so many seconds as a whole."""
        self._until = self._clock() + seconds
        self._hung = ""

    def left(self) -> float:
        """Return the seconds that are left of the look."""
        return max(self._until - self._clock(), 0.0)

    def ask(self, path: str, params: dict[str, str] | None = None) -> Answer:
        """Send a GET and return what came of it; nothing is raised for an answer or its absence."""
        left = self.left()
        if self._hung or not left:
            why = f"after {self._hung} got no answer" if self._hung else "the time for this look is over"
            return Answer("not_asked", f"GET {self.url}{path} was not asked: {why}.")
        try:
            return meaning(self._http.get(path, params=params, timeout=left), self.user)
        except RequestFailed as error:
            if error.outcome == "timed_out":
                self._hung = f"GET {self.url}{path}"
            return Answer(error.outcome, error.message)


def version_of(text: Any) -> tuple[int, ...]:
    """Return RabbitMQ's version as numbers (``4.1.0-rc.1`` is 4, 1, 0); empty when unknown."""
    match = re.match(r"(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?", text) if isinstance(text, str) else None
    return tuple(int(part or 0) for part in match.groups()) if match else ()


def mapping(value: Any) -> dict[str, Any]:
    """Return an object; an empty list is what the broker writes for one without entries, all else is foreign."""
    return value if isinstance(value, dict) else {}


def records(document: Any) -> list[dict[str, Any]]:
    """Return a list's objects; with ``columns`` an entry without data is an empty list."""
    return [entry for entry in document if isinstance(entry, dict)] if isinstance(document, list) else []


def by_name(document: Any) -> dict[str, dict[str, Any]]:
    """Return a list's objects by their names."""
    return {entry["name"]: entry for entry in records(document) if isinstance(entry.get("name"), str)}
