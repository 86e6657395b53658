# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What RabbitMQ's log says when something is wrong: one table, measured on 3.10.8 and 4.0.5.

The patterns are searched in the text of one line, after the prefix of time, level and process. Levels are lower case;
the words ``disk_alarm``, ``memory_alarm`` and ``CRASH`` are in no log of these versions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Signature:
    """A name that causes refer to, and the pattern of a line; ``telling`` finds the lines that say most of it."""

    name: str
    pattern: re.Pattern[str]
    telling: re.Pattern[str]


_TABLE = (
    # Resource alarms
    ("disk_low", r"Free disk space is insufficient\. Free bytes: \d+\. Limit: \d+"),
    ("disk_alarm_set", r"disk resource limit alarm set on node"),
    ("disk_alarm_cleared", r"disk resource limit alarm cleared (?:on node|across the cluster)"),
    ("memory_high", r"vm_memory_high_watermark set\. Memory used:\d+ allowed:\d+"),
    ("memory_alarm_set", r"memory resource limit alarm set on node"),
    ("memory_alarm_cleared", r"memory resource limit alarm cleared (?:on node|across the cluster)"),
    ("file_descriptors", r"file descriptor limit alarm set\.|out of file descriptors|\bemfile\b"),
    ("disk_quota", r"\bedquot\b|[Dd]isk quota exceeded"),
    ("disk_full", r"\benospc\b|no space left on device"),
    # Clients
    ("login_refused", r"login refused: user '.*' - invalid credentials"),
    ("guest_from_afar", r"user '.*' can only connect via localhost"),
    ("vhost_missing", r"^ ?vhost \S+ not found"),
    ("vhost_refused", r"access to vhost '.*' refused for user"),
    ("http_refused", r"HTTP access denied: user '.*' - "),
    ("connection_lost", r"client unexpectedly closed TCP connection"),
    ("handshake_timeout", r"\{handshake_timeout,"),
    ("bad_header", r"\{bad_header,"),
    ("heartbeats_missed", r"missed heartbeats from client"),
    ("permission_refused", r"exception access_refused: .*access to .* refused for user"),
    ("exclusive_use", r"exception (?:access_refused|resource_locked): .*\bexclusive\b"),
    ("exchange_missing", r"exception not_found: .*no exchange '"),
    ("message_too_large", r"exception precondition_failed: .*message size \d+ is larger than"),
    ("operation_refused", r"operation \S+ caused a (?:channel|connection) exception (?!connection_forced)"),
    ("arguments_refused", r"\binequivalent arg '"),
    ("connection_limit", r"connection limit \(\d+\) is reached|channel limit \(\d+\) is reached"
                         r"|number of (?:connections|channels) opened .* has reached the maximum"),
    # RabbitMQ before 4 says: waiting for delivery acknowledgement.
    ("ack_timeout", r"has timed out waiting for (?:a consumer|delivery) acknowledgement"),
    # Cluster
    ("partition", r"mnesia_event got \{inconsistent_database, (?:running|starting)_partitioned_network,"),
    ("peer_lost", r"\*\* Node '?\S+'? not responding \*\*|rabbit on node '?\S+'? down"
                  r"|node '?\S+'? down: (?:net_tick_timeout|connection_closed|econnaborted)"),
    ("minority_paused", r"Cluster minority/secondary status detected - awaiting recovery"),
    ("autoheal", r"Autoheal: (?:we were selected to restart; winner is|I am the winner|request)"),
    # Every boot says "9 retries left".
    ("waiting_for_tables", r"timeout_waiting_for_tables|Waiting for Mnesia tables for \d+ ms, [0-8] retries left"),
    ("cookie_of_peer", r"Connection attempt from node '?\S+'? rejected\. Invalid challenge reply"),
    ("quorum_member_missing", r"configured member of queue .* was not found on this node"),
    # The life of the node
    ("sigterm", r"SIGTERM received - shutting down"),
    ("maintenance", r"being put into maintenance \(drain\) mode"),
    ("revived", r"being revived from maintenance \(drain\) mode"),
    # Before 4.0 the second.
    ("empty_boot", r"^DB: virgin node -> run peer discovery|^Node database directory at .* is empty\."),
    ("unclean_before", r"not properly closed, repairing"),
    ("messages_dropped", r"dropped \S+ persistent messages and \d+ transient messages after unclean shutdown"),
    # Boots that fail; most of these stand in rabbitmq-server.log and rabbitmq-server.error.log only
    # What the shell says of the script that starts the broker: dash names the line, bash writes "line" before it.
    ("start_script", r"^\S*/rabbitmq-(?:server|env|defaults): (?:line )?\d+: "),
    ("boot_failed", r"^ ?BOOT FAILED|Runtime terminating during boot|Kernel pid terminated"),
    ("crash_dump", r"Crash dump is being written to:"),
    ("configuration", r"Conf file attempted to set unknown variable|failed_to_prepare_configuration"
                      r"|Error transforming datatype for: |Could not open file \(\S+\) for Reason"
                      r"|Syntax error in \S+ after line|failed_to_parse_configuration_file"
                      r"|^ *- [\w.$-]+ invalid, |Failed to load advanced configuration file"
                      r"|failed_to_read_advanced_configuration_file"),
    ("port_in_use", r"\beaddrinuse\b|dist_port_already_used|could not bind to distribution port"),
    ("cookie_file", r"Cookie file \S+ must be accessible by owner only|Error when reading \S*erlang\.cookie"
                    r"|Too short cookie string"),
    ("permissions", r"cannot_delete_plugins_expand_dir|Ra could not create its data directory|cannot_log_to_file"
                    r"|failed to open log file at '.*', reason: permission denied|cannot_read_enabled_plugins_file"),
    ("feature_flags", r"required feature flag not enabled|failed_to_initialize_feature_flags_registry"),
    ("inconsistent_cluster", r"\binconsistent_cluster\b|thinks it's clustered with node"),
    ("peers_missing", r"Timeout contacting cluster nodes"),
    ("name_resolution", r"epmd error for host"),
)  # fmt: skip

