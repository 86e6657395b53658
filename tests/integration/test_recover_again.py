# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A broker that goes away again, while the incident of its first outage is open."""

from __future__ import annotations

import re

from tests.integration.recovery import assert_good, interrupt, records
from tests.lab import broker, processes, scenario
from tests.lab.outage import PATIENCE, Outage, outage


def again(it: Outage) -> None:
    """Have the broker die once more, and wait until events of every kind were lost by that, too."""
    before = scenario.dropped(it.lab)
    broker.kill(it.lab)
    scenario.await_losses(it.lab, timeout=PATIENCE, before=before)


def test_a_second_outage_while_the_incident_is_open_is_accounted_for() -> None:
    with outage() as it:
        interrupt(it, "Flush the DMCA cache of each API instance")
        again(it)
        it.run("recover_rabbitmq")
        assert_good(it.judge_audited())


def test_an_outage_while_the_backlog_drains_is_accounted_for() -> None:
    with outage() as it:
        playbook = it.playbook("recover_rabbitmq").start()
        draining = re.compile(r"^TASK \[.*Wait until the queues have drained\]", re.MULTILINE)
        reached = processes.wait_until(lambda: playbook.ended() or draining.search(playbook.text()), PATIENCE)
        assert reached, playbook.text()
        again(it)
        broker.start(it.lab)
        # It sees that through, too, or says that it has not.
        if playbook.wait(PATIENCE) != 0:
            assert "it was interrupted" in playbook.text() or "Not served" in playbook.text(), playbook.text()
            it.run("recover_rabbitmq")
        assert "interrupted after it had been proved to serve" in "".join(records(it.lab).values())
        assert_good(it.judge_audited())
