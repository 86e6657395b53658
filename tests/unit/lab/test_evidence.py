# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

from tests.lab import evidence
from tests.lab.ledger import Attempt

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"


def row(local: int, remote: int, sending: int, received: int, state: str = "01") -> str:
    addresses = f"0100007F:{local:04X} 0100007F:{remote:04X}"
    return f"   1: {addresses} {state} {sending:08X}:{received:08X} 02:000000F6 00000000     0        0 1 2 0 0"


def table(*rows: str) -> str:
    return "\n".join((HEAD, *rows)) + "\n"


def test_bytes_that_wait_on_either_side_of_the_broker_are_counted() -> None:
    client = row(50000, 5672, sending=100, received=7)
    server = row(5672, 50000, sending=9, received=20)
    elsewhere = row(50001, 5432, sending=500, received=500)
    assert evidence.unsent([table(client, elsewhere), table(server)], 5672) == 120


def test_a_listener_is_no_connection() -> None:
    assert evidence.unsent([table(row(5672, 0, sending=0, received=3, state="0A"))], 5672) == 0


def test_attempts_are_read_from_the_workers_sink() -> None:
    line = {"at": "1970-01-01T00:00:10.500Z", "key": "search:1:1", "dispatch": "message:m", "redelivered": True}
    assert evidence.attempts([json.dumps(line)]) == (Attempt("search:1:1", "message:m", 10.5, redelivered=True),)


def incident(events: list[str], listed: list[dict[str, Any]]) -> dict[str, Any]:
    return {"record": {"left": listed}, "events": [{"type": kind} for kind in events]}


def test_the_lists_of_all_audits_are_put_together() -> None:
    documents = [
        incident(["opened", "audit"], [{"kind": "search", "entity_id": 1, "next_step": "Index it."}]),
        incident(["opened", "audit"], [{"kind": "search", "entity_id": "2"}]),
        {"token": 3},  # the lease lies beside them
    ]
    assert evidence.listed(documents) == frozenset({("search", "1"), ("search", "2")})


def test_an_audit_that_lists_nothing_is_an_audit() -> None:
    assert evidence.listed([incident(["opened", "audit"], [])]) == frozenset()


def test_an_incident_that_was_never_audited_says_nothing() -> None:
    assert evidence.listed([incident(["opened"], [])]) is None
    assert evidence.listed([]) is None
