# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from collections.abc import Iterator

from ansible_collections.veza.rabbitmq.plugins.module_utils._lanes import Allowance, side_by_side


def test_lanes_share_an_allowance_and_none_ends_while_another_may_give_some_back() -> None:
    left, given = Allowance(10), [4, 3]

    def lane() -> Iterator[int]:
        while taken := left.take(6):
            used = min(taken, given.pop()) if given else taken
            time.sleep(0.01)
            left.settle(taken, used)
            yield used

    assert sum(side_by_side([lane, lane], lambda failures: failures[0])) == 10
    assert left.take(1) == 0
