# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether everybody is served again: what was asked of whom, and who is missing. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._untrusted import plain

CONSUMED = "consumers of "
"""How the checks are named that ask whether a queue is consumed."""

NOTED = "processes"
"""The type of the event in which an incident notes the API's processes."""

RECREATES = ("recreate_backend", "raise_level_by_restart", "revert_level_by_restart")
"""The actions that make the API's process another one; each needs a person's word."""

SAYS = {
    "unchanged": "API process unchanged on {}",
    "allowed": "recreated on {}, as a person had allowed",
    "changed": "ANOTHER API PROCESS on {}, and not by this recovery: somebody or something else restarted it",
    "unknown": "whether the API process is the same is not known on {}",
}

Result = Mapping[str, Any]


def outage_seats(looks: Sequence[Result], backends: Sequence[str]) -> list[dict[str, Any]]:
    """Return from where the broker is to be reached: each container, else the host where there is none.

    A container that does not run is named and not asked. ``looks`` are the results of a loop of app_host_info over
    hosts. A host that did not answer has its own seat, so that its probe tells why.
    """
    seats: list[dict[str, Any]] = []
    for look in plain(looks):
        host = look["item"]
        found = look.get("containers") or []
        for one in found:
            seat = {"host": host, "container": one["name"], "service": one.get("service"), "state": one["state"]}
            seats.append(
                {**seat, "backend": host in backends and not _is_worker(one), "label": f"{one['name']} on {host}"}
            )
        if not found:
            seat = {"host": host, "container": "", "service": None, "state": "running"}
            seats.append({**seat, "backend": host in backends, "label": host})
    return seats


def _is_worker(container: Result) -> bool:
    return str(container.get("service") or "").startswith("worker")


def outage_consumers(queues: Sequence[Result], before: Result | None = None) -> list[dict[str, Any]]:
    """Return the checks for rabbitmq_health that each queue of the table has its consumers.

    ``before`` is what rabbitmq_health returned before the recovery: as many as then, and one at least.
    """
    traffic = plain(before or {}).get("traffic") or {}
    had = {queue["name"]: queue.get("consumers") or 0 for queue in traffic.get("queues") or []}
    return [
        {
            "name": f"{CONSUMED}{queue['name']}",
            "query": f'queues."{queue["name"]}".consumers >= `{max(1, had.get(queue["name"], 0))}`',
        }
        for queue in plain(queues)
        if queue.get("worker")
    ]


def outage_proof(facts: Result) -> dict[str, Any]:
    """Return ``{served, complete, proof, missing}``.

    served: each backend gets through, and its event bus is connected. complete: so does every worker, and each queue
    has its consumers. ``missing`` has a sentence for each who does not; ``proof`` for each who does.
    """
    seen = plain(facts)
    proof: list[str] = []
    vital: list[str] = []
    others: list[str] = []
    probes = {result["item"]["label"]: result for result in seen["probes"] if result and "item" in result}
    for seat in seen["seats"]:
        result = probes.get(seat["label"]) or {}
        missing = vital if seat["backend"] else others
        if seat["state"] != "running":
            missing.append(f"{seat['label']} is {seat['state']}")
        elif result.get("ok"):
            proof.append(f"{seat['label']}: {result['message']}")
        else:
            missing.append(f"{seat['label']}: {_why(result)}")
    for result in seen["apis"]:
        host = result["item"]
        if result.get("connected"):
            proof.append(f"{host}: {result['message']}")
        else:
            vital.append(f"{host}: {_why(result)}")
    for check in (seen.get("consumers") or {}).get("checks") or []:
        if check["name"].startswith(CONSUMED):
            queue = check["name"][len(CONSUMED) :]
            if check["result"] == "pass":
                proof.append(f"{queue} is consumed")
            else:
                others.append(f"{queue} has too few consumers ({check['detail']})")
    if seen.get("consumers") is not None and not (seen["consumers"] or {}).get("checks"):
        others.append(f"whether the queues are consumed is not known: {_why(seen['consumers'])}")
    return {"served": not vital, "complete": not vital and not others, "proof": proof, "missing": [*vital, *others]}


def _why(result: Result) -> str:
    return " ".join(str(result.get("message") or result.get("msg") or "it was not asked").split())


def outage_processes(seen: Any, hosts: Sequence[str] = ()) -> dict[str, Any]:
    """Return by host what tells the API's process from the next one; None where it is not known.

    ``seen`` are the results of a loop over hosts, of app_host_info, whose first container is the API's, or of
    api_health; or what outage_evidence has of the applications, of which only ``hosts`` are looked at.
    """
    results = plain(seen)
    if isinstance(results, Mapping):
        results = [{**((results.get(host) or {}).get("info") or {}), "item": host} for host in plain(hosts)]
    found: dict[str, Any] = {}
    for result in results:
        one = next(iter(result.get("containers") or []), None)
        identity = None
        if one and one["state"] == "running":
            identity = {key: one.get(key) for key in ("id", "started_at", "pid", "process")}
        elif one:
            identity = {"state": one["state"]}
        elif result.get("identity") is not None:
            identity = {"identity": result["identity"]}
        found[str(result["item"])] = identity
    return found


def outage_backends(events: Sequence[Result], after: Result) -> dict[str, Any]:
    """Return ``{unchanged, allowed, changed, unknown, text}`` of the API's process on each backend.

    ``events`` are an incident's: what it noted when it began, and on which hosts it has recreated the API itself, as a
    person had allowed. ``after`` is what outage_processes says now.
    """
    noted, now = plain(events), plain(after)
    before: dict[str, Any] = next((event["data"]["backends"] for event in noted if event["type"] == NOTED), {})
    allowed = {
        event["data"].get("target") for event in noted
        if event["type"] == "action" and event["data"].get("name") in RECREATES and event["data"].get("changed", True)
    }  # fmt: skip
    began = next((event["at"] for event in noted if event["type"] == "opened"), "")
    told: dict[str, Any] = {"unchanged": [], "allowed": [], "changed": [], "unknown": []}
    for host, was in sorted(before.items()):
        started = (now.get(host) or {}).get("started_at") or began
        if not was and started < began:
            # Nobody could see it then, and it runs since before.
            told["unchanged"].append(host)
        elif not was or not now.get(host):
            told["unknown"].append(host)
        elif was == now[host]:
            told["unchanged"].append(host)
        else:
            told["allowed" if host in allowed else "changed"].append(host)
    texts = [text.format(", ".join(told[name])) for name, text in SAYS.items() if told[name]]
    return {**told, "text": "; ".join(texts) or "no backend was looked at when the incident began"}
