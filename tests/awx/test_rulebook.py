# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rulebook says what it may: whose sources, behind which token, how often, which playbook with which variables.

That it runs is shown on real hosts (tests/incus/test_chain.py), as ansible-rulebook needs a Java.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.awx.tables import ROOT, load, specification

(RULESET,) = load(ROOT / "extensions/eda/rulebooks/rabbitmq_unreachable.yml")
RULES = {rule["name"]: rule for rule in RULESET["rules"]}


def test_nothing_of_galaxy_is_needed_and_nobody_is_let_in_without_a_token() -> None:
    (webhook, already) = RULESET["sources"]
    assert webhook["eda.builtin.webhook"]["token"] == "{{ VEZA_ALERT_TOKEN }}", "without a default it does not start"
    assert "127.0.0.1" in webhook["eda.builtin.webhook"]["host"]
    # What fires already is looked for at once, and for ever: a restart loses nothing.
    generic = already["eda.builtin.generic"]
    assert generic["loop_count"] == -1
    assert "startup_delay" not in generic


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_each_rule_runs_the_playbook_that_decides(rule: dict[str, Any]) -> None:
    action = rule["action"]["run_playbook"]
    assert action["name"] == "playbooks/answer_rabbitmq.yml", "copied with its neighbours, as a full name would not be"
    assert (ROOT / action["name"]).is_file()
    assert set(action.get("extra_vars", {})) <= set(specification("outage_alert"))


def test_messages_are_throttled_by_site_and_state_and_of_one_site_alone() -> None:
    rule = RULES["An alert of this site fires, or is resolved"]
    assert rule["throttle"] == {
        "once_within": "30 seconds",
        "group_by_attributes": ["event.payload.groupKey", "event.payload.status"],
    }
    assert "vars.VEZA_SITE" in rule["condition"]
    assert RULESET["execution_strategy"] == "sequential"


def test_an_alert_may_not_say_yes_for_a_person() -> None:
    """Every flag that a person sets for a run is off, whatever the inventory says."""
    (act,) = [task for task in load(ROOT / "roles/outage_alert/tasks/main.yml") if task["name"].startswith("Do what")]
    plan = (ROOT / "roles/outage_recover/vars/main.yml").read_text()
    for option, value in specification("outage_recover").items():
        if "A person" in str(value["description"]) or f"needs: {option}" in plan:
            assert act["vars"][option] == value["default"], option
