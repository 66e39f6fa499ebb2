# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One directory in several buckets (``merge=``) on a real S3 server: where files go, and that they stay there."""

from __future__ import annotations

import random
import threading
import time

import pytest

pytest.register_assert_rewrite("assets")
from assets import SITE, Assets, contents, counts, pack

from ansible_collections.adt.assets.plugins.module_utils import _sync
from ansible_collections.adt.assets.plugins.module_utils._catalog import Catalog
from ansible_collections.adt.assets.plugins.module_utils._spread import spread
from ansible_collections.adt.assets.plugins.module_utils._upload import MIB

pytest_plugins = ["assets"]
MONDAY, TUESDAY, WEDNESDAY = 1780300000, 1780400000, 1780500000


class Spread:
    """Three buckets of directory ``images``; ``sync`` and the like work on all of them."""

    def __init__(self, assets, client, new_name, bed):
        names = [assets.bucket, new_name("images2"), new_name("images3")]
        for name in names[1:]:
            client.create_bucket(Bucket=name)
            Catalog(assets.store, assets.catalog).write_owner(name, SITE, "images")
        assets.target["buckets"] = names
        self.names, self.catalog, self.all = names, assets.catalog, assets
        self.each = [Assets(assets.run_module, client, name, assets.catalog, bed) for name in names]
        self.sync, self.engine, self.mark_log = assets.sync, assets.engine, assets.mark_log

    def objects(self):
        """What lies in each bucket."""
        return [bucket.objects() for bucket in self.each]

    def union(self):
        """What a mount shows."""
        first, second, third = self.objects()
        return {**third, **second, **first}

    def at(self, number):
        """Names of files whose home is a bucket, as long as nobody moves them."""
        return [f"2026/p{n}.jpg" for n in range(12) if spread(f"2026/p{n}.jpg", 3) == number]

    def writes(self):
        """Requests since mark_log() that write into the buckets."""
        return self.all.requests("PUT", "POST", "DELETE", buckets=tuple(self.names))


@pytest.fixture
def several(assets, client, new_name, bed):
    return Spread(assets, client, new_name, bed)


def wrong_homes(found):
    return {key: at for at, objects in enumerate(found) for key in objects if spread(key, 3) != at}


def test_i3_every_file_goes_to_its_home_and_the_second_run_reads_nothing(several, site, client, new_name, tmp_path):
    (site / "images/film.mp4").write_bytes(random.Random(1).randbytes(17 * MIB))
    wanted = contents(site / "images")
    archive = new_name("backups")
    client.create_bucket(Bucket=archive)
    client.upload_file(str(pack(site)), archive, "b.tar.gz")
    source = f"s3://{archive}/b.tar.gz"
    predicted = several.sync(source, check=True)
    assert several.union() == {}
    made = several.sync(source)
    found = several.objects()
    assert several.union() == wanted and sum(map(len, found)) == len(wanted) and all(found)
    assert wrong_homes(found) == {}
    assert counts(made) == {"uploaded": len(wanted)} and not made["warnings"]
    assert (made["summary"], made["diff"]) == (predicted["summary"], predicted["diff"])
    assert [diff["after_header"] for diff in made["diff"]] == several.names

    several.mark_log()
    again = several.sync(source)
    assert not again["changed"] and again["summary"]["unchanged"] == made["summary"]["uploaded"]
    assert several.writes() == []
    assert [line.split(" ")[0] for line in several.all.requests("GET", "HEAD", buckets=(archive,))] == ["HEAD"]
    assert all("?" in line for line in several.all.requests("GET", buckets=tuple(several.names)))  # no object

    assert several.engine("asset_compare", src=str(site), archive_path="images", digest="read")["identical"]
    fetched = several.all.module("asset_fetch", dest=str(tmp_path / "dest"))
    assert fetched["summary"]["fetched"]["count"] == len(wanted) and not fetched["warnings"]
    assert contents(tmp_path / "dest") == wanted


