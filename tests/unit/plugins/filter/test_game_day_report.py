# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.module_utils._watch import Seen, summary
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._game_day_report import CHECKS, game_day_report

URL = "http://x/api/v1/health"
DAY = "2026-01-31T02"
SERVING = f"{DAY}:01:05.000Z"


def watch(statuses: dict[str, list[int | None]], missing: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return what the watch saw: a probe of each backend every 5 s, from 10 s before the stop (at 02:00:00)."""
    probes = []
    for target, answers in statuses.items():
        for number, status in enumerate(answers):
            minutes, seconds = divmod(50 + 5 * number, 60)
            hours, minutes = (1, 59) if minutes == 0 else (2, minutes - 1)
            at = f"2026-01-31T{hours:02}:{minutes:02}:{seconds:02}.000Z"
            if number not in missing:
                probes.append(Seen(at, target, status, 0.01, "" if status else "refused"))
    return {"probes": [probe.line() for probe in probes], "targets": [summary(name, URL, probes) for name in statuses]}


def row(queue: str, **changes: Any) -> dict[str, Any]:
    return {
        "queue": queue,
        "dropped": {"count": 3, "state": "exact"},
        "silent": {"count": 0, "ids": []},
        **changes,
    }


def facts() -> dict[str, Any]:
    """Return a game day on which all went well."""
    return {
        "settings": {
            "outage_seconds": "60",
            "alert": "RabbitMQUnreachable",
            "alert_within": 60,
            "interval": 5,
            "bad_in_a_row": 6,
            "back_within": 60,
            "publisher_confirms": True,
        },
        "notes": [
            {"step": step, "at": at, "action": step, "observation": "so it was", "runbook": "Recovery"}
            for step, at in (("outage", f"{DAY}:00:00.000Z"), ("alert", f"{DAY}:00:45.000Z"))
        ],
        "judged_at": f"{DAY}:02:30.000Z",
        "stopped_at": f"{DAY}:00:00.000Z",
        "ordered_at": f"{DAY}:00:00.700Z",
        "failure": "",
        "alert": {"firing": True, "at": f"{DAY}:00:45.000Z", "message": "RabbitMQUnreachable fires."},
        "verdict": {"cause": "broker_stopped_on_purpose", "headline": "Somebody stopped it", "title": "x"},
        "watch": watch({"backend-1": [200] * 30, "backend-2": [200] * 30}),
        "recovery": {
            "failure": "",
            "record": {
                "id": "20260131T020105Z-x-1a2b",
                "open": False,
                "summary": "It was stopped.",
                "milestones": {"serving": SERVING, "drained": f"{DAY}:01:30.000Z"},
                "accounting": {
                    "window": {"start": f"{DAY}:00:00.100Z", "end": f"{DAY}:01:50.000Z"},
                    "rows": [row("transcode_jobs"), row("dmca_propagation", silent={"count": None, "ids": []})],
                },
            },
        },
        "before": {"backend-1": {"rc": 0, "stdout": "4f2a"}, "backend-2": {"rc": 0, "stdout": "77aa"}},
        "after": {"backend-1": {"rc": 0, "stdout": "4f2a\n"}, "backend-2": {"rc": 0, "stdout": "77aa"}},
    }


def judge(change: Callable[[dict[str, Any]], Any] = lambda _known: None) -> dict[str, Any]:
    known = copy.deepcopy(facts())
    change(known)
    return game_day_report(known)


def failed(report: dict[str, Any]) -> list[str]:
    return [check["name"] for check in report["checks"] if check["passed"] is False]


def check(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(check for check in report["checks"] if check["name"] == name)


def test_all_well() -> None:
    report = judge()
    assert report["passed"] is True
    assert [check["passed"] for check in report["checks"]] == [True] * len(CHECKS)
    assert report["gaps"] == []
    assert "the database can't tell for dmca_propagation" in check(report, "silent")["observation"]
    assert check(report, "alert")["title"] == "The alert fires within 60 s"


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return what sets one value, by its path."""

    def change(known: dict[str, Any]) -> None:
        *way, last = path.split(".")
        for step in way:
            known = known[step]
        known[last] = value

    return change


OK: list[int | None] = [200]
RECORD = "recovery.record"


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("outage", put("failure", "Stop the broker: no such unit"), "proves nothing"),
        ("outage", put("verdict.cause", "healthy"), "never seen"),
        ("outage", put(f"{RECORD}.milestones.serving", f"{DAY}:00:30.000Z"), "something else started it"),
        ("alert", put("alert", {"firing": False, "message": "No alert fires.", "at": f"{DAY}:01:00Z"}), "did not fire"),
        ("alert", put("alert", {"firing": None, "message": "connection refused"}), "can't be asked"),
        ("alert", put("alert", {"msg": "url must be like x"}), "can't be asked"),
        ("alert", put("alert.at", f"{DAY}:01:00.000Z"), "Later than 60 s"),
        ("alert", put("alert", {}), "not known"),
        ("diagnosis", put("verdict.cause", "resource_alarm"), "resource_alarm"),
        ("diagnosis", put("verdict", {}), "nothing"),
        ("health", put("watch", watch({"one": OK * 9 + [503] * 6 + OK * 15})), "must not depend"),
        ("health", put("watch", watch({"one": OK * 9 + [None, 500, None, 502, None, 503] + OK * 15})), "must not"),
        ("health", put("watch", watch({"one": OK * 30}, missing=(8, 9, 10, 11))), "not watched"),
        ("health", put("watch", watch({"one": OK * 30}, missing=(0, 1, 2, 3))), "not watched"),
        ("recovery", put("recovery.failure", "Drain: not drained"), "did not mend it"),
        ("recovery", put(f"{RECORD}.open", True), "Somebody else"),
        ("back", put("watch", watch({"one": OK * 14 + [404] * 16})), "within 60 s"),
        ("silent", put(f"{RECORD}.accounting.rows", [row("q", silent={"count": 1, "ids": ["7"]})]), "in silence"),
        ("silent", put(f"{RECORD}.accounting.rows", [row("q", dropped={"count": 0, "state": "unknown"})]), "Neither"),
        ("silent", put(f"{RECORD}.accounting", {}), "not known"),
        ("silent", put(f"{RECORD}.accounting.window.start", f"{DAY}:00:00.701Z"), "has not seen all"),
        ("process", put("after.backend-2.stdout", "88bb"), "forbids"),
        ("process", put("after.backend-2.rc", 1), "not known"),
        ("process", put("after", {}), "not known"),
    ],
)
def test_each_fault_fails_its_check_and_no_other(name: str, change: Any, said: str) -> None:
    report = judge(change)
    assert report["passed"] is False
    # A diagnosis that says that nothing is wrong is wrong, too.
    assert set(failed(report)) - ({"diagnosis"} if name == "outage" else set()) == {name}
    assert said in check(report, name)["gap"]
    assert check(report, name)["gap"] in report["gaps"]


