#!/usr/bin/python
# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: transcode_requeue
short_description: Insert the transcode jobs that an outage of the broker lost, each once
version_added: 0.1.0
author: Veza infrastructure team (@veza-infra)
description:
  - Inserts a row into the table of transcode jobs for every track that was uploaded around an outage, was not
    transcoded and has no job. Run twice, or several times at once, it inserts each job once.
  - The window from O(outage_start) to O(outage_end) is widened at both ends by O(publisher_backoff), O(longest_upload)
    and the difference measured between this host's clock and the database's. It is half-open and compared in the
    database's time. The window only bounds the cost. Whether a track gets a job is decided by what the database holds,
    checked again in the statement that inserts.
  - A track is a candidate if its status is one of O(unfinished), O(predicate) holds, it has no job in one of
    O(live_statuses), and no job at all since the start of the window. So a track whose job failed for good is requeued
    once for an outage, not for ever.
  - Nothing is requeued while its message may still arrive. Until the database's clock has passed the end of the
    widened window by as much again, the module refuses and RV(retry_at) says when to come back. Then it asks the
    broker, see O(deliverable_check).
  - With O(state=absent) it deletes jobs that it inserted, as long as no worker has touched them.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.actiongroup
  - veza.rabbitmq._management
attributes:
  check_mode:
    support: full
    details:
      - Refuses whatever the real run would refuse. RV(requeued) then holds the tracks that would get a job.
      - It can't see which rows another transaction has locked.
  diff_mode:
    support: full
    details:
      - Shows at most 20 jobs, and how many there are beyond.
  idempotent:
    support: full
requirements:
  - psycopg2
notes:
  - These rights are enough for a database user C(requeue) that may connect and use the schema.
    V(GRANT SELECT (id, created_at, hls_status\) ON tracks TO requeue;)
    V(GRANT SELECT (id, track_id, status, created_at\) ON transcode_jobs TO requeue;)
    V(GRANT INSERT (track_id, status, attempts, created_at\) ON transcode_jobs TO requeue;)
    Add C(SELECT) on the columns that O(predicate) names, and C(USAGE) on its sequence if C(transcode_jobs.id) is a
    C(serial) column instead of an identity column.
  - Of these O(state=absent) needs only C(SELECT) on C(transcode_jobs), and besides, because it locks and deletes rows,
    V(GRANT SELECT (attempts\), UPDATE (status\), DELETE ON transcode_jobs TO requeue;)
  - Row level security that would hide rows from this user is an error, because a smaller answer would look complete.
  - Works through PgBouncer in transaction mode.
  - With a C(timestamp without time zone) column in a zone that has summer time, the hour that the clock repeats in
    autumn can't be told from the one before. Widen the window by an hour there.
