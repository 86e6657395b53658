# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_plan import (
    _approved,
    outage_accounted,
    outage_plan,
)
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_verdict import outage_verdict
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._shift_instant import shift_instant
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import plain
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._workers import ABOUT
from tests.awx.unsafe import Unsafe
from tests.unit.plugins.filter.evidence import (
    QUEUES,
    SITUATIONS,
    app,
    at_work,
    causes,
    container,
    info,
    queue,
    worker,
)
from tests.unit.plugins.filter.test_outage_verdict import CRASHED, GONE, MUTE, REMEDIES, WAITS, cluster

CLOSED = {"open": False, "id": None, "served_at": None}
OPEN = {"open": True, "id": "20260131T020310Z-paris-3f9a"}
SINCE = "2026-01-31T01:30:00.000Z"
YES = {"flags": {"outage_recover_start_stopped": True}}


def plan(
    situation: str,
    incident: dict | None = None,
    approved: dict | None = None,
    incident_id: str = "",
    **settings: object,
) -> dict:
    seen = SITUATIONS[situation][0]
    known = {
        "flags": {"outage_recover_start_stopped": False},
        "apis": ["backend-1", "backend-2"],
        "database": True,
        "recent_actions": [],
        "restarts": 2,
        "restarts_since": SINCE,
        "workers": {"transcode_jobs": "worker-transcode", "dmca_propagation": "worker-dmca"},
        "set_aside": {},
        "incident": incident_id,
        **settings,
    }
    return outage_plan(outage_verdict(seen, causes()), REMEDIES, incident or CLOSED, known, seen, approved)


def started(at: str, target: str = "rabbitmq", name: str = "start_broker") -> dict:
    return {"name": name, "target": target, "at": at, "incident": "x"}


def names(planned: dict) -> list[str]:
    return [action["name"] for action in planned["actions"]]


@pytest.mark.parametrize(
    ("situation", "incident", "settings", "decision"),
    [
        ("healthy", CLOSED, {}, "nothing"),
        ("healthy", OPEN, {}, "finish"),
        ("killed", CLOSED, {}, "act"),
        ("killed", OPEN, {}, "act"),
        ("stopped", CLOSED, {}, "ask"),
        ("stopped", OPEN, {}, "ask"),
        ("stopped", CLOSED, YES, "act"),
        ("gone, log unreadable", CLOSED, {}, "ask"),
        ("booting", CLOSED, {}, "act"),
        ("crashed, back", CLOSED, {}, "act"),
        ("crashed, back", {**CLOSED, "id": "x", "served_at": "2026-01-31T02:00:00.000Z"}, {}, "act"),
        ("crashed, back", {**CLOSED, "id": "x", "served_at": "2026-01-31T02:04:00.000Z"}, {}, "nothing"),
        ("segfault, back", {**CLOSED, "id": "x", "served_at": "2026-01-31T02:04:00.000Z"}, {}, "nothing"),
        ("killed", {**CLOSED, "id": "x", "served_at": "2026-01-31T02:04:00.000Z"}, {}, "act"),
        ("disk alarm", CLOSED, YES, "act"),  # there is room: it is about to end
        ("memory alarm", CLOSED, YES, "ask"),
        ("silent", CLOSED, {}, "act"),
        ("nothing seen", OPEN, YES, "ask"),
    ],
)
def test_the_decision(situation: str, incident: dict, settings: dict, decision: str) -> None:
    decided = plan(situation, incident, **settings)
    assert decided["decision"] == decision
    assert bool(decided["actions"]) is (decision in ("act", "finish"))
    assert decided["reason"]


def test_the_actions_in_their_order() -> None:
    assert [(action["name"], action["target"]) for action in plan("killed")["actions"]] == [
        ("start_broker", "rabbitmq"),
        ("dmca_flush", "backend-1"),
        ("dmca_flush", "backend-2"),
        ("transcode_requeue", "database"),
        ("dmca_flush_again", "backend-1"),
        ("dmca_flush_again", "backend-2"),
    ]


