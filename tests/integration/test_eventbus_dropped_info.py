# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module eventbus_dropped_info and filter outage_accounting on an outage of the stand-in that really lost events."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests
import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, VezaError
from ansible_collections.veza.rabbitmq.plugins.modules import eventbus_dropped_info
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_accounting import outage_accounting
from tests.lab import apps, broker, processes
from tests.lab.state import Lab

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = str(Path(sys.executable).parent / "ansible-playbook")
UPLOADS = {"backend-1": 5, "backend-2": 70}
"""Each gives two events; those of backend-2 fill more than one of Sentry's pages."""

PATIENCE = 120.0
"""Seconds after which something has gone wrong, however busy the machine is."""


@dataclass
class Outage:
    """What the test itself knows of the outage."""

    start: str
    end: str
    tracks: dict[str, list[str]]
    """By backend: the uploads that were accepted while the bus was degraded, all of whose events are lost."""

    @property
    def lost(self) -> list[str]:
        """Return all of them."""
        return sorted((track for tracks in self.tracks.values() for track in tracks), key=int)


def now() -> str:
    return datetime.now(UTC).isoformat()


def upload(lab: Lab, backend: str) -> str:
    answer = requests.post(f"{lab.urls['backends'][backend]}/api/v1/tracks", json={"title": "lost"}, timeout=30)
    assert answer.status_code == 202
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def outage(lab: Lab) -> Iterator[Outage]:
    """Lose events: backend-2 logs its drops as errors, backend-1 as warnings, of which Sentry never hears."""
    apps.restart(lab, "backend-2", {"EVENTBUS_DEGRADED_LOG_LEVEL": "error"})
    apps.wait(lab, PATIENCE)
    start = now()
    broker.kill(lab)
    degraded = processes.wait_until(
        lambda: all(apps.health(lab, name)["eventbus"] == "degraded" for name in UPLOADS), PATIENCE
    )
    assert degraded, "no outage was made: nothing can be shown"
    tracks = {backend: [upload(lab, backend) for _unused in range(count)] for backend, count in UPLOADS.items()}
    broker.start(lab)
    apps.wait(lab, PATIENCE)
    end = now()
    arrived = processes.wait_until(lambda: ask(lab, "sentry", start, end)["count"] >= 140, PATIENCE)
    assert arrived, "the events never reached Sentry"
    yield Outage(start, end, tracks)
    apps.restart(lab, "backend-2")
    apps.wait(lab, PATIENCE)
    every = [int(track) for lost in tracks.values() for track in lost]
    sql(lab, "UPDATE tracks SET hls_status = 'ready', search_indexed_at = now() WHERE id = ANY(%s)", every)


def sql(lab: Lab, statement: str, *values: Any) -> None:
    connection = psycopg2.connect(lab.urls["database"])
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
    connection.close()


def ask(lab: Lab, source: str, start: str, end: str, **given: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in eventbus_dropped_info.argument_spec().items()}
    means: dict[str, dict[str, Any]] = {
        "sentry": {
            "sentry_url": lab.urls["sentry"],
            "organization": "veza",
            "project": "1",
            "token": lab.credentials["sentry_token"],
        },
        "log": {},
        "database": {"database_url": lab.urls["database"], "kind": "transcode"},
    }
    params = {**defaults, "source": source, "start": start, "end": end, **means[source], **given}
    return eventbus_dropped_info.run(params)


def log_of(lab: Lab, backend: str) -> str:
    return str(lab.dir / "logs" / f"{backend}.log")


def of_kind(result: dict[str, Any], kind: str) -> list[str]:
    return sorted((event["entity_id"] for event in result["events"] if event["kind"] == kind), key=int)


@pytest.mark.parametrize("backend", list(UPLOADS))
def test_a_log_names_exactly_what_was_lost(lab: Lab, outage: Outage, backend: str) -> None:
    result = ask(lab, "log", outage.start, outage.end, path=log_of(lab, backend), instance=backend)

    assert result["completeness"]["state"] == "exact"
    assert of_kind(result, "transcode") == of_kind(result, "search") == outage.tracks[backend]
    assert result["count"] == 2 * UPLOADS[backend]
    assert result["notices"] == 0
    assert {event["instance"] for event in result["events"]} == {backend}
    by_command = ask(lab, "log", outage.start, outage.end, command=["cat", log_of(lab, backend)], instance=backend)
    assert by_command == result


