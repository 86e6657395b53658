# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.veza.rabbitmq.plugins.module_utils._dropped import (
    Event,
    Findings,
    Gap,
    LogReader,
    completeness,
    event_of,
    instant_of,
    moved,
    note_unfinished_window,
)
from ansible_collections.veza.rabbitmq.plugins.module_utils._window import Window

START = datetime(2026, 11, 23, 20, 15, tzinfo=UTC)
END = datetime(2026, 11, 23, 20, 55, tzinfo=UTC)


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def findings(max_events: int = 100) -> Findings:
    return Findings(Window(START, END), max_events)


def line(minute: float, **more: Any) -> bytes:
    return json.dumps({"level": "info", "ts": at(minute).isoformat(), "msg": "listening", **more}).encode() + b"\n"


def dropped(minute: float, entity: int = 1, **more: Any) -> bytes:
    event = {"eventbus.status": "degraded", "kind": "transcode", "entity_id": entity, "key": f"transcode:{entity}:1"}
    return line(minute, level="warn", msg="publish dropped", **{**event, **more})


def read(*lines: bytes, instance: str = "backend-1", max_events: int = 100, live: bool = False) -> Findings:
    found = findings(max_events)
    reader = LogReader(found, instance, live=live)
    for each in lines:
        reader.feed(each)
    reader.close()
    return found


def entities(found: Findings) -> list[str]:
    return [event.entity_id for event in found.sorted_events()]


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("2026-11-23T20:15:01.123Z", id="zap's ISO 8601"),
        pytest.param("2026-11-23T21:15:01.123+0100", id="zap's ISO 8601 with an offset"),
        pytest.param("2026-11-23T20:15:01.123000456Z", id="RFC 3339 with nanoseconds"),
        pytest.param("2026-11-23T21:15:01.123+01:00", id="RFC 3339"),
        pytest.param(1795464901.123, id="epoch in seconds"),
        pytest.param(1795464901123, id="epoch in milliseconds"),
        pytest.param(1795464901123000, id="epoch in microseconds"),
        pytest.param(1795464901123000000, id="epoch in nanoseconds"),
    ],
)
def test_instants_as_logs_write_them(written: Any) -> None:
    found = instant_of(written)

    assert found is not None
    assert abs(found - datetime(2026, 11, 23, 20, 15, 1, 123000, UTC)) < timedelta(microseconds=2)


@pytest.mark.parametrize(
    "written", [None, "", "soon", "2026-11-23T20:15:01", True, -5, float("nan"), float("inf"), 10**40, {}, []]
)
def test_what_is_no_instant(written: Any) -> None:
    assert instant_of(written) is None


def test_a_log_that_covers_the_window_is_exact() -> None:
    found = read(line(-5), dropped(-1, 1), dropped(0, 2), dropped(39.99, 3), dropped(40, 4), line(50))

    assert entities(found) == ["2", "3"]
    assert completeness(found) == {"state": "exact", "reasons": [], "from": None, "to": None, "gaps": []}


def test_a_quiet_log_is_exactly_zero() -> None:
    assert completeness(read(line(-5), line(45)))["state"] == "exact"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([line(-200000), line(-190000)], id="months ago"),
        pytest.param([line(-9), line(-0.01)], id="just before the window"),
        pytest.param([line(-9), dropped(-1)], id="what it tells of is another loss"),
    ],
)
def test_a_log_that_ends_before_the_window_is_unknown_not_zero(lines: list[bytes]) -> None:
    complete = completeness(read(*lines), ["backend-1"])

    assert complete["state"] == "unknown"
    last = json.loads(lines[-1])["ts"].replace("+00:00", "Z")
    assert complete["reasons"] == [
        f"the log ends before that, at {last}, on backend-1 from 2026-11-23T20:15:00Z to 2026-11-23T20:55:00Z"
    ]


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        pytest.param([line(-15), line(1)], 0, id="cut after a minute"),
        pytest.param([line(-15), dropped(0.5), line(1)], 1, id="with a loss before"),
    ],
)
def test_a_log_that_ends_within_the_window_is_blind_from_there_on(lines: list[bytes], count: int) -> None:
    found = read(*lines)
    complete = completeness(found, ["backend-1"])

    assert (len(found.events), complete["state"]) == (count, "at_least")
    assert (complete["from"], complete["to"]) == ("2026-11-23T20:16:00Z", "2026-11-23T20:55:00Z")
    assert complete["reasons"] == [
        "the log ends earlier, and no process is seen to write it, on backend-1 "
        "from 2026-11-23T20:16:00Z to 2026-11-23T20:55:00Z"
    ]
    assert completeness(read(*lines, live=True))["state"] == "exact", "its silence is the instance's"
    assert completeness(read(*lines, line(40)))["state"] == "exact", "a line at the window's end shows all before"


