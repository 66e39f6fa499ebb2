# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in a webroot, on a local file system, and Syncthing's settings for it."""

from __future__ import annotations

import errno
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.adt.assets.plugins.module_utils import _syncthing, _webroot, _webroot_sync
from ansible_collections.adt.assets.plugins.module_utils._webroot import User, skipping

ME = User(os.getuid(), os.getgid())


@pytest.fixture
def root(tmp_path):
    for name in ("index.php", "plugins/a/code.php", "uploads/2024/own.jpg", ".stfolder/x", "img[1]/own"):
        file = tmp_path / "html" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    (tmp_path / "html/link").symlink_to("/etc")
    return tmp_path / "html"


@pytest.mark.parametrize(
    ("name", "skipped"),
    [
        ("img[1]", True),
        ("img[1]/a/b", True),
        ("img1", False),
        ("img", False),
        ("wp-content/uploads", True),
        ("wp-content", False),
        (".stfolder", True),
        ("sub/.stfolder", False),
        ("a/.syncthing.code.php.tmp", True),
        ("a/syncthing.tmp", False),
    ],
)
def test_h16_excludes_are_literal(name, skipped):
    assert skipping(["img[1]", "wp-content/uploads"])(name) is skipped


def test_a_walk_finds_all_but_what_is_skipped_and_follows_no_link(root):
    found = _webroot.walk(str(root), ME, skipping(["uploads", "img[1]"]))
    assert set(found) == {"index.php", "link", "plugins", "plugins/a", "plugins/a/code.php"}
    assert found["plugins"].is_directory
    assert not found["link"].is_directory
    assert set(_webroot.walk(str(root), ME, skipping([]), "plugins")) == {"plugins/a", "plugins/a/code.php"}


def test_a_root_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        _webroot.walk(str(tmp_path / "gone"), ME, skipping([]))


def test_t12_what_its_user_cannot_read_is_noticed(root):
    os.chmod(root / "index.php", 0)
    os.chmod(root / "plugins", 0o600)
    other = User(ME.uid + 1, ME.gid + 1)
    assert not _webroot.look(str(root), "index.php", ME).readable
    assert not _webroot.look(str(root), "plugins", ME).readable
    assert _webroot.look(str(root), "link", ME).readable
    assert _webroot.look(str(root), "gone", ME) is None
    os.chmod(root / "index.php", 0o640)
    assert _webroot.look(str(root), "index.php", ME).readable
    assert not _webroot.look(str(root), "index.php", other).readable
    assert _webroot.look(str(root), "index.php", User(other.uid, ME.gid)).readable


def test_a_list_is_kept_with_names_that_are_no_text(root, tmp_path):
    (root / os.fsdecode(b"\xff")).write_bytes(b"x")
    found = _webroot.walk(str(root), ME, skipping([]))
    _webroot.write_list(tmp_path / "list.json", found)
    assert _webroot.read_list(tmp_path / "list.json") == found


