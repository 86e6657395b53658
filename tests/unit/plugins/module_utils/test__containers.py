# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _containers
from ansible_collections.veza.rabbitmq.plugins.module_utils._containers import EngineSilent

SECRET = "p@ss:w/rd"
URL = "amqp://veza:p%40ss%3Aw%2Frd@rabbitmq.lxd:5673/%2Fveza"

INSPECTED = {
    "Id": "0123456789abcdef",
    "Name": "/veza_backend_api",
    "Created": "2026-11-24T08:54:25.811123456Z",
    "State": {
        "Status": "exited", "Pid": 0, "ExitCode": 137, "OOMKilled": True,
        "StartedAt": "2026-11-24T09:54:27.4+01:00", "FinishedAt": "0001-01-01T00:00:00Z",
    },
    "Config": {"Image": "veza/app:1", "Env": [f"AMQP_URL={URL}"], "Labels": {_containers.SERVICE: "api"}},
    "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}},
    "RestartCount": 3,
}  # fmt: skip


def test_the_login_of_an_environment() -> None:
    login = _containers.login_of(["X=1", f"AMQP_URL={URL}"], "AMQP_URL")
    assert login is not None
    assert (login.host, login.port, login.vhost, login.user, login.password) == (
        "rabbitmq.lxd", 5673, "/veza", "veza", SECRET,
    )  # fmt: skip
    shown = login.shown(SECRET)
    assert shown["matches"] is True
    assert login.shown("other")["matches"] is False
    assert login.shown(None)["matches"] is None
    assert SECRET not in json.dumps(shown)
    assert "p%40ss" not in json.dumps(shown)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("amqp://h", ("h", 5672, "/", "guest", False)),
        ("amqps://u:p@[::1]/v", ("::1", 5671, "v", "u", True)),
        ("amqp://u:p@h:99/", ("h", 99, "/", "u", False)),
    ],
)
def test_the_defaults_of_an_amqp_url(value: str, expected: tuple[Any, ...]) -> None:
    login = _containers.login_of([f"AMQP_URL={value}"], "AMQP_URL")
    assert login is not None
    assert (login.host, login.port, login.vhost, login.user, login.tls) == expected


@pytest.mark.parametrize("entry", ["OTHER=amqp://h", "AMQP_URL=", "AMQP_URL=http://h", "AMQP_URL=amqp://h:x/"])
def test_what_is_no_login(entry: str) -> None:
    assert _containers.login_of([entry], "AMQP_URL") is None


def test_a_fingerprint_tells_two_passwords_apart() -> None:
    assert _containers.fingerprint("veza", "a") == _containers.fingerprint("veza", "a")
    assert len({_containers.fingerprint(user, word) for user in "ab" for word in "xy"}) == 4


def test_a_container_is_described_without_its_environment() -> None:
    found = _containers.described(INSPECTED)
    assert found["name"] == "veza_backend_api"
    assert (found["state"], found["exit_code"], found["restarts"]) == ("exited", 137, 3)
    assert found["started_at"] == "2026-11-24T08:54:27.400Z"
    assert found["finished_at"] is None
    assert "p%40ss" not in json.dumps(found)


def test_wanted_containers_by_name_and_by_service() -> None:
    worker = {"Name": "/w-1", "Config": {"Labels": {_containers.SERVICE: "worker-dmca"}}}
    wanted = _containers.chosen([INSPECTED, worker], ["veza_backend_api", "gone"], ["worker-dmca", "worker-search"])
    assert [(name, service, document is not None) for name, service, document in wanted] == [
        ("veza_backend_api", "", True),
        ("gone", "", False),
        ("w-1", "worker-dmca", True),
        ("worker-search", "worker-search", False),
    ]


def line(time: str, text: str) -> str:
    return json.dumps({"log": f"{text}\n", "stream": "stdout", "time": f"2026-11-24T{time}.123456789Z"})


