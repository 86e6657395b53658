# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.module_utils._database import secrets_of
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_evidence import outage_evidence
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_summary import outage_summary
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_verdict import FINDINGS, REACH, outage_verdict
from tests.tools import causes_page
from tests.unit.plugins.filter.evidence import (
    ALARM,
    AT,
    CAUSES_DIR,
    DOWN,
    DRAINED,
    DRAINED_AND_STOPPED,
    KILLED,
    LOG,
    LONELY,
    LONG_SINCE,
    MAY_NOT_SEE,
    NO_WAY,
    NOW,
    OLD,
    QUEUES,
    ROOT,
    SILENT,
    SITUATIONS,
    SUBSYSTEMS,
    app,
    at_work,
    causes,
    check,
    container,
    counter,
    evidence,
    fail,
    failing,
    health,
    in_vhost,
    info,
    lifecycle,
    line,
    probe,
    queue,
    refusals,
    traffic,
    worker,
)

REMEDIES = yaml.safe_load((ROOT / "roles/outage_recover/vars/main.yml").read_text(encoding="utf-8"))[
    "__outage_recover_remedies"
]


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_situation_has_its_cause(name: str) -> None:
    seen, cause = SITUATIONS[name]
    verdict = outage_verdict(seen, causes(), [{**QUEUES[0], "worker": "worker-transcode"}])
    assert verdict["cause"] == cause
    assert verdict["headline"]
    assert verdict["proof"] or name in ("nothing seen",)
    assert verdict["remedy"] in REMEDIES


@pytest.mark.parametrize("name", [name for name, (_unused, cause) in SITUATIONS.items() if cause != "healthy"])
def test_nothing_broken_is_called_healthy(name: str) -> None:
    verdict = outage_verdict(SITUATIONS[name][0], causes())
    assert "healthy" not in [verdict["cause"], *[other["cause"] for other in verdict["also"]]]


def test_the_same_evidence_gives_the_same_verdict_and_is_not_changed() -> None:
    seen = copy.deepcopy(SITUATIONS["killed"][0])
    first, second = outage_verdict(seen, causes()), outage_verdict(seen, causes())
    assert first == second
    assert seen == SITUATIONS["killed"][0]


HANGS = info(probe=probe("timed_out", "header"))
SUSPENDED = {**HANGS, "process": {"running": True, "pid": 1, "suspended": True}}


@pytest.mark.parametrize(
    ("nodes", "cause", "targets"),
    [
        ([HANGS], "broker_hung", ["a"]),
        ([HANGS, info(), info()], "broker_hung", ["a"]),
        ([SUSPENDED, HANGS, HANGS], "broker_hung", ["a"]),
        ([HANGS, HANGS, HANGS], "broker_unreachable", ["a", "b", "c"]),
        ([None, HANGS, HANGS], "unknown", []),
    ],
)
def test_nodes_that_all_ask_the_one_that_hangs_are_not_all_taken_for_it(
    nodes: list[dict | None], cause: str, targets: list[str]
) -> None:
    brokers = {"abc"[number]: {"info": node} for number, node in enumerate(nodes)}
    seen = evidence({**SITUATIONS["silent"][0]["health"]}, None, HANGS["probe"], brokers=brokers)
    verdict = outage_verdict(seen, causes())
    assert (verdict["cause"], verdict["targets"]) == (cause, targets)


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ({"state": "exited", "exit_code": 143}, "worker_stopped"),
        ({"state": "exited", "exit_code": 137}, "worker_crashed"),
        ({"state": "paused"}, "worker_wedged"),
        ({"state": "restarting"}, "worker_crash_loop"),
    ],
)
def test_a_worker_is_what_the_queues_name_so_whatever_its_service_is_called(state: dict, cause: str) -> None:
    seen = at_work([queue(consumers=0)], workers=app(container("veza-hls-1", "hls", **state)))
    verdict = outage_verdict(seen, causes(), [{**QUEUES[0], "worker": "hls"}])
    assert (verdict["cause"], verdict["also"], verdict["queues"]) == (cause, [], ["transcode_jobs"])


def test_a_silent_broker_host_rules_no_death_out() -> None:
    verdict = outage_verdict(SITUATIONS["broker's host silent"][0], causes())
    assert {"broker_crashed", "broker_stopped_on_purpose", "broker_booting"} <= set(verdict["not_ruled_out"])
    assert "rabbitmq: not seen: it gave no answer" in verdict["unknown"]


def test_a_backend_that_was_not_seen_is_said_and_does_not_make_the_broker_ill() -> None:
    verdict = outage_verdict(evidence(health(), info()), causes())
    assert verdict["cause"] == "healthy"
    assert [sentence for sentence in verdict["unknown"] if sentence.startswith("backend-1")]


def test_two_causes_at_once_are_both_named_the_primary_first() -> None:
    seen = evidence(fail("alarms", ALARM.format("disk space")), info(), probe("login_refused", "login"))
    verdict = outage_verdict(seen, causes())
    assert [verdict["cause"], *(other["cause"] for other in verdict["also"])] == ["disk_alarm", "credentials_rotated"]


@pytest.mark.parametrize(
    ("seen", "start", "confidence"),
    [
        (info("stopped", clean_stop=False), "2026-01-31T02:03:04.000Z", "then or later"),
        (
            info("stopped", clean_stop=False, disk={"last_write_at": "2026-01-31T02:03:09.000Z"}),
            "2026-01-31T02:03:09.000Z",
            "then or later",
        ),
        (info("stopped", last="stopped", clean_stop=True), "2026-01-31T02:03:04.000Z", "exact"),
    ],
)
def test_the_outage_begins_at_the_last_sign_of_life(seen: dict, start: str, confidence: str) -> None:
    outage = outage_verdict(evidence(None, seen, NO_WAY), causes())["outage"]
    assert (outage["start"], outage["confidence"]) == (start, confidence)


@pytest.mark.parametrize(("last", "stopped_at"), [("stopped", "2026-01-31T02:03:04.000Z"), ("stopping", None)])
def test_a_broker_whose_log_has_its_stop_served_nobody_from_then_on(last: str, stopped_at: str | None) -> None:
    seen = info("stopped", last=last, clean_stop=None, disk={"last_write_at": "2026-01-31T02:03:09.000Z"})
    seen["lifecycle"]["stopped_at"] = stopped_at
    verdict = outage_verdict(evidence(None, seen, NO_WAY), causes())
    assert verdict["cause"] == "broker_down"
    assert (verdict["outage"]["start"], verdict["outage"]["confidence"]) == ("2026-01-31T02:03:04.000Z", "exact")


def test_a_broker_that_boots_has_been_away_since_its_run_before() -> None:
    seen = info("starting", last="starting")
    seen["lifecycle"]["previous_end"] = "2026-01-31T02:00:00.000Z"
    outage = outage_verdict(evidence(None, seen, NO_WAY), causes())["outage"]
    assert (outage["start"], outage["confidence"]) == ("2026-01-31T02:00:00.000Z", "then or later")


def test_an_unknown_finding_is_refused_by_name() -> None:
    with pytest.raises(AnsibleFilterError, match="no such finding: moon_phase"):
        outage_verdict({}, {"x": {"all_of": ["moon_phase"]}})


def test_every_cause_is_complete_and_refers_to_what_exists() -> None:
    known = causes()
    assert len(known) == len(list(CAUSES_DIR.glob("*.yml")))
    for name, cause in known.items():
        assert (CAUSES_DIR / f"{name}.yml").exists(), name
        assert set(cause) - {"symptom"} == {
            "title",
            "runbook",
            "all_of",
            "none_of",
            "explains",
            "shows",
            "affects",
            "remedy",
            "advice",
        }, name
        assert cause["affects"] in REACH, name
        assert cause["remedy"] in REMEDIES, name
        assert set(cause["all_of"] + cause["none_of"] + cause["shows"]) <= set(FINDINGS), name
        assert set(cause["explains"]) <= set(known), name


def test_every_finding_is_used() -> None:
    used = {name for cause in causes().values() for name in cause["all_of"] + cause["none_of"] + cause["shows"]}
    assert used == set(FINDINGS)


def test_every_remedy_that_acts_has_its_tasks() -> None:
    tasks = ROOT / "roles/outage_recover/tasks/remedies"
    acting = {name for name, remedy in REMEDIES.items() if remedy["kind"] != "ask"}
    assert {path.stem for path in tasks.glob("*.yml")} == acting


def test_an_advice_says_how_to_say_yes() -> None:
    for name, cause in causes().items():
        flag = REMEDIES[cause["remedy"]].get("needs")
        advice = " ".join(cause["advice"].split())
        assert flag is None or f"-e {flag}=" in advice or f"""-e '{{"{flag}": """ in advice, name


def test_every_cause_has_a_situation() -> None:
    assert {cause for _seen, cause in SITUATIONS.values()} == {*causes(), "unknown"}


