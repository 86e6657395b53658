#!/usr/bin/python
# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eventbus_dropped_info
short_description: List the events that could not be published between two instants
version_added: 0.1.0
author: Veza infrastructure team (@veza-infra)
description:
  - While RabbitMQ is away, Veza's API gives up events after its backoff and says so in a log line with
    C(eventbus.status) V(degraded), which reaches Sentry only where the level is C(error) or higher.
  - This module lists those events from Sentry or from the log of one API instance. With the source V(database) it
    lists what never took effect, by a query of yours.
  - Each answer says how complete it is. A number from Sentry alone is a lower bound.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.info
  - veza.rabbitmq._attributes.actiongroup
  - veza.rabbitmq._tls
requirements:
  - requests, for the source V(sentry)
  - psycopg2-binary, for the source V(database)
options:
  source:
    description:
      - Where to look. V(log) needs only Python's standard library, so it can run on the API's host.
    type: str
    choices: [sentry, log, database]
    required: true
  start:
    description:
      - Start of the window, in ISO 8601 with an offset, for instance V(2026-11-23T20:15:00+01:00).
    type: str
    required: true
  end:
    description:
      - End of the window; it does not belong to it. An end in the future makes the answer incomplete.
    type: str
    required: true
  reference:
    description:
      - The time of the clock that O(start) and O(end) were read from, just now, as ISO 8601 with a zone. What is later
        is the future.
      - "For the source V(log): when the clock of the host that wrote the log is 10 seconds or more ahead or behind,
        the log's instants are moved by as much, and the answer is never exact, as nobody knows whether it was so
        in the outage too. Smaller differences may be the way of the call and are passed over."
      - Left out, this host's own clock is believed.
    type: str
  max_events:
    description:
      - How many events are kept at most. If there are more, the answer says so.
    type: int
    default: 100000
  timeout:
    description:
      - Seconds for everything together, waits for Sentry's rate limit included.
    type: float
    default: 120
  sentry_url:
    description:
      - URL of Sentry, without user and password.
    type: str
    default: https://sentry.io
  organization:
    description:
      - Slug of the organisation. Required for the source V(sentry).
    type: str
  project:
    description:
      - Slug or number of the project. Left out, it is all projects that O(token) sees.
    type: str
  environment:
    description:
      - Sentry's names of the environments whose events count, for instance V([production]). Left out, it is all of
        them, so a game day on staging would be taken for drops in production where both report to one project.
      - Sentry refuses a name from which it has never had an event; the number is then unknown.
    type: list
    elements: str
    default: []
  token:
    description:
      - Token with the scope C(org:read) or C(event:read). Required for the source V(sentry).
    type: str
  query:
    description:
      - >-
        For the source V(sentry), the search. Default is V(eventbus.status:degraded).
      - >-
        For the source V(database), required, a SELECT with V(%(start\)s) and V(%(end\)s) that returns the columns
        C(entity_id) and C(at), a timestamp with time zone; C(kind), C(key), C(queue) and C(instance) are read too if
        it returns them. It runs in a transaction that can only read. Write other percent signs twice.
    type: str
  sampled:
    description:
      - Whether Sentry may lack events that an instance sent to it, because of sampling, rate limits, quotas or filters.
      - Set it to V(false) only if you know that it lacks none. Then, and without O(blind), the answer is exact.
    type: bool
    default: true
  retention_days:
    description:
      - For how many days Sentry keeps events. The part of the window that is older is said to be unknown.
    type: int
    default: 90
  blind:
    description:
      - Stretches of time in which instances did not report to Sentry, for instance because their
        E(EVENTBUS_DEGRADED_LOG_LEVEL) was C(warn).
    type: list
    elements: dict
    default: []
    suboptions:
      instance:
        description: Name of the instance. Left out, it is all of them.
        type: str
      from:
        description: Since when, with an offset. Left out, it is the start of the window.
        type: str
      to:
        description: Until when, with an offset. Left out, it is the end of the window.
        type: str
      reason:
        description: Why.
        type: str
        default: the log level was warn
  instances:
    description:
      - Names of all API instances, if known. When each of them was blind all the time, the answer is V(unknown)
        instead of "at least 0".
    type: list
    elements: str
    default: []
  path:
    description:
      - "For the source V(log): the file with the instance's log, in JSON lines. Files that it was rotated to are read
        as far back as the window needs, compressed by gzip or not. Where one is missing, or is compressed otherwise,
        what lies before is not known."
      - A file of Docker's logging driver C(json-file) will do too. The line is then what its C(log) holds.
      - A file without a line before the window does not show that nothing was dropped, and neither does one that tells
        of it in another form.
      - After a file's last line, where that is before the end of the window, nothing is known, unless a process of this
        host is seen to have the file open to write. Of other users' processes only root sees that.
    type: path
  command:
    description:
      - "For the source V(log), instead of O(path): a command, as a list of arguments, that prints the log, for instance
        C(docker logs). There is no shell. It prints all up to now, so when nothing comes after an instant, nothing was
        written after it."
    type: list
    elements: str
  instance:
    description:
      - Name of the instance whose log or rows these are, for events that don't say so.
    type: str
    default: ""
  database_url:
    description:
      - URL of the database. Required for the source V(database).
    type: str
  kind:
    description:
      - "For the source V(database): kind of event that the rows stand for. Required unless the query returns it."
    type: str
    default: ""
  retries:
    description:
      - How many more times a request to Sentry is tried after the first.
    type: int
    default: 8
  request_timeout:
    description:
      - Seconds for each request to Sentry.
    type: float
    default: 30
