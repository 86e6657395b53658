#!/usr/bin/python

# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rabbitmq_health
short_description: Say whether a RabbitMQ broker is fit to serve, and why not
version_added: 0.1.0
author:
  - Veza infrastructure team (@veza-infra)
description:
  - Reads the management API over one connection, and answers with a verdict and with each check by itself.
  - Never says V(healthy) under an alarm, nor for a broker that has lost its data. The expected O(vhost), O(queues) and
    O(node) are part of health, because a broker that starts with an empty data directory is up and looks well.
  - What could not be seen is V(unknown), never a pass. A right that is missing is named, and is never called down.
  - Where the management API does not answer, or refuses the login, it asks the Prometheus endpoint
    (O(prometheus_port)), the command line tool on the broker's host (O(cli)) and reads the greeting of the AMQP port,
    and says what is unknown therefore. While the management API is slow to answer, these are asked already.
  - Costs a handful of small requests, also on a broker with thousands of queues. A look ends with the first request
    that gets no answer in time, and after O(timeout) in any case. Only O(cli) and the second look at O(queues)
    (O(sample_seconds)) come on top.
  - With O(queues) and without O(wait_timeout) it also says what messages do (RV(traffic)).
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.info
  - veza.rabbitmq._attributes.actiongroup
  - veza.rabbitmq._management
options:
  queues:
    description:
      - Names of queues that must exist in O(vhost). Each is asked for by its name, and what happens in it is
        returned as RV(traffic).
    type: list
    elements: str
    default: []
  node:
    description:
      - Name that the node must have, such as V(rabbit@rabbitmq). A broker whose host was renamed starts empty under
        another one.
    type: str
  amqp_host:
    description:
      - Host of the AMQP port. O(login_host) by default.
    type: str
  amqp_port:
    description:
      - Port on which the broker must listen for AMQP.
    type: int
    default: 5672
  checks:
    description:
      - Checks of your own.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the check.
        type: str
        required: true
      query:
        description:
          - JMESPath expression over a document with the keys C(whoami), C(overview), C(nodes), C(vhosts), C(health)
            (the answers of the health checks by name) and C(queues) (the O(queues) by name), each as the management
            API gives it. Documents that could not be read are missing, and an expression that finds nothing is
            V(unknown), unless O(checks[].expect) is null.
        type: str
        required: true
      expect:
        description:
          - What the expression must return.
        type: raw
        default: true
  certificate_days:
    description:
      - Days for which every TLS certificate of the broker must still be valid. Not checked by default.
    type: int
  settled:
    description:
      - Whether the counts of every queue in O(queues) must be known too. After a boot they are missing for up to 17 s.
    type: bool
    default: false
  timeout:
    description:
      - Seconds that one look may take, with all its requests.
    type: float
    default: 5.0
  sample_seconds:
    description:
      - Seconds after which a second look is taken at the latest when the first leaves open whether messages are being
        worked off, or counts no consumer, because the broker's counters lag by 5 s. It is taken earlier when they move.
        At most 3 s more are spent on it when the broker stops answering meanwhile.
      - V(0) never looks twice.
    type: float
    default: 6.0
  prometheus_port:
    description:
      - Port of the endpoint of C(rabbitmq_prometheus) on O(login_host), which is asked without TLS and a login.
      - V(0) does not ask it.
    type: int
    default: 15692
  wait_timeout:
    description:
      - Seconds to look again until the verdict is V(healthy). The module fails when they have passed, with the same
        values that it would have returned.
      - V(0) looks once, and never fails because of what it finds.
    type: float
    default: 0.0
  cli:
    description:
      - Command, as a list of arguments, that C(check_running) and the like are appended to, for example
        V([rabbitmq-diagnostics]). Only where the module runs on the broker's host. All commands together take at most
        15 s.
    type: list
    elements: str
    default: []
requirements:
  - jmespath (with O(checks))
seealso:
  - module: veza.rabbitmq.amqp_probe
  - module: veza.rabbitmq.queue_drain_wait
"""

EXAMPLES = r"""
- name: Look once
  veza.rabbitmq.rabbitmq_health:
    login_host: rabbitmq.lxd
    login_user: monitor
    login_password: "{{ veza_rabbitmq_management_password }}"
    vhost: /veza
    queues: [transcode_jobs, dmca_propagation]
  delegate_to: localhost
  register: health

