# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in Sentry: takes events, and answers the question that the real API answers.

``POST /_lab/limit`` with ``{"ingest": n, "reads": n, "retry_after": seconds}`` makes it refuse the next n events or
reads with 429, as Sentry does under its rate limits.
"""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import sentry_query
from .web import LOOPBACK, Request, Response, Route, serve

ORGANIZATION = "veza"


class Sentry:
    """The routes, the events, and the limits in force."""

    def __init__(self, store: Path, token: str, url: str) -> None:
        self._store = store
        self._token = token
        self._url = url
        self._lock = threading.Lock()
        self._limits = {"ingest": 0, "reads": 0, "retry_after": 1}
        # A Sentry that is restarted has not forgotten.
        self._events: list[dict[str, Any]] = []
        if store.exists():
            self._events = [json.loads(line) for line in store.read_text().splitlines()]

    def routes(self) -> list[Route]:
        """Return the table of routes."""
        return [
            ("POST", r"/api/\d+/store/", self.ingest),
            ("GET", "/api/0/organizations/([^/]+)/events/", self.events),
            ("POST", "/_lab/limit", self.limit),
        ]

    def ingest(self, request: Request) -> Response:
        """Take one event."""
        if self._limited("ingest"):
            return self._too_many()
        with self._lock:
            self._events.append(request.body)
            with self._store.open("a") as file:
                file.write(json.dumps(request.body) + "\n")
        return Response(200, {"id": request.body["event_id"]})

    def events(self, request: Request, organization: str) -> Response:
        """Answer a page of the table of events."""
        token = request.bearer()
        if token is None:
            return Response(401, {"detail": "Authentication credentials were not provided."})
        if token != self._token:
            return Response(401, {"detail": "Invalid token"})
        if organization != ORGANIZATION:
            return Response(404, {"detail": "The requested resource does not exist"})
        if self._limited("reads"):
            return self._too_many()
        try:
            query = sentry_query.parse(request.query, datetime.now(UTC))
        except sentry_query.Invalid as error:
            return Response(400, {"detail": str(error)})
        known = {"-1", str(sentry_query.PROJECT_ID)}
        if not set(request.query.get("project", [])) <= known:
            return Response(403, {"detail": "You do not have permission to perform this action."})
        with self._lock:
            if not query.environments <= {event.get("environment") for event in self._events}:
                return Response(404, {"detail": "The requested resource does not exist"})
            rows, more = sentry_query.page(self._events, query)
        link = sentry_query.link_header(self._url + request.path, request.query, query, more)
        return Response(200, {"data": rows, "meta": sentry_query.meta(query.fields)}, {"Link": link})

    def limit(self, request: Request) -> Response:
        """Refuse some of what comes next."""
        with self._lock:
            self._limits.update({name: int(request.body[name]) for name in self._limits if name in request.body})
            return Response(200, dict(self._limits))

    def _limited(self, what: str) -> bool:
        with self._lock:
            if self._limits[what] <= 0:
                return False
            self._limits[what] -= 1
            return True

    def _too_many(self) -> Response:
        return Response(429, {"detail": "You are attempting to use this endpoint too frequently."}, self._retry_after())

    def _retry_after(self) -> dict[str, str]:
        return {"Retry-After": str(self._limits["retry_after"])}


def main() -> None:
    """Serve until the process is ended."""
    environment = os.environ
    port = int(environment["SENTRY_PORT"])
    # As its clients reach it: links to further pages begin with it.
    url = environment.get("SENTRY_URL", f"http://{LOOPBACK}:{port}")
    sentry = Sentry(Path(environment["SENTRY_STORE"]), environment["SENTRY_TOKEN"], url)

    def on_error(error: BaseException) -> Response:
        return Response(500, {"detail": f"Internal Error: {error!r}"})

    serve(port, sentry.routes(), on_error, environment.get("BIND_ADDRESS", LOOPBACK))


if __name__ == "__main__":
    main()