def test_a_cause_never_explains_what_explains_it() -> None:
    known = causes()

    def explained(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"{' -> '.join((*path, name))}: a circle"
        for other in known[name]["explains"]:
            explained(other, (*path, name))

    for name in known:
        explained(name, ())


def test_evidence_keeps_results_and_says_why_there_is_none() -> None:
    hostvars = {
        "rabbitmq": {"__outage_diagnose_broker": {"unreachable": True, "msg": "no  route"}},
        "backend-1": {"__outage_diagnose_app": app()},
        "backend-2": {"__outage_diagnose_app": {"failed": True, "msg": "no python:", "module_stderr": "a\nsh: No.\n"}},
        "workers": {},
    }
    seen = outage_evidence({"health": {"msg": "boom"}}, hostvars, ["rabbitmq"], ["backend-1", "backend-2", "workers"])
    assert seen["health"] is None
    assert seen["database"] is None
    assert seen["brokers"] == {"rabbitmq": {"info": None}}
    assert [host for host, views in seen["apps"].items() if views["info"]] == ["backend-1"]
    assert seen["unreachable"] == {"rabbitmq": "no route"}
    assert seen["failed"] == {"backend-2": "no python: sh: No"}


def test_what_ended_with_a_reason_instead_of_an_answer_is_unknown_and_told_though_all_is_well() -> None:
    with pytest.raises(BadInput) as refused:
        secrets_of("hello SEKRET")
    hypervisors = [
        {"__outage_diagnose_pair": ["rabbitmq", "h1"], "failed": True, "msg": "no incus"},
        {"__outage_diagnose_pair": ["rabbitmq", "h2"], "found": False, "msg": "not here"},
    ]
    controller = {"health": health(), "database": {"msg": str(refused.value)}, "incus": {"results": hypervisors}}
    hosts = {"rabbitmq": {"__outage_diagnose_broker": info()}, "backend-1": {"__outage_diagnose_app": app()}}
    verdict = outage_verdict(outage_evidence(controller, hosts, ["rabbitmq"], ["backend-1"]), causes())
    lines = outage_summary({"verdict": verdict})

    assert lines[0].endswith("[healthy]")
    assert "SEKRET" not in str(lines)
    [database] = [text for text in verdict["unknown"] if "the database: " in text]
    assert database.startswith("controller: the database: database_url can't be read as a URL")
    assert "h1: its instances: no incus" in verdict["unknown"]
    assert not any(text.startswith("h2") for text in verdict["unknown"])
    assert [line for line in lines if line.startswith("UNKNOWN")]


@pytest.mark.parametrize("left_out", [None, {"skipped": True, "msg": "no URL"}, {"skipped": True}])
def test_a_database_that_nobody_asked_is_no_gap(left_out: dict | None) -> None:
    seen = outage_evidence({"health": {"msg": "boom:"}, "database": left_out}, {}, [], [])
    unknown = outage_verdict(seen, causes())["unknown"]
    assert unknown == ["controller: rabbitmq_health gave no answer: boom"]


@pytest.mark.parametrize(
    ("offset", "at", "kept"),
    [
        (39.0, "2026-01-31T02:10:41Z", 0.0),  # the controller had much to do: the look began late
        (60.0, "2026-01-31T02:10:05Z", 35.0),  # it is ahead even of the instant at which its answer had come
        (-60.0, "2026-01-31T02:12:00Z", -60.0),
        (39.0, None, 39.0),
    ],
)
def test_a_look_that_began_late_is_no_clock_that_is_ahead(offset: float, at: str | None, kept: float) -> None:
    told = info(clock={"now": "2026-01-31T02:10:40Z", "offset": offset})
    seen = outage_evidence({"at": at}, {"rabbitmq": {"__outage_diagnose_broker": told}}, ["rabbitmq"], [])
    assert seen["brokers"]["rabbitmq"]["info"]["clock"]["offset"] == kept
    assert told["clock"]["offset"] == offset


def on_a_hypervisor(kills: list[dict] | None) -> dict:
    limits = {"found": True, "disk": {"size": 1}, "memory": {}, "oom_kills": kills}
    told = [
        {"found": False, "__outage_diagnose_pair": ["rabbitmq", "h1"]},
        {**limits, "__outage_diagnose_pair": ["another", "h1"], "disk": {"size": 2}},
        {**limits, "__outage_diagnose_pair": ["rabbitmq", "h2"]},
    ]
    killed = info(service=KILLED, memory={"oom_kills": None, "watermark": 900 * 2**20, "container_limit": 300 * 2**20})
    hostvars = {"rabbitmq": {"__outage_diagnose_broker": killed}}
    return outage_evidence({"health": health(), "incus": {"results": told}}, hostvars, ["rabbitmq"], [])


@pytest.mark.parametrize(
    ("kills", "cause"),
    [
        ([{"at": AT, "task": "beam.smp", "line": "oom-kill: beam.smp"}], "broker_oom_killed"),
        ([{"at": AT, "task": "python3", "line": "oom-kill: python3"}], "broker_restarted"),
        ([{"at": "2026-01-31T01:00:00.000Z", "task": "beam.smp", "line": "another run's"}], "broker_restarted"),
        ([], "broker_restarted"),
        (None, "broker_killed_or_oom"),
    ],
)
def test_whom_the_kernel_killed_only_the_hypervisor_can_tell(kills: list[dict] | None, cause: str) -> None:
    seen = on_a_hypervisor(kills)
    assert seen["brokers"]["rabbitmq"]["incus"]["hypervisor"] == "h2"
    verdict = outage_verdict(seen, causes())
    assert verdict["cause"] == cause
    if cause == "broker_oom_killed":
        assert "its container may use 300 MiB, of which RabbitMQ knows nothing" in str(verdict["proof"])


def test_the_kernels_kill_of_another_run_is_not_of_one_that_segfaulted() -> None:
    dumped = info(service={"exits": [{"at": AT, "status": "11/SEGV"}]}, memory={"oom_kills": None})
    kill = {"at": AT, "task": "beam.smp", "line": "oom-kill: beam.smp"}
    told = {"found": True, "oom_kills": [kill], "__outage_diagnose_pair": ["rabbitmq", "h1"]}
    controller = {"health": health(), "incus": {"results": [told]}}
    seen = outage_evidence(controller, {"rabbitmq": {"__outage_diagnose_broker": dumped}}, ["rabbitmq"], [])
    verdict = outage_verdict(seen, causes())
    assert verdict["cause"] == "broker_segfault"
    assert verdict["also"] == []


def test_what_the_hypervisor_says_of_the_instance_comes_with_the_command_that_wakes_it() -> None:
    answer = {"found": True, "instance": "rabbitmq", "project": "veza", "status": "Frozen", "running": False}
    frozen = {"unreachable": True, "msg": "Timeout (22s) waiting for privilege escalation prompt:"}
    asked = {"results": [{**answer, "__outage_diagnose_pair": ["rabbitmq", "h2"]}]}
    hostvars = {"rabbitmq": {"__outage_diagnose_broker": frozen}}
    verdict = outage_verdict(outage_evidence({"health": SILENT, "incus": asked}, hostvars, ["rabbitmq"], []), causes())
    assert (verdict["cause"], verdict["targets"], verdict["remedy"]) == ("instance_frozen", ["rabbitmq"], "ask")
    (told,) = verdict["proof"]
    assert told["host"] == "h2"
    assert told["text"].endswith("is Frozen; on this hypervisor: incus --project veza resume rabbitmq")


@pytest.mark.parametrize(
    ("variables", "project", "idle"),
    [
        ({}, "veza", {"status": "Stopped", "instance": "workers"}),
        ({"veza_incus_instance": "w-1"}, "veza", {"status": "Frozen", "instance": "w-1"}),
        ({"veza_incus_project": "other"}, "veza", None),  # an instance of the same name
        ({"veza_incus_project": "veza"}, "default", {"status": "Stopped", "instance": "workers"}),
    ],
)
def test_which_hosts_of_the_application_do_not_run_the_hypervisor_of_a_broker_tells(
    variables: dict, project: str, idle: dict | None
) -> None:
    answer = {"found": True, "project": "veza", "idle": {"workers": "Stopped", "w-1": "Frozen"}}
    asked = {"results": [{**answer, "__outage_diagnose_pair": ["rabbitmq", "h2"]}]}
    away = {"unreachable": True, "msg": "No route to host"}
    hostvars = {"rabbitmq": {}, "workers.lxd": {"__outage_diagnose_app": away, **variables}}
    controller = {"health": health(), "incus": asked, "incus_project": project}
    seen = outage_evidence(controller, hostvars, ["rabbitmq"], ["workers.lxd"])
    assert seen["idle"] == ({"workers.lxd": {**idle, "project": "veza", "hypervisor": "h2"}} if idle else {})


RULE = "ip saddr {} tcp dport 5672 ct state established drop"


@pytest.mark.parametrize(
    ("rule", "outcome", "quoted"),
    [
        (RULE.format("198.18.77.30"), "timed_out", True),
        ("tcp dport 5672 ct state established drop", "timed_out", True),
        (RULE.format("198.18.77.21"), "timed_out", False),
        (RULE.format("198.18.77.30"), "login_refused", False),
    ],
)
def test_the_rule_of_the_brokers_host_against_one_host_is_quoted(rule: str, outcome: str, quoted: bool) -> None:
    seen = {**probe(outcome, "header"), "addresses": [{"address": "198.18.77.10", "local": "198.18.77.30"}]}
    broker = info(firewall=[{"table": "inet hunt", "chain": "c", "rule": rule}])
    cut = app(container("w", "worker-transcode", probe("timed_out", "header")), probe=seen)
    cut = cut if outcome == "timed_out" else app(container("w", "worker-transcode", seen), probe=seen)
    verdict = outage_verdict(evidence(health(), broker, probe(), workers=cut), causes())
    assert verdict["targets"] == ["workers"]
    told = [one for one in verdict["proof"] if one["source"] == "firewall inet hunt c"]
    assert [(one["host"], one["text"]) for one in told] == ([("rabbitmq", rule)] if quoted else [])
    assert (verdict["cause"] == "backend_cannot_reach") is (outcome == "timed_out")


def test_an_alarm_names_the_queue_and_its_consumer() -> None:
    full = queue(messages=5000, acked=0, consumer_hosts=["198.18.77.30"])
    broker = info(memory={"used": 500 * 2**20, "watermark": 200 * 2**20, "oom_kills": []})
    red = {**fail("alarms", ALARM.format("memory")), "traffic": traffic([full])}
    seen = evidence(red, broker, probe())
    told = str(outage_verdict(seen, causes())["proof"])
    assert "it uses 500 MiB, its watermark is 200 MiB" in told
    assert "transcode_jobs holds 5000 messages: 1 consumer at 198.18.77.30, no acks" in told


@pytest.mark.parametrize(
    ("again", "told"), [(info(), True), ({"skipped": True}, False), ({"unreachable": True, "msg": "late"}, False)]
)
def test_a_second_look_counts_where_there_was_one(again: dict, told: bool) -> None:
    first = {"unreachable": True, "msg": "timed out during banner exchange"}
    hosts = {"rabbitmq": {"__outage_diagnose_broker": first, "__outage_diagnose_broker_again": again}}
    seen = outage_evidence({}, hosts, ["rabbitmq"], [])
    assert (seen["brokers"]["rabbitmq"]["info"] is not None) is told
    assert seen["unreachable"] == ({} if told else {"rabbitmq": "late" if "msg" in again else first["msg"]})


def test_the_password_was_rotated_and_the_network_is_whole_comes_out_of_one_look() -> None:
    old = container(seen=probe("login_refused", "login"), amqp={"variable": "AMQP_URL", "matches": False})
    seen = evidence(health(), info(), probe(), workers=app(old))
    verdict = outage_verdict(seen, causes())
    assert (verdict["cause"], verdict["targets"]) == ("credentials_rotated", ["workers"])
    assert "is not the inventory's" in str(verdict["proof"])


def test_what_clients_were_refused_some_minutes_ago_is_over() -> None:
    now = info(signatures=[line("connection_limit", at="2026-01-31T02:04:00.000Z")])
    over = info(signatures=[line("connection_limit", at="2026-01-31T02:02:00.000Z")])
    assert outage_verdict(evidence(health(), now, probe()), causes())["cause"] == "connection_limit"
    assert outage_verdict(evidence(health(), over, probe()), causes())["cause"] == "healthy"
    often = {**line("connection_limit", at="2026-01-31T02:04:10.000Z"), "count": 61}
    for first, cause in (("2026-01-31T02:03:10.000Z", "healthy"), ("2026-01-31T01:50:10.000Z", "connection_limit")):
        seen = evidence(health(), info(signatures=[{**often, "first_at": first}]), probe())
        assert outage_verdict(seen, causes())["cause"] == cause
    timeout = info(signatures=[line("ack_timeout", at="2026-01-31T01:32:00.000Z")])
    assert outage_verdict(evidence(health(), timeout, probe()), causes())["cause"] == "consumer_timeout"


def test_a_cause_that_is_named_has_proof() -> None:
    for name, (seen, cause) in SITUATIONS.items():
        assert cause == "unknown" or outage_verdict(seen, causes(), QUEUES)["proof"], name


def test_a_limit_of_connections_is_no_missing_permission() -> None:
    refused = {**probe("vhost_refused", "vhost"), "message": "530: user connection limit (0) is reached"}
    verdict = outage_verdict(evidence(health(), info(), refused), causes())
    assert (verdict["cause"], verdict["also"]) == ("connection_limit", [])


def test_a_worker_and_a_refusal_name_their_queue() -> None:
    queues = [{**QUEUES[1], "worker": "worker-dmca"}]
    gone = app(container("w", "worker-dmca", state="exited", exit_code=137, finished_at=AT))
    verdict = outage_verdict(at_work([queue()], workers=gone), causes(), queues)
    assert (verdict["queues"], verdict["targets"]) == (["dmca_propagation"], ["workers"])
    text = "access to queue 'dmca_propagation' in vhost '/veza' refused for user 'veza'"
    refused = evidence(health(), info(signatures=[line("permission_refused", text)]), probe())
    assert outage_verdict(refused, causes(), queues)["queues"] == ["dmca_propagation"]


def test_what_is_affected_comes_from_the_cause() -> None:
    def affected(seen: dict, name: str) -> dict:
        return {row["queue"]: row["affected"] for row in outage_verdict(seen, {name: causes()[name]}, QUEUES)["impact"]}

    everything = {"dmca_propagation": True, "transcode_jobs": True}
    assert affected(SITUATIONS["killed"][0], "broker_crashed") == everything
    assert affected(SITUATIONS["crashed, back"][0], "broker_restarted") == dict.fromkeys(everything, False)
    assert affected(SITUATIONS["no binding"][0], "bindings_missing") == {**everything, "dmca_propagation": False}
    assert affected(SITUATIONS["worker gone"][0], "worker_crashed") == dict.fromkeys(everything)
    assert affected(SITUATIONS["healthy"][0], "healthy") == dict.fromkeys(everything, False)
    assert affected(SITUATIONS["nothing seen"][0], "healthy") == dict.fromkeys(everything)
    rows = outage_verdict(SITUATIONS["no binding"][0], causes(), QUEUES)["impact"]
    assert [(row["severity"], row["waiting"]) for row in rows] == [("HIGH", None), ("MEDIUM", 3)]


@pytest.mark.parametrize(
    ("situation", "name", "affected", "why"),
    [
        ("killed", "broker_crashed", True, "all of it, heals on the next tick"),
        ("no binding", "bindings_missing", False, ""),
        ("nothing seen", "healthy", None, "the cause is not known"),
        ("healthy", "healthy", False, ""),
    ],
)
def test_what_has_no_queue_is_in_the_table_too(situation: str, name: str, affected: bool | None, why: str) -> None:
    seen = SITUATIONS[situation][0]
    rows = outage_verdict(seen, {name: causes()[name]}, QUEUES, None, SUBSYSTEMS)["impact"]
    assert [row["severity"] for row in rows] == ["HIGH", "MEDIUM", "LOW", "NONE"]
    digest, chat = rows[2:]
    assert (digest["queue"], digest["affected"], digest["why"], digest["waiting"]) == (None, affected, why, None)
    assert (chat["affected"], chat["why"]) == (False, "chat has no RabbitMQ")


@pytest.mark.parametrize(
    ("changed", "error", "suspect"),
    [
        ("2026-01-31T01:40:00.000Z", AT, True),
        ("2026-01-31T01:30:00.000Z", AT, False),
        ("2026-01-31T02:04:00.000Z", AT, False),
        ("2026-01-31T01:40:00.000Z", None, False),
    ],
)
def test_a_deploy_shortly_before_the_first_error_is_suspect(changed: str, error: str | None, suspect: bool) -> None:
    deployed = app(
        container(seen=probe("login_refused", "login"), errors={"first_at": error, "last_at": error}),
        changes=[{"at": changed, "kind": "container", "what": "veza_backend_api was created"}],
    )
    verdict = outage_verdict(evidence(health(), info(), probe(), workers=deployed), causes())
    assert [one["at"] for one in verdict["suspects"]] == ([changed] if suspect else [])


def test_a_change_on_a_host_that_is_well_is_no_suspect() -> None:
    errors = {"first_at": "2026-01-31T02:03:00.000Z", "last_at": AT}
    changes = [{"at": "2026-01-31T02:01:00.000Z", "kind": "configuration", "what": ".env was written"}]
    well = app(container(seen=probe(), errors=errors), changes=changes)
    ill = app(container(seen=probe("timed_out", "connect"), errors=errors), changes=changes)
    seen = evidence(health(), info(), apps={"ill": {"info": ill}, "well": {"info": well}})
    verdict = outage_verdict(seen, causes())
    assert (verdict["affects"], [one["host"] for one in verdict["suspects"]]) == ("targets", ["ill"])


def test_each_change_is_suspect_once_and_a_container_only_of_its_own_errors() -> None:
    workers = [
        container(name, state="running", errors={"first_at": at, "last_at": AT})
        for name, at in (("w-1", "2026-01-31T02:03:00.000Z"), ("w-2", "2026-01-31T02:02:00.000Z"))
    ]
    over = {"first_at": "2026-01-31T02:01:35.000Z", "last_at": "2026-01-31T02:03:30.000Z", "connected_at": AT}
    workers.append(container("w-4", state="running", errors=over))
    changes = [
        {"at": "2026-01-31T02:01:00.000Z", "kind": "configuration", "what": ".env was written"},
        {"at": "2026-01-31T02:01:30.000Z", "kind": "container", "what": "w-1 was made", "container": "w-1"},
        {"at": "2026-01-31T02:01:40.000Z", "kind": "container", "what": "w-3 was made", "container": "w-3"},
    ]
    seen = evidence(health(), info("stopped"), None, workers=app(*workers, changes=changes))
    told = [(one["what"], one["first_error"]) for one in outage_verdict(seen, causes())["suspects"]]
    assert told == [
        ("w-1 was made", "the first AMQP error of w-1"), (".env was written", "the first AMQP error of w-2")
    ]  # fmt: skip


OWN = {
    "title": "The moon is full",
    "when": "length(health.traffic.queues[?consumers > `9`]) > `0`",
    "advice": "Wait.",
}


@pytest.mark.parametrize(
    ("seen", "where"),
    [(at_work([queue(consumers=12)]), "named"), (at_work(), "ruled_out"), (SITUATIONS["plugin missing"][0], "error")],
)
def test_an_operators_own_cause_is_judged_like_any_other(seen: dict, where: str) -> None:
    verdict = outage_verdict(seen, causes(), (), {"full_moon": OWN})
    assert (verdict["cause"] == "full_moon") is (where == "named")
    assert ("full_moon" in verdict["ruled_out"]) is (where == "ruled_out")
    assert ("full_moon" in verdict["not_ruled_out"]) is (where == "error")


def test_all_that_is_wrong_with_own_causes_is_said_at_once() -> None:
    wrong = {"healthy": OWN, "moon": {"title": "t", "when": "[?", "advise": "x", "explains": ["sun"], "affects": "us"}}
    with pytest.raises(AnsibleFilterError) as caught:
        outage_verdict({}, causes(), (), wrong)
    for part in ("has a cause of this name", "advise", "lacks advice", "sun", "affects must be", "when is no JMESPath"):
        assert part in str(caught.value)


def test_the_page_of_the_causes_is_the_one_that_their_files_make() -> None:
    assert causes_page.PAGE.read_text(encoding="utf-8") == causes_page.page(), "run tests/tools/causes_page.py"


def test_of_two_troubles_the_first_to_be_seen_began_the_outage() -> None:
    red = fail("alarms", ALARM.format("disk space"))
    alarmed = info(signatures=[line("disk_alarm_set", at="2026-01-31T02:04:00.000Z")])
    old = {**probe("login_refused", "login"), "at": "2026-01-31T02:03:30.000Z"}
    stale = container(seen=old, amqp={"variable": "AMQP_URL", "matches": False})
    verdict = outage_verdict(evidence(red, alarmed, probe(), workers=app(stale)), causes())
    assert (verdict["cause"], [other["cause"] for other in verdict["also"]]) == ("disk_alarm", ["credentials_rotated"])
    told = [one["at"] for other in verdict["also"] for one in other["proof"] if one["at"]]
    assert verdict["outage"]["start"] == min(["2026-01-31T02:04:00.000Z", *told])


@pytest.mark.parametrize(("offset", "start"), [(0.1, "01:03:10"), (-3600.0, "02:03:04"), (None, "01:03:10")])
def test_the_first_error_of_a_host_is_told_by_the_controllers_clock(offset: float | None, start: str) -> None:
    errors = {"first_at": "2026-01-31T01:03:10.000Z", "last_at": "2026-01-31T01:04:50.000Z", "connected_at": None}
    clock = {"now": "2026-01-31T01:05:00.000Z", "offset": offset}
    apps = {"backend-1": {"info": app(container(errors=errors, seen=NO_WAY), clock=clock, probe=NO_WAY)}}
    seen = evidence(DOWN, info("stopped", clean_stop=False, service=KILLED), apps=apps)
    assert outage_verdict(seen, causes())["outage"]["start"] == f"2026-01-31T{start}.000Z"


def test_of_a_cluster_the_name_may_be_that_of_the_node_that_is_away() -> None:
    listening = [{"port": 5672, "listening": True, "ours": True, "holder": None, "addresses": ["::"]}]
    brokers = {"a": {"info": DRAINED}, "b": {"info": info(probe=NO_WAY, listeners=listening)}}
    verdict = outage_verdict(evidence(DOWN, None, NO_WAY, brokers=brokers), causes())
    assert (verdict["cause"], verdict["targets"]) == ("maintenance_mode", ["a"])


def test_one_host_is_no_two_clocks() -> None:
    clock = {"now": NOW, "offset": -90.0}
    both = evidence(health(), None, brokers={"n": {"info": info(clock=clock)}}, apps={"n": {"info": app(clock=clock)}})
    assert outage_verdict(both, causes())["cause"] == "clock_off"


def test_a_broker_that_settles_has_been_away_since_the_first_error() -> None:
    errors = {"first_at": "2026-01-31T02:03:10.000Z", "last_at": "2026-01-31T02:04:50.000Z", "connected_at": None}
    settles = SITUATIONS["it was asked before it had booted"][0]
    seen = {**settles, "apps": {"backend-1": {"info": app(container(errors=errors))}}}
    verdict = outage_verdict(seen, causes())
    assert (verdict["cause"], verdict["outage"]["start"]) == ("broker_settling", errors["first_at"])


@pytest.mark.parametrize("situation", ["clock", "plugin missing", "wrong management password"])
def test_what_affects_nobody_is_no_outage(situation: str) -> None:
    verdict = outage_verdict(SITUATIONS[situation][0], causes())
    assert verdict["affects"] == "nothing"
    assert verdict["outage"]["start"] is None


@pytest.mark.parametrize("exits", [None, []])
def test_without_a_journal_an_end_that_nobody_saw_is_not_ruled_out(exits: list | None) -> None:
    seen = evidence(health(), info(service={"exits": exits}), probe())
    assert ("broker_restarted" in outage_verdict(seen, causes())["not_ruled_out"]) is (exits is None)
    killed = {"exits": exits, "exit_signal": "SIGKILL", "result": "signal"}
    gone = evidence(DOWN, info("failed", clean_stop=False, service=killed, memory={"oom_kills": None}), NO_WAY)
    assert ("broker_oom_killed" in outage_verdict(gone, causes())["not_ruled_out"]) is (exits is None)


def test_an_application_that_was_in_trouble_earlier_tells_when_it_began() -> None:
    def errors(first: str) -> dict:
        told = {"first_at": first, "last_at": AT, "count": 9, "last_line": "refused", "connected_at": None}
        return evidence(
            health("unknown", "refused"),
            info("stopped", clean_stop=False, service={"exits": [{"at": AT, "status": "9/KILL"}]}),
            NO_WAY,
            apps={"backend-1": {"info": app(container(errors=told))}},
        )

    earlier = outage_verdict(errors("2026-01-31T02:02:50.000Z"), causes())["outage"]
    assert earlier["start"] == "2026-01-31T02:02:50.000Z"
    assert "first AMQP error" in earlier["source"]
    later = outage_verdict(errors("2026-01-31T02:03:06.000Z"), causes())["outage"]
    assert (later["start"], later["confidence"]) == (AT, "exact")


def died(name: str, booted: dict, exits: list | None = None, **changes: object) -> dict:
    seen = info("stopped", signatures=[line(name)], service={"exits": exits}, **{"clean_stop": False, **changes})
    seen["lifecycle"].update(booted)
    return evidence(DOWN, seen, NO_WAY)


@pytest.mark.parametrize("name", ["disk_full", "port_in_use", "configuration"])
@pytest.mark.parametrize("booted", [{"started_at": "2026-01-01T00:00:00.000Z"}, {"last": "none"}])
@pytest.mark.parametrize("exits", [[], KILLED["exits"], None])
def test_a_line_of_a_run_that_had_booted_is_no_boot_that_fails(name: str, booted: dict, exits: list | None) -> None:
    assert outage_verdict(died(name, booted, exits), causes())["cause"] == "broker_crashed"
    stopped = died(name, {**booted, "last": "stopped"}, exits and [], last="stopped", clean_stop=True)
    assert outage_verdict(stopped, causes())["cause"] == "broker_stopped_on_purpose"


@pytest.mark.parametrize(
    ("booted", "exits"),
    [
        ({"started_at": "2026-01-31T02:03:05.000Z"}, []),
        ({"started_at": "2026-01-01T00:00:00.000Z"}, [{"at": AT, "status": "1/FAILURE"}]),
        ({"last": "starting"}, []),
    ],
)
def test_a_boot_that_fails_before_it_has_a_log_is_told_by_the_service_manager(booted: dict, exits: list) -> None:
    assert outage_verdict(died("configuration", booted, exits), causes())["cause"] == "configuration_broken"


@pytest.mark.parametrize(
    ("at", "seen", "cause"),
    [
        ("2026-01-01T00:00:00.000Z", info(), "healthy"),
        ("2026-01-31T02:03:04.000Z", info(), "disk_quota"),
        ("2026-01-01T00:00:00.000Z", info("stopped", clean_stop=False), "disk_quota"),
    ],
)
def test_an_old_line_about_a_quota_tells_nothing_of_a_broker_that_serves(at: str, seen: dict, cause: str) -> None:
    living = bool(seen["process"]["running"])
    told = {**seen, "signatures": [line("disk_quota", at=at)]}
    looked = evidence(health() if living else DOWN, told, probe() if living else NO_WAY)
    assert outage_verdict(looked, causes())["cause"] == cause


@pytest.mark.parametrize("situation", ["silent", "stop_app", "refuses, nobody knows why"])
def test_a_node_that_has_booted_waits_for_no_peers_though_it_did_when_it_booted(situation: str) -> None:
    seen, cause = copy.deepcopy(SITUATIONS[situation])
    seen["brokers"]["rabbitmq"]["info"]["signatures"] = [line("waiting_for_tables", at="2026-01-01T00:00:00.000Z")]
    verdict = outage_verdict(seen, causes())
    assert (verdict["cause"], verdict["also"]) == (cause, [])


@pytest.mark.parametrize(("started", "cause"), [("2026-01-30", "healthy"), ("2026-01-31", "worker_crash_loop")])
def test_a_worker_that_has_long_run_since_docker_restarted_it_does_not_end_again_and_again(
    started: str, cause: str
) -> None:
    seen = at_work([queue()], workers=worker(restarts=5, started_at=f"{started}T02:03:04.000Z"))
    assert outage_verdict(seen, causes())["cause"] == cause


@pytest.mark.parametrize(
    ("seen_health", "seen_probe", "cause"),
    [
        (health(), probe("login_refused", "login"), "credentials_rotated"),
        (fail("alarms", ALARM.format("disk space")), probe(), "disk_alarm"),
        (fail("queues", "queue 'x' does not exist"), probe(), "queues_missing"),
    ],
)
def test_what_is_wrong_now_comes_before_an_end_that_the_broker_has_survived(
    seen_health: dict, seen_probe: dict, cause: str
) -> None:
    ends = {"exits": [{"at": "2026-01-31T01:15:00.000Z", "status": "11/SEGV"}]}
    verdict = outage_verdict(evidence(seen_health, info(service=ends), seen_probe), causes())
    assert (verdict["cause"], [other["cause"] for other in verdict["also"]]) == (cause, ["broker_segfault"])
    # What was lost at that end is still to be accounted for.
    assert verdict["outage"]["start"] == "2026-01-31T01:15:00.000Z"


@pytest.mark.parametrize(
    ("used", "cause"), [(60000, "health_check_failed"), (65000, "file_descriptors_exhausted"), (None, "unknown")]
)
def test_few_file_descriptors_are_named_by_whoever_counts_them(used: int | None, cause: str) -> None:
    red = "fail" if used else "unknown"
    seen = health("unhealthy", checks=[check("file_descriptors", red, f"rabbit@a: {used} of 65536 in use")])
    verdict = outage_verdict(evidence(seen, info(files={"open": used, "limit": 65536}), probe()), causes())
    assert (verdict["cause"], verdict["also"]) == (cause, [])


def test_few_file_descriptors_are_named_though_the_host_was_not_seen() -> None:
    seen = fail("file_descriptors", "rabbit@a: 65536 of 65536 in use")
    assert outage_verdict(evidence(seen, None, probe()), causes())["cause"] == "health_check_failed"


@pytest.mark.parametrize(
    ("names", "detail", "cause"),
    [
        (["quorum_member_missing"], "queue 'x' has no count: not settled after a boot, or without a leader",
         "quorum_lost"),
        ([], "queue 'x' has no count: not settled after a boot, or without a leader", "unknown"),
        (["quorum_member_missing"], "queue 'x': GET http://x: timed out", "unknown"),
    ],
)  # fmt: skip
def test_a_queue_without_a_leader_is_named_where_rabbitmq_has_no_check_for_it(
    names: list[str], detail: str, cause: str
) -> None:
    old = [check("leaders", "unavailable"), check("queues", "unknown", detail)]
    seen = evidence(health("unknown", checks=old), info(signatures=[line(name) for name in names]), probe())
    assert outage_verdict(seen, causes())["cause"] == cause


def named(seen: dict) -> list[str]:
    """Return the causes that a verdict names, the primary first."""
    verdict = outage_verdict(seen, causes())
    return [verdict["cause"], *(other["cause"] for other in verdict["also"])]


ELSEWHERE = {**NO_WAY, "addresses": [{"address": "198.18.77.22"}]}


@pytest.mark.parametrize(
    ("seen_inside", "cause"),
    [(LONELY, "backend_path_dropped"), (NO_WAY, "backend_path_refused"), (ELSEWHERE, "backend_wrong_address")],
)
def test_a_stale_login_in_the_inventory_rules_nothing_out_that_another_view_proves(
    seen_inside: dict, cause: str
) -> None:
    ours = {**probe("login_refused", "login"), "addresses": [{"address": "198.18.77.10"}]}
    seen = evidence(
        health("unknown", "login_refused"), info(probe=ours), probe(),
        workers=app(container(seen=seen_inside), probe=ours),
    )  # fmt: skip
    assert named(seen) == [cause, "inventory_login_refused", "management_login_refused"]
    assert "workers" in outage_verdict(seen, causes())["targets"]


def test_a_broker_that_refuses_our_login_is_not_one_that_does_not_answer() -> None:
    seen = evidence(health("unknown", "refused"), info(probe=probe("login_refused", "login")), None)
    assert "broker_unreachable" in outage_verdict(seen, causes())["ruled_out"]


NODES = ("rabbit@a", "rabbit@b", "rabbit@c")


def cluster(seen_health: dict, *infos: dict | None, down: tuple[str, ...] = (), **changes: object) -> dict:
    """Return the evidence of a cluster of three, each node at its host: a, b and c; ``down`` are not for the peers."""
    nodes = [{"name": name, "running": name not in down, "uptime": OLD, "being_drained": False} for name in NODES]
    brokers = {
        name[-1]: {"info": told and {**told, "node": {"name": name, "others": []}}}
        for name, told in zip(NODES, infos, strict=True)
    }
    if seen_health["traffic"]:
        seen_health = {**seen_health, "traffic": {**seen_health["traffic"], "nodes": nodes}}
    return evidence(seen_health, None, probe(), brokers=brokers, **changes)


@pytest.mark.parametrize(
    ("seen_health", "infos", "down", "cause"),
    [
        (health(), (info(), info(), None), (), "healthy"),
        (health(), (info(), None, None), (), "healthy"),
        (fail("nodes_running"), (info(), info(), None), ("rabbit@c",), "network_down"),
        (fail("nodes_running"), (info(), None, None), ("rabbit@b",), "network_down"),
        (health("unknown", "timed_out"), (info(), info(), None), (), "network_down"),
    ],
)
def test_a_node_that_runs_for_its_peers_is_not_cut_off_though_nobody_could_look_at_its_host(
    seen_health: dict, infos: tuple, down: tuple, cause: str
) -> None:
    unseen = {name[-1]: "timed out" for name, told in zip(NODES, infos, strict=True) if told is None}
    seen = cluster(seen_health, *infos, down=down, unreachable=unseen)
    verdict = outage_verdict(seen, causes())
    assert verdict["cause"] == cause
    assert {f"{host}: not seen: timed out" for host in unseen} <= set(verdict["unknown"])


GONE = info("stopped", last="stopped", clean_stop=True, probe=NO_WAY)


@pytest.mark.parametrize(
    ("beside", "infos", "cause"),
    [
        (fail("alarms", ALARM.format("disk space")), (GONE, info(), info()), "disk_alarm"),
        (fail("alarms", ALARM.format("memory")), (GONE, info(), info()), "memory_alarm"),
        (
            health("unknown", "refused"),
            (GONE, info(signatures=[line("disk_alarm_set")]), info()),
            "disk_alarm",
        ),
        (health(traffic=traffic([queue(acked=0, redelivered_count=2)])), (GONE, info(), info()), "poison_message"),
    ],
)
def test_one_node_that_is_gone_rules_nothing_out_of_the_others(beside: dict, infos: tuple, cause: str) -> None:
    assert named(cluster(beside, *infos, down=("rabbit@a",))) == ["broker_stopped_on_purpose", cause]


@pytest.mark.parametrize(
    ("whole", "started_at", "truth"), [(True, None, False), (False, AT, False), (False, None, None)]
)
def test_an_alarm_is_ruled_out_by_a_log_that_goes_back_to_the_start_only(
    whole: bool, started_at: str | None, truth: bool | None
) -> None:
    tail = [{"path": LOG, "modified_at": AT, "whole": whole}]
    seen = evidence(SILENT, info(logs=tail, lifecycle=lifecycle("started", started_at=started_at)), probe())
    assert FINDINGS["disk_alarm"](seen).holds is truth


def test_no_alarm_is_in_effect_where_every_node_is_gone() -> None:
    gone = {**GONE, "signatures": [line("disk_alarm_set"), line("memory_alarm_set")]}
    seen = cluster(DOWN, gone, gone, gone)
    assert named({**seen, "apps": {}}) == ["broker_stopped_on_purpose"]


@pytest.mark.parametrize(
    ("seen", "truth"),
    [
        (evidence(health(), None), False),
        (evidence(None, None, probe("login_refused", "login")), False),
        (evidence(DOWN, None, NO_WAY), None),
        (evidence(DOWN, GONE, NO_WAY), True),
        (cluster(health(), GONE, None, None, down=("rabbit@a",)), True),
        (cluster(health(), info(), info(), None), False),
        (cluster(fail("nodes_running"), info(), info(), None, down=("rabbit@c",)), None),
    ],
)
def test_whether_a_process_is_gone_can_be_told_of_a_host_that_nobody_could_look_at(
    seen: dict, truth: bool | None
) -> None:
    assert FINDINGS["process_gone"](seen).holds is truth


DNS = probe("name_not_resolved", "resolve")


@pytest.mark.parametrize("seen_health", [health(), health("unknown", "refused"), SILENT])
def test_a_name_that_does_not_resolve_is_named_though_ssh_to_the_broker_is_down(seen_health: dict) -> None:
    apps = {"backend-1": {"info": app(container(seen=DNS), probe=DNS)}, "backend-2": {"info": app()}}
    seen = evidence(seen_health, None, apps=apps, unreachable={"rabbitmq": "timed out"})
    verdict = outage_verdict(seen, causes())
    assert verdict["targets"] == ["backend-1"]
    assert named(seen)[0] == "backend_unreachable_dns"
    assert "rabbitmq: not seen: timed out" in verdict["unknown"]


def test_a_name_that_does_not_resolve_is_named_though_nobody_else_sees_the_broker() -> None:
    apps = {"backend-1": {"info": app(container(seen=DNS), probe=DNS)}}
    seen = evidence(DOWN, None, apps=apps, unreachable={"rabbitmq": "timed out"})
    verdict = outage_verdict(seen, causes())
    assert named(seen) == ["backend_unreachable_dns"]
    assert {"broker_crashed", "broker_stopped_on_purpose", "broker_booting"} <= set(verdict["not_ruled_out"])
    assert "rabbitmq: not seen: timed out" in verdict["unknown"]


def split(number: int, peer: int, started: str = "01:00:00", **changes: object) -> dict:
    """Return a node whose log has it that it was cut off from another."""
    text = (
        f"Mnesia('{NODES[number]}'): ** ERROR ** mnesia_event got {{inconsistent_database, "
        f"running_partitioned_network, '{NODES[peer]}'}}"
    )
    booted = lifecycle(started_at=f"2026-01-31T{started}.000Z")
    return info(**{"signatures": [line("partition", text)], "lifecycle": booted, **changes})


BACK = info(lifecycle=lifecycle(started_at="2026-01-31T02:04:00.000Z"))
MUTE = health("unknown", "refused")


@pytest.mark.parametrize(
    ("seen_health", "infos", "holds", "proofs"),
    [
        # Only the log tells of it where the management API does not.
        (MUTE, (split(0, 2), split(1, 2), split(2, 0)), True, 3),
        # The side that was not to be kept has been started anew.
        (MUTE, (split(0, 2), split(1, 2), BACK), None, 0),
        (MUTE, (split(0, 2), split(1, 0), BACK), True, 1),
        (MUTE, (split(0, 2), split(1, 2), GONE), None, 0),
        # Whether it has been, nobody could look.
        (MUTE, (split(0, 2), split(1, 2), None), None, 0),
        # It is logged when it ends: nothing tells that there is none.
        (MUTE, (info(), info(), info()), None, 0),
        (health(), (split(0, 2), split(1, 2), split(2, 0)), False, 0),
        (fail("partitions"), (split(0, 2), split(1, 2), BACK), True, 1),
        (fail("partitions"), (split(0, 2), split(1, 2), split(2, 0)), True, 4),
    ],
)
def test_a_partition_in_the_logs_lasts_until_one_side_was_started_anew(
    seen_health: dict, infos: tuple, holds: bool | None, proofs: int
) -> None:
    seen = cluster(seen_health, *infos)
    found = FINDINGS["partitioned"](seen)
    assert (found.holds, len(found.proof)) == (holds, proofs)
    assert ("cluster_partitioned" in named(seen)) is bool(holds)


LIMITED = queue(limits={"ttl": None, "max_length": 9, "delivery_limit": None})


@pytest.mark.parametrize(
    ("seen_queue", "name", "named_cause"),
    [(LIMITED, "maxlen", "messages_expire"), (queue(arguments={}), "rejected", "delivery_limit_drops")],
)
@pytest.mark.parametrize(
    ("seen_counter", "uptime", "holds"),
    [
        (counter(7, 1, 7), OLD, True),
        (counter(7, 0, 7), OLD, False),
        # Nobody looked twice.
        (counter(7, None, 7), OLD, None),
        (counter(7, None, 7), 1_800_000, True),
        # They are kept by a dead letter queue.
        (counter(7, 1, 0), OLD, False),
        (counter(7, 1), OLD, True),
        (counter(7, 0), OLD, False),
    ],
)
def test_what_was_dropped_long_ago_is_no_cause_now(
    seen_queue: dict, name: str, named_cause: str, seen_counter: dict, uptime: int, holds: bool | None
) -> None:
    counted = {one: counter() for one in ("expired", "maxlen", "rejected", "delivery_limit")}
    nodes = [{"name": "rabbit@a", "running": True, "uptime": uptime, "being_drained": False}]
    verdict = outage_verdict(
        at_work([seen_queue], traffic={"dropped": {**counted, name: seen_counter}, "nodes": nodes}), causes()
    )
    assert verdict["cause"] == (named_cause if holds else "healthy")
    assert (named_cause in verdict["not_ruled_out"]) is (holds is None)


@pytest.mark.parametrize(("at", "cause"), [("01:30:00", "clock_stepped"), ("00:30:00", "healthy")])
def test_a_clock_that_was_set_long_ago_is_right_again(at: str, cause: str) -> None:
    clock = {"now": NOW, "offset": 0.1, "stepped_at": f"2026-01-31T{at}.000Z"}
    assert outage_verdict(evidence(health(), info(clock=clock), probe()), causes())["cause"] == cause


@pytest.mark.parametrize("name", ["ack_timeout", "permission_refused", "exclusive_use", "connection_limit"])
def test_what_clients_were_refused_long_ago_is_over_however_often_it_was(name: str) -> None:
    told = {**line(name, at="2026-01-31T01:04:00.000Z"), "first_at": "2026-01-29T00:00:00.000Z", "count": 99}
    assert named(evidence(health(), info(signatures=[told]), probe())) == ["healthy"]


@pytest.mark.parametrize(
    "seen",
    [
        evidence(DOWN, DRAINED_AND_STOPPED, NO_WAY),
        # That it does not run for its peers tells no more.
        cluster(fail("nodes_running"), DRAINED_AND_STOPPED, info(), info(), down=("rabbit@a",)),
    ],
)
def test_of_a_drained_node_whose_application_was_stopped_that_comes_first_which_is_mended_first(seen: dict) -> None:
    assert named(seen) == ["app_stopped", "maintenance_mode"]
    # Nobody can revive what does not run: so it is by what they explain, and not by their names.
    explains = {name: len(causes()[name]["explains"]) for name in named(seen)}
    assert explains["app_stopped"] > explains["maintenance_mode"]


CRASHED = info("stopped", clean_stop=False, probe=NO_WAY)
NO_LOG = info("stopped", last="none", clean_stop=None, probe=NO_WAY)
SEGFAULT = info("stopped", clean_stop=False, probe=NO_WAY, service={"exits": [{"at": AT, "status": "11/SEGV"}]})
REFUSES = info(probe=NO_WAY)
WAITS = info("starting", last="starting", probe=NO_WAY, signatures=[line("waiting_for_tables"), line("peers_missing")])
LONG_STOPPED = {**GONE, "lifecycle": lifecycle("stopped", True, stopped_at="2026-01-01T00:00:00.000Z")}


def by_host(seen: dict) -> dict[str, list[str]]:
    """Return the causes that a verdict names, the primary first, with their hosts."""
    verdict = outage_verdict(seen, causes())
    return {one["cause"]: one["targets"] for one in (verdict, *verdict["also"])}


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        ((CRASHED, GONE, info()), {"broker_crashed": ["a"], "broker_stopped_on_purpose": ["b"]}),
        ((CRASHED, CRASHED, info()), {"broker_crashed": ["a", "b"]}),
        # What explains one node's end explains no other's.
        ((SEGFAULT, CRASHED, info()), {"broker_segfault": ["a"], "broker_crashed": ["b"]}),
        ((NO_LOG, GONE, info()), {"broker_stopped_on_purpose": ["b"], "broker_down": ["a"]}),
        # The node that waits for it is no reason not to start the one that has crashed, nor is one that boots.
        ((CRASHED, WAITS, WAITS), {"broker_waits_for_peers": ["b", "c"], "broker_crashed": ["a"]}),
        ((GONE, WAITS, WAITS), {"broker_waits_for_peers": ["b", "c"], "broker_stopped_on_purpose": ["a"]}),
        (
            (CRASHED, failing("configuration"), info()),
            {"configuration_broken": ["b"], "broker_crashed": ["a"]},
        ),
    ],
)
def test_a_cause_names_the_nodes_on_which_all_of_it_holds(infos: tuple, expected: dict) -> None:
    found = by_host({**cluster(MUTE, *infos), "apps": {}})
    assert {name: found.get(name) for name in expected} == expected
    assert not {name for name in found if name.startswith("broker_")} - set(expected)