- name: Tell what is wrong
  ansible.builtin.debug:
    var: health.reason

- name: Wait after a restart until it serves and its counts are known, with a rule of our own
  veza.rabbitmq.rabbitmq_health:
    login_host: rabbitmq.lxd
    login_user: monitor
    login_password: "{{ veza_rabbitmq_management_password }}"
    vhost: /veza
    queues: [transcode_jobs]
    settled: true
    wait_timeout: 120
    checks:
      - name: transcode_has_a_worker
        query: queues.transcode_jobs.consumers > `0`
  delegate_to: localhost
"""

RETURN = r"""
verdict:
  description:
    - V(unhealthy) when a check failed. V(unknown) when none failed, but one that matters could not be answered; a
      refused login says nothing about the broker, so it is V(unknown) too.
  returned: always
  type: str
  choices: [healthy, unhealthy, unknown]
reason:
  description: Why, in one sentence, the cause first.
  returned: always
  type: str
  sample: "Alarms: There are alarms in effect in the cluster: disk space on rabbit@mq: RabbitMQ 3.10.8, rabbit@mq."
rung:
  description: What the answer rests on. V(none) when nothing answered as the broker does.
  returned: always
  type: str
  choices: [management, prometheus, cli, amqp, none]
management:
  description: What the management API answered to the first request.
  returned: always
  type: dict
  contains:
    outcome:
      description: V(not_permitted) means logged in, but without the right, V(not_management) another server.
      type: str
      choices: [ok, name_not_resolved, refused, timed_out, reset, tls_failed, unreachable, not_http, not_management,
        login_refused, not_permitted, not_found, server_error]
    detail:
      description: The same in a sentence.
      type: str
checks:
  description: Every check, the graver first, then those of O(checks).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description:
        - V(reachable), V(authorised), V(identity), V(alarms), V(local_alarms), V(vhost), V(queues), V(nodes_running),
          V(partitions), V(file_descriptors), V(virtual_hosts), V(listeners), V(quorum_critical), V(certificate),
          V(leaders), V(in_service), or a name of O(checks).
        - Checks that RabbitMQ 4.1 brought (V(leaders), V(in_service)) are read from its source, not measured.
      type: str
    result:
      description: V(unavailable) when this version of RabbitMQ has no such check, or it was not wanted.
      type: str
      choices: [pass, fail, unknown, unavailable]
    detail:
      description: What was seen.
      type: str
    source:
      description: Where it was seen.
      type: str
    age:
      description: Seconds by which the figures may lag behind the broker; null where nothing was read.
      type: float
unknown:
  description: Names of the checks that are unknown.
  returned: always
  type: list
  elements: str
broker:
  description: Who answered; each is null where unknown.
  returned: always
  type: dict
  contains:
    version:
      description: Version of RabbitMQ.
      type: str
    erlang:
      description: Version of Erlang.
      type: str
    cluster_name:
      description: Name of the cluster.
      type: str
    node:
      description: Name of the node that answered.
      type: str
    uptime:
      description: Seconds since the youngest node was started.
      type: float
