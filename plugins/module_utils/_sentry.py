# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dropped events from Sentry's organisation events endpoint, page by page to the end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ._dropped import NAMES, Findings, event_of, instant_of, moved
from ._errors import RequestFailed, VezaError
from ._http import HttpClient, Reply
from ._retry import Pace, Sent, send
from ._window import Window

PER_PAGE = 100
"""The most that Sentry gives."""

_LINK = re.compile(r"<[^<>]*>((?:\s*;\s*[\w-]+\s*=\s*(?:\"[^\"]*\"|[^\s;,]+))*)")
_LINK_PARAMETER = re.compile(r"([\w-]+)\s*=\s*(?:\"([^\"]*)\"|([^\s;,]+))")

ADVICE = {
    400: "Sentry does not understand the query or the window.",
    401: "the token is wrong or has expired.",
    403: "the token may not read events: it needs the scope org:read, or event:read, in this organisation.",
    404: "there is no such organisation or environment, the token may not see it, or this is no Sentry: check "
    "sentry_url.",
    429: "Sentry limits the rate: try again later.",
}


@dataclass(frozen=True)
class Question:
    """What to ask Sentry for."""

    organization: str
    project: str
    """Slug or number; empty for all that the token sees."""
    query: str
    environments: tuple[str, ...] = ()
    """Empty for all."""

    def path(self) -> str:
        """Return the endpoint's path."""
        return f"/api/0/organizations/{self.organization}/events/"

    def params(self, window: Window, cursor: str | None) -> list[tuple[str, str]]:
        """Return the query string. Sentry stores whole seconds: the window is widened to those, never cut."""
        numbered = re.fullmatch(r"-?\d+", self.project) is not None
        by_slug = f" project:{self.project}" if self.project and not numbered else ""
        start, end = whole_seconds(window)
        params = [
            ("query", self.query + by_slug),
            ("project", self.project if numbered else "-1"),
            *(("environment", name) for name in self.environments),
            # Without an offset, which every version of Sentry reads as UTC.
            ("start", start.strftime("%Y-%m-%dT%H:%M:%S")),
            ("end", end.strftime("%Y-%m-%dT%H:%M:%S")),
            *(("field", name) for name in ("id", "timestamp", *(f"tags[{name}]" for name in NAMES))),
            # Oldest first: events that arrive meanwhile come last and move no page.
            ("sort", "timestamp"),
            ("dataset", "errors"),
            ("per_page", str(PER_PAGE)),
        ]
        return params + ([("cursor", cursor)] if cursor is not None else [])


def whole_seconds(window: Window) -> tuple[datetime, datetime]:
    """Return the smallest window of whole seconds that holds ``window``, in UTC."""
    start = window.start.astimezone(timezone.utc).replace(microsecond=0)
    end = window.end.astimezone(timezone.utc)
    return start, moved(end.replace(microsecond=0), timedelta(seconds=1 if end.microsecond else 0))


def next_cursor(link: str) -> str | None:
    """Return the cursor of the next page that a Link header names, or None if it says that this was the last.

    ValueError if it says neither.
    """
    for match in _LINK.finditer(link):
        values = {name: quoted or bare for name, quoted, bare in _LINK_PARAMETER.findall(match[1])}
        if values.get("rel") == "next":
            if values.get("results") == "false":
                return None
            if not values.get("cursor"):
                raise ValueError("the answer's Link header names a next page and no cursor")
            return values["cursor"]
    raise ValueError("the answer's Link header names no next page" if link else "the answer has no Link header")


def read_all(client: HttpClient, question: Question, findings: Findings, pace: Pace) -> None:
    """Read every page into ``findings``. What goes wrong on the first page is raised; later on it is a reason."""
    cursor: str | None = None
    seen: set[str] = set()
    # Pages may come back shorter than asked for, or empty: ten times the pages that should be needed is enough.
    most = 10 * (findings.max_events // PER_PAGE + 1)
    while findings.pages < most:
        try:
            rows, reply = _page(client, question, findings.window, cursor, pace)
        except VezaError as error:
            if findings.pages == 0:
                raise
            findings.reasons.append(f"Sentry's list was cut after {findings.pages} pages: {error.message}")
            return
        findings.pages += 1
        if not _keep(rows, findings):
            return
        try:
            cursor = next_cursor(reply.headers.get("link", ""))
        except ValueError as error:
            # A Sentry behind a proxy that drops the header: a page that isn't full is the last all the same.
            if len(rows) >= PER_PAGE or reply.headers.get("link"):
                findings.reasons.append(f"Sentry's list was cut after {findings.pages} pages: {error}")
            return
        if cursor is None:
            return
        if cursor in seen:
            findings.reasons.append(f"Sentry's list was cut after {findings.pages} pages: Sentry repeated a cursor")
            return
        seen.add(cursor)
    findings.reasons.append(f"Sentry's list was cut after {findings.pages} pages: there were still more")


def _page(
    client: HttpClient, question: Question, window: Window, cursor: str | None, pace: Pace
) -> tuple[list[Any], Reply]:
    try:
        sent = send(client, "GET", question.path(), pace, params=question.params(window, cursor))
    except RequestFailed as error:
        raise VezaError(f"Sentry could not be asked: {error.message}") from error
    reply = sent.reply
    if reply.status != 200:
        raise VezaError(_refusal(sent))
    document = reply.json()
    if document == []:  # how older versions answer a token that sees no project
        raise VezaError(f"GET {reply.url}: the token sees no project of organisation {question.organization}.")
    rows = document.get("data") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise VezaError(f"GET {reply.url}: 200, but not a table of events: {reply.excerpt()}")
    return rows, reply


def _refusal(sent: Sent) -> str:
    reply = sent.reply
    advice = ADVICE.get(reply.status, "Sentry failed." if reply.status >= 500 else "this is not Sentry's API.")
    gave_up = f" ({sent.gave_up})" if sent.gave_up else ""
    return f"GET {reply.url}: {reply.status}{gave_up}: {advice} It answered: {reply.excerpt() or 'nothing'}"


def _keep(rows: list[Any], findings: Findings) -> bool:
    """Add a page's events; return False when there is no more room."""
    start, end = whole_seconds(findings.window)
    for row in rows:
        at = instant_of(row.get("timestamp")) if isinstance(row, dict) else None
        if at is None:
            findings.reasons.append("Sentry gave events without an instant")
        elif start <= at < end:
            names = {name: row.get(f"tags[{name}]", row.get(name)) for name in NAMES}
            if not findings.take(names, event_of(names, at, "sentry", ident=str(row.get("id", "")))):
                return False
    return True