@pytest.mark.parametrize(
    ("started", "booted", "cause"),
    [
        ("02:04:54", None, "broker_settling"),
        ("02:04:30", "02:04:55", "broker_settling"),
        ("02:00:00", "02:04:55", "broker_settling"),
        ("02:04:30", None, "management_unavailable"),
        ("02:04:30", "02:04:35", "management_unavailable"),
        (None, None, "management_unavailable"),
    ],
)
def test_a_broker_that_has_just_booted_was_asked_before_its_management_api_was_open(
    started: str | None, booted: str | None, cause: str
) -> None:
    """All its ports open at once: one that has served AMQP for longer has no management API."""
    at = {None: None, **{time: f"2026-01-31T{time}.000Z" for time in (started, booted) if time}}
    process = {"running": True, "pid": 1, "suspended": False, "started_at": at[started]}
    seen = info(process=process, lifecycle=lifecycle(started_at=at[booted]))
    verdict = outage_verdict(evidence(health("unknown", "refused"), seen, probe()), causes())
    assert verdict["cause"] == cause
    if cause == "broker_settling":
        assert str(at[booted] or at[started]) in verdict["proof"][0]["text"]


@pytest.mark.parametrize(
    ("listener", "changes", "holds"),
    [
        ({"listening": False}, {}, True),
        ({"listening": True, "addresses": ["127.0.0.2"]}, {}, True),
        ({"listening": True, "addresses": ["127.0.0.1", "198.18.77.10"]}, {}, False),
        ({"listening": True, "addresses": ["::"]}, {}, False),
        ({"listening": True, "addresses": None}, {}, None),
        ({"listening": None, "addresses": None}, {}, None),
        # Somebody else has the port, or it has not booted, or its application was stopped.
        ({"listening": True, "ours": False, "addresses": ["127.0.0.1"]}, {}, False),
        ({"listening": False}, {"state": "starting", "last": "starting"}, False),
        ({"listening": False}, {"last": "stopped"}, False),
    ],
)
def test_where_a_broker_listens(listener: dict, changes: dict, holds: bool | None) -> None:
    listeners = [{"port": 5672, "ours": True, "holder": None, "addresses": [], **listener}]
    seen = evidence(health(), info(**changes, listeners=listeners), probe())
    assert FINDINGS["listens_elsewhere"](seen).holds is holds


