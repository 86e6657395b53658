#!/usr/bin/python

# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rabbitmq_host_info
short_description: Gather all that a broker's host knows about its RabbitMQ
version_added: 1.0.0
author:
  - Veza infrastructure team (@veza)
description:
  - Gathers in one call what the host of a RabbitMQ node knows about it. The service manager's word, the process, the
    steps of its life and the known bad lines in its logs, the listening ports, the disk and the clock.
  - Reads only. The broker itself is not asked and gets no connection, so a broker that hangs can't hold the module.
  - Needs nothing but Python's standard library. Root sees most. What can't be read is listed in RV(unknown)
    and does not fail the module.
  - The broker's log files are read, not the journal. Under Debian's unit the journal holds systemd's own lines only.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.info
  - veza.rabbitmq._attributes.actiongroup
options:
  service_manager:
    description:
      - Who starts and stops the broker. V(systemd), an init script under C(/etc/init.d) (V(sysvinit)), or something
        else, which O(status_command) asks (V(command)).
    type: str
    choices: [systemd, sysvinit, command]
    default: systemd
  service:
    description:
      - Name of the unit or of the init script.
    type: str
    default: rabbitmq-server
  status_command:
    description:
      - The program and its arguments that tell the state of the service, with the exit codes of an init script. 0 for
        running, 3 for stopped, anything else for unknown. No shell reads it.
      - Required if O(service_manager=command).
    type: list
    elements: str
  log_files:
    description:
      - The broker's log files, as paths or patterns. The rotated files belong to them; RabbitMQ under Debian's unit
        still writes its standard output to the rotated file until its next start.
      - The 20 files that were written last are read.
    type: list
    elements: str
    default: [/var/log/rabbitmq/*.log, /var/log/rabbitmq/*.log.1]
  log_tail_bytes:
    description:
      - Bytes that are read of the end of each log file.
    type: int
    default: 1048576
  data_dir:
    description:
      - The directory with the broker's data.
    type: path
    default: /var/lib/rabbitmq
  ports:
    description:
      - The TCP ports that the broker is expected to listen on.
    type: list
    elements: int
    default: [5672, 15672]
  timeout:
    description:
      - Seconds that the service manager's answer may take.
    type: float
    default: 20.0
seealso:
  - module: veza.rabbitmq.rabbitmq_health
  - module: veza.rabbitmq.amqp_probe
"""

EXAMPLES = r"""
- name: Look at the broker's host
  veza.rabbitmq.rabbitmq_host_info:
  register: broker_host
  become: true

- name: Tell whether somebody stopped it
  ansible.builtin.debug:
    msg: "{{ 'Stopped in order' if broker_host.lifecycle.clean_stop is true else 'Not known to be stopped in order' }}"

- name: Look at a broker under supervisord
  veza.rabbitmq.rabbitmq_host_info:
    service_manager: command
    status_command: [supervisorctl, status, rabbitmq]
    data_dir: /srv/rabbitmq
    log_files: [/srv/log/rabbit@*.log, /srv/log/rabbit@*.log.1]
"""

RETURN = r"""
message:
  description: What was found, in one sentence.
  returned: always
  type: str
  sample: The service is stopped and no broker process lives; its log shows an orderly stop at 2026-11-23T20:15:01.123Z.
service:
  description: What the service manager says.
  returned: always
  type: dict
  contains:
    manager:
      description: The value of O(service_manager).
      type: str
    state:
      description: V(restarting) means that systemd will start it again after a failure, also endlessly.
      type: str
      choices: [running, stopped, starting, stopping, failed, restarting, unknown]
    since:
      description: When the state last changed. Only systemd knows it.
      type: str
    restarts:
      description: How often systemd has restarted it by itself since somebody started it.
      type: int
    result:
      description: systemd's word for how the last run ended.
      type: str
      sample: signal
    exit_code:
      description: Exit code of the last run, if it exited.
      type: int
    exit_signal:
      description: The signal that ended the last run, if one did.
      type: str
      sample: SIGKILL
    main_pid:
      description: The main process, if there is one.
      type: int
    detail:
      description: The manager's own words, or why the state is unknown.
      type: str
process:
  description: The Erlang VM of this broker; one that belongs to another data directory does not count.
  returned: always
  type: dict
  contains:
    running:
      description: Whether it lives, V(null) if that can't be seen.
      type: bool
    pid:
      description: Its process id.
      type: int
    started_at:
      description: When it was started, to a hundredth of a second. Instants are in UTC, with C(Z).
      type: str
    suspended:
      description: Whether it is stopped by a signal (SIGSTOP), and so hangs.
      type: bool
lifecycle:
  description: What the node's main log says about its life.
  returned: always
  type: dict
  contains:
    last:
      description: The last step that the log shows; V(none) if it shows none.
      type: str
      choices: [started, starting, stopping, stopped, none]
    at:
      description: When that step was.
      type: str
    line:
      description: The line that says so. Without a step, the last line.
      type: str
    file:
      description: The file with that line.
      type: str
    clean_stop:
      description:
        - V(true) if the log of the last run ends with an orderly stop, whoever asked for it.
        - V(false) if it ends without one and no process lives, as after a crash, a kill or a loss of power.
        - V(null) if neither is known, and while the process lives.
      type: bool
    started_at:
      description: When the last run began to serve, if it did.
      type: str
    stopped_at:
      description: When the orderly stop began, from which on nobody was served.
      type: str
    by:
      description: What the log says about who stopped it.
      type: str
      sample: SIGTERM
    previous_end:
      description: The last entry of the run before the last one. Between it and the next start nobody was served.
      type: str
signatures:
  description: The known bad lines that the logs show, in the order of the choices of their names.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the signature.
      type: str
      sample: disk_alarm_set
      choices: [disk_low, disk_alarm_set, disk_alarm_cleared, memory_high, memory_alarm_set, memory_alarm_cleared,
        file_descriptors, disk_full, login_refused, guest_from_afar, vhost_missing, vhost_refused,
        http_refused, connection_lost, handshake_timeout, bad_header, heartbeats_missed, ack_timeout,
        partition, peer_lost, minority_paused, autoheal, waiting_for_tables, cookie_of_peer,
        quorum_member_missing, sigterm, maintenance, unclean_before, messages_dropped, boot_failed,
        crash_dump, configuration, port_in_use, cookie_file, permissions, feature_flags,
        inconsistent_cluster, peers_missing, name_resolution]
    count:
      description: How often since the last start of the broker.
      type: int
    total:
      description: How often in all that was read.
      type: int
    last_at:
      description: When it was last written. Lines of a failing boot have no time.
      type: str
    line:
      description: The last line.
      type: str
    file:
      description: The file with that line.
      type: str
listeners:
  description: The ports of O(ports), from the kernel's table; nothing is connected to.
  returned: always
  type: list
  elements: dict
  contains:
    port:
      description: The port.
      type: int
    listening:
      description: Whether any process listens on it, V(null) if that can't be seen.
      type: bool
disk:
  description: The file system of O(data_dir). Values are V(null) if it can't be looked at.
  returned: always
  type: dict
  contains:
    path:
      description: The value of O(data_dir).
      type: str
    free:
      description: Bytes that are free for a user without privileges.
      type: int
    total:
      description: Its size in bytes.
      type: int
    writable:
      description: Whether this module's user may write to it, which for root only a read-only file system prevents.
      type: bool
    owner:
      description: User to whom the directory belongs.
      type: str
    detail:
      description: What RV(disk.writable) is based on.
      type: str
    last_write_at:
      description: When a file below the directory was last written, as far as 5000 entries tell. A sign of life.
      type: str
clock:
  description: The host's clock.
  returned: always
  type: dict
  contains:
    now:
      description: The time at which the module began.
      type: str
    boot_id:
      description: Id of the host's boot.
      type: str
    booted_at:
      description: When the host was booted.
      type: str
last_log_at:
  description: When the main log's last line was written.
  returned: always
  type: str
logs:
  description: The log files that were read.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: The file.
      type: str
    modified_at:
      description: When it was last written.
      type: str
    whole:
      description: Whether all of it was read.
      type: bool
unknown:
  description: What could not be read or told, and why. One sentence each.
  returned: always
  type: list
  elements: str
"""

from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from typing import Any, TypeVar

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _broker_log, _service_state
from ..module_utils._errors import BadInput, VezaError
from ..module_utils._host import Beam, Host, Tail, Unreadable
from ..module_utils._record import instant as moment
from ..module_utils._record import stamp

T = TypeVar("T")


def argument_spec() -> dict[str, Any]:
    """Return the module's parameters."""
    return {
        "service_manager": {"type": "str", "choices": ["systemd", "sysvinit", "command"], "default": "systemd"},
        "service": {"type": "str", "default": "rabbitmq-server"},
        "status_command": {"type": "list", "elements": "str"},
        "log_files": {
            "type": "list",
            "elements": "str",
            "default": ["/var/log/rabbitmq/*.log", "/var/log/rabbitmq/*.log.1"],
        },
        "log_tail_bytes": {"type": "int", "default": 1048576},
        "data_dir": {"type": "path", "default": "/var/lib/rabbitmq"},
        "ports": {"type": "list", "elements": "int", "default": [5672, 15672]},
        "timeout": {"type": "float", "default": 20.0},
    }


def instant(seconds: float | None) -> str | None:
    """Return an instant (seconds since 1970) as text."""
    return None if seconds is None else stamp(datetime.fromtimestamp(seconds, timezone.utc))


def inside(path: str, directory: str) -> bool:
    """Whether a path is a directory or below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def belongs(beam: Beam, main_pid: int | None, data_dir: str, logs: set[str], sockets: set[int]) -> bool | None:
    """Whether a broker's process is the one of this data directory, these logs or these sockets; None if unclear."""
    if main_pid is not None and main_pid in (beam.pid, beam.parent):
        return True
    if beam.sockets is not None and beam.sockets & sockets:
        return True
    if beam.contained:  # its paths are others
        return None
    if beam.files is not None and any(inside(path, data_dir) or path in logs for path in beam.files):
        return True
    if beam.places and any(inside(place, data_dir) or inside(data_dir, place) for place in beam.places):
        return True
    # Debian's home is the data directory; with a process of another user that may be all that we see.
    if beam.home and inside(data_dir, beam.home) and not beam.places:
        return True
    return None if beam.files is None or beam.places is None else False


def judge_process(
    beams: list[Beam], claims: list[bool | None], service: dict[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """Return what is known about the process, and what is unclear; ``claims`` are the answers of belongs()."""
    ours = [beam for beam, claim in zip(beams, claims) if claim]
    if ours:
        beam = ours[-1]
        started, suspended = instant(beam.started), beam.suspended
        return {"running": True, "pid": beam.pid, "started_at": started, "suspended": suspended}, None
    nothing: dict[str, Any] = {"running": False, "pid": None, "started_at": None, "suspended": None}
    unclear = [str(beam.pid) for beam, claim in zip(beams, claims) if claim is None]
    if unclear:
        text = f"Whether the broker process {', '.join(unclear)} is the one in question can't be told from here."
        return {**nothing, "running": None}, text
    if service["state"] == "running":
        text = "The service manager says that the broker runs, but no process of it can be found on this host."
        return {**nothing, "running": None}, text
    return nothing, None


class Look:
    """One look at a host; what can't be read becomes a sentence of ``unknown``."""

    def __init__(self, host: Host, params: dict[str, Any]) -> None:
        self.host = host
        self.params = params
        self.unknown: list[str] = []

    def attempt(self, read: Callable[[], T], otherwise: T) -> T:
        """Return what can be read, or ``otherwise``."""
        try:
            return read()
        except Unreadable as reason:
            self.unknown.append(str(reason))
            return otherwise

    def service(self) -> dict[str, Any]:
        """Ask the service manager."""
        manager, name = self.params["service_manager"], self.params["service"]
        command = _service_state.command(manager, name, self.params["status_command"])
        try:
            ran = self.host.run(command, self.params["timeout"])
        except Unreadable as reason:
            state = _service_state.unknown(manager, str(reason))
        else:
            state = _service_state.judge(manager, name, ran, self.host.now(), self.host.monotonic())
        if state["state"] == "unknown":
            self.unknown.append(f"The state of the service: {state['detail']}")
        return state

    def tails(self) -> list[Tail]:
        """Read the ends of the log files."""
        paths = self.host.find(self.params["log_files"])
        if not paths:
            self.unknown.append(f"No log file matches {', '.join(self.params['log_files'])}.")
        limit = self.params["log_tail_bytes"]
        tails = [self.attempt(partial(self.host.tail, path, limit), None) for path in paths]
        return [tail for tail in tails if tail is not None]

    def process(self, service: dict[str, Any], listening: dict[int, set[int]] | None) -> dict[str, Any]:
        """Find the broker's process."""
        beams = self.attempt(self.host.brokers, None)
        if beams is None:
            return {"running": None, "pid": None, "started_at": None, "suspended": None}
        sockets = {inode for port in self.params["ports"] for inode in (listening or {}).get(port, ())}
        logs, data_dir = set(self.host.find(self.params["log_files"])), self.params["data_dir"]
        claims = [belongs(beam, service["main_pid"], data_dir, logs, sockets) for beam in beams]
        process, unclear = judge_process(beams, claims, service)
        if unclear:
            self.unknown.append(unclear)
        return process

    def disk(self) -> dict[str, Any]:
        """Look at the data directory."""
        path = self.params["data_dir"]
        disk = self.attempt(lambda: self.host.disk(path), None)
        return {
            "path": path,
            "free": disk and disk.free,
            "total": disk and disk.total,
            "writable": disk and disk.writable,
            "owner": disk and disk.owner,
            "detail": disk and disk.note,
            "last_write_at": instant(self.host.last_write(path)) if disk else None,
        }

    def clock(self) -> dict[str, Any]:
        """Look at the clock."""
        return {
            "now": instant(self.host.now()),
            "boot_id": self.attempt(self.host.boot_id, None),
            "booted_at": instant(self.attempt(self.host.booted, None)),
        }


def sentence(result: dict[str, Any]) -> str:
    """Return the finding in one sentence."""
    service, process, lifecycle = result["service"], result["process"], result["lifecycle"]
    if process["running"] is False and not result["logs"] and result["disk"]["free"] is None:
        return "There is no sign of RabbitMQ on this host: no process, no logs, no data directory."
    lives = {
        True: f"its process {process['pid']} lives",
        False: "no broker process lives",
        None: "its process can't be seen",
    }
    ends = {
        True: f"its log shows an orderly stop at {lifecycle['stopped_at']}",
        False: f"its log ends at {result['last_log_at']} without an orderly stop",
        None: f"its log's last word is {lifecycle['last']}",
    }
    end = "its logs say nothing about it" if lifecycle["last"] == "none" else ends[lifecycle["clean_stop"]]
    suspended = ", but is suspended by a signal" if process["suspended"] else ""
    state = "in a state that is not known" if service["state"] == "unknown" else service["state"]
    said = f"The service is {state} and {lives[process['running']]}{suspended}"
    return f"{said}; {end}."


def run(params: dict[str, Any], host: Host) -> dict[str, Any]:
    """Return all that the host knows; only parameters that make no sense raise."""
    if params["service_manager"] == "command" and not params["status_command"]:
        raise BadInput("status_command must name a program.")
    if params["log_tail_bytes"] <= 0 or params["timeout"] <= 0:
        raise BadInput("log_tail_bytes and timeout must be above 0.")
    look = Look(host, params)
    clock = look.clock()
    listening = look.attempt(host.listening, None)
    service = look.service()
    # The process before the log: one that ends in between has then written its last line.
    process = look.process(service, listening)
    tails = look.tails()
    log = _broker_log.read(tails)
    started = process["started_at"] and moment(process["started_at"])
    lifecycle, unclear = _broker_log.lifecycle(log, process["running"], started)
    result = {
        "changed": False,
        "service": service,
        "process": process,
        "lifecycle": lifecycle,
        "signatures": _broker_log.signatures(log),
        "listeners": [
            {"port": port, "listening": None if listening is None else port in listening} for port in params["ports"]
        ],
        "disk": look.disk(),
        "clock": clock,
        "last_log_at": _broker_log.last_at(log),
        "logs": [{"path": t.path, "modified_at": instant(t.modified), "whole": t.whole} for t in tails],
        "unknown": look.unknown + ([unclear] if unclear else []),
    }
    return {**result, "message": sentence(result)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(),
        required_if=[("service_manager", "command", ["status_command"])],
        supports_check_mode=True,
    )
    try:
        result = run(module.params, Host())
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
