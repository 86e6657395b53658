# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images of the lab's hosts: built once by mmdebstrap, and kept in the checkout's .cache.

They hold ssh host keys and an Erlang cookie: they are for this checkout's labs alone, and never published.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from ..state import CHECKOUT, LabError, lock

CACHE = CHECKOUT / ".cache" / "incus"
_HERE = Path(__file__).parent
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

_HOST = "systemd systemd-sysv dbus udev openssh-server python3 sudo iproute2 netcat-openbsd curl jq nftables procps"
_HOST += " ca-certificates iputils-ping bind9-host logrotate rabbitmq-server python3-pika"

# Never read on these hosts, and a third of their size.
_EXCLUDED = (
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/locale/*",
    "/usr/lib/*/libLLVM*",
    "/usr/lib/*/libz3*",
    "/usr/lib/postgresql/*/lib/bitcode/*",
    "/usr/bin/containerd-stress",
)


PACKAGES = {
    # One image for all roles: unpacked once, and a host's role only enables services.
    "trixie": f"{_HOST} postgresql python3-psycopg2 docker.io docker-cli docker-compose iptables prometheus"
    " prometheus-alertmanager",
    "bookworm": _HOST,
}
"""Debian's suite -> the packages of the image of its name."""

TEMPLATES = {
    "/etc/hostname": "{{ instance.name }}\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {{ instance.name }}\n",
    "/etc/resolv.conf": '{{ config_get("user.resolv_conf", "") }}',
    "/etc/systemd/network/eth0.network": (
        '[Match]\nName=eth0\n\n[Network]\nAddress={{ config_get("user.address", "") }}/24\nLinkLocalAddressing=no\n'
        'Gateway={{ config_get("user.gateway", "") }}\n'
    ),
}
"""Files that Incus writes at a host's first start, from its name and configuration."""


def ready(suite: str, say: Callable[[str], None]) -> Path:
    """Return the directory of an image (``rootfs.tar.zst``, ``metadata.tar``, ``host_key.pub``), built if need be.

    LabError when it can't be built; the message says where the whole output is.
    """
    directory = CACHE / f"{suite}-{_fingerprint(suite)}"
    CACHE.mkdir(parents=True, exist_ok=True)
    CACHE.chmod(0o700)
    with lock(CACHE / f"{suite}.lock"):
        if not directory.exists():
            say(f"building the image of Debian {suite} (a minute or two; kept for the next time)")
            for old in CACHE.glob(f"{suite}-*"):
                shutil.rmtree(old)
            _build(suite, directory)
    return directory


def _build(suite: str, directory: Path) -> None:
    partial = directory.with_name(f".{directory.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with workspace(gigabytes=6) as work:
        _debootstrap(suite, work, CACHE / f"{suite}.log")
        root = work / "root.tar"
        with tarfile.open(root) as archive:
            key = archive.extractfile("./etc/ssh/ssh_host_ed25519_key.pub")
            assert key is not None
            (partial / "host_key.pub").write_bytes(key.read())
        subprocess.run(["zstd", "-q", "-3", "-T0", str(root), "-o", str(partial / "rootfs.tar.zst")], check=True)
    _write_metadata(partial / "metadata.tar")
    partial.rename(directory)


def _debootstrap(suite: str, work: Path, log: Path) -> None:
    argv = ["mmdebstrap", "--variant=essential", "--mode=root"]
    argv += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    argv += ["--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={path}" for path in _EXCLUDED)]
    # Packages ask it whether they may start their services.
    refuse = 'printf "#!/bin/sh\\nexit 101\\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"'
    argv += [f'--setup-hook=mkdir -p "$1/usr/sbin"; {refuse}']
    argv += [f"--include={','.join(PACKAGES[suite].split())}", f'--customize-hook={_HERE / "image-root.sh"} "$1"']
    argv += [suite, str(work / "root.tar"), f"deb [signed-by={KEYRING}] {mirror()} {suite} main"]
    with log.open("w") as output:
        environment = {**os.environ, "TMPDIR": str(work), "LC_ALL": "C.UTF-8"}
        built = subprocess.run(
            argv, check=False, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment
        )
    if built.returncode != 0:
        last = log.read_text().strip().splitlines()[-1:]
        raise LabError(f"The image of {suite} could not be built: {' '.join(last)} (all of it is in {log})")


def mirror() -> str:
    """Return the Debian mirror that this machine itself uses. LabError when there is none."""
    ask = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages", "Component: main"]
    lines = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.splitlines()
    found = [line.split()[0] for line in lines if not line.endswith(("-security", "-updates", "-backports"))]
    if not found:
        raise LabError("No Debian mirror: this machine's apt has no source with the component main.")
    return found[0]


@contextmanager
def workspace(gigabytes: int) -> Iterator[Path]:
    """Yield a directory to unpack thousands of small files in: in memory, where that has so much room."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > gigabytes * 2**30
    with tempfile.TemporaryDirectory(prefix="veza-image-", dir=shared if roomy else CACHE) as name:
        # mmdebstrap drops its rights for apt's downloads.
        Path(name).chmod(0o755)
        yield Path(name)


def _write_metadata(path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "templates").mkdir()
        templates = {}
        for number, (target, text) in enumerate(TEMPLATES.items()):
            (directory / "templates" / f"{number}.tpl").write_text(text)
            templates[target] = {"when": ["create"], "template": f"{number}.tpl"}
        document = {"architecture": os.uname().machine, "creation_date": 1, "templates": templates}
        (directory / "metadata.yaml").write_text(yaml.safe_dump(document))
        with tarfile.open(path, "w") as archive:
            for entry in ("metadata.yaml", "templates"):
                archive.add(directory / entry, arcname=entry)


def _fingerprint(suite: str) -> str:
    parts = (suite, PACKAGES[suite], repr(TEMPLATES), repr(_EXCLUDED), (_HERE / "image-root.sh").read_text())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
