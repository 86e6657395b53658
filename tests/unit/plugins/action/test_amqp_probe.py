# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A wait in slices, of which each takes as long as it was given; the clock goes by nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.action import amqp_probe
from ansible_collections.veza.rabbitmq.plugins.plugin_utils import _patient


class Plugin(amqp_probe.ActionModule):
    """The plugin before a broker whose outcomes come one after the other; the last one stays."""

    def __init__(self, *outcomes: str, wait: float = 300.0) -> None:
        self._task = type("Task", (), {"args": {"wait_timeout": wait}})
        self._connection = type("Connection", (), {"transport": "ssh"})
        self.outcomes = list(outcomes)
        self.now = 50.0

    def _execute_module(self, module_args: Any = None, **_unused: Any) -> dict[str, Any]:
        self.now += float(module_args["wait_timeout"])
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        return {"outcome": outcome, "failed": outcome != "ok", "message": f"It is {outcome}.", "elapsed": 5.0}


def ran(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(_patient.Here, "run", lambda self, tmp, task_vars: {})
    monkeypatch.setattr(_patient, "tell", lambda line: None)
    monkeypatch.setattr(_patient.time, "monotonic", lambda: plugin.now)
    return plugin.run()


def test_it_waits_until_it_is_so(monkeypatch: pytest.MonkeyPatch) -> None:
    result = ran(Plugin("refused", "refused", "refused", "ok"), monkeypatch)
    assert (result["outcome"], result["failed"], result["elapsed"]) == ("ok", False, 20.0)


def test_what_no_waiting_mends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    result = ran(Plugin("refused", "login_refused"), monkeypatch)
    assert result["failed"]
    assert result["elapsed"] == 20.0
    assert result["msg"] == "Waiting won't mend this, which has been so for 10 s: It is login_refused."


def test_one_that_changes_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    changing = ("login_refused", "login_refused", "refused", "login_refused", "login_refused", "ok")
    assert ran(Plugin(*changing), monkeypatch)["outcome"] == "ok"
    assert ran(Plugin("refused", wait=60.0), monkeypatch)["elapsed"] == 60.0
