# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils import _health
from ansible_collections.veza.rabbitmq.plugins.module_utils._amqp import SERVING, Probe, Stage, Target
from ansible_collections.veza.rabbitmq.plugins.module_utils._checks import NAMES
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, RequestFailed, TimedOut
from ansible_collections.veza.rabbitmq.plugins.module_utils._health import Command, Rungs, run_command
from ansible_collections.veza.rabbitmq.plugins.module_utils._http import Reply
from ansible_collections.veza.rabbitmq.plugins.module_utils._management import Management
from ansible_collections.veza.rabbitmq.plugins.module_utils._metrics import Metrics, parse
from ansible_collections.veza.rabbitmq.plugins.modules import rabbitmq_health

PASSWORD = "s3cret-never-shown"
SERVER = {"product": "RabbitMQ", "version": "3.10.8", "cluster_name": "veza"}

BINDINGS = "columns=source,destination,destination_type,routing_key"
TOTALS = "columns=name,messages,messages_ready,messages_unacknowledged&disable_stats=true&enable_queue_totals=true"

Made = Callable[..., Any]


def found(outcome: str, stage: str = "header") -> Probe:
    ok = outcome in SERVING
    return Probe(outcome, ok, f"AMQP: {outcome}.", (Stage(stage, ok, 1.0, ""),), SERVER if ok else {}, (), 0.1)


def never(*_arguments: Any) -> Any:
    raise AssertionError("this rung must not be asked")


class Broker:
    """A healthy broker's answers in the order in which they are asked for; a change replaces one, by its path."""

    def __init__(self, reply: Made) -> None:
        self.reply = reply
        health = "/api/health/checks"
        self.answers: dict[str, Any] = {
            "/api/whoami": reply({"name": "monitor", "tags": ["monitoring"]}),
            f"{health}/alarms": reply({"status": "ok"}),
            f"{health}/local-alarms": reply({"status": "ok"}),
            f"{health}/virtual-hosts": reply({"status": "ok"}),
            "/api/overview": reply({"node": "rabbit@mq", "rabbitmq_version": "3.10.8", "erlang_version": "25.2.3",
                                    "cluster_name": "veza", "object_totals": {"queues": 8}}),
            "/api/nodes": reply([{"name": "rabbit@mq", "running": True, "partitions": [], "fd_used": 40,
                                  "fd_total": 1000, "uptime": 600_000}]),
            "/api/vhosts": reply([{"name": "/"}, {"name": "/veza"}]),
            "/api/queues/%2Fveza/transcode_jobs": reply({"name": "transcode_jobs", "state": "running", "messages": 3}),
            f"{health}/port-listener/5672": reply({"status": "ok"}),
            f"{health}/node-is-quorum-critical": reply({"status": "ok"}),
        }  # fmt: skip
        self.traffic = {
            f"/api/bindings/%2Fveza?{BINDINGS}": reply([]),
            "/api/connections?columns=state,peer_host&page=1&page_size=500": reply({"items": [], "total_count": 0}),
            f"/api/queues/%2Fveza?{TOTALS}": reply([]),
        }

    def steps(self, until: str = "", traffic: bool = False, **changes: Any) -> list[tuple[str, Any]]:
        """Return the script; it ends with the path that ends in ``until``, or with what the traffic needs."""
        steps = []
        for path, answer in self.answers.items():
            name = path.rsplit("/", 1)[-1].replace("-", "_")
            steps.append((path, changes.get(name, answer)))
            if until and path.endswith(until):
                break
        return [*steps, *self.traffic.items()] if traffic else steps


@pytest.fixture
def broker(reply: Made) -> Broker:
    return Broker(reply)


