# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in Veza in containers: the image, the compose files, and what stands in their ``.env``.

The image holds Python and its libraries; there is no shell and no other program in it, as in many a production image.
The code is mounted into the containers from its host: a change of it needs no new image.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import yaml

from .. import apps
from ..state import CHECKOUT, Lab, LabError, lock
from .image import KEYRING, mirror, workspace

IMAGE = "veza/app:lab"

PROJECT = "/opt/veza"
"""Where docker-compose.prod.yml and .env are on a host; secrets are in .env, which only root may read."""
COMPOSE = f"{PROJECT}/docker-compose.prod.yml"
ENV = f"{PROJECT}/.env"
SOURCES = f"{PROJECT}/app"
"""The stand-in's code on a host."""
DATA = "/var/lib/veza"
"""On the workers' host the attempts, on the monitoring host Sentry's events."""

API_PORT = 8080
SENTRY_PORT = 9000

SUITE = "trixie"
PACKAGES = ("python3", "python3-pika", "python3-psycopg2")

# All else of the packages is left out: dpkg, tar and debconf, which Python's packages want for their installation.
KEPT = re.compile(
    r"etc/(python3.*|services|protocols)"
    r"|usr/bin/python3[.\d]*"
    r"|usr/lib/python3.*"
    r"|usr/lib64/ld-.*"
    r"|usr/lib/[^/]+-linux-gnu/[^/]+\.so[^/]*"
)
DROPPED = re.compile(r"usr/lib/python3[^/]*/(test|idlelib|pydoc_data|turtledemo|config-[^/]*)/.*")

FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
LINKS = {"lib": "usr/lib", "lib64": "usr/lib64"}
DIRECTORIES = ("dev", "proc", "sys", "tmp", "root", "app", "var/lib/veza")

Kind = Literal["backend", "workers"]


# ---- the image -----------------------------------------------------------------------------------------------------


def image_tar(cache: Path, say: Callable[[str], None]) -> Path:
    """Return the image's root filesystem as a tar for ``docker import``, built if ``cache`` does not have it.

    LabError when it can't be built.
    """
    wanted = cache / f"app-{_recipe()}.tar"
    cache.mkdir(parents=True, exist_ok=True)
    with lock(cache / "app.lock"):
        if not wanted.exists():
            say("building the image of the containers (10 s; kept for the next time)")
            for old in cache.glob("app-*.tar"):
                old.unlink()
            with workspace(gigabytes=1) as scratch:
                shutil.move(_build(scratch), partial := cache / "app.partial")
            partial.replace(wanted)
    return wanted


def keeps(path: str) -> bool:
    """Tell whether a file of the packages belongs into the image; ``path`` without a leading slash."""
    return bool(KEPT.fullmatch(path)) and not DROPPED.fullmatch(path)


def _recipe() -> str:
    """Return what identifies how the image is made: a new recipe makes a new image."""
    parts = (SUITE, PACKAGES, KEPT.pattern, DROPPED.pattern, FILES, LINKS, DIRECTORIES)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _build(scratch: Path) -> Path:
    """Return the tar of a root filesystem built in ``scratch``."""
    packages, root, result = scratch / "packages.tar", scratch / "root", scratch / "app.tar"
    _run(
        ["mmdebstrap", "--variant=extract", "--quiet", "--format=tar", "--components=main", f"--keyring={KEYRING}"],
        ['--aptopt=APT::Install-Recommends "false"', f"--include={','.join(PACKAGES)}"],
        [SUITE, str(packages), mirror()],
        environment={"TMPDIR": str(scratch)},
    )
    with tarfile.open(packages) as archive:
        # Debian 12's Python knows no filter yet; what it unpacks are Debian's own packages.
        guarded: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
        archive.extractall(root, members=_kept(archive), **guarded)
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for path, target in LINKS.items():
        (root / path).symlink_to(target)
    for path in DIRECTORIES:
        (root / path).mkdir(parents=True, exist_ok=True)
    # Saves each container a third of a second of its start.
    _run(["chroot", str(root), "/usr/bin/python3", "-m", "compileall", "-q", "/usr/lib"])
    _run(["tar", "-C", str(root), "--numeric-owner", "-cf", str(result), "."])
    return result


