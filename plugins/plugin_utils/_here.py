# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module of this collection on the controller as it lies there.

Ansible packs a module with all that it imports, and the host unpacks and compiles that anew each time: about a second
of a processor. The controller has all of it, compiled already. A module that looks from there over the network (at a
management API, a database) is started as a program, with its arguments on its standard input: the way in which the
developer guide of Ansible runs a module by hand.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.release import __version__

from ._untrusted import plain

COLLECTIONS = Path(__file__).absolute().parents[5]
"""The directory in which ansible_collections lies."""

FOREIGN = 97
"""Exit status of a Python that has no ansible-core, or another one."""

START = f"""
import runpy, sys
version, module = sys.argv[1:]
del sys.argv[1:]
try:
    from ansible.release import __version__
except ImportError:
    sys.exit({FOREIGN})
if __version__ != version:
    sys.exit({FOREIGN})
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


class HereAction(ActionBase):
    """Runs ``module``, without a detour where that can be."""

    _supports_check_mode = True
    _supports_diff = True

    module: str
    """Its full name."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result.update(execute(self, self.module, dict(self._task.args), task_vars))
        return result


def execute(
    action: ActionBase, module: str, arguments: dict[str, Any], task_vars: dict[str, Any] | None
) -> dict[str, Any]:
    """Return a module's result; what is asked for beyond a start on this machine is left to Ansible."""
    python = python_here(action, task_vars or {})
    answer = started(action, python, module, dict(arguments), task_vars) if python else None
    if answer is None:
        answer = action._execute_module(module_name=module, module_args=arguments, task_vars=task_vars)
    return dict(answer)


def python_here(action: ActionBase, task_vars: dict[str, Any]) -> str | None:
    """Return the Python of a task that runs on this machine, as this user; else None."""
    task, connection = action._task, action._connection
    if connection.transport != "local" or connection.become is not None or task.async_val:
        return None
    delegated = task_vars.get("ansible_delegated_vars", {}).get(task.delegate_to, {})
    python = (delegated if task.delegate_to else task_vars).get("ansible_python_interpreter")
    return str(action._templar.template(python)) if python else None


def started(
    action: ActionBase, python: str, module: str, arguments: dict[str, Any], task_vars: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Return the result of a module that was started with this Python; None if that one has not this ansible-core."""
    action._update_module_args(module, arguments, task_vars)
    # A vault's text is no str in every ansible-core.
    text = json.dumps({"ANSIBLE_MODULE_ARGS": plain(arguments)}, default=str)
    namespace, collection, name = module.split(".")
    environment: dict[str, Any] = {}
    action._compute_environment_string(environment)
    environment = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(COLLECTIONS), environment.get("PYTHONPATH")]))
    try:
        ended = subprocess.run(
            [python, "-c", START, __version__, f"ansible_collections.{namespace}.{collection}.plugins.modules.{name}"],
            input=text,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # no path of a program, such as "auto"
        return None
    if ended.returncode == FOREIGN:
        return None
    try:
        return dict(json.loads(ended.stdout))
    except ValueError:
        return {"failed": True, "msg": f"{module} ended with {ended.returncode}.", "module_stderr": ended.stderr}
