# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database answers and takes no writes: each task of a worker that writes fails."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.game_day import workers
from tests.game_day.fault import Fault, Params
from tests.lab.veza.events import QUEUES

if TYPE_CHECKING:
    from tests.lab.incus.lab import IncusLab


HOST = "postgres"


def _sql(lab: IncusLab, *statements: str) -> str:
    psql = ["runuser", "-u", "postgres", "--", "psql", "-qtAX", "-v", "ON_ERROR_STOP=1"]
    return str(lab.on(HOST, *psql, input="\n".join(statements) + "\n", check=True, timeout=30).stdout).strip()


def inject(lab: IncusLab, _rng: random.Random) -> Params:
    """Make all transactions read-only, as is done before a move, and end the sessions that began before.

    The API publishes nothing from then on, as it writes its own rows first: what waits in the queues is what fails.
    """
    body = workers.done(lab, "transcode")
    end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'veza';"
    _sql(lab, "ALTER SYSTEM SET default_transaction_read_only = on;", "SELECT pg_reload_conf();", end)
    for _message in range(3):
        workers.publish(lab, QUEUES["transcode"], body)
    return {}


def present(lab: IncusLab, _params: Params) -> str | None:
    """The setting is in force, and tasks of the transcodes' worker have failed since."""
    setting = _sql(lab, "SHOW default_transaction_read_only;")
    aside = sum(workers.depth(lab, f"{name}.dlq")["messages_ready"] for name in QUEUES.values())
    return f"read-only: {setting}; {aside} dead letters" if setting == "on" and aside else None


def heal(lab: IncusLab, _params: Params) -> None:
    """Take the setting back; new sessions write again."""
    _sql(lab, "ALTER SYSTEM RESET default_transaction_read_only;", "SELECT pg_reload_conf();")


FAULT = Fault(
    name="database_read_only",
    title="The database takes no writes",
    source="written down nowhere: a database in the midst of a move",
    causes=frozenset({"database_read_only"}),
    inject=inject,
    present=present,
    heal=heal,
    timeout=120.0,  # tasks are tried several times before they are set aside
    mended=lambda lab, _params: _sql(lab, "SHOW default_transaction_read_only;") == "off",
)
