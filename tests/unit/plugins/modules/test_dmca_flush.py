# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, RequestFailed, VezaError
from ansible_collections.veza.rabbitmq.plugins.module_utils._retry import MASK, Pace
from ansible_collections.veza.rabbitmq.plugins.modules import dmca_flush
from tests.unit.scripted_http import Answer, FakeTime, Script, Server, scripted, served

TOKEN = "s3cr3t-Admin+Token/1="
FLUSHED = Answer(200, {"flushed": 3, "instance": "backend-1"})
LOGIN_PAGE = Answer(200, "<!doctype html><title>Sign in</title>", {"Content-Type": "text/html; charset=utf-8"})


def options(**given: Any) -> dict[str, Any]:
    spec = dmca_flush.argument_spec()
    assert set(given) <= set(spec)
    defaults = {name: option.get("default") for name, option in spec.items()}
    return {**defaults, "token": TOKEN, **given}


def pace(fake: FakeTime, *, timeout: float = 30.0, retries: int = 8) -> Pace:
    return Pace(timeout, retries, fake.clock, fake.now, fake.sleep)


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


def flush(server: Server, fake: FakeTime, *, check_mode: bool = False, **given: Any) -> dict[str, Any]:
    params = options(api_url=server.url, **given)
    return dmca_flush.run(params, check_mode=check_mode, pace=pace(fake, timeout=params["timeout"]))


def refused(script: Script, fake: FakeTime, **given: Any) -> VezaError:
    with served(script) as server, pytest.raises(VezaError) as caught:
        flush(server, fake, **given)
    assert TOKEN not in json.dumps(caught.value.fail_json_arguments())
    assert TOKEN not in str(caught.value)
    return caught.value


