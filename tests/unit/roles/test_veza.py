# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role veza: what an inventory may say, and how a person is told."""

from __future__ import annotations

from typing import Any

import jinja2
import jinja2.nativetypes
import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._deadline import LONGEST
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._wrong_numbers import wrong_numbers
from tests.unit.roles.role_files import TABLES, load


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