options:
  database_url:
    description:
      - URL or connection string of PostgreSQL, as libpq takes it. It appears in no message.
    type: str
    required: true
  state:
    description:
      - V(present) inserts the jobs that are missing. V(absent) deletes O(jobs).
    type: str
    choices: [present, absent]
    default: present
  outage_start:
    description:
      - When the outage began, with an offset from UTC, for instance V(2026-11-23T20:15:00+01:00) or
        V(2026-11-23T19:15:00Z). An instant without an offset is refused.
      - Required with O(state=present).
    type: str
  outage_end:
    description:
      - When publishers could reach the broker again, likewise. Must come after O(outage_start) and not lie in the
        future.
      - Required with O(state=present).
    type: str
  max_window:
    description:
      - The longest outage that is believed, in seconds. A longer one is refused, because most are mistyped dates.
    type: float
    default: 604800
  publisher_backoff:
    description:
      - Seconds for which the API retries a publish before it drops the event.
    type: float
    default: 30
  longest_upload:
    description:
      - Most seconds from the instant in C(created_at) of a track to the first attempt to publish its event.
    type: float
    default: 60
  unfinished:
    description:
      - The values of C(hls_status) that mean that a track was not transcoded. A null stands for SQL's C(NULL).
      - A status that a worker sets while it works, such as V(processing), may be named too, for tracks that are stuck
        in it. Any value but null needs O(deliverable_check=broker), as only the broker knows that nobody works on
        them.
    type: list
    elements: raw
    default: [null]
  finished:
    description:
      - The values of C(hls_status) that mean that a track was transcoded. Used for O(known_drops) and the counts.
    type: list
    elements: str
    default: [ready]
  predicate:
    description:
      - A further condition on a candidate, as an SQL expression over the track C(t), for instance V(t.deleted_at IS
        NULL).
      - It becomes part of the statements as it is. Never build it from what a user typed.
    type: str
  live_statuses:
    description:
      - The values of a job's C(status) with which a worker will run or is running it. New jobs get the first.
    type: list
    elements: str
    default: [pending, processing]
  known_drops:
    description:
      - How many transcode events are known to be dropped. Leave it out where that is unknown.
      - With more than 0, it is a failure if there is no candidate, unless a track of the window has a job since the
        start of the window (an earlier run has requeued), or all its tracks are finished and they are no fewer than
        this.
      - If there are fewer tracks in the window than this, a warning says so.
    type: int
  uniqueness:
    description:
      - V(index) demands a unique index over the job's track that covers all O(live_statuses), and leaves the last word
        to it. Never a second live job for a track then, whoever else inserts. Without the index the module refuses and
        RV(index_statement) creates it.
      - V(best_effort) also works without the index. An advisory lock keeps runs of this module apart, but an
        application that inserts a job for the same track in the same moment may double it.
    type: str
    choices: [index, best_effort]
    default: index
  batch_size:
    description:
      - Tracks in a transaction. More of them are faster, because each transaction waits for the disk once, and hold
        their rows for longer. 5000 take some tenths of a second.
      - From 10000 tracks on, two connections insert beside each other.
    type: int
    default: 5000
  max_rows:
    description:
      - With more candidates than this nothing is inserted and the module fails.
    type: int
    default: 100000
  jobs:
    description:
      - With O(state=absent), the ids of the jobs to delete, as RV(jobs) gave them, pairs included. Only those are
        deleted that are still in the first of O(live_statuses) with 0 attempts. RV(kept) says why the others are not.
    type: list
    elements: raw
  announced:
    description:
      - What an earlier run for this outage was about to insert, if it ended before it could tell what it had inserted,
        because it was killed for instance. The jobs that these tracks have got since are told in RV(jobs) and
        RV(requeued) as if they had been inserted now, and RV(adopted) counts them.
      - If the application inserted a job for one of them meanwhile, it is among them.
      - With O(state=absent), what such a run was about to delete. Those of its jobs that are gone are told in RV(jobs)
        and RV(released) as if they had been deleted now, and RV(adopted) counts them. The others are deleted like
        O(jobs).
    type: dict
    suboptions:
      since:
        description:
          - An instant with an offset, shortly before that run began to insert. Required with O(state=present).
        type: str
      tracks:
        description:
          - The tracks that lacked a job then, as RV(requeued) tells them in check mode, pairs included.
          - With O(state=absent), the tracks of O(announced.jobs), as RV(released) tells them in check mode.
        type: list
        elements: raw
        required: true
      jobs:
        description:
          - The jobs that it was about to delete, as RV(jobs) tells them in check mode, pairs included. Required with
            O(state=absent).
        type: list
        elements: raw
  deliverable_check:
    description:
      - V(broker) asks the management API and refuses while O(queue) holds messages, ready or unacknowledged, an alarm
        is in effect, a publishing connection of O(vhost) is blocked, or O(dead_letter_queue) holds messages. No answer
        counts as a refusal. It is asked when there are candidates, immediately before the first insert.
      - V(skip) asks nothing. Choose it only when you know that no message can arrive, for instance because the broker
        has lost its data. A message that does arrive is then a second transcode.
    type: str
    choices: [broker, skip]
    default: broker
  queue:
    description:
      - The queue of the transcode events. Required with O(deliverable_check=broker).
    type: str
  drained_at:
    description:
      - An instant with an offset, at which or after which O(queue) was seen empty, by
        M(veza.rabbitmq.queue_drain_wait) for instance, while the broker had no alarm in effect. During an alarm an
        empty queue proves nothing, because messages wait in the sockets of blocked connections.
      - When it is late enough for every message of the window to have come before it (see RV(retry_at)), what the queue
        holds now belongs to younger tracks and does not matter. Without it a queue that is never quite empty, because
        uploads go on, would be refused for ever. An earlier instant is left out of account.
      - How late is late enough depends on the difference between the clocks, which only the module measures. So give
        the instant of the look that found the queue empty, not one that is reckoned from the outage's end.
    type: str
  consumed_within:
    description:
      - Seconds within which a worker takes up a pending job. When older ones are pending, the module warns that nobody
        seems to consume the table, since a job that it inserts would then change nothing.
    type: float
    default: 3600
  dead_letter_queue:
    description:
      - The queue of the transcode events that workers gave up. Without it dead letters are not looked at.
    type: str
  on_dead_letters:
    description:
      - V(refuse) refuses while O(dead_letter_queue) holds messages, as somebody may bring them back.
      - V(proceed) leaves them out of account.
    type: str
    choices: [refuse, proceed]
    default: refuse
  timeout:
    description:
      - Seconds for each request to the management API.
    type: float
    default: 5
  connect_timeout:
    description:
      - Seconds for connecting to PostgreSQL.
    type: float
    default: 10
  statement_timeout:
    description:
      - Seconds for each statement in PostgreSQL, waits for locks included.
    type: float
    default: 60
  application_name:
    description:
      - What C(pg_stat_activity) calls this module.
    type: str
    default: veza.rabbitmq.transcode_requeue
  database_timezone:
    description:
      - The zone of the values in C(created_at) columns of type C(timestamp without time zone), for instance V(UTC).
        Required if there is such a column; of no effect on others.
    type: str
  schema:
    description:
      - What tables and columns are called. Names are taken as they are written, without SQL's folding to lower case.
    type: dict
    suboptions:
      tracks:
        description: The table of tracks.
        type: dict
        suboptions:
          table:
            description: Its name, which may be qualified by a schema. A part with a dot in it stands in double quotes.
            type: str
            default: tracks
          id:
            description: The primary key, of any type.
            type: str
            default: id
          created_at:
            description: When the track was created.
            type: str
            default: created_at
          status:
            description: The state of its transcode.
            type: str
            default: hls_status
      jobs:
        description: The table of transcode jobs.
        type: dict
        suboptions:
          table:
            description: Its name, as for the tracks.
            type: str
            default: transcode_jobs
          id:
            description: The primary key, with a default.
            type: str
            default: id
          track_id:
            description: The track.
            type: str
            default: track_id
          status:
            description: The state of the job.
            type: str
            default: status
          attempts:
            description: How many times a worker has begun.
            type: str
            default: attempts
          created_at:
            description: When the job was created.
            type: str
            default: created_at
