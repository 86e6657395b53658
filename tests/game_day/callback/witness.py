# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes down what a playbook of this collection found and did, as data: one JSON line each, into $VEZA_WITNESS.

The playbooks print for people; this reads the same facts where they are made, and changes nothing in the collection.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: witness
type: aggregate
short_description: Write down verdict, plan and changes as JSON lines
description: For the game days; does nothing unless VEZA_WITNESS names a file.
"""

FACTS = ("outage_diagnose_verdict", "outage_recover_plan")


class CallbackModule(CallbackBase):
    """See above."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "witness"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, **line: Any) -> None:
        path = os.environ.get("VEZA_WITNESS")
        if path:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"at": time.time(), **line}, default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        """Keep the facts that matter, and which tasks changed something."""
        outcome = result._result
        facts = outcome.get("ansible_facts") or {}
        for name in FACTS:
            if name in facts:
                self._write(fact=name, value=facts[name])
        if outcome.get("changed"):
            self._write(changed=result._task.get_name(), host=result._host.get_name())

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Keep the recap."""
        self._write(recap={host: stats.summarize(host) for host in sorted(stats.processed)})
