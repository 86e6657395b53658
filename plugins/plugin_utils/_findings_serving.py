# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings about a broker that is up and does not serve."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ._findings import (
    RECENT,
    Evidence,
    Finding,
    Info,
    Proof,
    Truth,
    anywhere,
    both,
    either,
    infos,
    opposite,
    proof,
    seconds_between,
)
from ._findings_process import gone, tell_service, tell_stopper

LOOPBACK = re.compile(r"127\.|::1$")


def closed(info: Info) -> Truth:
    """Whether nothing listens on the broker's first port, or somebody else does."""
    first = next(iter(info.get("listeners") or []), None)
    if first is None or first["listening"] is None:
        return None
    return not first["listening"] or first.get("ours") is False


def listens_elsewhere(info: Info) -> Truth:
    """Whether a broker that has booted does not listen on its first port, or there on its own host's loopback alone."""
    first = next(iter(info.get("listeners") or []), None)
    booted = both(opposite(gone(info)), info["lifecycle"]["last"] == "started")
    if first is None or first["listening"] is None:
        return both(booted, None)
    if first.get("ours") is False:
        return False
    addresses = first.get("addresses")
    alone = None if addresses is None else bool(addresses) and all(map(LOOPBACK.match, addresses))
    return both(booted, either(not first["listening"], alone))


def tell_elsewhere(host: str, info: Info) -> list[Proof]:
    """Say where it listens."""
    first = info["listeners"][0]
    where = f"is bound to {', '.join(first['addresses'])} alone" if first["listening"] else "is closed"
    others = ", ".join(map(str, info.get("own_ports") or [])) or "nothing that could be seen"
    return [proof(host, "/proc/net/tcp", f"the broker runs, and port {first['port']} {where}; it listens on: {others}")]


def application_stopped(info: Info) -> Truth:
    """Whether the process lives on after the application in it was stopped."""
    return both(opposite(gone(info)), closed(info), info["lifecycle"]["last"] in ("stopped", "stopping"))


def tell_application(host: str, info: Info) -> list[Proof]:
    """Quote the log."""
    lifecycle = info["lifecycle"]
    text = f"the process lives, nothing listens, and the log's last step is: {lifecycle['line']}"
    return [
        proof(host, str(lifecycle.get("file") or "broker log"), text, lifecycle.get("stopped_at") or lifecycle["at"])
    ]


def being_stopped(info: Info) -> Truth:
    """Whether its service manager is at stopping it, which a broker that hangs can take its time for."""
    state = info["service"]["state"]
    return both(opposite(gone(info)), None if state == "unknown" else state == "stopping")


def tell_being_stopped(host: str, info: Info) -> list[Proof]:
    """Say since when, and who asked for it."""
    return [*tell_service(host, info), *tell_stopper(host, info)]


def hangs(info: Info) -> Truth:
    """Whether connections are accepted in silence, or the process is suspended."""
    if gone(info):
        return False
    if info["process"].get("suspended"):
        return True
    seen = info.get("probe")
    if not seen:
        return None
    return seen["outcome"] == "timed_out" and any(stage["name"] == "header" for stage in seen["stages"])


def hanging(evidence: Evidence) -> Finding:
    """Whether a broker hangs. Of a cluster's nodes that ask one address, each sees the same one of them hang."""
    seen = list(infos(evidence, "brokers"))
    shared = len(seen) > 1 and all(hangs(info) for _host, info in seen if info is not None)
    answers: list[tuple[str, Truth, list[Proof]]] = []
    for host, info in seen:
        truth = None if info is None else hangs(info)
        if info is not None and shared and not info["process"].get("suspended"):
            truth = None
        answers.append((host, truth, tell_hang(host, info) if truth and info is not None else []))
    return anywhere(answers)


def tell_hang(host: str, info: Info) -> list[Proof]:
    """Say what hangs."""
    told = []
    if info["process"].get("suspended"):
        told.append(proof(host, "/proc", f"the broker's process {info['process']['pid']} is suspended by a signal"))
    return told + (tell_probe(host, info) if info.get("probe") else [])


def tell_probe(host: str, info: Info) -> list[Proof]:
    """Say what the probe on the broker's own host says."""
    return [proof(host, "amqp_probe", info["probe"]["message"])]