@pytest.mark.parametrize(
    ("situation", "action"),
    [
        ("silent", "restart_broker"),
        ("stop_app", "start_app"),
        ("maintenance", "revive_broker"),
    ],
)
def test_what_lives_and_does_not_serve(situation: str, action: str) -> None:
    assert names(plan(situation, **YES))[0] == action
    if action == "restart_broker":
        assert names(plan(situation))[0] == action
    else:
        refused = plan(situation)
        assert (refused["decision"], refused["actions"], refused["steps"]) == ("ask", [], [])
        assert "outage_recover_start_stopped=true" in refused["reason"]


def test_a_node_is_revived_when_its_application_runs_again() -> None:
    assert names(plan("maintenance, then stop_app", **YES))[:2] == ["start_app", "revive_broker"]
    refused = plan("maintenance, then stop_app")
    assert (refused["decision"], refused["actions"]) == ("ask", [])
    assert "rabbitmqctl start_app" in refused["reason"]


def test_a_broker_that_goes_down_again_and_again_is_not_started_for_ever() -> None:
    once, twice = [started("2026-01-31T01:40:00.000Z")], [started("2026-01-31T01:40:00.000Z"), started(SINCE)]
    assert plan("killed", recent_actions=once)["decision"] == "act"
    refused = plan("killed", recent_actions=twice)
    assert (refused["decision"], refused["actions"]) == ("ask", [])
    assert "2 times" in refused["reason"]
    assert "outage_recover_restarts" in refused["reason"]
    others = [started("2026-01-31T01:40:00.000Z", "elsewhere"), started("2026-01-31T01:00:00.000Z"), *once]
    assert plan("killed", recent_actions=others)["decision"] == "act"


def test_the_budget_is_each_nodes_own(monkeypatch: pytest.MonkeyPatch) -> None:
    crashed = {**cluster(MUTE, CRASHED, CRASHED, CRASHED), "apps": {}}
    monkeypatch.setitem(SITUATIONS, "cluster", (crashed, "broker_crashed"))
    once = [started("2026-01-31T01:40:00.000Z", node) for node in "abc"]
    assert names(plan("cluster", recent_actions=once))[:3] == ["start_broker"] * 3
    refused = plan("cluster", recent_actions=[*once, once[1]])
    assert (refused["decision"], refused["actions"]) == ("ask", [])
    assert "started b 2 times already" in refused["reason"]


def test_a_person_who_says_yes_is_not_held_back_by_the_budget() -> None:
    twice = [started("2026-01-31T01:40:00.000Z"), started(SINCE)]
    assert plan("stopped", recent_actions=twice, **YES)["decision"] == "act"


def test_an_approved_plan_is_known_again_whatever_yaml_makes_of_its_texts(tmp_path: Path) -> None:
    seen = plan("killed")["approval"]
    odd = {"five": "5", "none": "", "instant": "2026-01-31T02:03:04Z", "octal": "0123", "word": "no", "many": ["~"]}
    mine = {**plan("killed"), "approval": {**seen, "steps": [{**seen["steps"][0], "arguments": odd}]}}
    (tmp_path / "extravars").write_text(yaml.dump({"plan": mine["approval"]}, Dumper=Unsafe))
    # ansible-core 2.19 and later make numbers, dates and nulls of them.
    handed_over = plain(DataLoader().load_from_file(str(tmp_path / "extravars"))["plan"])
    assert _approved(mine, handed_over)["decision"] == "act"
    handed_over["steps"][0]["arguments"]["five"] = 6
    assert _approved(mine, handed_over)["decision"] == "ask"


def test_an_approved_plan_is_carried_out_and_no_other() -> None:
    approved = plan("killed")["approval"]
    assert plan("killed", approved=approved)["decision"] == "act"
    # The run that carries it out has opened the incident meanwhile.
    assert plan("killed", OPEN, approved=approved)["decision"] == "act"
    other = plan("stopped", approved=approved, **YES)
    assert (other["decision"], other["actions"], other["steps"]) == ("ask", [], [])
    assert "not what was approved" in other["reason"]
    assert plan("healthy", approved=approved)["decision"] == "nothing"
    elsewhere = {**approved, "version": "0.0.1"}
    assert "version: approved 0.0.1" in plan("killed", approved=elsewhere)["reason"]
    # It was interrupted after the broker had been started: the rest of the incident's work was approved with it.
    assert plan("healthy", OPEN, approved=approved)["decision"] == "finish"
    of_another = plan("killed", {**OPEN, "id": "another"})["approval"]
    assert plan("killed", OPEN, approved=of_another)["decision"] == "ask"


