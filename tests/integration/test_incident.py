# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module incident and role outage_report under ansible-playbook, with runs that meet and runs that are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils._record import SiteDirectory, decode

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = str(Path(sys.executable).parent / "ansible-playbook")
PATIENCE = 120.0


class Controller:
    """A machine from which playbooks are run; host keeper, on the same machine, keeps the record."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.records = place / "incidents"
        self.site = SiteDirectory(str(self.records), "paris")
        self.running: list[subprocess.Popen[str]] = []
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        hosts = dict.fromkeys(("localhost", "one", "two", "keeper"), local)
        settings = {"veza_incident_host": "keeper", "veza_incident_dir": str(self.records), "veza_site": "paris"}
        self.inventory = place / "hosts.yml"
        self.inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": settings}}))

    def start(self, tasks: list[dict[str, Any]], *options: str, hosts: str = "localhost") -> subprocess.Popen[str]:
        """Run the tasks as a playbook of its own."""
        playbook = self.place / f"play_{len(self.running)}.yml"
        playbook.write_text(yaml.safe_dump([{"hosts": hosts, "gather_facts": False, "tasks": tasks}], sort_keys=False))
        process = subprocess.Popen(
            [PLAYBOOK, "-i", str(self.inventory), str(playbook), *options],
            cwd=ROOT,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.running.append(process)
        return process

    def run(self, tasks: list[dict[str, Any]], *options: str, hosts: str = "localhost") -> str:
        """Run the tasks to their end, which must be a good one, and return the output."""
        return finished(self.start(tasks, *options, hosts=hosts))

    def asks(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return tasks that call the module and keep its result, of each host of the play, as a file."""
        arguments = {"dir": str(self.records), "site": "paris", **parameters}
        result = str(self.place / f"{name}.{{{{ inventory_hostname }}}}.json")
        ask = {"veza.rabbitmq.incident": arguments, "delegate_to": "keeper", "register": name, "ignore_errors": True}
        keep = {"content": f"{{{{ {name} | to_json }}}}", "dest": result}
        return [{"name": name, **ask}, {"ansible.builtin.copy": keep, "check_mode": False}]

    def answer(self, name: str, host: str = "localhost") -> dict[str, Any]:
        """Return what the module answered."""
        result: dict[str, Any] = json.loads((self.place / f"{name}.{host}.json").read_text())
        return result

    def until(self, name: str) -> list[dict[str, Any]]:
        """Return a task that lasts until go(name)."""
        return [{"ansible.builtin.wait_for": {"path": str(self.place / name), "timeout": int(PATIENCE), "sleep": 1}}]

    def go(self, name: str) -> None:
        """End the task that until(name) made."""
        (self.place / name).touch()

    def files(self) -> dict[str, bytes]:
        """Return everything that is recorded."""
        return {str(path): path.read_bytes() for path in self.records.rglob("*") if path.is_file()}


def finished(process: subprocess.Popen[str]) -> str:
    output = process.communicate(timeout=2 * PATIENCE)[0]
    assert process.returncode == 0, output
    return output


