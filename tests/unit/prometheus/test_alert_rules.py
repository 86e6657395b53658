# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The alert rules are valid, fire and don't fire as their tests say, and each of them is tested and described."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "extensions" / "prometheus"
MONITOR = ROOT / "tests" / "lab" / "incus" / "monitor"
RULES = SHIPPED / "alert_rules.yml"
TESTS = sorted(SHIPPED.glob("*_test.yml"))
COMMANDS = {
    f"ansible-playbook veza.rabbitmq.{path.stem}"
    for path in (ROOT / "playbooks").glob("*.yml")
    if path.stem in {"diagnose_rabbitmq", "audit_rabbitmq"}
}
JOBS = {
    "rabbitmq": {"path": "/metrics", "families": set()},
    "rabbitmq-queues": {
        "path": "/metrics/detailed",
        "families": {"queue_coarse_metrics", "queue_consumer_count", "channel_queue_metrics", "vhost_status"},
    },
}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


ALERTS: list[dict[str, Any]] = [rule for group in load(RULES)["groups"] for rule in group["rules"]]
NAMES = [rule["alert"] for rule in ALERTS]


def promtool(*arguments: str | Path, directory: Path = SHIPPED) -> None:
    """Run promtool; what it found wrong is the test's failure."""
    program = shutil.which("promtool")
    if program is None:
        pytest.fail("promtool is missing: tests/setup.sh test (or, as root: apt-get install prometheus)", pytrace=False)
    done = subprocess.run([program, *arguments], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"promtool {' '.join(map(str, arguments))}:\n{done.stdout}{done.stderr}", pytrace=False)


def snapshots(alert: str) -> list[tuple[str, bool]]:
    """Return what the tests expect of an alert by name: when, and whether it fires."""
    return [
        (check["eval_time"], bool(check["exp_samples"]))
        for path in TESTS
        for test in load(path)["tests"]
        for check in test["promql_expr_test"]
        if f'alertname="{alert}"' in check["expr"] and 'alertstate="firing"' in check["expr"]
    ]


def test_the_rules_are_valid() -> None:
    promtool("check", "rules", RULES, SHIPPED / "sites.yml", MONITOR / "sites.yml")


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_the_rules_fire_when_they_should_and_else_not(path: Path) -> None:
    promtool("test", "rules", path.name)


@pytest.mark.parametrize("place", [SHIPPED, MONITOR], ids=["example", "lab"])
def test_the_configuration_of_prometheus_is_valid(place: Path, tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    shutil.copy(place / "sites.yml", tmp_path)
    text = (place / "prometheus.yml").read_text(encoding="utf-8")
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus", str(tmp_path)), encoding="utf-8")
    promtool("check", "config", "prometheus.yml", directory=tmp_path)


@pytest.mark.parametrize("place", [SHIPPED, MONITOR], ids=["example", "lab"])
def test_the_configuration_scrapes_what_the_rules_need_at_ordinary_intervals(place: Path) -> None:
    config = load(place / "prometheus.yml")
    assert config["global"] == {"scrape_interval": "10s", "scrape_timeout": "5s", "evaluation_interval": "10s"}
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    for name, needed in JOBS.items():
        assert jobs[name].get("metrics_path", "/metrics") == needed["path"]
        assert set(jobs[name].get("params", {}).get("family", [])) == needed["families"]
        assert all(target["labels"]["veza_site"] for target in jobs[name]["static_configs"])
    scraped = {target["labels"]["veza_site"] for target in jobs["rabbitmq"]["static_configs"]}
    listed = {rule["labels"]["veza_site"] for group in load(place / "sites.yml")["groups"] for rule in group["rules"]}
    assert listed == scraped


def test_alertmanager_routes_to_receivers_that_exist_and_inhibits_alerts_that_exist() -> None:
    config = load(SHIPPED / "alertmanager.yml")
    receivers = {receiver["name"] for receiver in config["receivers"]}
    routes = [config["route"], *config["route"].get("routes", [])]
    assert {route["receiver"] for route in routes} <= receivers
    assert (config["route"]["group_by"], config["route"]["group_wait"]) == (["veza_site"], "1s")
    for rule in config.get("inhibit_rules", []):
        for matcher in [*rule["source_matchers"], *rule["target_matchers"]]:
            pattern = matcher.split("=", 1)[1].removeprefix("~").strip('"')
            assert any(re.fullmatch(pattern, name) for name in NAMES), matcher


def test_alerts_have_names_of_their_own() -> None:
    assert len(NAMES) == len(set(NAMES))
    assert "RabbitMQUnreachable" in NAMES


@pytest.mark.parametrize("rule", ALERTS, ids=NAMES)
def test_every_alert_says_how_bad_what_and_what_to_run(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["labels"]["subsystem"] in {"broker", "cluster", "queues", "publishing", "monitoring"}
    assert set(rule["annotations"]) == {"summary", "description", "command", "runbook_url"}
    assert rule["annotations"]["command"] in COMMANDS
    assert rule["annotations"]["runbook_url"].endswith(f"/extensions/prometheus#{rule['alert'].lower()}")
    # Several sites share a Prometheus: the reader must see which one.
    assert "$labels.veza_site" in rule["annotations"]["summary"]


@pytest.mark.parametrize("rule", ALERTS, ids=NAMES)
def test_every_alert_keeps_its_site(rule: dict[str, Any]) -> None:
    aggregated = re.findall(r"\b(?:by|without|on) \(([^)]*)\)", rule["expr"])
    # "on ()" only guards the case without any site.
    assert all("veza_site" in labels or not labels for labels in aggregated)


@pytest.mark.parametrize("alert", NAMES)
def test_every_alert_is_shown_to_fire_and_not_to_fire(alert: str) -> None:
    assert {fires for _when, fires in snapshots(alert)} == {True, False}


def test_the_tests_name_no_alert_that_does_not_exist() -> None:
    tested = set(re.findall(r'alertname="(\w+)"', "".join(path.read_text(encoding="utf-8") for path in TESTS)))
    assert tested == set(NAMES)


def test_the_fault_of_scenario_e_is_known_within_a_minute() -> None:
    (group,) = (group for group in load(RULES)["groups"] for rule in group["rules"] if rule["alert"] == NAMES[0])
    (rule,) = (rule for rule in group["rules"] if rule["alert"] == "RabbitMQUnreachable")
    intervals = load(SHIPPED / "prometheus.yml")["global"]
    group_wait = load(SHIPPED / "alertmanager.yml")["route"]["group_wait"]
    delays = (intervals["scrape_interval"], intervals["scrape_timeout"], group["interval"], rule["for"], group_wait)
    assert sum(int(delay.removesuffix("s")) for delay in delays) < 60


@pytest.mark.parametrize("rule", ALERTS, ids=NAMES)
def test_every_alert_is_described_with_the_time_that_it_takes(rule: dict[str, Any]) -> None:
    readme = (SHIPPED / "README.md").read_text(encoding="utf-8")
    anchor = rule["alert"].lower()
    (row,) = (line for line in readme.splitlines() if f'<a id="{anchor}"></a>`{rule["alert"]}`' in line)
    _start, name, _means, after, run, _end = row.split("|")
    assert rule["alert"] in name
    assert after.strip() == rule.get("for", "at once")
    assert run.strip() == f"`{rule['annotations']['command'].rpartition('.')[2]}`"
