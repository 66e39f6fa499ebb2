# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several build machines that each copy a share of one backup."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from urllib.parse import unquote

import pytest

pytest.register_assert_rewrite("assets")
from assets import contents, counts, many, pack, spawn

from ansible_collections.adt.assets.plugins.module_utils._catalog import Catalog
from ansible_collections.adt.assets.plugins.module_utils._manifest import ManifestFile, manifest_key
from ansible_collections.adt.assets.plugins.module_utils._store import StoreError

pytest_plugins = ["assets"]
MONDAY, TUESDAY = 1780300000, 1780400000
SHARDS = ("1/3", "2/3", "3/3")


def results(processes):
    """What modules that run at the same time return."""
    found = []
    for process in processes:
        output = process.communicate()[0]
        assert process.returncode == 0, output
        found.append(json.loads(output))
    return found


def total(found):
    """The counts of several runs, added up."""
    return dict(sum((Counter(counts(result)) for result in found), Counter()))


def manifest(assets):
    """What the manifest says now."""
    return ManifestFile(Catalog(assets.store, assets.catalog), assets.bucket).read()


def test_three_at_once_copy_each_key_once_and_all_of_them_know_it(assets, site, s3_options, tmp_path):
    many(site, 300, 1, 500)
    backup = pack(site, mtime=MONDAY)
    wanted = contents(site / "images")
    predicted = [assets.sync(backup, check=True, shard=shard) for shard in SHARDS]
    assert assets.objects() == {}

    assets.mark_log()
    made = results([spawn(assets, s3_options, tmp_path, backup, shard=shard) for shard in SHARDS])
    put = Counter(line.split(" ")[1].partition("?")[0] for line in assets.requests("PUT", buckets=(assets.bucket,)))
    assert set(put.values()) == {1} and len(put) == len(wanted)
    assert assets.objects() == wanted and assets.intents() == []
    assert list(map(counts, made)) == list(map(counts, predicted))
    assert all(count["uploaded"] > 70 for count in map(counts, made))
    keys = [unquote(key).split("/", 2)[2] for key in put]
    assert sorted(keys) == sorted(manifest(assets).entries) == sorted(wanted)

    # No share, and no run of the whole, has anything to do or to read.
    assets.mark_log()
    again = [assets.sync(backup, shard=shard) for shard in (*SHARDS, None, "1/2")]
    assert not any(result["changed"] for result in again)
    assert all(result["engine"].startswith("none") for result in again)
    assert total(again[:3]) == counts(again[3]) == {"unchanged": len(wanted)}
    assert assets.requests("PUT", "POST", "DELETE") == []


def test_shares_after_the_whole_and_the_whole_after_some_shares(assets, site):
    assets.sync(pack(site, "monday.tar.gz", MONDAY))
    many(site, 60, 1, 500)
    (site / "images/2026/p1.jpg").write_bytes(b"tuesday")
    tuesday = pack(site, "tuesday.tar.gz", TUESDAY)
    first = assets.sync(tuesday, shard="1/3")
    known = manifest(assets)
    assert known.synced is None and known.shares.done == (1,)
    assert not assets.sync(tuesday, shard="1/3")["changed"]
    second = assets.sync(tuesday, shard="2/3")
    rest = assets.sync(tuesday)
    assert assets.objects() == contents(site / "images")
    assert sum(counts(result).get("uploaded", 0) for result in (first, second, rest)) == 60
    assert sum(counts(result).get("updated", 0) for result in (first, second, rest)) == 1
    assert assets.sync(tuesday, shard="3/3")["engine"].startswith("none")
    assert all(entry.seen == 1 for entry in manifest(assets).entries.values())


def test_a_share_never_counts_as_the_whole(assets, site):
    many(site, 60, 1, 500)
    backup = pack(site, mtime=MONDAY)
    for shard in ("1/3", "2/3", "1/2"):
        assert assets.sync(backup, shard=shard)["changed"]
    assert manifest(assets).synced is None
    assert set(assets.objects()) < set(contents(site / "images"))
    assets.sync(backup)
    assert assets.objects() == contents(site / "images")


