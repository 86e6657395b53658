# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._lease import (
    GONE,
    Asked,
    abort,
    acquire,
    check,
    is_dead,
    release,
    view,
    who,
)

NOW = datetime(2026, 1, 31, 2, 3, 4, tzinfo=UTC)
ALICE: dict[str, Any] = {
    "host": "ctl-1",
    "boot_id": "b1",
    "pid_namespace": "pid:[1]",
    "pid": 42,
    "started": "1000",
    "user": "alice",
    "job": None,
    "playbook": "recover_rabbitmq.yml",
}
BOB = {**ALICE, "host": "ctl-2", "boot_id": "b2", "user": "bob", "job": "17"}


def asked(holder: dict[str, Any] | None = None, **changes: Any) -> Asked:
    return Asked(**{"holder": holder or ALICE, "ttl": 120, **changes})


def alices(**changes: Any) -> dict[str, Any]:
    lease = acquire(None, asked(phase="drain", eta_at="2026-01-31T02:09:00.000Z"), NOW).lease
    assert lease is not None
    return {**lease, **changes}


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_lease_that_nobody_has_is_given() -> None:
    decision = acquire(None, asked(phase="diagnose"), NOW)
    assert (decision.what, decision.refused, decision.taken_over) == ("acquired", False, None)
    assert decision.lease == {
        "token": 1,
        "holder": ALICE,
        "acquired_at": "2026-01-31T02:03:04.000Z",
        "renewed_at": "2026-01-31T02:03:04.000Z",
        "expires_at": "2026-01-31T02:05:04.000Z",
        "ttl": 120,
        "phase": "diagnose",
        "eta_at": None,
        "abort": None,
    }


def test_who_has_it_keeps_it_with_the_same_token() -> None:
    decision = acquire(alices(), asked(ttl=60), after(30))
    assert decision.what == "renewed"
    assert decision.lease is not None
    kept = {key: decision.lease[key] for key in ("token", "acquired_at", "expires_at", "phase")}
    assert kept == {
        "token": 1,
        "acquired_at": "2026-01-31T02:03:04.000Z",
        "expires_at": "2026-01-31T02:04:34.000Z",
        "phase": "drain",
    }


def test_whoever_comes_second_is_told_everything() -> None:
    decision = acquire(alices(), asked(BOB), after(30))
    assert (decision.what, decision.refused, decision.lease) == ("held", True, None)
    for part in (
        "alice on ctl-1 (pid 42, recover_rabbitmq.yml)",
        "since 2026-01-31T02:03:04.000Z",
        "in phase drain",
        "expected to end at 2026-01-31T02:09:00.000Z",
        "until 2026-01-31T02:05:04.000Z (90 s from now)",
        "run again",
    ):
        assert part in decision.message


@pytest.mark.parametrize(("seconds", "what"), [(119.9, "held"), (120, "acquired"), (1000, "acquired")])
def test_a_lease_of_somebody_else_is_taken_when_it_has_expired(seconds: float, what: str) -> None:
    decision = acquire(alices(), asked(BOB), after(seconds))
    assert decision.what == what
    if what == "acquired":
        assert decision.lease is not None
        assert (decision.lease["token"], decision.lease["holder"]) == (2, BOB)
        assert decision.taken_over == {"holder": ALICE, "reason": "it expired at 2026-01-31T02:05:04.000Z"}


def test_a_dead_holder_is_taken_over_at_once_but_only_the_one_that_was_found_dead() -> None:
    assert acquire(alices(), asked(BOB, dead_token=1), after(1)).what == "acquired"
    assert acquire(alices(token=2), asked(BOB, dead_token=1), after(1)).what == "held"


@pytest.mark.parametrize("change", [{"pid": 43}, {"started": "1001"}, {"boot_id": "b9"}, {"pid_namespace": "pid:[2]"}])
def test_another_process_is_another_holder(change: dict[str, Any]) -> None:
    assert acquire(alices(), asked({**ALICE, **change}), after(1)).what == "held"
    assert check(alices(), asked({**ALICE, **change}, token=1), after(1)).what == "lost"


def test_the_user_and_the_job_do_not_make_another_holder() -> None:
    assert acquire(alices(), asked({**ALICE, "user": "root", "job": "9"}), after(1)).what == "renewed"


def test_the_token_never_shrinks() -> None:
    tokens, lease = [], None
    for step in range(4):
        holder = {**ALICE, "pid": step}
        lease = acquire(lease, asked(holder), after(step)).lease
        assert lease is not None
        tokens.append(lease["token"])
        lease = release(lease, asked(holder, token=lease["token"]), after(step)).lease
    assert tokens == [1, 2, 3, 4]


def test_a_check_renews_even_a_lease_that_expired_without_being_taken() -> None:
    for seconds in (60, 500):
        decision = check(alices(), asked(token=1), after(seconds))
        assert decision.what == "renewed"
        assert decision.lease is not None
        assert view(decision.lease, after(seconds))["remaining"] == 120.0  # type: ignore[index]


