# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A probe of an AMQP broker that says at which stage it ends, and why: standard library only.

An open port proves nothing: a hung broker's kernel accepts connections, a broker under an alarm logs everybody in.
So the probe walks the whole way: name, connection, protocol, login, virtual host and, on demand, a message.
"""

from __future__ import annotations

import errno
import secrets
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from . import _amqp_frames as amqp
from ._deadline import within
from ._tls import Tls

SENTENCES = {
    "ok": "as it should be",
    "slow": "as it should be, but slow",
    "name_not_resolved": "the name can't be resolved",
    "refused": "the connection is refused: nothing listens there",
    "unreachable": "there is no way to it",
    "timed_out": "no answer in time",
    "reset": "the connection was closed in the middle",
    "tls_expected": "the port wants TLS",
    "tls_failed": "TLS failed",
    "not_amqp": "what answers there is not AMQP",
    "header_refused": "what answers there is AMQP, but not version 0-9-1",
    "login_refused": "the user or the password is refused",
    "vhost_missing": "the virtual host does not exist",
    "vhost_refused": "the user may not do this in the virtual host",
    "blocked": "the broker takes no messages: it blocks publishers under an alarm",
    "confirm_timed_out": "a message was published, but not confirmed and got back",
    "not_running": "the container does not run",
}
"""The closed vocabulary of outcomes, and what each means."""

SERVING = ("ok", "slow")
"""The outcomes that mean that the broker serves."""

LASTING = ("login_refused", "vhost_refused", "tls_expected", "tls_failed", "not_amqp", "header_refused")
"""The outcomes that no waiting mends; right after the broker's start another one may come for a moment."""

# What a close by the broker means: stages (none: any), reply code, part of its text, outcome; the first that fits wins.
_CLOSED: tuple[tuple[tuple[str, ...], int, str, str], ...] = (
    (("login",), 403, "", "login_refused"),
    ((), 530, "not found", "vhost_missing"),
    ((), 530, "", "vhost_refused"),
    (("vhost", "publish", "get"), 403, "", "vhost_refused"),
    (("vhost",), 541, "access to vhost", "vhost_refused"),
)

# What the error of a connect means, and which one counts when each address has another: the first here.
_CONNECT = (
    ("refused", (errno.ECONNREFUSED,)),
    ("reset", (errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE)),
    ("timed_out", (errno.ETIMEDOUT,)),
    ("unreachable", ()),
)

_PROPERTIES = {
    "product": "veza.rabbitmq",
    "capabilities": {"authentication_failure_close": True, "connection.blocked": True, "publisher_confirms": True},
}

FRAME_MAX = 131072
"""Bytes of a frame that we take before and after the broker has named its own limit."""

_TEXT = 300
"""Characters of the other side's text that a message quotes."""

# How far a probe that found nothing wrong has looked.
_PROVED = {
    "header": "it greets as an AMQP broker; login and publishing were not tried",
    "vhost": "it lets the user in; publishing was not tried",
    "get": "a message was published, confirmed and got back",
}

_GOODBYE = 0.5
"""Seconds that a clean close may take beyond the deadline."""


@dataclass(frozen=True)
class Target:
    """What is probed, and how far: without ``user`` to the broker's greeting only; ``publish`` to a message got back.

    ``timeout`` bounds the whole probe (seconds); above ``slow_after`` (seconds) a success counts as slow.
    """

    host: str
    port: int = 5672
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    vhost: str = "/"
    tls: Tls | None = None
    publish: bool = False
    timeout: float = 5.0
    slow_after: float = 1.0
    name: str = "veza.rabbitmq.amqp_probe"
    """What the broker shows as the connection's name."""


@dataclass(frozen=True)
class Stage:
    """One stage that was entered; ``detail`` has no secret."""

    name: str
    ok: bool
    ms: float
    detail: str


@dataclass(frozen=True)
class Probe:
    """What a probe found.

    ``outcome`` is a key of SENTENCES, ``ok`` says whether it is one of SERVING. ``server`` has what the broker's
    greeting says: ``product``, ``version``, ``cluster_name``. ``addresses`` has each address with ``address``,
    ``result`` (connected, an outcome, or untried) and ``detail``. ``elapsed`` is in seconds.
    """

    outcome: str
    ok: bool
    message: str
    stages: tuple[Stage, ...]
    server: dict[str, str]
    addresses: tuple[dict[str, str], ...]
    elapsed: float


class Failed(Exception):
    """The probe ends here, with this outcome."""

    def __init__(self, outcome: str, detail: str = "") -> None:
        super().__init__(f"{outcome}: {detail}")
        self.outcome = outcome
        self.detail = detail


