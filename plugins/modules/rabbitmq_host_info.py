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
  - Reads only. The broker itself is asked only with O(probe), and within its time; a broker that hangs can't hold the
    module.
  - Needs nothing but Python's standard library. Root sees most. What can't be read is listed in RV(unknown)
    and does not fail the module.
  - The broker's log files are read, and the journal of the last day. Under Debian's unit the journal has systemd's
    lines, not the broker's.
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
  journal_keep:
    description:
      - MiB of the journal below which it is not above its limit, for RV(disk.reclaimable).
    type: int
    default: 200
  copy_dir:
    description:
      - A directory on this host for a copy of the broker's data, to know of its room (RV(disk.copy_dir)).
    type: path
  last_good:
    description:
      - Patterns of where copies of the configuration's files from a time when it booted may be found. C({file}) is the
        file's path, C({name}) its name. Without any, none is looked for.
    type: list
    elements: str
    default: []
  ports:
    description:
      - The TCP ports that the broker is expected to listen on.
    type: list
    elements: int
    default: [5672, 15672]
  cluster_port:
    description:
      - The TCP port on which the cluster's nodes talk to one another. Who is not heard there is told in RV(unheard).
    type: int
  timeout:
    description:
      - Seconds that each command may take, such as the service manager's.
    type: float
    default: 20.0
  reference:
    description:
      - The time of another clock, just now, as ISO 8601 with a zone. RV(clock.offset) is measured against it.
    type: str
  probe:
    description:
      - Probe the broker from this host besides, as M(veza.rabbitmq.amqp_probe) does. Without it nobody is asked.
    type: dict
    suboptions:
      login_host: {description: "Name or address of the broker.", type: str, default: localhost}
      login_port: {description: "Port of the broker.", type: int, default: 5672}
      login_user: {description: "User to log in as.", type: str}
      login_password: {description: "Password of O(probe.login_user).", type: str}
      vhost: {description: "Virtual host.", type: str, default: /}
      tls: {description: "Whether the port speaks TLS.", type: bool, default: false}
      timeout: {description: "Seconds that the probe may take.", type: float, default: 5.0}
      slow_after: {description: "Seconds after which a success is called V(slow).", type: float, default: 1.0}
      ca_cert: {description: "File with the certificates of the authorities to trust.", type: path}
      client_cert: {description: "File with the certificate that the client shows.", type: path}
      client_key: {description: "File with the private key of O(probe.client_cert).", type: path}
      validate_certs: {description: "Whether the server's certificate is checked.", type: bool, default: true}
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
    user:
      description: The user as whom the service runs. Only systemd knows it.
      type: str
    enabled:
      description: Whether a boot of the host starts it. V(null) where that is not known; only systemd tells it.
      type: bool
    detail:
      description: The manager's own words, or why the state is unknown.
      type: str
    exits:
      description: The abnormal ends of its runs in the last day, the newest last. V(null) if the journal can't be read.
      type: list
      elements: dict
      contains:
        at: {description: "When.", type: str}
        status: {description: "systemd's words for it; V(none) without a process.", type: str, sample: 9/KILL}
        started_at: {description: "When systemd began to start it. V(null) if the journal does not tell.", type: str}
        why: {description: "What kept systemd from running it at all. V(null) if nothing did.", type: str}
    stopped_by:
      description:
        - Who asked for the last stop, with proof from the journal or dpkg's log. V(null) without, and if the last run
          did not end in order. That somebody was logged in is no proof.
      type: dict
      contains:
        who: {description: "The user, V(the package manager), V(the shutdown of the host) or V(Ansible).", type: str}
        how: {description: "The command.", type: str}
        at: {description: "When.", type: str}
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
    previous_stop:
      description: When that run had been stopped in order. V(null) if it ended otherwise, or that is not known.
      type: str
