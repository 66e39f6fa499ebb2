# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ownership records."""

from __future__ import annotations

import json

import pytest

from ansible_collections.adt.assets.plugins.module_utils._catalog import Owner, parse_owner, render_owner
from ansible_collections.adt.assets.plugins.module_utils._store import StoreError

OWNER = Owner("www.example.com", "media-videos", "https://s3.example.com", "2026-01-31T10:00:00Z")


def test_a_record_is_read_as_it_was_written():
    assert parse_owner(render_owner(OWNER), "owners/b.json") == OWNER
    assert json.loads(render_owner(OWNER))["format"] == 1


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"format": 1, "site": "x"}', b"\xff"])
def test_a_damaged_record_is_never_taken_for_no_owner(body):
    with pytest.raises(StoreError, match=r"owners/b\.json is damaged.*force_owner"):
        parse_owner(body, "owners/b.json")


def test_a_record_of_a_newer_version_is_left_to_that():
    with pytest.raises(StoreError, match="use a newer one"):
        parse_owner(b'{"format": 2, "owner": "someone"}', "owners/b.json")


def test_h5_owners_differ_by_site_and_by_directory_but_not_by_endpoint():
    assert OWNER.same("www.example.com", "media-videos")
    assert not OWNER.same("example.com", "media-videos")
    assert not OWNER.same("www.example.com", "media.videos")
    assert OWNER._replace(store="http://10.0.0.1:8333").same(*OWNER[:2])


def test_owners_read_well():
    assert str(OWNER) == "directory 'media-videos' of site 'www.example.com'"
    assert str(OWNER._replace(directory="@catalog")) == "the catalog of site 'www.example.com'"
