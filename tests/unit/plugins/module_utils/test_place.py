# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How rsync is called for what was restored, and what its answers say of what is newer."""

from __future__ import annotations

from ansible_collections.adt.assets.plugins.module_utils._place import Placing, amount, newer_of, words


def test_h16_what_is_left_alone_is_meant_literally_and_below_the_place_alone():
    placing = Placing("/scratch/html", "themes/a", "/srv", ["img[1]", "a b"], False, False)
    assert words(placing, "--dry-run")[7:] == [
        "--dry-run",
        r"--exclude=/img\[1\]",
        "--exclude=/a b",
        "--out-format=%i %n%L",
        "--",
        "/scratch/html/./themes/a",
        "/srv/",
    ]


def test_i4_only_files_can_be_newer():
    lines = [
        ">f.st...... a b.html",
        ">f.s....... same time.html",
        "cd+++++++++ new/",
        ".d..t...... old/",
        "cL+++++++++ l -> t",
    ]
    older = [">f.s....... same time.html", "cd+++++++++ new/", "cL+++++++++ l -> t"]
    assert newer_of(lines, older) == ["a b.html"]


def test_as_much_is_read_as_was_restored_and_could_be_the_same_in_its_place(tmp_path):
    for name, body in {
        "src/d/same": "12345",
        "src/d/other": "123",
        "src/gone": "1234567",
        "dest/d/same": "abcde",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(body)
    (tmp_path / "dest/d/other").write_text("1234")
    placing = Placing(str(tmp_path / "src"), "", str(tmp_path / "dest"), [], False, False)
    assert amount(placing).bytes == 5 + 5 + 3 + 7
    assert amount(placing._replace(path="d")).bytes == 5 + 5 + 3
