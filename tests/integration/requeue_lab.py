# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A PostgreSQL that may be killed, a proxy that breaks its connections, and a broker's management API that lies."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
from psycopg2 import sql

from tests.lab import ports
from tests.lab.postgres import binaries, owner

PASSWORD = "pl@nted/s3cret: 100%"
"""With everything that breaks a URL when it isn't encoded."""

BRANCH = Path("/tmp")


class Postgres:
    """A cluster of its own under /tmp, on a free port of loopback, run by a user who isn't root."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.dir = Path(tempfile.mkdtemp(prefix="veza-requeue-", dir=BRANCH))
        # Stays free while the server is down: no outgoing connection is given it.
        self.port = ports.choose()["postgres"]
        who = owner()
        self.identity: dict[str, Any] = {}
        if who is not None:
            os.chown(self.dir, *who)
            self.identity = {"user": who[0], "group": who[1], "extra_groups": []}
        self.process: subprocess.Popen[bytes] | None = None

    def initdb(self) -> None:
        password = self.dir / "password"
        password.write_text(PASSWORD)
        self.give(password)
        command = ["initdb", "-D", str(self.dir / "data"), "-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8"]
        self.command(*command, "--locale=C.UTF-8", "--no-sync", f"--pwfile={password}")

    def give(self, *paths: Path) -> None:
        """Let the server's user own files."""
        for path in paths if self.identity else ():
            os.chown(path, self.identity["user"], self.identity["group"])

    def command(self, name: str, *arguments: str, **environment: str) -> None:
        subprocess.run(
            [str(binaries() / name), *arguments],
            check=True,
            capture_output=True,
            cwd=self.dir,
            env={**os.environ, **environment},
            **self.identity,
        )

    def start(self) -> None:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 60,
            "dynamic_shared_memory_type": "mmap",
            "max_wal_senders": 4,
            "wal_level": "replica",
            **self.settings,
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        with (self.dir / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(binaries() / "postgres"), "-D", str(self.dir / "data"), *options],
                stdout=log,
                stderr=log,
                cwd=self.dir,
                **self.identity,
            )
        deadline = time.monotonic() + 120
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg2.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((self.dir / "log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def kill(self) -> None:
        """Die as in a crash: no checkpoint, and recovery at the next start."""
        assert self.process is not None
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(60)

    def remove(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(60)
        shutil.rmtree(self.dir, ignore_errors=True)

    def url(self, database: str, user: str = "postgres", password: str = PASSWORD, port: int | None = None) -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{port or self.port}/{database}"

    def connect(self, database: str) -> Any:
        connection = psycopg2.connect(self.url(database), connect_timeout=30)
        connection.autocommit = True
        return connection


class Base:
    """A database for one test."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.server = server
        self.name = name
        self.url = server.url(name)

    def run(self, statement: Any, *values: Any) -> list[Any]:
        connection = self.server.connect(self.name)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def one(self, statement: Any, *values: Any) -> Any:
        return self.run(statement, *values)[0][0]


def create(server: Postgres, name: str) -> Base:
    connection = server.connect("postgres")
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    connection.close()
    return Base(server, name)


@dataclass
class Proxy:
    """Between client and PostgreSQL; ``on_message`` sees each statement before it is passed on.

    It returns a word: ``pass``; ``drop`` closes both sides without passing it on; ``swallow`` passes it on, waits for
    PostgreSQL's answer, and closes both sides without giving the answer to the client; ``hang`` passes it on and then
    leaves the client without answer and without an end.
    """

    server: Postgres
    on_message: Callable[[bytes], str]
    port: int = 0
    seen: list[bytes] = field(default_factory=list)
    _listener: socket.socket = field(default_factory=socket.socket)

    def __enter__(self) -> Proxy:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_unused: object) -> None:
        # Shut down first: closing alone would not wake the thread in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _unused = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                behind = socket.create_connection(("127.0.0.1", self.server.port))
            except OSError:
                return
            mute = threading.Event()
            with behind:
                back = threading.Thread(target=self._answers, args=(behind, client, mute), daemon=True)
                back.start()
                with contextlib.suppress(OSError):
                    self._requests(client, behind, mute)
                for side in (client, behind):
                    with contextlib.suppress(OSError):
                        side.shutdown(socket.SHUT_RDWR)
                back.join(10)

    def _requests(self, client: socket.socket, behind: socket.socket, mute: threading.Event) -> None:
        started = False
        while True:
            kind = b"" if not started else _exactly(client, 1)
            size = _exactly(client, 4)
            body = _exactly(client, int.from_bytes(size, "big") - 4)
            if not started and int.from_bytes(body[:4], "big") == 196608:  # the startup packet; before it asks for TLS
                started = True
            word = "pass"
            if kind == b"Q":
                self.seen.append(body)
                word = self.on_message(body)
            if word == "drop":
                return
            if word in ("swallow", "hang"):
                mute.set()
                behind.sendall(kind + size + body)
            if word == "hang":
                continue
            if word == "swallow":
                time.sleep(0.5)
                return
            behind.sendall(kind + size + body)

    @staticmethod
    def _answers(behind: socket.socket, client: socket.socket, mute: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := behind.recv(65536):
                if not mute.is_set():
                    client.sendall(data)
        if not mute.is_set():
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


class Pooler:
    """A PgBouncer in transaction mode before a server: who comes next may get the connection of who was before."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.port = ports.choose()["postgres"]

    def __enter__(self) -> Pooler:
        directory = self.server.dir / f"pooler-{self.port}"
        directory.mkdir()
        users = directory / "users"
        users.write_text('"postgres" "{}"\n'.format(PASSWORD.replace('"', '""')))
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": users,
            "pool_mode": "transaction",
            "default_pool_size": 2,
            "logfile": directory / "log",
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        configuration = directory / "pgbouncer.ini"
        text = f"[databases]\n* = host=127.0.0.1 port={self.server.port}\n[pgbouncer]\n"
        configuration.write_text(text + "\n".join(lines) + "\n")
        self.server.give(directory, users, configuration)
        self.process = subprocess.Popen(
            ["/usr/sbin/pgbouncer", "--quiet", str(configuration)], cwd=directory, **self.server.identity
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                assert self.process.poll() is None, (directory / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def __exit__(self, *_unused: object) -> None:
        self.process.terminate()
        self.process.wait(30)


def _exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = source.recv(size - len(data))
        if not part:
            raise OSError("closed")
        data += part
    return data


class Management:
    """A management API with the answers that a test wants."""

    def __init__(self) -> None:
        self.queues: list[dict[str, Any]] = [depth("transcode_jobs"), depth("transcode_jobs.dlq")]
        self.alarms: tuple[int, Any] = (200, {"status": "ok"})
        self.connections: list[Any] = [[], {"name": "127.0.0.1:5 -> 127.0.0.1:5672", "state": "running"}]
        self.tags: Any = ["monitoring"]
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802
                path = self.path.partition("?")[0]
                outer.asked.append(path)
                status, answer = outer.answer(path)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_unused: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, path: str) -> tuple[int, Any]:
        if path == "/api/health/checks/alarms":
            return self.alarms
        documents: dict[str, Any] = {
            "/api/whoami": {"name": "monitor", "tags": self.tags},
            "/api/vhosts/%2Fveza/connections": self.connections,
            "/api/overview": {"rabbitmq_version": "4.0.5", "object_totals": {"queues": 2}},
            "/api/nodes": [{"name": "rabbit@a", "running": True, "uptime": 3_600_000}],
            **{f"/api/queues/%2Fveza/{queue['name']}": queue for queue in self.queues},
        }
        return (200, documents[path]) if path in documents else (404, {"error": "Object Not Found"})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def depth(name: str, ready: int = 0, unacked: int = 0) -> dict[str, Any]:
    counts = {"messages": ready + unacked, "messages_ready": ready, "messages_unacknowledged": unacked}
    return {"name": name, "type": "classic", "state": "running", "consumers": 1, **counts}


@contextlib.contextmanager
def running(**settings: Any) -> Iterator[Postgres]:
    """Run a cluster, with other settings where they are given."""
    server = Postgres(**settings)
    try:
        server.initdb()
        server.start()
        yield server
    finally:
        server.remove()
