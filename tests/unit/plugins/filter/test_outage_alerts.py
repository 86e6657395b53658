# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_alerts import outage_alerts

ROOT = Path(__file__).parents[4]
BEGINS = yaml.safe_load((ROOT / "roles/outage_alert/defaults/main.yml").read_text())["outage_alert_begins"]


def told(fingerprint: str, since: str, name: str = "RabbitMQUnreachable") -> dict[str, Any]:
    return {"fingerprint": fingerprint, "startsAt": since, "alertname": name}


def answer(*alerts: dict[str, Any]) -> dict[str, Any]:
    """As Alertmanager has it: the name is a label."""
    return {"status": 200, "json": [{**one, "labels": {"alertname": one["alertname"]}, "alertname": None}
                                    for one in alerts]}  # fmt: skip


@pytest.mark.parametrize("since", ["2026-01-31T02:00:00.5Z", "2026-01-31T04:00:00.500123456+02:00"])
def test_an_alert_is_the_same_whoever_tells_of_it(since: str) -> None:
    asked = answer(told("aa", "2026-01-31T02:00:00.500Z"))
    assert outage_alerts([told("aa", since)], {}, BEGINS) == outage_alerts([], asked, BEGINS)
    assert len(outage_alerts([told("aa", since), told("aa", since)], asked, BEGINS)["firing"]) == 1


def test_a_warning_that_fires_for_days_does_not_begin_the_outage() -> None:
    old = told("bb", "2026-01-28T09:00:00Z", "RabbitMQMemoryNearLimit")
    new = told("aa", "2026-01-31T02:00:00Z")
    found = outage_alerts([new], answer(new, old), BEGINS)
    assert [one["fingerprint"] for one in found["firing"]] == ["aa", "bb"]
    assert found["start"] == "2026-01-31T02:00:00.000Z"
    assert outage_alerts([], answer(old), BEGINS)["start"] == "2026-01-28T09:00:00.000Z"


def test_a_message_that_is_old_fires_no_more() -> None:
    assert outage_alerts([told("aa", "2026-01-31T02:00:00Z")], answer(), BEGINS) == {"firing": [], "start": ""}


def test_the_earliest_is_so_in_time_and_not_as_text() -> None:
    alerts = [told("aa", "2026-01-31T02:30:00+02:00"), told("bb", "2026-01-31T01:00:00Z")]
    assert outage_alerts(alerts, {}, BEGINS)["start"] == "2026-01-31T00:30:00.000Z"


@pytest.mark.parametrize(
    "asked",
    [
        {}, {"skipped": True}, {"status": -1, "msg": "refused"}, {"status": 503, "json": {"message": "no upstream"}},
        {"status": 200, "json": {"message": "log in"}}, {"status": 400, "json": "bad filter"},
        {"status": 200, "json": ["x", {"fingerprint": "cc"}, {"fingerprint": "cc", "startsAt": "soon"}]},
    ],
)  # fmt: skip
def test_what_is_no_answer_of_alertmanager_leaves_the_message(asked: dict[str, Any]) -> None:
    one = told("aa", "2026-01-31T02:00:00Z")
    assert [alert["fingerprint"] for alert in outage_alerts([one], asked, BEGINS)["firing"]] == ["aa"]
    assert outage_alerts([], asked, BEGINS) == {"firing": [], "start": ""}


def test_a_message_without_an_instant_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="soon"):
        outage_alerts([told("aa", "soon")], {}, BEGINS)


def test_the_alerts_that_begin_an_outage_are_rules() -> None:
    groups = yaml.safe_load((ROOT / "extensions/prometheus/alert_rules.yml").read_text())["groups"]
    assert set(BEGINS) <= {rule.get("alert") for group in groups for rule in group["rules"]}
