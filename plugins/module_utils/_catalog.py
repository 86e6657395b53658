# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What PostgreSQL's catalog says of a table: columns, our privileges, the index that keeps live jobs single."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ._database import Transaction, names, quoted, raw, render
from ._errors import BadInput, Refused

# A domain counts as the type that it stands on. Without a length, "character" would be one of 1: -1 makes it bpchar.
_COLUMNS = """
SELECT a.attname, a.attnum, format_type(COALESCE(NULLIF(t.typbasetype, 0), a.atttypid), -1)
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = %(table)s AND a.attnum > 0 AND NOT a.attisdropped
"""

_LACKING = """
SELECT p.privilege, p.name
  FROM unnest(%(tables)s::oid[], %(names)s::text[], %(columns)s::text[], %(privileges)s::text[])
       WITH ORDINALITY AS p (id, name, col, privilege, place)
 WHERE NOT CASE WHEN p.col <> '' THEN has_column_privilege(p.id, p.col, p.privilege)
                WHEN p.privilege = 'UPDATE' THEN has_any_column_privilege(p.id, p.privilege)
                ELSE has_table_privilege(p.id, p.privilege) END
 ORDER BY p.place
"""

# An identity column draws from its sequence by itself; a serial column needs our right to.
_SEQUENCE = """
SELECT s.name FROM pg_attribute a, pg_get_serial_sequence(%(name)s, a.attname) AS s (name)
 WHERE a.attrelid = %(table)s AND a.attname = %(column)s AND a.attidentity = '' AND s.name IS NOT NULL
   AND NOT has_sequence_privilege(s.name, 'USAGE, UPDATE')
"""

# An index whose predicate looks at another column too would let through a second live job that differs there. One of a
# table with children (of inheritance, not partitions) does not cover their rows.
_UNIQUE = """
SELECT i.indexrelid::bigint, pg_get_expr(i.indpred, i.indrelid)
  FROM pg_index i
 WHERE i.indrelid = %(table)s AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indisready AND i.indislive
   AND i.indnatts = 1 AND i.indkey[0] = %(track)s
   AND NOT EXISTS (SELECT FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhparent
                    WHERE h.inhparent = i.indrelid AND c.relkind = 'r')
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                      AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid
                      AND d.refobjsubid NOT IN (%(track)s, %(status)s))
 ORDER BY i.indpred IS NOT NULL, 1
"""

# PostgreSQL itself evaluates the predicate, for a row of which nothing is known but its status.
_COVERS = """
SELECT bool_and(({predicate}) IS TRUE)
  FROM unnest(%(live)s::text[]) AS __veza_v (__veza_live),
       LATERAL jsonb_populate_record(NULL::{table}, jsonb_build_object(%(status)s::text, __veza_live)) AS __veza_r
"""

_LOOKUP = """
SELECT EXISTS (SELECT FROM pg_index i
                WHERE i.indrelid = c.oid AND i.indkey[0] = %(column)s AND i.indpred IS NULL AND i.indisvalid),
       c.reltuples >= %(many)s
  FROM pg_class c WHERE c.oid = %(table)s
"""

MANY = 100_000
"""Rows from which a missing index is worth a warning."""


@dataclass(frozen=True)
class Column:
    """A column: its number in the catalog and its type as SQL spells it."""

    number: int
    type: str


@dataclass(frozen=True)
class Table:
    """A table that exists."""

    oid: int
    name: tuple[str, ...]
    columns: dict[str, Column]

    @property
    def text(self) -> str:
        """Return the name as a person would write it in SQL."""
        return ".".join(plain(part) for part in self.name)


@dataclass(frozen=True)
class UniqueIndex:
    """An index that admits one live job for a track; ``predicate`` is SQL text, None if it covers every row."""

    oid: int
    predicate: str | None


def plain(name: str) -> str:
    """Return an identifier as SQL text, quoted only where it must be."""
    return name if re.fullmatch("[a-z_][a-z0-9_]*", name) else quoted((name,))


