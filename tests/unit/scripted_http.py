# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HTTP server on loopback that answers what a test scripted, and notes what it was asked."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    params: list[tuple[str, str]]
    headers: dict[str, str]

    def param(self, name: str) -> str | None:
        """Return the first value of a parameter."""
        return next((value for key, value in self.params if key == name), None)


@dataclass(frozen=True)
class Answer:
    """One answer; ``fault`` is ``hang`` (no answer), ``reset`` (no answer either) or ``cut`` (half of the body)."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""


@dataclass
class Server:
    """A server that runs; ``asked`` grows with each request."""

    url: str
    asked: list[Asked]


Script = Callable[[Asked, int], Answer]
"""Takes a request and how many there were before it."""


def scripted(*answers: Answer) -> Script:
    """Return a script that gives each answer once; a request beyond the last is answered with 599."""
    return lambda _asked, number: answers[number] if number < len(answers) else Answer(599, "nobody expected this")


@contextmanager
def served(script: Script) -> Iterator[Server]:
    """Run a server until the test is over."""
    asked: list[Asked] = []
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Asked(self.command, parts.path, parse_qsl(parts.query, keep_blank_values=True), headers)
            asked.append(request)
            answer = script(request, len(asked) - 1)
            if answer.fault == "hang":
                over.wait(30)
            if answer.fault in ("hang", "reset"):
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            self._write(answer)

        def _write(self, answer: Answer) -> None:
            body = answer.body if isinstance(answer.body, bytes) else _encoded(answer.body)
            self.send_response(answer.status)
            plain = isinstance(answer.body, (str, bytes)) or answer.body is None
            headers = {"Content-Type": "text/plain" if plain else "application/json", **answer.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if answer.fault == "cut":
                body, self.close_connection = body[: len(body) // 2], True
            self.wfile.write(body)

        do_GET = do_POST = _answer

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_address[1]}", asked)
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _encoded(body: Any) -> bytes:
    if body is None:
        return b""
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


@dataclass
class FakeTime:
    """Clocks that only ``sleep`` moves."""

    elapsed: float = 0.0
    epoch: float = 1_795_000_000.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        """Return the monotonic clock's reading."""
        return self.elapsed

    def now(self) -> float:
        """Return the seconds since the epoch."""
        return self.epoch + self.elapsed

    def sleep(self, seconds: float) -> None:
        """Pass ``seconds`` in no time."""
        self.slept.append(seconds)
        self.elapsed += seconds
