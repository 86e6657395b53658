# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles promise in their specifications is what they have."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import jinja2.nativetypes
import pytest
import yaml
from ansible.plugins.filter.core import FilterModule

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_record import outage_record
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._shift_instant import shift_instant

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())


TABLES = ("veza_queues", "veza_subsystems")
"""Whose default is too long to be told twice."""


def load(role: str, part: str) -> Any:
    return yaml.safe_load((ROOT / "roles" / role / part).read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_documents_the_defaults_and_nothing_else(role: str) -> None:
    defaults = load(role, "defaults/main.yml")
    entries = load(role, "meta/argument_specs.yml")["argument_specs"]
    for name, entry in entries.items():
        assert (ROOT / "roles" / role / "tasks" / f"{name}.yml").exists()
        for option, spec in entry.get("options", {}).items():
            assert option in defaults, f"{role}: {name}: {option}"
            assert spec.get("default") == defaults[option] or option in TABLES, f"{role}: {name}: {option}"
    assert {option for entry in entries.values() for option in entry.get("options", {})} == set(defaults)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_readme(role: str) -> None:
    assert f"# {role}" in (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", TABLES)
def test_a_table_fits_its_specification(table: str) -> None:
    known = load("veza", "meta/argument_specs.yml")["argument_specs"]["main"]["options"][table]["options"]
    for entry in load("veza", "defaults/main.yml")[table]:
        assert set(entry) <= set(known)
        assert {name for name, option in known.items() if option.get("required")} <= set(entry)


def test_the_whole_table_is_accounted_for_and_an_artifact_names_queues_only() -> None:
    account, _record, stats = load("outage_audit", "tasks/account.yml")

    assert "'subsystems': veza_subsystems" in account["ansible.builtin.set_fact"]["outage_audit_accounting"]
    lost = stats["ansible.builtin.set_stats"]["data"]["rabbitmq_outage_accounting"]["lost"]
    assert lost.count("selectattr('queue')") == 2


@pytest.mark.parametrize(
    ("subsystem", "refused"),
    [
        pytest.param({"heals": "on the next tick"}, False, id="heals"),
        pytest.param({"independent": "it has no broker"}, False, id="independent"),
        pytest.param({"heals": "on the next tick", "independent": "it has no broker"}, True, id="both"),
        pytest.param({}, True, id="neither"),
    ],
)
def test_a_subsystem_without_a_queue_says_what_becomes_of_it(subsystem: dict[str, str], refused: bool) -> None:
    problems = load("veza", "tasks/main.yml")[0]["vars"]["veza_problems"]
    [one] = [text for text in problems.split(",\n") if "veza_subsystems" in text]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["ternary"] = lambda value, yes, no: yes if value else no
    said = environment.compile_expression(one.split("] | select")[0].strip())(veza_subsystems=[subsystem])

    assert (said != "") is refused


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


@pytest.mark.parametrize(
    ("results", "over"),
    [
        pytest.param([{"flushed": True}, {"flushed": True}], True, id="each was flushed"),
        pytest.param([{"flushed": True}, {"flushed": False, "msg": "500"}], False, id="one failed"),
        pytest.param([{"flushed": True}, {"unreachable": True, "msg": "no route"}], False, id="one never began"),
        pytest.param([{"flushed": True, "proved": None}, {"flushed": True, "proved": True}], True, id="proved"),
        pytest.param([{"flushed": True, "proved": False, "msg": "not proved"}], False, id="one was not proved"),
    ],
)
def test_an_incident_is_not_over_while_a_flush_failed(results: list[dict[str, Any]], over: bool) -> None:
    conditions = load("outage_recover", "tasks/finish.yml")[0]["ansible.builtin.assert"]["that"]
    compiled = jinja2.Environment(undefined=jinja2.StrictUndefined).compile_expression
    judged = [compiled(text)(__outage_audit_flush={"results": results}) for text in conditions if "_flush" in text]

    assert all(judged) is over


def test_each_query_of_the_queue_table_is_asked_and_accounted_for() -> None:
    asked = {task.get("register"): task for task in load("outage_audit", "tasks/read.yml")}
    facts = load("outage_audit", "tasks/account.yml")[0]["ansible.builtin.set_fact"]["outage_audit_accounting"]

    for name in ("unfinished", "finished"):
        task = asked[f"__outage_audit_{name}"]
        assert task["veza.rabbitmq.eventbus_dropped_info"]["query"] == f"{{{{ item.{name}_sql }}}}"
        assert task["failed_when"] is False
        assert f"'{name}': dict(__outage_audit_{name}.results" in facts


def test_a_log_is_read_against_the_controllers_clock_and_sentry_in_the_environments_that_count() -> None:
    tasks = {task["register"]: task for task in load("outage_audit", "tasks/read.yml") if "register" in task}
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


def opened_event() -> dict[str, Any]:
    data = {"started_at": "2026-01-31T02:00:00Z", "start_source": "broker log", "confidence": "exact"}
    return {"seq": 1, "at": "2026-01-31T02:05:00Z", "type": "opened", "key": "opened", "data": data}


def rendered(role: str, name: str, known: dict[str, Any], **filters: Any) -> Any:
    """Return a variable of a role, with those that it is made of, as Ansible would."""
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
    known_filters = FilterModule().filters()
    environment.filters.update({name: known_filters[name] for name in ("combine", "items2dict")} | filters)
    texts = load(role, "vars/main.yml")

    class Lazy(dict):  # type: ignore[type-arg]
        def __missing__(self, key: str) -> Any:
            return environment.from_string(texts[key].strip()).render(variables(texts[key]))

    def variables(text: str) -> dict[str, Any]:
        names = jinja2.meta.find_undeclared_variables(environment.parse(text))
        return {one: found[one] for one in names if one in found or one in texts}

    found = Lazy(known)
    return found[name]


def mitigated(name: str, **known: Any) -> Any:
    given: dict[str, Any] = {"veza_eventbus_level": "warn", "veza_api_level_path": "", "veza_api_level_command": []}
    given |= {"outage_mitigate_level": "error", "outage_mitigate_host": "b1"} | known
    given["__outage_mitigate_read"] = {"events": [], "found": known.get("found", True)}
    return rendered("outage_mitigate", name, given, **{"veza.rabbitmq.outage_levels": lambda _events: known["levels"]})


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


@pytest.mark.parametrize(
    ("before", "in_file", "absent", "wanted"),
    [("info", "info", False, "info"), ("", "", True, "warn"), (None, "", True, "warn")],
)
def test_a_level_is_taken_back_to_what_the_file_had(before: Any, in_file: str, absent: bool, wanted: str) -> None:
    levels = {"b1": {"level": "error", "file_before": before}}
    told = {"outage_mitigate_state": "reverted", "levels": levels}

    assert mitigated("__outage_mitigate_in_file", **told) == in_file
    assert mitigated("__outage_mitigate_absent", **told) is absent
    assert mitigated("__outage_mitigate_wanted", **told) == wanted
    # Where the running API can be told, it gets the level that it has without anybody's change.
    assert mitigated("__outage_mitigate_wanted", **told, veza_api_level_path="/level") == "warn"
    (task,) = [one for one in load("outage_mitigate", "tasks/instance.yml") if "compose_environment" in str(list(one))]
    assert "__outage_mitigate_wanted" in task["veza.rabbitmq.compose_environment"]["absent_value"]


@pytest.mark.parametrize(
    ("state", "levels", "found", "untold"),
    [
        pytest.param("reverted", {}, True, True, id="another incident may have raised it"),
        pytest.param("reverted", {"b1": {"file_before": None}}, True, True, id="only the file was prepared"),
        pytest.param("reverted", {"b1": {"level": "warn"}}, True, False, id="taken back already"),
        pytest.param("reverted", {}, False, False, id="there never was an incident"),
        pytest.param("applied", {}, True, False, id="applied"),
    ],
)
def test_a_level_that_an_earlier_incident_raised_is_taken_back(
    state: str, levels: dict[str, Any], found: bool, untold: bool
) -> None:
    told = {"outage_mitigate_state": state, "levels": levels, "found": found}

    assert mitigated("__outage_mitigate_untold", **told) is untold
    (task,) = [one for one in load("outage_mitigate", "tasks/instance.yml") if "ansible.builtin.command" in one]
    assert "__outage_mitigate_untold" in " ".join(task["when"])


def test_the_lease_of_a_mitigation_lasts_for_all_instances() -> None:
    groups = {"veza_app_backend": ["b1", "b2", "b3"]}
    told = {"levels": {}, "outage_mitigate_timeout": 120, "groups": groups}

    # Recreating one may take 120 s, and until it answers another outage_mitigate_timeout.
    assert mitigated("__outage_mitigate_seconds", **told) >= 3 * (120 + 120)
    assert str(load("outage_mitigate", "tasks/main.yml")).count("{{ __outage_mitigate_seconds }}") == 2


@pytest.mark.parametrize(
    ("url", "told", "noted"),
    [
        pytest.param("", {"skipped": True}, True, id="nobody is to be told"),
        pytest.param("https://chat", {"status": 204}, True, id="told"),
        pytest.param("https://chat", {"status": 503}, False, id="refused"),
        pytest.param("https://chat", {"status": -1, "msg": "timed out"}, False, id="no answer"),
        pytest.param("https://chat", {"skipped": True}, False, id="a rehearsal"),
    ],
)
def test_a_person_who_could_not_be_told_is_told_when_the_alert_comes_again(
    url: str, told: dict[str, Any], noted: bool
) -> None:
    look, tell, note, _say = load("veza", "tasks/tell_person.yml")
    assert look["check_mode"] is True
    assert look["veza.rabbitmq.incident"] == note["veza.rabbitmq.incident"]
    assert look["register"] == "__veza_told"
    assert "__veza_told is skipped or __veza_told is changed" in tell["when"]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.tests["changed"] = lambda result: result["changed"]
    environment.tests["skipped"] = lambda result: result.get("skipped", False)
    known = {"veza_notify_url": url, "__veza_notified": told, "__veza_told": {"changed": True}}
    assert all(environment.compile_expression(text)(**known) for text in note["when"]) is noted


def test_nodes_that_went_down_of_different_causes_are_started_together() -> None:
    def step(cause: str, remedy: str, *targets: str, **arguments: Any) -> dict[str, Any]:
        return {"cause": cause, "remedy": remedy, "targets": list(targets), "arguments": arguments}

    steps = [
        step("broker_segfault", "start_broker", "b"),
        step("broker_crashed", "start_broker", "a", "c"),
        step("broker_stopped_on_purpose", "start_stopped_broker", "e"),
        step("broker_oom_killed", "start_broker", "d", nodes=[{"node": "d"}]),  # gets more memory first
        step("disk_full", "free_disk", "f"),
    ]
    text = load("outage_recover", "vars/main.yml")["__outage_recover_startable"].strip()
    environment = jinja2.Environment()
    environment.filters.update(FilterModule().filters())
    environment.filters["union"] = lambda first, second: list(dict.fromkeys([*first, *second]))
    judged = environment.compile_expression(text.removeprefix("{{").removesuffix("}}").strip())
    assert judged(outage_recover_plan={"steps": steps}, outage_recover_step=steps[0]) == ["b", "a", "c", "e"]
    assert judged(outage_recover_plan={"steps": steps}, outage_recover_step=steps[3]) == ["b", "a", "c", "e", "d"]


@pytest.mark.parametrize(
    ("notes", "stopped"),
    [
        pytest.param([], False, id="never"),
        pytest.param([{"text": "A person stopped the run"}], True, id="stopped"),
        pytest.param([{"text": "x"}, {"text": "y", "resumed": True}], False, id="started again"),
        pytest.param([{"text": "x"}, {"text": "y", "resumed": True}, {"text": "x"}], True, id="stopped again"),
    ],
)
def test_what_a_person_stopped_waits_until_a_person_starts_it_again(notes: list[Any], stopped: bool) -> None:
    text = load("outage_alert", "vars/main.yml")["__outage_alert_stopped"].strip()
    judged = jinja2.Environment().compile_expression(text.removeprefix("{{").removesuffix("}}").strip())
    events = [
        {"type": "opened", "key": "opened"},
        *({"type": "note", "key": "stopped", "data": data} for data in notes),
    ]
    assert judged(__outage_alert_before={"open": True, "events": events}) is stopped
    assert not judged(__outage_alert_before={})


@pytest.mark.parametrize(
    ("opened", "unwritten"),
    [
        pytest.param({"id": "20260131T020304Z-x-1a2b"}, False, id="opened"),
        pytest.param({"unreachable": True, "msg": "no route"}, True, id="its host is down"),
        pytest.param({"failed": True, "msg": "No space left on device."}, True, id="its disk is full"),
        pytest.param({"skipped": True}, False, id="not to be opened"),
        pytest.param(None, False, id="nothing fires"),
    ],
)
def test_a_person_is_told_also_where_the_incident_can_not_be_written_down(opened: Any, unwritten: bool) -> None:
    environment = jinja2.Environment()
    environment.tests["skipped"] = lambda result: result.get("skipped", False)
    text = load("outage_alert", "vars/main.yml")["__outage_alert_unwritten"].strip()
    known = {} if opened is None else {"__outage_alert_incident": opened}
    judged = environment.compile_expression(text.removeprefix("{{").removesuffix("}}").strip())

    assert judged(**known) is unwritten
    open_it, note_each = load("outage_alert", "tasks/note.yml")
    assert open_it["failed_when"] is False
    assert note_each["when"] == "not __outage_alert_unwritten"
    assert load("outage_alert", "tasks/ask.yml")[-1]["veza.rabbitmq.outage_tell"]["failed"] == (
        "{{ __outage_alert_unwritten }}"
    )


def restarting(name: str, **told: Any) -> Any:
    """Return what an expression of the role broker_restart comes to."""
    text = load("broker_restart", "vars/main.yml")[name].strip().removeprefix("{{").removesuffix("}}").strip()
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
    return environment.compile_expression(text)(**told)


def seen(
    state: str, running: bool | None, last: str, clean_stop: bool | None, listening: bool | None
) -> dict[str, Any]:
    return {
        "service": {"state": state, "stopped_by": None, "since": "2026-01-31T02:03:05.000Z"},
        "process": {"running": running},
        "lifecycle": {"last": last, "clean_stop": clean_stop, "by": None, "stopped_at": None},
        "listeners": [{"port": 5672, "listening": listening}],
    }


@pytest.mark.parametrize(
    ("info", "asleep"),
    [
        pytest.param(seen("running", True, "started", None, True), False, id="serves"),
        pytest.param(seen("running", True, "none", None, None), False, id="nothing but its process is known"),
        pytest.param(seen("stopped", False, "stopped", True, False), True, id="stopped in order"),
        pytest.param(seen("failed", False, "stopped", True, False), True, id="stopped in order, its unit failed"),
        pytest.param(seen("stopped", False, "none", None, False), True, id="stopped, its log says nothing"),
        pytest.param(seen("stopped", None, "none", None, None), True, id="stopped, its process can't be seen"),
        pytest.param(seen("stopped", False, "started", False, False), False, id="crashed, by an init script"),
        pytest.param(seen("failed", False, "started", False, False), False, id="crashed"),
        pytest.param(seen("restarting", False, "starting", False, False), False, id="crashes at each boot"),
        pytest.param(seen("stopping", True, "started", None, True), True, id="is being stopped"),
        pytest.param(seen("running", True, "stopped", None, False), True, id="its application was stopped"),
        pytest.param(seen("running", True, "stopping", None, True), False, id="hangs, and listens still"),
    ],
)
def test_a_restart_starts_no_broker_that_somebody_stopped(info: dict[str, Any], asleep: bool) -> None:
    assert restarting("__broker_restart_asleep", __broker_restart_info=info) is asleep
    names = [task["name"] for task in load("broker_restart", "tasks/preflight.yml")]
    assert names.index("Refuse to start what somebody stopped") == 2, "before the broker is asked"


@pytest.mark.parametrize(
    ("stopped_by", "by", "stopped_at", "text"),
    [
        pytest.param(None, None, None, "2026-01-31T02:03:05.000Z", id="the state's age"),
        pytest.param(None, "SIGTERM", "2026-01-31T02:03:04Z", "SIGTERM, 2026-01-31T02:03:04Z", id="the log"),
        pytest.param(
            {"who": "ann", "how": "systemctl stop rabbitmq-server", "at": "2026-01-31T02:03:03Z"},
            "SIGTERM",
            "2026-01-31T02:03:04Z",
            "ann, systemctl stop rabbitmq-server, 2026-01-31T02:03:04Z",
            id="the journal",
        ),
    ],
)
def test_who_stopped_it_is_told_where_it_is_known(stopped_by: Any, by: Any, stopped_at: Any, text: str) -> None:
    info = seen("stopped", False, "stopped", True, False)
    info["service"]["stopped_by"] = stopped_by
    info["lifecycle"].update(by=by, stopped_at=stopped_at)

    assert restarting("__broker_restart_stop", __broker_restart_info=info) == text


SYSTEMCTL = """\
#!/bin/sh
case "$*" in
  *MainPID\\ --value*) echo {pid} ;;
  *Job\\ --value*) echo {job} ;;
  *) echo "$*" ;;
esac
"""


@pytest.mark.parametrize(
    ("pid", "job", "status", "said"),
    [
        pytest.param(4711, "", 0, "restart -- rabbitmq-server", id="as it was seen"),
        pytest.param(4712, "", 75, "show ", id="restarted since"),
        pytest.param(0, "", 75, "show ", id="stopped since"),
        pytest.param(4711, 99, 75, "show ", id="being restarted"),
    ],
)
def test_a_unit_is_restarted_only_as_it_was_seen(pid: int, job: Any, status: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "systemctl").write_text(SYSTEMCTL.format(pid=pid, job=job), encoding="utf-8")
    (tmp_path / "systemctl").chmod(0o700)
    task = load("broker_restart", "tasks/restart_systemd.yml")[0]
    script = load("broker_restart", "vars/main.yml")["__broker_restart_same_or_leave"]
    argv = [*task["ansible.builtin.command"]["argv"][:2], script, "restart", "rabbitmq-server", "4711"]
    path = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env={"PATH": path})

    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout.startswith(said)


@pytest.mark.parametrize(
    ("over", "host", "released"),
    [
        pytest.param(True, "a", False, id="another node follows"),
        pytest.param(True, "b", True, id="the last one"),
        pytest.param(False, "a", True, id="it failed, so that none follows"),
    ],
)
def test_the_lease_of_a_restart_is_kept_from_the_first_node_to_the_last(over: bool, host: str, released: bool) -> None:
    [block] = load("broker_restart", "tasks/alone.yml")
    [release] = block["always"]
    told = {"__broker_restart_over": over, "inventory_hostname": host, "ansible_play_hosts_all": ["a", "b"]}

    assert jinja2.Environment().compile_expression(release["when"][1])(**told) is released
    assert block["block"][1]["veza.rabbitmq.incident"]["lease"] == "acquired", "before anything is looked at"
    play = yaml.safe_load((ROOT / "playbooks" / "restart_rabbitmq.yml").read_text(encoding="utf-8"))[0]
    assert play["tasks"][0]["ansible.builtin.import_role"]["tasks_from"] == "alone"