signatures:
  description:
    - The known bad lines that the logs show, in the order of the choices of their names. Of lines that name a virtual
      host, those of the one of O(probe).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the signature.
      type: str
      sample: disk_alarm_set
      choices: [disk_low, disk_alarm_set, disk_alarm_cleared, memory_high, memory_alarm_set, memory_alarm_cleared,
        file_descriptors, disk_quota, disk_full, login_refused, guest_from_afar, vhost_missing, vhost_refused,
        http_refused, connection_lost, handshake_timeout, bad_header, heartbeats_missed, permission_refused,
        exclusive_use, exchange_missing, message_too_large, operation_refused, arguments_refused, connection_limit,
        ack_timeout, partition, peer_lost, minority_paused, autoheal, waiting_for_tables, cookie_of_peer,
        quorum_member_missing, sigterm, maintenance, revived, empty_boot, unclean_before, messages_dropped,
        start_script, boot_failed, crash_dump, configuration, port_in_use, cookie_file, permissions, feature_flags,
        inconsistent_cluster, peers_missing, name_resolution]
    count:
      description: How often since the last start of the broker.
      type: int
    total:
      description: How often in all that was read.
      type: int
    first_at:
      description: When it was first written, of those that RV(signatures[].count) counts.
      type: str
    last_at:
      description: When it was last written. Some lines of a failing boot have no time.
      type: str
    line:
      description: The last line, of several about one failure the one that says most. Passwords are masked.
      type: str
    file:
      description: The file with that line, V(journal) for the journal.
      type: str
dropped:
  description: Classic queues that lost messages in the last boot, because the run before had not ended in order.
  returned: always
  type: list
  elements: dict
  contains:
    queue: {description: "Name of the queue.", type: str}
    vhost: {description: "Its virtual host.", type: str}
    persistent: {description: "Persistent messages that were lost.", type: int}
    transient: {description: "Transient messages that were lost.", type: int}
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
    addresses:
      description: The addresses on which somebody does. V(null) if that can't be seen.
      type: list
      elements: str
    ours:
      description: Whether this broker does. V(null) if that can't be seen, or nobody listens.
      type: bool
    holder:
      description: Another process that does. V(null) if there is none, or it can't be seen.
      type: dict
      contains:
        pid: {description: "Its process id.", type: int}
        name: {description: "Its name.", type: str}
        command: {description: "Its command line, cut, passwords masked.", type: str}
        user: {description: "As whom it runs.", type: str}
        unit: {description: "Its systemd unit. V(null) if it has none.", type: str}
last_good:
  description:
    - Of each configuration file and the cookie, the newest copy that is older, as O(last_good) finds it. A file without
      one is not there.
  returned: always
  type: list
  elements: dict
  contains:
    file: {description: "The file.", type: str}
    source: {description: "The copy.", type: str}
    modified_at: {description: "When the copy was last written.", type: str}
disk:
  description: The file system of the broker's data. Values are V(null) if it can't be looked at.
  returned: always
  type: dict
  contains:
    path:
      description: O(data_dir), or below it the node's own directory or C(mnesia) if that is on another file system.
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
    limit:
      description:
        - Free bytes below which the broker raises its disk alarm, as its log says, else its configuration.
          V(null) if neither does.
      type: int
    write_error:
      description:
        - Why nothing can be written there, tried with a file without a name while the broker's process does not live,
          boots, or does not listen on the first of O(ports). V(null) if something can, or it was not tried.
        - V(ETIMEDOUT) means that the attempt did not end within 2 s.
      type: str
      choices: [EDQUOT, ENOSPC, EROFS, ETIMEDOUT]
    snapshot_since:
      description:
        - Since when its file system is the one that it is. Later than the broker's older data, it means that a
          snapshot was restored then. V(null) where the file system does not tell; btrfs does.
      type: str
    inodes_free:
      description: Files that can still be made. V(null) where the file system has no fixed number.
      type: int
    inodes_total:
      description: Files that it can hold.
      type: int
    last_write_at:
      description: When a file below the directory was last written, as far as 5000 entries tell. A sign of life.
      type: str
    data_bytes:
      description: What the data directory takes, or at most takes where it has very many files.
      type: int
    reclaimable:
      description:
        - What may be removed from this file system with M(veza.rabbitmq.reclaimable_files), which has the same keys.
          Crash dumps, rotated logs that nobody has open, and journal above O(journal_keep).
      type: list
      elements: dict
    held:
      description: What would be of these kinds, but frees nothing, with C(path), C(kind), C(bytes) and C(why).
      type: list
      elements: dict
    copy_dir:
      description: O(copy_dir) with its C(path), C(free) bytes, and whether it is on the same (C(same)) file system.
      type: dict
directories:
  description: The directories and files that the broker must use, and whether its user may, by owner and mode.
  returned: always
  type: list
  elements: dict
  contains:
    path: {description: "The path.", type: str}
    owner: {description: "Its owner.", type: str}
    group: {description: "Its group.", type: str}
    mode: {description: "Its mode, octal.", type: str}
    ok: {description: "Whether the service's user may use it as needed. V(null) if that is not known.", type: bool}
    detail: {description: "The same in words.", type: str}
