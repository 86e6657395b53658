#!/usr/bin/python

# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_info
short_description: Say whether PostgreSQL can be reached, and if not, why
version_added: 1.0.0
author:
  - Veza infrastructure team (@veza)
description:
  - Logs in, asks for the time, and answers with one word of a closed vocabulary. Changes nothing.
  - Never fails because of what it finds. It fails when O(database_url) can't be read, or psycopg2 is missing.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.info
  - veza.rabbitmq._attributes.actiongroup
requirements:
  - psycopg2
notes:
  - PostgreSQL gives the reason of a refused login in the language of its C(lc_messages). In another one than English it
    is V(error), with the reason in RV(detail).
options:
  database_url:
    description:
      - URL or connection string of PostgreSQL, as libpq takes it. It appears in no message.
    type: str
    required: true
  timeout:
    description:
      - Seconds that all of it may take.
    type: float
    default: 5.0
seealso:
  - module: veza.rabbitmq.rabbitmq_health
"""

EXAMPLES = r"""
- name: Can the database be reached from here?
  veza.rabbitmq.database_info:
    database_url: "{{ veza_database_url }}"
  delegate_to: localhost
  register: database

- name: Tell why not
  ansible.builtin.debug:
    var: database.detail
  when: database.outcome != 'ok'
"""

RETURN = r"""
outcome:
  description:
    - What came of it. V(login_refused) is also a role that is unknown or may not connect, V(error) is everything that
      has no word of its own, such as a server that is starting.
  returned: always
  type: str
  choices: [ok, name_not_resolved, refused, timed_out, tls_failed, login_refused, database_missing, error]
detail:
  description: The same in a sentence, with what PostgreSQL or libpq said.
  returned: always
  type: str
  sample: "PostgreSQL at postgres.lxd:5432, database veza answers."
version:
  description: Version of the server; null unless RV(outcome) is V(ok), as the next three.
  returned: always
  type: str
  sample: "17.6"
latency:
  description: Seconds that one question took, on a connection that stood.
  returned: always
  type: float
clock_offset:
  description: Seconds by which the server's clock is ahead of this host's, known to half of RV(latency).
  returned: always
  type: float
read_only:
  description:
    - Why it takes no writes. V(recovery) means that the server is a standby; V(setting) that
      C(default_transaction_read_only) is on for the server or the database, so that only who asks for it may write.
    - V(null) if it takes writes, or that is not known. A setting of the login's own role is none of the database.
  returned: always
  type: str
  choices: [recovery, setting]
elapsed:
  description: Seconds that all of it took.
  returned: always
  type: float
"""

import math
import re
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._database import ConnectionLost, Database, where
from ..module_utils._deadline import check_durations, within
from ..module_utils._errors import VezaError

# What libpq, PostgreSQL and PgBouncer say, and what it means. Where each address has another error, what comes first
# here counts: it got further.
_MEANINGS = (
    (r"database \"[^\"]*\" does not exist|no such database", "database_missing"),
    (
        r"authentication failed|role \"[^\"]*\" (does not exist|is not permitted)|no pg_hba\.conf entry|no password "
        r"supplied|pg_hba\.conf rejects|permission denied for database|no such user",
        "login_refused",
    ),
    (
        r"not support ssl|ssl error|certificate verify failed|root certificate file|valid client certificate",
        "tls_failed",
    ),
    (r"connection refused|no such file or directory", "refused"),
    (r"timeout expired|timed out|no connection within|no answer within", "timed_out"),
    (r"could not translate host name|name or service not known|name resolution", "name_not_resolved"),
)

# Our own transaction is read-only as we asked for it. What a role, a client or a session has set is theirs.
_QUESTION = """
    SELECT extract(epoch FROM clock_timestamp())::float8, current_setting('server_version'), pg_is_in_recovery(),
        (SELECT setting = 'on' AND source NOT IN ('user', 'database user', 'client', 'session')
           FROM pg_settings WHERE name = 'default_transaction_read_only')
"""

_READ_ONLY = {
    "recovery": "the server is a standby (pg_is_in_recovery)",
    "setting": "default_transaction_read_only is on",
}


def outcome_of(message: str) -> str:
    """Return what an error's message means."""
    text = message.lower()
    return next((outcome for pattern, outcome in _MEANINGS if re.search(pattern, text)), "error")


def ask(database: Database, place: str, clock: Callable[[], float], now: Callable[[], float]) -> dict[str, Any]:
    """Ask for the time and the version; raise what Database does, and VezaError when the answer has none."""
    try:
        with database.transaction(readonly=True) as transaction:
            began, at = clock(), now()
            rows = transaction.rows(_QUESTION)
            latency = clock() - began
    finally:
        database.close()
    try:
        ((epoch, version, standby, refuses),) = rows
        # Debian's packages write what they are after the number.
        number, offset = version.split()[0], epoch - (at + latency / 2)
        if not math.isfinite(offset):
            raise ValueError(epoch)
    except (AttributeError, IndexError, TypeError, ValueError):
        raise VezaError(f"PostgreSQL at {place}: its answer has no time or no version.") from None
    read_only = "recovery" if standby else "setting" if refuses else None
    told = f", and takes no writes: {_READ_ONLY[read_only]}" if read_only else ""
    return {
        "outcome": "ok",
        "detail": f"PostgreSQL at {place} answers{told}.",
        "version": number,
        "latency": round(latency, 6),
        "clock_offset": round(offset, 3),
        "read_only": read_only,
    }


def run(
    params: dict[str, Any],
    database: Database,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """Return the module's result; nothing is raised for what is found."""
    seconds, place = params["timeout"], where(params["database_url"])
    began = clock()
    nothing = dict.fromkeys(("version", "latency", "clock_offset", "read_only"))
    result: dict[str, Any] = {"changed": False, **nothing}
    try:
        result.update(
            within(
                seconds,
                lambda: ask(database, place, clock, now),
                lambda: ConnectionLost(f"PostgreSQL at {place}: no answer within {seconds:g} s."),
            )
        )
    except VezaError as error:
        result.update(outcome=outcome_of(error.message), detail=error.message)
    return {**result, "elapsed": round(clock() - began, 3)}


def database_of(params: dict[str, Any]) -> Database:
    """Return the database, not connected yet; BadInput if the parameters make no sense."""
    check_durations(params, ["timeout"])
    limits = {"connect_timeout": params["timeout"], "statement_timeout": params["timeout"]}
    return Database(params["database_url"], application_name="veza.rabbitmq.database_info", **limits)


def argument_spec() -> dict[str, Any]:
    """Return the module's parameters."""
    return {
        "database_url": {"type": "str", "required": True, "no_log": True},
        "timeout": {"type": "float", "default": 5.0},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(module.params, database_of(module.params))
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