traffic:
  description:
    - What messages do. Null where the management API does not answer, without O(queues) and with O(wait_timeout).
    - What is null is not known. A zero with an age is one of that many seconds ago.
  returned: always
  type: dict
  contains:
    seconds:
      description: Seconds between two looks; V(0) when there was one, and then every difference is null.
      type: float
    queues:
      description: The O(queues), then the dead letter queue of each that has one.
      type: list
      elements: dict
      contains:
        name:
          description: Its name.
          type: str
        of:
          description: Whose dead letter queue it is; null for one of O(queues).
          type: str
        type:
          description: What RabbitMQ calls its type.
          type: str
        state:
          description: What RabbitMQ calls its state.
          type: str
        messages:
          description: Messages that it holds.
          type: int
        ready:
          description: Messages that wait for a consumer.
          type: int
        unacked:
          description: Messages that a consumer holds.
          type: int
        persistent:
          description: Messages that a classic queue keeps when the broker stops, by its statistics.
          type: int
        age:
          description: >-
            Seconds by which RV(traffic.queues[].messages), ready and unacked may lag. Everything else about a queue may
            lag by 10 s.
          type: float
        ready_bytes:
          description: Bytes of the messages that are ready.
          type: int
        consumers:
          description: How many consumers it has.
          type: int
        consumer_hosts:
          description: The addresses that they connect from. Null for a dead letter queue.
          type: list
          elements: str
        without_ack:
          description:
            - Those of them that take messages without acknowledging any. Each is gone from the queue when it is sent.
              Null for a dead letter queue.
          type: list
          elements: dict
          contains:
            host: {description: "The address that it connects from.", type: str}
            port: {description: "The port there.", type: int}
        redelivered:
          description: Whether messages have come back and been delivered again since the broker's start.
          type: bool
        published:
          description: Messages published to it between the two looks.
          type: int
        delivered:
          description: Messages delivered between the two looks.
          type: int
        acked:
          description: Messages done with between the two looks. What is delivered to a consumer without acks counts.
          type: int
        acked_total:
          description: Messages done with since the queue's statistics began. V(null) without statistics.
          type: int
        redelivered_count:
          description: Messages delivered again between the two looks.
          type: int
        in_vain:
          description:
            - How often, within the last 10 minutes and since a message was last done with, messages were delivered
              again. V(null), like the next four, where the first look tells enough, or the broker keeps no samples.
          type: int
        came_back:
          description: How many messages were delivered again since then, the second look included.
          type: int
        stuck_for:
          description: For how many seconds, up to 10 minutes, it has held messages of which none was done with.
          type: int
        unacked_for:
          description: For how many of these seconds consumers have held such messages, without a break until now.
          type: int
        risen:
          description: How many messages more it holds than 5 minutes ago; V(0) unless they became ever more since.
          type: int
        grown:
          description: By how much RV(traffic.queues[].messages) has changed between the two looks.
          type: int
        bindings:
          description: How many bindings it has besides that of the default exchange; null for a dead letter queue.
          type: int
        arguments:
          description: The arguments that it was declared with.
          type: dict
        policy:
          description: What policies add to them.
          type: dict
        dead_letter_target:
          description:
            - Queue that its dead letters go to, or the exchange when no queue is behind it - they are lost then.
            - Null when it has no dead letter exchange, or the exchange's bindings are not known.
          type: str
        limits:
          description: >-
            C(ttl) in milliseconds, C(max_length), C(max_bytes), and C(delivery_limit); null where there is none.
          type: dict
        overflow:
          description: What it does once it is full, such as V(reject-publish). Null where nothing is said of it.
          type: str
    connections:
      description: Connections as the statistics know them. Null without the tag monitoring, which sees them all.
      type: dict
      contains:
        total:
          description: How many there are. The next three are about the first 500 of them.
          type: int
        blocked:
          description: How many have published under an alarm, and hang.
          type: int
        blocking:
          description: How many will be blocked when they publish.
          type: int
        by_host:
          description: C(total) and C(blocked) by the address that they come from.
          type: dict
        age:
          description: Seconds by which these figures may lag.
          type: float
    dropped:
      description:
        - Counters of messages that left a queue without being consumed, or never got into one.
        - V(expired), V(maxlen), V(rejected), V(delivery_limit) were dead-lettered. V(unroutable) were thrown away,
          V(returned) were returned to their publisher, because no queue was bound.
        - Each is null where no source has it, else a dictionary with C(total), since the start of the node that
          answered; C(delta), between the two looks; C(discarded), those of C(total) whose queue has no dead letter
          exchange, which are lost; C(discarded_delta), those between the two looks; C(source) and C(age).
      type: dict
    nodes:
      description:
        - The nodes with C(name), C(running), C(uptime) in milliseconds, C(mem_used), C(mem_limit), C(fd_used),
          C(fd_total), C(partitions), C(being_drained) and C(age).
      type: list
      elements: dict
elapsed:
  description: Seconds that the module took.
  returned: always
  type: float
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._amqp import Target, probe
from ..module_utils._arguments import PLAIN, management_arguments, management_client, url
from ..module_utils._checks import NAMES, Expected
from ..module_utils._deadline import check_durations, share
from ..module_utils._errors import BadInput, TimedOut, VezaError
from ..module_utils._health import Query, Rungs, look
from ..module_utils._http import HttpClient
from ..module_utils._jmespath import compiled
from ..module_utils._management import Management
from ..module_utils._metrics import MAX_METRICS, read_metrics
from ..module_utils._traffic import Traffic

