# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the bytes of an archive file to the bytes of the tar inside: gzip, zstd or plain, told by their first bytes.

Every end is demanded: a file that was cut anywhere is an error, never a shorter backup.
"""

from __future__ import annotations

import queue
import struct
import threading
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from ._backup import SourceError

PIECE = 1024 * 1024
# A bomb is only judged once it has become this big.
RATIO_FROM = 256 * 1024 * 1024
MIB = 1024 * 1024

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_OTHERS = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"\x04\x22\x4d\x18": "lz4"}
_ZSTD_BLOCK = 128 * 1024
_ZSTD_WINDOW = 128 * MIB


class Limits(NamedTuple):
    """How much an archive may become: bytes in all, and times its packed size; 0 is no limit."""

    total: int = 0
    ratio: int = 0


NO_LIMITS = Limits()


def inflate(pieces: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    """The unpacked bytes of an archive, in pieces of about 1 MiB.

    Raises SourceError when the data is damaged, cut, of another kind, or more than the limits allow.
    """
    counted = _Count(pieces)
    head = b""
    while len(head) < 6:
        piece = next(counted, None)
        if piece is None:
            break
        head += piece
    unpacked = 0
    for piece in _unpack(head, counted):
        unpacked += len(piece)
        check_limits(unpacked, counted.size, limits)
        yield piece


def check_limits(unpacked: int, packed: int, limits: Limits) -> None:
    """Raise SourceError when what so many bytes have become is more than the limits allow."""
    if limits.total and unpacked > limits.total:
        raise SourceError(f"unpacks to more than {limits.total} bytes: if this is no mistake, raise max_unpacked")
    if limits.ratio and unpacked > RATIO_FROM and unpacked > limits.ratio * packed:
        raise SourceError(
            f"unpacks to more than {limits.ratio} times its size, as archives made to fill disks do: "
            "if this is no mistake, raise max_ratio"
        )


class _Count:
    """An iterator that knows how many bytes have passed."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.size = 0

    def __iter__(self) -> _Count:
        return self

    def __next__(self) -> bytes:
        piece = next(self._pieces)
        self.size += len(piece)
        return piece


def _unpack(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if not head:
        raise SourceError("is empty")
    if head.startswith(_GZIP):
        return _gunzip(_chain(head, rest))
    if head.startswith(_ZSTD):
        return _unzstd(_chain(head, rest))
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise SourceError(f"is compressed with {name}: make the backup as .tar.gz, .tar.zst or .tar")
    return _chain(head, rest)


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest


def _fastest_zlib() -> Any:
    """A module with zlib's interface; ISA-L and zlib-ng inflate faster where they are installed."""
    try:
        from isal import isal_zlib

        return isal_zlib
    except ImportError:
        pass
    try:
        from zlib_ng import zlib_ng

        return zlib_ng
    except ImportError:
        return zlib


def _gunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """All members of a gzip file. zlib checks length and CRC of each where it ends."""
    library = _fastest_zlib()
    decoder: Any = None
    first, pending = True, False
    for piece in pieces:
        data = piece
        while data or pending:
            if decoder is None:
                if not first:
                    data = data.lstrip(b"\0")  # tapes are padded
                    if not data:
                        break
                decoder, first = library.decompressobj(31), False
            try:
                out = decoder.decompress(data, PIECE)
            except (zlib.error, library.error) as error:
                raise SourceError(f"is damaged: its gzip data is not valid ({error})")
            # A full answer may not be all of it, also when no input is left.
            pending = len(out) >= PIECE
            data = decoder.unconsumed_tail
            if decoder.eof:
                data, decoder, pending = decoder.unused_data, None, False
            if out:
                yield out
    if decoder is not None:
        raise SourceError("is cut: its gzip data has no end; fetch or make the backup again")


def _unzstd(pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise SourceError("is compressed with zstd, and Python's zstandard isn't installed on this host: install it")
    blocks = _ZstdBlocks(pieces)
    maker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    while blocks.more():
        decoder = maker.decompressobj()
        try:
            for batch in blocks.frame():
                out = decoder.decompress(batch)
                if out:
                    yield out
        except zstandard.ZstdError as error:
            raise SourceError(f"is damaged: its zstd data is not valid ({error})")
        if not decoder.eof:
            raise SourceError("is damaged: its zstd data has no end")


class _ZstdBlocks:
    """Walks over the blocks of zstd frames (RFC 8878), so that one call never unpacks more than a few MiB.

    The library alone would unpack whatever a piece holds, and would not say that the data ended too early.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._data = b""

    def more(self) -> bool:
        """Whether another frame follows."""
        while not self._data:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._data = piece
        return True

    def _take(self, count: int) -> bytes:
        parts = []
        while count > len(self._data):
            parts.append(self._data)
            count -= len(self._data)
            self._data = next(self._pieces, b"")
            if not self._data:
                raise SourceError("is cut: its zstd data has no end; fetch or make the backup again")
        parts.append(self._data[:count])
        self._data = self._data[count:]
        return b"".join(parts)

    def frame(self) -> Iterator[bytes]:
        magic = self._take(4)
        while 0x184D2A50 <= struct.unpack("<I", magic)[0] <= 0x184D2A5F:
            self._take(struct.unpack("<I", self._take(4))[0])
            magic = self._take(4)
        if magic != _ZSTD:
            raise SourceError("is damaged: something else follows its zstd data")
        descriptor = self._take(1)
        flags = descriptor[0]
        single, sizes, dictionary = flags >> 5 & 1, flags >> 6, flags & 3
        length = (0 if single else 1) + (0, 1, 2, 4)[dictionary] + (single, 2, 4, 8)[sizes]
        batch, unpacked, last = [magic + descriptor + self._take(length)], 0, False
        while not last:
            header = self._take(3)
            value = int.from_bytes(header, "little")
            last, kind, size = bool(value & 1), value >> 1 & 3, value >> 3
            if kind == 3 or size > (_ZSTD_BLOCK if kind != 1 else 2**21):
                raise SourceError("is damaged: its zstd data is not valid (a wrong block)")
            batch += [header, self._take(1 if kind == 1 else size)]
            unpacked += _ZSTD_BLOCK if kind == 2 else size
            if unpacked >= PIECE:
                yield b"".join(batch)
                batch, unpacked = [], 0
        yield b"".join([*batch, self._take(4 if flags & 4 else 0)])


class Ahead:
    """Runs an iterator in a thread of its own, a few items ahead of its reader; its exceptions arrive at the reader."""

    def __init__(self, items: Iterator[bytes], depth: int) -> None:
        self._queue: queue.Queue[tuple[bytes | None, BaseException | None]] = queue.Queue(depth)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, args=(items,), daemon=True)
        self._thread.start()

    def _run(self, items: Iterator[bytes]) -> None:
        error: BaseException | None = None
        try:
            for item in items:
                self._queue.put((item, None))
                if self._stopped:
                    break
        except BaseException as caught:  # raised again where it is read
            error = caught
        finally:
            close = getattr(items, "close", None)
            if close:
                close()
        self._queue.put((None, error))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        item, error = self._queue.get()
        if item is not None:
            return item
        self._queue.put((None, error))
        if error is not None:
            raise error
        raise StopIteration

    def close(self) -> None:
        """Let the thread end, whatever it is at."""
        self._stopped = True
        while self._thread.is_alive():
            try:
                self._queue.get_nowait()
            except queue.Empty:
                self._thread.join(0.01)
