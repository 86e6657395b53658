# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at Veza from outside: is it served, have the queues drained? Shares nothing with what it measures."""

from __future__ import annotations

import base64
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.lab import evidence

from . import means

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

INTERVAL = 1.0
PATIENCE = 2.0
ALARMED = 503
BLIPS = 2
"""So many looks in a row must fail before a broker that served counts as not serving again."""


@dataclass(frozen=True)
class Look:
    """What one look saw."""

    confirmed: bool = False
    """A publish was confirmed, and read back."""
    connected: bool = False
    """Each backend's event bus is connected."""
    ready: Mapping[str, int] = field(default_factory=dict)
    consumers: Mapping[str, int] = field(default_factory=dict)
    dead_letters: int | None = None

    @property
    def serving(self) -> bool:
        """Publishers and consumers are served."""
        return self.confirmed and self.connected and bool(self.consumers) and all(self.consumers.values())

    @property
    def drained(self) -> bool:
        """It serves, and no message waits for a consumer."""
        return self.serving and not any(self.ready.values())


def look(lab: IncusLab) -> Look:
    """Look once; a few seconds at the most."""
    connected = all(means.attempt(partial(means.bus, lab, name)) == "connected" for name in lab.urls["backends"])
    # A publish under an alarm would leave a blocked connection behind at every look.
    if _alarmed(lab):
        return Look(connected=connected)
    return means.attempt(lambda: _by_amqp(lab, connected)) or Look(connected=connected)


def _alarmed(lab: IncusLab) -> bool:
    """Tell whether the broker says that an alarm is in effect; one that says nothing is asked by AMQP."""
    admin = lab.credentials["admin"]
    login = base64.b64encode(f"{admin['user']}:{admin['password']}".encode()).decode()
    url = f"{lab.urls['management']}/api/health/checks/alarms"
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {login}"})
    try:
        _OPENER.open(request, timeout=PATIENCE).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == ALARMED
    except OSError:
        return False
    return False


def _by_amqp(lab: IncusLab, connected: bool) -> Look:
    with means.channel(lab, PATIENCE) as channel:
        confirmed = _round_trip(channel)
        depths = {name: channel.queue_declare(name, passive=True).method for name in evidence.QUEUES}
        letters = [channel.queue_declare(f"{name}.dlq", passive=True).method for name in evidence.QUEUES]
    return Look(
        confirmed,
        connected,
        {name: depth.message_count for name, depth in depths.items()},
        {name: depth.consumer_count for name, depth in depths.items()},
        sum(letter.message_count for letter in letters),
    )


def _round_trip(channel: Any) -> bool:
    """Publish, confirmed, into a queue that is gone with the connection, and get it back."""
    name = channel.queue_declare("", exclusive=True).method.queue
    body = str(time.time()).encode()
    channel.basic_publish("", name, body, mandatory=True)
    method, _properties, back = channel.basic_get(name, auto_ack=True)
    return method is not None and back == body


class Progress:
    """Looks again and again in a thread, as a context; see ``run.Progress``."""

    def __init__(self, look: Callable[[], Look], over: Callable[[], bool]) -> None:
        self.began = time.time()
        self.served_at: float | None = None
        self.drained_at: float | None = None
        self.last = Look()
        self._look, self._over = look, over
        self._blips = 0
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Progress:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """End."""
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._ended.is_set():
            seen = self._look()
            self.note(seen, time.time(), seen.serving and self._over())
            self._ended.wait(INTERVAL)

    def note(self, seen: Look, at: float, served: bool) -> None:
        """Take note of a look."""
        with self._changed:
            self.last = seen
            self._blips = 0 if served else self._blips + 1
            if served and self.served_at is None:
                self.served_at = at
            if served and seen.drained and self.drained_at is None:
                self.drained_at = at
            if self._blips >= BLIPS:
                self.served_at = self.drained_at = None
            self._changed.notify_all()

    def await_served(self, seconds: float) -> bool:
        """Wait until it serves and the fault is over; False when time ran out."""
        return self._await(lambda: self.served_at is not None and not self._blips, seconds)

    def await_drained(self, seconds: float) -> bool:
        """Wait until, serving, each queue has a consumer and nothing ready; False when time ran out."""
        return self._await(lambda: self.drained_at is not None, seconds)

    def _await(self, reached: Callable[[], bool], seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(reached, seconds)
