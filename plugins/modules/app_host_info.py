#!/usr/bin/python

# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_host_info
short_description: Gather what an application's host knows of its containers and of their way to RabbitMQ
version_added: 1.0.0
author:
  - Veza infrastructure team (@veza)
description:
  - Gathers in one call what a host that runs the application in containers knows. The state of each container, whether
    it reaches the broker as it sees the network itself, with the login that it really holds, the AMQP errors in its
    log, and what changed lately.
  - The look from inside enters the container's network and mount namespaces. It needs nothing from the container's
    image, not even a shell, starts nothing in it and writes nothing. It needs root.
  - No password leaves the host. The login that a container holds is compared with O(probe.login_password) there.
  - Needs nothing but Python's standard library. What can't be read is listed in RV(unknown) and does not fail the
    module.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.info
  - veza.rabbitmq._attributes.actiongroup
options:
  containers:
    description:
      - Names of containers to look at.
    type: list
    elements: str
    default: []
  services:
    description:
      - Names of compose services, whose containers are looked at.
    type: list
    elements: str
    default: []
  container_command:
    description:
      - The container engine's command line. It must understand C(ps) and C(container inspect) as docker does.
    type: str
    default: docker
  amqp_variable:
    description:
      - The variable in a container's environment that holds its AMQP URL.
    type: str
    default: AMQP_URL
  env_variable:
    description:
      - The variable in the environment file of a container's compose project that holds its AMQP URL, or the password
        alone. The same as O(amqp_variable) by default.
    type: str
  env_file:
    description:
      - That environment file. Without it, or empty, C(.env) in the directory that a container's labels name.
    type: path
  show:
    description:
      - Variables of the containers' environments whose values are returned. Name none that holds a secret.
    type: list
    elements: str
    default: []
  ports:
    description:
      - The broker's ports. The host's firewall rules about them, and about DNS, are returned.
    type: list
    elements: int
    default: [5672]
  reference:
    description:
      - The time of another clock, just now, as ISO 8601 with a zone. RV(clock.offset) is measured against it.
    type: str
  probe:
    description:
      - Probe the broker, from this host with this login, and from inside each running container with its own. Without
        it nobody is asked. The options are those of M(veza.rabbitmq.amqp_probe); O(probe.timeout),
        O(probe.slow_after), O(probe.validate_certs) and the certificate files count for the containers too.
    type: dict
    suboptions:
      login_host: {description: "Name or address of the broker.", type: str, default: localhost}
      login_port: {description: "Port of the broker.", type: int, default: 5672}
      login_user: {description: "User to log in as.", type: str}
      login_password: {description: "Password of O(probe.login_user).", type: str}
      vhost: {description: "Virtual host.", type: str, default: /}
      tls: {description: "Whether the port speaks TLS.", type: bool, default: false}
      timeout: {description: "Seconds that each probe may take.", type: float, default: 5.0}
      slow_after: {description: "Seconds after which a success is called V(slow).", type: float, default: 1.0}
      ca_cert: {description: "File with the certificates of the authorities to trust.", type: path}
      client_cert: {description: "File with the certificate that the client shows.", type: path}
      client_key: {description: "File with the private key of O(probe.client_cert).", type: path}
      validate_certs: {description: "Whether the server's certificate is checked.", type: bool, default: true}
  timeout:
    description:
      - Seconds that each command of the container engine may take.
    type: float
    default: 10.0
seealso:
  - module: veza.rabbitmq.amqp_probe
  - module: veza.rabbitmq.rabbitmq_host_info
"""

EXAMPLES = r"""
- name: Look out of the API's container
  veza.rabbitmq.app_host_info:
    containers: [veza_backend_api]
    probe:
      login_host: rabbitmq.lxd
      login_user: veza
      login_password: "{{ veza_rabbitmq_password }}"
      vhost: /veza
  register: app
  become: true

- name: Tell a broken network from a rotated password
  ansible.builtin.debug:
    msg: "{{ app.containers | map(attribute='probe') | map(attribute='message') }}"

- name: See whether the workers are alive
  veza.rabbitmq.app_host_info:
    services: [worker-transcode, worker-dmca]
  become: true
"""

RETURN = r"""
message:
  description: What was found, in one sentence.
  returned: always
  type: str
  sample: 1 of 1 containers runs; veza_backend_api does not get through (login_refused).
docker:
  description: Whether the container engine answers.
  returned: always
  type: dict
  contains:
    ok:
      description: V(null) if there is no engine on this host, or no container was asked for.
      type: bool
    detail:
      description: What it said instead of an answer.
      type: str
