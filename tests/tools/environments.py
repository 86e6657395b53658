# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Python environments for stages that can't use .venv, and a home for ansible-test."""

from __future__ import annotations

import ast
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent

GET_PIP = '''\
"""Stands where ansible-test looks for its downloaded get-pip.py: the same pip, but from the configured index."""

import sys

sys.path.insert(0, {wheel!r})

from pip._internal.cli.main import main

# Switches of get-pip.py that pip itself doesn't know.
arguments = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
sys.exit(main(["install", "--upgrade", "--force-reinstall", *arguments]))
'''


def fresh_directory(path: Path) -> Path:
    """Empty and create a directory."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """One process at a time makes what will lie at a place; the others wait, and find it made."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def find_python(versions: Iterable[str]) -> Path | None:
    """The first of these Pythons ("3.11") that is on the machine."""
    found = subprocess.run([HERE / "find_python.sh", *versions], capture_output=True, text=True, check=False)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


def create(place: Path, interpreter: Path, requirements: Sequence[str]) -> Path:
    """A virtual environment with these arguments of `pip install`; returns its python.

    It is made once, and again when the interpreter, an argument or a file named in one has changed.
    """
    stamp = place / ".veza-stamp"
    files = (Path(argument).read_bytes() for argument in requirements if Path(argument).is_file())
    fingerprint = hashlib.sha256(
        "\0".join([str(interpreter.resolve()), *requirements]).encode() + b"\0".join(files)
    ).hexdigest()
    python = place / "bin" / "python"
    with alone(place):
        if not stamp.is_file() or stamp.read_text() != fingerprint:
            # virtualenv, not venv: it brings its own pip, which Debian's Pythons lack.
            venv = [sys.executable, "-m", "virtualenv", "--quiet", "--clear", "--python", str(interpreter), str(place)]
            quietly(venv)
            quietly([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
            stamp.write_text(fingerprint)
    return python


def quietly(command: Sequence[str]) -> str:
    """Run a command; its output is returned, or shown when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed ({done.returncode}):\n{done.stdout}")
    return done.stdout


def for_ansible_test(home: Path) -> dict[str, str]:
    """Environment variables for ansible-test: a home of its own, seeded with pip.

    ansible-test fetches a bootstrap script from a server of its project, and hands none of pip's variables on. Here it
    finds a script that takes the same pip from the package index that this machine is configured for.
    """
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    version = bundled_pip_version()
    script = cache / f"get_pip_{version.replace('.', '_')}.py"
    if not script.exists():
        pip = [sys.executable, "-m", "pip"]
        quietly([*pip, "download", "--quiet", "--no-deps", "--dest", str(home), f"pip=={version}"])
        (wheel,) = home.glob(f"pip-{version}-*.whl")
        script.write_text(GET_PIP.format(wheel=str(wheel)))
    write_pip_configuration(home / ".config" / "pip" / "pip.conf")
    real_python = Path(getattr(sys, "_base_executable", sys.executable)).resolve().parent
    return {"HOME": str(home), "PATH": f"{os.environ['PATH'].split(os.pathsep)[0]}:{real_python}:{os.environ['PATH']}"}


def bundled_pip_version() -> str:
    """The version of pip that the installed ansible-test asks for."""
    import ansible_test

    source = Path(ansible_test.__path__[0]) / "_internal" / "python_requirements.py"
    found = re.search(r"\bpip='([0-9.]+)'", source.read_text())
    if found is None:
        raise SystemExit(f"can't see in {source} which pip ansible-test installs")
    return found.group(1)


def write_pip_configuration(path: Path) -> None:
    """Write down how pip is configured here, by files and by variables, where a pip in that home will read it."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    settings: dict[str, dict[str, str]] = {"global": {}}
    for line in quietly([*pip, "config", "list"]).splitlines():
        key, _equals, value = line.partition("=")
        section, _dot, option = key.rpartition(".")
        section = "global" if section == ":env:" else section
        settings.setdefault(section, {})[option] = str(ast.literal_eval(value)).strip()
    settings["global"] |= {"cache-dir": quietly([*pip, "cache", "dir"]).strip(), "quiet": "2"}
    lines = []
    for section, options in settings.items():
        lines.append(f"[{section}]")
        # An option with several values has them on lines of their own, indented.
        lines += [f"{option} = {value}".replace("\n", "\n    ") for option, value in options.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
