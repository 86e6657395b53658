# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small JSON over HTTP server: a table of routes, one thread for each connection."""

from __future__ import annotations

import json
import re
import socketserver
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Request:
    """What a route is given."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    """Names in lower case."""
    body: Any
    """The parsed JSON body, an empty dict when there is none."""

    def bearer(self) -> str | None:
        """Return the token that the client shows."""
        scheme, _unused, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else None


@dataclass(frozen=True)
class Response:
    """What a route answers."""

    status: int
    document: Any
    headers: dict[str, str] = field(default_factory=dict)


Route = tuple[str, str, Callable[..., Response]]
"""Method, pattern of the whole path, and what answers it (given the request and the pattern's groups)."""


def serve(
    port: int, routes: list[Route], on_error: Callable[[BaseException], Response], address: str = LOOPBACK
) -> None:
    """Answer for ever. ``on_error`` turns what a route raised into an answer."""
    server = _Server((address, port), _handler(routes, on_error))
    server.serve_forever()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def server_bind(self) -> None:
        """Bind, and no more: HTTPServer would ask for the host's full name, which takes long where DNS is broken."""
        socketserver.TCPServer.server_bind(self)


def _handler(routes: list[Route], on_error: Callable[[BaseException], Response]) -> type[BaseHTTPRequestHandler]:
    table = [(method, re.compile(pattern), call) for method, pattern, call in routes]

    def answer(method: str, request: Request) -> Response:
        for known_method, pattern, call in table:
            match = pattern.fullmatch(request.path)
            if match and known_method == method:
                try:
                    return call(request, *match.groups())
                except Exception as error:
                    return on_error(error)
        return Response(404, {"detail": "The requested resource does not exist"})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one segment; two of them would wait for each other (Nagle, delayed ACK).
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def do_PUT(self) -> None:
            self._answer("PUT")

        def log_message(self, *_arguments: Any) -> None:
            """Log no access: the logs are for what the runbook looks at."""

        def _answer(self, method: str) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                body = json.loads(self.rfile.read(length) or b"{}")
                response = answer(method, Request(url.path, parse_qs(url.query), headers, body))
            except ValueError:
                response = Response(400, {"detail": "JSON parse error"})
            payload = json.dumps(response.document).encode()
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

    return Handler
