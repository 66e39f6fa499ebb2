# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tar streams: what tarfile and tar write is read, what is damaged or cut is refused."""

from __future__ import annotations

import io
import random
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.adt.assets.plugins.module_utils._backup import SourceError
from ansible_collections.adt.assets.plugins.module_utils._tar import DIRECTORY, FILE, HARDLINK, SYMLINK, entries


def make(members, fmt=tarfile.GNU_FORMAT):
    """A tar of (name, content or kind) pairs."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=fmt) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid, info.mtime = 0o640, 1000, 33, 1700000000
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                tar.addfile(info)
    return packed.getvalue()


def split(data, step):
    return iter([data[at : at + step] for at in range(0, len(data), step)])


def read(data, step=700):
    return [(raw, reader.read(raw.size)) for raw, reader in entries(split(data, step))]


@pytest.mark.parametrize("fmt", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_of_tar(fmt):
    members = [
        ("images/", (tarfile.DIRTYPE, "")),
        ("images/a.jpg", b"x" * 5000),
        ("images/" + "d" * 90 + "/" + "e" * 60, b"long"),
        ("images/empty", b""),
        ("images/link", (tarfile.SYMTYPE, "a.jpg")),
        ("images/hard", (tarfile.LNKTYPE, "images/a.jpg")),
    ]
    found = read(make(members, fmt))
    names = [raw.name.decode().rstrip("/") for raw, _body in found]
    assert names == [name.rstrip("/") for name, _content in members]
    assert [raw.kind for raw, _body in found] == [DIRECTORY, FILE, FILE, FILE, SYMLINK, HARDLINK]
    assert [body for _raw, body in found] == [b"", b"x" * 5000, b"long", b"", b"", b""]
    assert found[1][0][3:7] == (0o640, 1000, 33, 1700000000)
    assert found[4][0].link == b"a.jpg"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), st.binary(max_size=2000)),
        max_size=8,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.integers(1, 5000),
)
def test_t20_any_name_comes_out_as_tarfile_put_it_in(members, fmt, step):
    members = [("n/" + name.rstrip("/") + "x", content) for name, content in members]
    found = read(make(members, fmt), step)
    assert [(raw.name.decode(), body) for raw, body in found] == members


def test_contents_that_are_not_read_are_passed_over():
    data = make([("a", b"1" * 3000), ("b", b"22")])
    names = []
    for raw, reader in entries(split(data, 512)):
        names.append((raw.name, reader.read(1)))
    assert names == [(b"a", b"1"), (b"b", b"2")]


def test_i5_a_cut_archive_is_an_error_wherever_it_is_cut():
    data = make([(f"f{number}", random.Random(number).randbytes(1500)) for number in range(6)])
    end = data.rstrip(b"\0")
    for cut in [0, 1, 100, 511, 512, 513, 2048, len(end) - 1, len(end), len(end) + 512]:
        with pytest.raises(SourceError, match="is cut"):
            read(data[:cut])


def test_the_end_alone_is_enough():
    data = make([("a", b"1")])
    whole = len(data.rstrip(b"\0"))
    whole += -whole % 512
    assert len(read(data[: whole + 1024])) == 1


def test_h17_archives_joined_with_cat_are_an_error():
    with pytest.raises(SourceError, match="data after its end"):
        read(make([("a", b"1")]) + make([("b", b"2")]))


def test_a_damaged_header_names_the_member_before():
    data = bytearray(make([("first", b"1"), ("second", b"2")]))
    data[1024 + 5] ^= 1
    with pytest.raises(SourceError, match="after member 'first'"):
        read(bytes(data))


def test_no_tar_at_all():
    with pytest.raises(SourceError, match="no tar archive"):
        read(b"just some text" * 100)


def test_large_numbers():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("a")
        info.uid, info.mtime = 2**40, -5
        tar.addfile(info)
    raw, _body = read(packed.getvalue())[0]
    assert (raw.uid, raw.mtime) == (2**40, -5)


def test_global_pax_headers_and_fractions_of_seconds():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x"}) as tar:
        info = tarfile.TarInfo("a")
        info.mtime = 1700000000.75
        tar.addfile(info)
    raw, _body = read(packed.getvalue())[0]
    assert raw.mtime == 1700000000


def test_t13_unknown_kinds_are_passed_over_whole():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("odd")
        info.type, info.size = b"Q", 700
        tar.addfile(info, io.BytesIO(b"s" * 700))
        tar.addfile(tarfile.TarInfo("next"))
    assert [raw.kind for raw, _body in read(packed.getvalue())] == ["member of kind 'Q'", FILE]


def sparse(layout, body=b"s" * 700):
    """A file with holes in the format 0.1, whatever its map says."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("GNUSparseFile.0/odd")
        info.size = len(body)
        info.pax_headers = {"GNU.sparse.name": "odd", "GNU.sparse.size": "2000", "GNU.sparse.map": layout}
        tar.addfile(info, io.BytesIO(body))
        tar.addfile(tarfile.TarInfo("next"))
    return packed.getvalue()


def test_a_file_with_holes_is_whole_again():
    (raw, body), (following, _body) = read(sparse("100,600,1000,100,2000,0"))
    assert (raw.name, raw.kind, raw.size) == (b"odd", FILE, 2000)
    assert body == bytes(100) + b"s" * 600 + bytes(300) + b"s" * 100 + bytes(900)
    assert following.name == b"next"
    for raw, reader in entries(split(sparse("100,600,1000,100,2000,0"), 512)):
        assert b"".join(reader.read(64) for _at in range(0, raw.size, 64)) == (body if raw.size else b"")


@pytest.mark.parametrize(
    "layout",
    ["0,600,500,100", "0,600,1900,101", "0,699", "0,701", "0,600,1000", "0,x", "0,-1,0,701", "2000,700", ""],
)
def test_t13_a_map_of_holes_that_makes_no_sense_is_damage(layout):
    with pytest.raises(SourceError, match=r"after member 'odd' its tar data is not valid"):
        read(sparse(layout))


def test_t13_a_map_of_holes_without_end_is_damage():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("odd")
        info.size = 512
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}
        tar.addfile(info, io.BytesIO(b"3\n0\n1\n" + b"1" * 506))
    with pytest.raises(SourceError, match="not valid"):
        read(packed.getvalue())


def test_t13_a_header_that_claims_gigabytes_is_refused():
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**33
    with pytest.raises(SourceError, match="not valid"):
        read(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
