# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module rabbitmq_health against a real broker in each of its states."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pika
import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _health
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import TimedOut
from ansible_collections.veza.rabbitmq.plugins.modules import rabbitmq_health
from tests.lab import broker, processes
from tests.lab.state import Lab

QUEUES = ["transcode_jobs", "dmca_propagation"]

PATIENCE = 120.0
"""Seconds after which something has gone wrong, however busy the machine is."""

LONG = 60.0
"""Seconds that a request may take: a busy machine does not need so many."""

AT_ONCE = 20.0
"""What takes less than this has not waited for a deadline of LONG."""


def look(lab: Lab, user: str | tuple[str, str] = "monitor", **given: Any) -> dict[str, Any]:
    """Run the module's own code as a user of the lab."""
    defaults = {name: option.get("default") for name, option in rabbitmq_health.argument_spec().items()}
    account = lab.credentials[user] if isinstance(user, str) else {"user": user[0], "password": user[1]}
    params = {
        **defaults,
        "login_host": "127.0.0.1",
        "login_port": lab.ports["management"],
        "login_user": account["user"],
        "login_password": account["password"],
        "amqp_port": lab.ports["amqp"],
        "vhost": broker.VHOST,
        "queues": QUEUES,
        "prometheus_port": lab.ports["prometheus"],
        "timeout": LONG,
        **given,
    }
    result = rabbitmq_health.run(params, rabbitmq_health.rungs_of(params))
    assert account["password"] not in repr(result)
    return result


def check(result: dict[str, Any], name: str) -> dict[str, Any]:
    return next(check for check in result["checks"] if check["name"] == name)


def failed(result: dict[str, Any]) -> list[str]:
    return [check["name"] for check in result["checks"] if check["result"] == "fail"]


@contextmanager
def account(lab: Lab, *, tag: str, vhost: str | None) -> Iterator[tuple[str, str]]:
    """A user for one test."""
    name = "short-lived"
    broker.api(lab, "PUT", f"/api/users/{name}", {"password": "s3cret-never-shown", "tags": tag})
    if vhost:
        nothing = {"configure": "^$", "write": "^$", "read": "^$"}
        broker.api(lab, "PUT", f"/api/permissions/{vhost.replace('/', '%2F')}/{name}", nothing)
    try:
        yield name, "s3cret-never-shown"
    finally:
        broker.api(lab, "DELETE", f"/api/users/{name}")


@contextmanager
def down(lab: Lab) -> Iterator[None]:
    """Kill the broker; it serves again afterwards."""
    broker.kill(lab)
    try:
        yield
    finally:
        broker.start(lab)


def test_a_healthy_broker(bare_lab: Lab) -> None:
    mine = [{"name": "mine", "query": "queues.transcode_jobs.state", "expect": "running"}]
    result = look(bare_lab, settled=True, wait_timeout=PATIENCE, node=broker.node_name(bare_lab), checks=mine)
    assert (result["verdict"], result["rung"], result["unknown"]) == ("healthy", "management", []), result["reason"]
    assert result["broker"]["node"] == broker.node_name(bare_lab)
    assert check(result, "mine")["result"] == "pass"
    assert result["elapsed"] < PATIENCE


ALARMS = {
    "memory": (("set_vm_memory_high_watermark", "absolute", "1MB"), ("set_vm_memory_high_watermark", "0.4")),
    "disk space": (("set_disk_free_limit", "900000GB"), ("set_disk_free_limit", "50MB")),
}


@pytest.mark.parametrize("resource", ALARMS)
def test_never_healthy_under_an_alarm(bare_lab: Lab, resource: str) -> None:
    set_it, clear_it = ALARMS[resource]
    bare_lab.rabbitmqctl(*set_it)
    try:
        result = look(bare_lab)
        assert result["verdict"] == "unhealthy"
        assert failed(result) == ["alarms", "local_alarms"]
        assert f"{resource} on {broker.node_name(bare_lab)}" in result["reason"]
    finally:
        bare_lab.rabbitmqctl(*clear_it)
    assert look(bare_lab, wait_timeout=PATIENCE)["verdict"] == "healthy"


