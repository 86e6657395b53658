# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import json
import os
import signal
import stat
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _rows
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._retry import MASK, Pace
from ansible_collections.veza.rabbitmq.plugins.module_utils._sentry import next_cursor
from ansible_collections.veza.rabbitmq.plugins.modules import eventbus_dropped_info
from tests.unit.scripted_http import Answer, Asked, FakeTime, Script, Server, scripted, served

TOKEN = "sntrys_s3cr3t"
START = datetime(2026, 11, 23, 20, 15, 0, 400_000, tzinfo=UTC)
END = datetime(2026, 11, 23, 20, 55, tzinfo=UTC)
KEYS = {"changed", "source", "instance", "events", "count", "completeness", "pages", "notices", "message"}


def options(source: str, **given: Any) -> dict[str, Any]:
    spec = eventbus_dropped_info.argument_spec()
    assert set(given) <= set(spec)
    defaults = {name: option.get("default") for name, option in spec.items()}
    window = {"start": START.isoformat(), "end": END.isoformat()}
    return {**defaults, "source": source, **window, **given}


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime(epoch=END.timestamp() + 60)


def run(fake: FakeTime, params: dict[str, Any]) -> dict[str, Any]:
    pace = Pace(params["timeout"], params["retries"], fake.clock, fake.now, fake.sleep)
    result = eventbus_dropped_info.run(params, pace=pace)
    assert set(result) == KEYS
    assert result["changed"] is False
    return result


# -- Sentry ------------------------------------------------------------------------------------------------------------


def row(number: int, **more: Any) -> dict[str, Any]:
    tags = {"kind": "transcode", "entity_id": str(number), "key": f"transcode:{number}:1", "queue": "transcode_jobs"}
    at = (START + timedelta(seconds=number % 2000 + 1)).replace(microsecond=0).isoformat()
    named = {f"tags[{name}]": value for name, value in {**tags, "instance": "backend-1"}.items()}
    return {"id": f"{number:032x}", "timestamp": at, **named, **more}


def link(cursor: str, results: str = "true") -> dict[str, str]:
    previous = '<https://sentry/x?cursor=0:0:1>; rel="previous"; results="false"; cursor="0:0:1"'
    following = f'<https://sentry/x?a=b,c&cursor={cursor}>; rel="next"; results="{results}"; cursor="{cursor}"'
    return {"Link": f"{previous}, {following}"}


def page(rows: list[Any], cursor: str = "0:100:0", results: str = "true") -> Answer:
    return Answer(200, {"data": rows, "meta": {"fields": {}}}, link(cursor, results))


def last(rows: list[Any]) -> Answer:
    return page(rows, results="false")


def paged(total: int) -> Script:
    """Return a script that pages through ``total`` events as Sentry does."""

    def script(asked: Asked, _number: int) -> Answer:
        offset = int((asked.param("cursor") or "0:0:0").split(":")[1])
        rows = [row(number) for number in range(total)][offset : offset + 100]
        return page(rows, f"0:{offset + 100}:0", "true" if offset + 100 < total else "false")

    return script


def ask(server: Server, fake: FakeTime, **given: Any) -> dict[str, Any]:
    return run(fake, options("sentry", **{"sentry_url": server.url, "organization": "veza", "token": TOKEN, **given}))


def asked_sentry(script: Script, fake: FakeTime, **given: Any) -> dict[str, Any]:
    with served(script) as server:
        return ask(server, fake, **given)


def refused_by_sentry(script: Script, fake: FakeTime, **given: Any) -> VezaError:
    with pytest.raises(VezaError) as caught:
        asked_sentry(script, fake, **given)
    details = caught.value.details
    assert set(details) >= KEYS
    assert (details["count"], details["events"], details["completeness"]["state"]) == (None, [], "unknown")
    assert TOKEN not in json.dumps(caught.value.fail_json_arguments())
    return caught.value


def reasons(result: dict[str, Any]) -> str:
    return "; ".join(result["completeness"]["reasons"])


def test_what_sentry_is_asked(fake: FakeTime) -> None:
    with served(scripted(last([]))) as server:
        ask(server, fake, project="veza-backend")
    asked = server.asked[0]

    assert (asked.method, asked.path) == ("GET", "/api/0/organizations/veza/events/")
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.params == [
        ("query", "eventbus.status:degraded project:veza-backend"),
        ("project", "-1"),
        ("start", "2026-11-23T20:15:00"),
        ("end", "2026-11-23T20:55:00"),
        ("field", "id"),
        ("field", "timestamp"),
        ("field", "tags[kind]"),
        ("field", "tags[entity_id]"),
        ("field", "tags[key]"),
        ("field", "tags[queue]"),
        ("field", "tags[instance]"),
        ("sort", "timestamp"),
        ("dataset", "errors"),
        ("per_page", "100"),
    ]


@pytest.mark.parametrize("names", [["production"], ["production", "eu"]])
def test_only_the_environments_that_are_named_are_asked_for(fake: FakeTime, names: list[str]) -> None:
    with served(scripted(last([]))) as server:
        ask(server, fake, environment=names)

    assert [value for name, value in server.asked[0].params if name == "environment"] == names