@pytest.fixture
def run(params_of: Made, scripted_http: Made, clock: Any, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Return a runner of the module's run() against a script; what the traffic is, is asked where a test wants it."""

    def run_it(
        steps: Sequence[tuple[str, Any]],
        probe: Callable[[Target], Probe] = never,
        command: Callable[[Sequence[str], float], Command] = never,
        metrics: Callable[[float], Metrics] | None = None,
        traffic: bool = False,
        **changes: Any,
    ) -> dict[str, Any]:
        if not traffic:
            monkeypatch.setattr(rabbitmq_health.Traffic, "read", lambda *_arguments: {})
        login = {"login_user": "monitor", "login_password": PASSWORD, "vhost": "/veza"}
        quiet = {"queues": ["transcode_jobs"], "sample_seconds": 0, "prometheus_port": 0}
        params = params_of(rabbitmq_health.argument_spec(), **{**login, **quiet, **changes})
        management = Management(scripted_http(*steps), "monitor", clock)
        rungs = Rungs(management, probe, Target("mq", 5672), command, tuple(params["cli"]), metrics)
        result = rabbitmq_health.run(params, rungs, clock, clock.sleep)
        assert PASSWORD not in repr(result)
        return result

    return run_it


def by_name(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in result["checks"]}


def test_a_healthy_broker_costs_ten_requests_and_three_for_its_traffic(run: Made, broker: Broker, clock: Any) -> None:
    result = run(broker.steps(traffic=True), traffic=True)
    assert (result["verdict"], result["rung"], result["unknown"], result["changed"]) == (
        "healthy",
        "management",
        [],
        False,
    )
    assert result["management"]["outcome"] == "ok"
    assert result["broker"] == {
        "version": "3.10.8", "erlang": "25.2.3", "cluster_name": "veza", "node": "rabbit@mq", "uptime": 600.0,
    }  # fmt: skip
    assert clock.sleeps == []


def test_a_newer_version_is_asked_for_more(run: Made, broker: Broker, reply: Made) -> None:
    newer = reply({"node": "rabbit@mq", "rabbitmq_version": "4.1.2", "object_totals": {"queues": 8}})
    more = [
        ("/api/health/checks/certificate-expiration/14/days", reply({"status": "ok"})),
        ("/api/health/checks/quorum-queues-without-elected-leaders/vhost/%2Fveza/", reply({"status": "ok"})),
        ("/api/health/checks/is-in-service", reply({"error": "Object Not Found", "reason": "Not Found"}, 404)),
    ]
    result = run([*broker.steps(overview=newer), *more], certificate_days=14)
    assert result["verdict"] == "healthy"
    checks = by_name(result)
    results = [checks[name]["result"] for name in ("certificate", "leaders", "in_service")]
    assert results == ["pass", "pass", "unavailable"]


def test_an_empty_500_on_one_endpoint_leaves_the_others(run: Made, broker: Broker, reply: Made) -> None:
    result = run(broker.steps(nodes=reply(b"", 500)))
    assert result["verdict"] == "unknown"
    assert result["unknown"] == ["nodes_running", "partitions", "file_descriptors"]
    assert "500 with an empty body" in by_name(result)["partitions"]["detail"]


@pytest.mark.parametrize("name", ["overview", "nodes", "vhosts", "whoami"])
def test_a_document_of_another_kind_is_unknown(run: Made, broker: Broker, reply: Made, name: str) -> None:
    wrong = reply("null" if name == "whoami" else '"nonsense"')
    until = "/api/whoami" if name == "whoami" else ""
    result = run(broker.steps(until, **{name: wrong}), probe=lambda _target: found("ok"))
    assert result["verdict"] == "unknown"


def test_a_hang_in_the_middle_ends_the_look_and_keeps_what_is_known(run: Made, broker: Broker, reply: Made) -> None:
    alarm = reply({"status": "failed", "reason": "There are alarms", "alarms": [{"resource": "memory"}]}, 503)
    hung = RequestFailed("timed_out", "GET /api/overview: no complete answer within 5 s.")
    result = run(broker.steps(until="/api/overview", overview=hung, alarms=alarm))
    assert result["verdict"] == "unhealthy"
    assert "memory" in result["reason"]
    assert {"identity", "vhost", "queues", "nodes_running", "listeners"} <= set(result["unknown"])
    assert "was not asked" in by_name(result)["queues"]["detail"]


def test_checks_of_the_user_stand_beside_ours(run: Made, broker: Broker) -> None:
    mine = [
        {"name": "busy", "query": "queues.transcode_jobs.messages", "expect": 3},
        {"name": "quiet", "query": "queues.transcode_jobs.messages == `0`"},
    ]
    result = run(broker.steps(), checks=mine)
    assert [check["result"] for check in result["checks"][-2:]] == ["pass", "fail"]
    assert result["verdict"] == "unhealthy"
    assert result["reason"].startswith("Quiet: ")


# management, AMQP: verdict, rung, reachable, what the reason must name
DOWN = {
    "killed": ("refused", found("refused", "connect"), "unhealthy", "none", "fail", "refused"),
    "hung": ("timed_out", found("timed_out"), "unhealthy", "none", "fail", "timed_out"),
    "path dropped": ("timed_out", found("timed_out", "connect"), "unknown", "none", "unknown", "timed_out"),
    "no name": ("name_not_resolved", found("name_not_resolved", "resolve"), "unknown", "none", "unknown", "resolve"),
    "plugin missing": ("refused", found("ok"), "unknown", "amqp", "pass", "refused"),
    "AMQP over TLS": ("refused", found("tls_expected"), "unknown", "none", "unknown", "tls_expected"),
}


@pytest.mark.parametrize("case", DOWN)
def test_without_the_management_api_the_amqp_greeting_is_read(run: Made, case: str) -> None:
    outcome, probe, verdict, rung, reachable, named = DOWN[case]
    steps = [("/api/whoami", RequestFailed(outcome, f"GET /api/whoami: {outcome}."))]
    result = run(steps, probe=lambda _target: probe)
    assert (result["verdict"], result["rung"], by_name(result)["reachable"]["result"]) == (verdict, rung, reachable)
    assert named in result["reason"]
    assert result["management"]["outcome"] == outcome
    assert tuple(by_name(result)) == NAMES
    assert {"alarms", "vhost", "queues"} <= set(result["unknown"])
    assert result["broker"]["version"] == ("3.10.8" if probe.ok else None)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"error": "not_authorized", "reason": "Login failed"}, "login_refused"),
        ({"error": "not_authorised", "reason": "Not management user"}, "not_permitted"),
    ],
)
def test_a_wrong_login_is_not_called_down(run: Made, reply: Made, answer: dict[str, str], outcome: str) -> None:
    result = run([("/api/whoami", reply(answer, 401))], probe=lambda _target: found("ok"))
    assert (result["verdict"], result["management"]["outcome"]) == ("unknown", outcome)
    checks = by_name(result)
    assert (checks["reachable"]["result"], checks["authorised"]["result"]) == ("pass", "fail")
    assert result["reason"].startswith("Authorised: ")
    assert "'monitor'" in result["reason"]