def test_a_second_cause_that_only_a_human_may_decide_about_is_said_and_not_touched() -> None:
    seen = SITUATIONS["killed"][0]
    verdict = outage_verdict(seen, causes())
    also = {"cause": "worker_crash_loop", "remedy": "ask", "targets": [], "queues": ["q"], "advice": "Read its log."}
    settings = {
        "flags": {},
        "apis": [],
        "database": False,
        "recent_actions": [],
        "restarts": 2,
        "restarts_since": SINCE,
    }
    planned = outage_plan({**verdict, "also": [also]}, REMEDIES, CLOSED, settings, seen)
    assert [step["cause"] for step in planned["steps"]] == ["broker_crashed"]
    assert planned["asks"] == [{"cause": "worker_crash_loop", "ask": "Read its log."}]
    both = {**also, "remedy": "wait_for_boot"}
    planned = outage_plan({**verdict, "also": [both, both]}, REMEDIES, CLOSED, settings, seen)
    assert [step["remedy"] for step in planned["steps"]] == ["start_broker", "wait_for_boot"]


def test_a_booting_broker_is_never_started_again() -> None:
    assert "start_broker" not in [action["name"] for action in plan("booting")["actions"]]


def test_without_a_database_nothing_is_queued_again() -> None:
    assert "transcode_requeue" not in [action["name"] for action in plan("killed", database=False)["actions"]]


@pytest.mark.parametrize(
    ("instant", "seconds", "shifted"),
    [
        ("2026-01-31T02:03:04Z", 0, "2026-01-31T02:03:04.000Z"),
        ("2026-01-31T02:03:04+01:00", -3600, "2026-01-31T00:03:04.000Z"),
        ("2026-01-31T02:03:04.250Z", 0.5, "2026-01-31T02:03:04.750Z"),
        ("2026-01-31 02:03:04 +00:00", 0, "2026-01-31T02:03:04.000Z"),
    ],
)
def test_shift_instant(instant: str, seconds: float, shifted: str) -> None:
    assert shift_instant(instant, seconds) == shifted


@pytest.mark.parametrize(
    "instant", ["2026-01-31T02:03:04", "yesterday", "", "2026-01-31T02:03:04T+00:00", "2026-01-31x02:03:04Z"]
)
def test_shift_instant_refuses_what_is_no_instant(instant: str) -> None:
    with pytest.raises(AnsibleFilterError):
        shift_instant(instant)


@pytest.mark.parametrize("seconds", [1e18, float("nan"), float("inf"), -1e11])
def test_shift_instant_refuses_what_leaves_the_calendar(seconds: float) -> None:
    with pytest.raises(AnsibleFilterError, match="can't be moved"):
        shift_instant("2026-01-31T02:03:04Z", seconds)


WORKER = "worker-transcode@workers"
ASIDE = {
    "flags": {"outage_recover_start_stopped": False, "outage_recover_set_aside": True},
    "set_aside": {"queue": "transcode_jobs", "count": 1},
}
NOT_ASIDE = {"flags": {"outage_recover_start_stopped": False, "outage_recover_set_aside": False}}


@pytest.mark.parametrize(
    ("situation", "action", "state"),
    [
        ("worker wedged", "restart_worker", "restarted"),
        ("worker paused", "start_worker", "started"),
        ("worker gone", "start_worker", "started"),
    ],
)
def test_only_the_guilty_worker_is_brought_back(situation: str, action: str, state: str) -> None:
    planned = plan(situation)
    assert planned["decision"] == "act"
    assert [(one["name"], one["target"]) for one in planned["actions"]][0] == (action, WORKER)
    assert names(planned)[1:] == names(plan("killed"))[1:]
    (worker,) = planned["steps"][0]["arguments"]["workers"]
    assert worker == {
        "service": "worker-transcode", "host": "workers", "target": WORKER, "state": state,
        "queues": ["transcode_jobs"],
    }  # fmt: skip


