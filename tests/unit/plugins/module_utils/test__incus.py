# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sizes, limits and the kernel's words of an Incus instance."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput
from ansible_collections.veza.rabbitmq.plugins.module_utils._incus import (
    bytes_of,
    disk_of,
    enlarge,
    levels,
    oom_kills,
    size,
)

MIB = 1024 * 1024
ROOT = {"type": "disk", "path": "/", "pool": "veza"}
DATA = {"type": "disk", "path": "/var/lib/rabbitmq", "pool": "small", "source": "data"}
POOL = {"config": {"size": "512MiB"}}


def instance(local: tuple[str, ...] = (), **devices: Any) -> dict[str, Any]:
    return {"devices": {name: devices[name] for name in local}, "expanded_devices": devices}


@pytest.mark.parametrize(
    ("text", "number"),
    [("512MiB", 512 * MIB), ("2GB", 2 * 10**9), ("20 GiB", 20 * 1024 * MIB), ("7", 7), ("7B", 7), ("1TiB", 1024**4),
     ("50%", None), ("", None), (None, None), ("much", None), ("1XiB", None)],
)  # fmt: skip
def test_sizes(text: str | None, number: int | None) -> None:
    assert bytes_of(text) == number


def test_no_size_is_refused() -> None:
    with pytest.raises(BadInput, match="disk_size is 'all'"):
        size("all", "disk_size")


@pytest.mark.parametrize(
    ("path", "name"),
    [("/var/lib/rabbitmq", "data"), ("/var/lib/rabbitmq/mnesia", "data"), ("/var/lib/rabbitmqs", "root")],
)
def test_the_disk_is_the_one_that_is_mounted_nearest(path: str, name: str) -> None:
    found = disk_of(instance(root=ROOT, data=DATA, eth0={"type": "nic"}), path)
    assert found is not None
    assert found[0] == name


def test_a_directory_of_the_hypervisor_is_no_disk_of_a_pool() -> None:
    bound = {"type": "disk", "path": "/var/lib/rabbitmq", "source": "/srv/data"}
    assert disk_of(instance(data=bound), "/var/lib/rabbitmq") is None


def test_the_narrowest_limit_comes_first_and_the_widest_is_raised_first() -> None:
    volume = {"config": {"size": "256MiB"}}
    found = levels(instance(("data",), root=ROOT, data=DATA), "data", DATA, volume, POOL)
    assert [(limit.kind, limit.size) for limit in found] == [("volume", 256 * MIB), ("pool", 512 * MIB)]
    assert enlarge(found, 1024 * MIB, "rabbitmq") == [
        ["storage", "set", "small", "size=1024MiB"],
        ["storage", "volume", "set", "small", "data", "size=1024MiB"],
    ]
    assert enlarge(found, 300 * MIB, "rabbitmq") == [["storage", "volume", "set", "small", "data", "size=300MiB"]]
    assert enlarge(found, 100 * MIB, "rabbitmq") == []


@pytest.mark.parametrize(("local", "verb"), [((), "override"), (("root",), "set")])
def test_a_device_of_the_profile_is_overridden(local: tuple[str, ...], verb: str) -> None:
    root = {**ROOT, "size": "2GiB"}
    found = levels(instance(local, root=root), "root", root, None, {"config": {}})
    assert enlarge(found, 4096 * MIB, "rabbitmq") == [
        ["config", "device", verb, "rabbitmq", "root", "size=4096MiB"],
    ]


KERNEL = (
    "[  100.500000] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
    "oom_memcg=/lxc.payload.rabbitmq,task_memcg=/lxc.payload.rabbitmq/system.slice/rabbitmq-server.service,"
    "task=beam.smp,pid=77,uid=1065650\n"
    "[  101.000000] oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/lxc.payload.workers,"
    "task_memcg=/lxc.payload.workers/x,task=python3,pid=78\n"
    "[  102.000000] something else\n"
)


def test_the_kernel_tells_whom_it_killed_where() -> None:
    (kill,) = oom_kills(KERNEL, "rabbitmq", "default", now=1_000_000.0, uptime=200.5)
    assert (kill["task"], kill["at"]) == ("beam.smp", "1970-01-12T13:45:00.000Z")
    assert kill["line"].startswith("oom-kill:")
    assert oom_kills(KERNEL, "rabbitmq", "other", 0.0, 0.0) == []
