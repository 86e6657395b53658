# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules make of a broker with a fault: never a traceback, never a hang, and the right word for it.

All cases run side by side, because those whose fault is silence take their whole timeout.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _amqp_frames as amqp
from ansible_collections.veza.rabbitmq.plugins.module_utils._arguments import management_client
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._management import Management
from ansible_collections.veza.rabbitmq.plugins.module_utils._queues import Reader
from ansible_collections.veza.rabbitmq.plugins.modules import amqp_probe, queue_drain_wait, rabbitmq_health
from tests.unit.fake_broker import CLOSE_OK, HEALTH, TUNE, VHOST, Connection, FakeBroker, Fault, closing, start_frame

TIMEOUT = 2.0
LATE = 1.0
"""Seconds by which a module may miss its timeout."""

AT_ONCE = 1.5
"""What takes less has not waited for TIMEOUT."""

PASSWORD = "s3cret-never-shown"
LOGIN = {"login_host": "127.0.0.1", "login_user": "monitor", "login_password": PASSWORD, "vhost": "/veza"}
BIG = 300 * 1024 * 1024


def answers(status: int, body: bytes = b"", *headers: str) -> Fault:
    return lambda connection: connection.answer(status, body, "Connection: close", *headers)


def refuses(error: str, reason: str) -> Fault:
    return answers(401, json.dumps({"error": error, "reason": reason}).encode())


def silent(connection: Connection) -> None:
    connection.hold()


def silent_after_headers(connection: Connection) -> None:
    connection.answer(200, b"", length=1000)
    connection.hold()


def silent_in_the_body(connection: Connection) -> None:
    connection.answer(200, b'{"name": ', length=1000)
    connection.hold()


def reset(connection: Connection) -> None:
    connection.reset()


def reset_in_the_body(connection: Connection) -> None:
    connection.answer(200, b'{"name": ', length=1000)
    connection.reset()


def cut_short(connection: Connection) -> None:
    connection.answer(200, b'{"name": ', length=1000)


def dripping_body(connection: Connection) -> None:
    connection.answer(200, b"", length=1000)
    connection.drip(b" " * 1000)


def dripping_headers(connection: Connection) -> None:
    connection.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" * 10)


def endless_continue(connection: Connection) -> None:
    while not connection.over.wait(0.05):
        connection.say(b"HTTP/1.1 100 Continue\r\n\r\n")


def endless_headers(connection: Connection) -> None:
    connection.say(b"HTTP/1.1 200 OK\r\n")
    while not connection.over.is_set():
        connection.say(b"X-More: " + b"x" * 1000 + b"\r\n")


def hundreds_of_megabytes(connection: Connection) -> None:
    connection.answer(200, b'["', length=BIG)
    while connection.sent < BIG:
        connection.say(b"x" * 1_000_000)


def unpacks_to_hundreds_of_megabytes(connection: Connection) -> None:
    connection.answer(200, BOMB, "Content-Encoding: gzip")


