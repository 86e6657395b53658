# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._watch import Seen
from ansible_collections.veza.rabbitmq.plugins.modules import health_watch
from ansible_collections.veza.rabbitmq.plugins.modules.health_watch import Watch, argument_spec

ONE = {"backend-1": "http://one:8080/health"}
TWO = {**ONE, "backend-2": "http://two:8080/health"}

Answer = Callable[[str], "tuple[int | None, str]"]


def fine(_url: str) -> tuple[int | None, str]:
    return 200, ""


@pytest.fixture
def watch(params_of: Any, clock: Any) -> Callable[..., tuple[dict[str, Any], list[Seen]]]:
    """Return a runner that gives the result and what was written."""

    def run(ask: Answer = fine, exists: Callable[[str], bool] = lambda _path: True, **params: Any) -> Any:
        written: list[Seen] = []
        options = params_of(argument_spec(), **{"targets": ONE, **params})

        def now() -> str:
            return f"2026-01-31T02:{int(clock.now - 1000) // 60:02}:{(clock.now - 1000) % 60:06.3f}Z"

        made = Watch(options, ask, written.append, clock, clock.sleep, now, exists)
        return made.run(), written

    return run


def test_without_a_duration_each_target_is_asked_once(watch: Any, clock: Any) -> None:
    result, written = watch(targets=TWO)
    assert [(probe["target"], probe["status"]) for probe in result["probes"]] == [
        ("backend-1", 200),
        ("backend-2", 200),
    ]
    assert [probe.target for probe in written] == ["backend-1", "backend-2"]
    assert result["changed"] is False
    assert clock.sleeps == []


def test_the_pace_does_not_drift_however_long_answers_take(watch: Any, clock: Any) -> None:
    def slow(_url: str) -> tuple[int | None, str]:
        clock.now += 3.5
        return 200, ""

    result, _written = watch(slow, duration=30)
    seconds = [float(probe["at"][17:-1]) for probe in result["probes"]]
    assert seconds == [0, 5, 10, 15, 20, 25, 30]
    assert result["ended"] == "duration"
    assert result["targets"][0]["longest_gap"] == 5.0


def test_six_probes_fall_into_thirty_seconds_of_failure(watch: Any, clock: Any) -> None:
    def ailing(_url: str) -> tuple[int | None, str]:
        return (503, "") if 1012 <= clock.now < 1042 else (200, "")

    result, _written = watch(ailing, duration=90)
    worst = result["targets"][0]["worst_run"]
    assert worst["count"] == 6
    assert worst["start"] == "2026-01-31T02:00:15.000Z"
    assert "backend-1 6" in result["message"]


def test_a_stall_leaves_out_ticks_rather_than_making_them_up(watch: Any, clock: Any) -> None:
    stalls = iter([0.0, 17.0, 0.0, 0.0])

    def ask(_url: str) -> tuple[int | None, str]:
        clock.now += next(stalls)
        return 200, ""

    result, _written = watch(ask, duration=30)
    assert [float(probe["at"][17:-1]) for probe in result["probes"]] == [0, 5, 25, 30]


def test_it_ends_soon_after_its_file_is_gone(watch: Any, clock: Any) -> None:
    result, _written = watch(duration=3600, while_file="/run/on", exists=lambda _path: clock.now < 1007)
    assert result["ended"] == "file"
    assert result["elapsed"] <= 7.5
    assert len(result["probes"]) == 2


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"targets": {}}, "targets"),
        ({"targets": {"backend-1": "http://user:secret@one/"}}, "backend-1"),
        ({"targets": {"backend-1": "one:8080"}}, "backend-1"),
        ({"interval": 4}, "request_timeout"),
        ({"request_timeout": 0}, "request_timeout"),
        ({"duration": -1}, "duration"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(watch: Any, wrong: dict[str, Any], named: str) -> None:
    def never(_url: str) -> tuple[int | None, str]:
        raise AssertionError("nothing may be asked")

    with pytest.raises(BadInput, match=named) as refused:
        watch(never, **wrong)
    assert "secret" not in refused.value.message


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VezaError, match="No such file"):
        health_watch.appender(str(tmp_path / "missing" / "log"))(Seen("2026-01-31T02:00:00Z", "x", 200, 0.1))


def test_as_ansible_runs_it(run_main: Any, served: Any, tmp_path: Path) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 503 Ailing\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    log = tmp_path / "probes.jsonl"
    targets = {"ailing": served(answer) + "/api/v1/health", "nobody": "http://127.0.0.1:1/api/v1/health"}
    outcome = run_main(health_watch, targets=targets, log=str(log))
    assert not outcome.failed
    assert {probe["target"]: (probe["status"], probe["error"]) for probe in outcome.result["probes"]} == {
        "ailing": (503, ""),
        "nobody": (None, "refused"),
    }
    assert [json.loads(line)["target"] for line in log.read_text().splitlines()] == ["ailing", "nobody"]
    assert log.stat().st_mode & 0o777 == 0o600

    outcome = run_main(health_watch, _check_mode=True, targets=targets, log=str(tmp_path / "other"))
    assert len(outcome.result["probes"]) == 2
    assert not (tmp_path / "other").exists()


def test_as_ansible_runs_it_with_nonsense(run_main: Any) -> None:
    outcome = run_main(health_watch, targets={})
    assert outcome.failed
    assert outcome.result["msg"] == "targets is empty."
