# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""asset_sync against a real S3 server: what is copied, who wins, and what must never happen."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import tarfile
import threading
import time
from pathlib import Path

import pytest

pytest.register_assert_rewrite("assets")
from assets import SITE, contents, counts, many, pack, spawn
from conftest import module_path

from ansible_collections.adt.assets.plugins.module_utils import _progress
from ansible_collections.adt.assets.plugins.module_utils._backup import Backup, format_time
from ansible_collections.adt.assets.plugins.module_utils._catalog import Catalog
from ansible_collections.adt.assets.plugins.module_utils._headers import Headers
from ansible_collections.adt.assets.plugins.module_utils._journal import Journal, Write, read_logs
from ansible_collections.adt.assets.plugins.module_utils._store import Listed, Store, StoreError
from ansible_collections.adt.assets.plugins.module_utils._upload import Raced, Uploader, md5

pytest_plugins = ["assets"]
MONDAY, TUESDAY, WEDNESDAY = 1780300000, 1780400000, 1780500000


@pytest.fixture
def source(request, assets, site, client, new_name):
    """The site's backup in the form that the test is about."""
    kind = request.param
    if kind == "directory":
        return site
    packed = pack(site, f"backup.{kind.rpartition(' ')[2]}")
    if not kind.startswith("s3"):
        return packed
    bucket = new_name("backups")
    client.create_bucket(Bucket=bucket)
    client.upload_file(str(packed), bucket, "hourly/backup.tar.gz")
    return f"s3://{bucket}/hourly/backup.tar.gz"


@pytest.mark.parametrize("source", ["tar.gz", "tar", "tar.zst", "s3 tar.gz", "directory"], indirect=True)
def test_i3_every_kind_of_source_arrives_and_the_second_run_writes_nothing(source, assets, site):
    wanted = contents(site / "images")
    predicted = assets.sync(source, check=True)
    assert assets.objects() == {}
    assert not assets.has_manifest() and not assets.intents()

    made = assets.module("asset_sync", src=str(source), archive_path="images")
    assert assets.objects() == wanted
    assert made["changed"] and counts(made) == {"uploaded": len(wanted)}
    assert (made["summary"], made["diff"]) == (predicted["summary"], predicted["diff"])
    assert made["engine"].startswith("obstore") and made["conditional_writes"] is True
    assert made["sample"] in wanted and not made["warnings"]
    assert assets.intents() == []

    assets.mark_log()
    again = assets.sync(source)
    assert not again["changed"] and counts(again) == {"unchanged": len(wanted)}
    assert assets.requests("PUT", "POST", "DELETE") == []
    if str(source).startswith("s3://"):
        archive = source[len("s3://") :]
        assert [line.split(" ")[0] for line in assets.requests("GET", "HEAD", buckets=(archive,))] == ["HEAD"]


def test_what_an_object_carries(assets, site, client):
    assets.sync(pack(site))
    head = client.head_object(Bucket=assets.bucket, Key="2026/p1.jpg")
    stat = (site / "images/2026/p1.jpg").stat()
    assert head["ContentType"] == "image/jpeg"
    assert head["Metadata"] == {
        "mode": str(0o100640), "uid": str(stat.st_uid), "gid": str(stat.st_gid), "mtime": "1700000000",
    }  # fmt: skip
    assert client.head_object(Bucket=assets.bucket, Key="empty/too/")["ContentType"] == "application/x-directory"


def test_symlinks_as_objects_for_s3fs(assets, site, client):
    assets.sync(pack(site), symlinks="object")
    assert client.head_object(Bucket=assets.bucket, Key="2026/link")["Metadata"]["mode"] == "41471"
    assert "2026/link.rclonelink" not in assets.objects()


@pytest.mark.parametrize("source", ["tar.gz", "s3 tar.gz", "directory"], indirect=True)
def test_h1_a_backup_without_the_directory_fails_and_writes_nothing(source, assets):
    message = assets.failing_sync(source, archive_path="media/videos")
    assert "has no directory 'media" in message and str(source) in message
    assert assets.objects() == {}
    assert not assets.has_manifest() and not assets.intents()


def test_h1_a_file_of_that_name_is_no_directory(assets, site):
    assert "should be the asset directory" in assets.failing_sync(pack(site), archive_path="index.php")


