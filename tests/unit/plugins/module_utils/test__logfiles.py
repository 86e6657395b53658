# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._logfiles import opened_back_to, rotated

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
