# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is planned about a full disk and a full memory."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._choice import Choice
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._resources import ease_memory, free_disk, stopped_by_us

MIB = 1024 * 1024
GIB = 1024 * MIB
REMEDY = {"may_lose": "nothing"}
STEP = {"cause": "disk_alarm", "remedy": "free_disk", "targets": ["rabbit"], "queues": []}
FILE = {"path": "/d/erl_crash.dump", "kind": "crash_dump", "bytes": 300 * MIB}
HELD = {"path": "/d/rabbit.log.1", "kind": "rotated_log", "bytes": 7 * MIB, "why": "open by beam.smp (9)"}
ON_INCUS = {
    "hypervisor": "h1",
    "disk": {"size": 512 * MIB, "limits": [{"kind": "pool", "name": "small", "size": 512 * MIB}]},
    "memory": {"limit": 512 * MIB},
}
ALLOWED = {"copy": "incident", "incident_free": 100 * GIB}
QUEUE = {"name": "jobs", "messages": 1200, "consumers": 1, "consumer_hosts": ["10.0.0.5"], "acked": 0}


def evidence(
    *,
    state: str = "running",
    last: str = "none",
    listening: bool = True,
    incus: Any = None,
    queues: Any = (),
    nodes: Any = (),
    memory: Any = None,
    **disk: Any,
) -> dict[str, Any]:
    here = {"path": "/d", "free": 20 * MIB, "total": 512 * MIB, "limit": 50 * MIB, "data_bytes": 400 * MIB, **disk}
    info = {
        "service": {"manager": "systemd", "state": state},
        "lifecycle": {"last": last},
        "listeners": [{"port": 5672, "listening": listening}],
        "process": {"running": state == "running"},
        "disk": here,
        "memory": memory or {},
        "signatures": [],
    }
    traffic = {"queues": list(queues), "nodes": list(nodes)}
    return {"health": {"traffic": traffic}, "brokers": {"rabbit": {"info": info, "incus": incus}}}


def settings(recent: tuple[str, ...] = (), start_stopped: bool = False, **allowed: Any) -> dict[str, Any]:
    actions = [{"name": name, "target": "rabbit", "at": str(n), "incident": "x"} for n, name in enumerate(recent)]
    flags = {"outage_recover_start_stopped": start_stopped}
    budget = {"restarts": 1, "restarts_since": "0"}
    return {"flags": flags, "recent_actions": actions, "resources": {**ALLOWED, **allowed}, **budget}


def names(choice: Choice) -> list[str]:
    assert choice.ask is None, choice.ask
    return [action["name"] for action in choice.actions]


LOOP = {"state": "restarting", "free": 0}
NO_INODES = {"state": "restarting", "free": 9 * GIB, "inodes_free": 0}
FEW_INODES = {**NO_INODES, "inodes_free": 2, "inodes_total": 600}
QUOTA = {"state": "restarting", "free": 9 * GIB, "write_error": "EDQUOT"}