def test_sentry_names_what_was_logged_as_an_error(lab: Lab, outage: Outage) -> None:
    requests.post(f"{lab.urls['sentry']}/_lab/limit", json={"reads": 1, "retry_after": 1}, timeout=30)
    blind = [{"instance": "backend-1", "from": None, "to": None, "reason": "the log level was warn"}]
    result = ask(lab, "sentry", outage.start, outage.end, blind=blind, project="veza-backend")

    assert of_kind(result, "transcode") == of_kind(result, "search") == outage.tracks["backend-2"]
    assert (result["completeness"]["state"], result["pages"]) == ("at_least", 2)
    assert any(reason.startswith("the log level was warn on backend-1") for reason in result["completeness"]["reasons"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param({"token": "n0t-the-t0ken"}, "401: the token is wrong", id="token"),
        pytest.param({"organization": "other"}, "404: there is no such organisation", id="organisation"),
        pytest.param({"project": "99"}, "403: the token may not read", id="project"),
    ],
)
def test_a_refusal_of_sentry_is_not_zero(lab: Lab, outage: Outage, given: dict[str, Any], said: str) -> None:
    with pytest.raises(VezaError, match=said) as caught:
        ask(lab, "sentry", outage.start, outage.end, **given)

    assert caught.value.details["count"] is None


def queues(lab: Lab) -> list[dict[str, Any]]:
    return list(yaml.safe_load((lab.inventory / "group_vars" / "all.yml").read_text())["veza_queues"])


def unfinished(lab: Lab, outage: Outage) -> dict[str, Any]:
    return {
        queue["name"]: ask(lab, "database", outage.start, outage.end, query=queue["unfinished_sql"], kind=queue["kind"])
        for queue in queues(lab)
    }


def test_the_database_shows_what_never_happened(lab: Lab, outage: Outage) -> None:
    found = unfinished(lab, outage)

    assert {result["completeness"]["state"] for result in found.values()} == {"exact"}
    assert of_kind(found["transcode_jobs"], "transcode") == outage.lost
    assert of_kind(found["search_index_updates"], "search") == outage.lost
    assert (found["distribution_outbox"]["count"], found["dmca_propagation"]["count"]) == (0, 0)


def test_the_accounts_agree_with_what_was_lost(lab: Lab, outage: Outage) -> None:
    window = {"start": outage.start, "end": outage.end}
    drained = [{"name": queue["name"], "drained": True, "messages": 0} for queue in queues(lab)]
    dropped = [
        ask(lab, "log", outage.start, outage.end, path=log_of(lab, backend), instance=backend) for backend in UPLOADS
    ] + [ask(lab, "sentry", outage.start, outage.end)]
    facts = {
        "queues": queues(lab),
        "window": window,
        "dropped": dropped,
        "unfinished": unfinished(lab, outage),
        "requeue": {"requeued": outage.lost, "jobs": outage.lost},
        "flush": [{"flushed": True, "url": url} for url in lab.urls["backends"].values()],
        "drain": {"queues": drained},
    }
    accounts = outage_accounting(facts)
    total = len(outage.lost)
    rows = {row["kind"]: row for row in accounts["rows"]}

    assert {kind: row["lost"]["text"] for kind, row in rows.items()} == {
        "transcode": f"exactly {total}",
        "distribution": "exactly 0",
        "dmca": "exactly 0",
        "search": f"exactly {total}",
    }
    assert [entry["entity_id"] for entry in accounts["listed"]] == outage.lost
    assert accounts["sums"] == {
        "dropped": 2 * total, "lost": 2 * total, "replayed": total, "healed": 0, "left": total,
        "uncertain": 0, "unknown": 0,
    }  # fmt: skip
    assert len(accounts["differences"]) == 2
    assert all(f"Sentry lacks {UPLOADS['backend-1']} (" in sentence for sentence in accounts["differences"])


@pytest.mark.parametrize(
    ("query", "said"),
    [
        pytest.param("DELETE FROM tracks RETURNING id AS entity_id, now() AS at", "syntax error", id="DELETE"),
        pytest.param(
            "SELECT nextval('effects_id_seq') AS entity_id, now() AS at", "read-only transaction", id="a sequence"
        ),
        pytest.param("SELECT id, now() AS at FROM tracks", "entity_id does not exist", id="no entity_id"),
        pytest.param("SELECT id AS entity_id FROM tracks", "q.at does not exist", id="no at"),
        pytest.param("SELECT 1 AS entity_id FROM no_such_table", "no_such_table", id="no table"),
        pytest.param("SELECT 1 AS entity_id, now() AS at FROM pg_sleep(60)", "statement timeout", id="too slow"),
    ],
)
def test_a_query_can_neither_write_nor_last(lab: Lab, outage: Outage, query: str, said: str) -> None:
    with pytest.raises(VezaError, match=said) as caught:
        ask(lab, "database", outage.start, outage.end, query=query, timeout=5.0 if "pg_sleep" in query else PATIENCE)

    assert (caught.value.details["count"], caught.value.details["completeness"]["state"]) == (None, "unknown")
    assert lab.urls["database"] not in json.dumps(caught.value.fail_json_arguments())