def missing(*failed: dict) -> dict:
    """Return the health of a cluster that misses a node, and of which these checks fail besides."""
    seen = fail("nodes_running")
    names = [check["name"] for check in failed]
    return {**seen, "checks": [*(one for one in seen["checks"] if one["name"] not in names), *failed]}


HOME_DOWN = check("queues", "fail", "queue 'transcode_jobs' is down")


@pytest.mark.parametrize(
    ("seen_health", "reach", "affected"),
    [
        (missing(), "nothing", []),
        (missing(check("quorum_critical", "fail")), "nothing", []),
        (missing(HOME_DOWN), "queues", ["transcode_jobs"]),
        (missing(check("virtual_hosts", "fail")), "all", ["search_index_updates", "transcode_jobs"]),
        (missing(check("queues", "fail", "queue 'x' does not exist in '/'")), "all", None),
    ],
)
@pytest.mark.parametrize("one", [GONE, CRASHED])
def test_a_cluster_that_goes_on_without_a_node_affects_nobody_but_by_that_nodes_queues(
    one: dict, seen_health: dict, reach: str, affected: list | None
) -> None:
    queues = [
        {"name": name, "subsystem": name, "severity": "LOW", "effect": ""}
        for name in ("search_index_updates", "transcode_jobs")
    ]
    verdict = outage_verdict(cluster(seen_health, info(), info(), one, down=("rabbit@c",)), causes(), queues)
    told = next(one for one in (verdict, *verdict["also"]) if one["cause"].startswith("broker_"))
    assert (told["affects"], told["targets"]) == (reach, ["c"])
    assert ("(c); the rest of the cluster serves" in told["headline"]) is (reach != "all")
    if affected is not None:
        assert sorted(row["subsystem"] for row in verdict["impact"] if row["affected"]) == affected