seealso:
  - plugin: veza.rabbitmq.outage_accounting
    plugin_type: filter
  - name: Sentry's API
    description: The endpoint that is asked.
    link: https://docs.sentry.io/api/explore/
"""

EXAMPLES = r"""
- name: Ask Sentry; backend-2 logged drops as warnings until 20:40, so Sentry has not heard of them
  veza.rabbitmq.eventbus_dropped_info:
    source: sentry
    start: "2026-11-23T20:15:00+00:00"
    end: "2026-11-23T20:55:00+00:00"
    sentry_url: https://sentry.veza.fr
    organization: veza
    project: veza-backend
    environment: [production]
    token: "{{ veza_sentry_token }}"
    blind:
      - instance: backend-2
        to: "2026-11-23T20:40:00+00:00"

- name: Read the log of each instance where it is
  veza.rabbitmq.eventbus_dropped_info:
    source: log
    start: "2026-11-23T20:15:00+00:00"
    end: "2026-11-23T20:55:00+00:00"
    command: [docker, logs, --since, "2026-11-23T19:00:00Z", veza_backend_api]
    instance: "{{ inventory_hostname }}"
    reference: "{{ now(utc=true).isoformat() }}Z"

- name: Ask the database which submissions are still pending
  veza.rabbitmq.eventbus_dropped_info:
    source: database
    start: "2026-11-23T20:15:00+00:00"
    end: "2026-11-23T20:55:00+00:00"
    database_url: "{{ veza_database_url }}"
    kind: distribution
    query: >-
      SELECT id AS entity_id, created_at AS at FROM distributions
      WHERE status = 'pending' AND created_at >= %(start)s AND created_at < %(end)s
"""

RETURN = r"""
source:
  description: The source that was asked.
  type: str
  returned: always
instance:
  description: The instance whose log or rows were read; empty for Sentry.
  type: str
  returned: always
events:
  description: Each event once, the oldest first. Sentry's instants are whole seconds.
  type: list
  elements: dict
  returned: always
  sample:
    - kind: transcode
      entity_id: "123"
      key: "transcode:123:1"
      queue: transcode_jobs
      instance: backend-1
      at: "2026-11-23T20:15:01.123000Z"
      source: log
count:
  description: How many events are listed; null if the source could not be asked.
  type: int
  returned: always
completeness:
  description: What the list is worth.
  type: dict
  returned: always
  contains:
    state:
      description:
        - V(exact), V(at_least), or V(unknown) when nothing could be seen.
      type: str
    reasons:
      description: Why it is not exact, in sentences.
      type: list
      elements: str
    from:
      description: Start of the time that was not seen; null if there is none that is known as such.
      type: str
    to:
      description: End of it.
      type: str
    gaps:
      description: The same one by one, with C(from), C(to), C(reason) and C(instance).
      type: list
      elements: dict
