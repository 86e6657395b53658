# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's PostgreSQL: a cluster of its own, on loopback, with passwords."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

import psycopg2
from psycopg2 import sql

from . import processes
from .state import Lab, LabError, write_private

SCHEMA = Path(__file__).parent / "veza" / "schema.sql"

UNIQUE_LIVE_JOBS = """
CREATE UNIQUE INDEX transcode_jobs_one_live_per_track
    ON transcode_jobs (track_id) WHERE status IN ('pending', 'processing')
"""


def binaries() -> Path:
    """Return the directory of the newest PostgreSQL server on this machine; LabError when there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise LabError("PostgreSQL is missing: install the Debian package postgresql.")
    return found[-1].parent


def owner() -> tuple[int, int] | None:
    """Return (uid, gid) to run the server as: PostgreSQL refuses root. None: as ourselves."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return account.pw_uid, account.pw_gid
    raise LabError("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody.")


def start(lab: Lab) -> None:
    """Make a new database cluster, and start it; it need not answer yet."""
    home, who = lab.dir / "postgres", owner()
    home.mkdir(mode=0o700)
    data, password = home / "data", home / "password"
    write_private(password, lab.credentials["postgres"]["password"])
    if who is not None:
        os.chown(home, *who)
        os.chown(password, *who)
    argv = [str(binaries() / "initdb"), "-D", str(data), "-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8"]
    argv += ["--locale=C.UTF-8", "--no-sync", f"--pwfile={password}"]
    log = lab.dir / "logs" / "initdb.log"
    initdb = processes.spawn(argv, mark=str(lab.dir), log=log, cwd=home, owner=who)
    # When it fails it removes what it had made.
    if not initdb.wait(120.0) or not (data / "PG_VERSION").exists():
        raise LabError(f"initdb failed: {log.read_text().strip()}")
    password.unlink()
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": lab.ports["postgres"],
        "unix_socket_directories": "",
        "timezone": "UTC",
        # Files of the cluster, not /dev/shm: nothing stays behind when everything is killed.
        "dynamic_shared_memory_type": "mmap",
    }
    arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
    lab.spawn("postgres", [str(binaries() / "postgres"), "-D", str(data), *arguments], cwd=home, owner=who)


def define(lab: Lab) -> None:
    """Wait for the server; make Veza's role, database and tables."""
    account = lab.credentials["database"]
    superuser = _connect(lab, "postgres", lab.credentials["postgres"])
    superuser.autocommit = True
    with superuser.cursor() as cursor:
        role = sql.Identifier(account["user"])
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD %s").format(role), (account["password"],))
        cursor.execute(sql.SQL("CREATE DATABASE veza OWNER {}").format(role))
    superuser.close()
    connection = _connect(lab, "veza", account)
    with connection, connection.cursor() as cursor:
        cursor.execute(SCHEMA.read_text())
        if lab.options.unique_index:
            cursor.execute(UNIQUE_LIVE_JOBS)
    connection.close()


def script(lab: Lab) -> str:
    """Return what ``psql`` needs as the superuser to make the same on a server elsewhere."""
    user, password = lab.credentials["database"]["user"], lab.credentials["database"]["password"].replace("'", "''")
    index = f"{UNIQUE_LIVE_JOBS};" if lab.options.unique_index else ""
    return (
        f"CREATE ROLE {user} LOGIN PASSWORD '{password}';\nCREATE DATABASE veza OWNER {user};\n"
        f"\\connect veza\nSET ROLE {user};\n{SCHEMA.read_text()}\n{index}\n"
    )


def _connect(lab: Lab, database: str, account: dict[str, str]) -> psycopg2.extensions.connection:
    deadline = time.monotonic() + 90
    while True:
        try:
            return psycopg2.connect(
                host="127.0.0.1",
                port=lab.ports["postgres"],
                dbname=database,
                user=account["user"],
                password=account["password"],
                connect_timeout=5,
            )
        except psycopg2.OperationalError as error:
            if time.monotonic() > deadline or lab.running("postgres") is None:
                raise LabError(f"PostgreSQL does not answer; see {lab.dir}/logs/postgres.log: {error}") from error
            time.sleep(0.05)
