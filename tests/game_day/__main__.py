# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command line of the game days: run the fault catalogue on a lab of Incus hosts, and keep the scoreboard."""

from __future__ import annotations

import argparse
import signal
import sys

from tests.lab.state import LabError

from . import trial
from .fault import catalogue, chosen


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit status."""
    options = parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda caught, _frame: sys.exit(128 + caught))
    try:
        status: int = options.run(options)
    except (LabError, ValueError) as error:
        print(f"game day: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


def parser() -> argparse.ArgumentParser:
    """Return the parser; each command sets ``run``."""
    top = argparse.ArgumentParser(prog="python -m tests.game_day", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="the faults of the catalogue")
    listing.set_defaults(run=list_command)
    attempt = commands.add_parser("try", help="try one fault's parts on a lab that is up, without the playbooks")
    attempt.add_argument("fault")
    attempt.add_argument("--lab", default="play", metavar="NAME", help="which Incus lab (play)")
    attempt.add_argument("--only", default=",".join(trial.PARTS), help=f"which parts ({','.join(trial.PARTS)})")
    attempt.add_argument("--seed", type=int, default=1, help="of the random numbers (1)")
    attempt.set_defaults(run=try_command)
    return top


def list_command(_options: argparse.Namespace) -> int:
    """Print the catalogue."""
    for fault in catalogue().values():
        print(f"{fault.name:<24} {fault.title}  [{', '.join(sorted(fault.causes))}]")
    return 0


def try_command(options: argparse.Namespace) -> int:
    """Try one fault."""
    from tests.lab.incus.lab import IncusLab

    parts = {part.strip() for part in options.only.split(",")}
    if parts - set(trial.PARTS):
        raise ValueError(f"--only takes some of {', '.join(trial.PARTS)}")
    (fault,) = chosen(options.fault, catalogue())
    lab = IncusLab.load(options.lab)
    lab.enter()
    return 0 if trial.run(lab, fault, options.seed, parts) else 1


if __name__ == "__main__":
    sys.exit(main())
