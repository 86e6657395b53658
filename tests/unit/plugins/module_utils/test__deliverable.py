# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _deliverable as deliverable
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import Refused, RequestFailed
from ansible_collections.veza.rabbitmq.plugins.module_utils._http import Reply
from ansible_collections.veza.rabbitmq.plugins.module_utils._management import Management

ALARMS, WHO, NODES, OVERVIEW = "/api/health/checks/alarms", "/api/whoami", "/api/nodes", "/api/overview"
CONNECTIONS, JOBS, DEAD = "/api/vhosts/%2Fveza/connections", "/api/queues/%2Fveza/jobs", "/api/queues/%2Fveza/dead"


class Api:
    """Gives each path its answers in turn, the last for ever; knows what was asked."""

    base_url = "http://broker:15672"
    timeout = 5.0

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, list[Any]] = {
            ALARMS: [{"status": "ok"}],
            WHO: [{"tags": ["monitoring"]}],
            CONNECTIONS: [[]],
            # So many that each is asked for by its name.
            OVERVIEW: [{"rabbitmq_version": "4.0.5", "object_totals": {"queues": 200}}],
            NODES: [[{"name": "rabbit@a", "running": True, "uptime": 3_600_000}]],
            JOBS: [queue("jobs")],
            DEAD: [queue("dead")],
            **answers,
        }
        self.asked: list[str] = []

    def get(self, path: str, *, params: Any = None, timeout: float | None = None) -> Reply:
        self.asked.append(path)
        answers = self.answers[path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, document = answer if isinstance(answer, tuple) else (200, answer)
        return Reply(status, {}, json.dumps(document).encode(), 0.0, self.base_url + path)


def queue(name: str, ready: int = 0, unacked: int = 0, **more: Any) -> dict[str, Any]:
    counts = {"messages": ready + unacked, "messages_ready": ready, "messages_unacknowledged": unacked}
    return {"name": name, "type": "classic", "state": "running", "consumers": 1, **counts, **more}


def look(api: Api, dead: str | None = "dead") -> tuple[deliverable.Deliverable, list[float]]:
    slept: list[float] = []
    found = deliverable.look(Management(api, "monitor"), "/veza", "jobs", dead, timeout=5.0, sleep=slept.append)
    return found, slept


def test_silence() -> None:
    api = Api()
    found, slept = look(api)
    assert found == deliverable.Deliverable(0, 0, 0, None, [])
    assert deliverable.objections(found, "jobs", "dead", allow_dead_letters=False) == []
    assert {"checked", *asdict(found)} == set(deliverable.NOT_CHECKED)
    # What leaves a socket while we look must be seen in the queue: the queues come after the sockets.
    assert api.asked.index(CONNECTIONS) < api.asked.index(JOBS)
    assert slept == []


def test_every_place_where_a_message_may_wait_is_named() -> None:
    alarm = {"status": "failed", "alarms": [{"node": "rabbit@a", "resource": "disk space"}]}
    blocked = [
        [],
        {"name": "a", "state": "blocked"},
        {"name": "b", "state": "blocking"},
        {"name": "c", "state": "flow"},
    ]
    held = {JOBS: [queue("jobs", 3, 2)], DEAD: [queue("dead", 4, 1)]}
    found, _unused = look(Api(**{ALARMS: [(503, alarm)], CONNECTIONS: [blocked], **held}))
    reasons = deliverable.objections(found, "jobs", "dead", allow_dead_letters=False)
    assert reasons == [
        "queue jobs holds 3 ready and 2 unacknowledged messages",
        "dead letter queue dead holds 5 messages, which may be brought back "
        "(on_dead_letters=proceed leaves them out of account)",
        "the broker has an alarm in effect (disk space on rabbit@a)",
        "2 publishing connections are blocked (a, b)",
    ]
    assert deliverable.objections(found, "jobs", "dead", allow_dead_letters=True) == [reasons[0], *reasons[2:]]
    # That the queue was empty before says nothing about dead letters, alarms and sockets.
    assert (
        deliverable.objections(found, "jobs", "dead", allow_dead_letters=False, was_empty=True) == reasons[1:]
    )  # fmt: skip


def test_dead_letters_are_left_out_where_no_queue_is_named() -> None:
    api = Api()
    found, _unused = look(api, dead=None)
    assert found.dead_letters is None
    assert DEAD not in api.asked


@pytest.mark.parametrize(
    "answers",
    [
        {ALARMS: [RequestFailed("refused", "GET: connection refused.")]},
        {ALARMS: [(404, {"error": "Object Not Found"})]},
        {ALARMS: [(401, {"error": "not_authorized"})]},
        {ALARMS: [(503, "maintenance")]},
        {WHO: [(404, {"error": "Object Not Found"})]},
        {WHO: [{"tags": []}]},
        {WHO: [{"tags": "management,policymaker"}]},
        {CONNECTIONS: [(401, {"error": "not_authorised", "reason": "User not authorised to access virtual host"})]},
        {JOBS: [(404, {"error": "Object Not Found"})]},
        {DEAD: [(404, {"error": "Object Not Found"})]},
        {JOBS: [{"name": "jobs", "type": "classic"}]},
        {NODES: [[{"name": "rabbit@a", "running": True, "uptime": 3_000}]]},
        {JOBS: [queue("jobs", type="quorum", state="minority")]},
    ],
)
def test_what_cant_be_known_is_a_refusal(answers: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="can't be known: .* Nothing was requeued"):
        look(Api(**answers))


def test_the_tags_of_old_versions_are_one_text() -> None:
    assert look(Api(**{WHO: [{"tags": "management, monitoring"}]}))[0].ready == 0


def test_a_zero_that_needs_confirmation_is_looked_at_again() -> None:
    found, slept = look(Api(**{JOBS: [queue("jobs", type="quorum")]}))
    assert found.ready == 0
    assert sum(slept) >= 10
    # Two requests a look: statistics, and the totals of this one queue.
    zero, late = queue("jobs", type="quorum"), queue("jobs", 7, type="quorum")
    found, _unused = look(Api(**{JOBS: [zero, zero, late, late]}))
    assert found.ready == 7


def test_messages_are_believed_at_once() -> None:
    found, slept = look(Api(**{JOBS: [queue("jobs", 1, type="quorum")]}))
    assert found.ready == 1
    assert slept == []
