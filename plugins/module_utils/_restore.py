# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files out of a snapshot into a directory of their own, where there is room, and each of them verified."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from ._backup import SourceError
from ._names import exclude_patterns, within
from ._progress import Amount, Work, io_of
from ._restic import Restic

# What a file system needs besides the files' bytes.
SPARE = 64 * 1024 * 1024
SPARE_SHARE = 0.05


class NoRoomError(SourceError):
    """A backup is larger than what is free where it should go."""

    kind = "room"


class Order(NamedTuple):
    """What is wanted: a snapshot with its webroot, paths below it or absolute ones (none: all of it), and where to."""

    snapshot: str
    webroot: str
    directories: tuple[str, ...]
    dest: str
    check: bool


def restore(restic: Restic, order: Order, work: Work) -> dict[str, Any]:
    """Carry out an order; the result of module backup_restore. Raises SourceError, before anything is written."""
    dest = Path(order.dest)
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise SourceError(f"dest {order.dest!r} is there and isn't an empty directory: restore into a new one")
    # What is absolute stays so, and "." is all of it.
    wanted = [os.path.normpath(os.path.join(order.webroot, name)) for name in order.directories] or [order.webroot]
    files = [(path, size) for path, size in restic.files(order.snapshot) if any(within(path, top) for top in wanted)]
    for top in wanted:
        if not any(within(path, top) for path, _size in files):
            raise SourceError(f"the backup has no files in {top}: look at what it leaves out (adt.assets.backup_info)")
    size = sum(size for _path, size in files)
    _require_room(dest, size)
    if not order.check:
        tops = exclude_patterns([top.lstrip("/") for top in wanted], "restic", "/")
        includes = [word for top in tops for word in ("--include", top)]
        watch = _Watch(work, Amount(0, size))
        words = ("restore", order.snapshot, "--target", order.dest, "--verify", *includes)
        restic.watch(watch.line, *words, started=watch.started)
        _require_all(dest, files)
    return {"changed": True, "path": order.dest + order.webroot, "files": len(files), "bytes": size}


class _Watch:
    """How far restic is, by what its process has written, and read again: old ones don't say it themselves."""

    def __init__(self, work: Work, whole: Amount) -> None:
        self._work, self._whole = work, whole
        self._pid = 0

    def started(self, pid: int) -> None:
        self._pid = pid
        self._work.go_on("restoring", lambda: Amount(0, io_of(pid).written), self._whole, estimated=True)

    def line(self, line: bytes) -> bool:
        """One of those that restic prints, of which nobody needs any."""
        if line.startswith(b"verifying"):
            pid, before = self._pid, io_of(self._pid).read
            self._work.go_on("verifying", lambda: Amount(0, io_of(pid).read - before), self._whole, estimated=True)
        return False


def _require_room(dest: Path, size: int) -> None:
    while not dest.exists():
        dest = dest.parent
    free = shutil.disk_usage(dest).free
    needed = int(size * (1 + SPARE_SHARE)) + SPARE
    if free < needed:
        raise NoRoomError(
            f"there is no room for the backup: {dest} has {free >> 20} MiB free, and {needed >> 20} MiB are needed; "
            "free some, or choose another file system"
        )


def _require_all(dest: Path, files: list[tuple[str, int]]) -> None:
    for path, size in files:
        place = f"{dest}{path}"
        if not os.path.lexists(place) or os.lstat(place).st_size != size:
            raise SourceError(f"{path} wasn't restored whole: run again, and look at adt-assets-backup's weekly check")