@pytest.mark.parametrize(
    ("seen", "known", "actions"),
    [
        # An alarm: what is safely freed is enough, or it isn't.
        ({"reclaimable": [FILE]}, {}, ["free_files"]),
        ({"reclaimable": [FILE], "incus": ON_INCUS}, {"disk_max": "4GiB"}, ["free_files"]),
        ({"incus": ON_INCUS}, {"disk_max": "4GiB"}, ["grow_disk"]),
        (
            {"reclaimable": [{**FILE, "bytes": MIB}], "incus": ON_INCUS},
            {"disk_max": "4GiB"},
            ["free_files", "grow_disk"],
        ),
        ({"queues": [{**QUEUE, "acked": 7}]}, {}, []),  # its consumers drain it: that is waited for
        ({}, {"give_up": {"queue": "jobs", "count": 9}}, ["give_up_messages"]),
        ({"reclaimable": [FILE]}, {"give_up": {"queue": "jobs", "count": 9}}, ["free_files"]),
        ({"incus": ON_INCUS}, {"disk_max": "4GiB", "give_up": {"queue": "jobs", "count": 9}}, ["grow_disk"]),
        # A crash loop: stopped and copied first, started only where there is room.
        (
            {**LOOP, "incus": ON_INCUS},
            {"disk_max": "4GiB"},
            ["stop_full_broker", "copy_data", "grow_disk", "start_broker"],
        ),
        ({**LOOP, "reclaimable": [FILE]}, {}, ["stop_full_broker", "copy_data", "free_files", "start_broker"]),
        ({**LOOP}, {}, ["stop_full_broker", "copy_data"]),
        ({**LOOP, "reclaimable": [FILE]}, {"incident_free": 10 * MIB}, ["stop_full_broker"]),
        (
            {**LOOP, "reclaimable": [FILE]},
            {"incident_free": 10 * MIB, "skip_copy": True},
            ["stop_full_broker", "free_files", "start_broker"],
        ),
        ({**LOOP, "reclaimable": [FILE]}, {"copy": "none"}, ["stop_full_broker", "free_files", "start_broker"]),
        (
            {**LOOP, "reclaimable": [FILE], "copy_dir": {"path": "/big", "free": GIB, "same": True}},
            {"copy": "/big"},
            ["stop_full_broker"],
        ),
        (
            {**LOOP, "reclaimable": [FILE], "copy_dir": {"path": "/big", "free": GIB, "same": False}},
            {"copy": "/big"},
            ["stop_full_broker", "copy_data", "free_files", "start_broker"],
        ),
        # A quota that df doesn't show.
        (
            {**QUOTA, "incus": ON_INCUS},
            {"disk_max": "4GiB"},
            ["stop_full_broker", "copy_data", "grow_disk", "start_broker"],
        ),
        ({**QUOTA, "reclaimable": [FILE]}, {}, ["stop_full_broker", "copy_data", "free_files"]),
        # No bytes are missing, and yet nothing can be written: what files would give back is next to nothing.
        ({**NO_INODES, "reclaimable": [FILE]}, {}, ["stop_full_broker", "copy_data", "free_files"]),
        ({**NO_INODES}, {}, ["stop_full_broker", "copy_data"]),
        (
            {**NO_INODES, "incus": ON_INCUS},
            {"disk_max": "4GiB"},
            ["stop_full_broker", "copy_data", "grow_disk", "start_broker"],
        ),
        ({**NO_INODES, "write_error": "ENOSPC", "inodes_free": None}, {}, ["stop_full_broker", "copy_data"]),
        ({**FEW_INODES, "reclaimable": [FILE]}, {}, ["stop_full_broker", "copy_data", "free_files"]),
        ({**NO_INODES, "state": "running", "incus": ON_INCUS}, {"disk_max": "4GiB"}, ["grow_disk"]),
        (
            {**NO_INODES, "state": "running"},
            {"give_up": {"queue": "jobs", "count": 9}},
            ["give_up_messages"],
        ),
        # Bytes are what is missing: files that go are room.
        (
            {**LOOP, "write_error": "ENOSPC", "inodes_free": 9, "reclaimable": [FILE]},
            {},
            ["stop_full_broker", "copy_data", "free_files", "start_broker"],
        ),
        # One that could not write lives on and serves nobody; one that boots, or serves still, is left alone.
        (
            {**QUOTA, "state": "running", "listening": False, "incus": ON_INCUS},
            {"disk_max": "4GiB"},
            ["stop_full_broker", "copy_data", "grow_disk", "start_broker"],
        ),
        (
            {**QUOTA, "state": "running", "listening": False, "last": "starting", "incus": ON_INCUS},
            {"disk_max": "4GiB"},
            ["grow_disk"],
        ),
        ({**QUOTA, "state": "running", "incus": ON_INCUS}, {"disk_max": "4GiB"}, ["grow_disk"]),
        # A run that was interrupted: what it has done is not done again.
        (
            {**LOOP, "state": "stopped", "incus": ON_INCUS},
            {"disk_max": "4GiB", "recent": ("stop_full_broker",)},
            ["copy_data", "grow_disk", "start_broker"],
        ),
        (
            {**LOOP, "state": "stopped", "free": 2 * GIB},
            {"recent": ("stop_full_broker", "copy_data", "grow_disk")},
            ["start_broker"],
        ),
    ],
)
def test_what_is_done_about_a_disk(seen: dict[str, Any], known: dict[str, Any], actions: list[str]) -> None:
    choice = free_disk(STEP, REMEDY, evidence(**seen), settings(**known))
    assert names(choice) == actions
    (node,) = choice.arguments["nodes"]
    assert bool(node["start"]) is ("start_broker" in actions)
    ends = seen.get("state", "running") != "running" and "start_broker" not in actions
    assert (bool(node["ends"]), choice.stops) == (ends, ends)


