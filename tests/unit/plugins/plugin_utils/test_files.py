# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader

from ansible_collections.adt.assets.plugins.plugin_utils._files import read_file


def read(path, *search_path, limit=100):
    return read_file(DataLoader(), [str(place) for place in search_path], str(path), limit)


def test_files_are_found_beside_the_play_then_in_the_current_directory(tmp_path, monkeypatch):
    play, here = tmp_path / "play", tmp_path / "here"
    for directory in (play / "files", here):
        directory.mkdir(parents=True)
    monkeypatch.chdir(here)
    (here / "site.tmpl").write_text("here")
    assert read("site.tmpl", play) == b"here"
    (play / "files" / "site.tmpl").write_text("play")
    assert read("site.tmpl", play) == b"play"
    assert read(here / "site.tmpl", play) == b"here"


def test_t14_not_more_is_read_than_is_looked_at(tmp_path):
    (tmp_path / "large").write_bytes(b"x" * 1000)
    assert len(read("large", tmp_path, limit=10)) == 11


@pytest.mark.parametrize("name", ["absent", "/absent", ".", "/dev/zero"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AnsibleError, match=f"{name} cannot be read on the controller: there is no such file"):
        read(name, tmp_path)
