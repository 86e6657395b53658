# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""transcode_requeue against the runbook's single INSERT, on the same data, while an application goes on writing.

    .venv/bin/python -m tests.bench.requeue [--sizes 10000,100000,1000000] [--rounds 3] [--out docs]

A real PostgreSQL, synchronous commits, ten times as many tracks as lack a job. Both sides find the same tables, in
turn. Meanwhile an ordinary writer uploads tracks and updates tracks of the outage, and notes how long each takes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.integration.requeue_lab import Base, create, running
from tests.lab.state import CHECKOUT

LICENCE = "SPDX-License-Identifier" + ": GPL-3.0-or-later"
TIMES = 10
"""So many tracks there are for each that lacks its job."""
SMALL, OFTENER = 100_000, 5
"""Below so many jobs a run takes so little time that it is made so many times as often."""

TABLES = """
CREATE TABLE tracks (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text, hls_status text,
                     created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE transcode_jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                             track_id bigint NOT NULL REFERENCES tracks (id), status text NOT NULL,
                             attempts integer NOT NULL, created_at timestamptz NOT NULL);
CREATE UNIQUE INDEX one_live ON transcode_jobs (track_id) WHERE status IN ('pending', 'processing');
CREATE INDEX ON transcode_jobs (track_id);
CREATE INDEX ON tracks (created_at);
"""
OLD = """
INSERT INTO tracks (title, hls_status, created_at)
SELECT 'title ' || n, 'ready', now() - interval '30 days' * random() - interval '1 day' FROM generate_series(1, %s) n
"""
LOST = """
INSERT INTO tracks (title, created_at) SELECT 'lost ' || n, now() - interval '2 hours' + interval '1 hour' * n / %s
  FROM generate_series(1, %s) n
"""
RUNBOOK = """
INSERT INTO transcode_jobs (track_id, status, attempts, created_at)
SELECT id, 'pending', 0, NOW() FROM tracks WHERE created_at BETWEEN %s AND %s AND hls_status IS NULL
"""
"""The runbook's own statement."""

CHILD = """
import json, sys, time
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.veza.rabbitmq.plugins.module_utils._ids import count
from ansible_collections.veza.rabbitmq.plugins.modules import transcode_requeue as module
given = ArgumentSpecValidator(module.argument_spec()).validate(json.load(sys.stdin)).validated_parameters
began = time.monotonic()
found = module.run(given, check_mode=False, warn=lambda text: None)
print(json.dumps({"seconds": time.monotonic() - began, "jobs": count(found["jobs"])}))
"""
"""The module alone, in a process of its own: its start, as of any module, is not what is compared."""


@dataclass(frozen=True)
class Run:
    """One side, once."""

    seconds: float
    lock: float
    """Longest time that a transaction of it lasted, and so held its rows."""
    latencies: list[float]
    memory: float = 0.0
    """Peak of its process, in MiB."""


def prepared(base: Base, size: int) -> tuple[str, str]:
    """Fill the tables; return the outage's start and end."""
    base.run(TABLES)
    base.run(OLD, size * (TIMES - 1))
    base.run(LOST, size, size)
    base.run("VACUUM ANALYZE")
    now = datetime.now(UTC)
    return (now - timedelta(hours=3)).isoformat(), (now - timedelta(minutes=45)).isoformat()


class Traffic:
    """An application that writes: an upload with its job, and a change of a track of the outage."""

    def __init__(self, base: Base, size: int) -> None:
        self.base, self.first = base, size * (TIMES - 1)
        self.size = size
        self.latencies: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Traffic:
        """Begin to write."""
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        """End it."""
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        number = 0
        with closing(self.base.server.connect(self.base.name)) as connection, connection.cursor() as cursor:
            while not self._over.wait(0.005):
                number += 1
                began = time.monotonic()
                cursor.execute("BEGIN")
                cursor.execute("INSERT INTO tracks (title, hls_status) VALUES ('new', 'ready') RETURNING id")
                (track,) = cursor.fetchone()
                cursor.execute(
                    "INSERT INTO transcode_jobs (track_id, status, attempts, created_at) VALUES (%s, 'done', 1, now())",
                    (track,),
                )
                cursor.execute(
                    "UPDATE tracks SET title = 'changed' WHERE id = %s",
                    (self.first + 1 + number * 7919 % self.size,),
                )
                cursor.execute("COMMIT")
                self.latencies.append(time.monotonic() - began)


@contextmanager
def transactions(base: Base, name: str) -> Iterator[list[float]]:
    """Watch how long the transactions of an application last."""
    lasted: list[float] = [0.0]
    over = threading.Event()
    statement = (
        "SELECT COALESCE(EXTRACT(EPOCH FROM max(clock_timestamp() - xact_start)), 0)::float8"
        "  FROM pg_stat_activity WHERE application_name = %s AND backend_xid IS NOT NULL"
    )

    def watch() -> None:
        with closing(base.server.connect(base.name)) as connection, connection.cursor() as cursor:
            while not over.wait(0.05):
                cursor.execute(statement, (name,))
                lasted[0] = max(lasted[0], *cursor.fetchone())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lasted
    finally:
        over.set()
        thread.join()


