# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The load on the stand-in Veza, and the first half of the ledger: what was asked, and what was answered.

A process of its own that knows nothing of Veza but its API. Each request is written down before it is sent, and its
outcome after:

* ``ok``: answered with the status that was hoped for. Veza owes the effect.
* ``failed``: refused by the API, or never sent.
* ``unknown``: sent, and the connection died before the answer. Veza owes nothing, and may have done it.

A request that was written down and has no outcome is unknown too: that is how a killed load generator reads.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import queue
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .ledger import GONE, Outcome, Request

CYCLE = ("upload", "distribute", "upload", "takedown", "read")
"""What is asked in turn; every kind of event comes often enough to be caught by a short outage."""

SPARED = 4
"""The latest uploads are not taken down yet: takedowns concern earlier tracks."""

THREADS = 24
"""Enough for an API that holds each request for its whole backoff."""

TIMEOUT = 20.0
"""Seconds that one request may take."""

HOPED_FOR: dict[str, tuple[int, ...]] = {
    "upload": (202,),
    "distribute": (202,),
    "takedown": (202,),
    # The track may have been taken down since it was chosen.
    "read": (200, GONE),
}


@dataclass(frozen=True)
class Intent:
    """One thing to ask of one API instance. ``warm`` names instances that must have read the track before."""

    what: str
    api: str
    track_id: str | None = None
    warm: tuple[str, ...] = ()


@dataclass
class Mix:
    """Decides what to ask next, from the tracks that are known so far. Pure but for its random numbers."""

    apis: Sequence[str]
    random: random.Random
    tracks: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    turn: int = 0

    def next(self) -> Intent:
        """Return the next thing to ask; an upload where what would be next has no track yet."""
        what = CYCLE[self.turn % len(CYCLE)]
        self.turn += 1
        api = self.random.choice(self.apis)
        track = self._track(what)
        if track is None:
            return Intent("upload", api)
        if what == "takedown":
            self.taken.add(track)
            # A cache that has never seen the track cannot go stale: every instance reads it first.
            return Intent(what, api, track, warm=tuple(self.apis))
        return Intent(what, api, track)

    def uploaded(self, track: str) -> None:
        """Take note of a track that the API has accepted."""
        self.tracks.append(track)

    def _track(self, what: str) -> str | None:
        """Return a track that ``what`` can be asked about; a track is taken down only once, and is then let be."""
        known = self.tracks[:-SPARED] if what == "takedown" else self.tracks
        possible = [] if what == "upload" else [track for track in known if track not in self.taken]
        return self.random.choice(possible) if possible else None


@dataclass(frozen=True)
class Answer:
    """What came of one HTTP request; ``status`` is None when there was no answer."""

    outcome: Outcome
    status: int | None
    document: dict[str, Any]
    detail: str = ""


