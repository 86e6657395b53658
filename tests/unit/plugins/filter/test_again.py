# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters outage_began_again and outage_interruptions."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._again import outage_began_again, outage_interruptions

BEFORE, SERVED, AFTER = (f"2026-01-31T02:0{minute}:00.000Z" for minute in (3, 4, 5))


def verdict(start: str | None = BEFORE, *, serves: bool | None = True, affects: str = "nothing") -> dict[str, Any]:
    return {"outage": {"start": start}, "serves": serves, "affects": affects}


def record(serving: str | None = SERVED, last_began: str | None = BEFORE) -> dict[str, Any]:
    return {"milestones": {"serving": serving}, "last_began": last_began}


def started(at: str | None, offset: float | None = 0.0) -> dict[str, Any]:
    return {"brokers": {"a": {"info": {"process": {"started_at": at}, "clock": {"offset": offset}}}}}


@pytest.mark.parametrize(
    ("seen", "known", "evidence", "again"),
    [
        pytest.param(verdict(), record(), started(BEFORE), False, id="the work of another is finished"),
        pytest.param(verdict(None), record(serving=None), {}, True, id="nobody has seen it serve"),
        pytest.param(verdict(AFTER), record(), {}, True, id="the verdict knows of a later beginning"),
        pytest.param(verdict(), record(last_began=AFTER), {}, True, id="the record knows of a later beginning"),
        pytest.param(verdict(), record(), started(AFTER), True, id="the broker was started since"),
        pytest.param(verdict(), record(), started(AFTER, 90.0), False, id="that host's clock is ahead"),
        pytest.param(verdict(), record(), started(AFTER, None), True, id="nobody knows about its clock"),
        pytest.param(verdict(), record(), started(None), False, id="its start is not known"),
        pytest.param(verdict(serves=False, affects="all"), record(), {}, True, id="it looks as one with the first"),
        pytest.param(verdict(serves=None, affects="targets"), record(), {}, True, id="a way to it is cut"),
        pytest.param(verdict(serves=True, affects="queues"), record(), {}, False, id="a worker hangs"),
    ],
)
def test_whether_an_outage_has_begun_again(seen: dict, known: dict, evidence: dict, again: bool) -> None:
    assert outage_began_again(seen, known, evidence) is again


def test_a_broker_that_this_run_has_started_was_away() -> None:
    assert outage_began_again(verdict(), record(), {}, AFTER) is True
    assert outage_began_again(verdict(), record(), {}, "") is False


def nodes(*uptimes: int | None) -> dict[str, Any]:
    return {"traffic": {"nodes": [{"name": f"rabbit@{n}", "uptime": uptime} for n, uptime in enumerate(uptimes)]}}


@pytest.mark.parametrize(
    ("health", "logs", "told"),
    [
        pytest.param(nodes(70_000), [], [], id="up since before"),
        pytest.param(nodes(55_000), [], [], id="within what the uptime lags"),
        pytest.param(nodes(45_000), [], ["rabbit@0 was started again at about 2026-01-31T02:04:15.000Z"], id="later"),
        pytest.param(nodes(None, 20_000), [], ["rabbit@1 was started again at about 2026-01-31T02:04:40.000Z"],
                     id="one of two"),
        pytest.param({"failed": True}, [], [], id="no answer"),
        pytest.param({}, [{"item": "b", "count": 3}, {"item": "c", "count": 0}, {"item": "d", "count": None}],
                     ["3 events more were dropped on b"], id="dropped"),
    ],
)  # fmt: skip
def test_what_has_interrupted_it(health: dict, logs: list, told: list[str]) -> None:
    assert outage_interruptions(health, logs, SERVED, AFTER) == told
