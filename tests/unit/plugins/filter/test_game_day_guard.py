# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._game_day_guard import game_day_guard

WELL: dict[str, Any] = {
    "now": "2026-01-31T12:00:00Z",
    "environment": "staging",
    "confirm_prod": False,
    "phrase": "",
    "backup_at": "",
    "backup_max_age": 86400,
    "backup_override": "",
    "outage_seconds": "60",
    "alert": "RabbitMQUnreachable",
    "dir": "/root/veza-game-days",
    "alertmanager": "http://monitor.lxd:9093",
    "alert_now": {"firing": False},
    "apis": {"backend-1": "http://backend-1.lxd:8080"},
    "probes": [{"target": "backend-1", "status": 200, "error": ""}],
    "broker": {"verdict": "healthy", "reason": "All 13 checks passed."},
    "incident": {"found": False, "open": False, "lease": None},
    "identities": {"backend-1": {"rc": 0, "stdout": "4f2a started 10:00"}},
    "running": "",
}
ALLOWED = {
    "environment": "production",
    "confirm_prod": True,
    "phrase": "KILL-PROD",
    "backup_at": "2026-01-30T12:00:01Z",
}


def guard(**changes: Any) -> dict[str, Any]:
    return game_day_guard({**WELL, **changes})


@pytest.mark.parametrize("environment", ["staging", "lab"])
def test_staging_and_lab_take_no_further_word(environment: str) -> None:
    assert guard(environment=environment) == {"production": False, "problems": [], "ask": False}


@pytest.mark.parametrize("environment", ["production", "", None, "Staging", "prod", "stagin", "staging2"])
def test_everything_else_is_production_and_all_that_is_missing_is_said_at_once(environment: Any) -> None:
    answer = guard(environment=environment)
    assert answer["production"] is True
    assert len(answer["problems"]) == 3
    for problem, said in zip(answer["problems"], ("CONFIRM_PROD=1", "backup", "KILL-PROD"), strict=True):
        assert said in problem
    assert answer["ask"] is False, "a phrase that changes nothing is not asked for"


def test_production_with_all_three_may_begin() -> None:
    assert guard(**ALLOWED) == {"production": True, "problems": [], "ask": False}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"confirm_prod": False}, "CONFIRM_PROD=1"),
        ({"phrase": "kill-prod"}, "KILL-PROD"),
        ({"phrase": "yes"}, "KILL-PROD"),
        ({"backup_at": "2026-01-30T12:00:00Z"}, "24.0 hours old"),
        ({"backup_at": "2026-01-29T13:00:00+02:00"}, "49.0 hours old"),
        ({"backup_at": "2026-01-31T12:00:01Z"}, "in the future"),
        ({"backup_at": "2026-01-31T11:00:00"}, "time zone"),
        ({"backup_at": "yesterday"}, "yesterday"),
        ({"backup_at": ""}, "backup_override"),
        ({"backup_at": ["2026-01-31T11:00:00Z"]}, "must be like"),
        ({"backup_at": "2026-01-01T12:00:00Z", "backup_max_age": 10**9}, "backup_max_age"),
        ({"backup_max_age": "nan"}, "backup_max_age"),
        *(
            ({"backup_at": "", "backup_override": odd}, "no reason")
            for odd in ([""], {"": ""}, True, "false", "No", "none", "0", "''", "n/a", "-")
        ),
    ],
)
def test_one_word_that_is_wrong_is_enough(changes: dict[str, Any], said: str) -> None:
    problems = guard(**{**ALLOWED, **changes})["problems"]
    assert len(problems) == 1
    assert said in problems[0]


def test_the_phrase_is_asked_for_when_it_is_all_that_is_missing() -> None:
    assert guard(**{**ALLOWED, "phrase": ""})["ask"] is True
    assert guard(**{**ALLOWED, "phrase": "", "broker": {"verdict": "degraded", "reason": "x"}})["ask"] is False
    assert guard(**{**ALLOWED, "phrase": "wrong"})["ask"] is False


def test_a_reason_stands_in_for_the_backup_and_for_nothing_else() -> None:
    assert guard(**{**ALLOWED, "backup_at": "", "backup_override": "restored an hour ago"})["problems"] == []
    assert guard(**{**ALLOWED, "backup_at": "", "backup_override": "  "})["problems"] != []
    assert len(guard(environment="production", backup_override="because")["problems"]) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"apis": {"backend-1": "http://x", "backend-2": ""}}, "veza_api_url is not set for backend-2"),
        ({"alertmanager": "", "alert_now": {"skipped": True}}, "veza_alertmanager_url"),
        ({"outage_seconds": 0}, "outage_game_day_seconds"),
        ({"dir": "rel/dir"}, "outage_game_day_dir is 'rel/dir'"),
        ({"dir": "~/reports"}, "outage_game_day_dir is '~/reports'"),
        ({"dir": ""}, "outage_game_day_dir is ''"),
        ({"broker": {"verdict": "unhealthy", "reason": "A disk alarm."}}, "not healthy: A disk alarm"),
        ({"broker": {"msg": "No answer."}}, "not healthy: No answer"),
        ({"probes": [{"target": "backend-1", "status": 503, "error": ""}]}, "backend-1 does not answer 200 but 503"),
        ({"probes": [{"target": "backend-1", "status": None, "error": "refused"}]}, "refused"),
        ({"incident": {"found": True, "open": True, "id": "20260131T020304Z-x-1a2b", "lease": None}}, "x-1a2b is open"),
        ({"incident": {"found": True, "open": False, "lease": {"held": True, "expired": False}}}, "lease"),
        ({"incident": {"msg": "The record can't be used."}}, "can't be read: The record can't be used"),
        (
            {"probes": [], "probing": "the URL must be like https://host."},
            "backend-1 can't be watched: the URL must be",
        ),
        ({"probes": []}, "backend-1 can't be watched: no answer"),
        ({"alert_now": {"firing": True, "msg": "RabbitMQUnreachable is not quiet."}}, "not quiet"),
        ({"alert_now": {"firing": None, "msg": "connection refused."}}, "connection refused"),
        ({"identities": {"backend-1": {"rc": 1, "stdout": "", "stderr": "No such container"}}}, "No such container"),
        ({"identities": {"backend-1": {"unreachable": True, "msg": "no route"}}}, "no route"),
        ({"running": "/srv/running"}, "/srv/running exists"),
    ],
)
def test_a_site_that_is_not_well_or_cannot_be_watched_is_not_broken(changes: dict[str, Any], said: str) -> None:
    problems = guard(**changes)["problems"]
    assert len(problems) == 1
    assert said in problems[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"alert": "", "alertmanager": "", "alert_now": {"skipped": True}},
        {"identities": {}},
        {"incident": {"found": True, "open": False, "lease": {"held": True, "expired": True}}},
    ],
)
def test_what_was_turned_off_or_is_over_is_no_problem(changes: dict[str, Any]) -> None:
    assert guard(**changes)["problems"] == []


def test_an_input_that_is_none_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="broker"):
        game_day_guard({name: value for name, value in WELL.items() if name != "broker"})
