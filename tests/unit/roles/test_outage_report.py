# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role outage_report: where it may copy a report to."""

from __future__ import annotations

import jinja2
import pytest
from ansible.plugins.test import core as ansible_tests

from tests.unit.roles.role_files import load


@pytest.mark.parametrize(
    ("directory", "fine"),
    [("/srv/reports", True), ("", True), (None, True), ("rel/dir", False), ("~/reports", False), ("\n", False)],
)
def test_a_directory_for_the_copy_of_a_report_is_an_absolute_path(directory: str | None, fine: bool) -> None:
    [check] = load("outage_report", "tasks/check.yml")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.tests["match"] = ansible_tests.TestModule().tests()["match"]

    judged = environment.compile_expression(check["ansible.builtin.assert"]["that"])(outage_report_dir=directory)
    assert judged is fine
    # Before anything is done, and not after a recovery.
    assert load("outage_report", "tasks/main.yml")[0]["ansible.builtin.include_tasks"] == "check.yml"
    for role, part in (("outage_recover", "main"), ("outage_audit", "alone")):
        assert load(role, f"tasks/{part}.yml")[0]["ansible.builtin.import_role"]["tasks_from"] == "check"