def test_a_worker_is_brought_back_once_an_incident() -> None:
    before = {**started("2026-01-31T01:40:00.000Z", WORKER, "restart_worker"), "incident": OPEN["id"]}
    refused = plan("worker wedged", OPEN, incident_id=OPEN["id"], recent_actions=[before])
    assert (refused["decision"], refused["actions"]) == ("ask", [])
    assert "docker logs" in refused["reason"]
    assert plan("worker wedged", recent_actions=[before])["decision"] == "act"


@pytest.mark.parametrize("situation", ["no consumer", "no acks"])
def test_who_is_to_blame_is_left_to_the_wait(situation: str) -> None:
    planned = plan(situation)
    assert planned["decision"] == "act"
    assert "restart_worker" not in names(planned)
    assert any("restart_worker of worker-transcode" in text for text in planned["not_simulated"])


@pytest.mark.parametrize("situation", ["worker ends again and again", "worker that ends at once"])
def test_a_crash_loop_is_not_answered_with_restarts(situation: str) -> None:
    refused = plan(situation, **NOT_ASIDE)
    assert (refused["decision"], refused["actions"]) == ("ask", [])
    # A person may know that it is a message that ends it.
    assert names(plan(situation, **ASIDE))[:3] == ["stop_worker", "set_aside", "start_worker"]


def test_poison_is_set_aside_only_when_asked_for() -> None:
    refused = plan("poison", **NOT_ASIDE)
    assert (refused["decision"], refused["actions"]) == ("ask", [])
    assert "outage_recover_set_aside" in refused["reason"]
    planned = plan("poison", **ASIDE)
    assert [(one["name"], one["target"]) for one in planned["actions"]][:3] == [
        ("stop_worker", WORKER),
        ("set_aside", "transcode_jobs"),
        ("start_worker", WORKER),
    ]
    assert planned["actions"][1]["arguments"] == {"queue": "transcode_jobs", "count": 1}
    other = plan("poison", **{**ASIDE, "set_aside": {"queue": "dmca_propagation", "count": 1}})
    assert (other["decision"], other["actions"]) == ("ask", [])
    for wrong in ({"queue": "transcode_jobs"}, {"count": 1}, {"queue": "transcode_jobs", "count": "all"}):
        assert plan("poison", **{**ASIDE, "set_aside": wrong})["decision"] == "ask"


def test_a_worker_that_somebody_stopped_is_asked_about() -> None:
    refused = plan("worker stopped")
    assert (refused["decision"], refused["actions"]) == ("ask", [])
    assert "outage_recover_start_stopped=true" in refused["reason"]
    assert names(plan("worker stopped", **YES))[0] == "start_worker"
    ours = {**started("2026-01-31T01:40:00.000Z", WORKER, "stop_worker"), "incident": OPEN["id"]}
    assert names(plan("worker stopped", OPEN, incident_id=OPEN["id"], recent_actions=[ours]))[0] == "start_worker"
    assert plan("worker stopped", recent_actions=[ours])["decision"] == "ask"


def test_nothing_is_set_aside_while_a_worker_on_another_host_consumes(monkeypatch: pytest.MonkeyPatch) -> None:
    apps = {**SITUATIONS["worker gone"][0]["apps"], "workers-2": SITUATIONS["healthy"][0]["apps"]["workers"]}
    monkeypatch.setitem(SITUATIONS, "worker gone", ({**SITUATIONS["worker gone"][0], "apps": apps}, None))
    asked = plan("worker gone", **ASIDE)
    assert not {"set_aside", "stop_worker"} & set(names(asked))
    assert "2 containers of worker-transcode are known" in str(asked["asks"])


def test_setting_aside_that_was_interrupted_is_finished() -> None:
    # The worker was stopped for it, and that is all that can be seen.
    planned = plan("worker stopped", **ASIDE)
    assert names(planned)[:2] == ["set_aside", "start_worker"]


def test_what_ends_the_run_is_the_last_thing_planned() -> None:
    seen = SITUATIONS["killed"][0]
    known = {"flags": {}, "apis": ["backend-1"], "database": True, "recent_actions": [], "restarts": 2}
    verdict = {**outage_verdict(seen, causes()), "remedy": "stop_crash_loop"}
    planned = outage_plan(verdict, REMEDIES, CLOSED, {**known, "restarts_since": SINCE}, seen)
    assert names(planned) == ["stop_broker"]
    assert [step["remedy"] for step in planned["steps"]] == ["stop_crash_loop"]
    assert "stops" not in planned["steps"][0]


