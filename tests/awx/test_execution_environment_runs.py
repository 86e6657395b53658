# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each playbook runs with what the execution environment has: no image is built, but its Python is, from the same pins.

Nothing listens at the broker's addresses here. That is enough: a library that is missing is named in a result.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.awx.test_execution_environment import BUILDER, DEFINITION, ROOT, run
from tests.tools import checkout

PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
# The programs of openssh-client, and the few of a minimal base that Ansible itself calls. Python 3 is not on the path.
PROGRAMS = (
    *("ssh", "ssh-add", "ssh-agent"),
    *("bash", "sh", "cat", "chmod", "echo", "id", "mkdir", "mv", "rm", "sleep", "sync"),
)
MISSING = (
    "Failed to import the required Python library",
    "ModuleNotFoundError",
    "No such file or directory: b'",
    " is undefined",
)
# What each is given so that it gets beyond its own refusals.
GIVEN: dict[str, dict[str, Any]] = {
    "audit_rabbitmq": {"outage_audit_start": "2026-01-31T02:03:04Z", "outage_audit_end": "2026-01-31T02:33:04Z"},
    "republish_rabbitmq": {"outage_recover_republish": {"queue": "transcode_jobs", "file": "/nonexistent"}},
    "game_day_rabbitmq": {"veza_environment": "lab"},
}
REFUSED = "127.0.0.1"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the image has: bin (the PATH), python, collections."""
    place = tmp_path_factory.mktemp("image")
    tarball = checkout.build_collection(ROOT, place / "dist")
    tools = Path(sys.executable).parent

    def made(*command: object) -> str:
        return run(*map(str, command), cwd=place)

    made(tools / "ansible-galaxy", "collection", "install", "--offline", "-p", place / "collections", tarball)
    needs = yaml.safe_load(made(BUILDER, "introspect", place / "collections"))
    made(tools / "virtualenv", "--quiet", "--python", sys.executable, place / "python")
    wanted = [DEFINITION["dependencies"][name]["package_pip"] for name in ("ansible_core", "ansible_runner")]
    wanted += [line.partition("#")[0].strip() for line in needs["python"]]
    limits = ("--only-binary", ":all:", "--constraint", ROOT / "constraints.txt")
    made(place / "python" / "bin" / "python", "-m", "pip", "install", "--quiet", *limits, *wanted)
    (place / "bin").mkdir()
    for program in PROGRAMS:
        (place / "bin" / program).symlink_to(shutil.which(program) or pytest.fail(f"{program} is not on this machine"))
    for path in (place / "python" / "bin").glob("ansible*"):
        (place / "bin" / path.name).symlink_to(path)
    return place


def inventory(place: Path) -> dict[str, Any]:
    """One host of each kind, all of them this machine; where the broker should be nobody listens."""
    return {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": "{{ ansible_playbook_python }}",
                "veza_rabbitmq_host": REFUSED,
                "veza_rabbitmq_port": 1,
                "veza_rabbitmq_management_port": 1,
                "veza_rabbitmq_password": "x",
                "veza_rabbitmq_management_password": "x",
                "veza_rabbitmq_service_manager": "command",
                "veza_rabbitmq_service_commands": dict.fromkeys(("start", "stop", "status"), ["sleep", "0"]),
                "veza_rabbitmq_log_files": [],
                "veza_rabbitmq_data_dir": str(place),
                "veza_database_url": f"postgresql://x:x@{REFUSED}:1/x",
                "veza_api_url": f"http://{REFUSED}:1",
                "veza_api_admin_token": "x",
                "veza_sentry_url": f"http://{REFUSED}:1",
                "veza_sentry_organization": "x",
                "veza_sentry_project": "1",
                "veza_sentry_token": "x",
                "veza_alertmanager_url": f"http://{REFUSED}:1",
                "veza_incident_dir": str(place / "incidents"),
                "veza_backend_container": "",
                "veza_worker_services": [],
                "veza_environment": "lab",
            },
            "children": {
                "veza_data_rabbitmq": {"hosts": {"rabbitmq": {}}},
                "veza_app_backend": {"hosts": {"backend": {}}},
                "veza_workers": {"hosts": {"workers": {}}},
            },
        }
    }


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_nothing_is_missing(image: Path, tmp_path: Path, playbook: str) -> None:
    for name in ("env", "inventory", "project"):
        (tmp_path / name).mkdir()
    (tmp_path / "inventory" / "hosts.yml").write_text(yaml.safe_dump(inventory(tmp_path)))
    (tmp_path / "env" / "extravars").write_text(json.dumps(GIVEN.get(playbook, {})))
    # As in a container: no variable of ours but these.
    environment = {
        "PATH": str(image / "bin"),
        "HOME": str(tmp_path),
        "ANSIBLE_COLLECTIONS_PATH": str(image / "collections"),
    }
    runner = image / "bin" / "ansible-runner"
    done = subprocess.run(
        [runner, "run", tmp_path, "--quiet", "-p", f"veza.rabbitmq.{playbook}", "--cmdline=--check"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    written = sorted(tmp_path.glob("artifacts/*/job_events/*.json"))
    events = [path.read_text() for path in written]
    assert any('"runner_on_ok"' in event for event in events), done.stdout
    text = "\n".join([done.stdout, *events])
    assert not [line for line in text.splitlines() if any(sign in line for sign in MISSING)]


def third_parties() -> set[str]:
    """What the plugins import that neither Python nor ansible-core has."""
    found: set[str] = set()
    for path in (ROOT / "plugins").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"ansible", "ansible_collections"}


def test_what_the_plugins_import_is_declared(image: Path) -> None:
    libraries = sorted(third_parties())
    assert "requests" in libraries
    done = subprocess.run(
        [image / "python" / "bin" / "python", "-I", "-c", f"import {', '.join(libraries)}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
