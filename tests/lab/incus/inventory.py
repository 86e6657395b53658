# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's inventory: the example that is shipped, and over it only what differs here.

That is the lab's secrets (in a vault, whose password tests/lab/vault_password gives to Ansible), its name, how to come
into its network, and how fast the stand-in Veza is.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from ..state import CHECKOUT, Lab, write_private

EXAMPLE = CHECKOUT / "examples" / "inventory"
VAULT = Path("group_vars", "all", "vault.yml")
PASSWORD_FILE = CHECKOUT / ".cache" / "vault-password"
"""The password of all vaults of this checkout's labs."""

SHORT_ENOUGH = 79
"""Characters of the directory of ssh's sockets: a socket's whole path may have 107, and ssh adds 28."""


def write(lab: Lab) -> None:
    """Write the inventory to ``lab.inventory``, its hosts reached by ssh, and beside it the one by Incus."""
    _write(lab, lab.inventory, _ssh(lab))
    write_incus_connection(lab)


def write_incus_connection(lab: Lab) -> Path:
    """Write, and return, ``inventory-incus``: the same, with hosts that are reached through Incus.

    It needs the collection community.general, and INCUS_DIR in the environment: ``<lab directory>/incus``.
    """
    directory = lab.dir / "inventory-incus"
    _write(lab, directory, {"ansible_connection": "community.general.incus"})
    return directory


def vault_password() -> str:
    """Return the password of the labs' vaults; the first lab of the checkout makes it."""
    if not PASSWORD_FILE.exists():
        PASSWORD_FILE.parent.mkdir(exist_ok=True)
        write_private(PASSWORD_FILE, secrets.token_urlsafe(24) + "\n")
    return PASSWORD_FILE.read_text().strip()


def _write(lab: Lab, directory: Path, connection: dict[str, Any]) -> None:
    shutil.copytree(EXAMPLE, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("README.md", "*.license"))
    lock = VaultLib([("default", VaultSecret(vault_password().encode()))])
    write_private(directory / VAULT, lock.encrypt(_yaml(secrets_of(lab))).decode())
    # Read after hosts.yml and main.yml, whose neighbours they are: Ansible goes by the alphabet.
    write_private(directory / "zz_lab.yml", _yaml(_hosts(lab, connection)))
    write_private(directory / "group_vars" / "all" / "zz_lab.yml", _yaml(_variables(lab)))


def secrets_of(lab: Lab) -> dict[str, str]:
    """Return what the example's vault has, with the lab's values."""
    return {
        "vault_rabbitmq_password": lab.credentials["veza"]["password"],
        "vault_rabbitmq_management_password": lab.credentials["monitor"]["password"],
        "vault_database_url": lab.urls["database"],
        "vault_api_admin_token": lab.credentials["api_admin_token"],
        "vault_sentry_token": lab.credentials["sentry_token"],
    }


def _variables(lab: Lab) -> dict[str, Any]:
    return {
        "veza_site": lab.name,
        "veza_environment": "lab",
        "veza_publisher_backoff": lab.options.backoff,
        "veza_longest_upload": 1,
        "veza_incus_disk_max": "8GiB",
        "veza_incus_memory_max": "2GiB",
        "veza_memory_watermark_max": "2GiB",
    }


def _hosts(lab: Lab, connection: dict[str, Any]) -> dict[str, Any]:
    # Part of a recovery runs on the controller, and talks to the broker, the API and the database from there.
    controller = {
        "ansible_connection": "local",
        "ansible_python_interpreter": str(lab.dir / "bin" / "python"),
        "ansible_become": False,
    }
    # The lab's daemon is on this machine, and is reached by its own socket.
    hypervisor = {**controller, "veza_incus_command": str(lab.dir / "bin" / "incus")}
    return {
        "ungrouped": {"hosts": {"localhost": controller}},
        "veza_incus": {"hosts": {"hypervisor": hypervisor}},
        "veza": {"vars": connection},
        "veza_data_rabbitmq": {
            "hosts": {f"{host}.lxd": {} for host in lab.data["hosts"] if host.startswith("rabbitmq-")}
        },
    }


def _ssh(lab: Lab) -> dict[str, Any]:
    """Return how ssh comes to the lab's hosts, whatever a person's own configuration of ssh says."""
    options = ["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"]
    options += ["-o", f"UserKnownHostsFile={lab.dir}/ssh/known_hosts"]
    sockets = str(lab.dir / "ssh")
    variables = {
        "ansible_ssh_executable": str(lab.dir / "bin" / "ssh"),
        "ansible_ssh_private_key_file": str(lab.dir / "ssh" / "id_ed25519"),
        "ansible_ssh_common_args": " ".join(options),
        "ansible_control_path_dir": sockets,
        # Through ssh itself: sftp and scp are other programs, which would not come into the lab's network.
        "ansible_ssh_transfer_method": "piped",
    }
    if len(sockets) > SHORT_ENOUGH:
        variables["ansible_ssh_args"] = "-o ControlMaster=no"
    return variables


def _yaml(document: dict[str, Any]) -> str:
    return "---\n" + yaml.safe_dump(document, sort_keys=False, width=110)
