# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command line of the local lab."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from . import apps, broker, cli, stack
from .state import Lab, LabError, Options, state_directory

STOPPED = 3
"""Exit status of an LSB init script for a service that does not run."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit status."""
    return cli.run(parser().parse_args(arguments))


def parser() -> argparse.ArgumentParser:
    """Return the parser; each command sets ``run``."""
    top = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    up = _command(commands, "up", "bring the lab up, in the background", up_command)
    defaults = Options()
    up.add_argument("--no-apps", dest="apps", action="store_false", help="only the broker and the database")
    up.add_argument("--confirms", choices=("on", "off"), default="on", help="publisher confirms (on)")
    up.add_argument("--backoff", type=float, default=defaults.backoff, help="seconds until degraded mode (2)")
    up.add_argument("--log-level", choices=("warn", "error"), default="warn", help="EVENTBUS_DEGRADED_LOG_LEVEL")
    up.add_argument("--instances", type=int, default=defaults.instances, help="API instances (2)")
    up.add_argument("--no-unique-index", dest="unique_index", action="store_false", help="as Veza's schema may be")
    up.add_argument("--heartbeat", type=int, default=defaults.heartbeat, help="AMQP heartbeat in seconds (3)")
    up.add_argument("--task-seconds", type=float, default=defaults.task_seconds, help="a task's duration (0.02)")
    up.add_argument("--poison", default="", help="keys whose tasks fail, separated by commas")
    _command(commands, "down", "take the lab down and remove its state", down_command)
    _command(commands, "status", "say what runs", status_command)
    service = _command(commands, "broker", "drive the broker as a service", broker_command)
    service.add_argument("action", choices=("start", "stop", "kill", "status"))
    app = _command(commands, "app", "drive one process of the stand-in Veza (worker-dmca, backend-1, ...)", app_command)
    app.add_argument("action", choices=("start", "stop", "restart", "status"))
    app.add_argument("app")
    return top


def _command(commands: Any, name: str, summary: str, run: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    command.add_argument("--name", default="play", help="which lab (play)")
    command.set_defaults(run=run)
    return command


def up_command(options: argparse.Namespace) -> int:
    """Bring the lab up; that it is up already is no error."""
    directory = state_directory(options.name)
    if stack.is_up(directory):
        print(f"The lab '{options.name}' is up already: {directory}")
        return 0
    chosen = Options(
        apps=options.apps,
        confirms=options.confirms == "on",
        backoff=options.backoff,
        log_level=options.log_level,
        instances=options.instances,
        unique_index=options.unique_index,
        heartbeat=options.heartbeat,
        task_seconds=options.task_seconds,
        poison=options.poison,
    )
    started = time.monotonic()
    lab = stack.up(options.name, chosen)
    print(describe(lab, time.monotonic() - started))
    return 0


def describe(lab: Lab, seconds: float) -> str:
    """Return what a person needs to know of a lab that was just brought up."""
    name = "" if lab.name == "play" else f" --name {lab.name}"
    backends = "\n".join(f"  {backend:<12} {url}" for backend, url in lab.urls["backends"].items())
    return "\n".join(
        (
            f"The lab '{lab.name}' is up after {seconds:.1f} s.",
            f"  inventory    {lab.inventory}",
            f"  management   {lab.urls['management']}  (users and passwords: {lab.dir}/lab.json)",
            *([backends, f"  sentry       {lab.urls['sentry']}"] if lab.options.apps else []),
            "Next:",
            f"  ansible-playbook -i {lab.inventory} playbooks/diagnose_rabbitmq.yml",
            f"  python -m tests.lab broker kill{name}",
            f"  ansible-playbook -i {lab.inventory} playbooks/recover_rabbitmq.yml",
            f"  python -m tests.lab down{name}",
        )
    )


def down_command(options: argparse.Namespace) -> int:
    """Take the lab down; that there is none is no error."""
    existed = stack.down(options.name)
    print(f"The lab '{options.name}' is down." if existed else f"There was no lab '{options.name}'.")
    return 0


def status_command(options: argparse.Namespace) -> int:
    """Say which processes run; exit status 3 when there is no lab."""
    if not stack.is_up(state_directory(options.name)):
        print(f"The lab '{options.name}' is not up.")
        return STOPPED
    lab = Lab.load(options.name)
    print(f"The lab '{lab.name}': {lab.dir}")
    for name, process in lab.processes.items():
        print(f"  {name:<20} {'running' if process.alive() else 'stopped'}  (pid {process.pid})")
    return 0


def broker_command(options: argparse.Namespace) -> int:
    """Drive the broker with an LSB init script's exit statuses."""
    lab = Lab.load(options.name)
    if options.action == "status":
        state = broker.status(lab)
        print(state)
        return 0 if state == "running" else STOPPED
    verbs: dict[str, Callable[[Lab], None]] = {"start": broker.start, "stop": broker.stop, "kill": broker.kill}
    verbs[options.action](lab)
    return 0


def app_command(options: argparse.Namespace) -> int:
    """Drive one process of the stand-in Veza."""
    lab = Lab.load(options.name)
    if options.app not in apps.names(lab):
        raise LabError(f"There is no '{options.app}'; there are {', '.join(apps.names(lab))}.")
    if options.action == "status":
        running = lab.running(options.app) is not None
        print("running" if running else "stopped")
        return 0 if running else STOPPED
    verbs: dict[str, Callable[[Lab, str], object]] = {
        "start": apps.start,
        "stop": apps.stop,
        "restart": apps.restart,
    }
    verbs[options.action](lab, options.app)
    return 0


if __name__ == "__main__":
    sys.exit(main())
