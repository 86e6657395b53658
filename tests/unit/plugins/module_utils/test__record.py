# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _record
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, TimedOut, VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._record import (
    Incident,
    SiteDirectory,
    decode,
    encode,
    instant,
    sound_part,
    stamp,
)

NAME = "20260131T020304Z-paris-00ff"


def event(seq: int, kind: str = "note", key: str = "a", **data: Any) -> dict[str, Any]:
    return {"seq": seq, "at": "2026-01-31T02:03:04.000Z", "type": kind, "key": key, "data": data}


@pytest.fixture
def site(tmp_path: Path) -> SiteDirectory:
    return SiteDirectory(str(tmp_path / "incidents"), "paris")


def write(site: SiteDirectory, *events: dict[str, Any], incident: str = NAME) -> None:
    with site.locked():
        for one in events:
            site.append(incident, one)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T02:03:04Z", "2026-01-31T02:03:04.000Z"),
        ("2026-01-31T02:03:04.5Z", "2026-01-31T02:03:04.500Z"),
        ("2026-01-31T02:03:04.123456789+01:00", "2026-01-31T01:03:04.123Z"),
        ("2026-01-31 02:03:04-00:30", "2026-01-31T02:33:04.000Z"),
        ("0999-01-31T02:03:04Z", "0999-01-31T02:03:04.000Z"),
    ],
)
def test_instants_are_written_in_utc_with_milliseconds(text: str, expected: str) -> None:
    assert stamp(instant(text)) == expected


@pytest.mark.parametrize("text", ["2026-01-31T02:03:04", "yesterday", "", None, 17, "0001-01-01T00:00:00+14:00"])
def test_what_could_be_any_time_is_refused(text: Any) -> None:
    with pytest.raises(BadInput, match="started_at"):
        instant(text, "started_at")


def test_the_same_event_gives_the_same_bytes_whatever_the_order_of_its_keys() -> None:
    assert encode({"b": 1, "a": "é"}) == encode({"a": "é", "b": 1}) == b'{"a":"\\u00e9","b":1}\n'


def deep(levels: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _level in range(levels):
        data = {"a": data}
    return data


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, deep(100_000)], ids=["nan", "set", "deep"])
def test_what_json_does_not_know_is_refused(value: Any) -> None:
    with pytest.raises(BadInput, match="as JSON"):
        encode({"a": value})


def test_a_torn_last_line_is_passed_over_and_a_whole_one_counts() -> None:
    first, second = encode(event(1)), encode(event(2))
    assert decode(first + second[:-5]) == ([event(1)], 0)
    assert decode(first + second[:-1]) == ([event(1), event(2)], 0)


def test_a_damaged_line_in_the_middle_is_counted_and_does_not_hide_the_rest() -> None:
    raw = encode(event(1)) + b"\x00\x00\n" + b"[]\n" + b"\n" + encode(event(2))
    assert decode(raw) == ([event(1), event(2)], 2)


@pytest.mark.parametrize(
    "odd",
    [
        {"seq": "1"},
        {"seq": float("nan")},
        {"at": 5},
        {"at": None},
        {"at": "soon"},
        {"at": "0001-01-01T00:00:00+14:00"},
        {"type": ["opened"]},
        {"key": None},
        {"data": None},
        {"data": []},
    ],
)
def test_a_line_of_another_shape_is_a_damaged_one(odd: dict[str, Any]) -> None:
    raw = json.dumps({**event(2), **odd}).encode() + b"\n"
    assert decode(encode(event(1)) + raw + encode(event(3))) == ([event(1), event(3)], 1)
    assert decode(raw[:-1]) == ([], 0)


@pytest.mark.parametrize("name", ["seq", "at", "type", "key", "data"])
def test_a_line_that_lacks_something_is_a_damaged_one(name: str) -> None:
    raw = encode({key: value for key, value in event(2).items() if key != name})
    assert decode(raw + encode(event(3))) == ([event(3)], 1)


def test_a_line_as_deep_as_no_parser_goes_is_a_damaged_one() -> None:
    assert decode(b"[" * 100_000 + b"\n" + encode(event(1))) == ([event(1)], 1)


def test_healing_keeps_what_is_whole_and_drops_what_is_torn() -> None:
    first, second = encode(event(1)), encode(event(2))
    assert sound_part(b"") == (0, b"")
    assert sound_part(first) == (len(first), b"")
    assert sound_part(first + second[:9]) == (len(first), b"")
    assert sound_part(first + second[:-1]) == (len(first) + len(second) - 1, b"\n")


def test_an_incident_is_open_until_it_is_closed() -> None:
    assert not Incident(NAME, []).open
    assert Incident(NAME, [event(1, "opened"), event(2)]).open
    assert not Incident(NAME, [event(1, "opened"), event(2, "closed"), event(3)]).open


def test_the_last_event_of_a_type_and_key_stands() -> None:
    incident = Incident(NAME, [event(1, n=1), event(2, key="b"), event(3, n=2)])
    assert incident.latest("note", "a") == event(3, n=2)
    assert incident.latest("action", "a") is None
    assert incident.next_seq == 4


def test_what_is_appended_is_read_back_and_nobody_else_may_read_it(site: SiteDirectory) -> None:
    write(site, event(1, "opened"), event(2))
    assert site.read(NAME) == Incident(NAME, [event(1, "opened"), event(2)])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [Path(site.path), *Path(site.path).iterdir()]}
    assert modes == {"paris": 0o700, ".lock": 0o600, f"{NAME}.jsonl": 0o600}