def test_h2_an_older_backup_deletes_and_overwrites_nothing(assets, site):
    old = pack(site, "old.tar.gz", MONDAY)
    (site / "images/2026/p1.jpg").write_bytes(b"tuesday")
    (site / "images/added.jpg").write_bytes(b"tuesday")
    assets.sync(pack(site, "new.tar.gz", TUESDAY))
    assets.edit("upload.jpg", b"since then")
    before = assets.objects()
    result = assets.sync(old, prune=True)
    assert assets.objects() == before
    assert counts(result)["kept"] == 1
    assert "updated" not in counts(result) and "pruned" not in counts(result)


def test_h7_users_edits_stay_and_what_they_deleted_stays_deleted(assets, site):
    backup = pack(site, mtime=MONDAY)
    assets.sync(backup)
    assets.edit("2026/p1.jpg", b"edited")
    assets.edit("upload.jpg", b"uploaded")
    assets.delete("2026/p2.jpg")
    before = assets.objects()
    (site / "images/2026/p1.jpg").write_bytes(b"newer in the backup")
    for again in (backup, pack(site, "later.tar.gz", TUESDAY), site):
        predicted = assets.sync(again, check=True)
        result = assets.sync(again)
        assert assets.objects() == before
        assert (counts(result)["kept"], counts(result)["kept_deleted"]) == (1, 1)
        assert result["summary"] == predicted["summary"]
    assets.mark_log()
    assert not assets.sync(site)["changed"]
    assert assets.requests("PUT", "POST", "DELETE") == []


def test_a_newer_backup_updates_what_nobody_changed(assets, site):
    assets.sync(pack(site, "old.tar.gz", MONDAY))
    (site / "images/2026/p1.jpg").write_bytes(b"tuesday")
    (site / "images/2026/p2.jpg").unlink()
    (site / "images/added.jpg").write_bytes(b"tuesday")
    new = pack(site, "new.tar.gz", TUESDAY)
    predicted = assets.sync(new, check=True)
    result = assets.sync(new)
    assert counts(result) == {"uploaded": 1, "updated": 1, "unchanged": 16}
    assert (result["summary"], result["diff"]) == (predicted["summary"], predicted["diff"])
    assert "2026/p2.jpg" in assets.objects()
    assert assets.objects()["2026/p1.jpg"] == b"tuesday"


def test_prune_removes_only_what_is_ours_and_unchanged(assets, site):
    assets.sync(pack(site, "old.tar.gz", MONDAY))
    assets.edit("upload.jpg", b"a user's")
    assets.edit("2026/p3.jpg", b"a user's")
    for name in ("p2.jpg", "p3.jpg"):
        (site / "images/2026" / name).unlink()
    new = pack(site, "new.tar.gz", TUESDAY)
    predicted = assets.sync(new, check=True, prune=True)
    assert "2026/p2.jpg" in assets.objects()
    result = assets.sync(new, prune=True)
    assert counts(result)["pruned"] == counts(predicted)["pruned"] == 1
    found = assets.objects()
    assert "2026/p2.jpg" not in found and found["2026/p3.jpg"] == found["upload.jpg"] == b"a user's"
    assert not assets.sync(new, prune=True)["changed"]
    # Pruned is not deleted by a user: a newer backup brings it back, an older one doesn't.
    assert "2026/p2.jpg" not in assets.sync(site.parent / "old.tar.gz")["diff"][0]["after"]
    (site / "images/2026/p2.jpg").write_bytes(b"back")
    assets.sync(pack(site, "newest.tar.gz", WEDNESDAY))
    assert assets.objects()["2026/p2.jpg"] == b"back"


def test_i4_what_a_user_made_anew_after_it_was_pruned_and_then_deleted_stays_deleted(assets, site):
    assets.sync(pack(site, "old.tar.gz", MONDAY))
    (site / "images/2026/p2.jpg").unlink()
    assets.sync(pack(site, "new.tar.gz", TUESDAY), prune=True)
    assets.edit("2026/p2.jpg", b"a user's")
    (site / "images/2026/p2.jpg").write_bytes(b"in the backup again")
    assert counts(assets.sync(pack(site, "newer.tar.gz", WEDNESDAY)))["kept"] == 1
    assets.delete("2026/p2.jpg")
    assert counts(assets.sync(pack(site, "newest.tar.gz", WEDNESDAY + 1)))["kept_deleted"] == 1
    assert "2026/p2.jpg" not in assets.objects()


