# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import jmespath
import pytest

from ansible_collections.veza.rabbitmq.plugins.plugin_utils import _outage_proof as module

BACKENDS = ["backend-1", "backend-2"]


def container(name: str, service: str, **changes: Any) -> dict[str, Any]:
    known = {"id": "a", "started_at": "2026-01-31T02:00:00.000Z", "pid": 7, "process": "1234", "state": "running"}
    return {"name": name, "service": service, **known, **changes}


def looks(**states: str) -> list[dict[str, Any]]:
    api = [
        {"item": host, "containers": [container("veza_backend_api", "api", state=states.get(host, "running"))]}
        for host in (name.replace("_", "-") for name in ("backend_1", "backend_2"))
    ]
    workers = [container(f"veza-{name}-1", name) for name in ("worker-dmca", "worker-search")]
    return [*api, {"item": "workers", "containers": workers}]


def facts(**changes: Any) -> dict[str, Any]:
    seats = changes.pop("seats", module.outage_seats(looks(), BACKENDS))
    known = {
        "seats": seats,
        "probes": [{"item": seat, "ok": True, "message": "published and read back"} for seat in seats],
        "apis": [{"item": host, "connected": True, "message": "its event bus is connected"} for host in BACKENDS],
        "consumers": {"checks": [{"name": "consumers of q", "result": "pass", "detail": ""}]},
    }
    return {**known, **changes}


def test_each_container_is_a_seat_and_a_host_without_any_too() -> None:
    seats = module.outage_seats([*looks(), {"item": "plain", "containers": []}, {"item": "gone"}], BACKENDS)
    assert [seat["label"] for seat in seats] == [
        "veza_backend_api on backend-1", "veza_backend_api on backend-2", "veza-worker-dmca-1 on workers",
        "veza-worker-search-1 on workers", "plain", "gone",
    ]  # fmt: skip
    assert [seat["backend"] for seat in seats] == [True, True, False, False, False, False]


def test_a_host_that_is_both_is_no_backend_where_its_worker_sits() -> None:
    both = [{"item": "backend-1", "containers": [container("veza_backend_api", "api"), container("w", "worker-dmca")]}]
    assert [seat["backend"] for seat in module.outage_seats(both, BACKENDS)] == [True, False]


def test_everybody_is_served() -> None:
    judged = module.outage_proof(facts())
    assert (judged["served"], judged["complete"], judged["missing"]) == (True, True, [])
    assert len(judged["proof"]) == 7


def test_a_backend_that_does_not_get_through_is_named() -> None:
    known = facts()
    known["probes"][0].update(ok=False, message="the name can't be resolved")
    judged = module.outage_proof(known)
    assert not judged["served"]
    assert judged["missing"] == ["veza_backend_api on backend-1: the name can't be resolved"]


def test_a_bus_that_is_still_degraded_is_named() -> None:
    known = facts()
    known["apis"][1] = {"item": "backend-2", "connected": False, "msg": "eventbus: degraded"}
    judged = module.outage_proof(known)
    assert (judged["served"], judged["missing"]) == (False, ["backend-2: eventbus: degraded"])


def test_a_worker_and_a_queue_without_consumers_are_missing_but_not_vital() -> None:
    known = facts(consumers={"checks": [{"name": "consumers of q", "result": "fail", "detail": "found False"}]})
    known["probes"][3].update(ok=False, message="login refused")
    judged = module.outage_proof(known)
    assert (judged["served"], judged["complete"]) == (True, False)
    assert judged["missing"] == [
        "veza-worker-search-1 on workers: login refused", "q has too few consumers (found False)",
    ]  # fmt: skip


def test_what_was_not_asked_is_not_proved() -> None:
    seats = module.outage_seats(looks(backend_1="exited"), BACKENDS)
    seats[0]["state"] = "exited"
    judged = module.outage_proof(facts(seats=seats, probes=[], consumers={"msg": "no answer"}))
    assert "veza_backend_api on backend-1 is exited" in judged["missing"]
    assert "veza_backend_api on backend-2: it was not asked" in judged["missing"]
    assert "whether the queues are consumed is not known: no answer" in judged["missing"]


