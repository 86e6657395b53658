#!/usr/bin/python

# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: queue_drain_wait
short_description: Wait until queues have drained, by figures that can be trusted
version_added: 0.1.0
author:
  - Veza infrastructure team (@veza-infra)
description:
  - Waits until each of the named queues holds at most O(threshold) messages, ready and unacknowledged together.
  - A count that is missing is unknown, not zero. A zero does not count in the first seconds after a node has started,
    and a zero of a quorum queue, or one that rests on statistics only, must last for 10 seconds.
  - A queue that does not drain is classified within a few samples, by how its counters grow; RV(queues[].case) has the
    cases. With O(on_stuck=fail) the wait ends when one will not drain by itself.
  - A queue that emptied into its dead letter queue has not drained, it has failed.
  - Shows a line for each queue every few seconds while it waits.
  - Keeps trying when the broker does not answer, since it may be restarting. A missing queue or virtual host, a refused
    login or a missing right fails at once; what is missing in the first seconds after a node has started may yet come.
  - A timeout and a queue that is stuck fail, with the same values as success.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.actiongroup
  - veza.rabbitmq._management
attributes:
  check_mode:
    support: full
    details:
      - Looks once and says what is left; does not wait.
  diff_mode:
    support: N/A
    details:
      - This action does not modify state.
  idempotent:
    support: full
    details:
      - This action does not modify state.
options:
  queues:
    description:
      - Names of the queues in O(vhost).
    type: list
    elements: str
    required: true
  threshold:
    description:
      - Messages that may be left in each queue.
    type: int
    default: 0
  timeout:
    description:
      - Seconds to wait.
    type: float
    default: 900.0
  interval:
    description:
      - Seconds between two samples.
    type: float
    default: 2.0
  request_timeout:
    description:
      - Seconds that one request may take.
    type: float
    default: 5.0
  not_before:
    description:
      - Instant with an offset from UTC, such as V(2026-11-23T20:15:00Z), before which a zero does not count, because
        publishers may still be retrying.
    type: str
  dead_letter_queues:
    description:
      - Dead letter queue of each queue by its name. What these grow by during the wait has not been done, and is
        counted in RV(queues[].dead_lettered). What lies in them, whenever it came, is RV(queues[].dead_letters).
    type: dict
    default: {}
  max_dead_lettered:
    description:
      - Messages that may have gone to the dead letter queue of a queue that counts as drained.
    type: int
    default: 0
  until:
    description:
      - What is waited for. V(drained) is the end of the backlog. V(worked_on) is reached when each queue has a consumer
        and its messages are acknowledged, unless none are left. It proves the restart of a worker.
    type: str
    choices: [drained, worked_on]
    default: drained
  on_stuck:
    description:
      - What to do when a queue is stuck. V(wait) goes on until O(timeout), since somebody may mend it meanwhile.
        V(fail) ends the wait with the first one that is stuck.
    type: str
    choices: [wait, fail]
    default: wait
  given_up:
    description:
      - Queues that are known to be stuck. They are watched and told, but not waited for, when O(on_stuck=fail).
    type: list
    elements: str
    default: []
  stuck_after:
    description:
      - Seconds for which a queue must show the same case before it is stuck, where the case itself is no proof.
    type: float
    default: 20.0
  task_seconds:
    description:
      - Seconds that one message may take its worker, by name of the queue; V(60) for the others. A consumer that holds
        messages for longer than this, and than three heartbeats of its connection, without acknowledging one, counts
        as not acknowledging.
    type: dict
    default: {}
  resume:
    description:
      - RV(progress) of a wait that has failed, which this one goes on with. O(timeout) and dead letters then count from
        its beginning; whether a queue is stuck is judged anew.
    type: dict
  lease:
    description:
      - The lease of an incident, which is renewed while this waits. The wait fails with RV(refused) when it is lost, or
        when the run is told to stop. Read by the action plugin of the same name.
    type: dict
    suboptions:
      host: {description: "Inventory host that keeps the record. Without it, the one that the task runs on.", type: str}
      dir: {description: "As M(veza.rabbitmq.incident) has it.", type: path, required: true}
      site: {description: "As M(veza.rabbitmq.incident) has it.", type: str, required: true}
      token: {description: "The token that the lease was granted with.", type: int, required: true}
      ttl: {description: "Seconds that a renewal gives.", type: int, default: 120}
  slice:
    description:
      - Seconds after which the module returns unfinished. Internal, set by the action plugin of the same name.
    type: float
  continued:
    description:
      - What the slice before has left. Internal, set by the action plugin of the same name.
    type: dict
notes:
  - A sample costs two small requests for each queue and two more, whatever number of queues the broker has. While
    messages are left, it costs one more for the alarms, and one for each connection that consumes them, of three at
    most a queue.