def test_a_wrong_login_does_not_hide_that_amqp_is_gone(run: Made, reply: Made) -> None:
    steps = [("/api/whoami", reply({"error": "not_authorized", "reason": "Login failed"}, 401))]
    result = run(steps, probe=lambda _target: found("refused", "connect"))
    assert result["verdict"] == "unhealthy"
    assert result["reason"].startswith("Listeners: ")


class Cli:
    """A command line tool that gives these answers, one after the other."""

    def __init__(self, *answers: Command) -> None:
        self.answers = list(answers)
        self.asked: list[list[str]] = []

    def __call__(self, argv: Sequence[str], timeout: float) -> Command:
        self.asked.append(list(argv))
        return self.answers.pop(0)


REFUSED = [("/api/whoami", RequestFailed("refused", "GET /api/whoami: connection refused."))]
GOOD = Command(0, '{"result": "ok"}')


def greets(_target: Target) -> Probe:
    return found("ok")


def test_the_command_line_comes_before_amqp(run: Made) -> None:
    alarms = Command(69, '{"result": "error", "message": "alarms", "local": ["disk"]}')
    cli = Cli(GOOD, alarms, alarms, GOOD)
    result = run(REFUSED, greets, cli, cli=["rabbitmq-diagnostics"])
    assert [argv[-1] for argv in cli.asked] == [
        "check_running", "check_alarms", "check_local_alarms", "check_port_connectivity",
    ]  # fmt: skip
    assert cli.asked[0] == ["rabbitmq-diagnostics", "--formatter", "json", "check_running"]
    assert (result["verdict"], result["rung"]) == ("unhealthy", "cli")
    assert by_name(result)["alarms"]["detail"] == 'alarms: ["disk"] (exit code 69)'
    assert by_name(result)["listeners"]["source"] == "check_port_connectivity"
    assert result["broker"]["version"] == "3.10.8"


