# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""asset_sync on a bad day: a store that fails, loses answers, damages bodies, or honours no conditions (T3, T4)."""

from __future__ import annotations

import os
import random
import time

import pytest

pytest.register_assert_rewrite("assets")
from assets import contents, counts, pack

from ansible_collections.adt.assets.plugins.module_utils._catalog import Catalog

pytest_plugins = ["assets"]


@pytest.fixture
def archive_of(client, new_name):
    """Puts a site's backup into a bucket; returns its src."""

    def put(site):
        bucket = new_name("backups")
        client.create_bucket(Bucket=bucket)
        client.upload_file(str(pack(site)), bucket, "b.tar.gz")
        return f"s3://{bucket}/b.tar.gz"

    return put


FAULTS = {
    "T3 10 % refused": {("503", "*"): 0.04, ("500", "*"): 0.03, ("429", "*"): 0.03},
    "T3 50 % refused": {("503", "*"): 0.2, ("500", "*"): 0.15, ("429", "*"): 0.15},
    "T4 done, answer lost": {("lose", "PUT"): 0.3, ("lose", "POST"): 0.3},
    "T4 done, connection cut": {("reset-answer", "PUT"): 0.2},
    "T4 done, answer lost, and then another ETag told": {("lose", "PUT"): 0.3, ("etag", "HEAD"): 0.3},
    "T4 answers cut": {("cut", "GET"): 0.2},
    "T4 bodies damaged": {("corrupt", "PUT"): 0.1},
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_a_store_that_fails_now_and_then_is_no_failure(assets, site, archive_of, through, *, hurried, faults):
    """The archive lies in the store too, and there is a large member, so that every kind of request is hit."""
    for number in range(20):
        (site / "images" / f"{number}").write_bytes(os.urandom(500))
    (site / "images" / "film.mp4").write_bytes(random.Random(1).randbytes(17 * 2**20))
    archive = archive_of(site)
    # Only the archive's answers are cut, and only of the assets' ETags is lied: else the run ends, which is safe, too.
    only = {("cut", "GET"): "b.tar.gz", ("etag", "HEAD"): f"/{assets.bucket}/"}
    proxy = through(faults, only="".join(uri for fault, uri in only.items() if fault in faults))
    result = assets.sync(archive)
    wanted = contents(site / "images")
    assert assets.objects() == wanted
    assert counts(result) == {"uploaded": len(wanted)}
    assert sum(proxy.injected.values()) > 0
    assert result["summary"]["retried"]["count"] > 0
    assert assets.intents() == []


def test_t3_a_store_that_refuses_all_writes_is_a_clear_failure(assets, site, through, hurried):
    through({("503", "PUT"): 1.0}, only=f"/{assets.bucket}/")
    started = time.monotonic()
    message = assets.failing_sync(pack(site))
    assert "failing" in message and "run again" in message and assets.bucket in message
    assert time.monotonic() - started < 30
    assert assets.objects() == {} and not assets.has_manifest()


def test_a_store_without_conditional_writes_is_told_and_works(plain_store, site):
    (site / "images/empty/too/keep").write_bytes(b"this server has no directory markers")
    backup = pack(site)
    result = plain_store.sync(backup)
    assert result["conditional_writes"] is False
    assert "doesn't honour conditional writes" in result["warnings"][0]
    assert plain_store.objects() == contents(site / "images")
    plain_store.edit("2026/p1.jpg", b"edited")
    assert counts(plain_store.sync(site))["kept"] == 1
    assert not plain_store.sync(site)["changed"]


def test_t4_an_answer_of_the_catalog_that_breaks_off_is_asked_for_again(assets, through, hurried, client):
    client.put_object(Bucket=assets.catalog, Key="manifests/x", Body=b"whole" * 1000)
    proxy = through({("cut", "GET"): 0.6}, only="manifests/x")
    for _time in range(4):
        assert Catalog(assets.store, assets.catalog).get("manifests/x")[0] == b"whole" * 1000
    assert proxy.injected["cut"]