seealso:
  - module: veza.rabbitmq.queue_drain_wait
  - module: veza.rabbitmq.eventbus_dropped_info
"""

EXAMPLES = r"""
- name: Requeue the transcodes that the outage lost
  veza.rabbitmq.transcode_requeue:
    database_url: "{{ veza_database_url }}"
    outage_start: "2026-11-23T20:15:00+01:00"
    outage_end: "2026-11-23T20:41:30+01:00"
    known_drops: 17
    login_host: rabbitmq.lxd
    login_user: monitor
    login_password: "{{ veza_rabbitmq_management_password }}"
    vhost: /veza
    queue: transcode_jobs
    dead_letter_queue: transcode_jobs.dlq
  register: requeue

- name: Take back what no worker has begun yet
  veza.rabbitmq.transcode_requeue:
    database_url: "{{ veza_database_url }}"
    state: absent
    jobs: "{{ requeue.jobs }}"
"""

RETURN = r"""
candidates:
  description: How many tracks lacked a job when the module looked; null if it didn't come so far.
  type: int
  returned: always
requeued:
  description:
    - The tracks that got a job. In check mode those that would get one.
    - Of more than 1000, integers that follow one another are a pair, the first and the last of them, so that a million
      take no more room than a few.
  type: list
  elements: raw
  returned: always
jobs:
  description:
    - The jobs that were inserted, or deleted with O(state=absent). Empty for inserts in check mode.
    - With pairs as in RV(requeued).
  type: list
  elements: raw
  returned: always
adopted:
  description: How many of RV(jobs) an earlier run had inserted, or deleted with O(state=absent), see O(announced).
  type: int
  returned: always
released:
  description:
    - With O(state=absent), the tracks whose jobs were deleted.
    - With pairs as in RV(requeued).
  type: list
  elements: raw
  returned: always