def eventually(what: str, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"it never came about that {what}"
        time.sleep(0.05)


def recap(output: str, host: str = "localhost") -> dict[str, int]:
    (line,) = [line for line in output.splitlines() if line.startswith(f"{host} ") and "ok=" in line]
    return {name: int(count) for name, count in (entry.split("=") for entry in line.split(":", 1)[1].split())}


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    controller = Controller(tmp_path)
    yield controller
    for process in controller.running:
        if process.poll() is None:
            process.kill()
        process.communicate()


NOTE = {"state": "appended", "type": "note", "key": "a", "data": {"text": "hi"}}
WHOLE_RUN: list[tuple[str, dict[str, Any]]] = [
    ("mine", {"lease": "acquired", "phase": "diagnose", "state": "opened", "data": {"cause": "broker_crashed"}}),
    ("noted", {"lease": "checked", "token": "{{ mine.token }}", "id": "{{ mine.id }}", "phase": "act", **NOTE}),
    ("again", {"id": "{{ mine.id }}", **NOTE}),
    ("closed", {"state": "closed", "lease": "released", "token": "{{ mine.token }}", "id": "{{ mine.id }}"}),
    ("seen", {"state": "read"}),
]


def test_a_run_from_beginning_to_end_and_what_check_mode_says_of_it(controller: Controller) -> None:
    tasks = [task for name, parameters in WHOLE_RUN for task in controller.asks(name, **parameters)]
    controller.run(tasks, "--check")
    predicted = [controller.answer(name)["changed"] for name, _unused in WHOLE_RUN[:2]]
    assert not controller.records.exists()
    output = controller.run(tasks, "--diff")
    assert predicted == [True, True]
    assert [controller.answer(name)["changed"] for name, _unused in WHOLE_RUN] == [True, True, False, True, False]
    assert '"data":{"text":"hi"}' in output  # the diff
    seen = controller.answer("seen")
    assert [(event["seq"], event["type"], event["phase"]) for event in seen["events"]] == [
        (1, "opened", "diagnose"),
        (2, "note", "act"),
        (3, "closed", None),
    ]
    assert (seen["open"], seen["lease"]["held"], seen["lease"]["token"]) == (False, False, 1)


def test_all_workers_of_a_run_are_the_same_holder(controller: Controller) -> None:
    process = controller.start(controller.asks("mine", lease="acquired"), "--forks", "5", hosts="one,two")
    finished(process)
    answers = [controller.answer("mine", host) for host in ("one", "two")]
    assert sorted(answer["acquired"] for answer in answers) == [False, True]
    assert {(answer["token"], answer["lease"]["holder"]["pid"]) for answer in answers} == {(1, process.pid)}


def test_of_two_runs_at_once_one_gets_the_lease_and_the_other_says_who_has_it(controller: Controller) -> None:
    first = controller.start([*controller.asks("first", lease="acquired", phase="drain"), *controller.until("end")])
    second = controller.start([*controller.asks("second", lease="acquired", phase="drain"), *controller.until("end")])
    answered = [controller.place / f"{name}.localhost.json" for name in ("first", "second")]
    eventually("both have asked", lambda: all(path.exists() and path.read_text().endswith("}") for path in answered))
    controller.go("end")
    finished(first)
    finished(second)
    answers = {first.pid: controller.answer("first"), second.pid: controller.answer("second")}
    (winner,) = [pid for pid, answer in answers.items() if answer["acquired"]]
    (loser,) = [answer for answer in answers.values() if not answer["acquired"]]
    assert (loser["failed"], loser["refused"], loser["lease"]["holder"]["pid"]) == (True, "held", winner)
    assert f"(pid {winner}, play_" in loser["msg"]
    assert "in phase drain" in loser["msg"]


def test_check_mode_meets_a_holder_without_failing(controller: Controller) -> None:
    holder = controller.start([*controller.asks("first", lease="acquired"), *controller.until("end")])
    eventually("the lease is taken", lambda: controller.site.lease() is not None)
    before = controller.files()
    output = controller.run(controller.asks("second", lease="acquired"), "--check")
    assert recap(output)["ignored"] == 0
    assert (controller.answer("second")["refused"], controller.answer("second")["acquired"]) == ("held", False)
    assert controller.files() == before
    controller.go("end")
    finished(holder)


def test_a_killed_holder_is_replaced_at_once_and_what_is_left_of_it_may_not_act(controller: Controller) -> None:
    tasks = [*controller.asks("first", lease="acquired", state="opened", ttl=3600), *controller.until("end")]
    killed = controller.start(tasks)
    answered = controller.place / "first.localhost.json"
    eventually("the lease is taken", lambda: answered.exists() and answered.read_text().endswith("}"))
    killed.send_signal(signal.SIGKILL)
    eventually("it is dead", lambda: os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None)
    # Nobody has collected the process yet, as after a kill from a terminal that hangs.
    controller.run(controller.asks("second", lease="acquired", state="opened"))
    controller.go("end")
    assert killed.wait() == -signal.SIGKILL
    second = controller.answer("second")
    assert (second["acquired"], second["token"], second["changed"]) == (True, 2, False)
    assert second["taken_over"]["reason"] == "that process has ended"
    assert second["taken_over"]["holder"]["pid"] == killed.pid
    before = controller.files()
    controller.run(controller.asks("stale", lease="checked", token=1, **NOTE))
    assert (controller.answer("stale")["refused"], controller.answer("stale")["failed"]) == ("lost", True)
    assert controller.files() == before


WRITER = """
import sys
from datetime import datetime, timezone
from ansible_collections.veza.rabbitmq.plugins.modules import incident
known = {name: entry.get("default") for name, entry in incident.argument_spec().items()}
for number in range(int(sys.argv[3])):
    key = f"{sys.argv[2]}-{number}"
    incident.run({**known, "dir": sys.argv[1], "site": "paris", "state": "appended", "type": "note", "key": key,
                  "data": {"padding": "x" * 20000}}, False)
    print(key, flush=True)
"""


def writer(controller: Controller, name: str, events: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(controller.records), name, str(events)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".collections")},
        text=True,
        stdout=subprocess.PIPE,
    )


def test_writers_at_the_same_time_lose_and_repeat_nothing(controller: Controller) -> None:
    controller.run(controller.asks("mine", state="opened"))
    writers = [writer(controller, name, 25) for name in ("a", "b", "c")]
    said = [key for process in writers for key in finished(process).split()]
    events, damaged = decode(Path(controller.answer("mine")["file"]).read_bytes())
    assert (len(said), damaged) == (75, 0)
    assert sorted(event["key"] for event in events[1:]) == sorted(said)
    assert [event["seq"] for event in events] == list(range(1, 77))


def test_a_writer_that_is_killed_at_any_moment_loses_nothing_that_it_had_confirmed(controller: Controller) -> None:
    controller.run(controller.asks("mine", state="opened"))
    path = Path(controller.answer("mine")["file"])
    chance = random.Random(1)
    said: list[str] = []
    for attempt in range(8):
        process = writer(controller, f"k{attempt}", 100000)
        assert process.stdout is not None
        said.append(process.stdout.readline().strip())
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        # What was cut off in the middle of the pipe was not confirmed.
        said.extend(line.strip() for line in process.communicate()[0].splitlines(keepends=True) if line.endswith("\n"))
    controller.run(controller.asks("last", **NOTE))
    events, damaged = decode(path.read_bytes())
    assert damaged == 0
    assert set(said) <= {event["key"] for event in events}
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[-1]["key"], path.read_bytes()[-1:]) == ("a", b"\n")


