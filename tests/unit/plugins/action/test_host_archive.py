# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archive of host_archive, made of real files by the module's own code."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.veza.rabbitmq.plugins.action import host_archive
from ansible_collections.veza.rabbitmq.plugins.action.host_archive import pieces_of
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, VezaError
from ansible_collections.veza.rabbitmq.plugins.modules import host_archive as module


class Plugin(host_archive.ActionModule):
    """The plugin, whose module runs here; it sees whether its output may be shown."""

    def __init__(self, check_mode: bool = False, **arguments: Any) -> None:
        self._task = type("Task", (), {"args": arguments, "check_mode": check_mode})
        self._play_context = type("Context", (), {"no_log": False})()
        self.asked = 0

    def _execute_module(self, module_name: Any = None, module_args: Any = None, **_unused: Any) -> dict[str, Any]:
        assert module_name == "veza.rabbitmq.host_archive"
        assert self._play_context.no_log
        self.asked += 1
        defaults = {name: option.get("default") for name, option in module.argument_spec().items()}
        try:
            return module.run({**defaults, **module_args})
        except VezaError as error:
            return {"failed": True, "msg": error.message}


@pytest.fixture(autouse=True)
def bare_action(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_archive.ActionBase, "run", lambda self, tmp, task_vars: {})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(os.urandom(5000))
    (folder / "empty").write_bytes(b"")
    (folder / "sub" / "b").write_bytes(b"b" * 3000)
    (folder / "sub" / "b").chmod(0o600)
    (folder / "link").symlink_to("a")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize("piece", [100, 5000, 1 << 20])
def test_the_archive_has_it_all(data: Path, tmp_path: Path, piece: int) -> None:
    dest = tmp_path / "x.tar.gz"
    plugin = Plugin(paths=[str(data)], dest=str(dest), piece_bytes=piece)
    result = plugin.run(task_vars={})
    assert (result["changed"], result["entries"], result["bytes"], result["size"]) == (
        True,
        6,
        8000,
        dest.stat().st_size,
    )
    assert plugin.asked == 1 + -(-8000 // piece)
    assert not plugin._play_context.no_log
    assert stat.S_IMODE(dest.stat().st_mode) == 0o600
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-C", str(tmp_path / "out"), "-xpzf", str(dest)], check=True)
    back = tmp_path / "out" / str(data).lstrip("/")
    assert (back / "a").read_bytes() == (data / "a").read_bytes()
    assert (back / "sub" / "b").read_bytes() == b"b" * 3000
    assert stat.S_IMODE((back / "sub" / "b").stat().st_mode) == 0o600
    assert ((back / "empty").read_bytes(), os.readlink(back / "link")) == (b"", "a")


def test_check_mode_lists_and_reads_nothing(data: Path, tmp_path: Path) -> None:
    plugin = Plugin(check_mode=True, paths=[str(data)], dest=str(tmp_path / "x"))
    result = plugin.run(task_vars={})
    assert (result["changed"], result["bytes"], plugin.asked) == (True, 8000, 1)
    assert not (tmp_path / "x").exists()


def test_an_archive_that_is_there_stays(data: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("here")
    assert not Plugin(paths=[str(data)], dest=str(tmp_path / "x")).run(task_vars={})["changed"]
    assert (tmp_path / "x").read_text() == "here"


def test_without_room_nothing_is_written(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_archive, "RESERVE", 1 << 60)
    with pytest.raises(AnsibleActionFail, match="no room for 8000 bytes"):
        Plugin(paths=[str(data)], dest=str(tmp_path / "x")).run(task_vars={})
    assert list(tmp_path.iterdir()) == [data]


def test_what_becomes_shorter_is_no_archive(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = Plugin(paths=[str(data)], dest=str(tmp_path / "x"))
    ask = plugin._ask

    def cut(pieces: Any) -> dict[str, Any]:
        if pieces:
            os.truncate(data / "a", 10)
        return ask(pieces)

    monkeypatch.setattr(plugin, "_ask", cut)
    with pytest.raises(AnsibleActionFail, match="has become shorter"):
        plugin.run(task_vars={})
    assert list(tmp_path.iterdir()) == [data]


@pytest.mark.parametrize("change", ["written", "grown", "link"])
def test_what_changes_while_it_is_read_is_no_archive(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    plugin = Plugin(paths=[str(data)], dest=str(tmp_path / "x"))
    ask = plugin._ask

    def changed(pieces: Any) -> dict[str, Any]:
        if pieces and change == "link":
            (data / "a").unlink()
            (data / "a").symlink_to("/etc/passwd")
        elif pieces:
            (data / "a").write_bytes(b"n" * (5000 if change == "written" else 6000))
        return ask(pieces)

    monkeypatch.setattr(plugin, "_ask", changed)
    with pytest.raises(AnsibleActionFail, match="/a (has changed|can't be read)"):
        plugin.run(task_vars={})
    assert list(tmp_path.iterdir()) == [data]


def test_the_archive_goes_through_nobodys_link(data: Path, tmp_path: Path) -> None:
    (tmp_path / "open").write_text("theirs")
    (tmp_path / "x.part").symlink_to(tmp_path / "open")
    Plugin(paths=[str(data)], dest=str(tmp_path / "x")).run(task_vars={})
    assert (tmp_path / "open").read_text() == "theirs"
    assert stat.S_IMODE((tmp_path / "x").lstat().st_mode) == 0o600


def test_what_can_not_be_written_is_said(data: Path, tmp_path: Path) -> None:
    with pytest.raises(AnsibleActionFail, match="none/x can't be written on the controller"):
        Plugin(paths=[str(data)], dest=str(tmp_path / "none/x")).run(task_vars={})
    result = Plugin(paths=[str(data)], dest=str(tmp_path / "x"), piece_bytes=0).run(task_vars={})
    assert "piece_bytes must be at least 1" in result["msg"]


def test_a_path_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = Plugin(paths=[str(tmp_path / "none")], dest=str(tmp_path / "x")).run(task_vars={})
    assert result["failed"]
    assert "none can't be read" in result["msg"]
    with pytest.raises(BadInput, match="absolute"):
        module.run({"paths": ["x"], "pieces": None})


def test_what_was_rotated_away_since_needs_no_copy(data: Path, tmp_path: Path) -> None:
    plugin = Plugin(paths=[str(tmp_path / "gone.log"), str(data / "a")], dest=str(tmp_path / "x.tar.gz"))
    assert plugin.run(task_vars={})["entries"] == 1


def test_a_host_that_is_lost_is_a_failure_that_a_rescue_catches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_unused: Any, **_more: Any) -> None:
        raise AnsibleConnectionFailure("no route")

    monkeypatch.setattr(Plugin, "_execute_module", lost)
    found = Plugin(paths=["/d"], dest=str(tmp_path / "x.tar.gz")).run(task_vars={})
    assert (found["failed"], found["msg"]) == (True, "The host can't be reached: no route")


def test_pieces_go_across_files_and_files_across_pieces() -> None:
    files = [{"path": "a", "size": 5}, {"path": "b", "size": 0}, {"path": "c", "size": 3}]
    pieces = [[(one["path"], one["offset"], one["length"]) for one in piece] for piece in pieces_of(files, 4)]
    assert pieces == [[("a", 0, 4)], [("a", 4, 1), ("c", 0, 3)]]
    assert list(pieces_of([], 4)) == []
