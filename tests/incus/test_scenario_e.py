# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Game day E on real hosts: green once, as an operator runs it; then red for each thing that it must notice.

The red ones are short, and go on where the one before has left the lab: each must mend what it broke. What can be told
apart in one run is: each check has its own name.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab import broker, processes
from tests.lab.incus import chain
from tests.lab.incus.lab import IncusLab
from tests.lab.state import CHECKOUT

SCRIPT = CHECKOUT / "tests" / "game_day" / "test_rabbitmq_outage.sh"
PATIENCE = 600.0
SHORT = 12
"""Seconds of an outage in which something is lost: the lab's publishers give up after 5."""

ALERTS_OFF = ("-e", "outage_game_day_alert=")
ALLOWED = ("CONFIRM_PROD", "backup", "KILL-PROD")


@dataclass
class Ended:
    """How a game day ended."""

    status: int
    text: str
    report: dict[str, Any]

    def failed(self) -> set[str]:
        """Return the checks that failed."""
        return {check["name"] for check in self.report["report"]["checks"] if check["passed"] is False}


GameDay = Callable[..., Ended]


@pytest.fixture
def game_day(session_lab: IncusLab, tmp_path: Path) -> GameDay:
    """Run the script on the session's lab as it is; what came of it."""

    def run(*arguments: str, seconds: int = SHORT) -> Ended:
        with started(session_lab, tmp_path, *arguments, seconds=seconds) as script:
            text, _errors = script.communicate(timeout=PATIENCE)
        reports = sorted(tmp_path.glob("reports/*.json"))
        return Ended(script.returncode, text, json.loads(reports[-1].read_text()) if reports else {})

    return run


def started(lab: IncusLab, where: Path, *arguments: str, seconds: int = SHORT) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "LAB": str(lab.dir),
        "OUTAGE_SECONDS": str(seconds),
        "GAME_DAY_DIR": str(where / "reports"),
    }
    return subprocess.Popen(
        [str(SCRIPT), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_green(incus_lab: IncusLab, game_day: GameDay, tmp_path: Path) -> None:
    chain.await_quiet(incus_lab)
    ended = game_day(seconds=60)
    assert ended.status == 0, ended.text
    assert "GAME DAY PASSED" in ended.text
    assert ", 0 missing, 0 doubled, " in ended.text
    assert [check["passed"] for check in ended.report["report"]["checks"]] == [True] * 8
    (report,) = tmp_path.glob("reports/*.md")
    assert "| Timestamp | Action | Observation | Runbook used | Gap discovered |" in report.read_text()
    assert len(list(tmp_path.glob("reports/*.probes.jsonl"))) == 1
    assert not (tmp_path / "reports" / "running").exists()


@pytest.mark.long
def test_red_when_an_api_ails_for_30_seconds_and_one_event_is_dropped_in_silence(game_day: GameDay) -> None:
    ended = game_day("--sabotage=ailing", "--sabotage=silent", *ALERTS_OFF)
    assert ended.status != 0
    # It ails for longer than the outage lasts, but not for as long as the return may take.
    assert ended.failed() == {"health", "silent"}, ended.text
    # The upload obliges two events; a transcode is brought back, and was lost in silence all the same.
    rows = ended.report["recovery"]["record"]["accounting"]["rows"]
    silent = {row["queue"]: row["silent"]["count"] for row in rows if row["silent"]["count"]}
    assert silent == {"transcode_jobs": 1, "search_index_updates": 1}
    assert "silent: search " in ended.text, "the ledger knows of it too"


@pytest.mark.long
def test_red_when_the_alert_is_disabled_and_the_api_container_is_restarted(
    session_lab: IncusLab, game_day: GameDay
) -> None:
    chain.await_quiet(session_lab)
    ended = game_day("--sabotage=no-alert", "--sabotage=restarted")
    assert ended.status != 0
    # What the API was still trying to publish died with it, without a word.
    assert {"alert", "process"} <= ended.failed() <= {"alert", "process", "silent"}, ended.text


def test_production_is_not_touched_without_a_word(session_lab: IncusLab, game_day: GameDay) -> None:
    show = ("systemctl", "show", "--property=InvocationID,NRestarts", "rabbitmq-server")
    before = session_lab.on("rabbitmq", *show).stdout
    for marked in ("production", ""):
        ended = game_day("-e", f"veza_environment={marked}", *ALERTS_OFF)
        assert ended.status != 0
        assert "Nothing was touched" in ended.text
        assert all(word in " ".join(ended.text.split()) for word in ALLOWED), ended.text
        assert ended.report == {}
    assert session_lab.on("rabbitmq", *show).stdout == before


@pytest.mark.long
def test_a_game_day_that_is_killed_leaves_no_broker_stopped(session_lab: IncusLab, tmp_path: Path) -> None:
    script = started(session_lab, tmp_path, *ALERTS_OFF, seconds=300)
    with script:
        assert processes.wait_until(lambda: not broker.serves(session_lab), 90, 0.3), "it was never stopped"
        time.sleep(2)
        scenario = subprocess.run(["pgrep", "-P", str(script.pid)], check=True, capture_output=True, text=True)
        os.kill(int(scenario.stdout.split()[0]), 15)
        text, _errors = script.communicate(timeout=PATIENCE)
    assert script.returncode != 0
    assert "cut short: recovering" in text
    assert broker.serves(session_lab), text
    assert not (tmp_path / "reports" / "running").exists()
