# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No secret appears anywhere: every playbook, and every module that is given one, as it succeeds and as it fails.

At -vvvv, in what is printed, in every file that stays, and in the list of processes while they run. Those of the lab
succeed; those that are planted are wrong, and have everything in them that breaks a URL, a shell or JSON.
"""

from __future__ import annotations

import base64
import importlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from tests.lab import broker
from tests.lab.outage import outage
from tests.lab.scenario import Playbook
from tests.lab.state import CHECKOUT, Lab
from tests.lab.veza.api import LEVEL

COLLECTION = "ansible_collections.veza.rabbitmq.plugins.modules"
PATIENCE = 300.0

WRONG = {
    name: f"pl@nted/{name}: 100% \"s3cret\" $HOME'"
    for name in ("veza_rabbitmq_password", "veza_rabbitmq_management_password", "veza_api_admin_token",
                 "veza_sentry_token", "database")
}  # fmt: skip

LEVELS = ("-e", f"veza_api_level_path={LEVEL}")
NOTHING = ("-e", "{outage_recover_republish: {queue: transcode_jobs, file: /nowhere/file}}")
ALERT = ("-e", "{outage_alert_firing: [], veza_alertmanager_url: ''}")
PLAYBOOKS: dict[str, tuple[str, ...]] = {
    "diagnose_rabbitmq": (),
    "look_rabbitmq": (),
    "recover_rabbitmq": (),
    "audit_rabbitmq": (),
    "report_rabbitmq": (),
    "status_rabbitmq": (),
    "answer_rabbitmq": ALERT,
    "restart_rabbitmq": (),
    "republish_rabbitmq": NOTHING,
    "undo_requeue_rabbitmq": (),
    "game_day_rabbitmq": ("--check",),
    "mitigate_rabbitmq": LEVELS,
}
"""Each with what it must be told; the first of all finds an outage, the others what it has left."""

BROKER = {
    "login_host": "{{ veza_rabbitmq_host }}",
    "login_port": "{{ veza_rabbitmq_port }}",
    "login_user": "{{ veza_rabbitmq_user }}",
    "login_password": "{{ veza_rabbitmq_password }}",
    "vhost": "{{ veza_rabbitmq_vhost }}",
}
MANAGEMENT = {
    **BROKER,
    "login_port": "{{ veza_rabbitmq_management_port }}",
    "login_user": "{{ veza_rabbitmq_management_user }}",
    "login_password": "{{ veza_rabbitmq_management_password }}",
}
WINDOW = {"outage_start": "{{ start }}", "outage_end": "{{ end }}"}
API = {"token": "{{ veza_api_admin_token }}"}
MODULES: dict[str, dict[str, Any]] = {
    "amqp_probe": {**BROKER, "publish": True, "wait_timeout": 1},
    "app_host_info": {"containers": ["nobody"], "container_command": "/bin/false", "probe": BROKER},
    "compose_environment": {
        "services": ["worker-dmca"],
        "env_file": "{{ kept }}/environment",
        "variable": "AMQP_URL",
        "password": "{{ veza_rabbitmq_password }}",
        "container_command": "{{ kept }}/engine",
    },
    "database_info": {"database_url": "{{ veza_database_url }}"},
    "dmca_flush": {**API, "api_url": "{{ hostvars['backend-1'].veza_api_url }}", "dropped": 1, "retries": 0},
    "eventbus_dropped_info": {
        "sentry_url": "{{ veza_sentry_url }}",
        "organization": "veza",
        "source": "sentry",
        "project": "1",
        "token": "{{ veza_sentry_token }}",
        "start": "{{ start }}",
        "end": "{{ end }}",
    },
    "eventbus_level": {**API, "api_url": "{{ hostvars['backend-1'].veza_api_url }}", "path": LEVEL, "level": "error"},
    "queue_drain_wait": {**MANAGEMENT, "queues": ["transcode_jobs"], "timeout": 3, "interval": 1},
    "queue_give_up": {**BROKER, "queue": "transcode_jobs", "count": 1, "path": "{{ kept }}/given-up"},
    "rabbitmq_health": {
        **MANAGEMENT,
        "amqp_host": "{{ veza_rabbitmq_host }}",
        "amqp_port": "{{ veza_rabbitmq_port }}",
        "wait_timeout": 1,
    },
    "rabbitmq_host_info": {"service_manager": "command", "status_command": ["/bin/false"], "probe": BROKER},
    "transcode_requeue": {
        **MANAGEMENT,
        "database_url": "{{ veza_database_url }}",
        "queue": "transcode_jobs",
        "uniqueness": "best_effort",
        **WINDOW,
    },
}


ENGINE = """\
#!/bin/sh
if [ "$1" = ps ]; then echo 1; exit; fi
cat <<END
[{"Id": "1", "Name": "/veza-worker-dmca-1", "State": {"Status": "running", "StartedAt": "2026-11-24T08:54:27Z"},
  "Config": {"Image": "veza/app:1", "Env": [],
             "Labels": {"com.docker.compose.service": "worker-dmca", "com.docker.compose.project": "veza"}}}]
END
"""
"""A container engine with one container, which does not have the variable yet."""


def has_secret(spec: Mapping[str, Any]) -> bool:
    """Tell whether a module's options have one that Ansible must not log."""
    return any(option.get("no_log") or has_secret(option.get("options") or {}) for option in spec.values())


