#!/usr/bin/python

# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_service
short_description: Start, restart or stop the container of one compose service, and no other
version_added: 1.0.0
author:
  - Veza infrastructure team (@veza)
description:
  - Looks how the container of a service is, and does the one thing with compose that brings it into O(state). No other
    container is touched, nothing is built, and a container that is there is never made anew, as that might be a
    deployment.
  - A container that the engine restarts again and again is left alone, and the module fails. A restart by hand changes
    nothing then; its own log tells why it ends.
  - Needs nothing but Python's standard library and the container engine with compose. It needs root where these do.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.actiongroup
attributes:
  check_mode:
    support: full
    details:
      - It says what would be done.
  diff_mode:
    support: full
    details:
      - The diff is the state of the containers.
  idempotent:
    support: partial
    details:
      - V(started) and V(stopped) change nothing where that is so. V(restarted) restarts each time, but for a container
        that was started since O(since).
options:
  service:
    description:
      - Name of the compose service.
    type: str
    required: true
  state:
    description:
      - V(started) starts what does not run, and wakes what is paused.
      - V(restarted) does the same, and restarts what runs.
      - V(stopped) stops what runs.
    type: str
    choices: [started, restarted, stopped]
    required: true
  since:
    description:
      - Instant with an offset from UTC. A container that was started later has been restarted already, and is left
        alone by O(state=restarted). It is compared with the clock of this host.
    type: str
  compose_file:
    description:
      - The compose file, for a service that has no container yet. That of a container is told by its labels.
    type: path
  container_command:
    description:
      - The container engine's command line. It must understand C(ps), C(container inspect) and C(unpause) as docker
        does.
    type: str
    default: docker
  compose_command:
    description:
      - The command of compose, as a list.
    type: list
    elements: str
    default: [docker, compose]
  timeout:
    description:
      - Seconds that each command may take.
    type: float
    default: 120.0
seealso:
  - module: veza.rabbitmq.app_host_info
  - module: veza.rabbitmq.compose_environment
"""

EXAMPLES = r"""
- name: Restart the worker that hangs
  veza.rabbitmq.compose_service:
    service: worker-dmca
    state: restarted
    since: "{{ evidence.at }}"
  become: true
"""

RETURN = r"""
message:
  description: What was done, in one sentence; in check mode, what would be.
  returned: always
  type: str
  sample: worker-dmca was restarted (it was running since 2026-11-24T08:54:27.000Z).
did:
  description: What was done.
  returned: always
  type: str
  choices: [nothing, started, woken, restarted, stopped]
before:
  description: The containers of the service before.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: "Its name.", type: str}
    state: {description: "The engine's word.", type: str}
    started_at: {description: "When it was last started.", type: str}
    finished_at: {description: "When it last ended.", type: str}
    exit_code: {description: "Its exit code, if it has ended.", type: int}
    restarts: {description: "How often the engine has restarted it by itself.", type: int}
after:
  description: The same afterwards; in check mode as before.
  returned: always
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _compose, _containers
from ..module_utils._containers import Engine, EngineSilent
from ..module_utils._deadline import check_durations
from ..module_utils._errors import Refused, VezaError
from ..module_utils._record import instant

Document = dict[str, Any]

SHOWN = ("name", "state", "started_at", "finished_at", "exit_code", "restarts")

FROM = {"exited": "finished_at", "dead": "finished_at"}
"""What tells since when a container is in a state; of the others it is when it was started."""

# What brings a container in a state into the one that is wanted: what it is called afterwards, and compose's words for
# it (of one that is paused, the engine's). A state that is not here is as it should be, or as nobody may leave it.
ENDED = ("created", "exited", "dead", "missing")
UP = ("started", ("up", "--detach", "--no-deps", "--no-build", "--no-recreate"))
WAYS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "started": {**dict.fromkeys(ENDED, UP), "paused": ("woken", ())},
    "restarted": {**dict.fromkeys(ENDED, UP), "paused": ("woken", ()), "running": ("restarted", ("restart",))},
    "stopped": dict.fromkeys(("running", "restarting", "paused"), ("stopped", ("stop",))),
}


