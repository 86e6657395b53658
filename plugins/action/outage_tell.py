# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Print lines as they are. M(ansible.builtin.debug) would quote and wrap them, or print them as JSON."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class ActionModule(ActionBase):
    """The module's work is done here, on the controller; nothing runs on a host."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Print the lines; see the module's documentation."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(
            argument_spec={
                "lines": {"type": "list", "elements": "str", "required": True},
                "failed": {"type": "bool", "default": False},
                "failure": {"type": "str", "default": ""},
            }
        )
        for line in arguments["lines"]:
            Display().display(line)
        first = arguments["lines"][0] if arguments["lines"] else ""
        said = arguments["failed"] and arguments["failure"]
        result.update(changed=False, failed=arguments["failed"], msg=said or first)
        if not arguments["failed"]:
            # The callback prints the whole result of a failed task: a second time, and hard to read.
            result["lines"] = arguments["lines"]
        return result
