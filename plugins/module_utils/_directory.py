# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory as a source: every entry below it, without ever following a symbolic link."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ._backup import SourceError
from ._members import show
from ._tar import DIRECTORY, FILE, SYMLINK, Raw, Reader
from ._upload import SMALL_MAX

DEPTH_MAX = 400
STEADY_TRIES = 5
# A file that was changed so shortly before it was read could change again without another ctime: Linux sets it by
# ticks of at most 10 ms, some file systems by seconds.
RACY_SECONDS, RACY_COARSE_SECONDS = 0.1, 2.1
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


def open_below(top: Path, parts: tuple[bytes, ...]) -> int:
    """A descriptor of the directory ``top/parts``; nothing below ``top`` may be a symbolic link.

    Raises SourceError when it isn't there, or isn't a directory.
    """
    here = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for at, part in enumerate(parts):
        try:
            below = os.open(part, _OPEN_DIRECTORY, dir_fd=here)
        except OSError as error:
            path = show(b"/".join(parts[: at + 1]))
            if error.errno == errno.ENOENT:
                raise SourceError(f"has no directory {path!r} (archive_path), so there is nothing to copy")
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise SourceError(f"has no directory {path!r} (archive_path): it is a file or a symbolic link there")
            raise SourceError(f"can't be read: {error.strerror}: {path!r}")
        finally:
            os.close(here)
        here = below
    return here


class DirectoryWalk:
    """Walks over a directory, in the order of names.

    ``known(path, size, stamp)`` says which files needn't be read: their reader is UNREAD.
    """

    def __init__(self, top: Path, parts: tuple[bytes, ...]) -> None:
        self._top = top
        self._parts = parts
        self.newest_change = 0.0
        self.known: Callable[[bytes, int, str], bool] = lambda path, size, stamp: False

    def entries(self, read: bool) -> Iterator[tuple[Raw, Reader]]:
        """Every entry with a reader; names are relative to the asset directory.

        With ``read`` False contents are not to be read. Files that vanish meanwhile are left out; SourceError for
        what can't be read, or changes whenever it is read.
        """
        descriptor = open_below(self._top, self._parts)
        try:
            yield from self._walk(descriptor, b"", read, 0)
        except PermissionError as error:
            raise SourceError(f"can't be read: {error.strerror}: {show(os.fsencode(error.filename or ''))!r}")
        finally:
            os.close(descriptor)

    def _walk(self, descriptor: int, prefix: bytes, read: bool, depth: int) -> Iterator[tuple[Raw, Reader]]:
        if depth > DEPTH_MAX:
            raise SourceError(f"is nested more than {DEPTH_MAX} directories deep at {show(prefix)!r}")
        self._note(os.fstat(descriptor))
        for name in sorted(os.fsencode(entry) for entry in os.listdir(descriptor)):
            try:
                status = os.lstat(name, dir_fd=descriptor)
                kind = _KINDS.get(stat.S_IFMT(status.st_mode), "special file")
                self._note(status)
                path = prefix + name
                if kind == DIRECTORY:
                    yield _raw(path + b"/", DIRECTORY, status), NOTHING
                    yield from self._below(descriptor, name, path, read, depth)
                elif kind == SYMLINK:
                    yield _raw(path, kind, status, os.readlink(name, dir_fd=descriptor)), NOTHING
                elif kind == FILE and read:
                    yield from self._file(descriptor, name, path, status)
                else:
                    yield _raw(path, kind, status), NOTHING
            except FileNotFoundError:
                continue

    def _note(self, status: os.stat_result) -> None:
        self.newest_change = max(self.newest_change, status.st_ctime)

    def _below(self, above: int, name: bytes, path: bytes, read: bool, depth: int) -> Iterator[tuple[Raw, Reader]]:
        descriptor = os.open(name, _OPEN_DIRECTORY, dir_fd=above)
        try:
            yield from self._walk(descriptor, path + b"/", read, depth + 1)
        finally:
            os.close(descriptor)

    def _file(self, above: int, name: bytes, path: bytes, status: os.stat_result) -> Iterator[tuple[Raw, Reader]]:
        if status.st_mode & 0o6000:
            yield _raw(path, FILE, status), NOTHING
            return
        if self.known(path, status.st_size, _times(status)):
            yield _raw(path, FILE, status), UNREAD
            return
        descriptor = _open_file(above, name, path)
        try:
            status = os.fstat(descriptor)
            if status.st_size > SMALL_MAX:
                yield _raw(path, FILE, status), _Large(descriptor, path, status)
            else:
                status, body = _read_steady(descriptor, path)
                yield _raw(path, FILE, status), _Body(body)
        finally:
            os.close(descriptor)


