# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import re
import tarfile
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.lab.incus import app
from tests.lab.state import LabError, Options
from tests.lab.veza.events import QUEUES

LAB: Any = SimpleNamespace(
    options=Options(),
    urls={
        "amqp": "amqp://veza:a%2441@rabbitmq.lxd:5672/%2Fveza",
        "database": "postgresql://veza:a%2441@postgres.lxd:5432/veza",
        "sentry": "http://monitor.lxd:9000",
        "backends": {"backend-1": "http://backend-1.lxd:8080", "backend-2": "http://backend-2.lxd:8080"},
    },
    credentials={"api_admin_token": "a$HOME%41b", "sentry_token": "token"},
)


@pytest.mark.parametrize(
    "path",
    [
        "usr/bin/python3",
        "usr/bin/python3.13",
        "usr/lib/python3.13/json/__init__.py",
        "usr/lib/python3/dist-packages/pika/__init__.py",
        "usr/lib/x86_64-linux-gnu/libpq.so.5",
        "usr/lib64/ld-linux-x86-64.so.2",
        "etc/python3.13/sitecustomize.py",
    ],
)
def test_what_python_needs_is_in_the_image(path: str) -> None:
    assert app.keeps(path)


@pytest.mark.parametrize(
    "path",
    [
        "usr/bin/sh",
        "usr/bin/dash",
        "usr/bin/bash",
        "usr/bin/tar",
        "usr/bin/env",
        "usr/bin/pydoc3",
        "usr/sbin/rmt-tar",
        "usr/lib/x86_64-linux-gnu/gconv/CP737.so",
        "usr/lib/python3.13/test/support/__init__.py",
        "usr/share/doc/python3/copyright",
        "dev/null",
    ],
)
def test_no_other_program_is_in_the_image(path: str) -> None:
    assert not app.keeps(path)


def test_the_backends_container_is_where_the_runbook_looks_for_it() -> None:
    services = yaml.safe_load(app.compose("backend"))["services"]
    assert list(services) == ["api"]
    assert services["api"]["container_name"] == "veza_backend_api"
    assert services["api"]["ports"] == ["8080:8080"]
    assert services["api"]["env_file"] == [".env"]


def test_each_queue_has_its_worker() -> None:
    services = yaml.safe_load(app.compose("workers"))["services"]
    kinds = {name: service["environment"]["WORKER_KIND"] for name, service in services.items()}
    assert kinds == {f"worker-{kind}": kind for kind in QUEUES}
    assert all("/var/lib/veza:/var/lib/veza" in service["volumes"] for service in services.values())


@pytest.mark.parametrize("kind", ["backend", "workers"])
def test_no_secret_is_in_a_compose_file(kind: app.Kind) -> None:
    text = app.compose(kind)
    assert "$" not in text
    assert "://" not in text


def test_a_secret_is_written_so_that_compose_replaces_nothing_in_it() -> None:
    lines = app.env_file(LAB, "backend-1").splitlines()
    assert "ADMIN_TOKEN='a$HOME%41b'" in lines
    assert all(re.fullmatch(r"[A-Z_]+='[^'\\]*'", line) for line in lines)


@pytest.mark.parametrize("value", ["it's", "back\\slash", "two\nlines"])
def test_what_cannot_be_quoted_is_refused(value: str) -> None:
    lab = SimpleNamespace(**{**vars(LAB), "credentials": {"api_admin_token": value, "sentry_token": ""}})
    with pytest.raises(LabError) as caught:
        app.env_file(lab, "backend-1")
    assert value not in str(caught.value)


def test_each_host_has_its_own_variables() -> None:
    assert app.environment(LAB, "backend-2")["VEZA_INSTANCE"] == "backend-2"
    workers = app.environment(LAB, "workers")
    assert not {"VEZA_INSTANCE", "WORKER_KIND"} & set(workers)
    assert workers["BACKEND_URLS"] == "http://backend-1.lxd:8080,http://backend-2.lxd:8080"
    assert workers["ATTEMPTS_FILE"] == "/var/lib/veza/attempts.jsonl"
    monitor = app.environment(LAB, "monitor")
    assert (monitor["SENTRY_URL"], monitor["SENTRY_PORT"]) == ("http://monitor.lxd:9000", "9000")
    assert not any("://veza:" in value for value in monitor.values())


def test_the_code_that_the_containers_run_is_all_there() -> None:
    with tarfile.open(fileobj=io.BytesIO(app.sources_tar())) as archive:
        names = set(archive.getnames())
    assert {"tests/__init__.py", "tests/lab/__init__.py", "tests/lab/veza/api.py", "tests/lab/veza/sentry.py"} <= names
    assert app.sources_tar() == app.sources_tar()


def test_sentrys_unit_finds_code_and_secrets() -> None:
    unit = app.sentry_unit()
    assert f"PYTHONPATH={app.SOURCES}" in unit
    assert f"EnvironmentFile={app.PROJECT}/.env" in unit