@pytest.mark.parametrize(
    ("lease", "names"),
    [
        (None, "nobody holds"),
        (alices(holder=None), "nobody holds"),
        (alices(token=2), "token 2"),
        (alices(token=2, holder=BOB), "bob on ctl-2"),
    ],
)
def test_a_check_fails_for_a_run_that_has_lost_its_lease(lease: dict[str, Any] | None, names: str) -> None:
    decision = check(lease, asked(token=1), after(1))
    assert (decision.what, decision.refused, decision.lease) == ("lost", True, None)
    assert names in decision.message
    assert "Nothing more may be done" in decision.message


def test_a_new_phase_drops_the_end_that_the_last_one_expected() -> None:
    def renewed(**changes: Any) -> tuple[Any, Any]:
        lease = check(alices(), asked(token=1, **changes), after(1)).lease
        assert lease is not None
        return lease["phase"], lease["eta_at"]

    assert renewed() == ("drain", "2026-01-31T02:09:00.000Z")
    assert renewed(phase="drain") == ("drain", "2026-01-31T02:09:00.000Z")
    assert renewed(phase="audit") == ("audit", None)
    assert renewed(phase="audit", eta_at="x") == ("audit", "x")


def test_a_release_frees_only_ones_own_and_may_be_repeated() -> None:
    decision = release(alices(), asked(token=1), after(5))
    assert decision.what == "released"
    assert decision.lease is not None
    assert (decision.lease["token"], decision.lease["holder"], decision.lease["phase"]) == (1, None, None)
    for lease in (decision.lease, None, alices(token=2, holder=BOB), alices(holder=BOB)):
        again = release(lease, asked(token=1), after(6))
        assert (again.what, again.refused, again.lease) == ("not_held", False, None)


def test_the_view_adds_what_follows_from_the_time() -> None:
    def seen(lease: dict[str, Any] | None, seconds: float) -> Any:
        shown = view(lease, after(seconds))
        return shown and (shown["held"], shown["expired"], shown["remaining"])

    assert seen(None, 0) is None
    assert seen(alices(), 20.5) == (True, False, 99.5)
    assert seen(alices(), 121) == (True, True, 0.0)
    assert seen(alices(holder=None), 0) == (False, False, 0.0)


@pytest.mark.parametrize(("started", "dead"), [(GONE, True), ("1001", True), ("1000", False), (None, False)])
def test_a_holder_is_dead_only_when_that_is_certain(started: str | None, dead: bool) -> None:
    assert is_dead(ALICE, {**ALICE, "pid": 99}, lambda pid: started) is dead


@pytest.mark.parametrize("key", ["host", "boot_id", "pid_namespace"])
def test_a_holder_elsewhere_can_not_be_seen(key: str) -> None:
    assert not is_dead(ALICE, {**ALICE, key: "other"}, lambda pid: GONE)
    assert not is_dead({**ALICE, key: ""}, {**ALICE, key: ""}, lambda pid: GONE)


def test_a_job_is_named() -> None:
    assert who(BOB) == "bob on ctl-2 (pid 42, recover_rabbitmq.yml, job 17)"


def test_who_is_asked_to_stop_does_so_at_its_next_check_and_the_next_holder_does_not() -> None:
    marked = abort(alices(), asked(BOB), after(1))
    assert (marked.what, marked.refused) == ("aborted", False)
    assert marked.lease is not None
    assert marked.lease["abort"]["by"]["user"] == BOB["user"]
    assert abort(marked.lease, asked(ALICE), after(2)).lease == marked.lease
    for decision in (check(marked.lease, asked(token=1), after(3)), acquire(marked.lease, asked(), after(3))):
        assert (decision.what, decision.refused, decision.lease) == ("stopped", True, None)
        assert BOB["user"] in decision.message
    freed = release(marked.lease, asked(token=1), after(4)).lease
    assert freed is not None
    for lease in (freed, acquire(freed, asked(), after(5)).lease, acquire(marked.lease, asked(BOB), after(500)).lease):
        assert lease is not None
        assert lease["abort"] is None


def test_nobody_is_asked_to_stop_where_nobody_is_at_work() -> None:
    for lease in (None, release(alices(), asked(token=1), after(1)).lease):
        decision = abort(lease, asked(BOB), after(2))
        assert (decision.what, decision.refused, decision.lease) == ("not_held", False, None)


def test_a_run_that_came_after_the_look_and_has_ended_is_no_licence_to_act_on_it() -> None:
    dead = alices()
    decision = acquire(dead, asked(BOB, dead_token=dead["token"], previous_token=dead["token"] - 1), after(1))
    assert (decision.what, decision.lease) == ("overtaken", None)
    seen = asked(BOB, dead_token=dead["token"], previous_token=dead["token"])
    assert acquire(dead, seen, after(1)).what == "acquired"


@pytest.mark.parametrize("pid", [None, "", "x", -1, []])
def test_a_holder_without_a_process_is_never_called_dead(pid: Any) -> None:
    assert not is_dead({**ALICE, "pid": pid}, ALICE, lambda _pid: GONE)
