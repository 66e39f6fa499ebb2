# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory out of restic's snapshot as a source, streamed: it needs no room on this host, and much more time.

What ``restic dump`` makes of a snapshot isn't all that was saved (a fifo becomes a file), and what it leaves out it may
not say. So each entry must be as restic's listing has it, and all of the listing must come.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from ._backup import Backup, SourceError, parse_time
from ._directory import NOTHING
from ._members import parts_of, show
from ._restic import Restic, ResticError, repository_of
from ._shelf import Kind, Shelf
from ._store import Store
from ._tar import DIRECTORY, FILE, SYMLINK, Raw, Reader, entries

SCHEME = "restic://"
_SRC = re.compile(r"restic://([^/]+)/([0-9a-f]{64})(/.+)", re.DOTALL)
# restic's words for what a node is, as they are here.
_KINDS = {"file": FILE, "dir": DIRECTORY, "symlink": SYMLINK, "dev": "block device", "chardev": "character device"}
# What dump makes of those that tar could keep, but it doesn't.
_AS_FILE = frozenset({"block device", "character device", "fifo", "socket"})
_REPLACED = "\N{REPLACEMENT CHARACTER}".encode()


class Place(NamedTuple):
    """Where a snapshot is, and where in it the webroot."""

    bucket: str
    snapshot: str
    webroot: str


class Node(NamedTuple):
    """An entry of a snapshot as restic lists it; ``mtime`` in whole seconds, which dump rounds."""

    kind: str
    size: int
    mtime: int


NODES: Kind[Node] = Kind(3, tuple, lambda name, row: Node._make(row))
# In place of one that has come.
TAKEN = Node("", 0, 0)


def parse_place(src: str) -> Place:
    """What an ``src`` names. Raises SourceError, without the backup's name."""
    found = _SRC.fullmatch(src)
    if not found:
        raise SourceError("names no snapshot: write restic://bucket/id/path/of/the/webroot, with the id in full")
    return Place(*found.groups())


class Snapshot:
    """A snapshot of the site's backups; what it has can't change."""

    stable = True
    two_passes = False

    def __init__(self, src: str, root: tuple[bytes, ...], when: str, password: str, store: Store) -> None:
        """Look for the snapshot. Raises SourceError, without the backup's name, and StoreError."""
        place = parse_place(src)
        if not password:
            raise SourceError("needs src_password, which opens it")
        self.name = src
        self.root = (*parts_of(place.webroot.encode()), *root)
        self._id = place.snapshot
        self._top = f"/{b'/'.join(self.root).decode()}"
        self._restic = Restic(repository_of(store, place.bucket, password))
        with _unreadable():
            found = [each for each in self._restic.snapshots(self._id) if each["id"] == self._id]
        if not found:
            raise SourceError("is no snapshot of that repository: look at adt.assets.backup_info")
        self.backup = Backup(src, when or parse_time(found[0]["time"]))
        self._size, self._read = 0, 0

    def entries(self, read: bool = True) -> Iterator[tuple[Raw, Reader]]:
        nodes, root = self._listed(), b"/".join(self.root)
        top, nodes[root.decode()] = nodes[root.decode()], TAKEN
        # dump has no entry for the directory itself.
        yield Raw(root, top.kind, 0, 0, 0, 0, top.mtime), NOTHING
        unreadable = 0
        with closing(self._restic.dump(self._id, self._top)) as pieces:
            for raw, reader in entries(self._counted(pieces)):
                if _is_text(raw.name):
                    name = raw.name.rstrip(b"/").decode()
                    node, nodes[name] = nodes.get(name), TAKEN
                    yield as_listed(raw, node if node != TAKEN else None), reader
                else:
                    unreadable += 1  # it has another name in the listing; whoever takes it refuses it
                    yield raw, reader
        left = [name for name, node in nodes.items() if node != TAKEN]
        if len(left) > unreadable:
            raise SourceError(f"lacks {len(left)} of the files that it should have, such as {left[0]!r}: run again")

    def _listed(self) -> Shelf[Node]:
        """The asset directory and all that is in it, by the names that dump has."""
        with _unreadable():
            listed = self._restic.nodes(self._id, self._top)
            nodes = Shelf(NODES, ((each["path"].lstrip("/"), node_of(each)) for each in listed))
        top = nodes.get(b"/".join(self.root).decode())
        if top is None:
            raise SourceError(
                f"has no directory {self._top!r} (archive_path), so there is nothing to copy: look at what it "
                "leaves out (adt.assets.backup_info)"
            )
        if top.kind != DIRECTORY:
            raise SourceError(f"has a {top.kind} at {self._top!r}, which should be the asset directory")
        self._size, self._read = sum(node.size for node in nodes.values()), 0
        return nodes

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        with _unreadable():  # here, as contents are read where they are taken
            for piece in pieces:
                yield piece
                self._read += len(piece)

    def newest_change(self) -> str:
        return self.backup.time

    def part_read(self) -> float:
        return min(self._read / max(self._size, 1), 1.0)

    def pass_over(self, known: Callable[[bytes, int, str], bool]) -> None:
        pass


def node_of(record: dict[str, Any]) -> Node:
    """A node as restic lists it. Only files have a size."""
    kind = record["type"]
    moment = time.strptime(parse_time(record["mtime"])[:19], "%Y-%m-%dT%H:%M:%S")
    return Node(_KINDS.get(kind, kind), record.get("size", 0) if kind == "file" else 0, calendar.timegm(moment))


def as_listed(raw: Raw, node: Node | None) -> Raw:
    """An entry of the dump as it was saved. Raises SourceError where they don't agree."""
    if node is None:
        raise SourceError(f"has {show(raw.name)!r}, which restic doesn't list: run again")
    if node.kind in _AS_FILE and raw.kind == FILE and raw.size == 0:
        return raw._replace(kind=node.kind)
    if (raw.kind, raw.size) != (node.kind, node.size):
        said = f"it lists a {node.kind} of {node.size} bytes, and gives a {raw.kind} of {raw.size}"
        raise SourceError(f"can't be read: restic isn't of one mind about {show(raw.name)!r}: {said}")
    if raw.kind == SYMLINK and _REPLACED in raw.link:
        raise SourceError(
            f"has a link {show(raw.name)!r} to {show(raw.link)!r}, which restic may have damaged, as old ones do "
            "with what isn't UTF-8: remove it, and make another backup"
        )
    return raw._replace(mtime=node.mtime)


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


@contextmanager
def _unreadable() -> Iterator[None]:
    """Say of which reading restic's words are."""
    try:
        yield
    except ResticError as error:
        raise SourceError(f"can't be read: {error}") from error
