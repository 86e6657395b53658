# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role outage_audit: the window that it looks at, what it accounts for, queues again and takes back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import jinja2
import jinja2.nativetypes
import pytest

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_record import outage_record
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._shift_instant import shift_instant
from tests.unit.roles.role_files import INSTANTS, clock, load, rendered


def test_the_whole_table_is_accounted_for_and_an_artifact_names_queues_only() -> None:
    account, _record, stats = load("outage_audit", "tasks/account.yml")

    assert "'subsystems': veza_subsystems" in account["ansible.builtin.set_fact"]["outage_audit_accounting"]
    lost = stats["ansible.builtin.set_stats"]["data"]["rabbitmq_outage_accounting"]["lost"]
    assert lost.count("selectattr('queue')") == 2


@pytest.mark.parametrize(
    ("queues", "found"),
    [
        pytest.param([{"name": "b"}, {"name": "a", "replay": "transcode_requeue"}], "a", id="one without a replay"),
        pytest.param([{"name": "b", "replay": "none"}], None, id="none to queue again"),
    ],
)
def test_the_queue_of_the_requeue_is_found_beside_one_without_a_replay(queues: list[Any], found: str | None) -> None:
    [task] = load("outage_audit", "tasks/requeue.yml")
    template = jinja2.Environment(undefined=jinja2.StrictUndefined).compile_expression(
        task["vars"]["__outage_audit_queue"].strip().removeprefix("{{").removesuffix("}}").strip()
    )

    assert template(veza_queues=queues).get("name") == found
    assert any(".idempotent" in condition for condition in task["when"])


def test_the_failure_of_an_audit_names_what_was_not_done() -> None:
    [tell] = [task for task in load("outage_audit", "tasks/alone.yml") if "veza.rabbitmq.outage_tell" in task]
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined, trim_blocks=True)

    def failure(requeue: dict[str, Any], *results: dict[str, Any]) -> str:
        known = {"__outage_audit_requeue": requeue, "__outage_audit_flush": {"results": results}}
        failures = environment.from_string(tell["vars"]["__outage_audit_failures"]).render(known)
        text = tell["vars"]["__outage_audit_failure"]
        return environment.from_string(text).render(__outage_audit_failures=failures) or ""

    done = {"item": "b1", "flushed": True, "proved": None}
    refused = {"item": "b2", "flushed": False, "msg": "POST http://b2/flush: 401: the token is wrong."}
    assert failure({}, done, {**done, "proved": True}) == ""
    assert failure({}, done, refused) == f"DMCA cache of b2 not flushed: {refused['msg']}"
    assert failure({}, {**done, "proved": False, "msg": "no proof."}) == "DMCA cache of b1 not flushed: no proof."
    assert failure({"failed": True, "msg": "refused."}, {"item": "b2"}) == (
        "Transcodes not queued again: refused.; DMCA cache of b2 not flushed: no answer"
    )
    arguments = tell["veza.rabbitmq.outage_tell"]
    assert "'failure': __outage_audit_failure" in arguments["lines"]
    assert arguments["failed"] == "{{ __outage_audit_failure != '' }}"
    assert arguments["failure"] == "{{ __outage_audit_failure }}"


def test_each_query_of_the_queue_table_is_asked_and_accounted_for() -> None:
    asked = {task.get("register"): task for task in load("outage_audit", "tasks/read.yml")}
    facts = load("outage_audit", "tasks/account.yml")[0]["ansible.builtin.set_fact"]["outage_audit_accounting"]

    for name in ("unfinished", "finished"):
        task = asked[f"__outage_audit_{name}"]
        assert task["veza.rabbitmq.eventbus_dropped_info"]["query"] == f"{{{{ item.{name}_sql }}}}"
        assert task["failed_when"] is False
        assert f"'{name}': dict(__outage_audit_{name}.results" in facts


