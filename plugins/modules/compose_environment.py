#!/usr/bin/python

# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_environment
short_description: Set a variable in the environment file of compose containers, and recreate those that lack it
version_added: 1.0.0
author:
  - Veza infrastructure team (@veza)
description:
  - Changes one variable in the environment file of a compose project on this host, every other byte stays. The file is
    replaced in one step, keeps its owner and mode, and a backup stays beside it.
  - On demand it recreates the containers that hold another value, with C(compose up -d) of their service alone. A
    restart would keep the old environment. A container that holds the right value is left alone, and so is a file.
  - A password appears in no output, no diff and no list of processes; passwords are told apart by fingerprints.
  - A recreated container comes from the image that it has. Where the image's name means another one by now, the module
    refuses, as a recreate would be a deployment.
  - Needs nothing but Python's standard library and the container engine with compose. It needs root where these do.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.actiongroup
attributes:
  check_mode:
    support: full
    details:
      - It says which file would change and which containers would be recreated.
  diff_mode:
    support: full
    details:
      - The diff has the variable alone. With O(password) it has fingerprints.
  idempotent:
    support: full
    details:
      - What an interrupted run left undone, the next one does.
options:
  containers:
    description:
      - Names of containers.
    type: list
    elements: str
    default: []
  services:
    description:
      - Names of compose services, whose containers are meant.
    type: list
    elements: str
    default: []
  env_file:
    description:
      - The environment file. Without it, C(.env) in the project's directory, as the containers' labels name it.
    type: path
  variable:
    description:
      - The variable in the file.
    type: str
    required: true
  container_variable:
    description:
      - The variable in the containers' environment that its value ends up in. The same by default.
    type: str
  value:
    description:
      - The value, which is no secret. One of O(value) and O(password) is needed for O(state=present).
    type: str
  password:
    description:
      - A password. Of an AMQP URL in the file it replaces the password alone; otherwise it is the whole value.
      - With it, a container holds the right value when the AMQP URL in O(container_variable) has this password.
    type: str
  user:
    description:
      - User whose O(password) it is. An AMQP URL with another user is not touched, and the module fails.
    type: str
    default: veza
  state:
    description:
      - Whether the variable is to be there.
    type: str
    choices: [present, absent]
    default: present
  absent_value:
    description:
      - With O(state=absent), a value that a container may hold all the same, as a default in its compose file or of its
        image gives it. Without it, a container may not have the variable at all.
    type: str
    version_added: 1.0.0
  recreate:
    description:
      - Whether containers that hold another value are recreated, which restarts what runs in them. Otherwise the file
        takes effect when somebody else recreates them.
    type: bool
    default: false
  keep_logs:
    description:
      - Directory on this host into which the log of a container goes before it is recreated, since it ends with the
        container. It is made with mode 0700 if it is missing. The files sort by the containers' age.
      - Without it, logs are not kept.
    type: path
  container_command:
    description:
      - The container engine's command line. It must understand C(ps), C(container inspect), C(image inspect) and
        C(logs) as docker does.
    type: str
    default: docker
  compose_command:
    description:
      - The command of compose, as a list.
    type: list
    elements: str
    default: [docker, compose]
  timeout:
    description:
      - Seconds that each command may take.
    type: float
    default: 120.0
seealso:
  - module: veza.rabbitmq.app_host_info
"""

EXAMPLES = r"""
- name: Give the workers the rotated password
  veza.rabbitmq.compose_environment:
    services: [worker-transcode, worker-dmca]
    variable: AMQP_URL
    user: veza
    password: "{{ veza_rabbitmq_password }}"
    recreate: true
  become: true

- name: Prepare the degraded log level for the next deployment
  veza.rabbitmq.compose_environment:
    containers: [veza_backend_api]
    variable: EVENTBUS_DEGRADED_LOG_LEVEL
    value: error
  become: true
"""

RETURN = r"""
message:
  description: What was done, in one sentence; in check mode, what would be.
  returned: always
  type: str
  sample: /opt/veza/.env has the new AMQP_URL; veza-worker-dmca-1 was recreated.