def _kept(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        if not member.isdir() and keeps(member.name.removeprefix("./")):
            yield member


def _run(*argv: list[str], environment: dict[str, str] | None = None) -> str:
    command = [word for part in argv for word in part]
    try:
        done = subprocess.run(
            command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=True, timeout=600
        )
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is missing: install the Debian package of that name.") from error
    except subprocess.CalledProcessError as error:
        raise LabError(f"{command[0]} failed ({error.returncode}): {error.stderr[-1500:]}") from error
    return done.stdout


def sources_tar() -> bytes:
    """Return the stand-in's code as a tar, to be unpacked into SOURCES on each host that runs some of it."""
    packages = [CHECKOUT / "tests" / "__init__.py", CHECKOUT / "tests" / "lab" / "__init__.py"]
    modules = sorted((CHECKOUT / "tests" / "lab" / "veza").glob("*.py"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in [*packages, *modules]:
            data = path.read_bytes()
            member = tarfile.TarInfo(str(path.relative_to(CHECKOUT)))
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


# ---- what is on the hosts ------------------------------------------------------------------------------------------


def compose(kind: Kind) -> str:
    """Return docker-compose.prod.yml of a host of this kind."""
    services = {"backend": _api, "workers": _workers}[kind]()
    document = {"name": "veza", "services": services}
    return "---\n" + yaml.safe_dump(document, sort_keys=False, width=110)


def _api() -> dict[str, Any]:
    return {"api": {**_service("api"), "container_name": "veza_backend_api", "ports": [f"{API_PORT}:{API_PORT}"]}}


def _workers() -> dict[str, Any]:
    return {
        f"worker-{kind}": _service(
            "workers", {"VEZA_INSTANCE": f"worker-{kind}", "WORKER_KIND": kind}, [f"{DATA}:{DATA}"]
        )
        for kind in apps.WORKERS
    }


def _service(
    module: str, environment: dict[str, str] | None = None, volumes: list[str] | None = None
) -> dict[str, Any]:
    return {
        "image": IMAGE,
        "pull_policy": "never",
        "command": ["python3", "-m", f"tests.lab.veza.{module}"],
        "env_file": [".env"],
        "environment": {"LANG": "C.UTF-8", "PYTHONPATH": "/app", **(environment or {})},
        "volumes": [f"{SOURCES}:/app:ro", *(volumes or [])],
        # Python as process 1 would take no SIGTERM.
        "init": True,
        "read_only": True,
        "restart": "unless-stopped",
        "stop_grace_period": "3s",
        "logging": {"driver": "json-file"},
    }


def environment(lab: Lab, host: str) -> dict[str, str]:
    """Return the variables that stand in the .env of a host: backend-1, backend-2, workers or monitor."""
    here = {"BIND_ADDRESS": "0.0.0.0", "PYTHONUNBUFFERED": "1"}
    if host == "monitor":
        return {
            **apps.environment(lab, "sentry"),
            **here,
            "SENTRY_PORT": str(SENTRY_PORT),
            "SENTRY_STORE": f"{DATA}/sentry.jsonl",
        }
    if host == "workers":
        # The compose file says who is which worker.
        common = apps.environment(lab, f"worker-{apps.WORKERS[0]}")
        own = {"VEZA_INSTANCE", "WORKER_KIND"}
        shared = {name: value for name, value in common.items() if name not in own}
        return {**shared, **here, "ATTEMPTS_FILE": f"{DATA}/attempts.jsonl"}
    return {**apps.environment(lab, host), **here, "API_PORT": str(API_PORT)}


def env_file(lab: Lab, host: str) -> str:
    """Return the text of a host's .env, which compose reads and systemd too. Secrets are in it: mode 0600."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in environment(lab, host).items())


def _quoted(value: str) -> str:
    """Return a value as compose 2.26 and systemd take it literally; without the quotes compose replaces ``$NAME``."""
    if "'" in value or "\\" in value or "\n" in value:
        raise LabError("A value with a quote, a backslash or a line break can't be written into an .env file.")
    return f"'{value}'"


def sentry_unit() -> str:
    """Return the systemd unit of Sentry's stand-in, for the monitoring host."""
    return f"""\
[Unit]
Description=Stand-in for Sentry
After=network-online.target
Wants=network-online.target

[Service]
Environment=PYTHONPATH={SOURCES} PYTHONDONTWRITEBYTECODE=1
EnvironmentFile={ENV}
ExecStart=/usr/bin/python3 -m tests.lab.veza.sentry
StateDirectory=veza
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""