class Closed(Exception):
    """The broker closed the connection or the channel, and said why."""

    def __init__(self, code: int, text: str, connection: bool) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.connection = connection


def probe(target: Target, clock: Callable[[], float] = time.monotonic) -> Probe:
    """Probe ``target``; every failure is an outcome, nothing is raised, and the deadline holds to a second."""
    return _Run(target, clock).probe()


@contextmanager
def connected(target: Target, clock: Callable[[], float] = time.monotonic) -> Iterator[Link]:
    """Log in and open the virtual host, give the connection, and leave it as the protocol wants.

    ``target.timeout`` bounds the way there; after that the caller bounds each step, by the link's ``remaining``.
    Failed, with a whole sentence as its detail, when the way ends before.
    """
    run = _Run(replace(target, publish=False), clock)
    outcome = ""
    try:
        try:
            for name, walk in run.plan():
                run.stage(name, walk)
        except Failed as failure:
            raise Failed(failure.outcome, run.message(failure.outcome, failure.detail)) from None
        try:
            yield run.link
        except Closed as closed:
            run.open = not closed.connection
            raise
        except Failed as failure:
            outcome = failure.outcome
            raise
    finally:
        run.goodbye(wait=outcome != "blocked")


def printable(raw: str | bytes) -> str:
    """Return foreign text as one short line that can't harm a terminal."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line[:_TEXT] + ("…" if len(line) > _TEXT else "")


def outcome_of_close(stage: str, code: int, text: str) -> str:
    """Return what a close by the broker means in a stage."""
    for stages, number, part, outcome in _CLOSED:
        if (not stages or stage in stages) and number == code and part in text:
            return outcome
    return "reset"


def outcome_of_connect(error: OSError) -> str:
    """Return what the error of a connect means."""
    if isinstance(error, socket.timeout):
        return "timed_out"
    return next((outcome for outcome, numbers in _CONNECT if error.errno in numbers), "unreachable")


# What other servers say first: how it begins, outcome, and what it tells about them.
_GREETINGS = (
    (b"\x15\x03", "tls_expected", "it answered with a TLS alert"),
    (b"\x16\x03", "tls_expected", "it answered with a TLS handshake"),
    (b"AMQP\x03", "header_refused", "it offered AMQP 1.0 with SASL"),
    (b"AMQP\x00\x01", "header_refused", "it offered AMQP 1.0"),
    (b"AMQP\x02", "header_refused", "it offered AMQP 1.0 with TLS"),
    (b"AMQP", "header_refused", "it answered with another protocol header"),
    (b"HTTP/", "not_amqp", "it is a web server"),
    (b"SSH-", "not_amqp", "it is an SSH server"),
)


def judge_greeting(raw: bytes) -> Failed | None:
    """Judge the first bytes of an answer, as many as came: None as long as they may be an AMQP frame."""
    for begin, outcome, detail in _GREETINGS:
        if raw.startswith(begin):
            return Failed(outcome, f"{detail}: {raw[:8]!r}")
    if raw and raw[:1] != bytes([amqp.METHOD]):
        return Failed("not_amqp", f"its answer begins with {raw[:8]!r}")
    return None


class Link:
    """A connected socket; each operation ends by the deadline, or fails."""

    def __init__(self, sock: socket.socket, remaining: Callable[[], float]) -> None:
        self.sock = sock
        self.frame_max = FRAME_MAX
        self.remaining = remaining
        self.received = b""
        self.count = 0
        self._greeted = False

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Bound what the socket does, and turn its errors into outcomes."""
        remaining = self.remaining()
        try:
            if remaining <= 0:
                raise socket.timeout
            self.sock.settimeout(remaining)
            yield
        except socket.timeout:
            raise Failed("timed_out", self._silence()) from None
        except ssl.SSLEOFError:
            raise Failed("reset", "it closed the connection in the middle of TLS") from None
        except ssl.SSLError as error:
            raise Failed("tls_failed", _tls_detail(error)) from None
        except OSError as error:
            raise Failed("reset", error.strerror or str(error)) from None

    def _silence(self) -> str:
        if self.count:
            return f"it sent {self.count} bytes and no more in time"
        return "it accepted the connection and said nothing: a broker that hangs, a firewall, or something else"

    def send(self, data: bytes) -> None:
        """Send everything."""
        with self.bounded():
            self.sock.sendall(data)

    def _fill(self, count: int) -> None:
        while len(self.received) < count:
            with self.bounded():
                data = self.sock.recv(65536)
            if not data:
                raise Failed("reset", "it closed the connection without a word")
            self.received += data
            self.count += len(data)

    def _take(self, count: int) -> bytes:
        self._fill(count)
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def _greeting(self) -> None:
        try:
            self._fill(7)
        except Failed as failure:
            raise judge_greeting(self.received) or failure from None
        verdict = judge_greeting(self.received)
        if verdict:
            raise verdict
        self._greeted = True

    def frame(self) -> amqp.Frame:
        """Return the next frame that is not a heartbeat."""
        if not self._greeted:
            self._greeting()
        while True:
            try:
                kind, channel, size = amqp.parse_head(self._take(7), self.frame_max)
                payload = self._take(size)
                if self._take(1)[0] != amqp.FRAME_END:
                    raise ValueError("a frame without its end")
            except ValueError as error:
                raise Failed("not_amqp", str(error)) from None
            if kind != amqp.HEARTBEAT:
                return amqp.Frame(kind, channel, payload)

    def expect(self, *names: str) -> amqp.Frame:
        """Return the next frame, which must be one of the named methods.

        Closed when the broker closes instead (the answer that it wants is sent), Failed when it blocks.
        """
        while True:
            frame = self.frame()
            if frame.name in names:
                return frame
            if frame.name in ("connection.close", "channel.close"):
                reader = frame.reader()
                code, text = reader.unpack("H"), printable(reader.short_string())
                with suppress(Failed):
                    self.send(amqp.method(f"{frame.name}-ok", frame.channel))
                raise Closed(code, text, connection=frame.channel == 0)
            if frame.name == "connection.blocked":
                raise Failed("blocked", printable(frame.reader().short_string()))
            if frame.name != "connection.unblocked":
                raise Failed("not_amqp", f"{frame.name or 'content'} came instead of {' or '.join(names)}")

    def content(self) -> bytes:
        """Return the body of the message whose method has just been read."""
        head = self.frame()
        if head.kind != amqp.CONTENT_HEADER:
            raise Failed("not_amqp", "a message without a header")
        size, body = struct.unpack_from(">HHQ", head.payload.ljust(12, b"\0"))[2], b""
        if size > FRAME_MAX:
            raise Failed("not_amqp", f"a message of {size} bytes that nobody sent")
        while len(body) < size:
            part = self.frame()
            if part.kind != amqp.CONTENT_BODY or not part.payload:
                raise Failed("not_amqp", "a message without its body")
            body += part.payload
        return body