containers:
  description: The containers, in the order of O(containers) and O(services).
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: "Its name.", type: str}
    service: {description: "Its compose service, V(null) if it has none.", type: str}
    image: {description: "The image as it was asked for.", type: str}
    id: {description: "Its id. A recreated container has another one.", type: str}
    pid: {description: "Its main process. V(null) while it does not run.", type: int}
    process: {description: "When that process was started, by the kernel's clock of ticks since boot.", type: str}
    environment: {description: "What O(show) names, as far as it is set.", type: dict}
    state:
      description: The engine's word, or V(missing).
      type: str
      choices: [running, paused, restarting, exited, dead, created, removing, missing]
    created_at: {description: "When it was made. A new image makes a new container.", type: str}
    started_at: {description: "When it was last started.", type: str}
    finished_at: {description: "When it last ended.", type: str}
    exit_code: {description: "Its exit code, if it has ended.", type: int}
    oom_killed: {description: "Whether it ended for want of memory.", type: bool}
    restarts: {description: "How often the engine has restarted it by itself.", type: int}
    restart_policy: {description: "When the engine restarts it.", type: str, sample: unless-stopped}
    networks:
      description: The engine's networks that it is in. V(null) if it has the host's network, or another container's.
      type: list
      elements: str
    suspended:
      description:
        - Whether its main process, or one that comes from it, is stopped by a signal, and so hangs. V(null) if that
          can't be seen.
      type: bool
    amqp:
      description: The login that its environment holds. V(null) if O(amqp_variable) is not there, or no AMQP URL.
      type: dict
      contains:
        variable: {description: "The variable.", type: str}
        host: {description: "The broker's name.", type: str}
        port: {description: "Its port.", type: int}
        vhost: {description: "The virtual host.", type: str}
        user: {description: "The user.", type: str}
        fingerprint: {description: "Six hex digits that tell two passwords of this user apart.", type: str}
        matches:
          description: Whether its password is O(probe.login_password). V(null) if that was not given.
          type: bool
        file:
          description:
            - What its compose project's environment file holds for it, which a recreate would give it. V(null) if there
              is no such file, or no O(env_variable) in it.
          type: dict
          contains:
            path: {description: "The file.", type: str}
            fingerprint: {description: "As RV(containers[].amqp.fingerprint), of the file's password.", type: str}
            matches: {description: "Whether it is O(probe.login_password). V(null) if not given.", type: bool}
    probe:
      description:
        - What M(veza.rabbitmq.amqp_probe) returns, from inside the container. V(null) if it was not or could not be
          made.
      type: dict
    errors:
      description:
        - The last streak of AMQP errors in its log since it was started, without a pause of 10 minutes, or of one that
          began with a connection. V(null) if there is none, or the log is not in a file of docker's json-file driver.
      type: dict
      contains:
        first_at: {description: "When the first was written.", type: str}
        last_at: {description: "When the last was written.", type: str}
        count: {description: "How many there are.", type: int}
        last_line: {description: "The last one.", type: str}
        connected_at: {description: "When it said that it is connected, after the last one.", type: str}
        refused:
          description:
            - Those of them in which the broker talks to it and refuses what it publishes. V(null) if there are none.
          type: dict
          contains:
            first_at: {description: "When the first was written.", type: str}
            last_at: {description: "When the last was written.", type: str}
            count: {description: "How many there are.", type: int}
            last_line: {description: "The last one.", type: str}
probe:
  description: The host's own probe. V(null) if O(probe) was not given.
  returned: always
  type: dict
firewall:
  description: The rules of nftables (else iptables) that drop or reject O(ports) or DNS. V(null) if they can't be read.
  returned: always
  type: list
  elements: dict
  contains:
    table: {description: "The table.", type: str}
    chain: {description: "The chain.", type: str}
    rule: {description: "The rule as the firewall writes it.", type: str}
clock:
  description: The host's clock.
  returned: always
  type: dict
  contains:
    now: {description: "The time at which the module began.", type: str}
    offset: {description: "Seconds by which it is ahead of O(reference), including the way of the call.", type: float}
changes:
  description: What changed in the last 7 days, the last one last.
  returned: always
  type: list
  elements: dict
  contains:
    at: {description: "When.", type: str}
    kind: {description: "What kind of thing.", type: str, choices: [container, configuration, package]}
    what: {description: "What.", type: str}
    container: {description: "The only container that it is about. Missing where it is about all.", type: str}
unknown:
  description: What could not be read or told, and why. One sentence each.
  returned: always
  type: list
  elements: str
