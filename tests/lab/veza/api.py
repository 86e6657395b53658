# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in Veza API: one instance is one process, configured by its environment as the container is."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from typing import Any

from . import database
from .database import Database
from .eventbus import EventBus
from .events import Event
from .log import Logger, Sentry
from .web import LOOPBACK, Request, Response, Route, serve

ACCEPTED = 202
BLOCKED = Response(451, {"error": "unavailable for legal reasons"})
NOT_FOUND = Response(404, {"error": "no such track"})
UNAUTHORIZED = Response(401, {"error": "unauthorized"}, {"WWW-Authenticate": "Bearer"})

LEVEL = "/api/v1/admin/eventbus/degraded-log-level"


class Takedowns:
    """This instance's own cache of which tracks are taken down. Nothing in it expires.

    Whoever fills it holds the lock while it reads the database: an invalidation can't slip in between.
    """

    def __init__(self, store: Database) -> None:
        self._store = store
        self._blocked: dict[int, bool] = {}
        self._lock = threading.Lock()

    def blocked(self, track_id: int) -> bool | None:
        """Tell whether a track is blocked, as far as this cache knows; None when there is no such track."""
        with self._lock:
            if track_id not in self._blocked:
                with self._store.transaction() as cursor:
                    found = database.is_blocked(cursor, track_id)
                if found is None:
                    return None
                self._blocked[track_id] = found
            return self._blocked[track_id]

    def forget(self, track_id: int | None = None) -> int:
        """Forget a track, or all; return how many were forgotten."""
        with self._lock:
            if track_id is not None:
                return 0 if self._blocked.pop(track_id, None) is None else 1
            count = len(self._blocked)
            self._blocked.clear()
            return count

    def size(self) -> int:
        """Return how many tracks are cached."""
        return len(self._blocked)


class Api:
    """The routes, and what they share."""

    def __init__(self, store: Database, bus: EventBus, instance: str, admin_token: str) -> None:
        self._store = store
        self._bus = bus
        self._instance = instance
        self._admin_token = admin_token
        self._takedowns = Takedowns(store)
        self._started_at = datetime.now(UTC).isoformat()
        self._ails_until = 0.0

    def routes(self) -> list[Route]:
        """Return the table of routes."""
        return [
            ("POST", "/api/v1/tracks", self.upload),
            ("GET", r"/api/v1/tracks/(\d+)", self.track),
            ("POST", r"/api/v1/tracks/(\d+)/takedown", self.takedown),
            ("POST", r"/api/v1/tracks/(\d+)/distribute", self.distribute),
            ("GET", "/api/v1/health", self.health),
            ("POST", "/api/v1/admin/cache/dmca/flush", self.flush),
            ("GET", LEVEL, self.level),
            ("PUT", LEVEL, self.level),
            ("POST", "/internal/cache/dmca/invalidate", self.invalidate),
            ("POST", "/_lab/health", self.ail),
        ]

    def upload(self, request: Request) -> Response:
        """Store a track; transcoding and the search index follow by events."""
        with self._store.transaction() as cursor:
            track_id = database.insert_track(cursor, str(request.body.get("title", "untitled")))
        self._publish("transcode", track_id, request)
        self._publish("search", track_id, request)
        return Response(ACCEPTED, {"id": track_id})

    def track(self, _request: Request, track_id: str) -> Response:
        """Answer whether a track may be played: from the cache."""
        blocked = self._takedowns.blocked(int(track_id))
        if blocked is None:
            return NOT_FOUND
        return BLOCKED if blocked else Response(200, {"id": int(track_id)})

    def takedown(self, request: Request, track_id: str) -> Response:
        """Block a track in the database at once; the caches, this one too, hear of it by an event."""
        with self._store.transaction() as cursor:
            takedown_id = database.insert_takedown(cursor, int(track_id))
        if takedown_id is None:
            return NOT_FOUND
        self._publish("dmca", takedown_id, request, track_id=int(track_id))
        return Response(ACCEPTED, {"id": takedown_id, "track_id": int(track_id)})

    def distribute(self, request: Request, track_id: str) -> Response:
        """Ask for a track to be sent to a platform."""
        platform = str(request.body.get("platform", "spotify"))
        with self._store.transaction() as cursor:
            distribution_id = database.insert_distribution(cursor, int(track_id), platform)
        if distribution_id is None:
            return NOT_FOUND
        self._publish("distribution", distribution_id, request, track_id=int(track_id), platform=platform)
        return Response(ACCEPTED, {"id": distribution_id, "track_id": int(track_id)})

    def health(self, _request: Request) -> Response:
        """Answer 200 whatever the bus does: a degraded bus is no reason to take the API out of service."""
        if time.monotonic() < self._ails_until:
            return Response(503, {"status": "ailing"})
        document = {
            "status": "ok",
            "eventbus": self._bus.state,
            "buffered": self._bus.buffered,
            "dropped": self._bus.dropped,
            "cached_takedowns": self._takedowns.size(),
            "instance": self._instance,
            "pid": os.getpid(),
            "started_at": self._started_at,
        }
        return Response(200, document)

    def ail(self, request: Request) -> Response:
        """Answer 503 instead of 200 for so many ``seconds``: a test can see whether anybody takes notice."""
        self._ails_until = time.monotonic() + float(request.body["seconds"])
        return Response(200, {"instance": self._instance})

    def flush(self, request: Request) -> Response:
        """Empty the takedown cache of this instance."""
        if request.bearer() != self._admin_token:
            return UNAUTHORIZED
        return Response(200, {"flushed": self._takedowns.forget(), "instance": self._instance})

    def level(self, request: Request) -> Response:
        """Tell, or change until the next start, the level at which dropped events are logged."""
        if request.bearer() != self._admin_token:
            return UNAUTHORIZED
        self._bus.level = str(request.body.get("level", self._bus.level))
        return Response(200, {"level": self._bus.level, "instance": self._instance})

    def invalidate(self, request: Request) -> Response:
        """Forget one track; for the worker."""
        count = self._takedowns.forget(int(request.body["track_id"]))
        return Response(200, {"invalidated": count, "instance": self._instance})

    def _publish(self, kind: str, entity_id: int, request: Request, **extra: Any) -> None:
        # So that a test can ask for a task that fails, whoever runs it.
        if request.body.get("poison"):
            extra["poison"] = True
        # So that a test can lose an event in silence, as no bus should.
        if request.body.get("silent"):
            return
        self._bus.publish(Event(kind, entity_id, extra))


def main() -> None:
    """Serve one instance until the process is ended."""
    environment = os.environ
    instance = environment["VEZA_INSTANCE"]
    sentry = Sentry(environment["SENTRY_STORE_URL"])
    bus = EventBus(
        environment["AMQP_URL"],
        limit=float(environment["EVENTBUS_BACKOFF_LIMIT"]),
        confirms=environment["EVENTBUS_CONFIRMS"] == "on",
        heartbeat=int(environment["AMQP_HEARTBEAT"]),
        level=environment["EVENTBUS_DEGRADED_LOG_LEVEL"],
        logger=Logger("eventbus", instance, sentry),
    )
    logger = Logger("api", instance, sentry)

    def on_error(error: BaseException) -> Response:
        logger.log("error", "request failed", error=repr(error))
        return Response(503, {"error": type(error).__name__})

    api = Api(Database(environment["DATABASE_URL"]), bus, instance, environment["ADMIN_TOKEN"])
    serve(int(environment["API_PORT"]), api.routes(), on_error, environment.get("BIND_ADDRESS", LOOPBACK))


if __name__ == "__main__":
    main()