def test_the_errors_of_the_last_trouble_only() -> None:
    log = [
        line("06:00:00", "amqp connection lost"),
        "half a line",
        line("08:00:00", "amqp dial failed: connection refused amqp://veza:secret@h/"),
        line("08:00:05", "listening on :8080"),
        line("08:05:00", "eventbus: publish failed"),
    ]
    found = _containers.errors("\n".join(log), "2026-11-24T05:00:00.000Z")
    assert found == {
        "first_at": "2026-11-24T08:00:00.123Z",
        "last_at": "2026-11-24T08:05:00.123Z",
        "count": 2,
        "last_line": "eventbus: publish failed",
        "connected_at": None,
        "refused": None,
    }
    assert _containers.errors("\n".join(log), "2026-11-24T09:00:00.000Z") is None


@pytest.mark.parametrize(("again", "first"), [("08:00:30", "08:00:00"), ("08:01:30", "08:01:30")])
def test_a_connection_that_lasted_ends_a_trouble(again: str, first: str) -> None:
    log = [
        line("08:00:00", "amqp connect failed"), line("08:00:10", "amqp connected"), line(again, "amqp connection lost")
    ]  # fmt: skip
    found = _containers.errors("\n".join([*log, line("08:02:00", "amqp reconnected")]), None)
    assert found is not None
    assert found["connected_at"] == "2026-11-24T08:02:00.123Z"
    assert found["first_at"] == f"2026-11-24T{first}.123Z"


REFUSALS = [
    '{"logger": "eventbus", "msg": "publish refused", "error": "NackError(\'0 unroutable messages\')"}',
    """amqp connection lost: ChannelClosedByBroker: (403) "ACCESS_REFUSED - access to exchange 'x' refused\"""",
    "amqp: Exception (404) Reason: \"NOT_FOUND - no exchange 'veza.events' in vhost '/'\"",
    "eventbus: publish failed: PRECONDITION_FAILED",
]


@pytest.mark.parametrize("said", REFUSALS)
def test_refusals_are_told_apart_from_other_errors(said: str) -> None:
    log = [line("08:00:00", said), line("08:00:01", said), line("08:00:02", "eventbus publish dropped: degraded")]
    found = _containers.errors("\n".join(log), None)
    assert found is not None
    assert found["refused"] == {
        "first_at": "2026-11-24T08:00:00.123Z", "last_at": "2026-11-24T08:00:01.123Z", "count": 2, "last_line": said,
    }  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        'amqp connect failed: (403) "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN"',
        "amqp connect failed: ConnectionRefusedError(111, 'Connection refused')",
        "amqp connection lost: CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
    ],
)
def test_a_connection_or_a_login_that_is_refused_is_no_refused_publish(said: str) -> None:
    found = _containers.errors(line("08:00:00", said), None)
    assert found is not None
    assert found["refused"] is None


def test_an_engine_that_is_not_there_and_one_that_fails(tmp_path: Path) -> None:
    with pytest.raises(EngineSilent) as caught:
        _containers.Engine("/nowhere/docker", 1.0).inspect()
    assert caught.value.absent
    with pytest.raises(EngineSilent, match="exit code 1") as caught:
        _containers.Engine("false", 1.0).inspect()
    assert not caught.value.absent
    slow = tmp_path / "docker"
    slow.write_text("#!/bin/sh\nexec sleep 5\n")
    slow.chmod(0o700)
    with pytest.raises(EngineSilent, match="did not end within"):
        _containers.Engine(str(slow), 0.2).inspect()


@pytest.mark.parametrize("said", ["null", "5", "Warning: x []"])
def test_an_engine_that_gives_no_list_is_silent(tmp_path: Path, said: str) -> None:
    engine = tmp_path / "docker"
    engine.write_text(f'#!/bin/sh\n[ "$1" = ps ] && echo 1 || echo "{said}"\n')
    engine.chmod(0o700)
    with pytest.raises(EngineSilent, match="a list in JSON"):
        _containers.Engine(str(engine), 5.0).inspect()
