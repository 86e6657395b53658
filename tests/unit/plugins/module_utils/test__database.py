# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils import _database as database
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput, VezaError


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("postgresql://u:s3cret@h/d", ["s3cret"]),
        ("postgres://u:a%40b@h:1/d", ["a@b", "a%40b"]),
        ("postgresql://h/d?user=u&password=s%40x", ["s@x"]),
        ("postgresql://h:5432/d?password=s@x", ["s@x"]),
        ("host=h password='with space' sslpassword=key", ["with space", "key"]),
        ("postgresql://u@h/d", []),
        ("host=h", []),
    ],
)
def test_every_spelling_of_a_secret_is_found(url: str, secrets: list[str]) -> None:
    assert set(database.secrets_of(url)) == {url, *secrets}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3@cret@h/d",
        "postgresql://u:s3/cret@h/d",
        "postgresql://u:s3:cret@h/d@x",
        "postgresql://u:s3%cret@h/d",
        "host=h password='s3cret",
        "s3cret",
    ],
)
def test_a_url_that_libpq_would_misread_is_refused_unseen(url: str) -> None:
    with pytest.raises(BadInput) as failure:
        database.secrets_of(url)
    assert "s3" not in failure.value.message
    assert "cret" not in failure.value.message
    assert failure.value.__cause__ is None


def test_secrets_are_scrubbed_the_longest_first() -> None:
    url = "postgresql://u:abc@h/d"
    secrets = database.secrets_of(url)
    assert database.scrubbed(f"at {url}:\n\tabc is wrong", secrets) == "at ********: ******** is wrong"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://u:p@h:6432/d", "h:6432, database d"),
        ("host=h user=u", "h:5432, database by default"),
        ("dbname=d", "the default host:5432, database d"),
    ],
)
def test_a_message_says_which_database(url: str, place: str) -> None:
    assert database.where(url) == place


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("tracks", ("tracks",)),
        ("app.Tracks", ("app", "Tracks")),
        ("two words", ("two words",)),
        ('"a.b".c', ("a.b", "c")),
        ('"a.b"', ("a.b",)),
        ('app."The ""T"""', ("app", 'The "T"')),
    ],
)
def test_the_parts_of_a_name(name: str, parts: tuple[str, ...]) -> None:
    assert database.qualified(name) == parts


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a.b.c", '"a', 'a"b', '""', "a.b; DROP TABLE c", '"a"b'])
def test_what_is_no_name(name: str) -> None:
    if name == "a.b; DROP TABLE c":  # one strange name, and quoted as such
        assert database.quoted(database.qualified(name)) == '"a"."b; DROP TABLE c"'
        return
    with pytest.raises(BadInput, match="is not the name of a table"):
        database.qualified(name)


def test_names_are_quoted_and_percent_signs_stay() -> None:
    statement = database.render(
        "SELECT {column} FROM {table} WHERE {rest} AND id = %(id)s",
        rest=database.raw("title LIKE '100%'"),
        **database.names(column='a"b', table=("My App", "5% t")),
    )
    rendered = 'SELECT "a""b" FROM "My App"."5%% t" WHERE title LIKE \'100%%\' AND id = %(id)s'
    assert statement.as_string(None) == rendered


def test_nothing_listens() -> None:
    connection = database.Database("postgresql://u:s3cret@127.0.0.1:1/d", connect_timeout=2)
    said = "127.0.0.1:1, database d: no connection"
    with pytest.raises(database.ConnectionLost, match=said) as failure, connection.transaction():
        raise AssertionError
    assert "s3cret" not in failure.value.message


def test_without_psycopg2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PSYCOPG2_IMPORT_ERROR", "No module named psycopg2")
    with pytest.raises(VezaError, match="psycopg2") as failure:
        database.require_psycopg2()
    assert failure.value.details["exception"] == "No module named psycopg2"
