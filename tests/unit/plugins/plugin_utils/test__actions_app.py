# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.plugin_utils import _actions_app as actions
from tests.unit.plugins.filter import evidence as seen

REMEDY = {"may_lose": "nothing"}
REFUSED = seen.probe("login_refused", "login")
STEP = {"cause": "credentials_rotated", "targets": ["backend-1", "backend-2", "workers"], "queues": []}


def settings(*flags: str, **changes: Any) -> dict[str, Any]:
    known = (actions.RECREATE, actions.MEND)
    return {
        "flags": {flag: flag in flags for flag in known}, "user": "veza", "backend_container": "veza_backend_api",
        "network_mend": [], **changes,
    }  # fmt: skip


def held(matches: bool = False, user: str = "veza", file: bool | None = False) -> dict[str, Any]:
    """Return the login that a container holds; ``file`` says whether its environment file has the right one."""
    in_file = None if file is None else {"path": "/opt/veza/.env", "fingerprint": "abc", "matches": file}
    return {"variable": "AMQP_URL", "user": user, "fingerprint": "def", "matches": matches, "file": in_file}


def rotated(api: dict[str, Any], worker: dict[str, Any], state: str = "running") -> dict[str, Any]:
    backend = seen.app(seen.container(seen=REFUSED, amqp=api))
    workers = [
        seen.container(f"veza-{name}-1", name, REFUSED, amqp=worker, state=state)
        for name in ("worker-dmca", "worker-search")
    ]
    known = seen.evidence(None, seen.info(), REFUSED, workers=seen.app(*workers))
    known["apps"].update({"backend-1": {"info": backend}, "backend-2": {"info": backend}})
    return known


def renewal(evidence: dict[str, Any], *flags: str, **changes: Any) -> Any:
    return actions.renew_credentials(STEP, REMEDY, evidence, settings(*flags, **changes))


def taken(choice: Any) -> list[tuple[str, str]]:
    return [(action["name"], action["target"]) for action in choice.actions]


FILES = [("write_environment", host) for host in ("backend-1", "backend-2", "workers")]
WORKERS = [("recreate_workers", "workers")]
BACKENDS = [("recreate_backend", "backend-1"), ("recreate_backend", "backend-2")]


def test_workers_are_renewed_and_the_api_is_asked_for() -> None:
    choice = renewal(rotated(held(), held()))
    assert taken(choice) == [*FILES, *WORKERS]
    assert "restarts the backend" in choice.arguments["left"]
    assert f"-e {actions.RECREATE}=true" in choice.arguments["left"]
    assert choice.not_simulated == [choice.arguments["left"]]
    assert choice.arguments["renew"][3]["containers"] == ["veza-worker-dmca-1", "veza-worker-search-1"]


def test_with_a_persons_word_the_api_comes_last_one_instance_after_the_other() -> None:
    choice = renewal(rotated(held(), held()), actions.RECREATE)
    assert taken(choice) == [*FILES, *WORKERS, *BACKENDS]
    assert (choice.arguments["left"], choice.ask) == ("", None)


def test_a_second_run_does_only_what_is_left() -> None:
    after = rotated(held(file=True), held(matches=True, file=True))
    assert "restarts the backend" in str(renewal(after).ask)
    assert taken(renewal(after, actions.RECREATE)) == BACKENDS
    assert taken(renewal(rotated(held(file=True), held(file=True)))) == WORKERS
    done = renewal(rotated(held(matches=True, file=True), held(matches=True, file=True)))
    assert (done.actions, done.ask, done.arguments["renew"]) == ([], None, [])


def test_a_password_that_is_not_proved_is_given_to_nobody() -> None:
    evidence = rotated(held(), held())
    for look in [*evidence["apps"].values(), *evidence["brokers"].values()]:
        look["info"]["probe"] = REFUSED
    assert "given to nobody" in str(renewal(evidence, actions.RECREATE).ask)
    for look in [*evidence["apps"].values(), *evidence["brokers"].values()]:
        look["info"]["probe"] = None
    assert "no host could try it" in str(renewal(evidence).ask)


def test_another_users_login_is_not_ours_to_change() -> None:
    choice = renewal(rotated(held(), held(user="veza-worker")))
    assert ("recreate_workers", "workers") not in taken(choice)
    assert "veza-worker-dmca-1 on workers logs in as veza-worker" in choice.arguments["left"]


def test_another_users_login_that_gets_through_is_not_touched_either() -> None:
    evidence = rotated(held(matches=True, file=True), held(user="indexer"))
    for container in evidence["apps"]["workers"]["info"]["containers"]:
        container["probe"] = seen.probe()
    choice = renewal(evidence, actions.RECREATE)
    assert (taken(choice), choice.ask) == ([], None)


def test_a_login_of_which_the_user_is_not_known_may_be_the_inventorys() -> None:
    nobody = {**held(), "user": None}
    assert WORKERS[0] in taken(renewal(rotated(held(), nobody)))


def test_what_somebody_stopped_stays_stopped() -> None:
    assert taken(renewal(rotated(held(matches=True), held(), state="exited"), actions.RECREATE)) == []


MEND = [
    {"cause": "backend_path_refused", "target": "backend-1", "host": "rabbitmq", "argv": ["nft", "flush"]},
    {"cause": "backend_path_refused", "target": "backend-2", "host": "rabbitmq", "argv": ["nft", "flush"]},
    {"cause": "backend_path_dropped", "host": "backend-1", "argv": ["nft", "x"]},
]


def mending(cause: str, targets: list[str], *flags: str) -> Any:
    step = {"cause": cause, "targets": targets, "queues": []}
    return actions.mend_network(step, REMEDY, {}, settings(*flags, network_mend=MEND))


def test_the_operators_commands_run_once_and_only_where_they_belong() -> None:
    choice = mending("backend_path_refused", ["backend-1", "backend-2"], actions.MEND)
    assert taken(choice) == [("mend_network", "rabbitmq: nft flush")]
    assert choice.arguments["mend"] == [{"host": "rabbitmq", "argv": ["nft", "flush"], "told": "rabbitmq: nft flush"}]
    assert taken(mending("backend_path_dropped", ["backend-1"], actions.MEND)) == [
        ("mend_network", "backend-1: nft x"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cause", "targets", "flags", "said"),
    [
        ("backend_path_refused", ["backend-1"], [], f"rabbitmq: nft flush. To have that done: -e {actions.MEND}=true"),
        ("backend_path_dropped", ["backend-2"], [actions.MEND], "veza_network_mend has no command for"),
        ("network_down", ["backend-2"], [actions.MEND], "veza_network_mend has no command for network_down"),
    ],
)
def test_otherwise_a_person_is_asked(cause: str, targets: list[str], flags: list[str], said: str) -> None:
    choice = mending(cause, targets, *flags)
    assert choice.actions == []
    assert said in str(choice.ask)