def test_i4_what_users_did_stays_so_wherever_the_mount_has_put_it(several, site):
    several.sync(pack(site, mtime=MONDAY))
    deleted, replaced, moved, plain = several.at(0)[0], several.at(1)[0], several.at(2)[0], several.at(2)[1]
    body = (site / "images" / moved).read_bytes()
    several.each[0].delete(deleted)
    several.each[1].delete(replaced)
    several.each[2].edit(replaced, b"a user's")
    several.each[2].delete(moved)
    several.each[0].edit(moved, body)
    before = several.objects()
    for backup in (pack(site, mtime=MONDAY), site):
        several.mark_log()
        result = several.sync(backup)
        assert (counts(result)["kept"], counts(result)["kept_deleted"], result["warnings"]) == (1, 1, [])
        assert several.writes() == [] and several.objects() == before
    assert not several.sync(site)["changed"]

    for name in (deleted, replaced, moved, plain):
        (site / "images" / name).write_bytes(b"newer in the backup")
    newer = pack(site, "newer.tar.gz", int(time.time()) + 60)
    result = several.sync(newer)
    # Moved as it was, it is still what we wrote.
    before[0][moved] = before[2][plain] = b"newer in the backup"
    assert several.objects() == before
    assert counts(result)["updated"] == 2
    several.each[2].delete(replaced)
    several.each[0].delete(moved)
    newest = pack(site, "newest.tar.gz", int(time.time()) + 120)
    assert counts(several.sync(newest))["kept_deleted"] == 3
    assert not {deleted, replaced, moved} & set(several.union())
    options = {"archive_path": "images", "accept_kept": True, "accept_history": True}
    assert several.engine("asset_compare", src=str(newest), **options)["identical"]


def test_late_files_that_users_have_replaced_in_another_bucket_are_no_conflict(several, site):
    several.sync(pack(site, mtime=MONDAY))
    replaced, edited = several.at(1)[0], several.at(1)[1]
    several.each[1].delete(replaced)
    several.each[2].edit(replaced, b"a user's")
    (site / "images/late.jpg").write_bytes(b"late")
    (site / "images" / edited).write_bytes(b"changed on the webserver")
    options = {"archive_path": "", "on_conflict": "save", "host_label": "web1"}
    assert counts(several.sync(site / "images", **options)) == {"uploaded": 1, "unchanged": 16, "kept": 1, "saved": 1}
    saved = several.all.catalog_keys("conflicts/web1/")
    assert [key.split("/", 3)[3] for key in saved if several.names[1] in key] == [f"{several.names[1]}/{edited}"]
    assert several.each[spread("late.jpg", 3)].objects()["late.jpg"] == b"late"
    assert several.engine("asset_compare", src=str(site / "images"), accept_history=True)["identical"]
    assert not several.sync(site / "images", **options)["changed"]


def test_from_one_bucket_to_several_nothing_is_copied(several, site):
    one = several.names[:1]
    backup = pack(site, mtime=MONDAY)
    several.sync(backup, buckets=one)
    several.each[0].delete("2026/p1.jpg")
    before = several.each[0].objects()
    names = [f"new{number}.jpg" for number in range(9)]
    several.mark_log()
    assert counts(several.sync(backup)) == {"unchanged": 17, "kept_deleted": 1}
    assert several.writes() == []
    assert not several.sync(backup)["changed"]
    for name in names:
        (site / "images" / name).write_bytes(name.encode())
    several.mark_log()
    several.sync(pack(site, "newer.tar.gz", TUESDAY))
    assert len(several.writes()) == len(names)
    found = several.objects()
    assert all(found[0][key] == body for key, body in before.items())
    assert all(found[spread(name, 3)][name] == name.encode() for name in names)
    assert {*before, *names} == set(several.union())


def test_h1_a_bucket_that_was_taken_out_is_missed(several, site):
    backup = pack(site)
    several.sync(backup)
    result = several.sync(backup, buckets=several.names[:2])
    assert result["changed"]
    first, second, _third = several.objects()
    assert {**first, **second} == contents(site / "images")


def test_compare_and_fetch_see_a_difference_in_every_bucket(several, site, tmp_path):
    several.sync(pack(site))
    dest = tmp_path / "dest"
    several.engine("asset_fetch", dest=str(dest))
    for number in range(3):
        gone, edited = several.at(number)[:2]
        several.each[number].delete(gone)
        several.each[number].edit(edited, b"edited")
        result = several.engine("asset_compare", src=str(site), archive_path="images")
        assert gone in result["missing"] and edited in result["different"]
    assert len(result["missing"] + result["different"]) == 6
    fetched = several.engine("asset_fetch", dest=str(dest), aside=str(tmp_path / "aside"))
    assert (fetched["summary"]["replaced"]["count"], fetched["summary"]["aside"]["count"]) == (3, 3)
    assert contents(dest) == several.union()