def test_a_projects_number_is_a_parameter_and_instants_are_asked_in_utc(fake: FakeTime) -> None:
    with served(scripted(last([]))) as server:
        ask(
            server,
            fake,
            project="17",
            query="tag:x",
            organization="a/b",
            start="2026-11-23T21:15:00.9+01:00",
            end="2026-11-23T15:45:00.1-05:00",
        )
    asked = server.asked[0]

    assert asked.path == "/api/0/organizations/a%2Fb/events/"
    assert [asked.param(name) for name in ("query", "project")] == ["tag:x", "17"]
    assert [asked.param(name) for name in ("start", "end")] == ["2026-11-23T20:15:00", "2026-11-23T20:45:01"]


def test_an_event_from_sentry(fake: FakeTime) -> None:
    result = asked_sentry(scripted(last([row(1)])), fake)

    assert result["events"] == [
        {
            "kind": "transcode",
            "entity_id": "1",
            "key": "transcode:1:1",
            "queue": "transcode_jobs",
            "instance": "backend-1",
            "at": "2026-11-23T20:15:02Z",
            "source": "sentry",
        }
    ]


def test_a_number_from_sentry_is_a_lower_bound(fake: FakeTime) -> None:
    result = asked_sentry(scripted(last([row(1)])), fake)

    assert (result["count"], result["completeness"]["state"]) == (1, "at_least")
    assert "sampling" in reasons(result)
    assert result["message"].startswith("at least 1 events from 2026-11-23T20:15:00.400000Z to 2026-11-23T20:55:00Z")


def test_a_sentry_that_is_vouched_for_is_exact(fake: FakeTime) -> None:
    assert asked_sentry(scripted(last([])), fake, sampled=False)["completeness"]["state"] == "exact"


@pytest.mark.parametrize("total", [0, 1, 99, 100, 101, 1250])
def test_every_page_is_read(fake: FakeTime, total: int) -> None:
    result = asked_sentry(paged(total), fake, sampled=False)

    assert (result["count"], result["completeness"]["state"]) == (total, "exact")
    assert result["pages"] == max((total + 99) // 100, 1)


def test_the_same_event_on_two_pages_is_one(fake: FakeTime) -> None:
    result = asked_sentry(scripted(page([row(1), row(2)]), last([row(2), row(3)])), fake)

    assert [event["entity_id"] for event in result["events"]] == ["1", "2", "3"]


def test_an_empty_page_is_not_the_end_if_it_says_so(fake: FakeTime) -> None:
    assert asked_sentry(scripted(page([]), last([row(3)])), fake)["count"] == 1


@pytest.mark.parametrize(
    ("answers", "count", "reason"),
    [
        pytest.param([page([row(1)]), page([row(2)])], 2, "repeated a cursor", id="a repeated cursor"),
        pytest.param(
            [page([row(1)]), Answer(401, {"detail": "Invalid token"})], 1, "cut after 1 pages", id="401 in the middle"
        ),
        pytest.param(
            [page([row(1)]), Answer(400, {"detail": "Invalid cursor parameter."})],
            1,
            "Invalid cursor",
            id="400 in the middle",
        ),
        pytest.param(
            [page([row(1)]), Answer(200, "<html>", {"Content-Type": "text/html"})],
            1,
            "not a table",
            id="HTML in the middle",
        ),
        pytest.param(
            [page([row(1)]), *[Answer(200, {"data": [row(2)]}, fault="cut")] * 9], 1, "closed", id="a page that is cut"
        ),
        pytest.param([page([row(1)]), *[Answer(500)] * 9], 1, "gave up after 9 attempts", id="500 for ever"),
        pytest.param(
            [page([row(1)]), Answer(429, "", {"Retry-After": "3600"})],
            1,
            "asked to wait 3600 s",
            id="429 in the middle",
        ),
        pytest.param(
            [Answer(200, {"data": [row(number) for number in range(100)]})], 100, "no Link header", id="no Link header"
        ),
        pytest.param(
            [Answer(200, {"data": [row(1)]}, {"Link": '<x>; rel="next"; results="true"'})],
            1,
            "no cursor",
            id="no cursor",
        ),
        pytest.param(
            [Answer(200, {"data": [row(1)]}, {"Link": '<x>; rel="previous"; results="true"'})],
            1,
            "names no next page",
            id="no next page",
        ),
        pytest.param([last([row(1), {"id": "x"}])], 1, "without an instant", id="an event without its instant"),
        pytest.param([last([row(1), "x"])], 1, "without an instant", id="an event that is none"),
    ],
)
def test_nothing_is_cut_silently(fake: FakeTime, answers: list[Answer], count: int, reason: str) -> None:
    result = asked_sentry(scripted(*answers), fake, sampled=False, timeout=600.0)

    assert (result["count"], result["completeness"]["state"]) == (count, "at_least")
    assert reason in reasons(result)


def test_a_proxy_that_drops_the_link_header_does_no_harm_to_a_short_page(fake: FakeTime) -> None:
    result = asked_sentry(scripted(Answer(200, {"data": [row(1)]})), fake, sampled=False)

    assert result["completeness"]["state"] == "exact"


def test_a_sentry_that_pages_for_ever_is_left(fake: FakeTime) -> None:
    def script(_asked: Asked, number: int) -> Answer:
        return page([row(1)], f"0:{number}:0")

    result = asked_sentry(script, fake, max_events=100, sampled=False)

    assert (result["count"], result["pages"]) == (1, 20)
    assert "there were still more" in reasons(result)


def test_more_than_max_events_ends_the_paging(fake: FakeTime) -> None:
    with served(paged(1000)) as server:
        result = ask(server, fake, max_events=150, sampled=False)

    assert (result["count"], len(server.asked), result["completeness"]["state"]) == (150, 2, "at_least")
    assert "max_events=150" in reasons(result)


def test_exactly_max_events_are_not_too_many(fake: FakeTime) -> None:
    assert asked_sentry(paged(200), fake, max_events=200, sampled=False)["completeness"]["state"] == "exact"


def test_events_outside_the_window_do_not_count(fake: FakeTime) -> None:
    rows = [row(1, timestamp="2026-11-23T20:14:59+00:00"), row(2), row(3, timestamp="2026-11-23T20:55:00+00:00")]
    result = asked_sentry(scripted(last(rows)), fake, sampled=False)

    assert [event["entity_id"] for event in result["events"]] == ["2"]


def test_the_second_in_which_the_window_begins_belongs_to_it(fake: FakeTime) -> None:
    result = asked_sentry(scripted(last([row(1, timestamp="2026-11-23T20:15:00+00:00")])), fake)

    assert result["count"] == 1


def test_names_without_brackets_are_read_too(fake: FakeTime) -> None:
    plain = {"id": "1", "timestamp": "2026-11-23T20:20:00+00:00", "kind": "dmca", "entity_id": 4, "instance": None}
    event = asked_sentry(scripted(last([plain])), fake)["events"][0]

    assert (event["kind"], event["entity_id"], event["instance"]) == ("dmca", "4", "")


def test_two_notices_are_no_events(fake: FakeTime) -> None:
    nameless = {"timestamp": "2026-11-23T20:20:00+00:00", "tags[instance]": "backend-1"}
    result = asked_sentry(scripted(last([{"id": "1", **nameless}, {"id": "2", **nameless}])), fake, sampled=False)

    assert (result["count"], result["notices"], result["completeness"]["state"]) == (0, 2, "at_least")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(Answer(401, {"detail": "Invalid token"}), "wrong or has expired", id="401"),
        pytest.param(Answer(403, {"detail": "You do not have permission"}), "scope org:read", id="403"),
        pytest.param(
            Answer(404, {"detail": "The requested resource does not exist"}), "no such organisation", id="404"
        ),
        pytest.param(Answer(400, {"detail": "Invalid date range"}), "Invalid date range", id="400"),
        pytest.param(Answer(302, "", {"Location": "/auth/login/"}), "not Sentry's API", id="302"),
        pytest.param(Answer(200, "<html>Sign in", {"Content-Type": "text/html"}), "not a table of events", id="HTML"),
        pytest.param(Answer(200, {"data": None}), "not a table of events", id="no rows"),
        pytest.param(Answer(200, []), "sees no project", id="a token without projects"),
        pytest.param(Answer(429, "", {"Retry-After": "3600"}), "limits the rate", id="429 for an hour"),
    ],
)
def test_a_refusal_of_sentry_is_never_zero_events(fake: FakeTime, answer: Answer, said: str) -> None:
    assert said in refused_by_sentry(scripted(answer), fake).message


