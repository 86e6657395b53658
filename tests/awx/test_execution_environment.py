# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The execution environment is one that ansible-builder takes, and has what the collection says that it needs.

No image is built here: that takes a registry and root's container engine.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.tools import checkout

ROOT = Path(__file__).resolve().parents[2]
DEFINITION = yaml.safe_load((ROOT / "execution-environment.yml").read_text())
BUILDER = str(Path(sys.executable).with_name("ansible-builder"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as the definition wants it: the built collection in dist."""
    place = tmp_path_factory.mktemp("ee")
    checkout.build_collection(ROOT, place / "dist")
    for name in ("execution-environment.yml", "constraints.txt"):
        (place / name).write_bytes((ROOT / name).read_bytes())
    return place


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_ansible_builder_makes_its_context(place: Path) -> None:
    run(BUILDER, "create", "--file", "execution-environment.yml", "--context", "context", cwd=place)
    context = place / "context"
    recipe = next(path for path in (context / "Containerfile", context / "Dockerfile") if path.exists()).read_text()
    for needed in ("ansible-core==", "ansible-runner==", "python3.11", "PIP_CONSTRAINT="):
        assert needed in recipe
    # What the stages read is in the context.
    (collection,) = yaml.safe_load((context / "_build" / "requirements.yml").read_text())["collections"]
    assert (context / "_build" / Path(collection["source"]).relative_to("/build")).is_file()
    assert (context / "_build" / "configs" / "constraints.txt").read_bytes() == (ROOT / "constraints.txt").read_bytes()


def test_the_collection_says_what_it_needs(place: Path) -> None:
    tarball = next((place / "dist").glob("*.tar.gz"))
    installed = place / "installed"
    galaxy = str(Path(sys.executable).with_name("ansible-galaxy"))
    run(galaxy, "collection", "install", "--offline", "-p", str(installed), str(tarball), cwd=place)
    needs = yaml.safe_load(run(BUILDER, "introspect", str(installed), cwd=place))

    def names(lines: list[str]) -> set[str]:
        return {re.split(r"[ =<>]", line)[0] for line in lines}

    assert names(needs["python"]) == {"jmespath", "psycopg2-binary", "requests"}
    assert names(needs["system"]) == {"openssh-client", "openssh-clients"}


def test_versions_are_those_that_are_tested() -> None:
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert DEFINITION["additional_build_files"][0]["src"] == f"dist/veza-rabbitmq-{version}.tar.gz"
    pinned = {*(ROOT / "constraints.txt").read_text().split(), *(ROOT / "requirements-lab.txt").read_text().split("\n")}
    core, runner = (DEFINITION["dependencies"][name]["package_pip"] for name in ("ansible_core", "ansible_runner"))
    assert core.replace("==", " == ") in pinned
    assert runner in pinned
    for needed in ("jmespath", "psycopg2-binary", "requests"):
        assert any(pin.startswith(f"{needed}==") for pin in pinned)