def test_a_log_that_begins_and_ends_within_the_window_has_two_gaps() -> None:
    gaps = completeness(read(line(10), line(20)))["gaps"]

    assert [(gap["from"][11:16], gap["to"][11:16]) for gap in gaps] == [("20:15", "20:25"), ("20:35", "20:55")]


def corrected(seconds: float, *lines: bytes) -> Findings:
    found = findings()
    reader = LogReader(found, "backend-1", live=True)
    reader.correct(seconds)
    for each in lines:
        reader.feed(each)
    reader.close()
    return found


def test_a_clock_that_is_ahead_moves_the_log_and_is_told() -> None:
    # The whole log is stamped 45 min late: what was dropped in the 5th and 6th minute stands behind the window.
    stamped = [line(30), dropped(40, 9), dropped(50, 1), dropped(51, 2), line(105)]
    found = corrected(2700, *stamped)
    complete = completeness(found, ["backend-1"])

    assert [(event.entity_id, event.at) for event in found.sorted_events()] == [("1", at(5)), ("2", at(6))]
    assert (complete["state"], complete["gaps"]) == ("at_least", [])
    assert complete["reasons"] == [
        "the clock on backend-1 is 2700 s ahead: the log's instants were moved by that, and it may have been another "
        "in the outage"
    ]


def test_a_clock_that_is_behind_moves_what_docker_and_a_kept_log_say_too() -> None:
    bare = b'{"eventbus.status": "degraded", "kind": "a", "entity_id": 7}\n'
    kept = [line(-120), line(-45 + 10, **{"veza.log": "ended"})]
    found = corrected(-2700, *kept, docker(-45 + 20, bare), line(-1))
    complete = completeness(found)

    assert [(event.entity_id, event.at) for event in found.sorted_events()] == [("7", at(20))]
    assert complete["reasons"][0].startswith("the clock on backend-1 is 2700 s behind: ")
    assert [(gap["from"][11:16], gap["to"][11:16]) for gap in complete["gaps"]] == [("20:25", "20:35")]


def test_a_line_at_the_end_of_the_calendar_is_no_trouble() -> None:
    far = b'{"ts": "9999-12-31T23:59:59Z", "msg": "?"}\n'

    assert completeness(corrected(-60, line(-5), far))["state"] == "at_least"


def test_the_silence_of_a_log_that_is_given_up_to_now_is_believed() -> None:
    assert completeness(read(line(-200000), live=True))["state"] == "exact"
    assert completeness(read(line(5), live=True))["state"] == "at_least", "its beginning is missing all the same"


