#!/usr/bin/python
# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: api_health
short_description: Ask one API instance for its health, or wait until its event bus is connected
version_added: 1.0.0
author: Veza infrastructure team (@veza-infra)
description:
  - Asks the health endpoint of one instance of Veza's API. A degraded event bus, which drops events, is seen to be
    connected again here, by what the instance says of itself.
  - It reads only. Nothing that it asks needs a token.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.info
  - veza.rabbitmq._attributes.actiongroup
  - veza.rabbitmq._tls
requirements:
  - requests
  - jmespath
options:
  api_url:
    description:
      - URL of the API instance, without user, password or query. Behind a load balancer's name, nobody knows who
        answers.
    type: str
    required: true
  path:
    description:
      - Path of the health endpoint.
    type: str
    default: /api/v1/health
  connected:
    description:
      - JMESPath expression over its JSON answer, V(true) when the event bus is connected to the broker, V(false) when
        it is not, and null where the answer does not tell.
    type: str
    default: eventbus && eventbus == 'connected'
  identity:
    description:
      - JMESPath expression over its JSON answer that tells one process of the API from the next, such as
        V([pid, started_at]).
    type: str
  until:
    description:
      - What O(wait_timeout) waits for. V(answers) is a status of 200, V(connected) a connected event bus besides.
    type: str
    choices: [answers, connected]
    default: connected
  timeout:
    description:
      - Seconds that each request may take.
    type: float
    default: 5.0
  wait_timeout:
    description:
      - Seconds to ask again until O(until) holds. The module fails when they have passed, with the same values that it
        would have returned.
      - V(0) asks once, and never fails because of what it finds.
    type: float
    default: 0.0
seealso:
  - module: veza.rabbitmq.amqp_probe
"""

EXAMPLES = r"""
- name: See that the event bus has left degraded mode
  veza.rabbitmq.api_health:
    api_url: http://backend-1.lxd:8080
    wait_timeout: 60
"""

RETURN = r"""
outcome:
  description:
    - V(connected), V(disconnected) (it answers 200 and its event bus is not connected), V(ailing) (another status),
      V(unclear) (200, and O(connected) gives neither true nor false), or why there was no answer.
  returned: always
  type: str
  choices: [connected, disconnected, unclear, ailing, name_not_resolved, refused, timed_out, reset, tls_failed,
    unreachable, not_http]
answers:
  description: Whether it answered with 200.
  returned: always
  type: bool
connected:
  description: Whether its event bus is connected. V(null) if that is not known.
  returned: always
  type: bool
status:
  description: The status. V(null) without an answer.
  returned: always
  type: int
identity:
  description: What O(identity) gives. V(null) without it, or without an answer.
  returned: always
  type: raw
message:
  description: What was asked of whom and what came back, in one sentence.
  returned: always
  type: str
elapsed:
  description: Seconds that the module took.
  returned: always
  type: float
"""

import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._arguments import tls, tls_arguments
from ..module_utils._deadline import check_durations, share
from ..module_utils._errors import BadInput, RequestFailed, TimedOut, VezaError
from ..module_utils._http import HttpClient, Reply
from ..module_utils._jmespath import Search, compiled
from ..module_utils._retry import checked_url

PAUSE = 0.5
"""Seconds between two questions."""


def argument_spec() -> dict[str, Any]:
    """Return the module's parameters."""
    return {
        "api_url": {"type": "str", "required": True},
        "path": {"type": "str", "default": "/api/v1/health"},
        "connected": {"type": "str", "default": "eventbus && eventbus == 'connected'"},
        "identity": {"type": "str"},
        "until": {"type": "str", "choices": ["answers", "connected"], "default": "connected"},
        "timeout": {"type": "float", "default": 5.0},
        "wait_timeout": {"type": "float", "default": 0.0},
        **tls_arguments(),
    }


def expression(params: dict[str, Any], name: str) -> Search:
    """Return what an option's expression finds, which is None without one; BadInput if it is none."""
    return compiled(params[name], name) if params[name] else lambda _document: None


def found(search: Search, document: Any) -> Any:
    """Return what an expression gives; None where it does not fit the document."""
    try:
        return search(document)
    except VezaError:
        return None


def judge(reply: Reply, connected: Search, identity: Search) -> dict[str, Any]:
    """Return what an answer says."""
    document = reply.json()
    state = found(connected, document) if reply.status == 200 else None
    state = state if isinstance(state, bool) else None
    outcome = "ailing" if reply.status != 200 else {True: "connected", False: "disconnected", None: "unclear"}[state]
    said = {
        "connected": "it answers, and its event bus is connected",
        "disconnected": f"it answers, and its event bus is not connected: {reply.excerpt()}",
        "unclear": f"it answers, and whether its event bus is connected is not in: {reply.excerpt()}",
        "ailing": f"status {reply.status}: {reply.excerpt() or 'nothing'}",
    }[outcome]
    return {
        "outcome": outcome,
        "answers": reply.status == 200,
        "connected": state,
        "status": reply.status,
        "identity": found(identity, document),
        "message": f"GET {reply.url}: {said}",
    }


def run(
    params: dict[str, Any],
    client: HttpClient,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Ask once, or until it is as wanted; TimedOut with the last result when it never was."""
    check_durations(params, ["timeout"], ["wait_timeout"])
    if not params["path"].startswith("/"):  # after http://host, it could name another host or port
        raise BadInput("path must begin with a slash.")
    connected, identity = expression(params, "connected"), expression(params, "identity")
    began, wanted = clock(), {"answers": "answers", "connected": "connected"}[params["until"]]
    timeout = share(params)
    while True:
        try:
            result = judge(client.get(params["path"], timeout=timeout), connected, identity)
        except RequestFailed as failure:
            nothing = dict.fromkeys(("connected", "status", "identity"))
            result = {"outcome": failure.outcome, "answers": False, **nothing, "message": failure.message}
        waited = clock() - began
        result.update(changed=False, elapsed=round(waited, 3))
        if result[wanted] or not params["wait_timeout"]:
            return result
        left = params["wait_timeout"] - waited
        if left <= 0:
            raise TimedOut(f"Not as wanted within {params['wait_timeout']:g} s. {result['message']}", **result)
        sleep(min(PAUSE, left))
        timeout = share(params, clock() - began)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    try:
        client = HttpClient(checked_url(params["api_url"], "api_url"), tls=tls(params), timeout=params["timeout"])
        result = run(params, client)
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
