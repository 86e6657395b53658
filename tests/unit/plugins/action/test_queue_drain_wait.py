# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.action import queue_drain_wait as action
from ansible_collections.veza.rabbitmq.plugins.modules import queue_drain_wait

ARGUMENTS = {"queues": ["jobs"], "timeout": 60}


class Task:
    def __init__(self) -> None:
        self.args = dict(ARGUMENTS)
        self.async_val = 0
        self.check_mode = False


def queue(messages: int | None, name: str = "jobs") -> dict[str, Any]:
    return {
        "name": name, "ready": messages, "unacked": 0, "messages": messages, "known": messages is not None,
        "drained": messages == 0, "rate": None, "eta": None, "reason": "messages are left", "dead_lettered": None,
        "case": "unknown" if messages is None else "undecided", "case_reason": "no figures", "stuck": False,
    }  # fmt: skip


def unfinished(at: float, *queues: dict[str, Any]) -> dict[str, Any]:
    return {"samples": [{"elapsed": at}], "queues": list(queues), "continued": {"elapsed": at, "sampled": at}}


class Play:
    """The action plugin, with a module that gives these answers and a screen that is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.screen: list[str] = []
        self.leases: list[dict[str, Any]] = []
        self.renewals: list[dict[str, Any]] = []
        self.plugin = action.ActionModule.__new__(action.ActionModule)
        self.task = Task()
        monkeypatch.setattr(self.plugin, "_task", self.task, raising=False)
        connection = type("Connection", (), {"transport": "ssh"})
        monkeypatch.setattr(self.plugin, "_connection", connection, raising=False)
        monkeypatch.setattr(action.ActionBase, "run", lambda _self, _tmp, _vars: {})
        monkeypatch.setattr(self.plugin, "_execute_module", self.execute)
        monkeypatch.setattr(action, "tell", self.screen.append)
        self.now = 100.0
        monkeypatch.setattr(action.time, "monotonic", lambda: self.now)

    def execute(self, module_name: str, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        self.now += 3.0
        if module_name == "veza.rabbitmq.incident":
            self.renewals.append(module_args)
            return self.leases.pop(0)
        assert module_name == "veza.rabbitmq.queue_drain_wait"
        self.asked.append(module_args)
        return self.answers.pop(0)


def test_it_goes_on_until_the_module_has_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    done = {"drained": True, "samples": [{"elapsed": 5.0}], "queues": [queue(0)], "changed": False}
    play = Play(monkeypatch, unfinished(0.1, queue(9)), unfinished(2.9, queue(None)), done)
    result = play.plugin.run(task_vars={})
    assert result["samples"] == [{"elapsed": 0.1}, {"elapsed": 2.9}, {"elapsed": 5.0}]
    assert (result["drained"], "continued" in result, play.answers) == (True, False, [])
    assert [asked["slice"] for asked in play.asked] == [0.0, action.SLICE, action.SLICE]
    # What a call costs beyond the module's own time is part of the wait.
    assert [(asked["continued"] or {}).get("elapsed") for asked in play.asked] == [None, 3.0, 6.0]
    assert all({**asked, **ARGUMENTS} == asked for asked in play.asked)
    assert [line.split("  ")[1] for line in play.screen] == [
        "9 left (ready 9, unacked 0)",
        "unknown, condition not met yet: no figures",
        "0 left (ready 0, unacked 0)",
    ]


def test_a_queue_that_stays_drained_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mails = queue(0, "mails")
    play = Play(
        monkeypatch,
        unfinished(0.0, queue(9), mails),
        unfinished(2.0, queue(9), mails),
        {"drained": True, "samples": [], "queues": [queue(0), mails]},
    )
    play.plugin.run(task_vars={})
    assert [line.split()[0] for line in play.screen] == ["jobs", "mails", "jobs", "jobs"]


def test_a_failure_keeps_the_samples_of_the_slices_before(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(monkeypatch, unfinished(0.0, queue(9)), {"failed": True, "msg": "no queue jobs"})
    result = play.plugin.run(task_vars={})
    assert (result["failed"], result["msg"], result["samples"]) == (True, "no queue jobs", [{"elapsed": 0.0}])


def test_a_first_failure_is_passed_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(monkeypatch, {"failed": True, "msg": "queues is required"})
    assert play.plugin.run(task_vars={}) == {"failed": True, "msg": "queues is required"}


LEASE = {"dir": "/var/lib/veza/incidents", "site": "paris", "token": 7}


def leased(monkeypatch: pytest.MonkeyPatch, *leases: dict[str, Any], waits: int = 20) -> Play:
    monkeypatch.setattr(action, "identity", lambda _vars: {"pid": 1})
    done = {"drained": True, "samples": [], "queues": [queue(0)], "changed": False}
    play = Play(monkeypatch, *[unfinished(3.0 * at, queue(9)) for at in range(waits)], done)
    play.task.args["lease"] = dict(LEASE)
    play.leases = list(leases)
    return play


def test_a_lease_is_renewed_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    play = leased(monkeypatch, {"lease": {}}, {"lease": {}}, waits=14)
    assert play.plugin.run(task_vars={})["drained"]
    assert play.renewals == [{**LEASE, "lease": "checked", "holder": {"pid": 1}}] * 2


@pytest.mark.parametrize(
    "text", ["dir=/var/lib/veza/incidents site=paris token=7", json.dumps({**LEASE, "token": "7"})]
)
def test_a_lease_may_be_text_as_the_modules_option_allows(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    play = leased(monkeypatch, {"lease": {}}, waits=9)
    play.task.args["lease"] = text
    assert play.plugin.run(task_vars={})["drained"]
    assert play.renewals == [{**LEASE, "token": "7", "lease": "checked", "holder": {"pid": 1}}]


def test_a_lost_lease_ends_the_wait_with_the_same_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    play = leased(monkeypatch, {"lease": {}}, {"failed": True, "refused": "lost", "msg": "another run has it"})
    result = play.plugin.run(task_vars={})
    assert (result["failed"], result["refused"], result["msg"]) == (True, "lost", "another run has it")
    assert {"queues", "samples"} <= set(result)
    assert "continued" not in result
    assert len(play.answers) > 5


def test_a_lease_that_can_not_be_renewed_just_now_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    play = leased(monkeypatch, {"failed": True, "msg": "the lock is busy"}, waits=9)
    said: list[str] = []
    monkeypatch.setattr(action.Display(), "warning", said.append)
    assert play.plugin.run(task_vars={})["drained"]
    assert said == ["The lease could not be renewed: the lock is busy"]


def test_the_lease_is_renewed_on_the_host_that_keeps_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    play = leased(monkeypatch, {"lease": {}}, waits=9)
    play.task.args["lease"]["host"] = "monitor"
    found: list[str] = []

    def elsewhere(_action: Any, host: str, _vars: Any) -> action.Elsewhere:
        found.append(host)
        return action.Elsewhere(play.plugin, {"inventory_hostname": host})

    monkeypatch.setattr(action, "on_host", elsewhere)
    assert play.plugin.run(task_vars={})["drained"]
    assert found == ["monitor"]
    assert play.renewals == [{**LEASE, "lease": "checked", "holder": {"pid": 1}}]


def test_a_host_that_can_not_be_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    play = leased(monkeypatch, waits=9)
    play.task.args["lease"]["host"] = "nowhere"
    said: list[str] = []
    monkeypatch.setattr(action.Display(), "warning", said.append)
    assert play.plugin.run(task_vars={"inventory_hostname": "localhost", "hostvars": {}})["drained"]
    assert "nowhere" in said[0]


def test_check_mode_takes_no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    play = leased(monkeypatch, waits=9)
    play.task.check_mode = True
    assert play.plugin.run(task_vars={})["drained"]
    assert play.renewals == []


def test_a_task_can_not_set_what_is_internal(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(monkeypatch, {"drained": True, "samples": [], "queues": []})
    play.task.args.update(slice=99, continued={"elapsed": 50})
    play.plugin.run(task_vars={})
    assert (play.asked[0]["slice"], play.asked[0]["continued"]) == (0.0, None)


def test_check_mode_is_for_the_module_to_judge() -> None:
    assert action.ActionModule._supports_check_mode is True
    assert {"slice", "continued"} <= set(queue_drain_wait.argument_spec())
