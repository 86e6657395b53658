# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.veza.rabbitmq.plugins.module_utils._mask import masked, scrub

SECRETS = [
    ("amqp://veza:hunter2@h/", "amqp://veza:***@h/"),
    ("amqp://veza:h@nt@r2@h/", "amqp://veza:***@h/"),
    ("default_pass = hunter2", "default_pass = ***"),
    ("Password: 'hunter2 x', user: a", "Password: ***, user: a"),
    ('{default_pass,<<"hunter2">>}', "{default_pass,<<***>>}"),
    ('{"token": "hunter2", "a": 1}', '{"token": ***, "a": 1}'),
    ("PGPASSWORD=hunter2 psql", "PGPASSWORD=*** psql"),
    ("sudo rabbitmqctl change_password veza hunter2 && x", "sudo rabbitmqctl change_password veza *** && x"),
    ('  - "hunter2" cannot be converted to a(n) integer', '  - "***" cannot be converted to a(n) integer'),
]

PLAIN = [
    "PLAIN login refused: user 'veza' - invalid credentials",
    "Cookie file /var/lib/rabbitmq/.erlang.cookie must be accessible by owner only",
    "Conf file attempted to set unknown variable: default_passs",
    "http://host:15672/api",
]


@pytest.mark.parametrize(("line", "shown"), SECRETS)
def test_what_looks_like_a_password_is_not_shown(line: str, shown: str) -> None:
    assert masked(line) == shown


@pytest.mark.parametrize("line", PLAIN)
def test_other_lines_are_as_they_were(line: str) -> None:
    assert masked(line) == line


def test_a_long_line_is_cut_after_it_was_masked() -> None:
    assert masked("x" * 290 + " password=hunter2", 305) == "x" * 290 + " password=***"
    assert len(masked("x" * 1000)) == 300


SECRET = "hunter2+/é&'x"


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        "hunter2%2B%2F%C3%A9%26%27x",
        json.dumps(SECRET)[1:-1],
        "hunter2+/é&amp;&#x27;x",
        "hunter2+/é&amp;&#39;x",
        "hunter2\\u002b\\u002fé\\u0026\\u0027x",
        "hunter2\\u002B\\u002Fé\\u0026\\u0027x",
    ],
)
def test_a_secret_is_masked_however_a_server_writes_it(written: str) -> None:
    assert scrub({"said": [f"token {written}!"]}, [SECRET]) == {"said": ["token ********!"]}


def test_what_is_nested_beyond_all_bounds_is_not_shown() -> None:
    nested: list[object] = []
    for _level in range(5000):
        nested = [nested]
    assert scrub(nested, [SECRET]) == "********"
