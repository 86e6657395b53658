# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab of real hosts, from the command line."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from .. import cli
from . import stack
from .lab import IncusLab


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was asked; 1 and one line on stderr when it can't be done."""
    return cli.run(_parser().parse_args(arguments))


def _up(options: argparse.Namespace) -> None:
    start = time.monotonic()
    settings = replace(stack.OPTIONS, confirms=options.confirms == "on")
    lab = stack.up(options.name, settings, rabbitmq=options.rabbitmq, say=_say, nodes=options.nodes)
    _say(f"up after {time.monotonic() - start:.0f} s: {', '.join(f'{host}.lxd' for host in lab.hosts)}")
    width = 2 + len(f"ansible-playbook -i {lab.inventory} playbooks/diagnose_rabbitmq.yml")
    for command, meaning in (
        (f"ansible-playbook -i {lab.inventory} playbooks/diagnose_rabbitmq.yml", "what is wrong?"),
        (f"{lab.dir}/bin/ssh -F {lab.dir}/ssh/config rabbitmq.lxd", "log in; sudo asks nothing"),
        (f"{lab.dir}/bin/run bash", "a shell in the hosts' network"),
        (f"{lab.dir}/bin/incus list", "the hypervisor"),
        (f"make lab-down LAB=incus NAME={lab.name}", "nothing stays"),
    ):
        print(f"  {command:{width}}  # {meaning}")


def _down(options: argparse.Namespace) -> None:
    _say("down: nothing of it stays" if stack.down(options.name) else "there was none")


def _status(options: argparse.Namespace) -> None:
    lab = IncusLab.load(options.name)
    print(lab.incus("list", "--columns=ns4m"), end="")


def _reset(options: argparse.Namespace) -> None:
    lab = IncusLab.load(options.name)
    lab.enter()
    lab.reset()
    _say("all hosts are as they were after the start")


def _run(options: argparse.Namespace) -> None:
    argv = IncusLab.load(options.name).inside(options.command or ["bash"])
    os.execv(argv[0], argv)


def _finish(options: argparse.Namespace) -> None:
    stack.finish(IncusLab.load(options.name))


def _say(text: str) -> None:
    print(f"lab: {text}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.incus", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    table = {
        "up": (_up, "bring it up, and say how to use it"),
        "down": (_down, "take it down"),
        "status": (_status, "its hosts"),
        "reset": (_reset, "bring all hosts back to where they were after the start"),
        "run": (_run, "run a command, or a shell, in the hosts' network"),
        "_finish": (_finish, "used by up"),
    }
    for name, (run, text) in table.items():
        command = commands.add_parser(name, help=text)
        command.set_defaults(run=run)
        command.add_argument("--name", default="play", help="the lab's name (play)")
        if name == "up":
            command.add_argument("--rabbitmq", default="4.0", choices=sorted(stack.VERSIONS), help="version (4.0)")
            command.add_argument("--confirms", default="on", choices=["on", "off"], help="publisher confirms (on)")
            command.add_argument("--nodes", type=int, default=1, choices=[1, 2, 3], help="nodes of the broker (1)")
        if name == "run":
            command.add_argument("command", nargs=argparse.REMAINDER)
    return parser


if __name__ == "__main__":
    sys.exit(main())
