# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stages of `make test`. Each can be run by itself: `.venv/bin/nox -s STAGE`; `.venv/bin/nox -l` lists them.

Tools come from .venv, whose versions constraints.txt pins; what needs an environment of its own gets one in .nox.
Nothing here skips, but for one thing: an ansible-core whose Python is not on this machine.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import antsibull_nox
import nox

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))
# Where stages keep copies and environments. Absolute, unlike nox's own paths: stages change the directory.
WORK = ROOT / ".nox" / "veza"
# So that `.venv/bin/nox` finds its neighbours without an activated environment.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

from tests.tools import checkout, environments, junit  # noqa: E402

STATIC = [
    "style",
    "typing",
    "yamllint",
    "ansible-lint",
    "docs",
    "changelog",
    "license-check",
    "extra-checks",
]

# ansible-core -> its last release, and the Pythons that it runs on, best first.
CORES = {
    "2.16": ("2.16.19", ("3.11", "3.12")),
    "2.19": ("2.19.14", ("3.11", "3.12", "3.13")),
    "2.21": ("2.21.5", ("3.13", "3.12")),
}

# Unit tests of what knows nothing of Ansible: once is enough, with this ansible-core.
ONCE = (
    "2.19",
    [
        *("tests/unit/prometheus", "tests/unit/lab", "tests/unit/game_day"),
        *(f"tests/unit/plugins/modules/test_{what}.py" for what in ("strange_documents", "fake_broker")),
    ],
)

# The oldest Python of the hosts that modules run on (tests/config.yml).
TARGET_PYTHON = "3.9"

# The Python of .venv.
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"

# Ctrl-C: so long may tests take to bring down what they brought up before nox kills them.
PATIENCE = 120.0

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "none"

# license-check and extra-checks
antsibull_nox.load_antsibull_nox_toml()

# What `make test` runs, in three lanes side by side (tests/tools/run_stages.py).
PACKAGE = ["sanity", f"python-{TARGET_PYTHON}", "galaxy"]
CHECKS = [*STATIC, *(f"unit-{core}" for core in CORES)]
nox.options.sessions = [*CHECKS, *PACKAGE, "integration", "demo", "awx"]


def pytest(session: nox.Session, python: str, *arguments: str) -> None:
    """Run pytest; a skipped test fails the stage, as it would hide that something is missing."""
    report = ROOT / "tests" / "output" / "junit" / f"{session.name}.xml"
    report.unlink(missing_ok=True)
    session.run(
        python,
        *("-m", "pytest", f"--junit-xml={report}"),
        *(session.posargs or arguments),
        external=True,
        interrupt_timeout=PATIENCE,
        terminate_timeout=PATIENCE,
    )
    if skipped := junit.count(report).skipped:
        session.error(f"{skipped} tests were skipped: what they need must be there")


@nox.session
def lint(session: nox.Session) -> None:
    """All that looks at the files without running them."""
    for stage in STATIC:
        session.notify(stage)


@nox.session
def checks(session: nox.Session) -> None:
    """All that looks at the files or needs no server."""
    for stage in CHECKS:
        session.notify(stage)


@nox.session
def package(session: nox.Session) -> None:
    """What Galaxy and other ansible-cores say of the collection."""
    for stage in PACKAGE:
        session.notify(stage)


@nox.session
def style(session: nox.Session) -> None:
    """ruff: rules and format; shellcheck."""
    session.run("ruff", "check", "--quiet", ".")
    session.run("ruff", "format", "--check", "--quiet", "--diff", ".")
    session.run("shellcheck", *checkout.scripts(ROOT))


@nox.session
def typing(session: nox.Session) -> None:
    """mypy, with the imports that a user of the collection would write."""
    here = ".collections/ansible_collections/veza/rabbitmq"
    session.run(
        "mypy",
        f"{here}/plugins",
        "tests/lab",
        "tests/game_day",
        "tests/incus",
        "tests/awx",
        "tests/tools",
        "noxfile.py",
    )


@nox.session
def yamllint(session: nox.Session) -> None:
    """All YAML files (those in plugins are linted by sanity)."""
    session.run("yamllint", "--strict", ".")