pages:
  description: How many pages Sentry gave.
  type: int
  returned: always
notices:
  description: >-
    How many reports of degraded mode name no event. They are not counted as events; as each may stand for one, the
    answer is never exact beside them.
  type: int
  returned: always
message:
  description: The answer in a sentence.
  type: str
  returned: always
"""

from datetime import datetime, timedelta, timezone
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._arguments import segment
from ..module_utils._clock import NOTABLE, offset
from ..module_utils._deadline import check_durations
from ..module_utils._dropped import Findings, Gap, LogReader, completeness, moved, note_unfinished_window
from ..module_utils._errors import BadInput, VezaError
from ..module_utils._http import HttpClient
from ..module_utils._logfiles import read_command, read_file
from ..module_utils._mask import scrub
from ..module_utils._retry import Pace, bearer, checked_url
from ..module_utils._rows import read_rows
from ..module_utils._sentry import Question, read_all
from ..module_utils._tls import tls, tls_arguments
from ..module_utils._window import Window, as_text, parse_instant

SAMPLED = "Sentry may lack events: sampling, rate limits, quotas, filters, the log level"


def argument_spec() -> dict[str, Any]:
    """Return the options, as DOCUMENTATION describes them."""
    blind = {
        "instance": {"type": "str"},
        "from": {"type": "str"},
        "to": {"type": "str"},
        "reason": {"type": "str", "default": "the log level was warn"},
    }
    return {
        "source": {"type": "str", "choices": ["sentry", "log", "database"], "required": True},
        "start": {"type": "str", "required": True},
        "end": {"type": "str", "required": True},
        "reference": {"type": "str"},
        "max_events": {"type": "int", "default": 100000},
        "timeout": {"type": "float", "default": 120.0},
        "sentry_url": {"type": "str", "default": "https://sentry.io"},
        "organization": {"type": "str"},
        "project": {"type": "str"},
        "environment": {"type": "list", "elements": "str", "default": []},
        "token": {"type": "str", "no_log": True},
        "query": {"type": "str"},
        "sampled": {"type": "bool", "default": True},
        "retention_days": {"type": "int", "default": 90},
        "blind": {"type": "list", "elements": "dict", "default": [], "options": blind},
        "instances": {"type": "list", "elements": "str", "default": []},
        "path": {"type": "path"},
        "command": {"type": "list", "elements": "str"},
        "instance": {"type": "str", "default": ""},
        "database_url": {"type": "str", "no_log": True},
        "kind": {"type": "str", "default": ""},
        "retries": {"type": "int", "default": 8},
        "request_timeout": {"type": "float", "default": 30.0},
        **tls_arguments(),
    }


REQUIRED_IF = [
    ("source", "sentry", ["organization", "token"]),
    ("source", "log", ["path", "command"], True),
    ("source", "database", ["database_url", "query"]),
]


def run(params: dict[str, Any], *, pace: Pace | None = None) -> dict[str, Any]:
    """Ask the source; return the result. An error of the source carries the same keys, and no secret."""
    findings = Findings(_window(params), params["max_events"])
    pace = pace or Pace(params["timeout"], params["retries"])
    pace.secrets = secrets = [params[name] for name in ("token", "database_url") if params[name]]
    now = moved(datetime.fromtimestamp(pace.now(), timezone.utc), -timedelta(seconds=_ahead(params, pace)))
    note_unfinished_window(findings, now, params["source"])
    try:
        READERS[params["source"]](params, findings, pace)
    except BadInput:
        raise
    except VezaError as error:
        error.message = scrub(error.message, secrets)
        error.args = (error.message,)
        error.details = {**scrub(error.details, secrets), **_nothing(params, findings, error.message)}
        raise
    return scrub(_result(params, findings), secrets)


def _window(params: dict[str, Any]) -> Window:
    check_durations(params, ["timeout", "request_timeout"])
    for name in ("max_events", "retention_days"):
        if params[name] <= 0:
            raise BadInput(f"{name} must be above 0.")
    start, end = (_instant(params, name) for name in ("start", "end"))
    if end <= start:
        raise BadInput(f"end, {as_text(end)}, does not come after start, {as_text(start)}.")
    return Window(start, end)


def _ahead(params: dict[str, Any], pace: Pace) -> float:
    """Return the seconds by which this host's clock is ahead of the one that the window was read from."""
    return offset(params["reference"], pace.now()) or 0.0


