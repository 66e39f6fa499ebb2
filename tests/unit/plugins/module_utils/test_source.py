# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources on this host: directories and archives, with what tar and the file system really make."""

from __future__ import annotations

import gzip
import os
import subprocess
import threading
import time
from typing import Any

import pytest
import zstandard

from ansible_collections.adt.assets.plugins.module_utils._backup import SourceError, format_time, parse_time
from ansible_collections.adt.assets.plugins.module_utils._feed import check_first, feed
from ansible_collections.adt.assets.plugins.module_utils._inflate import NO_LIMITS, Limits
from ansible_collections.adt.assets.plugins.module_utils._members import Rules, parse_root
from ansible_collections.adt.assets.plugins.module_utils._source import SourceOptions, open_source

NO_STORE: Any = None


class Taken:
    """Keeps what it takes."""

    def __init__(self):
        self.found = {}
        self.members = {}

    def take(self, member, reader):
        assert member.key not in self.found
        self.found[member.key] = reader.read(member.size)
        self.members[member.key] = member


def take_all(src, archive_path="", symlinks="rclonelink", limits=NO_LIMITS):
    """(contents, members) of a source by key, as a sync would get them."""
    root = parse_root(archive_path)
    source = open_source(SourceOptions(str(src), root, "", limits), NO_STORE)
    rules = Rules(source.root, symlinks)
    taken = Taken()
    check_first(source, rules)
    feed(source, rules, taken)
    return taken


@pytest.fixture
def site(tmp_path):
    """A webroot with an asset directory of all sorts."""
    images = tmp_path / "site" / "images"
    (images / "2026" / "05").mkdir(parents=True)
    (images / "empty" / "too").mkdir(parents=True)
    (tmp_path / "site" / "index.php").write_text("<?php")
    (images / "a.jpg").write_bytes(os.urandom(40_000))
    (images / "2026" / "05" / "ü b+%2F.jpg").write_bytes(b"x")
    (images / "2026" / "new\nline").write_bytes(b"n")
    (images / ".htaccess").write_text("Deny from all")
    (images / "nothing").touch()
    (images / "2026" / "link").symlink_to("../a.jpg")
    os.link(images / "a.jpg", images / "z-hard.jpg")
    (images / "a.jpg").chmod(0o640)
    os.utime(images / "a.jpg", (1700000000, 1700000000))
    return tmp_path / "site"


def expected(images):
    found = {}
    for path in images.rglob("*"):
        key = str(path.relative_to(images))
        if path.is_symlink():
            found[key + ".rclonelink"] = os.fsencode(path.readlink())
        elif path.is_file():
            found[key] = path.read_bytes()
        elif not any(path.iterdir()):
            found[key + "/"] = b""
    return found


def zstd(data):
    return zstandard.ZstdCompressor().compress(data)


def archive(site, options, name="b.tar.gz", entry="images"):
    packed = site.parent / name
    subprocess.run(["tar", options, packed, "-C", site, entry], check=True)
    return packed


@pytest.mark.parametrize("options", ["-czf", "-cf"])
@pytest.mark.parametrize("entry", ["images", "./images", "."])
@pytest.mark.parametrize("fmt", ["gnu", "posix"])
def test_an_archive_gives_what_was_put_in(site, options, entry, fmt):
    packed = site.parent / "b.tar"
    subprocess.run(["tar", f"--format={fmt}", options, packed, "-C", site, entry], check=True)
    taken = take_all(packed, "images")
    assert taken.found == expected(site / "images")
    assert taken.members["a.jpg"][4:8] == (0o640, os.getuid(), os.getgid(), 1700000000)


@pytest.mark.parametrize("fmt", ["v7", "oldgnu", "ustar"])
def test_t20_older_formats_of_tar(site, fmt):
    packed = site.parent / "b.tar"
    subprocess.run(["tar", f"--format={fmt}", "-cf", packed, "-C", site, "images"], check=True)
    assert take_all(packed, "images").found == expected(site / "images")


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_t20_an_archive_in_several_pieces_as_parallel_packers_make_it(site, compress):
    plain = archive(site, "-cf", "b.tar").read_bytes()
    packed = site.parent / "b.packed"
    packed.write_bytes(b"".join(compress(plain[at : at + 7000]) for at in range(0, len(plain), 7000)))
    assert take_all(packed, "images").found == expected(site / "images")


