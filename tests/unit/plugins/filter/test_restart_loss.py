# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._restart_loss import restart_loss


def queue(name: str, messages: int | None, persistent: int | None) -> dict[str, Any]:
    return {"name": name, "messages": messages, "ready": messages, "unacked": 0, "persistent": persistent, "age": 0.0}


DROPPED = [{"queue": "a", "vhost": "/veza", "persistent": 7, "transient": 1}]


def test_what_is_known_of_both_sides_is_a_number() -> None:
    loss = restart_loss([queue("a", 10, 8), queue("b", 3, 3)], [queue("a", 8, 8), queue("b", 3, 3)], [])
    assert [(row["difference"], row["transient_before"]) for row in loss["queues"]] == [(-2, 2), (0, 0)]
    assert loss["summary"] == (
        "messages before and after: a 10 -> 8; transient ones, which a restart loses: 2 of a; "
        "the broker's log tells of no dropped message"
    )


def test_what_the_broker_says_that_it_dropped() -> None:
    loss = restart_loss(None, [queue("a", 8, 8)], DROPPED)
    assert loss["queues"][0]["difference"] is None
    assert loss["summary"] == (
        "what the queues held before could not be read; "
        "dropped by the broker after its unclean end: a: 7 persistent, 1 transient"
    )


def test_what_could_not_be_read_is_no_zero() -> None:
    loss = restart_loss([queue("a", None, None)], [queue("a", 8, 8), queue("new", 1, 1)], None)
    assert [(row["difference"], row["transient_before"]) for row in loss["queues"]] == [(None, None)] * 2
    assert loss["summary"].endswith("dropped messages could not be read")
    assert restart_loss([queue("a", 1, 1)], [queue("a", 1, 1)], [])["summary"].startswith("as many messages")


def test_a_queue_that_could_not_be_read_afterwards_is_not_as_it_was() -> None:
    for after in ([queue("a", 5, 5), queue("b", None, None)], [queue("a", 5, 5)]):
        loss = restart_loss([queue("a", 5, 5), queue("b", 700, 700)], after, [])
        assert loss["summary"].startswith("messages before and after: b 700 -> not known; ")


def test_counts_of_two_instants_are_no_number_of_transient_messages() -> None:
    loss = restart_loss([queue("a", 0, 40)], [queue("a", 0, 0)], [])
    assert loss["queues"][0]["transient_before"] is None
    assert "transient" not in loss["summary"]
