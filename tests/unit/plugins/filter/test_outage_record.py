# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.filter.outage import FilterModule
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_summary import outage_summary

outage_record = FilterModule().filters()["outage_record"]
NAME = "20260131T020510Z-paris-00ff"


def at(minutes: int, seconds: int = 0) -> str:
    return f"2026-01-31T02:{minutes:02d}:{seconds:02d}.000Z"


class Record:
    """Builds events as the module writes them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(self, when: str, kind: str, key: str = "a", **data: Any) -> Record:
        by = {"user": "alice", "host": "ctl-1"}
        event = {
            "seq": len(self.events) + 1,
            "at": when,
            "type": kind,
            "key": key,
            "phase": "p",
            "by": by,
            "data": data,
        }
        self.events.append(event)
        return self

    def told(self, **options: Any) -> dict[str, Any]:
        result: dict[str, Any] = outage_record(self.events, **options)
        return result


def opened(**data: Any) -> Record:
    began = {"started_at": "2026-01-31T02:00:00Z", "start_source": "broker log", "confidence": "exact"}
    return Record().add(
        at(5, 10), "opened", "opened", id=NAME, site="paris", cause="broker_crashed", **{**began, **data}
    )


def recovered() -> Record:
    record = opened()
    record.add(
        at(5, 12), "verdict", cause="broker_crashed", title="It died", headline="It died (b1)", proof=["no process"]
    )
    record.add(at(5, 13), "plan", actions=[{"name": "start_broker", "target": "b1"}])
    record.add(at(5, 15), "action", "start", name="start_broker", target="b1", changed=True, result="started")
    record.add(at(5, 40), "serving", at="2026-01-31T03:05:30+01:00", proof=["confirmed"])
    record.add(at(7, 0), "drained", queues=[{"name": "q", "drained": True}], samples=[{"elapsed": 1}])
    rows = [
        {"kind": "transcode", "lost": {"state": "exact", "count": 2, "ids": ["1", "2"]}, "replayed": {"count": 2}},
        {"kind": "search", "lost": {"state": "at_least", "count": 1}, "replayed": 0},
        {"kind": "dmca", "lost": {"state": "unknown", "from": "t1", "to": "t2", "reasons": ["level was warn"]}},
    ]
    listed = [{"kind": "search", "entity_id": 9, "next_step": "Index it again."}]
    window = {"start": at(0), "end": at(5, 30)}
    record.add(at(8), "audit", window=window, accounting={"rows": rows, "listed": listed, "unknown": ["Sentry"]})
    return record.add(at(8, 5), "closed", "closed", reason="Done.")


@pytest.mark.parametrize(
    ("told", "reconnected"),
    [({}, at(5, 30)), ({"reconnected_at": at(5, 45)}, at(5, 45)), ({"reconnected_at": at(5)}, at(5, 30))],
)
def test_events_may_have_been_dropped_until_everybody_had_reconnected(told: dict, reconnected: str) -> None:
    record = Record()
    record.add(at(2), "opened", "opened", started_at=at(0))
    record.add(at(5, 40), "serving", at=at(5, 30), **told)
    outage = record.told()["outage"]
    assert (outage["end"], outage["reconnected"]) == (at(5, 30), reconnected)


def test_a_whole_recovery_is_told() -> None:
    told = recovered().told()
    assert (told["id"], told["site"], told["open"]) == (NAME, "paris", False)
    assert (told["cause"], told["headline"]) == ("broker_crashed", "It died (b1)")
    assert told["proof"] == [{"text": "no process", "host": None, "source": None, "at": None}]
    assert told["outage"] == {
        "start": at(0),
        "start_source": "broker log",
        "confidence": "exact",
        "end": at(5, 30),
        "end_source": "it was proved to serve",
        "end_confidence": "then or earlier",
        "reconnected": at(5, 30),
        "seconds": 330.0,
        "ongoing": False,
    }
    assert told["milestones"] == {
        "began": at(0),
        "detected": at(5, 10),
        "named": at(5, 12),
        "acted": at(5, 15),
        "serving": at(5, 30),
        "drained": at(7),
        "audited": at(8),
        "closed": at(8, 5),
    }
    assert (told["mttd"], told["mttr"], told["needs_postmortem"]) == (310.0, 330.0, False)
    action = {"at": at(5, 15), "name": "start_broker", "target": "b1", "changed": True, "result": "started"}
    assert told["actions"] == [action]
    assert told["drain"] == {
        "drained": True,
        "queues": [{"name": "q", "drained": True}],
        "samples": [{"elapsed": 1}],
    }


def test_figures_are_said_in_words() -> None:
    accounting = recovered().told()["accounting"]
    words = {
        row["kind"]: [row[figure]["text"] for figure in ("lost", "replayed", "left")] for row in accounting["rows"]
    }
    assert words == {
        "transcode": ["exactly 2", "2", "none"],
        "search": ["at least 1", "none", "1"],
        "dmca": ["unknown between t1 and t2: level was warn", "unknown", "none"],
    }
    assert accounting["window"] == {"start": at(0), "end": at(5, 30)}
    assert accounting["unknown"] == ["Sentry"]
    assert accounting["rows"][1]["left"]["ids"] == ["9"]


def test_what_healed_is_said_and_what_is_not_affected_is_not_in_the_summary() -> None:
    rows = [
        {"kind": "digest", "lost": 2, "replayed": 0, "healed": {"count": 2, "text": "2 by itself"}, "left": 0},
        {"kind": "chat", "lost": {"count": 0, "text": "not affected: direct"}, "replayed": 0, "healed": 0, "left": 0,
         "independent": "direct"},
        {"kind": "old", "lost": 1, "replayed": 1, "left": 0},
    ]  # fmt: skip
    told = opened().add(at(6), "audit", accounting={"rows": rows}).told()

    assert [row["healed"]["text"] for row in told["accounting"]["rows"]] == ["2 by itself", "none", "unknown"]
    assert [row["lost"]["text"] for row in told["accounting"]["rows"]][1] == "not affected: direct"
    assert "lost: digest exactly 2 (replayed: none), old exactly 1 (replayed: 1); left" in told["summary"]


def test_the_words_of_the_audit_are_kept() -> None:
    rows = [{"kind": "dmca", "lost": {"text": "some"}, "replayed": {"text": "one flush"}, "left": 0, "queue": "q"}]
    row = opened().add(at(6), "audit", accounting={"rows": rows}).told()["accounting"]["rows"][0]
    assert (row["lost"]["text"], row["replayed"]["text"], row["left"]["text"]) == ("some", "one flush", "none")
    assert row["queue"] == "q"


def test_the_timeline_is_in_the_order_in_which_it_happened() -> None:
    lines = [(line["at"], line["what"], line["by"]) for line in recovered().told()["phases"]]
    assert lines == [
        (at(0), "The outage began", "broker log"),
        (at(5, 10), "Incident opened: broker_crashed", "alice@ctl-1"),
        (at(5, 12), "Cause named: It died (b1)", "alice@ctl-1"),
        (at(5, 13), "Planned: start_broker on b1", "alice@ctl-1"),
        (at(5, 15), "start_broker on b1: started", "alice@ctl-1"),
        (at(5, 30), "It serves again", "alice@ctl-1"),
        (at(7), "The queues have drained", "alice@ctl-1"),
        (at(8), "What was lost has been accounted for", "alice@ctl-1"),
        (at(8, 5), "Incident closed: Done.", "alice@ctl-1"),
    ]


def test_the_same_events_give_the_same_bytes_whatever_their_order() -> None:
    events = recovered().events
    assert json.dumps(outage_record(events)) == json.dumps(outage_record(events[::-1]))


def test_only_what_has_no_replay_is_left_to_a_human() -> None:
    todo = recovered().told()["todo"]
    assert todo == [{"what": "search: 1 lost and not replayed.", "how": "Index it again.", "ids": ["9"]}]


def test_the_summary_begins_with_the_cause() -> None:
    assert recovered().told()["summary"] == (
        "It died (b1); the outage lasted for 5 min 30 s; lost: transcode exactly 2 (replayed: 2), "
        "search at least 1 (replayed: none), "
        "dmca unknown between t1 and t2: level was warn (replayed: unknown); left to a human: 1."
    )


@pytest.mark.parametrize(("end", "needed"), [(at(10), False), (at(10, 1), True)])
def test_ten_minutes_is_the_limit(end: str, needed: bool) -> None:
    told = opened().add(at(20), "serving", at=end).told()
    assert told["needs_postmortem"] is needed
    assert ("Write the postmortem." in [step["what"] for step in told["todo"]]) is needed
    assert opened().add(at(20), "serving", at=end).told(postmortem_after=900)["needs_postmortem"] is False


def test_an_outage_that_lasts_is_as_long_as_the_record_knows() -> None:
    short, long = opened().told(), opened().add(at(15), "note", text="x").told()
    assert (short["outage"]["ongoing"], short["outage"]["end"], short["outage"]["seconds"]) == (True, None, 310.0)
    assert (short["needs_postmortem"], long["needs_postmortem"]) == (False, True)
    assert short["mttr"] is None
    assert short["todo"][0]["what"] == "It has not been proved to serve again."
    assert "and is not over" in short["summary"]


def test_an_incident_closed_without_proof_says_so() -> None:
    outage = opened().add(at(9), "closed", "closed", reason="By hand.").told()["outage"]
    assert (outage["end"], outage["ongoing"]) == (at(9), False)
    assert "nobody saw it serve" in outage["end_source"]


def test_the_earliest_evidence_tells_when_it_began() -> None:
    earlier = {"start": "2026-01-31T01:59:00Z", "source": "host", "confidence": "then or later"}
    outage = opened().add(at(6), "verdict", cause="x", outage=earlier).told()["outage"]
    assert (outage["start"], outage["start_source"]) == ("2026-01-31T01:59:00.000Z", "host")
    later = {**earlier, "start": at(6)}
    assert opened().add(at(6), "verdict", cause="x", outage=later).told()["outage"]["start"] == at(0)


@pytest.mark.parametrize(
    "given", [pytest.param("2026-01-31T01:40:00Z", id="earlier"), pytest.param("2026-01-31T03:04:00+01:00", id="later")]
)
def test_a_person_knows_better_than_evidence_when_it_began(given: str) -> None:
    record = opened().add(at(6), "began", at=at(1), source="given by a person", confidence="given")
    record.add(at(7), "began", at=given, source="given by a person", confidence="given")
    evidence = {"start": "2026-01-31T01:30:00Z", "source": "host", "confidence": "exact"}
    told = record.add(at(8), "verdict", cause="x", outage=evidence).told()

    start = {"2026-01-31T03:04:00+01:00": at(4)}.get(given, "2026-01-31T01:40:00.000Z")
    assert [told["outage"][key] for key in ("start", "start_source", "confidence")] == [
        start, "given by a person", "given"
    ]  # fmt: skip
    assert f"The outage began at {start}: given by a person" in [line["what"] for line in told["phases"]]


def test_a_beginning_that_is_no_instant_changes_nothing() -> None:
    outage = opened().add(at(6), "began", at="soon", source="given by a person").told()["outage"]
    assert (outage["start"], outage["start_source"]) == (at(0), "broker log")


def test_without_evidence_it_began_before_it_was_opened() -> None:
    outage = opened(started_at=None).told()["outage"]
    assert (outage["start"], outage["confidence"]) == (at(5, 10), "at the latest")


def test_a_finishing_run_that_finds_it_healthy_does_not_hide_the_cause() -> None:
    record = opened().add(at(6), "verdict", "1", cause="broker_crashed", title="It died", unknown=["a"])
    told = record.add(at(7), "verdict", "2", cause="healthy", title="It is healthy", unknown=["a", "b"]).told()
    assert (told["cause"], told["title"], told["unknown"]) == ("broker_crashed", "It died", ["a", "b"])


def test_a_later_event_with_the_same_key_supersedes_but_keeps_the_first_time() -> None:
    record = opened().add(at(6), "action", "start", name="start", changed=True, result="failed")
    told = record.add(at(7), "action", "start", name="start", changed=True, result="started").told()
    assert [(action["at"], action["result"]) for action in told["actions"]] == [(at(6), "started")]
    assert told["milestones"]["acted"] == at(6)


def test_what_changed_nothing_was_no_act() -> None:
    assert opened().add(at(6), "action", name="start", changed=False).told()["milestones"]["acted"] is None


def test_a_failure_counts_until_something_later_answers_it() -> None:
    record = opened().add(at(6), "failed", phase="act", message="no sudo")
    assert record.told()["failures"] == [{"at": at(6), "phase": "act", "message": "no sudo"}]
    assert "A step failed: no sudo" in [step["what"] for step in record.told()["todo"]]
    assert record.add(at(7), "serving").told()["failures"] == []


def test_what_is_not_finished_is_a_task_for_a_human() -> None:
    record = opened().add(at(6), "serving").add(at(7), "drained", drained=False, queues=[{"name": "q"}])
    told = record.add(at(8), "note", text="x", next_steps=["Call Bob."]).told()
    assert [step["what"] for step in told["todo"]] == [
        "Not drained: q.",
        "What was lost has not been accounted for.",
        "Call Bob.",
    ]
    assert told["milestones"]["drained"] is None


def test_clocks_that_differ_make_no_negative_time() -> None:
    assert opened(started_at="2026-01-31T02:06:00Z").told()["mttd"] == 0.0


def test_no_events_are_an_incident_of_which_nothing_is_known() -> None:
    told = outage_record([])
    assert (told["id"], told["open"], told["outage"]["ongoing"], told["phases"]) == (None, False, False, [])


@pytest.mark.parametrize(
    "events", ["x", {"a": 1}, None, 3, [1], [{"seq": 1}], [{"seq": 1, "at": "x", "type": "opened"}]]
)
def test_what_is_no_record_is_refused(events: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="outage_record"):
        outage_record(events)


def test_whether_the_backends_were_restarted_is_part_of_the_record() -> None:
    record = recovered()
    assert record.told()["backends"] == {}
    record.add(at(5, 14), "processes", "before", backends={"backend-1": {"pid": 7}})
    assert record.told()["backends"] == {}
    record.add(at(9), "processes", "after", text="API process unchanged on backend-1", changed=[])
    told = record.told()
    assert told["backends"] == {"text": "API process unchanged on backend-1", "changed": []}
    lines = [line["what"] for line in told["phases"]]
    assert "Noted which process the API is on backend-1" in lines
    assert "API process unchanged on backend-1" in lines
    record.add(at(9, 5), "processes", "after", text="ANOTHER API PROCESS on backend-1", changed=["backend-1"])
    assert any("ANOTHER API PROCESS" in todo["what"] for todo in record.told()["todo"])


def test_who_is_missing_is_in_the_timeline() -> None:
    record = recovered().add(at(8), "served", missing=["q has no consumer"])
    assert "Not served yet: q has no consumer" in [line["what"] for line in record.told()["phases"]]
    record.add(at(9), "served", missing=[])
    assert "Workers and consumers are back" in [line["what"] for line in record.told()["phases"]]


def test_what_was_raised_for_a_while_is_left_until_it_is_set_back() -> None:
    raised = {"node": "b1", "before": "0.6", "raised_to": 1 << 30}
    record = opened().add(at(6), "note", "temporary:watermark:b1", text="raised", temporary=raised)
    told = record.told()
    assert told["temporary"] == [raised]
    assert "still raised (it was 0.6)" in str(told["todo"])
    record.add(at(7), "action", "set_back_watermark:b1", name="set_back_watermark", target="b1", changed=True)
    assert record.told()["temporary"] == []
    record.add(at(8), "note", "temporary:watermark:b1", text="again", temporary=raised)
    assert record.told()["temporary"] == [raised]


def test_when_an_outage_began_last() -> None:
    record = recovered()
    assert record.told()["last_began"] == "2026-01-31T02:00:00.000Z"
    # An alert that only informs begins none, and what began before is no later for being told later.
    record.add(at(20), "note", "n1", starts_at=at(19), begins=False)
    record.add(at(20), "verdict", "broker_restarted", cause="broker_restarted", outage={"start": at(1)})
    assert record.told()["last_began"] == at(1)
    record.add(at(30), "note", "n2", starts_at=at(29), begins=True)
    assert record.told()["last_began"] == at(29)
    assert Record().told()["last_began"] is None


def audited(record: Record, window: tuple[int, int], *listed: dict[str, Any]) -> Record:
    when = {"start": at(window[0]), "end": at(window[1])}
    accounting = {"rows": [], "listed": list(listed), "unknown": []}
    return record.add(at(9), "audit", f"audit:{window}", window=when, accounting=accounting)


def distribution(entity: str, **more: Any) -> dict[str, Any]:
    return {"kind": "distribution", "entity_id": entity, "next_step": "Submit it again.", **more}


@pytest.mark.parametrize(
    ("later", "left"),
    [
        pytest.param((1, 3), ["8", "7"], id="of a part of it"),
        pytest.param((4, 9), ["8", "7"], id="of another window"),
        pytest.param((0, 5), ["8"], id="again"),
        pytest.param((0, 9), ["8"], id="of a longer window"),
    ],
)
def test_an_audit_answers_for_the_windows_that_lie_in_its_own(later: tuple[int, int], left: list[str]) -> None:
    record = audited(audited(opened(), (0, 5), distribution("7"), distribution("8")), later, distribution("8"))
    told = record.told()
    assert [entry["entity_id"] for entry in told["left"]] == left
    assert [task["ids"] for task in told["todo"] if task["what"].startswith("distribution")] == [left]


def test_what_may_have_arrived_is_not_called_lost() -> None:
    versions = ["distribution:7:1", "distribution:7:2"]
    told = audited(opened(), (0, 5), distribution("7", certain=False, keys=versions), distribution("8")).told()
    doubtful, certain = [task for task in told["todo"] if task["what"].startswith("distribution")]
    assert doubtful["what"] == "distribution: 1 may be lost, and not replayed."
    assert doubtful["how"] == (
        "It may have arrived after all: look whether it is done before you do it again. Submit it again."
    )
    assert doubtful["ids"] == ["7 (distribution:7:1, distribution:7:2)"]
    assert (certain["what"], certain["how"]) == ("distribution: 1 lost and not replayed.", "Submit it again.")


def flush(name: str, instance: str, flushed: bool, result: str) -> dict[str, Any]:
    return {"key": f"{name}:{instance}", "name": name, "target": instance, "flushed": flushed, "result": result}


def test_a_failed_flush_is_left_to_a_human_also_where_no_takedown_is_known() -> None:
    failed = flush("dmca_flush_again", "backend-2", False, "POST http://b2/flush: 401: the token is wrong.")
    told = audited(recovered().add(at(8), "action", **failed), (0, 6)).told()
    (task,) = [task for task in told["todo"] if "DMCA" in task["what"]]
    assert task == {
        "what": "The DMCA cache of backend-2 was not flushed: POST http://b2/flush: 401: the token is wrong.",
        "how": "When that is mended, this flushes it: ansible-playbook veza.rabbitmq.audit_rabbitmq "
        f"-e outage_audit_incident={NAME}",
        "ids": [],
    }
    lines = outage_summary({"record": told})
    assert not any("nothing for a human to do" in line for line in lines)
    assert any(line.startswith("LEFT      The DMCA cache of backend-2 was not flushed: POST") for line in lines)


def test_a_flush_that_was_done_later_is_not_left() -> None:
    record = recovered().add(at(7), "action", **flush("dmca_flush", "backend-2", False, "500"))
    told = record.add(at(8), "action", **flush("dmca_flush_again", "backend-2", True, "Flushed.")).told()
    assert not [task for task in told["todo"] if "DMCA" in task["what"]]


def test_what_was_taken_back_after_the_audit_is_not_replayed_any_more() -> None:
    undone = {"name": "undo_requeue", "target": "database", "changed": True, "tracks": [[1, 3]]}
    stopped = {**undone, "tracks": [1], "incomplete": True}
    told = recovered().add(at(9), "action", "stopped", **stopped).add(at(9), "action", "undo", **undone).told()
    (task,) = [task for task in told["todo"] if "taken back" in task["what"]]
    assert (task["ids"], NAME in task["how"]) == (["1", "2", "3"], True)
    later = audited(recovered().add(at(9), "action", "undo", **undone), (0, 6)).told()
    assert not [task for task in later["todo"] if "taken back" in task["what"]]