def test_a_backend_that_does_not_get_through_is_not_served_by_the_other_nodes() -> None:
    seen = {**cluster(missing(), info(), info(), GONE, down=("rabbit@c",))}
    seen["apps"] = {**seen["apps"], "backend-1": {"info": app(container(seen=NO_WAY))}}
    assert outage_verdict(seen, causes())["affects"] == "all"


def test_the_first_of_several_nodes_tells_when_the_outage_began() -> None:
    first, later = ({"exits": [{"at": f"2026-01-31T02:0{minute}:00.000Z", "status": "9/KILL"}]} for minute in (1, 3))
    gone = {"clean_stop": False, "probe": NO_WAY}
    seen = {**cluster(MUTE, info("stopped", service=later, **gone), info("stopped", service=first, **gone), info())}
    assert outage_verdict({**seen, "apps": {}}, causes())["outage"]["start"] == first["exits"][0]["at"]


@pytest.mark.parametrize(
    ("stop", "cause"),
    [(None, "broker_restarted"), ("2026-01-31T02:03:30.000Z", "healthy"), ("2026-01-31", "broker_restarted")],
)
def test_a_crash_is_over_once_the_broker_was_stopped_in_order_and_started_again(stop: str | None, cause: str) -> None:
    died_once = {"exits": [{"at": "2026-01-31T02:03:00.000Z", "status": "9/KILL"}]}
    back = info(service=died_once, lifecycle=lifecycle(previous_stop=stop))
    assert named(evidence(health(), back, probe()))[0] == cause


