# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which members are admitted, and which are refused by name (T13)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.adt.assets.plugins.module_utils import _members as members
from ansible_collections.adt.assets.plugins.module_utils._backup import SourceError
from ansible_collections.adt.assets.plugins.module_utils._members import (
    Member,
    Names,
    Refusal,
    Rules,
    admit,
    link_problem,
    parse_root,
)
from ansible_collections.adt.assets.plugins.module_utils._tar import DIRECTORY, FILE, HARDLINK, SYMLINK, Raw

RULES = Rules((b"images",), "rclonelink")


def raw(name, kind=FILE, mode=0o644, link=b"", size=1):
    return Raw(name, kind, size, mode, 33, 33, 1700000000, link)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (b"images/a.jpg", "a.jpg"),
        (b"./images/a.jpg", "a.jpg"),
        (b"images//sub/./a.jpg", "sub/a.jpg"),
        ("images/ü b+%2F.jpg".encode(), "ü b+%2F.jpg"),
        (b"images/.htaccess", ".htaccess"),
        (b"images/new\nline", "new\nline"),
        (b"images/-rf", "-rf"),
        (b"images/" + b"x/" * 500 + b"y" * 24, "x/" * 500 + "y" * 24),
        (b"images/" + b"x" * 255, "x" * 255),
    ],
)
def test_names_become_keys(name, key):
    assert admit(raw(name), RULES) == Member(key, key, FILE, 1, 0o644, 33, 33, 1700000000)


@pytest.mark.parametrize("name", [b"imagesx/a", b"a.jpg", b"sub/images/a.jpg", b"/etc/passwd", b"images2"])
def test_what_lies_outside_is_no_member(name):
    assert admit(raw(name), RULES) is None


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        (raw(b"images/../etc/passwd"), "'..'"),
        (raw(b"../images/a"), "'..'"),
        (raw(b"other/../images/a"), "'..'"),
        (raw(b"/images/a.jpg"), "absolute"),
        (raw(b"images/a\xff.jpg"), "UTF-8"),
        (raw(b"images/a\0b"), "NUL"),
        (raw(b"images/" + b"x/" * 500 + b"y" * 25), "1024 bytes"),
        (raw(b"images/" + b"x/" * 500 + b"y" * 24, DIRECTORY), "1024 bytes"),
        (raw(b"images/" + b"x" * 256), "255 bytes"),
        (raw(b"images/dev", "character device"), "character device"),
        (raw(b"images/dev", "block device"), "block device"),
        (raw(b"images/pipe", "fifo"), "fifo"),
        (raw(b"images/odd", "member of kind 'Q'"), "kind 'Q'"),
        (raw(b"images/su", mode=0o4755), "setuid"),
        (raw(b"images/sg", mode=0o2755), "setuid or setgid"),
        (raw(b"images/evil.rclonelink"), "link where it is mounted"),
        (raw(b"images/l", SYMLINK, link=b"/etc/passwd"), "out of the asset directory"),
        (raw(b"images/l", SYMLINK, link=b"../secret"), "out of the asset directory"),
        (raw(b"images/l", SYMLINK, link=b"a/../../secret"), "out of the asset directory"),
        (raw(b"images/l", SYMLINK, link=b""), "no usable target"),
        (raw(b"images/l", SYMLINK, link=b"a\nb"), "no usable target"),
        (raw(b"images/l", SYMLINK, link=b"\xff"), "UTF-8"),
        (raw(b"images/h", HARDLINK, link=b"etc/passwd"), "hard link"),
        (raw(b"images/h", HARDLINK, link=b"images/../etc/passwd"), "hard link"),
        (raw(b"images/h", HARDLINK, link=b"/images/a"), "hard link"),
        (raw(b"images", FILE), "should be the asset directory"),
        (raw(b"images", SYMLINK, link=b"elsewhere"), "should be the asset directory"),
    ],
)
def test_t13_hostile_members_are_refused_by_name(entry, part):
    refusal = admit(entry, RULES)
    assert isinstance(refusal, Refusal)
    assert part in refusal.reason
    assert refusal.name


