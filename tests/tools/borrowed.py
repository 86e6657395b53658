# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Collections of others that tests need. Galaxy is not asked: the distribution ``ansible`` on PyPI carries them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.tools import environments

CHECKOUT = Path(__file__).resolve().parents[2]
ANSIBLE = "ansible==12.3.0"
"""The last one with awx.awx."""


def path_with(*wanted: str) -> Path:
    """Return a collections path with these collections ("awx.awx"); they are brought once, and kept in .cache."""
    directory = CHECKOUT / ".cache" / "collections"
    places = {name: directory / "ansible_collections" / name.replace(".", "/") for name in wanted}
    with environments.alone(directory):
        missing = {name: place for name, place in places.items() if not place.exists()}
        if missing:
            bring(missing)
    return directory


def bring(missing: dict[str, Path]) -> None:
    """Take collections out of the distribution, each to its place."""
    with tempfile.TemporaryDirectory(dir=CHECKOUT / ".cache") as scratch:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--dest", scratch, ANSIBLE], check=True, timeout=300)
        (wheel,) = Path(scratch).glob("*.whl")
        for name, place in missing.items():
            inside = f"ansible_collections/{name.replace('.', '/')}"
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(scratch, [one for one in archive.namelist() if one.startswith(f"{inside}/")])
            place.parent.mkdir(parents=True, exist_ok=True)
            (Path(scratch) / inside).rename(place)