def docker(minute: float, text: bytes | str, stream: str = "stdout") -> bytes:
    written = text.decode() if isinstance(text, bytes) else text
    return json.dumps({"log": written, "stream": stream, "time": at(minute).isoformat()}).encode() + b"\n"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        pytest.param([docker(1, dropped(1, 1)), docker(2, dropped(2, 2), "stderr")], ["1", "2"], id="both streams"),
        pytest.param([docker(1, line(1)), docker(2, "\n")], [], id="nothing was dropped"),
        pytest.param([docker(9, dropped(50, 3))], [], id="the line's own instant counts"),
        pytest.param([docker(1, b'{"eventbus.status": "degraded", "kind": "a", "entity_id": 7}\n')], ["7"],
                     id="Docker's instant where the line has none"),
        pytest.param(
            [docker(1, dropped(1, 4)[:60]), docker(1, line(1), "stderr"), docker(1, dropped(1, 4)[60:])], ["4"],
            id="a line in two parts, another stream in between",
        ),
        pytest.param([docker(1, dropped(1, 5).rstrip())], ["5"], id="a last line without its end"),
    ],
)  # fmt: skip
def test_dockers_json_file_is_read(lines: list[bytes], found: list[str]) -> None:
    last = docker(60, line(60), "stderr")
    read_of = read(docker(-5, line(-5)), *lines, last)

    assert entities(read_of) == found
    assert completeness(read_of)["state"] == "exact"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([docker(1, "panic: runtime error\n")], id="plain text"),
        pytest.param([docker(1, dropped(1)[:60])], id="the end of a line is missing"),
        pytest.param([docker(1, "x" * 600_000), docker(1, "x" * 600_000)], id="a line beyond all bounds"),
    ],
)
def test_what_a_container_wrote_that_can_not_be_read_is_said(lines: list[bytes]) -> None:
    complete = completeness(read(docker(-5, line(-5)), docker(0, line(0)), *lines, live=True))

    assert (complete["state"], complete["reasons"]) == ("at_least", ["1 lines of the log can't be read on backend-1"])


EVENT = {"eventbus.status": "degraded", "kind": "transcode", "entity_id": 1}


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"msg": json.dumps(EVENT)}, id="JSON in a text"),
        pytest.param({"message": json.dumps({"log": json.dumps(EVENT, separators=(",", ":"))})}, id="twice"),
        pytest.param({"fields": EVENT}, id="an object in it"),
        pytest.param({"eventbus": {"kind": "transcode", "status": "degraded"}}, id="the status by parts"),
        pytest.param(
            {"eventbus": {"of": {"kind": "transcode"}, "status": "degraded"}}, id="an object before the status"
        ),
        pytest.param({"tags": [["eventbus.status", "degraded"]]}, id="a list of pairs"),
        pytest.param({"tags": [{"key": "eventbus.status", "value": "degraded"}]}, id="keys and values"),
        pytest.param({"eventbus.status": None, "fields": EVENT}, id="an object beside nothing"),
        pytest.param({"eventbus.status": ["degraded"]}, id="a list"),
        pytest.param({"eventbus.status": {"name": "Degraded"}}, id="an object"),
        pytest.param({"eventbus.status": {"degraded": True}}, id="a key"),
        pytest.param({"eventbus.status": "degraded: queue full"}, id="more than the word"),
        pytest.param({"eventbus": {"status": ["degraded"]}}, id="the status by parts, a list"),
        pytest.param({"eventbus": {"status": {"of": [{"name": " degraded "}]}}}, id="the status by parts, deep"),
        pytest.param({"msg": json.dumps({"eventbus.status": ["DEGRADED"]})}, id="a list in a text"),
    ],
)
def test_a_report_in_a_form_that_can_not_be_read_is_unknown_not_zero(more: dict[str, Any]) -> None:
    lines = [line(-5), line(1, **more), line(60)]
    complete = completeness(read(*lines), ["backend-1"])

    assert complete["state"] == "unknown"
    assert complete["reasons"][0].startswith("1 lines of the log tell of dropped events in a form that can't be read")
    assert completeness(read(*lines, dropped(2)))["state"] == "at_least"
    assert completeness(read(line(-5, **more), line(1), line(60, **more)))["state"] == "exact", "not of this window"


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"msg": "see Sentry, tag:eventbus.status=degraded"}, id="its name in a sentence"),
        pytest.param({"eventbus.status": "connected", "was": EVENT}, id="another status"),
        pytest.param({"health": {"eventbus": "degraded"}}, id="the health of the bus"),
    ],
)
def test_what_is_no_report_is_passed_over(more: dict[str, Any]) -> None:
    assert completeness(read(line(-5), line(1, **more), line(60)))["state"] == "exact"


