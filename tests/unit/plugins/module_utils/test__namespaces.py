# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._namespaces import suspended

MAIN = 100


def proc(place: Path, *processes: tuple[int, str, int, str]) -> str:
    """Make a /proc of these processes: pid, state, parent, pid namespace."""
    for pid, state, parent, space in processes:
        (place / str(pid) / "ns").mkdir(parents=True)
        (place / str(pid) / "ns" / "pid").symlink_to(space)
        (place / str(pid) / "stat").write_text(f"{pid} (a ) b) {state} {parent} 1 1")
    return str(place)


@pytest.mark.parametrize(
    ("processes", "said"),
    [
        ([(MAIN, "S", 7, "ours")], False),
        ([(MAIN, "T", 7, "ours")], True),
        ([(MAIN, "S", 7, "ours"), (200, "S", MAIN, "ours"), (201, "T", 200, "ours")], True),
        ([(MAIN, "S", 7, "ours"), (200, "T", 7, "ours")], False),
        ([(MAIN, "S", 7, "ours"), (200, "S", 7, "ours"), (201, "T", 200, "ours")], False),
        ([(MAIN, "S", 7, "ours"), (200, "T", 7, "theirs")], False),
        ([(MAIN, "t", 7, "ours")], False),
        ([], None),
    ],
    ids=["it runs", "its main process", "a child of a child", "a process of docker exec", "a child of that one",
         "another container's", "it is traced", "it is gone"],
)  # fmt: skip
def test_what_is_suspended_must_come_from_the_main_process(
    tmp_path: Path, processes: list[tuple[int, str, int, str]], said: bool | None
) -> None:
    assert suspended(MAIN, proc(tmp_path, *processes)) is said