def refuse_standby(transaction: Transaction) -> None:
    """Raise Refused if the server can't be written to."""
    [(standby,)] = transaction.rows("SELECT pg_is_in_recovery()")
    if standby:
        raise Refused(
            "The database is a read-only standby (pg_is_in_recovery() is true): give the primary in database_url; "
            "target_session_attrs=read-write in it picks the primary of several hosts."
        )


def find_table(transaction: Transaction, name: tuple[str, ...], wanted: list[str]) -> Table:
    """Return the table with that name; BadInput if it or a wanted column doesn't exist."""
    [(oid,)] = transaction.rows("SELECT to_regclass(%s)::oid::bigint", (quoted(name),))
    text = ".".join(plain(part) for part in name)
    if oid is None:
        raise BadInput(f"The database has no table {text}: see option schema, and the database in database_url.")
    found = transaction.rows(_COLUMNS, {"table": oid})
    columns = {column: Column(number, kind) for column, number, kind in found}
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise BadInput(f"Table {text} has no column {', '.join(missing)}; it has {', '.join(columns)}. See schema.")
    return Table(oid, name, columns)


def lacking_privileges(transaction: Transaction, needed: list[tuple[Table, str, list[str]]]) -> list[str]:
    """Return the privileges that we need and lack, as GRANT would name them.

    ``needed`` holds table, privilege and columns; no columns means the table as a whole.
    """
    flat = [(table, privilege, column) for table, privilege, columns in needed for column in columns or [""]]
    rows = transaction.rows(
        _LACKING,
        {
            "tables": [table.oid for table, _privilege, _column in flat],
            "names": [
                f"{f'({plain(column)}) ' if column else ''}ON {table.text}" for table, _privilege, column in flat
            ],
            "columns": [column for _table, _privilege, column in flat],
            "privileges": [privilege for _table, privilege, _column in flat],
        },
    )
    return [f"{privilege} {name}" for privilege, name in rows]


def lacking_sequence(transaction: Transaction, table: Table, column: str) -> list[str]:
    """Return the privilege on a serial column's sequence if we lack it, as lacking_privileges() would."""
    values = {"name": quoted(table.name), "table": table.oid, "column": column}
    return [f"USAGE ON SEQUENCE {name}" for (name,) in transaction.rows(_SEQUENCE, values)]


def unique_index(
    transaction: Transaction, jobs: Table, *, track: str, status: str, live: list[str]
) -> UniqueIndex | None:
    """Return an index that admits at most one job in a live status for each track, or None."""
    numbers = {"table": jobs.oid, "track": jobs.columns[track].number, "status": jobs.columns[status].number}
    for oid, predicate in transaction.rows(_UNIQUE, numbers):
        if predicate is None:
            return UniqueIndex(oid, None)
        statement = render(_COVERS, predicate=raw(predicate), **names(table=jobs.name))
        if transaction.rows(statement, {"live": live, "status": status})[0][0]:
            return UniqueIndex(oid, predicate)
    return None


def create_unique_index(jobs: Table, *, track: str, status: str, live: list[str]) -> str:
    """Return the statement that creates the index that unique_index() looks for."""
    name = plain(f"{jobs.name[-1]}_one_live_job"[:63])
    values = ", ".join("'" + value.replace("'", "''") + "'" for value in live)
    where = f"{plain(status)} IN ({values})"
    return f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {jobs.text} ({plain(track)}) WHERE {where};"


def lookup(transaction: Transaction, table: Table, column: str) -> tuple[bool, str | None]:
    """Tell whether an index over all rows of a table begins with a column.

    The second value is the statement that creates it, where it is missing and the table is large.
    """
    values = {"table": table.oid, "column": table.columns[column].number, "many": MANY}
    [(indexed, large)] = transaction.rows(_LOOKUP, values)
    statement = f"CREATE INDEX CONCURRENTLY ON {table.text} ({plain(column)});"
    return indexed, statement if large and not indexed else None
