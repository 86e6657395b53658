# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A deadline for calls that know none, such as name resolution."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Any, Generic, TypeVar

from ._errors import BadInput

LONGEST = 366 * 86400.0
"""Seconds that an option may say at the most: more is a mistake, and some times can't be counted so far."""

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


class Worker:
    """A daemon thread for many calls, each with a deadline; to start one for each takes longer than a short call.

    One whose call has run out of its time is left alone: there has to be another for what comes after.
    """

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            future, call = asked
            try:
                future.set_result(call())
            except BaseException as error:  # handed to the waiting thread
                future.set_exception(error)

    def within(self, seconds: float, call: Callable[[], T], on_timeout: Callable[[], Exception]) -> T:
        """Make a call, as within() does."""
        future: Future[T] = Future()
        self._asked.put((future, call))
        if not wait([future], seconds).done:
            raise on_timeout()
        return future.result()

    def end(self) -> None:
        """End the thread as soon as it has made the calls that were asked for."""
        self._asked.put(None)


def share(params: dict[str, Any], waited: float = 0.0) -> float:
    """Return the seconds that one try may take: of a wait what is left, but enough to be worth something."""
    timeout, wait = params["timeout"], params["wait_timeout"]
    return float(min(timeout, max(wait - waited, 1.0)) if wait else timeout)


def duration_problems(params: dict[str, Any], above_0: Sequence[str], from_0: Sequence[str] = ()) -> list[str]:
    """Return what is wrong with options that are seconds: infinite and "not a number" are no durations either."""
    found = [f"{name}: must be above 0" for name in above_0 if not params[name] > 0]
    found += [f"{name}: must not be negative" for name in from_0 if not params[name] >= 0]
    found += [f"{name}: must be at most {LONGEST:.0f} s" for name in (*above_0, *from_0) if params[name] > LONGEST]
    return found


def check_durations(params: dict[str, Any], above_0: Sequence[str], from_0: Sequence[str] = ()) -> None:
    """Raise BadInput with all that is wrong with options that are seconds."""
    if found := duration_problems(params, above_0, from_0):
        raise BadInput("; ".join(found) + ".")
