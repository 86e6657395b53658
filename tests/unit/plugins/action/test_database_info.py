# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that runs on the controller as it lies there: when that is so, and that it makes no difference."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils import basic

from ansible_collections.veza.rabbitmq.plugins.action import database_info
from ansible_collections.veza.rabbitmq.plugins.plugin_utils import _here

ROOT = Path(__file__).resolve().parents[4]
SECRET = "pl4nted-secret"
TASK: dict[str, Any] = {
    "veza.rabbitmq.database_info": {"database_url": f"postgresql://u:{SECRET}@127.0.0.1:1/x", "timeout": "2"},
    "register": "found",
    "failed_when": False,
}
SHOW = {"ansible.builtin.debug": {"var": "found.msg | default(found.reason)"}}


def played(where: Path, *tasks: dict[str, Any], flags: tuple[str, ...] = ()) -> str:
    """Run tasks on localhost with the ansible-core of these tests."""
    book = where / "book.json"
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}]))
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), str(book), *flags],
        cwd=where,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_HOME": str(where),
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert SECRET not in ended.stdout + ended.stderr
    return ended.stdout


class Action:
    """What a start takes of an action; the task's environment is ``given``."""

    def __init__(self, **given: Any) -> None:
        self.given = given

    def _update_module_args(self, *_unused: Any) -> None:
        pass

    def _compute_environment_string(self, raw: dict[str, Any]) -> str:
        raw.update(self.given)
        return ""


def test_the_environment_of_the_task_reaches_it(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text('#!/bin/sh\ncat >/dev/null\nprintf \'{"tmp": "%s", "path": "%s"}\' "$TMPDIR" "$PYTHONPATH"\n')
    script.chmod(0o755)
    action: Any = Action(TMPDIR="/dev/shm", PYTHONPATH="/theirs")
    found = _here.started(action, str(script), "veza.rabbitmq.database_info", {}, {})
    assert found == {"tmp": "/dev/shm", "path": f"{_here.COLLECTIONS}{os.pathsep}/theirs"}


FOREIGN = f'[ "$1" != -c ] || exit {_here.FOREIGN}'


@pytest.mark.parametrize(("python", "packed"), [(None, False), ("", False), (FOREIGN, True)])
def test_it_answers_as_if_it_had_been_packed(python: str | None, packed: bool, tmp_path: Path) -> None:
    task = dict(TASK)
    if python is not None:
        script = tmp_path / "python"
        script.write_text(f'#!/bin/sh\n{python}\nexec {sys.executable} "$@"\n')
        script.chmod(0o755)
        task["vars"] = {"ansible_python_interpreter": str(script)}
    said = played(tmp_path, task, flags=("-vvv",))
    assert ("EXEC" in said) == packed
    assert "PostgreSQL at 127.0.0.1:1, database x: no connection" in said


def told() -> None:
    """Be a module that tells what it was given."""
    given = {"stdin": json.load(sys.stdin), "tmp": tempfile.gettempdir(), "own": os.environ["OWN"]}
    print(json.dumps({**given, "path": "PATH" in os.environ, "argv": sys.argv}))
    sys.exit(0)


def silent() -> None:
    """Be a module that is killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def broken() -> None:
    """Be a module that has an error in it."""
    raise ZeroDivisionError


def warned() -> None:
    """Be a module that warns."""
    module = basic.AnsibleModule(argument_spec={})
    module.warn("mind the gap")
    module.exit_json(changed=False)


def copied(monkeypatch: pytest.MonkeyPatch, main: Callable[[], None], given: str = "{}") -> _here.Ended:
    """Run a module's ``main`` in a copy of this process."""
    monkeypatch.setitem(sys.modules, "the.module", ModuleType("the.module"))
    monkeypatch.setattr(sys.modules["the.module"], "main", main, raising=False)
    ended = _here.copied("", "the.module", given, {"OWN": "yes", "TMPDIR": "/dev/shm"})
    assert ended is not None
    return ended


def test_a_copy_has_the_arguments_and_the_environment_of_the_task_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ), list(sys.argv), tempfile.gettempdir()
    long = "x" * 300_000  # longer than any pipe holds
    ended = copied(monkeypatch, told, json.dumps(long))
    given = {"stdin": long, "tmp": "/dev/shm", "own": "yes", "path": False, "argv": ["the.module"]}
    assert (ended.status, json.loads(ended.stdout), ended.stderr) == (0, given, "")
    assert (dict(os.environ), sys.argv, tempfile.gettempdir()) == before


