# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done about a full disk and a full memory: what loses nothing first, and never more than was allowed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.module_utils._incus import bytes_of
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._choice import Choice, Step, budget_spent
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._findings import seconds_between
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._findings_broker import booting, closed, consumed
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._findings_resources import few_inodes

MIB = 1024 * 1024

DISK_LIMIT = 50 * 1000 * 1000
"""RabbitMQ's own disk_free_limit, where the host's is not known."""

STOPPED = "stop_full_broker"
"""The action that stops a broker which dies of a full disk again and again; it is ours, so that we may start it."""

Settings = Mapping[str, Any]


def free_disk(step: Step, remedy: Mapping[str, Any], evidence: Mapping[str, Any], settings: Settings) -> Choice:
    """Free, enlarge, let drain, give up: in this order, as far as it is needed and allowed."""
    return _on_nodes(_Disk, step, remedy, evidence, settings)


def ease_memory(step: Step, remedy: Mapping[str, Any], evidence: Mapping[str, Any], settings: Settings) -> Choice:
    """Raise the limit of the instance and the watermark, as far as it is allowed."""
    return _on_nodes(_Memory, step, remedy, evidence, settings)


def more_memory(step: Step, evidence: Mapping[str, Any], settings: Settings) -> list[dict[str, Any]]:
    """Return what is raised where the kernel killed a broker for want of memory: only what its instance may use."""
    brokers = evidence.get("brokers") or {}
    nodes = [_Memory(name, brokers[name], evidence, settings) for name in step["targets"] if name in brokers]
    return [node.arguments() for node in nodes if node.raised]


def stopped_by_us(target: str, recent: Iterable[Mapping[str, Any]], info: Mapping[str, Any]) -> bool:
    """Whether the last that was done to a broker is that we stopped it because its disk was full.

    One that has booted since was started by somebody, and the stop that its host tells of is another one.
    """
    done = [action for action in recent if action["target"] == target and action["name"] not in _MEANWHILE]
    if not done or done[-1]["name"] != STOPPED:
        return False
    booted = (info.get("lifecycle") or {}).get("started_at")
    return (seconds_between(booted, done[-1]["at"]) or 0.0) >= 0.0


_MEANWHILE = ("copy_data", "free_files", "grow_disk")
"""What is done between that and the start."""


def _on_nodes(
    kind: Callable[..., Any],
    step: Step,
    remedy: Mapping[str, Any],
    evidence: Mapping[str, Any],
    settings: Settings,
) -> Choice:
    """Choose for each node; what one of them needs a person for is asked before anything is done.

    One at which the work ends is the last: what is planned of nodes behind it would never be done.
    """
    brokers = evidence.get("brokers") or {}
    nodes = [kind(name, brokers[name], evidence, settings) for name in step["targets"] or sorted(brokers)]
    if not step["targets"]:  # the cause knows of an alarm somewhere: what is well is left as it is
        nodes = [node for node in nodes if node.concerned] or nodes
    asks = [ask for node in nodes if (ask := node.ask())]
    if asks or not nodes:
        return Choice(ask=" ".join(asks) or "No broker's host is known.")
    ends = [node for node in nodes if node.ends]
    nodes = [*(node for node in nodes if not node.ends), *ends[:1]]
    actions = [
        {"name": name, "target": target, "may_lose": may_lose or remedy["may_lose"]}
        for node in nodes
        for name, target, may_lose in node.actions()
    ]
    after = [text for node in nodes if (text := node.afterwards())]
    arguments = [node.arguments() for node in nodes]
    return Choice(actions, {"nodes": arguments}, stops=bool(ends), not_simulated=after)


class _Node:
    """A broker's host, as it was seen."""

    concerned = True
    """Whether it is one of those that the alarm is about, as far as that is known."""

    @property
    def ends(self) -> str:
        """Why the work ends at it; empty when it doesn't."""
        return ""

    def __init__(self, name: str, seen: Mapping[str, Any], evidence: Mapping[str, Any], settings: Settings) -> None:
        self.name = name
        self.info = seen.get("info") or {}
        self.incus = seen.get("incus") or {}
        self.evidence = evidence
        self.settings = settings
        self.allowed = settings.get("resources") or {}
        self.recent = settings.get("recent_actions") or []

    def afterwards(self) -> str:
        """Say what may be done besides, which can't be known beforehand."""
        return ""

    def largest_queues(self) -> str:
        """Say which queues hold most, and who consumes them."""
        queues = ((self.evidence.get("health") or {}).get("traffic") or {}).get("queues") or []
        held = sorted((queue for queue in queues if queue.get("messages")), key=lambda queue: -queue["messages"])
        if not held:
            return ""
        told = ", ".join(f"{queue['name']} {queue['messages']} ({consumed(queue)})" for queue in held[:3])
        return f"Messages: {told}."