"""

import os
import re
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _changes, _command, _containers, _dotenv, _firewall, _inside
from ..module_utils._amqp import Target, probe
from ..module_utils._amqp_options import probe_option, target_of
from ..module_utils._clock import offset
from ..module_utils._containers import Engine, EngineSilent
from ..module_utils._deadline import Later, check_durations
from ..module_utils._errors import VezaError
from ..module_utils._namespaces import NoEntry, Visit, suspended
from ..module_utils._record import stamp
from ..module_utils._tls import tls

PACKAGES = re.compile(r"^(docker|containerd|runc|podman|crun|nftables|iptables|linux-image)")
"""Packages whose change may cut a container off."""


def argument_spec() -> dict[str, Any]:
    """Return the module's parameters."""
    return {
        "containers": {"type": "list", "elements": "str", "default": []},
        "services": {"type": "list", "elements": "str", "default": []},
        "container_command": {"type": "str", "default": "docker"},
        "amqp_variable": {"type": "str", "default": _inside.VARIABLE},
        "env_variable": {"type": "str"},
        "env_file": {"type": "path"},
        "show": {"type": "list", "elements": "str", "default": []},
        "ports": {"type": "list", "elements": "int", "default": [5672]},
        "reference": {"type": "str"},
        "probe": probe_option(),
        "timeout": {"type": "float", "default": 10.0},
    }


Wanted = tuple[str, str, "dict[str, Any] | None", "Visit | None"]
"""A container's name, its service, what the engine says of it, and the probe from inside."""