def make_holes(images):
    """Data at the start, at the end, in more places than one header has room for, and nowhere."""
    step = 64 * 1024
    for name, places, size in (("few", [3], 7), ("many", [0, *range(5, 99, 2)], 100), ("none", [], 9)):
        with (images / f"holes {name}").open("wb") as file:
            for place in places:
                file.seek(place * step)
                file.write(f"data {place}".encode())
            file.truncate(size * step)


@pytest.mark.parametrize("fmt", ["gnu", "posix --sparse-version=0.0", "posix --sparse-version=0.1", "posix"])
def test_t20_sparse_files_come_whole_from_a_directory_and_from_every_format_of_tar(site, fmt):
    make_holes(site / "images")
    wanted = expected(site / "images")
    assert take_all(site, "images").found == wanted
    for sparse in ([], ["--sparse"]):
        packed = site.parent / "b.tar"
        subprocess.run(["tar", *sparse, *f"--format={fmt}".split(), "-cf", packed, "-C", site, "images"], check=True)
        assert take_all(packed, "images").found == wanted
    assert packed.stat().st_size < 300_000


def test_t13_holes_count_against_the_limits(site):
    with (site / "images" / "huge").open("wb") as file:
        file.truncate(1 << 40)
    packed = archive(site, "-Scf", "b.tar")
    with pytest.raises(SourceError, match="200 times its size"):
        take_all(packed, "images", limits=Limits(0, 200))
    with pytest.raises(SourceError, match=f"more than {1 << 39} bytes"):
        take_all(packed, "images", limits=Limits(1 << 39, 0))


def test_a_directory_gives_what_is_in_it(site):
    taken = take_all(site, "images")
    assert taken.found == expected(site / "images")
    assert take_all(site / "images").found == taken.found
    assert taken.members["a.jpg"][4:8] == (0o640, os.getuid(), os.getgid(), 1700000000)


@pytest.mark.parametrize("kind", ["directory", "archive"])
def test_h1_a_backup_without_the_directory_is_an_error(site, kind):
    src = site if kind == "directory" else archive(site, "-czf", entry=".")
    with pytest.raises(SourceError, match="has no directory 'media'"):
        take_all(src, "media")


def test_h1_the_error_says_what_is_there_instead(site):
    with pytest.raises(
        SourceError, match=r"at its top are 'index\.php', 'images'|at its top are 'images', 'index\.php'"
    ):
        take_all(archive(site, "-czf", entry="."), "media")
    outer = site.parent / "outer.tar"
    subprocess.run(["tar", "-cf", outer, "-C", site.parent, "site"], check=True)
    with pytest.raises(SourceError, match="'site/images': is that archive_path"):
        take_all(outer, "images")


def test_h1_a_file_instead_of_the_directory_is_an_error(site):
    with pytest.raises(SourceError, match="should be the asset directory"):
        take_all(archive(site, "-czf", entry="."), "index.php")
    with pytest.raises(SourceError, match="it is a file or a symbolic link"):
        take_all(site, "index.php")


def test_h1_an_empty_directory_is_no_error(site):
    assert take_all(archive(site, "-czf", entry="."), "images/empty/too").found == {}


@pytest.mark.parametrize("src", ["/nowhere/b.tar.gz", "nowhere"])
def test_a_missing_backup(src):
    with pytest.raises(SourceError, match="No such file"):
        open_source(SourceOptions(src, (), "", NO_LIMITS), NO_STORE)


def test_neither_file_nor_directory(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="neither a file nor a directory"):
        open_source(SourceOptions(str(tmp_path / "pipe"), (), "", NO_LIMITS), NO_STORE)


