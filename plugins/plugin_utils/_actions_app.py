# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done about the way to the broker: a login that was rotated, a network that is broken. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._choice import Choice, Step

RECREATE, MEND = "outage_recover_allow_backend_recreate", "outage_recover_mend_network"
"""The flags by which a person allows it for one run."""


def renew_credentials(
    step: Step, remedy: Mapping[str, Any], evidence: Mapping[str, Any], settings: Mapping[str, Any]
) -> Choice:
    """Files first, then the workers, then the API, one instance at a time and only where a person allowed it.

    Only what holds another password of the inventory's user is touched, and only if the broker takes the inventory's.
    """
    looks = [*evidence["apps"].values(), *evidence["brokers"].values()]
    own = [look["info"]["probe"] for look in looks if look["info"] and look["info"].get("probe")]
    if not any(probe["ok"] for probe in own):
        seen = own[0]["message"] if own else "no host could try it"
        return Choice(
            ask="Whether the broker takes the inventory's own password is not proved, so it is given to nobody: "
            f"{seen}. Put the right one into veza_rabbitmq_password, then run this again."
        )
    files: list[dict[str, Any]] = []
    workers: list[dict[str, Any]] = []
    backends: list[dict[str, Any]] = []
    strangers: list[str] = []
    for host in step["targets"]:
        wrong = []
        for one in (evidence["apps"].get(host, {}).get("info") or {}).get("containers") or []:
            held = one.get("amqp") or {}
            if held.get("user") not in (None, settings["user"]):
                if (one.get("probe") or {}).get("outcome") == "login_refused":
                    strangers.append(f"{one['name']} on {host} logs in as {held['user']}")
            elif held.get("matches") is False and one["state"] in ("running", "restarting", "paused"):
                wrong.append(one)
        unready = [one["name"] for one in wrong if (one["amqp"].get("file") or {}).get("matches") is not True]
        api = [one["name"] for one in wrong if one["name"] == settings["backend_container"]]
        others = [one["name"] for one in wrong if one["name"] not in api]
        files += [_renewal("write_environment", host, unready)] if unready else []
        workers += [_renewal("recreate_workers", host, others)] if others else []
        backends += [_renewal("recreate_backend", host, api)] if api else []
    allowed = settings["flags"][RECREATE]
    renew = [*files, *workers, *(backends if allowed else [])]
    left = "" if allowed or not backends else _left_to_a_person([one["target"] for one in backends])
    if strangers:
        left = f"{left} {'; '.join(strangers)}: whose password is not in the inventory.".strip()
    if not renew:
        return Choice(ask=left) if left else Choice(arguments={"renew": [], "left": ""})
    return Choice(
        [{"name": one["name"], "target": one["target"], "may_lose": remedy["may_lose"]} for one in renew],
        {"renew": renew, "left": left},
        stops=bool(left),
        not_simulated=[left] if left else [],
    )


def _renewal(name: str, host: str, containers: list[str]) -> dict[str, Any]:
    return {"name": name, "target": host, "containers": containers}


def _left_to_a_person(hosts: list[str]) -> str:
    return (
        f"The API on {', '.join(hosts)} still holds the old password. To take the new one its container must be made "
        f"anew, which restarts the backend, so a person decides: -e {RECREATE}=true does it "
        "one instance at a time, the next one only when the one before answers and its event bus is connected."
    )


def mend_network(
    step: Step, remedy: Mapping[str, Any], _evidence: Mapping[str, Any], settings: Mapping[str, Any]
) -> Choice:
    """The operator's own commands for this cause and these hosts, each once."""
    chosen = [
        {"host": entry["host"], "argv": list(entry["argv"])}
        for entry in settings["network_mend"]
        if entry["cause"] == step["cause"] and entry.get("target", entry["host"]) in step["targets"]
    ]
    mend = [entry for place, entry in enumerate(chosen) if entry not in chosen[:place]]
    if not mend:
        return Choice(
            ask=f"veza_network_mend has no command for {step['cause']} on {', '.join(step['targets'])}. Mend the hop "
            "that PROOF names, then run this again: it proves that all get through, and accounts for what was lost."
        )
    if not settings["flags"][MEND]:
        told = "; ".join(mended(entry) for entry in mend)
        return Choice(ask=f"The inventory has a remedy: {told}. To have that done: -e {MEND}=true")
    actions = [{"name": "mend_network", "target": mended(entry), "may_lose": remedy["may_lose"]} for entry in mend]
    return Choice(actions, {"mend": [{**entry, "told": mended(entry)} for entry in mend]})


def mended(entry: Mapping[str, Any]) -> str:
    """Say what is run where."""
    return f"{entry['host']}: {' '.join(entry['argv'])}"
