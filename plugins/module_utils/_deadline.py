# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A deadline for calls that know none, such as name resolution."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Later(Generic[T]):
    """A call that runs beside the caller, in a daemon thread that may be left alone."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._result: list[T] = []
        self._failure: list[BaseException] = []
        self._thread = threading.Thread(target=self._work, args=(call,), daemon=True)
        self._thread.start()

    def _work(self, call: Callable[[], T]) -> None:
        try:
            self._result.append(call())
        except BaseException as error:  # handed to the waiting thread
            self._failure.append(error)

    def done(self, seconds: float) -> bool:
        """Wait at most so long, and return whether it has ended."""
        self._thread.join(max(seconds, 0.0))
        return not self._thread.is_alive()

    def result(self) -> T:
        """Wait until it ends; return its result or raise its error."""
        self._thread.join()
        if self._failure:
            raise self._failure[0]
        return self._result[0]


def within(seconds: float, call: Callable[[], T], on_timeout: Callable[[], Exception]) -> T:
    """Run ``call`` and return its result; raise ``on_timeout()`` when it takes longer than ``seconds``."""
    later = Later(call)
    if not later.done(seconds):
        raise on_timeout()
    return later.result()


def share(timeout: float, left: float) -> float:
    """Return the seconds that one try of a wait may take: what is left of it, but enough to be worth something."""
    return min(timeout, max(left, 1.0))
