# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A long wait that says what it waits for.

A module can't show anything before it ends. So the wait is cut into slices, with a line after each.
"""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.veza.rabbitmq.plugins.module_utils._deadline import LONGEST
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._here import Here
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._progress import tell

SLICE = 5.0
"""Seconds of a wait without a word."""


LASTS = 10.0
"""Seconds after which an answer that no waiting mends is believed."""


class PatientAction(Here):
    """Runs a module that has O(wait_timeout), slice by slice."""

    # What a subclass says beside its module: a key that only a finished look returns, and the key of the reason.
    answered: str
    reason: str
    # Values of that key that no waiting mends.
    lasting: tuple[str, ...] = ()

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of the last slice; ``elapsed`` is that of the whole wait."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        began = time.monotonic()
        total = self._seconds(self._task.args.get("wait_timeout", 0))
        said, since = None, began
        while True:
            waited = time.monotonic() - began
            answer = self._look(total, waited, task_vars)
            waited = time.monotonic() - began
            # Bad options and a host that can't be reached don't change by waiting.
            if not answer.get("failed") or self.answered not in answer or waited >= total:
                break
            if answer[self.answered] != said:
                said, since = answer[self.answered], time.monotonic()
            if said in self.lasting and time.monotonic() - since >= LASTS:
                lasted = time.monotonic() - since
                answer["msg"] = f"Waiting won't mend this, which has been so for {lasted:.0f} s: {answer[self.reason]}"
                break
            tell(f"condition not met yet, {waited:.0f} s of {total:.0f} s: {answer[self.reason]}")
        if total and "elapsed" in answer:
            answer["elapsed"] = round(waited, 3)
        result.update(answer)
        return result

    def _look(self, total: float, waited: float, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        arguments = dict(self._task.args)
        if total:
            arguments["wait_timeout"] = max(0.1, min(SLICE, total - waited))
        return self.ask(arguments, task_vars)

    @staticmethod
    def _seconds(value: Any) -> float:
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            seconds = -1.0
        return seconds if 0.0 <= seconds <= LONGEST else 0.0  # the module says what is wrong with it