def test_every_playbook_and_every_module_that_is_given_a_secret_is_tried() -> None:
    assert set(PLAYBOOKS) == {path.stem for path in (CHECKOUT / "playbooks").glob("*.yml")}
    names = [path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py")]
    modules = {name: importlib.import_module(f"{COLLECTION}.{name}") for name in names}
    told = {name: module.argument_spec() for name, module in modules.items() if hasattr(module, "argument_spec")}
    assert set(names) - set(told) == {"outage_tell"}, "an action plugin's; it prints what it is given"
    assert set(MODULES) == {name for name, spec in told.items() if has_secret(spec)}


def forms(secret: str, users: set[str]) -> set[str]:
    """Return how a secret may look: as it is, in a URL, in JSON, with a user's name as HTTP sends it."""
    basic = {base64.b64encode(f"{user}:{secret}".encode()).decode() for user in users}
    return {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], secret.split(":")[0], *basic}


def flat(credentials: Mapping[str, Any]) -> dict[str, str]:
    """Return the lab's secrets by name."""
    return {name: one if isinstance(one, str) else one["password"] for name, one in credentials.items()}


class Sought:
    """The secrets, and where each was seen."""

    def __init__(self, lab: Lab) -> None:
        users = {one["user"] for one in lab.credentials.values() if not isinstance(one, str)}
        every = {**flat(lab.credentials), **WRONG}
        self.forms = {form.encode(): name for name, secret in every.items() for form in forms(secret, users)}
        self.seen: set[tuple[str, str]] = set()

    def look(self, data: bytes, where: str) -> None:
        """Look for all of them."""
        self.seen |= {(name, where) for form, name in self.forms.items() if form in data}

    @contextmanager
    def in_processes(self) -> Iterator[None]:
        """Watch what anybody on this machine can see of a process: its command line."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.1):
                for path in Path("/proc").glob("[0-9]*/cmdline"):
                    try:
                        told = path.read_bytes()
                    except OSError:
                        continue
                    self.look(told, f"the process {told[:200]!r}")

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def wrong(lab: Lab, place: Path) -> Path:
    """Return a file of variables in which each secret is the wrong one."""
    at = lab.urls["database"].rpartition("@")[2]
    variables = {name: value for name, value in WRONG.items() if name.startswith("veza_")}
    variables["veza_database_url"] = f"postgresql://veza:{quote(WRONG['database'], safe='')}@{at}"
    path = place / "wrong.json"
    path.write_text(json.dumps(variables))
    return path


def tasks(place: Path) -> Path:
    """Return a playbook with a task for each module."""
    now = datetime.now(UTC)
    variables = {
        "kept": str(place),
        "start": (now - timedelta(hours=2)).isoformat(),
        "end": (now - timedelta(hours=1)).isoformat(),
    }
    each = [
        {"name": f"Run {name}", f"veza.rabbitmq.{name}": options, "register": f"did_{name}", "ignore_errors": True}
        for name, options in MODULES.items()
    ]
    told = {name: f"{{{{ did_{name}.failed }}}}" for name in MODULES}
    show = {"name": "Show", "ansible.builtin.copy": {"content": "{{ told | to_json }}", "dest": f"{place}/failed.json"}}
    play = {"name": "Modules", "hosts": "localhost", "gather_facts": False, "vars": variables}
    (place / "engine").write_text(ENGINE)
    (place / "engine").chmod(0o700)
    (place / "environment").write_text("AMQP_URL=amqp://veza:before@rabbitmq.lxd:5672/%2Fveza\n")
    path = place / "modules.yml"
    path.write_text(yaml.safe_dump([{**play, "tasks": [*each, {**show, "vars": {"told": told}}]}]))
    return path


FAIL_WHEN_WRONG = set(MODULES) - {"app_host_info", "rabbitmq_host_info", "database_info", "compose_environment"}
"""The others tell what they found, or write what they were given."""


@pytest.mark.parametrize("case", ["right", "wrong"])
def test_no_secret_is_to_be_seen_anywhere(case: str, tmp_path: Path) -> None:
    directories = {name: tmp_path / name for name in ("tmp", "remote", "cache", "kept")}
    for directory in directories.values():
        directory.mkdir()
    environment = {
        "TMPDIR": str(directories["tmp"]),
        "ANSIBLE_REMOTE_TMP": str(directories["remote"]),
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(directories["cache"]),
        "ANSIBLE_LOG_PATH": str(directories["kept"] / "ansible.log"),
    }
    with outage() as it:
        lab, sought = it.lab, Sought(it.lab)
        given = ["-vvvv"] + ([f"-e@{wrong(lab, tmp_path)}"] if case == "wrong" else [])
        statuses = {}
        with sought.in_processes():
            for name, arguments in {**PLAYBOOKS, str(tasks(directories["kept"])): ()}.items():
                log = directories["kept"] / f"{Path(name).name}.log"
                own = Playbook(lab, name.removesuffix(".yml"), *arguments, *given, log=log, environment=environment)
                statuses[Path(name).stem] = own.start().wait(PATIENCE)
                assert log.stat().st_size > 5000, log.read_text()
        written = directories["kept"] / "environment"
        assert "before" not in written.read_text()
        written.unlink()  # the one file that is to have it
        assert broker.serves(lab), "who can't log in can start it all the same"
        for place in (*directories.values(), lab.dir / "ansible", Path(lab.paths["incidents"])):
            for path in place.rglob("*"):
                if path.is_file():
                    sought.look(path.read_bytes(), str(path.relative_to(place.parent)))
        assert sought.seen == set()
        failed = json.loads((directories["kept"] / "failed.json").read_text())
        assert list(Path(lab.paths["incidents"]).rglob("*.html"))
    fail = {name for name, did in failed.items() if did}
    assert fail == (FAIL_WHEN_WRONG if case == "wrong" else set()), statuses
    assert bool(statuses["recover_rabbitmq"]) == (case == "wrong"), statuses