cookie:
  description: The Erlang cookie's file. Its content is never read.
  returned: always
  type: dict
  contains:
    path: {description: "The path.", type: str}
    owner: {description: "Its owner.", type: str}
    mode: {description: "Its mode, octal.", type: str}
    size: {description: "Its size in bytes.", type: int}
    ok: {description: "Whether the broker accepts it. V(null) if there is none, or that is not known.", type: bool}
    detail: {description: "What is wrong with it.", type: str}
node:
  description: The node of this host.
  returned: always
  type: dict
  contains:
    name: {description: "Its name, of the process, else of the data that were written last.", type: str}
    began_at: {description: "How old the oldest of its data are; null if that is not known.", type: str}
    others:
      description: Other nodes whose data lie beside its own, as after a change of the host's name.
      type: list
      elements: dict
      contains:
        name: {description: "The node.", type: str}
        modified_at: {description: "When its directory was last changed.", type: str}
        began_at: {description: "How old the oldest of its data are; null if that is not known.", type: str}
memory:
  description: Memory, in bytes.
  returned: always
  type: dict
  contains:
    total: {description: "What this host sees.", type: int}
    container_limit: {description: "The limit of this host's own control group, if it has one.", type: int}
    peak: {description: "The most that the control group has used.", type: int}
    watermark: {description: "Above which it raises its memory alarm, by its log or configuration.", type: int}
    used: {description: "What the broker's process holds.", type: int}
    oom_count: {description: "Processes that the kernel has killed, by the control groups' counters.", type: int}
    oom_kills:
      description:
        - The broker's OOM kills of the last day. V(null) where nobody on this host can tell, because there is no
          journal that could be read, or the container's memory has reached its limit and the kernel's log is only on
          the machine that hosts it.
      type: list
      elements: dict
      contains:
        at: {description: "When.", type: str}
        line: {description: "What says so.", type: str}
        source: {description: "Where it stands.", type: str}
files:
  description: The open files of the broker's process. V(null) if it does not live or can't be seen.
  returned: always
  type: dict
  contains:
    open: {description: "How many it has open.", type: int}
    limit: {description: "How many it may have.", type: int}
firewall:
  description: The rules of nftables (else iptables) that drop or reject O(ports) or DNS. V(null) if they can't be read.
  returned: always
  type: list
  elements: dict
  contains:
    table: {description: "The table.", type: str}
    chain: {description: "The chain.", type: str}
    rule: {description: "The rule as the firewall writes it.", type: str}
own_ports:
  description: All TCP ports that the broker's process listens on. V(null) if that can't be seen.
  returned: always
  type: list
  elements: int
unheard:
  description:
    - The other nodes that acknowledge nothing of what this one sends, on O(cluster_port). RabbitMQ itself tells of them
      after some 75 s. V(null) if that can't be seen, or without that port.
  returned: always
  type: list
  elements: dict
  contains:
    address: {description: "The other node's address.", type: str}
    port: {description: "The port.", type: int}
    tries: {description: "How often the kernel has sent the same again without an answer.", type: int}
pressure:
  description: How the service waits for its disk, and all on this host for a processor.
  returned: always
  type: dict
  contains:
    stuck:
      description: Whether one of its threads hung in one wait for the disk for a second. V(null) if that can't be seen.
      type: bool
    io_full:
      description: Percent of the last 10 s in which all its tasks waited for the disk. Only cgroup v2 tells it.
      type: float
    cpu_share:
      description:
        - The part of a processor that this module itself got while it waited for nothing, from V(0) to V(1). Little is
          left of it where others take all, or where the hypervisor lets the host have no more.
      type: float
changes:
  description: What changed in the last 7 days, the last one last.
  returned: always
  type: list
  elements: dict
  contains:
    at: {description: "When.", type: str}
    kind: {description: "What kind of thing.", type: str, choices: [configuration, host, package, unit]}
    what: {description: "What.", type: str}
probe:
  description: What M(veza.rabbitmq.amqp_probe) returns. V(null) if O(probe) was not given.
  returned: always
  type: dict
clock:
  description: The host's clock.
  returned: always
  type: dict
  contains:
    offset: {description: "Seconds by which it is ahead of O(reference), including the way of the call.", type: float}
    synchronised: {description: "Whether something keeps it right. V(null) if that is not known.", type: bool}
    stepped_at: {description: "When it was last set by more than 5 s within the last day.", type: str}
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

