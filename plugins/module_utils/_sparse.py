# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with holes as ``tar --sparse`` packs them: where their data belongs, and their whole content again.

The formats: https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html. Whatever makes no sense raises
ValueError.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

BLOCK = 512
EXTENTS_MAX = 1_000_000
# Where a header of the old format has the map, the mark that more of it follows, and the size.
_OLD_MAP, _OLD_MORE, _OLD_SIZE = slice(386, 482), 482, slice(483, 495)
_MORE_MAP, _MORE_MORE = slice(0, 504), 504
_FIELD = 12


class Packed(Protocol):
    """The data without the holes, to be read from its start."""

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer only at the end."""


class Extent(NamedTuple):
    """Where data belongs in the whole content, in bytes."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


class Layout(NamedTuple):
    """The size of the whole content, and where the data belongs in it, in order."""

    size: int
    extents: list[Extent]


def old_layout(block: bytes, more: Callable[[], bytes], number: Callable[[bytes], int]) -> Layout:
    """That of a header of kind S; ``more`` gives the blocks that follow it, ``number`` reads a field."""
    fields = [block[_OLD_MAP]]
    goes_on = block[_OLD_MORE]
    while goes_on:
        following = more()
        fields.append(following[_MORE_MAP])
        goes_on = following[_MORE_MORE]
        if len(fields) > EXTENTS_MAX:
            raise ValueError("no end of the map")
    joined = b"".join(fields)
    cells = (joined[at : at + _FIELD] for at in range(0, len(joined), _FIELD))
    return Layout(number(block[_OLD_SIZE]), _extents([number(cell) for cell in cells if cell.strip(b"\0 ")]))


def pax_layout(pax: Mapping[str, bytes], packed: Packed) -> Layout:
    """That of a file with GNU's pax records; in the newest format the map lies before the data."""
    size = int(pax.get("GNU.sparse.realsize") or pax["GNU.sparse.size"])
    if pax.get("GNU.sparse.major", b"0") == b"0":
        numbers = [int(word) for word in pax.get("GNU.sparse.map", b"").split(b",") if word]
    else:
        lines = _lines(packed)
        count = int(next(lines))
        if not 0 <= count <= EXTENTS_MAX:
            raise ValueError("no end of the map")
        numbers = [int(line) for line in islice(lines, 2 * count)]
    return Layout(size, _extents(numbers))


def _lines(packed: Packed) -> Iterator[bytes]:
    """Lines, read by whole blocks."""
    rest = b""
    while block := packed.read(BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    raise ValueError("the map is cut")


def _extents(numbers: Sequence[int]) -> list[Extent]:
    if len(numbers) % 2:
        raise ValueError("an offset without a size")
    return [Extent(*pair) for pair in zip(numbers[::2], numbers[1::2])]


def require_sense(layout: Layout, stored: int) -> None:
    """Raise ValueError unless the extents follow each other within the size, and are all of the stored bytes."""
    at = 0
    for extent in layout.extents:
        if extent.offset < at or extent.size < 0:
            raise ValueError("extents overlap")
        at = extent.end
    if at > layout.size or sum(extent.size for extent in layout.extents) != stored:
        raise ValueError("extents don't fit")


class Whole:
    """The whole content: the data where it belongs, and zeros between."""

    def __init__(self, packed: Packed, layout: Layout) -> None:
        self._packed = packed
        self._size = layout.size
        self._extents = deque(layout.extents)
        self._at = 0

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer only at the end."""
        at, end = self._at, min(self._at + count, self._size)
        whole = bytearray(end - at)
        while self._extents and self._extents[0].offset < end:
            extent = self._extents[0]
            start, stop = max(extent.offset, at), min(extent.end, end)
            whole[start - at : stop - at] = self._packed.read(stop - start)
            if extent.end > end:
                break
            self._extents.popleft()
        self._at = end
        return bytes(whole)
