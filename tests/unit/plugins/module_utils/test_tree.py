# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing into a directory where others may write, and what a bucket's keys become there."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from ansible_collections.adt.assets.plugins.module_utils._backup import SourceError
from ansible_collections.adt.assets.plugins.module_utils._compare import (
    Findings,
    Has,
    compare,
    excuse,
    was_kept,
    was_there,
)
from ansible_collections.adt.assets.plugins.module_utils._decide import Entry
from ansible_collections.adt.assets.plugins.module_utils._fetch import wishes
from ansible_collections.adt.assets.plugins.module_utils._headers import content_type, headers
from ansible_collections.adt.assets.plugins.module_utils._members import Member
from ansible_collections.adt.assets.plugins.module_utils._store import Listed
from ansible_collections.adt.assets.plugins.module_utils._tar import DIRECTORY, FILE, SYMLINK
from ansible_collections.adt.assets.plugins.module_utils._tree import Attributes, Tree, is_leftover
from ansible_collections.adt.assets.plugins.module_utils._upload import is_awkward, md5, multipart_etag, part_size

MINE = Attributes(0o640, os.getuid(), os.getgid(), 1700000000.5)


@pytest.fixture
def tree(tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    found = Tree(top)
    yield found
    found.close()


def test_a_file_with_all_that_belongs_to_it(tree):
    tree.write("a/b/c.jpg", [b"1", b"2"], MINE)
    path = tree.top / "a/b/c.jpg"
    assert path.read_bytes() == b"12"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_mtime == 1700000000.5
    assert [name for name, _status in tree.walk()] == ["a/b/c.jpg", "a/b", "a"]


def test_t13_planted_links_are_never_followed(tree, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("mine")
    (tree.top / "d").symlink_to(outside)
    (tree.top / "l").symlink_to(outside / "f")
    with pytest.raises(SourceError, match="top/d/f"):
        tree.write("d/f", [b"evil"], MINE)
    tree.write("l", [b"new"], MINE)
    assert (outside / "f").read_text() == "mine"
    assert not (tree.top / "l").is_symlink()
    assert tree.status("d/f") is None
    with pytest.raises(SourceError):
        tree.link("d/x", b"y", MINE)
    assert os.listdir(outside) == ["f"]


def test_a_write_that_fails_leaves_nothing(tree):
    def pieces():
        yield b"1"
        raise ValueError("the network")

    tree.write("f", [b"old"], MINE)
    with pytest.raises(ValueError, match="the network"):
        tree.write("f", pieces(), MINE)
    assert (tree.top / "f").read_bytes() == b"old"
    assert os.listdir(tree.top) == ["f"]


def test_moving_aside_replaces_nothing(tree, tmp_path):
    (tmp_path / "aside").mkdir()
    aside = Tree(tmp_path / "aside")
    for content in (b"1", b"2", b"3"):
        tree.write("d/f", [content], MINE)
        tree.move("d/f", aside, "d/f")
    found = {path.name: path.read_bytes() for path in (tmp_path / "aside/d").iterdir()}
    assert found == {"f": b"1", "f~": b"2", "f~~": b"3"}


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no other file system")
def test_moving_aside_to_another_file_system(tree, tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if os.stat(other).st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is no other file system")
        aside = Tree(Path(other))
        tree.write("d/f", [b"1"], MINE)
        tree.link("d/l", b"f", MINE)
        tree.move("d/f", aside, "d/f")
        tree.move("d/l", aside, "d/l")
        assert (Path(other) / "d/f").read_bytes() == b"1"
        assert (Path(other) / "d/l").readlink() == Path("f")
        assert os.listdir(tree.top / "d") == []


def test_half_files_of_killed_runs_are_known():
    assert is_leftover("a/.adt-0123456789abcdef.part")
    assert not is_leftover("a/.adt-notes.part")


def listed(*keys):
    return {key: Listed(key, 1, "e", "") for key in keys}


def test_what_keys_become():
    found = wishes(listed("a", "d/", "d/e/f", "l.rclonelink"), "rclonelink")
    assert [(wish.path, wish.kind) for wish in found] == [
        ("a", "file"),
        ("d", "directory"),
        ("d/e/f", "file"),
        ("l", "link"),
    ]
    assert wishes(listed("l.rclonelink"), "object")[0].path == "l.rclonelink"


@pytest.mark.parametrize(
    "keys",
    [
        ["../x"],
        ["a/../../x"],
        ["/abs"],
        ["a//b"],
        ["a/./b"],
        [".."],
        ["a\0b"],
        ["x" * 256],
        ["a", "a/b"],
        ["a", "a/b/c"],
        ["l", "l.rclonelink"],
        ["a", "a/"],
        ["//"],
    ],
)
def test_t13_keys_that_are_no_paths_are_refused_by_name(keys):
    with pytest.raises(SourceError, match="can't be files"):
        wishes(listed(*keys), "rclonelink")


def test_comparing():
    source = {key: Has(1, key) for key in ("same", "missing", "different", "deleted", "edited", "saved")}
    held = {"same": Has(1, "same"), "different": Has(1, "x"), "edited": Has(1, "y"), "saved": Has(1, "z")}
    there = {*held, "extra", "d/", "other/"}
    found = compare(source, held, there, {"d/"})
    assert found == Findings(
        ["same"], ["deleted", "missing"], ["different", "edited", "saved"], ["extra", "other/"], []
    )
    entries = {
        "deleted": Entry(1, "deleted", "deleted", "t"),
        "edited": Entry(1, "edited", "edited", "t"),
        "different": Entry(1, "older", "older", "t"),
        "missing": Entry(1, "missing", "", "t"),
    }
    excused = excuse(found, lambda key: was_there(entries.get(key), source[key].digest))
    assert (excused.missing, excused.different) == (["missing"], ["different", "saved"])
    assert excused.history == ["deleted", "edited"]
    assert excuse(excused, lambda key: key == "saved").history == ["deleted", "edited", "saved"]


def test_h2_what_a_sync_kept_is_known_by_the_manifest():
    ours = Entry(1, "x", "x", "t", seen=1)
    assert not was_kept(None)
    assert not was_kept(ours)
    assert not was_kept(ours._replace(seen=0))
    assert was_kept(ours._replace(seen=2))
    assert was_kept(ours._replace(etag=""))


def test_headers():
    member = Member("a.JPG", "a.JPG", FILE, 1, 0o644, 33, 33, 1700000000)
    assert headers(member).content_type == "image/jpeg"
    assert headers(member).metadata == {"mode": "33188", "uid": "33", "gid": "33", "mtime": "1700000000"}
    assert headers(Member("d/", "d", DIRECTORY, 0, 0o755, 0, 0, 0)).metadata["mode"] == "16877"
    assert headers(Member("d/", "d", DIRECTORY, 0, 0o755, 0, 0, 0)).content_type == "application/x-directory"
    assert headers(Member("l", "l", SYMLINK, 1, 0o777, 0, 0, 0)).metadata["mode"] == "41471"
    assert headers(Member("l.rclonelink", "l", SYMLINK, 1, 0o777, 0, 0, 0)).metadata["mode"] == "33188"


@pytest.mark.parametrize(
    ("key", "media"),
    [
        ("a.webp", "image/webp"),
        ("a.svg", "image/svg+xml"),
        ("a.js", "text/javascript"),
        ("a.tar.gz", "application/octet-stream"),
        ("a.b/c", "application/octet-stream"),
        (".htaccess", "application/octet-stream"),
        ("a.css", "text/css"),
        ("a.php", "application/octet-stream"),
    ],
)
def test_types(key, media):
    assert content_type(key) == media


@pytest.mark.parametrize("key", ["d/", "/a", "a//b", ".", "a/.", "../a", "a/../b", "a\nb", "a\x7f", "."])
def test_keys_for_boto3(key):
    assert is_awkward(key)


@pytest.mark.parametrize("key", ["a", "a/b", ".htaccess", "a/.b", "..a", "a b+%2F", "ü", "a\\b"])
def test_keys_for_obstore(key):
    assert not is_awkward(key)


def test_parts():
    assert part_size(17 * 2**20) == 8 * 2**20
    assert part_size(78 * 2**30) == 8 * 2**20
    assert -(-(2**40) // part_size(2**40)) <= 10000
    assert multipart_etag([md5(b"a"), md5(b"b")]).endswith("-2")
