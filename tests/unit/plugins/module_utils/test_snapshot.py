# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What restic's listing says against what its dump gives."""

from __future__ import annotations

import pytest

from ansible_collections.adt.assets.plugins.module_utils._backup import SourceError
from ansible_collections.adt.assets.plugins.module_utils._snapshot import (
    Node,
    Place,
    as_listed,
    node_of,
    parse_place,
)
from ansible_collections.adt.assets.plugins.module_utils._tar import DIRECTORY, FILE, SYMLINK, Raw

ID = "0123456789abcdef" * 4


def raw(kind=FILE, size=3, link=b""):
    return Raw(b"var/www/html/images/a", kind, size, 0o644, 33, 33, 1700000001, link)


@pytest.mark.parametrize("webroot", ["/var/www/html", "/srv/a b/new\nline", "/w"])
def test_a_place_is_bucket_snapshot_and_webroot(webroot):
    assert parse_place(f"restic://www-backups/{ID}{webroot}") == Place("www-backups", ID, webroot)


@pytest.mark.parametrize(
    "src", ["restic://", f"restic://b/{ID[:8]}/w", f"restic://b/{ID}", f"restic://b/{ID}/", "restic://b/latest/w"]
)
def test_what_names_no_snapshot(src):
    with pytest.raises(SourceError, match="write restic://bucket/id/path"):
        parse_place(src)


def test_nodes_have_whole_seconds_in_utc():
    record = {"type": "file", "size": 3, "mtime": "2023-11-14T23:13:20.7+01:00"}
    assert node_of(record) == Node(FILE, 3, 1700000000)
    assert node_of({"type": "dir", "mtime": "1969-12-31T22:36:40Z"}) == Node(DIRECTORY, 0, -5000)
    assert node_of({"type": "file", "mtime": "2023-11-14T22:13:20.123456789Z"}).size == 0


def test_an_entry_has_the_time_that_was_saved_and_not_the_rounded_one():
    assert as_listed(raw(), Node(FILE, 3, 1700000000)) == raw()._replace(mtime=1700000000)


@pytest.mark.parametrize("kind", ["fifo", "socket", "character device", "block device"])
def test_t13_what_dump_makes_a_file_of_is_what_it_was(kind):
    assert as_listed(raw(size=0), Node(kind, 0, 0)).kind == kind


@pytest.mark.parametrize(
    ("entry", "node", "problem"),
    [
        (raw(), None, "restic doesn't list"),
        (raw(), Node(FILE, 4, 0), "a file of 4 bytes, and gives a file of 3"),
        (raw(), Node(DIRECTORY, 0, 0), "lists a directory"),
        (raw(), Node("fifo", 0, 0), "lists a fifo"),
        (raw(SYMLINK, 0, "t\N{REPLACEMENT CHARACTER}".encode()), Node(SYMLINK, 0, 0), "may have damaged"),
    ],
)
def test_i5_what_differs_from_the_listing_is_an_error(entry, node, problem):
    with pytest.raises(SourceError, match=problem):
        as_listed(entry, node)