import glob
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from typing import Any, TypeVar

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _broker_log, _changes, _firewall, _host_state, _journal, _reclaim, _service_state
from ..module_utils._amqp import probe
from ..module_utils._amqp_options import probe_option, target_of
from ..module_utils._clock import offset
from ..module_utils._deadline import Later, check_durations
from ..module_utils._errors import BadInput, VezaError
from ..module_utils._host import Beam, Host, Tail, Unreadable
from ..module_utils._record import instant as moment
from ..module_utils._record import stamp

T = TypeVar("T")

PACKAGES = re.compile(r"^(rabbitmq|erlang|systemd|libc6|openssl|libssl|linux-image)")
"""Packages whose change may bring the broker down."""

CONFIGURATION = ["/etc/rabbitmq/*", "/etc/rabbitmq/conf.d/*", "/etc/default/rabbitmq-server"]
READ = ["/etc/rabbitmq", "/etc/rabbitmq/*.conf*", "/etc/rabbitmq/conf.d/*.conf", "/etc/rabbitmq/enabled_plugins"]
"""What the broker itself must be able to read: its configuration, of which a later file counts more."""
UNITS = [
    "/etc/systemd/system/{0}.service",
    *(f"/{place}/{{0}}.service.d/*.conf" for place in ("etc/systemd/system", "etc/systemd/system.control",
                                                       "run/systemd/system", "run/systemd/system.control")),
]  # fmt: skip
NAMES = ["/etc/hostname", "/etc/hosts"]
"""A node is named after its host."""

USER = "rabbitmq"
"""As whom the broker runs where the service manager does not say: that of every package."""

BOOTING = ("starting", "restarting", "failed")
"""States of the service in which a process that lives is not at work."""

