# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as a browser shows it: on a phone and on a desk, light and dark; read by people who can't see it, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import html5lib
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_page import outage_page
from tests.tools import borrowed
from tests.unit.plugins.filter.record import FULL

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = (ROOT / "roles" / "outage_report" / "templates" / "report.html.j2").read_text(encoding="utf-8")


@contextmanager
def browser(width: int, scheme: str, profile: Path) -> Iterator[Any]:
    """Run Chromium with a window of this width; a phone's is narrower than any window may be."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    quiet = ("no-first-run", "disable-background-networking", "disable-component-update", "disable-sync")
    # Its own start page, updates and the like are to ask nobody.
    nowhere = "host-resolver-rules=MAP * ~NOTFOUND"
    for flag in ("headless=new", "no-sandbox", "disable-gpu", *quiet, nowhere, f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.add_argument("about:blank")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        yield driver
    finally:
        driver.quit()


def test_the_page_is_html_without_a_mistake() -> None:
    html5lib.HTMLParser(strict=True).parse(outage_page(FULL, TEMPLATE))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_everybody_can_read_it(tmp_path: Path, width: int, scheme: str) -> None:
    page = tmp_path / "incident.html"
    page.write_text(outage_page(FULL, TEMPLATE), encoding="utf-8")
    with browser(width, scheme, tmp_path / "profile") as driver:
        driver.get_log("performance")  # what the browser did before
        driver.get(page.as_uri())
        for details in driver.find_elements("tag name", "details"):
            driver.execute_script("arguments[0].open = true", details)
        assert driver.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
        # Nothing is wider than the window: nobody has to scroll sideways.
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        driver.execute_script(borrowed.axe())
        told = driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        found = [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in told["violations"]]
        assert found == []
        assert len(told["passes"]) > 15
        logged = "".join(entry["message"] for entry in driver.get_log("performance"))
        asked = {part.split('"')[0] for part in logged.split('"url":"')[1:]}
        assert {url for url in asked if url.startswith(("http", "ws", "ftp"))} == set(), (
            "it loads nothing from anywhere"
        )
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