@pytest.mark.parametrize("known", [{"recent": ("start_broker",)}, {"recent": ("stop_full_broker", "start_broker")}])
def test_a_broker_that_dies_of_its_disk_again_is_not_started_for_ever(known: dict[str, Any]) -> None:
    """Its own crash dump is what could be freed each time."""
    seen = evidence(**LOOP, reclaimable=[FILE])
    asked = free_disk(STEP, REMEDY, seen, settings(**known))
    assert asked.actions == []
    assert asked.ask is not None
    assert "started rabbit 1 times already" in asked.ask
    assert names(free_disk(STEP, REMEDY, seen, settings(**known, start_stopped=True)))[-1] == "start_broker"
    assert names(free_disk(STEP, REMEDY, seen, {**settings(**known), "restarts": 2}))[-1] == "start_broker"
    # What is stopped and copied without a start is no restart.
    assert names(free_disk(STEP, REMEDY, evidence(**LOOP), settings(**known)))[0] == "stop_full_broker"
    assert names(free_disk(STEP, REMEDY, evidence(reclaimable=[FILE]), settings(**known))) == ["free_files"]


def test_how_large_a_disk_becomes() -> None:
    def grown(most: str, **seen: Any) -> str:
        choice = free_disk(STEP, REMEDY, evidence(incus=ON_INCUS, **seen), settings(disk_max=most))
        return str(choice.arguments["nodes"][0]["grow"])

    assert grown("4GiB") == "1024MiB"
    assert grown("700MiB") == "700MiB"
    assert grown("40GiB", limit=2 * GIB) == "8192MiB"  # twice the limit is to be free


def test_nothing_is_enlarged_beyond_what_was_set() -> None:
    choice = free_disk(STEP, REMEDY, evidence(incus=ON_INCUS), settings(disk_max="512MiB"))
    assert choice.ask is not None
    assert choice.actions == []


def test_it_asks_with_figures_and_commands() -> None:
    seen = evidence(incus=ON_INCUS, held=[HELD], queues=[QUEUE])
    ask = free_disk(STEP, REMEDY, seen, settings()).ask
    assert ask is not None
    for part in (
        "20 MiB free of 512 MiB, limited to 512 MiB by pool small on h1; the alarm ends above 50 MiB.",
        "/d/rabbit.log.1 (7 MiB, open by beam.smp (9))",
        "jobs 1200 (1 consumer at 10.0.0.5, no acks)",
        "-e veza_incus_disk_max=SIZE",
        "-e '{outage_recover_give_up: {queue: NAME, count: N}}'",
    ):
        assert part in ask


def test_without_a_hypervisor_it_says_how_there_can_be_one() -> None:
    ask = free_disk(STEP, REMEDY, evidence(), settings()).ask
    assert ask is not None
    assert "the group veza_incus" in ask


def test_what_somebody_stopped_on_purpose_is_asked_for() -> None:
    seen = evidence(state="stopped", free=0, reclaimable=[FILE])
    ask = free_disk(STEP, REMEDY, seen, settings()).ask
    assert ask is not None
    assert "-e outage_recover_start_stopped=true" in ask
    assert names(free_disk(STEP, REMEDY, seen, settings(start_stopped=True))) == [
        "copy_data", "free_files", "start_broker",
    ]  # fmt: skip


