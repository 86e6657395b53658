# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory that is shipped as the example, alone and as the Incus lab uses it."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
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
    argv = [str(program), "-i", str(path), "--list", *options]
    done = subprocess.run(argv, check=False, env=home, cwd=CHECKOUT, capture_output=True, text=True)
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


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A lab as far as its inventory needs one, of a checkout that had no lab before, with its inventory written."""
    directory = tmp_path_factory.mktemp("lab")
    (directory / "inventory").mkdir()
    account = {"password": PASSWORD}
    lab = SimpleNamespace(
        dir=directory,
        inventory=directory / "inventory",
        name="play",
        options=Options(backoff=5.0),
        urls={"database": "postgresql://veza:a%2441@postgres.lxd:5432/veza"},
        data={"hosts": {}},
        credentials={"veza": account, "monitor": account, "api_admin_token": "token-1", "sentry_token": "token-2"},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab_inventory, "PASSWORD_FILE", directory / ".cache" / "vault-password")
        lab_inventory.write(lab)
        yield lab


@pytest.fixture(scope="module")
def hosts(lab: Any) -> dict[str, Any]:
    """The variables of the lab's hosts."""
    variables: dict[str, Any] = opened(lab, lab.inventory)["_meta"]["hostvars"]
    return variables


def opened(lab: Any, directory: Path) -> dict[str, Any]:
    return read(directory, ANSIBLE_VAULT_PASSWORD_FILE=str(password_program(lab.dir)))


def password_program(root: Path) -> Path:
    """Copy what ansible.cfg names as the vault's password into another checkout, as it were."""
    program = root / "tests" / "lab" / "vault_password"
    program.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(CHECKOUT / "tests" / "lab" / "vault_password", program)
    return program


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


def test_secrets_are_in_the_vault_and_nowhere_else(example: dict[str, Any], lab: Any) -> None:
    plain = "".join(path.read_text() for path in EXAMPLE.rglob("*.yml") if path.name != "vault.yml")
    used = set(re.findall(r"\bvault_\w+", plain))
    known = {name for name in example["_meta"]["hostvars"]["rabbitmq.lxd"] if name.startswith("vault_")}
    assert used == known == set(lab_inventory.secrets_of(lab))
    assert (EXAMPLE / lab_inventory.VAULT).read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")


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
        assert str(entry.get("finished_sql")).split() == str(local.get("finished_sql")).split()


def test_the_lab_differs_from_the_example_in_few_things(hosts: dict[str, Any], example: dict[str, Any]) -> None:
    for host in set(hosts) - {"localhost", "hypervisor"}:
        usual = example["_meta"]["hostvars"][host]
        changed = {name for name, value in hosts[host].items() if usual.get(name) != value}
        connection = {name for name in changed if name.startswith("ansible_")}
        assert not connection & set(usual)
        assert {name for name in changed - connection if not name.startswith("vault_")} == {
            "veza_site",
            "veza_environment",
            "veza_publisher_backoff",
            "veza_longest_upload",
            "veza_incus_disk_max",
            "veza_incus_memory_max",
            "veza_memory_watermark_max",
        }


def test_the_labs_vault_opens_without_any_option_and_holds_the_secrets_as_they_are(
    lab: Any, hosts: dict[str, Any]
) -> None:
    assert hosts["rabbitmq.lxd"]["vault_rabbitmq_password"] == PASSWORD
    assert hosts["rabbitmq.lxd"]["vault_database_url"] == lab.urls["database"]
    assert hosts["rabbitmq.lxd"]["veza_environment"] == "lab"


def test_the_labs_secrets_are_nowhere_in_clear_and_their_key_is_for_the_owner_only(lab: Any) -> None:
    files = [path for name in ("inventory", "inventory-incus") for path in (lab.dir / name).rglob("*.yml")]
    assert files
    assert not any(PASSWORD in path.read_text() for path in files)
    assert stat.S_IMODE(lab_inventory.PASSWORD_FILE.stat().st_mode) == 0o600


def test_localhost_is_the_controller_within_the_labs_network(lab: Any, hosts: dict[str, Any]) -> None:
    assert hosts["localhost"]["ansible_connection"] == "local"
    assert hosts["localhost"]["ansible_become"] is False
    assert hosts["localhost"]["ansible_python_interpreter"] == f"{lab.dir}/bin/python"


def test_the_same_inventory_over_incus(lab: Any) -> None:
    broker = opened(lab, lab.dir / "inventory-incus")["_meta"]["hostvars"]["rabbitmq.lxd"]
    assert broker["ansible_connection"] == "community.general.incus"
    assert not [name for name in broker if "ssh" in name]


def test_a_second_lab_uses_the_same_password(lab: Any) -> None:
    first = lab_inventory.PASSWORD_FILE.read_text()
    assert lab_inventory.vault_password() == first.strip() != ""
    assert lab_inventory.PASSWORD_FILE.read_text() == first


def test_without_a_lab_there_is_a_word_that_opens_nothing(tmp_path: Path) -> None:
    done = subprocess.run([str(password_program(tmp_path))], check=True, capture_output=True, text=True)
    assert done.stdout == "no-lab-yet\n"
