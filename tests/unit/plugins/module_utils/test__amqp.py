# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The probe against small servers that misbehave, each in one way."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _amqp
from ansible_collections.veza.rabbitmq.plugins.module_utils import _amqp_frames as amqp
from ansible_collections.veza.rabbitmq.plugins.module_utils._amqp import SENTENCES, Probe, Target, probe
from ansible_collections.veza.rabbitmq.plugins.module_utils._tls import Tls

PASSWORD = "s3cret-never-shown"

SHORT, LONG = 1.0, 30.0
"""Seconds of a deadline that is waited for, and of one that a busy machine does not reach."""

BUSY = 10.0
"""Seconds by which a busy machine may be late."""

PROPERTIES = {
    "product": "RabbitMQ",
    "version": "3.10.8",
    "cluster_name": "rabbit@here",
    "capabilities": {"authentication_failure_close": True, "connection.blocked": True},
}


@dataclass
class Server:
    """A server that follows a script with one client.

    ``heard`` are the methods that it read; ``late`` are the seconds by which it makes the client's clock go ahead.
    """

    script: Callable[[Server], None]
    heard: list[str] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    queue: str = "amq.gen-1"
    message: bytes = b""
    late: float = 0.0
    in_pieces: bool = False

    def talk(self, listener: socket.socket) -> None:
        try:
            self.conn, _address = listener.accept()
            with self.conn:
                self.conn.settimeout(LONG)
                self.script(self)
        except ConnectionError:
            pass  # the client may leave at any time
        except BaseException as error:
            self.errors.append(error)

    def say(self, *parts: bytes) -> None:
        data = b"".join(parts)
        size = 1 if self.in_pieces else len(data)
        for at in range(0, len(data), size):
            self.conn.sendall(data[at : at + size])

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.conn.recv(count - len(data))
            if not part:
                raise ConnectionResetError
            data += part
        return data

    def hear(self, *names: str) -> None:
        for name in names:
            if name == "header":
                assert self.read(8) == amqp.HEADER
                continue
            kind, _channel, size = amqp.parse_head(self.read(7), 200000)
            payload = self.read(size + 1)[:-1]
            heard = amqp.Frame(kind, 0, payload)
            self.heard.append(heard.name)
            assert heard.name == name
            if kind == amqp.CONTENT_BODY:
                self.message = payload

    def hold(self) -> None:
        """Say no more, until the client leaves."""
        while self.conn.recv(4096):
            pass

    def pause(self) -> None:
        """Let the client read before the next byte, whatever the machine's load."""
        threading.Event().wait(0.02)

    def reset(self) -> None:
        self.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.conn.close()

    # The usual way, piece by piece.

    def greet(self, properties: dict[str, Any] | None = None, mechanisms: bytes = b"PLAIN AMQPLAIN") -> None:
        self.hear("header")
        strings = amqp.long_string(mechanisms) + amqp.long_string(b"en_US")
        self.say(amqp.method("connection.start", 0, b"\0\x09" + amqp.table(properties or PROPERTIES) + strings))

    def tune(self, frame_max: int = 131072) -> None:
        self.hear("connection.start-ok")
        self.say(amqp.method("connection.tune", 0, struct.pack(">HIH", 2047, frame_max, 60)))
        self.hear("connection.tune-ok", "connection.open")

    def log_in(self) -> None:
        self.greet()
        self.tune()
        self.say(amqp.method("connection.open-ok", 0, b"\0"))

    def prepare(self) -> None:
        self.hear("channel.open")
        self.say(amqp.method("channel.open-ok", 1, b"\0\0\0\0"))
        self.hear("confirm.select")
        self.say(amqp.method("confirm.select-ok", 1))
        self.hear("queue.declare")
        self.say(amqp.method("queue.declare-ok", 1, amqp.short_string(self.queue) + b"\0" * 8))

    def take_message(self) -> None:
        self.prepare()
        self.hear("basic.publish", "", "")

    def confirm(self) -> None:
        self.take_message()
        self.say(amqp.method("basic.ack", 1, b"\0" * 7 + b"\x01\0"))

    def give_back(self, message: bytes) -> None:
        self.hear("basic.get")
        arguments = b"\0" * 7 + b"\x01" + b"\0" + b"\0" + amqp.short_string(self.queue) + b"\0" * 4
        self.say(amqp.method("basic.get-ok", 1, arguments), amqp.content(1, message, 1000))

    def end(self) -> None:
        self.hear("connection.close")
        self.say(amqp.method("connection.close-ok"))
        self.hold()


