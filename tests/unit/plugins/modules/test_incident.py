# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, Refused
from ansible_collections.veza.rabbitmq.plugins.modules import incident

START = datetime(2026, 1, 31, 2, 3, 4, tzinfo=UTC)
ALICE = {
    "host": "ctl-1",
    "boot_id": "b1",
    "pid_namespace": "pid:[1]",
    "pid": 42,
    "started": "1000",
    "user": "alice",
    "job": None,
    "playbook": "recover_rabbitmq.yml",
}
BOB = {**ALICE, "pid": 43, "user": "bob"}


class World:
    """A directory and a clock; each call of run() is one task."""

    def __init__(self, root: Path) -> None:
        self.root = root / "incidents"
        self.now = START
        self.opened = 0

    def run(self, check_mode: bool = False, holder: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        known = {name: entry.get("default") for name, entry in incident.argument_spec().items()}
        given = {**known, "dir": str(self.root), "site": "paris", "holder": holder or ALICE, **changes}
        return incident.run(given, check_mode, lambda: self.now, self.nonce)

    def nonce(self) -> str:
        self.opened += 1
        return f"{self.opened:04x}"

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def note(world: World, **changes: Any) -> dict[str, Any]:
    return world.run(**{"state": "appended", "type": "note", "key": "a", "data": {"text": "hi"}, **changes})


def test_the_documented_options_are_those_of_the_module() -> None:
    documented = yaml.safe_load(incident.DOCUMENTATION)["options"]
    spec = incident.argument_spec()
    assert set(documented) == set(spec)
    for name, option in documented.items():
        for key in ("type", "default", "choices", "required"):
            assert option.get(key) == spec[name].get(key), (name, key)


def test_opening_gives_an_id_and_records_it(world: World) -> None:
    result = world.run(state="opened", phase="diagnose", data={"cause": "broker_crashed"})
    name = "20260131T020304Z-paris-0001"
    assert (result["id"], result["open"], result["found"], result["changed"]) == (name, True, True, True)
    assert result["event"] == {
        "seq": 1,
        "at": "2026-01-31T02:03:04.000Z",
        "type": "opened",
        "key": "opened",
        "phase": "diagnose",
        "by": {"user": "alice", "host": "ctl-1"},
        "data": {"cause": "broker_crashed", "id": name, "site": "paris"},
    }
    assert json.loads(Path(result["file"]).read_text()) == result["event"]
    assert json.loads(result["diff"]["after"]) == result["event"]


def test_an_open_incident_is_returned_and_not_opened_again(world: World) -> None:
    first = world.run(state="opened", data={"cause": "a"})
    world.passes(60)
    for changes in ({}, {"id": first["id"]}):
        again = world.run(state="opened", data={"cause": "b"}, **changes)
        assert (again["id"], again["changed"], again["event"]["data"]["cause"]) == (first["id"], False, "a")
    assert world.opened == 1


def test_who_opens_for_the_same_goes_on_with_it_also_when_it_is_closed(world: World) -> None:
    first = world.run(state="opened", key="audit:a:b", data={"cause": "audit"})
    world.run(state="closed", id=first["id"])
    world.passes(60)
    again = world.run(state="opened", key="audit:a:b", data={"cause": "audit"})
    assert (again["id"], again["changed"], again["open"]) == (first["id"], False, False)
    assert again["msg"] == f"Incident {first['id']} is there already."
    other = world.run(state="opened", key="audit:a:c")
    assert other["changed"] is True
    assert other["id"] != first["id"]
    # An audit that was interrupted is no outage that goes on.
    outage = world.run(state="opened", data={"cause": "broker_crashed"})
    assert (outage["changed"], outage["event"]["data"]["cause"]) == (True, "broker_crashed")


@pytest.mark.parametrize(
    ("start", "end", "overlaps"),
    [
        pytest.param("2026-01-31T01:00:00Z", "2026-01-31T02:00:00Z", False, id="before"),
        pytest.param("2026-01-31T01:00:00Z", "2026-01-31T02:00:00.001Z", True, id="a part"),
        pytest.param("2026-01-31T03:10:00+01:00", "2026-01-31T03:20:00+01:00", True, id="within, in another zone"),
        pytest.param("2026-01-31T02:30:00Z", "2026-01-31T03:30:00Z", False, id="after"),
    ],
)
def test_other_records_tell_what_they_queued_again_of_a_window(
    world: World, start: str, end: str, overlaps: bool
) -> None:
    window = {"start": "2026-01-31T02:00:00Z", "end": "2026-01-31T02:30:00.000Z"}
    queued_again = {"name": "transcode_requeue", "tracks": [[1, 3]], "window": window}
    other = world.run(state="opened", data={"cause": "broker_crashed"})["id"]
    for number, data in enumerate([queued_again, {"name": "dmca_flush"}, {"name": "undo_requeue", "tracks": [2]}]):
        world.run(state="appended", id=other, type="action", key=str(number), data=data)
    world.run(state="closed", id=other)
    mine = world.run(state="opened", key="audit:a:b")["id"]
    world.run(state="appended", id=mine, type="audit", key="audit", data={"window": window})
    found = world.run(state="read", id=mine, overlapping={"start": start, "end": end})["overlapping"]
    told = {"incident": other, "actions": [queued_again, {"name": "undo_requeue", "tracks": [2]}]}
    assert found == ([told] if overlaps else [])
    assert "overlapping" not in world.run(state="read", id=mine)


def test_after_one_is_closed_the_next_is_another(world: World) -> None:
    first = world.run(state="opened")["id"]
    assert world.run(state="closed", reason="Done.")["event"]["data"] == {"reason": "Done."}
    second = world.run(state="opened")["id"]
    assert first != second
    with pytest.raises(Refused, match="is closed"):
        world.run(state="opened", id=first)


@pytest.mark.parametrize("started_at", ["2026-01-31T02:00:00", "soon"])
def test_a_beginning_that_could_be_any_time_is_refused(world: World, started_at: str) -> None:
    with pytest.raises(BadInput, match="started_at"):
        world.run(state="opened", data={"started_at": started_at})
    assert not [name for name in world.files() if name.endswith(".jsonl")]


def test_an_event_is_recorded_once(world: World) -> None:
    world.run(state="opened")
    first, again = note(world), note(world)
    assert (first["changed"], first["event"]["seq"]) == (True, 2)
    assert (again["changed"], again["event"]) == (False, first["event"])
    assert note(world, key="b")["event"]["seq"] == 3
    assert note(world, type="action")["event"]["seq"] == 4


def test_other_data_under_the_same_key_is_kept_or_replaced_as_asked(world: World) -> None:
    world.run(state="opened")
    note(world)
    kept = note(world, data={"text": "ho"})
    assert (kept["changed"], kept["event"]["data"]) == (False, {"text": "hi"})
    assert "is kept" in kept["msg"]
    for changed in (True, False):
        replaced = note(world, data={"text": "ho"}, on_same_key="replace")
        assert (replaced["changed"], replaced["event"]["data"]) == (changed, {"text": "ho"})
    assert [event["data"].get("text") for event in world.run(state="read")["events"]] == [None, "hi", "ho"]


@pytest.mark.parametrize("kind", ["opened", "closed", "Note", "a b", ""])
def test_types_have_a_shape_and_the_lifecycle_its_own_states(world: World, kind: str) -> None:
    world.run(state="opened")
    with pytest.raises(BadInput, match="type is"):
        note(world, type=kind)


def test_an_event_needs_an_incident(world: World) -> None:
    with pytest.raises(Refused, match="No incident is open"):
        note(world)
    with pytest.raises(BadInput, match="There is no incident"):
        note(world, id="20260131T020304Z-paris-0009")
    assert world.files() == {}


def test_an_audit_may_be_finished_after_the_incident_was_closed(world: World) -> None:
    name = world.run(state="opened")["id"]
    world.run(state="closed")
    result = note(world, id=name)
    assert (result["changed"], result["open"]) == (True, False)


def test_closing_is_idempotent(world: World) -> None:
    name = world.run(state="opened")["id"]
    first = world.run(state="closed")
    assert (first["changed"], first["open"], first["id"]) == (True, False, name)
    again = world.run(state="closed", id=name, reason="Other.")
    assert (again["changed"], again["event"]) == (False, first["event"])
    assert (world.run(state="closed")["changed"], world.run(state="closed")["found"]) == (False, False)


def test_closing_where_nothing_was_ever_recorded_writes_nothing(world: World) -> None:
    result = world.run(state="closed", lease="released", token=1)
    assert (result["changed"], result["found"], result["released"]) == (False, False, False)
    assert not world.root.exists()


def test_reading_finds_the_open_one_else_the_latest_else_nothing(world: World) -> None:
    nothing = world.run(state="read")
    assert (nothing["found"], nothing["open"], nothing["id"], nothing["events"]) == (False, False, None, [])
    assert not world.root.exists()
    first = world.run(state="opened")["id"]
    world.run(state="closed")
    world.passes(5)
    second = world.run(state="opened")["id"]
    assert world.run(state="read")["id"] == second
    world.run(state="closed")
    assert (world.run(state="read")["id"], world.run(state="read")["open"]) == (second, False)
    assert world.run(state="read", id=first)["id"] == first
    assert world.run(state="read", id="20260131T020304Z-paris-0009")["found"] is False


def test_reading_says_how_much_is_damaged(world: World) -> None:
    path = Path(world.run(state="opened")["file"])
    path.write_bytes(path.read_bytes() + b"garbage\n")
    result = world.run(state="read")
    assert (result["damaged"], len(result["events"])) == (1, 1)


def test_the_lease_goes_round(world: World) -> None:
    mine = world.run(lease="acquired", phase="diagnose")
    assert (mine["acquired"], mine["token"], mine["changed"]) == (True, 1, False)
    assert world.run(lease="acquired")["renewed"] is True
    with pytest.raises(Refused) as refused:
        world.run(lease="acquired", holder=BOB)
    failure = refused.value.fail_json_arguments()
    assert "alice on ctl-1 (pid 42, recover_rabbitmq.yml) is at work here" in failure["msg"]
    assert (failure["refused"], failure["acquired"], failure["token"]) == ("held", False, None)
    assert (failure["lease"]["holder"], failure["lease"]["remaining"]) == (ALICE, 120.0)
    assert world.run(lease="released", token=1)["released"] is True
    assert world.run(lease="released", token=1)["released"] is False
    assert world.run(lease="acquired", holder=BOB)["token"] == 2


def test_a_run_that_was_taken_over_is_stopped_before_it_writes(world: World) -> None:
    world.run(lease="acquired", state="opened", ttl=10)
    world.passes(11)
    taken = world.run(lease="acquired", holder=BOB)
    assert (taken["token"], taken["taken_over"]["holder"]) == (2, ALICE)
    before = world.files()
    with pytest.raises(Refused, match="is not valid any more") as refused:
        note(world, lease="checked", token=1)
    assert refused.value.fail_json_arguments()["refused"] == "lost"
    assert world.run(lease="released", token=1)["released"] is False
    assert world.files() == before


def test_a_dead_holder_is_replaced_at_once(world: World) -> None:
    world.run(lease="acquired")
    taken = world.run(lease="acquired", holder=BOB, dead_token=1)
    assert (taken["acquired"], taken["taken_over"]["reason"]) == (True, "that process has ended")


def test_the_lease_is_not_taken_when_the_record_can_not_be_written(world: World) -> None:
    with pytest.raises(Refused, match="No incident is open"):
        note(world, lease="acquired")
    assert world.run(state="read")["lease"] is None


def test_reading_tells_who_is_at_work(world: World) -> None:
    world.run(lease="acquired", phase="drain", eta_at="2026-01-31T03:10:00+01:00")
    world.passes(20)
    lease = world.run(state="read", holder=BOB)["lease"]
    told = (lease["held"], lease["holder"], lease["phase"], lease["eta_at"], lease["remaining"])
    assert told == (True, ALICE, "drain", "2026-01-31T02:10:00.000Z", 100.0)


@pytest.mark.parametrize("changes", [{"ttl": 0}, {"ttl": -5}, {"ttl": 10**12}, {"eta_at": "soon"}])
def test_a_lease_without_sense_is_refused(world: World, changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        world.run(lease="acquired", **changes)
    assert world.files() == {}


RUN: list[dict[str, Any]] = [
    {"lease": "acquired", "state": "opened", "data": {"cause": "a"}},
    {"lease": "checked", "token": 1, "state": "appended", "type": "note", "key": "a", "data": {"n": 1}},
    {"state": "appended", "type": "note", "key": "a", "data": {"n": 1}},
    {"state": "closed"},
    {"lease": "released", "token": 1},
]


@pytest.mark.parametrize("step", range(len(RUN)))
def test_check_mode_predicts_each_step_and_writes_nothing(world: World, step: int) -> None:
    for task in RUN[:step]:
        world.run(**task)
    before = world.files()
    predicted = world.run(check_mode=True, **RUN[step])
    assert world.files() == before
    world.opened = 0
    real = world.run(**RUN[step])
    for key in ("changed", "open", "found", "event", "released", "token", "refused"):
        assert predicted.get(key) == real.get(key), key


def test_check_mode_goes_through_a_whole_run_on_an_untouched_host(world: World) -> None:
    results = [world.run(check_mode=True, **task) for task in RUN]
    name = results[0]["id"]
    assert [result["changed"] for result in results] == [True, True, True, False, False]
    assert results[1]["refused"] is None
    assert note(world, check_mode=True, id=name)["changed"] is True
    assert world.run(check_mode=True, state="read", id=name)["found"] is False
    assert not world.root.exists()


def test_check_mode_reports_who_holds_the_lease_and_does_not_fail(world: World) -> None:
    world.run(lease="acquired")
    for what in ("acquired", "checked"):
        result = world.run(check_mode=True, holder=BOB, lease=what, token=7)
        assert (result["refused"], result["token"]) == ("held", None)
        assert "alice on ctl-1" in result["msg"]


FURTHER = [
    {"type": "verdict", "key": "crash", "data": {"cause": "broker_crashed"}, "on_same_key": "keep"},
    {"type": "plan", "key": "act", "data": {"actions": []}, "on_same_key": "keep"},
]


def test_events_that_come_with_the_opening_are_written_once(world: World) -> None:
    before = world.run(state="opened", events=FURTHER, check_mode=True)
    assert (before["changed"], world.files()) == (True, {})
    first = world.run(state="opened", events=FURTHER)
    assert first["changed"]
    written = world.run(state="read")["events"]
    assert [(event["seq"], event["type"]) for event in written] == [(1, "opened"), (2, "verdict"), (3, "plan")]
    again = world.run(state="opened", events=FURTHER)
    assert (again["changed"], again["id"]) == (False, first["id"])
    more = world.run(state="opened", events=[{**FURTHER[0], "key": "other"}])
    assert (more["changed"], len(world.run(state="read")["events"])) == (True, 4)
    with pytest.raises(BadInput):
        world.run(state="read", events=FURTHER)
    with pytest.raises(BadInput):
        world.run(state="opened", events=[{**FURTHER[0], "type": "closed"}])


def test_what_can_not_be_written_fails_before_anything_is(world: World) -> None:
    odd = {**FURTHER[1], "data": {"x": float("nan")}}
    for check_mode in (True, False):
        with pytest.raises(BadInput, match="as JSON"):
            world.run(check_mode, state="opened", lease="acquired", events=[FURTHER[0], odd])
    assert not [name for name in world.files() if not name.endswith(".lock")]


@pytest.mark.parametrize(
    "window", ["soon", {"start": "soon", "end": "later"}, {"start": "2026-01-31T02:00:00Z"}, {"start": 5, "end": []}]
)
def test_a_window_that_can_not_be_read_does_not_hide_the_others(world: World, window: Any) -> None:
    sound = {"start": "2026-01-31T02:00:00Z", "end": "2026-01-31T02:30:00Z"}
    other = world.run(state="opened", data={"window": window})["id"]
    note(world, data={"window": sound})
    world.run(state="closed")
    mine = world.run(state="opened", key="mine")["id"]
    told = world.run(state="read", id=mine, overlapping=sound)["overlapping"]
    assert told == [{"incident": other, "actions": []}]


def test_a_record_that_something_else_wrote_to_can_still_be_used(world: World) -> None:
    path = Path(world.run(state="opened")["file"])
    sound = json.loads(path.read_text())
    odd = {**sound, "type": "action", "data": None}
    path.write_text("".join(json.dumps(line) + "\n" for line in ({**sound, "key": None}, sound, odd)))
    assert note(world)["event"]["seq"] == 2
    told = world.run(state="read", overlapping={"start": "2026-01-31T02:00:00Z", "end": "2026-01-31T03:00:00Z"})
    assert (told["open"], told["damaged"], len(told["events"]), told["recent_actions"]) == (True, 2, 2, [])


def test_a_lease_that_another_run_has_had_since_the_look_is_refused_and_nothing_opened(world: World) -> None:
    assert world.run(lease="acquired", previous_token=0, holder=BOB)["token"] == 1
    with pytest.raises(Refused, match="at work here"):
        world.run(lease="acquired", previous_token=0, state="opened")
    world.run(lease="released", token=1, holder=BOB)
    with pytest.raises(Refused, match="may be over") as refused:
        world.run(lease="acquired", previous_token=0, state="opened")
    assert refused.value.fail_json_arguments()["refused"] == "overtaken"
    assert not world.run(state="read")["found"]
    assert world.run(lease="acquired", previous_token=1, state="opened")["token"] == 2
    assert world.run(lease="acquired", previous_token=1)["renewed"]


def test_what_was_done_lately_is_told_whichever_incident_it_was(world: World) -> None:
    def act(target: str, changed: bool = True) -> None:
        data = {"name": "start_broker", "target": target, "changed": changed, "result": "x"}
        world.run(state="appended", type="action", key=target, data=data, on_same_key="replace")

    world.run(state="opened")
    act("a")
    world.run(state="closed")
    world.passes(3600)
    world.run(state="opened")
    act("b")
    world.passes(1)
    act("b", changed=False)
    told = world.run(state="read")["recent_actions"]
    assert [(action["target"], action["at"]) for action in told] == [
        ("a", "2026-01-31T02:03:04.000Z"),
        ("b", "2026-01-31T03:03:04.000Z"),
    ]
    world.passes(24 * 3600)
    assert world.run(state="read")["recent_actions"] == []
