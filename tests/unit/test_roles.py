# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles promise in their specifications is what they have."""

from __future__ import annotations

import base64
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import jinja2.nativetypes
import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.filter.core import FilterModule
from ansible.plugins.test import core as ansible_tests

from ansible_collections.veza.rabbitmq.plugins.module_utils._deadline import LONGEST
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_record import outage_record
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._shift_instant import shift_instant
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._wrong_numbers import wrong_numbers
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._wrong_window import wrong_window

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())


TABLES = ("veza_queues", "veza_subsystems")
"""Whose default is too long to be told twice."""


INSTANTS = {"veza.rabbitmq.shift_instant": shift_instant, "veza.rabbitmq.wrong_window": wrong_window}


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


@pytest.mark.parametrize(
    ("queues", "workers"),
    [
        pytest.param([{"name": "a"}, {"name": "b", "worker": "w"}, {"name": "c", "worker": "w"}], ["w"], id="optional"),
        # Ansible's own check of the types names these, and it has to get that far.
        pytest.param("x", [], id="a text"),
        pytest.param(5, [], id="a number"),
        pytest.param([1, None], [], id="no dicts"),
        pytest.param(None, [], id="null"),
    ],
)
@pytest.mark.parametrize("part", ["defaults/main.yml", "meta/argument_specs.yml"])
def test_a_queue_needs_no_worker_and_a_wrong_table_hides_no_other_setting(
    part: str, queues: Any, workers: list[str]
) -> None:
    found = load("veza", part)
    options = found if "veza_queues" in found else found["argument_specs"]["main"]["options"]
    given = options["veza_worker_services"]
    text = given if isinstance(given, str) else given["default"]
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)

    assert environment.from_string(text).render(veza_queues=queues) == workers


CALLERS = {"outage_audit_lease_token"}
"""Numbers that no person sets."""


def numbers(options: dict[str, Any]) -> dict[str, Any]:
    """Return the default of each option that is a number, and of those that options have the same."""
    found: dict[str, Any] = {}
    for name, option in options.items():
        if option.get("type") in ("int", "float"):
            found[name] = option.get("default", 1)
        elif inner := numbers(option.get("options", {})):
            found[name] = inner
    return found


@pytest.mark.parametrize("role", ROLES)
def test_each_number_that_a_person_sets_has_its_limits(role: str) -> None:
    limits = load("veza", "vars/main.yml")["__veza_limits"]
    for entry in load(role, "meta/argument_specs.yml")["argument_specs"].values():
        defaults = {name: value for name, value in numbers(entry["options"]).items() if name not in CALLERS}
        for name, value in defaults.items():
            assert not isinstance(value, dict) or set(value) == set(limits[name])
        assert set(defaults) <= set(limits)
        assert wrong_numbers(defaults, limits) == []


def test_no_duration_is_longer_than_a_module_takes() -> None:
    """The lease of a wait lasts two minutes longer than it."""
    limits = load("veza", "vars/main.yml")["__veza_limits"]
    assert limits["veza_publisher_backoff"][1] == limits["veza_longest_upload"][1] == LONGEST
    assert limits["outage_recover_boot_timeout"][1] + 120 <= LONGEST
    assert limits["outage_audit_drain_timeout"][1] + 120 <= LONGEST


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("veza_publisher_backoff", float("nan"), "veza_publisher_backoff is nan"),
        ("veza_publisher_backoff", 1e18, "veza_publisher_backoff is 1e+18"),
        ("veza_rabbitmq_port", 0, "veza_rabbitmq_port is 0"),
        ("veza_queues", [{"name": "a", "drain_seconds": 10**18}], "veza_queues[a].drain_seconds is 1"),
        ("outage_recover_drain_timeout", -5, "outage_recover_drain_timeout is -5"),
        ("outage_recover_boot_timeout", -1, "outage_recover_boot_timeout is -1"),
        ("outage_recover_boot_timeout", 10**15, "outage_recover_boot_timeout is 1000000000000000, not"),
        ("outage_recover_give_up", {"queue": "nope", "count": "x"}, "outage_recover_give_up.count is x"),
        ("outage_mitigate_timeout", "inf", "outage_mitigate_timeout is inf"),
        ("outage_audit_drain_timeout", "abc", "outage_audit_drain_timeout is abc"),
        ("outage_diagnose_timeout", 0, "outage_diagnose_timeout is 0"),
    ],
)
def test_a_number_that_would_fail_in_the_middle_is_refused_before(name: str, value: Any, said: str) -> None:
    limits = load("veza", "vars/main.yml")["__veza_limits"]
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
    environment.filters["zip"] = zip
    environment.globals["query"] = lambda _plugin, *names, default: [value if one == name else default for one in names]
    text = load("veza", "vars/main.yml")["__veza_numbers"].strip()
    given = environment.from_string(text).render(__veza_limits=limits)

    [found] = wrong_numbers(given, limits)
    assert found.startswith(said)
    problems = load("veza", "tasks/main.yml")[0]["vars"]["veza_problems"]
    assert problems.endswith("+ __veza_numbers | veza.rabbitmq.wrong_numbers(__veza_limits) }}")


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


