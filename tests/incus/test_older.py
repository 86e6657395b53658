# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The older family of RabbitMQ on real hosts: by itself, as a machine has room for two labs, not three."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab.incus import stack
from tests.lab.incus.lab import IncusLab

from .conftest import Run
from .test_recover import stop_and_recover


@pytest.fixture
def older_lab() -> Iterator[IncusLab]:
    """A lab whose broker is RabbitMQ 3.10."""
    lab = stack.up(f"it-{os.getpid()}-older", rabbitmq="3.10")
    try:
        lab.enter()
        yield lab
    finally:
        lab.down()


def test_a_broker_that_somebody_stopped_is_started_when_asked_for(older_lab: IncusLab, run: Run) -> None:
    assert older_lab.rabbitmqctl("version").strip().startswith("3.10")
    stop_and_recover(older_lab, run)
