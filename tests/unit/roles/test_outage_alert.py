# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role outage_alert: what waits for a person, and that a person is told."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest

from tests.unit.roles.role_files import load


@pytest.mark.parametrize(
    ("notes", "stopped"),
    [
        pytest.param([], False, id="never"),
        pytest.param([{"text": "A person stopped the run"}], True, id="stopped"),
        pytest.param([{"text": "x"}, {"text": "y", "resumed": True}], False, id="started again"),
        pytest.param([{"text": "x"}, {"text": "y", "resumed": True}, {"text": "x"}], True, id="stopped again"),
    ],
)
def test_what_a_person_stopped_waits_until_a_person_starts_it_again(notes: list[Any], stopped: bool) -> None:
    text = load("outage_alert", "vars/main.yml")["__outage_alert_stopped"].strip()
    judged = jinja2.Environment().compile_expression(text.removeprefix("{{").removesuffix("}}").strip())
    events = [
        {"type": "opened", "key": "opened"},
        *({"type": "note", "key": "stopped", "data": data} for data in notes),
    ]
    assert judged(__outage_alert_before={"open": True, "events": events}) is stopped
    assert not judged(__outage_alert_before={})


@pytest.mark.parametrize(
    ("opened", "unwritten"),
    [
        pytest.param({"id": "20260131T020304Z-x-1a2b"}, False, id="opened"),
        pytest.param({"unreachable": True, "msg": "no route"}, True, id="its host is down"),
        pytest.param({"failed": True, "msg": "No space left on device."}, True, id="its disk is full"),
        pytest.param({"skipped": True}, False, id="not to be opened"),
        pytest.param(None, False, id="nothing fires"),
    ],
)
def test_a_person_is_told_also_where_the_incident_can_not_be_written_down(opened: Any, unwritten: bool) -> None:
    environment = jinja2.Environment()
    environment.tests["skipped"] = lambda result: result.get("skipped", False)
    text = load("outage_alert", "vars/main.yml")["__outage_alert_unwritten"].strip()
    known = {} if opened is None else {"__outage_alert_incident": opened}
    judged = environment.compile_expression(text.removeprefix("{{").removesuffix("}}").strip())

    assert judged(**known) is unwritten
    open_it, note_each = load("outage_alert", "tasks/note.yml")
    assert open_it["failed_when"] is False
    assert note_each["when"] == "not __outage_alert_unwritten"
    assert load("outage_alert", "tasks/ask.yml")[-1]["veza.rabbitmq.outage_tell"]["failed"] == (
        "{{ __outage_alert_unwritten }}"
    )
