# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.game_day.fault import Fault
from tests.game_day.result import Row
from tests.game_day.run import Limits, Run
from tests.game_day.watchers import Sample
from tests.unit.game_day.fakes import GOOD, FakeGround, fault, playbook


def run(ground: FakeGround, what: Fault | None = None, seed: int = 7) -> Row:
    return Run(ground, what or fault(), seed, Limits(look=0.0, still=0.0), sleep=lambda _seconds: None).go()


def test_a_fault_that_is_named_and_mended() -> None:
    ground = FakeGround()
    row = run(ground)
    assert row.invalid is None
    assert (row.cause, row.right, row.mended_by, row.audited_by) == ("broker_crashed", True, "recover", "recover")
    assert (row.seconds_to_serving, row.seconds_to_drained) == (4.5, 7.0)
    assert (row.missing, row.doubled, row.listed, row.second_changed) == ([], [], 1, 0)
    assert row.harms() == []
    assert row.shortfalls() == []
    assert ground.asked == [
        "reset", "load True", "diagnose_rabbitmq", "check", "recover_rabbitmq", "recover_rabbitmq", "load over",
        "settle",
    ]  # fmt: skip


def test_a_fault_that_is_never_present_makes_the_run_invalid() -> None:
    ground = FakeGround()
    row = run(ground, fault(present=lambda _lab, _params: None))
    assert row.invalid == "the fault was not to be seen within 0.01 s of its injection"
    assert row.right is None
    assert row.harms() == [f"INVALID: {row.invalid}"]
    assert "diagnose_rabbitmq" not in ground.asked


def test_a_look_that_fails_is_not_there_yet() -> None:
    def refuse(_lab: Any, _params: Any) -> str:
        raise ConnectionRefusedError

    assert run(FakeGround(), fault(present=refuse)).invalid


def test_a_fault_that_is_gone_before_it_was_diagnosed_makes_the_run_invalid_unless_it_is_fleeting() -> None:
    def once() -> Any:
        looks = iter(["seen"])
        return lambda _lab, _params: next(looks, None)

    row = run(FakeGround(), fault(present=once()))
    assert row.invalid == "the fault was gone before the diagnosis had ended"
    row = run(FakeGround(), fault(present=once(), fleeting=True))
    assert row.invalid is None


def test_an_injection_that_fails_makes_the_run_invalid() -> None:
    def fail(_lab: Any, _rng: Any) -> dict[str, Any]:
        raise RuntimeError("no such host")

    assert run(FakeGround(), fault(inject=fail)).invalid == "inject: RuntimeError: no such host"


def test_only_naming_mends_and_judges_nothing() -> None:
    ground = FakeGround()
    row = Run(ground, fault(), 7, Limits(still=0.0), sleep=lambda _seconds: None).name()
    assert (row.invalid, row.cause, row.right) == (None, "broker_crashed", True)
    assert ground.asked == ["reset", "load True", "diagnose_rabbitmq", "load over"]
    assert ground.lab == []


def test_what_no_reset_undoes_is_healed_whatever_becomes_of_the_run() -> None:
    def fail(_lab: Any, _rng: Any) -> dict[str, Any]:
        raise RuntimeError("no such host")

    for changes in ({}, {"present": lambda _lab, _params: None}, {"inject": fail}):
        ground = FakeGround()
        Run(ground, fault(sticky=True, **changes), 7, Limits(still=0.0), sleep=lambda _seconds: None).name()
        assert ground.lab == ["healed"]
    mended = FakeGround()
    assert run(mended, fault(sticky=True)).mended_by == "recover"
    assert mended.lab == []


def test_of_two_faults_at_once_both_are_to_be_named() -> None:
    two = fault(causes=frozenset({"broker_crashed", "worker_wedged"}), each=({"broker_crashed"}, {"worker_wedged"}))
    row = run(FakeGround(), two)
    assert (row.right, row.unnamed) == (True, ["worker_wedged"])
    assert row.shortfalls() == ["did not name worker_wedged besides"]
    row.also = ["worker_wedged"]
    assert row.shortfalls() == []


def test_the_seed_repeats_the_parameters() -> None:
    assert run(FakeGround(), seed=3).params == run(FakeGround(), seed=3).params
    assert run(FakeGround(), seed=3).params != run(FakeGround(), seed=4).params


def test_what_the_inventory_would_say_is_handed_on_and_never_recorded() -> None:
    ground = FakeGround()
    row = run(ground, fault(inject=lambda _lab, _rng: {"user": "veza", "extra_vars": {"password": "s3cret"}}))
    assert ground.extras == [{"password": "s3cret"}] * 4
    assert row.params == {"user": "veza"}
    assert "s3cret" not in str(row.document())


def test_flags_go_to_every_recovery() -> None:
    ground = FakeGround()
    run(ground, fault(flags=("-e", "outage_recover_start_stopped=true")))
    assert [line for line in ground.asked if line.startswith("recover")] == [
        "recover_rabbitmq outage_recover_start_stopped=true"
    ] * 2


def test_a_wrong_cause_is_a_shortfall_and_no_harm() -> None:
    row = run(FakeGround(plays={"diagnose_rabbitmq": [playbook("diagnose_rabbitmq", cause="healthy")]}))
    assert row.right is False
    assert row.harms() == []
    assert row.shortfalls() == ["named healthy instead of broker_crashed"]