left_out:
  description:
    - How many tracks of the window were no candidates, by reason, C(live_job), C(job_since_start), C(finished), and
      C(other) for those that are neither unfinished nor finished.
  type: dict
  returned: always
  sample: {live_job: 0, job_since_start: 17, finished: 212, other: 0}
given_up:
  description:
    - The tracks of the window, as text, that are not transcoded and get no job here, because all their jobs have ended,
      for good as it seems, or because their status is neither unfinished nor finished. As far as the database tells,
      nothing tries them again.
  type: list
  elements: str
  returned: always
unconsumed:
  description: How many jobs have been pending for longer than O(consumed_within), at most 1000. Null if not looked.
  type: int
  returned: always
kept:
  description: With O(state=absent), the jobs that were not deleted.
  type: list
  elements: dict
  returned: always
  contains:
    job:
      description: The job.
      type: raw
    track:
      description: Its track, null if the job is gone.
      type: raw
    reason:
      description: V(gone), V(started) or V(locked).
      type: str
    detail:
      description: The same in words.
      type: str
window:
  description: The window in UTC as it was asked for and as it was widened, and the clocks' difference in seconds.
  type: dict
  returned: always
  sample:
    asked_start: '2026-11-23T19:15:00Z'
    asked_end: '2026-11-23T19:41:30Z'
    start: '2026-11-23T19:13:29.998Z'
    end: '2026-11-23T19:43:00.002Z'
    skew: 0.002
guarantee:
  description: V(index) or V(best_effort), whichever held; null if it didn't come so far. See O(uniqueness).
  type: str
  returned: always
index_statement:
  description: The statement that creates the unique index, if it is missing.
  type: str
  returned: always
deliverable:
  description: What the broker said of messages that may still arrive, keys as in the sample.
  type: dict
  returned: always
  sample: {checked: true, ready: 0, unacked: 0, dead_letters: 0, alarms: null, blocked: []}
retry_at:
  description: The instant from which the module will not refuse because of the time, if it refused because of it.
  type: str
  returned: always
retry_after:
  description: The seconds until then.
  type: int
  returned: always
batches:
  description: Transactions that were committed.
  type: int
  returned: always
unsure_tracks:
  description: Tracks of a batch of which it is unknown whether it was committed. Only ever set in a failure.
  type: list
  elements: raw
  returned: always
unsure_jobs:
  description: The jobs of that batch.
  type: list
  elements: raw
  returned: always
message:
  description: What happened, in a sentence or two.
  type: str
  returned: always
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from itertools import islice
from math import ceil
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _deliverable as deliverable
from ..module_utils import _ids as many
from ..module_utils import _requeue as requeue
from ..module_utils import _window as windows
from ..module_utils._arguments import management_arguments, management_client
from ..module_utils._database import Database, require_psycopg2
from ..module_utils._deadline import LONGEST, duration_problems
from ..module_utils._errors import BadInput, Refused, VezaError
from ..module_utils._management import Management