PAUSE = 1.0
"""Seconds between two looks."""


def argument_spec() -> dict[str, Any]:
    """Return the module's parameters."""
    check = {
        "name": {"type": "str", "required": True},
        "query": {"type": "str", "required": True},
        "expect": {"type": "raw", "default": True},
    }
    return {
        "queues": {"type": "list", "elements": "str", "default": []},
        "node": {"type": "str"},
        "amqp_host": {"type": "str"},
        "amqp_port": {"type": "int", "default": 5672},
        "checks": {"type": "list", "elements": "dict", "default": [], "options": check},
        "certificate_days": {"type": "int"},
        "settled": {"type": "bool", "default": False},
        "timeout": {"type": "float", "default": 5.0},
        "wait_timeout": {"type": "float", "default": 0.0},
        "cli": {"type": "list", "elements": "str", "default": []},
        "sample_seconds": {"type": "float", "default": 6.0},
        "prometheus_port": {"type": "int", "default": 15692},
        **management_arguments(),
    }


def queries_of(params: dict[str, Any]) -> list[Query]:
    """Return the user's checks, compiled; BadInput if one is not an expression."""
    queries: list[Query] = []
    for check in params["checks"]:
        if check["name"] in (*NAMES, *(query.name for query in queries)):
            raise BadInput(f"checks: the name '{check['name']}' is taken.")
        search = compiled(check["query"], f"checks: the query of '{check['name']}'")
        queries.append(Query(check["name"], search, check["expect"]))
    return queries


def expected_of(params: dict[str, Any]) -> Expected:
    """Return what a fit broker must have; BadInput if the parameters make no sense."""
    check_durations(params, ["timeout"], ["wait_timeout", "sample_seconds"])
    if not 0 <= params["prometheus_port"] < 65536:
        raise BadInput("prometheus_port must be a port, or 0.")
    if params["certificate_days"] is not None and params["certificate_days"] < 1:
        raise BadInput("certificate_days must be at least 1.")
    return Expected(
        vhost=params["vhost"],
        queues=tuple(dict.fromkeys(params["queues"])),
        node=params["node"],
        amqp_port=params["amqp_port"],
        certificate_days=params["certificate_days"],
        settled=params["settled"],
        user=params["login_user"],
    )


def rungs_of(params: dict[str, Any]) -> Rungs:
    """Return the ways to look; nothing is sent yet."""
    management = Management(management_client(params, params["timeout"]), params["login_user"])
    host, metrics = params["amqp_host"] or params["login_host"], None
    if params["prometheus_port"]:
        client = HttpClient(
            url("http", params["login_host"], params["prometheus_port"]),
            headers=PLAIN,
            timeout=params["timeout"],
            max_body=MAX_METRICS,
        )
        metrics = partial(read_metrics, client)
    target = Target(host, params["amqp_port"], timeout=params["timeout"])
    return Rungs(management, probe, target, cli=tuple(params["cli"]), metrics=metrics)


def run(
    params: dict[str, Any],
    rungs: Rungs,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Look once, or until the broker is healthy; TimedOut with the last result when it never was."""
    expected, queries = expected_of(params), queries_of(params)
    began, seconds = clock(), share(params)
    traffic = None
    if expected.queues and not params["wait_timeout"]:
        traffic = Traffic(rungs.management, rungs.metrics, expected, params["sample_seconds"], clock, sleep).read
    while True:
        result = look(rungs, expected, queries, seconds, traffic)
        elapsed = clock() - began
        result["elapsed"] = round(elapsed, 3)
        left = params["wait_timeout"] - elapsed
        if result["verdict"] == "healthy" or not params["wait_timeout"]:
            return result
        if left <= 0:
            raise TimedOut(f"Not healthy after {elapsed:.1f} s. {result['reason']}", **result)
        sleep(min(PAUSE, left))
        seconds = share(params, clock() - began)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(module.params, rungs_of(module.params))
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