_LIMIT = re.compile(r"Disk free limit set to (\d+)(\w*)")
_WATERMARK = re.compile(r"Memory high watermark set to \d+ MiB \((\d+) bytes\)")


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
        "journal_keep": {"type": "int", "default": 200},
        "copy_dir": {"type": "path"},
        "last_good": {"type": "list", "elements": "str", "default": []},
        "ports": {"type": "list", "elements": "int", "default": [5672, 15672]},
        "cluster_port": {"type": "int"},
        "timeout": {"type": "float", "default": 20.0},
        "reference": {"type": "str"},
        "probe": probe_option(),
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
        self.node: str | None = None
        self.beams: list[Beam] = []

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
        self.beams = beams
        sockets = {inode for port in self.params["ports"] for inode in (listening or {}).get(port, ())}
        logs, data_dir = set(self.host.find(self.params["log_files"])), self.params["data_dir"]
        claims = [belongs(beam, service["main_pid"], data_dir, logs, sockets) for beam in beams]
        # A container's broker is this one only if it works on this very directory.
        claims = [
            False if claim is None and beam.contained and self.host.shares(beam.pid, data_dir) is False else claim
            for beam, claim in zip(beams, claims)
        ]
        process, unclear = judge_process(beams, claims, service)
        self.node = next((beam.node for beam in beams if beam.pid == process["pid"]), None)
        if unclear:
            self.unknown.append(unclear)
        return process

    def disk(self, works: bool) -> dict[str, Any]:
        """Look at the file system of the data; ``works`` tells whether the broker may be at work, and so writes."""
        path = _host_state.written_to(self.params["data_dir"])
        disk = self.attempt(lambda: self.host.disk(path), None)
        return {
            "path": path,
            "free": disk and disk.free,
            "total": disk and disk.total,
            "writable": disk and disk.writable,
            "owner": disk and disk.owner,
            "detail": disk and disk.note,
            "inodes_free": disk and disk.inodes_free,
            "inodes_total": disk and disk.inodes_total,
            "last_write_at": instant(self.host.last_write(self.params["data_dir"])) if disk else None,
            "write_error": None if works else _host_state.write_error(path),
        }

    def room(self, path: str, disk: dict[str, Any]) -> dict[str, Any]:
        """Say what could be removed from the disk of the data, and where a copy of the data would fit."""
        data_dir, logs = self.params["data_dir"], self.params["log_files"]
        keep = self.params["journal_keep"] * 1024 * 1024
        found = _reclaim.listed(path, data_dir, logs, keep, _reclaim.open_files())
        used = None if disk["free"] is None else disk["total"] - disk["free"]
        return {
            "data_bytes": _host_state.taken_by(data_dir, used),
            "reclaimable": found["files"],
            "held": found["kept"],
            "copy_dir": _host_state.room_at(self.params["copy_dir"], path) if self.params["copy_dir"] else None,
        }

    def journal(self) -> list[_journal.Entry] | None:
        """Read the journal of the last day; None if there is none, or it can't be read."""
        if self.params["service_manager"] != "systemd":
            return None
        command = _journal.command(self.params["service"])
        ran = self.attempt(lambda: self.host.run(command, self.params["timeout"]), None)
        if ran is None:
            return None
        if ran.code != 0:
            self.unknown.append(
                f"journalctl ended with exit code {ran.code}: {' '.join(ran.err.split()) or 'silence'}."
            )
            return None
        entries = _journal.parse(ran.out)
        cut = _journal.cut_at(entries)
        if cut:
            self.unknown.append(f"What the journal says from before {cut}: it has more than {_journal.LINES} entries.")
        return entries

    def memory(
        self, entries: list[_journal.Entry] | None, exits: list[dict[str, Any]], pid: int | None
    ) -> dict[str, Any]:
        """Look at memory, and whether the kernel killed the broker for want of it."""
        service = self.params["service"]
        state, count = _host_state.memory(), _host_state.oom_count(service)
        kills: list[dict[str, Any]] | None = None if entries is None else _journal.oom_kills(entries, service)
        killed = [end for end in exits if end["status"] == "9/KILL"]
        if killed and not kills and count:
            line = f"the control group counts {count} OOM kills, and the unit's last run ended by 9/KILL"
            kills = [{"at": killed[-1]["at"], "line": line, "source": "control group"}]
        elif killed and not kills and _host_state.memory_was_used_up(state):
            kills = None
            self.unknown.append(
                "Whether the kernel killed the broker for want of memory: the container's memory has reached its limit,"
                " and the kernel's log is only on the machine that hosts it."
            )
        return {**state, "used": _host_state.resident(pid) if pid else None, "oom_count": count, "oom_kills": kills}

    def listeners(self, listening: dict[int, set[int]] | None, running: bool | None) -> list[dict[str, Any]]:
        """Say of each port whether somebody listens on it, and who."""
        seen: list[Beam] = self.attempt(self.host.brokers, [])
        beams = [beam for beam in seen if beam.sockets is not None]
        bound: dict[int, set[str]] | None = None
        with suppress(Unreadable):  # which the ports that are listened on have told
            bound = self.host.bound()
        found = []
        for port in self.params["ports"]:
            inodes = (listening or {}).get(port, set())
            ours = any(beam.sockets and beam.sockets & inodes for beam in beams) if inodes and running else None
            other = _host_state.holder(inodes) if inodes and not ours else None
            found.append(
                {
                    "port": port,
                    "listening": None if listening is None else port in listening,
                    "addresses": None if bound is None else sorted(bound.get(port, ())),
                    "ours": False if other else ours,
                    "holder": other,
                }
            )
        return found

    def own_ports(self, listening: dict[int, set[int]] | None, pid: int | None) -> list[int] | None:
        """Return the ports that the broker's process listens on, whichever they are."""
        sockets = next((beam.sockets for beam in self.beams if beam.pid == pid), None)
        if listening is None or sockets is None:
            return None
        return sorted(port for port, inodes in listening.items() if inodes & sockets)

    def unheard(self) -> list[dict[str, Any]] | None:
        """See which other nodes acknowledge nothing."""
        port = self.params["cluster_port"]
        return None if port is None else self.attempt(lambda: self.host.unheard(port), None)

    def firewall(self) -> list[dict[str, str]] | None:
        """Read the firewall's rules."""

        def run(command: list[str]) -> str | None:
            try:
                ran = self.host.run(command, self.params["timeout"])
            except Unreadable:
                return None
            return ran.out if ran.code == 0 else None

        rules = _firewall.read(run, self.params["ports"])
        if rules is None:
            self.unknown.append("The firewall's rules can't be listed.")
        return rules

    def changes(self) -> list[dict[str, Any]]:
        """Collect what changed lately."""
        written = _changes.files(CONFIGURATION, "configuration")
        units = _changes.files([path.format(self.params["service"]) for path in UNITS], "unit")
        names = _changes.files(NAMES, "host")
        return _changes.lately([*written, *units, *names, *_changes.dpkg(PACKAGES)], self.host.now())

    def clock(self) -> dict[str, Any]:
        """Look at the clock."""
        return {
            "offset": offset(self.params["reference"], self.host.now()),
            "synchronised": _host_state.synchronised(),
            "stepped_at": None,
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


def disk_limit(tails: list[Tail]) -> int | None:
    """Return the limit of the disk alarm that the broker's log told last."""
    found = [match for tail in reversed(tails) for match in _LIMIT.findall(tail.text)]
    if not found:
        return None
    number, unit = found[-1]
    factor = _host_state.UNITS.get(unit.lower())
    return int(number) * factor if factor else None


def watermark(tails: list[Tail]) -> int | None:
    """Return the limit of the memory alarm that the broker's log told last."""
    found = [match for tail in reversed(tails) for match in _WATERMARK.findall(tail.text)]
    return int(found[-1]) if found else None


def run(params: dict[str, Any], host: Host) -> dict[str, Any]:
    """Return all that the host knows; only parameters that make no sense raise."""
    if params["service_manager"] == "command" and not params["status_command"]:
        raise BadInput("status_command must name a program.")
    check_durations(params, ["timeout"])
    if params["log_tail_bytes"] <= 0:
        raise BadInput("log_tail_bytes must be above 0.")
    target = target_of(params["probe"]) if params["probe"] else None
    look = Look(host, params)
    clock = look.clock()
    listening = look.attempt(host.listening, None)
    service = look.service()
    # The process before the log: one that ends in between has then written its last line.
    process = look.process(service, listening)
    disk_watch = _host_state.DiskWatch(process["pid"]) if process["pid"] else None
    # One that boots has not written yet, and may be about to die of it; one that does not listen may have.
    heard = listening is None or all(port in listening for port in params["ports"][:1])
    works = process["running"] is not False and service["state"] not in BOOTING and heard
    disk = look.disk(works)
    # From here on it is asked beside all the rest: one that hangs takes its whole time.
    answer = Later(lambda: asdict(probe(target))) if target else None
    entries = look.journal()
    exits = None if entries is None else _journal.exits(entries, params["service"])
    tails = look.tails()
    with _host_state.Work() as work:
        log = _broker_log.read(tails, _journal.own_lines(entries or [], params["service"]))
    started = process["started_at"] and moment(process["started_at"])
    # Under systemd a broker tells itself when it has booted; any other manager runs what boots.
    ready = (service["manager"], service["state"]) == ("systemd", "running")
    lifecycle, unclear = _broker_log.lifecycle(log, process["running"], started, ready)
    # Who runs it under an operator's own manager is not known, so neither is what it may write.
    user = service["user"] or (USER if params["service_manager"] != "command" else "")
    files = [tail.path for tail in tails]
    node = _host_state.node(params["data_dir"], look.node)
    read = sorted(path for pattern in READ for path in glob.glob(pattern))
    limits = _host_state.configured(path for path in read if os.path.isfile(path))
    changes = look.changes()
    asked = moment(lifecycle["stopped_at"]).timestamp() if lifecycle["stopped_at"] else None
    result = {
        "changed": False,
        "service": {
            **service,
            "exits": exits,
            "stopped_by": _journal.stopped_by(entries or [], params["service"], asked, changes),
        },
        "process": process,
        "lifecycle": lifecycle,
        "signatures": _broker_log.signatures(log, target.vhost if target else None),
        "dropped": _broker_log.dropped(log),
        "listeners": look.listeners(listening, process["running"]),
        "disk": {
            **disk,
            **look.room(disk["path"], disk),
            "limit": disk_limit(tails) or limits.get("disk_free_limit"),
            "snapshot_since": _host_state.snapshot_since(params["data_dir"]),
        },
        "directories": _host_state.directories(params["data_dir"], files, user, node["name"], read),
        "cookie": _host_state.cookie(params["data_dir"], user),
        "last_good": _host_state.last_good(
            [*(path for path in read if os.path.isfile(path)), f"{params['data_dir']}/{_host_state.COOKIE}"],
            params["last_good"],
        ),
        "node": node,
        "memory": {
            **look.memory(entries, exits or [], process["pid"]),
            "watermark": watermark(tails) or limits.get("vm_memory_high_watermark"),
        },
        "files": _host_state.open_files(process["pid"]) if process["pid"] else {"open": None, "limit": None},
        "firewall": look.firewall(),
        "own_ports": look.own_ports(listening, process["pid"]),
        "unheard": look.unheard(),
        "pressure": {
            "io_full": _host_state.io_full(params["service"]),
            "cpu_share": work.share,
            "stuck": disk_watch.stuck() if disk_watch else None,
        },
        "changes": changes,
        "clock": {**clock, "stepped_at": _journal.stepped_at(entries or [])},
        "probe": answer.result() if answer else None,
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
