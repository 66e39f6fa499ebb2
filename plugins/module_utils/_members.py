# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which entries of a source belong to an asset directory, under which key, and which of them are refused.

Nothing here touches a disk: a name is only ever turned into an S3 key. What is refused is what could be something
else than a file of this directory when the bucket is mounted, or what two entries would fight over.
"""

from __future__ import annotations

from typing import NamedTuple

from ._backup import SourceError
from ._shelf import Kind, Shelf
from ._tar import DIRECTORY, FILE, HARDLINK, SYMLINK, Raw

KEY_MAX = 1024
PART_MAX = 255
LINK_SUFFIX = ".rclonelink"
TARGET_MAX = 4096


class Member(NamedTuple):
    """Something to store. ``path`` is relative to the asset directory, ``key`` what it is called in the bucket.

    ``kind`` is file, directory, symlink or hardlink; ``target`` a symlink's text, or the path of what a hard link
    links to. ``mtime`` in seconds; ``stamp`` as in Raw.
    """

    key: str
    path: str
    kind: str
    size: int
    mode: int
    uid: int
    gid: int
    mtime: int
    target: str = ""
    stamp: str = ""


class Refusal(NamedTuple):
    """A member that can't be stored, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name!r} {self.reason}"


class Rules(NamedTuple):
    """``root``: the asset directory inside the source, by its parts; ``symlinks``: rclonelink, object or refuse."""

    root: tuple[bytes, ...]
    symlinks: str


def parse_root(archive_path: str) -> tuple[bytes, ...]:
    """The parts of archive_path; none for a whole source. Raises SourceError for ``..``."""
    parts = tuple(parts_of(archive_path.encode()))
    if b".." in parts:
        raise SourceError(f"archive_path {archive_path!r} has '..' in it: write the path as it is in the backup")
    return parts


def show(name: bytes) -> str:
    """A name for a message, whatever bytes it is made of."""
    return name.decode("utf-8", "backslashreplace")


def parts_of(name: bytes) -> list[bytes]:
    """The parts of a path as archives have it, which may begin with ``./`` or ``/``."""
    return [part for part in name.split(b"/") if part not in (b"", b".")]


def admit(raw: Raw, rules: Rules) -> Member | Refusal | None:
    """The member that an entry is; None when it lies outside of the asset directory."""
    name, root = raw.name, rules.root
    parts = parts_of(name)
    depth = len(root)
    if b".." in parts:
        return Refusal(show(name), "has '..' in its name, so it could end up anywhere")
    if tuple(parts[:depth]) != root:
        return None
    if name.startswith(b"/"):
        return Refusal(show(name), "has an absolute name")
    if len(parts) == depth:
        return _admit_root(raw)
    try:
        path = b"/".join(parts[depth:]).decode("utf-8")
    except UnicodeDecodeError:
        return Refusal(show(name), "has a name that isn't UTF-8, which S3 can't store: rename it")
    return _bad_name(path, raw) or _by_kind(path, raw, rules)


def _admit_root(raw: Raw) -> Member | Refusal:
    if raw.kind != DIRECTORY:
        return Refusal(show(raw.name), f"is a {raw.kind}, but should be the asset directory")
    return Member("", "", DIRECTORY, 0, raw.mode, raw.uid, raw.gid, raw.mtime)


def _bad_name(path: str, raw: Raw) -> Refusal | None:
    if "\0" in path:
        return Refusal(show(raw.name), "has a NUL in its name")
    if len(path.encode()) + (raw.kind == DIRECTORY) > KEY_MAX:
        return Refusal(show(raw.name), f"has a name of more than {KEY_MAX} bytes, the longest that S3 can store")
    if any(len(part.encode()) > PART_MAX for part in path.split("/")):
        return Refusal(show(raw.name), f"has a part of more than {PART_MAX} bytes in its name, which no mount can show")
    return None


def _by_kind(path: str, raw: Raw, rules: Rules) -> Member | Refusal:
    if raw.kind == DIRECTORY:
        return Member(path + "/", path, DIRECTORY, 0, raw.mode, raw.uid, raw.gid, raw.mtime)
    if raw.kind == SYMLINK:
        return _symlink(path, raw, rules)
    if raw.kind not in (FILE, HARDLINK):
        return Refusal(show(raw.name), f"is a {raw.kind}, which is no asset: keep it out of the backup")
    return _file(path, raw, rules)


def _file(path: str, raw: Raw, rules: Rules) -> Member | Refusal:
    if raw.mode & 0o6000:
        return Refusal(show(raw.name), "has a setuid or setgid bit: take it away (chmod ug-s)")
    if rules.symlinks == "rclonelink" and path.endswith(LINK_SUFFIX):
        return Refusal(
            show(raw.name), f"ends in {LINK_SUFFIX}, so it would become a link where it is mounted: rename it"
        )
    if raw.kind == FILE:
        return Member(path, path, FILE, raw.size, raw.mode, raw.uid, raw.gid, raw.mtime, stamp=raw.stamp)
    return _hardlink(path, raw, rules)


def _hardlink(path: str, raw: Raw, rules: Rules) -> Member | Refusal:
    parts = parts_of(raw.link)
    depth = len(rules.root)
    if b".." in parts or raw.link.startswith(b"/") or tuple(parts[:depth]) != rules.root or len(parts) == depth:
        reason = f"is a hard link to {show(raw.link)!r} outside of the asset directory"
        return Refusal(show(raw.name), reason + ": make the backup with tar --hard-dereference")
    target = show(b"/".join(parts[depth:]))
    return Member(path, path, HARDLINK, 0, raw.mode, raw.uid, raw.gid, raw.mtime, target)