@pytest.mark.parametrize(
    ("unheard", "beside", "cause"),
    [
        ([{"address": "198.18.77.13", "port": 25672, "tries": 5}], (), "cluster_nodes_unheard"),
        ([{"address": "198.18.77.13", "port": 25672, "tries": 5}], ("minority_paused",), "minority_paused"),
        ([], (), "management_unavailable"),
        (None, (), "management_unavailable"),
    ],
)
def test_a_partition_is_named_before_rabbitmq_tells_of_it(unheard: list | None, beside: tuple, cause: str) -> None:
    paused = {"listeners": [{"port": 5672, "listening": False}], "probe": NO_WAY} if beside else {}
    hears = info(unheard=unheard)
    seen = cluster(SILENT, hears, hears, info(signatures=[line(name) for name in beside], **paused))
    assert named(seen)[0] == cause


def test_a_node_that_serves_is_not_among_those_that_are_not_reached() -> None:
    seen = {**cluster(MUTE, info(), REFUSES, info()), "apps": {}}
    verdict = outage_verdict(seen, causes())
    assert (verdict["cause"], verdict["targets"]) == ("broker_unreachable", ["b"])
    assert {one["host"] for one in verdict["proof"]} == {"b", "controller"}


def test_findings_that_hold_on_no_host_together_are_no_cause() -> None:
    refuses_and_is_gone = {"all_of": ["process_gone", "application_stopped"], "none_of": [], "name": "x"}
    known = {"x": {**causes()["broker_down"], **refuses_and_is_gone}}
    stopped = info(last="stopped", probe=NO_WAY, listeners=[{"port": 5672, "listening": False}])
    verdict = outage_verdict(cluster(MUTE, GONE, stopped, info()), known)
    assert (verdict["cause"], verdict["ruled_out"]) == ("unknown", ["x"])


