# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real modules of awx.awx against a stand-in for AWX's API: defined, nothing to do the second time, removed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.awx.fake_awx import FakeAwx
from tests.awx.tables import AWX, Dumper, tables
from tests.tools import borrowed

NODES = ("diagnose", "approve", "recover")


def few() -> dict[str, Any]:
    """The variables of a run with one or two of each kind, as all of a kind go the same way."""
    known = tables()
    workflow = known["controller_workflow"]
    return {
        "veza_awx_notify_url": "https://chat.veza.example/hook",
        "veza_awx_secrets": {
            "production": {
                "broker": {
                    "user": "veza",
                    "password": "one-secret",
                    "management_user": "monitor",
                    "management_password": "another-secret",
                }
            }
        },
        "controller_credential_types": known["controller_credential_types"][:1],
        # The ssh key without its inputs, the broker's logins with them.
        "controller_credentials": known["controller_credentials"][:2],
        "controller_templates": [one for one in known["controller_templates"] if "recover" in one["name"]],
        "controller_workflow": {
            **workflow,
            "nodes": [node for node in workflow["nodes"] if node["identifier"] in NODES],
        },
    }


@pytest.fixture
def awx() -> Iterator[FakeAwx]:
    fake = FakeAwx()
    yield fake
    fake.close()


def run(awx: FakeAwx, playbook: str, variables: Path) -> tuple[str, int]:
    """Run a playbook of extensions/awx; return what it printed, and how many tasks changed something."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), f"{playbook}.yml", "-e", f"@{variables}"],
        cwd=AWX,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(variables.parent),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(borrowed.path_with("awx.awx")),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "CONTROLLER_HOST": awx.url,
            "CONTROLLER_OAUTH_TOKEN": "a-token",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    recap = re.search(r"^localhost +: .*changed=(\d+) .*failed=(\d+)", done.stdout, re.MULTILINE)
    assert recap, done.stdout
    assert (done.returncode, recap[2]) == (0, "0"), done.stdout
    return done.stdout, int(recap[1])


def test_defined_twice_and_removed_twice(awx: FakeAwx, tmp_path: Path) -> None:
    variables = tmp_path / "variables.yml"
    variables.write_text(yaml.dump(few(), Dumper=Dumper, sort_keys=False))
    text, changed = run(awx, "configure_awx", variables)
    assert changed > 0
    assert "one-secret" not in text
    assert "another-secret" not in text
    assert_defined(awx)

    awx.writes.clear()
    text, changed = run(awx, "configure_awx", variables)
    assert changed == 0, text
    assert awx.writes == []

    _text, changed = run(awx, "remove_awx", variables)
    assert changed > 0
    left = {kind for kind, found in awx.things.items() if found}
    # In AWX, a workflow takes its nodes and their approvals along, and an inventory its sources with their schedules.
    along = {"workflow_job_template_nodes", "workflow_approval_templates", "inventory_sources", "schedules"}
    assert left - along == {"organizations", "credential_types"}
    assert awx.names("credential_types") == ["Machine"]

    text, changed = run(awx, "remove_awx", variables)
    assert changed == 0, text


def assert_defined(awx: FakeAwx) -> None:
    assert awx.names("job_templates") == ["Veza RabbitMQ recover"]
    assert awx.names("credentials") == ["Veza production broker", "Veza production hosts"]
    assert awx.names("workflow_approval_templates") == ["Approve the recovery of RabbitMQ at production"]
    nodes = {one["identifier"]: one["id"] for one in awx.things["workflow_job_template_nodes"].values()}
    assert sorted(nodes) == sorted(NODES)
    links = {where: found for (where, link), found in awx.links.items() if link == "success_nodes" and found}
    assert links == {
        f"workflow_job_template_nodes/{nodes[one]}": [nodes[then]] for one, then in zip(NODES, NODES[1:], strict=False)
    }
    # What AWX or a job is to fill in has come through unfilled.
    (kind,) = [one for one in awx.things["credential_types"].values() if one["name"] != "Machine"]
    assert kind["injectors"]["env"]["VEZA_RABBITMQ_PASSWORD"] == "{{ password }}"
    (template,) = awx.things["job_templates"].values()
    assert json.loads(template["extra_vars"])["outage_recover_approved"] == "{{ rabbitmq_outage_plan | default({}) }}"
