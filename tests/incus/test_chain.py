# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the fault to the report with nobody touching anything: Prometheus, Alertmanager, ansible-rulebook, playbooks."""

from __future__ import annotations

import json
import random
import secrets
import time
from pathlib import Path
from typing import Any

import pytest

from tests.game_day.faults import crash
from tests.lab import broker, processes
from tests.lab.incus import chain
from tests.lab.incus.lab import IncusLab


@pytest.mark.long
def test_kill_the_broker_and_touch_nothing(incus_lab: IncusLab, event_driven: Path, tmp_path: Path) -> None:
    lab, token = incus_lab, secrets.token_hex(16)
    chain.await_quiet(lab)
    chain.tell_the_rulebook(lab, token)
    with chain.rulebook(lab, event_driven, tmp_path, token) as log:
        # It looks once by itself as it starts: nothing is wrong yet.
        assert processes.wait_until(lambda: "[healthy]" in log.read_text(), 90, 0.5), log.read_text()
        assert lab.incident_documents() == []

        crash.FAULT.inject(lab, random.Random(0))
        killed = time.monotonic()
        assert processes.wait_until(lambda: bool(chain.firing(lab)), 120, 0.5), "the alert never fired"
        fired = time.monotonic()
        assert processes.wait_until(lambda: "[broker_crashed]" in log.read_text(), 90, 0.2), log.read_text()
        named = time.monotonic()
        assert processes.wait_until(lambda: broker.serves(lab), 180, 0.2), log.read_text()
        serving = time.monotonic()

        # The lease lies beside the reports.
        def records() -> list[dict[str, Any]]:
            return [document["record"] for document in lab.incident_documents() if "record" in document]

        assert processes.wait_until(lambda: any(not record["open"] for record in records()), 300, 1.0), log.read_text()
        (record,) = records()
        assert record["cause"] == "broker_crashed"
        assert [action["name"] for action in record["actions"]].count("start_broker") == 1
        figures = {
            "kill to alert": fired - killed,
            "alert to diagnosis": named - fired,
            "kill to serving": serving - killed,
        }
        print(json.dumps({name: round(seconds, 1) for name, seconds in figures.items()}))
        assert token not in log.read_text()
