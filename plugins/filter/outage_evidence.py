# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Collect what the hosts have seen into one document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import untrusted

# Each view, the variable in which outage_diagnose registered it, and a key that only a finished look has.
VIEWS = {
    "info": ("__outage_diagnose_host_info", "service"),
    "probe": ("__outage_diagnose_probe", "outcome"),
}


def outage_evidence(
    health: Mapping[str, Any] | None, hostvars: Mapping[str, Any], brokers: list[str], backends: list[str]
) -> dict[str, Any]:
    """Return the evidence that module_utils/_findings.py describes; what a host did not answer is None."""
    return {
        "health": health if health and "verdict" in health else None,
        "brokers": {host: _seen(hostvars[host], ("info", "probe")) for host in brokers},
        "backends": {host: _seen(hostvars[host], ("probe",)) for host in backends},
    }


def _seen(variables: Mapping[str, Any], views: tuple[str, ...]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for view in views:
        variable, key = VIEWS[view]
        result = variables.get(variable) or {}
        seen[view] = result if key in result else None
        if key not in result and result.get("msg"):
            seen["why"] = result["msg"]
    return seen


class FilterModule:
    """The evidence."""

    def filters(self) -> dict[str, Any]:
        """Return it by name."""
        return {"outage_evidence": untrusted(outage_evidence)}
