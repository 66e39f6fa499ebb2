# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""asset_copy against a real S3 server: a directory into other buckets, and all that is known of it."""

from __future__ import annotations

import io
import json
import random
import time

import pytest

pytest.register_assert_rewrite("assets")
from assets import SITE, Assets, pack, store_at
from faulty import FaultyStore

from ansible_collections.adt.assets.plugins.module_utils import _upload
from ansible_collections.adt.assets.plugins.module_utils._catalog import Catalog
from ansible_collections.adt.assets.plugins.module_utils._manifest import ManifestFile
from ansible_collections.adt.assets.plugins.module_utils._spread import spread
from ansible_collections.adt.assets.plugins.module_utils._upload import MIB, Uploader

pytest_plugins = ["assets"]
MONDAY, TUESDAY = 1780300000, 1780400000
SAME = "2026/p3.jpg"
AWKWARD = ("q?&=<>#'\"", "plus+ %2F.jpg", "new\nline", "ctl\x01x", " lead", "trail ", "ü/é.jpg")


class Copy:
    """The old bucket of directory ``images``, and three others for it."""

    def __init__(self, assets, client, new_name, bed):
        self.old, self.client = assets, client
        self.names = [new_name(f"new{number}") for number in range(3)]
        for name in self.names:
            client.create_bucket(Bucket=name)
            Catalog(assets.store, assets.catalog).write_owner(name, SITE, "images")
        self.each = [Assets(assets.run_module, client, name, assets.catalog, bed) for name in self.names]
        self.new = self.each[0]

    def run(self, old=None, new=None, **options):
        """asset_copy, of the old bucket into the first new one if nothing else is said."""
        old, new = old or [self.old.bucket], new or self.names[:1]
        return self.old.engine("asset_copy", from_buckets=old, buckets=new, **options)

    def predicted(self, **options):
        """The result, after making sure that check mode says the same and writes nothing."""
        self.old.mark_log()
        predicted = self.run(check=True, **options)
        assert self.writes(self.old.catalog) == []
        made = self.run(**options)
        for name in ("changed", "complete", "summary", "diff", "warnings"):
            assert made[name] == predicted[name]
        return made

    def writes(self, *more):
        """Requests since mark_log() that write into a bucket."""
        buckets = (self.old.bucket, *self.names, *more)
        return [line for line in self.old.requests("PUT", "POST", "DELETE", buckets=buckets) if "?tagging" not in line]

    def changes_nothing(self, **options):
        """Whether another run finds nothing to do and asks for no write."""
        self.old.mark_log()
        result = self.run(**options)
        return not result["changed"] and self.writes(self.old.catalog) == []

    def manifest(self, bucket):
        """What the catalog says of a bucket."""
        return ManifestFile(Catalog(self.old.store, self.old.catalog), bucket).read()

    def kept(self, bucket):
        """What the catalog keeps of a bucket, by key."""
        found = self.old.catalog_keys("replaced/")
        return {
            key.split("/", 3)[3]: self.client.get_object(Bucket=self.old.catalog, Key=key)["Body"].read()
            for key in found
            if key.split("/")[2] == bucket
        }


@pytest.fixture
def copy(assets, client, new_name, bed):
    return Copy(assets, client, new_name, bed)


def counts(result):
    return {name: part["count"] for name, part in result["summary"].items() if part["count"]}


def test_i3_every_object_arrives_with_what_it_carries_and_the_second_run_writes_nothing(copy, site):
    copy.old.sync(site, symlinks="object")
    for key in AWKWARD:
        copy.client.put_object(
            Bucket=copy.old.bucket, Key=key, Body=key.encode(), ContentType="image/x", CacheControl="max-age=5",
            Metadata={"mode": "33184", "mtime": "1700000000"},
        )  # fmt: skip
    before = copy.old.objects()
    assert "2026/link" in before and "empty/too/" in before and "nothing" in before
    made = copy.predicted()
    assert counts(made) == {"copied": len(before)} and made["complete"] and not made["warnings"]
    assert made["summary"]["copied"]["bytes"] == sum(map(len, before.values()))
    assert made["diff"][0]["after_header"] == copy.names[0] and "(manifest)" in made["diff"][0]["after"]
    assert copy.new.objects() == copy.old.objects() == before
    for key in before:
        old, new = (copy.client.head_object(Bucket=name, Key=key) for name in (copy.old.bucket, copy.names[0]))
        for name in ("ContentType", "Metadata", "CacheControl"):
            assert old.get(name) == new.get(name)
    assert copy.client.head_object(Bucket=copy.names[0], Key="2026/link")["Metadata"]["mode"] == "41471"
    assert copy.changes_nothing()
    again = copy.old.module("asset_copy", from_buckets=[copy.old.bucket], buckets=copy.names[:1])
    assert not again["changed"] and again["summary"]["unchanged"] == made["summary"]["copied"]
    for key in AWKWARD:  # not all can be in a request that removes many
        copy.old.delete(key)


