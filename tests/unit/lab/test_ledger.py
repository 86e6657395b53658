# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger judges recoveries; here it is shown that it can fail them, each for its own reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.lab import ledger
from tests.lab.ledger import Attempt, Effect, Facts, Job, Outage, Request, Settled, judge

UPLOADS = ("1", "2", "3")
MESSAGE = "message:m"


def request(number: int, what: str, entity: str | None, *, outcome: ledger.Outcome = "ok", **more: Any) -> Request:
    at = 90.0 + number * 10
    fields = {"sent_at": at, "ended_at": at + 0.5, **more}
    return Request(id=str(number), what=what, api="backend-1", outcome=outcome, entity_id=entity, **fields)


def settled(**changes: Any) -> Settled:
    state = Settled(
        at=300.0,
        needed=11.0,
        buffered={"backend-1": 0, "backend-2": 0},
        sockets=0,
        ready={"transcode_jobs": 0, "search_index_updates": 0},
        unacked={"transcode_jobs": 0, "search_index_updates": 0},
        live_jobs=0,
        dead_letters=(),
        dead_letter_depth=0,
    )
    return replace(state, **changes)


def good(**changes: Any) -> Facts:
    """Return a run in which all went well: upload 1 before the outage; the rest was lost, replayed or listed."""
    facts = Facts(
        requests=(
            request(1, "upload", "1"),
            request(2, "upload", "2"),
            request(3, "takedown", "7", track_id="1"),
            request(4, "distribute", "5", track_id="1"),
            request(5, "upload", "3"),
            request(6, "read", None, track_id="1"),
        ),
        attempts=(
            Attempt("transcode:1:1", MESSAGE, 100.9),
            Attempt("search:1:1", MESSAGE, 100.9),
            Attempt("transcode:2:1", "job:1", 171.0),
            Attempt("transcode:3:1", MESSAGE, 161.0),
            Attempt("search:3:1", MESSAGE, 161.0),
        ),
        effects=(
            Effect("transcode:1:1", MESSAGE, 101.0),
            Effect("search:1:1", MESSAGE, 101.0),
            Effect("transcode:2:1", "job:1", 171.1),
            Effect("transcode:3:1", MESSAGE, 161.1),
            Effect("search:3:1", MESSAGE, 161.1),
        ),
        jobs=(Job("1", "2", "done", 170.0),),
        final_reads={"1": {"backend-1": 451, "backend-2": 451}},
        settled=settled(),
        outage=Outage(killed_at=105.0, refused=9, back_at=155.0),
        listed=frozenset({("search", "2"), ("distribution", "5")}),
    )
    return replace(facts, **changes)


def test_a_good_run_is_ok() -> None:
    verdict = judge(good())
    assert verdict.findings() == []
    assert verdict.ok
    assert verdict.line() == "ledger: 5 effects, 0 missing, 0 doubled, 2 listed as lost"
    assert verdict.replayed == {"dmca": 1, "transcode": 1}
    assert (verdict.accepted, verdict.unknown, verdict.redeliveries) == (6, 0, 0)


def without(facts: Facts, *keys: str) -> Facts:
    return replace(facts, effects=tuple(effect for effect in facts.effects if effect.key not in keys))


def test_an_accepted_request_without_an_effect_is_missing() -> None:
    verdict = judge(without(good(), "search:1:1"))
    assert verdict.missing == (("search", "1"),)
    assert verdict.not_listed == (("search", "1"),)
    assert not verdict.ok
    assert verdict.line() == "ledger: 4 effects, 1 missing, 0 doubled, 2 listed as lost"


def test_listing_excuses_what_has_no_replay() -> None:
    facts = without(good(), "search:1:1")
    verdict = judge(replace(facts, listed=(facts.listed or frozenset()) | {("search", "1")}))
    assert verdict.ok
    assert verdict.lost == (("distribution", "5"), ("search", "1"), ("search", "2"))


def test_listing_never_excuses_what_has_a_replay() -> None:
    facts = without(good(), "transcode:2:1")
    verdict = judge(replace(facts, listed=(facts.listed or frozenset()) | {("transcode", "2")}))
    assert verdict.missing == (("transcode", "2"),)
    assert verdict.wrongly_listed == (("transcode", "2"),)
    assert "transcode 2 has an automatic replay" in "\n".join(verdict.findings())