def test_a_deliberate_restore_keeps_copies_of_what_it_replaces(assets, site):
    old = pack(site, "old.tar.gz", MONDAY)
    wanted = contents(site / "images")
    assets.sync(old)
    (site / "images/2026/p1.jpg").write_bytes(b"tuesday")
    new = pack(site, "new.tar.gz", TUESDAY)
    assets.sync(new)
    assets.edit("2026/p2.jpg", b"edited")
    assets.delete("2026/p3.jpg")
    assets.edit("upload.jpg", b"stays")
    predicted = assets.sync(old, check=True, on_conflict="overwrite")
    result = assets.sync(old, on_conflict="overwrite")
    assert result["summary"] == predicted["summary"]
    assert assets.objects() == {**wanted, "upload.jpg": b"stays"}
    saved = assets.objects(assets.catalog)
    copies = {key.split("/", 3)[3]: saved[key] for key in saved if key.startswith("replaced/") and assets.bucket in key}
    assert copies == {"2026/p1.jpg": b"tuesday", "2026/p2.jpg": b"edited"}
    assert not assets.sync(old, on_conflict="overwrite")["changed"]
    # The restore is the newest word: deploying the backup that was undone changes nothing.
    assets.sync(new)
    assert assets.objects() == {**wanted, "upload.jpg": b"stays"}


def test_i4_a_careful_restore_brings_back_what_was_deleted_and_names_what_is_newer(assets, site):
    old = pack(site, "old.tar.gz", MONDAY)
    wanted = contents(site / "images")
    assets.sync(old)
    (site / "images/2026/p1.jpg").write_bytes(b"tuesday")
    assets.sync(pack(site, "new.tar.gz", TUESDAY))
    assets.edit("2026/p2.jpg", b"edited")
    assets.delete("2026/p3.jpg")
    assets.edit("upload.jpg", b"stays")
    predicted = assets.sync(old, check=True, on_conflict="restore")
    assert predicted["kept"] == ["2026/p1.jpg", "2026/p2.jpg"]
    assert "2026/p3.jpg" not in assets.objects()
    result = assets.sync(old, on_conflict="restore")
    assert (result["summary"], result["kept"]) == (predicted["summary"], predicted["kept"])
    newer = {"2026/p1.jpg": b"tuesday", "2026/p2.jpg": b"edited", "upload.jpg": b"stays"}
    assert assets.objects() == {**wanted, **newer}
    assert not [key for key in assets.catalog_keys("replaced/") if assets.bucket in key]
    assert not assets.sync(old, on_conflict="restore")["changed"]


def test_late_files_of_a_webserver(assets, site):
    assets.sync(pack(site, mtime=MONDAY))
    images = site / "images"
    (images / "late.jpg").write_bytes(b"late")
    (images / "2026/p1.jpg").write_bytes(b"changed on the webserver")
    (images / "2026/p4.jpg").write_bytes(b"changed on the webserver, deleted in the bucket")
    assets.edit("2026/p2.jpg", b"edited in the bucket")
    assets.delete("2026/p3.jpg")
    assets.delete("2026/p4.jpg")
    before = assets.objects()
    options = {"archive_path": "", "on_conflict": "save", "host_label": "web1"}
    predicted = assets.sync(images, check=True, **options)
    result = assets.sync(images, **options)
    assert (result["summary"], result["diff"]) == (predicted["summary"], predicted["diff"])
    assert counts(result) == {"uploaded": 1, "unchanged": 14, "kept": 1, "kept_deleted": 1, "saved": 2}
    assert assets.objects() == {**before, "late.jpg": b"late"}
    saved = assets.objects(assets.catalog)
    kept = {
        key.split("/", 4)[4]: saved[key] for key in saved if key.startswith("conflicts/web1/") and assets.bucket in key
    }
    assert kept == {name: (images / name).read_bytes() for name in ("2026/p1.jpg", "2026/p4.jpg")}
    assets.mark_log()
    again = assets.sync(images, **options)
    assert not again["changed"] and "saved" not in counts(again)
    assert assets.requests("PUT", "POST", "DELETE") == []


