# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logging as the Go services do it: zap's JSON lines on stdout; what is logged as an error goes to Sentry too."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
import urllib.request
import uuid
from datetime import UTC, datetime
from typing import Any


def now() -> str:
    """Return the time as zap's ISO 8601 encoder writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Logger:
    """Writes whole lines, so that lines of several threads never mix."""

    def __init__(self, name: str, instance: str, sentry: Sentry | None = None) -> None:
        self.name = name
        self.instance = instance
        self._sentry = sentry

    def log(self, level: str, message: str, **fields: Any) -> None:
        """Log a message with fields."""
        line = {"level": level, "ts": now(), "logger": self.name, "msg": message}
        self.line({**line, **fields, "instance": self.instance})

    def line(self, line: dict[str, Any]) -> None:
        """Log a line that is already complete."""
        os.write(1, json.dumps(line).encode() + b"\n")
        if line["level"] == "error" and self._sentry is not None:
            self._sentry.capture(line)


class Sentry:
    """A client as Sentry's own: it sends in the background, and drops what Sentry refuses.

    So what arrives there is a lower bound of what happened, as in production.
    """

    def __init__(self, store_url: str) -> None:
        self._url = store_url
        self._environment = os.environ.get("SENTRY_ENVIRONMENT", "production")
        self._events: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=10_000)
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        threading.Thread(target=self._send, daemon=True, name="sentry").start()

    def capture(self, line: dict[str, Any]) -> None:
        """Send a log line as an event, later."""
        tags = {name: value for name, value in line.items() if name not in {"ts", "msg", "level", "logger"}}
        event = {"event_id": uuid.uuid4().hex, "timestamp": line["ts"], "message": line["msg"], "level": line["level"]}
        with contextlib.suppress(queue.Full):
            self._events.put_nowait({**event, "logger": line["logger"], "environment": self._environment, "tags": tags})

    def _send(self) -> None:
        while True:
            body = json.dumps(self._events.get()).encode()
            request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
            with contextlib.suppress(OSError):
                self._opener.open(request, timeout=5).close()