def test_a_log_is_read_against_the_controllers_clock_and_sentry_in_the_environments_that_count() -> None:
    every = [*load("outage_audit", "tasks/logged.yml"), *load("outage_audit", "tasks/read.yml")]
    tasks = {task["register"]: task for task in every if "register" in task}
    log, sentry = (
        tasks[f"__outage_audit_{name}"]["veza.rabbitmq.eventbus_dropped_info"] for name in ("logs", "sentry")
    )

    assert log["reference"] == "{{ now(utc=true).isoformat() }}Z"
    assert sentry["environment"] == "{{ veza_sentry_environment }}"


def test_the_flush_is_proved_as_the_inventory_says() -> None:
    [task] = [task for task in load("outage_audit", "tasks/flush.yml") if "veza.rabbitmq.dmca_flush" in task]

    assert {"proof", "proof_path", "proof_status"} <= set(task["veza.rabbitmq.dmca_flush"])


def test_an_audit_looks_until_every_backend_had_reconnected() -> None:
    """Which may be later than the outage's end and the publishers' backoff."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["veza.rabbitmq.shift_instant"] = shift_instant
    [widen] = [task for task in load("outage_audit", "tasks/read.yml") if "ansible.builtin.set_fact" in task]
    text = widen["ansible.builtin.set_fact"]["__outage_audit_window"]["end"]
    known = {
        "__outage_audit_until": "2026-01-31T02:01:00.000Z", "__outage_audit_end": "2026-01-31T02:00:00.000Z",
        "__outage_audit_margin": 31, "now": lambda utc: datetime(2026, 1, 31, 3, tzinfo=None if utc else UTC),
    }  # fmt: skip
    assert environment.from_string(text).render(**known).strip() == "2026-01-31T02:01:31.000Z"

    [block] = [task for task in load("outage_audit", "tasks/requeue.yml") if "block" in task]
    requeue = block["block"][0]["veza.rabbitmq.transcode_requeue"]
    assert requeue["outage_end"] == "{{ __outage_audit_until }}"


def opened_event() -> dict[str, Any]:
    data = {"started_at": "2026-01-31T02:00:00Z", "start_source": "broker log", "confidence": "exact"}
    return {"seq": 1, "at": "2026-01-31T02:05:00Z", "type": "opened", "key": "opened", "data": data}


@pytest.mark.parametrize(
    ("start", "opened_it", "recorded"),
    [
        pytest.param("2026-01-31T02:50:00+01:00", False, True, id="another idea, of an open incident"),
        pytest.param("2026-01-31T03:00:00+01:00", False, False, id="what the record says"),
        pytest.param("", False, False, id="none given"),
        pytest.param("2026-01-31T02:50:00+01:00", True, False, id="the new record was opened with it"),
    ],
)
def test_the_start_that_a_person_gives_reaches_the_record_of_an_open_incident(
    start: str, opened_it: bool, recorded: bool
) -> None:
    [block] = [task for task in load("outage_audit", "tasks/alone.yml") if "block" in task]
    incidents = [task for task in block["block"] if "veza.rabbitmq.incident" in task]
    [task] = [task for task in incidents if task["veza.rabbitmq.incident"].get("type") == "began"]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["veza.rabbitmq.shift_instant"] = shift_instant
    known = {
        "__outage_audit_start": start, "__outage_audit_end": "", "__outage_audit_opened_it": opened_it,
        "__outage_audit_known": {"outage": {"start": "2026-01-31T02:00:00.000Z"}},
    }  # fmt: skip

    judged = all(environment.compile_expression(text)(**known) for text in task["when"])
    data = task["veza.rabbitmq.incident"]["data"]
    assert judged is recorded
    assert data == {"at": "{{ __outage_audit_start }}", "source": "given by a person", "confidence": "given"}
    assert outage_record([opened_event(), {**opened_event(), "seq": 2, "type": "began", "key": "began", "data": data | {
        "at": "2026-01-31T01:50:00Z"}}])["outage"]["start_source"] == "given by a person"  # fmt: skip


def audited(name: str, start: Any, end: Any, **known: Any) -> Any:
    given = {"outage_audit_start": start, "outage_audit_end": end, "veza_transcode_requeue": {}, "now": clock}
    return rendered("outage_audit", name, given | known, **INSTANTS)


@pytest.mark.parametrize(
    ("start", "form"),
    [
        pytest.param("2026-01-31 03:00:00 +01:00", "2026-01-31T02:00:00.000Z", id="with blanks"),
        pytest.param("2026-01-31T02:00:00,5Z", "2026-01-31T02:00:00.500Z", id="with a comma"),
        pytest.param(datetime(2026, 1, 31, 2, tzinfo=UTC), "2026-01-31T02:00:00.000Z", id="a date of AWX"),
        pytest.param("", "", id="empty"),
        pytest.param(None, "", id="null"),
    ],
)
def test_an_instant_is_handed_on_in_one_form(start: Any, form: str) -> None:
    assert audited("__outage_audit_wrong", start, "") == []
    assert audited("__outage_audit_start", start, "") == audited("__outage_audit_end", "", start) == form


def test_a_window_is_refused_before_anything_is_read_or_leased() -> None:
    tasks = load("outage_audit", "tasks/alone.yml")
    lease = next(number for number, task in enumerate(tasks) if "block" in task)
    mixed = [task for task in tasks[:lease] if "__outage_audit_wrong_with_record" in str(task)]

    assert tasks[1]["ansible.builtin.assert"]["that"] == "__outage_audit_wrong | length == 0"
    assert [task["when"] for task in mixed] == ["__outage_audit_start != '' or __outage_audit_end != ''"]
    assert [text.split(":")[0] for text in audited("__outage_audit_wrong", "noon", "2026-01-31T02:00:00")] == [
        "outage_audit_start", "outage_audit_end",
    ]  # fmt: skip
    [long] = audited("__outage_audit_wrong", "0001-01-01T00:00:10Z", "2026-01-31T02:00:00Z")
    assert "veza_transcode_requeue.max_window allows 604800 s: is a date mistyped?" in long
    year = {"veza_transcode_requeue": {"max_window": 31622400}}
    assert audited("__outage_audit_wrong", "2025-02-01T00:00:00Z", "2026-01-31T02:00:00Z", **year) == []


def test_a_window_up_to_the_end_that_the_record_has_is_refused_too() -> None:
    asked = ["2025-01-31T02:00:00.000Z", "2026-01-31T02:30:00.000Z"]
    assert audited("__outage_audit_wrong", asked[0], "") == []
    [said] = audited("__outage_audit_wrong_with_record", asked[0], "", __outage_audit_asked=asked)
    assert said.startswith("the end in the record: the window is 31537800 s long")


def queue(name: str, dead_lettered: int | None, dead_letters: int | None) -> dict[str, Any]:
    return {"name": name, "dead_lettered": dead_lettered, "dead_letters": dead_letters}


def test_dead_letters_count_whenever_they_came() -> None:
    drain = {"queues": [queue("a", 0, 2), queue("b", 3, None), queue("c", None, None), queue("d", None, None)]}
    table = [{"name": name, "dead_letter_queue": f"{name}.dlq"} for name in "abc"] + [{"name": "d"}]
    known: dict[str, Any] = {"outage_audit_drain": drain, "veza_queues": table}

    # Of the third nobody knows, and the fourth keeps no dead letters.
    assert rendered("outage_audit", "__outage_audit_dead_letters", known) == {"a": 2, "b": 3, "c": None}
    assert rendered("outage_audit", "__outage_audit_dead_letters", known | {"outage_audit_drain": {}}) == {}
    account = load("outage_audit", "tasks/account.yml")[0]["ansible.builtin.set_fact"]["outage_audit_accounting"]
    assert "'dead_letters': __outage_audit_dead_letters," in account


def test_the_requeue_is_told_when_the_queue_was_seen_empty() -> None:
    settled, seen = "2026-01-31T02:06:00.000Z", "2026-01-31T04:00:00.000Z"
    drain = {"samples": [{"at": "2026-01-31T03:59:58.000Z"}, {"at": seen}]}

    def told(drain: dict[str, Any], drained_at: str) -> Any:
        known = {"outage_audit_drain": drain, "outage_audit_drained_at": drained_at}
        return rendered("outage_audit", "__outage_audit_seen_at", known)

    assert [told(drain, settled), told({}, settled), told(drain, "")] == [seen, settled, ""]
    [block] = load("outage_audit", "tasks/requeue.yml")
    tasks = [task["veza.rabbitmq.transcode_requeue"] for task in block["block"] if "check_mode" in task]
    assert [task["drained_at"] for task in tasks] == ["{{ __outage_audit_seen_at | default(omit, true) }}"]


def recorded(seq: int, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"seq": seq, "at": f"2026-01-31T02:00:{seq:02}.000Z", "type": kind, "key": str(seq), "data": data}


def actions(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what these tasks write into the record as actions."""
    arguments = [task["veza.rabbitmq.incident"] for task in tasks if "veza.rabbitmq.incident" in task]
    return [argument["data"] for argument in arguments if argument.get("type") == "action"]


