# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.lab.veza import sentry_query
from tests.lab.veza.sentry_query import Invalid

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)


def event(number: int, **tags: str) -> dict[str, Any]:
    at = NOW - timedelta(seconds=100 - number)
    stamp = at.isoformat(timespec="milliseconds")
    return {"event_id": f"e{number}", "timestamp": stamp, "message": "publish dropped", "level": "error", "tags": tags}


def ask(**parameters: str | list[str]) -> sentry_query.Query:
    given = {name: [value] if isinstance(value, str) else value for name, value in parameters.items()}
    return sentry_query.parse({"field": ["id"], **given}, NOW)


@pytest.mark.parametrize(
    ("parameters", "detail"),
    [
        ({"field": []}, "No columns selected"),
        ({"field": [f"f{number}" for number in range(21)]}, "up to 20 fields"),
        ({"per_page": "101"}, "between 1 and 100"),
        ({"per_page": "0"}, "between 1 and 100"),
        ({"start": "2026-11-23T00:00:00Z"}, "start and end are both required"),
        ({"start": "2026-11-23T02:00:00", "end": "2026-11-23T01:00:00"}, "start must be before end"),
        ({"start": "yesterday", "end": "today"}, "not a valid ISO8601"),
        ({"statsPeriod": "a while"}, "Invalid statsPeriod"),
        ({"project": "veza-backend"}, "Invalid project parameter"),
        ({"cursor": "2"}, "Invalid cursor parameter"),
    ],
)
def test_what_sentry_refuses(parameters: dict[str, Any], detail: str) -> None:
    with pytest.raises(Invalid, match=detail):
        ask(**parameters)


def test_naive_instants_are_utc_and_offsets_hold() -> None:
    query = ask(start="2026-11-23T19:00:00", end="2026-11-23T21:00:00+01:00")
    assert (query.start, query.end) == (NOW - timedelta(hours=1), NOW)


def test_an_offset_whose_plus_was_decoded_as_a_space_is_understood() -> None:
    assert ask(start="2026-11-23T20:00:00 01:00", end="2026-11-23T20:00:00Z").start == NOW - timedelta(hours=1)


def test_a_period_ends_now() -> None:
    query = ask(statsPeriod="24h")
    assert (query.start, query.end) == (NOW - timedelta(days=1), NOW)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("eventbus.status:degraded", ["e2", "e1"]),
        ("tags[kind]:dmca", ["e2"]),
        ('kind:"dmca" eventbus.status:degraded', ["e2"]),
        ("!kind:dmca", ["e3", "e1"]),
        ("kind:trans*", ["e1"]),
        ("level:error dropped", ["e3", "e2", "e1"]),
        ("something else", []),
        ("", ["e3", "e2", "e1"]),
    ],
)
def test_search(search: str, found: list[str]) -> None:
    events = [
        event(1, **{"eventbus.status": "degraded", "kind": "transcode"}),
        event(2, **{"eventbus.status": "degraded", "kind": "dmca"}),
        event(3),
    ]
    rows, more = sentry_query.page(events, ask(query=search))
    assert ([row["id"] for row in rows], more) == (found, False)


@pytest.mark.parametrize(
    ("environments", "found"),
    [([], ["e3", "e2", "e1"]), (["staging"], ["e2"]), (["production", "staging"], ["e2", "e1"])],
)
def test_only_the_environments_asked_for_count(environments: list[str], found: list[str]) -> None:
    events = [{**event(1), "environment": "production"}, {**event(2), "environment": "staging"}, event(3)]
    rows, _more = sentry_query.page(events, ask(environment=environments))
    assert [row["id"] for row in rows] == found


def test_a_row_has_the_fields_asked_for() -> None:
    query = ask(field=["id", "timestamp", "kind", "tags[kind]", "nothing"])
    rows, _more = sentry_query.page([event(1, kind="dmca")], query)
    at = "2026-11-23T19:58:21+00:00"
    assert rows == [{"id": "e1", "timestamp": at, "kind": "dmca", "tags[kind]": "dmca", "nothing": None}]


def test_pages_follow_each_other_to_the_end() -> None:
    events = [event(number) for number in range(5)]
    seen, cursor = [], "0:0:0"
    for results in ("true", "true", "false"):
        query = ask(per_page="2", cursor=cursor)
        rows, more = sentry_query.page(events, query)
        seen += [row["id"] for row in rows]
        cursor = f"0:{query.offset + query.per_page}:0"
        link = sentry_query.link_header("http://sentry/events/", {"field": ["id"]}, query, more)
        assert f'rel="next"; results="{results}"; cursor="{cursor}"' in link
    assert seen == ["e4", "e3", "e2", "e1", "e0"]


def test_an_event_outside_the_time_range_is_not_found() -> None:
    query = ask(start="2026-11-23T19:58:22Z", end="2026-11-23T20:00:00Z")
    rows, _more = sentry_query.page([event(1), event(2)], query)
    assert [row["id"] for row in rows] == ["e2"]
