# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for AWX's API, as far as the modules of awx.awx talk to it: it keeps what they post.

It knows of AWX what decides whether a second run changes anything: the fields that an object has without being told,
values that are not given back, and links. Of what AWX refuses it knows one thing: a credential of a workflow's node
that the node's template has already.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

PREFIX = "/api/v2/"
SECRET = "$encrypted$"
LINKS = {
    "credentials": "credentials",
    "instance_groups": "instance_groups",
    "success_nodes": "workflow_job_template_nodes",
    "failure_nodes": "workflow_job_template_nodes",
    "always_nodes": "workflow_job_template_nodes",
    "notification_templates_success": "notification_templates",
    "notification_templates_error": "notification_templates",
    "notification_templates_approvals": "notification_templates",
}
# What the unified job templates are, for the node of a workflow that looks for one by name.
UNIFIED = ("job_templates", "projects", "inventory_sources", "workflow_job_templates", "workflow_approval_templates")
TYPES = {"workflow_job_template_nodes": "workflow_job_template_node"}

Thing = dict[str, Any]


class FakeAwx:
    """The objects, and a server that gives them out."""

    def __init__(self) -> None:
        # What a new AWX has by itself.
        self.things: dict[str, dict[int, Thing]] = {
            "organizations": {1: self._new("organizations", 1, "Default")},
            "credential_types": {1: self._new("credential_types", 1, "Machine")},
        }
        self.links: dict[tuple[str, str], list[int]] = {}
        self.surveys: dict[str, Any] = {}
        self.writes: list[str] = []
        self._numbers = 1
        handler = type("Handler", (Handler,), {"awx": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        """Listen no more."""
        self.server.shutdown()
        self.server.server_close()

    def names(self, kind: str) -> list[str]:
        """Return the names of all objects of a kind."""
        return sorted(str(one.get("name") or one["identifier"]) for one in self.things.get(kind, {}).values())

    def _new(self, kind: str, number: int, name: str | None = None) -> Thing:
        url = f"{PREFIX}{kind}/{number}/"
        related = {"survey_spec": f"{url}survey_spec/", "current_update": None, "update": f"{url}update/"}
        return {"id": number, "type": TYPES.get(kind, kind.rstrip("s")), "url": url, "name": name, "related": related}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """Return status and document."""
        parts = path.removeprefix(PREFIX).strip("/").split("/")
        # An update writes nothing that was defined.
        if method != "GET" and parts[-1] != "update":
            self.writes.append(f"{method} {path}")
        match parts:
            case ["ping"] | [""]:
                return 200, {"version": "24.6.1"}
            case [kind]:
                return self.listed(kind, query) if method == "GET" else (201, self.created(kind, body))
            case ["updates", number]:
                return 200, {"id": int(number), "scm_revision": "0000", **UPDATED}
            case [kind, number]:
                return self.one(method, kind, int(number), body)
            case [_kind, number, "update"]:
                return 202, {"id": int(number), "status": "pending", "url": f"{PREFIX}updates/{number}/"}
            case [kind, number, "survey_spec"]:
                return self.survey(method, f"{kind}/{number}", body)
            case [_kind, number, "create_approval_template"]:
                known = {key: value for key, value in body.items() if key in ("name", "description", "timeout")}
                approval = self.created("workflow_approval_templates", known)
                node = self.things["workflow_job_template_nodes"][int(number)]
                node["unified_job_template"] = approval["id"]
                node["related"]["unified_job_template"] = approval["url"]
                return 201, approval
            case [kind, number, link] if link in LINKS and kind != "workflow_approval_templates":
                return self.linked(method, (f"{kind}/{number}", link), body)
        return 404, {"detail": "Not found."}

    def listed(self, kind: str, query: dict[str, str]) -> tuple[int, Any]:
        """Return the objects that a query means."""
        wanted = {key: value for key, value in query.items() if key not in ("page_size", "page")}
        kinds = UNIFIED if kind == "unified_job_templates" else (kind,)
        found = [
            one
            for each in kinds
            for one in self.things.get(each, {}).values()
            if all(str(one.get(key)) == value for key, value in wanted.items())
        ]
        return 200, {"count": len(found), "results": [shown(one) for one in found], "next": None}

    def created(self, kind: str, body: Thing) -> Thing:
        """Keep a new object."""
        self._numbers += 1
        one = {**self._new(kind, self._numbers), **DEFAULTS.get(kind, {}), **body}
        self.things.setdefault(kind, {})[one["id"]] = one
        return shown(one)

    def one(self, method: str, kind: str, number: int, body: Any) -> tuple[int, Any]:
        """Show, change or remove an object."""
        one = self.things.get(kind, {}).get(number)
        if one is None:
            return 404, {"detail": "Not found."}
        if method == "DELETE":
            del self.things[kind][number]
            return 204, None
        if method == "PATCH":
            # What an object doesn't have is passed over in silence.
            one.update({key: value for key, value in body.items() if key in one})
        return 200, shown(one)

    def survey(self, method: str, owner: str, body: Any) -> tuple[int, Any]:
        """Show or keep the survey of a template."""
        if method == "POST":
            self.surveys[owner] = body
        return 200, self.surveys.get(owner, {})

    def linked(self, method: str, where: tuple[str, str], body: Any) -> tuple[int, Any]:
        """Show or change what an object is linked to."""
        numbers = self.links.setdefault(where, [])
        if method == "GET":
            found = [self.things[LINKS[where[1]]][number] for number in numbers]
            return 200, {"count": len(found), "results": found, "next": None}
        owner, link = where
        if owner.startswith("workflow_job_template_nodes/") and link == "credentials":
            node = self.things["workflow_job_template_nodes"][int(owner.partition("/")[2])]
            if body["id"] in self.links.get((f"job_templates/{node['unified_job_template']}", "credentials"), []):
                return 400, {"msg": "Related template already uses this credential."}
        if body.get("disassociate"):
            numbers.remove(body["id"])
        else:
            numbers.append(body["id"])
        return 204, None


UPDATED = {"status": "successful", "finished": "2026-01-31T02:03:04Z", "failed": False}
"""An update of a project or of an inventory's source, as soon as it has begun."""

DEFAULTS: dict[str, Thing] = {
    "credential_types": {"managed": False, "description": ""},
    "credentials": {"inputs": {}, "description": ""},
    "execution_environments": {"credential": None},
    "inventories": {"kind": "", "host_filter": None, "description": "", "variables": ""},
    "inventory_sources": {"organization": 1},
    # Fetched already: no update runs.
    "projects": {"summary_fields": {}, "scm_revision": "0000", "scm_type": "git"},
}


def shown(one: Thing) -> Thing:
    """Return an object without its secrets."""
    inputs = one.get("inputs")
    if one["type"] != "credential" or not isinstance(inputs, dict):
        return one
    return {**one, "inputs": {key: SECRET if "password" in key else value for key, value in inputs.items()}}


class Handler(BaseHTTPRequestHandler):
    """Takes requests to the objects."""

    awx: FakeAwx
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        status, document = self.awx.answer(self.command, parts.path, dict(parse_qsl(parts.query)), body)
        text = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-API-Product-Name", "AWX")
        self.send_header("X-API-Product-Version", "24.6.1")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""
