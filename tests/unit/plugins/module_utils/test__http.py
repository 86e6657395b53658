# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import RequestFailed
from ansible_collections.veza.rabbitmq.plugins.module_utils._http import HttpClient
from ansible_collections.veza.rabbitmq.plugins.module_utils._tls import Tls

Served = Callable[[Callable[[socket.socket], None]], str]

TIMEOUT, LONG = 0.5, 30.0
"""Seconds of a deadline that is waited for, and of one that a busy machine does not reach."""


def hang(connection: socket.socket) -> None:
    connection.recv(1)


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    with suppress(OSError):
        for _second in range(100):
            connection.sendall(b" ")
            time.sleep(0.1)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def truncate(connection: socket.socket) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"a": ')


def banner(connection: socket.socket) -> None:
    connection.sendall(b"220 mail.example ESMTP\r\n")


@pytest.mark.parametrize(
    ("vice", "outcome", "timeout"),
    [
        (hang, "timed_out", TIMEOUT),
        (drip, "timed_out", TIMEOUT),
        (reset, "reset", LONG),
        (truncate, "reset", LONG),
        (banner, "not_http", LONG),
    ],
)
def test_a_bad_server_is_named_within_the_deadline(
    served: Served, vice: Callable[[socket.socket], None], outcome: str, timeout: float
) -> None:
    client = HttpClient(served(vice), auth=("veza", "s3cret"), timeout=timeout)
    began = time.monotonic()
    with pytest.raises(RequestFailed) as failed:
        client.get("/api/overview")
    # Well before the slowest of them would have ended by itself (10 s).
    assert time.monotonic() - began < TIMEOUT + 7
    # What can't be parsed is reported by http.client as a closed connection or as no HTTP, as it happens to break.
    assert failed.value.outcome in ({outcome} if outcome != "not_http" else {"not_http", "reset"})
    assert "s3cret" not in str(failed.value)
    assert "/api/overview" in str(failed.value)


@pytest.mark.parametrize("path", ["/", "/api/queues/%2Fveza/lossless_jobs", "/tls/certificate", "/timeout"])
@pytest.mark.parametrize("host", ["127.0.0.1", "lossless.tls"])
def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, host: str, path: str) -> None:
    known_as(monkeypatch, "lossless.tls", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(RequestFailed) as failed:
        HttpClient(f"http://{host}:{port}", timeout=LONG).get(path)
    assert failed.value.outcome == "refused"


def known_as(monkeypatch: pytest.MonkeyPatch, name: str, *addresses: str) -> None:
    """Have a name resolve to these addresses."""
    resolve = socket.getaddrinfo

    def found(host: str, *more: Any, **others: Any) -> Any:
        every = addresses if host == name else (host,)
        return [entry for address in every for entry in resolve(address, *more, **others)]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def test_an_address_that_is_dead_leaves_time_for_the_next(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def polite(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    port = int(served(polite).rpartition(":")[2])
    known_as(monkeypatch, "broker.lxd", "127.0.0.2", "127.0.0.1")
    with ExitStack() as held:
        dead = held.enter_context(socket.create_server(("127.0.0.2", port), backlog=0))
        for _fill in range(3):  # the kernel drops who comes after them
            with suppress(BlockingIOError):
                held.enter_context(filler := socket.socket()).setblocking(False)
                filler.connect(dead.getsockname())
        assert HttpClient(f"http://broker.lxd:{port}", timeout=4.0).get("/").json() == {}


def test_after_a_timeout_the_client_works_again(served: Served) -> None:
    asked: list[int] = []

    def once_silent(connection: socket.socket) -> None:
        asked.append(1)
        if len(asked) == 1:
            connection.recv(1)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    client = HttpClient(served(once_silent), timeout=LONG)
    with pytest.raises(RequestFailed):
        client.get("/", timeout=TIMEOUT)
    assert client.get("/").json() == {}


def test_one_connection_is_kept_alive(served: Served) -> None:
    connections: list[str] = []

    def polite(connection: socket.socket) -> None:
        connections.append(threading.current_thread().name)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        connection.sendall(answer)
        while connection.recv(65536):
            connection.sendall(answer)

    client = HttpClient(served(polite), timeout=LONG)
    assert [client.get(path).status for path in ("/a", "/b", "/c")] == [200, 200, 200]
    assert len(connections) == 1


def test_a_redirect_is_not_followed_with_the_credentials(served: Served) -> None:
    def redirect(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n")

    assert HttpClient(served(redirect), auth=("veza", "s3cret"), timeout=LONG).get("/").status == 302


def test_a_proxy_of_the_environment_is_not_asked(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")

    def polite(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    assert HttpClient(served(polite), timeout=LONG).get("/").status == 200


def test_what_a_server_repeats_of_the_login_is_not_quoted(served: Served) -> None:
    def repeat(connection: socket.socket) -> None:
        body = b"x" * 250 + b" bad gateway for Basic bW9uaXRvcjpodW50ZXIy, hunter2"
        connection.sendall(b"HTTP/1.1 502 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    client = HttpClient(served(repeat), auth=("monitor", "hunter2"), timeout=LONG)
    said = client.get("/").excerpt()
    assert said.endswith(" bad gateway for Basic ********, ********")
    token = HttpClient(served(repeat), headers={"Authorization": "Bearer hunter2"}, timeout=LONG)
    assert "hunter2" not in token.get("/").excerpt()


def test_why_tls_failed_is_told(served: Served, tmp_path: Path) -> None:
    url = served(banner).replace("http:", "https:")
    with pytest.raises(RequestFailed, match=r"TLS failed \((WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE)\)"):
        HttpClient(url, timeout=LONG).get("/")
    with pytest.raises(RequestFailed, match=r"TLS failed \(.*nowhere"):
        HttpClient(url, tls=Tls(ca_cert=str(tmp_path / "nowhere")), timeout=LONG).get("/")
