# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What outage_tell hands back: the lines when all is well, and what failed when it isn't."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.action import outage_tell


def told(monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> dict[str, Any]:
    monkeypatch.setattr(outage_tell.ActionBase, "run", lambda self, tmp, task_vars: {})
    plugin = outage_tell.ActionModule.__new__(outage_tell.ActionModule)
    plugin._task = type("Task", (), {"args": arguments})
    return plugin.run()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param({"failed": True}, "CAUSE     It died", id="the first line tells"),
        pytest.param({"failed": True, "failure": "not flushed"}, "not flushed", id="it does not"),
        pytest.param({"failed": False, "failure": "not flushed"}, "CAUSE     It died", id="nothing failed"),
    ],
)
def test_a_failure_says_what_failed(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], said: str) -> None:
    result = told(monkeypatch, lines=["CAUSE     It died", "LEFT      nothing"], **given)
    assert (result["msg"], result["failed"]) == (said, given["failed"])
    assert ("lines" in result) is not given["failed"]