@pytest.mark.parametrize("status", ["Degraded", "degraded ", "\tDEGRADED\n"])
def test_case_and_spaces_of_a_status_do_not_matter(status: str) -> None:
    found = read(line(-5), line(1, **{**EVENT, "eventbus.status": status}), line(60))
    assert (entities(found), completeness(found)["state"]) == (["1"], "exact")


@pytest.mark.parametrize(
    ("key", "value"),
    [("eventbus.status", "retrying"), ("ts", "2020-01-01T00:00:00Z"), ("eventbus", None)],
)
def test_a_line_with_a_key_twice_can_not_be_read(key: str, value: str | None) -> None:
    twice = dropped(1, eventbus={}).strip()[:-1] + f', "{key}": {json.dumps(value)}}}\n'.encode()
    complete = completeness(read(line(-5), twice, line(60)))
    assert (complete["state"], complete["reasons"]) == ("at_least", ["1 lines of the log can't be read on backend-1"])


def test_a_key_in_two_objects_of_a_line_is_not_there_twice() -> None:
    found = read(line(-5), dropped(1, cause={"ts": 1, "eventbus.status": "connected"}), line(60))
    assert (entities(found), completeness(found)["state"]) == (["1"], "exact")


def test_an_instant_is_moved_as_far_as_the_calendar_goes() -> None:
    assert moved(START, timedelta(minutes=-1)) == at(-1)
    assert moved(START, timedelta(days=9_000 * 365)) == datetime.max.replace(tzinfo=UTC)
    assert moved(START, timedelta(days=-9_000 * 365)) == datetime.min.replace(tzinfo=UTC)


def test_events_are_sorted_by_instant() -> None:
    assert entities(read(line(-5), dropped(3, 3), dropped(1, 1), dropped(2, 2))) == ["1", "2", "3"]


def test_an_event_keeps_what_its_line_says() -> None:
    found = read(line(-1), dropped(1, 7, queue="transcode_jobs", instance="pod-3"), dropped(2, 8))
    first, second = found.sorted_events()

    assert first.as_dict() == {
        "kind": "transcode",
        "entity_id": "7",
        "key": "transcode:7:1",
        "queue": "transcode_jobs",
        "instance": "pod-3",
        "at": "2026-11-23T20:16:00Z",
        "source": "log",
    }
    assert second.instance == "backend-1"


def test_one_event_that_is_logged_twice_is_one() -> None:
    assert len(read(line(-1), dropped(1), dropped(1), dropped(2)).events) == 2


def test_a_log_that_begins_in_the_window_has_a_gap_before() -> None:
    complete = completeness(read(dropped(10), line(60)))

    assert complete["state"] == "at_least"
    assert (complete["from"], complete["to"]) == ("2026-11-23T20:15:00Z", "2026-11-23T20:25:00Z")
    assert complete["gaps"][0]["instance"] == "backend-1"


@pytest.mark.parametrize(
    ("ended", "following", "gap"),
    [
        pytest.param(-90000, [line(25), line(60)], ("2026-11-23T20:15:00Z", "2026-11-23T20:40:00Z"), id="months ago"),
        pytest.param(10, [line(25), line(60)], ("2026-11-23T20:25:00Z", "2026-11-23T20:40:00Z"), id="in the window"),
        pytest.param(10, [], ("2026-11-23T20:25:00Z", "2026-11-23T20:55:00Z"), id="nothing follows"),
        pytest.param(10, [line(10.5), line(60)], (None, None), id="at once"),
        pytest.param(-9, [line(-1), line(60)], (None, None), id="before the window"),
    ],
)
def test_the_log_of_a_container_between_a_kept_one_and_the_last_is_missed(
    ended: float, following: list[bytes], gap: tuple[str | None, str | None]
) -> None:
    kept = [line(ended - 60), line(ended - 5), line(ended, **{"veza.log": "ended"})]
    complete = completeness(read(*kept, *following, live=True))

    assert (complete["from"], complete["to"]) == gap
    assert complete["state"] == ("at_least" if gap[0] else "exact")


