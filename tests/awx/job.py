# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A job as AWX runs it: a template of extensions/awx, by ansible-runner, in a private data directory of its own.

The directory is thrown away with the job, as an execution environment is. Secrets come by the injectors of the
credential types, extra variables from the template, the survey and the artifacts of the jobs before.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner
import yaml
from jinja2 import Environment

from tests.awx.tables import tables
from tests.awx.unsafe import Unsafe
from tests.lab.processes import MARK, kill_marked
from tests.lab.state import CHECKOUT

Event = dict[str, Any]
INPUTS = {
    "Veza RabbitMQ broker": {
        "user": "veza_rabbitmq_user",
        "password": "veza_rabbitmq_password",
        "management_user": "veza_rabbitmq_management_user",
        "management_password": "veza_rabbitmq_management_password",
    },
    "Veza database": {"url": "veza_database_url"},
    "Veza API": {"token": "veza_api_admin_token"},
    "Veza Sentry": {"token": "veza_sentry_token"},
}
"""What a person types into each credential, by the variable that it is about."""


@dataclass
class Ended:
    """What is left of a job."""

    status: str
    artifacts: dict[str, Any]
    events: list[Event]
    stdout: str
    seconds: float
    files: str
    """All that ansible-runner wrote of its output, for a search."""


@dataclass
class Site:
    """One broker: an inventory without secrets, and the credentials beside it."""

    inventory: dict[str, Any]
    environment: dict[str, str]
    extra_vars: dict[str, Any] = field(default_factory=dict)


def site(hosts: Mapping[str, Any], variables: Mapping[str, Any]) -> Site:
    """Take the secrets out of an inventory's variables and into credentials."""
    inputs = {variable for fields in INPUTS.values() for variable in fields.values()}
    rest = {name: value for name, value in variables.items() if name not in inputs}
    made = Site({"all": {"vars": rest, "children": dict(hosts)}}, {})
    for kind in tables()["controller_credential_types"]:
        fields = INPUTS.get(kind["name"], {})
        given = {name: variables[variable] for name, variable in fields.items() if variable in variables}
        if given and set(kind["inputs"]["required"]) <= set(given):
            made.environment |= rendered(kind["injectors"].get("env", {}), given)
            made.extra_vars |= rendered(kind["injectors"].get("extra_vars", {}), given)
    return made


def rendered(injector: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, str]:
    """Fill in an injector, as AWX does."""
    return {name: Environment().from_string(text).render(given) for name, text in injector.items()}


def answers(survey: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a survey's answers where a person leaves everything as it is.

    AWX hands over what is empty too, unless the question refuses it (SurveyJobTemplateMixin).
    """
    return {
        question["variable"]: question["default"]
        for question in survey
        if question["default"] != "" or question["min"] == 0
    }


def run(
    where: Site,
    template: str,
    *,
    job_type: str = "run",
    artifacts: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    answered: Mapping[str, Any] | None = None,
    see: Callable[[Event], None] = lambda _event: None,
    stop: Callable[[], bool] = lambda: False,
) -> Ended:
    """Run a template to its end, or until ``stop`` says so; ``see`` gets each event when it happens."""
    defined = next(one for one in tables()["controller_templates"] if one["name"] == template)
    trusted = defined.get("extra_vars", {})
    given = {**where.extra_vars, **answers(defined["survey"]), **(answered or {}), **(artifacts or {})}
    with private_data(where, trusted, given, environment or {}) as directory:
        events: list[Event] = []

        def handle(event: Event) -> bool:
            events.append({**event, "seen": time.time()})
            see(event)
            return True

        began = time.monotonic()
        runner = ansible_runner.run(
            private_data_dir=str(directory),
            project_dir=str(CHECKOUT),
            playbook=defined["playbook"],
            cmdline="--check" if job_type == "check" else "",
            event_handler=handle,
            cancel_callback=stop,
            quiet=True,
        )
        written = [*directory.glob("artifacts/*/job_events/*.json"), *directory.glob("artifacts/*/stdout")]
        return Ended(
            runner.status,
            next((one["event_data"].get("artifact_data", {}) for one in reversed(events) if stats(one)), {}),
            events,
            runner.stdout.read(),
            time.monotonic() - began,
            "".join(path.read_text() for path in written),
        )


def stats(event: Event) -> bool:
    """Tell whether it is the event that carries the artifacts."""
    return bool(event["event"] == "playbook_on_stats")


@contextmanager
def private_data(
    where: Site, trusted: Mapping[str, Any], given: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[Path]:
    """Write what ansible-runner reads; nothing of it stays. ``trusted`` are the template's extra variables."""
    directory = Path(tempfile.mkdtemp(prefix="veza-job-"))
    try:
        for part in ("env", "inventory"):
            (directory / part).mkdir()
        (directory / "inventory" / "hosts.yml").write_text(yaml.safe_dump(where.inventory, sort_keys=False))
        # Templates of a template stay templates, as AWX's setting ALLOW_JINJA_IN_EXTRA_VARS lets them.
        extra_vars = yaml.safe_dump(json.loads(json.dumps(dict(trusted)))) if trusted else ""
        extra_vars += "".join(yaml.dump({name: value}, Dumper=Unsafe) for name, value in given.items())
        (directory / "env" / "extravars").write_text(extra_vars)
        settings = {
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        settings |= {"ANSIBLE_HOME": str(directory / "home"), MARK: str(directory)}
        variables = {**settings, **where.environment, **environment}
        (directory / "env" / "envvars").write_text(json.dumps(variables))
        (directory / "env" / "settings").write_text(json.dumps({"suppress_ansible_output": True}))
        yield directory
    finally:
        # What a job that was cancelled leaves running ends with its container.
        kill_marked(str(directory))
        shutil.rmtree(directory)
