# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that runs on the controller as it lies there: when that is so, and that it makes no difference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

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


def test_it_runs_without_a_copy_and_answers_as_with_one(tmp_path: Path) -> None:
    here = played(tmp_path, TASK, flags=("-vvv",))
    foreign = tmp_path / "python"
    foreign.write_text(f'#!/bin/sh\n[ "$1" != -c ] || exit {_here.FOREIGN}\nexec {sys.executable} "$@"\n')
    foreign.chmod(0o755)
    packed = played(tmp_path, {**TASK, "vars": {"ansible_python_interpreter": str(foreign)}}, flags=("-vvv",))
    assert ("EXEC" in here, "EXEC" in packed) == (False, True)
    assert all("PostgreSQL at 127.0.0.1:1, database x: no connection" in text for text in (here, packed))


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
