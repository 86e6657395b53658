# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._drain import (
    MAX_SAMPLES,
    Goal,
    Progress,
    View,
    line,
    message,
    sample,
    thin,
)
from ansible_collections.veza.rabbitmq.plugins.module_utils._queues import Depth, Look

NOW = datetime(2026, 1, 31, 2, 3, 4, 500_000, tzinfo=UTC)
GOAL = Goal(("jobs",))


def depth(ready: int, unacked: int = 0, name: str = "jobs", **more: Any) -> Depth:
    """Return a classic queue's trustworthy figures, but for the changes."""
    sure = {"known": True, "fresh": True, "settled": True, "confirm": False, "state": "running", "type": "classic"}
    return Depth(name, ready, unacked, **{"consumers": 1, "statistics": ready + unacked, **sure, **more})


def unknown(reason: str = "connection refused", outcome: str = "refused", name: str = "jobs") -> Depth:
    return Depth(name, reason=reason, outcome=outcome)


class Wait:
    """Samples given one after the other; each is followed by its view of the first queue."""

    def __init__(self, goal: Goal = GOAL) -> None:
        self.goal = goal
        self.progress = Progress()

    def take(self, elapsed: float, *depths: Depth, now: datetime = NOW) -> View:
        # Through JSON each time, as between two slices.
        self.progress = Progress(**json.loads(json.dumps(self.progress.as_dict())))
        return self.progress.take(self.goal, Look({depth.name: depth for depth in depths}), elapsed, now)[0]


def test_a_fresh_zero_of_a_settled_classic_queue_counts_at_once() -> None:
    view = Wait().take(0.0, depth(0))
    assert (view.drained, view.eta, view.reason) == (True, 0.0, "")


@pytest.mark.parametrize(
    "not_drained",
    [
        depth(1),
        depth(0, 1),
        depth(0, settled=False, reason="the broker has been up for 4 s only"),
        unknown(),
        Depth("jobs", known=True, settled=True, confirm=False),
        depth(0, type="quorum", confirm=True),
        depth(0, type="quorum", confirm=True, state="minority"),
        depth(0, state="down"),
        depth(0, state="crashed"),
        depth(0, type="quorum", confirm=True, statistics=4),
        depth(0, type="quorum", confirm=True, statistics=None),
        depth(0, fresh=False, confirm=True),
    ],
)
def test_what_is_not_a_proof_is_not_drained(not_drained: Depth) -> None:
    view = Wait().take(0.0, not_drained)
    assert not view.drained
    assert view.reason


def test_a_zero_that_needs_confirmation_must_last() -> None:
    wait, zero = Wait(), depth(0, type="quorum", confirm=True)
    assert [wait.take(at, zero).drained for at in (0.0, 5.0, 9.9, 10.0)] == [False, False, False, True]


@pytest.mark.parametrize("break_", [depth(1), unknown(), depth(0, type="quorum", state="minority")])
def test_a_break_begins_the_confirmation_anew(break_: Depth) -> None:
    wait, zero = Wait(), depth(0, type="quorum", confirm=True)
    wait.take(0.0, zero)
    wait.take(8.0, break_)
    assert [wait.take(at, zero).drained for at in (9.0, 18.0, 19.0)] == [False, False, True]


def test_a_zero_before_the_publishers_have_given_up_does_not_count() -> None:
    wait = Wait(Goal(("jobs",), not_before=NOW))
    assert "publishers" in wait.take(0.0, depth(0), now=NOW - timedelta(seconds=1)).reason
    assert wait.take(1.0, depth(0), now=NOW).drained


def test_the_threshold_is_for_ready_and_unacked_together() -> None:
    wait = Wait(Goal(("jobs",), threshold=10))
    assert wait.take(0.0, depth(5, 5)).drained
    assert not wait.take(1.0, depth(5, 6)).drained


