# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The causes that faults may be taken for, and that the diagnosis is yet to learn.

One vocabulary: a fault names causes of roles/outage_diagnose/causes, or of this table. A unit test takes care that no
name stands in both; who teaches the diagnosis a cause removes it here.
"""

from __future__ import annotations

from pathlib import Path

KNOWN_IN = Path(__file__).resolve().parents[2] / "roles" / "outage_diagnose" / "causes"

WANTED: dict[str, str] = {
    "app_stopped": "the process lives, but the RabbitMQ application in it was stopped",
    "backend_unreachable_dns": "a backend cannot resolve the broker's name",
    "backend_path_dropped": "packets between a backend and the broker are dropped",
    "backend_path_refused": "a backend's connections are refused on the way or at the broker's firewall",
    "bindings_missing": "events are accepted and unroutable: a binding is gone",
    "broker_hung": "the process lives, accepts connections and answers nothing",
    "broker_oom_killed": "the kernel killed the broker for want of memory",
    "broker_restarted": "the broker crashed and was restarted by its service manager",
    "broker_segfault": "the broker's process died of its own fault (SEGV, ABRT)",
    "configuration_broken": "the broker cannot boot: its configuration is refused",
    "consumer_timeout": "a task takes longer than consumer_timeout, and is delivered again and again",
    "cookie_broken": "the Erlang cookie is unreadable, of the wrong mode or owner, or not the node's",
    "credentials_rotated": "the password at the broker is not the one that a backend holds",
    "data_dir_not_writable": "the broker cannot write its data or log directory: owner or mode",
    "data_restored": "the broker's data are older than what it had confirmed: restored from a snapshot",
    "delivery_limit_drops": "messages exceed the delivery limit, and no dead letter target keeps them",
    "disk_alarm": "free disk space is below the limit, and publishers are blocked",
    "disk_full": "the disk is full, and the broker dies of it again and again",
    "disk_quota": "a quota that df does not show is used up, and writes fail",
    "disk_slow": "the disk is so slow that confirms take seconds",
    "feature_flags_missing": "an upgraded broker refuses to boot: required feature flags are not enabled",
    "file_descriptors_exhausted": "the broker has no file descriptors left for new connections",
    "maintenance_mode": "the node was put into maintenance mode and left there",
    "memory_alarm": "memory is above the watermark, and publishers are blocked",
    "messages_expire": "a TTL or length limit drops messages before a worker has them",
    "network_down": "the hosts do not reach each other: bridge or interface down",
    "node_renamed": "the host's name has changed: an empty broker that looks healthy",
    "poison_message": "one message fails at every attempt",
    "port_taken": "the broker cannot boot: another process has its port",
    "queue_arguments_mismatch": "a client declares a queue with other arguments than it has (406)",
    "worker_crashed": "a worker's container has ended: its queue has no consumer",
    "worker_wedged": "a worker holds its messages and does nothing",
}
"""Name -> what it says."""


def known() -> frozenset[str]:
    """Return the causes that the diagnosis can name today."""
    return frozenset(path.stem for path in KNOWN_IN.glob("*.yml"))