def argument_spec() -> dict[str, Any]:
    """Return the module's parameters."""
    return {
        "service": {"type": "str", "required": True},
        "state": {"type": "str", "choices": list(WAYS), "required": True},
        "since": {"type": "str"},
        "compose_file": {"type": "path"},
        "container_command": {"type": "str", "default": "docker"},
        "compose_command": {"type": "list", "elements": "str", "default": ["docker", "compose"]},
        "timeout": {"type": "float", "default": 120.0},
    }


def look(params: dict[str, Any]) -> tuple[list[Document], list[dict[str, Any]]]:
    """Return the documents of the service's containers, and what is shown of each; one is shown where none is."""
    try:
        every = Engine(params["container_command"], params["timeout"]).inspect()
    except EngineSilent as silence:
        raise VezaError(f"The container engine does not answer: {silence}.") from None
    service = params["service"]
    found = _containers.of_service(every, service)
    described = [_containers.described(document) for document in found] or [_containers.missing(service, service)]
    return found, [{key: one[key] for key in SHOWN} for one in described]


def decide(shown: list[dict[str, Any]], params: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return what is to be done, and compose's words for it; Refused if it may not be."""
    wanted, service = params["state"], params["service"]
    looping = [one for one in shown if one["state"] == "restarting"]
    if looping and wanted != "stopped":
        raise Refused(
            f"{looping[0]['name']} is restarted by the engine again and again ({looping[0]['restarts']} times): a "
            f"restart by hand changes nothing. Look into its log: docker logs --tail 50 {looping[0]['name']}"
        )
    since = instant(params["since"], "since") if params["since"] else None
    ways = []
    for one in shown:
        way = WAYS[wanted].get(one["state"])
        if way and way[0] == "restarted" and since and one["started_at"] and instant(one["started_at"]) > since:
            way = None
        ways += [way] if way else []
    if ways:
        # Of several containers, one that has ended must not keep one that hangs from its restart, which starts both.
        return next((way for way in ways if way[0] == "restarted"), ways[0])
    if wanted != "stopped" and any(one["state"] == "removing" for one in shown):
        raise Refused(f"{service} is being removed by somebody.")
    return "nothing", ()


def command(did: str, words: tuple[str, ...], documents: list[Document], params: dict[str, Any]) -> list[str]:
    """Return the command that does it; Refused where the compose file is not known."""
    if did == "woken":
        paused = [str(one["Id"]) for one in documents if (one.get("State") or {}).get("Status") == "paused"]
        return [params["container_command"], "unpause", *paused]
    if documents:
        return [*_compose.project(documents[0], params["compose_command"]), *words, params["service"]]
    if not params["compose_file"]:
        raise Refused(f"{params['service']} has no container on this host, and no compose_file is named.")
    return [*params["compose_command"], "--file", params["compose_file"], *words, params["service"]]


def run(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do what brings the service into its state; VezaError with what was seen when that can't be done."""
    check_durations(params, ["timeout"])
    documents, before = look(params)
    try:
        did, words = decide(before, params)
        argv = command(did, words, documents, params) if did != "nothing" else []
        if argv and not check_mode:
            _compose.run(argv, params["timeout"])
    except VezaError as error:
        raise type(error)(error.message, before=before) from None
    after = look(params)[1] if argv and not check_mode else before
    said = {"nothing": "was left as it is"}.get(did, f"was {did}")
    was = ", ".join(f"{one['state']} since {one[FROM.get(one['state'], 'started_at')]}" for one in before)
    return {
        "changed": did != "nothing",
        "did": did,
        "before": before,
        "after": after,
        "message": f"{params['service']} {said} (it was {was}).",
        "diff": {"before": states(before), "after": states(after)},
    }


def states(shown: list[dict[str, Any]]) -> str:
    """Return the containers' states, as a diff shows them."""
    return "".join(f"{one['name']}: {one['state']}, started at {one['started_at']}\n" for one in shown)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
