# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory that is shipped as the example, alone and as the Incus lab uses it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.lab.incus import inventory as lab_inventory
from tests.lab.inventory import QUEUES
from tests.lab.state import CHECKOUT, Options

EXAMPLE = CHECKOUT / "examples" / "inventory"
PASSWORD = "a$HOME%41b'c"
HOSTS = {
    "veza_data_rabbitmq": ["rabbitmq.lxd"],
    "veza_app_backend": ["backend-1.lxd", "backend-2.lxd"],
    "veza_workers": ["workers.lxd"],
    "veza_monitoring": ["monitor.lxd"],
}


def read(path: Path, *options: str, **environment: str) -> dict[str, Any]:
    """Return what ansible-inventory says of an inventory; templates are not filled in."""
    program = Path(sys.executable).with_name("ansible-inventory")
    home = {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), **environment}
    done = subprocess.run(
        [str(program), "-i", str(path), "--list", *options], env=home, cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "unable to parse" not in done.stderr.lower()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The example, opened with the password that its README states."""
    stated = re.search(r"the example's password is: (\w+)", (EXAMPLE / "README.md").read_text())
    assert stated is not None
    password = tmp_path_factory.mktemp("vault") / "password"
    password.write_text(stated[1] + "\n")
    return read(EXAMPLE, "--vault-password-file", str(password))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A lab as far as its inventory needs one, whose checkout has no vault password yet."""
    monkeypatch.setattr(lab_inventory, "PASSWORD_FILE", tmp_path / "cache" / "vault-password")
    (tmp_path / "inventory").mkdir()
    return SimpleNamespace(
        dir=tmp_path,
        inventory=tmp_path / "inventory",
        name="play",
        options=Options(backoff=5.0),
        urls={"database": "postgresql://veza:a%2441@postgres.lxd:5432/veza"},
        credentials={
            "veza": {"password": PASSWORD},
            "monitor": {"password": PASSWORD + "m"},
            "api_admin_token": "api-token",
            "sentry_token": "sentry-token",
        },
    )


def opened(lab: Any, directory: Path) -> dict[str, Any]:
    return read(directory, "--vault-password-file", str(lab_inventory.PASSWORD_FILE))


def test_the_example_has_the_groups_that_the_playbooks_look_for(example: dict[str, Any]) -> None:
    assert {group: example[group]["hosts"] for group in HOSTS} == HOSTS
    assert set(example["veza"]["children"]) == set(HOSTS)


def test_every_variable_of_the_example_is_described_somewhere(example: dict[str, Any]) -> None:
    documented = {
        option
        for path in (CHECKOUT / "roles").glob("*/meta/argument_specs.yml")
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values()
        for option in entry.get("options", {})
    }
    readme = (EXAMPLE / "README.md").read_text()
    for host, variables in example["_meta"]["hostvars"].items():
        for name in variables:
            if name.startswith("vault_"):
                assert f"| `{name}` |" in readme, name
            elif not name.startswith("ansible_"):
                assert name in documented, f"{host}: {name}"


def test_secrets_are_in_the_vault_and_nowhere_else(example: dict[str, Any]) -> None:
    plain = "".join(path.read_text() for path in EXAMPLE.rglob("*.yml") if path.name != "vault.yml")
    used = set(re.findall(r"\bvault_\w+", plain))
    known = {name for name in example["_meta"]["hostvars"]["rabbitmq.lxd"] if name.startswith("vault_")}
    assert used == known == set(lab_inventory.secrets_of(_any_lab()))
    assert (EXAMPLE / lab_inventory.VAULT).read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")


def _any_lab() -> Any:
    account = {"password": ""}
    credentials = {"veza": account, "monitor": account, "api_admin_token": "", "sentry_token": ""}
    return SimpleNamespace(credentials=credentials, urls={"database": ""})


def test_localhost_needs_no_root(example: dict[str, Any]) -> None:
    assert "ansible_become" not in yaml.safe_load((EXAMPLE / "group_vars/all/main.yml").read_text())
    assert example["_meta"]["hostvars"]["rabbitmq.lxd"]["ansible_become"] is True


def test_both_labs_ask_the_database_the_same(example: dict[str, Any]) -> None:
    table = example["_meta"]["hostvars"]["rabbitmq.lxd"]["veza_queues"]
    assert [(entry["name"], entry["replay"]) for entry in table] == [(e["name"], e["replay"]) for e in QUEUES]
    for entry, local in zip(table, QUEUES, strict=True):
        assert sorted(entry["unfinished_sql"].split()) == sorted(
            str(local["unfinished_sql"]).replace("true AND ", "").split()
        )


def test_the_lab_differs_from_the_example_in_few_things(lab: Any, example: dict[str, Any]) -> None:
    lab_inventory.write(lab)
    for host, variables in opened(lab, lab.inventory)["_meta"]["hostvars"].items():
        if host != "localhost":
            usual = example["_meta"]["hostvars"][host]
            changed = {name for name, value in variables.items() if usual.get(name) != value}
            connection = {name for name in changed if name.startswith("ansible_")}
            assert not connection & set(usual)
            assert {name for name in changed - connection if not name.startswith("vault_")} == {
                "veza_site",
                "veza_environment",
                "veza_publisher_backoff",
                "veza_longest_upload",
            }


def test_the_labs_secrets_come_out_of_its_vault_as_they_are(lab: Any) -> None:
    lab_inventory.write(lab)
    variables = opened(lab, lab.inventory)["_meta"]["hostvars"]["rabbitmq.lxd"]
    assert variables["vault_rabbitmq_password"] == PASSWORD
    assert variables["vault_database_url"] == lab.urls["database"]
    assert variables["veza_environment"] == "lab"
    # Nowhere in clear, and for the owner only.
    assert not any(PASSWORD in path.read_text() for path in lab.inventory.rglob("*.yml"))
    assert stat.S_IMODE(lab_inventory.PASSWORD_FILE.stat().st_mode) == 0o600


def test_localhost_is_the_controller_within_the_labs_network(lab: Any) -> None:
    lab_inventory.write(lab)
    localhost = opened(lab, lab.inventory)["_meta"]["hostvars"]["localhost"]
    assert localhost["ansible_connection"] == "local"
    assert localhost["ansible_become"] is False
    assert localhost["ansible_python_interpreter"] == f"{lab.dir}/bin/python"


def test_the_same_inventory_over_incus(lab: Any) -> None:
    hosts = opened(lab, lab_inventory.write_incus_connection(lab))["_meta"]["hostvars"]
    assert hosts["rabbitmq.lxd"]["ansible_connection"] == "community.general.incus"
    assert not [name for name in hosts["rabbitmq.lxd"] if "ssh" in name]


def test_a_second_lab_uses_the_same_password(lab: Any) -> None:
    assert lab_inventory.vault_password() == lab_inventory.vault_password() != ""


def test_a_vault_is_opened_without_any_option(lab: Any) -> None:
    lab_inventory.write(lab)
    program = lab.dir / "tests" / "lab" / "vault_password"
    program.parent.mkdir(parents=True)
    program.write_bytes((CHECKOUT / "tests/lab/vault_password").read_bytes())
    program.chmod(0o755)
    (lab.dir / ".cache").symlink_to(lab_inventory.PASSWORD_FILE.parent)
    hosts = read(lab.inventory, ANSIBLE_VAULT_PASSWORD_FILE=str(program))["_meta"]["hostvars"]
    assert hosts["rabbitmq.lxd"]["vault_rabbitmq_password"] == PASSWORD


def test_without_a_lab_there_is_a_word_that_opens_nothing(tmp_path: Path) -> None:
    program = tmp_path / "tests" / "lab" / "vault_password"
    program.parent.mkdir(parents=True)
    program.write_bytes((CHECKOUT / "tests/lab/vault_password").read_bytes())
    program.chmod(0o755)
    assert subprocess.run([str(program)], capture_output=True, text=True).stdout == "no-lab-yet\n"
    assert os.access(CHECKOUT / "tests/lab/vault_password", os.X_OK)
