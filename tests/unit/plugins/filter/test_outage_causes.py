# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The causes are read from their files."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.veza.rabbitmq.plugins.plugin_utils._outage_causes import outage_causes

CAUSES = Path(__file__).resolve().parents[4] / "roles" / "outage_diagnose" / "causes"


def test_each_file_is_a_cause_of_its_name() -> None:
    assert set(outage_causes(str(CAUSES))) == {path.stem for path in CAUSES.iterdir()}


@pytest.mark.parametrize("there", [True, False])
def test_no_cause_at_all_is_an_error(there: bool, tmp_path: Path) -> None:
    where = tmp_path if there else tmp_path / "nowhere"
    with pytest.raises(AnsibleFilterError, match=f"no cause in {where}"):
        outage_causes(str(where))
