# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""asset_compare against a real S3 server."""

from __future__ import annotations

import random

import pytest

pytest.register_assert_rewrite("assets")
from assets import counts, pack

pytest_plugins = ["assets"]


def compare(assets, src, **options):
    return assets.engine("asset_compare", src=str(src), **{"archive_path": "images", **options})


@pytest.mark.parametrize("digest", ["manifest", "read"])
def test_equal_sides_are_identical(assets, site, digest):
    (site / "images" / "film.mp4").write_bytes(random.Random(1).randbytes(17 * 2**20))
    backup = pack(site)
    assets.sync(backup)
    for src in (site, backup):
        result = compare(assets, src, digest=digest)
        assert result["identical"] and not result["changed"]
        assert result["counts"] == {
            "source": 19, "bucket": 19, "same": 19, "missing": 0, "different": 0, "extra": 0, "history": 0,
        }  # fmt: skip


def test_through_the_module(assets, site):
    assets.sync(pack(site))
    assets.delete("nothing")
    options = {"src": str(site), "archive_path": "images"}
    result = assets.module("asset_compare", check=True, **options)
    assert (result["identical"], result["missing"], result["changed"]) == (False, ["nothing"], False)
    assert result["sample"] == "2026/05/ü b+%2F.jpg"
    message = assets.module("asset_compare", ok=False, src="/nowhere")["msg"]
    assert "No such file" in message


@pytest.mark.parametrize("digest", ["manifest", "read"])
def test_what_is_missing_different_and_extra(assets, site, digest):
    assets.sync(pack(site))
    assets.delete("2026/p1.jpg")
    assets.edit("2026/p2.jpg", b"x" * (site / "images/2026/p2.jpg").stat().st_size)
    assets.edit("2026/p3.jpg", b"shorter")
    assets.edit("upload.jpg", b"x")
    assets.edit("2026/", b"")
    result = compare(assets, site, digest=digest)
    assert not result["identical"]
    assert result["missing"] == ["2026/p1.jpg"]
    assert result["different"] == ["2026/p2.jpg", "2026/p3.jpg"]
    assert result["extra"] == ["upload.jpg"]


def test_t18_a_flipped_bit_is_found(assets, site):
    assets.sync(pack(site))
    path = site / "images/2026/p6.jpg"
    body = bytearray(path.read_bytes())
    body[7] ^= 1
    path.write_bytes(body)
    for digest in ("manifest", "read"):
        assert compare(assets, site, digest=digest)["different"] == ["2026/p6.jpg"]


def test_i1_history_accounts_for_what_users_changed_but_for_nothing_else(assets, site):
    images = site / "images"
    assets.sync(pack(site))
    assets.delete("2026/p1.jpg")
    assets.edit("2026/p2.jpg", b"edited")
    assets.edit("upload.jpg", b"x")
    assert compare(assets, site, accept_history=True)["identical"]
    assert not compare(assets, site)["identical"]
    (images / "2026/p3.jpg").write_bytes(b"changed on the webserver")
    (images / "late.jpg").write_bytes(b"late")
    result = compare(assets, site, accept_history=True)
    assert (result["identical"], result["missing"], result["different"]) == (False, ["late.jpg"], ["2026/p3.jpg"])
    assets.sync(images, archive_path="", on_conflict="save", host_label="web1")
    result = compare(assets, site, accept_history=True)
    assert result["identical"] and result["counts"]["history"] == 3


def test_h2_a_backup_that_lost_against_newer_objects_counts_as_copied(assets, site):
    assets.sync(pack(site))
    assets.edit("upload.jpg", b"a user's")
    for name in ("2026/p1.jpg", "upload.jpg"):
        (site / "images" / name).write_bytes(b"as it was long ago")
    older = pack(site, "older.tar.gz")
    assert counts(assets.sync(older, backup_time="2020-01-01T00:00:00Z"))["kept"] == 2
    assert compare(assets, older)["different"] == ["2026/p1.jpg", "upload.jpg"]
    assert compare(assets, older, accept_kept=True)["identical"]
    assets.delete("2026/p2.jpg")
    assert compare(assets, older, accept_kept=True)["missing"] == ["2026/p2.jpg"]
    (site / "images/2026/p3.jpg").write_bytes(b"another backup")
    other = compare(assets, pack(site, "other.tar.gz"), accept_kept=True)
    assert other["different"] == ["2026/p1.jpg", "2026/p3.jpg", "upload.jpg"]


def test_h1_a_missing_directory_is_an_error(assets, site):
    result = assets.engine("asset_compare", ok=False, src=str(site), archive_path="media")
    assert "has no directory 'media'" in result["msg"]


def test_t16_another_directorys_bucket_is_refused(assets, site):
    result = assets.engine("asset_compare", ok=False, src=str(site), directory="media")
    assert "belongs to directory 'images'" in result["msg"]