@nox.session(name="ansible-lint")
def ansible_lint(session: nox.Session) -> None:
    """The production profile, nothing skipped."""
    session.run("ansible-lint", "--offline", "--strict", "-q", "--format", "pep8", "--nocolor")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation of plugins and roles, its links included."""
    copy = checkout.copy_collection(ROOT, WORK / "docs")
    session.chdir(copy)
    session.run(
        *("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", "--check-extra-docs-refs"),
        *("--validate-collection-refs", "self", "."),
        env={"ANSIBLE_COLLECTIONS_PATH": str(copy.parents[2])},
    )


@nox.session
def changelog(session: nox.Session) -> None:
    """Changelog fragments."""
    session.run("antsibull-changelog", "lint")


@nox.session
def awx(session: nox.Session) -> None:
    """What extensions/awx defines: against the documentation of awx.awx, applied to a stand-in; 20 brokers at once."""
    pytest(session, "python", "-q", "tests/awx")


def ansible_test(session: nox.Session, *arguments: str, python: Path | None = None) -> None:
    """Run ansible-test sanity in a copy: it wants to be in .../ansible_collections/veza/rabbitmq."""
    copy = checkout.copy_collection(ROOT, WORK / "sanity")
    session.chdir(copy)
    env = environments.for_ansible_test(WORK / "ansible-test")
    if python:
        env["PATH"] = f"{env['PATH']}:{python.parent}"
    session.run("ansible-test", "sanity", "--color", "no", *arguments, *session.posargs, env=env)


@nox.session
def sanity(session: nox.Session) -> None:
    """ansible-test sanity, every test, no ignores."""
    ansible_test(session, "--venv", "--python", HERE)


@nox.session(name=f"python-{TARGET_PYTHON}")
def target_python(session: nox.Session) -> None:
    """Modules import on the oldest Python of the hosts that they are sent to."""
    interpreter = environments.find_python((TARGET_PYTHON,))
    if interpreter is None:
        session.skip(f"not on this machine: Python {TARGET_PYTHON}")
    ansible_test(
        session,
        *("--test", "compile", "--test", "import"),
        *("--controller", f"origin:python=venv/{HERE}", "--target-python", TARGET_PYTHON),
        python=interpreter,
    )


@nox.session
def galaxy(session: nox.Session) -> None:
    """Build the collection, check it as Galaxy would, install it elsewhere and use it there."""
    work = WORK / "galaxy"
    tarball = checkout.build_collection(ROOT, work / "dist")
    checkout.check_tarball(ROOT, tarball)

    python = environments.create(
        work / "importer", Path(sys.executable), ["-r", str(ROOT / "tests" / "tools" / "galaxy-importer.txt")]
    )
    session.chdir(tarball.parent)
    log = session.run(str(python), "-m", "galaxy_importer.main", tarball.name, silent=True, log=False, external=True)
    if complaints := [line for line in str(log).splitlines() if line.startswith(("ERROR", "WARNING"))]:
        session.error("galaxy-importer says:\n" + "\n".join(complaints))

    installed = environments.fresh_directory(work / "installed")
    session.chdir(installed)
    env = {"ANSIBLE_COLLECTIONS_PATH": str(installed), "ANSIBLE_HOME": str(installed / ".ansible")}
    session.run("ansible-galaxy", "collection", "install", "--offline", "-p", ".", str(tarball), silent=True, env=env)
    names = checkout.contents(installed / "ansible_collections" / "veza" / "rabbitmq")
    for kind in ("module", "filter", "role"):
        if names[kind]:
            session.run("ansible-doc", "-t", kind, "--json", *names[kind], silent=True, env=env)
    for playbook in names["playbook"]:
        session.run("ansible-playbook", "--syntax-check", playbook, silent=True, env=env)
    session.log("installed and documented: " + ", ".join(name for kind in names.values() for name in kind))


@nox.session
def unit(session: nox.Session) -> None:
    """Unit tests with each supported ansible-core."""
    for core in CORES:
        session.notify(f"unit-{core}")


def add_unit_session(core: str, release: str, pythons: tuple[str, ...]) -> None:
    """One session per ansible-core: the unit tests, and every playbook parsed."""

    def run(session: nox.Session) -> None:
        interpreter = environments.find_python(pythons)
        if interpreter is None:
            session.skip(f"not on this machine: Python {' or '.join(pythons)}")
        python = environments.create(
            WORK / f"unit-{core}",
            interpreter,
            [
                f"ansible-core=={release}",
                *("-r", str(ROOT / "requirements.txt"), "-r", str(ROOT / "tests" / "unit" / "requirements.txt")),
                *("-c", str(ROOT / "constraints.txt")),
            ],
        )
        without = [] if core == ONCE[0] else [f"--ignore={path}" for path in ONCE[1]]
        pytest(session, str(python), "-q", "tests/unit", *without)
        for playbook in checkout.contents(ROOT)["playbook"]:
            session.run(str(python.with_name("ansible-playbook")), "--syntax-check", playbook, silent=True)

    run.__doc__ = f"Unit tests with ansible-core {release}."
    nox.session(name=f"unit-{core}")(run)


for _core, (_release, _pythons) in CORES.items():
    add_unit_session(_core, _release, _pythons)


@nox.session
def integration(session: nox.Session) -> None:
    """Against a real broker and database; three processes, because most of the time of a test is spent waiting."""
    spread = ("-n", "3", "--no-loadscope-reorder")
    pytest(session, "python", *spread, "tests/integration", "--ignore=tests/integration/test_demo.py")


@nox.session
def demo(session: nox.Session) -> None:
    """The demo, with assertions; two at a time."""
    pytest(session, "python", "-n", "2", "tests/integration/test_demo.py")


OLDER, CLUSTER = "tests/incus/test_older.py", "tests/incus/test_cluster.py"
"""Tests with a lab of their own: a machine has room for two labs, not three."""


@nox.session
def incus(session: nox.Session) -> None:
    """On real hosts: the lab, the playbooks over ssh, game day E, a part of the fault catalogue."""
    on_hosts(session, "not long")


@nox.session(name="incus-long")
def incus_long(session: nox.Session) -> None:
    """On real hosts, what takes long: when game day E is red, the chain from the alert to the report, more faults.

    Last a broker of three nodes, by itself: it has two hosts more.
    """
    on_hosts(session, "long")
    pytest(session, "python", "-v", CLUSTER)


def on_hosts(session: nox.Session, marked: str) -> None:
    """Run tests on two labs at once, as most of the time is spent waiting for hosts and alerts.

    A file stays on one lab; what takes longest comes first.
    """
    spread = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
    # One by one: of a file and its directory pytest makes the directory.
    first, alone = "tests/incus/test_scenario_e.py", {OLDER, CLUSTER}
    others = sorted({str(path.relative_to(ROOT)) for path in ROOT.glob("tests/incus/test_*.py")} - {first, *alone})
    pytest(session, "python", "-v", *spread, "-m", marked, first, *others)


@nox.session(name="incus-3.10")
def incus_older(session: nox.Session) -> None:
    """The older family of RabbitMQ on real hosts."""
    pytest(session, "python", "-v", OLDER)
