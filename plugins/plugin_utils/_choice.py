# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a step of the plan comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