def test_what_may_be_lost_is_said() -> None:
    choice = free_disk(STEP, REMEDY, evidence(), settings(give_up={"queue": "jobs", "count": 9}))
    (action,) = choice.actions
    assert action["target"] == "jobs"
    assert action["may_lose"] != "nothing"
    assert choice.arguments["nodes"][0]["give_up"] == {"queue": "jobs", "count": 9}


def test_a_host_that_was_not_seen_is_asked_about() -> None:
    nothing = {"brokers": {"rabbit": {"info": None}}}
    for plan in (free_disk, ease_memory):
        assert "could not be looked at" in str(plan(STEP, REMEDY, nothing, settings()).ask)
    assert free_disk({**STEP, "targets": []}, REMEDY, {"brokers": {}}, settings()).ask == "No broker's host is known."


@pytest.mark.parametrize(
    ("recent", "ours"),
    [
        ((), False),
        (("start_broker",), False),
        (("stop_full_broker",), True),
        (("stop_full_broker", "copy_data", "grow_disk"), True),
        (("stop_full_broker", "copy_data", "start_broker"), False),
        (("stop_broker",), False),
        (("copy_data",), False),
    ],
)
def test_what_we_stopped_we_may_start(recent: tuple[str, ...], ours: bool) -> None:
    assert stopped_by_us("rabbit", settings(recent)["recent_actions"], {}) is ours
    assert not stopped_by_us("other", settings(recent)["recent_actions"], {})


@pytest.mark.parametrize(
    ("booted", "ours"),
    [
        ("2026-01-31T01:00:00.000Z", True),
        ("2026-01-31T02:00:00.000Z", True),
        ("2026-01-31T02:00:01.000Z", False),
        (None, True),
    ],
)
def test_what_a_person_has_started_since_was_stopped_by_somebody_else(booted: str | None, ours: bool) -> None:
    recent = [{"name": "stop_full_broker", "target": "rabbit", "at": "2026-01-31T02:00:00.000Z"}]
    assert stopped_by_us("rabbit", recent, {"lifecycle": {"started_at": booted}}) is ours


def test_that_a_disk_has_no_inodes_is_said() -> None:
    asked = [
        free_disk(STEP, REMEDY, evidence(free=9 * GIB, **seen), settings()).ask
        for seen in ({"inodes_free": 0}, {"write_error": "ENOSPC"})
    ]
    assert ["Not one inode is free" in str(ask) for ask in asked] == [True, False]
    assert ["(ENOSPC)" in str(ask) for ask in asked] == [False, True]


def test_that_next_to_no_inodes_are_left_is_said() -> None:
    """A broker that serves may still find room in them; one whose boot failed for it did not."""
    asked = free_disk(STEP, REMEDY, evidence(**{**FEW_INODES, "state": "stopped"}), settings()).ask
    assert "2 of 600 inodes are free: it can hold no more files." in str(asked)


def test_nodes_at_which_the_work_ends_come_last_and_nothing_is_planned_behind_them() -> None:
    def node(**seen: Any) -> Any:
        return evidence(**LOOP, **seen)["brokers"]["rabbit"]

    seen = {**evidence(), "brokers": {"a": node(), "b": node(reclaimable=[FILE]), "c": node()}}
    choice = free_disk({**STEP, "targets": ["a", "b", "c"]}, REMEDY, seen, settings())
    assert [(action["name"], action["target"]) for action in choice.actions] == [
        ("stop_full_broker", "b"), ("copy_data", "b"), ("free_files", "b"), ("start_broker", "b"),
        ("stop_full_broker", "a"), ("copy_data", "a"),
    ]  # fmt: skip
    assert [(one["node"], one["ends"]) for one in choice.arguments["nodes"]] == [("b", ""), ("a", "room")]
    assert choice.stops


NODE = {"name": "rabbit@a", "mem_used": 500 * MIB, "mem_limit": 200 * MIB}
MEMORY = {"total": 8 * GIB, "used": 480 * MIB, "watermark": 200 * MIB, "container_limit": None}


