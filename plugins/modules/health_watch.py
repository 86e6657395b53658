#!/usr/bin/python
# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_watch
short_description: Probe several URLs at a steady pace for a while, and write down every answer
version_added: 0.1.0
author:
  - Veza infrastructure team (@veza-infra)
description:
  - Asks each of O(targets) once every O(interval), all of them at the same moment and each on a connection of its own,
    and says for each which was its longest run of bad answers. Bad is no answer, and a status of C(5xx).
  - It judges nothing and never fails because of what it sees.
  - It ends when O(while_file) is gone, and after O(duration) in any case, so that a watch which was left behind by an
    interrupted run ends by itself. It is made to be run with C(async) and C(poll=0) while other tasks act.
  - Each probe is written to O(log) as soon as it is over, so nothing is lost with an interrupted run.
extends_documentation_fragment:
  - veza.rabbitmq._attributes
  - veza.rabbitmq._attributes.actiongroup
  - veza.rabbitmq._tls
attributes:
  check_mode:
    support: full
    details:
      - It watches in check mode too, and writes no O(log).
  diff_mode:
    support: N/A
    details:
      - This action changes nothing that is compared.
  idempotent:
    support: full
    details:
      - It changes nothing; O(log) grows by what each run sees.
requirements:
  - requests
options:
  targets:
    description:
      - What to ask, the URL to GET by a name, for instance the backend's. A URL has no user and no password.
    type: dict
    required: true
  interval:
    description:
      - Seconds from one probe to the next. The pace is a clock's, so that it does not drift however long answers take.
    type: float
    default: 5
  request_timeout:
    description:
      - Seconds after which a probe without a complete answer is over. Less than O(interval), so that none is left out.
    type: float
    default: 4
  duration:
    description:
      - Seconds after which it ends in any case. V(0) probes each target once.
    type: float
    default: 0
  while_file:
    description:
      - File on the host that the module runs on. The module ends within a second after it is gone.
    type: path
  log:
    description:
      - File to append each probe to, one JSON object a line.
    type: path
seealso:
  - module: veza.rabbitmq.alert_wait
"""

EXAMPLES = r"""
- name: See that each backend answers now
  veza.rabbitmq.health_watch:
    targets:
      backend-1: http://backend-1.lxd:8080/api/v1/health
      backend-2: http://backend-2.lxd:8080/api/v1/health

- name: Watch the backends while other tasks act
  veza.rabbitmq.health_watch:
    targets: "{{ backends }}"
    duration: 1800
    while_file: /run/user/1000/watching
    log: /var/tmp/probes.jsonl
  async: 1860
  poll: 0
"""

RETURN = r"""
probes:
  description: All probes as they came, each with C(at), C(target), C(status), C(seconds) and C(error).
  returned: always
  type: list
  elements: dict
targets:
  description:
    - What was seen of each target, with C(name), C(url), the numbers of C(probes) and of C(bad) ones, C(first_at) and
      C(last_at), and C(longest_gap), the most seconds between two probes.
    - C(worst_run) is the longest run of bad probes, with C(count), C(start), C(end), and in C(seen) what came back.
  returned: always
  type: list
  elements: dict
ended:
  description: Why it ended, C(file) or C(duration).
  returned: always
  type: str
elapsed:
  description: Seconds that it took.
  returned: always
  type: float
message:
  description: What was seen, in a sentence.
  returned: always
  type: str
