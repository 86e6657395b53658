# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How Sentry's table of events is asked: parameters, search terms, time range, pages. Pure functions.

After ``GET /api/0/organizations/<organization>/events/`` as docs.sentry.io describes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

PROJECT_ID = 1
PROJECT_SLUG = "veza-backend"
MAX_FIELDS = 20
MAX_PER_PAGE = 100

_PERIOD = re.compile(r"(\d+)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TERM = re.compile(r'(!?)([\w.\[\]-]+):("[^"]*"|\S+)|"([^"]*)"|(\S+)')
_BUILT_IN = {"id", "timestamp", "message", "title", "level", "logger", "project", "environment"}


class Invalid(Exception):
    """A parameter that Sentry answers with 400; the message is the answer's detail."""


@dataclass(frozen=True)
class Query:
    """A question that was understood."""

    fields: list[str]
    terms: list[tuple[bool, str, str]]
    """(negated, field or tag, value); an empty field means text of the message."""
    start: datetime
    end: datetime
    per_page: int
    offset: int
    ascending: bool
    environments: frozenset[str]
    """Empty: all."""


def parse(parameters: dict[str, list[str]], now: datetime) -> Query:
    """Return the question; Invalid when a parameter makes no sense."""

    def first(name: str) -> str | None:
        return parameters[name][0] if parameters.get(name) else None

    fields = parameters.get("field", [])
    if not fields:
        raise Invalid("No columns selected")
    if len(fields) > MAX_FIELDS:
        raise Invalid(f"You can view up to {MAX_FIELDS} fields at a time. Please delete some and try again.")
    for project in parameters.get("project", []):
        if not re.fullmatch(r"-?\d+", project):
            raise Invalid("Invalid project parameter. Values must be numbers.")
    start, end = time_range(first("start"), first("end"), first("statsPeriod"), now)
    per_page = first("per_page") or str(MAX_PER_PAGE)
    if not per_page.isdigit() or not 1 <= int(per_page) <= MAX_PER_PAGE:
        raise Invalid(f"Invalid per_page value. Must be between 1 and {MAX_PER_PAGE}.")
    cursor = re.fullmatch(r"(-?\d+):(\d+):([01])", first("cursor") or "0:0:0")
    if cursor is None:
        raise Invalid("Invalid cursor parameter.")
    terms = search_terms(first("query") or "")
    environments = frozenset(parameters.get("environment", []))
    return Query(fields, terms, start, end, int(per_page), int(cursor[2]), first("sort") == "timestamp", environments)


def time_range(start: str | None, end: str | None, period: str | None, now: datetime) -> tuple[datetime, datetime]:
    """Return the two ends asked for; 90 days when nothing was said. Naive instants are UTC."""
    if start or end:
        if not (start and end):
            raise Invalid("start and end are both required")
        try:
            first, last = _instant(start), _instant(end)
        except ValueError as error:
            raise Invalid(f"{error} is not a valid ISO8601 date query") from error
        if first > last:
            raise Invalid("start must be before end")
        return first, last
    match = _PERIOD.fullmatch(period or "90d")
    if match is None:
        raise Invalid("Invalid statsPeriod")
    return now - timedelta(seconds=int(match[1]) * _SECONDS[match[2]]), now


def _instant(text: str) -> datetime:
    value = datetime.fromisoformat(text.replace("Z", "+00:00").replace(" ", "+"))
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def search_terms(text: str) -> list[tuple[bool, str, str]]:
    """Return the terms of a search; all of them must hold."""
    terms = []
    for negated, name, value, quoted, word in _TERM.findall(text):
        if name:
            terms.append((bool(negated), _tag_name(name), value.strip('"')))
        elif quoted or word:
            terms.append((False, "", quoted or word))
    return terms


def _tag_name(name: str) -> str:
    match = re.fullmatch(r"tags\[(.+?)\]", name)
    return match[1] if match else name


def column(event: dict[str, Any], name: str) -> Any:
    """Return the value of a field or tag of an event, None when it has none."""
    if name in {"message", "title"}:
        return event["message"]
    if name == "timestamp":
        # Sentry's errors have whole seconds.
        return _instant(event["timestamp"]).replace(microsecond=0).isoformat()
    if name in _BUILT_IN:
        return {"id": event["event_id"], "project": PROJECT_SLUG}.get(name, event.get(name))
    return event["tags"].get(_tag_name(name))


def matches(event: dict[str, Any], query: Query) -> bool:
    """Tell whether an event belongs into the answer."""
    if not query.start <= _instant(event["timestamp"]) <= query.end:
        return False
    if query.environments and event.get("environment") not in query.environments:
        return False

    def holds(name: str, value: str) -> bool:
        if not name:
            return value.lower() in event["message"].lower()
        found = column(event, name)
        pattern = re.escape(value).replace(r"\*", ".*")
        return found is not None and re.fullmatch(pattern, str(found)) is not None

    return all(holds(name, value) != negated for negated, name, value in query.terms)


def page(events: list[dict[str, Any]], query: Query) -> tuple[list[dict[str, Any]], bool]:
    """Return the rows of the page asked for, and whether more follow."""
    found = [event for event in events if matches(event, query)]
    found.sort(key=lambda event: _instant(event["timestamp"]), reverse=not query.ascending)
    rows = found[query.offset : query.offset + query.per_page]
    more = len(found) > query.offset + query.per_page
    return [{name: column(event, name) for name in query.fields} for event in rows], more


def link_header(url: str, parameters: dict[str, list[str]], query: Query, more: bool) -> str:
    """Return the Link header: the previous and the next page, each saying whether it has results."""
    others = [(name, value) for name, values in parameters.items() for value in values if name != "cursor"]

    def link(rel: str, cursor: str, results: bool) -> str:
        target = f"{url}?{urlencode([*others, ('cursor', cursor)])}"
        return f'<{target}>; rel="{rel}"; results="{str(results).lower()}"; cursor="{cursor}"'

    previous = f"0:{max(query.offset - query.per_page, 0)}:1"
    following = f"0:{query.offset + query.per_page}:0"
    return f"{link('previous', previous, query.offset > 0)}, {link('next', following, more)}"


def meta(fields: list[str]) -> dict[str, Any]:
    """Return what the answer says of its columns."""
    kinds = {name: "date" if name == "timestamp" else "string" for name in fields}
    return {"fields": kinds, "units": dict.fromkeys(fields), "isMetricsData": False, "dataset": "discover"}