def test_a_first_line_at_the_very_start_proves_nothing_about_what_stood_before() -> None:
    assert completeness(read(dropped(0)))["state"] == "at_least"


@pytest.mark.parametrize("lines", [pytest.param([line(41)], id="begins later"), pytest.param([], id="empty")])
def test_a_log_without_the_window_is_unknown(lines: list[bytes]) -> None:
    complete = completeness(read(*lines), ["backend-1"])

    assert complete["state"] == "unknown"
    assert (complete["from"], complete["to"]) == ("2026-11-23T20:15:00Z", "2026-11-23T20:55:00Z")


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b'{"ts": "2026-11-23T20:16:0', id="a torn line"),
        pytest.param(b"panic: runtime error\n", id="plain text"),
        pytest.param(b"[]\n", id="another JSON"),
        pytest.param(b"\xff\xfe\x00\n", id="bytes"),
        pytest.param(b'{"msg": "no instant", "eventbus.status": "degraded"}\n', id="no instant"),
        pytest.param(b'{"ts": "2026-11-23T20:16:00", "msg": "naive"}\n', id="no offset"),
    ],
)
@pytest.mark.parametrize(
    ("before", "after", "state"),
    [
        pytest.param([line(-9)], [line(-5), line(50)], "exact", id="before the window"),
        pytest.param([line(-9)], [line(5)], "at_least", id="at its start"),
        pytest.param([line(-9), line(5)], [line(6)], "at_least", id="in it"),
        pytest.param([line(-9), line(5)], [], "at_least", id="at the log's end"),
        pytest.param([line(-9), line(40)], [line(50)], "exact", id="after it"),
        pytest.param([line(-9), line(50)], [], "exact", id="after it, at the log's end"),
    ],
)
def test_a_line_that_can_not_be_read_matters_in_the_window_only(
    garbage: bytes, before: list[bytes], after: list[bytes], state: str
) -> None:
    complete = completeness(read(*before, garbage, *after, live=True))

    assert complete["state"] == state
    assert complete["reasons"] == ([] if state == "exact" else ["1 lines of the log can't be read on backend-1"])


def test_blank_lines_are_no_lines() -> None:
    assert completeness(read(line(-5), b"\n", b"  \n", line(50)))["state"] == "exact"


@pytest.mark.parametrize("named", [[], [dropped(25, 5)]])
def test_a_report_that_names_no_event_may_stand_for_one(named: list[bytes]) -> None:
    notices = [line(minute, msg="event lost", **{"eventbus.status": "degraded"}) for minute in (1, 2)]
    found = read(line(-1), *notices, *named, line(50))
    complete = completeness(found)

    assert (len(found.events), found.notices) == (len(named), 2)
    assert (complete["state"], complete["reasons"]) == ("at_least", ["2 reports of degraded mode name no event"])


def test_events_that_name_no_entity_are_kept_apart() -> None:
    found = read(line(-1), dropped(1, entity_id=None, key=None), dropped(1, entity_id=None, key=None), line(50))

    assert len(found.events) == 2
    assert completeness(found)["reasons"] == ["2 events name no kind or no entity"]


def test_more_than_max_events_is_said() -> None:
    found = read(line(-1), *[dropped(1, number) for number in range(7)], line(50), max_events=5)
    complete = completeness(found)

    assert len(found.events) == 5
    assert complete["state"] == "at_least"
    assert complete["reasons"] == ["more than max_events=5: 2 or more were seen and not kept"]


def test_a_known_event_needs_no_room() -> None:
    found = read(line(-1), dropped(1, 1), dropped(1, 1), line(50), max_events=1)

    assert completeness(found)["state"] == "exact"


