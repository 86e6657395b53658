# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's inventory: what a person would write for their own Veza, with the lab's addresses in it."""

from __future__ import annotations

import sys
from typing import Any

import yaml

from . import broker
from .state import Lab, write_private


def _unfinished(table: str, condition: str = "true") -> str:
    """Return the query for what was asked for in a window and is not done."""
    window = "created_at >= %(start)s AND created_at < %(end)s"
    return f"SELECT id AS entity_id, created_at AS at FROM {table} WHERE {condition} AND {window}"


QUEUES = [
    {
        "name": "transcode_jobs",
        "dead_letter_queue": "transcode_jobs.dlq",
        "subsystem": "Track upload to HLS transcode",
        "kind": "transcode",
        "severity": "MEDIUM",
        "effect": "HLS segments don't appear; the track is playable through the fallback /stream.",
        "worker": "transcode",
        "drain_seconds": 900,
        "replay": "transcode_requeue",
        "idempotent": True,
        "unfinished_sql": _unfinished("tracks", "hls_status IS NULL"),
    },
    {
        "name": "distribution_outbox",
        "dead_letter_queue": "distribution_outbox.dlq",
        "subsystem": "Distribution to Spotify/SoundCloud",
        "kind": "distribution",
        "severity": "MEDIUM",
        "effect": "Submissions stay pending for ever.",
        "worker": "distribution",
        "drain_seconds": 900,
        "replay": "none",
        "idempotent": True,
        "unfinished_sql": _unfinished("distributions", "status = 'pending'"),
    },
    {
        "name": "dmca_propagation",
        "dead_letter_queue": "dmca_propagation.dlq",
        "subsystem": "DMCA takedown",
        "kind": "dmca",
        "severity": "HIGH",
        "effect": "The track is blocked in the database, but caches may still serve it.",
        "worker": "dmca",
        "drain_seconds": 900,
        "replay": "dmca_flush",
        "idempotent": True,
        # All takedowns of the window: which of them a cache has seen is not in the database.
        "unfinished_sql": _unfinished("takedowns"),
    },
    {
        "name": "search_index_updates",
        "dead_letter_queue": "search_index_updates.dlq",
        "subsystem": "Search index",
        "kind": "search",
        "severity": "LOW",
        "effect": "New tracks are found by the PostgreSQL full text search only.",
        "worker": "search",
        "drain_seconds": 900,
        "replay": "none",
        "idempotent": True,
        "unfinished_sql": _unfinished("tracks", "search_indexed_at IS NULL"),
        "finished_sql": (
            "SELECT id AS entity_id, search_indexed_at AS at FROM tracks "
            "WHERE search_indexed_at >= %(start)s AND search_indexed_at < %(end)s"
        ),
    },
]


def write(lab: Lab) -> None:
    """Write the inventory's files; they hold the lab's passwords, and only their owner may read them."""
    for name, document in (("hosts.yml", hosts(lab)), ("group_vars/all.yml", variables(lab))):
        path = lab.inventory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, "---\n" + yaml.safe_dump(document, sort_keys=False, width=110))


def hosts(lab: Lab) -> dict[str, Any]:
    """Return the groups of the inventory."""
    backends: dict[str, Any] = {}
    if lab.options.apps:
        backends = {
            name: {"veza_api_url": url, "veza_backend_log_path": str(lab.dir / "logs" / f"{name}.log")}
            for name, url in lab.urls["backends"].items()
        }
    return {
        "veza_data_rabbitmq": {"hosts": {"rabbitmq": {}}},
        "veza_app_backend": {"hosts": backends},
        "veza_workers": {"hosts": {"workers": {}} if lab.options.apps else {}},
    }


def variables(lab: Lab) -> dict[str, Any]:
    """Return the variables of all hosts."""
    veza, monitor = lab.credentials["veza"], lab.credentials["monitor"]
    control = [sys.executable, str(lab.dir / "bin" / "lab"), "broker"]
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "veza_site": lab.name,
        "veza_rabbitmq_host": "127.0.0.1",
        "veza_rabbitmq_port": lab.ports["amqp"],
        "veza_rabbitmq_user": veza["user"],
        "veza_rabbitmq_password": veza["password"],
        "veza_rabbitmq_vhost": broker.VHOST,
        "veza_rabbitmq_management_port": lab.ports["management"],
        "veza_rabbitmq_management_protocol": "http",
        "veza_rabbitmq_management_user": monitor["user"],
        "veza_rabbitmq_management_password": monitor["password"],
        "veza_rabbitmq_service_manager": "command",
        "veza_rabbitmq_service_commands": {verb: [*control, verb] for verb in ("start", "stop", "status")},
        "veza_rabbitmq_log_files": [lab.paths["broker_log"]],
        "veza_rabbitmq_data_dir": lab.paths["broker_data"],
        "veza_database_url": lab.urls["database"],
        "veza_api_admin_token": lab.credentials["api_admin_token"],
        "veza_sentry_url": lab.urls["sentry"],
        "veza_sentry_organization": "veza",
        "veza_sentry_project": "1",
        "veza_sentry_token": lab.credentials["sentry_token"],
        "veza_incident_host": "localhost",
        # Plain processes.
        "veza_backend_container": "",
        "veza_worker_services": [],
        "veza_api_identity": "[pid, started_at]",
        "veza_eventbus_level": lab.options.log_level,
        "veza_incident_dir": lab.paths["incidents"],
        "veza_publisher_backoff": lab.options.backoff,
        "veza_longest_upload": 1,
        "veza_queues": QUEUES,
    }
