#!/usr/bin/python

# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: incus_instance_limits
short_description: What an Incus instance may use of disk and memory, told and enlarged from its hypervisor
version_added: 1.0.0
author:
  - Veza infrastructure team (@veza-infra)
description:
  - Tells on the hypervisor how large the disk of an instance is that holds O(path) and who limits it (the size of the
    disk device, of the custom volume, of the storage pool), what memory it may use, and whom the kernel killed there.
  - A limit that the instance itself can't see, such as a quota of a btrfs volume, is seen here only, and so is the
    kernel's log about a container.
  - With O(disk_size) and O(memory) it raises those limits, while the instance runs. It never lowers one, restarts
    nothing and deletes nothing.
  - A quota of Btrfs that is used up to the last byte can't be raised by Incus, because the note of it counts to the
    full volume. Then it is raised by C(btrfs qgroup limit) on the pool first, and by Incus once more.
  - Needs the command line C(incus) and nothing but Python's standard library.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.actiongroup
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  instance:
    description:
      - The instance's name.
    type: str
    required: true
  project:
    description:
      - Its project.
    type: str
    default: default
  path:
    description:
      - The path inside the instance whose disk is meant.
    type: path
    default: /var/lib/rabbitmq
  disk_size:
    description:
      - The disk shall have at least this size, such as V(20GiB). Every limit that is lower is raised to it.
      - A pool that is a disk of its own, not a file, can't be enlarged by Incus.
    type: str
  memory:
    description:
      - The instance shall be allowed at least this much memory, such as V(4GiB). Nothing is set where it has no limit.
    type: str
  incus_command:
    description:
      - The program C(incus), with its path where it is not in C(PATH).
    type: str
    default: incus
  timeout:
    description:
      - Seconds that each of its commands may take.
    type: float
    default: 20.0
"""

EXAMPLES = r"""
- name: Tell what limits the broker's disk
  veza.rabbitmq.incus_instance_limits:
    instance: rabbitmq
  delegate_to: hypervisor
  register: limits

- name: Make it larger, while the broker runs
  veza.rabbitmq.incus_instance_limits:
    instance: rabbitmq
    disk_size: 40GiB
  delegate_to: hypervisor
"""

RETURN = r"""
found:
  description: Whether this hypervisor has the instance.
  returned: always
  type: bool
instance:
  description: The instance's name.
  returned: RV(found)
  type: str
project:
  description: Its project.
  returned: RV(found)
  type: str
status:
  description:
    - What Incus says of its state, such as V(Running), V(Frozen) or V(Stopped).
    - A frozen one takes connections, as the kernel does that for it, and answers none.
  returned: RV(found)
  type: str
running:
  description: Whether it runs. One that is frozen does not.
  returned: RV(found)
  type: bool
idle:
  description:
    - What Incus says of the state of each instance of the project that does not run, by name.
    - V(null) where it does not list them.
  returned: RV(found)
  type: dict
disk:
  description: The disk that holds O(path). V(null) where none of its devices with a storage pool does.
  returned: RV(found)
  type: dict
  contains:
    device: {description: "The disk device.", type: str}
    pool: {description: "Its storage pool.", type: str}
    driver: {description: "The pool's driver.", type: str}
    size: {description: "Bytes that it may have, by the narrowest limit. V(null) without a limit.", type: int}
    limits:
      description: Every limit, the narrowest first.
      type: list
      elements: dict
      contains:
        kind: {description: "Where it is set.", type: str, choices: [device, volume, pool]}
        name: {description: "The name of device, volume or pool.", type: str}
        size: {description: "Bytes.", type: int}
memory:
  description: Its memory.
  returned: RV(found)
  type: dict
  contains:
    limit: {description: "C(limits.memory) in bytes. V(null) without one.", type: int}
    used: {description: "Bytes that are used.", type: int}
    peak: {description: "The most that was used. V(null) where the kernel does not tell.", type: int}
oom_kills:
  description: Processes in the instance that the kernel killed for want of memory. V(null) if its log can't be read.
  returned: RV(found)
  type: list
  elements: dict
  contains:
    at: {description: "When.", type: str}
    task: {description: "The process.", type: str}
    line: {description: "The kernel's words.", type: str}
