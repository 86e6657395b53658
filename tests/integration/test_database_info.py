# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module database_info against a real PostgreSQL."""

from __future__ import annotations

import signal
import time
from typing import Any

import psycopg2

from ansible_collections.veza.rabbitmq.plugins.modules import database_info
from tests.lab.stack import Lab, login

LONG = 60.0
"""Seconds that a busy machine does not need."""


def look(lab: Lab, timeout: float = LONG, **other: str) -> dict[str, Any]:
    """Run the module's own code; ``other`` replaces a part of the URL."""
    account = {**lab.credentials["database"], "database": "veza", **other}
    url = f"postgresql://{login(account)}@127.0.0.1:{lab.ports['postgres']}/{account['database']}"
    params = {"database_url": url, "timeout": timeout}
    result = database_info.run(params, database_info.database_of(params))
    assert account["password"] not in repr(result)
    return result


def test_a_database_that_answers(bare_lab: Lab) -> None:
    result = look(bare_lab)
    assert result["outcome"] == "ok", result["detail"]
    assert result["version"].split(".")[0].isdigit()
    assert abs(result["clock_offset"]) <= 0.001 + result["latency"] / 2
    assert result["changed"] is False


def alter(lab: Lab, what: str) -> None:
    """Change a default, also where the default is that nothing can be changed."""
    account = lab.credentials["database"]
    connection = psycopg2.connect(f"postgresql://{login(account)}@127.0.0.1:{lab.ports['postgres']}/veza")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = off")
        cursor.execute(f"ALTER {what}")
    connection.close()


def test_a_database_that_takes_no_writes(bare_lab: Lab) -> None:
    assert look(bare_lab)["read_only"] is None
    user = bare_lab.credentials["database"]["user"]
    # What a role has set for itself alone is nothing of the database.
    for whose, read_only in ((f'ROLE "{user}"', None), ("DATABASE veza", "setting")):
        alter(bare_lab, f"{whose} SET default_transaction_read_only = on")
        try:
            result = look(bare_lab)
            assert (result["outcome"], result["read_only"]) == ("ok", read_only)
        finally:
            alter(bare_lab, f"{whose} RESET default_transaction_read_only")
    assert look(bare_lab)["read_only"] is None


def test_what_it_refuses(bare_lab: Lab) -> None:
    assert look(bare_lab, database="nosuch")["outcome"] == "database_missing"
    assert look(bare_lab, password="wrong-password")["outcome"] == "login_refused"
    assert look(bare_lab, user="nosuch")["outcome"] == "login_refused"


def test_a_hung_database_costs_the_timeout(bare_lab: Lab) -> None:
    process = bare_lab.running("postgres")
    assert process is not None
    process.freeze()
    try:
        began = time.monotonic()
        result = look(bare_lab, timeout=2.0)
        assert time.monotonic() - began < 15.0
        assert result["outcome"] == "timed_out"
    finally:
        process.send(signal.SIGCONT)
    assert look(bare_lab)["outcome"] == "ok"