def _instant(params: dict[str, Any], name: str) -> datetime:
    try:
        return parse_instant(params[name])
    except ValueError as error:
        raise BadInput(f"{name}: {error}.") from None


def _from_sentry(params: dict[str, Any], findings: Findings, pace: Pace) -> None:
    headers = bearer(params["token"], "token")
    client = HttpClient(
        checked_url(params["sentry_url"], "sentry_url"),
        headers=headers,
        tls=tls(params),
        timeout=params["request_timeout"],
    )
    window = findings.window
    for blind in params["blind"]:
        start = _instant(blind, "from") if blind.get("from") else window.start
        end = _instant(blind, "to") if blind.get("to") else window.end
        if blind.get("from") and blind.get("to") and end <= start:
            raise BadInput(f"blind: {blind['to']} does not come after {blind['from']}.")
        findings.gaps.append(Gap(start, end, blind.get("reason") or "blind", blind.get("instance") or ""))
    retention = timedelta(days=min(params["retention_days"], timedelta.max.days))
    kept_since = moved(datetime.fromtimestamp(pace.now(), timezone.utc), -retention)
    findings.gaps.append(Gap(window.start, kept_since, "Sentry no longer has it"))
    if params["sampled"]:
        findings.reasons.append(SAMPLED)
    question = Question(
        segment(params["organization"]),
        params["project"] or "",
        params["query"] or "eventbus.status:degraded",
        tuple(params["environment"]),
    )
    read_all(client, question, findings, pace)


def _from_log(params: dict[str, Any], findings: Findings, pace: Pace) -> None:
    if params["path"] and params["command"]:
        raise BadInput("Give path or command, not both.")
    if any("\0" in text for text in [params["path"] or "", *(params["command"] or [])]):
        raise BadInput("path and command can't have a NUL character.")
    reader = LogReader(findings, params["instance"], live=bool(params["command"]))
    ahead = _ahead(params, pace)
    if abs(ahead) >= NOTABLE:
        reader.correct(ahead)
    if params["command"]:
        read_command(params["command"], reader, pace.remaining())
    else:
        read_file(params["path"], reader, pace.remaining(), pace.clock)


def _from_database(params: dict[str, Any], findings: Findings, pace: Pace) -> None:
    fallback = {"kind": params["kind"], "instance": params["instance"]}
    read_rows(params["database_url"], params["query"], findings, pace, fallback)


READERS: dict[str, Callable[[dict[str, Any], Findings, Pace], None]] = {
    "sentry": _from_sentry,
    "log": _from_log,
    "database": _from_database,
}


def _result(params: dict[str, Any], findings: Findings) -> dict[str, Any]:
    # A log is of one instance: when that one could not be seen, nothing could.
    complete = completeness(findings, [params["instance"]] if params["source"] == "log" else params["instances"])
    count = len(findings.events)
    text = {"exact": f"exactly {count}", "at_least": f"at least {count}", "unknown": "an unknown number of"}
    why = "" if complete["state"] == "exact" else f" ({'; '.join(complete['reasons'])})"
    return {
        "changed": False,
        "source": params["source"],
        "instance": params["instance"],
        "events": [event.as_dict() for event in findings.sorted_events()],
        "count": count,
        "completeness": complete,
        "pages": findings.pages,
        "notices": findings.notices,
        "message": f"{text[complete['state']]} events from {as_text(findings.window.start)} to "
        f"{as_text(findings.window.end)} by the {params['source']}{why}.",
    }


def _nothing(params: dict[str, Any], findings: Findings, reason: str) -> dict[str, Any]:
    """Return the result of a source that could not be asked: not zero events, but an unknown number."""
    window = findings.window
    blank = Findings(window, 1, gaps=[Gap(window.start, window.end, reason.rstrip("."))])
    return {**_result(params, blank), "count": None}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(),
        required_if=REQUIRED_IF,
        mutually_exclusive=[("path", "command")],
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module.params))
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())


if __name__ == "__main__":
    main()
