# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What never took effect, found by the operator's own SELECT, which is run so that it can't change anything."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ._database import Database
from ._dropped import NAMES, Findings, event_of
from ._errors import BadInput
from ._retry import Pace


def read_rows(url: str, query: str, findings: Findings, pace: Pace, fallback: dict[str, str]) -> None:
    """Add the rows of ``query`` to ``findings``; ``fallback`` has the names that the rows may lack.

    Raises what Transaction.rows() does, and BadInput if the query isn't what was asked for.
    """
    # As a subquery it can be nothing but a SELECT, and PostgreSQL names the column that is missing. The line break
    # ends a comment that the query may end with.
    statement = f"SELECT q.entity_id, q.at, to_jsonb(q) FROM ({query.strip().rstrip(';')}\n) AS q"
    values = {"start": findings.window.start, "end": findings.window.end}
    limit = pace.remaining()
    database = Database(url, connect_timeout=min(10.0, limit), statement_timeout=limit)
    try:
        with database.transaction(readonly=True) as transaction:
            for entity_id, at, columns in transaction.stream(statement, values):
                names = {name: columns.get(name) or fallback.get(name) for name in NAMES}
                names["entity_id"] = entity_id
                if not findings.add(event_of(names, _instant(at), "database")):
                    return
                if not pace.remaining():
                    findings.reasons.append(f"the rows could not all be read within {pace.timeout:g} s")
                    return
    except (KeyError, IndexError, TypeError, ValueError) as error:  # from filling in the parameters
        raise BadInput(
            f"query can't be filled in ({type(error).__name__}): it may use %(start)s and %(end)s, and a percent sign "
            "of its own is written twice."
        ) from None
    finally:
        database.close()


def _instant(value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise BadInput(
            "query's column 'at' must be a timestamp with time zone that is never null. Of a column without a zone, "
            "say which zone the application means: created_at AT TIME ZONE 'UTC' AS at."
        )
    return value