def test_save_is_for_directories(assets, site):
    assert "late files of a directory" in assets.failing_sync(pack(site), on_conflict="save")


def test_h1_an_emptied_bucket_is_noticed(assets, site):
    backup = pack(site)
    assets.sync(backup)
    assets.empty()
    result = assets.sync(backup)
    assert counts(result) == {"kept_deleted": 18}
    assert "on_conflict: overwrite" in result["warnings"][0]
    assets.sync(backup, on_conflict="overwrite")
    assert assets.objects() == contents(site / "images")


def test_intents_for_an_earlier_bucket_of_that_name_are_forgotten(assets, site):
    catalog = Catalog(assets.store, assets.catalog)
    journal = Journal(catalog, assets.bucket, Backup("x", "2026-01-01"))
    journal.done(journal.intend([Write("nothing", 0, md5(b""))]))
    journal.flush()
    time.sleep(1.1)
    catalog.write_owner(assets.bucket, SITE, "images", force=True)
    assert counts(assets.sync(pack(site))) == {"uploaded": 18}


def test_t1_what_a_killed_run_removed_is_no_news_for_the_run_after_the_next(assets, site):
    (site / "images/passing.jpg").write_bytes(b"monday's")
    assets.sync(pack(site, "monday.tar.gz", MONDAY), prune=True)
    (site / "images/passing.jpg").unlink()
    # Tuesday's run removes the file, and is killed before it writes the manifest.
    journal = Journal(Catalog(assets.store, assets.catalog), assets.bucket, Backup("tuesday", format_time(TUESDAY)))
    journal.intend((), ["passing.jpg"])
    assets.delete("passing.jpg")
    newer = pack(site, "newer.tar.gz", WEDNESDAY)
    assets.sync(newer, prune=True)
    assert not assets.sync(newer, prune=True)["changed"]


# T13


def hostile(path, kind):
    """An archive with good members around a hostile one; returns the name that must be told."""
    with tarfile.open(path, "w:gz") as tar:

        def add(name, content=b"x", **attributes):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for attribute, value in attributes.items():
                setattr(info, attribute, value)
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)

        add("images/good.jpg")
        bad = {
            "dotdot": ("images/../../etc/passwd", {}),
            "absolute": ("/images/passwd", {}),
            "link": ("images/passwd-link", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0}),
            "link up": ("images/up-link", {"type": tarfile.SYMTYPE, "linkname": "../../x", "size": 0}),
            "hard link": ("images/hard-link", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd", "size": 0}),
            "device": ("images/null-device", {"type": tarfile.CHRTYPE, "size": 0}),
            "fifo": ("images/a-fifo", {"type": tarfile.FIFOTYPE, "size": 0}),
            "setuid": ("images/su-file", {"mode": 0o4755}),
            "rclonelink": ("images/evil.rclonelink", {}),
            "twice": ("images/good.jpg", {}),
            "backslash": ("images/d\\f", {}),
        }[kind]
        if kind == "backslash":
            add("images/d/f")
        name, attributes = bad
        add(name, **({"content": b""} if attributes.get("size") == 0 else {}), **attributes)
        add("images/other.jpg")
    return name.removeprefix("images/")


KINDS = [
    "dotdot", "absolute", "link", "link up", "hard link", "device", "fifo", "setuid", "rclonelink", "twice",
    "backslash",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_t13_hostile_members_are_named_before_anything_is_written(assets, tmp_path, kind):
    path = tmp_path / "hostile.tar.gz"
    name = hostile(path, kind)
    assets.mark_log()
    message = assets.failing_sync(path)
    assert repr(name)[1:-1] in message and str(path) in message
    assert assets.requests("PUT", "POST", "DELETE", buckets=(assets.bucket,)) == []
    assert not assets.has_manifest() and not assets.intents()


def test_t13_from_s3_they_fail_at_the_end_with_every_name(assets, tmp_path, client, new_name):
    path = tmp_path / "hostile.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, kind in (
            ("a", tarfile.REGTYPE),
            ("pipe", tarfile.FIFOTYPE),
            ("b", tarfile.REGTYPE),
            ("dev", tarfile.CHRTYPE),
        ):
            info = tarfile.TarInfo(f"images/{name}")
            info.type = kind
            tar.addfile(info)
    bucket = new_name("backups")
    client.create_bucket(Bucket=bucket)
    client.upload_file(str(path), bucket, "b.tar.gz")
    message = assets.failing_sync(f"s3://{bucket}/b.tar.gz")
    assert "2 member(s)" in message and "'images/pipe'" in message and "'images/dev'" in message
    assert not assets.has_manifest()


