#!/usr/bin/python

# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: amqp_probe
short_description: Walk the way of an AMQP client, and say at which stage it ends
version_added: 1.0.0
author:
  - Veza infrastructure team (@veza)
description:
  - Walks the whole way that an application takes to an AMQP 0-9-1 broker. Name resolution, TCP, TLS, protocol header,
    login, virtual host and, on demand, a message that is published, confirmed and got back.
  - Says at which stage the way ends, in one word of a closed vocabulary, and why.
  - Needs nothing but Python's standard library, so that it can run on any production host, also on one that can reach
    neither the management API nor a package registry.
  - An open port proves nothing. A hung broker's kernel accepts connections, and a broker under an alarm lets everybody
    log in. Only O(publish=true) proves that the broker takes messages.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.actiongroup
  - veza.rabbitmq._tls
attributes:
  check_mode:
    support: partial
    details:
      - With O(publish=true) the probe ends in check mode after the login to the virtual host, and says so.
  diff_mode:
    support: N/A
    details:
      - This action does not modify state.
  idempotent:
    support: full
    details:
      - What O(publish=true) makes in the broker is gone when the module ends.
options:
  login_host:
    description:
      - Name or address of the broker. Each address of a name is tried.
    type: str
    default: localhost
  login_port:
    description:
      - Port of the broker.
    type: int
    default: 5672
  login_user:
    description:
      - User to log in as, with O(login_password).
      - Without it the probe ends with the broker's greeting. There is no way to leave at that stage that the broker
        does not log. RabbitMQ 3.10.8 writes C([warning] client unexpectedly closed TCP connection), and an error
        for everything else that a client could do then.
    type: str
  login_password:
    description:
      - Password of O(login_user).
    type: str
  vhost:
    description:
      - Virtual host, as RabbitMQ names it. Veza's is V(/veza), with the slash.
    type: str
    default: /
  tls:
    description:
      - Whether the port speaks TLS.
    type: bool
    default: false
  publish:
    description:
      - Whether to publish a persistent message with a confirm to an exclusive queue that only the probe's connection
        sees, and to get it back. The queue is gone when the probe ends.
      - The user needs the permissions to configure, write and read C(amq.gen-*), and to write to C(amq.default).
      - Under an alarm the broker does not read from a connection that has published, so it notices only when the
        alarm ends that the probe has left, and then writes a warning about it.
    type: bool
    default: false
  timeout:
    description:
      - Seconds that one probe may take as a whole. It ends at most one second later, whatever the other side does.
    type: float
    default: 5.0
  slow_after:
    description:
      - Seconds after which a success is called V(slow).
    type: float
    default: 1.0
  wait_timeout:
    description:
      - Seconds to repeat the probe until RV(ok) is true. The module fails when they have passed, with the same
        values that it would have returned.
      - V(0) looks once, and never fails because of what it finds.
    type: float
    default: 0.0
seealso:
  - module: veza.rabbitmq.rabbitmq_health
"""

EXAMPLES = r"""
- name: Look from a backend with the credentials of the application
  veza.rabbitmq.amqp_probe:
    login_host: rabbitmq.lxd
    login_user: veza
    login_password: "{{ veza_rabbitmq_password }}"
    vhost: /veza
    publish: true
  register: probe

- name: Tell where the way ends
  ansible.builtin.debug:
    var: probe.message

- name: Wait until the broker takes messages again
  veza.rabbitmq.amqp_probe:
    login_host: rabbitmq.lxd
    login_user: veza
    login_password: "{{ veza_rabbitmq_password }}"
    vhost: /veza
    publish: true
    wait_timeout: 120
"""

RETURN = r"""
outcome:
  description:
    - Where the way ended. V(ok) and V(slow) mean that everything that was asked for worked.
    - V(blocked) means that the broker is under an alarm, V(confirm_timed_out) that a message was published but not
      confirmed or not got back, V(header_refused) that an AMQP server speaks another version of it.
    - V(timed_out) at the stage V(header) means that the connection was accepted in silence, as by a broker that hangs.
  returned: always
  type: str
  sample: login_refused
  choices: [ok, slow, name_not_resolved, refused, unreachable, timed_out, reset, tls_expected, tls_failed, not_amqp,
    header_refused, login_refused, vhost_missing, vhost_refused, blocked, confirm_timed_out]
ok:
  description: Whether everything that was asked for worked, however slowly.
  returned: always
  type: bool
message:
  description: What was asked of whom and what came back, in one sentence.
  returned: always
  type: str
  sample: >-
    AMQP probe of rabbitmq.lxd:5672 as 'veza' on '/veza': the broker takes no messages: it blocks publishers under an
    alarm (low on disk).
