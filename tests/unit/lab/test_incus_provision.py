# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What watches the lab of real hosts is what the collection ships, for the site that its inventory names."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.lab.incus import provision
from tests.lab.state import CHECKOUT

SITE = "0815"
"""A lab's name that YAML would take for a number."""


@pytest.fixture
def files() -> dict[str, Any]:
    return {name: yaml.safe_load(text) for name, text in provision.monitoring(SITE).items()}


def test_the_alerts_name_the_site(files: dict[str, Any]) -> None:
    scraped = {
        target["labels"]["veza_site"]
        for job in files["prometheus.yml"]["scrape_configs"]
        for target in job["static_configs"]
    }
    listed = {rule["labels"]["veza_site"] for group in files["sites.yml"]["groups"] for rule in group["rules"]}
    assert scraped == listed == {SITE}


def test_alertmanager_groups_and_inhibits_as_shipped_and_tells_nobody(files: dict[str, Any]) -> None:
    shipped = yaml.safe_load((CHECKOUT / "extensions" / "prometheus" / "alertmanager.yml").read_text())
    lab = files["alertmanager.yml"]
    assert {key for key in shipped if shipped[key] != lab[key]} == {"receivers"}
    assert lab["receivers"] == [{"name": receiver["name"]} for receiver in shipped["receivers"]]
