# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for Prometheus and Alertmanager, for the lab on loopback that has neither."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

LOOK = 1.0
PENDING = 5.0
"""Seconds for which the broker must be away before the alert fires."""


class Alertmanager:
    """One alert that fires while the broker's port refuses, as a context. A disabled one never does."""

    def __init__(self, broker: tuple[str, int], disabled: bool = False) -> None:
        self._broker = broker
        self._disabled = disabled
        self._since: float | None = None
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.alerts))
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._look, self._server.serve_forever)
        ]

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Alertmanager:
        """Start it."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def alerts(self) -> list[dict[str, Any]]:
        """Return what GET /api/v2/alerts answers."""
        since = self._since
        if self._disabled or since is None or time.time() - since < PENDING:
            return []
        starts = datetime.fromtimestamp(since + PENDING, UTC).isoformat()
        labels = {"alertname": "RabbitMQUnreachable", "severity": "critical"}
        return [{"labels": labels, "startsAt": starts, "status": {"state": "active", "silencedBy": []}}]

    def _look(self) -> None:
        while not self._over.wait(LOOK):
            try:
                socket.create_connection(self._broker, timeout=1).close()
                self._since = None
            except OSError:
                self._since = self._since or time.time()


def _handler(alerts: Callable[[], list[dict[str, Any]]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            payload = json.dumps(alerts()).encode()
            self.send_response(200 if self.path.startswith("/api/v2/alerts") else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    return Handler
