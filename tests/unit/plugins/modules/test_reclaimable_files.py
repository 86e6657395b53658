# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._reclaim import Open, listed
from ansible_collections.veza.rabbitmq.plugins.modules import reclaimable_files

NOBODY = Open({}, seen=True)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "erl_crash.dump"
    path.write_bytes(b"x" * 9000)
    return path


@pytest.fixture
def files(dump: Path) -> list[dict[str, Any]]:
    return listed(str(dump.parent), str(dump.parent), [], 0, NOBODY, "/none")["files"]


def test_check_mode_and_the_real_run_and_a_second_one(
    dump: Path, files: list[dict[str, Any]], params_of: Callable[..., dict[str, Any]]
) -> None:
    params = params_of(reclaimable_files.argument_spec(), files=files)
    predicted = reclaimable_files.run(params, True, lambda: NOBODY)
    assert dump.exists()
    done = reclaimable_files.run(params, False, lambda: NOBODY)
    assert done == predicted
    assert (done["changed"], done["freed"], dump.exists()) == (True, files[0]["bytes"], False)
    again = reclaimable_files.run(params, False, lambda: NOBODY)
    assert (again["changed"], again["freed"], again["kept"]) == (False, 0, [])


def test_main_leaves_alone_what_is_open(dump: Path, files: list[dict[str, Any]], run_main: Callable[..., Any]) -> None:
    with open(dump, "rb"):
        outcome = run_main(reclaimable_files, files=files)
    assert not outcome.failed
    assert (outcome.result["changed"], dump.exists()) == (False, True)
    assert f"({os.getpid()})" in outcome.result["kept"][0]["why"]


def test_main_refuses_what_was_not_listed(run_main: Callable[..., Any]) -> None:
    outcome = run_main(reclaimable_files, files=[{"path": "/etc/passwd", "kind": "crash_dump"}])
    assert outcome.failed
    assert "missing required arguments" in outcome.result["msg"]
