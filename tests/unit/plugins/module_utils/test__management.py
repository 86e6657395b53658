# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import RequestFailed
from ansible_collections.veza.rabbitmq.plugins.module_utils._http import HttpClient, Reply
from ansible_collections.veza.rabbitmq.plugins.module_utils._management import Management, meaning, records, version_of

HTML = "<html><body>Welcome to nginx!</body></html>"

# status, body, outcome, what the sentence must name
ANSWERS: list[tuple[int, Any, str, str]] = [
    (200, {"status": "ok"}, "ok", "GET"),
    (200, [], "ok", "GET"),
    (200, HTML, "not_management", "nginx"),
    (200, b"", "not_management", "empty body"),
    (302, b"", "not_management", "302"),
    (401, {"error": "not_authorized", "reason": "Login failed"}, "login_refused", "login of 'monitor'"),
    (401, {"error": "not_authorized", "reason": "Not_Authorized"}, "login_refused", "login of 'monitor'"),
    (401, b"", "login_refused", "login of 'monitor'"),
    (401, {"error": "not_authorised", "reason": "Not management user"}, "not_permitted", "needs the tag monitoring"),
    (401, {"error": "not_authorised", "reason": "Not monitor user"}, "not_permitted", "needs the tag monitoring"),
    (401, {"error": "not_authorised", "reason": "User not authorised to access virtual host"}, "not_permitted",
     "set_permissions"),
    (401, {"error": "not_authorised", "reason": "something new"}, "not_permitted", "(something new)"),
    (401, HTML, "not_management", "nginx"),
    (404, {"error": "Object Not Found", "reason": "Not Found"}, "not_found", "404"),
    (404, HTML, "not_management", "nginx"),
    (400, {"error": "bad_request", "reason": "page_out_of_range"}, "server_error", "page_out_of_range"),
    (500, b"", "server_error", "500 with an empty body"),
    (502, HTML, "server_error", "nginx"),
    (503, HTML, "server_error", "nginx"),
    (503, {"status": "failed", "reason": "No active listener"}, "check_failed", "No active listener"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "outcome", "named"), ANSWERS)
def test_what_an_answer_means(reply: Callable[..., Reply], status: int, body: Any, outcome: str, named: str) -> None:
    answer = meaning(reply(body, status), "monitor")
    assert answer.outcome == outcome
    assert named in answer.detail
    assert answer.ok is (outcome == "ok")


def test_a_missing_right_is_never_called_down(reply: Callable[..., Reply]) -> None:
    detail = meaning(reply({"error": "not_authorised", "reason": "Not monitor user"}, 401), "monitor").detail
    assert "the management user 'monitor' may not" in detail
    assert "down" not in detail


def test_a_look_ends_with_the_first_request_that_hangs(scripted_http: Any, clock: Any, reply: Any) -> None:
    hung = RequestFailed("timed_out", "GET http://broker:15672/api/nodes: no complete answer within 5 s.")
    http = scripted_http(("/api/overview", reply({})), ("/api/nodes", hung), ("/api/vhosts", reply([])))
    management = Management(http, "monitor", clock)
    management.begin(15.0)
    outcomes = [management.ask(path).outcome for path in ("/api/overview", "/api/nodes", "/api/vhosts", "/api/queues")]
    assert outcomes == ["ok", "timed_out", "not_asked", "not_asked"]
    management.begin(15.0)
    assert management.ask("/api/vhosts").ok


def test_a_look_ends_when_its_time_is_over(scripted_http: Any, clock: Any, reply: Any) -> None:
    def slow() -> Reply:
        clock.sleep(4.0)
        answer: Reply = reply({})
        return answer

    http = scripted_http(("/a", slow), ("/b", slow))
    management = Management(http, "monitor", clock)
    management.begin(7.0)
    assert [management.ask(path).outcome for path in ("/a", "/b", "/c")] == ["ok", "ok", "not_asked"]
    assert http.timeouts == [7.0, 3.0]


def test_other_failures_do_not_end_a_look(scripted_http: Any, reply: Any) -> None:
    http = scripted_http(("/a", RequestFailed("reset", "GET /a: closed")), ("/b", reply({})))
    management = Management(http, "monitor")
    assert [management.ask(path).outcome for path in ("/a", "/b")] == ["reset", "ok"]


def http_answer(status: str, body: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body))

    return answer


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        ("200 OK", HTML.encode(), "not_management"),
        ("200 OK", b'{"name": "mon', "not_management"),
        ("500 Internal Server Error", b"", "server_error"),
        ("200 OK", json.dumps({"name": "x"}).encode(), "ok"),
    ],
)
def test_a_real_server(served: Any, status: str, body: bytes, outcome: str) -> None:
    management = Management(HttpClient(served(http_answer(status, body)), timeout=2.0), "monitor")
    assert management.ask("/api/whoami").outcome == outcome


def test_ten_requests_to_a_server_that_hangs_cost_one_timeout(served: Any) -> None:
    management = Management(HttpClient(served(lambda connection: connection.recv(1)), timeout=0.5), "monitor")
    management.begin(5.0)
    began = time.monotonic()
    assert [management.ask(f"/{n}").outcome for n in range(10)] == ["timed_out"] + ["not_asked"] * 9
    assert time.monotonic() - began < 4.5


@pytest.mark.parametrize(
    ("text", "version"),
    [("3.10.8", (3, 10, 8)), ("4.1.0-rc.1", (4, 1, 0)), ("4.2", (4, 2, 0)), (None, ()), ("unknown", ())],
)
def test_versions(text: str | None, version: tuple[int, ...]) -> None:
    assert version_of(text) == version


def test_an_entry_without_data_is_left_out() -> None:
    assert records([[], {"name": "a"}]) == [{"name": "a"}]
    assert records({"error": "x"}) == []