def test_one_post_with_the_token(fake: FakeTime) -> None:
    with served(scripted(FLUSHED)) as server:
        result = flush(server, fake, dropped=250)

    assert [(asked.method, asked.path) for asked in server.asked] == [("POST", "/api/v1/admin/cache/dmca/flush")]
    assert server.asked[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert result == {
        "changed": True,
        "flushed": True,
        "skipped_flush": False,
        "url": f"{server.url}/api/v1/admin/cache/dmca/flush",
        "attempts": 1,
        "status": 200,
        "answer": {"flushed": 3, "instance": "backend-1"},
        "proved": None,
        "message": f"Flushed the DMCA caches by POST {server.url}/api/v1/admin/cache/dmca/flush.",
    }


@pytest.mark.parametrize(("dropped", "posts"), [(0, 0), (None, 1), (1, 1)])
def test_only_a_certain_zero_skips(fake: FakeTime, dropped: int | None, posts: int) -> None:
    with served(scripted(FLUSHED)) as server:
        result = flush(server, fake, dropped=dropped)

    assert len(server.asked) == posts
    assert (result["changed"], result["flushed"], result["skipped_flush"]) == (posts == 1, posts == 1, posts == 0)


@pytest.mark.parametrize(("dropped", "changed"), [(0, False), (None, True), (7, True)])
def test_check_mode_predicts_and_sends_nothing(fake: FakeTime, dropped: int | None, changed: bool) -> None:
    with served(scripted()) as server:
        result = flush(server, fake, check_mode=True, dropped=dropped, proof="flushed >= `0`")

    assert server.asked == []
    assert (result["changed"], result["flushed"], result["proved"]) == (changed, False, None)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(204), id="no content"),
        pytest.param(Answer(200, "OK"), id="plain text"),
        pytest.param(Answer(202, {"queued": True}), id="accepted"),
    ],
)
def test_any_2xx_of_an_api_is_believed(fake: FakeTime, answer: Answer) -> None:
    with served(scripted(answer)) as server:
        assert flush(server, fake)["status"] == answer.status


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(Answer(401, {"error": "unauthorized"}), "wrong or has expired", id="401"),
        pytest.param(Answer(403, {"error": "forbidden"}), "not an administrator's", id="403"),
        pytest.param(Answer(404, "404 page not found"), "no such endpoint", id="404"),
        pytest.param(Answer(405), "takes no POST", id="405"),
        pytest.param(Answer(302, "", {"Location": "https://login.veza.fr/"}), "to https://login.veza.fr/", id="302"),
        pytest.param(Answer(308, "", {"Location": "https://api.veza.fr/"}), "is api_url the public one", id="308"),
        pytest.param(Answer(418, {"error": "teapot"}), "teapot", id="another"),
        pytest.param(LOGIN_PAGE, "200 with an HTML page", id="a login page"),
        pytest.param(Answer(200, "  <html>"), "200 with an HTML page", id="a page without its type"),
        pytest.param(Answer(200, "\ufeff <html>"), "200 with an HTML page", id="a page with its mark"),
        pytest.param(Answer(200, "\ufeff\n<html>".encode("utf-16-le")), "200 with an HTML page", id="UTF-16"),
        pytest.param(Answer(200, "\ufeff<html>".encode("utf-16-be")), "200 with an HTML page", id="UTF-16, the other"),
        pytest.param(
            Answer(103), "103, which is no final answer: it is unknown whether the flush was", id="early hints"
        ),
    ],
)
def test_a_refusal_is_said_as_such_and_not_repeated(fake: FakeTime, answer: Answer, said: str) -> None:
    error = refused(scripted(answer), fake)

    assert said in error.message
    assert "POST http://127.0.0.1" in error.message
    assert error.details["attempts"] == 1
    assert (error.details["changed"], error.details["flushed"], error.details["status"]) == (
        False,
        False,
        answer.status,
    )


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Answer(500, {"error": "oops"}), id="500"),
        pytest.param(Answer(503, LOGIN_PAGE.body, LOGIN_PAGE.headers), id="a gateway's page"),
        pytest.param(Answer(429), id="429 that names no time"),
        pytest.param(Answer(fault="reset"), id="reset"),
        pytest.param(Answer(200, {"flushed": 3}, fault="cut"), id="cut in the body"),
    ],
)
def test_what_may_pass_is_tried_again(fake: FakeTime, fault: Answer) -> None:
    with served(scripted(fault, fault, FLUSHED)) as server:
        result = flush(server, fake)

    assert (result["flushed"], result["attempts"], len(server.asked)) == (True, 3, 3)
    assert fake.slept == [0.5, 1.0]


@pytest.mark.parametrize(
    "retry_after", [pytest.param("7", id="seconds"), pytest.param(formatdate(1_795_000_007, usegmt=True), id="a date")]
)
def test_the_wait_that_the_api_asks_for_is_kept(fake: FakeTime, retry_after: str) -> None:
    with served(scripted(Answer(429, "", {"Retry-After": retry_after}), FLUSHED)) as server:
        result = flush(server, fake)

    assert (result["flushed"], fake.slept) == (True, [7.0])


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_beyond_the_deadline_is_not_begun(fake: FakeTime, status: int) -> None:
    error = refused(scripted(Answer(status, "", {"Retry-After": "3600"})), fake)

    assert "it asked to wait 3600 s, and the timeout leaves 30 s" in error.message
    assert fake.slept == []


def test_a_wait_in_the_past_is_none(fake: FakeTime) -> None:
    past = formatdate(1_700_000_000, usegmt=True)
    with served(scripted(Answer(429, "", {"Retry-After": past}), FLUSHED)) as server:
        flush(server, fake)

    assert fake.slept == [0.0]


def test_the_attempts_end_with_the_retries(fake: FakeTime) -> None:
    script = scripted(*[Answer(500, "oops")] * 9)
    error = refused(script, fake, timeout=1000.0)

    assert error.details["attempts"] == 9
    assert "gave up after 9 attempts" in error.message


def test_the_attempts_end_with_the_timeout(fake: FakeTime) -> None:
    error = refused(lambda _asked, _number: Answer(500, "oops"), fake, timeout=2.0)

    assert "the timeout of 2 s is used up" in error.message
    assert fake.elapsed <= 2.0