def test_when_another_node_was_stopped_is_not_when_the_outage_began() -> None:
    seen = {**cluster(MUTE, LONG_STOPPED, CRASHED, info()), "apps": {}}
    seen["brokers"]["a"]["info"]["service"]["since"] = "2026-01-01T00:00:00.000Z"
    verdict = outage_verdict(seen, causes())
    assert (verdict["cause"], verdict["targets"]) == ("broker_crashed", ["b"])
    assert verdict["outage"]["start"] == AT


def test_a_wrong_vhost_names_host_container_and_both_vhosts() -> None:
    verdict = outage_verdict(SITUATIONS["a backend in another vhost"][0], causes(), QUEUES)
    assert (verdict["targets"], verdict["affects"], verdict["serves"]) == (["backend-1"], "targets", False)
    (told,) = verdict["proof"]
    assert (told["host"], told["text"]) == (
        "backend-1", "veza_backend_api uses the vhost '/' (AMQP_URL), the site '/veza'"
    )  # fmt: skip


def test_a_worker_in_another_vhost_explains_its_own_queue_only() -> None:
    seen = at_work(
        [queue(consumers=0), queue("dmca_propagation", consumers=0)], vhost="/veza", workers=worker(amqp=in_vhost("/"))
    )
    verdict = outage_verdict(seen, causes(), [{**QUEUES[0], "worker": "worker-transcode"}, QUEUES[1]])
    assert (verdict["cause"], verdict["queues"], verdict["remedy"]) == ("worker_wrong_vhost", ["transcode_jobs"], "ask")
    assert [(one["cause"], one["queues"]) for one in verdict["also"]] == [("no_consumers", ["dmca_propagation"])]


