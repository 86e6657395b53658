# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What travels over the bus."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

EXCHANGE = "veza.events"

QUEUES = {
    "transcode": "transcode_jobs",
    "distribution": "distribution_outbox",
    "dmca": "dmca_propagation",
    "search": "search_index_updates",
}

MAX_ATTEMPTS = 6
"""One delivery and five more, as the runbook's WithRetry() has it; then the message is dead-lettered."""


def key_of(kind: str, entity_id: int, version: int = 1) -> str:
    """Return the idempotency key: the same for the message and for any replay of what it asked for."""
    return f"{kind}:{entity_id}:{version}"


@dataclass(frozen=True)
class Event:
    """An event, and the message that carries it."""

    kind: str
    entity_id: int
    extra: dict[str, Any] = field(default_factory=dict)
    """More fields of the body (``track_id`` of a takedown, ``poison``)."""
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    version: int = 1
    attempt: int = 1

    @property
    def key(self) -> str:
        """The idempotency key."""
        return key_of(self.kind, self.entity_id, self.version)

    @property
    def queue(self) -> str:
        """The queue, which is also the routing key."""
        return QUEUES[self.kind]

    def body(self) -> bytes:
        """Return the message's body."""
        document = {"kind": self.kind, "entity_id": self.entity_id, "key": self.key, "version": self.version}
        return json.dumps({**document, **self.extra}).encode()

    def again(self) -> Event:
        """Return the event for its next attempt: the same message once more."""
        return Event(self.kind, self.entity_id, self.extra, self.message_id, self.version, self.attempt + 1)

    @classmethod
    def parse(cls, body: bytes, message_id: str, headers: dict[str, Any] | None) -> Event:
        """Return the event that a message carries; ValueError, KeyError or TypeError when it carries none."""
        document = json.loads(body)
        extra = {name: value for name, value in document.items() if name not in {"kind", "entity_id", "key", "version"}}
        attempt = int((headers or {}).get("x-attempt", 1))
        return cls(document["kind"], int(document["entity_id"]), extra, message_id, int(document["version"]), attempt)


def log_of_drop(event: Event, *, level: str, instance: str, ts: str) -> dict[str, str]:
    """Return the log line of an event that the bus gave up; it is all that is left of it."""
    return {
        "level": level,
        "ts": ts,
        "logger": "eventbus",
        "msg": "publish dropped",
        "eventbus.status": "degraded",
        "kind": event.kind,
        "entity_id": str(event.entity_id),
        "key": event.key,
        "queue": event.queue,
        "instance": instance,
    }