def test_what_was_not_lost_may_not_be_listed() -> None:
    facts = good()
    verdict = judge(replace(facts, listed=(facts.listed or frozenset()) | {("search", "1")}))
    assert verdict.missing == ()
    assert verdict.wrongly_listed == (("search", "1"),)
    assert not verdict.ok


@pytest.mark.parametrize("status", [200, 404])
def test_a_takedown_is_judged_by_what_every_instance_answers(status: int) -> None:
    facts = good(final_reads={"1": {"backend-1": 451, "backend-2": status}})
    facts = replace(facts, effects=(*facts.effects, Effect("dmca:7:1", MESSAGE, 131.0)))
    assert judge(facts).missing == (("dmca", "7"),)


def test_two_committed_effects_are_doubled() -> None:
    facts = good()
    verdict = judge(replace(facts, effects=(*facts.effects, Effect("search:1:1", "message:n", 200.0))))
    assert list(verdict.doubled) == ["search:1:1"]
    assert "doubled: search:1:1: 2 committed effects (message:m, message:n)" in verdict.findings()


def test_a_replay_of_what_was_done_already_is_doubled() -> None:
    facts = good()
    verdict = judge(replace(facts, jobs=(*facts.jobs, Job("2", "1", "done", 170.0))))
    assert list(verdict.doubled) == ["transcode:1:1"]


def test_a_replay_of_what_is_done_later_all_the_same_is_doubled() -> None:
    facts = good()
    verdict = judge(replace(facts, jobs=(*facts.jobs, Job("2", "3", "done", 100.0))))
    assert list(verdict.doubled) == ["transcode:3:1"]


def test_a_second_job_for_a_track_is_doubled() -> None:
    facts = good()
    attempts = (*facts.attempts, Attempt("transcode:2:1", "job:2", 172.0))
    verdict = judge(replace(facts, jobs=(*facts.jobs, Job("2", "2", "done", 170.0)), attempts=attempts))
    assert list(verdict.doubled) == ["transcode:2:1"]


def test_a_message_that_arrives_after_its_replay_is_doubled_though_only_one_effect_is_committed() -> None:
    facts = good()
    verdict = judge(replace(facts, attempts=(*facts.attempts, Attempt("transcode:2:1", MESSAGE, 170.0))))
    assert verdict.doubled == {"transcode:2:1": "message:m was still delivered after job:1 was inserted"}


def test_an_attempt_before_the_replay_is_its_reason_not_a_doubling() -> None:
    facts = good()
    assert judge(replace(facts, attempts=(*facts.attempts, Attempt("transcode:2:1", MESSAGE, 169.9)))).ok


def test_redeliveries_of_one_message_are_counted_apart() -> None:
    facts = good()
    again = Attempt("search:1:1", MESSAGE, 102.0, redelivered=True)
    verdict = judge(replace(facts, attempts=(*facts.attempts, again, again)))
    assert verdict.ok
    assert verdict.redeliveries == 2


def test_an_unknown_request_obliges_nothing() -> None:
    facts = good()
    verdict = judge(replace(facts, requests=(*facts.requests, request(7, "upload", None, outcome="unknown"))))
    assert verdict.ok
    assert verdict.unknown == 1


def test_a_listed_event_may_stem_from_an_unknown_request_but_only_from_one() -> None:
    facts = good()
    facts = replace(facts, requests=(*facts.requests, request(7, "upload", None, outcome="unknown")))
    listed = facts.listed or frozenset()
    assert judge(replace(facts, listed=listed | {("search", "8")})).unattributed == (("search", "8"),)
    assert judge(replace(facts, listed=listed | {("search", "8")})).ok
    two = judge(replace(facts, listed=listed | {("search", "8"), ("search", "9")}))
    assert two.wrongly_listed == (("search", "9"),)
    # An id that is known is not excused by what is unknown.
    assert judge(replace(facts, listed=listed | {("search", "1")})).wrongly_listed == (("search", "1"),)
    assert judge(replace(facts, listed=listed | {("transcode", "8")})).wrongly_listed == (("transcode", "8"),)