def _open_file(above: int, name: bytes, path: bytes) -> int:
    try:
        descriptor = os.open(name, _OPEN_FILE, dir_fd=above)
    except PermissionError as error:
        raise SourceError(f"can't be read: {error.strerror}: {show(path)!r}")
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SourceError(f"changes while it is read: {show(path)!r} became a symbolic link; run again")
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceError(f"changes while it is read: {show(path)!r} is no file any more; run again")
    return descriptor


def _raw(path: bytes, kind: str, status: os.stat_result, link: bytes | str = b"") -> Raw:
    size = status.st_size if kind == FILE else 0
    mode = stat.S_IMODE(status.st_mode)
    stamp = _times(status) if kind == FILE and not _is_racy(status) else ""
    return Raw(path, kind, size, mode, status.st_uid, status.st_gid, int(status.st_mtime), os.fsencode(link), stamp)


def _is_racy(status: os.stat_result) -> bool:
    coarse = status.st_ctime_ns % 1_000_000_000 == 0
    return time.time() - status.st_ctime < (RACY_COARSE_SECONDS if coarse else RACY_SECONDS)


def _times(status: os.stat_result) -> str:
    """What changes with a file's content: its mtime, and its ctime, which no program can set."""
    return f"{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"


def _read_steady(descriptor: int, path: bytes) -> tuple[os.stat_result, bytes]:
    """The content of a small file, read while it didn't change."""
    for _attempt in range(STEADY_TRIES):
        before = os.fstat(descriptor)
        os.lseek(descriptor, 0, os.SEEK_SET)
        body = _read_all(descriptor, SMALL_MAX + 1)
        after = os.fstat(descriptor)
        if _stamp(before) == _stamp(after) and len(body) == after.st_size:
            return after, body
    raise SourceError(f"changes while it is read: {show(path)!r} is being written; run again when it is complete")


def _read_all(descriptor: int, limit: int) -> bytes:
    parts = []
    while limit > 0:
        part = os.read(descriptor, min(limit, 1024 * 1024))
        if not part:
            break
        parts.append(part)
        limit -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


class _Body:
    """A reader over bytes."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def read(self, count: int) -> bytes:
        part = self._body if count >= len(self._body) and not self._at else self._body[self._at : self._at + count]
        self._at += len(part)
        return part


NOTHING = _Body(b"")
UNREAD = _Body(b"")


class _Large:
    """A reader over a file that notices when it changes meanwhile."""

    def __init__(self, descriptor: int, path: bytes, status: os.stat_result) -> None:
        self._descriptor = descriptor
        self._path = path
        self._status = status
        self._left = status.st_size

    def read(self, count: int) -> bytes:
        body = _read_all(self._descriptor, min(count, self._left))
        self._left -= len(body)
        if len(body) < count or not self._left:
            self._check()
        return body

    def rewind(self) -> None:
        """Read it once more from its start."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._left = self._status.st_size

    def _check(self) -> None:
        if self._left or _stamp(os.fstat(self._descriptor)) != _stamp(self._status):
            raise SourceError(
                f"changes while it is read: {show(self._path)!r} is being written; run again when it is complete"
            )
