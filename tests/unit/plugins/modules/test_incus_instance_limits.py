# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module incus_instance_limits against answers of Incus."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._command import Ended
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, VezaError
from ansible_collections.veza.rabbitmq.plugins.modules import incus_instance_limits

MIB = 1024 * 1024
NOT_FOUND = Ended(1, "", "Error: Instance not found\n")


class Hypervisor:
    """Answers as Incus does; ``refusals`` are what the first changes are told."""

    def __init__(self, *refusals: str, limit: str = "300MiB") -> None:
        self.refusals = list(refusals)
        self.mount = "/pools/veza"
        self.others: Any = []
        self.changes: list[list[str]] = []
        self.instance: dict[str, Any] = {
            "status": "Running",
            "devices": {},
            "expanded_config": {"limits.memory": limit} if limit else {},
            "expanded_devices": {"root": {"type": "disk", "path": "/", "pool": "veza"}},
        }

    def __call__(self, argv: list[str]) -> Ended:
        if argv == ["dmesg"]:
            return Ended(1, "", "not permitted")
        if argv[:2] == ["incus", "query"]:
            return self.answer(argv[2].partition("?")[0].removeprefix("/1.0/"))
        if argv[0] == "btrfs":
            self.changes.append(argv)
            return Ended(0, "", "") if argv[-1] == self.mount else Ended(1, "", "No such file or directory")
        assert argv[:3] == ["incus", "--project", "default"]
        if self.refusals:
            return Ended(1, "", self.refusals.pop(0))
        self.changes.append(argv[3:])
        return Ended(0, "", "")

    def answer(self, path: str) -> Ended:
        documents: dict[str, Any] = {
            "instances/rabbitmq": self.instance,
            "instances/rabbitmq/state": {"memory": {"usage": 200 * MIB, "usage_peak": 0}},
            "instances": self.others,
            "storage-pools/veza": {"driver": "btrfs", "config": {"size": "1GiB"}},
        }
        return Ended(0, json.dumps(documents[path]), "") if path in documents else NOT_FOUND


