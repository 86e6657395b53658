# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring a lab up, and take it down."""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import apps, broker, inventory, ports, postgres
from .state import CHECKOUT, Lab, LabError, Options, remove, state_directory, write_private

__all__ = ["Lab", "LabError", "Options", "down", "up"]


def up(name: str = "play", options: Options | None = None) -> Lab:
    """Bring up a lab, wait until it serves, and return it.

    What a killed lab of this name left is removed first. When anything fails, nothing stays but the reason.
    LabError: it is up already, a package is missing, or a server does not start.
    """
    options = options or Options()
    if not 1 <= options.instances <= ports.MAX_BACKENDS:
        raise LabError(f"{options.instances} API instances: from 1 to {ports.MAX_BACKENDS} are possible.")
    broker.require()
    postgres.binaries()
    directory = state_directory(name)
    if is_up(directory):
        raise LabError(f"The lab '{name}' is up already: {directory}")
    remove(directory)
    try:
        lab = _create(directory, name, options)
        _start(lab)
    except BaseException:
        # Interrupted too (Ctrl-C): nobody would know of what was started so far.
        remove(directory)
        raise
    return lab


def down(name: str = "play") -> bool:
    """Take a lab down and remove its state; False when there was none."""
    return remove(state_directory(name))


def is_up(directory: Path) -> bool:
    """Tell whether the lab in ``directory`` was brought up completely and its database still runs.

    Its broker may be down: that is what the lab is for.
    """
    try:
        lab = Lab.at(directory)
    except LabError:
        return False
    return bool(lab.data.get("ready")) and lab.running("postgres") is not None


def _create(directory: Path, name: str, options: Options) -> Lab:
    """Make the state directory with all that can be known before anything runs."""
    # Others may pass through, not look: PostgreSQL, which runs as another user, has its data in it.
    directory.mkdir(mode=0o711)
    directory.chmod(0o711)
    for part in ("bin", "incidents", "inventory", "logs"):
        (directory / part).mkdir(mode=0o700)
    credentials, numbers = new_credentials(), ports.choose()
    document = {
        "name": name,
        "dir": str(directory),
        "checkout": str(CHECKOUT),
        "python": sys.executable,
        "created_at": datetime.now(UTC).isoformat(),
        "ready": False,
        "options": asdict(options),
        "ports": numbers,
        "urls": _urls(numbers, credentials, options),
        "credentials": credentials,
        "node": f"veza-{name}@localhost",
        "vhost": broker.VHOST,
        "sentry": {"organization": "veza", "project": "1"},
        "paths": _paths(directory, name),
        "processes": {},
    }
    write_private(directory / "lab.json", json.dumps(document, indent=2) + "\n")
    write_private(directory / "bin" / "lab", _launcher(name, directory), 0o700)
    lab = Lab.at(directory)
    broker.configure(lab)
    inventory.write(lab)
    return lab


def _start(lab: Lab) -> None:
    # The broker takes longest: the database is made while it boots.
    broker.launch(lab)
    postgres.start(lab)
    postgres.define(lab)
    broker.start(lab)
    broker.define(lab)
    if lab.options.apps:
        for name in apps.names(lab):
            apps.start(lab, name)
        apps.wait(lab)
    lab.mark_ready()


def new_credentials() -> dict[str, Any]:
    """Return new passwords and tokens for everything in a lab, each account with its user."""

    def account(user: str) -> dict[str, str]:
        return {"user": user, "password": password()}

    def password() -> str:
        # Characters that shells, URLs and configuration files like to swallow.
        return f"{secrets.token_hex(6)}$HOME%41{secrets.token_hex(6)}"

    return {
        "veza": account("veza"),
        "monitor": account("monitor"),
        # Only these two are written into configuration files of their servers.
        "admin": {"user": "lab-admin", "password": secrets.token_hex(12)},
        "postgres": {"user": "postgres", "password": secrets.token_hex(12)},
        "database": account("veza"),
        "erlang_cookie": secrets.token_hex(16).upper(),
        "api_admin_token": secrets.token_urlsafe(24),
        "sentry_token": secrets.token_urlsafe(24),
    }


def login(account: dict[str, str]) -> str:
    """Return user and password as they stand in a URL."""
    return f"{account['user']}:{quote(account['password'], safe='')}"


def _urls(numbers: dict[str, int], credentials: dict[str, Any], options: Options) -> dict[str, Any]:
    backends = [f"backend-{number}" for number in range(1, options.instances + 1)] if options.apps else []
    return {
        "amqp": f"amqp://{login(credentials['veza'])}@127.0.0.1:{numbers['amqp']}/{quote(broker.VHOST, safe='')}",
        "management": f"http://127.0.0.1:{numbers['management']}",
        "prometheus": f"http://127.0.0.1:{numbers['prometheus']}/metrics",
        "database": f"postgresql://{login(credentials['database'])}@127.0.0.1:{numbers['postgres']}/veza",
        "sentry": f"http://127.0.0.1:{numbers['sentry']}",
        "backends": {name: f"http://127.0.0.1:{numbers[name]}" for name in backends},
    }


def _paths(directory: Path, name: str) -> dict[str, str]:
    parts = {
        "inventory": "inventory",
        "incidents": "incidents",
        "logs": "logs",
        "attempts": "attempts.jsonl",
        "sentry_events": "sentry.jsonl",
        "broker_log": f"broker/log/veza-{name}@localhost.log",
        "broker_data": "broker/data",
        "rabbitmqctl": "bin/rabbitmqctl",
        "rabbitmq_diagnostics": "bin/rabbitmq-diagnostics",
    }
    return {key: str(directory / part) for key, part in parts.items()}


def _launcher(name: str, directory: Path) -> str:
    """Return a script that is this lab's command line, from any directory and in any environment."""
    return (
        f"#!{sys.executable}\nimport os\nimport sys\n\n"
        f"os.environ['VEZA_LAB_DIR'] = {str(directory.parent)!r}\n"
        f"sys.path.insert(0, {str(CHECKOUT)!r})\n"
        "from tests.lab.__main__ import main\n\n"
        f"raise SystemExit(main([*sys.argv[1:], '--name', {name!r}]))\n"
    )
