# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._deadline import (
    LONGEST,
    Worker,
    check_durations,
    duration_problems,
)
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput


@pytest.mark.parametrize(
    ("timeout", "wait", "said"),
    [
        (1.0, 0.0, []),
        (LONGEST, LONGEST, []),
        (0.0, -1.0, ["timeout: must be above 0", "wait: must not be negative"]),
        (float("nan"), float("nan"), ["timeout: must be above 0", "wait: must not be negative"]),
        (float("inf"), 1e18, [f"{name}: must be at most 31622400 s" for name in ("timeout", "wait")]),
    ],
)
def test_what_is_no_duration_is_refused(timeout: float, wait: float, said: list[str]) -> None:
    params = {"timeout": timeout, "wait": wait}
    assert duration_problems(params, ["timeout"], ["wait"]) == said
    if said:
        with pytest.raises(BadInput, match=said[-1]):
            check_durations(params, ["timeout"], ["wait"])


def test_one_thread_makes_many_calls_and_hands_on_what_they_raise() -> None:
    worker = Worker()
    threads = {worker.within(5.0, threading.get_ident, RuntimeError) for _call in range(3)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    with pytest.raises(ZeroDivisionError):
        worker.within(5.0, lambda: 1 // 0, RuntimeError)
    assert worker.within(5.0, lambda: 7, RuntimeError) == 7
    worker.end()


def test_a_call_that_takes_too_long_is_left_alone() -> None:
    hung, ended = threading.Event(), threading.Event()

    def call() -> None:
        hung.wait(30)
        ended.set()

    worker = Worker()
    with pytest.raises(RuntimeError, match="late"):
        worker.within(0.01, call, lambda: RuntimeError("late"))
    worker.end()
    assert not ended.is_set()
    hung.set()
    assert ended.wait(30)