@pytest.mark.parametrize("fault", ["hang", "reset"])
def test_the_timeout_holds_by_the_real_clock(fault: str) -> None:
    with served(lambda _asked, _number: Answer(fault=fault)) as server:
        params = options(api_url=server.url, timeout=2.0, request_timeout=0.6)
        began = time.monotonic()
        with pytest.raises(RequestFailed) as caught:
            dmca_flush.run(params, check_mode=False)
        took = time.monotonic() - began
        # The server may come to the last request after its client has left.
        while len(server.asked) < caught.value.details["attempts"]:
            assert time.monotonic() - began < 15.0
            os.sched_yield()

    # Well before the server would have ended the request (30 s).
    assert took < 15.0
    assert caught.value.outcome == {"hang": "timed_out", "reset": "reset"}[fault]
    assert caught.value.details["attempts"] == len(server.asked) > 1
    assert (caught.value.details["flushed"], caught.value.details["status"]) == (False, None)


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def test_an_api_that_is_not_up_yet_is_waited_for(fake: FakeTime, closed_port: int) -> None:
    with pytest.raises(RequestFailed) as caught:
        dmca_flush.run(options(api_url=f"http://127.0.0.1:{closed_port}"), check_mode=False, pace=pace(fake))

    assert (caught.value.outcome, caught.value.details["attempts"]) == ("refused", 9)


@pytest.mark.parametrize(
    ("proof", "body"),
    [
        pytest.param("flushed >= `0`", {"flushed": 3}, id="a comparison"),
        pytest.param("ok", {"ok": True}, id="a field"),
        pytest.param("type(flushed) == 'number'", {"flushed": 0}, id="nothing to forget is a flush too"),
    ],
)
def test_proof_that_holds(fake: FakeTime, proof: str, body: Any) -> None:
    with served(scripted(Answer(200, body))) as server:
        result = flush(server, fake, proof=proof)

    assert result["proved"] is True
    assert "proof says so" in result["message"]


@pytest.mark.parametrize(
    ("proof", "answer"),
    [
        pytest.param("ok", Answer(200, {"ok": False}), id="false"),
        pytest.param("ok", Answer(200, {}), id="missing"),
        pytest.param("ok", Answer(200, {"ok": "true"}), id="a text"),
        pytest.param("ok", Answer(200, {"ok": 1}), id="a number"),
        pytest.param("ok", Answer(200, "OK"), id="no JSON"),
        pytest.param("ok", Answer(204), id="no answer"),
        pytest.param("length(ok) > `0`", Answer(200, {"ok": 1}), id="the wrong type"),
        pytest.param("contains(a, b)", Answer(200, {"a": "x"}), id="a TypeError"),
        pytest.param("ceil(n)", Answer(200, '{"n": Infinity}'), id="an OverflowError"),
        pytest.param("list[::0]", Answer(200, {"list": []}), id="a step of 0"),
    ],
)
def test_proof_that_fails(fake: FakeTime, proof: str, answer: Answer) -> None:
    error = refused(scripted(answer), fake, proof=proof)

    assert error.message.startswith("Flushed, but")
    assert (error.details["changed"], error.details["flushed"], error.details["proved"]) == (True, True, False)


def test_proof_by_reading_afterwards(fake: FakeTime) -> None:
    script = scripted(FLUSHED, Answer(503), Answer(200, {"blocked": True}))
    with served(script) as server:
        result = flush(server, fake, proof="blocked", proof_path="/api/v1/tracks/7")

    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", "/api/v1/admin/cache/dmca/flush"),
        ("GET", "/api/v1/tracks/7"),
        ("GET", "/api/v1/tracks/7"),
    ]
    assert server.asked[1].headers["authorization"] == f"Bearer {TOKEN}"
    assert (result["proved"], result["attempts"], result["answer"]) == (
        True,
        1,
        {"flushed": 3, "instance": "backend-1"},
    )


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(200, {"blocked": False}), id="still playable"),
        pytest.param(Answer(404, "no"), id="404"),
        pytest.param(LOGIN_PAGE, id="a login page"),
    ],
)
def test_proof_by_reading_that_fails(fake: FakeTime, answer: Answer) -> None:
    error = refused(scripted(FLUSHED, answer), fake, proof="blocked", proof_path="/api/v1/tracks/7")

    assert "GET http://127.0.0.1" in error.message
    assert (error.details["changed"], error.details["flushed"], error.details["proved"]) == (True, True, False)


