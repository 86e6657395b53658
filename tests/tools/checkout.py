# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the stages need to know of this checkout: its files, a copy of it, what it is built into."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import yaml

NAMESPACE, NAME = "veza", "rabbitmq"


def files(root: Path) -> list[Path]:
    """The checkout's files, relative: what git tracks and what it would offer to add; without those just deleted."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = (Path(name) for name in sorted(set(listed.split("\0")) - {""}))
    return [path for path in paths if (root / path).is_symlink() or (root / path).is_file()]


def scripts(root: Path) -> list[str]:
    """The shell scripts, whatever they are called."""
    shells = (b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash")
    return [
        str(path)
        for path in files(root)
        if not (root / path).is_symlink() and (root / path).read_bytes()[:40].startswith(shells)
    ]


def copy_collection(root: Path, place: Path) -> Path:
    """Copy the checkout to PLACE/ansible_collections/veza/rabbitmq, a real directory; return that.

    What tests wrote to the copy's tests/output stays, as ansible-test keeps its virtual environments there.
    """
    copy = place / "ansible_collections" / NAMESPACE / NAME
    wanted = [path for path in files(root) if path.parts[0] != ".collections"]
    for path in sorted(copy.rglob("*"), reverse=True):
        parts = path.relative_to(copy).parts
        if parts[0] == ".git" or parts[:2] == ("tests", "output"):
            continue
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        else:
            path.unlink()
    for path in wanted:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / path, copy / path, follow_symlinks=False)
    # Else the copy would count as a part of the checkout around it that git ignores: ansible-test would see no files.
    if not (copy / ".git").exists():
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(copy)], check=True)
    return copy


def build_collection(root: Path, destination: Path) -> Path:
    """Build the collection straight from the checkout, so that `build_ignore` is tested too; return the tarball."""
    shutil.rmtree(destination, ignore_errors=True)
    destination.mkdir(parents=True)
    subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-galaxy")),
            "collection",
            "build",
            "--output-path",
            str(destination),
        ],
        cwd=root,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (tarball,) = destination.glob("*.tar.gz")
    return tarball


def check_tarball(root: Path, tarball: Path) -> None:
    """Refuse a tarball that holds what is not part of the project, or that lacks what makes it usable."""
    made = {"MANIFEST.json", "FILES.json"}
    with tarfile.open(tarball) as archive:
        packed = {member.name for member in archive.getmembers() if not member.isdir()} - made
    tracked = {str(path) for path in files(root)}
    if strays := sorted(packed - tracked):
        raise SystemExit(f"the tarball holds files that are not the project's (build_ignore): {strays[:10]}")
    parts = ("plugins/", "roles/", "playbooks/", "meta/", "README.md", "LICENSE", "requirements.txt")
    if lost := sorted(name for name in tracked - packed if name.startswith(parts)):
        raise SystemExit(f"the tarball lacks: {lost[:10]}")


def contents(collection: Path) -> dict[str, list[str]]:
    """Full names of what a collection directory offers, by kind."""

    def full(paths: list[Path]) -> list[str]:
        return sorted(f"{NAMESPACE}.{NAME}.{path.stem}" for path in paths if not path.name.startswith("_"))

    filters = [
        Path(name)
        for sidecar in (collection / "plugins" / "filter").glob("*.yml")
        for name in [yaml.safe_load(sidecar.read_text())["DOCUMENTATION"]["name"]]
    ]
    return {
        "module": full(list((collection / "plugins" / "modules").glob("*.py"))),
        "filter": full(filters),
        "role": full([path.parents[1] for path in (collection / "roles").glob("*/meta/argument_specs.yml")]),
        "playbook": full(list((collection / "playbooks").glob("*.yml"))),
    }
