# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.filter.outage_evidence import outage_evidence
from ansible_collections.veza.rabbitmq.plugins.filter.outage_verdict import outage_verdict
from ansible_collections.veza.rabbitmq.plugins.module_utils._findings import FINDINGS
from tests.unit.plugins.filter.evidence import CAUSES_DIR, ROOT, SITUATIONS, causes, evidence, health, info, probe

REMEDIES = yaml.safe_load((ROOT / "roles/outage_recover/vars/main.yml").read_text(encoding="utf-8"))[
    "__outage_recover_remedies"
]


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_situation_has_its_cause(name: str) -> None:
    seen, cause = SITUATIONS[name]
    verdict = outage_verdict(seen, causes())
    assert verdict["cause"] == cause
    assert verdict["headline"]
    assert verdict["proof"] or name in ("nothing seen",)
    assert verdict["remedy"] in REMEDIES


@pytest.mark.parametrize("name", [name for name, (_unused, cause) in SITUATIONS.items() if cause != "healthy"])
def test_nothing_broken_is_called_healthy(name: str) -> None:
    verdict = outage_verdict(SITUATIONS[name][0], causes())
    assert "healthy" not in [verdict["cause"], *[other["cause"] for other in verdict["also"]]]


def test_the_same_evidence_gives_the_same_verdict_and_is_not_changed() -> None:
    seen = copy.deepcopy(SITUATIONS["killed"][0])
    first, second = outage_verdict(seen, causes()), outage_verdict(seen, causes())
    assert first == second
    assert seen == SITUATIONS["killed"][0]


def test_a_silent_broker_host_rules_no_death_out() -> None:
    verdict = outage_verdict(SITUATIONS["broker's host silent"][0], causes())
    assert {"broker_crashed", "broker_stopped_on_purpose", "broker_booting"} <= set(verdict["not_ruled_out"])
    assert any("rabbitmq" in sentence for sentence in verdict["unknown"])


def test_a_backend_that_was_not_seen_is_said_and_does_not_make_the_broker_ill() -> None:
    verdict = outage_verdict(evidence(health(), info(), probe(), None), causes())
    assert verdict["cause"] == "healthy"
    assert [sentence for sentence in verdict["unknown"] if sentence.startswith("backend-1")]


def test_two_causes_at_once_are_both_named_the_primary_first() -> None:
    alarm, queues = SITUATIONS["alarm"][0], SITUATIONS["queue missing"][0]
    checks = alarm["health"]["checks"] + queues["health"]["checks"]
    alarm = {**alarm, "health": {**alarm["health"], "checks": checks}}
    verdict = outage_verdict(alarm, causes())
    assert {verdict["cause"], *(other["cause"] for other in verdict["also"])} >= {"resource_alarm", "queues_missing"}


@pytest.mark.parametrize(
    ("seen", "start", "confidence"),
    [
        (info("stopped", clean_stop=False), "2026-01-31T02:03:04.000Z", "then or later"),
        (
            info("stopped", clean_stop=False, disk={"last_write_at": "2026-01-31T02:03:09.000Z"}),
            "2026-01-31T02:03:09.000Z",
            "then or later",
        ),
        (info("stopped", last="stopped", clean_stop=True), "2026-01-31T02:03:04.000Z", "exact"),
    ],
)
def test_the_outage_begins_at_the_last_sign_of_life(seen: dict, start: str, confidence: str) -> None:
    outage = outage_verdict(evidence(None, seen, probe("refused"), probe("refused")), causes())["outage"]
    assert (outage["start"], outage["confidence"]) == (start, confidence)


@pytest.mark.parametrize(("last", "stopped_at"), [("stopped", "2026-01-31T02:03:04.000Z"), ("stopping", None)])
def test_a_broker_whose_log_has_its_stop_served_nobody_from_then_on(last: str, stopped_at: str | None) -> None:
    seen = info("stopped", last=last, clean_stop=None, disk={"last_write_at": "2026-01-31T02:03:09.000Z"})
    seen["lifecycle"]["stopped_at"] = stopped_at
    verdict = outage_verdict(evidence(None, seen, probe("refused"), probe("refused")), causes())
    assert verdict["cause"] == "broker_down"
    assert (verdict["outage"]["start"], verdict["outage"]["confidence"]) == ("2026-01-31T02:03:04.000Z", "exact")


def test_a_broker_that_boots_has_been_away_since_its_run_before() -> None:
    seen = info("starting", last="starting")
    seen["lifecycle"]["previous_end"] = "2026-01-31T02:00:00.000Z"
    outage = outage_verdict(evidence(None, seen, probe("refused"), probe("refused")), causes())["outage"]
    assert (outage["start"], outage["confidence"]) == ("2026-01-31T02:00:00.000Z", "then or later")


def test_an_unknown_finding_is_refused_by_name() -> None:
    with pytest.raises(AnsibleFilterError, match="no such finding: moon_phase"):
        outage_verdict({}, {"x": {"all_of": ["moon_phase"]}})


def test_every_cause_is_complete_and_refers_to_what_exists() -> None:
    known = causes()
    assert len(known) == len(list(CAUSES_DIR.glob("*.yml")))
    for name, cause in known.items():
        assert (CAUSES_DIR / f"{name}.yml").exists(), name
        assert set(cause) == {"title", "runbook", "all_of", "none_of", "explains", "remedy", "advice"}, name
        assert cause["remedy"] in REMEDIES, name
        assert set(cause["all_of"] + cause["none_of"]) <= set(FINDINGS), name
        assert set(cause["explains"]) <= set(known), name


def test_every_finding_is_used() -> None:
    used = {name for cause in causes().values() for name in cause["all_of"] + cause["none_of"]}
    assert used == set(FINDINGS)


def test_every_remedy_that_acts_has_its_tasks() -> None:
    tasks = ROOT / "roles/outage_recover/tasks/remedies"
    acting = {name for name, remedy in REMEDIES.items() if remedy["kind"] != "ask"}
    assert {path.stem for path in tasks.glob("*.yml")} == acting


def test_evidence_keeps_results_and_says_why_there_is_none() -> None:
    hostvars = {
        "rabbitmq": {"__outage_diagnose_host_info": {"unreachable": True, "msg": "no route"}},
        "backend-1": {"__outage_diagnose_probe": probe()},
        "backend-2": {},
    }
    seen = outage_evidence({"msg": "boom"}, hostvars, ["rabbitmq"], ["backend-1", "backend-2"])
    assert seen["health"] is None
    assert seen["brokers"]["rabbitmq"] == {"info": None, "probe": None, "why": "no route"}
    assert seen["backends"] == {"backend-1": {"probe": probe()}, "backend-2": {"probe": None}}