def test_a_killed_broker(bare_lab: Lab) -> None:
    with down(bare_lab):
        result = look(bare_lab)
        assert (result["verdict"], result["rung"]) == ("unhealthy", "none")
        # For some milliseconds a killed process's listening socket still accepts, and then resets.
        assert result["management"]["outcome"] in ("refused", "reset")
        assert result["elapsed"] < AT_ONCE
        with pytest.raises(TimedOut) as timed_out:
            look(bare_lab, wait_timeout=2)
        assert 2 <= timed_out.value.details["elapsed"] < AT_ONCE
        assert set(timed_out.value.details) == set(result)


def test_after_a_boot_the_counts_come_late_and_are_waited_for(bare_lab: Lab) -> None:
    # The counts come five seconds after the boot; a busy machine may not let us look before: then once more.
    for _boot in range(3):
        with down(bare_lab):
            pass
        first = look(bare_lab, settled=True)
        early = look(bare_lab)
        assert early["verdict"] in ("healthy", "unknown")
        if first["verdict"] == "unknown":
            break
    assert first["verdict"] == "unknown"
    settled = look(bare_lab, settled=True, wait_timeout=PATIENCE)
    assert settled["verdict"] == "healthy"
    assert "count not yet" not in check(settled, "queues")["detail"]


def test_a_hung_broker_costs_one_timeout(bare_lab: Lab) -> None:
    process = bare_lab.running("broker")
    assert process is not None
    process.freeze()
    try:
        began = time.monotonic()
        result = look(bare_lab, timeout=8.0)
        assert time.monotonic() - began < 15.5
        assert (result["verdict"], result["rung"]) == ("unhealthy", "none")
        assert result["management"]["outcome"] == "timed_out"
    finally:
        process.send(signal.SIGCONT)
    assert processes.wait_until(lambda: look(bare_lab)["verdict"] == "healthy", PATIENCE, 1.0)


def test_without_the_management_plugin_amqp_answers(bare_lab: Lab) -> None:
    nobody = bare_lab.ports["backend-5"]  # nothing listens there in this lab
    result = look(bare_lab, login_port=nobody, prometheus_port=nobody)
    assert (result["verdict"], result["rung"]) == ("unknown", "amqp")
    assert result["broker"]["version"] == broker.api(bare_lab, "GET", "/api/overview")["rabbitmq_version"]
    assert {"alarms", "vhost", "queues"} <= set(result["unknown"])
    assert result["traffic"] is None


def test_without_the_management_plugin_prometheus_knows_the_alarms(bare_lab: Lab) -> None:
    elsewhere: dict[str, Any] = {"login_port": bare_lab.ports["backend-5"], "node": broker.node_name(bare_lab)}
    result = look(bare_lab, **elsewhere)
    assert (result["verdict"], result["rung"]) == ("unknown", "prometheus")
    assert result["broker"]["node"] == broker.node_name(bare_lab)
    passed = {check["name"] for check in result["checks"] if check["result"] == "pass"}
    assert passed == {"reachable", "identity", "local_alarms", "file_descriptors", "listeners"}
    set_it, clear_it = ALARMS["disk space"]
    bare_lab.rabbitmqctl(*set_it)
    try:
        result = look(bare_lab, **elsewhere)
        assert (result["verdict"], failed(result)) == ("unhealthy", ["alarms", "local_alarms"])
        assert f"disk space on {broker.node_name(bare_lab)}" in result["reason"]
    finally:
        bare_lab.rabbitmqctl(*clear_it)
    assert look(bare_lab, wait_timeout=PATIENCE)["verdict"] == "healthy"


def test_the_prometheus_endpoint_comes_before_the_command_line_but_knows_less(
    bare_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_health, "CLI_TIMEOUT", PATIENCE)  # each command starts an Erlang VM
    tool = [str(bare_lab.dir / "bin" / "rabbitmq-diagnostics")]
    result = look(bare_lab, login_port=bare_lab.ports["backend-5"], cli=tool)
    assert result["rung"] == "prometheus"
    assert {check(result, name)["source"] for name in ("alarms", "local_alarms")} == {
        "check_alarms",
        "check_local_alarms",
    }


def test_the_command_line_rung(bare_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_health, "CLI_TIMEOUT", PATIENCE)  # each command starts an Erlang VM
    tool = [str(bare_lab.dir / "bin" / "rabbitmq-diagnostics")]
    nobody = bare_lab.ports["backend-5"]
    elsewhere: dict[str, Any] = {"login_port": nobody, "prometheus_port": nobody, "cli": tool}
    result = look(bare_lab, **elsewhere)
    assert (result["verdict"], result["rung"]) == ("unknown", "cli")
    answered = {check(result, name)["result"] for name in ("reachable", "alarms", "local_alarms", "listeners")}
    assert answered == {"pass"}
    set_it, clear_it = ALARMS["memory"]
    bare_lab.rabbitmqctl(*set_it)
    try:
        result = look(bare_lab, **elsewhere)
        assert (result["verdict"], failed(result)) == ("unhealthy", ["alarms", "local_alarms"])
        assert "Memory alarm" in result["reason"]
    finally:
        bare_lab.rabbitmqctl(*clear_it)


