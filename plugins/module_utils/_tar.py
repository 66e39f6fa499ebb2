# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of a tar stream: ustar, GNU and pax headers, nothing unpacked.

Stricter than tarfile: a checksum that is wrong, an archive without its end and data after that end are errors, since
each of them means files that nobody would miss until they are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from ._backup import SourceError
from ._inflate import NO_LIMITS, Limits, check_limits
from ._sparse import BLOCK, Layout, Whole, old_layout, pax_layout, require_sense

HEADER_MAX = 1024 * 1024
_ZERO = bytes(BLOCK)

FILE, DIRECTORY, SYMLINK, HARDLINK = "file", "directory", "symlink", "hardlink"
# https://www.gnu.org/software/tar/manual/html_node/Standard.html
_KINDS = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"1": HARDLINK,
    b"2": SYMLINK,
    b"3": "character device",
    b"4": "block device",
    b"5": DIRECTORY,
    b"6": "fifo",
    b"D": DIRECTORY,
    b"S": FILE,
}
_SPARSE_PAIRS = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")


class Raw(NamedTuple):
    """An entry as the source has it: names are bytes, ``kind`` one of the constants or a word for anything else.

    ``stamp`` changes whenever the content does; empty where nothing tells that.
    """

    name: bytes
    kind: str
    size: int
    mode: int
    uid: int
    gid: int
    mtime: int
    link: bytes = b""
    stamp: str = ""


class Reader(Protocol):
    """The content of one file, to be read once from its start."""

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer only at the end, which is where the declared size ends."""


class Stream:
    """Exact reads from an iterator of bytes, of which so many have ``passed``."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._at = 0
        self.passed = 0

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes. Raises SourceError when there are fewer."""
        at, piece = self._at, self._piece
        if at + count <= len(piece):
            self._at = at + count
            return piece[at : at + count]
        whole = bytearray(piece[at:])
        while True:
            self._piece, self._at = next(self._pieces, b""), 0
            self.passed += len(self._piece)
            if not self._piece:
                raise SourceError("is cut: its tar data has no end; fetch or make the backup again")
            missing = count - len(whole)
            if missing <= len(self._piece):
                whole += self._piece[:missing]
                self._at = missing
                return bytes(whole)
            whole += self._piece

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes without holding them."""
        while count > 0:
            step = min(count, max(len(self._piece) - self._at, 1))
            self.take(step)
            count -= step

    def drain_zeros(self) -> bool:
        """Read to the very end; whether only zeros were left."""
        clean = not self._piece[self._at :].strip(b"\0")
        for piece in self._pieces:
            clean = clean and not piece.strip(b"\0")
        return clean


class _Content:
    def __init__(self, stream: Stream, size: int) -> None:
        self._stream = stream
        self.left = size

    def read(self, count: int) -> bytes:
        count = min(count, self.left)
        self.left -= count
        return self._stream.take(count)


def entries(pieces: Iterator[bytes], limits: Limits = NO_LIMITS) -> Iterator[tuple[Raw, Reader]]:
    """Every entry of an unpacked tar stream with a reader for its content, which is valid until the next entry.

    Raises SourceError for everything that isn't a whole, undamaged tar, and where holes in files exceed the limits.
    """
    stream = Stream(pieces)
    holes = 0
    everywhere: dict[str, bytes] = {}
    pax: dict[str, bytes] = {}
    name = link = b""
    last = b""
    while True:
        block = stream.take(BLOCK)
        if block == _ZERO:
            _end(stream)
            return
        kind = block[156:157]
        if not _checksum_fits(block):
            raise SourceError(_damage(last))
        size = _number(block[124:136], last)
        if kind in (b"x", b"g", b"L", b"K", b"X"):
            content = _header_content(stream, size, last)
            if kind in (b"x", b"X"):
                pax = _pax_records(content, last)
            elif kind == b"g":
                everywhere.update(_pax_records(content, last))
            elif kind == b"L":
                name = content.rstrip(b"\0")
            else:
                link = content.rstrip(b"\0")
            continue
        if kind == b"V":
            stream.skip(_padded(size))
            continue
        raw = _entry(block, {**everywhere, **pax} if everywhere else pax, name, link)
        last, stored = raw.name, raw.size
        packed = _Content(stream, stored)
        if kind == b"S" or _has_holes(pax):
            layout = _layout(block, pax, stream, packed, last)
            holes += layout.size - packed.left
            check_limits(holes, stream.passed, limits)
            yield raw._replace(size=layout.size), Whole(packed, layout)
        else:
            yield raw, packed
        stream.skip(packed.left + _padded(stored) - stored)
        pax, name, link = {}, b"", b""


