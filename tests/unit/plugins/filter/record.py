# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An incident's record with everything in it that a report can have, hostile names included."""

from __future__ import annotations

from typing import Any

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_record import outage_record

BY = {"user": "ann", "host": "ops-1"}
HOSTILE = "</title><script>alert(1)</script> & \"quoted\" 'name' " + "x" * 300
"""What a log line, a queue or a person's note may hold."""


def _event(seq: int, kind: str, when: str, /, **data: Any) -> dict[str, Any]:
    return {"seq": seq, "type": kind, "key": f"{kind}{seq}", "at": f"2026-11-24T{when}.000Z", "by": BY, "data": data}


def _row(kind: str, severity: str, lost: dict[str, Any], replayed: int, left: int) -> dict[str, Any]:
    ids = [str(number) for number in range(left)]
    figures = {"lost": lost, "replayed": {"count": replayed}, "left": {"count": left, "ids": ids}}
    return {"kind": kind, "queue": kind, "subsystem": f"The subsystem {kind}", "severity": severity,
            "effect": "Something is late.", **figures}  # fmt: skip


def _sample(elapsed: float, **depths: int | None) -> dict[str, Any]:
    queues = {name: None if ready is None else {"ready": ready, "unacked": 0} for name, ready in depths.items()}
    return {"at": "2026-11-24T02:20:00Z", "elapsed": elapsed, "queues": queues}


CAUSE = {
    "id": "20261124T020304Z-paris-3f9a", "site": "paris",
    "cause": "broker_crashed", "title": "The broker's process died",
    "headline": f"The broker's process died {HOSTILE}", "started_at": "2026-11-24T02:01:00Z",
    "start_source": "the broker's log", "confidence": "high", "not_ruled_out": ["broker_oom_killed"],
    "proof": [{"host": "rabbitmq.lxd", "text": HOSTILE, "source": "journal", "at": "2026-11-24T02:01:00Z"}],
    "unknown": ["Sentry: sampled", HOSTILE],
}  # fmt: skip

SAMPLES = [
    _sample(0.1, transcode_jobs=900, search=300, empty=0, gone=None),
    _sample(2.1, transcode_jobs=500, search=None, empty=0, gone=None),
    _sample(4.1, transcode_jobs=0, search=0, empty=0, gone=None),
]

ACCOUNTING = {
    "rows": [
        _row("transcode", "MEDIUM", {"count": 93, "state": "exact", "ids": ["1", "2", "3"]}, 93, 0),
        _row("dmca", "HIGH", {"count": 47, "state": "at_least", "reasons": ["sampling"]}, 47, 0),
        _row("distribution", "MEDIUM", {"count": None, "state": "unknown", "reasons": ["retention"]}, 0, 120),
    ],
    "listed": [{"kind": "distribution", "entity_id": str(number), "next_step": "Submit it."} for number in range(120)],
    "unknown": [],
    "differences": ["Sentry 90, logs 93"],
    "window": {"start": "2026-11-24T02:01:00Z", "end": "2026-11-24T02:16:30Z"},
}

EVENTS = [
    _event(1, "opened", "02:03:04", **CAUSE),
    _event(2, "verdict", "02:03:05", **CAUSE),
    _event(3, "action", "02:03:10", name="start_broker", target="rabbitmq.lxd", changed=True, result=HOSTILE),
    _event(4, "processes", "02:03:11", text="API process unchanged on backend-1", changed=[]),
    _event(5, "serving", "02:16:30", at="2026-11-24T02:16:30Z", source="a publish was confirmed"),
    _event(6, "drained", "02:20:00", drained=True, queues=[], samples=SAMPLES),
    _event(7, "audit", "02:21:00", accounting=ACCOUNTING),
    _event(8, "note", "02:22:00", text=HOSTILE),
    _event(9, "closed", "02:23:00", reason="all is accounted for"),
]

FULL = outage_record(EVENTS)