@pytest.mark.parametrize(
    ("headers", "slept"),
    [
        pytest.param({"Retry-After": "7"}, [7.0], id="Retry-After"),
        pytest.param({"Retry-After": "\xb2", "X-Sentry-Rate-Limit-Reset": "\xb2"}, [0.5], id="no number"),
        pytest.param({"X-Sentry-Rate-Limit-Reset": str(int(END.timestamp()) + 71)}, [11.0], id="Sentry's own header"),
        pytest.param({"Retry-After": "3", "X-Sentry-Rate-Limit-Reset": "99999999999"}, [3.0], id="both"),
        pytest.param({"X-Sentry-Rate-Limit-Reset": "soon"}, [0.5], id="neither"),
    ],
)
def test_the_rate_limit_is_kept(fake: FakeTime, headers: dict[str, str], slept: list[float]) -> None:
    result = asked_sentry(scripted(Answer(429, "", headers), last([row(1)])), fake)

    assert (result["count"], fake.slept) == (1, slept)


@pytest.mark.parametrize("fault", ["hang", "reset"])
def test_sentrys_timeout_holds_by_the_real_clock(fault: str) -> None:
    with served(lambda _asked, _number: Answer(fault=fault)) as server:
        params = options(
            "sentry", sentry_url=server.url, organization="veza", token=TOKEN, timeout=2.0, request_timeout=0.6
        )
        began = time.monotonic()
        with pytest.raises(VezaError, match="Sentry could not be asked"):
            eventbus_dropped_info.run(params)

    # Well before the server would have ended the request (30 s).
    assert time.monotonic() - began < 15.0


def test_a_token_that_sentry_echoes_is_masked(fake: FakeTime) -> None:
    error = refused_by_sentry(scripted(Answer(403, {"detail": f"token {TOKEN} lacks a scope"})), fake)

    assert MASK in error.message


