# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which actions a step of the plan takes: check mode prints them, and the real run takes exactly these. Pure.

An action is ``{name, target, may_lose}``, and may have ``arguments`` that are part of the decision. A remedy whose
actions depend on what was seen has a function in ``ACTIONS``; the others take the table's actions on each target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._actions_app import mend_network, renew_credentials
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._actions_boot import restore_boot
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._choice import Choice, Planner, Step, budget_spent
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._resources import ease_memory, free_disk, more_memory
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._workers import bring_back, set_aside, watch_backlog

__all__ = ["Choice", "Planner", "Step", "choose"]


def choose(step: Step, remedy: Mapping[str, Any], evidence: Mapping[str, Any], settings: Mapping[str, Any]) -> Choice:
    """Return what a step comes to."""
    return ACTIONS.get(step["remedy"], on_each_target)(step, remedy, evidence, settings)


def on_each_target(
    step: Step, remedy: Mapping[str, Any], _evidence: Mapping[str, Any], _settings: Mapping[str, Any]
) -> Choice:
    """The remedy's actions, one after the other, each on all targets."""
    return Choice(
        [
            {"name": name, "target": target, "may_lose": remedy["may_lose"]}
            for name in remedy["actions"]
            for target in step["targets"]
        ],
        stops=remedy.get("stops", False),
    )


def within_budget(
    step: Step, remedy: Mapping[str, Any], evidence: Mapping[str, Any], settings: Mapping[str, Any]
) -> Choice:
    """Start or restart a broker that nobody stopped, but not again and again: what kills it would go on."""
    spent = budget_spent(step["targets"], settings)
    return Choice(ask=spent) if spent else on_each_target(step, remedy, evidence, settings)


def start_broker(
    step: Step, remedy: Mapping[str, Any], evidence: Mapping[str, Any], settings: Mapping[str, Any]
) -> Choice:
    """Start it; where the kernel killed it for want of memory, its instance gets more before, if that is allowed."""
    choice = within_budget(step, remedy, evidence, settings)
    nodes = more_memory(step, evidence, settings) if step["cause"] == "broker_oom_killed" and not choice.ask else []
    if nodes:
        raised = [{"name": "raise_memory", "target": node["node"], "may_lose": "nothing"} for node in nodes]
        choice.actions, choice.arguments = [*raised, *choice.actions], {"nodes": nodes}
    return choice


ACTIONS: dict[str, Planner] = {
    "start_broker": start_broker,
    "restart_broker": within_budget,
    "free_disk": free_disk,
    "ease_memory": ease_memory,
    "restart_worker": bring_back,
    "set_aside": set_aside,
    "watch_backlog": watch_backlog,
    "renew_credentials": renew_credentials,
    "mend_network": mend_network,
    "restore_boot": restore_boot,
}