def typed(base: Base, window: tuple[str, str], size: int) -> Run:
    """Run the runbook's INSERT."""
    with Traffic(base, size) as traffic:
        time.sleep(0.3)
        began = time.monotonic()
        with closing(base.server.connect(base.name)) as connection, connection.cursor() as cursor:
            cursor.execute(RUNBOOK, window)
            seconds = time.monotonic() - began
            if cursor.rowcount != size:
                raise SystemExit(f"the runbook's INSERT made {cursor.rowcount} jobs of {size}")
    return Run(seconds, seconds, traffic.latencies)


def ours(base: Base, window: tuple[str, str], size: int) -> Run:
    """Run the module."""
    given = {
        "database_url": base.url,
        "outage_start": window[0],
        "outage_end": window[1],
        "deliverable_check": "skip",
        "max_rows": size,
        "statement_timeout": 600,
    }
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / ".collections")}
    with Traffic(base, size) as traffic, transactions(base, "veza.rabbitmq.transcode_requeue") as lasted:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert child.stdin
        assert child.stdout
        json.dump(given, child.stdin)
        child.stdin.close()
        text = child.stdout.read()
        _pid, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"the module ended with {child.returncode}: {text}")
    found = json.loads(text)
    if found["jobs"] != size:
        raise SystemExit(f"the module made {found['jobs']} jobs of {size}")
    return Run(found["seconds"], lasted[0], traffic.latencies, usage.ru_maxrss / 1024)


def quiet(base: Base, size: int) -> list[float]:
    """Return the latencies of the application when nobody requeues."""
    with Traffic(base, size) as traffic:
        time.sleep(3.0)
    return traffic.latencies


def percentile(values: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1] * 1000


def told(latencies: list[float]) -> str:
    """Return median, 99th percentile and longest of latencies."""
    return f"{percentile(latencies, 0.5):.1f} / {percentile(latencies, 0.99):.1f} / {max(latencies) * 1000:.0f} ms"


def compare(size: int, rounds: int) -> list[str]:
    """Return the table's cells for one size."""
    rounds *= OFTENER if size < SMALL else 1
    with running(fsync="on", shared_buffers="256MB", max_wal_size="4GB") as server:
        base = create(server, "bench")
        window = prepared(base, size)
        before = quiet(base, size)
        sides: dict[Callable[..., Run], list[Run]] = {typed: [], ours: []}
        for _round in range(rounds):
            for side, runs in sides.items():
                base.run("DELETE FROM transcode_jobs WHERE status = 'pending'")
                base.run("VACUUM ANALYZE transcode_jobs")
                base.run("CHECKPOINT")
                runs.append(side(base, window, size))
                print(f"{size}: {side.__name__} {runs[-1].seconds:.2f} s", flush=True)
    theirs, mine = (statistics.median(run.seconds for run in runs) for runs in sides.values())
    return [
        f"{size:,}".replace(",", " "),
        f"{theirs:.2f} s",
        f"{mine:.2f} s",
        f"{theirs / mine:.2f}",
        f"{size / mine:,.0f}".replace(",", " "),
        f"{max(run.memory for run in sides[ours]):.0f} MiB",
        f"{max(run.lock for run in sides[typed]):.2f} s",
        f"{max(run.lock for run in sides[ours]):.2f} s",
        told(before),
        told([one for run in sides[typed] for one in run.latencies]),
        told([one for run in sides[ours] for one in run.latencies]),
    ]


HEADINGS = ("Jobs", "INSERT", "Module", "Throughput", "Jobs a second", "Memory", "Locks: INSERT", "Locks: module",
            "Application alone", "beside the INSERT", "beside the module")  # fmt: skip


def page(lines: list[list[str]], version: str, rounds: int) -> str:
    """Return the page."""
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in [list(HEADINGS), ["---"] * len(HEADINGS), *lines])
    return f"""<!--
Copyright (c) 2026, Veza infrastructure team
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
{LICENCE}
-->

# Requeue at scale

`transcode_requeue` against the runbook's single `INSERT … SELECT`, on the same tables of one real PostgreSQL {version}
(synchronous commits; {TIMES} tracks for each that lacks its job), in turn, {rounds} times each ({OFTENER} times as
often below 100 000 jobs), medians; both connect first. Measured on {datetime.now(UTC):%Y-%m-%d} on a machine with two
processors by `.venv/bin/python -m tests.bench.requeue`.

{table}

- *Throughput*: the module's against the INSERT's, which checks nothing and doubles every job when it runs twice. 0.8 is
  wanted; what is below is behind. What it asks first (privileges, indexes, clocks, how many tracks) takes some 0.02 s.
- *Memory*: the peak of the module's process, Python and psycopg2 included.
- *Locks*: the longest transaction that wrote, and so the longest time for which a row was locked.
- *Application*: latency (median / 99th percentile / longest) of a transaction that uploads a track with its job and
  changes a track of the outage, a hundred and more a second.
"""


def main() -> None:
    """Measure, print and write docs/bench-requeue.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=CHECKOUT / "docs")
    options = parser.parse_args()
    lines = []
    for size in (int(size) for size in options.sizes.split(",")):
        lines.append(compare(size, options.rounds))
        print(" | ".join(lines[-1]), flush=True)
    with running() as server, closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        version = str(cursor.fetchone()[0]).split()[0]
    options.out.mkdir(exist_ok=True)
    (options.out / "bench-requeue.md").write_text(page(lines, version, options.rounds))


if __name__ == "__main__":
    main()