"""

import json
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._arguments import tls, tls_arguments
from ..module_utils._deadline import check_durations
from ..module_utils._errors import BadInput, RequestFailed, VezaError
from ..module_utils._http import HttpClient
from ..module_utils._record import stamp
from ..module_utils._retry import checked_url
from ..module_utils._watch import Seen, summary

LOOK = 0.5
"""Seconds between two looks at while_file."""

Ask = Callable[[str], "tuple[int | None, str]"]
"""Gets a URL; returns its status and no error, or no status and the error."""


def argument_spec() -> dict[str, Any]:
    """Return the options, as DOCUMENTATION describes them."""
    return {
        "targets": {"type": "dict", "required": True},
        "interval": {"type": "float", "default": 5},
        "request_timeout": {"type": "float", "default": 4},
        "duration": {"type": "float", "default": 0},
        "while_file": {"type": "path"},
        "log": {"type": "path"},
        **tls_arguments(),
    }


def asker(params: dict[str, Any]) -> Ask:
    """Return what asks a URL, on a new connection each time: a kept one could survive what a client would see."""

    def ask(url: str) -> tuple[int | None, str]:
        parts = urlsplit(url)
        base = f"{parts.scheme}://{parts.netloc}"
        client = HttpClient(base, headers={"Connection": "close"}, tls=tls(params), timeout=params["request_timeout"])
        try:
            return client.get(url[len(base) :] or "/").status, ""
        except RequestFailed as error:
            return None, error.outcome

    return ask


class Watch:
    """One run of the module; time, files and the network are passed in."""

    def __init__(
        self,
        params: dict[str, Any],
        ask: Ask,
        write: Callable[[Seen], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], str] = lambda: stamp(datetime.now(timezone.utc)),
        exists: Callable[[str], bool] = os.path.exists,
    ) -> None:
        self.params, self.ask, self.write = checked(params), ask, write
        self.clock, self.sleep, self.now, self.exists = clock, sleep, now, exists
        self.seen: list[Seen] = []

    def run(self) -> dict[str, Any]:
        """Watch to the end; return the result."""
        began, interval, tick = self.clock(), self.params["interval"], 0
        end = began + self.params["duration"]
        with ThreadPoolExecutor(len(self.params["targets"])) as pool:
            while True:
                for probe in pool.map(self.probe, *zip(*self.params["targets"].items())):
                    self.seen.append(probe)
                    self.write(probe)
                # A tick that a stall has let pass by is left out: two probes at once would tell nothing more.
                tick = max(tick + 1, math.ceil((self.clock() - began) / interval))
                due = began + tick * interval
                if due > end:
                    return self.result("duration", began)
                if not self.pause(due):
                    return self.result("file", began)

    def probe(self, name: str, url: str) -> Seen:
        """Ask one target."""
        at, began = self.now(), self.clock()
        status, error = self.ask(url)
        return Seen(at, name, status, round(self.clock() - began, 3), error)

    def pause(self, until: float) -> bool:
        """Wait; False as soon as while_file is gone."""
        path = self.params["while_file"]
        while True:
            if path and not self.exists(path):
                return False
            left = until - self.clock()
            if left <= 0:
                return True
            self.sleep(min(left, LOOK) if path else left)

    def result(self, ended: str, began: float) -> dict[str, Any]:
        """Return what was seen."""
        targets = [summary(name, url, self.seen) for name, url in self.params["targets"].items()]
        worst = ", ".join(f"{target['name']} {target['worst_run']['count']}" for target in targets)
        return {
            "changed": False,
            "probes": [probe.line() for probe in self.seen],
            "targets": targets,
            "ended": ended,
            "elapsed": round(self.clock() - began, 3),
            "message": f"{len(self.seen)} probes; the longest run of bad ones: {worst}.",
        }


def checked(params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters; BadInput when they make no sense. Nothing was asked yet."""
    if not params["targets"]:
        raise BadInput("targets is empty.")
    for name, url in params["targets"].items():
        checked_url(str(url), f"the URL of {name}")
    check_durations(params, ["request_timeout", "interval"], ["duration"])
    if not params["request_timeout"] < params["interval"]:
        raise BadInput("request_timeout must be shorter than interval.")
    return params


def appender(path: str | None) -> Callable[[Seen], None]:
    """Return what appends a probe to the file, as one line that is written whole; VezaError when it can't."""

    def write(probe: Seen) -> None:
        if not path:
            return
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, json.dumps(probe.line()).encode() + b"\n")
            finally:
                os.close(descriptor)
        except OSError as error:
            raise VezaError(f"The probes can't be written to {path}: {error.strerror or error}.") from error

    return write


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        log = None if module.check_mode else module.params["log"]
        result = Watch(module.params, asker(module.params), appender(log)).run()
    except VezaError as error:
        module.fail_json(**error.fail_json_arguments())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