commands:
  description: What was done, in check mode what would be.
  returned: RV(found)
  type: list
  elements: list
message:
  description: What was found or done, in one sentence.
  returned: always
  type: str
"""

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _command
from ..module_utils._command import Ended
from ..module_utils._errors import VezaError
from ..module_utils._incus import Level, bytes_of, disk_of, enlarge, levels, oom_kills, size

T = TypeVar("T")

RETRIES = 20
"""How often a size is tried to be set: btrfs can't note a new quota until something that was given back has settled."""

REFUSED = re.compile(
    r"btrfs qgroup limit (\d+) (0/\d+) (\S+)/[^/\s]+/[^/\s]+: .*quota exceeded", re.IGNORECASE | re.DOTALL
)
"""Incus's words: bytes, quota group, the pool's mount; behind it the kind of volume and the volume itself."""

GIVE_BACK = (
    "Btrfs notes no new limit while the old one is used up to the last byte: empty or delete any file of {name} that "
    "nobody needs (truncate --size=0 FILE), then run this again."
)

Run = Callable[[list[str]], Ended]


def argument_spec() -> dict[str, Any]:
    """Return the options, as DOCUMENTATION describes them."""
    return {
        "instance": {"type": "str", "required": True},
        "project": {"type": "str", "default": "default"},
        "path": {"type": "path", "default": "/var/lib/rabbitmq"},
        "disk_size": {"type": "str"},
        "memory": {"type": "str"},
        "incus_command": {"type": "str", "default": "incus"},
        "timeout": {"type": "float", "default": 20.0},
    }


class Incus:
    """The hypervisor's Incus."""

    def __init__(self, params: dict[str, Any], run: Run) -> None:
        self.program, self.project, self.name = params["incus_command"], params["project"], params["instance"]
        self.run = run

    def query(self, path: str, **options: str) -> dict[str, Any] | None:
        """Return a document of the API; None where there is none, VezaError when Incus doesn't answer."""
        return self._query(dict, path, options)

    def _query(self, kind: type[T], path: str, options: Mapping[str, str]) -> T | None:
        url = f"/1.0/{path}?{urlencode({'project': self.project, **options})}"
        ended = self.run([self.program, "query", url])
        if ended.code == 0:
            try:
                document = json.loads(ended.out)
            except (ValueError, RecursionError):
                document = None
            if not isinstance(document, kind):
                said = " ".join(ended.out.split())[:200] or "nothing"
                raise VezaError(f"{self.program} query {url} did not answer with a document in JSON: {said}")
            return document
        if "not found" in ended.err.lower():
            return None
        raise VezaError(f"{self.program} query {url} {ended.failure()}")

    def instance(self) -> dict[str, Any] | None:
        """Return the instance."""
        return self.query(f"instances/{quote(self.name)}")

    def idle(self) -> dict[str, str] | None:
        """Return the status of each instance of the project that does not run; None where Incus does not list them."""
        try:
            found = self._query(list, "instances", {"recursion": "1", "filter": "status ne Running"})
            return None if found is None else {str(one["name"]): str(one["status"]) for one in found}
        except (VezaError, KeyError, TypeError):
            return None

    def levels(self, instance: dict[str, Any], path: str) -> tuple[dict[str, Any] | None, list[Level]]:
        """Return the disk that holds a path, and what limits it."""
        found = disk_of(instance, path)
        if found is None:
            return None, []
        name, device = found
        pool = self.query(f"storage-pools/{quote(device['pool'])}") or {}
        source = device.get("source")
        volume = self.query(f"storage-pools/{quote(device['pool'])}/volumes/custom/{quote(source)}") if source else None
        limits = levels(instance, name, device, volume, pool)
        shown = [{"kind": level.kind, "name": level.name, "size": level.size} for level in limits]
        disk = {"device": name, "pool": device["pool"], "driver": pool.get("driver"), "limits": shown}
        return {**disk, "size": limits[0].size if limits else None}, limits

    def memory(self, instance: dict[str, Any]) -> dict[str, Any]:
        """Return what memory it may use, and uses."""
        used = (self.query(f"instances/{quote(self.name)}/state") or {}).get("memory") or {}
        limit = bytes_of((instance.get("expanded_config") or {}).get("limits.memory"))
        return {"limit": limit, "used": used.get("usage"), "peak": used.get("usage_peak") or None}

    def oom_kills(self) -> list[dict[str, str]] | None:
        """Return whom the kernel killed in it."""
        kernel = self.run(["dmesg"])
        if kernel.code != 0:
            return None
        return oom_kills(kernel.out, self.name, self.project, time.time(), time.clock_gettime(time.CLOCK_MONOTONIC))

    def change(self, command: list[str], sleep: Callable[[float], None]) -> None:
        """Carry out a change; VezaError when Incus refuses it."""
        for attempt in range(RETRIES):
            ended = self.run([self.program, "--project", self.project, *command])
            if ended.code == 0:
                return
            full = "quota" in ended.err.lower()
            if not full or attempt == RETRIES - 1:
                break
            if not self._limit_from_outside(ended.err):
                sleep(1.0)
        told = f"{self.program} {' '.join(command)} {ended.failure()}"
        raise VezaError(f"{told} {GIVE_BACK.format(name=self.name)}" if full else told)

    def _limit_from_outside(self, refusal: str) -> bool:
        """Set the limit that Incus could not; then Incus can, and notes it.

        Incus names the full volume by its own path, and Btrfs charges the note of the new limit to the volume of that
        path, which has no byte left. Named by the pool's own path it goes to the pool's account.
        """
        asked = REFUSED.search(refusal)
        if asked is None:
            return False
        size, group, pool = asked.groups()
        return any(self.run(["btrfs", "qgroup", "limit", size, group, place]).code == 0 for place in places(pool))