def clock(utc: bool) -> datetime:
    return datetime(2026, 1, 31, 3, tzinfo=None if utc else UTC)


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


def wrong_recovery(**known: Any) -> list[str]:
    """Return what the check of a recovery's settings says."""
    [task] = load("outage_recover", "tasks/check.yml")
    assert task["ansible.builtin.assert"]["that"] == "__outage_recover_problems | length == 0"
    given = {"outage_recover_give_up": {}, "outage_recover_set_aside": {}, "veza_transcode_requeue": {}, "now": clock}
    found: list[str] = rendered(
        "outage_recover", "__outage_recover_problems", given | known, texts=task["vars"], **INSTANTS
    )
    return found


@pytest.mark.parametrize(
    ("known", "said"),
    [
        pytest.param({}, [], id="nothing was set"),
        pytest.param({"outage_audit_start": None}, [], id="null"),
        pytest.param({"outage_audit_start": "2026-01-31 02:00:00Z"}, [], id="an hour ago"),
        pytest.param({"outage_audit_start": "2016-01-31T02:00:00Z"}, ["the outage until now: the window is 3"],
                     id="years ago"),
        pytest.param({"outage_audit_start": "2036-01-31T02:00:00Z"}, ["outage_audit_start: 2036"], id="to come"),
        pytest.param({"outage_audit_start": "x", "outage_recover_give_up": {"queue": "q"},
                      "outage_recover_set_aside": {"foo": 1}},
                     ["outage_audit_start: 'x'", "outage_recover_give_up needs", "outage_recover_set_aside needs"],
                     id="all at once"),
        pytest.param({"outage_recover_give_up": {"queue": "q", "count": 5},
                      "outage_recover_set_aside": {"queue": "q", "count": "1"}}, [], id="both are whole"),
    ],
)  # fmt: skip
def test_what_a_recovery_could_not_carry_out_is_refused_at_once(known: dict[str, Any], said: list[str]) -> None:
    found = wrong_recovery(**known)
    assert [text[: len(beginning)] for text, beginning in zip(found, said, strict=True)] == said


def test_a_recovery_checks_its_settings_before_it_asks_any_host() -> None:
    first, look, _recover = yaml.safe_load((ROOT / "playbooks/recover_rabbitmq.yml").read_text(encoding="utf-8"))
    [check] = first["tasks"]

    assert check["ansible.builtin.import_role"] == {"name": "veza.rabbitmq.outage_recover", "tasks_from": "check"}
    assert look["ansible.builtin.import_playbook"] == "look_rabbitmq.yml"


def opened_event() -> dict[str, Any]:
    data = {"started_at": "2026-01-31T02:00:00Z", "start_source": "broker log", "confidence": "exact"}
    return {"seq": 1, "at": "2026-01-31T02:05:00Z", "type": "opened", "key": "opened", "data": data}


def rendered(role: str, name: str, known: dict[str, Any], texts: Any = None, **filters: Any) -> Any:
    """Return a variable of a role (or one of ``texts``), with those that it is made of, as Ansible would."""
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
    known_filters = FilterModule().filters()
    ansibles = ("b64decode", "combine", "from_json", "items2dict", "ternary")
    environment.filters.update({name: known_filters[name] for name in ansibles} | filters)
    environment.tests["changed"] = bool
    texts = texts or load(role, "vars/main.yml")

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
    given["__outage_mitigate_read"] = {"events": [], "found": known.get("found", True)} | known.get("read", {})
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


