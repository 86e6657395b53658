# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a program ended, whatever happens to it."""

from __future__ import annotations

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._command import Ended, run


def test_what_it_printed_and_its_code() -> None:
    assert run(["sh", "-c", "printf out; printf err >&2; exit 3"], 10.0) == Ended(3, "out", "err")


def test_no_input_and_the_c_locale() -> None:
    assert run(["sh", "-c", "cat; printf $LC_ALL"], 10.0).out == "C"


def test_it_is_stopped_in_time() -> None:
    ended = run(["sleep", "30"], 0.2)
    assert (ended.code, ended.failure()) == (None, "did not end within 0.2 s")


@pytest.mark.parametrize(
    ("argv", "failure", "absent"),
    [
        (["/no/such/program"], "can't be run: No such file or directory", True),
        (["/etc"], "can't be run: Permission denied", False),
        (["sh\0"], "can't be run: embedded null byte", False),
    ],
)
def test_what_can_not_be_run(argv: list[str], failure: str, absent: bool) -> None:
    ended = run(argv, 10.0)
    assert (ended.code, ended.failure(), ended.absent) == (None, failure, absent)


def test_bytes_that_are_no_text() -> None:
    assert run(["printf", r"\377"], 10.0).out == "\N{REPLACEMENT CHARACTER}"


def test_a_failure_in_one_line() -> None:
    assert run(["sh", "-c", "printf 'a\\n b\\n' >&2; exit 1"], 10.0).failure() == "ended with exit code 1: a b"
