# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.veza.rabbitmq.plugins.action import incident
from ansible_collections.veza.rabbitmq.plugins.module_utils._lease import GONE


class Plugin(incident.ActionModule):
    """The plugin with answers in place of the module, in the order in which they are given."""

    def __init__(self, arguments: dict[str, Any], *answers: dict[str, Any]) -> None:
        self._task = type("Task", (), {"args": arguments})
        self._connection = type("Connection", (), {"transport": "ssh"})
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def _execute_module(self, module_name: Any = None, module_args: Any = None, **_unused: Any) -> dict[str, Any]:
        assert module_name == "veza.rabbitmq.incident"
        self.asked.append(module_args)
        return self.answers.pop(0)


@pytest.fixture(autouse=True)
def bare_action(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incident.Here, "run", lambda self, tmp, task_vars: {})
    monkeypatch.setattr(incident.context, "CLIARGS", {"args": ("playbooks/recover_rabbitmq.yml",)})


def held_by(**changes: Any) -> dict[str, Any]:
    holder = {**incident.identity({}), **changes}
    return {"failed": True, "refused": "held", "lease": {"token": 5, "holder": holder}}


def test_the_module_is_told_who_asks_whatever_the_task_says() -> None:
    plugin = Plugin({"site": "paris", "state": "read", "holder": {"pid": 1}, "dead_token": 3}, {"changed": False})
    assert plugin.run(task_vars={"awx_job_id": 17, "awx_user_name": "alice"}) == {"changed": False}
    (asked,) = plugin.asked
    holder = asked.pop("holder")
    assert asked == {"site": "paris", "state": "read"}
    assert (holder["pid"], holder["started"]) == (os.getpid(), incident.process_started(os.getpid()))
    assert (holder["user"], holder["job"], holder["playbook"]) == ("alice", "17", "recover_rabbitmq.yml")
    assert holder["boot_id"]
    assert holder["pid_namespace"].startswith("pid:[")


def test_a_dead_holder_is_named_to_the_module_by_its_token() -> None:
    plugin = Plugin({"site": "paris", "lease": "acquired"}, held_by(started="1"), {"acquired": True})
    assert plugin.run(task_vars={}) == {"acquired": True}
    assert [asked.get("dead_token") for asked in plugin.asked] == [None, 5]


@pytest.mark.parametrize("changes", [{}, {"host": "elsewhere", "started": "1"}, {"boot_id": "x", "started": "1"}])
def test_a_holder_that_may_be_alive_is_left_alone(changes: dict[str, Any]) -> None:
    refusal = held_by(**changes)
    plugin = Plugin({"site": "paris", "lease": "acquired"}, refusal)
    assert plugin.run(task_vars={}) == refusal
    assert len(plugin.asked) == 1


def test_a_failure_without_a_lease_is_passed_on() -> None:
    plugin = Plugin({"site": "paris", "lease": "acquired"}, {"failed": True, "msg": "no"})
    assert plugin.run(task_vars={}) == {"failed": True, "msg": "no"}


def test_a_task_whose_run_has_ended_does_not_act_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incident, "process_started", lambda pid: GONE)
    with pytest.raises(AnsibleActionFail, match="has ended"):
        Plugin({"site": "paris"}).run(task_vars={})


def test_a_worker_speaks_for_the_process_that_forked_it() -> None:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    worker = context.Process(target=lambda: answers.put((os.getpid(), incident.main_process())))
    worker.start()
    pid, main = answers.get()
    worker.join()
    assert (pid, main) == (worker.pid, os.getpid())


def test_a_process_that_has_ended_is_gone_even_before_it_is_collected() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = incident.process_started(process.pid)
        assert started
        assert started.isdigit()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie from here on
        assert incident.process_started(process.pid) == GONE
    assert incident.process_started(process.pid) == GONE


@pytest.mark.parametrize(("error", "answer"), [(ProcessLookupError, GONE), (PermissionError, None), (None, None)])
def test_a_process_that_proc_hides_is_not_called_dead(
    monkeypatch: pytest.MonkeyPatch, error: type[OSError] | None, answer: str | None
) -> None:
    def kill(pid: int, signal: int) -> None:
        assert (pid, signal) == (77, 0)
        if error:
            raise error

    monkeypatch.setattr(incident, "_line", lambda path: "")
    monkeypatch.setattr(incident.os, "kill", kill)
    assert incident.process_started(77) == answer


def test_a_command_with_parentheses_and_spaces_does_not_shift_the_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = " ".join(["S", *(str(number) for number in range(4, 53))])
    monkeypatch.setattr(incident, "_line", lambda path: f"77 (a) Z (b) {fields}")
    assert incident.process_started(77) == "22"  # proc(5): starttime is field 22
