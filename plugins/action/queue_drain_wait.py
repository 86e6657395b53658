# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs module queue_drain_wait in slices, and shows after each where the queues are.

A module can't show anything before it ends, and ``until`` shows a failure for each retry. Between two slices it renews
the lease of the incident that this wait is part of.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._drain import line, thin
from .incident import identity

SLICE = 5.0
"""Seconds of a wait without a word."""

RENEW = 20.0
"""Seconds between two renewals of a lease, at least; a run that is told to stop does so within as many."""

MODULE = "veza.rabbitmq.queue_drain_wait"


class ActionModule(ActionBase):
    """Repeats the module until it has finished; the first slice is a single look, so that its line is there at once."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of the last slice, with the samples of all."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        began = renewed = time.monotonic()
        seconds = 0.0
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
            # The starts of the slices take time too, and one that goes on from another wait began with that.
            began = min(began, time.monotonic() - continued["elapsed"])
            continued["elapsed"] = time.monotonic() - began
            seconds = SLICE
            if time.monotonic() - renewed >= RENEW:
                renewed = time.monotonic()
                refusal = self._refusal(task_vars or {})
                if refusal:
                    answer.update(refusal)
                    break
        if samples:
            answer["samples"] = samples
        result.update(answer)
        return result

    def _refusal(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Renew the lease; return the failure that this wait ends with if it is not ours any more, else nothing."""
        lease = self._task.args.get("lease")
        if not lease or self._task.check_mode:
            return {}
        arguments = {**lease, "lease": "checked", "holder": identity(task_vars)}
        answer = self._execute_module(module_name="veza.rabbitmq.incident", module_args=arguments, task_vars=task_vars)
        if answer.get("refused"):
            return {"failed": True, "msg": answer["msg"], "refused": answer["refused"]}
        if answer.get("failed"):
            # Such as a busy disk. The lease is good for some time yet; when that is over, whoever acts finds out.
            Display().warning(f"The lease could not be renewed: {answer.get('msg')}")
        return {}


def show(queues: list[dict[str, Any]], told: dict[str, str]) -> dict[str, str]:
    """Show a line for each queue, but for those that are as drained as the last time; return the lines."""
    lines = {queue["name"]: line(queue) for queue in queues}
    for queue in queues:
        name = queue["name"]
        if not queue["drained"] or told.get(name) != lines[name]:
            Display().display(lines[name])
    return lines
