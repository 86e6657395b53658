# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A broker on loopback that is healthy but for what a test takes from it: management API, Prometheus endpoint, AMQP.

A fault is a function that gets the connection, after the request or the protocol header was read, instead of the
answer. Whatever it does, it is over with the test.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.module_utils import _amqp_frames as amqp

HEALTH = "/api/health/checks"
VHOST = "%2Fveza"


def documents(version: str) -> dict[str, Any]:
    """Return what a healthy broker of a version answers, by path; a status and a document where it is not 200."""
    four = version.startswith("4")
    node: dict[str, Any] = {
        "name": "rabbit@mq", "type": "disc", "running": True, "partitions": [], "fd_used": 40, "fd_total": 65536,
        "mem_used": 1 << 27, "mem_limit": 1 << 32, "mem_alarm": False, "disk_free_alarm": False, "uptime": 600_000,
    }  # fmt: skip
    if four:
        node["being_drained"] = False
    overview = {
        "node": "rabbit@mq", "rabbitmq_version": version, "erlang_version": "25.2.3", "cluster_name": "veza",
        "object_totals": {"queues": 2, "connections": 1},
    }  # fmt: skip
    dead = {"x-dead-letter-exchange": "veza.dead_letters", "x-dead-letter-routing-key": "jobs.dlq"}
    jobs = {**_queue("jobs"), "consumers": 1, "arguments": dead}
    jobs["consumer_details"] = [{"channel_details": {"peer_host": "10.0.0.7"}}]
    if four:
        jobs["type"], jobs["arguments"] = "quorum", {**dead, "x-queue-type": "quorum"}
    bindings = [
        {"source": "", "destination": "jobs", "destination_type": "queue", "routing_key": "jobs"},
        {"source": "veza.events", "destination": "jobs", "destination_type": "queue", "routing_key": "jobs"},
        {"source": "veza.dead_letters", "destination": "jobs.dlq", "destination_type": "queue",
         "routing_key": "jobs.dlq"},
    ]  # fmt: skip
    connections = [{"state": "running", "peer_host": "10.0.0.7"}]
    ok = {"status": "ok"}
    missing = (404, {"error": "Object Not Found", "reason": "Not Found"})
    newer = ok if version >= "4.1.1" else missing
    return {
        "/api/whoami": {"name": "monitor", "tags": ["monitoring"]},
        f"{HEALTH}/alarms": ok,
        f"{HEALTH}/local-alarms": ok,
        f"{HEALTH}/virtual-hosts": ok,
        f"{HEALTH}/port-listener/5672": {**ok, "port": 5672},
        f"{HEALTH}/node-is-quorum-critical": {**ok, "reason": "single node cluster"},
        f"{HEALTH}/quorum-queues-without-elected-leaders/vhost/{VHOST}/": newer,
        f"{HEALTH}/is-in-service": newer,
        "/api/overview": overview,
        "/api/nodes": [node],
        "/api/vhosts": [{"name": "/"}, {"name": "/veza", "cluster_state": {"rabbit@mq": "running"}}],
        f"/api/queues/{VHOST}": [_queue("jobs"), _queue("jobs.dlq")],
        f"/api/queues/{VHOST}/jobs": jobs,
        f"/api/queues/{VHOST}/jobs.dlq": _queue("jobs.dlq"),
        f"/api/bindings/{VHOST}": bindings,
        "/api/connections": {"items": connections, "total_count": 1, "page": 1, "page_count": 1},
        "/metrics": METRICS.format(version=version),
    }


def _queue(name: str) -> dict[str, Any]:
    return {
        "name": name, "vhost": "/veza", "type": "classic", "state": "running", "arguments": {}, "consumers": 0,
        "messages": 0, "messages_ready": 0, "messages_unacknowledged": 0, "effective_policy_definition": {},
    }  # fmt: skip


METRICS = """\
# TYPE rabbitmq_alarms_memory_used_watermark untyped
rabbitmq_alarms_memory_used_watermark 0
rabbitmq_alarms_free_disk_space_watermark 0
rabbitmq_alarms_file_descriptor_limit 0
rabbitmq_process_open_fds 40
rabbitmq_process_max_fds 65536
rabbitmq_build_info{{rabbitmq_version="{version}",erlang_version="25.2.3"}} 1
rabbitmq_identity_info{{rabbitmq_node="rabbit@mq",rabbitmq_cluster="veza"}} 1
rabbitmq_global_messages_dead_lettered_expired_total{{dead_letter_strategy="at_most_once"}} 5
rabbitmq_global_messages_dead_lettered_expired_total{{dead_letter_strategy="disabled"}} 2
rabbitmq_global_messages_unroutable_dropped_total{{protocol="amqp091"}} 3
"""