def taken_back(holds: str | None, note: dict[str, Any] | None = None, state: str = "reverted") -> dict[str, Any]:
    """Return what a mitigation knows of a file that holds this level, and of which that is noted."""
    read = {} if note is None else {"content": base64.b64encode(json.dumps(note).encode()).decode()}
    look = {"files": [{"path": "/opt/veza/.env", "before": holds}]}
    known = {"__outage_mitigate_look": look, "__outage_mitigate_note_read": read, "outage_mitigate_state": state}
    return {**known, "levels": {}, "veza_eventbus_level_variable": "LEVEL", "veza_backend_container": "api"}


@pytest.mark.parametrize(
    ("before", "in_file", "absent", "wanted"),
    [("info", "info", False, "info"), ("", "", False, "warn"), (None, "", True, "warn")],
)
def test_a_level_is_taken_back_to_what_the_file_had(before: Any, in_file: str, absent: bool, wanted: str) -> None:
    told = taken_back("error", {"file_before": before, "written": "error"})

    assert mitigated("__outage_mitigate_in_file", **told) == in_file
    assert mitigated("__outage_mitigate_absent", **told) is absent
    assert mitigated("__outage_mitigate_wanted", **told) == wanted
    # Where the running API can be told, it gets the level that it has without anybody's change.
    assert mitigated("__outage_mitigate_wanted", **told, veza_api_level_path="/level") == "warn"
    task = file_task("__outage_mitigate_file")
    assert "__outage_mitigate_wanted" in task["absent_value"]
    assert ("__outage_mitigate_in_file" in task["value"], "__outage_mitigate_absent" in task["state"]) == (True, True)


def file_task(register: str) -> dict[str, Any]:
    tasks = load("outage_mitigate", "tasks/instance.yml")
    [task] = [one for one in tasks if "compose_environment" in str(list(one)) and one["register"] == register]
    return dict(task["veza.rabbitmq.compose_environment"])


@pytest.mark.parametrize(
    ("holds", "note"),
    [
        pytest.param("warn", None, id="nothing was prepared"),
        pytest.param("error", None, id="the operator's own level is the one of a mitigation"),
        pytest.param("info", {"file_before": None, "written": "error"}, id="deployed since, with another level"),
        pytest.param(None, {"file_before": "warn", "written": "error"}, id="deployed since, without a level"),
        pytest.param("warn", {"file_before": "warn", "written": "error"}, id="noted, and ended before it was written"),
    ],
)
def test_what_no_mitigation_wrote_stays_in_the_file(holds: str | None, note: dict[str, Any] | None) -> None:
    told = taken_back(holds, note)

    assert mitigated("__outage_mitigate_in_file", **told) == (holds or "")
    assert mitigated("__outage_mitigate_absent", **told) is (holds is None)
    held = "without LEVEL" if holds is None else f"with LEVEL={holds}"
    registered = {
        "__outage_mitigate_live": {}, "__outage_mitigate_command": {},
        "__outage_mitigate_file": {"message": "/opt/veza/.env is right as it is; api takes it when recreated."},
    }  # fmt: skip
    assert mitigated("__outage_mitigate_said", **told, **registered) == (
        f"/opt/veza/.env was left as it is, {held}, as it is not noted that a mitigation wrote this; for another "
        "level: -e outage_mitigate_level=LEVEL; api takes it when recreated."
    )


