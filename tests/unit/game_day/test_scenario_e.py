# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What scenario E knows besides the playbook; and the scripts that outlive it."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.game_day import scenario_e
from tests.game_day.alertmanager import PENDING, Alertmanager
from tests.lab.ledger import Effect, Event, Facts, Request, Settled
from tests.lab.state import CHECKOUT

FILES = CHECKOUT / "roles" / "outage_game_day" / "files"

SETTLED = Settled(
    at=300.0,
    needed=11.0,
    buffered={},
    sockets=0,
    ready={},
    unacked={},
    live_jobs=0,
    dead_letters=("search:9:1",),
    dead_letter_depth=1,
)


def uploaded(track: str, outcome: str = "ok") -> Request:
    return Request(track, "upload", "backend-1", 100.0, 100.5, outcome, track)  # type: ignore[arg-type]


def facts(*requests: Request, effects: tuple[Effect, ...] = ()) -> Facts:
    return Facts(requests, (), effects, (), {}, SETTLED, None, None)


BOTH = (Effect("transcode:1:1", "message:a", 101.0), Effect("search:1:1", "message:b", 101.0))
TRANSCODE, SEARCH = ("transcode", "1"), ("search", "1")


@pytest.mark.parametrize(
    ("effects", "logged", "silent"),
    [
        (BOTH, (), []),
        ((), (TRANSCODE, SEARCH), []),
        ((), (TRANSCODE,), [SEARCH]),
        ((), (), [SEARCH, TRANSCODE]),
        (BOTH[1:], (), [TRANSCODE]),
        # It was brought back, and that nobody had noted it is no better for that.
        ((Effect("transcode:1:1", "job:7", 200.0), BOTH[1]), (), [TRANSCODE]),
    ],
)
def test_what_was_neither_delivered_nor_noted_was_lost_in_silence(
    effects: tuple[Effect, ...], logged: tuple[Event, ...], silent: list[Event]
) -> None:
    assert scenario_e.silent(facts(uploaded("1"), effects=effects), logged) == silent


def test_what_an_earlier_game_day_lost_is_not_told_again() -> None:
    known = facts(uploaded("1"))
    assert scenario_e.silent(known, (), since=100.0) == [SEARCH, TRANSCODE]
    assert scenario_e.silent(known, (), since=100.1) == []


def test_neither_a_dead_letter_nor_an_unknown_request_is_silence() -> None:
    known = facts(uploaded("9"), uploaded("8", "unknown"))
    assert scenario_e.silent(known, {("transcode", "9")}) == []
    nowhere = replace(known, settled=replace(SETTLED, dead_letters=None))
    assert scenario_e.silent(nowhere, {("transcode", "9")}) == [("search", "9")]


def test_the_stand_in_for_alertmanager_fires_after_a_while_unless_it_is_disabled() -> None:
    with socket.create_server(("127.0.0.1", 0)) as broker:
        address = broker.getsockname()
        away = Alertmanager(address)
        disabled = Alertmanager(address, disabled=True)
        with away, disabled:
            assert scenario_e.ask("GET", f"{away.url}/api/v2/alerts?active=true") == []
            away._since = disabled._since = time.time() - PENDING - 1
            (alert,) = away.alerts()
            assert (alert["labels"]["alertname"], alert["status"]["state"]) == ("RabbitMQUnreachable", "active")
            assert disabled.alerts() == []


def run(script: str, flag: Path, seconds: int, *command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sh", "-c", (FILES / script).read_text(), str(flag), str(seconds), *command])


def test_the_fail_safe_starts_the_broker_when_nobody_comes_back(tmp_path: Path) -> None:
    flag, started = tmp_path / "flag", tmp_path / "started"
    flag.touch()
    with run("failsafe.sh", flag, 1, "touch", str(started)) as failsafe:
        assert failsafe.wait(20) == 0
    assert started.exists()
    assert not flag.exists()


def test_a_fail_safe_that_is_disarmed_ends_and_starts_nothing(tmp_path: Path) -> None:
    with run("failsafe.sh", tmp_path / "flag", 600, "touch", str(tmp_path / "started")) as failsafe:
        assert failsafe.wait(20) == 0
    assert not (tmp_path / "started").exists()


def test_traffic_ends_with_the_game_day_and_is_bounded(tmp_path: Path) -> None:
    began = time.monotonic()
    with run("while_flag.sh", tmp_path / "flag", 600, "sleep", "600") as traffic:
        traffic.wait(20)
    (tmp_path / "flag").touch()
    with run("while_flag.sh", tmp_path / "flag", 1, "sleep", "600") as traffic:
        traffic.wait(20)
    assert time.monotonic() - began < 40