@pytest.mark.parametrize(
    ("path", "target"),
    [("l", b"a"), ("d/l", b"../a"), ("d/e/l", b"../../a"), ("d/l", b"."), ("l", b"d/e/f"), ("l", b"a b")],
)
def test_links_that_stay_inside(path, target):
    assert link_problem(path, target) == ""


@given(st.lists(st.sampled_from(["a", "b", "..", ".", ""]), max_size=6), st.integers(0, 3))
def test_t13_an_admitted_link_never_leaves(parts, depth):
    path = "/".join(["d"] * depth + ["l"])
    target = "/".join(parts)
    if link_problem(path, target.encode()) == "":
        level = depth
        for part in target.split("/"):
            level += {"..": -1, ".": 0, "": 0}.get(part, 1)
            assert level >= 0


def test_symlinks_as_the_mount_tool_has_them():
    link = raw(b"images/d/l", SYMLINK, link=b"../a")
    admit: Any = members.admit
    assert admit(link, RULES).key == "d/l.rclonelink"
    assert admit(link, RULES._replace(symlinks="object")).key == "d/l"
    assert "symlinks: refuse" in admit(link, RULES._replace(symlinks="refuse")).reason
    assert admit(raw(b"images/x.rclonelink"), RULES._replace(symlinks="object")).key == "x.rclonelink"


def test_directories_may_have_a_setgid_bit():
    assert isinstance(admit(raw(b"images/d/", DIRECTORY, mode=0o2775), RULES), Member)


def clashes(*paths):
    names = Names()
    found = []
    for path in paths:
        kind = DIRECTORY if path.endswith("/") else FILE
        clean = path.rstrip("/")
        found.append(names.clash(Member(path, clean, kind, 0, 0o644, 0, 0, 0)))
    return [refusal.name for refusal in found if refusal is not None]


@pytest.mark.parametrize(
    "paths",
    [
        ("a", "a"),
        ("a/b", "a\\b"),
        ("a\\b", "a/b"),
        ("d", "d/"),
        ("d/", "d"),
        ("d", "d/x"),
        ("d/x", "d"),
        ("d/x/y", "d"),
        ("d", "d/x/y"),
        ("a\\\\b", "a/b"),
        ("\\a", "a"),
    ],
)
def test_t13_members_that_would_meet_in_one_key(paths):
    assert clashes(*paths) == [paths[-1].rstrip("/")]


@pytest.mark.parametrize(
    "paths", [("a", "b"), ("d/", "d/"), ("d/", "d/x", "d/y"), ("d/x", "d/"), ("a", "A"), ("a\\b",), ("d/a", "d/ab/c")]
)
def test_members_that_do_not_meet(paths):
    assert clashes(*paths) == []


def test_t13_a_link_and_a_file_of_its_key_meet():
    names = Names()
    assert names.clash(Member("l.rclonelink", "l", SYMLINK, 1, 0o777, 0, 0, 0, "a")) is None
    assert names.clash(Member("l.rclonelink", "l.rclonelink", FILE, 1, 0o644, 0, 0, 0)) is not None
    assert names.clash(Member("l", "l", FILE, 1, 0o644, 0, 0, 0)) is not None


def test_only_directories_with_nothing_in_them_are_empty():
    names = Names()
    members = [Member(f"{path}/", path, DIRECTORY, 0, 0o755, 0, 0, 0) for path in ("d", "d/e", "d/e/f", "g")]
    for member in members:
        names.clash(member)
    names.clash(Member("g/x", "g/x", FILE, 0, 0o644, 0, 0, 0))
    assert [member.path for member in members if names.is_empty(member)] == ["d/e/f"]


def test_archive_path():
    assert parse_root("") == ()
    assert parse_root("/var/www//private/") == (b"var", b"www", b"private")
    with pytest.raises(SourceError, match=r"'\.\.'"):
        parse_root("a/../b")