def test_t13_a_bomb_is_stopped(assets, tmp_path):
    path = tmp_path / "bomb.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("images/bomb")
        info.size = 40_000_000
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    assert "max_unpacked" in assets.failing_sync(path, max_unpacked=10_000_000)
    assert assets.objects() == {}


# I5


@pytest.mark.parametrize("where", ["local", "s3"])
def test_i5_a_truncated_archive_claims_nothing(assets, site, client, new_name, where):
    whole = pack(site, mtime=MONDAY)
    body = whole.read_bytes()
    bucket = new_name("backups")
    client.create_bucket(Bucket=bucket)
    for cut in (0, 100, len(body) // 3, len(body) - 8, len(body) - 1):
        src = site.parent / "cut.tar.gz"
        src.write_bytes(body[:cut])
        if where == "s3":
            client.upload_file(str(src), bucket, "cut.tar.gz")
            src = f"s3://{bucket}/cut.tar.gz"
        message = assets.failing_sync(src)
        assert str(src) in message
        assert any(word in message for word in ("is cut", "is empty", "no tar archive"))
        assert not assets.has_manifest()
        if where == "local":
            assert assets.objects() == {}
    assets.sync(whole)
    assert assets.objects() == contents(site / "images")
    assert assets.intents() == []


# bad input


def test_a_missing_backup(assets, new_name, client):
    assert "No such file" in assets.failing_sync("/srv/nowhere.tar.gz")
    assert "no such object" in assets.failing_sync(f"s3://{assets.catalog}/nowhere.tar.gz")
    assert "no such object" in assets.failing_sync("s3://no-such-bucket-here/x.tar.gz")
    assert "names no object" in assets.failing_sync("s3://just-a-bucket")


def test_a_wrong_key(assets, site, run_module, s3_options):
    options = {**s3_options, "secret_key": "wrong" + "x" * 30}
    result = run_module(
        "asset_sync", {**assets.target, "src": str(pack(site)), "archive_path": "images"}, options=options
    )
    assert result["failed"] and result["kind"] == "denied"
    assert "secret key" in result["msg"] and "wrongx" not in str(result)


def test_an_unreachable_endpoint(assets, site, run_module, s3_options):
    options = {**s3_options, "endpoint_url": "http://127.0.0.1:9"}
    started = time.monotonic()
    result = run_module(
        "asset_sync", {**assets.target, "src": str(pack(site)), "archive_path": "images"}, options=options
    )
    assert result["failed"] and result["kind"] == "unreachable"
    assert "http://127.0.0.1:9" in result["msg"]
    assert time.monotonic() - started < 30


def test_t16_a_bucket_of_another_directory_or_site(assets, site):
    assert "belongs to directory 'images'" in assets.failing_sync(pack(site), directory="media")
    assert SITE in assets.failing_sync(pack(site), site="other.example.com")
    message = assets.failing_sync(pack(site), buckets=["no-such-bucket-here"])
    assert "no-such-bucket-here" in message
    assert assets.objects() == {}


def test_check_mode_without_the_bucket_predicts_all(assets, site):
    result = assets.sync(pack(site), check=True, buckets=["not-made-yet"])
    assert (counts(result), result["warnings"]) == ({"uploaded": 18}, [])


# T1, T9


def test_t1_killed_runs_converge(assets, site, s3_options, tmp_path):
    """Six kills, each of a newer backup; the last one runs to its end and must have won everywhere."""
    rng = random.Random(3)
    for kill in range(6):
        many(site, 700, kill, 2000)
        backup = pack(site, f"b{kill}.tar.gz", MONDAY + kill)
        process = spawn(assets, s3_options, tmp_path, backup, workers=4)
        wait_for_intent(assets, process)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.wait()
    many(site, 700, 99, 2000)
    backup = pack(site, "last.tar.gz", TUESDAY)
    result = assets.sync(backup)
    assert assets.objects() == contents(site / "images")
    assert "kept" not in counts(result)
    assert not assets.sync(backup)["changed"]


def wait_for_intent(assets, process):
    known = set(assets.intents())
    while process.poll() is None and set(assets.intents()) <= known:
        time.sleep(0.02)


def test_i4_what_a_user_deletes_or_edits_after_a_killed_run_stays_so(assets, site, s3_options, tmp_path):
    for number in range(70):
        (site / "images" / f"large{number}").write_bytes(os.urandom(2**20))
    process = spawn(assets, s3_options, tmp_path, site, workers=2)
    store_catalog = Catalog(assets.store, assets.catalog)
    done = []
    while not done and process.poll() is None:
        done = [log for log in read_logs(store_catalog, assets.bucket) if log.done]
    process.kill()
    process.wait()
    deleted, edited = (write.key for write in done[0].writes[:2])
    assets.delete(deleted)
    assets.edit(edited, b"edited")
    result = assets.sync(site)
    assert (counts(result)["kept"], counts(result)["kept_deleted"]) == (1, 1)
    found = assets.objects()
    assert deleted not in found and found[edited] == b"edited" and len(found) == 18 + 69


def test_t9_late_syncs_of_two_webservers_at_once(assets, site, s3_options, tmp_path):
    assets.sync(pack(site, mtime=MONDAY))
    processes = []
    for host in ("web1", "web2"):
        images = tmp_path / host
        images.mkdir()
        for number in range(300):
            (images / f"{host}-{number}.jpg").write_bytes(os.urandom(500))
        (images / "both.jpg").write_bytes(b"the same")
        (images / "clash.jpg").write_bytes(host.encode())
        processes.append(
            spawn(assets, s3_options, tmp_path, images, archive_path="", on_conflict="save", host_label=host)
        )
    for process in processes:
        output = process.communicate()[0]
        assert process.returncode == 0, output
    found = assets.objects()
    assert len(found) == 18 + 602
    assert assets.intents() == []
    # Whoever lost the race for clash.jpg keeps its bytes in the catalog, at the latest with its next run.
    for host in ("web1", "web2"):
        assets.sync(tmp_path / host, archive_path="", on_conflict="save", host_label=host)
    saved = assets.objects(assets.catalog)
    lost = b"web2" if found["clash.jpg"] == b"web1" else b"web1"
    assert lost in [body for key, body in saved.items() if key.endswith(f"{assets.bucket}/clash.jpg")]
    # All of it is in the manifest: deleting a late file is remembered.
    assets.delete("web1-7.jpg")
    result = assets.sync(tmp_path / "web1", archive_path="", on_conflict="save", host_label="web1")
    assert counts(result)["kept_deleted"] == 1


def test_t9_the_older_of_two_builders_at_once_loses(assets, site, s3_options, tmp_path):
    many(site, 500, 1, 2000)
    old = pack(site, "old.tar.gz", MONDAY)
    many(site, 500, 2, 2000)
    new = pack(site, "new.tar.gz", TUESDAY)
    processes = [spawn(assets, s3_options, tmp_path, src) for src in (old, new)]
    for process in processes:
        assert process.communicate() and process.returncode == 0
    assets.sync(new)
    assert assets.objects() == contents(site / "images")
    assets.sync(old)
    assert assets.objects() == contents(site / "images")


# names, sizes, engines


def test_t20_awkward_names_read_back_by_others(assets, site, bed, tmp_path):
    images = site / "images"
    for name in (
        "a b",
        "a+b%2F",
        "täst",
        "日本語.jpg",
        "-rf",
        "#x?y=1&z",
        "quote'\"",
        "~tilde",
        ".dot",
        "[1]",
        "a;b,c",
        "😀",
    ):
        (images / name).write_bytes(os.urandom(100) + name.encode())
    deep = images / Path(*["d" * 200] * 5)
    deep.mkdir(parents=True)
    (deep / ("e" * (1024 - 1005))).write_bytes(b"1024 bytes of key")
    (images / "new\nline").write_bytes(b"n")
    assets.sync(pack(site))
    wanted = contents(images)
    assert assets.objects() == wanted
    assert max(len(key.encode()) for key in wanted) == 1024

    plain = {key: body for key, body in wanted.items() if "\n" not in key and not key.endswith("/")}
    env = {**os.environ, **bed, "RCLONE_CONFIG": os.devnull}
    for name, command in readers(assets, bed, tmp_path).items():
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
        there = {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        assert {key: there.get(key) for key in plain} == plain, name


def readers(assets, bed, tmp_path):
    """Other people's clients, that copy the bucket into a directory."""
    remote = (
        f":s3,provider=Other,env_auth=true,force_path_style=true,endpoint='{bed['S3_ENDPOINT']}',no_check_bucket=true:"
    )
    return {
        "rclone": ["rclone", "copy", f"{remote}{assets.bucket}", str(tmp_path / "rclone"), "--exclude", "new?line"],
        "aws": [
            "aws", "--endpoint-url", bed["S3_ENDPOINT"], "s3", "sync", "--only-show-errors",
            f"s3://{assets.bucket}", str(tmp_path / "aws"),
        ],
        "s5cmd": [
            "s5cmd", "--endpoint-url", bed["S3_ENDPOINT"], "cp", "--exclude", "new*",
            f"s3://{assets.bucket}/*", f"{tmp_path / 's5cmd'}/",
        ],
    }  # fmt: skip


def test_a_name_that_the_store_changes_is_an_error(assets, site):
    (site / "images" / "back\\slash").write_bytes(b"x")
    assert "rename the files" in assets.failing_sync(pack(site))
    assert not assets.has_manifest()


def test_large_members_travel_in_parts_and_only_when_they_changed(assets, site, client):
    big = site / "images" / "film.mp4"
    body = bytearray(random.Random(5).randbytes(20 * 2**20))
    big.write_bytes(body)
    assets.sync(pack(site, "a.tar.gz", MONDAY))
    assert assets.objects()["film.mp4"] == bytes(body)
    assert client.head_object(Bucket=assets.bucket, Key="film.mp4")["ETag"].endswith('-3"')

    (site / "images" / "small").write_bytes(b"new")
    assets.mark_log()
    result = assets.sync(pack(site, "b.tar.gz", TUESDAY))
    assert counts(result)["uploaded"] == 1
    assert [line for line in assets.requests("PUT", "POST", "GET") if "film.mp4" in line] == []

    body[18 * 2**20] ^= 1
    big.write_bytes(body)
    predicted = assets.sync(pack(site, "c.tar.gz", WEDNESDAY), check=True)
    result = assets.sync(site.parent / "c.tar.gz")
    assert counts(result) == counts(predicted) and counts(result)["updated"] == 1
    assert assets.objects()["film.mp4"] == bytes(body)

    assets.edit("film.mp4", bytes(20 * 2**20))
    big.write_bytes(bytes(body[::-1]))
    result = assets.sync(pack(site, "d.tar.gz", WEDNESDAY + 1))
    assert counts(result)["kept"] == 1
    assets.edit("film.mp4", bytes(body[::-1]))
    (site / "images" / "small").write_bytes(b"newer")
    result = assets.sync(pack(site, "e.tar.gz", WEDNESDAY + 2))
    assert "kept" not in counts(result)


def test_a_late_large_file(assets, site):
    assets.sync(pack(site, mtime=MONDAY))
    big = site / "images" / "film.mp4"
    big.write_bytes(random.Random(6).randbytes(17 * 2**20))
    options = {"archive_path": "", "on_conflict": "save", "host_label": "web1"}
    assert counts(assets.sync(site / "images", **options))["uploaded"] == 1
    first = big.read_bytes()
    big.write_bytes(first[::-1])
    assert counts(assets.sync(site / "images", **options))["saved"] == 1
    assert assets.objects()["film.mp4"] == first
    again = assets.sync(site / "images", **options)
    assert not again["changed"] and counts(again)["kept"] == 1


def test_without_obstore_boto3_does_it_and_says_so(assets, site, tmp_path):
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "obstore.py").write_text("raise ImportError('not installed')")
    path = f"{tmp_path / 'without'}{os.pathsep}{module_path()}"
    result = assets.module("asset_sync", src=str(pack(site)), archive_path="images", env={"PYTHONPATH": path})
    assert "boto3" in result["engine"] and "install obstore" in result["engine"]
    assert assets.objects() == contents(site / "images")


def test_members_of_a_foreign_multipart_upload_are_adopted_by_their_bytes(assets, site, client):
    body = random.Random(7).randbytes(6 * 2**20)
    (site / "images" / "multi.bin").write_bytes(body)
    upload = client.create_multipart_upload(Bucket=assets.bucket, Key="multi.bin")["UploadId"]
    parts = []
    for number, part in enumerate((body[: 5 * 2**20], body[5 * 2**20 :]), 1):
        answer = client.upload_part(
            Bucket=assets.bucket, Key="multi.bin", UploadId=upload, PartNumber=number, Body=part
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(
        Bucket=assets.bucket, Key="multi.bin", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    assert counts(assets.sync(pack(site))) == {"uploaded": 18, "unchanged": 1}


def test_progress_of_long_work_is_in_the_catalog(assets, site, client, monkeypatch):
    monkeypatch.setattr(_progress, "FIRST_SECONDS", 0.2)
    monkeypatch.setattr(_progress, "EVERY_SECONDS", 0.2)
    many(site, 900, 1, 2000)
    thread = threading.Thread(target=assets.sync, args=(site,), kwargs={"workers": 1})
    thread.start()
    states = set()
    while thread.is_alive():
        for key in assets.catalog_keys(f"status/{assets.bucket}"):
            states.add(json.loads(client.get_object(Bucket=assets.catalog, Key=key)["Body"].read())["state"])
    thread.join()
    assert "running" in states
    last = json.loads(client.get_object(Bucket=assets.catalog, Key=f"status/{assets.bucket}.json")["Body"].read())
    assert (last["state"], last["count"]) == ("done", 918)


# one object


@pytest.fixture
def uploader(assets, client):
    return Uploader(Store(client), assets.bucket, True)


PLAIN = Headers("text/plain", {"mtime": "1"})


@pytest.mark.parametrize("key", ["ordinary", "awkward/"])
def test_t9_a_key_that_someone_else_wrote_meanwhile_is_left_alone(uploader, assets, key):
    first = (
        uploader.put(key, b"", md5(b""), PLAIN, None)
        if key.endswith("/")
        else uploader.put(key, b"1", md5(b"1"), PLAIN, None)
    )
    with pytest.raises(Raced) as caught:
        uploader.put(key, b"2", md5(b"2"), PLAIN, None)
    assert caught.value.there == first
    with pytest.raises(Raced):
        uploader.put(key, b"2", md5(b"2"), PLAIN, md5(b"what it was"))
    if not key.endswith("/"):
        assets.delete(key)
        with pytest.raises(Raced) as caught:
            uploader.put(key, b"2", md5(b"2"), PLAIN, first)
        assert caught.value.there is None


def test_t4_a_write_whose_answer_was_lost_counts(uploader):
    uploader.put("k", b"1", md5(b"1"), PLAIN, None)
    assert uploader.put("k", b"1", md5(b"1"), PLAIN, None) == md5(b"1")


def test_t4_a_body_that_does_not_fit_its_digest_is_an_error(uploader):
    with pytest.raises(StoreError, match="other bytes than were sent"):
        uploader.put("k", b"1", md5(b"2"), PLAIN, None)


def test_reading_and_removing_what_changed(uploader, assets):
    etag = uploader.put("k", b"12345", md5(b"12345"), PLAIN, None)
    assert uploader.read("k", etag, 1, 3) == b"234"
    assets.edit("k", b"other")
    for action in (lambda: uploader.read("k", etag, 0, 5), lambda: uploader.remove("k", etag)):
        with pytest.raises(Raced) as caught:
            action()
        assert caught.value.there == md5(b"other")
    with pytest.raises(Raced):
        uploader.copy(Listed("k", 5, etag, ""), Uploader(assets.store, assets.catalog, False), "replaced/x")
    assert assets.objects() == {"k": b"other"}


def test_32_at_once_have_one_winner(uploader):
    won, lost = [], []

    def put(number):
        body = str(number).encode()
        try:
            uploader.put("k", body, md5(body), PLAIN, None)
            won.append(number)
        except Raced:
            lost.append(number)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 31)