def test_i4_the_second_run_mirrors_what_users_did_and_the_next_sync_leaves_it_so(copy, site):
    backup = pack(site, mtime=MONDAY)
    copy.old.sync(backup)
    copy.old.edit("2026/p1.jpg", b"changed before")
    copy.old.delete("2026/p2.jpg")
    copy.run()
    copy.old.edit("new.jpg", b"a user's")
    copy.old.edit("2026/p4.jpg", b"changed since")
    copy.old.delete("2026/p5.jpg")
    copy.old.delete("2026/p6.jpg")
    copy.old.edit("2026/p6.jpg/now a directory.jpg", b"d")
    gone = {name: (site / "images/2026" / name).read_bytes() for name in ("p4.jpg", "p5.jpg", "p6.jpg")}
    result = copy.predicted()
    assert {name: count for name, count in counts(result).items() if name != "unchanged"} == {
        "copied": 2, "updated": 1, "removed": 2
    }  # fmt: skip
    assert copy.new.objects() == copy.old.objects()
    assert copy.kept(copy.names[0]) == {f"2026/{name}": body for name, body in gone.items()}
    assert copy.changes_nothing()

    assert copy.manifest(copy.names[0]) == copy.manifest(copy.old.bucket)._replace(synced=None)
    before = copy.new.objects()
    result = copy.new.sync(backup)
    assert counts(result) == {"unchanged": 13, "kept": 2, "kept_deleted": 3}
    assert copy.new.objects() == before
    (site / "images" / SAME).write_bytes(b"newer in the backup")
    (site / "images/2026/p1.jpg").write_bytes(b"newer in the backup")
    copy.new.sync(pack(site, "newer.tar.gz", TUESDAY))
    assert copy.new.objects() == {**before, SAME: b"newer in the backup"}


def test_from_one_to_several_and_back(copy, site):
    (site / "images/2026/two").mkdir()
    (site / "images/2026/two/words b.jpg").write_bytes(b"x")
    backup = pack(site, mtime=MONDAY)
    copy.old.sync(backup)
    copy.old.delete("2026/p2.jpg")
    copy.old.edit("2026/p1.jpg", b"a user's")
    wanted = copy.old.objects()
    misplaced = next(key for key in wanted if spread(key, 3) == 2 and not key.endswith("/"))
    copy.each[0].edit(misplaced, b"in the way")
    made = copy.predicted(new=copy.names)
    assert counts(made) == {"copied": len(wanted), "removed": 1}
    found = [bucket.objects() for bucket in copy.each]
    assert all(spread(key, 3) == at for at, objects in enumerate(found) for key in objects)
    assert {**found[2], **found[1], **found[0]} == wanted and sum(map(len, found)) == len(wanted)
    assert copy.kept(copy.names[0]) == {misplaced: b"in the way"}
    assert copy.changes_nothing(new=copy.names)

    result = copy.old.sync(backup, buckets=copy.names)
    assert not any(result["summary"][name]["count"] for name in ("uploaded", "updated"))
    assert (result["summary"]["kept"]["count"], result["summary"]["kept_deleted"]["count"]) == (1, 1)

    # Users go on, and a file moves from its home into the first bucket, as a mount does it.
    moved, deleted = sorted(found[1])[:2]
    copy.client.copy_object(Bucket=copy.names[0], Key=moved, CopySource=f"{copy.names[1]}/{moved}")
    copy.each[1].delete(moved)
    copy.each[1].delete(deleted)
    del wanted[deleted]
    back = {"old": copy.names, "new": [copy.old.bucket]}
    assert counts(copy.predicted(**back)) == {"unchanged": len(wanted), "removed": 1}
    assert copy.old.objects() == wanted and copy.changes_nothing(**back)
    result = copy.old.sync(backup)
    assert result["summary"]["kept_deleted"]["count"] == 2 and not result["summary"]["uploaded"]["count"]
    assert copy.old.objects() == wanted


def test_of_a_key_in_several_old_buckets_the_first_is_copied(copy):
    for bucket, body in zip(copy.each, (b"first", b"second")):
        bucket.edit("k", body)
    made = copy.predicted(old=copy.names[:2], new=[copy.old.bucket])
    assert copy.old.objects() == {"k": b"first"}
    assert f"'k' in {copy.names[0]} and {copy.names[1]}" in made["warnings"][0]


