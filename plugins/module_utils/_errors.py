# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors of this collection: one tree, each knows what to tell the user."""

from __future__ import annotations

from typing import Any


class VezaError(Exception):
    """An expected failure.

    The message says what was asked, of whom, what came back and what to do next; it never holds a secret.
    ``details`` holds the same keys that a success would return, as far as they are known.
    """

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def fail_json_arguments(self) -> dict[str, Any]:
        """Arguments for ``module.fail_json``."""
        return {"msg": self.message, **self.details}


class BadInput(VezaError):
    """Parameters that contradict each other or mean nothing; raised before anything was asked or touched."""


class TimedOut(VezaError):
    """A wait reached its deadline."""


class Stuck(VezaError):
    """What is waited for does not come by itself."""


class Refused(VezaError):
    """The module could act and declines, because acting might do harm; the message names the way out."""


class RequestFailed(VezaError):
    """A request got no HTTP answer.

    ``outcome`` is one of ``name_not_resolved``, ``refused``, ``timed_out``, ``reset``, ``tls_failed``,
    ``unreachable``, ``not_http``.
    """

    def __init__(self, outcome: str, message: str, /, **details: Any) -> None:
        super().__init__(message, **details)
        self.outcome = outcome
