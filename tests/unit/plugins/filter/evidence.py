# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence as the hosts give it, to be changed by a test in one place."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[4]
CAUSES_DIR = ROOT / "roles/outage_diagnose/causes"

AT = "2026-01-31T02:03:04.000Z"
NOW = "2026-01-31T02:05:00.000Z"
LOG = "/var/log/rabbitmq/rabbit@a.log"

QUEUES = [
    {"name": "transcode_jobs", "subsystem": "Transcode", "severity": "MEDIUM", "effect": "no HLS"},
    {"name": "dmca_propagation", "subsystem": "DMCA", "severity": "HIGH", "effect": "caches still serve it"},
]
SUBSYSTEMS = [
    {"name": "digest", "subsystem": "Digest", "severity": "LOW", "effect": "none", "heals": "on the next tick"},
    {"name": "chat", "subsystem": "Chat", "severity": "NONE", "effect": "none", "independent": "chat has no RabbitMQ"},
]


@functools.cache
def _read() -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for path in sorted(CAUSES_DIR.glob("*.yml")):
        merged.update(yaml.safe_load(path.read_text(encoding="utf-8")))
    return merged


def causes() -> dict[str, Any]:
    """Return the collection's causes by name: a copy, which a test may change."""
    return copy.deepcopy(_read())


def check(name: str, result: str, detail: str = "") -> dict[str, Any]:
    """Return one check of rabbitmq_health."""
    return {"name": name, "result": result, "detail": detail or f"{name} {result}", "source": "management", "age": 0.0}


GREEN = ("alarms", "local_alarms", "vhost", "queues", "identity", "partitions", "nodes_running", "listeners", "leaders")


def health(
    verdict: str = "healthy", outcome: str = "ok", checks: list[dict[str, Any]] | None = None, **changes: Any
) -> dict[str, Any]:
    """Return a result of rabbitmq_health; ``checks`` replace the green ones of their names."""
    answered = outcome == "ok"
    every = {name: check(name, "pass" if answered else "unknown") for name in GREEN}
    every.update({one["name"]: one for one in checks or []})
    return {
        "verdict": verdict,
        "reason": f"It is {verdict}.",
        "rung": "management" if answered else "none",
        "management": {"outcome": outcome, "detail": f"the management API: {outcome}"},
        "checks": list(every.values()),
        "unknown": [],
        "traffic": traffic() if answered else None,
        **changes,
    }


def queue(name: str = "transcode_jobs", **changes: Any) -> dict[str, Any]:
    """Return what rabbitmq_health says of the traffic of one queue."""
    return {
        "name": name, "of": None, "type": "classic", "state": "running", "messages": 3, "ready": 2, "unacked": 1,
        "consumers": 1, "redelivered": False, "acked": 5, "delivered": 5, "redelivered_count": 0, "published": 5,
        "in_vain": None, "stuck_for": None, "unacked_for": None, "risen": None, "acked_total": 50, "grown": 0,
        "bindings": 1, "arguments": {"x-dead-letter-exchange": "dead"}, "policy": {},
        "dead_letter_target": f"{name}.dlq",
        "limits": {"ttl": None, "max_length": None, "delivery_limit": None}, "consumer_hosts": ["198.18.77.30"],
        "without_ack": [], **changes,
    }  # fmt: skip


OLD = 86_400_000
"""The uptime of a node that has run for a day, in milliseconds."""


def counter(total: int = 0, moved: int | None = 0, discarded: int | None = None) -> dict[str, Any]:
    """Return a counter of what was dropped; ``discarded`` of it had nowhere to go."""
    lost = None if discarded is None else moved
    return {"total": total, "delta": moved, "discarded": discarded, "discarded_delta": lost}


