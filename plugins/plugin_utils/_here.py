# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module of this collection on the controller as it lies there.

Ansible packs a module with all that it imports, and the host unpacks and compiles that anew each time: about a second
of a processor. The controller has all of it, compiled already. A module that looks from there over the network (at a
management API, a database) runs there as a process with its arguments on its standard input: the way in which the
developer guide of Ansible runs a module by hand. Where the task's Python is the one that runs Ansible, that process is
a copy of Ansible's own, which has imported most of it already: 0.02 s instead of 0.2.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ansible.errors import AnsibleConnectionFailure
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


class Here(ActionBase):
    """Asks ``module``, without a detour where that can be."""

    _supports_check_mode = True

    module: str
    """Its full name."""

    def ask(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Return the module's result; what is asked for beyond a start on this machine is left to Ansible."""
        with no_collection():
            return self._answer(arguments, task_vars)

    def _answer(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        python = python_here(self, task_vars or {})
        answer = started(self, python, self.module, dict(arguments), task_vars) if python else None
        if answer is not None:
            return answer
        try:
            return dict(self._execute_module(module_name=self.module, module_args=arguments, task_vars=task_vars))
        except AnsibleConnectionFailure as error:
            if not self._task.delegate_to:
                raise
            # "Unreachable" would take the play's own host out of the run, past every rescue and always.
            return {"failed": True, "msg": f"The host {self._task.delegate_to} can't be reached: {error}"}


class HereAction(Here):
    """Runs ``module``, and that is all."""

    _supports_diff = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result.update(self.ask(dict(self._task.args), task_vars))
        return result


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Leave cyclic garbage alone for as long as one module is packed and run.

    A task's process is a copy of the controller: a collection looks at, and so copies, all that the controller has in
    memory. Packing a module takes twice as long with it.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def python_name(module: str) -> str:
    """Return the name by which Python imports a module of Ansible."""
    namespace, collection, name = module.split(".")
    return f"ansible_collections.{namespace}.{collection}.plugins.modules.{name}"


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
    given: dict[str, Any] = {}
    action._compute_environment_string(given)
    given = {name: str(value) for name, value in given.items()}
    run = copied if python == sys.executable and can_copy(given) else programmed
    ended = run(python, python_name(module), text, {**os.environ, **given})
    if ended is None:
        return None
    try:
        return dict(json.loads(ended.stdout))
    except ValueError:
        return {"failed": True, "msg": f"{module} ended with {ended.status}.", "module_stderr": ended.stderr}


@dataclass(frozen=True)
class Ended:
    """What a process left. A negative ``status`` is the signal that ended it."""

    status: int
    stdout: str
    stderr: str


def programmed(python: str, module: str, text: str, environment: Mapping[str, str]) -> Ended | None:
    """Start the module as a program; None when this is no Python with our ansible-core."""
    path = os.pathsep.join(filter(None, [str(COLLECTIONS), environment.get("PYTHONPATH")]))
    try:
        ended = subprocess.run(
            [python, "-c", START, __version__, module],
            input=text,
            env={**environment, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # no path of a program, such as "auto"
        return None
    return None if ended.returncode == FOREIGN else Ended(ended.returncode, ended.stdout, ended.stderr)


READ_AT_START = ("PYTHON", "LD_", "OPENSSL_", "TZ", "LANG", "LC_")
"""How the names of variables begin that a program reads as it starts, and not again."""


def can_copy(given: Mapping[str, str]) -> bool:
    """Tell whether a copy of this process will do for a task with this environment.

    Elsewhere than on Linux system libraries may forbid that a copy goes on, and some builds of Python have no memfd.
    """
    return hasattr(os, "memfd_create") and not any(name.startswith(READ_AT_START) for name in given)


def copied(python: str, module: str, text: str, environment: Mapping[str, str]) -> Ended | None:
    """Run the module in a copy of this process; as a program where the kernel has no files in memory."""
    with contextlib.ExitStack() as closing:
        streams = []
        try:
            for name in ("stdin", "stdout", "stderr"):
                streams.append(os.memfd_create(name))  # no file: the arguments may hold secrets
                closing.callback(os.close, streams[-1])
        except OSError:
            return programmed(python, module, text, environment)
        os.pwrite(streams[0], text.encode(), 0)
        pid = os.fork()
        if not pid:
            _be(module, streams, environment)
        status = _ended(pid)
        stdout, stderr = (os.pread(stream, os.fstat(stream).st_size, 0) for stream in streams[1:])
    return Ended(status, stdout.decode(errors="replace"), stderr.decode(errors="replace"))


def _ended(pid: int) -> int:
    """Wait for a child, and end it where the wait is broken off: a task may have a time limit."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _be(module: str, streams: list[int], environment: Mapping[str, str]) -> NoReturn:
    """Be that module from now on, and end; never return into the code of which this process is a copy."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
        # memfds are shared with their offset, which the parent has left at 0.
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
        sys.argv = [module]
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None  # what was chosen by another TMPDIR
        _be_no_controller()
        gc.freeze()  # what was the controller's
        gc.enable()
        importlib.import_module(module).main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, (int, type(None))):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status & 0xFF)


def _be_no_controller() -> None:
    """Forget what makes this process Ansible's controller."""
    # From ansible-core 2.19 on a module's warnings would be shown here, and be missing in its answer.
    internal = sys.modules.get("ansible.module_utils._internal")
    if internal is not None:
        vars(internal)["is_controller"] = False
    # Ansible's own import of collections compiles each file anew; Python's keeps what it has compiled.
    for name in [name for name in sys.modules if name.partition(".")[0] == "ansible_collections"]:
        del sys.modules[name]
    sys.meta_path[:] = [finder for finder in sys.meta_path if not _of_collections(finder)]
    sys.path_hooks[:] = [hook for hook in sys.path_hooks if not _of_collections(getattr(hook, "__self__", None))]
    sys.path_importer_cache.clear()
    sys.path.insert(0, str(COLLECTIONS))


def _of_collections(finder: object) -> bool:
    return type(finder).__module__.startswith("ansible.utils.collection_loader")