_TELLING = {
    "boot_failed": r"Runtime terminating during boot|Kernel pid terminated",
    "configuration": r"Conf file attempted to set|Error transforming datatype for|Could not open file|Syntax error in"
                     r"|^ *- [\w.$-]+ invalid, |Failed to load advanced",
    "port_in_use": r"\d\},eaddrinuse|distribution port",
    "cookie_file": r"^Cookie file|^Error when reading|^Too short",
    "permissions": r"permission denied|\{cannot_\w+,.+eacces",
}  # fmt: skip
"""One failure is told in many lines; these are worth quoting."""

SIGNATURES = tuple(Signature(name, re.compile(pattern), re.compile(_TELLING.get(name, ""))) for name, pattern in _TABLE)

HINTS = re.compile("|".join(pattern for _name, pattern in _TABLE))
"""Finds a line that has any of them, in one search instead of forty."""


@dataclass(frozen=True)
class Step:
    """A line that marks a step of a node's life, and who caused it, as far as the line knows."""

    state: str
    pattern: re.Pattern[str]
    by: str | None = None


LIFECYCLE = (
    # The first line of a run: whatever comes before belongs to the one before.
    Step("starting", re.compile(r"^Logging: configured log handlers are now ACTIVE")),
    Step("starting", re.compile(r"^ ?Starting RabbitMQ \S+ on Erlang")),
    Step("started", re.compile(r"^Server startup complete; \d+ plugins started")),
    Step("stopping", re.compile(r"^SIGTERM received - shutting down"), "SIGTERM"),
    Step("stopping", re.compile(r"^RabbitMQ is asked to stop"), "a stop command"),
    # Not written after a SIGTERM. After a stop_app the process lives on.
    Step("stopped", re.compile(r"^Successfully stopped RabbitMQ and its dependencies")),
)

FAILED_BOOT = Step("starting", re.compile(r"^ ?BOOT FAILED"))