def places(pool: str, proc: str = "/proc") -> list[str]:
    """Return where a pool may be mounted: here, or where a daemon sees it that has mounts of its own."""
    found = [pool]
    for pid in filter(str.isdigit, os.listdir(proc)):
        with suppress(OSError), open(f"{proc}/{pid}/comm", encoding="utf-8") as file:
            if file.read().strip() == "incusd":
                found.append(f"{proc}/{pid}/root{pool}")
    return found


def run(
    params: dict[str, Any], check_mode: bool, execute: Run, sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Look, raise what is to be raised, and return the module's result."""
    wanted = size(params["disk_size"], "disk_size") if params["disk_size"] else 0
    allowed = size(params["memory"], "memory") if params["memory"] else 0
    incus = Incus(params, execute)
    instance = incus.instance()
    if instance is None:
        told = f"There is no instance '{params['instance']}' here, in the project '{params['project']}'."
        if wanted or allowed:
            raise VezaError(told)
        return {"changed": False, "found": False, "message": told}
    before = look(incus, instance, params["path"])
    disk, limits = incus.levels(instance, params["path"])
    if wanted and disk is None:
        raise VezaError(f"No disk of '{params['instance']}' with a storage pool holds {params['path']}.")
    commands = enlarge(limits, wanted, params["instance"])
    if allowed and before["memory"]["limit"] is not None and before["memory"]["limit"] < allowed:
        commands.append(["config", "set", params["instance"], f"limits.memory={allowed // 1024 // 1024}MiB"])
    if commands and not check_mode:
        for command in commands:
            incus.change(command, sleep)
        instance = incus.instance() or instance
    after = look(incus, instance, params["path"]) if commands and not check_mode else before
    done = "; ".join(" ".join(command) for command in commands)
    return {
        "changed": bool(commands),
        "found": True,
        **after,
        "commands": commands,
        "diff": {"before": {"disk": before["disk"], "memory": before["memory"]["limit"]}, "after": done or "the same"},
        "message": f"incus {done}." if done else f"Instance '{params['instance']}': nothing was changed.",
    }


def look(incus: Incus, instance: dict[str, Any], path: str) -> dict[str, Any]:
    """Return what is known of the instance."""
    return {
        "instance": incus.name,
        "project": incus.project,
        "status": instance.get("status"),
        "running": instance.get("status") == "Running",
        "idle": incus.idle(),
        "disk": incus.levels(instance, path)[0],
        "memory": incus.memory(instance),
        "oom_kills": incus.oom_kills(),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode, partial(_command.run, timeout=module.params["timeout"]))
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
