# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How plain archives of a webroot are named, kept, and found again."""

from __future__ import annotations

from ansible_collections.adt.assets.plugins.module_utils._archives import candidates
from ansible_collections.adt.assets.plugins.module_utils._store import Listed
from ansible_collections.adt.assets.plugins.module_utils._webroot_archive import (
    NAME,
    Webroot,
    dated,
    outlived_archives,
    tar_command,
    unfinished,
)

KEYS = [dated(f"2026-11-{day:02}T02:27:00Z") for day in range(1, 6)]


def test_an_archive_has_its_backups_time():
    assert dated("2026-01-31T23:17:05Z") == "applicationsourcecode.tar.gz.20260131T231705Z"


def test_the_oldest_go_and_what_others_have_left_stays():
    others = [NAME, f"{NAME}.BACKUP", f"{NAME}.20261101T022700Z.BACKUP", f"old/{KEYS[0]}"]
    assert outlived_archives([*others, *reversed(KEYS)], 3) == KEYS[:2]
    assert outlived_archives([*others, *KEYS], 5) == []
    assert outlived_archives(others, 1) == []


def test_only_uploads_of_older_backups_are_left_by_killed_runs():
    others = [NAME, f"{NAME}.BACKUP", f"{NAME}.20261101T022700Z.BACKUP", f"old/{KEYS[0]}"]
    assert unfinished([*others, *KEYS], "2026-11-03T02:27:00Z") == set(KEYS[:2])


def test_archives_are_found_by_when_they_were_stored():
    listed = [Listed(key, 1, "", f"2026-11-0{day}T02:28:00.000Z") for day, key in enumerate(KEYS, 1)]
    copy = Listed(NAME, 1, "", "2026-11-05T02:28:01.000Z")
    assert [each.key for each in candidates([*listed, copy], "")] == [NAME, *reversed(KEYS)]
    assert candidates([*listed, copy], "2026-11-04T00:00:00.000000Z")[0].key == KEYS[2]


def test_h16_h17_one_run_of_tar_leaves_out_what_the_plan_names_literally():
    command = tar_command(Webroot("/var/www/html", ["images", "img[1]"], 3, 12))
    assert [word for word in command if "exclude" in word] == ["--exclude=./images", r"--exclude=./img\[1\]"]
    assert command[-3:] == ["--directory=/var/www/html", "--file=-", "."]
