# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role outage_recover: what it refuses at once, what it starts together, when an incident is over."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
import yaml
from ansible.plugins.filter.core import FilterModule

from tests.unit.roles.role_files import INSTANTS, ROOT, clock, load, rendered


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