def argument_spec() -> dict[str, Any]:
    """Return the options."""
    return {
        **management_arguments(),
        "database_url": {"type": "str", "required": True, "no_log": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "outage_start": {"type": "str"},
        "outage_end": {"type": "str"},
        "max_window": {"type": "float", "default": 604800},
        "publisher_backoff": {"type": "float", "default": 30},
        "longest_upload": {"type": "float", "default": 60},
        "unfinished": {"type": "list", "elements": "raw", "default": [None]},
        "finished": {"type": "list", "elements": "str", "default": ["ready"]},
        "predicate": {"type": "str"},
        "live_statuses": {"type": "list", "elements": "str", "default": ["pending", "processing"]},
        "known_drops": {"type": "int"},
        "uniqueness": {"type": "str", "choices": ["index", "best_effort"], "default": "index"},
        "batch_size": {"type": "int", "default": 5000},
        "max_rows": {"type": "int", "default": 100000},
        "jobs": {"type": "list", "elements": "raw"},
        "announced": {
            "type": "dict",
            "options": {
                "since": {"type": "str"},
                "tracks": {"type": "list", "elements": "raw", "required": True},
                "jobs": {"type": "list", "elements": "raw"},
            },
        },
        "deliverable_check": {"type": "str", "choices": ["broker", "skip"], "default": "broker"},
        "drained_at": {"type": "str"},
        "consumed_within": {"type": "float", "default": 3600.0},
        "queue": {"type": "str"},
        "dead_letter_queue": {"type": "str"},
        "on_dead_letters": {"type": "str", "choices": ["refuse", "proceed"], "default": "refuse"},
        "timeout": {"type": "float", "default": 5},
        "connect_timeout": {"type": "float", "default": 10},
        "statement_timeout": {"type": "float", "default": 60},
        "application_name": {"type": "str", "default": "veza.rabbitmq.transcode_requeue"},
        "database_timezone": {"type": "str"},
        "schema": _schema(),
    }


def _schema() -> dict[str, Any]:
    tracks = {"table": "tracks", "id": "id", "created_at": "created_at", "status": "hls_status"}
    jobs = {"table": "transcode_jobs", **{key: key for key in ("id", "track_id", "status", "attempts", "created_at")}}

    def table(columns: dict[str, str]) -> dict[str, Any]:
        options = {key: {"type": "str", "default": name} for key, name in columns.items()}
        return {"type": "dict", "apply_defaults": True, "options": options}

    return {"type": "dict", "apply_defaults": True, "options": {"tracks": table(tracks), "jobs": table(jobs)}}


class Run:
    """One run of the module. ``result`` is what it returns, as far as it has come, also when it fails."""

    def __init__(
        self,
        params: dict[str, Any],
        *,
        check_mode: bool,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        warn: Callable[[str], None],
    ) -> None:
        self.params = params
        self.check_mode = check_mode
        self.now = now
        self.sleep = sleep
        self.warn = warn
        self.settled: datetime | None = None
        self.skew = timedelta(0)
        self.tracks, self.jobs = many.Ids(), many.Ids()
        self.result: dict[str, Any] = {
            "changed": False,
            "candidates": None,
            "adopted": 0,
            **{key: [] for key in ("given_up", "kept", "unsure_tracks", "unsure_jobs")},
            **dict.fromkeys(("window", "guarantee", "index_statement", "retry_at", "retry_after")),
            "left_out": {},
            "unconsumed": None,
            "deliverable": deliverable.NOT_CHECKED,
            "batches": 0,
            "message": "",
        }

    def present(self, tables: requeue.Requeue, asked: windows.Window) -> None:
        """Insert the jobs that are missing."""
        window = self._settled_window(tables, asked)
        self._demand_guarantee(tables)
        self._look_for_a_consumer(tables)
        counts, tracks = tables.plan(window, self.params["max_rows"], listed=self.check_mode)
        self.result.update(candidates=counts.candidates, left_out=counts.left_out(), given_up=counts.given_up)
        if counts.candidates > self.params["max_rows"]:
            raise Refused(
                f"{counts.candidates} tracks lack a job, and max_rows allows {self.params['max_rows']}. Nothing was "
                "inserted. Check the window and the predicate, then raise max_rows."
            )
        self._judge_drops(counts)
        if counts.candidates:
            self._demand_silence()
        if self.check_mode:
            self.tracks = tracks
            self.result["changed"] = bool(len(tracks))
        else:
            self._adopt(tables)
            for batch in tables.insert(window, counts.candidates, self.params["batch_size"]):
                self._record(batch.jobs, batch.tracks)
        self.result["message"] = self._sentence(counts)

    def _adopt(self, tables: requeue.Requeue) -> None:
        """Take up what an earlier run inserted, and could not tell."""
        announced = self.params["announced"]
        if not announced:
            return
        # The clock that this instant is of is neither ours nor the database's; it may differ as much as ours does.
        since = windows.parse_instant(announced["since"]) - max(windows.CLOCK_TOLERANCE, self.skew)
        tracks = many.spelled_out(announced["tracks"])
        for batch in tables.made_since(since, tracks, self.params["batch_size"]):
            self.jobs.add(batch.jobs)
            self.tracks.add(batch.tracks)
        self.result["adopted"] = len(self.jobs)

    def absent(self, tables: requeue.Requeue) -> None:
        """Delete the jobs that no worker has touched."""
        tables.inspect_undo()
        wanted = many.Ids()
        wanted.add(many.spelled_out(self.params["jobs"]))
        wanted.add(many.spelled_out((self.params["announced"] or {"jobs": []})["jobs"]))
        jobs = many.spelled_out(wanted.told())
        for batch, kept in tables.undo(jobs, self.params["batch_size"], check=self.check_mode):
            self._record(batch.jobs, batch.tracks)
            self.result["kept"] += kept
        self._adopt_deleted()
        adopted = self.result["adopted"]
        done = "would be deleted" if self.check_mode else "deleted"
        reasons = dict.fromkeys(("gone", "started", "locked"), 0)
        for kept_job in self.result["kept"]:
            reasons[kept_job["reason"]] += 1
        rest = ", ".join(f"{number} {reason}" for reason, number in reasons.items() if number) or "none"
        self.result["message"] = f"{len(self.jobs) - adopted} jobs {done}; left alone: {rest}."
        if adopted:
            self.result["message"] += f" {adopted} were deleted by an earlier run that could not record them all."

    def _adopt_deleted(self) -> None:
        """Take up what an earlier run deleted, and could not tell: of what it announced, the jobs that are gone."""
        announced = self.params["announced"]
        if not announced:
            return
        about = {str(job) for job in many.spelled_out(announced["jobs"])}
        kept = self.result["kept"]
        lost = (entry["job"] for entry in kept if entry["reason"] == "gone")
        gone = dict.fromkeys(job for job in lost if str(job) in about)
        if not gone:
            return
        # Which job was whose is not told where there are many; but a job that is still there tells its track.
        standing = {str(entry["track"]) for entry in kept if entry["reason"] != "gone"}
        self.jobs.add(gone)
        self.tracks.add(track for track in many.spelled_out(announced["tracks"]) if str(track) not in standing)
        self.result["kept"] = [entry for entry in kept if entry["job"] not in gone]
        self.result["adopted"] = len(gone)

    def _settled_window(self, tables: requeue.Requeue, asked: windows.Window) -> windows.Window:
        """Return the widened window; Refused while the message of a track in it may be on its way."""
        readings = tables.clock(self.now)
        skew = self.skew = windows.measured_skew(readings).bound
        margin = timedelta(seconds=self.params["publisher_backoff"] + self.params["longest_upload"]) + skew
        window = windows.widened(asked, margin)
        self.result["window"] = {
            **{f"asked_{key}": windows.as_text(getattr(asked, key)) for key in ("start", "end")},
            **{key: windows.as_text(getattr(window, key)) for key in ("start", "end")},
            "skew": round(skew.total_seconds(), 6),
        }
        if skew > windows.CLOCK_TOLERANCE:
            self.warn(f"The clocks of this host and of the database differ by up to {skew.total_seconds():.1f} s.")
        # A second more, because the next measurement of the skew differs a little.
        settled = windows.widened(window, margin).end + timedelta(seconds=1)
        self.settled = settled
        wait = settled - readings[-1][1]
        if wait > timedelta(seconds=1):
            self.result.update(retry_at=windows.as_text(settled), retry_after=ceil(wait.total_seconds()))
            raise Refused(
                f"The event of a track near the end of the window may still be on its way. Nothing was "
                f"requeued. Run again in {self.result['retry_after']} s, at {self.result['retry_at']} in database time."
            )
        return window

    def _demand_guarantee(self, tables: requeue.Requeue) -> None:
        statement, slow = tables.inspect(zone_given=self.params["database_timezone"] is not None)
        for missing in slow:
            self.warn(f"An index that would make this faster is missing: {missing}")
        self.result["guarantee"] = "index" if tables.index else "best_effort"
        if tables.index:
            return
        self.result["index_statement"] = statement
        if self.params["uniqueness"] == "index":
            self.result["guarantee"] = None
            raise Refused(
                f"No unique index keeps a track from having two live jobs. Nothing was requeued. Create it: "
                f"{statement} Or choose uniqueness=best_effort: another writer may then double a job."
            )
        self.warn(f"Without a unique index another writer may double a job. Create it: {statement}")

    def _look_for_a_consumer(self, tables: requeue.Requeue) -> None:
        """The runbook takes it for granted that a worker takes jobs from the table; old ones speak against it."""
        seconds = self.params["consumed_within"]
        self.result["unconsumed"] = tables.unconsumed(seconds)
        if self.result["unconsumed"]:
            self.warn(
                f"{self.result['unconsumed']} jobs have been pending for more than {seconds:g} s: does the transcode "
                "worker consume this table?"
            )

    def _judge_drops(self, counts: requeue.Counts) -> None:
        objection = unexplained(self.params["known_drops"], counts)
        if objection:
            raise VezaError(f"{objection} Is it the right window, database, schema, unfinished and predicate?")
        inside = counts.candidates + sum(counts.left_out().values())
        if inside < (self.params["known_drops"] or 0):
            self.warn(
                f"{self.params['known_drops']} events are known to be dropped, but the window has {inside} tracks."
            )
        if counts.other:
            states = ", ".join(counts.other_statuses)
            self.warn(f"{counts.other} tracks of the window are neither unfinished nor finished. Statuses: {states}.")

    def _demand_silence(self) -> None:
        """Raise Refused if a message may still arrive."""
        params = self.params
        if params["deliverable_check"] == "skip":
            return
        queue, dead = params["queue"], params["dead_letter_queue"]
        management = Management(management_client(params, params["timeout"]), params["login_user"])
        found = deliverable.look(management, params["vhost"], queue, dead, timeout=params["timeout"], sleep=self.sleep)
        self.result["deliverable"] = {"checked": True, **asdict(found)}
        proceed = params["on_dead_letters"] == "proceed"
        reasons = deliverable.objections(
            found, queue, dead, allow_dead_letters=proceed, was_empty=self._was_empty_in_time()
        )
        if reasons:
            early = self._too_early() if found.ready or found.unacked else ""
            raise Refused(f"Messages may still arrive: {'; '.join(reasons)}. Nothing was requeued.{early}")

    def _too_early(self) -> str:
        """Say why it does not help that the queue was empty once; empty if it was not, or if it does."""
        if not self.params["drained_at"] or not self.settled or self._was_empty_in_time():
            return ""
        return (
            f" That {self.params['queue']} was empty at {self.params['drained_at']} proves nothing: until "
            f"{windows.as_text(self.settled)} a message of the window may have come."
        )

    def _was_empty_in_time(self) -> bool:
        """Whether the queue was empty when every message of the window had come."""
        drained_at = self.params["drained_at"]
        return bool(drained_at and self.settled and windows.parse_instant(drained_at) >= self.settled)

    def outcome(self) -> dict[str, Any]:
        """Return the result as the task shows it."""
        ours, other = ("requeued", "released") if self.params["state"] == "present" else ("released", "requeued")
        return {**self.result, ours: self.tracks.told(), other: [], "jobs": self.jobs.told()}

    def _record(self, jobs: list[requeue.Id], tracks: list[requeue.Id]) -> None:
        self.tracks.add(tracks)
        self.jobs.add(jobs)
        self.result["changed"] |= bool(jobs)
        self.result["batches"] += not self.check_mode

    def _sentence(self, counts: requeue.Counts) -> str:
        done = "would be requeued" if self.check_mode else "requeued"
        already = counts.live_job + counts.job_since_start
        adopted = self.result["adopted"]
        text = f"{len(self.tracks) - adopted} tracks {done}; {already} of the window have a job already."
        if adopted:
            text += f" {adopted} of these were requeued by an earlier run that could not record them all."
        if counts.given_up:
            text += f" {len(counts.given_up)} are not transcoded, and nothing tries them again."
        if self.result["guarantee"] == "best_effort":
            text += " Best effort: another writer that inserts at the same time may double a job."
        return text


def unexplained(known_drops: int | None, counts: requeue.Counts) -> str | None:
    """Return what is wrong with finding no candidate although events were dropped, or None if nothing is."""
    if not known_drops or counts.candidates or counts.live_job or counts.job_since_start:
        return None
    if counts.finished >= known_drops and not counts.other:
        return None
    statuses = f" (hls_status {', '.join(counts.other_statuses)})" if counts.other else ""
    return (
        f"{known_drops} events are known to be dropped, but no track in the window lacks a job or was given one: "
        f"{counts.finished} are finished, {counts.other} are neither finished nor unfinished{statuses}."
    )


def problems_of(params: dict[str, Any], now: datetime) -> tuple[windows.Window | None, list[str]]:
    """Return the window that was asked for, and all that is wrong with the options."""
    least = {"known_drops": 0, "batch_size": 1, "max_rows": 1}
    given = {key: params[key] for key in least if params[key] is not None}
    found = [f"{key}: must be at least {least[key]}." for key, value in given.items() if value < least[key]]
    positive = ("consumed_within", "max_window", "timeout", "connect_timeout", "statement_timeout")
    unsound = duration_problems(params, positive, ("publisher_backoff", "longest_upload"))
    found += [f"{problem}." for problem in unsound]
    found += odd_ids("jobs", params["jobs"] or [])
    if params["announced"]:
        found += announced_problems(params["state"], params["announced"], now)
    found += [f"{key}: must not be empty." for key in ("unfinished", "live_statuses") if not params[key]]
    window = None
    if params["state"] == "present":
        if params["deliverable_check"] == "broker" and not params["queue"]:
            found.append("queue: required, to ask the broker whether messages may still arrive (deliverable_check).")
        if params["deliverable_check"] == "skip" and any(value is not None for value in params["unfinished"]):
            found.append("unfinished: any value but null needs deliverable_check=broker.")
        longest = timedelta(seconds=LONGEST if unsound else params["max_window"])
        if params["drained_at"] is not None:
            found += windows.instant_problems("drained_at", params["drained_at"], now=now)
        window, wrong = windows.asked_window(params["outage_start"], params["outage_end"], now=now, longest=longest)
        found = wrong + found
    return window, found


def announced_problems(state: str, announced: dict[str, Any], now: datetime) -> list[str]:
    """Return what is wrong with what an earlier run announced."""
    needed = "since" if state == "present" else "jobs"
    if announced[needed] is None:
        return [f"announced.{needed}: required with state={state}."]
    found = windows.instant_problems("announced.since", announced["since"], now=now) if state == "present" else []
    return found + odd_ids("announced.tracks", announced["tracks"]) + odd_ids("announced.jobs", announced["jobs"] or [])


def odd_ids(key: str, entries: list[Any]) -> list[str]:
    """Return what is wrong with ids that are told as this module tells them."""
    odd = [entry for entry in entries if not (isinstance(entry, (int, str)) or many.is_pair(entry))]
    return [f"{key}: {entry!r} is neither an id nor a pair of integers, the first and the last." for entry in odd]


def diff_of(tracks: list[Any], jobs: list[Any], *, removed: bool, shown: int = 20) -> dict[str, str]:
    """Return the jobs that appear or go, at most ``shown`` of them in full."""
    what, told = ("job", jobs) if removed else ("a job for track", tracks)
    lines = [f"{what} {value}" for value in islice(many.spelled_out(told), shown)]
    total = many.count(told)
    if total > shown:
        lines.append(f"... and {total - shown} more, {total} in all")
    text = "".join(line + "\n" for line in lines)
    return {"before": text if removed else "", "after": "" if removed else text}


def run(
    params: dict[str, Any],
    *,
    check_mode: bool,
    warn: Callable[[str], None],
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Do what the options say and return the result; raise VezaError with the same keys as far as they are known."""
    job = Run(params, check_mode=check_mode, now=now, sleep=sleep, warn=warn)
    try:
        window, found = problems_of(params, now())
        if found:
            raise BadInput(" ".join(found))
        require_psycopg2()
        options = {key: params[key] for key in ("connect_timeout", "statement_timeout", "application_name")}
        options["timezone"] = params["database_timezone"] or "UTC"
        databases = [Database(params["database_url"], **options) for _lane in range(2)]
        rules = [params[key] for key in ("unfinished", "finished", "live_statuses", "predicate")]
        called = requeue.Names.of(params["schema"])
        tables = requeue.Requeue(databases[0], called, requeue.Rules(*rules), sleep=sleep, beside=databases[1])
        try:
            if window is None:
                job.absent(tables)
            else:
                job.present(tables, window)
        finally:
            for database in databases:
                database.close()
    except VezaError as error:
        error.details = {**job.outcome(), "message": error.message, **error.details}
        raise
    return job.outcome()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(),
        required_if=[("state", "present", ["outage_start", "outage_end"]), ("state", "absent", ["jobs"])],
        supports_check_mode=True,
    )
    try:
        result = run(module.params, check_mode=module.check_mode, warn=module.warn)
        removed = module.params["state"] == "absent"
        module.exit_json(**result, diff=diff_of(result["requeued"], result["jobs"], removed=removed))
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())


if __name__ == "__main__":
    main()