def probed(*outcomes: str) -> Callable[[Info], Truth]:
    """Answer whether the probe on the broker's own host ended so."""
    return lambda info: None if not info.get("probe") else info["probe"]["outcome"] in outcomes


def renamed(info: Info) -> Truth:
    """Whether the data of another node lie beside this node's, which is younger."""
    return None if (info.get("node") or {}).get("others") is None else bool(former(info))


SETTLED_IN = 7 * 86400.0
"""Seconds after which a node's name is the one that it has."""


def former(info: Info) -> list[dict[str, Any]]:
    """Return the other nodes whose data are older: younger ones are what a passing name has left behind.

    A node that has long had data of its own is no surprise any more, and a copy that keeps its times is as old as it.
    """
    node, now = info["node"], (info.get("clock") or {}).get("now")
    age = seconds_between(node.get("began_at"), now)
    if age is not None and age > SETTLED_IN:
        return []
    return [other for other in node["others"] if (other.get("began_at") or "") < (node.get("began_at") or "9")]


def tell_renamed(host: str, info: Info) -> list[Proof]:
    """Name the nodes."""
    others = ", ".join(f"{other['name']} (last written {other['modified_at']})" for other in former(info))
    return [proof(host, "data directory", f"the node is {info['node']['name']}; beside it lie the data of {others}")]


def restored(evidence: Evidence) -> Finding:
    """Whether the broker's data were put back to an earlier state under an application that lived on.

    Its file system is younger than the run before, and older than a container that runs.
    """
    alive = [
        one.get("started_at")
        for _host, app in infos(evidence, "apps")
        for one in (app or {}).get("containers") or []
        if one["state"] == "running"
    ]
    answers: list[tuple[str, Truth, list[Proof]]] = []
    for host, info in infos(evidence, "brokers"):
        since = None if info is None else (info.get("disk") or {}).get("snapshot_since")
        if info is None or since is None or not alive:
            answers.append((host, None, []))
            continue
        before, now = info["lifecycle"].get("previous_end"), (info.get("clock") or {}).get("now")
        lived_on = sorted(str(at) for at in alive if at and at < since)
        recent = (seconds_between(since, now) or 0.0) < RECENT
        text = (
            f"its file system is a snapshot restored at {since}; the broker's log before ends at {before}, and "
            f"{len(lived_on)} of the application's containers have run since {next(iter(lived_on), None)}"
        )
        holds = bool(before and before < since and lived_on and recent)
        answers.append((host, holds, [proof(host, "btrfs", text, before)] if holds else []))
    return anywhere(answers)


def filtered(info: Info) -> Truth:
    """Whether a rule of the broker's own firewall drops or rejects what belongs to it."""
    return None if info.get("firewall") is None else bool(info["firewall"])


def tell_filter(host: str, info: Info) -> list[Proof]:
    """Quote the rules."""
    return [proof(host, f"firewall {rule['table']} {rule['chain']}", rule["rule"]) for rule in info["firewall"]]


def listens_unheard(info: Info) -> Truth:
    """Whether the broker listens, and yet no connection to it comes about on its own host."""
    seen = info.get("probe")
    if not seen:
        return None
    last = seen["stages"][-1]["name"] if seen["stages"] else ""
    cut = seen["outcome"] in ("timed_out", "refused", "unreachable", "reset") and last == "connect"
    return both(opposite(gone(info)), opposite(closed(info)), cut)


EVERYWHERE = frozenset({"::", "0.0.0.0"})


def refused_elsewhere(info: Info) -> Truth:
    """Whether a connection is refused though the broker listens on all addresses of its host: so it went elsewhere."""
    first, seen = next(iter(info.get("listeners") or []), None), info.get("probe")
    if not seen or first is None or first["listening"] is None or first.get("addresses") is None:
        return None
    refused = seen["outcome"] == "refused" and bool(seen["stages"]) and seen["stages"][-1]["name"] == "connect"
    return both(opposite(gone(info)), first.get("ours"), refused and bool(EVERYWHERE & {*first["addresses"]}))


def tell_refused_elsewhere(host: str, info: Info) -> list[Proof]:
    """Say where it listens, and what refused."""
    first = info["listeners"][0]
    text = f"the broker listens on port {first['port']} of all addresses of this host ({', '.join(first['addresses'])})"
    return [proof(host, "/proc/net/tcp", text), *tell_probe(host, info)]
