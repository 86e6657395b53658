# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.plugin_utils import _actions_boot as actions
from tests.unit.plugins.filter import evidence as seen

CONF = "/etc/rabbitmq/rabbitmq.conf"
COOKIE = "/var/lib/rabbitmq/.erlang.cookie"
GOOD = {"file": CONF, "source": f"{CONF}.bak", "modified_at": "2026-01-30T00:00:00.000Z"}


def written(path: str) -> dict[str, Any]:
    return {"at": seen.AT, "kind": "configuration", "what": f"{path} was written"}


def spoilt(size: int = 20, ok: bool | None = False) -> dict[str, Any]:
    return {"path": COOKIE, "owner": "root", "mode": "0644", "size": size, "ok": ok, "detail": "it must not"}


def place(path: str, ok: bool = False, detail: str = "rabbitmq can't write it") -> dict[str, Any]:
    return {"path": path, "owner": "root", "group": "root", "mode": "0700", "ok": ok, "detail": detail}


def choose(cause: str, info: dict[str, Any], *flags: str, brokers: int = 1) -> Any:
    step = {"cause": cause, "targets": ["rabbitmq"], "queues": []}
    known = {"brokers": {name: {"info": info} for name in ("rabbitmq", "b", "c")[:brokers]}}
    return actions.restore_boot(step, {"may_lose": "nothing"}, known, {"flags": {actions.RESTORE: bool(flags)}})


def config(line: str = "", **changes: Any) -> dict[str, Any]:
    known = {"changes": [written(CONF)], "last_good": [GOOD], **changes}
    return {**seen.failing("configuration"), "signatures": [seen.line("configuration", line)], **known}


def cookie(line: str = "", **changes: Any) -> dict[str, Any]:
    known = {"cookie": spoilt(), "signatures": [seen.line("cookie_file", line)], **changes}
    return {**seen.failing("cookie_file"), **known}


SHORT = "Too short cookie string"
OTHER = "/etc/rabbitmq/conf.d/90-x.conf"


@pytest.mark.parametrize(
    ("cause", "info", "expected"),
    [
        ("configuration_broken", config(), {"name": "restore_configuration", "path": CONF, "source": f"{CONF}.bak"}),
        (
            "configuration_broken",
            config(f"Syntax error in {CONF} after line 3", changes=[written(CONF), written(OTHER)]),
            {"name": "restore_configuration", "path": CONF},
        ),
        (
            "configuration_broken",
            config(changes=[written(CONF), written(f"{CONF}.bak")]),
            {"name": "restore_configuration", "path": CONF},
        ),
        ("cookie_broken", cookie(), {"name": "restore_owner", "path": COOKIE, "mode": "0400"}),
        ("cookie_broken", cookie(SHORT, cookie=spoilt(3, True)), {"name": "set_cookie_aside", "path": COOKIE}),
        (
            "cookie_broken",
            cookie(SHORT, last_good=[{**GOOD, "file": COOKIE}]),
            {"name": "restore_cookie", "path": COOKIE, "source": f"{CONF}.bak", "mode": "0400"},
        ),
        (
            "data_dir_not_writable",
            seen.failing("permissions", directories=[place("/var/lib/rabbitmq/mnesia"), place("/ok", True)]),
            {"name": "restore_owner", "path": "/var/lib/rabbitmq/mnesia", "mode": "u+rwX"},
        ),
        (
            "data_dir_not_writable",
            seen.failing("permissions", directories=[place(CONF, detail="rabbitmq can't read it")]),
            {"name": "restore_access", "path": CONF},
        ),
    ],
)
def test_what_is_put_back(cause: str, info: dict[str, Any], expected: dict[str, Any]) -> None:
    choice = choose(cause, info, "yes")
    assert choice.ask is None
    assert [(action["name"], action["target"]) for action in choice.actions] == [
        (expected["name"], f"rabbitmq: {expected['path']}"), ("start_broker", "rabbitmq"),
    ]  # fmt: skip
    (entry,) = choice.arguments["restore"]
    assert expected.items() <= entry.items()
    assert (entry["host"], entry["user"]) == ("rabbitmq", "rabbitmq")
    asked = choose(cause, info)
    assert asked.actions == []
    assert f"-e {actions.RESTORE}=true" in asked.ask
    assert expected["path"] in asked.ask


def test_a_directory_in_another_one_is_given_back_with_it() -> None:
    places = [place("/d/mnesia"), place("/d/mnesia/rabbit@a"), place("/log/x.log")]
    choice = choose("data_dir_not_writable", seen.failing("permissions", directories=places), "yes")
    assert [entry["path"] for entry in choice.arguments["restore"]] == ["/d/mnesia", "/log/x.log"]


HOLDER = {"pid": 7, "name": "python3", "command": "python3 -c x", "user": "root", "unit": "squatter.service"}


@pytest.mark.parametrize(
    ("cause", "info", "brokers", "said"),
    [
        (
            "configuration_broken",
            config("unknown variable: x", last_good=[]),
            1,
            f"no earlier copy of {CONF} was found",
        ),
        ("configuration_broken", config(changes=[written(CONF), written(OTHER)]), 1, f"no earlier copy of {OTHER}"),
        ("cookie_broken", cookie(SHORT), 3, "copy it from a peer"),
        (
            "port_taken",
            seen.failing("port_in_use", listeners=[{"port": 5672, "ours": False, "holder": HOLDER}]),
            1,
            "port 5672 is held by python3 (process 7), as root, unit squatter.service, command: python3 -c x",
        ),
        (
            "data_dir_not_writable",
            seen.failing("permissions", disk={"path": "/var/lib/rabbitmq", "write_error": "EROFS"}),
            1,
            "is read-only",
        ),
        ("boot_failed", seen.failing(), 1, "Nothing was found that could be put back"),
    ],
)
def test_what_software_cannot_put_back_is_said(cause: str, info: dict[str, Any], brokers: int, said: str) -> None:
    choice = choose(cause, info, "yes", brokers=brokers)
    assert choice.actions == []
    assert said in choice.ask


def test_a_host_that_was_not_seen_is_asked_about() -> None:
    step = {"cause": "cookie_broken", "targets": ["rabbitmq"], "queues": []}
    choice = actions.restore_boot(
        step, {"may_lose": "nothing"}, {"brokers": {"rabbitmq": {"info": None}}}, {"flags": {}}
    )
    assert "could not be looked at" in str(choice.ask)
