# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names and log lines that others have chosen, in a report."""

from __future__ import annotations

import re

# An underscore within a word is none: dmca_propagation is to stay readable in the source, too.
_MARKUP = re.compile(r"[\\\[*]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_AT_THE_START = re.compile(r"^(?=[#>+-])")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", "|": r"\|", "`": "'"})


def markdown_text(value: object) -> str:
    """Return a value as text that breaks out of no line and no cell of Markdown, and is no markup."""
    text = _MARKUP.sub(r"\\\g<0>", str(value)).translate(_ENTITIES)
    return _AT_THE_START.sub(r"\\", " ".join(text.split()))
