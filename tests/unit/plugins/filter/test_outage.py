# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from ansible_collections.veza.rabbitmq.plugins.filter import outage

HERE = Path(outage.__file__).parent


def test_each_filter_is_there_and_documented() -> None:
    for name, file in outage.FILES.items():
        assert callable(getattr(import_module(f"{outage.PLUGIN_UTILS}.{file}"), name))
    assert sorted(outage.FILES) == sorted(path.stem for path in HERE.glob("*.yml"))
    assert [path.name for path in HERE.glob("*.py")] == ["outage.py"]


def test_a_filter_does_what_its_function_does() -> None:
    shift = outage.FilterModule().filters()["shift_instant"]
    assert shift("2026-01-31T02:00:00Z", 90) == "2026-01-31T02:01:30.000Z"


def test_a_filter_is_imported_when_it_is_used() -> None:
    """Each task that uses any filter would pay for all of them."""
    script = f"""
import sys
from {outage.__name__} import FilterModule
FilterModule().filters()
print([name for name in sys.modules if "plugin_utils._outage" in name or name == "requests"])
"""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[4])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