def test_a_wrong_password_and_a_user_without_a_tag_are_not_down(bare_lab: Lab) -> None:
    monitor = bare_lab.credentials["monitor"]["user"]
    wrong = look(bare_lab, (monitor, "wrong-password"))
    assert (wrong["verdict"], wrong["management"]["outcome"], wrong["rung"]) == (
        "unknown",
        "login_refused",
        "prometheus",
    )
    assert failed(wrong) == ["authorised"]
    untagged = look(bare_lab, "veza")
    assert (untagged["verdict"], untagged["management"]["outcome"]) == ("unknown", "not_permitted")
    assert "needs the tag monitoring" in untagged["reason"]


def test_a_monitoring_user_without_the_vhost_does_not_see_nothing_for_all(bare_lab: Lab) -> None:
    with account(bare_lab, tag="monitoring", vhost=None) as user:
        result = look(bare_lab, user)
        assert (result["verdict"], result["unknown"]) == ("unknown", ["queues"])
        assert "set_permissions" in check(result, "queues")["detail"]
    with account(bare_lab, tag="management", vhost=broker.VHOST) as user:
        result = look(bare_lab, user)
        assert (result["verdict"], result["unknown"]) == (
            "unknown",
            ["nodes_running", "partitions", "file_descriptors"],
        )
    with account(bare_lab, tag="monitoring", vhost=broker.VHOST) as user:
        assert look(bare_lab, user)["verdict"] == "healthy"


def test_what_is_expected_and_missing(bare_lab: Lab) -> None:
    no_vhost = look(bare_lab, vhost="/nosuch")
    assert (no_vhost["verdict"], failed(no_vhost)) == ("unhealthy", ["vhost", "queues"])
    assert "'/nosuch' does not exist" in no_vhost["reason"]
    no_queue = look(bare_lab, queues=[*QUEUES, "nosuch"])
    assert (no_queue["verdict"], failed(no_queue)) == ("unhealthy", ["queues"])
    assert "'nosuch' does not exist" in no_queue["reason"]
    renamed = look(bare_lab, node="rabbit@before")
    assert (renamed["verdict"], failed(renamed)) == ("unhealthy", ["identity"])
    closed = look(bare_lab, amqp_port=1)
    assert (closed["verdict"], failed(closed)) == ("unhealthy", ["listeners"])


Q, DLQ = "transcode_jobs", "transcode_jobs.dlq"


@contextmanager
def channel(lab: Lab) -> Iterator[Any]:
    account = pika.PlainCredentials(lab.credentials["veza"]["user"], lab.credentials["veza"]["password"])
    where = pika.ConnectionParameters("127.0.0.1", lab.ports["amqp"], broker.VHOST, account, heartbeat=0)
    connection = pika.BlockingConnection(where)
    try:
        yield connection.channel()
    finally:
        if connection.is_open:
            connection.close()


@contextmanager
def emptied(lab: Lab, *names: str) -> Iterator[Any]:
    """A channel; afterwards these queues are empty and messages that it held are gone with them."""
    with channel(lab) as opened:
        try:
            yield opened
        finally:
            opened.close()
            for name in names:
                broker.api(lab, "DELETE", f"/api/queues/{broker.VHOST.replace('/', '%2F')}/{name}/contents")


def publish(opened: Any, count: int, key: str = Q) -> None:
    for _number in range(count):
        opened.basic_publish("", key, b"x", pika.BasicProperties(delivery_mode=2))


def reject_one(opened: Any) -> bool:
    """Reject a message, if there is one; those of a consumer that went come back a moment later."""
    method, _properties, _body = opened.basic_get(Q)
    if method:
        opened.basic_nack(method.delivery_tag, requeue=False)
    return bool(method)


def seen_until(lab: Lab, holds: Callable[[dict[str, Any]], bool], **given: Any) -> dict[str, Any]:
    """Return a queue's traffic as soon as this holds."""
    found: dict[str, Any] = {}

    def look_again() -> bool:
        found.clear()
        found.update(look(lab, **{"queues": [Q], **given})["traffic"])
        return holds(found)

    assert processes.wait_until(look_again, PATIENCE, 0.5), found
    return found


