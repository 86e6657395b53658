# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.lab import loadgen
from tests.lab.loadgen import Generator, Intent, Mix, Sink

APIS = ("backend-1", "backend-2")


def mix(tracks: int = 0) -> Mix:
    return Mix(APIS, random.Random(7), tracks=[str(number) for number in range(1, tracks + 1)])


def test_without_any_track_only_uploads_are_possible() -> None:
    empty = mix()
    assert {empty.next().what for _unused in range(20)} == {"upload"}


def test_the_mix_holds_every_kind_and_reaches_every_instance() -> None:
    full = mix(tracks=100)
    intents = [full.next() for _unused in range(50)]
    assert Counter(intent.what for intent in intents) == {"upload": 20, "distribute": 10, "takedown": 10, "read": 10}
    for what in loadgen.CYCLE:
        assert {intent.api for intent in intents if intent.what == what} == set(APIS)


def test_a_track_is_taken_down_once_and_then_let_be() -> None:
    few = mix(tracks=loadgen.SPARED + 2)
    intents = [few.next() for _unused in range(100)]
    taken = [str(intent.track_id) for intent in intents if intent.what == "takedown"]
    assert sorted(taken) == ["1", "2"]
    last = max(number for number, intent in enumerate(intents) if intent.what == "takedown")
    assert not {intent.track_id for intent in intents[last + 1 :]} & {"1", "2"}


def test_before_a_takedown_every_instance_reads_the_track() -> None:
    warm = mix(tracks=20)
    takedown = next(intent for intent in iter(warm.next, None) if intent.what == "takedown")
    assert takedown.warm == APIS


def test_the_latest_uploads_are_not_taken_down() -> None:
    young = mix(tracks=loadgen.SPARED)
    assert "takedown" not in {young.next().what for _unused in range(50)}


def test_the_schedule_keeps_the_rate() -> None:
    assert list(loadgen.schedule(100.0, rate=4.0, seconds=1.0, clock=lambda: 0.0)) == [100.0, 100.25, 100.5, 100.75]


def test_a_stall_is_not_made_up_for() -> None:
    now = 0.0
    due = loadgen.schedule(0.0, rate=1.0, seconds=20.0, clock=lambda: now)
    assert next(due) == 0.0
    now = 10.5
    later = list(due)
    assert later[0] == 10.0
    assert len(later) == 10


def line(**fields: Any) -> str:
    common = {"id": "1", "what": "upload", "api": "backend-1", "track_id": None, "at": 5.0, "phase": "sent"}
    return json.dumps({**common, **fields})


def test_a_request_without_an_outcome_is_unknown() -> None:
    (request,) = loadgen.read([line()])
    assert (request.outcome, request.ended_at, request.events) == ("unknown", None, ())


def test_a_line_cut_short_is_left_out() -> None:
    ended = line(phase="ended", at=6.0, outcome="ok", entity_id="12")
    (request,) = loadgen.read([line(), ended[:-9]])
    assert request.outcome == "unknown"


def test_an_ended_request_is_read_back() -> None:
    (request,) = loadgen.read([line(), line(phase="ended", at=6.5, outcome="ok", entity_id="12")])
    assert (request.sent_at, request.ended_at, request.entity_id) == (5.0, 6.5, "12")
    assert request.events == (("transcode", "12"), ("search", "12"))


Behaviour = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(name="serve")
def fixture_serve() -> Iterator[Callable[[Behaviour], str]]:
    servers = []

    def serve(behaviour: Behaviour) -> str:
        class Handler(BaseHTTPRequestHandler):
            do_GET = do_POST = behaviour

            def log_message(self, *_arguments: Any, **_fields: Any) -> None:
                """Log nothing."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def answer(status: int, document: Any) -> Behaviour:
    def behaviour(handler: BaseHTTPRequestHandler) -> None:
        body = json.dumps(document).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behaviour


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def half_an_answer(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(202)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"id"')


def ask(url: str, tmp_path: Path, intent: Intent | None = None) -> list[dict[str, Any]]:
    sink = tmp_path / "requests.jsonl"
    generator = Generator({"backend-1": url}, Sink(sink), mix())
    generator.ask(intent or Intent("upload", "backend-1"))
    return [json.loads(text) for text in sink.read_text().splitlines()]


def test_a_request_is_written_down_before_and_after(serve: Callable[[Behaviour], str], tmp_path: Path) -> None:
    seen: list[str] = []

    def behaviour(handler: BaseHTTPRequestHandler) -> None:
        seen.append((tmp_path / "requests.jsonl").read_text())
        answer(202, {"id": 12})(handler)

    sent, ended = ask(serve(behaviour), tmp_path)
    assert json.loads(seen[0]) == sent
    assert (sent["phase"], ended["phase"]) == ("sent", "ended")
    assert (ended["outcome"], ended["status"], ended["entity_id"]) == ("ok", 202, "12")


@pytest.mark.parametrize(
    ("behaviour", "outcome", "status"),
    [
        pytest.param(answer(503, {"error": "x"}), "failed", 503, id="refused by the API"),
        pytest.param(answer(202, {}), "unknown", 202, id="accepted without an id"),
        pytest.param(hang_up, "unknown", None, id="connection died"),
        pytest.param(half_an_answer, "unknown", None, id="answer cut short"),
    ],
)
def test_outcomes(
    serve: Callable[[Behaviour], str], tmp_path: Path, behaviour: Behaviour, outcome: str, status: int | None
) -> None:
    ended = ask(serve(behaviour), tmp_path)[1]
    assert (ended["outcome"], ended["status"]) == (outcome, status)


def test_what_was_never_sent_has_failed(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        ended = ask(url, tmp_path)[1]
    assert ended["outcome"] == "failed"
    assert "not sent" in ended["detail"]


@pytest.mark.parametrize("status", [200, 451])
def test_a_read_may_find_the_track_taken_down(serve: Callable[[Behaviour], str], tmp_path: Path, status: int) -> None:
    ended = ask(serve(answer(status, {})), tmp_path, Intent("read", "backend-1", "3"))[1]
    assert ended["outcome"] == "ok"


def test_it_runs_at_its_rate_and_ends_by_itself(serve: Callable[[Behaviour], str], tmp_path: Path) -> None:
    url = serve(answer(202, {"id": 1}))
    generator = Generator({"backend-1": url}, Sink(tmp_path / "requests.jsonl"), Mix(["backend-1"], random.Random(1)))
    generator.run(rate=100.0, seconds=0.1)
    requests = loadgen.read((tmp_path / "requests.jsonl").read_text().splitlines())
    assert len(requests) + generator.skipped >= 10
    assert all(request.ended_at is not None for request in requests)


def test_it_stops_when_told(serve: Callable[[Behaviour], str], tmp_path: Path) -> None:
    url = serve(answer(202, {"id": 1}))
    generator = Generator({"backend-1": url}, Sink(tmp_path / "requests.jsonl"), Mix(["backend-1"], random.Random(1)))
    generator.stopping.set()
    generator.run(rate=1.0, seconds=3600.0)
    assert (tmp_path / "requests.jsonl").read_text() == ""