INVALID = [
    pytest.param(good(outage=None), "the outage was never seen", id="no outage"),
    pytest.param(good(outage=Outage(105.0, 0, 155.0)), "the outage was never seen", id="port never refused"),
    pytest.param(good(outage=Outage(105.0, 9, None)), "never seen to accept connections again", id="never came back"),
    pytest.param(good(outage=Outage(105.0, 9, 106.0)), "no event was accepted while", id="nothing asked in it"),
    pytest.param(good(requests=(), effects=(), final_reads={}), "no request was accepted", id="no load"),
    pytest.param(good(demanded=frozenset({"transcode", "email"})), "no email event was lost", id="kind not lost"),
    pytest.param(
        good(
            requests=(request(1, "upload", "1"), request(2, "upload", "3")),
            demanded=frozenset(),
            effects=tuple(e for e in good().effects if e.dispatch == MESSAGE),
        ),
        "no event was lost",
        id="nothing lost",
    ),
    pytest.param(good(effects=(*good().effects, Effect("search:99:1", MESSAGE, 1.0))), "search:99:1", id="stranger"),
    pytest.param(good(settled=settled(buffered={"backend-1": 1})), "the publisher of backend-1: 1 left", id="buffer"),
    pytest.param(
        good(settled=settled(buffered={"backend-1": None})), "backend-1: could not be read", id="buffer unread"
    ),
    pytest.param(good(settled=settled(buffered={})), "no publisher was looked at", id="no publisher"),
    pytest.param(good(settled=settled(ready={})), "no queue was looked at", id="no queue"),
    pytest.param(good(settled=settled(sockets=81)), "the sockets to the broker: 81 left", id="sockets"),
    pytest.param(good(settled=settled(ready={"q": 2})), "q (ready): 2 left", id="ready"),
    pytest.param(good(settled=settled(unacked={"q": 1})), "q (unacknowledged): 1 left", id="unacked"),
    pytest.param(good(settled=settled(unacked={"q": None})), "q (unacknowledged): could not be read", id="unread"),
    pytest.param(good(settled=settled(live_jobs=1)), "transcode_jobs' live rows: 1 left", id="live jobs"),
    pytest.param(good(settled=settled(dead_letters=None)), "dead letter queues: could not be read", id="dlq unread"),
    pytest.param(good(settled=settled(dead_letter_depth=1)), "1 counted, 0 read", id="dlq not read whole"),
    pytest.param(
        good(settled=settled(dead_letters=("search:99:1",), dead_letter_depth=1)),
        "search:99:1",
        id="unknown dead letter",
    ),
    pytest.param(good(settled=settled(at=161.5)), "more than 11 s are needed", id="not settled"),
    pytest.param(good(outage=Outage(105.0, 9, 290.0)), "more than 11 s are needed", id="not settled after the outage"),
    pytest.param(good(final_reads={}), "the final state of 1 taken-down tracks was not read", id="no final read"),
    pytest.param(
        good(final_reads={"1": {"backend-1": 451, "backend-2": None}}), "final state of 1", id="an instance unread"
    ),
    pytest.param(good(listed=None), "the audit's list was not found", id="no audit"),
]


@pytest.mark.parametrize(("facts", "reason"), INVALID)
def test_a_run_that_proves_nothing_is_invalid(facts: Facts, reason: str) -> None:
    verdict = judge(facts)
    assert not verdict.ok
    assert [found for found in verdict.invalid if reason in found], verdict.invalid
    assert any(finding.startswith("INVALID: ") for finding in verdict.findings())


def test_every_doubt_has_a_case() -> None:
    doubts = {doubt.__name__ for doubt in ledger.DOUBTS}
    raised = {doubt.__name__ for case in INVALID for doubt in ledger.DOUBTS if doubt(case.values[0])}  # type: ignore[arg-type]
    assert raised == doubts


def test_ids_are_sorted_as_numbers() -> None:
    facts = good(listed=frozenset({("search", "10"), ("search", "9"), ("distribution", "100")}))
    assert judge(facts).listed == (("distribution", "100"), ("search", "9"), ("search", "10"))
