#!/usr/bin/python

# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_info
short_description: See whether PostgreSQL answers from here
version_added: 1.0.0
author:
  - Veza infrastructure team (@veza)
description:
  - Connects to PostgreSQL, asks for its version and its clock, and leaves. It never fails for what it finds.
  - A broker's outage does not need the database, but the account of what was lost does.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.info
  - veza.rabbitmq._attributes.actiongroup
options:
  database_url:
    description:
      - URL or connection string of libpq. It may hold a password, which is not shown.
    type: str
    required: true
  timeout:
    description:
      - Seconds that the connection may take, and the question.
    type: float
    default: 5.0
requirements:
  - psycopg2
seealso:
  - module: veza.rabbitmq.transcode_requeue
"""

EXAMPLES = r"""
- name: See whether the audit will find its database
  veza.rabbitmq.database_info:
    database_url: "{{ veza_database_url }}"
  register: database
  delegate_to: localhost
"""

RETURN = r"""
outcome:
  description: V(unreachable) for no connection (also for a login that is refused), V(rejected) for a question.
  returned: always
  type: str
  choices: [ok, unreachable, rejected]
message:
  description: What was asked of whom and what came back, in one sentence.
  returned: always
  type: str
  sample: PostgreSQL 17.2 at postgres.lxd:5432/veza answers.
version:
  description: PostgreSQL's version. V(null) without an answer.
  returned: always
  type: str
standby:
  description: Whether it is a read-only standby. V(null) without an answer.
  returned: always
  type: bool
clock_offset:
  description: Seconds by which its clock is ahead of ours, without the time of the answer. V(null) without an answer.
  returned: always
  type: float
elapsed:
  description: Seconds that it took.
  returned: always
  type: float
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._database import Database, Rejected, where
from ..module_utils._errors import BadInput, VezaError

_QUESTION = "SELECT current_setting('server_version'), pg_is_in_recovery(), extract(epoch FROM clock_timestamp())"


def argument_spec() -> dict[str, Any]:
    """Return the module's parameters."""
    return {
        "database_url": {"type": "str", "required": True, "no_log": True},
        "timeout": {"type": "float", "default": 5.0},
    }


def run(params: dict[str, Any]) -> dict[str, Any]:
    """Return what came of it; only parameters that make no sense raise."""
    if params["timeout"] <= 0:
        raise BadInput("timeout must be above 0.")
    began = time.monotonic()
    database = Database(params["database_url"], connect_timeout=params["timeout"], statement_timeout=params["timeout"])
    result: dict[str, Any] = {"changed": False, "version": None, "standby": None, "clock_offset": None}
    try:
        with database.transaction(readonly=True) as transaction:
            asked = time.time()
            ((version, standby, clock),) = transaction.rows(_QUESTION)
            middle = (asked + time.time()) / 2
        number = str(version).split(" ", maxsplit=1)[0]
        result.update(version=number, standby=standby, clock_offset=round(float(clock) - middle, 3))
        outcome, message = "ok", f"PostgreSQL {number} at {where(params['database_url'])} answers."
    except VezaError as error:
        outcome = "rejected" if isinstance(error, Rejected) else "unreachable"
        message = error.message
    finally:
        database.close()
    return {**result, "outcome": outcome, "message": message, "elapsed": round(time.monotonic() - began, 3)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(module.params)
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