def test_t1_what_a_killed_sync_wrote_is_known_in_the_new_bucket_and_nothing_else(copy, site):
    """Whatever was known of the new bucket ends, also what a run that was killed there has intended."""
    backup = pack(site, mtime=MONDAY)
    copy.old.sync(backup)
    copy.new.sync(backup)
    copy.client.delete_object(Bucket=copy.old.catalog, Key=f"manifests/{copy.old.bucket}.jsonl.gz")
    intent = {"format": 1, "backup": "b", "time": "2026-06-01T07:46:40.000000+0000", "done": [1], "prunes": []}
    for bucket, key in ((copy.old, SAME), (copy.new, "only in the new one")):
        etag = copy.old.store.client.head_object(Bucket=copy.old.bucket, Key=SAME)["ETag"].strip('"')
        record = {**intent, "writes": [[key, 9001, etag, ""]]}
        name = f"intents/{bucket.bucket}/2099-01-01T00:00:00.000000+0000-00000000/000001.json"
        copy.client.put_object(Bucket=bucket.catalog, Key=name, Body=json.dumps(record).encode())
    copy.run()
    assert set(copy.manifest(copy.names[0]).entries) == {SAME}
    assert copy.new.intents() == [] and copy.changes_nothing()


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(_upload, "COPY_MAX", 16 * MIB)
    monkeypatch.setattr(_upload, "COPY_PART", 9 * MIB)


def test_a_large_object_is_copied_in_parts_and_stays_known_as_ours(copy, site, small_parts):
    film = random.Random(1).randbytes(20 * MIB + 1)
    (site / "images/film.mp4").write_bytes(film)
    backup = pack(site, mtime=MONDAY)
    copy.old.sync(backup)
    copy.old.mark_log()
    copy.run()
    assert len([line for line in copy.writes() if "film.mp4" in line and "partNumber" in line]) == 3
    old, new = (copy.client.head_object(Bucket=name, Key="film.mp4") for name in (copy.old.bucket, copy.names[0]))
    assert old["ETag"] != new["ETag"] and copy.new.objects()["film.mp4"] == film
    assert (new["ContentType"], new["Metadata"]) == ("video/mp4", old["Metadata"]) and new["Metadata"]["mode"]
    entry = copy.manifest(copy.names[0]).entries["film.mp4"]
    assert entry.etag == new["ETag"].strip('"') and entry.digest == old["ETag"].strip('"')
    assert copy.changes_nothing()
    back = {"old": copy.names[:1], "new": [copy.old.bucket]}
    assert "updated" not in counts(copy.run(**back)) and copy.changes_nothing(**back)
    assert copy.new.engine("asset_compare", src=str(site), archive_path="images")["identical"]
    assert not copy.new.sync(backup)["summary"]["uploaded"]["count"]

    # A user's, of the same size; no manifest tells what it is, only its time.
    time.sleep(1.1)
    other = random.Random(2).randbytes(len(film))
    copy.client.upload_fileobj(io.BytesIO(other), copy.old.bucket, "film.mp4")
    time.sleep(1.1)
    assert counts(copy.run())["updated"] == 1 and copy.changes_nothing()
    assert copy.new.objects()["film.mp4"] == other and copy.kept(copy.names[0]) == {"film.mp4": film}


def test_an_object_that_changes_while_it_is_copied_is_left_to_the_next_run(copy, monkeypatch, small_parts):
    copying, removing = Uploader._copying, Uploader.remove
    large = bytes(17 * MIB)
    for key in ("changed", "deleted", "stays"):
        copy.old.edit(key, b"1")
    copy.old.edit("large", large)
    copy.new.edit("surplus", b"2")

    def overtaken(uploader, call, listed, size, **arguments):
        if uploader.bucket == copy.old.bucket and (listed.key == "changed" or arguments.get("PartNumber") == 2):
            copy.old.edit(listed.key, b"a user's")
        if listed.key == "deleted":
            copy.old.delete("deleted")
        return copying(uploader, call, listed, size, **arguments)

    def too_late(uploader, key, etag):
        copy.new.edit(key, b"a user's")
        return removing(uploader, key, etag)

    monkeypatch.setattr(Uploader, "_copying", overtaken)
    monkeypatch.setattr(Uploader, "remove", too_late)
    result = copy.run()
    assert counts(result) == {"copied": 1, "raced": 4} and not result["complete"]
    assert "4 key(s) were changed by someone else" in result["warnings"][0]
    assert copy.new.objects() == {"stays": b"1", "surplus": b"a user's"}
    assert not copy.client.list_multipart_uploads(Bucket=copy.names[0]).get("Uploads")
    monkeypatch.undo()
    assert counts(copy.run()) == {"copied": 2, "unchanged": 1, "removed": 1}
    assert copy.new.objects() == copy.old.objects() == {"changed": b"a user's", "large": b"a user's", "stays": b"1"}