def listed(lab: Lab) -> tuple[int, int, int]:
    """Return ready, unacked and consumers as rabbitmqctl sees them."""
    printed = lab.rabbitmqctl(
        *("-q", "list_queues", "-p", broker.VHOST, "--no-table-headers"),
        *("name", "messages_ready", "messages_unacknowledged", "consumers"),
    )
    line = next(line.split() for line in printed.splitlines() if line.split()[:1] == [Q])
    return int(line[1]), int(line[2]), int(line[3])


def test_traffic_of_an_idle_broker_costs_one_look(bare_lab: Lab) -> None:
    with emptied(bare_lab, Q) as opened:
        for name in QUEUES:
            opened.basic_consume(name, lambda *_arguments: None)
        opened.connection.process_data_events(1.0)
        named = {"queues": list(QUEUES)}
        seen_until(bare_lab, lambda found: all(one["consumers"] for one in found["queues"] if not one["of"]), **named)
        traffic = look(bare_lab, settled=True)["traffic"]
    assert traffic["seconds"] == 0.0
    names = [(queue["name"], queue["of"]) for queue in traffic["queues"]]
    assert names == [(name, None) for name in QUEUES] + [(f"{name}.dlq", name) for name in QUEUES]
    first = traffic["queues"][0]
    assert (first["messages"], first["age"], first["bindings"], first["dead_letter_target"]) == (0, 0.0, 1, DLQ)
    assert {name: entry["source"] for name, entry in traffic["dropped"].items()} == dict.fromkeys(
        traffic["dropped"], "prometheus"
    )
    assert traffic["nodes"][0]["name"] == broker.node_name(bare_lab)
    assert traffic["nodes"][0]["mem_limit"] > 0


def test_traffic_of_a_wedged_worker(bare_lab: Lab) -> None:
    with emptied(bare_lab, Q) as opened:
        publish(opened, 7)
        opened.basic_qos(prefetch_count=3)
        opened.basic_consume(Q, lambda *_arguments: None)
        opened.connection.process_data_events(1.0)
        traffic = seen_until(bare_lab, lambda found: found["queues"][0]["consumers"] == 1)
        queue = traffic["queues"][0]
        assert (queue["ready"], queue["unacked"], queue["consumers"]) == listed(bare_lab) == (4, 3, 1)
        assert traffic["seconds"] >= 6.0
        assert (queue["acked"], queue["grown"], queue["consumer_hosts"]) == (0, 0, ["127.0.0.1"])
        assert look(bare_lab, queues=[Q], sample_seconds=0)["traffic"]["seconds"] == 0.0


def test_traffic_that_moves_ends_the_second_look_early(bare_lab: Lab) -> None:
    with emptied(bare_lab, Q) as opened:
        publish(opened, 400)
        opened.basic_qos(prefetch_count=1)
        ended = threading.Event()

        def work() -> None:
            for method, _properties, _body in opened.consume(Q, inactivity_timeout=0.1):
                if ended.is_set():
                    return
                if method:
                    opened.basic_ack(method.delivery_tag)
                    ended.wait(0.1)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            # A look either has proof of acks, or waits for it.
            traffic = seen_until(bare_lab, lambda found: found["seconds"] > 0 and bool(found["queues"][0]["acked"]))
            assert traffic["seconds"] < PATIENCE
            seen_until(bare_lab, lambda found: found["seconds"] == 0.0)
        finally:
            ended.set()
            worker.join()


