# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_summary import CHANGES, outage_summary
from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_verdict import outage_verdict
from tests.unit.plugins.filter.evidence import AT, QUEUES, SITUATIONS, SUBSYSTEMS, causes


def told(situation: str, **run: Any) -> list[str]:
    """Return the block that a diagnosis of this situation prints."""
    return outage_summary({"verdict": outage_verdict(SITUATIONS[situation][0], causes(), QUEUES), **run})


def labels(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines if line[0] != " "]


def test_first_the_cause_then_proof_impact_next_step_and_what_is_unknown() -> None:
    lines = told("killed", inventories=["/etc/veza/hosts file.yml"])
    assert labels(lines) == ["CAUSE", "PROOF", "OUTAGE", "AFFECTED", "NEXT"]
    assert lines[-1].strip() == "ansible-playbook -i '/etc/veza/hosts file.yml' veza.rabbitmq.recover_rabbitmq"
    assert told("stopped")[-1].endswith(" veza.rabbitmq.recover_rabbitmq -e outage_recover_start_stopped=true")
    lines = told("nothing seen")
    assert labels(lines) == ["CAUSE", "AFFECTED", "NEXT", "UNKNOWN"]
    assert any("not ruled out: " in line for line in lines)


def test_what_has_no_queue_is_said_and_what_is_never_affected() -> None:
    verdict = outage_verdict(SITUATIONS["killed"][0], causes(), QUEUES, None, SUBSYSTEMS)
    lines = [" ".join(line.split()) for line in outage_summary({"verdict": verdict})]
    assert "LOW Digest: none (all of it, heals on the next tick)" in lines
    assert "NONE Chat: chat has no RabbitMQ" in lines


def test_who_is_at_it_already_is_said_next_to_the_cause() -> None:
    holder = {"user": "ann", "host": "ops-1", "playbook": "recover_rabbitmq.yml", "pid": 7}
    lease = {"held": True, "expired": False, "holder": holder, "acquired_at": AT, "expires_at": AT}
    lines = told("killed", incident={"lease": lease})
    assert labels(lines)[:2] == ["CAUSE", "RUN"]
    assert any(line.startswith("RUN") and "ann@ops-1: recover_rabbitmq.yml" in line for line in lines)
    for over in ({**lease, "held": False}, {**lease, "expired": True}, None):
        assert "RUN" not in labels(told("killed", incident={"lease": over}))


@pytest.mark.parametrize(("count", "more"), [(CHANGES, False), (CHANGES + 3, True)])
def test_the_screen_shows_the_last_changes_only(count: int, more: bool) -> None:
    verdict = outage_verdict(SITUATIONS["killed"][0], causes(), QUEUES)
    one = {"host": "a", "what": "changed", "at": AT, "first_error": "the outage", "first_error_at": AT}
    lines = outage_summary({"verdict": {**verdict, "suspects": [one] * count}})
    assert sum("changed" in line for line in lines) == CHANGES
    assert ("and 3 earlier changes" in " ".join(lines)) is more


def test_what_healed_by_itself_and_what_is_not_affected_are_said() -> None:
    none = {"count": 0, "text": "none"}
    digest = {
        "kind": "digest",
        "lost": {"text": "exactly 2"},
        "replayed": none,
        "healed": {"count": 2, "text": "2 soon"},
    }
    chat = {"kind": "chat", "lost": {"text": "not affected: direct"}, "replayed": none, "independent": "direct"}
    search = {"kind": "search", "lost": {"text": "exactly 0"}, "replayed": none}
    lines = outage_summary({"record": {"accounting": {"rows": [digest, chat, search]}}})

    begin = next(number for number, line in enumerate(lines) if line.startswith("LOST"))

    assert [line[10:] for line in lines[begin : begin + 3]] == [
        "digest        exactly 2; replayed none; healed 2 soon",
        "chat          not affected: direct",
        "search        exactly 0; replayed none",
    ]