files:
  description: The environment files.
  returned: always
  type: list
  elements: dict
  contains:
    path: {description: "The file; of a link, what it points to.", type: str}
    changed: {description: "Whether it was changed.", type: bool}
    backup: {description: "The copy of what it was before. V(null) if it was not changed.", type: str}
    before: {description: "What it held, as far as it may be shown. V(null) if the variable was not there.", type: str}
    after: {description: "What it holds.", type: str}
containers:
  description: The containers that are there, in the order of O(containers) and O(services).
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: "Its name.", type: str}
    service: {description: "Its compose service.", type: str}
    held: {description: "Whether it held the right value before.", type: bool}
    recreated: {description: "Whether it was recreated.", type: bool}
    id: {description: "Its id now.", type: str}
    started_at: {description: "When it was last started.", type: str}
    log: {description: "Where the log of the one before was kept. V(null) if it was not.", type: str}
    also:
      description:
        - Names of other variables of the file that it holds with another value. They change with a recreate as well.
      type: list
      elements: str
"""

import itertools
import os
import re
import shutil
import tempfile
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _compose, _containers, _dotenv
from ..module_utils._containers import Engine, EngineSilent, labels, name_of
from ..module_utils._errors import BadInput, Refused, VezaError
from ..module_utils._inside import environment
from ..module_utils._mask import masked

Document = dict[str, Any]


def argument_spec() -> dict[str, Any]:
    """Return the module's parameters."""
    return {
        "containers": {"type": "list", "elements": "str", "default": []},
        "services": {"type": "list", "elements": "str", "default": []},
        "env_file": {"type": "path"},
        "variable": {"type": "str", "required": True},
        "container_variable": {"type": "str"},
        "value": {"type": "str", "no_log": False},
        "password": {"type": "str", "no_log": True},
        "user": {"type": "str", "default": "veza"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "absent_value": {"type": "str", "no_log": False},
        "recreate": {"type": "bool", "default": False},
        "keep_logs": {"type": "path"},
        "container_command": {"type": "str", "default": "docker"},
        "compose_command": {"type": "list", "elements": "str", "default": ["docker", "compose"]},
        "timeout": {"type": "float", "default": 120.0},
    }


@dataclass(frozen=True)
class Wanted:
    """What is to stand in the file, and in a container's environment."""

    variable: str
    container_variable: str
    value: str | None
    password: str | None
    user: str
    absent: bool
    absent_value: str | None = None

    def text(self, before: str) -> str:
        """Return the file's new text; BadInput, without any value, if it can't be written."""
        if self.absent:
            return _dotenv.removed(before, self.variable)
        value = self.value
        if self.password is not None:
            entry = _dotenv.find(before, self.variable)
            if entry is None:
                raise BadInput(f"it has no {self.variable}, so where the password belongs can't be told")
            value = _dotenv.with_password(entry.value, self.user, self.password)
        return _dotenv.changed(before, self.variable, value or "")

    def held_by(self, env: list[str]) -> bool:
        """Whether a container's environment has it."""
        if self.password is not None:
            login = _containers.login_of(env, self.container_variable)
            return bool(login and login.user == self.user and login.password == self.password)
        values = [entry.partition("=")[2] for entry in env if entry.partition("=")[0] == self.container_variable]
        if self.absent:
            return not values or values[-1] == self.absent_value
        return values[-1:] == [self.value]

    def shown(self, text: str) -> str | None:
        """Return what may be shown of the file's value: of a secret its fingerprint."""
        entry = _dotenv.find(text, self.variable)
        if entry is None:
            return None
        line = f"{self.variable}={entry.value}"
        # That O(value) is no secret says nothing of what stood there before, or of what is taken out.
        if self.password is None and (entry.value == self.value or masked(line, len(line)) == line):
            return entry.value
        login = _containers.login_of([f"x={entry.value}"], "x")
        secret = login.password if login else entry.value
        return f"password {_containers.fingerprint(self.user, secret)}"


def wanted_of(params: dict[str, Any]) -> Wanted:
    """Return what is wanted; BadInput if the parameters make no sense."""
    absent = params["state"] == "absent"
    given = [name for name in ("value", "password") if params[name] is not None]
    if len(given) != (0 if absent else 1):
        raise BadInput("state=absent takes neither value nor password, state=present one of them.")
    if params["password"] == "":
        raise BadInput("password is empty.")
    if not params["containers"] and not params["services"]:
        raise BadInput("Name containers or services.")
    variable = params["variable"]
    return Wanted(
        variable,
        params["container_variable"] or variable,
        params["value"],
        params["password"],
        params["user"],
        absent,
        params["absent_value"],
    )


def env_file_of(document: Document, given: str | None) -> str:
    """Return the environment file of a container's project; Refused if that is not known."""
    directory = labels(document).get(_containers.DIRECTORY)
    if not given and not directory:
        raise Refused(f"{name_of(document)} was not made by compose: where its environment comes from is not known.")
    return os.path.realpath(given or f"{directory}/.env")


def read(path: str) -> str:
    """Return an environment file's text; VezaError if it can't be read."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise VezaError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}.") from None


def write(path: str, before: str, after: str) -> str:
    """Replace a file in one step, with owner and mode as they were, and return its backup."""
    stem = f"{path}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    status = os.stat(path)
    handle, partial = tempfile.mkstemp(prefix=".veza-", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(after)
            file.flush()
            shutil.copystat(path, partial)  # its extended attributes too
            os.utime(partial)
            os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), status.st_mode & 0o7777)
            os.fsync(file.fileno())
        if read(path) != before:
            raise Refused(f"{path} was changed by somebody else just now. Nothing was written: run it again.")
        backup = _copied(path, stem, status)
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise
    return backup


def _copied(path: str, stem: str, status: os.stat_result) -> str:
    """Copy a file to a name that is new: whoever may write there could have put a link under the expected one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    for number in itertools.count():
        backup = f"{stem}{f'.{number}' if number else ''}~"
        with suppress(FileExistsError):
            handle = os.open(backup, flags, 0o600)
            break
    with open(path, "rb") as source, open(handle, "wb") as copy:
        shutil.copyfileobj(source, copy)
        os.fchown(copy.fileno(), status.st_uid, status.st_gid)
        os.fchmod(copy.fileno(), status.st_mode & 0o7777)
        os.fsync(copy.fileno())
    return backup


class Project:
    """The containers that are meant, and what is done with them."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.wanted = wanted_of(params)
        self.engine = Engine(params["container_command"], params["timeout"])

    def documents(self) -> list[tuple[str, Document]]:
        """Return the containers by name; Refused if one is not there."""
        try:
            found = list(_containers.chosen(self.engine.inspect(), self.params["containers"], self.params["services"]))
        except EngineSilent as silence:
            raise VezaError(f"The container engine does not answer: {silence}.") from None
        missing = [name for name, _service, document in found if document is None]
        if missing:
            raise Refused(f"There is no container {', '.join(missing)} on this host.")
        return [(name, document) for name, _service, document in found]

    def file(self, path: str, check_mode: bool) -> dict[str, Any]:
        """Bring one file up to date."""
        before = read(path)
        try:
            after = self.wanted.text(before)
        except BadInput as reason:
            raise Refused(f"{path} is left as it is: {reason.message}.") from None
        different = before != after
        backup = write(path, before, after) if different and not check_mode else None
        shown = {"before": self.wanted.shown(before), "after": self.wanted.shown(after)}
        return {"path": path, "changed": different, "backup": backup, **shown}

    def also(self, document: Document, path: str) -> list[str]:
        """Return which other variables of the file a recreate would bring into a container; names alone."""
        text, held = read(path), dict(entry.partition("=")[::2] for entry in environment(document))
        names = {line.partition("=")[0].replace("export ", "").strip() for line in text.splitlines() if "=" in line}
        entries = {name: _dotenv.find(text, name) for name in names - {self.wanted.variable} if name in held}
        return sorted(name for name, entry in entries.items() if entry and entry.value != held[name])

    def refuse_another_image(self, document: Document) -> None:
        """Refuse a recreate that would be a deployment."""
        name = (document.get("Config") or {}).get("Image")
        now = self.command([self.params["container_command"], "image", "inspect", "--format", "{{.Id}}", str(name)])
        if now.strip() != document.get("Image"):
            raise Refused(
                f"{name_of(document)} was not recreated: {name} is another image by now, so a recreate would be a "
                "deployment. Deploy it, or give the name back to the image that runs."
            )

    def log_of(self, document: Document) -> str | None:
        """Return where a container's log is kept; a container has one such file, however often it is kept."""
        if not self.params["keep_logs"]:
            return None
        started = re.sub(r"\D", "", str(_containers.described(document)["started_at"]))[:17]
        return f"{self.params['keep_logs']}/{name_of(document)}-{started}-{str(document.get('Id'))[:12]}.log"

    def recreate(self, document: Document) -> None:
        """Have compose make a container anew."""
        service, log = labels(document).get(_containers.SERVICE, ""), self.log_of(document)
        argv = _compose.project(document, self.params["compose_command"])
        logs = [self.params["container_command"], "logs", "--follow", name_of(document)]
        with _compose.kept(logs, log, self.params["timeout"]) if log else nullcontext():
            self.command([*argv, "up", "--detach", "--no-deps", "--no-build", service])

    def command(self, argv: list[str]) -> str:
        """Run a command; VezaError with what it said."""
        return _compose.run(argv, self.params["timeout"])


def run(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Bring the files and, on demand, the containers up to date."""
    project = Project(params)
    found = project.documents()
    paths = {name: env_file_of(document, params["env_file"]) for name, document in found}
    result: dict[str, Any] = {"changed": False, "message": "", "files": [], "containers": []}
    try:
        for path in dict.fromkeys(paths.values()):
            result["files"].append(project.file(path, check_mode))
            result["changed"] |= result["files"][-1]["changed"]
        for name, document in found:
            _container(project, name, document, paths[name], check_mode, result)
    except VezaError as error:
        error.details = {**result, **error.details, "message": error.message}
        raise
    return {**result, "message": sentence(result, project.wanted, check_mode), "diff": diff(result, project.wanted)}


def _container(
    project: Project, name: str, document: Document, path: str, check_mode: bool, result: dict[str, Any]
) -> None:
    held = project.wanted.held_by(environment(document))
    also = project.also(document, path)
    anew, log = not held and project.params["recreate"], None
    entry = {"name": name, "service": labels(document).get(_containers.SERVICE), "held": held, "recreated": anew}
    if anew and check_mode:
        project.refuse_another_image(document)
    elif anew:
        project.refuse_another_image(document)
        log = project.log_of(document)
        project.recreate(document)
        result["changed"] = True
        document = dict(project.documents())[name]
        if not project.wanted.held_by(environment(document)):
            raise VezaError(
                f"{name} was recreated and still does not hold the value: its compose file does not take "
                f"{project.wanted.container_variable} from {project.wanted.variable} in {path}."
            )
    state = _containers.described(document)
    result["changed"] |= anew
    result["containers"].append(
        {**entry, "log": log, "id": document.get("Id"), "started_at": state["started_at"], "also": also}
    )


def sentence(result: dict[str, Any], wanted: Wanted, check_mode: bool) -> str:
    """Return what was done in one sentence."""
    what = {True: "loses", False: "gets"} if check_mode else {True: "no longer has", False: "has the new"}
    said = [f"{one['path']} {what[wanted.absent]} {wanted.variable}" for one in result["files"] if one["changed"]]
    same = [one["path"] for one in result["files"] if not one["changed"]]
    said += [f"{path} is right as it is" for path in same]
    verb = "would be recreated" if check_mode else "was recreated"
    said += [f"{one['name']} {verb}" for one in result["containers"] if one["recreated"]]
    kept = [one["name"] for one in result["containers"] if not one["held"] and not one["recreated"]]
    said += [f"{', '.join(kept)} takes it when recreated"] if kept else []
    return "; ".join(said) + "."


def diff(result: dict[str, Any], wanted: Wanted) -> list[dict[str, str]]:
    """Return the diff of each file, without secrets."""
    return [
        {
            "before_header": one["path"],
            "after_header": one["path"],
            **{side: "" if one[side] is None else f"{wanted.variable}: {one[side]}\n" for side in ("before", "after")},
        }
        for one in result["files"]
        if one["changed"]
    ]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        module.exit_json(**run(module.params, module.check_mode))
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())


if __name__ == "__main__":
    main()