seealso:
  - module: veza.rabbitmq.rabbitmq_health
"""

EXAMPLES = r"""
- name: Wait until the backlog is done
  veza.rabbitmq.queue_drain_wait:
    login_host: rabbitmq.lxd
    login_user: monitor
    login_password: "{{ veza_rabbitmq_management_password }}"
    vhost: /veza
    queues: [transcode_jobs, dmca_propagation]
    dead_letter_queues:
      transcode_jobs: transcode_jobs.dlq
    timeout: 1800
  delegate_to: localhost
"""

RETURN = r"""
reached:
  description: Whether what O(until) names was reached.
  returned: when the queues could be read
  type: bool
drained:
  description: Whether every queue has drained, and not into its dead letter queue.
  returned: when the queues could be read
  type: bool
queues:
  description: Each queue as last seen.
  returned: when the queues could be read
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    ready:
      description: Messages that wait for a worker; null when unknown, as the next two.
      type: int
    unacked:
      description: Messages that a worker holds.
      type: int
    messages:
      description: Both together.
      type: int
    consumers:
      description: Workers that are subscribed, up to 10 s ago.
      type: int
    state:
      description: What RabbitMQ calls its state.
      type: str
    drained:
      description: Whether it has drained.
      type: bool
    rate:
      description: Messages that it grows by in a second, over the last 30 s; negative while it drains.
      type: float
    eta:
      description: Seconds until it has drained if it goes on like this; null if it does not get there, or is unknown.
      type: float
    known:
      description: Whether its figures are known.
      type: bool
    reason:
      description: Why it is not V(drained).
      type: str
    dead_lettered:
      description: Messages that its dead letter queue has grown by; null when unknown or not asked for.
      type: int
    dead_letters:
      description:
        - Messages that its dead letter queue holds now, those from before the wait included; null when unknown or not
          asked for.
      type: int
    case:
      description:
        - What it is that it does. V(drained); V(dead_lettered) (it is empty, and that is no success); V(settling) (its
          zero does not count yet); V(draining); V(slow) (it drains, but not within O(timeout)); V(inflow) (as much is
          published as is done); V(dead_lettering) (what leaves it is given up); V(undecided) (too few samples);
          V(quiet) (nothing is acknowledged, and it is too early to say why).
        - V(no_consumer); V(consumers_not_acking) (its worker hangs); V(consumer_vanished) (its worker's host sends
          nothing, and the broker will close the connection); V(poison) (messages are delivered again and again and
          not acknowledged); V(crash_loop) (the same, and its consumers come and go); V(alarm); V(worker_blocked) (its
          worker publishes on a connection that the broker blocks); V(no_leader) (of a quorum queue); V(queue_down);
          V(broker_away) (no figures for 2 minutes); V(unknown) (no figures yet).
      type: str
    case_reason:
      description: The figures of the case in words.
      type: str
    case_samples:
      description: The first and the last sample that the case rests on, with the counters as the broker gives them.
      type: list
      elements: dict
    stuck:
      description: Whether it will not drain by itself.
      type: bool
    restart_may_help:
      description: Whether the case is one that a restart of its worker may end.
      type: bool
progress:
  description: What another wait needs to go on from this one, for its O(resume).
  returned: when the queues could be read
  type: dict
stuck:
  description: Names of the queues that are stuck.
  returned: when the queues could be read
  type: list
  elements: str
refused:
  description: Why the lease is not this run's any more, in a word, as M(veza.rabbitmq.incident) says it.
  returned: when O(lease) was refused
  type: str
samples:
  description: What was seen when. At most 240, evenly spread, with the first and the last.
  returned: when the queues could be read
  type: list
  elements: dict
  contains:
    at:
      description: Instant in UTC, by the clock of the host that the module runs on.
      type: str
    elapsed:
      description: Seconds since the wait began.
      type: float
    queues:
      description: C(ready), C(unacked) and C(consumers) by name of the queue, dead letter queues included.
      type: dict
dead_lettered:
  description: Sum of RV(queues[].dead_lettered); null when unknown or not asked for.
  returned: when the queues could be read
  type: int
elapsed:
  description: Seconds that the wait took.
  returned: when the queues could be read
  type: float
message:
  description: The outcome in a few sentences.
  returned: when the queues could be read
  type: str
  sample: >-
    Not drained after 42.1 s: transcode_jobs: 812 left (ready 812, unacked 0), 0 consumers, +0.0/s, no_consumer (stuck):
    nobody has consumed it for 31 s.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._arguments import management_arguments, management_client
