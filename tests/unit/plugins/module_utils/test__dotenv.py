# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.veza.rabbitmq.plugins.module_utils import _dotenv
from ansible_collections.veza.rabbitmq.plugins.module_utils._errors import BadInput

URL = "amqp://veza:{}@rabbitmq.lxd:5672/%2Fveza"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=b", "b"),
        ("export A = 'b c' # d\n", "b c"),
        ('A="b\\"c"\n', 'b"c'),
        ("A=b # c\r\nB=c\n", "b"),
        ("A=\n", ""),
        ("A=b#c\n", "b#c"),
        ("A=first\nB=x\nA=last\n", "last"),
        ("# A=b\nAA=c\nA=d\n", "d"),
        ("B=c\n", None),
    ],
)
def test_a_variable_is_read_as_compose_reads_it(text: str, value: str | None) -> None:
    entry = _dotenv.find(text, "A")
    assert (entry and entry.value) == value


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("A=b\nB=c\n", "d", "A=d\nB=c\n"),
        ("A='b' # note\n", "d", "A='d' # note\n"),
        ('export A="b"\nB=c', "d", 'export A="d"\nB=c'),
        ("A=b # note\n", "d e", "A='d e' # note\n"),
        ("A=old\nA=b\n", "d", "A=old\nA=d\n"),
        ("B=c", "d", "B=c\nA=d\n"),
        ("", "d", "A=d\n"),
        ("A=b\n", "$d", "A='$d'\n"),
        ("A='b'\n", "b", "A='b'\n"),
    ],
)
def test_nothing_else_of_the_file_changes(before: str, value: str, after: str) -> None:
    assert _dotenv.changed(before, "A", value) == after


def test_a_value_that_no_quotes_carry_is_refused_without_being_told() -> None:
    with pytest.raises(BadInput) as refused:
        _dotenv.changed("A=b\n", "A", "pla'nted")
    assert "pla" not in refused.value.message


def test_a_variable_is_removed() -> None:
    assert _dotenv.removed("A=b\nexport A=c\nAB=d\n# A\n", "A") == "AB=d\n# A\n"
    assert _dotenv.removed("B=c\n", "A") == "B=c\n"


@given(st.text(min_size=1, max_size=30), st.sampled_from(["A={}\n", "A='{}'\n", 'A="{}"\n', "export A={} # x\n"]))
def test_every_password_is_carried_and_read_back(password: str, line: str) -> None:
    url = _dotenv.with_password(URL.format("old"), "veza", password)
    text = _dotenv.changed("X=1\n" + line.format(URL.format("old")) + "Y=2\n", "A", url)
    entry = _dotenv.find(text, "A")
    assert entry is not None
    assert entry.value == url
    assert text.startswith("X=1\n")
    assert text.endswith("Y=2\n")


def test_only_the_password_of_a_url_changes() -> None:
    changed = _dotenv.with_password("amqps://veza:o%40ld@h:5671/%2Fveza?heartbeat=5", "veza", "n@w/")
    assert changed == "amqps://veza:n%40w%2F@h:5671/%2Fveza?heartbeat=5"
    assert _dotenv.with_password("plain-old", "veza", "new") == "new"


@pytest.mark.parametrize("value", ["amqp://h/%2Fveza", "amqp://other:p@h/", "amqp://veza:${PASSWORD}@h/"])
def test_a_login_that_is_not_ours_is_left_alone(value: str) -> None:
    with pytest.raises(BadInput):
        _dotenv.with_password(value, "veza", "new")