def test_a_column_without_a_zone_is_refused(lab: Lab, outage: Outage) -> None:
    query = "SELECT id AS entity_id, created_at::timestamp AS at FROM tracks"
    with pytest.raises(BadInput, match="timestamp with time zone"):
        ask(lab, "database", outage.start, outage.end, query=query)


def test_a_query_may_be_written_as_one_writes_it(lab: Lab, outage: Outage) -> None:
    query = """
        -- whatever is left
        SELECT id::text AS entity_id, created_at AS at, 'search' AS kind, 'search:' || id || ':1' AS key
        FROM tracks WHERE title LIKE 'lo%%' AND created_at BETWEEN %(start)s AND %(end)s AND hls_status IS NULL; -- all
    """.replace("; -- all", " -- all")
    result = ask(lab, "database", outage.start, outage.end, query=query, instance="primary")

    assert of_kind(result, "search") == outage.lost
    assert result["events"][0]["key"] == f"search:{outage.lost[0]}:1"
    assert (
        ask(lab, "database", outage.start, outage.end, query=query, max_events=3)["completeness"]["state"] == "at_least"
    )


def test_under_ansible_no_secret_is_shown(lab: Lab, outage: Outage, tmp_path: Path) -> None:
    saved = tmp_path / "accounts.json"
    window = {"start": outage.start, "end": outage.end}
    name = "veza.rabbitmq.eventbus_dropped_info"
    sentry = {
        "sentry_url": "{{ veza_sentry_url }}",
        "organization": "{{ veza_sentry_organization }}",
        "project": "{{ veza_sentry_project }}",
        "token": "{{ veza_sentry_token }}",
    }
    rows = {"database_url": "{{ veza_database_url }}", "query": "{{ item.unfinished_sql }}", "kind": "{{ item.kind }}"}
    log = {"path": "{{ hostvars[item].veza_backend_log_path }}", "instance": "{{ item }}"}
    facts = (
        "{{ {'queues': veza_queues, 'window': asked, 'dropped': logs.results + [sentry, refused],"
        " 'unfinished': rows.results, 'requeue': none, 'flush': [], 'drain': none} | veza.rabbitmq.outage_accounting }}"
    )
    tasks = [
        {name: {"source": "log", **window, **log}, "loop": "{{ groups['veza_app_backend'] }}", "register": "logs"},
        {name: {"source": "sentry", **window, **sentry}, "register": "sentry"},
        {
            name: {"source": "sentry", **window, **sentry, "organization": "other"},
            "register": "refused",
            "failed_when": False,
        },
        {name: {"source": "database", **window, **rows}, "loop": "{{ veza_queues }}", "register": "rows"},
        {name: {"source": "log", **window, "path": "/no/such.log"}, "register": "missing"},
        {"ansible.builtin.assert": {"that": ["missing.completeness.state == 'unknown'", "missing is not failed"]}},
        {"ansible.builtin.copy": {"content": facts, "dest": str(saved), "mode": "0600"}, "vars": {"asked": window}},
    ]
    playbook = tmp_path / "play.yml"
    play = {"hosts": "rabbitmq", "gather_facts": False, "tasks": tasks}
    playbook.write_text(yaml.safe_dump([play], sort_keys=False))
    done = subprocess.run(
        [PLAYBOOK, "-i", str(lab.inventory), str(playbook), "-vvvv"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    shown = done.stdout + done.stderr

    assert done.returncode == 0, shown[-3000:]
    accounts = json.loads(saved.read_text())
    assert accounts["sums"]["dropped"] == 2 * len(outage.lost)
    assert accounts["listed"] == [], "nothing is lost while nobody knows whether the queues have drained"
    assert any("no such organisation" in sentence for sentence in accounts["unknown"])
    assert re.search(r"rabbitmq +: ok=\d+ +changed=1 ", done.stdout), "only the copy of the accounts is a change"
    for secret in (lab.credentials["sentry_token"], lab.urls["database"]):
        assert secret not in shown + saved.read_text()