def _tls_detail(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {printable(error.verify_message)}"
    if "WRONG_VERSION_NUMBER" in str(error) or "RECORD_LAYER" in str(error):
        return "the port does not speak TLS"
    return printable(error.reason or str(error))


class _Run:
    """One probe: its stages, one method each, in order."""

    def __init__(self, target: Target, clock: Callable[[], float]) -> None:
        self.target = target
        self.clock = clock
        self.began = clock()
        self.stages: list[Stage] = []
        self.server: dict[str, str] = {}
        self.addresses: list[dict[str, str]] = []
        self.found: list[tuple[Any, ...]] = []
        self._link: Link | None = None
        self.open = False
        """Whether a Connection.Close is due: before the virtual host is open the broker takes none."""
        self.start: dict[str, Any] = {}
        self.queue = ""
        self.token = secrets.token_bytes(16)

    def remaining(self) -> float:
        """Seconds to the deadline."""
        return self.began + self.target.timeout - self.clock()

    def probe(self) -> Probe:
        """Walk the stages until one fails."""
        outcome, detail = "ok", ""
        try:
            for name, walk in self.plan():
                self.stage(name, walk)
        except Failed as failure:
            outcome, detail = failure.outcome, failure.detail
        elapsed = self.clock() - self.began
        self.goodbye(wait=outcome != "blocked")
        if outcome == "ok" and elapsed > self.target.slow_after:
            slowest = max(self.stages, key=lambda stage: stage.ms)
            outcome, detail = "slow", f"{elapsed:.1f} s, {slowest.ms / 1000:.1f} s for {slowest.name} alone"
        return Probe(
            outcome,
            outcome in SERVING,
            self.message(outcome, detail),
            tuple(self.stages),
            self.server,
            tuple(self.addresses),
            round(self.clock() - self.began, 3),
        )

    def plan(self) -> list[tuple[str, Callable[[], str]]]:
        """Return the stages of this target."""
        plan = [("resolve", self.resolve), ("connect", self.connect)]
        if self.target.tls is not None:
            plan.append(("tls", self.tls))
        plan.append(("header", self.header))
        if self.target.user is not None:
            plan += [("login", self.login), ("vhost", self.vhost)]
            if self.target.publish:
                plan += [("publish", self.publish), ("get", self.get)]
        return plan

    def stage(self, name: str, walk: Callable[[], str]) -> None:
        """Walk one stage and note how it went."""
        began = self.clock()
        try:
            detail, failure = walk(), None
        except Failed as error:
            failure = error
        except Closed as closed:
            self.open = self.open and not closed.connection
            failure = Failed(outcome_of_close(name, closed.code, closed.text), f"{closed.code} {closed.text}")
        except ValueError as error:  # a broker's method whose arguments can't be read
            failure = Failed("not_amqp", printable(str(error)))
        ms = round((self.clock() - began) * 1000, 1)
        self.stages.append(Stage(name, failure is None, ms, failure.detail if failure else detail))
        if failure:
            raise failure

    def message(self, outcome: str, detail: str) -> str:
        """Return the sentence for a human: what was asked of whom, what came back."""
        target = self.target
        where = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
        who = f" as {target.user!r} on {target.vhost!r}" if target.user is not None else ", without a login"
        if outcome in SERVING:
            detail = "; ".join(filter(None, [detail, _PROVED[self.stages[-1].name]]))
        last = f" ({detail})" if detail else ""
        return f"AMQP probe of {where}{who}: {SENTENCES[outcome]}{last}."

    @property
    def link(self) -> Link:
        """The connection, which the stage connect has made."""
        if self._link is None:
            raise Failed("unreachable", "there is no connection")
        return self._link

    def resolve(self) -> str:
        """Find the addresses; a name server that does not answer is the same as a name that it does not know."""
        target = self.target
        host = target.host.strip("[]")
        if not 0 < target.port < 65536:
            raise Failed("unreachable", f"there is no port {target.port}")
        try:
            found = within(
                self.remaining(),
                lambda: socket.getaddrinfo(host, target.port, type=socket.SOCK_STREAM),
                lambda: Failed("name_not_resolved", f"no answer about {host!r} within {target.timeout:g} s"),
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise Failed("name_not_resolved", f"{host!r}: {printable(reason)}") from None
        for family, kind, protocol, _name, address in found:
            if not any(address == other[-1] for other in self.found):
                self.found.append((family, kind, protocol, address))
                self.addresses.append({"address": str(address[0]), "result": "untried", "detail": ""})
        return ", ".join(entry["address"] for entry in self.addresses)

    def connect(self) -> str:
        """Connect to the first address that takes us; the others keep their errors."""
        for index, entry in enumerate(self.addresses):
            # No address may use up the time of those after it.
            share = self.remaining() / (len(self.addresses) - index)
            try:
                sock = self._connected(self.found[index], share)
            except OSError as error:
                entry["result"] = outcome_of_connect(error)
                entry["detail"] = f"no answer within {share:.1f} s" if not error.errno else str(error.strerror)
            else:
                entry["result"] = "connected"
                entry["local"] = str(sock.getsockname()[0])
                self._link = Link(sock, self.remaining)
                return entry["address"]
        results = [entry["result"] for entry in self.addresses]
        outcome = next((outcome for outcome, _numbers in _CONNECT if outcome in results), "unreachable")
        raise Failed(outcome, "; ".join(f"{entry['address']}: {entry['detail']}" for entry in self.addresses))

    @staticmethod
    def _connected(found: tuple[Any, ...], seconds: float) -> socket.socket:
        family, kind, protocol, address = found
        sock = socket.socket(family, kind, protocol)
        try:
            if seconds <= 0:
                raise socket.timeout
            sock.settimeout(seconds)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # small frames must not wait for each other
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock

    def tls(self) -> str:
        """Shake hands; the certificate must name the host."""
        tls = self.target.tls or Tls()
        try:
            context = within(
                self.remaining(),
                lambda: tls.context,
                lambda: Failed("timed_out", "the certificate files of this host could not be read in time"),
            )
        except (OSError, ValueError) as error:
            raise Failed("tls_failed", f"a certificate file can't be used: {printable(str(error))}") from None
        with self.link.bounded():
            self.link.sock = context.wrap_socket(self.link.sock, server_hostname=self.target.host.strip("[]"))
        return str(self.link.sock.version())

    def header(self) -> str:
        """Say the protocol's version and hear the broker's greeting, which needs no login."""
        self.link.send(amqp.HEADER)
        reader = self.link.expect("connection.start").reader()
        reader.take(2)  # the version, 0-9, which the header has settled
        properties = reader.table()
        self.start = {"mechanisms": reader.long_string().split(), "capabilities": properties.get("capabilities")}
        self.server = {
            name: printable(str(properties[name]))
            for name in ("product", "version", "cluster_name")
            if name in properties
        }
        return " ".join(self.server.values())

    def login(self) -> str:
        """Log in with PLAIN; a broker that knows authentication_failure_close refuses with a reason."""
        if "PLAIN" not in self.start["mechanisms"]:
            raise Failed("login_refused", f"it offers {', '.join(self.start['mechanisms'])}, not PLAIN")
        try:
            secret = "\0".join(["", self.target.user or "", self.target.password or ""]).encode()
        except UnicodeEncodeError:  # its text would show a part of the password
            raise Failed("login_refused", "they hold a character that UTF-8 does not know") from None
        arguments = (
            amqp.table({**_PROPERTIES, "connection_name": self.target.name})
            + amqp.short_string("PLAIN")
            + amqp.long_string(secret)
        )
        self.link.send(amqp.method("connection.start-ok", 0, arguments + amqp.short_string("en_US")))
        try:
            answer = self.link.expect("connection.tune", "connection.secure")
        except Failed as failure:
            capabilities = self.start["capabilities"]
            explains = isinstance(capabilities, dict) and capabilities.get("authentication_failure_close")
            if failure.outcome == "reset" and not explains:
                raise Failed("login_refused", "it closed the connection, which is how old brokers refuse") from None
            raise
        if answer.name == "connection.secure":
            raise Failed("login_refused", "it asks for more than a user and a password")
        reader = answer.reader()
        reader.take(2)
        self.link.frame_max = min(reader.unpack("I") or FRAME_MAX, FRAME_MAX)
        return ""

    def vhost(self) -> str:
        """Open the virtual host; heartbeats are off, the probe is too short for them."""
        try:
            name = amqp.short_string(self.target.vhost)
        except ValueError:
            raise Failed("vhost_missing", "a name has at most 255 bytes") from None
        self.link.send(amqp.method("connection.tune-ok", 0, struct.pack(">HIH", 1, self.link.frame_max, 0)))
        self.link.send(amqp.method("connection.open", 0, name + b"\0\0"))
        self.link.expect("connection.open-ok")
        self.open = True
        return ""

    def publish(self) -> str:
        """Publish a message to a queue that only this connection sees and that goes with it."""
        link = self.link
        link.send(amqp.method("channel.open", 1, b"\0"))
        link.expect("channel.open-ok")
        link.send(amqp.method("confirm.select", 1, b"\0"))
        link.expect("confirm.select-ok")
        exclusive_auto_delete = b"\x0c"
        link.send(amqp.method("queue.declare", 1, b"\0\0\0" + exclusive_auto_delete + amqp.table({})))
        self.queue = link.expect("queue.declare-ok").reader().short_string()
        mandatory = b"\x01"
        arguments = b"\0\0\0" + amqp.short_string(self.queue) + mandatory
        link.send(amqp.method("basic.publish", 1, arguments) + amqp.content(1, self.token, link.frame_max))
        try:
            answer = link.expect("basic.ack", "basic.nack", "basic.return")
        except Failed as failure:
            if failure.outcome == "timed_out":
                raise Failed("confirm_timed_out", "no confirm came") from None
            raise
        if answer.name != "basic.ack":
            raise Failed("confirm_timed_out", f"the broker answered {answer.name}")
        return ""

    def get(self) -> str:
        """Get the message back and compare it."""
        self.link.send(amqp.method("basic.get", 1, b"\0\0" + amqp.short_string(self.queue) + b"\0"))
        answer = self.link.expect("basic.get-ok", "basic.get-empty")
        if answer.name == "basic.get-empty":
            raise Failed("confirm_timed_out", "it was confirmed, but the queue is empty")
        tag = answer.reader().take(8)
        if self.link.content() != self.token:
            raise Failed("confirm_timed_out", "another message came back")
        self.link.send(amqp.method("basic.ack", 1, tag + b"\0"))
        return ""

    def goodbye(self, wait: bool) -> None:
        """Close the connection as the protocol wants it, so that the broker has nothing to warn about.

        A broker that blocks us reads nothing, so waiting for its answer is in vain; it finds our goodbye later.
        """
        if self._link is None:
            return
        link, limit = self._link, self.clock() + _GOODBYE
        link.remaining = lambda: limit - self.clock()
        with closing(link.sock), suppress(Failed):
            if self.open:
                bye = struct.pack(">H", 200) + amqp.short_string("Goodbye") + struct.pack(">HH", 0, 0)
                link.send(amqp.method("connection.close", 0, bye))
                while wait and link.frame().name != "connection.close-ok":
                    pass
