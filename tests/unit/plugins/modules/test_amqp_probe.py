# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils._amqp import SENTENCES, SERVING, Probe, Stage, Target
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, TimedOut
from ansible_collections.veza.rabbitmq.plugins.modules import amqp_probe

PASSWORD = "s3cret-never-shown"


def params(**changes: Any) -> dict[str, Any]:
    known = {name: entry.get("default") for name, entry in amqp_probe.argument_spec().items()}
    return {**known, "login_user": "veza", "login_password": PASSWORD, **changes}


def found(outcome: str) -> Probe:
    ok = outcome in SERVING
    return Probe(outcome, ok, f"It is {outcome}.", (Stage("vhost", ok, 1.0, ""),), {}, (), 0.1)


class World:
    """A clock that only sleep and look move on, and a broker whose states come one after the other."""

    def __init__(self, *outcomes: str, look_takes: float = 0.1) -> None:
        self.outcomes = list(outcomes)
        self.look_takes = look_takes
        self.now = 1000.0
        self.sleeps: list[float] = []
        self.targets: list[Target] = []

    def look(self, target: Target) -> dict:
        self.targets.append(target)
        self.now += self.look_takes
        return asdict(found(self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]))

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def run(self, check_mode: bool = False, **changes: Any) -> dict[str, Any]:
        return amqp_probe.run(params(**changes), check_mode, self.look, lambda: self.now, self.sleep)


def test_one_look_never_fails_and_never_sleeps() -> None:
    world = World("refused")
    result = world.run()
    assert (result["outcome"], result["ok"], result["changed"], result["attempts"]) == ("refused", False, False, 1)
    assert world.sleeps == []
    assert PASSWORD not in repr(result)


def test_it_waits_until_the_broker_serves() -> None:
    world = World("refused", "timed_out", "ok")
    result = world.run(wait_timeout=60)
    assert (result["outcome"], result["attempts"]) == ("ok", 3)
    assert result["elapsed"] == pytest.approx(2.3)


def test_slow_counts_as_serving() -> None:
    assert World("slow").run(wait_timeout=60)["attempts"] == 1


def test_a_wait_in_vain_fails_with_the_keys_of_a_success() -> None:
    world = World("refused")
    with pytest.raises(TimedOut) as failure:
        world.run(wait_timeout=3)
    arguments = failure.value.fail_json_arguments()
    success = World("ok").run()
    assert set(success) | {"msg"} == set(arguments)
    assert arguments["outcome"] == "refused"
    assert 3 <= arguments["elapsed"] < 4
    assert "It is refused." in arguments["msg"]


def test_the_last_pause_ends_at_the_deadline() -> None:
    world = World("refused")
    with pytest.raises(TimedOut):
        world.run(wait_timeout=2.5)
    assert world.sleeps == pytest.approx([1.0, 1.0, 0.2])


def test_under_an_alarm_it_asks_rarely_because_each_probe_leaves_a_connection() -> None:
    world = World("blocked", "blocked", "ok")
    world.run(wait_timeout=60, publish=True)
    assert world.sleeps == [10.0, 10.0]


def test_a_probe_that_would_outlast_the_wait_is_cut() -> None:
    world = World("timed_out", look_takes=5.0)
    with pytest.raises(TimedOut):
        world.run(wait_timeout=8.0)
    assert [target.timeout for target in world.targets] == pytest.approx([5.0, 2.0])
    last = World("timed_out")
    with pytest.raises(TimedOut):
        last.run(wait_timeout=0.1)  # what the action plugin gives the last slice of a wait
    assert last.targets[0].timeout == 1.0


def test_check_mode_publishes_nothing_and_says_so() -> None:
    world = World("ok")
    result = world.run(check_mode=True, publish=True)
    assert world.targets[0].publish is False
    assert result["stages"][-1]["name"] == "publish"
    assert result["stages"][-1]["ok"] is None
    assert "check mode" in result["message"]
    real = World("ok")
    assert "check mode" not in real.run(publish=True)["message"]
    assert real.targets[0].publish is True


def test_check_mode_adds_no_stage_to_a_way_that_ended_before() -> None:
    result = World("login_refused").run(check_mode=True, publish=True)
    assert [stage["name"] for stage in result["stages"]] == ["vhost"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"timeout": 0.0}, "timeout"),
        ({"timeout": -1.0}, "timeout"),
        ({"wait_timeout": -1.0}, "wait_timeout"),
        ({"wait_timeout": float("nan")}, "wait_timeout"),
        ({"wait_timeout": 1e300}, "wait_timeout"),
        ({"login_user": "ve\ud800za"}, "login_user"),
        ({"login_password": f"{PASSWORD}\udcff"}, "^login_password holds a character that UTF-8 does not know, so no "),
        ({"vhost": "/\udcff"}, "vhost"),
        ({"login_port": 0}, "login_port"),
        ({"login_port": 65536}, "login_port"),
        ({"publish": True, "login_user": None, "login_password": None}, "login_user"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_before_anything_is_asked(changes: dict[str, Any], word: str) -> None:
    world = World("ok")
    with pytest.raises(BadInput, match=word):
        world.run(**changes)
    assert world.targets == []


def test_tls_options_count_with_tls_only() -> None:
    assert amqp_probe.target_of(params(ca_cert="/ca.pem"), False).tls is None
    tls = amqp_probe.target_of(params(ca_cert="/ca.pem", tls=True, validate_certs=False), False).tls
    assert tls is not None
    assert (tls.ca_cert, tls.validate) == ("/ca.pem", False)


def test_the_documentation_lists_every_outcome_and_every_option() -> None:
    returned = yaml.safe_load(amqp_probe.RETURN)
    assert set(returned["outcome"]["choices"]) == set(SENTENCES)
    assert set(returned) | {"changed"} == {*World("ok").run(), "container"}
    options = yaml.safe_load(amqp_probe.DOCUMENTATION)["options"]
    shared = {"ca_cert", "client_cert", "client_key", "validate_certs"}
    assert set(options) | shared == set(amqp_probe.argument_spec())