@pytest.mark.parametrize("content", ["", "{", '{"a": [1]}', "[]"])
def test_half_a_list_is_none(tmp_path, content):
    (tmp_path / "list.json").write_text(content)
    assert _webroot.read_list(tmp_path / "list.json") is None


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """What the others have."""
    for name in (".stfolder/mark", "index.php", "link", "plugins/b/code.php", "uploads/readme.txt", "new/page.php"):
        (tmp_path / "fresh" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fresh" / name).write_bytes(b"new")
    os.chmod(tmp_path / "fresh/uploads", 0o750)
    return tmp_path / "fresh"


def contents(top: Path) -> dict[str, bytes | None]:
    return {
        os.path.relpath(path, top): None if path.is_symlink() else path.read_bytes()
        for path in top.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


@pytest.mark.parametrize("other_file_system", [False, True])
def test_what_the_others_have_takes_the_place_of_all_but_what_may_be_mounted(
    root, fresh, tmp_path, monkeypatch, other_file_system
):
    if other_file_system:

        def refuse(*_paths, **_options):
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(_webroot.os, "rename", refuse)
        monkeypatch.setattr(_webroot.os, "link", refuse)
    own = {
        name: body for name, body in contents(root).items() if name.startswith((".stfolder", "uploads/2024", "img[1]"))
    }
    old = {name: body for name, body in contents(root).items() if name not in own}
    assert own and old["link"] is None
    _webroot.exchange(str(root), ["uploads/2024", "img[1]"], str(fresh), str(tmp_path / "aside"))
    names = ("index.php", "link", "plugins/b/code.php", "uploads/readme.txt", "new/page.php")
    assert contents(root) == own | dict.fromkeys(names, b"new")
    assert contents(tmp_path / "aside") == old
    assert (root / "uploads").stat().st_mode & 0o777 == 0o750
    assert contents(fresh) == {".stfolder/mark": b"new"}


def test_a_file_that_is_exchanged_is_never_away(root, fresh, tmp_path, monkeypatch):
    rename = os.rename

    def look_first(path, to):
        assert (root / "index.php").exists()
        rename(path, to)

    monkeypatch.setattr(_webroot.os, "rename", look_first)
    _webroot.exchange(str(root), [], str(fresh), str(tmp_path / "aside"))
    assert (root / "index.php").read_bytes() == b"new" != (tmp_path / "aside/index.php").read_bytes()


def test_an_empty_webroot_has_nothing_to_set_aside(fresh, tmp_path):
    (tmp_path / "html").mkdir()
    _webroot.exchange(str(tmp_path / "html"), ["uploads"], str(fresh), str(tmp_path / "aside"))
    assert not (tmp_path / "aside").exists()
    assert "new/page.php" in contents(tmp_path / "html")


def test_mounts_inside_a_webroot_are_named_unless_they_are_left_out():
    lines = (b"/", b"/var/www/html", b"/var/www/html/images", b"/var/www/html/a\\040b\\134", b"/var/www/html2/x")
    mountinfo = b"".join(b"36 35 98:0 / %s rw - ext4 /dev/x rw\n" % point for point in lines)
    assert _webroot.mounts_inside("/var/www/html", skipping(["images"]), mountinfo) == ["a b\\"]


@pytest.mark.parametrize(
    ("mounts", "is_fuse"),
    [
        (b"", False),
        (b"40 1 0:9 / /var/www/html rw shared:9 - ext4 /dev/sdb rw", False),
        (b"40 1 0:9 / /var/www/html rw shared:9 - fuse.rclone bucket rw", True),
        (b"40 1 0:9 / /var/www/html rw - ext4 /dev/sdb rw\n41 40 0:8 / /var/www/html rw - fuse s3 rw", True),
        (b"40 1 0:9 / /var/www/html/images rw - fuse.rclone bucket rw", False),
        (b"40 1 0:9 / /var/www/html rw - fuseblk /dev/sdb rw", False),
    ],
)
def test_a_webroot_that_a_program_shows_is_told_from_one_with_a_disk_of_its_own(mounts, is_fuse):
    assert _webroot.fuse_at("/var/www/html", mounts) is is_fuse


def test_directories_are_made_anew_with_their_modes_and_only_empty_ones_removed(tmp_path):
    (tmp_path / "there").write_bytes(b"a file now")
    folders = {"a": 0o750, "a/b": 0o755, "there": 0o755, "none/c": 0o755}
    _webroot.remake(str(tmp_path), folders)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "a/b").is_dir() and (tmp_path / "there").is_file() and not (tmp_path / "none").exists()
    (tmp_path / "a/new").write_bytes(b"x")
    _webroot.unmake(str(tmp_path), folders)
    assert sorted(entry.name for entry in (tmp_path / "a").iterdir()) == ["new"]


def test_what_belongs_to_others_is_named(root):
    other = User(ME.uid + 1, ME.gid)
    named = {path for path, _folder, _name in _webroot.foreign(str(root), other, skipping(["uploads", "img[1]"]))}
    assert named == {"index.php", "link", "plugins", "plugins/a", "plugins/a/code.php"}
    assert list(_webroot.foreign(str(root), ME, skipping([]))) == []


@pytest.mark.parametrize(
    ("others_have", "has_files", "joins"), [(0, True, False), (0, False, True), (7, True, True), (7, False, True)]
)
def test_h20_others_without_a_single_file_empty_nobody_who_joins(root, monkeypatch, others_have, has_files, joins):
    service = object.__new__(_webroot_sync.Service)
    service.config = SimpleNamespace(webroot=str(root))
    service.owner, service.skip = ME, skipping([] if has_files else os.listdir(root))
    service.state = {"complete": True, "errors": []}
    monkeypatch.setattr(service, "_ask", lambda: others_have)
    assert service._has_everything() is joins
    assert bool(service.state["errors"]) is not joins


@pytest.mark.parametrize(("takes_only", "kind"), [(False, "sendreceive"), (True, "receiveonly")])
def test_syncthings_own_watcher_and_rescans_are_off_and_nobody_outside_is_asked(takes_only, kind):
    host, peer = _syncthing.Peer("web1", "AAA", ""), _syncthing.Peer("web2", "BBB", "fd00::2")
    settings = _syncthing.Settings(host, [peer], "/var/www/a & b", takes_only, "/kept", 22000, 8384)
    file = ET.fromstring(_syncthing.settings_file(settings, "key", "password"))
    folder = file.find("folder")
    assert (folder.get("path"), folder.get("type")) == ("/var/www/a & b", kind)
    assert (folder.get("rescanIntervalS"), folder.get("fsWatcherEnabled")) == ("0", "false")
    assert [device.get("id") for device in folder.findall("device")] == ["AAA", "BBB"]
    assert [device.findtext("address") for device in file.findall("device")] == ["dynamic", "tcp://[fd00::2]:22000"]
    # Whoever could pass something on talks to nobody until it is certain that nothing was looked at.
    assert file.find("device[@id='BBB']").findtext("paused") == str(not takes_only).lower()
    assert file.findtext("gui/address") == "127.0.0.1:8384"
    for option in ("globalAnnounceEnabled", "localAnnounceEnabled", "relaysEnabled", "natEnabled"):
        assert file.findtext(f"options/{option}") == "false"
