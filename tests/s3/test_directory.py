# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""asset_sync from a directory: what isn't read again, and what is all the same."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

pytest.register_assert_rewrite("assets")
from assets import contents, counts

from ansible_collections.adt.assets.plugins.module_utils import _directory

pytest_plugins = ["assets"]
OLD = 1780300000


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The files of the directory that were opened."""
    found: list[str] = []
    really = _directory._open_file

    def open_file(above: int, name: bytes, path: bytes) -> int:
        found.append(path.decode())
        return really(above, name, path)

    monkeypatch.setattr(_directory, "_open_file", open_file)
    return found


@pytest.fixture
def images(site) -> Path:
    """A directory that nobody has written to for long enough."""
    for path in (site / "images").rglob("*"):
        os.utime(path, (OLD, OLD))
    time.sleep(_directory.RACY_SECONDS)
    return site / "images"


def test_p5_what_was_read_once_is_only_looked_at(assets, images, opened):
    files = len(contents(images))
    assert counts(assets.sync(images.parent)) == {"uploaded": files}
    assert opened
    opened.clear()
    again = assets.sync(images.parent)
    assert not again["changed"] and counts(again) == {"unchanged": files}
    assert not opened
    again = assets.sync(images.parent, read_all=True)
    assert not again["changed"] and opened


def test_p5_a_file_that_keeps_size_and_mtime_is_read_when_it_was_written(assets, images, opened):
    assets.sync(images.parent)
    opened.clear()
    path = next(path for path in sorted(images.rglob("*")) if path.is_file() and path.stat().st_size)
    body = bytes(255 - byte for byte in path.read_bytes())
    path.write_bytes(body)
    os.utime(path, (OLD, OLD))
    key = path.relative_to(images).as_posix()
    assert counts(assets.sync(images.parent))["updated"] == 1
    assert opened == [key]
    assert assets.objects()[key] == body


def test_h2_what_a_user_changed_or_deleted_stays_so_unread(assets, images, opened):
    assets.sync(images.parent)
    opened.clear()
    changed, deleted = sorted(key for key, body in contents(images).items() if body)[:2]
    assets.edit(changed, b"by a user")
    assets.delete(deleted)
    found = counts(assets.sync(images.parent))
    assert (found["kept"], found["kept_deleted"]) == (1, 1)
    assert not opened
    assert assets.objects()[changed] == b"by a user" and deleted not in assets.objects()
    assert counts(assets.sync(images.parent, on_conflict="overwrite")) == {
        "uploaded": 1,
        "updated": 1,
        "unchanged": len(contents(images)) - 2,
    }
    assert sorted(opened) == [changed, deleted]


def test_i3_what_was_too_new_to_be_trusted_is_learnt_without_a_change(assets, site, opened, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(_directory, "RACY_SECONDS", 1000)
        assets.sync(site)
    opened.clear()
    time.sleep(_directory.RACY_SECONDS)
    assert not assets.sync(site)["changed"]
    assert opened
    opened.clear()
    assert not assets.sync(site)["changed"]
    assert not opened
