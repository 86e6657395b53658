# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests need of others and PyPI carries inside something else: collections, a script for browsers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tools import environments

CHECKOUT = Path(__file__).resolve().parents[2]
ANSIBLE = "ansible==12.3.0"
"""The last one with awx.awx."""


AXE = "axe-playwright-python==0.1.8"
"""Carries axe-core; what it is meant for is not installed."""


def axe() -> str:
    """Return the source of axe-core, which tells what in a page is in the way of people with disabilities."""
    place = CHECKOUT / ".cache" / "axe.min.js"
    with environments.alone(place):
        if not place.exists():
            with wheel(AXE) as (archive, _scratch):
                place.write_bytes(archive.read("axe_playwright_python/axe.min.js"))
    return place.read_text(encoding="utf-8")


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
    """Take collections out of the distribution, each to its place. Galaxy is not asked."""
    with wheel(ANSIBLE) as (archive, scratch):
        for name, place in missing.items():
            inside = f"ansible_collections/{name.replace('.', '/')}"
            archive.extractall(scratch, [one for one in archive.namelist() if one.startswith(f"{inside}/")])
            place.parent.mkdir(parents=True, exist_ok=True)
            (scratch / inside).rename(place)


@contextmanager
def wheel(requirement: str) -> Iterator[tuple[zipfile.ZipFile, Path]]:
    """Download a distribution, nothing that it needs; and a directory beside it that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=CHECKOUT / ".cache") as scratch:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--dest", scratch, requirement], check=True, timeout=300)
        (path,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(path) as archive:
            yield archive, Path(scratch)
