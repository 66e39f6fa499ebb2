# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in a webroot, on a local file system, and Syncthing's settings for it."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET

import pytest

from ansible_collections.adt.assets.plugins.module_utils import _syncthing, _webroot
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


def test_all_is_set_aside_but_what_may_be_mounted_and_what_is_above_it(root, tmp_path):
    aside = tmp_path / "aside"
    _webroot.set_aside(str(root), ["uploads/2024", "img[1]"], str(aside))
    left = {os.path.relpath(path, root) for path in root.rglob("*")}
    assert left == {"uploads", "uploads/2024", "uploads/2024/own.jpg", "img[1]", "img[1]/own"}
    assert (aside / "plugins/a/code.php").read_bytes() == b"x"
    assert (aside / "link").is_symlink()


def test_nothing_to_set_aside_makes_no_place_for_it(tmp_path):
    (tmp_path / "html").mkdir()
    _webroot.set_aside(str(tmp_path / "html"), [], str(tmp_path / "aside"))
    assert not (tmp_path / "aside").exists()


def test_what_belongs_to_others_is_named(root):
    other = User(ME.uid + 1, ME.gid)
    named = {path for path, _folder, _name in _webroot.foreign(str(root), other, skipping(["uploads", "img[1]"]))}
    assert named == {"index.php", "link", "plugins", "plugins/a", "plugins/a/code.php"}
    assert list(_webroot.foreign(str(root), ME, skipping([]))) == []


def test_syncthings_own_watcher_and_rescans_are_off_and_nobody_outside_is_asked():
    host, peer = _syncthing.Peer("web1", "AAA", ""), _syncthing.Peer("web2", "BBB", "fd00::2")
    settings = _syncthing.Settings(host, [peer], "/var/www/a & b", "/kept", 22000, 8384)
    file = ET.fromstring(_syncthing.settings_file(settings, "key", "password"))
    folder = file.find("folder")
    assert folder.get("path") == "/var/www/a & b"
    assert (folder.get("rescanIntervalS"), folder.get("fsWatcherEnabled")) == ("0", "false")
    assert [device.get("id") for device in folder.findall("device")] == ["AAA", "BBB"]
    assert [device.findtext("address") for device in file.findall("device")] == ["dynamic", "tcp://[fd00::2]:22000"]
    assert file.findtext("gui/address") == "127.0.0.1:8384"
    for option in ("globalAnnounceEnabled", "localAnnounceEnabled", "relaysEnabled", "natEnabled"):
        assert file.findtext(f"options/{option}") == "false"