def test_what_only_the_metadata_tells_is_mirrored_too(copy):
    """s3fs's chmod and rclone's touch write an object with the same bytes, and so the same ETag."""
    copy.old.edit("k", b"1")
    copy.run()
    copy.client.put_object(Bucket=copy.old.bucket, Key="k", Body=b"1", Metadata={"mode": "33152"})
    assert counts(copy.predicted()) == {"updated": 1} and copy.changes_nothing()
    assert copy.client.head_object(Bucket=copy.names[0], Key="k")["Metadata"] == {"mode": "33152"}


def test_t3_t4_a_store_that_fails_now_and_then_is_no_failure(copy, s3_options, small_parts, hurried):
    faults = {(fault, method): 0.2 for fault in ("503", "lose", "reset-answer") for method in ("PUT", "POST")}
    for number in range(20):
        copy.old.edit(f"k{number}", bytes(number))
    copy.old.edit("d/", b"")
    copy.old.edit("large", bytes(20 * MIB))
    copy.new.edit("surplus", b"2")
    copy.run(check=True)
    proxy = FaultyStore(s3_options["endpoint_url"], faults)
    copy.old.store = store_at(proxy.url, s3_options)
    try:
        result = copy.run()
    finally:
        proxy.close()
    assert (
        counts(result)["copied"] == 22 and result["complete"] and set(proxy.injected) == {"503", "lose", "reset-answer"}
    )
    assert copy.new.objects() == copy.old.objects() and copy.kept(copy.names[0]) == {"surplus": b"2"}


def test_t4_a_copy_in_parts_whose_last_answer_is_lost_counts(copy, monkeypatch, small_parts):
    copy.old.edit("k", bytes(17 * MIB))
    complete = copy.client.complete_multipart_upload

    def lost(**arguments):
        complete(**arguments)
        raise ConnectionResetError

    monkeypatch.setattr(copy.client, "complete_multipart_upload", lost)
    assert counts(copy.run()) == {"copied": 1}
    assert copy.new.objects() == {"k": bytes(17 * MIB)}

    def refused(**arguments):
        raise copy.client.exceptions.NoSuchUpload({"Error": {"Code": "NoSuchUpload"}}, "CompleteMultipartUpload")

    copy.old.edit("k", b"1" * 17 * MIB)
    monkeypatch.setattr(copy.client, "complete_multipart_upload", refused)
    assert "the store answers NoSuchUpload" in copy.run(ok=False)["msg"]


def test_an_object_that_the_store_lost_under_its_name_is_an_error(copy, monkeypatch):
    copy.old.edit("k", b"1")
    monkeypatch.setattr(Uploader, "copy", lambda uploader, listed, to, to_key: listed.etag)
    assert "1 object(s) were written" in copy.run(ok=False)["msg"]
    assert not copy.new.has_manifest()


def test_t16_every_bucket_must_be_this_directorys_before_anything_is_written(copy):
    first, second, third = copy.names
    copy.old.edit("k", b"1")
    Catalog(copy.old.store, copy.old.catalog).write_owner(second, SITE, "media", force=True)
    copy.old.mark_log()
    old = [copy.old.bucket]
    for options, words in (
        ({"new": [first, second]}, "belongs to directory 'media'"),
        ({"old": [*old, second]}, "belongs to directory 'media'"),
        ({"new": [first, "nosuchbucket"]}, "nosuchbucket"),
        ({"old": ["nosuchbucket"]}, "nosuchbucket"),
        ({"old": ["nosuchbucket"], "check": True}, "nosuchbucket"),
        ({"new": [*old, first]}, "is in from_buckets and in buckets"),
        ({"old": [*old, *old]}, f"from_buckets names {old[0]} twice"),
        ({"new": [third, third]}, f"buckets names {third} twice"),
        ({"old": [""]}, "from_buckets must name"),
        ({"workers": 0}, "workers must be"),
    ):
        assert words in copy.run(ok=False, **options)["msg"]
    assert copy.writes(copy.old.catalog) == []


def test_check_mode_before_the_new_bucket_exists(copy, new_name):
    copy.old.edit("k", b"1")
    result = copy.run(new=[new_name("later"), copy.names[0]], check=True)
    assert result["changed"] and counts(result) == {"copied": 1} and result["complete"]