def close(code: int, text: str, name: str = "connection.close") -> bytes:
    channel = 1 if name == "channel.close" else 0
    return amqp.method(name, channel, struct.pack(">H", code) + amqp.short_string(text) + b"\0" * 4)


@contextmanager
def serving(script: Callable[[Server], None]) -> Iterator[tuple[Server, int]]:
    server = Server(script)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.talk, args=(listener,), daemon=True)
        thread.start()
        yield server, listener.getsockname()[1]
        thread.join(LONG)
    assert not thread.is_alive()
    assert server.errors == []


def ask(script: Callable[[Server], None], **target: Any) -> tuple[Probe, Server]:
    with serving(script) as (server, port):
        # Never slow by itself: the machine may be busy with other tests.
        known = {"user": "veza", "password": PASSWORD, "vhost": "/veza", "timeout": LONG, "slow_after": LONG, **target}
        return probe(Target("127.0.0.1", port, **known), lambda: time.monotonic() + server.late), server


def login_refused(server: Server) -> None:
    server.greet()
    server.hear("connection.start-ok")
    server.say(close(403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN."))
    server.hear("connection.close-ok")


def refused_at_open(code: int, text: str) -> Callable[[Server], None]:
    def script(server: Server) -> None:
        server.greet()
        server.tune()
        server.say(close(code, text))
        server.hear("connection.close-ok")

    return script


def first_words(raw: bytes, then: str = "hold") -> Callable[[Server], None]:
    def script(server: Server) -> None:
        server.hear("header")
        server.say(raw)
        getattr(server, then)()

    return script


def steps(*names: str) -> Callable[[Server], None]:
    """Follow these pieces of the usual way, then the last one, which is the fault."""

    def script(server: Server) -> None:
        for name in names:
            getattr(server, name)()

    return script


def closed_at_header(server: Server) -> None:
    server.hear("header")


def reset_at_header(server: Server) -> None:
    server.hear("header")
    server.reset()


def one_byte_at_a_time(server: Server) -> None:
    server.hear("header")
    for byte in amqp.method("connection.start", 0, b"\0\x09" + amqp.table(PROPERTIES) + b"\0" * 8):
        server.say(bytes([byte]))
        server.pause()


def endless_heartbeats(server: Server) -> None:
    server.greet()
    while True:
        server.say(amqp.frame(amqp.HEARTBEAT, 0, b""))
        server.pause()


def closed_without_reason_by_an_old_broker(server: Server) -> None:
    server.greet({"product": "RabbitMQ", "version": "2.0.0"})
    server.hear("connection.start-ok")


def closed_at_login(server: Server) -> None:
    server.greet()
    server.hear("connection.start-ok")


def no_plain(server: Server) -> None:
    server.greet(mechanisms=b"EXTERNAL")
    server.hold()


def challenge(server: Server) -> None:
    server.greet()
    server.hear("connection.start-ok")
    server.say(amqp.method("connection.secure", 0, amqp.long_string(b"?")))
    server.hold()


def blocked(server: Server) -> None:
    server.log_in()
    server.take_message()
    server.say(amqp.method("connection.blocked", 0, amqp.short_string("low on disk")))
    server.hear("connection.close")


def after(prepare: str, raw: bytes, then: str = "hold") -> Callable[[Server], None]:
    def script(server: Server) -> None:
        server.log_in()
        getattr(server, prepare)()
        server.say(raw)
        getattr(server, then)()

    return script


def another_message(server: Server) -> None:
    server.log_in()
    server.confirm()
    server.give_back(b"somebody else's")
    server.end()


def huge_message(server: Server) -> None:
    server.log_in()
    server.confirm()
    server.hear("basic.get")
    got = amqp.method("basic.get-ok", 1, b"\0" * 9 + amqp.short_string("") * 2 + b"\0" * 4)
    server.say(got, amqp.frame(amqp.CONTENT_HEADER, 1, struct.pack(">HHQ", amqp.BASIC, 0, 1 << 60)))
    server.end()


def no_message(server: Server) -> None:
    server.log_in()
    server.confirm()
    server.hear("basic.get")
    server.say(amqp.method("basic.get-empty", 1, b"\0"))
    server.end()


def no_permission_to_declare(server: Server) -> None:
    server.log_in()
    server.hear("channel.open")
    server.say(amqp.method("channel.open-ok", 1, b"\0\0\0\0"))
    server.hear("confirm.select")
    server.say(amqp.method("confirm.select-ok", 1))
    server.hear("queue.declare")
    server.say(close(403, "ACCESS_REFUSED - access to queue 'amq.gen-1' refused for user 'veza'", "channel.close"))
    server.hear("channel.close-ok")
    server.end()


NACK = amqp.method("basic.nack", 1, b"\0" * 7 + b"\x01\0")
HUGE = struct.pack(">BHI", 1, 0, 0x7FFFFFFF)
SHUTDOWN = close(320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'")

# What the server does, how far we go, at which stage and how it must end, and a word of the message.
FAULTS: list[tuple[str, Callable[[Server], None], dict[str, Any], str, str, str]] = [
    ("fin after the header", closed_at_header, {}, "header", "reset", "without a word"),
    ("rst after the header", reset_at_header, {}, "header", "reset", ""),
    ("silence", steps("hold"), {"timeout": SHORT}, "header", "timed_out", "said nothing"),
    ("one byte at a time", one_byte_at_a_time, {"timeout": SHORT}, "header", "timed_out", "bytes and no more"),
    ("AMQP 0-9-1 refused", first_words(b"AMQP\0\0\x09\x01", "reset"), {}, "header", "header_refused", "another"),
    ("AMQP 1.0 with SASL", first_words(b"AMQP\x03\x01\0\0", "reset"), {}, "header", "header_refused", "1.0 with SASL"),
    ("AMQP 1.0", first_words(b"AMQP\0\x01\0\0", "reset"), {}, "header", "header_refused", "AMQP 1.0"),
    ("TLS alert", first_words(b"\x15\x03\x01\0\x02\x02\x0a"), {}, "header", "tls_expected", "TLS alert"),
    ("web server", first_words(b"HTTP/1.1 400 Bad Request\r\n\r\n"), {}, "header", "not_amqp", "web server"),
    ("ssh server", first_words(b"SSH-2.0-OpenSSH_9.2\r\n"), {}, "header", "not_amqp", "SSH"),
    ("short nonsense", first_words(b"no\n", "reset"), {}, "header", "not_amqp", "begins with"),
    ("short nonsense held", first_words(b"?"), {"timeout": SHORT}, "header", "not_amqp", "begins with"),
    ("oversized frame", first_words(HUGE), {}, "header", "not_amqp", "2147483647 bytes"),
    ("cut frame", first_words(struct.pack(">BHI", 1, 0, 500) + b"\0\x0a", "reset"), {}, "header", "reset", ""),
    ("no end of frame", first_words(amqp.method("connection.start")[:-1] + b"\0"), {}, "header", "not_amqp", "end"),
    ("start without arguments", first_words(amqp.method("connection.start")), {}, "header", "not_amqp", "expected"),
    ("another method", first_words(amqp.method("connection.tune")), {}, "header", "not_amqp", "connection.tune came"),
    ("forced close as greeting", first_words(SHUTDOWN), {}, "header", "reset", "320"),
    ("login refused", login_refused, {}, "login", "login_refused", "403 ACCESS_REFUSED"),
    ("old broker", closed_without_reason_by_an_old_broker, {}, "login", "login_refused", "old brokers"),
    ("closed at login", closed_at_login, {}, "login", "reset", "without a word"),
    ("no PLAIN", no_plain, {}, "login", "login_refused", "EXTERNAL"),
    ("challenge", challenge, {}, "login", "login_refused", "more than"),
    ("silence at login", steps("greet", "hold"), {"timeout": SHORT}, "login", "timed_out", "no more in time"),
    ("heartbeats only", endless_heartbeats, {"timeout": SHORT}, "login", "timed_out", ""),
    ("vhost missing", refused_at_open(530, "NOT_ALLOWED - vhost /veza not found"), {}, "vhost", "vhost_missing", "530"),
    ("no access", refused_at_open(530, "NOT_ALLOWED - access to vhost '/veza' refused for user 'veza'"), {},
     "vhost", "vhost_refused", "530"),
    ("vhost down", refused_at_open(541, "INTERNAL_ERROR - access to vhost '/veza' refused: vhost is down"), {},
     "vhost", "vhost_refused", "541"),
    ("maintenance", refused_at_open(320, "CONNECTION_FORCED - Node was put into maintenance mode"), {},
     "vhost", "reset", "maintenance"),
    ("silence at open", steps("greet", "tune", "hold"), {"timeout": SHORT}, "vhost", "timed_out", ""),
    ("no permission", no_permission_to_declare, {"publish": True}, "publish", "vhost_refused", "amq.gen-1"),
    ("alarm", blocked, {"publish": True}, "publish", "blocked", "low on disk"),
    ("no confirm", steps("log_in", "take_message", "hold"), {"publish": True, "timeout": SHORT},
     "publish", "confirm_timed_out", "no confirm"),
    ("silence at declare", steps("log_in", "hold"), {"publish": True, "timeout": SHORT}, "publish", "timed_out", ""),
    ("nack", after("take_message", NACK, "end"), {"publish": True}, "publish", "confirm_timed_out", "basic.nack"),
    ("killed while publishing", steps("log_in", "take_message", "reset"), {"publish": True}, "publish", "reset", ""),
    ("shutdown while publishing", after("take_message", SHUTDOWN), {"publish": True}, "publish", "reset", "shutdown"),
    ("queue empty", no_message, {"publish": True}, "get", "confirm_timed_out", "empty"),
    ("another message", another_message, {"publish": True}, "get", "confirm_timed_out", "another message"),
    ("huge message", huge_message, {"publish": True}, "get", "not_amqp", "that nobody sent"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "target", "stage", "outcome", "words"), [fault[1:] for fault in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_each_fault_has_its_stage_and_outcome(
    script: Callable[[Server], None], target: dict[str, Any], stage: str, outcome: str, words: str
) -> None:
    found, server = ask(script, **target)
    assert (found.stages[-1].name, found.outcome) == (stage, outcome)
    assert [entry.ok for entry in found.stages] == [True] * (len(found.stages) - 1) + [False]
    assert not found.ok
    assert SENTENCES[outcome] in found.message
    assert words in found.message
    assert PASSWORD not in repr(found)
    if not server.late:
        assert found.elapsed <= target.get("timeout", SHORT) + BUSY


def test_a_message_that_comes_back_is_a_success_and_the_connection_is_closed_in_order() -> None:
    def script(server: Server) -> None:
        server.log_in()
        server.confirm()
        server.give_back(server.message)
        server.hear("basic.ack")
        server.end()

    found, server = ask(script, publish=True)
    assert (found.outcome, found.ok) == ("ok", True)
    assert [stage.name for stage in found.stages] == [
        "resolve", "connect", "header", "login", "vhost", "publish", "get",
    ]  # fmt: skip
    assert found.server == {"product": "RabbitMQ", "version": "3.10.8", "cluster_name": "rabbit@here"}
    assert server.heard[-1] == "connection.close"
    assert len(server.message) == 16


def test_heartbeats_in_between_and_a_small_frame_size_are_no_trouble() -> None:
    def script(server: Server) -> None:
        heartbeat = amqp.frame(amqp.HEARTBEAT, 0, b"")
        server.greet()
        server.say(heartbeat)
        server.tune(frame_max=4096)
        server.say(heartbeat, heartbeat, amqp.method("connection.open-ok", 0, b"\0"))
        server.end()

    found, server = ask(script)
    assert found.outcome == "ok"
    assert "publishing was not tried" in found.message
    assert server.heard[-1] == "connection.close"


def test_an_answer_in_small_pieces_is_put_together() -> None:
    def script(server: Server) -> None:
        server.in_pieces = True
        server.log_in()
        server.end()

    assert ask(script)[0].outcome == "ok"


def test_without_a_user_the_probe_ends_with_the_greeting_and_sends_nothing_more() -> None:
    rest: list[bytes] = []

    def script(server: Server) -> None:
        server.greet()
        rest.append(server.conn.recv(100))

    found, _server = ask(script, user=None, password=None)
    assert (found.outcome, found.stages[-1].name) == ("ok", "header")
    assert "login and publishing were not tried" in found.message
    assert rest == [b""]


def test_a_broker_that_never_says_goodbye_costs_half_a_second() -> None:
    found, _server = ask(steps("log_in", "hold"))
    assert found.outcome == "ok"
    assert 0.4 < found.elapsed < BUSY


def test_a_slow_success_is_called_slow() -> None:
    def script(server: Server) -> None:
        server.greet()
        server.hear("connection.start-ok")
        server.late += 1.5
        server.say(amqp.method("connection.tune", 0, struct.pack(">HIH", 2047, 131072, 60)))
        server.hear("connection.tune-ok", "connection.open")
        server.say(amqp.method("connection.open-ok", 0, b"\0"))
        server.end()

    found, _server = ask(script, slow_after=1.0)
    assert (found.outcome, found.ok) == ("slow", True)
    assert "for login alone" in found.message
    assert ask(script, slow_after=2.5)[0].outcome == "ok"


def test_text_of_the_other_side_can_not_harm_a_terminal() -> None:
    found, _server = ask(first_words(close(320, "\x1b[2Jboo\r\n" + "x" * 200)))
    assert found.message.isprintable()
    assert "boo" in found.message


def test_a_port_where_nothing_listens_is_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = probe(Target("127.0.0.1", free.getsockname()[1]))
    assert (found.outcome, found.stages[-1].name) == ("refused", "connect")
    assert found.addresses[0]["result"] == "refused"


def test_a_port_that_is_none_is_no_traceback() -> None:
    assert probe(Target("127.0.0.1", 70000)).outcome == "unreachable"


@pytest.mark.parametrize("host", ["no-such-name.invalid", "", "a" * 64 + ".example", "a..b"])
def test_a_name_that_can_not_be_resolved(host: str) -> None:
    found = probe(Target(host, 5672, timeout=5))
    assert (found.outcome, found.stages[-1].name) == ("name_not_resolved", "resolve")
    assert found.addresses == ()


def test_a_dead_name_server_does_not_hold_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def never(*_args: Any, **_more: Any) -> Any:
        released.wait(LONG)
        raise OSError

    monkeypatch.setattr(_amqp.socket, "getaddrinfo", never)
    found = probe(Target("rabbitmq.lxd", timeout=0.2))
    released.set()
    assert (found.outcome, found.stages[-1].name) == ("name_not_resolved", "resolve")
    assert "no answer about 'rabbitmq.lxd' within 0.2 s" in found.message
    assert found.elapsed < BUSY


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(_amqp.socket, "getaddrinfo", lambda *_args, **_more: found)


def test_each_address_is_tried_and_keeps_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(steps("log_in", "end")) as (_server, port):
        resolve_to(monkeypatch, ("127.0.0.2", port), ("127.0.0.1", port), ("127.0.0.3", port), ("127.0.0.1", port))
        found = probe(Target("rabbitmq.lxd", port, user="veza", password=PASSWORD, slow_after=LONG))
    assert found.outcome == "ok"
    assert [(entry["address"], entry["result"]) for entry in found.addresses] == [
        ("127.0.0.2", "refused"),
        ("127.0.0.1", "connected"),
        ("127.0.0.3", "untried"),
    ]
    assert [entry.get("local") for entry in found.addresses] == [None, "127.0.0.1", None]


def test_an_address_that_swallows_everything_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(steps("log_in", "end")) as (_server, port):
        resolve_to(monkeypatch, ("192.0.2.1", port), ("127.0.0.1", port))
        real = _amqp._Run._connected

        def connected(found: tuple[Any, ...], seconds: float) -> socket.socket:
            if found[-1][0] == "192.0.2.1":
                raise TimeoutError
            return real(found, seconds)

        monkeypatch.setattr(_amqp._Run, "_connected", staticmethod(connected))
        # Its clock stands still, so each address is due exactly half.
        target = Target("rabbitmq.lxd", port, user="veza", password=PASSWORD, timeout=20, slow_after=LONG)
        found = probe(target, clock=lambda: 0.0)
    assert found.outcome == "ok"
    assert found.addresses[0]["result"] == "timed_out"
    assert "no answer within 10.0 s" in found.addresses[0]["detail"]


@pytest.mark.parametrize(
    ("numbers", "outcome"),
    [
        ([errno.ECONNREFUSED], "refused"),
        ([errno.EHOSTUNREACH], "unreachable"),
        ([errno.EPERM], "unreachable"),
        ([errno.ETIMEDOUT], "timed_out"),
        ([errno.ENETUNREACH, errno.ECONNREFUSED], "refused"),
        ([errno.ENETUNREACH, errno.ETIMEDOUT], "timed_out"),
        ([errno.ETIMEDOUT, errno.ECONNREFUSED], "refused"),
    ],
)
def test_the_most_telling_error_counts(monkeypatch: pytest.MonkeyPatch, numbers: list[int], outcome: str) -> None:
    errors = [OSError(number, f"error {number}") for number in numbers]
    resolve_to(monkeypatch, *((f"192.0.2.{place}", 5672) for place in range(len(errors))))

    def connected(_found: Any, _seconds: float) -> socket.socket:
        raise errors.pop(0)

    monkeypatch.setattr(_amqp._Run, "_connected", staticmethod(connected))
    found = probe(Target("rabbitmq.lxd"))
    assert found.outcome == outcome
    assert all(f"192.0.2.{place}: error {number}" in found.message for place, number in enumerate(numbers))


def tune_then_hold(server: Server) -> None:
    server.greet()
    server.hear("connection.start-ok")
    server.say(amqp.method("connection.tune", 0, struct.pack(">HIH", 2047, 131072, 60)))
    server.hold()


def test_a_name_of_a_vhost_that_is_too_long_is_missing() -> None:
    found, _server = ask(tune_then_hold, vhost="v" * 300)
    assert (found.outcome, found.stages[-1].name) == ("vhost_missing", "vhost")


def test_the_password_is_not_in_the_targets_repr() -> None:
    target = Target("h", user="u", password=PASSWORD)
    assert PASSWORD not in repr(target)
    assert PASSWORD not in str(replace(target, port=1))


def test_tls_against_a_plain_port_says_so() -> None:
    def script(server: Server) -> None:
        server.read(8)
        server.say(b"AMQP\0\0\x09\x01")
        server.hold()

    found, _server = ask(script, tls=Tls(validate=False))
    assert (found.outcome, found.stages[-1].name) == ("tls_failed", "tls")
    assert "does not speak TLS" in found.message


@pytest.mark.parametrize(("then", "outcome", "timeout"), [("hold", "timed_out", SHORT), ("reset", "reset", LONG)])
def test_tls_that_gets_no_answer(then: str, outcome: str, timeout: float) -> None:
    def script(server: Server) -> None:
        server.read(8)
        getattr(server, then)()

    found, _server = ask(script, tls=Tls(validate=False), timeout=timeout)
    assert (found.outcome, found.stages[-1].name) == (outcome, "tls")


def test_a_missing_certificate_file_is_an_outcome() -> None:
    found, _server = ask(steps("hold"), tls=Tls(ca_cert="/nonexistent/ca.pem"))
    assert found.outcome == "tls_failed"
    assert "certificate file" in found.message


def test_an_encrypted_key_of_ours_is_an_outcome_and_asks_nobody(certificate: tuple[str, str], tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    command = ["openssl", "pkcs8", "-topk8", "-in", certificate[1], "-out", str(key), "-passout", "pass:s3cret"]
    subprocess.run(command, check=True, capture_output=True)
    found, _server = ask(steps("hold"), tls=Tls(client_cert=certificate[0], client_key=str(key)))
    assert (found.outcome, found.stages[-1].name) == ("tls_failed", "tls")
    assert "certificate file" in found.message


def test_a_certificate_file_that_never_ends_costs_the_timeout(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ca.pem")
    found, _server = ask(steps("hold"), tls=Tls(ca_cert=str(tmp_path / "ca.pem")), timeout=0.5)
    with (tmp_path / "ca.pem").open("wb"):  # its reader ends
        pass
    assert (found.outcome, found.stages[-1].name) == ("timed_out", "tls")
    assert "certificate files of this host" in found.message
    assert found.elapsed < LONG


def test_a_path_that_is_none_is_an_outcome() -> None:
    found, _server = ask(steps("hold"), tls=Tls(ca_cert="/ca\0.pem"))
    assert found.outcome == "tls_failed"


@pytest.mark.parametrize("login", [{"user": "ve\udcffza"}, {"password": "s3cret\ud800"}])
def test_a_login_that_is_no_text_is_not_called_another_protocol(login: dict[str, str]) -> None:
    def script(server: Server) -> None:
        server.greet()
        server.hold()

    found, _server = ask(script, **login)
    assert found.outcome == "login_refused"
    assert "UTF-8" in found.message
    assert "s3cret" not in repr(found)


def test_an_untrusted_certificate_and_a_trusted_one(certificate: tuple[str, str]) -> None:
    def script(server: Server) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        with suppress(ssl.SSLError):
            server.conn = context.wrap_socket(server.conn, server_side=True)
            server.log_in()
            server.end()

    assert ask(script, tls=Tls(ca_cert=certificate[0]))[0].outcome == "ok"
    assert ask(script, tls=Tls(validate=False))[0].outcome == "ok"
    found, _server = ask(script, tls=Tls())
    assert (found.outcome, found.stages[-1].name) == ("tls_failed", "tls")
    assert "not trusted" in found.message


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    place = tmp_path_factory.mktemp("tls")
    files = (str(place / "cert.pem"), str(place / "key.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=here"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1]]
    subprocess.run(command, check=True, capture_output=True)
    return files
