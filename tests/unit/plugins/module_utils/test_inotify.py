# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes on this host: the kernel's own notices, on a local file system."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from ansible_collections.adt.assets.plugins.module_utils import _inotify
from ansible_collections.adt.assets.plugins.module_utils._inotify import Inotify, Tree


def seen(tree: Tree, notify: Inotify) -> set[str]:
    return {name for event in notify.read(1) for name in tree.names(event)}


def test_changes_at_any_depth_are_named_also_in_directories_that_came_later(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    with Inotify() as notify:
        tree = Tree(str(tmp_path), notify)
        assert sorted(tree.add("")) == ["a", "a/b"]
        assert sorted(tree.folders()) == ["", "a", "a/b"]
        (tmp_path / "a/b/é ü.jpg").write_bytes(b"x")
        assert seen(tree, notify) == {"a/b/é ü.jpg"}
        (tmp_path / "a/b/é ü.jpg").unlink()
        assert seen(tree, notify) == {"a/b/é ü.jpg"}
        (tmp_path / "new/deep").mkdir(parents=True)
        (tmp_path / "new/deep/early").write_bytes(b"x")  # before anybody watches its directory
        assert {"new", "new/deep", "new/deep/early"} <= seen(tree, notify)
        (tmp_path / "new/deep/late").write_bytes(b"x")
        assert "new/deep/late" in seen(tree, notify)


def test_a_renamed_directory_is_followed(tmp_path):
    (tmp_path / "old/sub").mkdir(parents=True)
    (tmp_path / "old/sub/file").write_bytes(b"x")
    with Inotify() as notify:
        tree = Tree(str(tmp_path), notify)
        tree.add("")
        (tmp_path / "old").rename(tmp_path / "new")
        assert seen(tree, notify) == {"old", "new", "new/sub", "new/sub/file"}
        (tmp_path / "new/sub/file").write_bytes(b"y")
        assert seen(tree, notify) == {"new/sub/file"}


def test_directories_that_others_made_are_watched_from_then_on(tmp_path):
    with Inotify() as notify:
        tree = Tree(str(tmp_path), notify)
        tree.add("")
        made = tmp_path / "theirs/deep"
        made.mkdir(parents=True)
        list(notify.read(1))  # as if they had come without a notice
        (made / "before").write_bytes(b"x")
        assert tree.add_missing(["gone/x", "theirs/deep/before", "top"]) == ["theirs/deep", "theirs/deep/before"]
        assert sorted(tree.folders()) == ["", "theirs", "theirs/deep"]
        (made / "ours").write_bytes(b"x")
        assert "theirs/deep/ours" in seen(tree, notify)
        assert tree.add_missing(["theirs/deep/before"]) == []
        (tmp_path / "more").mkdir()
        list(notify.read(1))
        (tmp_path / "more/file").write_bytes(b"x")
        assert tree.add_missing(None) == ["more/file"]


@pytest.mark.parametrize("told", [["theirs/deep/again"], ["theirs/deep"], None])
def test_a_directory_that_others_removed_and_made_again_is_watched_anew(tmp_path, told):
    made = tmp_path / "theirs/deep"
    made.mkdir(parents=True)
    with Inotify() as notify:
        tree = Tree(str(tmp_path), notify)
        tree.add("")
        shutil.rmtree(tmp_path / "theirs")
        made.mkdir(parents=True)
        list(notify.read(1))  # as if they had come without a notice
        (made / "again").write_bytes(b"x")
        assert "theirs/deep/again" in tree.add_missing(told)
        assert sorted(tree.folders()) == ["", "theirs", "theirs/deep"]
        (made / "ours").write_bytes(b"x")
        assert "theirs/deep/ours" in seen(tree, notify)
        shutil.rmtree(tmp_path / "theirs")
        list(notify.read(1))
        assert tree.add_missing(["theirs/deep/ours", "theirs/deep", "theirs"]) == []
        assert tree.folders() == [""]


def test_names_that_are_no_text_and_links_do_no_harm(tmp_path):
    (tmp_path / "out").symlink_to("/etc")
    with Inotify() as notify:
        tree = Tree(str(tmp_path), notify)
        assert tree.add("") == ["out"]
        assert tree.folders() == [""]
        (tmp_path / os.fsdecode(b"\xff")).write_bytes(b"x")
        assert seen(tree, notify) == {"\udcff"}


def test_when_the_kernel_drops_notices_everything_is_looked_at_anew(tmp_path):
    with Inotify() as notify:
        tree = Tree(str(tmp_path), notify)
        assert tree.names(_inotify.Event(-1, _inotify.IN_Q_OVERFLOW, "")) == []
        assert tree.blind


def test_directories_to_skip_are_not_watched_and_not_named(tmp_path):
    (tmp_path / "mounted/deep").mkdir(parents=True)
    with Inotify() as notify:
        tree = Tree(str(tmp_path), notify, skip=lambda name: name == "mounted")
        assert tree.add("") == []
        assert tree.folders() == [""]
        (tmp_path / "mounted").chmod(0o700)
        (tmp_path / "beside").write_bytes(b"x")
        assert seen(tree, notify) == {"beside"}


def test_a_changed_mode_is_named_once_asked_for(tmp_path):
    (tmp_path / "folder").mkdir()
    with Inotify(also=_inotify.IN_ATTRIB) as notify:
        tree = Tree(str(tmp_path), notify)
        tree.add("")
        (tmp_path / "folder").chmod(0o700)
        assert seen(tree, notify) == {"folder"}


@pytest.mark.parametrize(
    ("code", "name"), [(errno.ENOSPC, "max_user_watches ("), (errno.EMFILE, "max_user_instances ("), (errno.EIO, "")]
)
def test_a_limit_of_the_kernel_is_named(code, name):
    told = _inotify.limit_reached(OSError(code, "x"))
    assert name in told
    assert bool(told) == bool(name)