class Connection:
    """The server's end of a connection; ``sent`` counts the bytes."""

    def __init__(self, sock: socket.socket, over: threading.Event) -> None:
        self.sock = sock
        self.over = over
        self.sent = 0

    def say(self, data: bytes) -> None:
        """Send."""
        self.sock.sendall(data)
        self.sent += len(data)

    def hold(self) -> None:
        """Say nothing more until the test is over."""
        self.over.wait(60)

    def drip(self, data: bytes, pause: float = 1.0) -> None:
        """Send a byte, pause, and so on."""
        for byte in data:
            self.say(bytes([byte]))
            if self.over.wait(pause):
                return

    def reset(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def answer(self, status: int, body: bytes, *headers: str, length: int | None = None) -> None:
        """Send an HTTP answer; ``length`` is what it claims to be long, where that is a lie."""
        lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body) if length is None else length}", *headers]
        self.say("\r\n".join([*lines, "", ""]).encode() + body)

    def document(self, document: Any, status: int = 200) -> None:
        """Send a document as the broker would."""
        self.answer(status, json.dumps(document).encode(), "Content-Type: application/json")

    def read(self, count: int) -> bytes:
        """Return exactly so many bytes."""
        data = b""
        while len(data) < count:
            piece = self.sock.recv(count - len(data))
            if not piece:
                raise OSError("closed")
            data += piece
        return data

    def hear(self, *names: str) -> None:
        """Read these methods' frames, skipping content."""
        for name in names:
            while True:
                kind, _channel, size = struct.unpack(">BHI", self.read(7))
                payload = self.read(size + 1)
                if kind == amqp.METHOD:
                    break
            assert amqp.METHODS[name] == struct.unpack_from(">HH", payload), name


Fault = Callable[[Connection], None]


def start_frame(version: str = "3.10.8") -> bytes:
    """Return the broker's greeting."""
    properties = {
        "product": "RabbitMQ", "version": version, "cluster_name": "veza",
        "capabilities": {"authentication_failure_close": True},
    }  # fmt: skip
    mechanisms, locales = amqp.long_string(b"PLAIN AMQPLAIN"), amqp.long_string(b"en_US")
    return amqp.method("connection.start", 0, b"\0\x09" + amqp.table(properties) + mechanisms + locales)


TUNE = amqp.method("connection.tune", 0, struct.pack(">HIH", 2047, 131072, 60))
OPEN_OK = amqp.method("connection.open-ok", 0, b"\0")
CLOSE_OK = amqp.method("connection.close-ok")


def closing(code: int, text: str) -> bytes:
    """Return the frame with which the broker closes a connection."""
    return amqp.method("connection.close", 0, struct.pack(">H", code) + amqp.short_string(text) + b"\0\0\0\0")


def greets(version: str) -> Fault:
    """Return the whole of a good connection, which is no fault: greeting, login, virtual host, goodbye."""

    def serve(connection: Connection) -> None:
        connection.say(start_frame(version))
        connection.hear("connection.start-ok")
        connection.say(TUNE)
        connection.hear("connection.tune-ok", "connection.open")
        connection.say(OPEN_OK)
        connection.hear("connection.close")
        connection.say(CLOSE_OK)

    return serve


@dataclass
class FakeBroker:
    """Faults by the path that they are on (a regular expression), in the order in which they count.

    ``documents`` has what is answered otherwise, where it is not what documents() says. ``amqp`` is what happens on the
    AMQP port after the protocol header, ``accept`` what happens on the management port instead of HTTP. ``deaf`` has
    the ports on which nothing listens. ``most_sent`` is what the longest answer had to send.
    """

    version: str = "3.10.8"
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    documents: dict[str, Any] = field(default_factory=dict)
    amqp: Fault | None = None
    accept: Fault | None = None
    deaf: frozenset[str] = frozenset()
    ports: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    most_sent: int = 0

    def healthy(self, path: str) -> Any:
        """Return what this version answers while nothing is wrong."""
        return documents(self.version)[path]

    def _http(self, connection: Connection) -> None:
        stream = connection.sock.makefile("rb")
        while request := stream.readline():
            while stream.readline().strip():
                pass
            path = request.split()[1].decode()
            self.asked.append(path)
            fault = next((fault for pattern, fault in self.faults if re.search(pattern, path)), None)
            try:
                if fault:
                    fault(connection)
                    return
                self._answer(connection, path.partition("?")[0])
            finally:
                self.most_sent = max(self.most_sent, connection.sent)

    def _management(self, connection: Connection) -> None:
        (self.accept or self._http)(connection)

    def _answer(self, connection: Connection, path: str) -> None:
        path = re.sub(r"(port-listener)/\d+", r"\1/5672", path)
        found = self.documents.get(path, (404, {"error": "Object Not Found", "reason": "Not Found"}))
        if isinstance(found, str):
            connection.answer(200, found.encode(), "Content-Type: text/plain")
            return
        status, document = found if isinstance(found, tuple) else (200, found)
        connection.document(document, status)

    def _amqp(self, connection: Connection) -> None:
        connection.read(8)
        (self.amqp or greets(self.version))(connection)

    @contextmanager
    def running(self) -> Iterator[FakeBroker]:
        """Listen until the block ends; the ports are those of ``ports``."""
        self.documents = {**documents(self.version), **self.documents}
        over, sockets = threading.Event(), []

        def listen(name: str, serve: Fault) -> None:
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            sockets.append(listener)
            self.ports[name] = listener.getsockname()[1]
            # A deaf port is kept and refuses: one that was given up would soon be that of another broker.
            if name not in self.deaf:
                listener.listen(64)
                threading.Thread(target=accept, args=(listener, serve), daemon=True).start()

        def accept(listener: socket.socket, serve: Fault) -> None:
            with suppress(OSError):
                while True:
                    sock = listener.accept()[0]
                    sockets.append(sock)
                    threading.Thread(target=talk, args=(sock, serve), daemon=True).start()

        def talk(sock: socket.socket, serve: Fault) -> None:
            with suppress(OSError, ValueError), sock:
                serve(Connection(sock, over))

        for name, serve in (("management", self._management), ("prometheus", self._http), ("amqp", self._amqp)):
            listen(name, serve)
        try:
            yield self
        finally:
            over.set()
            for sock in sockets:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