def test_traffic_of_poison_and_of_dead_letters(bare_lab: Lab) -> None:
    with emptied(bare_lab, Q, DLQ) as opened:
        publish(opened, 3)
        consumer, ended = opened.connection.channel(), threading.Event()
        consumer.basic_qos(prefetch_count=1)

        def requeue() -> None:
            for method, _properties, _body in consumer.consume(Q, inactivity_timeout=0.1):
                if ended.is_set():
                    return
                if method:
                    consumer.basic_nack(method.delivery_tag, requeue=True)
                    ended.wait(0.05)

        worker = threading.Thread(target=requeue)
        worker.start()
        try:
            traffic = seen_until(bare_lab, lambda found: bool(found["queues"][0]["redelivered_count"]))
            queue = traffic["queues"][0]
            assert (queue["acked"], queue["redelivered"], queue["delivered"] > 0) == (0, True, True)
        finally:
            ended.set()
            worker.join()
        consumer.close()
        before = look(bare_lab, queues=[Q], sample_seconds=0)["traffic"]["dropped"]["rejected"]
        for _number in range(3):
            assert processes.wait_until(lambda: reject_one(opened), PATIENCE, 0.1)
        traffic = seen_until(bare_lab, lambda found: found["queues"][1]["messages"] == 3, sample_seconds=0)
        assert (traffic["queues"][1]["name"], traffic["queues"][1]["of"]) == (DLQ, Q)
        rejected = traffic["dropped"]["rejected"]
        assert (rejected["total"] - before["total"], rejected["discarded"]) == (3, before["discarded"])


def test_traffic_that_is_dropped(bare_lab: Lab) -> None:
    vhost = broker.VHOST.replace("/", "%2F")
    policy = {"pattern": "^limited$", "definition": {"message-ttl": 1, "max-length": 5}, "apply-to": "queues"}
    broker.api(bare_lab, "PUT", f"/api/policies/{vhost}/limited", policy)
    try:
        with emptied(bare_lab) as opened:
            before = look(bare_lab, sample_seconds=0)["traffic"]["dropped"]
            opened.queue_declare("limited", durable=True, arguments={"x-max-length": 9})
            publish(opened, 4, "limited")
            opened.confirm_delivery()
            publish(opened, 2, "nosuch")
            with suppress(pika.exceptions.UnroutableError):
                opened.basic_publish("", "nosuch", b"x", mandatory=True)
            result: dict[str, Any] = {}

            def counted() -> bool:
                result.update(look(bare_lab, queues=["limited"], sample_seconds=0)["traffic"])
                expired = result["dropped"]["expired"]["total"] - before["expired"]["total"]
                return bool(expired == 4 and result["queues"][0]["policy"])

            assert processes.wait_until(counted, PATIENCE, 0.5)
        dropped = result["dropped"]
        grown = {name: dropped[name]["total"] - before[name]["total"] for name in dropped}
        assert grown == {
            "expired": 4, "maxlen": 0, "rejected": 0, "delivery_limit": 0, "unroutable": 2, "returned": 1,
        }  # fmt: skip
        assert dropped["expired"]["discarded"] - before["expired"]["discarded"] == 4
        assert result["queues"][0]["limits"] == {
            "ttl": 1, "max_length": 5, "max_bytes": None, "delivery_limit": None,
        }  # fmt: skip
        without = look(bare_lab, prometheus_port=bare_lab.ports["backend-5"])["traffic"]["dropped"]
        assert without["expired"] is None
        assert without["unroutable"]["source"] == "/api/overview"
    finally:
        broker.api(bare_lab, "DELETE", f"/api/queues/{vhost}/limited")
        broker.api(bare_lab, "DELETE", f"/api/policies/{vhost}/limited")


def test_traffic_of_blocked_publishers_and_of_dead_letters_to_nowhere(bare_lab: Lab) -> None:
    vhost = broker.VHOST.replace("/", "%2F")
    set_it, clear_it = ALARMS["memory"]
    with emptied(bare_lab) as opened:
        opened.queue_declare("lost", durable=True, arguments={"x-dead-letter-exchange": "nosuch"})
        bare_lab.rabbitmqctl(*set_it)
        try:
            publish(opened, 1)
            traffic = seen_until(bare_lab, lambda found: found["connections"]["blocked"] == 1)
            assert traffic["connections"]["by_host"]["127.0.0.1"]["blocked"] == 1
            lost = look(bare_lab, queues=["lost"])["traffic"]["queues"]
            assert [(queue["name"], queue["dead_letter_target"]) for queue in lost] == [("lost", "nosuch")]
        finally:
            bare_lab.rabbitmqctl(*clear_it)
            broker.api(bare_lab, "DELETE", f"/api/queues/{vhost}/lost")
            broker.api(bare_lab, "DELETE", f"/api/queues/{vhost}/{Q}/contents")
    assert look(bare_lab, wait_timeout=PATIENCE)["verdict"] == "healthy"


def test_traffic_is_not_told_while_waiting_nor_of_no_queue(bare_lab: Lab) -> None:
    assert look(bare_lab, wait_timeout=PATIENCE)["traffic"] is None
    assert look(bare_lab, queues=[])["traffic"] is None