def test_rate_and_eta_over_the_last_samples() -> None:
    wait = Wait()
    views = [wait.take(at, depth(1000 - 10 * at, 0)) for at in range(0, 61, 2)]
    assert (views[0].rate, views[0].eta) == (None, None)
    assert (views[-1].rate, views[-1].eta) == (-10.0, 40.0)
    assert len(wait.progress.recent["jobs"]) <= 17


def test_the_rate_forgets_what_is_long_ago() -> None:
    wait = Wait()
    for at in range(0, 101, 5):
        view = wait.take(at, depth(1000 - 10 * min(at, 50)))
    assert (view.rate, view.eta) == (0.0, None)


def test_a_queue_that_grows_has_no_eta() -> None:
    wait = Wait()
    wait.take(0.0, depth(10))
    view = wait.take(2.0, depth(20))
    assert (view.rate, view.eta) == (5.0, None)


def test_what_emptied_into_its_dead_letter_queue_is_counted() -> None:
    wait = Wait(Goal(("jobs",), dead_letters={"jobs": "jobs.dlq"}))
    wait.take(0.0, depth(40), unknown(name="jobs.dlq"))
    assert wait.take(1.0, depth(40), depth(7, name="jobs.dlq")).dead_lettered == 0
    assert wait.take(2.0, depth(20), unknown(name="jobs.dlq")).dead_lettered is None
    view = wait.take(3.0, depth(0), depth(47, name="jobs.dlq"))
    # It is empty, and that is no success.
    assert (view.drained, view.over, view.case, view.dead_lettered) == (False, True, "dead_lettered", 40)
    assert "it has emptied into its dead letter queue, which grew by 40" in message([view], 3.0)
    assert line(view.__dict__).endswith("not drained, but given up  40 dead-lettered")


@pytest.mark.parametrize(
    "counts",
    [
        (7, 46, None),  # the look that finds the queue empty gets no answer about the dead letters
        (0, 40, 0),  # somebody has emptied them
        (100, 0, 40),  # somebody had, before the others came
    ],
)
def test_dead_letters_that_were_seen_are_not_forgotten(counts: tuple[int | None, ...]) -> None:
    wait = Wait(Goal(("jobs",), dead_letters={"jobs": "jobs.dlq"}))
    for elapsed, (left, count) in enumerate(zip((40, 1, 0), counts, strict=True)):
        dead = unknown(name="jobs.dlq") if count is None else depth(count, name="jobs.dlq")
        view = wait.take(float(elapsed), depth(left), dead)
    assert (view.drained, view.case) == (False, "dead_lettered")
    assert view.dead_lettered in (39, 40)


@pytest.mark.parametrize("false_zero", [{"settled": False}, {"statistics": 100, "confirm": True, "type": "quorum"}])
def test_a_zero_that_counts_for_nothing_makes_no_dead_letters(false_zero: dict[str, Any]) -> None:
    wait = Wait(Goal(("jobs",), dead_letters={"jobs": "jobs.dlq"}))
    if "statistics" in false_zero:
        wait.take(0.0, depth(40), depth(100, name="jobs.dlq"))
    wait.take(1.0, depth(40), depth(0, name="jobs.dlq", **false_zero))
    view = wait.take(2.0, depth(0), depth(100, name="jobs.dlq"))
    assert (view.drained, view.dead_lettered) == (True, 0)


def test_so_many_may_be_dead_lettered() -> None:
    wait = Wait(Goal(("jobs",), dead_letters={"jobs": "jobs.dlq"}, max_dead_lettered=2))
    wait.take(0.0, depth(40), depth(7, name="jobs.dlq"))
    view = wait.take(3.0, depth(0), depth(9, name="jobs.dlq"))
    assert (view.drained, view.case) == (True, "drained")
    assert "But dead-lettered instead of done: 2 messages of jobs." in message([view], 3.0)
    assert line(view.__dict__).endswith("drained  2 dead-lettered")
    assert wait.take(4.0, depth(0), depth(10, name="jobs.dlq")).case == "dead_lettered"


