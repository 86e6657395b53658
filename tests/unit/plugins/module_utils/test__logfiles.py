# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _logfiles
from ansible_collections.veza.rabbitmq.plugins.module_utils._files import NoRegularFile
from ansible_collections.veza.rabbitmq.plugins.module_utils._logfiles import (
    MAX_LINE,
    lines_until,
    opened_back_to,
    rotated,
)

START = datetime(2026, 11, 23, 20, 15, tzinfo=UTC)


def write(place: Path, *names: str) -> str:
    """Write logs of an hour each, the newest first, of times that tell nothing."""
    for hour, name in enumerate(names):
        data = b'{"ts": "2026-11-23T%02d:00:00Z"}\n' % (21 - hour)
        (place / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        os.utime(place / name, (1000 + hour, 1000 + hour))
    return str(place / names[0])


@pytest.mark.parametrize(
    "names",
    [
        ["api.log", "api.log.1", "api.log.2.gz", "api.log.10.gz"],
        ["api.log", "api.log-20261123", "api.log-20261122.gz"],
        ["api.log", "api-2026-11-23T20-15-01.000.log", "api-2026-11-22T20-15-01.000.log.gz"],
    ],
)
def test_the_names_of_rotated_files_tell_their_order(tmp_path: Path, names: list[str]) -> None:
    path = write(tmp_path, *names, "api.log.old", "api.logs")
    assert [os.path.basename(older) for older in rotated(path)] == names[1:]


@pytest.mark.parametrize(
    ("names", "read", "problem"),
    [
        (["api.log", "api.log.1", "api.log.2.gz"], 2, ""),
        (["api.log", "api.log.0", "api.log.1"], 2, ""),
        (["api.log", "api.log.2.gz"], 1, "api.log.1 is missing"),
        (
            ["api.log", "api.log.1.zst", "api.log.2.gz"],
            1,
            "api.log.1.zst is compressed in a form that is not read here",
        ),
        (["api.log", "api.log-20261123.xz"], 1, "api.log-20261123.xz is compressed in a form that is not read here"),
    ],
)
def test_what_lies_between_the_log_and_its_predecessors_is_not_taken_for_silence(
    tmp_path: Path, names: list[str], read: int, problem: str
) -> None:
    with opened_back_to(write(tmp_path, *names), START) as (files, problems):
        assert len(files) == read
        assert [text.removeprefix(f"{tmp_path}/") for text in problems] == ([problem] if problem else [])


@pytest.mark.parametrize("name", ["api.log", "api.log.gz"])
def test_a_named_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(NoRegularFile), opened_back_to(str(tmp_path / name), START):
        pass


@pytest.mark.parametrize("name", ["api.log.1", "api.log.1.gz"])
def test_a_predecessor_that_is_a_named_pipe_is_said(tmp_path: Path, name: str) -> None:
    path = tmp_path / "api.log"
    path.write_bytes(b"")
    os.mkfifo(tmp_path / name)
    with opened_back_to(str(path), START) as (files, problems):
        assert (len(files), problems) == (1, [f"{tmp_path}/{name} can't be read (NoRegularFile)"])


def test_a_files_first_instant_is_searched_for_in_its_beginning_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []

    def without_instant(line: bytes) -> tuple[None, None]:
        looked_at.append(len(line))
        return None, None

    monkeypatch.setattr(_logfiles, "parse_line", without_instant)
    path = tmp_path / "api.log"
    path.write_bytes(b"")
    os.truncate(path, 100 * MAX_LINE)  # one line of zeros, which takes no room on the disk
    with opened_back_to(str(path), START) as (files, _problems):
        assert files[0].tell() == 0
    assert sum(looked_at) <= _logfiles.PEEK_BYTES + MAX_LINE


def test_the_lines_of_a_pipe() -> None:
    told = b"one\n\ntwo\n" + b"x" * (MAX_LINE + 70_000) + b"\nend"
    ours, theirs = os.pipe()

    def write_all() -> None:
        with os.fdopen(theirs, "wb") as pipe:
            pipe.write(told)

    writer = threading.Thread(target=write_all)
    writer.start()
    with os.fdopen(ours, "rb") as pipe:
        lines = list(lines_until(time.monotonic() + 60, pipe))
    writer.join()
    assert (lines[:3], lines[-1], b"".join(lines)) == ([b"one\n", b"\n", b"two\n"], b"end", told)
    assert max(map(len, lines)) < 2 * MAX_LINE


def test_a_pipe_that_stays_open_is_left_at_the_deadline() -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"one\ntw")
    with os.fdopen(theirs, "wb"), os.fdopen(ours, "rb") as pipe:
        lines = lines_until(time.monotonic() + 0.3, pipe)
        assert next(lines) == b"one\n"
        with pytest.raises(TimeoutError):
            next(lines)