REPORT = [{"ansible.builtin.include_role": {"name": "veza.rabbitmq.outage_report"}}]


def outage(controller: Controller) -> list[dict[str, Any]]:
    """Return tasks that record an outage with much to tell."""
    began = {"started_at": "2026-01-31T02:00:00Z", "start_source": "the log | of <b1>", "cause": "broker_crashed"}
    listed = [{"kind": "search", "entity_id": number, "next_step": "Index it again."} for number in range(53)]
    rows = [{"kind": "search", "lost": {"state": "at_least", "count": 53}, "replayed": 0, "healed": 0}]
    events = [
        (
            "verdict",
            {"cause": "broker_crashed", "headline": "It died", "proof": [{"text": "line one\n# two", "host": "b1"}]},
        ),
        ("serving", {"at": "2026-01-31T02:12:00Z"}),
        ("audit", {"accounting": {"rows": rows, "listed": listed, "unknown": ["Sentry was not asked"]}}),
    ]
    tasks = controller.asks("mine", state="opened", data=began)
    for kind, data in events:
        tasks += controller.asks(kind, state="appended", type=kind, key="a", data=data)
    return tasks


def test_the_report_is_drawn_once_and_then_stands(controller: Controller) -> None:
    copies = {"outage_report_dir": str(controller.place / "copies")}
    option = ("--extra-vars", json.dumps(copies))
    controller.run(outage(controller))
    checked = controller.run(REPORT, "--check", *option)
    assert not list(controller.records.rglob("*.md"))
    first = controller.run(REPORT, *option)
    assert (recap(checked)["failed"], recap(first)["changed"]) == (0, 7)
    for repeated in (controller.run(REPORT, *option), controller.run(REPORT, "--check", *option)):
        assert recap(repeated)["changed"] == 0
    name = controller.answer("mine")["id"]
    report = Path(controller.site.path, f"{name}.md")
    for file in (report, report.with_suffix(".json"), report.with_suffix(".html")):
        copy = controller.place / "copies" / file.name
        assert copy.read_bytes() == file.read_bytes()
        assert (file.stat().st_mode & 0o777, copy.stat().st_mode & 0o777) == (0o600, 0o600)


def test_the_report_says_what_matters(controller: Controller) -> None:
    controller.run([*outage(controller), *REPORT])
    name = controller.answer("mine")["id"]
    lines = Path(controller.site.path, f"{name}.md").read_text().splitlines()
    assert lines[0] == "# It died"
    assert "**Needs a postmortem**: the outage lasted longer than 10.0 minutes." in lines
    assert "| Began | 2026-01-31T02:00:00.000Z (the log \\| of &lt;b1>) |" in lines
    assert "| Length | 720.0 s (12 min 0 s) |" in lines
    assert "- b1: line one # two" in lines
    assert "| search | at least 53 | none | none | 53 |" in lines
    assert "1. search: 53 lost and not replayed. Index it again." in lines
    (ids,) = {line.strip().removeprefix("- Left: ") for line in lines if "`49`" in line}
    assert "`50`" not in ids
    assert ids.endswith(f" and 3 more in {name}.json")
    assert "- Sentry was not asked" in lines
    machine = json.loads(Path(controller.site.path, f"{name}.json").read_text())
    assert (machine["record"]["outage"]["seconds"], len(machine["events"])) == (720.0, 4)
    assert len(machine["record"]["accounting"]["listed"]) == 53


def test_the_draft_of_a_postmortem_is_left_once_when_the_incident_is_closed(controller: Controller) -> None:
    controller.run([*outage(controller), *REPORT])
    assert not list(controller.records.rglob("*-postmortem.md"))
    closed = controller.asks("end", state="closed", data={"reason": "all is accounted for"})
    controller.run([*closed, *REPORT])
    (draft,) = controller.records.rglob("*-postmortem.md")
    text = draft.read_text()
    known = ("# Postmortem: It died", "- Length: 12 min 0 s, ", "lost at least 53", "Sentry was not asked")
    assert [told for told in (*known, "- What went well: _", "| Owner |") if told not in text] == []
    draft.write_text("My own words\n")
    controller.run(REPORT)
    assert draft.read_text() == "My own words\n"


def test_without_an_incident_there_is_no_report_and_no_failure(controller: Controller) -> None:
    output = controller.run(REPORT)
    assert (recap(output)["changed"], controller.records.exists()) == (0, False)


def test_an_incident_that_does_not_exist_is_an_error_but_not_in_check_mode(controller: Controller) -> None:
    option = ("--extra-vars", "outage_report_incident=20260131T020304Z-paris-00ff")
    controller.run(REPORT, "--check", *option)
    process = controller.start(REPORT, *option)
    assert "There is no such incident" in process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 2