class Sink:
    """An append-only file of JSON lines; a line is written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, **line: Any) -> None:
        """Append one line: it outlives this process from here on."""
        os.write(self._descriptor, (json.dumps(line) + "\n").encode())


def send(url: str, method: str, path: str, body: dict[str, Any] | None, hoped_for: tuple[int, ...]) -> Answer:
    """Send one request. Whatever happens after the connection stands, and before a whole answer, is unknown."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=TIMEOUT)
    try:
        try:
            connection.connect()
        except OSError as error:
            return Answer("failed", None, {}, f"not sent: {error}")
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": "application/json", "Connection": "close"})
            response = connection.getresponse()
            document = json.loads(response.read() or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer("unknown", None, {}, f"{type(error).__name__}: {error}")
    finally:
        connection.close()
    outcome: Outcome = "ok" if response.status in hoped_for else "failed"
    return Answer(outcome, response.status, document if isinstance(document, dict) else {})


class Generator:
    """Keeps a set rate of requests going, and writes all of them down."""

    def __init__(self, apis: dict[str, str], sink: Sink, mix: Mix) -> None:
        self.apis, self.sink, self.mix = apis, sink, mix
        self.stopping = threading.Event()
        self.outcomes: Counter[str] = Counter()
        self.skipped = 0
        self._lock = threading.Lock()
        self._number = 0
        self._intents: queue.Queue[Intent | None] = queue.Queue(maxsize=THREADS)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _unused in range(THREADS)]

    def run(self, rate: float, seconds: float) -> None:
        """Ask ``rate`` things a second until ``seconds`` have passed or ``stopping`` is set; then await the answers.

        What cannot be begun in time is left out rather than made up for: no wave of requests follows a stall.
        """
        for thread in self._threads:
            thread.start()
        for due in schedule(time.monotonic(), rate, seconds):
            if self.stopping.wait(max(0.0, due - time.monotonic())):
                break
            with self._lock:
                intent = self.mix.next()
            try:
                self._intents.put_nowait(intent)
            except queue.Full:
                self.skipped += 1
        # What nobody has begun is left out, too: while all requests hang, it would be for long.
        with contextlib.suppress(queue.Empty):
            while self._intents.get_nowait():
                self.skipped += 1
        for _thread in self._threads:
            self._intents.put(None)
        deadline = time.monotonic() + TIMEOUT + 1
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (intent := self._intents.get()) is not None:
            for api in intent.warm:
                self.ask(Intent("read", api, intent.track_id))
            self.ask(intent)

    def ask(self, intent: Intent) -> Answer:
        """Send one request, written down before and after."""
        with self._lock:
            self._number += 1
            # Several load generators, one after the other, may share a sink.
            number = f"{os.getpid()}-{self._number}"
        method, path, body = wire(intent, number)
        common = {"id": number, "what": intent.what, "api": intent.api, "track_id": intent.track_id}
        self.sink.write(at=time.time(), phase="sent", **common)
        answer = send(self.apis[intent.api], method, path, body, HOPED_FOR[intent.what])
        entity = answer.document.get("id")
        if answer.outcome == "ok" and intent.what != "read" and entity is None:
            answer = Answer("unknown", answer.status, answer.document, "accepted without an id")
        self.sink.write(
            at=time.time(),
            phase="ended",
            outcome=answer.outcome,
            status=answer.status,
            entity_id=None if entity is None else str(entity),
            detail=answer.detail,
            **common,
        )
        with self._lock:
            self.outcomes[answer.outcome] += 1
            if intent.what == "upload" and answer.outcome == "ok":
                self.mix.uploaded(str(entity))
        return answer


def wire(intent: Intent, number: str) -> tuple[str, str, dict[str, Any] | None]:
    """Return the method, path and body that ask for ``intent``."""
    track = f"/api/v1/tracks/{intent.track_id}"
    requests: dict[str, tuple[str, str, dict[str, Any] | None]] = {
        "upload": ("POST", "/api/v1/tracks", {"title": f"Track of request {number}"}),
        "distribute": ("POST", f"{track}/distribute", {"platform": "spotify"}),
        "takedown": ("POST", f"{track}/takedown", {}),
        "read": ("GET", track, None),
    }
    return requests[intent.what]


def schedule(start: float, rate: float, seconds: float, clock: Callable[[], float] = time.monotonic) -> Iterator[float]:
    """Yield the instants at which requests are due, skipping those that a stall has let pass by over a second."""
    number = 0
    while (due := start + number / rate) < start + seconds:
        late = clock() - due
        if late > 1.0:
            number += int(late * rate)
            continue
        yield due
        number += 1


def read(lines: Iterable[str]) -> tuple[Request, ...]:
    """Return the requests that stand in a sink. One without an outcome is unknown; a line cut short is left out."""
    found: dict[str, dict[str, Any]] = {}
    for text in lines:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        request = found.setdefault(line["id"], {"sent_at": line["at"], "ended_at": None, "outcome": "unknown"})
        request.update({name: line[name] for name in ("id", "what", "api", "track_id")})
        if line["phase"] == "ended":
            request.update(ended_at=line["at"], outcome=line["outcome"], entity_id=line["entity_id"])
    return tuple(Request(**request) for request in found.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until the time is over, or SIGTERM or SIGINT comes; print what became of the requests."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.loadgen", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--api", action="append", required=True, metavar="NAME=URL", help="an API instance; repeat it")
    parser.add_argument("--sink", type=Path, required=True, help="the file to append the requests to")
    parser.add_argument("--rate", type=float, default=6.0, help="requests a second (6)")
    parser.add_argument("--seconds", type=float, default=300.0, help="stop by itself after so long (300)")
    parser.add_argument("--seed", type=int, default=None, help="of the random numbers, to repeat a run's mix")
    options = parser.parse_args(arguments)
    apis = dict(item.split("=", 1) for item in options.api)
    generator = Generator(apis, Sink(options.sink), Mix(sorted(apis), random.Random(options.seed)))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_unused: generator.stopping.set())
    generator.run(options.rate, options.seconds)
    print(json.dumps({**generator.outcomes, "skipped": generator.skipped}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