class Look:
    """One look at a host; what can't be read becomes a sentence of ``unknown``."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.target: Target | None = target_of(params["probe"]) if params["probe"] else None
        self.password: str | None = (params["probe"] or {}).get("login_password")
        self.unknown: list[str] = []

    def documents(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Ask the engine, if anything is wanted of it."""
        if not self.params["containers"] and not self.params["services"]:
            return [], {"ok": None, "detail": "no container is asked for"}
        try:
            return Engine(self.params["container_command"], self.params["timeout"]).inspect(), {
                "ok": True,
                "detail": "",
            }
        except EngineSilent as silence:
            if not silence.absent:
                self.unknown.append(f"The containers: {silence}.")
            return [], {"ok": None if silence.absent else False, "detail": str(silence)}

    def containers(self, documents: list[dict[str, Any]], engine: dict[str, Any]) -> list[Wanted]:
        """Return the wanted containers, with the probes from inside them under way."""
        wanted: Iterable[tuple[str, str, Any]] = ()
        if engine["ok"]:
            wanted = _containers.chosen(documents, self.params["containers"], self.params["services"])
        return [(name, service, document, self.begin(document)) for name, service, document in wanted]

    def begin(self, document: dict[str, Any] | None) -> Visit | None:
        """Begin the probe from inside a running container."""
        if document is None or self.target is None or (document.get("State") or {}).get("Status") != "running":
            return None
        try:
            begun = _inside.begin(document, self.params["amqp_variable"], self.target, tls(self.params["probe"]))
        except NoEntry as reason:
            self.unknown.append(f"From inside {_containers.name_of(document)}: {reason}.")
            return None
        if begun is None:
            held = f"its variable {self.params['amqp_variable']} holds no AMQP URL that can be read"
            self.unknown.append(f"Whether {_containers.name_of(document)} gets through to the broker: {held}.")
        return begun

    def described(
        self, name: str, service: str, document: dict[str, Any] | None, visit: Visit | None
    ) -> dict[str, Any]:
        """Return all about one container."""
        if document is None:
            nothing: dict[str, Any] = {"suspended": None, "amqp": None, "probe": None, "errors": None}
            return {**_containers.missing(name, service or None), "process": None, "environment": {}, **nothing}
        container = _containers.described(document)
        held = _inside.environment(document)
        login = _containers.login_of(held, self.params["amqp_variable"])
        pid = container["pid"]
        values = dict(entry.partition("=")[::2] for entry in held)
        return {
            **container,
            "process": process(pid) if pid else None,
            "environment": {variable: values[variable] for variable in self.params["show"] if variable in values},
            "suspended": suspended(pid) if pid else None,
            "amqp": {**login.shown(self.password), "file": self.in_file(document, login.user)} if login else None,
            "probe": self.finish(name, visit),
            "errors": _containers.errors(self.log(name, document), container["started_at"]),
        }

    def in_file(self, document: dict[str, Any], user: str) -> dict[str, Any] | None:
        """Return what the environment file of a container's project holds; None if there is nothing of the kind."""
        directory = ((document.get("Config") or {}).get("Labels") or {}).get(_containers.DIRECTORY)
        if not directory:
            return None
        path = self.params["env_file"] or f"{directory}/.env"
        try:
            with open(path, encoding="utf-8", newline="") as file:
                text = file.read()
        except (OSError, ValueError) as error:
            if not isinstance(error, FileNotFoundError):
                self.unknown.append(f"{path} can't be read: {getattr(error, 'strerror', None) or 'it is no text'}.")
            return None
        entry = _dotenv.find(text, self.params["env_variable"] or self.params["amqp_variable"])
        if entry is None:
            return None
        login = _containers.login_of([f"x={entry.value}"], "x")
        password = login.password if login else entry.value
        matches = None if self.password is None else password == self.password
        return {"path": path, "fingerprint": _containers.fingerprint(user, password), "matches": matches}

    def finish(self, name: str, visit: Visit | None) -> dict[str, Any] | None:
        """Return what a probe found that was under way."""
        try:
            return visit.answer() if visit else None
        except NoEntry as reason:
            self.unknown.append(f"From inside {name}: {reason}.")
            return None

    def log(self, name: str, document: dict[str, Any]) -> str:
        """Return the end of a container's log."""
        path = document.get("LogPath")
        if not path:
            self.unknown.append(f"The log of {name} is not in a file that docker names.")
            return ""
        try:
            with open(path, "rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - _containers.TAIL, 0))
                return file.read(_containers.TAIL).decode("utf-8", "replace")
        except OSError as error:
            self.unknown.append(f"The log of {name}: {path} can't be read: {error.strerror}.")
            return ""

    def firewall(self) -> list[dict[str, str]] | None:
        """Read the firewall's rules."""
        rules = _firewall.read(self.command, self.params["ports"])
        if rules is None:
            self.unknown.append("The firewall's rules can't be listed.")
        return rules

    def command(self, command: list[str]) -> str | None:
        """Return what a command that only reads has printed, None if it could not be run."""
        ended = _command.run(command, self.params["timeout"])
        return ended.out if ended.code == 0 else None

    def changes(self, documents: list[dict[str, Any]], containers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Collect what changed lately."""
        made = [
            {
                "at": one["created_at"],
                "kind": "container",
                "what": f"{one['name']} was made from image {one['image']}",
                "container": one["name"],
            }
            for one in containers
        ]
        names = {one["name"] for one in containers}
        files: set[str] = set()
        for document in documents:
            labels = (document.get("Config") or {}).get("Labels") or {}
            if _containers.name_of(document) in names:
                files.update(filter(None, labels.get(_containers.FILES, "").split(",")))
                files.update([f"{labels[_containers.DIRECTORY]}/.env"] if labels.get(_containers.DIRECTORY) else [])
        written = _changes.files(sorted(files), "configuration")
        return _changes.lately([*made, *written, *_changes.dpkg(PACKAGES)])


def process(pid: int) -> str | None:
    """Return when a process was started, in the kernel's ticks since boot; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return None


def sentence(containers: list[dict[str, Any]], docker: dict[str, Any]) -> str:
    """Return the finding in one sentence."""
    if docker["ok"] is None:
        return f"No containers: {docker['detail']}."
    if not docker["ok"]:
        return f"The container engine does not answer: {docker['detail']}."
    running = sum(one["state"] == "running" for one in containers)
    said = [f"{running} of {len(containers)} containers {'runs' if running == 1 else 'run'}"]
    for one in containers:
        if one["state"] != "running":
            said.append(f"{one['name']} is {one['state']}")
        elif one["suspended"]:
            said.append(f"{one['name']} is suspended by a signal")
        elif one["probe"] and not one["probe"]["ok"]:
            said.append(f"{one['name']} does not get through ({one['probe']['outcome']})")
    return "; ".join(said) + "."


def run(params: dict[str, Any]) -> dict[str, Any]:
    """Return all that the host knows; only parameters that make no sense raise."""
    check_durations(params, ["timeout"])
    now = time.time()
    ahead = offset(params["reference"], now)
    look = Look(params)
    documents, docker = look.documents()
    wanted = look.containers(documents, docker)
    target = look.target
    # No thread before the last child is forked.
    own = Later(lambda: asdict(probe(target))) if target else None
    firewall = look.firewall()
    containers = [look.described(*one) for one in wanted]
    result = {
        "changed": False,
        "docker": docker,
        "containers": containers,
        "probe": own.result() if own else None,
        "firewall": firewall,
        "clock": {"now": stamp(datetime.fromtimestamp(now, timezone.utc)), "offset": ahead},
        "changes": look.changes(documents, containers),
        "unknown": look.unknown,
    }
    return {**result, "message": sentence(containers, docker)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(module.params)
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