def test_i5_a_truncated_archive_is_an_error_wherever_it_is_cut(site):
    packed = archive(site, "-czf")
    whole = packed.read_bytes()
    for cut in [0, 1, 10, 500, len(whole) // 2, len(whole) - 9, len(whole) - 8, len(whole) - 1]:
        packed.write_bytes(whole[:cut])
        with pytest.raises(SourceError, match=str(packed)):
            take_all(packed, "images")


def test_i5_a_whole_gzip_of_half_a_tar_is_an_error(site):
    plain = archive(site, "-cf", "b.tar").read_bytes()
    packed = site.parent / "half.tar.gz"
    packed.write_bytes(gzip.compress(plain[:20480]))
    with pytest.raises(SourceError, match="is cut"):
        take_all(packed, "images")


def test_t13_all_refused_members_are_named_before_anything_is_taken(site):
    os.mkfifo(site / "images" / "pipe")
    (site / "images" / "out").symlink_to("/etc/passwd")
    (site / "images" / "su").touch()
    (site / "images" / "su").chmod(0o4755)
    for src in (site, archive(site, "-czf")):
        with pytest.raises(SourceError, match="3 member") as caught:
            take_all(src, "images")
        for name in ("pipe", "out", "su"):
            assert name in str(caught.value)


def test_t13_links_on_the_way_to_the_directory_are_not_followed(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "images").symlink_to("/etc")
    with pytest.raises(SourceError, match="symbolic link"):
        take_all(tmp_path / "site", "images")


def test_a_hard_link_to_a_file_that_is_not_in_the_backup(site):
    packed = site.parent / "b.tar"
    subprocess.run(["tar", "-cf", packed, "-C", site, "images/a.jpg", "images/z-hard.jpg"], check=True)
    subprocess.run(["tar", "--delete", "-f", packed, "images/a.jpg"], check=True)
    with pytest.raises(SourceError, match=r"hard link to 'a\.jpg', which is no file"):
        take_all(packed, "images")


def test_large_hard_links(site):
    big = site / "images" / "big"
    big.write_bytes(os.urandom(1024) * 17000)
    for name in ("big2", "big3"):
        os.link(big, site / "images" / name)
    assert take_all(archive(site, "-czf"), "images").found == expected(site / "images")


def test_a_file_that_is_being_written_is_an_error(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"x")
    ended = threading.Event()

    def grow():
        with path.open("ab", buffering=0) as file:
            while not ended.is_set():
                file.write(b"x" * 1000)
                if file.tell() > 15_000_000:
                    file.truncate(1)

    thread = threading.Thread(target=grow)
    thread.start()
    end = time.monotonic() + 60  # on a busy machine the writer may wait long for its turn
    try:
        with pytest.raises(SourceError, match="'log' is being written"):
            while time.monotonic() < end:
                take_all(tmp_path)
    finally:
        ended.set()
        thread.join()


def test_the_identity_of_an_archive_changes_with_it(site):
    packed = archive(site, "-czf")

    def identity():
        return open_source(SourceOptions(str(packed), (), "", NO_LIMITS), NO_STORE).backup

    before = identity()
    assert identity() == before
    os.utime(packed, (1, 1))
    assert identity().identity != before.identity
    assert identity().time == format_time(1)


def test_a_directory_tells_since_when_it_is_as_it_is(site):
    source = open_source(SourceOptions(str(site), (), "", NO_LIMITS), NO_STORE)
    list(source.entries(read=False))
    assert parse_time("2020-01-01") < source.newest_change() <= source.backup.time


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-31", "2026-01-31T00:00:00.000000Z"),
        ("2026-01-31T23:59", "2026-01-31T23:59:00.000000Z"),
        ("2026-01-31T23:59:59Z", "2026-01-31T23:59:59.000000Z"),
        ("2026-01-31 23:59:59.25+01:00", "2026-01-31T22:59:59.250000Z"),
        ("2026-01-31T23:59:59-0530", "2026-02-01T05:29:59.000000Z"),
        ("2026-01-31T23:59:59.123456789Z", "2026-01-31T23:59:59.123456Z"),
    ],
)
def test_h19_times_are_utc(text, time):
    assert parse_time(text) == time
    assert parse_time(time) == time


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "31.1.2026", "2026-01-31T25:00"])
def test_what_is_no_time(text):
    with pytest.raises(SourceError, match="write it like"):
        parse_time(text)
