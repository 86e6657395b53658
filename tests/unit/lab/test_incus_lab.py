# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.lab import processes
from tests.lab.incus import daemon
from tests.lab.incus.lab import IncusLab
from tests.lab.state import LabError

EMPTY = ("options", "ports", "urls", "credentials", "paths")


@pytest.fixture
def lab(tmp_path: Path) -> IncusLab:
    """A lab whose process 1 was killed: this process's id, and another start time."""
    incus = {"pid": os.getpid(), "started": (processes.start_time(os.getpid()) or 0) - 1}
    document = {"name": "gone", "processes": {"incus": incus}, **{name: {} for name in EMPTY}}
    (tmp_path / "lab.json").write_text(json.dumps(document))
    return IncusLab.at(tmp_path)


def test_a_lab_whose_process_1_is_gone_has_ended(lab: IncusLab) -> None:
    with pytest.raises(LabError, match=rf"The lab 'gone' has ended: its process {os.getpid()} is gone\."):
        lab.enter()


def test_a_lab_that_was_taken_down_since_says_so(lab: IncusLab) -> None:
    (lab.dir / "lab.json").unlink()
    with pytest.raises(LabError, match=r"The lab 'gone' was taken down"):
        lab.enter()


def test_a_command_without_an_end_says_what_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "incus"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(daemon, "_PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(LabError, match=r"^incus exec rabbitmq -- systemctl: no end within 0\.2 s\.$"):
        daemon.command(tmp_path, "exec", "rabbitmq", "--", "systemctl", timeout=0.2)