from ..module_utils._deadline import LONGEST, check_durations, duration_problems
from ..module_utils._drain import PERMANENT, PERMANENT_AT_FIRST, Goal, Progress, View, message, sample, thin
from ..module_utils._errors import BadInput, Stuck, TimedOut, VezaError
from ..module_utils._management import Management
from ..module_utils._queues import Depth, Look, Reader
from ..module_utils._record import instant, stamp
from ..module_utils._stall import Patience
from ..module_utils._window import parse_instant

NOT_NEGATIVE = ("threshold", "max_dead_lettered")

LOOK = 3.0
"""One sample may take so many times the timeout of a request."""


def argument_spec() -> dict[str, Any]:
    """Return the module's parameters."""
    return {
        "queues": {"type": "list", "elements": "str", "required": True},
        "threshold": {"type": "int", "default": 0},
        "timeout": {"type": "float", "default": 900.0},
        "interval": {"type": "float", "default": 2.0},
        "request_timeout": {"type": "float", "default": 5.0},
        "not_before": {"type": "str"},
        "dead_letter_queues": {"type": "dict", "default": {}},
        "max_dead_lettered": {"type": "int", "default": 0},
        "until": {"type": "str", "choices": ["drained", "worked_on"], "default": "drained"},
        "on_stuck": {"type": "str", "choices": ["wait", "fail"], "default": "wait"},
        "given_up": {"type": "list", "elements": "str", "default": []},
        "stuck_after": {"type": "float", "default": 20.0},
        "task_seconds": {"type": "dict", "default": {}},
        "resume": {"type": "dict"},
        "lease": {"type": "dict", "options": lease_arguments()},
        "slice": {"type": "float"},
        "continued": {"type": "dict"},
        **management_arguments(),
    }


def lease_arguments() -> dict[str, Any]:
    """Return the options of a lease; the token is no secret."""
    return {
        "host": {"type": "str"},
        "dir": {"type": "path", "required": True},
        "site": {"type": "str", "required": True},
        "token": {"type": "int", "required": True, "no_log": False},
        "ttl": {"type": "int", "default": 120},
    }


def goal_of(params: dict[str, Any]) -> Goal:
    """Return what is waited for; BadInput if the parameters make no sense."""
    if not params["queues"]:
        raise BadInput("queues names no queue, so there is nothing to wait for.")
    check_durations(params, ["interval", "request_timeout"], ["timeout", "stuck_after"])
    negative = [name for name in NOT_NEGATIVE if params[name] < 0]
    if negative:
        raise BadInput(f"{', '.join(negative)} must not be negative.")
    for option in ("dead_letter_queues", "task_seconds", "given_up"):
        strangers = sorted(set(params[option]) - set(params["queues"]))
        if strangers:
            raise BadInput(f"{option} names queues that are not in queues: {', '.join(strangers)}.")
    try:
        not_before = parse_instant(params["not_before"]) if params["not_before"] else None
    except ValueError as error:
        raise BadInput(f"not_before: {error}.") from error
    try:
        tasks = {name: float(seconds) for name, seconds in params["task_seconds"].items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"task_seconds must have a number for each queue: {error}.") from error
    if problems := duration_problems(tasks, [], list(tasks)):
        raise BadInput(f"task_seconds: {'; '.join(problems)}.")
    return Goal(
        queues=tuple(dict.fromkeys(params["queues"])),
        threshold=params["threshold"],
        not_before=not_before,
        dead_letters={name: str(queue) for name, queue in params["dead_letter_queues"].items() if queue},
        max_dead_lettered=params["max_dead_lettered"],
        timeout=params["timeout"],
        patience=Patience(params["stuck_after"], tasks=tasks),
    )


def refuse(goal: Goal, depths: Mapping[str, Depth], answered: bool, vhost: str) -> None:
    """Raise VezaError if waiting can't help."""
    hopeless = PERMANENT if answered else PERMANENT | PERMANENT_AT_FIRST
    bad = [depths[name] for name in goal.queues if depths[name].outcome in hopeless]
    # While a broker boots on a busy host, its API may answer before it knows the queues that it has.
    bad = [depth for depth in bad if depth.settled or depth.outcome != "not_found"]
    missing = [depth.name for depth in bad if depth.outcome == "not_found"]
    if missing:
        doubt = ", or that virtual host does not exist" if len(missing) == len(goal.queues) else ""
        raise VezaError(
            "Can't tell whether the queues have drained: there is no queue "
            f"{', '.join(missing)} in virtual host '{vhost}'{doubt}."
        )
    if bad:
        raise VezaError(f"Can't tell whether the queues have drained. {bad[0].reason}")