TRACK = "/api/v1/tracks/7"
PAGE_404 = Answer(404, "<html>nginx</html>", {"Content-Type": "text/html"})


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        pytest.param({}, Answer(451, {"error": "unavailable for legal reasons"}), id="451 by default"),
        pytest.param({}, Answer(410), id="410 by default"),
        pytest.param({}, Answer(404, {"error": "no such track"}), id="404 by default"),
        pytest.param({"proof_status": [403]}, Answer(403, {"error": "taken down"}), id="one that was asked for"),
        pytest.param({"proof_status": [451], "proof": "gone"}, Answer(451, {"gone": True}), id="both hold"),
    ],
)
def test_a_track_that_is_not_served_any_more_is_the_proof(
    fake: FakeTime, given: dict[str, Any], answer: Answer
) -> None:
    with served(scripted(FLUSHED, answer)) as server:
        result = flush(server, fake, proof_path=TRACK, **given)

    assert [asked.path for asked in server.asked][1:] == [TRACK]
    assert (result["flushed"], result["proved"], result["status"]) == (True, True, 200)
    if "proof" not in given:
        assert result["message"].endswith(f", and GET {server.url}{TRACK} proves it by {answer.status}.")


@pytest.mark.parametrize(
    ("given", "answer", "said"),
    [
        pytest.param({}, Answer(200, {"id": 7}), "200, not 404 or 410 or 451: it is still served", id="still served"),
        pytest.param({}, Answer(206, "bytes"), "it is still served", id="a part of it is"),
        pytest.param({}, Answer(401, {"error": "who?"}), "401, not 404 or 410 or 451: that tells nothing", id="401"),
        pytest.param({}, Answer(302, "", {"Location": "/login"}), "that tells nothing of the cache", id="a login"),
        pytest.param({}, PAGE_404, "404, but with an HTML page", id="a proxy's page"),
        pytest.param({}, Answer(404, "\ufeff<html>"), "404, but with an HTML page", id="a proxy's page with its mark"),
        pytest.param({}, Answer(103), "103, not 404 or 410 or 451: that tells nothing", id="early hints"),
        pytest.param({"proof_status": [451]}, Answer(404), "404, not 451", id="another than was asked for"),
        pytest.param({"proof_status": [451], "proof": "gone"}, Answer(451, {}), "'gone' is None", id="half of it"),
        pytest.param({"proof": "blocked"}, Answer(451, {"blocked": True}), "451", id="an expression wants 2xx"),
    ],
)
def test_a_track_that_may_still_be_served_is_no_proof(
    fake: FakeTime, given: dict[str, Any], answer: Answer, said: str
) -> None:
    error = refused(scripted(FLUSHED, answer), fake, proof_path=TRACK, **given)

    assert said in error.message
    assert (error.details["changed"], error.details["flushed"], error.details["proved"]) == (True, True, False)


def test_a_proof_that_is_late_is_asked_for_again(fake: FakeTime) -> None:
    with served(scripted(FLUSHED, Answer(503), Answer(451))) as server:
        assert flush(server, fake, proof_path=TRACK)["proved"] is True

    error = refused(scripted(FLUSHED, *[Answer(503)] * 9), fake, proof_path=TRACK, timeout=300.0)
    assert "503, not 404 or 410 or 451 (gave up after 9 attempts)" in error.message


