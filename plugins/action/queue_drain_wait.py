# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs module queue_drain_wait in slices, and shows after each where the queues are.

A module can't show anything before it ends, and ``until`` shows a failure for each retry.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._drain import line, thin

SLICE = 5.0
"""Seconds of a wait without a word."""

MODULE = "veza.rabbitmq.queue_drain_wait"


class ActionModule(ActionBase):
    """Repeats the module until it has finished; the first slice is a single look, so that its line is there at once."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of the last slice, with the samples of all."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        began, seconds = time.monotonic(), 0.0
        samples: list[dict[str, Any]] = []
        told: dict[str, str] = {}
        continued: dict[str, Any] | None = None
        while True:
            arguments = {**self._task.args, "slice": seconds, "continued": continued}
            answer = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
            samples = thin([*samples, *answer.get("samples", [])])
            told = show(answer.get("queues", []), told)
            continued = answer.pop("continued", None)
            if continued is None:
                break
            # The starts of the slices take time too.
            continued["elapsed"] = time.monotonic() - began
            seconds = SLICE
        if samples:
            answer["samples"] = samples
        result.update(answer)
        return result


def show(queues: list[dict[str, Any]], told: dict[str, str]) -> dict[str, str]:
    """Show a line for each queue, but for those that are as drained as the last time; return the lines."""
    lines = {queue["name"]: line(queue) for queue in queues}
    for queue in queues:
        name = queue["name"]
        if not queue["drained"] or told.get(name) != lines[name]:
            Display().display(lines[name])
    return lines