def traffic(queues: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """Return the traffic of a healthy broker."""
    counters = ("expired", "maxlen", "rejected", "delivery_limit", "unroutable")
    dead = queue("transcode_jobs.dlq", of="transcode_jobs", messages=0, published=0, consumers=0)
    return {
        "seconds": 6.0,
        "queues": [*(queues or [queue(), queue("dmca_propagation")]), dead],
        "connections": {"total": 6, "blocked": 0, "blocking": 0, "by_host": {}},
        "dropped": {name: counter() for name in counters},
        "nodes": [{"name": "rabbit@a", "running": True, "uptime": OLD, "being_drained": False}],
        **changes,
    }


def probe(outcome: str = "ok", stage: str = "") -> dict[str, Any]:
    """Return a result of amqp_probe."""
    stages = [{"name": stage, "ok": False, "ms": 1.0, "detail": ""}] if stage else []
    return {"outcome": outcome, "ok": outcome in ("ok", "slow"), "message": f"AMQP: {outcome}", "stages": stages}


def lifecycle(last: str = "started", clean_stop: bool | None = None, **changes: Any) -> dict[str, Any]:
    """Return what the broker's log says of its life."""
    return {
        "last": last, "at": AT, "line": f"the log says {last}", "file": LOG, "clean_stop": clean_stop,
        "stopped_at": AT if clean_stop else None, "by": None, **changes,
    }  # fmt: skip


def info(
    state: str = "running",
    *,
    last: str = "started",
    clean_stop: bool | None = None,
    service: dict[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Return a result of rabbitmq_host_info."""
    manager = {"manager": "systemd", "state": state, "since": None, "result": "success", "exit_signal": None}
    living = state in ("running", "starting")
    return {
        "service": {**manager, "detail": "", "exits": [], "stopped_by": None, **(service or {})},
        "process": {"running": living, "pid": 1 if living else None, "suspended": False},
        "lifecycle": lifecycle(last, clean_stop),
        "signatures": [],
        "logs": [{"path": LOG, "modified_at": AT, "whole": True}],
        "last_log_at": AT,
        "listeners": [{"port": 5672, "listening": living, "holder": None, "ours": True if living else None}],
        "disk": {"path": "/var/lib/rabbitmq", "free": 10**10, "total": 10**11, "limit": 50_000_000, "writable": True,
                 "inodes_free": 10**6, "quota": None, "last_write_at": None},
        "directories": [],
        "cookie": {"path": "/var/lib/rabbitmq/.erlang.cookie", "ok": True},
        "node": {"name": "rabbit@a", "others": []},
        "memory": {"oom_kills": []},
        "files": {"open": 100, "limit": 65536},
        "clock": {"now": NOW, "offset": 0.1, "synchronized": True, "stepped_at": None},
        "changes": [],
        "firewall": [],
        "pressure": {"io_full": 0.0, "stuck": False},
        "probe": probe() if living else probe("refused", "connect"),
        "unknown": [],
        **changes,
    }  # fmt: skip


def line(name: str, text: str = "", at: str | None = AT) -> dict[str, Any]:
    """Return a bad line of the broker's log."""
    return {"name": name, "count": 1, "total": 1, "last_at": at, "line": text or f"the line of {name}", "file": LOG}


def failing(*names: str, **changes: Any) -> dict[str, Any]:
    """Return a broker whose boots fail, with these bad lines."""
    exits = [{"at": AT, "status": "1/FAILURE"}]
    signatures = [line(name) for name in (*names, "boot_failed")]
    return info(
        "restarting", last="starting", clean_stop=False, service={"exits": exits}, signatures=signatures, **changes
    )


def container(name: str = "veza_backend_api", service: str = "api", seen: Any = None, **changes: Any) -> dict[str, Any]:
    """Return one container of app_host_info."""
    return {
        "name": name, "service": service, "state": "running", "started_at": AT, "finished_at": None, "exit_code": None,
        "oom_killed": False, "restarts": 0, "suspended": False, "amqp": {"variable": "AMQP_URL", "matches": True},
        "probe": seen or probe(), "errors": None, **changes,
    }  # fmt: skip


def app(*containers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a result of app_host_info."""
    return {
        "docker": {"ok": True, "detail": ""}, "containers": list(containers or [container()]), "probe": probe(),
        "firewall": [], "clock": {"now": NOW, "offset": 0.0}, "changes": [], "unknown": [], **changes,
    }  # fmt: skip


def evidence(
    health_seen: dict[str, Any] | None,
    info_seen: dict[str, Any] | None,
    backend_probe: dict[str, Any] | None = None,
    *,
    workers: dict[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Return the evidence of one broker, two backends that see the same as their containers, and the workers' host."""
    backend = backend_probe and app(container(seen=backend_probe), probe=backend_probe)
    worker = workers or (
        backend_probe
        and app(container("veza-worker-transcode-1", "worker-transcode", backend_probe), probe=backend_probe)
    )
    return {
        "health": health_seen,
        "database": {"outcome": "ok", "detail": "it answers"},
        "brokers": {"rabbitmq": {"info": info_seen}},
        "apps": {"backend-1": {"info": backend}, "backend-2": {"info": backend}, "workers": {"info": worker}},
        "unreachable": {},
        "failed": {},
        **changes,
    }


def at_work(queues: list[dict[str, Any]] | None = None, *signatures: str, **changes: Any) -> dict[str, Any]:
    """Return the evidence of a healthy broker with these queues and lines."""
    seen = info(signatures=[line(name) for name in signatures])
    return evidence(health(traffic=traffic(queues, **changes.pop("traffic", {}))), seen, probe(), **changes)


def worker(**changes: Any) -> dict[str, Any]:
    """Return the workers' host with one worker that is so."""
    return app(container("veza-worker-transcode-1", "worker-transcode", **changes))


DOWN = health("unhealthy", "refused", [check("reachable", "fail")])
SILENT = health("unknown", "timed_out")
NO_WAY = probe("refused", "connect")
LONELY = probe("timed_out", "connect")
UNANSWERED = probe("timed_out", "header")
NO_PROMPT = "Task failed: Timeout (22s) waiting for privilege escalation prompt"
TRIED = {"at": "2026-01-31T02:04:20.000Z", "started_at": "2026-01-31T02:04:15.000Z", "why": None}
"""The end of a run that systemd began after the stop that the log has."""
KILLED = {"exits": [{"at": AT, "status": "9/KILL"}]}


def fail(name: str, detail: str = "") -> dict[str, Any]:
    """Return the health of a broker with one red check."""
    return health("unhealthy", checks=[check(name, "fail", detail)])


LONG_SINCE = {"running": True, "pid": 1, "suspended": False, "started_at": "2026-01-30T02:00:00.000Z"}
MAY_NOT_SEE = "queue 'transcode_jobs': GET http://r/api/queues: the management user 'monitor' may not read this (401)."
ALARM = "There are alarms in effect: {} on rabbit@a"
PAUSED = info(signatures=[line("minority_paused")], probe=NO_WAY, listeners=[{"port": 5672, "listening": False}])
DRAINED = info(signatures=[line("maintenance")], probe=NO_WAY, listeners=[{"port": 5672, "listening": False}])
APP_STOPPED = info(last="stopped", probe=NO_WAY, listeners=[{"port": 5672, "listening": False}])
DRAINED_AND_STOPPED = {**DRAINED, "lifecycle": lifecycle("stopped")}
OLDER, YOUNGER = "2026-01-01T00:00:00.000Z", "2026-01-31T02:00:00.000Z"
RENAMED = info(
    node={
        "name": "rabbit@b",
        "began_at": YOUNGER,
        "others": [{"name": "rabbit@a", "modified_at": AT, "began_at": OLDER}],
    }
)
NAMED_BACK = info(
    node={
        "name": "rabbit@a",
        "began_at": OLDER,
        "others": [{"name": "rabbit@b", "modified_at": AT, "began_at": YOUNGER}],
    }
)
EMPTY = health(
    "unknown", "login_refused", [check("vhost", "fail"), check("queues", "fail", "queue 'x' does not exist")]
)

SCARCE = {"path": "/d", "free": 10**9, "total": 10**10, "limit": 50_000_000, "writable": True, "inodes_total": 600}

UNNAMED = probe("name_not_resolved", "resolve")
EXPIRED = {**probe("tls_failed", "tls"), "message": "TLS failed (certificate has expired)"}
LOW = {"path": "/d", "free": 10 * 2**30, "total": 100 * 2**30, "limit": 16 * 2**30, "writable": True, "inodes_free": 9}


def at(address: str, seen: dict[str, Any]) -> dict[str, Any]:
    """Return a probe of this address."""
    return {**seen, "addresses": [{"address": address}]}


def instance(status: str) -> dict[str, Any]:
    """Return a broker's host that told nothing, and what its hypervisor says of its instance."""
    told = {"instance": "rabbitmq", "project": "veza", "status": status, "hypervisor": "h1"}
    return {"rabbitmq": {"info": None, "incus": told}}


IDLE = {"instance": "workers", "project": "default", "hypervisor": "h1"}


def fail_only(name: str) -> dict[str, Any]:
    """Return the evidence of a broker of which all is well but one check."""
    return evidence(fail(name), info(), probe())


def in_vhost(name: str) -> dict[str, Any]:
    """Return the login of a container that uses this virtual host, as the evidence has it."""
    return {"variable": "AMQP_URL", "matches": True, "vhost": name}


def refusals(count: int = 151, last_at: str = "2026-01-31T02:04:59.500Z", **changes: Any) -> dict[str, Any]:
    """Return the errors of a container whose log ends with refusals."""
    lines = {"first_at": "2026-01-31T02:04:35.000Z", "last_at": last_at, "count": count,
             "last_line": 'ChannelClosedByBroker: (403) "ACCESS_REFUSED - access to exchange"'}  # fmt: skip
    return {**lines, "connected_at": None, "refused": lines, **changes}


# Each situation, and the cause that it must be taken for.
SITUATIONS = {
    "healthy": (evidence(health(), info(), probe()), "healthy"),
    "killed": (evidence(DOWN, info("stopped", clean_stop=False), NO_WAY), "broker_crashed"),
    "killed, unit failed": (
        evidence(DOWN, info("failed", clean_stop=False, service={**KILLED, "exit_signal": "SIGABRT"}), NO_WAY),
        "broker_crashed",
    ),
    "segfault, restarting": (
        evidence(
            DOWN, info("restarting", clean_stop=False, service={"exits": [{"at": AT, "status": "11/SEGV"}]}), NO_WAY
        ),
        "broker_segfault",
    ),
    "segfault, back": (
        evidence(health(), info(service={"exits": [{"at": AT, "status": "11/SEGV"}]}), probe()),
        "broker_segfault",
    ),
    "ends again and again": (
        evidence(
            DOWN,
            info("restarting", clean_stop=False, service={
                "restarts": 2,
                "exits": [{"at": f"2026-01-31T02:0{at}.000Z", "status": "9/KILL"} for at in ("4:00", "4:20", "4:40")],
            }),
            NO_WAY,
        ),
        "broker_crash_loop",
    ),
    **{
        f"ended again and again, {what}": (
            evidence(health(), info(service={
                "restarts": 3,
                "exits": [{"at": f"2026-01-31T02:{at}.000Z", "status": "11/SEGV"} for at in ends],
            }), probe()),
            cause,
        )
        for what, ends, cause in (
            ("and serves for the moment", ("04:10", "04:30", "04:50"), "broker_crash_loop"),
            ("and has outlived that", ("03:40", "04:00", "04:20"), "broker_segfault"),
        )
    },
    "killed by hand again and again": (
        evidence(
            DOWN,
            info("failed", clean_stop=False, service={
                "restarts": 0,
                "exits": [{"at": f"2026-01-31T02:0{at}.000Z", "status": "9/KILL"} for at in ("4:00", "4:20", "4:40")],
            }),
            NO_WAY,
        ),
        "broker_crashed",
    ),
    "crashed, back": (evidence(health(), info(service=KILLED), probe()), "broker_restarted"),
    "crashed long ago, back": (
        evidence(health(), info(service={"exits": [{"at": "2026-01-30T00:00:00.000Z", "status": "9/KILL"}]}), probe()),
        "healthy",
    ),
    "OOM kill, back": (
        evidence(
            health(),
            info(service=KILLED, memory={"oom_kills": [{"at": AT, "line": "oom-kill", "source": "kernel"}]}),
            probe(),
        ),
        "broker_oom_killed",
    ),
    "OOM kill or kill": (
        evidence(health(), info(service=KILLED, memory={"oom_kills": None}), probe()),
        "broker_killed_or_oom",
    ),
    "stopped": (
        evidence(DOWN, info("stopped", last="stopped", clean_stop=True), NO_WAY),
        "broker_stopped_on_purpose",
    ),
    **{
        f"stopped, and its start fails: {what}": (
            evidence(DOWN, info(state, last="stopped", clean_stop=True, service={"exits": exits}, signatures=signs),
                     NO_WAY),
            cause,
        )
        for what, state, exits, signs, cause in (
            ("no program", "restarting", [{**TRIED, "status": "203/EXEC"}], [], "broker_start_fails"),
            ("no process", "failed", [{**TRIED, "status": "none"}], [], "broker_start_fails"),
            ("its script", "restarting", [{**TRIED, "status": "2/X"}], [line("start_script")], "broker_start_fails"),
            ("without a word", "failed", [{**TRIED, "status": "2/X"}], [], "broker_start_fails"),
            ("its configuration", "restarting", [{**TRIED, "status": "1/FAILURE"}], [line("configuration")],
             "configuration_broken"),
            ("and it was stopped since", "stopped", [{**TRIED, "status": "203/EXEC"}], [],
             "broker_stopped_on_purpose"),
            ("of the stop itself", "failed", [{**TRIED, "started_at": AT, "status": "143/n/a"}], [],
             "broker_stopped_on_purpose"),
        )
    },
    **{
        f"stopped, and the host was booted since: {what}": (
            evidence(DOWN, info("stopped", last="stopped", clean_stop=True, service={"enabled": enabled},
                                clock={**info()["clock"], "booted_at": booted}), NO_WAY),
            cause,
        )
        for what, enabled, booted, cause in (
            ("nothing starts it then", False, "2026-01-31T02:04:00.000Z", "broker_not_enabled"),
            ("its unit is enabled", True, "2026-01-31T02:04:00.000Z", "broker_stopped_on_purpose"),
            ("long before", False, "2026-01-30T02:04:00.000Z", "broker_stopped_on_purpose"),
            ("nobody knows when", False, None, "broker_stopped_on_purpose"),
        )
    },
    **{
        f"its host gets {share} of a processor": (
            evidence(health(), info(probe=UNANSWERED, pressure={**info()["pressure"], "cpu_share": share}), UNANSWERED),
            cause,
        )
        for share, cause in ((0.01, "broker_starved"), (0.2, "broker_hung"), (None, "broker_hung"))
    },
    **{
        f"a container's URL has port {port}": (
            evidence(health(), info(), apps={"backend-1": {"info": app(
                container(seen=seen, amqp={"variable": "AMQP_URL", "port": port}), probe=probe())}}, port=5672),
            cause,
        )
        for port, seen, cause in (
            (5673, NO_WAY, "backend_wrong_address"),
            (5673, probe(), "healthy"),  # by way of a proxy
            (5672, NO_WAY, "backend_path_refused"),
        )
    },
    "killed, and its program is gone": (
        evidence(DOWN, info("restarting", clean_stop=False, service={
            "restarts": 3, "exits": [{**TRIED, "status": status} for status in ("9/KILL", "203/EXEC", "203/EXEC")],
        }), NO_WAY),
        "broker_start_fails",
    ),
    "gone, log unreadable": (
        evidence(DOWN, info("stopped", last="none", clean_stop=None), NO_WAY),
        "broker_down",
    ),
    **{
        f"no room to boot, with {left} of 600 inodes": (
            evidence(DOWN, failing("disk_full", disk={**SCARCE, "inodes_free": left}), NO_WAY), cause
        )
        for left, cause in ((2, "disk_full"), (0, "disk_full"), (40, "boot_failed"))
    },
    "few inodes, and it serves": (
        evidence(health(), info(signatures=[line("disk_full")], disk={**SCARCE, "inodes_free": 2}), probe()), "healthy"
    ),
    "booting": (evidence(DOWN, info("starting", last="starting", probe=NO_WAY), NO_WAY), "broker_booting"),
    "waits for peers": (
        evidence(
            DOWN,
            info("starting", last="starting", probe=NO_WAY, signatures=[line("waiting_for_tables")]),
            NO_WAY,
        ),
        "broker_waits_for_peers",
    ),
    "silent": (
        evidence(SILENT, info(probe=probe("timed_out", "header")), probe("timed_out", "header")),
        "broker_hung",
    ),
    "suspended": (
        evidence(SILENT, info(process={"running": True, "pid": 1, "suspended": True}, probe=None), probe("timed_out")),
        "broker_hung",
    ),
    "refuses, nobody knows why": (evidence(DOWN, info(probe=NO_WAY), NO_WAY), "broker_unreachable"),
    "stop_app": (evidence(DOWN, APP_STOPPED, NO_WAY), "app_stopped"),
    "a stop under way": (
        evidence(DOWN, {**APP_STOPPED, "service": info("stopping")["service"]}, NO_WAY), "broker_stopping"
    ),
    "a stop that hangs": (
        evidence(
            SILENT,
            info("stopping", last="stopping", process={"running": True, "pid": 1, "suspended": True},
                 probe=probe("timed_out", "header")),
            probe("timed_out", "header"),
        ),
        "broker_stopping",
    ),
    "maintenance": (evidence(DOWN, DRAINED, NO_WAY), "maintenance_mode"),
    "maintenance, then stop_app": (evidence(DOWN, DRAINED_AND_STOPPED, NO_WAY), "app_stopped"),
    "minority": (evidence(DOWN, PAUSED, NO_WAY), "minority_paused"),
    "bad configuration": (evidence(DOWN, failing("configuration"), NO_WAY), "configuration_broken"),
    "bad cookie": (evidence(DOWN, failing("cookie_file"), NO_WAY), "cookie_broken"),
    "wrong owner": (evidence(DOWN, failing("permissions"), NO_WAY), "data_dir_not_writable"),
    "wrong owner, by its mode only": (
        evidence(
            DOWN,
            failing(directories=[{"path": "/var/log/rabbitmq", "owner": "root", "group": "root", "mode": "0700",
                                  "ok": False, "detail": "rabbitmq can't write"}]),
            NO_WAY,
        ),
        "data_dir_not_writable",
    ),
    "feature flags": (evidence(DOWN, failing("feature_flags"), NO_WAY), "feature_flags_missing"),
    "port taken": (evidence(DOWN, failing("port_in_use"), probe("not_amqp", "header")), "port_taken"),
    "peers disagree": (evidence(DOWN, failing("inconsistent_cluster"), NO_WAY), "cluster_inconsistent"),
    "own name": (evidence(DOWN, failing("name_resolution"), NO_WAY), "host_name_unresolved"),
    "boot fails, nobody knows why": (evidence(DOWN, failing("crash_dump"), NO_WAY), "boot_failed"),
    "disk full": (
        evidence(
            DOWN, failing("disk_full", disk={"path": "/d", "free": 0, "total": 10**9, "writable": True}), NO_WAY
        ),
        "disk_full",
    ),
    "quota": (evidence(DOWN, failing("disk_quota"), NO_WAY), "disk_quota"),
    "quota, of which no log tells": (
        evidence(
            DOWN,
            failing(disk={"path": "/d", "free": 10**10, "total": 10**11, "write_error": "EDQUOT"}),
            NO_WAY,
        ),
        "disk_quota",
    ),
    "plugin missing": (evidence(health("unknown", "refused"), info(), probe()), "management_unavailable"),
    "disk alarm": (
        evidence(fail("alarms", ALARM.format("disk space")), info(), probe("blocked", "publish")),
        "disk_alarm",
    ),
    "disk alarm by the log": (
        evidence(health("unknown", "refused"), info(signatures=[line("disk_alarm_set")]), probe()),
        "disk_alarm",
    ),
    "memory alarm": (evidence(fail("alarms", ALARM.format("memory")), info(), probe()), "memory_alarm"),
    "an alarm": (evidence(fail("alarms", ALARM.format("moon")), info(), probe()), "resource_alarm"),
    "no files left": (
        evidence(health("unknown", "server_error"), info(files={"open": 200, "limit": 200}), LONELY),
        "file_descriptors_exhausted",
    ),
    "slow disk": (
        evidence(health(), info(pressure={"io_full": 90.0, "stuck": None}), probe()),
        "disk_slow",
    ),
    "stuck disk": (evidence(health(), info(pressure={"io_full": None, "stuck": True}), probe()), "disk_slow"),
    "clock that was set": (
        evidence(
            health(), info(clock={"now": NOW, "offset": 0.1, "stepped_at": "2026-01-31T01:30:00.000Z"}), probe()
        ),
        "clock_stepped",
    ),
    "clock": (evidence(health(), info(clock={"now": NOW, "offset": 90.0}), probe()), "clock_off"),
    "certificate": (
        evidence(
            fail("certificate", "certificates expire within 7 days"),
            info(),
            probe(),
        ),
        "certificate_expired",
    ),
    "wrong management password": (evidence(health("unknown", "login_refused"), info(), probe()),
                                  "management_login_refused"),
    "management user without rights": (evidence(health("unknown", "not_permitted"), info(), probe()),
                                       "management_not_permitted"),
    "management user without a permission on the vhost": (
        evidence(health("unknown", checks=[check("queues", "unknown", MAY_NOT_SEE)], unknown=["queues"]), info(),
                 probe()),
        "management_not_permitted",
    ),
    "vhost missing": (
        evidence(
            health("unhealthy", checks=[check("vhost", "fail"), check("queues", "fail", "'x' does not exist")]),
            info(probe=probe("vhost_missing", "vhost")),
            probe("vhost_missing", "vhost"),
        ),
        "vhost_missing",
    ),
    "vhost refused": (evidence(health(), info(), probe("vhost_refused", "vhost")), "vhost_refused"),
    "queue missing": (evidence(fail("queues", "queue 'x' does not exist in '/veza'"), info(), probe()),
                      "queues_missing"),
    "queue down": (evidence(fail("queues", "queue 'x' is down"), info(), probe()), "queues_down"),
    "queues whose processes are dead": (
        evidence(
            health("unhealthy", checks=[check("queues", "fail", "queue 'transcode_jobs' is stopped")],
                   traffic=traffic([queue(state="stopped", messages=0, ready=0, unacked=0, consumers=0)])),
            info(process=LONG_SINCE,
                 signatures=[line("operation_refused", "no queue 'transcode_jobs' in vhost '/veza'")]),
            probe(),
        ),
        "queue_processes_dead",
    ),
    "no leader": (evidence(fail("leaders"), info(), probe()), "quorum_lost"),
    "partition": (evidence(fail("partitions"), info(), probe()), "cluster_partitioned"),
    "node down": (evidence(fail("nodes_running"), info(), probe()), "cluster_node_down"),
    "it listens on loopback alone": (
        evidence(
            health(),
            info(listeners=[{"port": 5672, "listening": True, "ours": True, "holder": None,
                             "addresses": ["127.0.0.1", "::1"]}], own_ports=[5672, 15672], probe=NO_WAY),
            NO_WAY,
        ),
        "broker_listens_elsewhere",
    ),
    "it was asked before it had booted": (
        evidence(
            health("unknown", "refused"),
            info(process={"running": True, "pid": 1, "suspended": False, "started_at": "2026-01-31T02:04:54.000Z"}),
            probe(),
        ),
        "broker_settling",
    ),
    "a node that is not heard": (
        evidence(SILENT, info(unheard=[{"address": "198.18.77.13", "port": 25672, "tries": 5}]), probe()),
        "cluster_nodes_unheard",
    ),
    "check failed": (evidence(fail("listeners"), info(), probe()), "health_check_failed"),
    "empty broker": (evidence(fail("identity"), info(), probe("login_refused", "login")), "data_lost"),
    **{
        f"booted with no data {what}": (
            evidence(health(), info(signatures=[line("empty_boot")], lifecycle=lifecycle(
                previous_end=before, at=at, started_at=at)), probe(*seen)),
            cause,
        )
        for what, before, at, seen, cause in (
            ("just now", AT, AT, ("login_refused", "login"), "data_lost"),
            ("just now, and has been given its definitions", AT, AT, (), "data_lost"),
            ("long since, and nobody is let in", "2026-01-30T02:00:00.000Z", "2026-01-30T02:00:09.000Z",
             ("login_refused", "login"), "data_lost"),
            ("long since, and serves", "2026-01-30T02:00:00.000Z", "2026-01-30T02:00:09.000Z", (), "healthy"),
            ("for the first time", None, AT, (), "healthy"),
        )
    },
    "restored from a snapshot": (
        evidence(
            health(),
            info(
                disk={"path": "/d", "free": 10**9, "total": 10**10, "snapshot_since": "2026-01-31T02:03:30.000Z"},
                lifecycle=lifecycle(previous_end="2026-01-31T02:03:00.000Z"),
            ),
            probe(),
        ),
        "data_restored",
    ),
    "renamed": (evidence(EMPTY, RENAMED, probe("login_refused", "login")), "node_renamed"),
    "renamed, and named back": (evidence(health(), NAMED_BACK, probe()), "healthy"),
    "backends cut off": (evidence(health(), info(), LONELY), "backend_path_dropped"),
    "backends refused": (evidence(health(), info(), NO_WAY), "backend_path_refused"),
    "another address inside": (
        evidence(
            health(), info(), apps={"backend-1": {"info": app(
                container(seen={**NO_WAY, "addresses": [{"address": "198.18.77.22"}]}),
                probe={**probe(), "addresses": [{"address": "198.18.77.10"}]},
            )}},
        ),
        "backend_wrong_address",
    ),
    "backends without a name": (evidence(health(), info(), probe("name_not_resolved", "resolve")),
                                "backend_unreachable_dns"),
    "backends fail in TLS": (evidence(health(), info(), probe("tls_expected", "header")), "backend_cannot_reach"),
    "nobody knows the login": (
        evidence(health(), info(probe=probe("login_refused", "login")), probe("login_refused", "login")),
        "login_unknown",
    ),
    "guest": (
        evidence(health(), info(signatures=[line("guest_from_afar", at=NOW)]), probe("login_refused", "login")),
        "login_from_localhost_only",
    ),
    "password rotated": (evidence(health(), info(), probe("login_refused", "login")), "credentials_rotated"),
    "inventory's password old": (
        evidence(health(), info(probe=probe("login_refused", "login")), probe()),
        "inventory_login_refused",
    ),
    "the bridge down": (
        evidence(SILENT, None, unreachable={"rabbitmq": "timed out"},
                 apps={"backend-1": {"info": app(container(seen=LONELY), probe=LONELY)}}),
        "network_down",
    ),
    "only ssh is down": (
        evidence(health(), None, probe(), unreachable={"rabbitmq": "timed out", "backend-1": "Connection refused"}),
        "healthy",
    ),
    "ssh and the broker are down": (evidence(DOWN, None, NO_WAY, unreachable={"rabbitmq": "timed out"}), "unknown"),
    "ssh starves": (evidence(SILENT, None, LONELY, unreachable={"rabbitmq": "during banner exchange"}), "unknown"),
    **{
        f"the broker's instance is {what}": (
            evidence(SILENT, None, seen, unreachable={"rabbitmq": why}, brokers=instance(status)), cause
        )
        for what, status, seen, why, cause in (
            ("frozen", "Frozen", UNANSWERED, NO_PROMPT, "instance_frozen"),
            ("frozen, and SSH is new to it", "Frozen", UNANSWERED, "timed out during banner exchange",
             "instance_frozen"),
            ("stopped", "Stopped", LONELY, "Connection timed out", "instance_stopped"),
            ("running and starves", "Running", UNANSWERED, NO_PROMPT, "broker_host_silent"),
            ("running, its network is down", "Running", LONELY, "Connection timed out", "network_down"),
        )
    },
    "the broker's host takes connections and answers none": (
        evidence(SILENT, None, UNANSWERED, unreachable={"rabbitmq": NO_PROMPT}), "broker_host_silent"
    ),
    "the broker hangs, and its host is slow to log in to": (
        evidence(DOWN, None, UNANSWERED, unreachable={"rabbitmq": NO_PROMPT}), "unknown"
    ),
    "sudo is slow on the broker's host": (evidence(health(), None, probe(), unreachable={"rabbitmq": NO_PROMPT}),
                                          "healthy"),
    "another instance of the name is stopped": (
        evidence(health(), None, probe(), unreachable={"rabbitmq": NO_PROMPT}, brokers=instance("Stopped")), "healthy"
    ),
    "no consumer, and the workers' host is frozen": (
        evidence(health(traffic=traffic([queue(consumers=0)])), info(), unreachable={"workers": NO_PROMPT},
                 apps={"backend-1": {"info": app()}, "workers": {"info": None}}),
        "worker_host_unseen",
    ),
    **{
        f"no consumer, and the workers' instance is {what}": (
            evidence(health(traffic=traffic([queue(consumers=0)])), info(), unreachable={"workers": why},
                     apps={"backend-1": {"info": app()}, "workers": {"info": None}},
                     idle={"workers": {**IDLE, "status": status}}),
            cause,
        )
        for what, status, why, cause in (
            ("frozen", "Frozen", NO_PROMPT, "app_instance_idle"),
            ("stopped", "Stopped", "No route to host", "app_instance_idle"),
            ("in a state that no command of ours ends", "Error", "No route to host", "network_down"),
        )
    },
    "an instance is stopped, and its host was looked at": (
        evidence(health(), info(), probe(), idle={"workers": {**IDLE, "status": "Stopped"}}), "healthy"
    ),
    "no consumer, and the workers' host is cut off": (
        evidence(health(traffic=traffic([queue(consumers=0)])), info(), unreachable={"workers": "timed out"},
                 apps={"backend-1": {"info": app()}, "workers": {"info": None}}),
        "network_down",
    ),
    "no consumer, and a backend's host does not answer": (
        evidence(health(traffic=traffic([queue(consumers=0)])), info(), unreachable={"backend-1": NO_PROMPT},
                 apps={"backend-1": {"info": None}, "workers": {"info": worker()}}),
        "no_consumers",
    ),
    "a host unreachable": (
        evidence(health(), info(), probe(), unreachable={"backend-1": "no route to host"}),
        "network_down",
    ),
    "engine down": (
        evidence(health(), info(), probe(), workers=app(docker={"ok": False, "detail": "no answer"})),
        "container_engine_down",
    ),
    "backend stopped": (
        evidence(health(), info(), probe(), workers=app(container(state="exited", exit_code=137, seen=None))),
        "backend_down",
    ),
    "backend paused": (
        evidence(health(), info(), probe(), workers=app(container(state="paused", seen=None))), "backend_frozen"
    ),
    "no network": (
        evidence(health(), info(), probe(), workers=app(container(networks=[], seen=probe("name_not_resolved")))),
        "container_without_network",
    ),
    "broker filtered": (
        evidence(SILENT, info(probe=LONELY, firewall=[{"table": "t", "chain": "c", "rule": "drop"}]), LONELY),
        "broker_filtered",
    ),
    "permissions": (at_work([queue()], "permission_refused", "operation_refused"), "permissions_missing"),
    "exchange gone": (at_work([queue(bindings=0)], "exchange_missing", "operation_refused"), "exchange_missing"),
    "exclusive": (at_work([queue()], "exclusive_use", "operation_refused"), "queue_in_exclusive_use"),
    "refused": (at_work([queue()], "operation_refused"), "operation_refused"),
    "too large": (at_work([queue()], "message_too_large", "operation_refused"), "message_too_large"),
    "closed, and its log is elsewhere": (
        evidence(health("unhealthy", "refused"), info(last="none", probe=NO_WAY, listeners=[{"port": 5672, "listening":
                 False, "holder": None, "ours": None}]), NO_WAY),
        "broker_unreachable",
    ),
    "no binding": (at_work([queue(bindings=0)]), "bindings_missing"),
    "406": (at_work([queue(consumers=0)], "arguments_refused"), "queue_arguments_mismatch"),
    "TTL": (
        at_work(
            [queue(limits={"ttl": 500, "max_length": None, "delivery_limit": None})],
            traffic={"dropped": {"expired": counter(3, 1), "maxlen": None}},
        ),
        "messages_expire",
    ),
    "full": (
        at_work([queue(overflow="reject-publish", limits={"max_length": 2, "max_bytes": None})]), "queue_full"
    ),
    "full of bytes": (
        at_work([queue(overflow="reject-publish-dlx", ready_bytes=900, limits={"max_bytes": 900})]), "queue_full"
    ),
    "nearly full": (at_work([queue(overflow="reject-publish", limits={"max_length": 3})]), "healthy"),
    "full, and drops its oldest": (at_work([queue(limits={"max_length": 2})]), "healthy"),
    "given up": (
        at_work([queue(arguments={})], traffic={"dropped": {"rejected": counter(3, 1, 3)}}),
        "delivery_limit_drops",
    ),
    "consumer timeout": (at_work([queue(acked=0, redelivered_count=2)], "ack_timeout"), "consumer_timeout"),
    "poison between two attempts": (
        at_work([queue(acked=0, in_vain=2)], workers=worker(state="restarting", restarts=7)),
        "poison_message",
    ),
    "worker that ends at once": (
        at_work([queue(acked=0, in_vain=1)], workers=worker(state="restarting", restarts=7)),
        "worker_crash_loop",
    ),
    "poison": (
        at_work([queue(acked=0, redelivered_count=2)], workers=worker(state="restarting", restarts=7)),
        "poison_message",
    ),
    "worker wedged": (at_work([queue(consumers=0)], workers=worker(suspended=True)), "worker_wedged"),
    "worker paused": (at_work([queue(consumers=0)], workers=worker(state="paused")), "worker_wedged"),
    "worker removed": (at_work([queue(consumers=0)], workers=worker(state="missing")), "worker_missing"),
    "worker stopped": (at_work([queue(consumers=0)], workers=worker(state="exited", exit_code=143)), "worker_stopped"),
    "worker gone": (at_work([queue(consumers=0)], workers=worker(state="exited", exit_code=137)), "worker_crashed"),
    "worker ends again and again": (at_work([queue()], workers=worker(state="restarting")), "worker_crash_loop"),
    "no consumer": (at_work([queue(consumers=0)]), "no_consumers"),
    "no database": (
        at_work([queue(acked=0, redelivered_count=2)], database={"outcome": "refused", "detail": "refused"}),
        "database_down",
    ),
    "no database, and no harm": (at_work(database={"outcome": "refused", "detail": "refused"}), "healthy"),
    **{
        f"the database takes no writes: {what}": (
            at_work([queue(**seen)], database={"outcome": "ok", "detail": "no writes", "read_only": why}), cause
        )
        for what, seen, why, cause in (
            ("for anybody", {}, "setting", "database_read_only"),
            ("for anybody, and work fails", {"acked": 0, "redelivered_count": 2}, "setting", "database_read_only"),
            ("a standby, and work fails", {"acked": 0, "redelivered_count": 2}, "recovery", "database_read_only"),
            ("a standby, and all is well", {}, "recovery", "healthy"),
        )
    },
    "no acks for long": (at_work([queue(acked=0, unacked_for=420)]), "consumers_not_acking"),
    "slow, or idle before": (at_work([queue(acked=0, unacked_for=120)]), "healthy"),
    "grows": (at_work([queue(acked=3, risen=400, stuck_for=0)]), "backlog_growing"),
    "grows a little": (at_work([queue(acked=3, risen=40, stuck_for=0)]), "healthy"),
    "no acks": (at_work([queue(acked=0, acked_total=0, unacked_for=60)]), "consumers_not_acking"),
    "the first message ever": (at_work([queue(acked=0, acked_total=0, unacked_for=10)]), "healthy"),
    "the first message ever, which had waited": (
        at_work([queue(acked=0, acked_total=0, stuck_for=420, unacked_for=0)]), "healthy"
    ),
    "the first message ever, of which one look can't tell": (at_work([queue(acked=0, acked_total=0)]), "healthy"),
    "dead letters": (
        at_work([queue(), queue("transcode_jobs.dlq", of="transcode_jobs", grown=4)]),
        "dead_letters_growing",
    ),
    "blocked, all green": (
        at_work(traffic={"connections": {"total": 6, "blocked": 2, "by_host": {"a": {"total": 6, "blocked": 2}}}}),
        "publishers_blocked",
    ),
    "a backend in another vhost": (
        at_work([queue()], vhost="/veza", apps={
            "backend-1": {"info": app(container(amqp=in_vhost("/")))},
            "backend-2": {"info": app(container(amqp=in_vhost("/veza")))},
        }),
        "backend_wrong_vhost",
    ),
    "a worker in another vhost": (
        at_work([queue(consumers=0)], vhost="/veza", workers=worker(amqp=in_vhost("/"))), "worker_wrong_vhost"
    ),
    "all in the site's vhost": (
        at_work([queue()], vhost="/", apps={"backend-1": {"info": app(container(amqp=in_vhost("/")))}}), "healthy"
    ),
    "a stopped worker of another vhost": (
        at_work([queue()], vhost="/veza", workers=worker(amqp=in_vhost("/"), state="exited", exit_code=0)),
        "worker_stopped",
    ),
    "refusals that only a backend's log shows": (
        at_work([queue()], apps={"backend-1": {"info": app(container(errors=refusals()))}}), "publishes_refused"
    ),
    "refusals of a full queue": (
        at_work(
            [queue(overflow="reject-publish", limits={"max_length": 2})],
            apps={"backend-1": {"info": app(container(errors=refusals()))}},
        ),
        "queue_full",
    ),
    "refusals to a worker": (at_work([queue()], workers=worker(errors=refusals())), "healthy"),
    "a foreign consumer": (
        at_work([queue(consumers=2, without_ack=[{"host": "198.18.77.1", "port": 40112}])]), "foreign_consumer"
    ),
    "workers that never acknowledge": (
        at_work([queue(consumers=1, without_ack=[{"host": "198.18.77.30", "port": 40112}])]), "healthy"
    ),
    "connection limit": (at_work([queue()], "connection_limit"), "connection_limit"),
    **{
        f"a high limit of the disk, {what}": (evidence(DOWN, info(*state, **of_it, disk=LOW), NO_WAY), cause)
        for what, state, of_it, cause in (
            ("killed", ["stopped"], {"clean_stop": False, "service": KILLED}, "broker_crashed"),
            ("booting", ["starting"], {"last": "starting", "probe": NO_WAY}, "broker_booting"),
            ("stopped", ["stopped"], {"last": "stopped", "clean_stop": True}, "broker_stopped_on_purpose"),
        )
    },
    "no name server for anybody": (
        evidence(health("unknown", "name_not_resolved"), info(probe=UNNAMED), UNNAMED),
        "backend_unreachable_dns",
    ),
    "no plugin, and a host that does not know its own name": (
        evidence(health("unknown", "refused"), info(probe=UNNAMED), probe()),
        "management_unavailable",
    ),
    "no plugin, and a name that leads the host to itself": (
        evidence(health("unknown", "refused"), info(probe=NO_WAY), probe()),
        "management_unavailable",
    ),
    "the load balancer is down": (
        evidence(
            DOWN,
            info(probe=NO_WAY, listeners=[{"port": 5672, "listening": True, "ours": True, "holder": None,
                                           "addresses": ["::"]}]),
            NO_WAY,
        ),
        "broker_name_leads_elsewhere",
    ),
    "the API restarts again and again": (
        evidence(health(), info(), probe(), apps={"backend-1": {"info": app(
            container(state="restarting", restarts=40, exit_code=1, **{"seen": None, "probe": None}))}}),
        "backend_down",
    ),
    "a certificate that only containers see expire": (evidence(health(), info(), EXPIRED), "certificate_expired"),
    "one more node and it is down": (fail_only("quorum_critical"), "quorum_critical"),
    "password rotated, behind a load balancer": (
        evidence(health(), info(), apps={"workers": {"info": app(
            container("w", "worker-transcode", seen=at("10.0.0.5", probe("login_refused", "login"))),
            probe=at("10.0.0.10", probe()),
        )}}),
        "credentials_rotated",
    ),
    "one of two containers of a worker stopped": (
        at_work([queue()], workers=app(
            container("w-1", "worker-transcode", state="exited", exit_code=0),
            container("w-2", "worker-transcode"),
        )),
        "healthy",
    ),
    **{
        f"a host that the controller can't log in to: {why}": (
            evidence(health(), info(), probe(), unreachable={"backend-2": why}), "healthy"
        )
        for why in (
            "Received disconnect from 10.0.0.2 port 22:2: Too many authentication failures",
            "ssh: Could not resolve hostname backend-2: Name or service not known",
            "Timeout (12s) waiting for privilege escalation prompt:",
        )
    },
    "nobody knows any name, and nothing answers": (
        evidence(SILENT, None, unreachable={"rabbitmq": "Could not resolve hostname rabbitmq"}), "network_down"
    ),
    "it talks to nobody, and its host does not know its name": (
        evidence(health("unknown", "refused"), info(probe=UNNAMED), NO_WAY), "broker_unreachable"
    ),
    "it waits for peers, and there is no name server": (
        evidence(
            health("unknown", "name_not_resolved"),
            info("starting", last="starting", probe=UNNAMED, signatures=[line("waiting_for_tables")]), UNNAMED,
        ),
        "broker_waits_for_peers",
    ),
    "the broker's load balancer is down, and the management API is asked directly": (
        evidence(
            health(),
            info(probe=NO_WAY, listeners=[{"port": 5672, "listening": True, "ours": True, "holder": None,
                                           "addresses": ["::"]}]),
            NO_WAY,
        ),
        "broker_name_leads_elsewhere",
    ),
    "one more node and it is down, and one is": (
        evidence(health("unhealthy", checks=[check("quorum_critical", "fail"), check("nodes_running", "fail")]), info(),
                 probe()),
        "cluster_node_down",
    ),
    "a certificate that one container sees expire": (
        evidence(health(), info(), probe(), apps={"a": {"info": app(container(seen=EXPIRED))}, "b": {"info": app()}}),
        "backend_cannot_reach",
    ),
    "the controller's clock": (
        evidence(health(), info(clock={"now": NOW, "offset": 90.0}),
                 apps={"backend-1": {"info": app(clock={"now": NOW, "offset": 91.0})}}),
        "controller_clock_off",
    ),
    "nothing seen": (evidence(None, None), "unknown"),
    "broker's host silent": (evidence(DOWN, None, NO_WAY), "unknown"),
}  # fmt: skip