def resumed(progress: dict[str, Any] | None, now: datetime) -> dict[str, Any]:
    """Return what goes on from an earlier wait; BadInput if it is none."""
    if not progress:
        return {}
    try:
        since = max((now - instant(progress["at"], "resume.at")).total_seconds(), 0.0)
        first = {str(name): int(count) for name, count in progress["first"].items()}
        elapsed = float(progress["elapsed"])
        if not 0 <= elapsed <= LONGEST or any(count < 0 for count in first.values()):
            raise ValueError(progress)
        return {"elapsed": elapsed + since, "first": first, "answered": True}
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise BadInput(f"resume must be the progress that an earlier wait returned: {error!r}.") from error


class Wait:
    """One wait, or one slice of it."""

    def __init__(self, params: dict[str, Any], clock: Callable[[], float], now: datetime) -> None:
        self.goal = goal_of(params)
        self.until = params["until"]
        self.progress = Progress(**(params["continued"] or resumed(params["resume"], now)))
        self.now = now
        self.views: list[View] = []
        self.samples: list[dict[str, Any]] = []
        self._clock = clock
        self._began = clock() - self.progress.elapsed

    def elapsed(self) -> float:
        """Return the seconds since the wait began."""
        return self._clock() - self._began

    def pause(self, timeout: float, interval: float) -> float:
        """Return the seconds until the next sample, which is never later than the end of the wait."""
        sampled = self.progress.sampled
        return 0.0 if sampled is None else max(min(sampled + interval, timeout) - self.elapsed(), 0.0)

    def take(self, look: Look, now: datetime) -> None:
        """Take a sample."""
        elapsed, self.now = self.elapsed(), now
        self.views = self.progress.take(self.goal, look, elapsed, now)
        self.samples = thin([*self.samples, sample(look.depths, elapsed, now)])

    def hopeless(self, given_up: Sequence[str]) -> bool:
        """Whether it is sure that no waiting brings a success: a queue is stuck anew, or all else is over.

        A queue that is empty before its worker is back, as others have worked on it, may still get its consumer.
        """
        anew = [view for view in self.views if view.name not in given_up]
        if any(view.stuck for view in anew):
            return True
        known = [view for view in self.views if view.name in given_up]
        over = all(view.over for view in anew) and all(view.stuck or view.over for view in known)
        return over and self.until == "drained"

    def result(self) -> dict[str, Any]:
        """Return what is known."""
        counts = [view.dead_lettered for view in self.views if view.name in self.goal.dead_letters]
        known = [count for count in counts if count is not None]
        reached = [view.drained if self.until == "drained" else view.worked_on for view in self.views]
        return {
            "changed": False,
            "reached": all(reached),
            "drained": all(view.drained for view in self.views),
            "queues": [asdict(view) for view in self.views],
            "stuck": [view.name for view in self.views if view.stuck],
            "samples": self.samples,
            "progress": {"elapsed": self.elapsed(), "at": stamp(self.now), "first": self.progress.first},
            "dead_lettered": sum(known) if known and len(known) == len(counts) else None,
            "elapsed": round(self.elapsed(), 3),
            "message": message(self.views, self.elapsed()),
        }


def utc_now() -> datetime:
    """Return the instant by this host's clock."""
    return datetime.now(timezone.utc)


def run(
    params: dict[str, Any],
    check_mode: bool,
    look: Callable[[Sequence[str], float], Look],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = utc_now,
) -> dict[str, Any]:
    """Wait until the queues have drained; TimedOut or Stuck with the same keys when they have not.

    ``look`` takes the queues' names and the seconds that it may take. With ``slice`` it returns when that is over, with
    ``continued`` to go on from.
    """
    wait, began = Wait(params, clock, now()), clock()
    timeout, interval = params["timeout"], params["interval"]
    while True:
        sleep(wait.pause(timeout, interval))
        left = timeout - wait.elapsed()
        seen = look(wait.goal.names(), min(LOOK * params["request_timeout"], max(left, 1.0)))
        refuse(wait.goal, seen.depths, wait.progress.answered, params["vhost"])
        wait.take(seen, now())
        result = wait.result()
        if result["reached"] or check_mode:
            return result
        failed = params["until"] == "drained" and all(view.over for view in wait.views)
        if failed or (params["on_stuck"] == "fail" and wait.hopeless(params["given_up"])):
            raise Stuck(result["message"], **result)
        if wait.elapsed() >= timeout:
            raise TimedOut(result["message"], **result)
        if params["slice"] is not None and clock() - began + wait.pause(timeout, interval) > params["slice"]:
            return {**result, "continued": wait.progress.as_dict()}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    try:
        management = Management(management_client(params, params["request_timeout"]), params["login_user"])
        result = run(params, module.check_mode, Reader(management, params["vhost"]).look)
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