def test_proof_that_can_not_be_read(fake: FakeTime) -> None:
    script = scripted(FLUSHED, *[Answer(fault="reset")] * 9)
    error = refused(script, fake, proof="blocked", proof_path="/x", timeout=300.0)

    assert error.message.startswith("Flushed, but the proof could not be read")


@pytest.mark.parametrize(
    "echo",
    [
        pytest.param({"flushed": 1, "you": f"Bearer {TOKEN}"}, id="in a value"),
        pytest.param({TOKEN: [TOKEN]}, id="in a name and a list"),
        pytest.param(f"token={TOKEN}", id="in a text"),
        pytest.param({"next": "/x?t=s3cr3t-Admin%2BToken%2F1%3D"}, id="percent-encoded"),
        pytest.param(r'{"you": "s3cr3t-Admin+Token\/1="}', id="as PHP writes a slash"),
    ],
)
@pytest.mark.parametrize("status", [200, 403])
def test_a_token_that_comes_back_is_masked(fake: FakeTime, echo: Any, status: int) -> None:
    with served(scripted(Answer(status, echo, {"Location": f"/?t={TOKEN}"}))) as server:
        try:
            shown = json.dumps(flush(server, fake))
        except VezaError as error:
            shown = json.dumps(error.fail_json_arguments()) + repr(error)

    assert "s3cr3t" not in shown
    assert MASK in shown


@pytest.mark.parametrize("before", range(270, 300, 5))
def test_a_token_is_masked_before_the_answer_is_cut(fake: FakeTime, before: int) -> None:
    error = refused(scripted(Answer(403, "x" * before + TOKEN)), fake)

    assert "xs3" not in json.dumps(error.fail_json_arguments())


def test_a_token_from_a_file_may_end_with_a_newline(fake: FakeTime) -> None:
    with served(scripted(Answer(200, {"you": TOKEN}))) as server:
        result = flush(server, fake, token=f"{TOKEN}\n")

    assert server.asked[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert result["answer"] == {"you": MASK}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param({"dropped": -1}, "dropped can't be negative", id="negative"),
        pytest.param({"timeout": 0.0}, "timeout: must be above 0", id="no time"),
        pytest.param({"request_timeout": -1.0}, "request_timeout: must be above 0", id="no time for a request"),
        pytest.param({"path": "api"}, "path must begin with a slash", id="path"),
        pytest.param({"proof": "a", "proof_path": "api"}, "proof_path must begin with a slash", id="proof_path"),
        pytest.param({"proof_status": [404]}, "proof_status needs proof_path", id="proof_status alone"),
        pytest.param({"proof_path": "/x", "proof_status": [4]}, "from 100 to 599", id="no status"),
        pytest.param({"proof": "a ==="}, "no JMESPath expression", id="proof"),
        pytest.param({"token": " "}, "token is empty", id="no token"),
        pytest.param({"token": "pass word"}, "can't carry", id="a token with a space"),
        pytest.param({"token": "café"}, "can't carry", id="a token that is not ASCII"),
        pytest.param({"api_url": "api.veza.fr"}, "must be like https://host", id="no scheme"),
        pytest.param({"api_url": "http://h/?a=b"}, "must be like https://host", id="a query"),
        pytest.param({"api_url": "http://h:port"}, "is no URL", id="a port that is none"),
        pytest.param({"api_url": "http://root:hunter2@h"}, "holds a user or a password", id="a password"),
    ],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_bad_options_are_refused_before_anything_is_sent(given: dict[str, Any], said: str, check_mode: bool) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        dmca_flush.run(options(**{"api_url": "http://127.0.0.1:9", **given}), check_mode=check_mode)

    assert "hunter2" not in json.dumps(caught.value.fail_json_arguments())
    assert "caf" not in caught.value.message


def test_a_base_url_may_have_a_path_and_a_trailing_slash(fake: FakeTime) -> None:
    with served(scripted(FLUSHED)) as server:
        dmca_flush.run(options(api_url=f"{server.url}/veza/"), check_mode=False, pace=pace(fake))

    assert server.asked[0].path == "/veza/api/v1/admin/cache/dmca/flush"