@pytest.mark.parametrize(
    ("holds", "note", "raises", "origin"),
    [
        pytest.param("warn", None, True, "warn", id="first"),
        pytest.param(None, None, True, None, id="the file has none"),
        pytest.param("error", None, False, "error", id="nothing to write"),
        pytest.param("error", {"file_before": "warn", "written": "error"}, False, "warn", id="once more"),
        pytest.param("info", {"file_before": "warn", "written": "info"}, True, "warn", id="from one to another"),
        pytest.param("info", {"file_before": "warn", "written": "error"}, True, "info", id="deployed in between"),
    ],
)
def test_what_a_mitigation_notes_is_what_was_there_before_all_of_them(
    holds: str | None, note: dict[str, Any] | None, raises: bool, origin: str | None
) -> None:
    told = taken_back(holds, note, "prepared")

    assert mitigated("__outage_mitigate_raises", **told) is raises
    assert mitigated("__outage_mitigate_origin", **told)["file_before"] == origin
    tasks = load("outage_mitigate", "tasks/instance.yml")
    names = [task["name"] for task in tasks]
    # Ended in between, it must not have changed what nothing tells of.
    assert names.index("Note what the environment file has to be taken back to") < names.index(
        "Bring the environment file, and where that is accepted the container, up to date"
    )
    [look] = [task for task in tasks if task.get("register") == "__outage_mitigate_look"]
    assert (look["check_mode"], look["changed_when"]) == (True, False)


@pytest.mark.parametrize(
    ("incident", "level", "command", "concerned"),
    [
        pytest.param({"open": True}, {}, False, True, id="open"),
        pytest.param({"open": False}, {}, False, False, id="closed, and another one's"),
        pytest.param({"open": False}, {"level": "warn", "since": "…"}, False, False, id="closed, taken back"),
        pytest.param({"open": False}, {"level": "error", "since": "…"}, False, True, id="closed, raised"),
        pytest.param({"open": False}, {"file_before": "warn"}, False, True, id="closed, prepared"),
        pytest.param({"open": False}, {}, True, True, id="the command is not to be asked again"),
        pytest.param({"open": False, "id": ""}, {}, False, False, id="none"),
    ],
)
def test_a_closed_incident_learns_of_a_level_that_it_raised_only(
    incident: dict[str, Any], level: dict[str, Any], command: bool, concerned: bool
) -> None:
    told = taken_back("warn") | {"levels": {"b1": level} if level else {}}
    told |= {"read": {"id": "20260131T020000Z-paris-0001", **incident}, "__outage_mitigate_command": command}

    assert mitigated("__outage_mitigate_concerned", **told) is concerned
    tasks = load("outage_mitigate", "tasks/instance.yml")
    recording = [task for task in tasks if task["name"].startswith("Record ")]
    assert [task["when"][0] for task in recording] == ["__outage_mitigate_concerned"] * 2


@pytest.mark.parametrize(
    ("level", "refused"),
    [
        ("error", False),
        ("warn", False),
        ("debug", False),
        ("", True),
        ("banana", True),
        ("fatal", True),
        ("ERROR", True),
    ],
)
def test_a_level_that_is_none_is_refused(level: str, refused: bool) -> None:
    spec = load("outage_mitigate", "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    validated = ArgumentSpecValidator(spec).validate({"outage_mitigate_level": level})

    assert any("outage_mitigate_level" in message for message in validated.error_messages) is refused


@pytest.mark.parametrize(
    ("level", "fine"),
    [("warn", True), ("WARNING", True), ("", True), ("3", False), ("warn\nX=1", False), ("warn\n", False)],
)
def test_the_level_of_the_inventory_is_one_word(level: str, fine: bool) -> None:
    first = load("outage_mitigate", "tasks/main.yml")[0]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.tests["match"] = ansible_tests.TestModule().tests()["match"]

    judged = environment.compile_expression(first["ansible.builtin.assert"]["that"])(veza_eventbus_level=level)
    assert judged is fine


@pytest.mark.parametrize(
    ("directory", "fine"),
    [("/srv/reports", True), ("", True), (None, True), ("rel/dir", False), ("~/reports", False), ("\n", False)],
)
def test_a_directory_for_the_copy_of_a_report_is_an_absolute_path(directory: str | None, fine: bool) -> None:
    [check] = load("outage_report", "tasks/check.yml")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.tests["match"] = ansible_tests.TestModule().tests()["match"]

    judged = environment.compile_expression(check["ansible.builtin.assert"]["that"])(outage_report_dir=directory)
    assert judged is fine
    # Before anything is done, and not after a recovery.
    assert load("outage_report", "tasks/main.yml")[0]["ansible.builtin.include_tasks"] == "check.yml"
    for role, part in (("outage_recover", "main"), ("outage_audit", "alone")):
        assert load(role, f"tasks/{part}.yml")[0]["ansible.builtin.import_role"]["tasks_from"] == "check"


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
