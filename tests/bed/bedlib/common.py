# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, places and small helpers that every part of the bed shares."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, TextIO

HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE.parent.parent
FILES = HERE / "files"
RUN = Path("/run/adt-bed")
# Long enough for any bed, and "adt-" + name is still a legal interface name (15 characters).
NAME = re.compile(r"[a-z][a-z0-9]{0,10}\Z")


class BedError(Exception):
    """Something the user can read and act upon."""


@dataclass(frozen=True)
class Host:
    """A host of the bed. Host and group names differ, or Ansible warns of each."""

    name: str
    suite: str
    octet: int  # the last one of its address
    group: str


# Of each of the groups that a bed can have more or fewer of.
MOST = 9
# Webservers are of both of Debian's releases in turn.
POSSIBLE = (
    Host("store1", "bookworm", 10, "store"),
    *(Host(f"web{n}", ("trixie", "bookworm")[n % 2], 10 + n, "webservers") for n in range(1, MOST + 1)),
    *(Host(f"build{n}", "bookworm", 20 + n, "build") for n in range(1, MOST + 1)),
)
SIZE = {"webservers": 2, "build": 1}


def cache_dir() -> Path:
    """ADT_CACHE, or adt-assets in the user's cache directory; absolute."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adt-assets"
    return Path(os.environ.get("ADT_CACHE") or default).resolve()


@dataclass(frozen=True)
class Bed:
    """One named bed: where its state lies (`state`, on disk) and what ends with the machine (`run`)."""

    name: str
    cache: Path

    @property
    def label(self) -> str:
        return f"adt-{self.name}"

    @property
    def state(self) -> Path:
        return self.cache / "beds" / self.name

    @property
    def size(self) -> dict[str, int]:
        """How many hosts of each group the bed has, or would be made with."""
        file = self.state / "size.json"
        return json.loads(file.read_text(encoding="ascii")) if file.exists() else SIZE

    @property
    def hosts(self) -> list[Host]:
        counts = {"store": 1, **self.size}
        return [host for group in counts for host in [h for h in POSSIBLE if h.group == group][: counts[group]]]

    def find_host(self, name: str) -> Host:
        """A host by its name, or by its group where that has but one."""
        found = [host for host in self.hosts if host.name == name] or [h for h in self.hosts if h.group == name]
        if len(found) != 1:
            raise BedError(f"no host {name!r}: there are {', '.join(host.name for host in self.hosts)}")
        return found[0]

    @property
    def run(self) -> Path:
        return RUN / self.name

    def container(self, host: str) -> str:
        return f"{self.label}-{host}"

    def host_dir(self, host: str) -> Path:
        """What one host may see of the bed's state, mounted at /srv/bed/host."""
        return self.state / "hosts" / host


def make_bed(name: str) -> Bed:
    if not NAME.match(name):
        raise BedError(f"bed name {name!r}: use a letter, then up to 10 lower-case letters or digits")
    return Bed(name, cache_dir())


def run(
    argv: Sequence[object], check: bool = True, timeout: float = 900, env: Optional[dict] = None, give: str = ""
) -> subprocess.CompletedProcess:
    """Run a command, its output captured as text; a failure carries what the command said last."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, text=True, capture_output=True, timeout=timeout, env=env, input=give, check=False, cwd="/"
        )
    except FileNotFoundError:
        raise BedError(f"{words[0]} is not installed: run tests/setup.sh")
    except subprocess.TimeoutExpired:
        raise BedError(f"{' '.join(words)}: no end after {timeout:.0f} s")
    if check and done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise BedError(f"{' '.join(words)}: exit {done.returncode}\n{said}")
    return done


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; waits for whoever holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_private(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file that is never readable to others, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as handle:
        handle.write(text)


def say(text: str, stream: Optional[TextIO] = None) -> None:
    print(f"bed: {text}", flush=True, file=stream)