def test_a_broker_that_an_interrupted_run_has_stopped_for_its_full_disk_is_started_without_asking() -> None:
    ours = [{"name": "stop_full_broker", "target": "rabbitmq", "at": "2026-01-31T02:00:00.000Z", "incident": "x"}]
    planned = plan("stopped", OPEN, recent_actions=ours, resources={"copy": "none"})
    assert planned["decision"] == "act"
    assert [step["remedy"] for step in planned["steps"]] == ["free_disk"]
    assert names(planned)[0] == "start_broker"
    theirs = [*ours, {**ours[0], "name": "start_broker", "at": "2026-01-31T02:01:00.000Z"}]
    assert plan("stopped", OPEN, recent_actions=theirs)["decision"] == "ask"


@pytest.mark.parametrize(("booted", "decision"), [("01:59:00", "act"), ("02:01:00", "ask")])
def test_a_broker_that_somebody_has_started_since_was_stopped_by_somebody(
    booted: str, decision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    booted_at = f"2026-01-31T{booted}.000Z"
    gone = {**GONE, "lifecycle": {**GONE["lifecycle"], "started_at": booted_at}}
    seen = {**SITUATIONS["stopped"][0], "brokers": {"rabbitmq": {"info": gone}}}
    monkeypatch.setitem(SITUATIONS, "stopped", (seen, "broker_stopped_on_purpose"))
    ours = [started("2026-01-31T02:00:00.000Z", name="stop_full_broker")]
    assert plan("stopped", OPEN, recent_actions=ours, resources={"copy": "none"})["decision"] == decision


@pytest.mark.parametrize(("most", "raised"), [("", []), ("4GiB", ["raise_memory"]), ("300MiB", [])])
def test_an_instance_whose_memory_was_used_up_gets_more_where_that_is_allowed(most: str, raised: list[str]) -> None:
    seen = SITUATIONS["OOM kill, back"][0]
    incus = {"hypervisor": "h1", "memory": {"limit": 300 * 1024 * 1024}, "disk": None}
    brokers = {host: {**view, "incus": incus} for host, view in seen["brokers"].items()}
    verdict = outage_verdict(seen, causes())
    known = {
        "flags": {}, "apis": [], "database": False, "recent_actions": [], "restarts": 2, "restarts_since": SINCE,
        "resources": {"memory_max": most},
    }  # fmt: skip
    planned = outage_plan(verdict, REMEDIES, CLOSED, known, {**seen, "brokers": brokers})
    assert verdict["cause"] == "broker_oom_killed"
    assert [name for name in names(planned) if name == "raise_memory"] == raised
    if raised:
        assert planned["steps"][0]["arguments"]["nodes"][0]["memory"] == "600MiB"


YESTERDAY = {"open": False, "id": "x", "served_at": "2026-01-30T03:00:00.000Z"}
LONG_AGO = "2026-01-24T10:00:00.000Z"


LATER, EARLIER = "2026-01-31T02:10:00.000Z", "2026-01-31T01:00:00.000Z"
BACK = {"accounted": ["broker_restarted"], "finishes": []}
NONE: dict[str, list[str]] = {"accounted": [], "finishes": []}


@pytest.mark.parametrize(
    ("situation", "end", "still_open", "expected"),
    [
        ("crashed, back", LATER, False, BACK),
        ("crashed, back", EARLIER, False, NONE),
        ("crashed, back", LATER, True, {"accounted": [], "finishes": ["broker_restarted"]}),
        ("crashed, back", None, False, NONE),
        ("killed", LATER, False, NONE),
    ],
    ids=["it served afterwards", "it served before", "it is open", "no incident", "it is down"],
)
def test_what_of_a_verdict_is_over(situation: str, end: str | None, still_open: bool, expected: dict) -> None:
    verdict = outage_verdict(SITUATIONS[situation][0], causes())
    assert outage_accounted(verdict, incident_read(end, still_open)) == expected


def test_a_restart_that_was_accounted_for_is_left_out_beside_another_cause() -> None:
    back = outage_verdict(SITUATIONS["crashed, back"][0], causes())
    worker = {"cause": "worker_crashed", "remedy": "restart_worker", "proof": [], "targets": [], "queues": []}
    verdict = {**back, **worker, "also": [back], "outage": {**back["outage"], "start": "2026-01-31T02:20:00.000Z"}}
    assert outage_accounted(verdict, incident_read(LATER, False)) == BACK
    assert outage_accounted(verdict, incident_read(EARLIER, False)) == NONE
    assert outage_accounted({**verdict, "serves": False}, incident_read(LATER, False)) == BACK


def incident_read(served: str | None, still_open: bool) -> dict:
    """Return what the module reads of an incident that saw the broker serve."""
    if served is None:
        return {"found": False}
    kinds = ("opened", "serving") if still_open else ("opened", "serving", "closed")
    events = [
        {"type": kind, "at": served, "key": kind, "seq": number, "data": {"at": served}, "by": {}}
        for number, kind in enumerate(kinds)
    ]
    return {"found": True, "open": still_open, "id": "x", "events": events}


def test_what_is_wrong_now_is_not_accounted_for_by_an_old_incident(monkeypatch: pytest.MonkeyPatch) -> None:
    # A suspended worker's proof has the start of its container, long before the last incident.
    hangs = at_work([queue(consumers=0)], workers=worker(suspended=True, started_at=LONG_AGO))
    monkeypatch.setitem(SITUATIONS, "hangs", (hangs, "worker_wedged"))
    assert plan("hangs", YESTERDAY)["decision"] == "act"


def test_each_worker_is_brought_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = at_work([queue(consumers=0)])
    gone = container("b", "worker-dmca", state="exited", exit_code=137)
    del seen["apps"]["workers"]
    seen["apps"]["w1"] = {"info": app(container("a", "worker-transcode", suspended=True), gone)}
    seen["apps"]["w2"] = {"info": app(gone)}
    monkeypatch.setitem(SITUATIONS, "two hosts", (seen, "worker_wedged"))
    planned = plan("two hosts")
    brought = [action["target"] for action in planned["actions"] if action["name"].endswith("_worker")]
    assert sorted(brought) == ["worker-dmca@w1", "worker-dmca@w2", "worker-transcode@w1"]
    told = [one["target"] for step in planned["steps"] for one in step["arguments"]["workers"]]
    assert sorted(told) == sorted(brought)


@pytest.mark.parametrize(
    ("nodes", "remedies", "asked"),
    [
        ((CRASHED, WAITS, WAITS), ["start_broker", "wait_for_boot"], []),
        ((CRASHED, GONE, info()), ["start_broker"], ["broker_stopped_on_purpose"]),
    ],
)
def test_only_the_node_that_has_crashed_is_started_and_before_anything_waits_for_it(
    nodes: tuple, remedies: list[str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SITUATIONS, "cluster", ({**cluster(MUTE, *nodes), "apps": {}}, "broker_crashed"))
    planned = plan("cluster")
    assert [step["remedy"] for step in planned["steps"]] == remedies
    assert [one["target"] for one in planned["actions"] if one["name"] == "start_broker"] == ["a"]
    assert [one["cause"] for one in planned["asks"]] == asked


STOPPED = {"state": "exited", "exit_code": 0, "finished_at": "2025-12-01T00:00:00.000Z"}
KILLED = {"state": "exited", "exit_code": 137, "finished_at": "2026-01-31T02:04:00.000Z"}
TABLE = [{**QUEUES[0], "worker": "worker-transcode"}, {**QUEUES[1], "worker": "worker-dmca"}]


def workers(monkeypatch: pytest.MonkeyPatch, *containers: dict) -> str:
    """Make a situation of these containers on the workers' host, and return its name."""
    seen = at_work([queue(consumers=0)], workers=app(*containers))
    monkeypatch.setitem(SITUATIONS, "workers", (seen, "worker_crashed"))
    return "workers"


def of(service: str, name: str = "1", **changes: object) -> dict:
    return container(f"veza-{service}-{name}", service, **changes)


def test_a_worker_that_was_stopped_keeps_no_other_one_down(monkeypatch: pytest.MonkeyPatch) -> None:
    situation = workers(monkeypatch, of("worker-transcode", **KILLED), of("worker-dmca", **STOPPED))
    verdict = outage_verdict(SITUATIONS[situation][0], causes(), TABLE)
    assert [(one["cause"], one["queues"]) for one in (verdict, *verdict["also"])] == [
        ("worker_crashed", ["transcode_jobs"]),
        ("worker_stopped", ["dmca_propagation"]),
    ]
    planned = plan(situation)
    assert planned["decision"] == "act"
    assert [one["target"] for one in planned["actions"] if one["name"] == "start_worker"] == [WORKER]
    (asked,) = planned["asks"]
    assert asked["cause"] == "worker_stopped"
    assert "worker-dmca@workers was stopped in order at 2025-12-01" in asked["ask"]
    both = [one["target"] for one in plan(situation, **YES)["actions"] if one["name"] == "start_worker"]
    assert both == [WORKER, "worker-dmca@workers"]


def test_what_is_asked_about_one_worker_keeps_no_other_one_down(monkeypatch: pytest.MonkeyPatch) -> None:
    situation = workers(monkeypatch, of("worker-transcode", **KILLED), of("worker-dmca", **KILLED))
    before = {**started("2026-01-31T01:40:00.000Z", "worker-dmca@workers", "start_worker"), "incident": OPEN["id"]}
    planned = plan(situation, OPEN, incident_id=OPEN["id"], recent_actions=[before])
    assert [one["target"] for one in planned["actions"] if one["name"] == "start_worker"] == [WORKER]
    assert any("worker-dmca@workers was started by this command" in text for text in planned["not_simulated"])


@pytest.mark.parametrize(
    ("states", "action"),
    [
        ([{"suspended": True}, {"suspended": True}], "restart_worker"),
        ([KILLED, KILLED], "start_worker"),
        ([{"state": "paused"}, {"suspended": True}], "restart_worker"),
    ],
)
def test_two_containers_of_one_worker_are_brought_back_by_one_action(
    states: list[dict], action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    containers = [of("worker-transcode", str(number), **state) for number, state in enumerate(states)]
    planned = plan(workers(monkeypatch, *containers))
    assert [(one["name"], one["target"]) for one in planned["actions"] if one["target"] == WORKER] == [(action, WORKER)]
    assert [one["target"] for step in planned["steps"] for one in step["arguments"]["workers"]] == [WORKER]


def test_what_was_stopped_is_not_started_along_with_its_like(monkeypatch: pytest.MonkeyPatch) -> None:
    situation = workers(monkeypatch, of("worker-transcode", "1", **KILLED), of("worker-transcode", "2", **STOPPED))
    assert plan(situation)["decision"] == "ask"


@pytest.mark.parametrize(
    ("done", "state", "decision"),
    [
        (["stop_worker"], {"state": "exited", "exit_code": 143}, "act"),
        # It was finished: what is stopped or hangs since is not of our doing.
        (["stop_worker", "start_worker"], {"state": "exited", "exit_code": 143}, "ask"),
        (["stop_worker", "start_worker"], {"suspended": True}, "ask"),
    ],
)
def test_only_a_stop_that_nothing_followed_is_ours(
    done: list[str], state: dict, decision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recent = [{**started("2026-01-31T01:40:00.000Z", WORKER, name), "incident": OPEN["id"]} for name in done]
    situation = workers(monkeypatch, of("worker-transcode", **state))
    assert plan(situation, OPEN, incident_id=OPEN["id"], recent_actions=recent)["decision"] == decision


@pytest.mark.parametrize("count", [-1, "0", "abc", 0, None, "\u00b2", 1.5])
@pytest.mark.parametrize("situation", ["poison", "worker stopped", "worker gone"])
def test_a_count_that_is_none_is_asked_about_before_anything_is_touched(situation: str, count: object) -> None:
    asked = plan(situation, **{**ASIDE, "set_aside": {"queue": "transcode_jobs", "count": count}})
    assert (asked["decision"], asked["actions"]) == ("ask", [])
    assert "outage_recover_set_aside needs queue, and count" in asked["reason"]


def test_each_cause_that_brings_workers_back_says_which() -> None:
    assert {name for name, cause in causes().items() if cause["remedy"] == "restart_worker"} == set(ABOUT)