def test_prune_in_shares_removes_only_what_is_gone(assets, site):
    many(site, 90, 1, 500)
    assets.sync(pack(site, "monday.tar.gz", MONDAY))
    assets.edit("many/7.jpg", b"a user's")
    for number in range(30):
        (site / "images" / "many" / f"{number}.jpg").unlink()
    tuesday = pack(site, "tuesday.tar.gz", TUESDAY)
    predicted = [assets.sync(tuesday, check=True, prune=True, shard=shard) for shard in SHARDS]
    made = [assets.sync(tuesday, prune=True, shard=shard) for shard in SHARDS]
    assert [r["summary"] for r in made] == [r["summary"] for r in predicted]
    assert [r["diff"] for r in made] == [r["diff"] for r in predicted]
    assert total(made)["pruned"] == 29
    assert assets.objects() == {**contents(site / "images"), "many/7.jpg": b"a user's"}
    assert not assets.sync(tuesday, prune=True)["changed"]


def test_h7_users_changes_stay_in_every_share(assets, site):
    many(site, 60, 1, 500)
    backup = pack(site, mtime=MONDAY)
    for shard in SHARDS:
        assets.sync(backup, shard=shard)
    for number in range(0, 20, 2):
        assets.edit(f"many/{number}.jpg", b"edited")
        assets.delete(f"many/{number + 1}.jpg")
    before = assets.objects()
    many(site, 60, 2, 500)
    newer = pack(site, "newer.tar.gz", TUESDAY)
    made = total([assets.sync(newer, shard=shard) for shard in SHARDS])
    assert (made["kept"], made["kept_deleted"], made["updated"]) == (10, 10, 40)
    kept = {f"many/{number}.jpg" for number in range(20)}
    assert {k: v for k, v in assets.objects().items() if k in kept} == {k: v for k, v in before.items() if k in kept}
    assert total([assets.sync(newer, shard=shard) for shard in SHARDS])["kept_deleted"] == 10
    # An older one in shares takes nothing back.
    now = assets.objects()
    for shard in SHARDS:
        assets.sync(backup, shard=shard, prune=True)
    assert assets.objects() == now


def test_t1_killed_shares_converge(assets, site, s3_options, tmp_path):
    rng = random.Random(4)
    for kill in range(30 if os.environ.get("ADT_SOAK") else 1):
        many(site, 400, kill, 500)
        backup = pack(site, f"b{kill}.tar.gz", MONDAY + kill)
        known = set(assets.intents())
        processes = [spawn(assets, s3_options, tmp_path, backup, workers=3, shard=shard) for shard in SHARDS]
        while set(assets.intents()) <= known and any(process.poll() is None for process in processes):
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.4))
        for process in rng.sample(processes, rng.choice((1, 2, 3))):
            process.kill()
        for process in processes:
            process.communicate()
    many(site, 400, 99, 500)
    last = pack(site, "last.tar.gz", TUESDAY)
    made = results([spawn(assets, s3_options, tmp_path, last, shard=shard) for shard in SHARDS])
    assert "kept" not in total(made)
    assert assets.objects() == contents(site / "images")
    assert assets.intents() == []
    assert not assets.sync(last)["changed"]


def test_t9_a_manifest_that_was_overwritten_is_recalled_where_writes_have_no_conditions(unconditional, site, client):
    assets = unconditional
    many(site, 60, 1, 500)
    backup = pack(site, mtime=MONDAY)
    assets.sync(backup, shard="1/2")
    before = client.get_object(Bucket=assets.catalog, Key=manifest_key(assets.bucket))["Body"].read()
    assets.sync(backup, shard="2/2")
    # The first share's process had read the manifest before the second one wrote it, and writes now.
    client.put_object(Bucket=assets.catalog, Key=manifest_key(assets.bucket), Body=before)
    many(site, 60, 2, 500)
    newer = pack(site, "newer.tar.gz", TUESDAY)
    for shard in ("1/2", "2/2"):
        assert "kept" not in counts(assets.sync(newer, shard=shard))
    assert assets.objects() == contents(site / "images")


def test_t9_a_share_leaves_to_another_one_what_that_has_written_until_now(assets, site, monkeypatch):
    many(site, 60, 1, 500)
    backup = pack(site, mtime=MONDAY)

    def killed(*_arguments):
        raise StoreError("killed before its manifest was written")

    with monkeypatch.context() as patch:
        patch.setattr(ManifestFile, "write", killed)
        assets.failing_sync(backup, shard="2/2")
    there = set(assets.objects())
    assets.sync(backup, shard="1/2")
    assert there and not there & set(manifest(assets).entries) and assets.intents()
    assert counts(assets.sync(backup, shard="2/2"))["unchanged"] == len(there)
    assert all(entry.seen == 1 for entry in manifest(assets).entries.values()) and not assets.intents()


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "1/65", "one/two", "1/3/5", "-1/3"])
def test_what_is_no_share(assets, site, shard):
    assert f"{shard!r}" in assets.failing_sync(pack(site), shard=shard)