@pytest.mark.parametrize(
    ("incus", "known", "actions", "watermark"),
    [
        (None, {"watermark_max": "1GiB"}, ["raise_watermark"], GIB),
        (ON_INCUS, {"watermark_max": "1GiB", "memory_max": "4GiB"}, ["raise_memory", "raise_watermark"], None),
        (ON_INCUS, {"watermark_max": "2GiB", "memory_max": "768MiB"}, ["raise_memory", "raise_watermark"], None),
    ],
)
def test_what_is_done_about_memory(
    incus: Any, known: dict[str, Any], actions: list[str], watermark: int | None
) -> None:
    choice = ease_memory(STEP, REMEDY, evidence(memory=MEMORY, nodes=[NODE], incus=incus), settings(**known))
    assert names(choice) == actions
    assert "set back" in str(choice.not_simulated)
    (node,) = choice.arguments["nodes"]
    limit = 8 * GIB if incus is None else int(node["memory"][:-3]) * MIB
    assert 500 * MIB < node["watermark"] <= 0.8 * limit
    assert watermark in (None, node["watermark"])


def test_only_the_nodes_in_alarm_are_eased_and_no_watermark_is_lowered() -> None:
    nodes = [
        {"name": "rabbit@a", "mem_used": GIB + 1, "mem_limit": GIB},
        {"name": "rabbit@b", "mem_used": GIB // 5, "mem_limit": 4 * GIB},
    ]
    seen = evidence(nodes=nodes)
    brokers = {
        name: {"info": {"node": {"name": f"rabbit@{name}"}, "memory": {"total": 16 * GIB, "watermark": limit}}}
        for name, limit in (("a", GIB), ("b", 4 * GIB))
    }
    whole = {**STEP, "targets": []}
    choice = ease_memory(whole, REMEDY, {**seen, "brokers": brokers}, settings(watermark_max=2 * GIB))
    assert [(action["name"], action["target"]) for action in choice.actions] == [("raise_watermark", "a")]
    assert choice.arguments["nodes"][0]["watermark"] == 2 * GIB
    unknown = {name: {"info": {**one["info"], "node": None}} for name, one in brokers.items()}
    asked = ease_memory(whole, REMEDY, {**seen, "brokers": unknown}, settings(watermark_max="2GiB"))
    assert asked.ask
    assert asked.actions == []


def test_of_a_cluster_only_the_nodes_without_room_are_looked_after() -> None:
    seen = evidence(reclaimable=[FILE])
    (short,) = seen["brokers"].values()
    well = {"info": {**short["info"], "disk": {**short["info"]["disk"], "free": 9 * GIB}}}
    choice = free_disk({**STEP, "targets": []}, REMEDY, {**seen, "brokers": {"a": short, "b": well}}, settings())
    assert [(action["name"], action["target"]) for action in choice.actions] == [("free_files", "a")]


@pytest.mark.parametrize("known", [{}, {"watermark_max": "400MiB"}, {"memory_max": "4GiB"}])
def test_memory_is_asked_for_with_the_queue_and_its_consumer(known: dict[str, Any]) -> None:
    seen = evidence(memory=MEMORY, nodes=[NODE], queues=[QUEUE])
    ask = ease_memory(STEP, REMEDY, seen, settings(**known)).ask
    assert ask is not None
    for part in (
        "uses 500 MiB, its watermark is 200 MiB",
        "jobs 1200 (1 consumer at 10.0.0.5",
        "-e veza_memory_watermark_max=SIZE",
    ):
        assert part in ask


def test_a_watermark_never_exceeds_what_the_instance_may_use() -> None:
    seen = evidence(memory={**MEMORY, "used": 300 * MIB}, incus=ON_INCUS)
    choice = ease_memory(STEP, REMEDY, seen, settings(watermark_max="6GiB"))
    assert choice.arguments["nodes"][0]["watermark"] == int(0.8 * 512 * MIB)


def test_a_broker_that_runs_is_not_stopped_because_its_service_manager_told_nothing() -> None:
    seen = evidence(state="unknown", reclaimable=[FILE])
    seen["brokers"]["rabbit"]["info"]["process"]["running"] = True
    assert names(free_disk(STEP, REMEDY, seen, settings())) == ["free_files"]
