# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""asset_fetch against a real S3 server: the way back."""

from __future__ import annotations

import os
import random
import subprocess

import pytest

pytest.register_assert_rewrite("assets")
from assets import contents, pack

pytest_plugins = ["assets"]


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "dest"


def fetch(assets, dest, **options):
    return assets.engine("asset_fetch", dest=str(dest), **options)


def tree(top):
    """Names, kinds, modes and times of all files below a directory."""
    found = {}
    for path in top.rglob("*"):
        status = path.lstat()
        time = int(status.st_mtime) if path.is_file() and not path.is_symlink() else 0
        found[str(path.relative_to(top))] = (status.st_mode, time)
    return found


def counts(result):
    return {name: part["count"] for name, part in result["summary"].items() if part["count"]}


def test_the_way_there_and_back(assets, site, dest):
    images = site / "images"
    (images / "film.mp4").write_bytes(random.Random(1).randbytes(17 * 2**20))
    assets.sync(pack(site))
    options = {"dest": str(dest), "owner": "nobody", "group": "nogroup"}
    predicted = assets.module("asset_fetch", check=True, **options)
    assert not dest.exists()
    result = assets.module("asset_fetch", **options)
    assert (result["summary"], result["diff"]) == (predicted["summary"], predicted["diff"])
    assert result["changed"] and counts(result) == {"fetched": 19}
    assert contents(dest) == contents(images)
    assert {k: v for k, v in tree(dest).items() if k != "2026/link"} == {
        k: v for k, v in tree(images).items() if k != "2026/link"
    }
    again = fetch(assets, dest)
    assert not again["changed"] and counts(again) == {"unchanged": 19}


def test_only_what_differs_is_fetched_and_nothing_is_deleted(assets, site, dest, tmp_path):
    assets.sync(pack(site))
    fetch(assets, dest)
    (dest / "2026/p1.jpg").unlink()
    (dest / "2026/p2.jpg").write_bytes(b"changed here")
    (dest / "mine.jpg").write_bytes(b"mine")
    assets.edit("2026/p3.jpg", b"a user's")
    assets.delete("2026/p4.jpg")
    message = assets.engine("asset_fetch", ok=False, dest=str(dest))["msg"]
    assert "'2026/p4.jpg', 'mine.jpg'" in message and "aside" in message
    aside = tmp_path / "aside"
    predicted = fetch(assets, dest, aside=str(aside), check=True)
    assert not aside.exists()
    result = fetch(assets, dest, aside=str(aside))
    assert (result["summary"], result["diff"]) == (predicted["summary"], predicted["diff"])
    assert counts(result) == {"fetched": 1, "replaced": 2, "unchanged": 14, "aside": 2}
    assert (dest / "2026/p3.jpg").read_bytes() == b"a user's"
    assert contents(aside) == {
        "2026/p4.jpg": (site / "images/2026/p4.jpg").read_bytes(),
        "mine.jpg": b"mine",
    }
    assert assets.engine("asset_compare", src=str(dest))["identical"]


def test_files_of_others_get_the_given_owner(assets, dest):
    assets.edit("upload.jpg", b"by rclone")
    fetch(assets, dest, owner="33", group="33")
    status = (dest / "upload.jpg").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (33, 33, 0o644)
    assert "doesn't exist on this host" in assets.engine("asset_fetch", ok=False, dest=str(dest), owner="n-o")["msg"]


def test_t13_planted_links_lead_nowhere(assets, site, dest, tmp_path):
    assets.sync(pack(site))
    outside = tmp_path / "outside"
    outside.mkdir()
    dest.mkdir()
    (dest / "2026").symlink_to(outside)
    result = fetch(assets, dest, aside=str(tmp_path / "aside"))
    assert counts(result)["aside"] == 1
    assert os.listdir(outside) == []
    assert contents(dest) == contents(site / "images")


def test_t13_objects_that_would_escape_are_refused(assets, dest):
    assets.edit("evil.rclonelink", b"/etc/passwd")
    assert "'evil.rclonelink' is a symbolic link" in assets.engine("asset_fetch", ok=False, dest=str(dest))["msg"]
    assert not (dest / "evil").is_symlink()
    assets.delete("evil.rclonelink")
    assets.edit("bad\nname/ok", b"x")
    fetch(assets, dest)
    assert (dest / "bad\nname" / "ok").read_bytes() == b"x"


def test_a_directory_in_the_way_of_a_file(assets, dest, tmp_path):
    assets.edit("d", b"file")
    (dest / "d" / "deep").mkdir(parents=True)
    (dest / "d" / "deep" / "x").write_bytes(b"x")
    fetch(assets, dest, aside=str(tmp_path / "aside"))
    assert (dest / "d").read_bytes() == b"file"
    assert (tmp_path / "aside/d/deep/x").read_bytes() == b"x"


def test_aside_lies_outside(assets, dest):
    message = assets.engine("asset_fetch", ok=False, dest=str(dest), aside=str(dest / "aside"))["msg"]
    assert "outside of dest" in message


def test_t8_a_disk_without_room_is_told_before_anything_is_written(assets, tmp_path):
    assets.edit("large", bytes(10 * 2**20))
    assets.edit("small", b"x")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=38m", "tmpfs", disk], check=True)
    try:
        message = assets.engine("asset_fetch", ok=False, dest=str(disk))["msg"]
        assert "has no room" in message and "make room" in message
        assert os.listdir(disk) == []
        (disk / "f").write_bytes(bytes(34 * 2**20))
        assets.delete("large")
        assert "has no room" in assets.engine("asset_fetch", ok=False, dest=str(disk), aside=str(tmp_path / "a"))["msg"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_only_some_directories_are_fetched_and_the_rest_of_dest_stays(assets, dest, tmp_path):
    for path in ("code/a.php", "code/logs/now.txt", "code2/b.php", "index.php", "uploads/p.jpg"):
        assets.edit(path, path.encode())
    dest.mkdir()
    for path in ("uploads/local.jpg", "code/gone.php", "code/logs/mine.txt"):
        (dest / path).parent.mkdir(parents=True, exist_ok=True)
        (dest / path).write_bytes(b"local")
    some = {"only": ["code/"], "without": ["code/logs"], "aside": str(tmp_path / "aside")}
    assert counts(fetch(assets, dest, **some)) == {"fetched": 1, "aside": 1}
    assert sorted(name for name in contents(dest) if not name.endswith("/")) == [
        "code/a.php", "code/logs/mine.txt", "uploads/local.jpg",
    ]  # fmt: skip
    assert (tmp_path / "aside/code/gone.php").read_bytes() == b"local"
    assert not fetch(assets, dest, **some)["changed"]
    wrong = assets.engine("asset_fetch", ok=False, dest=str(dest), only=["../code"])["msg"]
    assert "only has '../code'" in wrong


def test_half_files_of_a_killed_run_are_removed(assets, dest):
    assets.edit("a", b"x")
    dest.mkdir()
    (dest / ".adt-0123456789abcdef.part").write_bytes(b"half")
    fetch(assets, dest)
    assert os.listdir(dest) == ["a"]