def test_what_the_recovery_leaves_is_healed_by_hand_and_audited() -> None:
    asked = [playbook("recover_rabbitmq", status=2, decision="ask"), playbook("recover_rabbitmq", decision="nothing")]
    ground = FakeGround(mends=False, plays={"recover_rabbitmq": asked})
    row = run(ground)
    assert (row.decision, row.mended_by, row.audited_by) == ("ask", "human", "person")
    assert ground.lab == ["healed"]
    assert ground.asked[4:7] == ["recover_rabbitmq", "audit_rabbitmq", "recover_rabbitmq"]
    assert row.shortfalls() == ["not mended by recover_rabbitmq"]


def test_that_a_human_decides_is_no_shortfall_where_no_remedy_is_promised() -> None:
    asked = [playbook("recover_rabbitmq", status=2, decision="ask"), playbook("recover_rabbitmq", decision="nothing")]
    row = run(FakeGround(mends=False, plays={"recover_rabbitmq": asked}), fault(recovers=False))
    assert row.shortfalls() == []


def test_a_recovery_that_acted_and_failed_is_run_again_to_finish() -> None:
    plays = [
        playbook("recover_rabbitmq", status=2),
        playbook("recover_rabbitmq", changed=3),
        playbook("recover_rabbitmq"),
    ]
    ground = FakeGround(mends=False, plays={"recover_rabbitmq": plays})
    row = run(ground)
    assert row.audited_by == "recover"
    assert row.second_changed == 0
    assert row.failures == ["recover_rabbitmq failed (2)"]
    assert "audit_rabbitmq" not in ground.asked


def test_a_playbook_that_never_ends_is_the_products_failure() -> None:
    plays = [playbook("recover_rabbitmq", status=None), playbook("recover_rabbitmq"), playbook("recover_rabbitmq")]
    row = run(FakeGround(plays={"recover_rabbitmq": plays}))
    assert row.invalid is None
    assert row.failures == ["recover_rabbitmq did not end in time"]


def test_what_does_not_end_with_healing_makes_the_run_invalid() -> None:
    row = run(FakeGround(mends=False), fault(mended=lambda _lab, _params: False))
    assert row.invalid == "it does not serve within 240 s of the catalogue's own healing"


def test_a_second_run_that_changes_something_is_harm() -> None:
    plays = [playbook("recover_rabbitmq", changed=9), playbook("recover_rabbitmq", changed=2)]
    row = run(FakeGround(plays={"recover_rabbitmq": plays}))
    assert row.harms() == ["the second run changed 2: Task 0 (localhost), Task 1 (localhost)"]


def test_what_check_mode_had_not_said_is_harm() -> None:
    def harms(said: tuple[str, ...], done: list[str], **changes: Any) -> list[str]:
        said_so = playbook("check", actions=said)
        return run(FakeGround(plays={"check": [said_so]}, done=done), fault(**changes)).harms()

    assert harms(("start_broker on rabbitmq",), ["start_broker on rabbitmq"]) == []
    assert harms((), ["start_broker on rabbitmq"]) == ["1 not predicted: start_broker on rabbitmq"]
    assert harms(("start_broker on rabbitmq",), []) == ["1 predicted, not done: start_broker on rabbitmq"]
    assert harms((), ["start_broker on rabbitmq"], fleeting=True) == []


def test_an_end_that_cannot_be_judged_makes_the_run_invalid() -> None:
    assert "publisher backend-1 3" in str(run(FakeGround(left=["publisher backend-1 3"])).invalid)
    assert "unread" in str(run(FakeGround(verdict=replace(GOOD, invalid=("unread",)))).invalid)
    assert run(FakeGround(verdict=replace(GOOD, accepted=0))).invalid == "no request was accepted"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"missing": (("dmca", "1"),)}, "1 missing: dmca 1"),
        ({"doubled": {"transcode:1:1": "twice"}}, "1 doubled: transcode:1:1: twice"),
        ({"not_listed": (("search", "4"),)}, "1 accounted for wrongly: search 4 not listed"),
        ({"wrongly_listed": (("search", "5"),)}, "1 accounted for wrongly: search 5 listed, not lost"),
    ],
)
def test_what_the_ledger_finds_is_harm(changes: dict[str, Any], told: str) -> None:
    assert run(FakeGround(verdict=replace(GOOD, **changes))).harms() == [told]


def test_a_forbidden_action_is_told_with_its_step() -> None:
    before, after = (Sample(backends={"backend-1": identity}) for identity in ("a", "b"))
    assert run(FakeGround(samples=[before, before, after])).forbidden == [
        "recover_rabbitmq restarted the backend on backend-1"
    ]


def test_what_changes_while_a_human_heals_is_nobodys_fault() -> None:
    asked = [playbook("recover_rabbitmq", status=2, decision="ask"), playbook("recover_rabbitmq", decision="nothing")]
    before, after = (Sample(backends={"backend-1": identity}) for identity in ("a", "b"))
    ground = FakeGround(mends=False, plays={"recover_rabbitmq": asked}, samples=[before, before, before, after])
    assert run(ground).forbidden == []