@pytest.mark.parametrize(("main", "status", "why"), [(silent, -signal.SIGKILL, ""), (broken, 1, "ZeroDivisionError")])
def test_a_copy_that_breaks_off(
    main: Callable[[], None], status: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = copied(monkeypatch, main)
    assert (ended.status, ended.stdout) == (status, "")
    assert why in ended.stderr


def collecting() -> None:
    print(gc.isenabled(), gc.get_freeze_count() > 0)


def test_garbage_waits_for_the_packing_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_unused: Any) -> dict[str, Any]:
        return {"here": gc.isenabled(), "module": copied(monkeypatch, collecting).stdout}

    asked: Any = SimpleNamespace(_answer=answer)
    # A module may last, and must collect its own.
    assert _here.Here.ask(asked, {}, {}) == {"here": False, "module": "True True\n"}
    assert gc.isenabled()


def undecodable() -> None:
    """Be a module whose error has a file's name that is no UTF-8."""
    raise ValueError("this \udcff is why")


def worded() -> None:
    """Be a module that ends with a text."""
    sys.exit("this is why")


def careful() -> None:
    """Be a module that is interrupted, and tidies up."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
    finally:
        print("tidied up", flush=True)


@pytest.mark.parametrize(
    ("main", "said"), [(undecodable, "this \\udcff is why"), (worded, "this is why"), (careful, "KeyboardInterrupt")]
)
def test_why_a_copy_breaks_off_is_told(main: Callable[[], None], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = copied(monkeypatch, main)
    assert (ended.status, ended.stdout) == (1, "tidied up\n" if main is careful else "")
    assert said in ended.stderr


def lasting() -> None:
    """Be a module that takes long."""
    time.sleep(30)


def test_a_copy_ends_with_the_time_limit_of_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    class TimeUp(BaseException):
        """As ansible-core's: no Exception."""

    def up(*_unused: Any) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, up)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(TimeUp):
            copied(monkeypatch, lasting)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize(
    ("name", "will_do"),
    [("TMPDIR", True), ("PYTHONPATH", False), ("OPENSSL_CONF", False), ("TZ", False), ("LD_LIBRARY_PATH", False)],
)
def test_what_a_program_reads_at_its_start_needs_one(name: str, will_do: bool) -> None:
    assert _here.can_copy({name: "x"}) is will_do


def test_without_files_in_memory_it_is_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_name: str) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", refused)
    assert _here.copied("/nowhere/python", "the.module", "{}", {}) is None
    monkeypatch.delattr(os, "memfd_create")
    assert not _here.can_copy({})


def test_a_copy_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.listdir("/proc/self/fd")
    copied(monkeypatch, broken)
    assert os.listdir("/proc/self/fd") == before