@pytest.mark.parametrize(
    ("gaps", "instances", "state"),
    [
        pytest.param([], [], "exact", id="none"),
        pytest.param([(0, 40, "")], [], "unknown", id="the whole window"),
        pytest.param([(-10, 99, "")], [], "unknown", id="more than the window"),
        pytest.param([(0, 20, ""), (20, 40, "")], [], "unknown", id="two halves"),
        pytest.param([(0, 25, ""), (5, 10, ""), (20, 40, "")], [], "unknown", id="overlapping"),
        pytest.param([(0, 20, ""), (21, 40, "")], [], "at_least", id="a minute was seen"),
        pytest.param([(0, 39, "")], [], "at_least", id="the last minute was seen"),
        pytest.param([(-10, 0, ""), (40, 50, "")], [], "exact", id="outside the window"),
        pytest.param([(0, 40, "a")], [], "at_least", id="one instance of nobody knows how many"),
        pytest.param([(0, 40, "a")], ["a", "b"], "at_least", id="one instance of two"),
        pytest.param([(0, 40, "a"), (0, 40, "b")], ["a", "b"], "unknown", id="both instances"),
        pytest.param([(0, 40, "a"), (0, 20, "b"), (20, 40, "")], ["a", "b"], "unknown", id="both, one by parts"),
    ],
)
def test_gaps(gaps: list[tuple[int, int, str]], instances: list[str], state: str) -> None:
    found = findings()
    found.gaps = [Gap(at(start), at(end), "blind", instance) for start, end, instance in gaps]

    assert completeness(found, instances)["state"] == state


def test_a_blind_source_that_gave_an_event_is_not_unknown() -> None:
    found = findings()
    found.add(event_of({"kind": "a", "entity_id": 1}, at(1), "sentry"))
    found.gaps = [Gap(START, END, "the log level was warn", "backend-2"), Gap(START, END, "blind")]
    complete = completeness(found)

    assert complete["state"] == "at_least"
    assert complete["reasons"][0] == (
        "the log level was warn on backend-2 from 2026-11-23T20:15:00Z to 2026-11-23T20:55:00Z"
    )


@pytest.mark.parametrize(("now", "state"), [(at(40), "exact"), (at(30), "at_least"), (at(-1), "unknown")])
def test_a_window_that_is_not_over(now: datetime, state: str) -> None:
    found = findings()
    note_unfinished_window(found, now, "log")

    assert completeness(found)["state"] == state


@given(
    st.lists(st.tuples(st.integers(-5, 45), st.integers(1, 4)), max_size=30),
    st.integers(1, 40),
)
def test_what_is_kept_is_what_lies_in_the_window_once(rows: list[tuple[int, int]], max_events: int) -> None:
    found = read(line(-6), *[dropped(minute, entity) for minute, entity in rows], line(46), max_events=max_events)
    expected = {(minute, entity) for minute, entity in rows if 0 <= minute < 40}

    assert len(found.events) == min(len(expected), max_events)
    assert (completeness(found)["state"] == "exact") == (len(expected) <= max_events)
    assert {((event.at - START).seconds // 60, int(event.entity_id)) for event in found.events.values()} <= expected
    assert found.sorted_events() == sorted(found.events.values(), key=lambda event: (event.at, event.entity_id))


def test_events_are_told_apart_by_all_that_they_say() -> None:
    first = Event("a", "1", "a:1:1", "q", "i", START, "log")
    others = [
        Event("b", "1", "a:1:1", "q", "i", START, "log"),
        Event("a", "2", "a:1:1", "q", "i", START, "log"),
        Event("a", "1", "a:1:2", "q", "i", START, "log"),
        Event("a", "1", "a:1:1", "q", "j", START, "log"),
        Event("a", "1", "a:1:1", "q", "i", END, "log"),
    ]

    assert len({event.identity() for event in [first, *others]}) == 6
    assert first.identity() == Event("a", "1", "a:1:1", "", "i", START, "log", id="9").identity()


def test_a_line_that_is_nested_beyond_all_bounds_is_one_that_can_not_be_read() -> None:
    complete = completeness(read(line(-5), b"[" * 200_000 + b"\n", line(60)))
    assert (complete["state"], complete["reasons"][0][:26]) == ("at_least", "1 lines of the log can't b")


def test_a_tag_of_several_values_that_has_one_is_that_one() -> None:
    assert event_of({"kind": ["a"], "entity_id": 1}, at(1), "sentry").kind == "a"