def test_healthy_is_more_than_the_command_line_can_tell(run: Made) -> None:
    result = run(REFUSED, greets, Cli(GOOD, GOOD, GOOD, GOOD), cli=["rabbitmq-diagnostics"])
    assert (result["verdict"], result["rung"]) == ("unknown", "cli")
    assert {"vhost", "queues"} <= set(result["unknown"])


def test_of_a_node_that_does_not_run_nothing_else_is_asked(run: Made) -> None:
    cli = Cli(Command(69, '{"result": "error", "message": "not running"}'))
    result = run(REFUSED, lambda _target: found("refused"), cli, cli=["rabbitmq-diagnostics"])
    assert (result["verdict"], result["rung"], len(cli.asked)) == ("unhealthy", "cli", 1)


def test_a_command_line_that_reaches_nobody_leads_to_amqp(run: Made) -> None:
    cli = Cli(Command(None, "rabbitmq-diagnostics can't be run: No such file or directory"))
    result = run(REFUSED, command=cli, cli=["rabbitmq-diagnostics"], probe=lambda _target: found("ok"))
    assert result["rung"] == "amqp"


METRICS = parse(
    'rabbitmq_build_info{rabbitmq_version="3.10.8",erlang_version="25.2.3"} 1\n'
    'rabbitmq_identity_info{rabbitmq_node="rabbit@mq",rabbitmq_cluster="veza"} 1\n'
    "rabbitmq_alarms_memory_used_watermark 0\n"
    "rabbitmq_alarms_free_disk_space_watermark 0\n"
    "rabbitmq_alarms_file_descriptor_limit 0\n"
    "rabbitmq_process_open_fds 40\n"
    "rabbitmq_process_max_fds 1000\n"
)


def metrics(_seconds: float) -> Metrics:
    return Metrics("ok", "GET /metrics", METRICS)


def test_the_prometheus_endpoint_knows_the_node_and_its_alarms(run: Made) -> None:
    result = run(REFUSED, greets, metrics=metrics, node="rabbit@mq")
    assert (result["verdict"], result["rung"]) == ("unknown", "prometheus")
    passed = {check["name"]: check["age"] for check in result["checks"] if check["result"] == "pass"}
    assert passed == dict.fromkeys(("reachable", "identity", "local_alarms", "file_descriptors", "listeners"), 0.0)
    assert "alarms" in result["unknown"]  # those of other nodes are not known
    assert result["broker"] == {
        "version": "3.10.8", "erlang": "25.2.3", "cluster_name": "veza", "node": "rabbit@mq", "uptime": None,
    }  # fmt: skip
    renamed = run(REFUSED, greets, metrics=metrics, node="rabbit@before")
    assert (renamed["verdict"], by_name(renamed)["identity"]["result"]) == ("unhealthy", "fail")


def test_an_alarm_that_prometheus_knows_makes_it_unhealthy_whatever_the_login(run: Made, reply: Made) -> None:
    alarmed = {**METRICS, "rabbitmq_alarms_free_disk_space_watermark": [({}, 1.0)]}
    steps = [("/api/whoami", reply({"error": "not_authorized", "reason": "Login failed"}, 401))]
    result = run(steps, greets, metrics=lambda _seconds: Metrics("ok", "", alarmed))
    assert (result["verdict"], result["rung"]) == ("unhealthy", "prometheus")
    assert result["reason"].startswith("Alarms: disk space on rabbit@mq")
    assert by_name(result)["authorised"]["result"] == "fail"


def test_the_command_line_is_believed_before_the_prometheus_endpoint(run: Made) -> None:
    alarms = Command(69, '{"result": "error", "message": "alarms", "local": ["disk"]}')
    result = run(REFUSED, greets, Cli(GOOD, alarms, alarms, GOOD), cli=["rabbitmq-diagnostics"], metrics=metrics)
    assert (result["verdict"], result["rung"]) == ("unhealthy", "prometheus")
    assert by_name(result)["local_alarms"]["source"] == "check_local_alarms"


def test_a_prometheus_endpoint_that_is_none_leads_to_amqp(run: Made) -> None:
    result = run(REFUSED, greets, metrics=lambda _seconds: Metrics("not_metrics", "404"))
    assert result["rung"] == "amqp"


