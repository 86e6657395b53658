#!/usr/bin/python
# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: alert_wait
short_description: Wait until an alert fires in Alertmanager, or until it doesn't
version_added: 0.1.0
author:
  - Veza infrastructure team (@veza-infra)
description:
  - Asks Alertmanager until the alert is in the wished-for O(state), and says when that was first seen.
  - An alert that is silenced or inhibited does not fire, because nobody is told of it.
  - It fails when O(wait_timeout) has passed, with the same values that it would have returned. An Alertmanager that
    does not answer is asked again until then.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.info
  - veza.rabbitmq._attributes.actiongroup
  - veza.rabbitmq._tls
requirements:
  - requests
options:
  url:
    description:
      - URL of Alertmanager, without user and password, for instance V(http://monitor.lxd:9093).
    type: str
    required: true
  alertname:
    description:
      - Name of the alert.
    type: str
    default: RabbitMQUnreachable
  labels:
    description:
      - Labels that the alert must have besides, where one Alertmanager serves several sites.
    type: dict
    default: {}
  state:
    description:
      - V(firing) waits until the alert fires, V(quiet) until none does.
    type: str
    choices: [firing, quiet]
    default: firing
  interval:
    description:
      - Seconds between two questions.
    type: float
    default: 1
  timeout:
    description:
      - Seconds that one question may take.
    type: float
    default: 5
  wait_timeout:
    description:
      - Seconds to wait. V(0) asks once.
    type: float
    default: 60
seealso:
  - module: veza.rabbitmq.health_watch
"""

EXAMPLES = r"""
- name: Wait until somebody would have been called
  veza.rabbitmq.alert_wait:
    url: http://monitor.lxd:9093
    wait_timeout: 60
"""

RETURN = r"""
firing:
  description: Whether the alert fires; null when Alertmanager never answered.
  returned: always
  type: bool
at:
  description: Instant of the last answer, by the clock of the host that the module ran on; null when there was none.
  returned: always
  type: str
alerts:
  description: The alerts that fire, each with C(labels) and C(starts_at).
  returned: always
  type: list
  elements: dict
elapsed:
  description: Seconds that it took.
  returned: always
  type: float
message:
  description: What was found, in a sentence.
  returned: always
  type: str
"""

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._arguments import tls, tls_arguments
from ..module_utils._deadline import check_durations, share
from ..module_utils._errors import RequestFailed, TimedOut, VezaError
from ..module_utils._http import HttpClient, Reply
from ..module_utils._record import stamp
from ..module_utils._retry import checked_url

PATH = "/api/v2/alerts"


def argument_spec() -> dict[str, Any]:
    """Return the options, as DOCUMENTATION describes them."""
    return {
        "url": {"type": "str", "required": True},
        "alertname": {"type": "str", "default": "RabbitMQUnreachable"},
        "labels": {"type": "dict", "default": {}},
        "state": {"type": "str", "choices": ["firing", "quiet"], "default": "firing"},
        "interval": {"type": "float", "default": 1},
        "timeout": {"type": "float", "default": 5},
        "wait_timeout": {"type": "float", "default": 60},
        **tls_arguments(),
    }


def client_of(params: dict[str, Any]) -> HttpClient:
    """Return the client; BadInput when the parameters make no sense. Nothing is sent yet."""
    check_durations(params, ["interval", "timeout"], ["wait_timeout"])
    return HttpClient(checked_url(params["url"], "url"), tls=tls(params), timeout=params["timeout"])


def fires(document: Any, wanted: dict[str, str]) -> list[dict[str, Any]] | None:
    """Return the alerts of an answer that fire and have these labels; None when it is no list of alerts."""
    if not isinstance(document, list) or not all(isinstance(alert, dict) for alert in document):
        return None
    if not all(isinstance(alert.get(key) or {}, dict) for alert in document for key in ("status", "labels")):
        return None
    return [
        {"labels": alert.get("labels") or {}, "starts_at": alert.get("startsAt")}
        for alert in document
        if (alert.get("status") or {}).get("state") == "active"
        and wanted.items() <= (alert.get("labels") or {}).items()
    ]


def run(
    params: dict[str, Any],
    client: HttpClient,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], str] = lambda: stamp(datetime.now(timezone.utc)),
) -> dict[str, Any]:
    """Ask until the alert is in the wished-for state; TimedOut with the last answer when it never was."""
    wanted = {"alertname": params["alertname"], **{name: str(text) for name, text in params["labels"].items()}}
    result: dict[str, Any] = {"changed": False, "firing": None, "at": None, "alerts": []}
    began, timeout = clock(), share(params)
    while True:
        message = look(client, wanted, result, now, timeout)
        elapsed = clock() - began
        result.update(elapsed=round(elapsed, 3), message=message)
        if result["firing"] is (params["state"] == "firing"):
            return result
        left = params["wait_timeout"] - elapsed
        if left <= 0:
            waited = f" after {elapsed:.1f} s" if params["wait_timeout"] else ""
            raise TimedOut(f"{params['alertname']} is not {params['state']}{waited}: {message}", **result)
        sleep(min(params["interval"], left))
        timeout = share(params, clock() - began)


def look(
    client: HttpClient, wanted: dict[str, str], result: dict[str, Any], now: Callable[[], str], timeout: float
) -> str:
    """Ask once and put the answer into ``result``; return it as a sentence. The last answer stands until the next."""
    switches = {"active": "true", "silenced": "false", "inhibited": "false", "unprocessed": "false"}
    try:
        filters = [_matcher(*pair) for pair in wanted.items()]
        reply = client.get(PATH, params={**switches, "filter": filters}, timeout=timeout)
    except RequestFailed as error:
        return error.message
    found = fires(reply.json(), wanted) if reply.status == 200 else None
    if found is None:
        return _unfit(reply)
    result.update(firing=bool(found), at=now(), alerts=found)
    if not found:
        return f"No alert {wanted['alertname']} fires."
    return f"{wanted['alertname']} fires since {found[0]['starts_at']}."


def _matcher(name: str, text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{escaped}"'


def _unfit(reply: Reply) -> str:
    return f"GET {reply.url}: {reply.status}; that is no list of alerts: {reply.excerpt() or 'nothing'}"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(module.params, client_of(module.params))
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
