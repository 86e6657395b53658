# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo, as a person runs it: with its promises, in both modes of publishing, and interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab import processes, state
from tests.lab.state import CHECKOUT

LEDGER = re.compile(r"ledger: (\d+) effects, (\d+) missing, (\d+) doubled, (\d+) listed as lost")
PATIENCE = 480.0


class Child:
    """The demo as a child in a session of its own, its output in a file."""

    def __init__(self, name: str, log: Path, *arguments: str) -> None:
        self.directory = state.state_directory(name)
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.lab.demo", "--name", name, *arguments],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def lines(self) -> list[str]:
        return self.text.rstrip("\n").splitlines()

    def end(self) -> None:
        """End it, so that it takes its lab down."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(120)

    def assert_nothing_left(self) -> None:
        assert not self.directory.exists()
        assert list(processes.marked(str(self.directory))) == []


@pytest.fixture(name="log")
def fixture_log(tmp_path: Path) -> Path:
    return tmp_path / "demo.log"


@contextmanager
def running(name: str, log: Path, *arguments: str) -> Iterator[Child]:
    child = Child(name, log, *arguments)
    try:
        yield child
    finally:
        child.end()


@pytest.mark.parametrize("confirms", ["on", "off"])
def test_nothing_is_missing_nothing_doubled_and_what_is_listed_was_lost(confirms: str, log: Path) -> None:
    with running(f"demo-{os.getpid()}", log, "--confirms", confirms) as demo:
        assert demo.process.wait(PATIENCE) == 0, demo.text
        effects, missing, doubled, listed = map(int, LEDGER.fullmatch(demo.lines[-1]).groups())  # type: ignore[union-attr]
        assert (missing, doubled) == (0, 0)
        # Both must have been put to the test.
        assert effects > 0
        assert listed > 0
        assert "[broker_crashed]" in demo.text
        report = re.search(r"^Report +(.+)$", demo.text, re.MULTILINE)
        assert report
        assert Path(report[1]).read_text().startswith("#")
        demo.assert_nothing_left()


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        pytest.param(lambda demo: (demo.directory / "logs/broker.log").exists(), signal.SIGINT, id="coming up"),
        pytest.param(lambda demo: "Kill the broker" in demo.text, signal.SIGTERM, id="outage"),
        pytest.param(lambda demo: "TASK [veza.rabbitmq." in demo.text, signal.SIGINT, id="playbook"),
    ],
)
def test_an_interrupted_demo_leaves_nothing(moment: Callable[[Child], bool], number: signal.Signals, log: Path) -> None:
    with running(f"demo-{os.getpid()}", log) as demo:
        assert processes.wait_until(lambda: moment(demo) or demo.process.poll() is not None, PATIENCE)
        # As a terminal does: to the whole group.
        os.killpg(demo.process.pid, number)
        assert demo.process.wait(120) == 130, demo.text
        assert demo.lines[-1] == "Interrupted. Everything is down, nothing is left running."
        demo.assert_nothing_left()
