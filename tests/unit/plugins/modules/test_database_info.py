# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from ansible_collections.veza.rabbitmq.plugins.module_utils._database import ConnectionLost, Rejected
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput
from ansible_collections.veza.rabbitmq.plugins.modules import database_info

URL = "postgresql://veza:s3cret-never-shown@db:5432/veza"
OUTCOMES = {
    "ok",
    "name_not_resolved",
    "refused",
    "tls_failed",
    "timed_out",
    "login_refused",
    "database_missing",
    "error",
}


class Fake:
    """A database whose answer takes 0.2 s, or that raises."""

    def __init__(self, clock: Any, answer: Any) -> None:
        self.clock = clock
        self.answer = answer
        self.closed = False

    def close(self) -> None:
        self.closed = True

    @contextmanager
    def transaction(self, *, readonly: bool) -> Iterator[Fake]:
        assert readonly
        yield self

    def rows(self, _statement: str) -> Any:
        self.clock.now += 0.2
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def look(clock: Any, answer: Any) -> dict[str, Any]:
    params = {"database_url": URL, "timeout": 60.0}
    database = Fake(clock, answer)
    result = database_info.run(params, database, clock, lambda: 5000.0)  # type: ignore[arg-type]
    assert database.closed
    return result


def test_a_database_that_answers(clock: Any) -> None:
    assert look(clock, [(5002.1, "17.6 (Debian 17.6-1)", False, False)]) == {
        "changed": False,
        "outcome": "ok",
        "detail": "PostgreSQL at db:5432, database veza answers.",
        "version": "17.6",
        "latency": 0.2,
        "clock_offset": 2.0,
        "read_only": None,
        "elapsed": 0.2,
    }


@pytest.mark.parametrize(
    ("answer", "read_only", "told"),
    [
        ((True, False), "recovery", "answers, and takes no writes: the server is a standby (pg_is_in_recovery)."),
        ((True, True), "recovery", "answers, and takes no writes: the server is a standby (pg_is_in_recovery)."),
        ((False, True), "setting", "answers, and takes no writes: default_transaction_read_only is on."),
        ((False, None), None, "veza answers."),
    ],
)
def test_a_database_that_takes_no_writes(clock: Any, answer: tuple[Any, ...], read_only: str | None, told: str) -> None:
    result = look(clock, [(5002.1, "17.6", *answer)])
    assert (result["outcome"], result["read_only"], result["detail"].endswith(told)) == ("ok", read_only, True)


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ('could not translate host name "db" to address: Name or service not known', "name_not_resolved"),
        ('connection to server at "db" (10.0.0.3), port 5432 failed: Connection refused', "refused"),
        ('connection to server on socket "/tmp/.s.PGSQL.5432" failed: No such file or directory', "refused"),
        ('connection to server at "db" failed: timeout expired', "timed_out"),
        ("PostgreSQL at db:5432, database veza: no connection within 5 s.", "timed_out"),
        ("PostgreSQL at db:5432, database veza: no answer within 5 s.", "timed_out"),
        ('FATAL: password authentication failed for user "veza"', "login_refused"),
        ('FATAL: role "veza" does not exist', "login_refused"),
        ('FATAL: role "veza" is not permitted to log in', "login_refused"),
        ('FATAL: no pg_hba.conf entry for host "10.0.0.9", user "veza", no encryption', "login_refused"),
        ("fe_sendauth: no password supplied", "login_refused"),
        ('FATAL: permission denied for database "veza"', "login_refused"),
        ('FATAL: database "veza" does not exist', "database_missing"),
        ("FATAL: no such database: veza", "database_missing"),
        ("FATAL: the database system is starting up", "error"),
        ("FATAL: sorry, too many clients already", "error"),
        ("server closed the connection unexpectedly", "error"),
        ("server does not support SSL, but SSL was required", "tls_failed"),
        ("SSL error: certificate verify failed", "tls_failed"),
        ('root certificate file "/root/.postgresql/root.crt" does not exist', "tls_failed"),
        ("FATAL: connection requires a valid client certificate", "tls_failed"),
        (
            'connection to server at "::1" failed: Connection refused connection to server at "127.0.0.1" failed: '
            'FATAL: password authentication failed for user "veza"',
            "login_refused",
        ),
    ],
)
def test_each_failure_has_its_word(clock: Any, said: str, outcome: str) -> None:
    result = look(clock, ConnectionLost(said))
    assert (result["outcome"], result["detail"]) == (outcome, said)
    assert (result["version"], result["latency"], result["clock_offset"]) == (None, None, None)
    assert outcome in OUTCOMES


def test_a_question_that_is_refused_is_an_error(clock: Any) -> None:
    assert look(clock, Rejected("answered: no (SQLSTATE 25006)", "25006"))["outcome"] == "error"


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([], id="no row"),
        pytest.param([(5002.1,)], id="no version"),
        pytest.param([(5002.1, "", False, False)], id="an empty version"),
        pytest.param([(5002.1, None, False, False)], id="null for the version"),
        pytest.param([(None, "17.6", False, False)], id="null for the time"),
        pytest.param([(float("nan"), "17.6", False, False)], id="no number for the time"),
        pytest.param([(float("inf"), "17.6", False, False)], id="an endless time"),
    ],
)
def test_an_answer_without_a_time_or_a_version_is_an_error(clock: Any, rows: Any) -> None:
    result = look(clock, rows)
    assert (result["outcome"], result["version"], result["clock_offset"]) == ("error", None, None)
    assert "no time or no version" in result["detail"]


def test_a_server_that_accepts_and_says_nothing_costs_the_timeout(run_main: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://veza:s3cret-never-shown@127.0.0.1:{silent.getsockname()[1]}/veza"
        began = time.monotonic()
        outcome = run_main(database_info, database_url=url, timeout=0.5)
        assert time.monotonic() - began < 10.0
    assert (outcome.failed, outcome.result["outcome"]) == (False, "timed_out")
    assert "s3cret" not in repr(outcome.result)


def test_a_server_that_speaks_nonsense_is_an_error(run_main: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        url = f"postgresql://veza:s3cret@127.0.0.1:{listener.getsockname()[1]}/veza?sslmode=disable"
        assert run_main(database_info, database_url=url, timeout=20.0).result["outcome"] == "error"


def test_nobody_listens_and_no_such_name(run_main: Callable[..., Any]) -> None:
    assert run_main(database_info, database_url="postgresql://u:p@127.0.0.1:1/d").result["outcome"] == "refused"
    nowhere = run_main(database_info, database_url="postgresql://u:p@no-such-host.invalid/d", timeout=20.0)
    assert nowhere.result["outcome"] == "name_not_resolved"


def test_bad_input_fails_unseen(run_main: Callable[..., Any]) -> None:
    outcome = run_main(database_info, database_url="postgresql://u:s3@cret@h/d")
    assert outcome.failed
    assert "cret" not in outcome.result["msg"]
    with pytest.raises(BadInput, match="timeout"):
        database_info.database_of({"database_url": URL, "timeout": 0})


def test_the_documentation_has_the_vocabulary() -> None:
    assert set(yaml.safe_load(database_info.RETURN)["outcome"]["choices"]) == OUTCOMES
    assert {outcome for _pattern, outcome in database_info._MEANINGS} | {"ok", "error"} == OUTCOMES
