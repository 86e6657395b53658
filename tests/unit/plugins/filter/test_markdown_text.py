# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter markdown_text."""

from __future__ import annotations

import pytest

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._markdown_text import markdown_text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("dmca_propagation", "dmca_propagation"),
        ("![x](http://e/x.png) *a*", r"!\[x](http://e/x.png) \*a\*"),
        ("<img src=x>\n\n# head", "&lt;img src=x> # head"),
        ("# head", r"\# head"),
        ("> quoted", r"\> quoted"),
        ("a | `b`", r"a \| 'b'"),
        (r"\[x](y) \| z", r"\\\[x](y) \\\| z"),
        ("__b__ _e_ a_b", r"\_\_b\_\_ \_e\_ a_b"),
        ("&lt;", "&amp;lt;"),
        (7, "7"),
        ("", ""),
    ],
)
def test_what_others_have_chosen_becomes_no_markup(value: object, written: str) -> None:
    assert markdown_text(value) == written