@pytest.mark.parametrize(
    ("dead", "held"),
    [
        pytest.param(depth(2, 1, name="jobs.dlq"), 3, id="from before the wait"),
        pytest.param(depth(0, name="jobs.dlq"), 0, id="none"),
        pytest.param(depth(0, name="jobs.dlq", statistics=4), 0, id="emptied just now"),
        pytest.param(depth(0, name="jobs.dlq", type="quorum", confirm=True, statistics=4), 4, id="no leader"),
        pytest.param(depth(0, name="jobs.dlq", settled=False), None, id="not counted yet after a boot"),
        pytest.param(depth(5, name="jobs.dlq", settled=False), 5, id="some are there already"),
        pytest.param(unknown(name="jobs.dlq"), None, id="no answer"),
    ],
)
def test_dead_letters_that_were_there_before_the_wait_are_told_and_do_not_count(dead: Depth, held: int | None) -> None:
    view = Wait(Goal(("jobs",), dead_letters={"jobs": "jobs.dlq"})).take(0.0, depth(0), dead)
    assert (view.drained, view.dead_lettered or 0, view.dead_letters) == (True, 0, held)


def test_a_queue_without_a_dead_letter_queue_has_none() -> None:
    assert Wait().take(0.0, depth(0)).dead_letters is None


def test_the_broker_has_answered_once_it_has() -> None:
    wait = Wait()
    wait.take(0.0, unknown())
    assert not wait.progress.answered
    wait.take(1.0, depth(3))
    wait.take(2.0, unknown())
    assert wait.progress.answered


def test_lines() -> None:
    wait = Wait()
    first = wait.take(0.0, depth(826, 14))
    assert line(first.__dict__) == "jobs  840 left (ready 826, unacked 14)  condition not met yet: messages are left"
    second = wait.take(2.0, depth(800, 12))
    assert line(second.__dict__) == "jobs  812 left (ready 800, unacked 12)  -14.0/s  ETA 58 s"
    third = wait.take(4.0, depth(900, 12))
    assert line(third.__dict__) == "jobs  912 left (ready 900, unacked 12)  +18.0/s  no ETA: it does not get less"
    gone = wait.take(6.0, unknown("GET http://mq:15672/api/overview: connection refused."))
    assert line(gone.__dict__).startswith("jobs  unknown, condition not met yet: GET http://mq:15672/api/overview")
    assert line(wait.take(8.0, depth(0)).__dict__) == "jobs  0 left (ready 0, unacked 0)  drained"
    waiting = wait.take(10.0, depth(0, confirm=True, type="quorum"))
    assert "condition not met yet: not confirmed yet: this must last" in line(waiting.__dict__)


def test_the_message_says_for_each_queue_what_is_left() -> None:
    wait = Wait()
    wait.take(0.0, depth(826, 14))
    views = [wait.take(2.0, depth(800, 12, consumers=0)), Wait().take(2.0, unknown("no answer."))]
    assert message(views, 2.0) == (
        "Not drained after 2.0 s: jobs: 812 left (ready 800, unacked 12), 0 consumers, -14.0/s; "
        "jobs: unknown (no answer)."
    )


def test_a_sample_has_the_instant_in_utc() -> None:
    berlin = NOW.astimezone(timezone(timedelta(hours=1)))
    assert sample({"jobs": depth(3, 1)}, 1.23456, berlin) == {
        "at": "2026-01-31T02:03:04.500Z",
        "elapsed": 1.235,
        "queues": {"jobs": {"ready": 3, "unacked": 1, "consumers": 1}},
    }


def test_samples_are_bounded_and_keep_their_ends() -> None:
    kept: list[dict[str, Any]] = []
    for number in range(5000):
        kept = thin([*kept, {"elapsed": number}])
        assert len(kept) <= MAX_SAMPLES
    assert (kept[0]["elapsed"], kept[-1]["elapsed"]) == (0, 4999)
    assert [entry["elapsed"] for entry in kept] == sorted(entry["elapsed"] for entry in kept)
