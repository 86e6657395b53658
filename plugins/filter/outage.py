# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's filters: each is the function of the same name in a file of plugin_utils.

Every process that uses a filter of a collection reads and compiles all files of this directory, with all that they
import. So there is this one file, and what a filter needs is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import untrusted

PLUGIN_UTILS = "ansible_collections.veza.rabbitmq.plugins.plugin_utils"

FILES = {
    "game_day_guard": "_game_day_guard",
    "game_day_report": "_game_day_report",
    "guilty_workers": "_workers",
    "markdown_text": "_markdown_text",
    "outage_accounted": "_outage_plan",
    "outage_accounting": "_outage_accounting",
    "outage_alerts": "_outage_alerts",
    "outage_backends": "_outage_proof",
    "outage_began_again": "_again",
    "outage_blind": "_outage_levels",
    "outage_causes": "_outage_causes",
    "outage_consumers": "_outage_proof",
    "outage_evidence": "_outage_evidence",
    "outage_interruptions": "_again",
    "outage_levels": "_outage_levels",
    "outage_page": "_outage_page",
    "outage_plan": "_outage_plan",
    "outage_processes": "_outage_proof",
    "outage_proof": "_outage_proof",
    "outage_record": "_outage_record",
    "outage_seats": "_outage_proof",
    "outage_status": "_outage_status",
    "outage_summary": "_outage_summary",
    "outage_verdict": "_outage_verdict",
    "restart_loss": "_restart_loss",
    "shift_instant": "_shift_instant",
    "wrong_numbers": "_wrong_numbers",
    "wrong_window": "_wrong_window",
}
"""The file of each filter."""


def imported(name: str) -> Callable[..., Any]:
    """Return a filter that imports its file when it is called."""

    def call(*args: Any, **kwargs: Any) -> Any:
        function = getattr(import_module(f"{PLUGIN_UTILS}.{FILES[name]}"), name)
        return untrusted(function)(*args, **kwargs)

    return call


class FilterModule:
    """All of them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        return {name: imported(name) for name in FILES}