def test_all_commands_together_are_bounded(run: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_health, "CLI_TIMEOUT", 0.05)
    given: list[float] = []

    def slow(argv: Sequence[str], seconds: float) -> Command:
        given.append(seconds)
        time.sleep(0.06)
        return GOOD

    result = run(REFUSED, greets, slow, cli=["rabbitmq-diagnostics"])
    assert given == [0.05]
    assert by_name(result)["reachable"]["source"] == "check_running"


def test_while_the_management_api_is_waited_for_the_others_are_asked(
    run: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_health, "PATIENCE", 0.0)
    asked = threading.Event()

    def probe(_target: Target) -> Probe:
        asked.set()
        return found("timed_out")

    def hangs() -> RequestFailed:
        assert asked.wait(60)
        return RequestFailed("timed_out", "GET /api/whoami: silence.")

    assert run([("/api/whoami", hangs)], probe)["verdict"] == "unhealthy"


def test_a_command_is_bounded_and_raises_nothing() -> None:
    assert run_command(["/nonexistent/tool"], 5.0).code is None
    assert "0.2 s" in run_command(["sleep", "5"], 0.2).text
    assert run_command(["echo", "x"], 60.0) == Command(0, "x\n")


def test_it_waits_until_healthy(run: Made, broker: Broker, clock: Any) -> None:
    result = run([*REFUSED, *broker.steps()], probe=lambda _target: found("refused"), wait_timeout=30)
    assert (result["verdict"], clock.sleeps, result["elapsed"]) == ("healthy", [1.0], 1.0)


def test_a_wait_that_ends_fails_with_the_same_keys(run: Made, broker: Broker, clock: Any) -> None:
    keys = set(run(broker.steps()))
    with pytest.raises(TimedOut) as timed_out:
        run(REFUSED * 4, probe=lambda _target: found("refused"), wait_timeout=2.5)
    assert clock.sleeps == [1.0, 1.0, 0.5]
    assert set(timed_out.value.details) == keys
    assert timed_out.value.details["elapsed"] == 2.5
    assert "Not healthy after 2.5 s" in timed_out.value.message
    assert "refused" in timed_out.value.message


def test_the_last_look_of_a_wait_is_short(run: Made, clock: Any) -> None:
    timeouts: list[float] = []

    def probe(target: Target) -> Probe:
        timeouts.append(target.timeout)
        return found("refused")

    def slow() -> RequestFailed:
        clock.sleep(2.0)
        return RequestFailed("timed_out", "GET /api/whoami: silence.")

    with pytest.raises(TimedOut):
        run([("/api/whoami", slow)] * 3, probe=probe, wait_timeout=6)
    assert timeouts == [3.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"wait_timeout": -1},
        {"certificate_days": 0},
        {"sample_seconds": -1},
        {"prometheus_port": 65536},
        {"checks": [{"name": "mine", "query": "a["}]},
        {"checks": [{"name": "alarms", "query": "a"}]},
        {"checks": [{"name": "mine", "query": "a"}, {"name": "mine", "query": "b"}]},
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(run: Made, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        run([], **wrong)


def test_main_answers_without_the_password(run_main: Made, served: Made) -> None:
    def refuse(connection: Any) -> None:
        connection.sendall(b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    port = int(served(refuse).rsplit(":", 1)[1])
    outcome = run_main(
        rabbitmq_health,
        login_port=port,
        login_host="127.0.0.1",
        login_password=PASSWORD,
        amqp_port=port,
        timeout=20.0,
        prometheus_port=port,
    )
    assert not outcome.failed
    assert outcome.result["management"]["outcome"] == "server_error"
    assert outcome.result["changed"] is False
    assert PASSWORD not in repr(outcome.result)


def test_main_fails_on_bad_input(run_main: Made) -> None:
    outcome = run_main(rabbitmq_health, timeout=0)
    assert outcome.failed
    assert "timeout: must be above 0" in outcome.result["msg"]


def test_the_documentation_names_every_check_and_parameter(reply: Callable[..., Reply]) -> None:
    documented = yaml.safe_load(rabbitmq_health.RETURN)
    names = "".join(documented["checks"]["contains"]["name"]["description"])
    assert all(f"V({name})" in names for name in NAMES)
    own = set(yaml.safe_load(rabbitmq_health.DOCUMENTATION)["options"])
    assert own <= set(rabbitmq_health.argument_spec())