def _bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = b"\0" * 1_000_000
    return b"".join([packer.compress(zeros) for _megabyte in range(BIG // len(zeros))]) + packer.flush()


BOMB = _bomb()


def takes_no_tls(connection: Connection) -> None:
    connection.sock.recv(65536)
    connection.answer(400, b"")


def speaks_tls(connection: Connection) -> None:
    connection.say(b"\x15\x03\x01\x00\x02\x02\x46")


def says(text: bytes) -> Fault:
    return lambda connection: connection.say(text)


def alarmed(resource: str) -> tuple[int, dict[str, Any]]:
    alarms = [{"node": "rabbit@mq", "resource": resource}]
    return 503, {"status": "failed", "reason": "There are alarms in effect in the cluster", "alarms": alarms}


HTML = b"<html><body>502 Bad Gateway</body></html>"
NOBODY = frozenset({"management", "prometheus", "amqp"})
ALONE = frozenset({"prometheus"})
"""Without the Prometheus endpoint, the lower rung is AMQP."""


@dataclass(frozen=True)
class Case:
    """A broker with a fault, and what rabbitmq_health must say of it; what is None or empty is not looked at."""

    verdict: str
    outcome: str = "ok"
    rung: str = "management"
    waits: bool = False
    """Whether silence makes it take its whole time."""
    unknown: frozenset[str] = frozenset()
    failed: frozenset[str] | None = frozenset()
    given: dict[str, Any] = field(default_factory=dict)
    traffic: Callable[[dict[str, Any]], bool] | None = None
    broker: dict[str, Any] = field(default_factory=dict)


def on(pattern: str, fault: Fault, **more: Any) -> dict[str, Any]:
    return {"faults": [(pattern, fault)], **more}


def at_all(fault: Fault, **more: Any) -> dict[str, Any]:
    return on("^/api/", fault, **more)


def other(path: str, document: Any) -> dict[str, Any]:
    return {"documents": {path: document}}


def named(*names: str) -> frozenset[str]:
    return frozenset(names)


def down(outcome: str, fault: Fault, waits: bool = False, **more: Any) -> Case:
    """The management API is no help, and AMQP is fine."""
    return Case("unknown", outcome, "amqp", waits, named("alarms", "vhost"), broker=at_all(fault, deaf=ALONE, **more))


def without(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in keys}


def healthy(path: str, version: str = "3.10.8") -> Any:
    return FakeBroker(version).healthy(path)


JOBS = f"/api/queues/{VHOST}/jobs"
NODE = healthy("/api/nodes")[0]
STUCK = {"messages": 7, "messages_ready": 3, "messages_unacknowledged": 4}
BLOCKED = [{"state": "blocked", "peer_host": "10.0.0.7"}, {"state": "blocking", "peer_host": "10.0.0.8"}, [], {}]

CASES: dict[str, Case] = {
    # shapes of a healthy one
    "3.10": Case("healthy"),
    "4.0": Case("healthy", broker={"version": "4.0.5"}),
    "4.1": Case("healthy", broker={"version": "4.1.2"}),
    "no Prometheus": Case(
        "healthy", broker={"deaf": ALONE}, traffic=lambda found: found["dropped"]["expired"] is None
    ),
    "another content type": Case(
        "healthy", broker=on("whoami", answers(200, b'{"name": "monitor", "tags": "monitoring"}', "Content-Type: x/y"))
    ),
    # the first request
    "silent": down("timed_out", silent, waits=True),
    "silent after headers": down("timed_out", silent_after_headers, waits=True),
    "silent in the body": down("timed_out", silent_in_the_body, waits=True),
    "one byte a second": down("timed_out", dripping_body, waits=True),
    "one byte of headers a second": down("timed_out", dripping_headers, waits=True),
    "continue, without end": down("timed_out", endless_continue, waits=True),
    "headers without end": down("reset", endless_headers),
    "reset": down("reset", reset),
    "reset in the body": down("reset", reset_in_the_body),
    "cut short": down("reset", cut_short),
    "nothing but a close": down("reset", says(b"")),
    "truncated JSON": down("not_management", answers(200, b'{"name": "moni')),
    "no JSON": down("not_management", answers(200, b"OK")),
    "empty 200": down("not_management", answers(200)),
    "HTML": down("not_management", answers(200, HTML)),
    "HTML 502": down("server_error", answers(502, HTML)),
    "HTML 401": down("not_management", answers(401, HTML)),
    "redirect": down("not_management", answers(302, b"", "Location: http://192.0.2.1/")),
    "redirect to nonsense": down("not_http", answers(301, b"", "Location: http://[")),
    "empty 500": down("server_error", answers(500)),
    "null": down("not_management", answers(200, b"null")),
    "[] for {}": down("not_management", answers(200, b"[]")),
    "brackets without end": down("not_management", answers(200, b"[" * 200_000)),
    "digits without end": down("not_management", answers(200, b"9" * 200_000)),
    "not UTF-8": down("not_management", answers(200, b'{"name": "\xff\xfe"}')),
    "chunks of nonsense": down("not_http", says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n")),
    "not HTTP": down("reset", says(b"220 mail.example ESMTP\r\n")),
    "TLS on the plain port": down("reset", speaks_tls),
    "hundreds of megabytes": down("not_http", hundreds_of_megabytes),
    "a small one that unpacks to them": down("not_http", unpacks_to_hundreds_of_megabytes),
    "plain on the TLS port": Case(
        "unknown", "tls_failed", "amqp", given={"login_protocol": "https"},
        broker={"deaf": ALONE, "accept": takes_no_tls},
    ),
    "silent before TLS": Case(
        "unknown", "timed_out", "amqp", waits=True, given={"login_protocol": "https"},
        broker={"deaf": ALONE, "accept": silent},
    ),
    "a wrong password, 3.10": Case(
        "unknown", "login_refused", "amqp", failed=named("authorised"),
        broker=at_all(refuses("not_authorized", "Login failed"), deaf=ALONE),
    ),
    "a wrong password, 4.0": Case(
        "unknown", "login_refused", "amqp", failed=named("authorised"),
        broker=at_all(refuses("not_authorized", "Not_Authorized"), deaf=ALONE),
    ),
    "a user without a tag": Case(
        "unknown", "not_permitted", "amqp", failed=named("authorised"),
        broker=at_all(refuses("not_authorised", "Not management user"), deaf=ALONE),
    ),
    "404 everywhere": down("not_found", answers(404, b'{"error": "Object Not Found", "reason": "Not Found"}')),
    # the lower rungs
    "nobody": Case("unhealthy", "refused", "none", failed=named("reachable", "listeners"), broker={"deaf": NOBODY}),
    "hung": Case(
        "unhealthy", "timed_out", "none", waits=True, failed=named("reachable", "listeners"),
        broker={"faults": [(".", silent)], "amqp": silent},
    ),
    "Prometheus has the alarms": Case(
        "unhealthy", "refused", "prometheus", failed=named("alarms", "local_alarms"),
        broker={"deaf": named("management"), "documents": {
            "/metrics": healthy("/metrics").replace("memory_used_watermark 0", "memory_used_watermark 1")}},
    ),
    "Prometheus is silent": Case("unknown", "refused", "amqp", waits=True,
                                 broker=on("metrics", silent, deaf=named("management"))),
    "Prometheus is silent, the rest is fine": Case("healthy", broker=on("metrics", silent)),
    "Prometheus is a web page": Case("unknown", "refused", "amqp",
                                     broker=on("metrics", answers(200, HTML), deaf=named("management"))),
    "Prometheus has hundreds of megabytes": Case(
        "unknown", "refused", "amqp", broker=on("metrics", hundreds_of_megabytes, deaf=named("management"))
    ),
    "Prometheus has strange figures": Case(
        "unknown", "refused", "prometheus",
        broker={"deaf": named("management"), "documents": {"/metrics": (
            'rabbitmq_build_info{rabbitmq_version="\\"x"} 1\nrabbitmq_process_max_fds 1e999\n'
            "rabbitmq_process_open_fds e\nrabbitmq_alarms_memory_used_watermark\n")}},
    ),
    # in the middle
    "hangs after the first": Case(
        "unknown", waits=True, unknown=named("identity", "vhost", "queues", "nodes_running"),
        broker=on("overview|nodes|vhosts|queues", silent),
    ),
    "hangs at the queues": Case("unknown", waits=True, unknown=named("queues", "listeners"),
                                broker=on(f"{JOBS}$", silent)),
    "hangs at the last": Case("healthy", waits=True, broker=on("connections", silent),
                              traffic=lambda found: found["connections"] is None),
    "hangs under an alarm": Case(
        "unhealthy", waits=True, failed=named("alarms"),
        broker={**other(f"{HEALTH}/alarms", alarmed("memory")), **on("overview", silent)},
    ),
    "drips in the middle": Case("unknown", waits=True, unknown=named("vhost"), broker=on("vhosts", dripping_body)),
    "resets in the middle": Case("unknown", unknown=named("vhost"), broker=on("vhosts", reset)),
    "empty 500 of the nodes": Case("unknown", unknown=named("nodes_running", "partitions", "file_descriptors"),
                                   broker=on("nodes", answers(500))),
    "huge list of vhosts": Case("unknown", unknown=named("vhost"), broker=on("vhosts", hundreds_of_megabytes)),
    "404 on the checks": Case("unknown", unknown=named("alarms", "local_alarms"),
                              broker=on(HEALTH, answers(404, b'{"error": "Object Not Found"}'))),
    "empty 404 on the checks": Case("unknown", unknown=named("alarms", "local_alarms"),
                                    broker=on(HEALTH, answers(404))),
    "500 on the checks": Case("unknown", unknown=named("alarms", "listeners"), broker=on(HEALTH, answers(500))),
    "alarm": Case("unhealthy", failed=named("alarms"), broker=other(f"{HEALTH}/alarms", alarmed("disk space"))),
    "not permitted in the middle": Case(
        "unknown", unknown=named("queues"),
        broker=on(JOBS, refuses("not_authorised", "User not authorised to access virtual host")),
    ),
    # documents
    "missing keys of the node": Case("unknown", unknown=named("nodes_running"), broker=other("/api/nodes", [{}])),
    "[] for a node": Case("unknown", unknown=named("nodes_running"), broker=other("/api/nodes", [[]])),
    "{} for the nodes": Case("unknown", unknown=named("nodes_running"), broker=other("/api/nodes", {})),
    "[] for the overview": Case("unknown", unknown=named("identity"), broker=other("/api/overview", [])),
    "{} for the overview": Case("healthy", broker=other("/api/overview", {})),
    "[] for the queue": Case("unknown", unknown=named("queues"), broker=other(JOBS, [])),
    "another queue": Case("unknown", unknown=named("queues"), broker=other(JOBS, {"name": "other", "messages": 0})),
    "a queue without counts": Case(
        "unknown", unknown=named("queues"), broker=other(JOBS, without(healthy(JOBS), "messages")),
        traffic=lambda found: found["queues"][0]["messages"] is None,
    ),
    "just booted": Case("healthy", broker={"documents": {
        JOBS: without(healthy(JOBS), "messages"), "/api/nodes": [{**NODE, "uptime": 3000}]}}),
    "a queue that is not there": Case("unhealthy", failed=named("queues"),
                                      broker=on(JOBS, answers(404, b'{"error": "Object Not Found"}'))),
    "a queue that is down": Case("unhealthy", failed=named("queues"),
                                 broker=other(JOBS, {"name": "jobs", "state": "down"})),
    "wrong vhost": Case("unhealthy", failed=named("vhost"), broker=other("/api/vhosts", [{"name": "/"}])),
    "stopped vhost": Case("unhealthy", failed=named("vhost"), broker=other(
        "/api/vhosts", [{"name": "/veza", "cluster_state": {"rabbit@mq": "stopped"}}])),
    "wrong node": Case("unhealthy", failed=named("identity"), given={"node": "rabbit@before"}),
    "stale zero of a classic queue": Case(
        "healthy", broker=other(f"/api/queues/{VHOST}", [{"name": "jobs", **STUCK}]), given={"sample_seconds": 0},
        traffic=lambda found: (found["queues"][0]["messages"], found["queues"][0]["age"]) == (7, 0.0),
    ),
    "false zero of a quorum queue": Case(
        "healthy", given={"sample_seconds": 0},
        broker={"version": "4.0.5", "documents": {JOBS: {**healthy(JOBS, "4.0.5"), **STUCK}}},
        traffic=lambda found: (found["queues"][0]["messages"], found["queues"][0]["age"]) == (7, 10.0),
    ),
    "a worker that does nothing": Case(
        "healthy", given={"sample_seconds": 1.0},
        broker={"documents": {JOBS: {**healthy(JOBS), **STUCK}, f"/api/queues/{VHOST}": [{"name": "jobs", **STUCK}]}},
        traffic=lambda found: (found["seconds"] >= 1.0, found["queues"][0]["acked"]) == (True, 0),
    ),
    "blocked publishers": Case(
        "healthy", broker=other("/api/connections", {"items": BLOCKED, "total_count": 900}),
        traffic=lambda found: (found["connections"]["total"], found["connections"]["blocked"]) == (900, 1),
    ),
    "dead letters to nowhere": Case(
        "healthy", broker=other(f"/api/bindings/{VHOST}", []),
        traffic=lambda found: (found["queues"][0]["dead_letter_target"], len(found["queues"]))
        == ("veza.dead_letters", 1),
    ),
    "thousands of queues": Case(
        "healthy", broker={"version": "4.0.5", "documents": {
            "/api/overview": {**healthy("/api/overview", "4.0.5"), "object_totals": {"queues": 9000}},
            f"{JOBS}/bindings": healthy(f"/api/bindings/{VHOST}")[:2],
            f"/api/exchanges/{VHOST}/veza.dead_letters/bindings/source": healthy(f"/api/bindings/{VHOST}")[2:]}},
        traffic=lambda found: [queue["name"] for queue in found["queues"]] == ["jobs", "jobs.dlq"],
    ),
}  # fmt: skip


def look(broker: FakeBroker, given: dict[str, Any]) -> dict[str, Any]:
    """Run rabbitmq_health's own code."""
    defaults = {name: option.get("default") for name, option in rabbitmq_health.argument_spec().items()}
    ports = {"login_port": broker.ports["management"], "prometheus_port": broker.ports["prometheus"]}
    wanted = {"amqp_port": broker.ports["amqp"], "queues": ["jobs"], "timeout": TIMEOUT}
    params = {**defaults, **LOGIN, **ports, **wanted, **given}
    return rabbitmq_health.run(params, rabbitmq_health.rungs_of(params))


def probe(broker: FakeBroker, given: dict[str, Any]) -> dict[str, Any]:
    """Run amqp_probe's own code."""
    defaults = {name: option.get("default") for name, option in amqp_probe.argument_spec().items()}
    port = {"login_port": broker.ports["amqp"], "timeout": TIMEOUT, "slow_after": 60.0}
    return amqp_probe.run({**defaults, **LOGIN, **port, **given}, False)


def drain(broker: FakeBroker, given: dict[str, Any]) -> dict[str, Any]:
    """Run one look of queue_drain_wait's own code; what it refuses to wait for is its message."""
    defaults = {name: option.get("default") for name, option in queue_drain_wait.argument_spec().items()}
    port = {"login_port": broker.ports["management"], "request_timeout": TIMEOUT, "queues": ["jobs"]}
    params = {**defaults, **LOGIN, **port, "timeout": TIMEOUT, **given}
    management = Management(management_client(params, TIMEOUT), params["login_user"])
    try:
        return queue_drain_wait.run(params, True, Reader(management, params["vhost"]).look)
    except VezaError as error:
        return {"drained": None, **error.fail_json_arguments()}


def then(*frames: bytes, end: Fault = silent) -> Fault:
    """Greet, and after the login say this."""

    def serve(connection: Connection) -> None:
        connection.say(start_frame())
        connection.hear("connection.start-ok")
        connection.say(b"".join(frames))
        end(connection)

    return serve


def slow_frames(connection: Connection) -> None:
    connection.drip(start_frame())


def heartbeats(connection: Connection) -> None:
    connection.say(start_frame())
    while not connection.over.wait(0.02):
        connection.say(amqp.frame(amqp.HEARTBEAT, 0, b""))


def flood_of_heartbeats(connection: Connection) -> None:
    connection.say(start_frame())
    while not connection.over.is_set():
        connection.say(amqp.frame(amqp.HEARTBEAT, 0, b"") * 1000)


def login_with(code: int, text: str) -> Fault:
    """Refuse to open the virtual host."""

    def serve(connection: Connection) -> None:
        connection.say(start_frame())
        connection.hear("connection.start-ok")
        connection.say(TUNE)
        connection.hear("connection.tune-ok", "connection.open")
        connection.say(closing(code, text))
        connection.hold()

    return serve


NOWHERE = "NOT_ALLOWED - vhost /veza not found"
NOT_HIS = "NOT_ALLOWED - access to vhost '/veza' refused for user 'monitor'"

# What the AMQP port does: outcome of amqp_probe, whether it takes its whole time.
AMQP: dict[str, tuple[Fault | None, str, bool]] = {
    "fine": (None, "ok", False),
    "silent": (silent, "timed_out", True),
    "closed": (says(b""), "reset", False),
    "reset": (reset, "reset", False),
    "garbage": (says(b"\x00\x01garbage"), "not_amqp", False),
    "a web server": (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "not_amqp", False),
    "TLS": (speaks_tls, "tls_expected", False),
    "0-9-1 header": (says(amqp.HEADER), "header_refused", False),
    "1.0 header": (says(b"AMQP\x03\x01\x00\x00"), "header_refused", False),
    "closes in the handshake": (then(end=lambda _connection: None), "reset", False),
    "resets in the handshake": (then(end=reset), "reset", False),
    "silent after the greeting": (then(), "timed_out", True),
    "403": (then(closing(403, "ACCESS_REFUSED - Login was refused")), "login_refused", False),
    "530, no vhost": (login_with(530, NOWHERE), "vhost_missing", False),
    "530, no permission": (login_with(530, NOT_HIS), "vhost_refused", False),
    "one byte a second": (slow_frames, "timed_out", True),
    "heartbeats only": (heartbeats, "timed_out", True),
    "heartbeats without end": (flood_of_heartbeats, "timed_out", True),
    "oversized frame": (says(b"\x01\x00\x00\x7f\xff\xff\xff" + b"x" * 100), "not_amqp", False),
    "half a frame": (says(start_frame()[:40]), "reset", False),
    "wrong end of frame": (says(start_frame()[:-1] + b"\x00"), "not_amqp", False),
    "empty method": (says(amqp.frame(amqp.METHOD, 0, b"")), "not_amqp", False),
    "greeting without properties": (says(amqp.method("connection.start", 0, b"\0\x09")), "not_amqp", False),
    "close-ok that nobody asked for": (says(CLOSE_OK), "not_amqp", False),
}  # fmt: skip

GREETS = named(
    "fine", "closes in the handshake", "resets in the handshake", "silent after the greeting", "403",
    "530, no vhost", "530, no permission", "heartbeats only", "heartbeats without end",
)  # fmt: skip
"""Those that greet as a broker does."""

# What one look of queue_drain_wait says: drained (None: it refuses to wait), whether it takes its whole time.
DRAIN: dict[str, tuple[dict[str, Any], bool | None, bool]] = {
    "drained": ({}, True, False),
    "silent": (at_all(silent), False, True),
    "one byte a second": (at_all(dripping_body), False, True),
    "hangs at the queue": (on(JOBS, silent), False, True),
    "reset": (at_all(reset), False, False),
    "empty 500": (at_all(answers(500)), False, False),
    "HTML": (at_all(answers(200, HTML)), None, False),
    "a wrong password": (at_all(refuses("not_authorized", "Login failed")), None, False),
    "truncated JSON": (on(JOBS, answers(200, b'{"name": "jobs", "mess')), None, False),
    "brackets without end": (on(JOBS, answers(200, b"[" * 200_000)), None, False),
    "[] for the queue": (other(JOBS, []), False, False),
    "missing keys": (other(JOBS, without(healthy(JOBS), "messages")), False, False),
    "wrong vhost": (on("queues", answers(404, b'{"error": "Object Not Found"}')), None, False),
    "stale zero": (other(f"/api/queues/{VHOST}", [{"name": "jobs", **STUCK}]), False, False),
    "just booted": (other("/api/nodes", [{**NODE, "uptime": 3000}]), False, False),
    "strange uptime": (other("/api/nodes", [{**NODE, "uptime": "long"}, []]), False, False),
}  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """What came of a case; ``took`` is in seconds."""

    result: dict[str, Any]
    took: float
    most_sent: int


Run = Callable[[FakeBroker, dict[str, Any]], dict[str, Any]]


def once(run: Run, broker: dict[str, Any], given: dict[str, Any]) -> Ran:
    with FakeBroker(**broker).running() as fake:
        began = time.monotonic()
        result = run(fake, given)
        return Ran(result, time.monotonic() - began, fake.most_sent)


PLAN: dict[tuple[str, str], tuple[Run, dict[str, Any], dict[str, Any]]] = {
    **{("health", name): (look, case.broker, case.given) for name, case in CASES.items()},
    **{("probe", name): (probe, {"amqp": fault}, {}) for name, (fault, *_rest) in AMQP.items()},
    **{("greeting", name): (look, {"amqp": fault, "deaf": named("management", "prometheus")}, {})
       for name, (fault, *_rest) in AMQP.items()},
    **{("drain", name): (drain, broker, {}) for name, (broker, *_rest) in DRAIN.items()},
}  # fmt: skip


@pytest.fixture(scope="module")
def ran() -> Iterator[Callable[[str, str], Ran]]:
    """Return what came of a case; all have been started."""
    with ThreadPoolExecutor(8) as pool:
        started: dict[tuple[str, str], Future[Ran]] = {key: pool.submit(once, *plan) for key, plan in PLAN.items()}

        def result(kind: str, name: str, waits: bool) -> Ran:
            found = started[kind, name].result()
            due = TIMEOUT + LATE if waits else AT_ONCE
            for _again in range(3):
                if found.took < due:
                    break
                # On a busy machine it may have waited for its turn: alone it does not.
                for future in started.values():
                    future.exception()
                found = once(*PLAN[kind, name])
            assert PASSWORD not in json.dumps(found.result)
            assert found.took < due
            assert found.most_sent < 64 * 1024 * 1024
            return found

        yield result


@pytest.mark.parametrize("name", CASES)
def test_rabbitmq_health(ran: Callable[..., Ran], name: str) -> None:
    case = CASES[name]
    result = ran("health", name, case.waits or case.given.get("sample_seconds", 0) > 0).result
    assert (result["verdict"], result["management"]["outcome"], result["rung"]) == (
        case.verdict, case.outcome, case.rung,
    ), result["reason"]  # fmt: skip
    assert case.unknown <= set(result["unknown"])
    failed = {check["name"] for check in result["checks"] if check["result"] == "fail"}
    assert failed == case.failed
    assert (result["traffic"] is None) == (case.rung != "management")
    if case.traffic:
        assert case.traffic(result["traffic"]), result["traffic"]


@pytest.mark.parametrize("name", AMQP)
def test_amqp_probe(ran: Callable[..., Ran], name: str) -> None:
    _fault, outcome, waits = AMQP[name]
    assert ran("probe", name, waits).result["outcome"] == outcome


@pytest.mark.parametrize("name", AMQP)
def test_rabbitmq_health_by_the_greeting_alone(ran: Callable[..., Ran], name: str) -> None:
    _fault, outcome, _waits = AMQP[name]
    result = ran("greeting", name, True).result
    hung = outcome in ("timed_out", "reset") and name not in GREETS
    assert result["rung"] == ("amqp" if name in GREETS else "none")
    assert result["verdict"] == ("unhealthy" if hung else "unknown")


@pytest.mark.parametrize("name", DRAIN)
def test_queue_drain_wait(ran: Callable[..., Ran], name: str) -> None:
    _broker, drained, waits = DRAIN[name]
    assert ran("drain", name, waits).result["drained"] is drained