class _Disk(_Node):
    """Its disk."""

    def __init__(self, *seen: Any) -> None:
        super().__init__(*seen)
        self.disk = self.info.get("disk") or {}
        state = (self.info.get("service") or {}).get("state")
        running = (self.info.get("process") or {}).get("running")
        self.stopped = state == "stopped"
        # What the service manager can't tell is no end: a broker that serves under an alarm is not stopped for it.
        self.down = running is False or state not in ("running", "unknown", None) or self._ruined()
        self.quota = self.disk.get("write_error") == "EDQUOT" or any(
            line["name"] == "disk_quota" and line.get("count") for line in self.info.get("signatures") or []
        )
        self.alarm = self.disk.get("limit") or DISK_LIMIT
        # Twice the limit: at the limit itself the alarm would come and go.
        self.missing = max(0, 2 * self.alarm - (self.disk.get("free") or 0))
        self.files = self.disk.get("reclaimable") or []
        self.freed = sum(file["bytes"] for file in self.files)
        few = self.down and not self.missing and few_inodes(self.disk)
        self.no_inodes = self.disk.get("inodes_free") == 0 or few
        # Files that go are room where bytes are what is missing; of anything else they give back next to nothing.
        self.unwritable = self.no_inodes or (self.disk.get("write_error") == "ENOSPC" and not self.missing)
        self.lacking = self.quota or self.unwritable or self.missing > self.freed
        self.concerned = bool(self.down or self.quota or self.unwritable or self.missing)
        self.ours = stopped_by_us(self.name, self.recent, self.info)
        self.size = (self.incus.get("disk") or {}).get("size")
        self.most = bytes_of(self.allowed.get("disk_max")) or 0
        self.grown = self._grown()
        self.gives_up = self._gives_up()

    def _ruined(self) -> bool:
        """Whether it lives on with its port closed, as one of before 4 does which could not write: no room heals it."""
        full = self.disk.get("write_error") in ("EDQUOT", "ENOSPC")
        return full and closed(self.info) is True and booting(self.info) is False

    def _grown(self) -> int:
        """Return the bytes to which the disk is enlarged; 0 when it isn't."""
        if not self.lacking or not self.size or self.size >= self.most:
            return 0
        size = 2 * self.size
        while size < self.size + self.missing:
            size *= 2
        return min(self.most, size)

    def _gives_up(self) -> Mapping[str, Any] | None:
        """Return what a person typed, where nothing else makes room."""
        typed = self.allowed.get("give_up") or {}
        return typed if typed and not self.down and self.lacking and not self.grown else None

    def drains(self) -> bool:
        """Whether consumers are at work on what queues hold, so that waiting may make room."""
        queues = ((self.evidence.get("health") or {}).get("traffic") or {}).get("queues") or []
        return any(queue.get("messages") and queue.get("acked") for queue in queues)

    @property
    def copies(self) -> str:
        """Where a copy of the data goes; empty when none is made."""
        where = self.allowed.get("copy") or "none"
        made = self.ours and any(done["target"] == self.name and done["name"] == "copy_data" for done in self.recent)
        return "" if not self.down or where == "none" or self.allowed.get("skip_copy") or made else where

    @property
    def copy_room(self) -> int | None:
        """What is free there."""
        if self.copies == "incident":
            return self.allowed.get("incident_free")
        there = self.disk.get("copy_dir") or {}
        return 0 if there.get("same") else there.get("free")

    @property
    def ends(self) -> str:
        """Why the work ends before the broker can be started: ``copy`` or ``room``; empty when it doesn't."""
        if not self.down:
            return ""
        if self.copies and (self.disk.get("data_bytes") or 0) + 100 * MIB > (self.copy_room or 0):
            return "copy"
        return "room" if self.lacking and not self.grown else ""

    def ask(self) -> str | None:
        """Return what a person is asked, with figures and the ways out; None when there is something to do."""
        if not self.disk:
            return f"{self.name} could not be looked at."
        if self.stopped and not self.ours and not self.settings["flags"].get("outage_recover_start_stopped"):
            return (
                f"{self.figures()} Somebody stopped the broker on purpose; ask who, and why. Then: "
                f"{RECOVER} -e outage_recover_start_stopped=true"
            )
        # Each death may leave a crash dump, whose room would be enough for the next start, and so on.
        spent = budget_spent([self.name], self.settings) if self.down and not self.ends else None
        if spent and not self.settings["flags"].get("outage_recover_start_stopped"):
            return f"{self.figures()} {spent}"
        enough = self.grown or self.gives_up or not self.lacking
        if self.down or enough or self.drains():
            return None
        return f"{self.figures()} {self.ways()}"

    def figures(self) -> str:
        """Say what was seen."""
        held = ", ".join(
            f"{file['path']} ({_mib(file['bytes'])}, {file['why']})" for file in self.disk.get("held") or []
        )
        listed = ", ".join(f"{file['path']} ({_mib(file['bytes'])})" for file in self.files)
        limit = f", limited to {_mib(self.size)} by {self._limited_by()}" if self.size else ""
        free, total, alarm = (_mib(number) for number in (self.disk.get("free"), self.disk.get("total"), self.alarm))
        parts = [
            f"{self.name}: {self.disk.get('path')} has {free} free of {total}{limit}; the alarm ends above {alarm}.",
            f"{self._inodes()} free: it can hold no more files." if self.no_inodes else "",
            "Nothing can be written all the same (ENOSPC)." if self.unwritable and not self.no_inodes else "",
            f"The data take {_mib(self.disk.get('data_bytes'))}.",
            f"May go: {listed}." if listed else "No crash dump, closed rotated log or surplus journal is there to go.",
            f"Frees nothing: {held}." if held else "",
            self.largest_queues(),
        ]
        return " ".join(part for part in parts if part)

    def _inodes(self) -> str:
        free, total = self.disk["inodes_free"], self.disk.get("inodes_total")
        return f"{free} of {total} inodes are" if free else "Not one inode is"

    def _limited_by(self) -> str:
        limit = (self.incus["disk"].get("limits") or [{}])[0]
        return f"{limit.get('kind')} {limit.get('name')} on {self.incus.get('hypervisor')}"

    def ways(self) -> str:
        """Say what a person can do, as commands."""
        grow = (
            f"Enlarge the disk: {RECOVER} -e veza_incus_disk_max=SIZE (it has {_mib(self.size)})."
            if self.size
            else "Enlarge the disk, or free what is not the broker's; nothing below its data directory by hand. "
            "Where it is an Incus instance, the group veza_incus and veza_incus_disk_max let this command do it."
        )
        give = (
            f"Give up messages, kept in a file: {RECOVER} -e '{{outage_recover_give_up: {{queue: NAME, count: N}}}}'."
        )
        return f"{grow} {'' if self.down else give}".strip()

    def actions(self) -> list[tuple[str, str, str]]:
        """Return name, target and what it may lose of each action."""
        wanted = self.arguments()
        named = (
            ("stop", STOPPED, self.name),
            ("copy_to", "copy_data", self.name),
            ("free", "free_files", self.name),
            ("grow", "grow_disk", self.name),
            ("give_up", "give_up_messages", (self.gives_up or {}).get("queue", "")),
            ("start", "start_broker", self.name),
        )
        lossy = {"give_up_messages": "nothing of them: they are in a file, out of the queue until they are put back"}
        return [(name, target, lossy.get(name, "")) for key, name, target in named if wanted[key]]

    def arguments(self) -> dict[str, Any]:
        """Return what the tasks do on this node."""
        ends = self.ends
        return {
            "node": self.name,
            "stop": self.down and not self.stopped,
            "copy_to": "" if ends == "copy" else self.copies,
            "free": bool(self.files) and ends != "copy",
            "grow": f"{self.grown // MIB}MiB" if self.grown and ends != "copy" else "",
            "hypervisor": self.incus.get("hypervisor") or "",
            "give_up": dict(self.gives_up or {}),
            "start": self.down and not ends,
            "ends": ends,
        }


