# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command line of the game days: run the fault catalogue on a lab of Incus hosts, and keep the scoreboard."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import cli
from tests.lab.state import CHECKOUT, LabError

from . import accuracy, scoreboard, trial
from .fault import VERSIONS, Fault, catalogue, chosen
from .result import Row
from .run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.incus.lab import IncusLab

OUTPUT = CHECKOUT / "tests" / "output" / "game_day"
"""What each run leaves: the playbooks' output and what the witness saw."""

HARMED = 1
UNUSABLE = 2


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    # Without a command: all of it.
    options = parser().parse_args(words if words and not words[0].startswith("--") else ["run", *words])
    return cli.run(options, "game day", (LabError, ValueError), UNUSABLE)


def parser() -> argparse.ArgumentParser:
    """Return the parser; each command sets ``run``."""
    top = argparse.ArgumentParser(prog="python -m tests.game_day", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the catalogue (what happens without a command, too)")
    run.add_argument("--faults", default="", metavar="A,B", help="which faults (all)")
    run.add_argument("--rabbitmq", default="both", choices=(*VERSIONS, "both"), help="on which family (both)")
    run.add_argument("--seed", type=int, default=None, help="of the random numbers, to repeat a run (a new one)")
    run.add_argument(
        "--lab", default="game-day", metavar="NAME", help="use this lab, brought up if it isn't (game-day)"
    )
    run.add_argument("--out", type=Path, default=CHECKOUT / "docs", metavar="DIR", help="of the scoreboard (docs)")
    run.add_argument("--strict", action="store_true", help="fail for a wrong cause or a missing remedy, too")
    run.set_defaults(run=run_command)
    measure = commands.add_parser("accuracy", help="make faults and have them named, again and again; mend nothing")
    measure.add_argument("--faults", default="", metavar="A,B", help=f"which faults (all, and {accuracy.HEALTHY.name})")
    measure.add_argument("--lab", default="play", metavar="NAME", help="which Incus lab that is up (play)")
    measure.add_argument("--seed", type=int, default=1, help="of the first round's random numbers (1)")
    measure.add_argument("--rounds", type=int, default=1, help="how often each fault is made (1)")
    measure.add_argument("--out", type=Path, default=CHECKOUT / "docs", metavar="DIR", help="of the page (docs)")
    measure.set_defaults(run=accuracy_command)
    table = commands.add_parser("table", help="print the scoreboard as it stands; write the pages anew")
    table.add_argument("--out", type=Path, default=CHECKOUT / "docs", metavar="DIR")
    table.set_defaults(run=table_command)
    listing = commands.add_parser("list", help="the faults of the catalogue")
    listing.set_defaults(run=list_command)
    attempt = commands.add_parser("try", help="try one fault's parts on a lab that is up, without the playbooks")
    attempt.add_argument("fault")
    attempt.add_argument("--lab", default="play", metavar="NAME", help="which Incus lab (play)")
    attempt.add_argument("--only", default=",".join(trial.PARTS), help=f"which parts ({','.join(trial.PARTS)})")
    attempt.add_argument("--seed", type=int, default=1, help="of the random numbers (1)")
    attempt.set_defaults(run=try_command)
    inside = commands.add_parser("_play", help="used by run")
    inside.add_argument("--lab", required=True)
    inside.add_argument("--faults", required=True)
    inside.add_argument("--seed", type=int, required=True)
    inside.add_argument("--out", type=Path, required=True)
    inside.set_defaults(run=play_command)
    return top


def run_command(options: argparse.Namespace) -> int:
    """Run the chosen faults, family by family, each on a lab of its own; 1 when a row says what may never be."""
    from tests.lab.incus import stack
    from tests.lab.incus.lab import directory

    faults = chosen(options.faults, catalogue())
    seed = random.randrange(10**6) if options.seed is None else options.seed
    families = VERSIONS if options.rabbitmq == "both" else (options.rabbitmq,)
    began = scoreboard.read(options.out)
    for family in families:
        names = [fault.name for fault in faults if family in fault.versions]
        if not names:
            continue
        mine = not stack.is_up(directory(options.lab))
        if mine:
            stack.up(options.lab, rabbitmq=family)
        try:
            _play_inside(options, family, names, seed)
        finally:
            if mine:
                stack.down(options.lab)
    return _conclude(options, began, {(fault.name, family) for fault in faults for family in families}, faults)


def _play_inside(options: argparse.Namespace, family: str, names: list[str], seed: int) -> None:
    """Run faults in the lab's network: a child, as what takes the lab down must not be inside it."""
    from tests.lab.incus.lab import IncusLab

    lab = IncusLab.load(options.lab)
    if lab.data["rabbitmq"] != family:
        raise LabError(f"The lab '{lab.name}' has RabbitMQ {lab.data['rabbitmq']}, not {family}: take it down first.")
    words = ["_play", "--lab", options.lab, "--faults", ",".join(names), "--seed", str(seed), "--out", str(options.out)]
    argv = lab.inside([sys.executable, "-m", "tests.game_day", *words])
    child = subprocess.Popen(argv, cwd=CHECKOUT)
    try:
        status = child.wait()
    except BaseException:
        child.terminate()
        child.wait(60)
        raise
    if status:
        raise LabError(f"the runs on RabbitMQ {family} ended with {status}")


def play_command(options: argparse.Namespace) -> int:
    """Run faults one after the other; each row is written at once, so that an interrupted run keeps what it has."""
    every = catalogue()
    with only_player(options.lab) as lab:
        for fault in chosen(options.faults, every):
            row = play(lab, fault, options.seed)
            if not lab.init.alive():
                # Not a row: it would replace one that tells something.
                raise LabError(f"the lab '{lab.name}' ended while {fault.name} ran")
            scoreboard.write(options.out, [row], list(every.values()))
            accuracy.write(options.out, [row])
    return 0


@contextlib.contextmanager
def only_player(name: str) -> Iterator[IncusLab]:
    """Enter a lab; LabError when another game day has it: each would take the other's fault for its own."""
    from tests.lab.incus.lab import IncusLab

    lab = IncusLab.load(name)
    descriptor = os.open(lab.dir, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LabError(f"Another game day plays in the lab '{name}': wait for it, or name another --lab.") from None
    lab.enter()
    try:
        yield lab
    finally:
        os.close(descriptor)


def play(lab: IncusLab, fault: Fault, seed: int) -> Row:
    """Run one fault on a lab, and say what happens; one line a step."""
    from .ground import LabGround

    family = lab.data["rabbitmq"]
    output = OUTPUT / f"{fault.name}-{family}"
    for old in output.glob("*"):
        old.unlink()
    say(f"== {fault.name} (RabbitMQ {family}, seed {seed}): {fault.title}")
    row = Run(LabGround(lab, family, output), fault, seed, tell=lambda text: say(f"   {text}")).go()
    for text in row.harms() + row.shortfalls() or ["all right"]:
        say(f"   => {text}")
    return row


def say(text: str) -> None:
    """Print at once, whoever reads."""
    print(text, flush=True)


def _conclude(options: argparse.Namespace, before: list[Row], wanted: set[tuple[str, str]], faults: list[Fault]) -> int:
    """Print the rows of this run, and return its exit status."""
    old = {row.key: row.at for row in before}
    rows = [row for row in scoreboard.read(options.out) if row.key in wanted and row.at != old.get(row.key)]
    say(scoreboard.table(rows))
    for line in [*scoreboard.findings(rows), scoreboard.tally(rows)]:
        say(line)
    complete = len(rows) == sum((fault.name, family) in wanted for fault in faults for family in fault.versions)
    bad = any(row.harms() or (options.strict and row.shortfalls()) for row in rows)
    return HARMED if bad or not complete else 0


def accuracy_command(options: argparse.Namespace) -> int:
    """Make each fault and have it named; 1 when one was taken for another."""
    faults = chosen(options.faults, {accuracy.HEALTHY.name: accuracy.HEALTHY, **catalogue()})
    with only_player(options.lab) as lab:
        family = lab.data["rabbitmq"]
        possible = [fault for fault in faults if family in fault.versions]
        seeds = range(options.seed, options.seed + options.rounds)
        rows = [name(lab, fault, seed, options.out) for seed in seeds for fault in possible]
    say(accuracy.summary(rows))
    return HARMED if any(accuracy.wrong(row) for row in rows) else 0


def name(lab: IncusLab, fault: Fault, seed: int, out: Path) -> Row:
    """Make one fault and have it named; keep what came of it, and say it in one line."""
    from .ground import LabGround

    family = lab.data["rabbitmq"]
    output = OUTPUT / f"accuracy-{fault.name}-{family}-{seed}"
    row = Run(LabGround(lab, family, output), fault, seed).name()
    if not lab.init.alive():
        raise LabError(f"the lab '{lab.name}' ended while {fault.name} was made")
    accuracy.write(out, [row])
    seconds = f" in {row.seconds_to_name:.1f} s" if row.seconds_to_name else ""
    told = accuracy.wrong(row) or f"right: {' and '.join([row.cause or 'nothing', *row.also])}"
    say(f"{fault.name} ({family}, seed {seed}): {told}{seconds}")
    return row


def table_command(options: argparse.Namespace) -> int:
    """Print the scoreboard as it stands; write its page and that of the accuracy anew."""
    every = list(catalogue().values())
    rows = scoreboard.write(options.out, [], every)
    if accuracy.read(options.out):
        accuracy.write(options.out, [])
    say(scoreboard.table(rows))
    for line in [*scoreboard.findings(rows), scoreboard.tally(rows)]:
        say(line)
    return 0


def list_command(_options: argparse.Namespace) -> int:
    """Print the catalogue."""
    for fault in catalogue().values():
        print(f"{fault.name:<24} {fault.title}  [{', '.join(sorted(fault.causes))}]")
    return 0


def try_command(options: argparse.Namespace) -> int:
    """Try one fault."""
    parts = {part.strip() for part in options.only.split(",")}
    if parts - set(trial.PARTS):
        raise ValueError(f"--only takes some of {', '.join(trial.PARTS)}")
    (fault,) = chosen(options.fault, catalogue())
    with only_player(options.lab) as lab:
        return 0 if trial.run(lab, fault, options.seed, parts) else 1


if __name__ == "__main__":
    sys.exit(main())
