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


class Allowance:
    """So many of something for all lanes together: each takes some, and gives back what it did not need."""

    def __init__(self, number: int) -> None:
        self._left = number
        self._out = 0
        self._changed = threading.Condition()

    def take(self, most: int) -> int:
        """Return how many may be used, at most ``most``; 0 when none is left, and nobody can give any back."""
        with self._changed:
            while not self._left and self._out:
                self._changed.wait()
            taken = min(most, self._left)
            self._left -= taken
            self._out += bool(taken)
            return taken

    def settle(self, taken: int, used: int) -> None:
        """Say how many of what was taken were used."""
        with self._changed:
            self._left += taken - used
            self._out -= 1
            self._changed.notify_all()


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