def _symlink(path: str, raw: Raw, rules: Rules) -> Member | Refusal:
    if rules.symlinks == "refuse":
        return Refusal(show(raw.name), "is a symbolic link (symlinks: refuse): replace it by what it links to")
    problem = link_problem(path, raw.link)
    if problem:
        return Refusal(show(raw.name), f"is a symbolic link to {show(raw.link)!r}, {problem}")
    key = path + LINK_SUFFIX if rules.symlinks == "rclonelink" else path
    if len(key.encode()) > KEY_MAX:
        return Refusal(show(raw.name), f"is a symbolic link whose key would have more than {KEY_MAX} bytes")
    target = raw.link.decode("utf-8")
    return Member(key, path, SYMLINK, len(raw.link), raw.mode, raw.uid, raw.gid, raw.mtime, target)


def link_problem(path: str, target: bytes) -> str:
    """What is wrong with a symbolic link at ``path`` below the asset directory; empty when it stays inside.

    ``..`` is taken only at the start, where it means the real parents of the link: behind a name it could follow
    another link to anywhere.
    """
    if not target or b"\0" in target or b"\n" in target or len(target) > TARGET_MAX:
        return "which is no usable target"
    try:
        target.decode("utf-8")
    except UnicodeDecodeError:
        return "which isn't UTF-8"
    if target.startswith(b"/"):
        return "out of the asset directory: make it relative, or replace it by what it links to"
    parts = parts_of(target)
    ups = 0
    while ups < len(parts) and parts[ups] == b"..":
        ups += 1
    if ups > path.count("/") or b".." in parts[ups:]:
        return "out of the asset directory: replace it by what it links to"
    return ""


class Held(NamedTuple):
    """What stands at a name: the path as it is shown, and the kind of member."""

    path: str
    kind: str


NAMES: Kind[Held] = Kind(2, tuple, lambda key, row: Held._make(row))


class Names:
    """Finds members that would meet in one key, on S3 itself or on servers that take ``a\\b`` and ``a//b`` for ``a/b``,
    and names that would be a file and a directory at once.
    """

    def __init__(self) -> None:
        self._files: Shelf[Held] = Shelf(NAMES)
        self._directories: dict[str, str] = {"": ""}
        self.filled: set[str] = {""}

    def clash(self, member: Member) -> Refusal | None:
        """Note a member; a Refusal when an earlier one stands in its way."""
        path = _flat(member.path)
        above = path.rpartition("/")[0]
        in_file = self._enter(above, member.path)
        if in_file is not None:
            return Refusal(member.path, f"lies in {in_file!r}, which is no directory")
        if member.path:
            self.filled.add(above)
        if member.kind == DIRECTORY:
            return self._directory(path, member.path)
        names = {path, _flat(member.key)}
        for name in names:
            held = self._files.get(name)
            if held is not None:
                return Refusal(member.path, f"would have the same key as {held.path!r}: rename one")
            if name in self._directories:
                return Refusal(member.path, f"would be a file and a directory at once ({self._directories[name]!r})")
        for name in names:
            self._files[name] = Held(member.path, member.kind)
        return None

    def _directory(self, path: str, shown: str) -> Refusal | None:
        if path in self._files:
            return Refusal(shown, f"would be a directory and a file at once ({self._files[path].path!r}): rename one")
        if self._directories.setdefault(path, shown) not in (shown, "") and "\\" in shown:
            return Refusal(shown, f"would have the same key as {self._directories[path]!r}: rename one")
        return None

    def _enter(self, directory: str, shown: str) -> str | None:
        """Note the directories above a member; the file that stands where one of them should be."""
        while directory not in self._directories:
            if directory in self._files:
                return self._files[directory].path
            self._directories[directory] = shown
            above = directory.rpartition("/")[0]
            self.filled.add(above)
            directory = above
        return None

    def is_file(self, path: str) -> bool:
        """Whether a regular file of just this path was noted."""
        return self._files.get(_flat(path)) == (path, FILE)

    def is_empty(self, directory: Member) -> bool:
        """Whether nothing lies in a directory; only known when all members have been noted."""
        return _flat(directory.path) not in self.filled


def _flat(name: str) -> str:
    if "\\" not in name:
        return name
    return "/".join(part for part in name.replace("\\", "/").split("/") if part)


class Missing:
    """Notices whether the asset directory was in the source at all, and what else was there to say so."""

    def __init__(self, rules: Rules) -> None:
        self._root = rules.root
        self._top: dict[bytes, None] = {}
        self._elsewhere: bytes | None = None
        self._link: bytes | None = None

    def outside(self, raw: Raw) -> None:
        """Note an entry outside of the asset directory."""
        parts = parts_of(raw.name)
        if parts and len(self._top) < 12:
            self._top.setdefault(parts[0])
        depth = len(self._root)
        if raw.kind == SYMLINK and tuple(parts) == self._root[: len(parts)]:
            self._link = raw.name
        if self._elsewhere is None and raw.kind == DIRECTORY and tuple(parts[-depth:]) == self._root:
            self._elsewhere = b"/".join(parts)

    def message(self) -> str:
        """What to tell a user when the asset directory isn't there."""
        text = f"has no directory {show(b'/'.join(self._root))!r} (archive_path), so there is nothing to copy"
        if self._link is not None:
            return f"{text}: {show(self._link)!r} is a symbolic link there"
        if self._elsewhere is not None:
            return f"{text}; it has {show(self._elsewhere)!r}: is that archive_path?"
        top = ", ".join(repr(show(name)) for name in list(self._top)[:10])
        return f"{text}; at its top are {top or 'no entries'}"
