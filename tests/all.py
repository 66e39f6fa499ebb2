# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every test of the collection, or the named stages, and end in ``N passed, N failed``.

A stage is a command. What it counts is real tests: the test cases of its JUnit files where it writes them,
otherwise the command itself. A stage that fails without a failed test counts as one failure; one that claims
success without a single test does too.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ["ADT_CACHE"])
STAGED = CACHE / "staged" / Path(os.environ["ADT_TREE"]).name / "ansible_collections" / "adt" / "assets"
LOGS = CACHE / "logs" / time.strftime("%Y%m%dT%H%M%S")
GET_PIP = TOP / "tests" / "get_pip_stub.py"
BED = "{bed}"  # in a stage: the name of the bed that its lane has
LONG = "long"  # the group of stages that run only when they are named
SOAK_SIZE = ["--webservers", "3", "--build", "3"]  # T21's, and those that share a backup
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass
class Stage:
    """One command: ``cwd`` to run in, ``junit`` globs (below ``cwd``) whose test cases are what it counts."""

    name: str
    group: str
    command: list[str]
    cwd: Path = TOP
    junit: str = ""
    bed: bool = False
    env: dict[str, str] = field(default_factory=dict)


def pytest(name: str, group: str, *paths: str, bed: bool = False) -> Stage:
    """A stage that runs pytest and counts its cases."""
    report = LOGS / f"{name}.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}", *paths]
    path = f"{os.environ['ADT_TREE']}:{os.environ['PYTHONPATH']}"
    return Stage(name, group, command, junit=str(report), bed=bed, env={"PYTHONPATH": path})


def molecule(scenario: str, tool: str, group: str = "molecule") -> Stage:
    """A stage that runs one molecule scenario on the bed with one mount tool, and counts its testinfra cases."""
    # Without the reset molecule takes a scenario for prepared that an earlier run, or another tool, has prepared.
    command = ["bash", "-c", f"molecule reset -s {scenario} && exec molecule test -s {scenario}"]
    report = str(CACHE / "molecule" / BED / f"{scenario}.xml")
    return Stage(
        f"molecule-{scenario}-{tool}",
        group,
        command,
        junit=report,
        bed=True,
        env={
            "ADT_TOOL": tool,
            "ADT_BED_KEEP": "1",
            "MOLECULE_EPHEMERAL_DIRECTORY": str(CACHE / "molecule" / BED / "state"),
        },
    )


def stages() -> list[Stage]:
    """All stages; of those on a bed mostly the longest first, so that both lanes end at about the same time."""
    ansible_test = ["ansible-test"]
    venv = ["--venv", "--python", PYTHON]
    return [
        Stage("ruff", "lint", ["ruff", "check", "."]),
        Stage("ruff-format", "lint", ["ruff", "format", "--check", "."]),
        Stage(
            "mypy",
            "lint",
            ["mypy", "--config-file", str(TOP / "pyproject.toml"), "ansible_collections/adt/assets/plugins"],
            cwd=Path(os.environ["ADT_TREE"]),
            env={"MYPYPATH": os.environ["ADT_TREE"]},
        ),
        Stage("yamllint", "lint", ["yamllint", "--strict", "."]),
        Stage("ansible-lint", "lint", ["ansible-lint", "--offline", "--strict"], cwd=STAGED),
        Stage(
            "antsibull-docs",
            "lint",
            ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", "."],
            cwd=STAGED,
        ),
        Stage("changelog", "lint", ["antsibull-changelog", "lint"], cwd=STAGED),
        Stage(
            "ansible-test-units", "units", [*ansible_test, "units", *venv], cwd=STAGED, junit="tests/output/junit/*.xml"
        ),
        Stage(
            "ansible-test-sanity",
            "sanity",
            [*ansible_test, "sanity", "--junit", *venv],
            cwd=STAGED,
            junit="tests/output/junit/*.xml",
        ),
        Stage("galaxy-importer", "importer", [sys.executable, "tests/importer.py", str(STAGED)]),
        Stage("ansible-test-integration", "integration", [*ansible_test, "integration", *venv], cwd=STAGED),
        molecule("workflow", "rclone"),
        molecule("deploy", "rclone"),
        # The playbooks are the same for every tool: test_mind_changed.py has them take s3fs there and back under load.
        molecule("deploy", "s3fs", group=LONG),
        molecule("webroot_sync", "rclone"),
        *(molecule("asset_mount", tool) for tool in ("rclone", "s3fs", "goofys", "geesefs")),
        molecule("wordpress", "rclone"),
        molecule("webroot_backup", "rclone"),
        pytest("s3", "s3", "tests/s3", bed=True),
        # Full counts take hours; ``make soak`` sets ADT_SOAK, without it this is a part of s3.
        pytest(
            "soak-s3",
            LONG,
            "-s",
            *(f"tests/s3/test_{of}.py" for of in ("injections", "kills", "races", "turns", "many")),
            bed=True,
        ),
        pytest("bed", "bed", "tests/bed", bed=True),
        molecule("asset_store", "rclone"),
    ]