@pytest.fixture
def run(params_of: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def call(hypervisor: Hypervisor, check_mode: bool = False, **given: Any) -> dict[str, Any]:
        params = params_of(incus_instance_limits.argument_spec(), **{"instance": "rabbitmq", **given})
        return incus_instance_limits.run(params, check_mode, hypervisor, sleep=lambda _seconds: None)

    return call


@pytest.mark.parametrize("said", ["", "Warning: cold start\n{}", "[]"])
def test_what_is_no_document_is_said(run: Callable[..., dict[str, Any]], said: str) -> None:
    hypervisor = Hypervisor()
    hypervisor.answer = lambda path: Ended(0, said, "")  # type: ignore[method-assign]
    with pytest.raises(VezaError, match="incus query /1.0/instances/rabbitmq.*did not answer with a document in JSON"):
        run(hypervisor)


def test_it_tells_what_limits_the_instance(run: Callable[..., dict[str, Any]]) -> None:
    hypervisor = Hypervisor()
    result = run(hypervisor)
    assert (result["changed"], result["found"], result["running"]) == (False, True, True)
    assert (result["instance"], result["project"], result["status"]) == ("rabbitmq", "default", "Running")
    assert result["disk"]["limits"] == [{"kind": "pool", "name": "veza", "size": 1024 * MIB}]
    assert result["memory"] == {"limit": 300 * MIB, "used": 200 * MIB, "peak": None}
    assert result["oom_kills"] is None
    assert hypervisor.changes == []


def test_an_instance_that_is_frozen_does_not_run(run: Callable[..., dict[str, Any]]) -> None:
    hypervisor = Hypervisor()
    hypervisor.instance["status"] = "Frozen"
    result = run(hypervisor)
    assert (result["running"], result["status"]) == (False, "Frozen")


@pytest.mark.parametrize(
    ("others", "idle"),
    [
        ([], {}),
        ([{"name": "workers", "status": "Frozen"}, {"name": "old", "status": "Stopped"}],
         {"workers": "Frozen", "old": "Stopped"}),
        ({"not": "a list"}, None),
        (["/1.0/instances/workers"], None),  # by one that does not know recursion
    ],
)  # fmt: skip
def test_it_tells_which_instances_do_not_run(
    run: Callable[..., dict[str, Any]], others: Any, idle: dict[str, str] | None
) -> None:
    hypervisor = Hypervisor()
    hypervisor.others = others
    assert run(hypervisor)["idle"] == idle


def test_an_instance_that_is_elsewhere_is_no_failure_unless_it_is_to_be_changed(
    run: Callable[..., dict[str, Any]],
) -> None:
    assert run(Hypervisor(), instance="other")["found"] is False
    with pytest.raises(VezaError, match="There is no instance 'other' here"):
        run(Hypervisor(), instance="other", disk_size="2GiB")


def test_check_mode_says_what_the_real_run_does(run: Callable[..., dict[str, Any]]) -> None:
    hypervisor = Hypervisor()
    wanted = {"disk_size": "2GiB", "memory": "600MiB"}
    predicted = run(hypervisor, check_mode=True, **wanted)
    assert (predicted["changed"], hypervisor.changes) == (True, [])
    assert run(hypervisor, **wanted)["commands"] == predicted["commands"] == hypervisor.changes
    assert hypervisor.changes == [
        ["storage", "set", "veza", "size=2048MiB"],
        ["config", "set", "rabbitmq", "limits.memory=600MiB"],
    ]


@pytest.mark.parametrize(
    "given", [{"disk_size": "1GiB"}, {"disk_size": "1MiB"}, {"memory": "300MiB"}, {"memory": "1MiB"}]
)
def test_nothing_is_made_smaller(run: Callable[..., dict[str, Any]], given: dict[str, str]) -> None:
    hypervisor = Hypervisor()
    assert not run(hypervisor, **given)["changed"]
    assert hypervisor.changes == []


def test_memory_without_a_limit_gets_none(run: Callable[..., dict[str, Any]]) -> None:
    assert not run(Hypervisor(limit=""), memory="1GiB")["changed"]


def test_a_quota_that_can_not_be_noted_yet_is_tried_again(run: Callable[..., dict[str, Any]]) -> None:
    hypervisor = Hypervisor("Error: Disk quota exceeded", "Error: Disk quota exceeded")
    assert run(hypervisor, disk_size="2GiB")["changed"]
    with pytest.raises(VezaError, match="ended with exit code 1: Error: no such pool$"):
        run(Hypervisor("Error: no such pool"), disk_size="2GiB")
    with pytest.raises(VezaError, match="Disk quota exceeded Btrfs notes no new limit.*truncate"):
        run(Hypervisor(*["Error: Disk quota exceeded"] * 100), disk_size="2GiB")


def test_no_size_is_refused(run: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(BadInput, match="memory is 'lots'"):
        run(Hypervisor(), memory="lots")


# Word for word as Incus 6 says it of a container whose root volume has no byte left.
BTRFS = (
    'Error: Failed to update device "root": Failed to run: btrfs qgroup limit 2908749824 0/368 '
    "/pools/veza/containers/rabbitmq: exit status 1 (ERROR: unable to limit requested quota group: Disk quota exceeded)"
)


def test_a_full_quota_is_raised_on_the_pool_first(run: Callable[..., dict[str, Any]]) -> None:
    hypervisor = Hypervisor(BTRFS)
    assert run(hypervisor, disk_size="2GiB")["changed"]
    outside, noted = hypervisor.changes
    assert outside == ["btrfs", "qgroup", "limit", "2908749824", "0/368", "/pools/veza"]
    assert "btrfs" not in noted


def test_the_pool_is_looked_for_where_the_daemon_has_it(tmp_path: Path, run: Callable[..., dict[str, Any]]) -> None:
    for pid, name in (("7", "incusd"), ("8", "sh")):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "comm").write_text(f"{name}\n")
    (tmp_path / "9").mkdir()
    assert incus_instance_limits.places("/pools/veza", str(tmp_path)) == [
        "/pools/veza",
        f"{tmp_path}/7/root/pools/veza",
    ]
    hypervisor = Hypervisor(*[BTRFS] * 100)
    hypervisor.mount = "nowhere"
    with pytest.raises(VezaError, match="truncate"):
        run(hypervisor, disk_size="2GiB")