def test_what_was_announced_holds_until_a_run_knows_all_that_became_of_it() -> None:
    [block] = load("outage_audit", "tasks/requeue.yml")
    [whole], [stopped] = actions(block["block"]), actions(block["rescue"])
    note = recorded(7, "note", {"tracks": [[1, 10000]]})

    def announced(*events: dict[str, Any]) -> Any:
        return rendered("outage_audit", "__outage_audit_announced", {"__outage_audit_record": {"events": [*events]}})

    held = {"since": note["at"], "tracks": [[1, 10000]]}
    assert announced(note) == held
    # The batch after the one that it names may have been committed too.
    assert announced(note, recorded(8, "action", {**stopped, "tracks": [[1, 5000]]})) == held
    assert announced(note, recorded(8, "action", stopped), recorded(9, "action", whole)) == {}


def test_what_was_about_to_be_taken_back_is_noted_first() -> None:
    [block] = [task for task in load("outage_audit", "tasks/undo.yml") if "block" in task]
    look, note, delete = block["block"][1:4]
    noted = note["veza.rabbitmq.incident"]["data"]
    [whole], [stopped] = actions(block["block"]), actions(block["rescue"])

    assert look["check_mode"] is True
    assert noted["undo"]["tracks"] == "{{ __outage_audit_untouched.released }}"
    assert delete["veza.rabbitmq.transcode_requeue"]["announced"] == "{{ __outage_audit_undo_announced or omit }}"
    told = recorded(5, "note", {**noted, "undo": {"jobs": [11, 12], "tracks": [1, 2]}})
    more = recorded(6, "note", {**noted, "undo": {"jobs": [13], "tracks": [3]}})

    def announced(*events: dict[str, Any]) -> Any:
        known = {"__outage_audit_before": {"events": [*events]}, "__outage_audit_record": {"events": [*events]}}
        # It says nothing of what is to be queued again.
        assert rendered("outage_audit", "__outage_audit_announced", known) == {}
        return rendered("outage_audit", "__outage_audit_undo_announced", known)

    held = {"jobs": [11, 12, 13], "tracks": [1, 2, 3]}
    assert announced(told, more) == held
    assert announced(told, recorded(8, "action", stopped), more) == held
    assert announced(told, recorded(8, "action", whole)) == {}
    assert announced() == {}
    assert block["rescue"][-1]["ansible.builtin.fail"]["msg"].startswith("{{ ansible_failed_result.msg")
