# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import RequestFailed
from ansible_collections.veza.rabbitmq.plugins.module_utils._http import Reply
from ansible_collections.veza.rabbitmq.plugins.module_utils._management import Answer, Management
from ansible_collections.veza.rabbitmq.plugins.module_utils._queues import Depth, Reader, depth_of, settlement

Replier = Callable[..., Reply]

COUNTS = "name,messages,messages_ready,messages_unacknowledged"
QUEUE = f"/api/queues/%2Fveza/jobs?columns={COUNTS},type,state,consumers,message_stats,consumer_details"
LIST = f"/api/queues/%2Fveza?columns={COUNTS}&disable_stats=true&enable_queue_totals=true"
TOTAL = "/api/queues/%2Fveza/jobs?disable_stats=true&enable_queue_totals=true"
OVERVIEW = "/api/overview?columns=rabbitmq_version,object_totals"
NODES = "/api/nodes?columns=name,running,uptime"


def counts(ready: int, unacked: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "name": "jobs", "messages": ready + unacked, "messages_ready": ready, "messages_unacknowledged": unacked,
        **more,
    }  # fmt: skip


def statistics(ready: int, unacked: int = 0, kind: str = "classic") -> dict[str, Any]:
    return counts(ready, unacked, type=kind, state="running", consumers=1)


@pytest.fixture
def read(scripted_http: Any, reply: Replier) -> Callable[..., Depth]:
    def read_it(
        *totals: tuple[str, Any],
        version: str = "3.10.8",
        queues: int = 8,
        statistics: Any,
        nodes: Any = ({"name": "a", "running": True, "uptime": 600_000},),
    ) -> Depth:
        overview = reply({"rabbitmq_version": version, "object_totals": {"queues": queues}})
        nodes = nodes if isinstance(nodes, (Reply, Exception)) else reply(list(nodes))
        stated = statistics if isinstance(statistics, (Reply, Exception)) else reply(statistics)
        http = scripted_http((OVERVIEW, overview), (QUEUE, stated), *totals, (NODES, nodes))
        return Reader(Management(http, "monitor"), "/veza").read(["jobs"], 5.0)["jobs"]

    return read_it


def test_an_older_version_gives_totals_with_the_list(read: Callable[..., Depth], reply: Replier) -> None:
    depth = read((LIST, reply([{**counts(7), "name": "other"}, counts(3, 2)])), statistics=statistics(9))
    assert (depth.ready, depth.unacked, depth.messages, depth.statistics) == (3, 2, 5, 9)
    assert (depth.known, depth.fresh, depth.settled, depth.confirm, depth.consumers) == (True, True, True, False, 1)


def test_of_thousands_of_queues_only_ours_are_read(read: Callable[..., Depth]) -> None:
    depth = read(queues=10_000, statistics=statistics(0))
    assert (depth.messages, depth.fresh, depth.confirm) == (0, False, True)


def test_a_newer_version_gives_the_totals_of_one(read: Callable[..., Depth], reply: Replier) -> None:
    depth = read((TOTAL, reply(counts(4))), version="3.13.1", queues=10_000, statistics=statistics(0))
    assert (depth.messages, depth.fresh, depth.confirm) == (4, True, False)


def test_a_quorum_queue_and_an_unknown_kind_must_be_confirmed(read: Callable[..., Depth], reply: Replier) -> None:
    totals = (LIST, reply([counts(0)]))
    assert read(totals, statistics=statistics(0, kind="quorum")).confirm
    assert read(totals, statistics=counts(0, state="running")).confirm


def test_totals_without_statistics_are_unknown_not_zero(read: Callable[..., Depth], reply: Replier) -> None:
    leaderless = {"name": "jobs", "type": "quorum", "state": "running"}
    depth = read((LIST, reply([counts(0)])), statistics=leaderless)
    assert (depth.known, depth.messages) == (False, None)
    assert "missing" in depth.reason


def test_a_list_that_is_empty_or_without_the_queue_proves_nothing(read: Callable[..., Depth], reply: Replier) -> None:
    depth = read((LIST, reply([])), statistics=statistics(5))
    assert (depth.messages, depth.fresh, depth.confirm) == (5, False, True)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (404, {"error": "Object Not Found", "reason": "Not Found"}, "not_found"),
        (401, {"error": "not_authorised", "reason": "User not authorised to access virtual host"}, "not_permitted"),
        (401, {"error": "not_authorized", "reason": "Login failed"}, "login_refused"),
        (500, b"", "server_error"),
    ],
)
def test_what_can_not_be_read_is_unknown(
    read: Callable[..., Depth], reply: Replier, status: int, body: Any, outcome: str
) -> None:
    depth = read(statistics=reply(body, status))
    assert (depth.known, depth.messages, depth.outcome) == (False, None, outcome)
    assert depth.reason


def test_a_queue_without_data_is_unknown(read: Callable[..., Depth], reply: Replier) -> None:
    depth = read((LIST, reply([counts(0)])), statistics=[])
    assert (depth.known, depth.outcome) == (False, "ok")


def test_after_a_hang_nothing_more_is_asked(scripted_http: Any, reply: Replier) -> None:
    http = scripted_http((OVERVIEW, RequestFailed("timed_out", "GET x: silence")))
    depths = Reader(Management(http, "monitor"), "/veza").read(["jobs", "mails"], 5.0)
    assert [(depth.known, depth.settled, depth.outcome) for depth in depths.values()] == [
        (False, False, "not_asked")
    ] * 2


@pytest.mark.parametrize(
    ("answer", "settled"),
    [
        (Answer("ok", "", [{"name": "a", "running": True, "uptime": 10_000}]), True),
        (Answer("ok", "", [{"name": "a", "running": True, "uptime": 9_999}]), False),
        (Answer("ok", "", [{"name": "a", "uptime": 600_000}, {"name": "b", "running": True, "uptime": 5}]), False),
        (Answer("ok", "", [{"name": "a", "uptime": 600_000}, {"name": "b", "running": False}]), True),
        (Answer("ok", "", [{"name": "a", "running": True}]), False),
        (Answer("ok", "", [[]]), False),
        (Answer("server_error", "500"), False),
        (Answer("not_permitted", "401"), None),
    ],
)
def test_a_node_must_have_run_for_some_seconds(answer: Answer, settled: bool | None) -> None:
    found, why = settlement(answer)
    assert found is settled
    assert bool(why) is (settled is False)


def test_who_may_not_see_the_uptime_must_confirm(read: Callable[..., Depth], reply: Replier) -> None:
    refused = reply({"error": "not_authorised", "reason": "Not monitor user"}, 401)
    depth = read((LIST, reply([counts(0)])), statistics=statistics(0), nodes=refused)
    assert (depth.settled, depth.confirm) == (True, True)


@pytest.mark.parametrize("key", ["messages", "messages_ready", "messages_unacknowledged"])
def test_less_than_nothing_is_no_figure(key: str) -> None:
    assert not depth_of("jobs", Answer("ok", "", {**statistics(0), key: -3}), {**counts(0), key: -3}).known


def test_what_the_total_has_beyond_the_parts_counts_as_ready() -> None:
    torn = {"name": "jobs", "messages": 5, "messages_ready": 0, "messages_unacknowledged": 2}
    assert depth_of("jobs", Answer("ok", "", torn), {}).messages == 5


@pytest.mark.parametrize("missing", ["messages", "messages_ready", "messages_unacknowledged"])
def test_each_missing_key_makes_the_figures_unknown(missing: str) -> None:
    partial = {key: value for key, value in counts(0).items() if key != missing}
    assert not depth_of("jobs", Answer("ok", "", partial), {}).known
