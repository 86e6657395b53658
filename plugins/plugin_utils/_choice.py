# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a step of the plan comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Step = Mapping[str, Any]
"""``{cause, remedy, targets, queues}``: a cause that was named, and what is to be done about it."""


@dataclass
class Choice:
    """What a step comes to. Without actions it waits, proves or accounts only."""

    actions: list[dict[str, Any]] = field(default_factory=list)
    arguments: dict[str, Any] = field(default_factory=dict)
    """What its tasks need besides the targets. Part of the decision, so no figures that change by themselves."""
    ask: str | None = None
    """Why a human must decide after all; then there are no actions."""
    stops: bool = False
    """Whether the run ends with this step, as a human must decide before anything else is done."""
    not_simulated: list[str] = field(default_factory=list)
    """What it may do besides, which can't be known beforehand."""


Planner = Callable[[Step, Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], Choice]
"""Takes the step, its remedy (vars/main.yml of outage_recover), the evidence and the settings."""


RESTARTS = ("start_broker", "restart_broker")

PAST = ("start_broker", "account")
"""Remedies of causes that are over when the broker serves."""


def budget_spent(targets: Sequence[str], settings: Mapping[str, Any]) -> str | None:
    """Return what a person is asked where a broker was started as often as it may be; None where none was."""
    recent: dict[str, list[str]] = {target: [] for target in targets}
    for action in settings["recent_actions"]:
        if action["name"] in RESTARTS and action["target"] in recent and action["at"] >= settings["restarts_since"]:
            recent[action["target"]].append(action["at"])
    spent = {target: times for target, times in recent.items() if len(times) >= settings["restarts"]}
    if not spent:
        return None
    told = ", ".join(f"{target} {len(times)} times already ({', '.join(times)})" for target, times in spent.items())
    return (
        f"This command has started {told}, and it went down again. Find what ends it, in the proof and in its log; "
        "raise outage_recover_restarts to have it started once more."
    )