def test_blind_stretches_are_said(fake: FakeTime) -> None:
    blind = [{"instance": "backend-2", "from": None, "to": "2026-11-23T20:40:00Z", "reason": "the log level was warn"}]
    result = asked_sentry(scripted(last([row(1)])), fake, blind=blind, sampled=False)

    assert result["completeness"] == {
        "state": "at_least",
        "reasons": ["the log level was warn on backend-2 from 2026-11-23T20:15:00.400000Z to 2026-11-23T20:40:00Z"],
        "from": "2026-11-23T20:15:00.400000Z",
        "to": "2026-11-23T20:40:00Z",
        "gaps": [
            {
                "from": "2026-11-23T20:15:00.400000Z",
                "to": "2026-11-23T20:40:00Z",
                "reason": "the log level was warn",
                "instance": "backend-2",
            }
        ],
    }


@pytest.mark.parametrize(
    ("blind", "instances", "state"),
    [
        pytest.param([{}], [], "unknown", id="all of them"),
        pytest.param([{"instance": "a"}, {"instance": "b"}], ["a", "b"], "unknown", id="each of them"),
        pytest.param([{"instance": "a"}, {"instance": "b"}], [], "at_least", id="two of nobody knows how many"),
    ],
)
def test_a_blind_sentry_is_unknown(fake: FakeTime, blind: list[Any], instances: list[str], state: str) -> None:
    result = asked_sentry(scripted(last([])), fake, blind=blind, instances=instances)

    assert result["completeness"]["state"] == state


@pytest.mark.parametrize(("days", "state"), [(89, "exact"), (90, "at_least"), (91, "unknown")])
def test_what_sentry_no_longer_has_is_unknown(fake: FakeTime, days: int, state: str) -> None:
    fake.epoch = START.timestamp() + 1200 + days * 86400
    result = asked_sentry(scripted(last([])), fake, sampled=False)

    assert result["completeness"]["state"] == state
    assert ("Sentry no longer has it" in reasons(result)) == (state != "exact")


@pytest.mark.parametrize(
    ("header", "cursor"),
    [
        ('<u>; rel="next"; results="true"; cursor="0:100:0"', "0:100:0"),
        ("<u>; rel=next; results=true; cursor=0:100:0", "0:100:0"),
        ('<u>;rel="next";results="true";cursor="0:100:0"', "0:100:0"),
        ('<u?a=1,2;3>; cursor="1:2:3"; results="true"; rel="next"', "1:2:3"),
        (
            '<u>; rel="previous"; results="true"; cursor="9:9:9", <u>; rel="next"; results="true"; cursor="1:0:0"',
            "1:0:0",
        ),
        ('<u>; rel="next"; results="false"; cursor="0:100:0"', None),
        ('<u>; rel="next"; results="false"', None),
        ('<u>; rel="next"; cursor="0:100:0"', "0:100:0"),
    ],
)
def test_the_link_header(header: str, cursor: str | None) -> None:
    assert next_cursor(header) == cursor


def test_a_link_header_of_brackets_takes_no_time() -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match="names no next page"):
        next_cursor("<" * 240_000)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("days", [999_999, 10**12])
def test_a_retention_beyond_the_calendar_is_for_ever(fake: FakeTime, days: int) -> None:
    assert (
        asked_sentry(scripted(last([])), fake, sampled=False, retention_days=days)["completeness"]["state"] == "exact"
    )


def test_a_window_up_to_the_calendars_end_is_asked_for(fake: FakeTime) -> None:
    with served(scripted(last([]))) as server:
        ask(server, fake, end="9999-12-31T23:59:59.5Z")

    assert server.asked[0].param("end") == "9999-12-31T23:59:59"


# -- log ---------------------------------------------------------------------------------------------------------------


def line(minute: float, **more: Any) -> str:
    at = START + timedelta(minutes=minute)
    return json.dumps({"level": "info", "ts": at.isoformat(), "msg": "listening", **more}) + "\n"


def dropped(minute: float, entity: int) -> str:
    return line(minute, kind="dmca", entity_id=str(entity), key=f"dmca:{entity}:1", **{"eventbus.status": "degraded"})


def read_log(fake: FakeTime, path: Path, **given: Any) -> dict[str, Any]:
    return run(fake, options("log", path=str(path), instance="backend-1", **given))


def entities(result: dict[str, Any]) -> list[str]:
    return [event["entity_id"] for event in result["events"]]


