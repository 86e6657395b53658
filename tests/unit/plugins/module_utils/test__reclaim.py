# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may go of a disk, on real files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _reclaim
from ansible_collections.veza.rabbitmq.plugins.module_utils._reclaim import Open, listed, open_files, remove

NOBODY = Open({}, seen=True)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    for name in ("data", "log", "journal/id"):
        (tmp_path / name).mkdir(parents=True)
    for name in (
        "data/erl_crash.dump", "data/queue.dat", "log/rabbit@a.log", "log/rabbit@a.log.1", "log/rabbit@a.log.2.gz",
        "log/other.log.1", "log/erl_crash.dump", "log/rabbit@a.log.bak",
    ):  # fmt: skip
        (tmp_path / name).write_bytes(b"x" * 5000)
    for number, name in enumerate(("system@1.journal", "system@2.journal", "user-1@3.journal~", "system.journal")):
        path = tmp_path / "journal/id" / name
        path.write_bytes(b"x" * 8192)
        os.utime(path, (1000 + number, 1000 + number))
    return tmp_path


def look(disk: Path, opened: Open = NOBODY, keep: int = 20000) -> dict[str, list[dict[str, Any]]]:
    logs = [f"{disk}/log/rabbit@*.log", f"{disk}/log/rabbit@*.log.1"]
    return listed(str(disk), str(disk / "data"), logs, keep, opened, str(disk / "journal"))


def names(entries: list[dict[str, Any]]) -> list[str]:
    return sorted(f"{entry['kind']} {Path(entry['path']).name}" for entry in entries)


def test_dumps_rotated_logs_and_surplus_journal_may_go(disk: Path) -> None:
    assert names(look(disk)["files"]) == [
        "crash_dump erl_crash.dump", "crash_dump erl_crash.dump", "journal system@1.journal",
        "journal system@2.journal", "rotated_log rabbit@a.log.1", "rotated_log rabbit@a.log.2.gz",
    ]  # fmt: skip


def test_a_journal_below_its_limit_stays(disk: Path) -> None:
    assert not [entry for entry in look(disk, keep=1 << 30)["files"] if entry["kind"] == "journal"]


def test_the_journal_that_is_written_to_stays_whatever_the_limit(disk: Path) -> None:
    assert "journal system.journal" not in names(look(disk, keep=0)["files"])


def test_an_open_file_frees_nothing(disk: Path) -> None:
    with open(disk / "log/rabbit@a.log.1", "ab"):
        found = look(disk, open_files())
    assert "rotated_log rabbit@a.log.1" not in names(found["files"])
    (kept,) = [entry for entry in found["kept"] if entry["path"].endswith("a.log.1")]
    assert kept["why"].startswith(f"open by {Path('/proc/self/comm').read_text().strip()} ({os.getpid()})")


def test_a_file_with_another_name_frees_nothing(disk: Path) -> None:
    os.link(disk / "data/erl_crash.dump", disk / "data/copy")
    (kept,) = look(disk)["kept"]
    assert kept["why"] == "it has 2 names: removing one would free nothing"


def test_who_may_not_see_every_process_removes_nothing(disk: Path) -> None:
    found = look(disk, Open({}, seen=False))
    assert found["files"] == []
    assert {entry["why"] for entry in found["kept"]} == {"whether it is open can't be seen by this user"}


def test_another_file_system_is_left_alone(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _reclaim._entry
    monkeypatch.setattr(_reclaim, "_entry", lambda kind, path: {**(real(kind, path) or {}), "device": -1})
    assert look(disk) == {"files": [], "kept": []}


def test_a_directory_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    assert listed(str(tmp_path / "none"), "/none", [], 0, NOBODY) == {"files": [], "kept": []}


@pytest.mark.parametrize("check_mode", [True, False])
def test_what_was_listed_goes_and_nothing_else(disk: Path, check_mode: bool) -> None:
    entries = look(disk)["files"]
    done = remove(entries, NOBODY, check_mode)
    assert names(done["removed"]) == names(entries)
    assert done["kept"] == []
    assert all(os.path.exists(entry["path"]) is check_mode for entry in entries)
    assert (disk / "data/queue.dat").exists()
    assert remove(entries, NOBODY, False)["removed"] == ([] if not check_mode else done["removed"])


def test_what_has_changed_since_stays(disk: Path) -> None:
    entries = look(disk)["files"]
    dump = disk / "data/erl_crash.dump"
    dump.write_bytes(b"another")
    done = remove(entries, NOBODY, False)
    assert dump.exists()
    assert [entry["why"] for entry in done["kept"]] == ["it has changed since it was listed"]


def test_what_was_opened_since_stays(disk: Path) -> None:
    entries = look(disk)["files"]
    first = entries[0]
    done = remove(entries, Open({(first["device"], first["inode"]): "beam (7)"}, True), False)
    assert [entry["why"] for entry in done["kept"]] == ["open by beam (7): removing it would free nothing"]
    assert os.path.exists(first["path"])


def test_a_link_is_no_file(disk: Path) -> None:
    entry = next(entry for entry in look(disk)["files"] if entry["path"].endswith("data/erl_crash.dump"))
    os.unlink(entry["path"])
    os.symlink(disk / "data/queue.dat", entry["path"])
    assert remove([entry], NOBODY, False) == {"removed": [], "kept": []}
    assert (disk / "data/queue.dat").read_bytes()


@pytest.mark.parametrize("kind", ["link", "rotated"])
def test_what_takes_a_files_place_at_the_last_moment_stays(disk: Path, kind: str) -> None:
    (disk / "precious").write_text("precious")
    listed_ = [entry for entry in look(disk)["files"] if entry["path"].endswith("log.1")]
    path = Path(listed_[0]["path"])

    class Late(dict[Any, str]):
        """Has the file replaced when it has just been looked at."""

        def get(self, *_unused: Any) -> None:
            path.rename(disk / "log/rotated")
            if kind == "link":
                path.symlink_to(disk / "precious")
            else:
                path.write_text("precious")

    done = remove(listed_, Open(Late(), seen=True), check_mode=False)
    assert (done["removed"], len(done["kept"])) == ([], 1)
    assert path.read_text() == "precious"
    assert (disk / "log/rotated").stat().st_size == 5000