def test_the_next_event_heals_what_a_crash_tore(site: SiteDirectory) -> None:
    write(site, event(1, "opened"))
    path = Path(site.record_path(NAME))
    path.write_bytes(path.read_bytes() + encode(event(2))[:20])
    write(site, event(2, n=2))
    assert path.read_bytes() == encode(event(1, "opened")) + encode(event(2, n=2))


def test_a_full_disk_leaves_the_record_as_it_was(site: SiteDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    write(site, event(1, "opened"))
    before = Path(site.record_path(NAME)).read_bytes()

    def half(target: int, data: bytes) -> None:
        os.write(target, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_record, "_write_all", half)
    with pytest.raises(VezaError, match="No space left on device"):
        write(site, event(2))
    assert Path(site.record_path(NAME)).read_bytes() == before


def test_nothing_recorded_reads_as_nothing(site: SiteDirectory) -> None:
    assert list(site.incidents()) == []
    assert (site.read(NAME), site.lease(), site.exists()) == (None, None, False)
    assert not Path(site.root).exists()


def test_incidents_come_newest_first_and_strange_files_are_passed_over(site: SiteDirectory) -> None:
    older = "20250131T020304Z-paris-ffff"
    write(site, event(1, "opened"))
    write(site, event(1, "opened"), incident=older)
    for name in ("notes.jsonl", "20270131T020304Z-lyon-00ff.jsonl", f"{NAME}.md"):
        Path(site.path, name).write_text("{}")
    Path(site.path, "20280131T020304Z-paris-00ff.jsonl").touch()  # a crash between creation and first event
    assert [incident.id for incident in site.incidents()] == [NAME, older]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../paris", "-x", "a b", "a\n", "x" * 64])
def test_a_site_can_not_lead_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="site"):
        SiteDirectory(str(tmp_path), name)


@pytest.mark.parametrize("path", ["incidents", "/var/\0"])
def test_a_directory_that_is_no_absolute_path_is_refused(path: str) -> None:
    with pytest.raises(BadInput, match="absolute"):
        SiteDirectory(path, "paris")


@pytest.mark.parametrize(
    "name", ["", "x", "../../etc/passwd", "20260131T020304Z-lyon-00ff", f"{NAME}/../x", f"{NAME}\n"]
)
def test_an_incident_of_another_site_or_shape_is_refused(site: SiteDirectory, name: str) -> None:
    with pytest.raises(BadInput, match="id is"):
        site.record_path(name)


def test_links_are_not_followed(site: SiteDirectory, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Path(site.root).mkdir()
    Path(site.path).symlink_to(elsewhere)
    with pytest.raises(VezaError, match="not a directory"):
        write(site, event(1))
    Path(site.path).unlink()
    write(site, event(1))
    Path(site.record_path(NAME)).unlink()
    (elsewhere / "target").touch()
    Path(site.record_path(NAME)).symlink_to(elsewhere / "target")
    with pytest.raises(VezaError, match="can't be used"):
        write(site, event(1))
    assert (elsewhere / "target").read_bytes() == b""


def test_a_lock_that_stays_held_is_given_up_on(site: SiteDirectory) -> None:
    now = [0.0]
    sleeps: list[float] = []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        now[0] += seconds

    other = SiteDirectory(site.root, site.site)
    with (
        other.locked(),
        pytest.raises(TimedOut, match="stayed locked for 1 s"),
        site.locked(lambda: now[0], sleep, timeout=1),
    ):
        raise AssertionError("it was locked twice")
    assert sleeps
    assert 1 <= now[0] < 1.2
    with site.locked(timeout=0):  # free again
        pass


def test_a_file_server_without_locks_is_explained(site: SiteDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_record.fcntl, "flock", no_locks)
    with pytest.raises(VezaError, match="No locks available"):
        write(site, event(1))


def held(**changes: Any) -> dict[str, Any]:
    at = "2026-01-31T02:03:04.000Z"
    lease = {"token": 2, "holder": {}, "acquired_at": at, "expires_at": at, "phase": None, "eta_at": None}
    return {**lease, "abort": None, **changes}


def test_the_lease_is_replaced_as_a_whole(site: SiteDirectory) -> None:
    with site.locked():
        site.write_lease({"token": 1, "holder": None})
        site.write_lease(held())
    assert site.lease() == held()
    assert not [path for path in Path(site.path).iterdir() if path.name.endswith(".new")]
    assert stat.S_IMODE(Path(site.lease_path).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"token": "x", "holder": null}',
        '{"token": 1}',
        '{"token": 1, "holder": 3}',
        '{"token": 1, "holder": {}}',
        json.dumps(held(expires_at=None)),
        json.dumps(held(expires_at="0001-01-01T00:00:00+14:00")),
        json.dumps(held(acquired_at=7)),
        json.dumps(held(phase=["drain"])),
        json.dumps(held(abort="yes")),
        json.dumps(held(abort={"at": "2026-01-31T02:03:04.000Z", "by": "bob"})),
        json.dumps(held(abort={"by": {}})),
    ],
)
def test_a_lease_that_something_else_wrote_is_never_guessed_at(site: SiteDirectory, text: str) -> None:
    with site.locked():
        Path(site.lease_path).write_text(text)
    with pytest.raises(VezaError, match="is no lease"):
        site.lease()


def test_stamp_truncates_so_that_no_event_is_in_the_future() -> None:
    assert stamp(datetime(2026, 1, 31, 2, 3, 4, 999999, UTC)) == "2026-01-31T02:03:04.999Z"
