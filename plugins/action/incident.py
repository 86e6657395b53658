# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells module incident which run is asking, and whether the run that holds the lease is still alive.

Only the controller can know either: the module may run on another host.
"""

from __future__ import annotations

import getpass
import multiprocessing
import os
import socket
from collections.abc import Mapping
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail

from ..module_utils._lease import GONE, is_dead
from ..plugin_utils._here import Here


class ActionModule(Here):
    """Runs the module with the holder's identity, and once more where the holder before is found to be dead."""

    module = "veza.rabbitmq.incident"

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        me = identity(task_vars or {})
        answer = self._ask(me, None, task_vars)
        lease = answer.get("lease") or {}
        if answer.get("refused") == "held" and is_dead(lease["holder"], me, process_started):
            answer = self._ask(me, lease["token"], task_vars)
        result.update(answer)
        return result

    def _ask(self, me: dict[str, Any], dead_token: int | None, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        arguments = {**self._task.args, "holder": me}
        arguments.pop("dead_token", None)
        if dead_token is not None:
            # The token names the very holder that was found dead: one that came in between keeps the lease.
            arguments["dead_token"] = dead_token
        return self.ask(arguments, task_vars)


def identity(task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """Return who this run is; AnsibleActionFail when its main process has ended."""
    pid = main_process()
    started = process_started(pid)
    if started == GONE:
        raise AnsibleActionFail(
            f"The run that started this task has ended (process {pid}), so this task may not act for it any more."
        )
    return {
        "host": socket.gethostname(),
        "boot_id": _line("/proc/sys/kernel/random/boot_id"),
        "pid_namespace": _link("/proc/self/ns/pid"),
        "pid": pid,
        "started": started or "",
        "user": _first(task_vars, "awx_user_name", "tower_user_name") or _user(),
        "job": _first(task_vars, "awx_job_id", "tower_job_id") or os.environ.get("JOB_ID"),
        "playbook": _playbook() or str(task_vars.get("ansible_play_name", "unknown")),
    }


def main_process() -> int:
    """Return the pid of the ansible-playbook that this runs for.

    All supported versions of ansible-core fork one worker a task directly from the main process, with multiprocessing.
    A strategy plugin that runs tasks in the main process itself has no parent of that kind.
    """
    parent = multiprocessing.parent_process()
    return parent.pid if parent is not None and parent.pid is not None else os.getpid()


def process_started(pid: int) -> str | None:
    """Return when a process started, in ticks since boot; GONE when there is none, None when it can't be told."""
    stat = _line(f"/proc/{pid}/stat")
    if stat:
        # The second field is the command in parentheses, which may hold spaces and parentheses of its own.
        fields = stat.rpartition(")")[2].split()
        state, started = fields[0], fields[19]
        return GONE if state in "ZX" else started  # a zombie runs no more tasks
    try:
        os.kill(pid, 0)  # sends nothing; /proc may hide other users' processes
    except ProcessLookupError:
        return GONE
    except OSError:
        return None
    return None


def _line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            return source.read().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run with a uid that has no name
        return str(os.getuid())


def _first(task_vars: Mapping[str, Any], *names: str) -> str | None:
    return next((str(task_vars[name]) for name in names if task_vars.get(name)), None)


def _playbook() -> str:
    # Only the names: the command line may hold secrets among its extra variables.
    playbooks = context.CLIARGS.get("args") or ()
    return "" if isinstance(playbooks, str) else ", ".join(os.path.basename(str(name)) for name in playbooks)