def test_five_bad_probes_in_a_row_are_not_six() -> None:
    assert judge(put("watch", watch({"one": OK * 9 + [503] * 5 + OK + [503] * 5 + OK * 10})))["passed"]


def test_without_a_watch_nothing_is_proved() -> None:
    assert failed(judge(put("watch", {"msg": "could not find job"}))) == ["health", "back"]


def test_a_broker_that_never_came_back_fails_what_depends_on_it() -> None:
    def change(known: dict[str, Any]) -> None:
        known["recovery"] = {"failure": "Start: it does not serve", "record": {}}

    assert failed(judge(change)) == ["outage", "recovery", "back", "silent"]


def test_what_was_turned_off_is_a_gap_and_no_failure() -> None:
    def change(known: dict[str, Any]) -> None:
        known["settings"]["alert"] = ""
        known["before"] = known["after"] = known["alert"] = {}

    report = judge(change)
    assert report["passed"] is True
    assert [check(report, name)["passed"] for name in ("alert", "process")] == [None, None]
    assert len(report["gaps"]) == 2


def test_what_has_no_queue_is_not_asked_of_the_database() -> None:
    queueless = {"queue": None, "dropped": {"count": 0, "state": "unknown"}, "silent": {"count": None, "ids": []}}
    with_it, without = (judge(put(f"{RECORD}.accounting.rows", [row("q"), *more])) for more in ([queueless], []))

    assert with_it == without


def test_without_confirms_a_silent_loss_is_a_gap() -> None:
    def change(known: dict[str, Any]) -> None:
        known["settings"]["publisher_confirms"] = False
        known["recovery"]["record"]["accounting"]["rows"][0]["silent"] = {"count": 2, "ids": ["7", "8"]}

    report = judge(change)
    assert report["passed"] is True
    assert "transcode_jobs: 7, 8" in check(report, "silent")["observation"]
    assert check(report, "silent")["gap"].endswith("Unknown: dmca_propagation.")


def test_an_outage_that_lost_nothing_puts_the_silence_to_no_test() -> None:
    rows = [row("q", dropped={"count": 0, "state": "exact"})]
    report = judge(put(f"{RECORD}.accounting.rows", rows))
    assert report["passed"] is True
    assert "not put to the test" in check(report, "silent")["gap"]


def test_the_table_has_every_step_once_in_the_order_of_time() -> None:
    rows = judge(put("alert", {"firing": False, "message": "No.", "at": f"{DAY}:01:00.000Z"}))["rows"]
    assert [set(entry) for entry in rows] == [{"at", "action", "observation", "runbook", "gap"}] * len(CHECKS)
    assert [entry["at"] for entry in rows] == sorted(entry["at"] for entry in rows)
    alerts = [entry for entry in rows if entry["action"] == "alert"]
    assert len(alerts) == 1
    assert "did not fire" in alerts[0]["gap"]


def test_an_input_that_is_none_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="game_day_report"):
        game_day_report({"notes": []})
