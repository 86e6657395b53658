#!/usr/bin/python
# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eventbus_level
short_description: Set the level at which a running API instance logs the events that it drops
version_added: 1.0.0
author: Veza infrastructure team (@veza-infra)
description:
  - Sets, at a running instance of Veza's API and without a restart, the level at which its event bus logs what it drops
    in degraded mode. Only what is logged as V(error) reaches Sentry.
  - The endpoint answers GET with a JSON object that has the level, and takes PUT with such an object. Whether it did is
    read back, so a level that was not taken is a failure.
  - An instance that is restarted takes the level of its environment again.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.actiongroup
  - veza.rabbitmq._tls
attributes:
  check_mode:
    support: full
    details:
      - The level is only read.
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - requests
options:
  api_url:
    description:
      - URL of the API instance, without user, password or query.
    type: str
    required: true
  path:
    description:
      - Path of the endpoint.
    type: str
    default: /api/v1/admin/eventbus/degraded-log-level
  field:
    description:
      - Key of the level in its JSON object.
    type: str
    default: level
  level:
    description:
      - The level that is wanted. Without it, the level is only read.
    type: str
  token:
    description:
      - Token of an administrator, sent as a bearer token. It appears in no output.
    type: str
    required: true
  timeout:
    description:
      - Seconds that each request may take.
    type: float
    default: 5.0
seealso:
  - module: veza.rabbitmq.compose_environment
  - module: veza.rabbitmq.eventbus_dropped_info
"""

EXAMPLES = r"""
- name: Have Sentry hear of what is dropped from now on
  veza.rabbitmq.eventbus_level:
    api_url: http://backend-1.lxd:8080
    token: "{{ veza_api_admin_token }}"
    level: error
"""

RETURN = r"""
before:
  description: The level before.
  returned: always
  type: str
level:
  description: The level now; in check mode, the one that it would have.
  returned: always
  type: str
message:
  description: What was done, in one sentence.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._arguments import tls, tls_arguments
from ..module_utils._deadline import check_durations
from ..module_utils._errors import BadInput, VezaError
from ..module_utils._http import HttpClient, Reply
from ..module_utils._mask import scrub
from ..module_utils._retry import bearer, checked_url

ADVICE = {
    401: "the token is wrong or has expired",
    403: "the token is known but is not an administrator's",
    404: "this API has no such endpoint",
    405: "the endpoint does not take that",
}


def argument_spec() -> dict[str, Any]:
    """Return the module's parameters."""
    return {
        "api_url": {"type": "str", "required": True},
        "path": {"type": "str", "default": "/api/v1/admin/eventbus/degraded-log-level"},
        "field": {"type": "str", "default": "level"},
        "level": {"type": "str"},
        "token": {"type": "str", "required": True, "no_log": True},
        "timeout": {"type": "float", "default": 5.0},
        **tls_arguments(),
    }


def level_in(reply: Reply, method: str, field: str) -> str:
    """Return the level that an answer tells; VezaError if it tells none."""
    document = reply.json()
    if reply.status != 200:
        advice = ADVICE.get(reply.status, "the API failed" if reply.status >= 500 else "the API refused")
        raise VezaError(f"{method} {reply.url}: {reply.status}: {advice}. It answered: {reply.excerpt() or 'nothing'}")
    level = document.get(field) if isinstance(document, dict) else None
    if not isinstance(level, str):
        raise VezaError(f"{method} {reply.url}: 200, but its answer has no '{field}': {reply.excerpt() or 'nothing'}")
    return level


def run(params: dict[str, Any], client: HttpClient, check_mode: bool) -> dict[str, Any]:
    """Read the level, and set it where another is wanted."""
    path, field, wanted = params["path"], params["field"], params["level"]
    before = level_in(client.get(path), "GET", field)
    if wanted in (None, before):
        return {"changed": False, "before": before, "level": before, "message": f"The level is {before}."}
    if not check_mode:
        reply = client.request("PUT", path, json_body={field: wanted})
        if reply.status not in (200, 202, 204):
            level_in(reply, "PUT", field)
        after = level_in(client.get(path), "GET", field)
        if after != wanted:
            raise VezaError(f"PUT {reply.url} was accepted, and the level is still {after}, not {wanted}.")
    message = f"The level {'would change' if check_mode else 'changed'} from {before} to {wanted}."
    diff = {"before": f"{field}: {before}\n", "after": f"{field}: {wanted}\n"}
    return {"changed": True, "before": before, "level": wanted, "message": message, "diff": diff}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    secrets = [params["token"]]
    try:
        if not params["path"].startswith("/"):
            raise BadInput("path must begin with a slash.")
        check_durations(params, ["timeout"])
        client = HttpClient(
            checked_url(params["api_url"], "api_url"),
            headers=bearer(params["token"], "token"),
            tls=tls(params),
            timeout=params["timeout"],
        )
        result = run(params, client, module.check_mode)
    except VezaError as error:
        module.fail_json(**scrub(error.fail_json_arguments(), secrets))
    module.exit_json(**scrub(result, secrets))


if __name__ == "__main__":
    main()
