# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inflating: every end is demanded, bombs are stopped, and the thread ends."""

from __future__ import annotations

import gzip
import random
import struct
import sys
import threading
import zlib

import pytest

from ansible_collections.adt.assets.plugins.module_utils import _inflate
from ansible_collections.adt.assets.plugins.module_utils._backup import SourceError
from ansible_collections.adt.assets.plugins.module_utils._inflate import Ahead, Limits, inflate

DATA = random.Random(1).randbytes(300_000) + bytes(3_000_000)
LIBRARIES = ["isal", "zlib"]


def unpack(packed, step=5000, limits=None):
    pieces = iter([packed[at : at + step] for at in range(0, len(packed), step)])
    return b"".join(inflate(pieces, limits or Limits()))


@pytest.fixture(params=LIBRARIES)
def library(request, monkeypatch):
    """Both the fast library and Python's own."""
    if request.param == "zlib":
        monkeypatch.setattr(_inflate, "_fastest_zlib", lambda: zlib)
    else:
        pytest.importorskip("isal")
    return request.param


def zstd(data, **options):
    zstandard = pytest.importorskip("zstandard")
    return zstandard.ZstdCompressor(write_checksum=True, **options).compress(data)


@pytest.mark.parametrize("step", [1000, 5000, 2_000_000])
def test_gzip(library, step):
    assert unpack(gzip.compress(DATA), step) == DATA


def test_all_members_of_a_gzip_file(library):
    packed = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(DATA)
    assert unpack(packed, 7000) == b"one" + DATA
    assert unpack(packed + bytes(10240)) == b"one" + DATA


def test_i5_a_cut_gzip_is_an_error_wherever_it_is_cut(library):
    packed = gzip.compress(DATA)
    for cut in [0, 2, 5, 9, 10, 1000, len(packed) // 2, len(packed) - 8, len(packed) - 4, len(packed) - 1]:
        with pytest.raises(SourceError):
            unpack(packed[:cut])
    with pytest.raises(SourceError, match="is cut"):
        unpack(gzip.compress(b"one") + packed[:-1])


@pytest.mark.parametrize("at", [20, -8, -3])
def test_t18_a_flipped_bit_is_noticed(library, at):
    packed = bytearray(gzip.compress(DATA))
    packed[at] ^= 1
    with pytest.raises(SourceError, match="damaged"):
        unpack(bytes(packed))


def test_something_behind_the_gzip_data(library):
    with pytest.raises(SourceError, match=r"damaged|cut"):
        unpack(gzip.compress(DATA) + b"garbage")


def test_zstd():
    packed = zstd(DATA)
    assert unpack(packed) == DATA
    skippable = struct.pack("<II", 0x184D2A53, 5) + b"hello"
    assert unpack(packed + skippable + zstd(b"two")) == DATA + b"two"
    assert unpack(zstd(DATA, level=19) + zstd(b"")) == DATA


def test_i5_a_cut_zstd_is_an_error_wherever_it_is_cut():
    packed = zstd(DATA)
    for cut in [4, 5, 9, 1000, len(packed) // 2, len(packed) - 5, len(packed) - 4, len(packed) - 1]:
        with pytest.raises(SourceError):
            unpack(packed[:cut])


def test_t18_damaged_zstd():
    packed = bytearray(zstd(DATA))
    packed[-2] ^= 1
    with pytest.raises(SourceError, match="damaged"):
        unpack(bytes(packed))
    with pytest.raises(SourceError, match="damaged"):
        unpack(zstd(DATA) + b"garbage")


def test_zstd_without_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(SourceError, match="install it"):
        unpack(b"\x28\xb5\x2f\xfd" + bytes(20))


def test_plain():
    assert unpack(b"ustar" * 1000) == b"ustar" * 1000


@pytest.mark.parametrize(
    ("packed", "name"), [(b"BZh91AY&SY", "bzip2"), (b"\xfd7zXZ\x00\x00", "xz"), (b"PK\x03\x04aaaa", "zip")]
)
def test_other_kinds_are_named(packed, name):
    with pytest.raises(SourceError, match=name):
        unpack(packed, 3)


def test_empty():
    with pytest.raises(SourceError, match="is empty"):
        unpack(b"")


def test_t13_a_bomb_is_stopped_by_its_ratio(library, monkeypatch):
    monkeypatch.setattr(_inflate, "RATIO_FROM", 1_000_000)
    bomb = gzip.compress(bytes(30_000_000))
    with pytest.raises(SourceError, match="200 times"):
        unpack(bomb, limits=Limits(ratio=200))
    with pytest.raises(SourceError, match="more than 5000000 bytes"):
        unpack(bomb, limits=Limits(total=5_000_000))
    assert len(unpack(bomb)) == 30_000_000


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_t13_a_bomb_never_becomes_large_in_memory(pack):
    largest = max(len(piece) for piece in inflate(iter([pack(bytes(50_000_000))]), Limits()))
    assert largest <= 5 * 1024 * 1024


def test_errors_arrive_where_they_are_read():
    def items():
        yield b"1"
        raise SourceError("is bad")

    ahead = Ahead(items(), 3)
    assert next(ahead) == b"1"
    with pytest.raises(SourceError, match="is bad"):
        next(ahead)


def test_the_thread_ends_with_its_reader():
    def items():
        while True:
            yield b"x"

    before = threading.active_count()
    ahead = Ahead(items(), 3)
    next(ahead)
    ahead.close()
    assert threading.active_count() == before