def test_a_log_file(fake: FakeTime, tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    path.write_text(line(-5) + dropped(-1, 1) + dropped(1, 2) + dropped(50, 3))
    result = read_log(fake, path)

    assert (entities(result), result["completeness"]["state"], result["instance"]) == (["2"], "exact", "backend-1")
    assert result["message"].startswith("exactly 1 events from ")


def test_the_file_of_dockers_driver(fake: FakeTime, tmp_path: Path) -> None:
    path = tmp_path / "0f3c-json.log"
    lines = [line(-5), dropped(1, 2), line(50)]
    wrapped = [{"log": text, "stream": "stderr", "time": "2026-11-23T20:16:00.123456789Z"} for text in lines]
    path.write_text("".join(json.dumps(one) + "\n" for one in wrapped))
    result = read_log(fake, path)

    assert (entities(result), result["completeness"]["state"]) == (["2"], "exact")


def test_a_log_of_months_ago_is_unknown(fake: FakeTime, tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    path.write_text(line(-190000))
    result = read_log(fake, path)

    assert result["completeness"]["state"] == "unknown"
    assert result["message"].startswith("an unknown number of events")


def test_a_file_that_nobody_writes_any_more_is_not_zero(fake: FakeTime, tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    path.write_text(line(-15) + line(1))
    result = read_log(fake, path)

    assert (result["count"], result["completeness"]["state"]) == (0, "at_least")
    gap = {"from": "2026-11-23T20:16:00.400000Z", "to": "2026-11-23T20:55:00Z", "instance": "backend-1"}
    assert result["completeness"]["gaps"] == [
        {**gap, "reason": "the log ends earlier, and no process is seen to write it,"}
    ]


def test_a_quiet_file_that_is_still_open_to_write_is_zero(fake: FakeTime, tmp_path: Path) -> None:
    path = tmp_path / "api-1.log"
    with path.open("w") as file:
        file.write(line(-15) + line(1))
        file.flush()
        (tmp_path / "api.log").symlink_to(path)
        for name in (path, tmp_path / "api.log"):
            assert read_log(fake, name)["completeness"] == {
                "state": "exact", "reasons": [], "from": None, "to": None, "gaps": []
            }  # fmt: skip


def test_a_file_that_was_shortened_under_its_writer_is_not_zero(fake: FakeTime, tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    with path.open("w") as file:
        file.write(line(-15) + line(1) + dropped(2, 1))
        file.flush()
        os.truncate(path, len(line(-15) + line(1)))
        result = read_log(fake, path)

    assert (result["count"], result["completeness"]["state"]) == (0, "at_least")


def test_a_file_that_is_open_to_read_only_is_not_being_written(fake: FakeTime, tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    path.write_text(line(-15) + line(1))
    with path.open():
        assert read_log(fake, path)["completeness"]["state"] == "at_least"


def stamp(fake: FakeTime, seconds: float) -> str:
    """Return the time of a clock than which this host's is ahead."""
    return datetime.fromtimestamp(fake.epoch - seconds, UTC).isoformat()


@pytest.mark.parametrize("way", ["path", "command"])
def test_what_a_clock_that_is_off_has_stamped_outside_the_window_is_not_zero(
    fake: FakeTime, tmp_path: Path, way: str
) -> None:
    fake.epoch += 2700
    path = tmp_path / "api.log"
    path.write_text(line(-15) + line(30) + dropped(50, 1) + dropped(51, 2) + line(105))
    (tmp_path / "api.log.1").write_text("not read: " + dropped(3, 9))
    given: dict[str, Any] = {"path": str(path)} if way == "path" else {"command": ["cat", str(path)]}
    result = run(fake, options("log", instance="backend-1", reference=stamp(fake, 2700), **given))

    assert (entities(result), result["completeness"]["state"]) == (["1", "2"], "at_least")
    assert "the clock on backend-1 is 2700 s ahead" in reasons(result)
    assert result["events"][0]["at"] == "2026-11-23T20:20:00.400000Z"


def test_rotated_files_are_read_as_far_back_as_a_clock_that_is_behind_needs(fake: FakeTime, tmp_path: Path) -> None:
    (tmp_path / "api.log").write_text(line(-1) + line(60))
    (tmp_path / "api.log.1").write_text(line(-65) + dropped(-30, 1))
    result = read_log(fake, tmp_path / "api.log", reference=stamp(fake, -2700))

    assert (entities(result), result["completeness"]["gaps"]) == (["1"], [])


@pytest.mark.parametrize(("seconds", "state"), [(-10, "at_least"), (-9, "exact"), (9, "exact"), (10, "at_least")])
def test_a_clock_that_is_off_by_less_than_a_call_takes_is_not_told(
    fake: FakeTime, tmp_path: Path, seconds: float, state: str
) -> None:
    path = tmp_path / "api.log"
    path.write_text(line(-5) + dropped(20, 1) + line(50))
    result = read_log(fake, path, reference=stamp(fake, seconds))

    assert (entities(result), result["completeness"]["state"]) == (["1"], state)


@pytest.mark.parametrize(("ahead", "state"), [(65, "at_least"), (55, "exact"), (-55, "exact")])
def test_whether_the_window_is_over_is_judged_by_the_clock_that_it_was_read_from(
    fake: FakeTime, ahead: float, state: str
) -> None:
    with served(scripted(last([]))) as server:
        result = ask(server, fake, sampled=False, reference=stamp(fake, ahead))

    assert result["completeness"]["state"] == state


def aged(path: Path, minutes: float) -> None:
    """Set when a file was last written, as rotation would leave it."""
    then = START.timestamp() + minutes * 60
    os.utime(path, (then, then))


@pytest.mark.parametrize(
    ("older", "oldest"),
    [
        pytest.param("api.log.1", "api.log.2.gz", id="numbers"),
        pytest.param("api.log-20261123", "api.log-20261122.gz", id="dates"),
        pytest.param("api-2026-11-23T20-20-00.000.log", "api-2026-11-23T20-10-00.000.log.gz", id="lumberjack"),
    ],
)
def test_rotated_files_are_read_as_far_back_as_needed(fake: FakeTime, tmp_path: Path, older: str, oldest: str) -> None:
    (tmp_path / "api.log").write_text(dropped(20, 3) + line(60))
    (tmp_path / older).write_text(dropped(2, 2) + dropped(19, 4))
    with gzip.open(tmp_path / oldest, "wt") as file:
        file.write(line(-9) + dropped(1, 1))
    (tmp_path / "api.log.9").write_text("not read: " + dropped(3, 9))
    (tmp_path / "api.log.bak").write_text(dropped(3, 8))
    aged(tmp_path / older, 19)
    aged(tmp_path / oldest, 1)
    aged(tmp_path / "api.log.9", -60)
    result = read_log(fake, tmp_path / "api.log")

    assert (entities(result), result["completeness"]["state"]) == (["1", "2", "4", "3"], "exact")


def test_rotated_files_are_left_alone_when_the_log_goes_back_far_enough(fake: FakeTime, tmp_path: Path) -> None:
    (tmp_path / "api.log").write_text(line(-1) + dropped(1, 1))
    (tmp_path / "api.log.1").write_text("not JSON\n" + dropped(2, 2))

    assert entities(read_log(fake, tmp_path / "api.log")) == ["1"]


def test_a_log_just_rotated_is_empty_and_its_predecessor_has_it_all(fake: FakeTime, tmp_path: Path) -> None:
    (tmp_path / "api.log.1").write_text(line(-1) + dropped(1, 1))
    with (tmp_path / "api.log").open("w"):
        result = read_log(fake, tmp_path / "api.log")

    assert (entities(result), result["completeness"]["state"]) == (["1"], "exact")


def test_a_file_that_is_seen_twice_is_read_once(fake: FakeTime, tmp_path: Path) -> None:
    (tmp_path / "api.log").write_text("garbage\n" + dropped(1, 1))
    (tmp_path / "api.log.1").hardlink_to(tmp_path / "api.log")
    result = read_log(fake, tmp_path / "api.log")

    assert "1 lines of the log can't be read" in reasons(result)


def test_a_predecessor_that_is_damaged_is_said(fake: FakeTime, tmp_path: Path) -> None:
    (tmp_path / "api.log").write_text(dropped(5, 1))
    (tmp_path / "api.log.1.gz").write_bytes(gzip.compress((line(-1) + dropped(1, 2)).encode())[:20])
    result = read_log(fake, tmp_path / "api.log")

    assert (entities(result), result["completeness"]["state"]) == (["1"], "at_least")
    assert "api.log.1.gz can't be read" in reasons(result)


def test_a_predecessor_that_ends_too_early_is_said(fake: FakeTime, tmp_path: Path) -> None:
    whole = gzip.compress((line(-1) + "".join(dropped(1, number) for number in range(5000))).encode(), 1)
    (tmp_path / "api.log").write_text(dropped(5, 9999))
    (tmp_path / "api.log.1.gz").write_bytes(whole[: len(whole) // 2])
    result = read_log(fake, tmp_path / "api.log")

    assert result["completeness"]["state"] == "at_least"
    assert "EOFError" in reasons(result)


def test_a_missing_log_is_unknown_and_no_failure(fake: FakeTime, tmp_path: Path) -> None:
    result = read_log(fake, tmp_path / "api.log")

    assert (result["count"], result["completeness"]["state"]) == (0, "unknown")
    assert result["completeness"]["reasons"][0].startswith(f"there is no such log file: {tmp_path}/api.log")
    assert result["message"].startswith("an unknown number of events")


def test_a_log_that_is_a_directory_is_unknown(fake: FakeTime, tmp_path: Path) -> None:
    assert read_log(fake, tmp_path)["completeness"]["state"] == "unknown"


def test_a_log_that_is_a_named_pipe_is_unknown(fake: FakeTime, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "api.log")
    result = read_log(fake, tmp_path / "api.log")

    assert result["completeness"]["state"] == "unknown"
    assert "(NoRegularFile)" in reasons(result)


@pytest.mark.parametrize("reference", ["9999-12-31T00:00:00Z", "0001-01-01T00:00:00Z"])
def test_a_clock_that_is_off_by_ages_is_never_exact(fake: FakeTime, tmp_path: Path, reference: str) -> None:
    path = tmp_path / "api.log"
    path.write_text(line(-1) + line(60))

    assert read_log(fake, path, reference=reference)["completeness"]["state"] in ("at_least", "unknown")


def test_a_line_beyond_all_bounds_does_not_fill_the_memory(fake: FakeTime, tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    path.write_text(line(-1) + "x" * 3_000_000 + "\n" + dropped(1, 1))
    result = read_log(fake, path)

    assert (entities(result), result["completeness"]["state"]) == (["1"], "at_least")


def test_a_log_that_takes_too_long_is_said(fake: FakeTime, tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    path.write_text(line(-1) + "".join(dropped(1 + number / 1000, number) for number in range(1200)))
    ticks = iter(range(0, 1000, 30))
    pace = Pace(100.0, 1, lambda: float(next(ticks)), fake.now, fake.sleep)
    result = eventbus_dropped_info.run(options("log", path=str(path)), pace=pace)

    assert (result["count"], result["completeness"]["state"]) == (999, "at_least")
    assert "was not read to its end within 70 s" in reasons(result)


def script(tmp_path: Path, body: str) -> list[str]:
    path = tmp_path / "command"
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return [str(path), "--since", "x"]


def run_command(fake: FakeTime, argv: list[str], **given: Any) -> dict[str, Any]:
    return run(fake, options("log", command=argv, instance="backend-1", **given))


def test_a_command_is_read_on_both_streams(fake: FakeTime, tmp_path: Path) -> None:
    body = f"import sys\nprint({line(-1)!r}, end='', flush=True)\nprint({dropped(1, 1)!r}, end='', file=sys.stderr)"
    result = run_command(fake, script(tmp_path, body))

    assert (entities(result), result["completeness"]["state"]) == (["1"], "exact")


def test_a_command_that_fails_says_why(fake: FakeTime, tmp_path: Path) -> None:
    result = run_command(fake, script(tmp_path, "raise SystemExit('Error: No such container: veza_backend_api')"))

    assert (result["count"], result["completeness"]["state"]) == (0, "unknown")
    assert "failed with status 1: Error: No such container: veza_backend_api" in reasons(result)


def test_a_command_that_fails_in_the_middle_is_at_least(fake: FakeTime, tmp_path: Path) -> None:
    body = f"print({line(-1) + dropped(1, 1)!r}, end='')\nraise SystemExit(3)"
    result = run_command(fake, script(tmp_path, body))

    assert (entities(result), result["completeness"]["state"]) == (["1"], "at_least")
    assert result["completeness"]["from"] == "2026-11-23T20:16:00.400000Z"


def test_a_command_that_is_not_there_is_unknown(fake: FakeTime, tmp_path: Path) -> None:
    result = run_command(fake, [str(tmp_path / "docker"), "logs"])

    assert result["completeness"]["state"] == "unknown"
    assert "can't be run (FileNotFoundError)" in reasons(result)


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    body = (
        "import os, subprocess\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"print({line(-1)!r}, end='', flush=True)\n"
        "child.wait()"
    )
    began = time.monotonic()
    result = eventbus_dropped_info.run(options("log", command=script(tmp_path, body), timeout=4.0))

    assert time.monotonic() - began < 20.0
    assert "was ended after 4 s" in reasons(result)
    while any(_alive(pid) for pid in pids.read_text().split()):  # a process that was killed takes a moment to go
        assert time.monotonic() - began < 40.0
        os.sched_yield()


@pytest.mark.parametrize("ends", [True, False])
def test_a_child_in_a_session_of_its_own_is_not_waited_for(tmp_path: Path, ends: bool) -> None:
    pid = tmp_path / "pid"
    body = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '30'], start_new_session=True)\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
        f"print({line(-1)!r}, end='', flush=True)\n" + ("" if ends else "child.wait()")
    )
    began = time.monotonic()
    try:
        result = eventbus_dropped_info.run(options("log", command=script(tmp_path, body), timeout=2.0))
        assert time.monotonic() - began < 20.0
        assert "was ended after 2 s" in reasons(result)
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# -- database ----------------------------------------------------------------------------------------------------------


class FakeDatabase:
    """Answers the statement that a test expects."""

    rows: list[Any] = []  # noqa: RUF012
    statement = ""
    values: dict[str, Any] = {}  # noqa: RUF012
    readonly = False

    def __init__(self, url: str, **_options: Any) -> None:
        assert url == "postgresql://veza:hunter2@db/veza"

    @contextmanager
    def transaction(self, *, readonly: bool = False) -> Any:
        FakeDatabase.readonly = readonly
        yield self

    def stream(self, statement: str, values: dict[str, Any]) -> Any:
        FakeDatabase.statement, FakeDatabase.values = statement, values
        statement % dict.fromkeys(values, "x")
        yield from self.rows

    def close(self) -> None:
        pass


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> type[FakeDatabase]:
    monkeypatch.setattr(_rows, "Database", FakeDatabase)
    monkeypatch.setattr(FakeDatabase, "rows", [])
    return FakeDatabase


QUERY = (
    "SELECT id AS entity_id, created_at AS at FROM t WHERE created_at >= %(start)s AND created_at < %(end)s -- x\n;\n"
)


def ask_database(fake: FakeTime, **given: Any) -> dict[str, Any]:
    params = {"database_url": "postgresql://veza:hunter2@db/veza", "query": QUERY, "kind": "distribution", **given}
    return run(fake, options("database", **params))


def test_rows_become_events(fake: FakeTime, database: type[FakeDatabase]) -> None:
    at = START + timedelta(minutes=1)
    database.rows = [(7, at, {"entity_id": 7}), (8, at, {"kind": "dmca", "key": "dmca:8:2", "queue": "q"})]
    result = ask_database(fake, instance="primary")

    assert database.readonly is True
    assert database.values == {"start": START, "end": END}
    assert database.statement == (
        "SELECT q.entity_id, q.at, to_jsonb(q) FROM (SELECT id AS entity_id, created_at AS at FROM t WHERE "
        "created_at >= %(start)s AND created_at < %(end)s -- x\n\n) AS q"
    )
    assert result["completeness"]["state"] == "exact"
    names = {"instance": "primary", "at": "2026-11-23T20:16:00.400000Z", "source": "database"}
    assert result["events"] == [
        {"kind": "distribution", "entity_id": "7", "key": "", "queue": "", **names},
        {"kind": "dmca", "entity_id": "8", "key": "dmca:8:2", "queue": "q", **names},
    ]


def test_too_many_rows_are_said(fake: FakeTime, database: type[FakeDatabase]) -> None:
    database.rows = [(number, START, {}) for number in range(5)]
    result = ask_database(fake, max_events=3)

    assert (result["count"], result["completeness"]["state"]) == (3, "at_least")


@pytest.mark.parametrize("at", [START.replace(tzinfo=None), None, "2026-11-23", START.date()])
def test_an_instant_without_a_zone_is_refused(fake: FakeTime, database: type[FakeDatabase], at: Any) -> None:
    database.rows = [(1, at, {})]
    with pytest.raises(BadInput, match="timestamp with time zone"):
        ask_database(fake)


@pytest.mark.parametrize("query", ["SELECT %(begin)s", "SELECT 1 WHERE a LIKE 'x%'"])
def test_a_query_that_can_not_be_filled_in_is_refused(fake: FakeTime, database: type[FakeDatabase], query: str) -> None:
    with pytest.raises(BadInput, match="query can't be filled in"):
        ask_database(fake, query=query)


def test_a_database_that_takes_too_long_is_said(fake: FakeTime, database: type[FakeDatabase]) -> None:
    database.rows = [(1, START, {}), (2, START, {})]
    fake.elapsed = 0.0
    params = options(
        "database", database_url="postgresql://veza:hunter2@db/veza", query=QUERY, kind="distribution", timeout=10.0
    )
    ticks = iter([0.0, 0.0, 11.0])
    pace = Pace(10.0, 1, lambda: next(ticks, 11.0), fake.now, fake.sleep)
    result = eventbus_dropped_info.run(params, pace=pace)

    assert (result["count"], result["completeness"]["state"]) == (1, "at_least")
    assert "could not all be read within 10 s" in reasons(result)


def test_a_database_that_can_not_be_reached_shows_no_password() -> None:
    params = options("database", database_url="postgresql://veza:hunter2@127.0.0.1:1/veza", query=QUERY, timeout=10.0)
    with pytest.raises(VezaError) as caught:
        eventbus_dropped_info.run(params)

    assert "hunter2" not in json.dumps(caught.value.fail_json_arguments())
    assert (caught.value.details["count"], caught.value.details["completeness"]["state"]) == (None, "unknown")


# -- all ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param({"start": "2026-11-23T20:15:00"}, "start: .* has no offset", id="naive start"),
        pytest.param({"end": "yesterday"}, "end: 'yesterday' is no instant", id="no end"),
        pytest.param({"end": START.isoformat()}, "does not come after start", id="empty window"),
        pytest.param({"end": "2026-11-22T00:00:00Z"}, "does not come after start", id="reversed window"),
        pytest.param({"reference": "just now"}, "reference is 'just now'", id="no reference"),
        pytest.param({"max_events": 0}, "max_events must be above 0", id="no events"),
        pytest.param({"timeout": -1.0}, "timeout: must be above 0", id="no time"),
        pytest.param(
            {"sentry_url": "https://a:hunter2@sentry"}, "holds a user or a password", id="URL with a password"
        ),
        pytest.param({"token": "\n"}, "token is empty", id="no token"),
        pytest.param({"organization": ".."}, "step of the path", id="no organization"),
        pytest.param({"blind": [{"from": "20:15"}]}, "from: '20:15' is no instant", id="blind since when"),
    ],
)
def test_bad_options_are_refused(fake: FakeTime, given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        run(fake, options("sentry", **{"organization": "veza", "token": TOKEN, **given}))

    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("given", [{"path": "/x\0"}, {"command": ["cat", "\0"]}])
def test_a_nul_character_is_refused(fake: FakeTime, given: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="NUL"):
        run(fake, options("log", **given))


def test_path_and_command_exclude_each_other(fake: FakeTime) -> None:
    with pytest.raises(BadInput, match="not both"):
        run(fake, options("log", path="/x", command=["y"]))


@pytest.mark.parametrize("source", ["log", "database", "sentry"])
def test_a_window_that_is_not_over_is_never_exact(
    fake: FakeTime, database: type[FakeDatabase], tmp_path: Path, source: str
) -> None:
    fake.epoch = END.timestamp() - 60
    (tmp_path / "api.log").write_text(line(-1) + line(1))
    given: dict[str, dict[str, Any]] = {
        "log": {"path": str(tmp_path / "api.log")},
        "database": {"database_url": "postgresql://veza:hunter2@db/veza", "query": QUERY},
        "sentry": {"organization": "veza", "token": TOKEN, "sampled": False},
    }
    with served(scripted(last([]))) as server:
        result = run(fake, options(source, sentry_url=server.url, **given[source]))

    assert result["completeness"]["state"] == "at_least"
    assert f"the window was not over when the {source} was read" in reasons(result)