def test_of_a_key_in_two_buckets_the_first_counts_and_both_stay(several, site, tmp_path):
    several.sync(pack(site, mtime=MONDAY))
    first, later = several.at(0)[0], several.at(2)[0]
    several.each[2].edit(first, b"a second one")
    several.each[1].edit(later, b"a user's, now in front")
    several.each[1].edit("2026/", b"")
    several.each[2].edit("2026/", b"")
    (site / "images" / first).write_bytes(b"newer")
    (site / "images" / later).write_bytes(b"newer")
    result = several.sync(pack(site, "newer.tar.gz", TUESDAY), prune=True)
    assert (counts(result)["updated"], counts(result)["kept"]) == (1, 1) and "pruned" not in counts(result)
    found = several.objects()
    assert (found[0][first], found[2][first]) == (b"newer", b"a second one")
    assert found[1][later] == b"a user's, now in front" and later in found[2]
    compared = several.engine("asset_compare", src=str(site), archive_path="images")
    assert compared["different"] == [later]
    fetched = several.engine("asset_fetch", dest=str(tmp_path / "dest"))
    assert (tmp_path / "dest" / first).read_bytes() == b"newer"
    for told in (result, compared, fetched):
        assert "2 key(s)" in told["warnings"][0]
        assert f"{first!r} in {several.names[0]} and {several.names[2]}" in told["warnings"][0]


def test_a_user_who_makes_the_same_new_file_in_another_bucket_meanwhile_is_noticed(several, site, monkeypatch):
    confirm, other = _sync._confirm, several.each[spread("nothing", 3) - 1]

    def late(scene, lane):
        other.edit("nothing", b"a user's")
        return confirm(scene, lane)

    monkeypatch.setattr(_sync, "_confirm", late)
    assert "'nothing' in" in several.sync(site)["warnings"][0]


def test_prune_and_restore_in_every_bucket(several, site):
    old = pack(site, "old.tar.gz", MONDAY)
    wanted = contents(site / "images")
    several.sync(old)
    gone = [several.at(number)[0] for number in range(3)]
    for name in gone:
        (site / "images" / name).unlink()
    result = several.sync(pack(site, "new.tar.gz", TUESDAY), prune=True)
    assert counts(result)["pruned"] == 3 and not set(gone) & set(several.union())
    edited = [several.at(number)[1] for number in range(3)]
    for number, name in enumerate(edited):
        several.each[number].edit(name, b"edited")
    several.sync(old, on_conflict="overwrite")
    assert several.union() == wanted and wrong_homes(several.objects()) == {}
    kept = {key.split("/", 2)[2] for key in several.all.catalog_keys("replaced/")}
    assert {f"{bucket}/{name}" for bucket, name in zip(several.names, edited)} <= kept


def test_t16_every_bucket_must_be_this_directorys_before_anything_is_written(several, site):
    catalog = Catalog(several.all.store, several.catalog)
    catalog.write_owner(several.names[2], SITE, "media", force=True)
    several.mark_log()
    message = several.all.failing_sync(pack(site))
    assert several.names[2] in message and "belongs to directory 'media'" in message
    for name in ("asset_compare", "asset_fetch"):
        options = {"src": str(site)} if name == "asset_compare" else {"dest": "/nowhere"}
        assert several.names[2] in several.engine(name, ok=False, **options)["msg"]
    assert several.writes() == []


def test_bad_lists_of_buckets(several, site):
    first = several.names[0]
    for buckets, word in (([], "must name"), ([first, ""], "must name"), ([first, first], f"{first} twice")):
        result = several.sync(site, ok=False, buckets=buckets)
        assert word in result["msg"]


def test_t1_a_run_that_ended_between_two_manifests_converges(several, site, monkeypatch):
    conclude, concluded = _sync._conclude, []

    def die(scene, lane, crew):
        if concluded:
            raise KeyboardInterrupt
        concluded.append(lane)
        return conclude(scene, lane, crew)

    monkeypatch.setattr(_sync, "_conclude", die)
    backup = pack(site, mtime=MONDAY)
    with pytest.raises(KeyboardInterrupt):
        several.sync(backup)
    monkeypatch.setattr(_sync, "_conclude", conclude)
    deleted = [several.at(number)[0] for number in range(3)]
    for bucket, name in zip(several.each, deleted):
        bucket.delete(name)
    several.mark_log()
    assert counts(several.sync(backup)) == {"unchanged": 15, "kept_deleted": 3}
    assert several.writes() == [] and not several.sync(backup)["changed"]
    assert not any(bucket.intents() for bucket in several.each)


def test_a_large_file_waits_for_no_other_bucket(several, site, monkeypatch):
    """A part may take all of the budget, while other buckets have small files held back."""
    monkeypatch.setattr(_sync, "BUDGET", 8 * MIB)
    for number in range(3):
        (site / "images" / f"film{number}.mp4").write_bytes(random.Random(number).randbytes(17 * MIB))
    thread = threading.Thread(target=several.sync, args=(site,), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert several.union() == contents(site / "images")
