# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._http import Reply
from ansible_collections.veza.rabbitmq.plugins.modules import eventbus_level as module

TOKEN = "token-planted"


class Api:
    """An instance with a level; ``deaf`` accepts every change and makes none."""

    def __init__(self, level: str = "warn", deaf: bool = False, status: int = 200) -> None:
        self.level, self.deaf, self.status, self.asked = level, deaf, status, [""][:0]

    def get(self, path: str) -> Reply:
        return self.request("GET", path)

    def request(self, method: str, path: str, json_body: Any = None) -> Reply:
        self.asked.append(method)
        if json_body and not self.deaf:
            self.level = json_body["level"]
        return Reply(self.status, {}, json.dumps({"level": self.level}).encode(), 0.0, f"http://b{path}")


@pytest.fixture
def run(params_of: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    def go(api: Api, check_mode: bool = False, **params: Any) -> dict[str, Any]:
        known = params_of(module.argument_spec(), api_url="http://b", token=TOKEN, **params)
        return module.run(known, api, check_mode)  # type: ignore[arg-type]

    return go


def test_it_is_changed_once(run: Callable[..., Any]) -> None:
    api = Api()
    predicted = run(api, check_mode=True, level="error")
    assert (api.level, api.asked) == ("warn", ["GET"])
    done = run(api, level="error")
    assert (predicted["changed"], predicted["diff"], predicted["level"]) == (True, done["diff"], done["level"])
    assert (done["before"], api.level) == ("warn", "error")
    api.asked.clear()
    assert not run(api, level="error")["changed"]
    assert api.asked == ["GET"]


def test_it_is_read(run: Callable[..., Any]) -> None:
    assert run(Api("error"))["level"] == "error"


def test_a_change_that_was_not_made_fails(run: Callable[..., Any]) -> None:
    with pytest.raises(VezaError, match="accepted, and the level is still warn"):
        run(Api(deaf=True), level="error")


@pytest.mark.parametrize(("status", "said"), [(401, "the token is wrong"), (404, "no such endpoint"), (500, "failed")])
def test_a_refusal_says_why(run: Callable[..., Any], status: int, said: str) -> None:
    with pytest.raises(VezaError, match=said):
        run(Api(status=status), level="error")


def test_an_answer_without_the_level_fails(run: Callable[..., Any]) -> None:
    with pytest.raises(VezaError, match="has no 'severity'"):
        run(Api(), level="error", field="severity")


def test_the_token_is_in_no_output(run_main: Callable[..., Any], served: Callable[..., str]) -> None:
    url = served(lambda one: one.sendall(b"HTTP/1.0 401 No\r\n\r\n" + TOKEN.encode()))
    outcome = run_main(module, api_url=url, token=TOKEN)
    assert outcome.failed
    assert TOKEN not in json.dumps(outcome.result)
    assert run_main(module, api_url=url, token=TOKEN, path="x").failed
