# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs module queue_drain_wait in slices, and shows after each where the queues are.

A module can't show anything before it ends, and ``until`` shows a failure for each retry. Between two slices it renews
the lease of the incident that this wait is part of.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.common.validation import check_type_dict
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import become_loader, connection_loader
from ansible.utils.display import Display

from ..module_utils._drain import line, thin
from ..plugin_utils._here import Here
from ..plugin_utils._progress import tell
from .incident import identity

SLICE = 5.0
"""Seconds of a wait without a word."""

RENEW = 20.0
"""Seconds between two renewals of a lease, at least; a run that is told to stop does so within as many."""


class ActionModule(Here):
    """Repeats the module until it has finished; the first slice is a single look, so that its line is there at once."""

    module = "veza.rabbitmq.queue_drain_wait"

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
            answer = self.ask(arguments, task_vars)
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
        # It may be text. The module has read it by the same function in the first slice, so it can be read.
        lease = check_type_dict(self._task.args.get("lease") or {})
        if not lease or self._task.check_mode:
            return {}
        host = lease.get("host")
        arguments = {**{key: lease[key] for key in lease if key != "host"}, "lease": "checked"}
        try:
            elsewhere = on_host(self, host, task_vars) if host else None
            answer = self._incident(arguments, task_vars, elsewhere)
        except (AnsibleError, KeyError) as error:
            answer = {"failed": True, "msg": f"{host or 'this host'}: {error}"}
        if answer.get("refused"):
            return {"failed": True, "msg": answer["msg"], "refused": answer["refused"]}
        if answer.get("failed"):
            # Such as a busy disk. The lease is good for some time yet; when that is over, whoever acts finds out.
            Display().warning(f"The lease could not be renewed: {answer.get('msg')}")
        return {}

    def _incident(
        self, arguments: dict[str, Any], task_vars: dict[str, Any], elsewhere: Elsewhere | None
    ) -> dict[str, Any]:
        """Run module incident, here or on another host."""
        who = self if elsewhere is None else elsewhere.action
        answer: dict[str, Any] = who._execute_module(
            module_name="veza.rabbitmq.incident",
            module_args={**arguments, "holder": identity(task_vars)},
            task_vars=task_vars if elsewhere is None else elsewhere.variables,
        )
        return answer


@dataclass(frozen=True)
class Elsewhere:
    """An action on another host than the task's, and that host's variables."""

    action: ActionBase
    variables: dict[str, Any]


def on_host(action: ActionBase, host: str, task_vars: Mapping[str, Any]) -> Elsewhere:
    """Return an action that runs modules on another host of the inventory; AnsibleError where that can't be.

    The host's own variables say how it is reached, as for a task that is delegated to it.
    """
    if host == task_vars.get("inventory_hostname"):
        return Elsewhere(action, dict(task_vars))
    known = task_vars["hostvars"][host]
    wanted = [name for name in known if name.startswith("ansible_") or name == "inventory_hostname"]
    setting = C.config.get_config_value
    defaults = {
        "ansible_facts": {},
        "ansible_connection": setting("DEFAULT_TRANSPORT"),
        "ansible_become_method": setting("DEFAULT_BECOME_METHOD"),
    }
    variables = {**defaults, **{name: known[name] for name in wanted}}
    context = action._play_context.copy()
    connection = connection_loader.get(
        str(variables["ansible_connection"]).replace("smart", "ssh"),
        context,
        new_stdin=None,
        task_uuid=action._task._uuid,
        ansible_playbook_pid=str(os.getppid()),
    )
    if connection is None:
        raise AnsibleError(f"there is no connection to {host}")
    if boolean(variables.get("ansible_become", False), strict=False):
        become = become_loader.get(str(variables["ansible_become_method"]))
        become.set_options(var_options=variables)
        connection.set_become_plugin(become)
    for plugin in (connection, connection._shell):
        plugin.set_options(var_options=variables)
    task = action._task.copy()
    task.delegate_to = None
    other = type(action)(
        task=task,
        connection=connection,
        play_context=context,
        loader=action._loader,
        templar=action._templar,
        shared_loader_obj=action._shared_loader_obj,
    )
    return Elsewhere(other, variables)


def show(queues: list[dict[str, Any]], told: dict[str, str]) -> dict[str, str]:
    """Show a line for each queue, but for those that are as drained as the last time; return the lines."""
    lines = {queue["name"]: line(queue) for queue in queues}
    for queue in queues:
        name = queue["name"]
        if not queue["drained"] or told.get(name) != lines[name]:
            tell(lines[name])
    return lines
