# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restored files into their place, by rsync and compared by content: what came since stays, nothing newer is replaced
unless that is wanted.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Any, NamedTuple

from ._backup import SourceError
from ._names import exclude_patterns
from ._progress import Amount, Work, io_of_all

RSYNC = ("rsync", "--archive", "--hard-links", "--acls", "--xattrs", "--checksum", "--relative")
LOOK = ("--dry-run", "--itemize-changes")
SHOWN = 10


class Placing(NamedTuple):
    """What goes where: ``path`` below ``src`` to the same path below ``dest``, without ``excludes`` (below both)."""

    src: str
    path: str
    dest: str
    excludes: Sequence[str]
    overwrite_newer: bool
    check: bool


def place(placing: Placing, work: Work) -> dict[str, Any]:
    """The result of module backup_place. Raises SourceError; then not all of it may be in its place."""
    whole = amount(placing)
    lines = _rsync(placing, work, "comparing", whole, *LOOK)
    newer = []
    if lines:
        newer = newer_of(lines, _rsync(placing, work, "looking what is newer", whole, *LOOK, "--update"))
    changes = bool(lines) and (placing.overwrite_newer or not newer)
    if changes and not placing.check:
        _rsync(placing, work, "writing", whole)
    return {"changed": changes, "changes": len(lines), "newer": newer[:SHOWN], "newer_count": len(newer)}


def newer_of(lines: Sequence[str], older: Sequence[str]) -> list[str]:
    """Pure. Of what rsync would change, the names of files of which the place has something newer.

    ``older``: what it would change when it left those alone.
    """
    known = set(older)
    return [line.partition(" ")[2] for line in lines if line.startswith(">f") and line not in known]


def words(placing: Placing, *options: str) -> list[str]:
    """Pure. A call of rsync. What precedes "/./" isn't part of the names, and patterns begin there."""
    excludes = [f"--exclude={pattern}" for pattern in exclude_patterns(list(placing.excludes), "rsync")]
    ends = ["--out-format=%i %n%L", "--", f"{placing.src}/./{placing.path}", f"{placing.dest}/"]
    return [*RSYNC, *options, *excludes, *ends]


def amount(placing: Placing) -> Amount:
    """About what rsync reads to compare: all that was restored, and what could be the same in its place."""
    size = 0
    for folder, _folders, names in os.walk(os.path.join(placing.src, placing.path)):
        there = os.path.join(placing.dest, os.path.relpath(folder, placing.src))
        for name in names:
            found = os.lstat(os.path.join(folder, name)).st_size
            size += found * (1 + (_size(os.path.join(there, name)) == found))
    return Amount(0, size)


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return -1


def _rsync(placing: Placing, work: Work, phase: str, whole: Amount, *options: str) -> list[str]:
    """The lines that rsync prints. Raises SourceError when it fails."""
    with subprocess.Popen(
        words(placing, *options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as rsync:
        work.go_on(phase, lambda: Amount(0, min(io_of_all(rsync.pid).read, whole.bytes)), whole, estimated=True)
        output, errors = rsync.communicate()
    if rsync.returncode:
        said = errors.decode(errors="replace").strip()
        raise SourceError(f"rsync failed with {placing.dest} (exit code {rsync.returncode}): {said}")
    return output.decode(errors="backslashreplace").splitlines()
