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
  - Shows a line for each queue every few seconds while it waits.
  - Keeps trying when the broker does not answer, since it may be restarting. A missing queue or virtual host, a refused
    login or a missing right fails at once; what is missing in the first seconds after a node has started may yet come.
  - A timeout fails, with the same values as success.
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
        counted in RV(queues[].dead_lettered).
    type: dict
    default: {}
  slice:
    description:
      - Seconds after which the module returns unfinished. Internal, set by the action plugin of the same name.
    type: float
  continued:
    description:
      - What the slice before has left. Internal, set by the action plugin of the same name.
    type: dict
notes:
  - Costs one small request for each queue and three more for a sample, whatever number of queues the broker has.
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
drained:
  description: Whether every queue has drained.
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
  sample: "Not drained after 900.0 s: transcode_jobs: 812 left (ready 800, unacked 12), 0 consumers, +0.0/s."
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._arguments import management_arguments, management_client
from ..module_utils._drain import PERMANENT, PERMANENT_AT_FIRST, Goal, Progress, View, message, sample, thin
from ..module_utils._errors import BadInput, TimedOut, VezaError
from ..module_utils._management import Management
from ..module_utils._queues import Depth, Reader
from ..module_utils._window import parse_instant

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
        "slice": {"type": "float"},
        "continued": {"type": "dict"},
        **management_arguments(),
    }


def goal_of(params: dict[str, Any]) -> Goal:
    """Return what is waited for; BadInput if the parameters make no sense."""
    if not params["queues"]:
        raise BadInput("queues names no queue, so there is nothing to wait for.")
    if params["interval"] <= 0 or params["request_timeout"] <= 0 or params["timeout"] < 0 or params["threshold"] < 0:
        raise BadInput("interval and request_timeout must be above 0, timeout and threshold must not be negative.")
    strangers = sorted(set(params["dead_letter_queues"]) - set(params["queues"]))
    if strangers:
        raise BadInput(f"dead_letter_queues names queues that are not in queues: {', '.join(strangers)}.")
    try:
        not_before = parse_instant(params["not_before"]) if params["not_before"] else None
    except ValueError as error:
        raise BadInput(f"not_before: {error}.") from error
    dead_letters = {name: str(queue) for name, queue in params["dead_letter_queues"].items() if queue}
    return Goal(tuple(dict.fromkeys(params["queues"])), params["threshold"], not_before, dead_letters)


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


class Wait:
    """One wait, or one slice of it."""

    def __init__(self, params: dict[str, Any], clock: Callable[[], float]) -> None:
        self.goal = goal_of(params)
        self.progress = Progress(**(params["continued"] or {}))
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

    def take(self, depths: Mapping[str, Depth], now: datetime) -> None:
        """Take a sample."""
        elapsed = self.elapsed()
        self.views = self.progress.take(self.goal, depths, elapsed, now)
        self.samples = thin([*self.samples, sample(depths, elapsed, now)])

    def result(self) -> dict[str, Any]:
        """Return what is known."""
        counts = [view.dead_lettered for view in self.views if view.name in self.goal.dead_letters]
        known = [count for count in counts if count is not None]
        return {
            "changed": False,
            "drained": all(view.drained for view in self.views),
            "queues": [asdict(view) for view in self.views],
            "samples": self.samples,
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
    read: Callable[[Sequence[str], float], Mapping[str, Depth]],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = utc_now,
) -> dict[str, Any]:
    """Wait until the queues have drained; TimedOut with the same keys when they have not.

    ``read`` takes the queues' names and the seconds that it may take. With ``slice`` it returns when that is over, with
    ``continued`` to go on from.
    """
    wait, began = Wait(params, clock), clock()
    timeout, interval = params["timeout"], params["interval"]
    while True:
        sleep(wait.pause(timeout, interval))
        left = timeout - wait.elapsed()
        depths = read(wait.goal.names(), min(LOOK * params["request_timeout"], max(left, 1.0)))
        refuse(wait.goal, depths, wait.progress.answered, params["vhost"])
        wait.take(depths, now())
        result = wait.result()
        if result["drained"] or check_mode:
            return result
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
        result = run(params, module.check_mode, Reader(management, params["vhost"]).read)
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
