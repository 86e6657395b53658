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
  - With O(container) it looks from inside a container of this host, with the login that the container really holds, so
    that a broken network and a rotated password come out of one call.
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
  container:
    description:
      - Name or id of a running container of this host. The probe sees the network, the name resolution and the files as
        it does, whatever its image holds, also without a shell. It needs root, starts nothing in the container and
        writes nothing.
      - Where the broker is, and the login, come from the container's environment (O(amqp_variable)). O(login_user) and
        O(login_password), if given, are used instead of the container's. Certificate files are those of this
        host.
    type: str
  amqp_variable:
    description:
      - The variable in the environment of O(container) that holds its AMQP URL.
    type: str
    default: AMQP_URL
  container_command:
    description:
      - The container engine's command line. It must understand C(ps) and C(container inspect) as docker does.
    type: str
    default: docker
  login_host:
    description:
      - Name or address of the broker. Each address of a name is tried. With O(container) it is not used.
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
      - It fails earlier when the broker has said for 10 s that it refuses the login, or that something there speaks
        another protocol or wants TLS. Waiting does not mend that.
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

- name: Look out of the API's container, with what it holds itself
  veza.rabbitmq.amqp_probe:
    container: veza_backend_api
  become: true

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
    - V(not_running) means that O(container) is not there, or does not run.
    - V(timed_out) at the stage V(header) means that the connection was accepted in silence, as by a broker that hangs.
  returned: always
  type: str
  sample: login_refused
  choices: [ok, slow, name_not_resolved, refused, unreachable, timed_out, reset, tls_expected, tls_failed, not_amqp,
    header_refused, login_refused, vhost_missing, vhost_refused, blocked, confirm_timed_out, not_running]
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
    local:
      description: The address that the connection came from. Not there where none was made.
      type: str
container:
  description: The login that the container's environment holds.
  returned: O(container) is given and runs
  type: dict
  contains:
    variable: {description: "The value of O(amqp_variable).", type: str}
    host: {description: "The broker's name.", type: str}
    port: {description: "Its port.", type: int}
    vhost: {description: "The virtual host.", type: str}
    user: {description: "The user.", type: str}
    fingerprint: {description: "Six hex digits that tell two passwords of this user apart.", type: str}
    matches: {description: "Whether its password is O(login_password). V(null) if that was not given.", type: bool}
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

from ..module_utils._amqp import SENTENCES, Target, probe
from ..module_utils._amqp_options import probe_arguments, target_of
from ..module_utils._containers import Engine, EngineSilent, login_of
from ..module_utils._deadline import check_durations, share
from ..module_utils._errors import BadInput, TimedOut, VezaError
from ..module_utils._inside import VARIABLE, environment, target_inside, visit
from ..module_utils._namespaces import NoEntry
from ..module_utils._text import is_text
from ..module_utils._tls import tls

Answer = dict[str, Any]

PAUSE = 1.0
"""Seconds between two probes."""

ENGINE_TIMEOUT = 10.0
"""Seconds that each command of the container engine may take."""

BLOCKED_PAUSE = 10.0
"""The same under an alarm: each such probe leaves a connection in the broker until the alarm ends."""


def argument_spec() -> dict[str, Any]:
    """Return the module's parameters."""
    return {
        **probe_arguments(),
        "container": {"type": "str"},
        "amqp_variable": {"type": "str", "default": VARIABLE},
        "container_command": {"type": "str", "default": "docker"},
        "wait_timeout": {"type": "float", "default": 0.0},
    }


def checked(params: dict[str, Any], check_mode: bool) -> Target:
    """Return what is to be probed; BadInput if the parameters make no sense."""
    check_durations(params, [], ["wait_timeout"])
    for name in ("login_user", "login_password", "vhost"):
        if not is_text(params[name] or ""):
            raise BadInput(f"{name} holds a character that UTF-8 does not know, so no broker can be told it.")
    if params["publish"] and params["login_user"] is None and not params["container"]:
        raise BadInput("publish needs login_user and login_password: nobody publishes without a login.")
    return target_of(params, params["publish"] and not check_mode)


def from_here(target: Target) -> Answer:
    """Probe as this host sees the network."""
    return asdict(probe(target))


class Inside:
    """Probes as a container sees the network, with what it holds; asks the engine each time, as it may have changed."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params

    def __call__(self, target: Target) -> Answer:
        """Probe; BadInput when the container has no login to probe with, or can't be entered."""
        name, variable = self.params["container"], self.params["amqp_variable"]
        try:
            found = Engine(self.params["container_command"], ENGINE_TIMEOUT).inspect()
        except EngineSilent as silence:
            raise BadInput(f"The container '{name}' can't be looked at: {silence}.") from None
        document = next((one for one in found if named(one, name)), None)
        state = (document or {}).get("State") or {}
        if document is None or not state.get("Pid"):
            said = f"it is {state.get('Status')}" if document else "there is none of this name"
            return nowhere(f"AMQP probe in container '{name}': {SENTENCES['not_running']} ({said}).")
        login = login_of(environment(document), variable)
        if login is None:
            raise BadInput(f"The container '{name}' has no AMQP URL in its variable {variable}.")
        inside = target_inside(login, target, tls(self.params))
        if target.user is not None:
            inside = replace(inside, user=target.user, password=target.password)
        try:
            answer = visit(state["Pid"], inside).answer()
        except NoEntry as reason:
            raise BadInput(f"The container '{name}' can't be looked at from inside: {reason}.") from None
        return {**answer, "container": login.shown(target.password)}


def named(document: dict[str, Any], name: str) -> bool:
    """Whether a container has this name, or an id that begins so."""
    return document.get("Name") == f"/{name}" or (len(name) >= 12 and str(document.get("Id", "")).startswith(name))


def nowhere(message: str) -> Answer:
    """Return the answer about a container that does not run."""
    nothing: Answer = {"stages": [], "server": {}, "addresses": [], "elapsed": 0.0}
    return {"outcome": "not_running", "ok": False, "message": message, **nothing}


def result_of(found: Answer, left_out: bool) -> dict[str, Any]:
    """Return a probe as the module's result; ``left_out`` says that check mode kept it from publishing."""
    result = {"changed": False, **found}
    if left_out and found["ok"]:
        why = "check mode publishes nothing"
        result["stages"] = [*result["stages"], {"name": "publish", "ok": None, "ms": 0.0, "detail": why}]
        result["message"] += f" Whether it takes messages is not known: {why}."
    return result


def run(
    params: dict[str, Any],
    check_mode: bool,
    look: Callable[[Target], Answer] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Probe once, or until it works; TimedOut with the last result when it never did."""
    target = checked(params, check_mode)
    look = look or (Inside(params) if params["container"] else from_here)
    left_out = params["publish"] and check_mode
    began, attempts = clock(), 0
    # A slice of a longer wait may be all that is left of it.
    target = replace(target, timeout=share(params))
    while True:
        found = look(target)
        attempts += 1
        elapsed = clock() - began
        result = {**result_of(found, left_out), "attempts": attempts, "elapsed": round(elapsed, 3)}
        left = params["wait_timeout"] - elapsed
        if found["ok"] or not params["wait_timeout"]:
            return result
        if left <= 0:
            tries = f"{attempts} attempts in {elapsed:.1f} s"
            raise TimedOut(f"Not serving after {tries}; the last one: {found['message']}", **result)
        sleep(min(BLOCKED_PAUSE if found["outcome"] == "blocked" else PAUSE, left))
        target = replace(target, timeout=share(params, clock() - began))


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
