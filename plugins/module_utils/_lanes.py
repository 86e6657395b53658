# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Generators that run beside one another, because each waits for a server most of the time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def side_by_side(
    lanes: Sequence[Callable[[], Iterator[T]]], failure_of: Callable[[list[BaseException]], BaseException]
) -> Iterator[T]:
    """Yield what the lanes yield, as it comes.

    When one of them fails, or the caller reads no further, the others end after what they are at. What failed is then
    raised as ``failure_of()`` makes it of all failures, the first one first.
    """
    said: queue.Queue[Any] = queue.Queue()
    over = threading.Event()

    def run(lane: Callable[[], Iterator[T]]) -> None:
        failure = None
        try:
            for item in lane():
                said.put((item,))
                if over.is_set():
                    break
        except BaseException as error:  # handed to whoever reads
            failure = error
            over.set()
        said.put(failure)

    threads = [threading.Thread(target=run, args=(lane,), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    failures: list[BaseException] = []
    left = len(lanes)
    try:
        while left:
            word = said.get()
            if isinstance(word, tuple):
                yield word[0]
                continue
            left -= 1
            failures += [word] if word is not None else []
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failure_of(failures)