def stage_collection() -> None:
    """Copy the tree to where ansible-test wants it: a real directory below ansible_collections/adt/assets."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TOP,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    present = b"\0".join(name for name in listed.split(b"\0") if name and (TOP / os.fsdecode(name)).exists())
    # ansible-test keeps its virtual environments in there; they take a minute to make.
    kept = STAGED.parent / "output"
    if (STAGED / "tests" / "output").is_dir():
        (STAGED / "tests" / "output").rename(kept)
    shutil.rmtree(STAGED, ignore_errors=True)
    (STAGED / "tests").mkdir(parents=True)
    if kept.is_dir():
        kept.rename(STAGED / "tests" / "output")
    subprocess.run(["rsync", "-a", "--from0", "--files-from=-", f"{TOP}/", f"{STAGED}/"], input=present, check=True)
    # ansible-test takes the tree for a collection in source control only inside a repository.
    subprocess.run("git init -q && git add -A", shell=True, cwd=STAGED, check=True)
    for dependency in ("amazon/aws",):
        link = STAGED.parent.parent / dependency
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(installed_collections() / dependency)


def installed_collections() -> Path:
    """Where the pinned ``ansible`` package keeps its collections."""
    return next(Path(os.environ["ADT_VENV"]).glob("lib/python3*/site-packages/ansible_collections"))


def provide_get_pip() -> None:
    """Put a stand-in for get-pip.py into ansible-test's cache: many networks can't reach its download host."""
    package = next(Path(os.environ["ADT_VENV"]).glob("lib/python3*/site-packages/ansible_test/_internal"))
    pinned = re.search(r"pip='([\d.]+)'", (package / "python_requirements.py").read_text())
    if not pinned:
        raise SystemExit("tests/all.py: this ansible-core names its pip version in another way than known here")
    cache = Path.home() / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    shutil.copy(GET_PIP, cache / f"get_pip_{pinned.group(1).replace('.', '_')}.py")


def reports(stage: Stage) -> list[Path]:
    """The JUnit files that a stage has written."""
    pattern = stage.cwd / stage.junit
    return list(pattern.parent.glob(pattern.name)) if stage.junit else []


def count(stage: Stage, returncode: int) -> tuple[int, int]:
    """Passed and failed test cases of a finished stage."""
    if not stage.junit:
        return (1, 0) if returncode == 0 else (0, 1)
    passed = failed = 0
    for report in reports(stage):
        for case in ET.parse(report).getroot().iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
            elif case.find("skipped") is None:
                passed += 1
    if (returncode != 0 and failed == 0) or passed + failed == 0:
        failed += 1
    return passed, failed


def run(stage: Stage) -> tuple[int, int]:
    """Run one stage with its output in a log; say how it ended, with the log's end when it failed."""
    log = LOGS / f"{stage.name}.log"
    began = time.monotonic()
    for old in reports(stage):
        old.unlink()
    with log.open("wb") as out:
        done = subprocess.run(
            stage.command,
            cwd=stage.cwd,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **stage.env},
            check=False,
        )
    passed, failed = count(stage, done.returncode)
    said = [f"=== {stage.name} … {passed} passed, {failed} failed ({time.monotonic() - began:.0f} s)"]
    if failed:
        said += [f"    {line}" for line in log.read_text(errors="replace").splitlines()[-60:]]
        said += [f"    whole log: {log}"]
    print("\n".join(said), flush=True)
    return passed, failed


@contextmanager
def bed(name: str) -> Iterator[None]:
    """A test bed that is up inside the block; one that was up before is used and left as it is."""
    command = [str(TOP / "tests" / "bed" / "bed")]
    was_up = (
        subprocess.run([*command, "status", "--name", name], stdout=subprocess.DEVNULL, check=False).returncode == 0
    )
    size = SOAK_SIZE if os.environ.get("ADT_SOAK") else []
    subprocess.run([*command, "up", "--name", name, *size], check=True)
    try:
        yield
    finally:
        if not was_up:
            subprocess.run([*command, "down", "--name", name], check=True)


def on(name: str, stage: Stage) -> Stage:
    """The stage with the name of the bed that it runs on filled in."""
    env = {key: value.replace(BED, name) for key, value in stage.env.items()}
    return replace(stage, junit=stage.junit.replace(BED, name), env={"ADT_BED": name, **env})


def lane(name: str, jobs: Iterator[list[Stage]]) -> list[tuple[int, int]]:
    """Take jobs until there are none, those that need a bed on the one of that name."""
    results = []
    with ExitStack() as lent:
        has_bed = False
        for stage in chain.from_iterable(jobs):
            if stage.bed and not has_bed:
                lent.enter_context(bed(name))
                has_bed = True
            results.append(run(on(name, stage)))
    return results


def is_meant(stage: Stage, word: str) -> bool:
    """Whether a word of the command line names a stage: ``molecule``, ``molecule-deploy``, ``molecule-deploy-s3fs``."""
    return word == stage.group or f"{stage.name}-".startswith(f"{word}-")


def main() -> int:
    """Run the chosen groups or stages; 0 when nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="groups, stages or beginnings of their names to run, all by default")
    chosen = parser.parse_args().only
    todo = [
        stage
        for stage in stages()
        if (any(is_meant(stage, word) for word in chosen) if chosen else stage.group != LONG)
    ]
    if not todo:
        parser.error(f"no such stage; there are: {', '.join(stage.name for stage in stages())}")
    LOGS.mkdir(parents=True, exist_ok=True)
    stage_collection()
    provide_get_pip()
    # ansible-test's stages share a tree, so they are one job. Two lanes: most of a playbook's time is spent waiting.
    jobs = [[stage] for stage in todo if stage.bed]
    if len(jobs) < len(todo):
        jobs.insert(0, [stage for stage in todo if not stage.bed])
    names = [os.environ["ADT_BED"], f"{os.environ['ADT_BED'][:10]}2"][: len(jobs)]
    for name in names:
        (CACHE / "molecule" / name).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(names)) as lanes:
        ran = lanes.map(lane, names, [iter(jobs)] * len(names))
        results = [result for results in ran for result in results]
    passed, failed = (sum(column) for column in zip(*results))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
