# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the files come from, behind one interface: an archive on this host or in S3, a directory, or a snapshot."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from ._backup import Backup, SourceError, format_time, parse_time
from ._directory import DirectoryWalk, open_below
from ._inflate import PIECE, Ahead, Limits, inflate
from ._remote import RemoteFile
from ._snapshot import SCHEME, Snapshot
from ._store import Store, error_code, explain
from ._tar import Raw, Reader, entries

INFLATED_AHEAD = 6


class SourceOptions(NamedTuple):
    """``time``: the backup's time if the user says it, else empty; ``root``: the asset directory's parts.

    ``password``: what opens the backup, if anything.
    """

    src: str
    root: tuple[bytes, ...]
    time: str
    limits: Limits
    password: str = ""


class Source(Protocol):
    """``stable``: the identity tells whether anything changed. ``two_passes``: it can be checked before it is read.
    ``root``: the asset directory's parts as they show in names.
    """

    name: str
    backup: Backup
    stable: bool
    two_passes: bool
    root: tuple[bytes, ...]

    def entries(self, read: bool = True) -> Iterator[tuple[Raw, Reader]]:
        """Every entry; with ``read`` False contents are not needed.

        Raises StoreError, and SourceError without the backup's name, as reading contents does: see naming().
        """

    def newest_change(self) -> str:
        """Since when the content is as it is."""

    def part_read(self) -> float:
        """How much of it the last entries() has read, 0 to 1, where ``two_passes`` is False; elsewhere 0."""

    def pass_over(self, known: Callable[[bytes, int, str], bool]) -> None:
        """Don't read files that are known by path, size and stamp: their reader is UNREAD. Archives have none."""


def open_source(options: SourceOptions, store: Store) -> Source:
    """The source that an ``src`` names. Raises SourceError or StoreError when there is none."""
    src = options.src
    if src.startswith("s3://"):
        return RemoteArchive(options, store)
    if src.startswith(SCHEME):
        with naming(src):
            return Snapshot(src, options.root, options.time, options.password, store)
    path = Path(src)
    try:
        status = path.stat()
    except OSError as error:
        raise SourceError(f"backup {src!r} can't be read on this host: {error.strerror}; check src")
    if stat.S_ISDIR(status.st_mode):
        return Directory(options)
    if stat.S_ISREG(status.st_mode):
        return LocalArchive(options)
    raise SourceError(f"backup {src!r} is neither a file nor a directory: check src")


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the backup's name before what is wrong with it."""
    try:
        yield
    except SourceError as error:
        raise SourceError(f"backup {name!r} {error}", error.refused) from error


def _archive_entries(pieces: Iterator[bytes], limits: Limits) -> Iterator[tuple[Raw, Reader]]:
    """Inflating has a thread of its own: zlib works while Python parses and sends."""
    ahead = Ahead(inflate(pieces, limits), INFLATED_AHEAD)
    try:
        yield from entries(ahead, limits)
    finally:
        ahead.close()


class LocalArchive:
    """An archive file on this host."""

    stable = True
    two_passes = True

    def __init__(self, options: SourceOptions) -> None:
        self.name = options.src
        self.root = options.root
        self._limits = options.limits
        self._path = Path(options.src)
        self._status = self._path.stat()
        identity = f"file:{self._path.resolve()}:{self._status.st_size}:{self._status.st_mtime_ns}"
        self.backup = Backup(identity, options.time or format_time(self._status.st_mtime))

    def entries(self, read: bool = True) -> Iterator[tuple[Raw, Reader]]:
        return _archive_entries(self._pieces(), self._limits)

    def _pieces(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb", buffering=0) as file:
                while piece := file.read(PIECE):
                    yield piece
                now = os.fstat(file.fileno())
        except OSError as error:
            raise SourceError(f"can't be read: {error.strerror}")
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (
            self._status.st_ino,
            self._status.st_size,
            self._status.st_mtime_ns,
        ):
            raise SourceError("changed while it was read: run again when it is complete")

    def newest_change(self) -> str:
        return self.backup.time

    def part_read(self) -> float:
        return 0.0

    def pass_over(self, known: Callable[[bytes, int, str], bool]) -> None:
        pass


class RemoteArchive:
    """An archive in a bucket of the same store."""

    stable = True
    two_passes = False

    def __init__(self, options: SourceOptions, store: Store) -> None:
        self.name = options.src
        self.root = options.root
        self._limits = options.limits
        bucket, _slash, key = options.src[len("s3://") :].partition("/")
        if not bucket or not key:
            raise SourceError(f"backup {options.src!r} names no object: write s3://bucket/key")
        try:
            head = store.client.head_object(Bucket=bucket, Key=key)
        except Exception as error:
            what = f"can't read the backup {options.src}"
            if error_code(error) in ("404", "NoSuchKey", "NoSuchBucket"):
                raise SourceError(f"{what} at {store.endpoint_url}: there is no such object; check src")
            raise explain(error, what, store.endpoint_url) from error
        etag, size = head["ETag"].strip('"'), head["ContentLength"]
        version = head.get("VersionId", "")
        modified = parse_time(head["LastModified"].isoformat())
        self.backup = Backup(f"{options.src}:{etag}:{size}:{version}", options.time or modified)
        self._file = RemoteFile(store, bucket, key, etag, size)
        self._size, self._read = size, 0

    def entries(self, read: bool = True) -> Iterator[tuple[Raw, Reader]]:
        return _archive_entries(self._counted(), self._limits)

    def _counted(self) -> Iterator[bytes]:
        self._read = 0
        for piece in self._file.pieces():
            yield piece
            self._read += len(piece)

    def newest_change(self) -> str:
        return self.backup.time

    def part_read(self) -> float:
        return self._read / max(self._size, 1)

    def pass_over(self, known: Callable[[bytes, int, str], bool]) -> None:
        pass


class Directory:
    """A directory on this host. Nothing tells cheaply whether it changed, so every run looks at all of it."""

    stable = False
    two_passes = True
    root: tuple[bytes, ...] = ()

    def __init__(self, options: SourceOptions) -> None:
        self.name = options.src
        self._walk = DirectoryWalk(Path(options.src), options.root)
        with naming(self.name):
            os.close(open_below(Path(options.src), options.root))
        now = format_time(time.time())
        self.backup = Backup(f"directory:{Path(options.src).resolve()}", options.time or now)
        self._time = options.time

    def entries(self, read: bool = True) -> Iterator[tuple[Raw, Reader]]:
        return self._walk.entries(read)

    def newest_change(self) -> str:
        return self._time or min(format_time(self._walk.newest_change), self.backup.time)

    def part_read(self) -> float:
        return 0.0

    def pass_over(self, known: Callable[[bytes, int, str], bool]) -> None:
        self._walk.known = known