stages:
  description: The stages that were entered, in order. Only the last can have failed.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: V(tls) is there with O(tls=true) only.
      type: str
      choices: [resolve, connect, tls, header, login, vhost, publish, get]
    ok:
      description: Whether it worked; V(null) for a stage that check mode left out.
      type: bool
    ms:
      description: How long it took, in milliseconds.
      type: float
    detail:
      description: What came back.
      type: str
server:
  description: What the broker says about itself before the login. Each key is there if the broker sent it.
  returned: always
  type: dict
  contains:
    product:
      description: Name of the software.
      type: str
    version:
      description: Its version.
      type: str
    cluster_name:
      description: Name of the cluster.
      type: str
addresses:
  description: The addresses of O(login_host), in the order in which they were tried.
  returned: always
  type: list
  elements: dict
  contains:
    address:
      description: The address.
      type: str
    result:
      description: V(connected), V(untried), or how the connection failed.
      type: str
      choices: [connected, untried, refused, reset, timed_out, unreachable]
    detail:
      description: The error, if any.
      type: str
elapsed:
  description: Seconds that the module took, including all repetitions.
  returned: always
  type: float
attempts:
  description: How often the probe was made.
  returned: always
  type: int
"""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._amqp import Probe, Target, probe
from ..module_utils._errors import BadInput, TimedOut, VezaError
from ..module_utils._tls import tls, tls_arguments

PAUSE = 1.0
"""Seconds between two probes."""

BLOCKED_PAUSE = 10.0
"""The same under an alarm: each such probe leaves a connection in the broker until the alarm ends."""


def argument_spec() -> dict[str, Any]:
    """Return the module's parameters."""
    return {
        "login_host": {"type": "str", "default": "localhost"},
        "login_port": {"type": "int", "default": 5672},
        "login_user": {"type": "str"},
        "login_password": {"type": "str", "no_log": True},
        "vhost": {"type": "str", "default": "/"},
        "tls": {"type": "bool", "default": False},
        "publish": {"type": "bool", "default": False},
        "timeout": {"type": "float", "default": 5.0},
        "slow_after": {"type": "float", "default": 1.0},
        "wait_timeout": {"type": "float", "default": 0.0},
        **tls_arguments(),
    }


def target_of(params: dict[str, Any], check_mode: bool) -> Target:
    """Return what is to be probed; BadInput if the parameters make no sense."""
    if params["timeout"] <= 0 or params["wait_timeout"] < 0 or params["slow_after"] < 0:
        raise BadInput("timeout must be above 0, slow_after and wait_timeout must not be negative.")
    if not 0 < params["login_port"] < 65536:
        raise BadInput(f"login_port is {params['login_port']}; a port is a number from 1 to 65535.")
    if params["publish"] and params["login_user"] is None:
        raise BadInput("publish needs login_user and login_password: nobody publishes without a login.")
    return Target(
        host=params["login_host"],
        port=params["login_port"],
        user=params["login_user"],
        password=params["login_password"],
        vhost=params["vhost"],
        tls=tls(params) if params["tls"] else None,
        publish=params["publish"] and not check_mode,
        timeout=params["timeout"],
        slow_after=params["slow_after"],
    )


def result_of(found: Probe, left_out: bool) -> dict[str, Any]:
    """Return a probe as the module's result; ``left_out`` says that check mode kept it from publishing."""
    result = {"changed": False, **asdict(found)}
    if left_out and found.ok:
        why = "check mode publishes nothing"
        result["stages"] = [*result["stages"], {"name": "publish", "ok": None, "ms": 0.0, "detail": why}]
        result["message"] += f" Whether it takes messages is not known: {why}."
    return result


def run(
    params: dict[str, Any],
    check_mode: bool,
    look: Callable[[Target], Probe] = probe,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Probe once, or until it works; TimedOut with the last result when it never did."""
    target = target_of(params, check_mode)
    left_out = params["publish"] and check_mode
    began, attempts = clock(), 0
    while True:
        found = look(target)
        attempts += 1
        elapsed = clock() - began
        result = {**result_of(found, left_out), "attempts": attempts, "elapsed": round(elapsed, 3)}
        left = params["wait_timeout"] - elapsed
        if found.ok or not params["wait_timeout"]:
            return result
        if left <= 0:
            tries = f"{attempts} attempts in {elapsed:.1f} s"
            raise TimedOut(f"Not serving after {tries}; the last one: {found.message}", **result)
        sleep(min(BLOCKED_PAUSE if found.outcome == "blocked" else PAUSE, left))
        # The last probe gets what is left, but enough of it to be worth something.
        left = params["wait_timeout"] - (clock() - began)
        target = replace(target, timeout=min(params["timeout"], max(left, 1.0)))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(),
        required_together=[("login_user", "login_password")],
        supports_check_mode=True,
    )
    try:
        result = run(module.params, module.check_mode)
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
