# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JMESPath expressions that somebody has written, over documents that somebody else has."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ._errors import BadInput, VezaError

try:
    import jmespath

    JMESPATH_IMPORT_ERROR = None
except ImportError:
    JMESPATH_IMPORT_ERROR = traceback.format_exc()

Search = Callable[[Any], Any]
"""Takes a document and returns what is found in it; raises VezaError where the expression does not fit it."""


def compiled(expression: str, name: str) -> Search:
    """Return what looks for an expression; BadInput, which calls it ``name``, if it is none."""
    if JMESPATH_IMPORT_ERROR is not None:
        raise BadInput(missing_required_lib("jmespath"), exception=JMESPATH_IMPORT_ERROR)
    try:
        parsed = jmespath.compile(expression)
    except Exception as error:  # also RecursionError, of brackets without end, and ValueError, of too long a number
        raise BadInput(f"{name} is no JMESPath expression: {' '.join(str(error).split())}") from None

    def search(document: Any) -> Any:
        try:
            return parsed.search(document)
        except Exception as error:  # functions and slices raise what Python's do: TypeError, OverflowError, ...
            raise VezaError(f"{name} can't be evaluated: {' '.join(str(error).split())}") from None

    return search