@pytest.mark.parametrize(
    ("site", "own", "word"),
    [("/veza", None, "not_ruled_out"), (None, "/", "not_ruled_out"), ("/veza", "/veza", "ruled_out")],
)
def test_a_vhost_that_is_not_known_is_no_wrong_one(site: str | None, own: str | None, word: str) -> None:
    seen = at_work(vhost=site, apps={"backend-1": {"info": app(container(amqp=own and in_vhost(own)))}})
    verdict = outage_verdict(seen, causes())
    assert verdict["cause"] == "healthy"
    assert "backend_wrong_vhost" in verdict[word]


def test_a_refusal_in_another_vhost_tells_nothing_of_the_site() -> None:
    text = "operation basic.publish caused a channel exception not_found: no exchange 'veza.events' in vhost '/'"
    seen = evidence(health(), info(signatures=[line("exchange_missing", text)]), probe(), vhost="/veza")
    verdict = outage_verdict(seen, causes())
    assert verdict["cause"] == "healthy"
    assert "exchange_missing" in verdict["not_ruled_out"]
    assert outage_verdict({**seen, "vhost": "/"}, causes())["cause"] == "exchange_missing"


def backends(*errors: dict | None, **changes: Any) -> dict[str, Any]:
    """Return the evidence of a broker at work whose backends have logged these errors."""
    apps = {f"backend-{n}": {"info": app(container(errors=one), **changes)} for n, one in enumerate(errors, 1)}
    return at_work(apps=apps)


@pytest.mark.parametrize(
    ("errors", "cause"),
    [
        (refusals(), "publishes_refused"),
        # Each refusal closes its channel, and it connects again at once.
        (refusals(connected_at="2026-01-31T02:04:59.600Z"), "publishes_refused"),
        # It publishes rarely.
        (refusals(2, "2026-01-31T02:04:45.000Z"), "publishes_refused"),
        (refusals(2, "2026-01-31T02:04:45.000Z", connected_at="2026-01-31T02:04:45.100Z"), "healthy"),
        (refusals(last_at="2026-01-31T02:04:54.000Z"), "healthy"),
        (refusals(2, "2026-01-31T02:04:25.000Z"), "healthy"),
        (refusals(1), "healthy"),
        (refusals(refused=None), "healthy"),
    ],
)
def test_refusals_are_told_while_they_go_on(errors: dict, cause: str) -> None:
    verdict = outage_verdict(backends(errors), causes(), QUEUES)
    assert (verdict["cause"], verdict["serves"]) == (cause, cause == "healthy")


def test_a_refusal_is_quoted_and_leaves_another_cause_beside_it() -> None:
    seen = at_work([queue(consumers=0)], apps=backends(refusals())["apps"])
    verdict = outage_verdict(seen, causes(), QUEUES)
    assert (verdict["cause"], verdict["targets"]) == ("publishes_refused", ["backend-1"])
    assert "151 refusals" in verdict["proof"][0]["text"]
    assert "ACCESS_REFUSED" in verdict["proof"][0]["text"]
    # The container has run for longer.
    assert verdict["outage"]["start"] == refusals()["first_at"]
    assert [one["cause"] for one in verdict["also"]] == ["no_consumers"]


def test_a_symptom_is_told_of_hosts_that_nothing_else_affects() -> None:
    seen = backends(refusals(), refusals())
    seen["apps"]["backend-1"]["info"]["containers"][0]["probe"] = probe("vhost_refused", "vhost")
    verdict = outage_verdict(seen, causes(), QUEUES)
    assert (verdict["cause"], verdict["targets"]) == ("vhost_refused", ["backend-1"])
    assert [(one["cause"], one["targets"]) for one in verdict["also"]] == [("publishes_refused", ["backend-2"])]
    of_all = {**seen, "brokers": {"rabbitmq": {"info": info(signatures=[line("permission_refused")])}}}
    assert "publishes_refused" not in [one["cause"] for one in outage_verdict(of_all, causes(), QUEUES)["also"]]


def test_a_log_that_was_not_read_does_not_rule_refusals_out() -> None:
    unread = backends(None, unknown=["The log of veza_backend_api is not in a file that docker names."])
    verdict = outage_verdict(unread, causes())
    assert verdict["cause"] == "healthy"
    assert "publishes_refused" in verdict["not_ruled_out"]
    assert "publishes_refused" in outage_verdict(backends(None), causes())["ruled_out"]


def test_a_foreign_consumer_is_named_by_its_address_and_queue() -> None:
    verdict = outage_verdict(SITUATIONS["a foreign consumer"][0], causes(), QUEUES)
    assert (verdict["queues"], verdict["remedy"]) == (["transcode_jobs"], "ask")
    assert "198.18.77.1 port 40112" in verdict["proof"][0]["text"]
    own = outage_verdict(SITUATIONS["workers that never acknowledge"][0], causes(), QUEUES)
    assert "foreign_consumer" in own["not_ruled_out"]
    assert "foreign_consumer" in outage_verdict(at_work([queue(without_ack=None)]), causes(), QUEUES)["not_ruled_out"]


def test_a_check_that_is_not_permitted_is_told_with_what_came_instead() -> None:
    verdict = outage_verdict(SITUATIONS["management user without a permission on the vhost"][0], causes(), QUEUES)
    assert [one["text"] for one in verdict["proof"]] == [MAY_NOT_SEE]
    assert f"controller: checks without an answer: queues: {MAY_NOT_SEE}" in verdict["unknown"]


def test_checks_without_an_answer_are_told_together_where_they_got_the_same() -> None:
    unknown = ["alarms", "leaders", "queues", "moon"]
    checks = [check("alarms", "unknown", "timed out"), check("leaders", "unknown", "timed out")]
    seen = evidence(health("unknown", checks=[*checks, check("queues", "unknown", "500")], unknown=unknown), info())
    assert [text for text in outage_verdict(seen, causes())["unknown"] if "checks" in text] == [
        "controller: checks without an answer: alarms, leaders: timed out",
        "controller: checks without an answer: queues: 500",
        "controller: checks without an answer: moon",
    ]


def test_dead_processes_of_queues_have_no_count_and_explain_what_follows() -> None:
    verdict = outage_verdict(SITUATIONS["queues whose processes are dead"][0], causes(), QUEUES)
    assert (verdict["queues"], verdict["also"]) == (["transcode_jobs"], [])
    assert "restart_vhost" in verdict["advice"]
    assert [(row["affected"], row["waiting"]) for row in verdict["impact"] if row["queue"] == "transcode_jobs"] == [
        (True, None)
    ]


@pytest.mark.parametrize(
    ("said", "nodes", "process", "causes_named"),
    [
        ("queue 'transcode_jobs' is stopped", "fail", {}, ["queues_down", "cluster_node_down"]),
        ("queue 'transcode_jobs' is stopped", "unknown", {}, ["queues_down"]),
        ("queue 'transcode_jobs' is down", "pass", {}, ["queues_down"]),
        # It is on its way: its queues come last.
        ("queue 'transcode_jobs' is stopped", "pass", {"started_at": "2026-01-31T02:04:55.000Z"}, ["queues_down"]),
        (
            "queue 'transcode_jobs' is crashed; queue 'dmca_propagation' is down",
            "pass",
            {},
            ["queue_processes_dead", "queues_down"],
        ),
    ],
)
def test_queues_of_a_node_that_is_away_or_starts_are_not_dead(
    said: str, nodes: str, process: dict, causes_named: list[str]
) -> None:
    seen = evidence(
        health("unhealthy", checks=[check("queues", "fail", said), check("nodes_running", nodes)]),
        info(process={**LONG_SINCE, **process}),
        probe(),
    )
    verdict = outage_verdict(seen, causes(), QUEUES)
    named_here = [verdict["cause"], *(one["cause"] for one in verdict["also"])]
    assert [name for name in named_here if name != "broker_settling"] == causes_named


LIMITED = "connection refused for user 'veza': user connection limit (5) is reached"


@pytest.mark.parametrize(
    ("said", "user", "seen", "cause"),
    [
        (LIMITED, "veza", probe(), "healthy"),
        ("access to vhost '/veza' refused for user 'veza': vhost connection limit (5) is reached", "veza", probe(),
         "healthy"),
        # Of another user's, or of channels, such a probe proves nothing.
        (LIMITED, "other", probe(), "connection_limit"),
        (LIMITED.replace("connection limit", "channel limit"), "veza", probe(), "connection_limit"),
        (LIMITED, "veza", None, "connection_limit"),
        (LIMITED, "veza", {**probe("vhost_refused", "vhost"), "message": f"530: {LIMITED}"}, "connection_limit"),
    ],
)  # fmt: skip
def test_a_limit_that_lets_every_container_in_again_is_over(
    said: str, user: str, seen: dict | None, cause: str
) -> None:
    login = {"variable": "AMQP_URL", "matches": True, "user": user}
    first, other = container(amqp=login, probe=seen), container(amqp=login)
    apps = {"backend-1": {"info": app(first, probe=None)}, "backend-2": {"info": app(other)}}
    told = evidence(health(), info(signatures=[line("connection_limit", said)]), apps=apps)
    verdict = outage_verdict({**told, "vhost": "/veza"}, causes())
    assert verdict["cause"] == cause
    if cause == "healthy":
        assert "connection_limit" in verdict["not_ruled_out"]
