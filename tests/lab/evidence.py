# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the facts that the ledger judges by: from the sinks, the database, the broker, the sockets and the API.

What cannot be read is None, and never zero.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2

from . import apps, broker, loadgen
from .ledger import Attempt, Effect, Event, Facts, Job, Outage, Request, Settled
from .state import Lab, LabError

QUEUES = ("transcode_jobs", "distribution_outbox", "dmca_propagation", "search_index_updates")
"""What the runbook names; not taken from what is judged."""

HEARTBEATS = 3
"""A connection that died silently is noticed after two to three of them."""

EFFECTS = "SELECT key, dispatch, extract(epoch FROM at)::float8 FROM effects ORDER BY id"
JOBS = "SELECT id::text, track_id::text, status, extract(epoch FROM created_at)::float8 FROM transcode_jobs ORDER BY id"
LIVE_JOBS = "SELECT count(*) FROM transcode_jobs WHERE status IN ('pending', 'processing')"

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def sink(lab: Lab) -> Path:
    """Return the file in which the load generators write their requests."""
    return lab.dir / "requests.jsonl"


def requests(lab: Lab) -> tuple[Request, ...]:
    """Return what was asked of Veza so far."""
    file = sink(lab)
    return loadgen.read(file.read_text().splitlines() if file.exists() else [])


def quiet_seconds(lab: Lab) -> float:
    """Return how long there must have been no load before anything may be called lost."""
    return lab.options.backoff + HEARTBEATS * lab.options.heartbeat


def gather(lab: Lab, outage: Outage | None, listed: frozenset[Event] | None, **more: Any) -> Facts:
    """Return all facts about a lab, as they are now. ``more`` is passed on (``demanded``)."""
    asked = requests(lab)
    return Facts(
        requests=asked,
        attempts=attempts(lab.attempts_text().splitlines()),
        effects=tuple(Effect(*row) for row in query(lab, EFFECTS)),
        jobs=tuple(Job(*row) for row in query(lab, JOBS)),
        final_reads=final_reads(lab, asked),
        settled=settled(lab),
        outage=outage,
        listed=listed,
        **more,
    )


def query(lab: Lab, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of one statement."""
    connection = psycopg2.connect(lab.urls["database"], connect_timeout=5)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())
    finally:
        connection.close()


def attempts(lines: Iterable[str]) -> tuple[Attempt, ...]:
    """Return what stands in the workers' sink."""
    parsed = (json.loads(line) for line in lines)
    return tuple(
        Attempt(line["key"], line["dispatch"], datetime.fromisoformat(line["at"]).timestamp(), line["redelivered"])
        for line in parsed
    )


def final_reads(lab: Lab, requests: Iterable[Request]) -> dict[str, dict[str, int | None]]:
    """Ask every instance for every track whose takedown was accepted."""
    taken = {request.track_id for request in requests if any(kind == "dmca" for kind, _id in request.events)}
    return {
        track: {name: _status(f"{url}/api/v1/tracks/{track}") for name, url in lab.urls["backends"].items()}
        for track in sorted(filter(None, taken))
    }


def settled(lab: Lab) -> Settled:
    """Return what is still on its way in the lab."""
    depths = _depths(lab)
    names = [*QUEUES, *(f"{name}.dlq" for name in QUEUES)]
    letters = [name for name in names if name.endswith(".dlq")]
    keys = _dead_letters(lab, letters)
    return Settled(
        at=time.time(),
        needed=quiet_seconds(lab),
        buffered={name: _buffered(lab, name) for name in apps.backends(lab)},
        sockets=_sockets(lab),
        ready={name: depths.get(name, (None, None))[0] for name in names if name not in letters},
        unacked={name: depths.get(name, (None, None))[1] for name in names},
        live_jobs=_live_jobs(lab),
        dead_letters=keys,
        dead_letter_depth=_total(depths, letters),
    )


def listed(incidents: Iterable[Mapping[str, Any]]) -> frozenset[Event] | None:
    """Return what the audits of all incidents left for a human; None when there was no audit."""
    audits = [
        incident["record"]["left"]
        for incident in incidents
        if any(event.get("type") == "audit" for event in incident.get("events", []))
    ]
    if not audits:
        return None
    return frozenset((entry["kind"], str(entry["entity_id"])) for entries in audits for entry in entries)


def unsent(tables: Iterable[str], port: int) -> int:
    """Return the bytes that wait in sockets from and to ``port``, given the contents of /proc/net/tcp and tcp6.

    A client whose messages the broker does not read yet may end and they still arrive: they wait in the kernel.
    """
    total, wanted = 0, f"{port:04X}"
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            local, remote, (sending, received) = fields[1], fields[2], fields[4].split(":")
            if remote.endswith(f":{wanted}"):
                total += int(sending, 16)
            # 0A: a listener, whose figure counts connections.
            elif local.endswith(f":{wanted}") and fields[3] != "0A":
                total += int(received, 16)
    return total


def _status(url: str) -> int | None:
    try:
        with _OPENER.open(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return None


def _buffered(lab: Lab, backend: str) -> int | None:
    try:
        return int(apps.health(lab, backend)["buffered"])
    except (OSError, ValueError, KeyError):
        return None


def _live_jobs(lab: Lab) -> int | None:
    try:
        return int(query(lab, LIVE_JOBS)[0][0])
    except psycopg2.Error:
        return None


LOOKS = 10
"""A heartbeat may be on its way at any moment; what is stuck is there at every look."""


def _sockets(lab: Lab) -> int | None:
    """Return what is stuck on its way to the broker: the least that several looks within two seconds saw."""
    least = _socket_look(lab)
    for _look in range(LOOKS - 1):
        if not least:
            break
        time.sleep(0.2)
        seen = _socket_look(lab)
        least = None if seen is None else min(least, seen)
    return least


def _socket_look(lab: Lab) -> int | None:
    """Return the bytes on their way to the broker, plus the connections that the broker does not read from."""
    try:
        connections = broker.api(lab, "GET", "/api/connections?columns=name,state")
    except (OSError, LabError, ValueError):
        return None
    blocked = sum(connection.get("state") in {"blocked", "blocking"} for connection in connections)
    return blocked + unsent(lab.tcp_tables(), lab.ports["amqp"])


def _depths(lab: Lab) -> dict[str, tuple[int, int]]:
    """Return ready and unacknowledged of each queue, from the queues themselves: the management API's are stale."""
    columns = ("name", "messages_ready", "messages_unacknowledged")
    try:
        text = lab.rabbitmqctl("-q", "--formatter", "json", "list_queues", "-p", broker.VHOST, *columns, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {row["name"]: (row["messages_ready"], row["messages_unacknowledged"]) for row in json.loads(text)}


def _total(depths: Mapping[str, tuple[int, int]], names: Iterable[str]) -> int | None:
    found = [depths.get(name) for name in names]
    return None if None in found else sum(depth[0] for depth in found if depth is not None)


def _dead_letters(lab: Lab, names: Iterable[str]) -> tuple[str, ...] | None:
    """Return the keys of all dead letters, which stay where they are."""
    body = {"count": 10_000, "ackmode": "ack_requeue_true", "encoding": "auto"}
    keys = []
    try:
        for name in names:
            path = f"/api/queues/{quote(broker.VHOST, safe='')}/{name}/get"
            keys += [json.loads(message["payload"])["key"] for message in broker.api(lab, "POST", path, body)]
    except (OSError, LabError, ValueError, KeyError):
        return None
    return tuple(keys)