def test_what_a_module_warns_of_is_in_its_answer_though_ansible_is_there(tmp_path: Path) -> None:
    code = (
        "import ansible.plugins.action, tests.unit.plugins.action.test_database_info as it, sys\n"
        "sys.modules['the.module'] = it; it.main = it.warned\n"
        "print(it._here.copied('', 'the.module', '{\"ANSIBLE_MODULE_ARGS\": {}}', dict(it.os.environ)).stdout)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / '.collections'}", "ANSIBLE_HOME": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    assert "mind the gap" in str(json.loads(ended.stdout)["warnings"])


def test_what_is_wrong_with_its_options_is_said_as_ever(tmp_path: Path) -> None:
    wrong = {**TASK, "veza.rabbitmq.database_info": {"database_url": SECRET, "timeout": "soon"}}
    assert "unable to convert to float" in played(tmp_path, wrong, SHOW)
    assert "Unsupported parameters" in played(
        tmp_path, {**TASK, "veza.rabbitmq.database_info": {"database_url": SECRET, "port": 1}}, SHOW
    )


@pytest.mark.parametrize(
    ("changes", "variables", "python"),
    [
        ({}, {"ansible_python_interpreter": "/p"}, "/p"),
        ({}, {}, None),
        ({"transport": "ssh"}, {"ansible_python_interpreter": "/p"}, None),
        ({"become": object()}, {"ansible_python_interpreter": "/p"}, None),
        ({"async_val": 5}, {"ansible_python_interpreter": "/p"}, None),
        ({"delegate_to": "h"}, {"ansible_python_interpreter": "/p"}, None),
        (
            {"delegate_to": "h"},
            {"ansible_python_interpreter": "/p", "ansible_delegated_vars": {"h": {"ansible_python_interpreter": "/q"}}},
            "/q",
        ),
    ],
)
def test_when_it_runs_here(changes: dict[str, Any], variables: dict[str, Any], python: str | None) -> None:
    given = {"transport": "local", "become": None, "async_val": 0, "delegate_to": None, **changes}
    seen = SimpleNamespace(**given)
    action: Any = SimpleNamespace(_task=seen, _connection=seen, _templar=SimpleNamespace(template=str))
    assert _here.python_here(action, variables) == python


@pytest.mark.parametrize("host", [None, "incidents.lxd"])
def test_a_host_that_is_delegated_to_and_away_is_a_failure_that_can_be_rescued(
    host: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**_unused: Any) -> dict[str, Any]:
        raise AnsibleConnectionFailure("no route")

    plugin = database_info.ActionModule.__new__(database_info.ActionModule)
    monkeypatch.setattr(plugin, "_task", SimpleNamespace(delegate_to=host), raising=False)
    monkeypatch.setattr(plugin, "_connection", SimpleNamespace(transport="ssh"), raising=False)
    monkeypatch.setattr(plugin, "_execute_module", away, raising=False)
    if host is None:
        with pytest.raises(AnsibleConnectionFailure):
            plugin.ask({}, {})
    else:
        assert plugin.ask({}, {}) == {"failed": True, "msg": "The host incidents.lxd can't be reached: no route"}


@pytest.mark.parametrize("python", ["auto", "/usr/bin/false-python", "an old one", "one without ansible-core"])
def test_another_python_is_left_to_ansible(python: str, tmp_path: Path) -> None:
    script = tmp_path / "python"
    status = {"an old one": _here.FOREIGN, "one without ansible-core": _here.FOREIGN}.get(python)
    if status:
        script.write_text(f"#!/bin/sh\nexit {status}\n")
        script.chmod(0o755)
        python = str(script)
    action: Any = Action()
    assert _here.started(action, python, "veza.rabbitmq.database_info", {}, {}) is None


def test_a_module_that_breaks_off_is_a_failure(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\ncat >/dev/null\necho no JSON\necho why >&2\nexit 3\n")
    script.chmod(0o755)
    action: Any = Action()
    found = _here.started(action, str(script), "veza.rabbitmq.database_info", {}, {})
    assert found == {"failed": True, "msg": "veza.rabbitmq.database_info ended with 3.", "module_stderr": "why\n"}


@pytest.mark.parametrize(("version", "status"), [(_here.__version__, 0), ("2.9.27", _here.FOREIGN)])
def test_only_the_same_ansible_core_will_do(version: str, status: int) -> None:
    ended = subprocess.run([sys.executable, "-c", _here.START, version, "this"], capture_output=True, check=False)
    assert ended.returncode == status