def test_as_many_consumers_as_before_and_one_at_least() -> None:
    before = {"traffic": {"queues": [{"name": "a.b", "consumers": 3}, {"name": "c", "consumers": 0}]}}
    queues = [{"name": "a.b", "worker": "w"}, {"name": "c", "worker": "w"}, {"name": "d"}]
    checks = module.outage_consumers(queues, before)
    assert [check["name"] for check in checks] == ["consumers of a.b", "consumers of c"]
    for consumers, enough in ((3, [True, True]), (2, [False, True]), (0, [False, False])):
        document = {"queues": {name: {"consumers": consumers} for name in ("a.b", "c")}}
        assert [jmespath.search(check["query"], document) for check in checks] == enough
    assert module.outage_consumers(queues[:1], None)[0]["query"].endswith("`1`")


def events(before: dict[str, Any], *recreated: str, changed: bool = True) -> list[dict[str, Any]]:
    action = {"name": "recreate_backend", "changed": changed}
    return [
        {"type": "opened", "at": "2026-01-31T02:00:00.000Z", "data": {}},
        {"type": "processes", "data": {"backends": before}},
        *({"type": "action", "data": {**action, "target": host}} for host in recreated),
        {"type": "processes", "data": {"backends": {}}},
    ]


@pytest.mark.parametrize(
    ("change", "recreated", "text"),
    [
        ({}, [], "API process unchanged on backend-1, backend-2"),
        ({}, ["backend-1"], "API process unchanged on backend-1, backend-2"),
        ({"pid": 8}, [], "API process unchanged on backend-2; ANOTHER API PROCESS on backend-1, and not by this"),
        ({"id": "b"}, ["backend-1"], "API process unchanged on backend-2; recreated on backend-1, as a person had"),
        ({"state": "exited"}, [], "ANOTHER API PROCESS on backend-1"),
    ],
)
def test_a_backend_that_was_restarted_is_said(change: dict[str, Any], recreated: list[str], text: str) -> None:
    before = module.outage_processes(looks()[:2])
    after = looks()[:2]
    after[0]["containers"][0].update(change)
    judged = module.outage_backends(events(before, *recreated), module.outage_processes(after))
    assert text in judged["text"]
    if change and recreated:
        again = module.outage_backends(events(before, *recreated, changed=False), module.outage_processes(after))
        assert again["changed"] == ["backend-1"]


def test_a_backend_that_nobody_could_see_is_not_known() -> None:
    before = module.outage_processes([{"item": "backend-1", "msg": "unreachable"}, *looks()[1:2]])
    judged = module.outage_backends(events(before), module.outage_processes(looks()[:2]))
    assert judged["unknown"] == ["backend-1"]
    assert "not known on backend-1" in judged["text"]
    older = looks()[:2]
    older[0]["containers"][0]["started_at"] = "2026-01-31T01:00:00.000Z"
    assert module.outage_backends(events(before), module.outage_processes(older))["unchanged"] == BACKENDS
    assert "no backend was looked at" in module.outage_backends([], {})["text"]


def test_the_evidence_and_a_later_look_agree() -> None:
    evidence = {look["item"]: {"info": look} for look in looks()}
    evidence["backend-2"] = {"info": None}
    before = module.outage_processes(evidence, BACKENDS)
    assert before == {"backend-1": module.outage_processes(looks())["backend-1"], "backend-2": None}


def test_a_backend_without_a_container_is_told_by_what_it_says_of_itself() -> None:
    before = module.outage_processes([{"item": "backend-1", "identity": [7, "x"]}])
    for pid, key in ((7, "unchanged"), (8, "changed")):
        now = module.outage_processes([{"item": "backend-1", "identity": [pid, "x"]}])
        assert module.outage_backends(events(before), now)[key] == ["backend-1"]