def _end(stream: Stream) -> None:
    if stream.take(BLOCK) != _ZERO or not stream.drain_zeros():
        raise SourceError(
            "has data after its end, as when archives are joined with cat or a backup is written twice into one file: "
            "make the backup again"
        )


def _damage(last: bytes) -> str:
    after = f" after member {last.decode('utf-8', 'backslashreplace')!r}" if last else " from its first header on"
    return f"is damaged, or no tar archive:{after} its tar data is not valid"


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _checksum_fits(block: bytes) -> bool:
    stored = block[148:156].strip(b" \0")
    try:
        return int(stored, 8) == sum(block) - sum(block[148:156]) + 256
    except ValueError:
        return False


def _number(field: bytes, last: bytes) -> int:
    """Octal digits, or GNU's binary numbers marked by the first bit; empty is 0."""
    if field[0] & 0x80:
        if field[0] == 0xFF:
            return int.from_bytes(field, "big", signed=True)
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.strip(b" \0")
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        raise SourceError(_damage(last))


def _header_content(stream: Stream, size: int, last: bytes) -> bytes:
    if not 0 <= size <= HEADER_MAX:
        raise SourceError(_damage(last))
    content = stream.take(_padded(size))
    return content[:size]


def _pax_records(content: bytes, last: bytes) -> dict[str, bytes]:
    """The records ``LENGTH KEY=VALUE`` of an extended header."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 20)
        digits = content[at:space] if space > 0 else b""
        if not digits.isdigit():
            raise SourceError(_damage(last))
        end = at + int(digits)
        record = content[space + 1 : end]
        key, equals, value = record[:-1].partition(b"=")
        if end > len(content) or end <= space or not record.endswith(b"\n") or not equals:
            raise SourceError(_damage(last))
        if key in _SPARSE_PAIRS:  # the oldest of GNU's formats has a record for each number
            key, value = b"GNU.sparse.map", b",".join([*filter(None, [records.get("GNU.sparse.map")]), value])
        records[key.decode("utf-8", "backslashreplace")] = value
        at = end
    return records


def _pax_number(pax: dict[str, bytes], key: str, otherwise: int, last: bytes) -> int:
    if not pax.get(key):
        return otherwise
    whole = pax[key].split(b".")[0]
    if not whole.lstrip(b"-").isdigit():
        raise SourceError(_damage(last))
    return int(whole)


def _entry(block: bytes, pax: dict[str, bytes], long_name: bytes, long_link: bytes) -> Raw:
    name = long_name or block[:100].split(b"\0", 1)[0]
    if not long_name and block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].split(b"\0", 1)[0] + b"/" + name
    link = long_link or block[157:257].split(b"\0", 1)[0]
    size = _number(block[124:136], name)
    mode, uid, gid = (_number(block[at : at + 8], name) for at in (100, 108, 116))
    mtime = _number(block[136:148], name)
    letter = block[156:157]
    kind = _KINDS.get(letter) or f"member of kind {letter.decode('latin-1')!r}"
    if pax:
        name, link = pax.get("path") or name, pax.get("linkpath") or link
        size = _pax_number(pax, "size", size, name)
        uid, gid = _pax_number(pax, "uid", uid, name), _pax_number(pax, "gid", gid, name)
        mtime = _pax_number(pax, "mtime", mtime, name)
        name = pax.get("GNU.sparse.name") or name
    if kind == FILE and name.endswith(b"/"):
        kind = DIRECTORY  # as tar did before it had a kind for them
    if size < 0:
        raise SourceError(_damage(name))
    # Links carry the size of what they link to, but no content.
    stored = 0 if kind in (HARDLINK, SYMLINK, DIRECTORY, "fifo", "character device", "block device") else size
    if letter == b"D":
        stored = size
    return Raw(name, kind, stored, mode & 0o7777, uid, gid, mtime, link)


def _has_holes(pax: dict[str, bytes]) -> bool:
    return any(key.startswith("GNU.sparse.") for key in pax)


def _layout(block: bytes, pax: dict[str, bytes], stream: Stream, packed: _Content, name: bytes) -> Layout:
    try:
        if block[156:157] == b"S":
            layout = old_layout(block, lambda: stream.take(BLOCK), lambda field: _number(field, name))
        else:
            layout = pax_layout(pax, packed)
        require_sense(layout, packed.left)
    except (ValueError, KeyError):
        raise SourceError(_damage(name))
    return layout
