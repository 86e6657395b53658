# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

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
    }  # fmt: skip


def unfinished(at: float, *queues: dict[str, Any]) -> dict[str, Any]:
    return {"samples": [{"elapsed": at}], "queues": list(queues), "continued": {"elapsed": at, "sampled": at}}


class Play:
    """The action plugin, with a module that gives these answers and a screen that is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.screen: list[str] = []
        self.plugin = action.ActionModule.__new__(action.ActionModule)
        self.task = Task()
        monkeypatch.setattr(self.plugin, "_task", self.task, raising=False)
        monkeypatch.setattr(action.ActionBase, "run", lambda _self, _tmp, _vars: {})
        monkeypatch.setattr(self.plugin, "_execute_module", self.execute)
        monkeypatch.setattr(action.Display(), "display", self.screen.append)
        self.now = 100.0
        monkeypatch.setattr(action.time, "monotonic", lambda: self.now)

    def execute(self, module_name: str, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        assert module_name == "veza.rabbitmq.queue_drain_wait"
        self.asked.append(module_args)
        self.now += 3.0
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
        "unknown, condition not met yet: messages are left",
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


def test_a_task_can_not_set_what_is_internal(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(monkeypatch, {"drained": True, "samples": [], "queues": []})
    play.task.args.update(slice=99, continued={"elapsed": 50})
    play.plugin.run(task_vars={})
    assert (play.asked[0]["slice"], play.asked[0]["continued"]) == (0.0, None)


def test_check_mode_is_for_the_module_to_judge() -> None:
    assert action.ActionModule._supports_check_mode is True
    assert {"slice", "continued"} <= set(queue_drain_wait.argument_spec())
