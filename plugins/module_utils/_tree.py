# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory to write into, whoever else may write there: no name below it is ever followed through a link.

Every path is walked from the top's descriptor, part by part; files appear whole or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ._backup import SourceError
from ._large import content_of
from ._upload import MIB, SMALL_MAX, md5, part_size

NAME_MAX = 255
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OURS = re.compile(r"\.adt-[0-9a-f]{16}\.part")


class Attributes(NamedTuple):
    """Permissions (no setuid bits), owner, and modification time in seconds."""

    mode: int
    uid: int
    gid: int
    mtime: float


def path_problem(path: str) -> str:
    """What makes a key unfit to be a path below a directory; empty when it is fit."""
    parts = path.split("/")
    if "\0" in path:
        return "has a NUL in its name"
    if any(part in ("", ".", "..") for part in parts):
        return "is no path below a directory"
    if any(len(part.encode("utf-8", "surrogateescape")) > NAME_MAX for part in parts):
        return f"has a part of more than {NAME_MAX} bytes, which no file system takes"
    return ""


class Tree:
    """The directory ``top``. Raises SourceError, with the path, for whatever can't be done in it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self._descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Done with it."""
        os.close(self._descriptor)

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SourceError(f"{self.top / path}: the disk is full; make room and run again")
            raise SourceError(f"{self.top / path}: {error.strerror}")

    @contextmanager
    def _parent(self, path: str, make: Attributes | None = None) -> Iterator[tuple[int, str]]:
        """The descriptor of a path's directory, and its last part; with ``make``, missing directories are made."""
        *above, name = path.split("/")
        here = os.dup(self._descriptor)
        try:
            for part in above:
                below = self._enter(here, part, make)
                os.close(here)
                here = below
            yield here, name
        finally:
            os.close(here)

    def _enter(self, here: int, part: str, make: Attributes | None) -> int:
        try:
            return os.open(part, _DIRECTORY, dir_fd=here)
        except FileNotFoundError:
            if make is None:
                raise
        try:
            os.mkdir(part, 0o755, dir_fd=here)
            _own(part, make, here)
        except FileExistsError:
            pass  # another thread was faster
        return os.open(part, _DIRECTORY, dir_fd=here)

    def status(self, path: str) -> os.stat_result | None:
        """lstat of a path; None when it isn't there, or lies below something that is no directory."""
        try:
            with self._parent(path) as (here, name):
                return os.lstat(name, dir_fd=here)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise SourceError(f"{self.top / path}: {error.strerror}")

    def walk(self) -> Iterator[tuple[str, os.stat_result]]:
        """Everything below the top, a directory after what is in it."""
        with self._errors(""):
            yield from self._walk(self._descriptor, "")

    def _walk(self, here: int, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
        for name in sorted(os.listdir(here)):
            try:
                status = os.lstat(name, dir_fd=here)
                if stat.S_ISDIR(status.st_mode):
                    below = os.open(name, _DIRECTORY, dir_fd=here)
                    try:
                        yield from self._walk(below, f"{prefix}{name}/")
                    finally:
                        os.close(below)
            except FileNotFoundError:
                continue
            yield prefix + name, status

    def read(self, path: str) -> Iterator[bytes]:
        """The content of a file, in pieces."""
        with self._errors(path), self._parent(path) as (here, name):
            descriptor = os.open(name, _READ, dir_fd=here)
            try:
                while True:
                    body = os.read(descriptor, MIB)
                    if not body:
                        return
                    yield body
            finally:
                os.close(descriptor)

    def target(self, path: str) -> bytes:
        """What a symbolic link says."""
        with self._errors(path), self._parent(path) as (here, name):
            return os.fsencode(os.readlink(name, dir_fd=here))

    def write(self, path: str, pieces: Iterable[bytes], attributes: Attributes) -> None:
        """Make or replace a file: written beside it under another name, then renamed."""
        with self._errors(path), self._parent(path, attributes) as (here, name):
            part = f".adt-{secrets.token_hex(8)}.part"
            descriptor = os.open(part, _CREATE, 0o600, dir_fd=here)
            try:
                try:
                    for body in pieces:
                        view = memoryview(body)
                        while view:
                            view = view[os.write(descriptor, view) :]
                    _set(descriptor, attributes)
                finally:
                    os.close(descriptor)
                os.rename(part, name, src_dir_fd=here, dst_dir_fd=here)
            except BaseException:
                os.unlink(part, dir_fd=here)
                raise

    def link(self, path: str, target: bytes, attributes: Attributes) -> None:
        """Make or replace a symbolic link."""
        with self._errors(path), self._parent(path, attributes) as (here, name):
            part = f".adt-{secrets.token_hex(8)}.part"
            os.symlink(target, part, dir_fd=here)
            try:
                _own(part, attributes, here)
                os.rename(part, name, src_dir_fd=here, dst_dir_fd=here)
            except BaseException:
                os.unlink(part, dir_fd=here)
                raise

    def directory(self, path: str, attributes: Attributes) -> None:
        """Make a directory."""
        with self._errors(path), self._parent(f"{path}/x", attributes) as (here, _name):
            os.chmod(here, attributes.mode)

    def move(self, path: str, other: Tree, to_path: str) -> None:
        """Move a file or link into another tree, also onto another file system; nothing there is replaced."""
        plain = Attributes(0o755, os.geteuid(), os.getegid(), 0)
        while other.status(to_path) is not None:
            to_path += "~"
        with self._errors(path), self._parent(path) as (here, name), other._parent(to_path, plain) as (there, to_name):
            try:
                os.rename(name, to_name, src_dir_fd=here, dst_dir_fd=there)
                return
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
            self._copy(path, other, to_path)
            os.unlink(name, dir_fd=here)

    def _copy(self, path: str, other: Tree, to_path: str) -> None:
        status = self.status(path)
        if status is None:
            return
        attributes = Attributes(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime)
        if stat.S_ISLNK(status.st_mode):
            other.link(to_path, self.target(path), attributes)
        elif stat.S_ISREG(status.st_mode):
            other.write(to_path, self.read(path), attributes)
        else:
            raise SourceError(f"{self.top / path}: is neither file nor link: move it away yourself")

    def remove_directory(self, path: str) -> None:
        """Remove a directory that is empty; leave it otherwise."""
        try:
            with self._parent(path) as (here, name):
                os.rmdir(name, dir_fd=here)
        except OSError:
            pass

    def remove(self, path: str) -> None:
        """Remove a file."""
        with self._errors(path), self._parent(path) as (here, name):
            os.unlink(name, dir_fd=here)

    def holds(self, path: str, size: int, digest: str) -> bool | None:
        """Whether a file has this content, by the kind of digest that is given; None when that can't be told.

        A digest is an MD5, or MD5-of-MD5s with the number of parts that our own uploads have.
        """
        status = self.status(path)
        if status is None or not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return False
        if "-" not in digest:
            return _plain_md5(self.read(path)) == digest if digest else None
        count = -(-size // part_size(size))
        if not digest.endswith(f"-{count}"):
            return None
        return self.digest(path, size) == digest

    def digest(self, path: str, size: int) -> str:
        """The digest (see Entry) that a file has when we upload it."""
        if size <= SMALL_MAX:
            return _plain_md5(self.read(path))
        return content_of([md5(part) for part in _rechunk(self.read(path), part_size(size))]).digest

    def space(self) -> tuple[int, int | None]:
        """Free bytes, and free inodes where the file system counts them."""
        found = os.statvfs(self._descriptor)
        return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None

    def flush(self) -> None:
        """Wait until all that was written is on the disk."""
        os.sync()


def is_leftover(path: str) -> bool:
    """Whether a file is a half one of a run that was killed."""
    return _OURS.fullmatch(path.rpartition("/")[2]) is not None


def _plain_md5(pieces: Iterable[bytes]) -> str:
    found = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def _rechunk(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    held = b""
    for piece in pieces:
        held += piece
        while len(held) >= size:
            yield held[:size]
            held = held[size:]
    if held:
        yield held


def _set(descriptor: int, attributes: Attributes) -> None:
    if os.geteuid() == 0:
        os.fchown(descriptor, attributes.uid, attributes.gid)
    os.fchmod(descriptor, attributes.mode)
    os.utime(descriptor, (attributes.mtime, attributes.mtime))


def _own(name: str, attributes: Attributes, here: int) -> None:
    if os.geteuid() == 0:
        os.chown(name, attributes.uid, attributes.gid, dir_fd=here, follow_symlinks=False)