class _Memory(_Node):
    """Its memory."""

    def __init__(self, *seen: Any) -> None:
        super().__init__(*seen)
        memory = self.info.get("memory") or {}
        node = self._seen_by_management()
        self.limit = (self.incus.get("memory") or {}).get("limit") or memory.get("container_limit")
        self.total = min(number for number in (memory.get("total"), self.limit, 1 << 62) if number)
        self.used = max(memory.get("used") or 0, node.get("mem_used") or 0)
        self.watermark = node.get("mem_limit") or memory.get("watermark")
        # Figures of the management API lag, and an alarm may have just begun or be about to end.
        self.concerned = bool(self.watermark and self.used >= 0.9 * self.watermark)
        self.raised = self._raised()
        self.new_watermark = self._new_watermark()

    def _seen_by_management(self) -> Mapping[str, Any]:
        """Return what the management API tells of this node; of the fullest, where there is but one broker."""
        nodes = ((self.evidence.get("health") or {}).get("traffic") or {}).get("nodes") or []
        if len(self.evidence.get("brokers") or {}) == 1:
            return _fullest(nodes)
        own = (self.info.get("node") or {}).get("name")
        return next((node for node in nodes if node.get("name") == own), {})

    def _raised(self) -> int:
        """Return the memory that the instance is allowed; 0 when that isn't raised."""
        most, limit = bytes_of(self.allowed.get("memory_max")) or 0, (self.incus.get("memory") or {}).get("limit")
        return min(most, 2 * limit) if limit and limit < most else 0

    def _new_watermark(self) -> int:
        """Return the watermark that ends the alarm; 0 when none does that is allowed."""
        most = min(bytes_of(self.allowed.get("watermark_max")) or 0, int(0.8 * max(self.total, self.raised)))
        return most if most > max(1.1 * self.used, self.watermark or 0) else 0

    def ask(self) -> str | None:
        """Return what a person is asked; None when there is something to do."""
        if not self.watermark:
            return f"{self.name} could not be looked at."
        return None if self.new_watermark else f"{self.figures()} {self.ways()}"

    def figures(self) -> str:
        """Say what was seen."""
        limit = f", its instance may use {_mib(self.limit)}" if self.limit else ""
        text = (
            f"{self.name}: the broker uses {_mib(self.used)}, its watermark is {_mib(self.watermark)}, the host has "
            f"{_mib(self.total)}{limit}."
        )
        return " ".join(part for part in (text, self.largest_queues()) if part)

    def afterwards(self) -> str:
        """Say what becomes of the watermark."""
        return "the watermark is set back once the memory is free again: in the end, or by a later run"

    def ways(self) -> str:
        """Say what a person can do, as commands."""
        more = f" -e veza_incus_memory_max=SIZE raises the instance's limit ({_mib(self.limit)})." if self.limit else ""
        return (
            "A consumer that is slow but acks is not restarted: it drains. Let the queue's consumers drain it, or "
            f"raise the watermark for as long as that takes: {RECOVER} -e veza_memory_watermark_max=SIZE.{more}"
        )

    def actions(self) -> list[tuple[str, str, str]]:
        """Return name, target and what it may lose of each action."""
        raise_limit = [("raise_memory", self.name, "")] if self.raised else []
        return [*raise_limit, ("raise_watermark", self.name, "")]

    def arguments(self) -> dict[str, Any]:
        """Return what the tasks do on this node."""
        return {
            "node": self.name,
            "memory": f"{self.raised // MIB}MiB" if self.raised else "",
            "hypervisor": self.incus.get("hypervisor") or "",
            "watermark": self.new_watermark,
        }


RECOVER = "ansible-playbook veza.rabbitmq.recover_rabbitmq"


def _fullest(nodes: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the node nearest to its watermark."""
    known = [node for node in nodes if node.get("mem_limit") and node.get("mem_used") is not None]
    return max(known, key=lambda node: node["mem_used"] / node["mem_limit"], default={})


def _mib(number: int | None) -> str:
    return "an unknown number of MiB" if number is None else f"{number // MIB} MiB"
