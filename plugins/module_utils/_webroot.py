# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in a webroot, and the list of what lay there when it was last known to be good.

Role webroot_sync installs this file on webservers beside its program; it needs nothing but Python's standard library.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Callable, NamedTuple

HERE = Path(__file__).resolve().parent
if (HERE / "guard.py").exists():
    sys.path.insert(0, str(HERE))
    from guard import Entry, Listing
else:
    from ansible_collections.adt.assets.plugins.module_utils._guard import Entry, Listing

# What Syncthing keeps in a folder for itself, and the files that it is just receiving.
MARKER = ".stfolder"
PATTERNS = ".stignore"
_OWN = (MARKER, PATTERNS, ".stversions")
_RECEIVING = (".syncthing.", "~syncthing~")


class User(NamedTuple):
    """Whose the files are, in numbers."""

    uid: int
    gid: int


def entry_of(status: os.stat_result, user: User) -> Entry:
    is_file = stat.S_ISREG(status.st_mode)
    size, mtime = (status.st_size, status.st_mtime_ns) if is_file else (0, 0)
    return Entry(status.st_mode, size, mtime, can_read(status, user))


def can_read(status: os.stat_result, user: User) -> bool:
    """Whether the mode lets a user (without other groups) read a file, or list and enter a directory."""
    shift = 6 if status.st_uid == user.uid else 3 if status.st_gid == user.gid else 0
    needed = 5 if stat.S_ISDIR(status.st_mode) else 4
    return stat.S_ISLNK(status.st_mode) or (status.st_mode >> shift) & needed == needed


def skipping(excludes: Iterable[str]) -> Callable[[str], bool]:
    """Whether a name is none of the sync's: excluded, below what is excluded, or Syncthing's own."""
    excluded = set(excludes)

    def skip(name: str) -> bool:
        parts = name.split("/")
        if parts[0] in _OWN or (parts[-1].startswith(_RECEIVING) and parts[-1].endswith(".tmp")):
            return True
        return any("/".join(parts[:depth]) in excluded for depth in range(1, len(parts) + 1))

    return skip


def look(root: str, name: str, user: User) -> Entry | None:
    """What is there now."""
    try:
        return entry_of(os.lstat(os.path.join(root, name)), user)
    except (FileNotFoundError, NotADirectoryError):
        return None


def walk(root: str, user: User, skip: Callable[[str], bool], top: str = "") -> Listing:
    """Everything below a webroot, or below one of its directories. Raises OSError when the root can't be listed."""
    found: Listing = {}
    todo = [top]
    while todo:
        folder = todo.pop()
        try:
            entries = list(os.scandir(os.path.join(root, folder)))
        except (FileNotFoundError, NotADirectoryError):
            if not folder:
                raise
            continue
        for entry in entries:
            name = os.path.join(folder, entry.name)
            if skip(name):
                continue
            with contextlib.suppress(FileNotFoundError):
                found[name] = entry_of(entry.stat(follow_symlinks=False), user)
                if found[name].is_directory:
                    todo.append(name)
    return found


def write_list(file: Path, listing: Listing) -> None:
    """Keep a list so that nobody reads half of it, not even after a power cut."""
    fresh = file.with_suffix(".new")
    with fresh.open("w", encoding="ascii") as out:
        json.dump(listing, out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(fresh, file)


def read_list(file: Path) -> Listing | None:
    """The list that was kept; None when there is none that can be read."""
    try:
        return {name: Entry(*entry) for name, entry in json.loads(file.read_text(encoding="ascii")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def foreign(root: str, user: User, skip: Callable[[str], bool]) -> Iterator[tuple[str, int, str]]:
    """What belongs to others: its path, and its place as a directory's descriptor and a name, valid until the next."""
    for folder, folders, files, fd in os.fwalk(root, follow_symlinks=False):
        below = os.path.relpath(folder, root)
        path = "" if below == "." else below
        folders[:] = [name for name in folders if not skip(os.path.join(path, name))]
        for name in [*folders, *files]:
            if skip(os.path.join(path, name)):
                continue
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if (status.st_uid, status.st_gid) != tuple(user):
                    yield os.path.join(path, name), fd, name


def exchange(root: str, excludes: Iterable[str], fresh: str, aside: str) -> None:
    """Put fresh content in the place of what a webroot holds, but for what is excluded. Raises OSError.

    What was there is in ``aside`` afterwards. As whole directories, which are away for the moment between two renames,
    but for those above an excluded one: something may be mounted there. A file is never away.
    """
    excluded = set(excludes)
    kept = {"/".join(path.split("/")[:depth]) for path in excluded for depth in range(1, path.count("/") + 2)}
    todo = [""]
    while todo:
        folder = todo.pop()
        for name in sorted({*_names(os.path.join(root, folder)), *_names(os.path.join(fresh, folder))}):
            path = os.path.join(folder, name)
            here, new = os.path.join(root, path), os.path.join(fresh, path)
            if path in excluded or path in _OWN:
                continue
            if path in kept and _is_directory(here) and (_is_directory(new) or not os.path.lexists(new)):
                if _is_directory(new):
                    shutil.copymode(new, here)
                todo.append(path)
                continue
            if os.path.lexists(here):
                _set_aside(here, os.path.join(aside, path), stays=os.path.lexists(new) and not _is_directory(new))
            if os.path.lexists(new):
                _move(new, here)


def _names(folder: str) -> list[str]:
    return os.listdir(folder) if _is_directory(folder) else []


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _set_aside(path: str, aside: str, stays: bool) -> None:
    """``stays``: it will be replaced where it is, if it can."""
    os.makedirs(os.path.dirname(aside), mode=0o700, exist_ok=True)
    if not _is_directory(path):
        if stays:
            with contextlib.suppress(OSError):  # another file system, or one without links
                os.link(path, aside, follow_symlinks=False)
                return
    else:
        os.chmod(path, os.stat(path).st_mode | stat.S_IRWXU)  # only who may write it may move it
    _move(path, aside)


def _move(path: str, to: str) -> None:
    try:
        os.rename(path, to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.move(path, to)


def remake(root: str, folders: dict[str, int]) -> None:
    """Make directories anew where they are gone, empty, with their modes."""
    for name in sorted(folders):
        path = os.path.join(root, name)
        with contextlib.suppress(OSError):  # something else is there now, or it is not ours to make
            os.mkdir(path)
            os.chmod(path, folders[name])


def unmake(root: str, folders: Iterable[str]) -> None:
    """Remove directories that are empty."""
    for name in sorted(folders, reverse=True):
        with contextlib.suppress(OSError):
            os.rmdir(os.path.join(root, name))


def fuse_at(root: str, mountinfo: bytes) -> bool:
    """Whether a webroot is the mount of a program, such as one of a bucket; from /proc/self/mountinfo (proc(5))."""
    kind = b""
    for line in mountinfo.splitlines():
        before, _dash, after = line.partition(b" - ")
        if _unescaped(before.split()[4]) == root:
            kind = after.split()[0]  # the last one is in front
    return kind.startswith(b"fuse") and kind != b"fuseblk"


def mounts_inside(root: str, skip: Callable[[str], bool], mountinfo: bytes) -> list[str]:
    """Where something is mounted below a webroot, but for what is left out; from /proc/self/mountinfo (proc(5))."""
    points = (_unescaped(line.split()[4]) for line in mountinfo.splitlines())
    below = (os.path.relpath(point, root) for point in points if point.startswith(root.rstrip("/") + "/"))
    return sorted({name for name in below if not skip(name)})


def _unescaped(point: bytes) -> str:
    """A mountpoint as /proc/self/mountinfo writes it."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), point))
