# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks as users run them: a backup now, its files back on the webservers, assets out of it into a bucket."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from subprocess import PIPE
from typing import Any

import pytest
from backups import (
    BUCKET,
    PASSWORD,
    SCENARIO,
    SITE,
    SLUG,
    announced,
    back_up,
    cut,
    damaged,
    flipped,
    packs,
    slowed,
)
from corpus import files
from lab import TESTS
from scenario import BACKUP, BED, CORPUS, WEBSERVERS, md5, recap

FIRST = WEBSERVERS[0]
STREAM = SCENARIO / "stream.yml"
ARCHIVE = f"{SLUG}-assets-archive"
INDEX = "/var/www/html/index.html"
SETTINGS = {
    "website_url": SITE,
    "persist_assets_to_cloud": 0,
    "build_archive_choice": "hourly",
    "directories_to_mount": "",
    "s3_host_base": BED.env["S3_ENDPOINT"],
    "s3_location": "us-east-1",
}
VARIABLES = {
    "assets_settings": SETTINGS,
    "assets_access_key": BED.env["AWS_ACCESS_KEY_ID"],
    "assets_secret_key": BED.env["AWS_SECRET_ACCESS_KEY"],
    "assets_backup_password": PASSWORD,
}
PERSISTING = {**SETTINGS, "persist_assets_to_cloud": 1, "directories_to_mount": "images"}


def play(name: str, *options: str, check: bool = True, **variables: Any) -> str:
    """What a playbook says; it must not say a secret."""
    done = BED.playbook(f"adt.assets.{name}", {**VARIABLES, **variables}, "-vvv", *options, check=check)
    for secret in (PASSWORD, BED.env["AWS_SECRET_ACCESS_KEY"]):
        assert secret not in done.stdout
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def everything_saved() -> Iterator[str]:
    """A backup from before the assets move into buckets, which has them, with an archive beside it."""
    wanted = {"webroot_backup_archive": ARCHIVE, "webroot_backup_keep": {"hourly": 24}}
    BED.on(FIRST, "head -c 20000000 /dev/urandom > /var/www/html/large.bin")
    with slowed(FIRST):
        return play("backup", "--limit", FIRST, assets_progress_seconds=1, **wanted)


def test_a_backup_now_says_what_was_announced(everything_saved: str) -> None:
    record = announced("hourly")[0]
    assert record["excludes"] == []
    assert f"hourly backup of {SITE} by {FIRST} at {record['time']}: {record['files']} files" in everything_saved


def test_a_play_says_how_far_a_backup_is(everything_saved: str) -> None:
    far = rf"^{FIRST}: backup_now: saving, .* files \(.*\) done; about .* left; .*/s; about .* to go$"
    assert re.search(far, everything_saved, re.MULTILINE)


def test_a_play_says_how_far_a_restore_is() -> None:
    """By both versions of restic, of which the older one doesn't say anything itself."""
    hosts = WEBSERVERS[:2]
    aside = {"assets_restore_to": "/var/www/aside", "assets_progress_seconds": 1}
    with ExitStack() as slow:
        for host in hosts:
            slow.enter_context(slowed(host))
        said = play("restore", "--limit", ",".join(hosts), assets_backup={"period": "hourly"}, **aside)
    for host in hosts:
        far = r".* done; about .* left; .*/s; about .* to go$"
        assert re.search(rf"^{host}: backup_restore: restoring, {far}", said, re.MULTILINE)
        assert re.search(rf"^{host}: backup_place: (comparing|writing), .* about .* left", said, re.MULTILINE)
        BED.on(host, "rm -r /var/www/aside")


def test_restore_brings_a_file_back_and_says_so_before() -> None:
    BED.on(FIRST, f"echo damaged > {INDEX} && touch -d 2001-01-01 {INDEX} && rm -r /var/www/html/img1")
    said = play("restore", "--limit", FIRST, "--check", assets_backup={"period": "hourly"})
    assert "Would restore the webroot" in said
    assert recap(said)[FIRST]["changed"] == 1
    assert BED.on(FIRST, f"cat {INDEX}") == "damaged\n"
    play("restore", "--limit", FIRST, assets_backup={"period": "hourly"})
    assert BED.fetch(FIRST, "index.html") == (CORPUS / "site" / INDEX.lstrip("/")).read_bytes()
    assert BED.on(FIRST, "cat /var/www/html/img1/file.txt") == "kept"
    again = play("restore", "--limit", FIRST, assets_backup={"period": "hourly"})
    assert recap(again)[FIRST]["changed"] == 0
    assert BED.on(FIRST, "ls -A /var/tmp | grep adt-assets || true") == ""


def test_i4_restore_overwrites_nothing_newer_without_being_told() -> None:
    BED.on(FIRST, f"echo newer > {INDEX}")
    said = play("restore", "--limit", FIRST, check=False, assets_backup={"period": "hourly"})
    assert "1 files were changed after they were saved" in said
    assert "index.html" in said
    assert BED.on(FIRST, f"cat {INDEX}") == "newer\n"
    aside = {"assets_restore_to": "/var/www/aside", "assets_restore_path": "media"}
    play("restore", "--limit", FIRST, assets_backup={"period": "hourly"}, **aside)
    assert BED.on(FIRST, "cd /var/www/aside && find . -type f | sort").split("\n")[0] == "./media/readme.txt"
    play("restore", "--limit", FIRST, assets_backup={"period": "hourly"}, assets_restore_newer=True)
    assert "A page without assets" in BED.on(FIRST, f"cat {INDEX}; rm -r /var/www/aside")


@pytest.fixture(scope="module")
def newer(everything_saved: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """The pack of a backup that lacks nothing but what has come since the one before: its key, and both backups."""
    before, previous = packs(), announced("hourly")[0]
    BED.on(FIRST, "head -c 3000000 /dev/urandom > /var/www/html/media/new.bin")
    assert back_up(FIRST, "now-hourly")["error"] == ""
    after = packs()
    yield max(after.keys() - before.keys(), key=lambda key: after[key]), announced("hourly")[0], previous
    BED.on(FIRST, "rm /var/www/html/media/new.bin")


def test_t18_a_damaged_backup_restores_nothing_and_the_previous_one_does(newer: Any) -> None:
    key, _damaged, previous = newer
    aside = {"assets_restore_path": "media", "assets_restore_to": "/var/www/aside"}
    with damaged(key, flipped):
        said = play("restore", "--limit", FIRST, check=False, assets_backup={"period": "hourly"}, **aside)
        assert "restic restore failed" in said
        assert BED.on(FIRST, "ls -A /var/www | grep aside || true") == ""
        wanted = {"period": "hourly", "before": previous["time"]}
        play("restore", "--limit", FIRST, assets_backup=wanted, **aside)
        assert BED.on(FIRST, "ls /var/www/aside/media; rm -r /var/www/aside").split() == ["readme.txt", "videos"]


def stream(backup: dict[str, Any], *hosts: str) -> dict[str, str]:
    """What is wrong for hosts that stream the directory ``media`` out of a backup, each with its own restic."""
    src = f"restic://{BUCKET}/{backup['snapshot']}{backup['paths'][0]}"
    said = BED.playbook(str(STREAM), {"src": src, "password": PASSWORD}, "--limit", ",".join(hosts), check=False).stdout
    return {host: base64.b64decode(told).decode() for host, told in re.findall(r"STREAMED (\S+) (\S*) END", said)}


def test_t18_a_damaged_backup_is_not_streamed_into_a_bucket_and_the_previous_one_is(newer: Any) -> None:
    key, latest, previous = newer
    # restic 0.14 asks a quarter of an hour again and again for what is cut off.
    for damage, hosts in ((flipped, WEBSERVERS[:2]), (cut, WEBSERVERS[1:2])):
        with damaged(key, damage):
            told = stream(latest, *hosts)
        assert told.keys() == set(hosts)
        for host, problem in told.items():
            assert "can't be read: restic dump failed" in problem
            assert "new.bin" not in BED.objects(f"{SLUG}-assets-{host}")
    with damaged(key, cut):
        assert stream(previous, *WEBSERVERS[:2]) == dict.fromkeys(WEBSERVERS[:2], "")
    media = files(CORPUS / "site/var/www/html/media")
    for host in WEBSERVERS[:2]:
        stored = BED.objects(f"{SLUG}-assets-{host}")
        assert set(stored) == set(media)
        small = {name: path for name, path in media.items() if path.stat().st_size < 1 << 20}
        assert all(stored[name]["ETag"].strip('"') == md5(path.read_bytes()) for name, path in small.items())


def test_t20_many_files_come_back_exactly() -> None:
    many = (TESTS / "tools" / "many.py").read_text()

    def run(what: str) -> str:
        return BED.on(FIRST, f"python3 -c {shlex.quote(many)} {what}")

    run("make /var/www/html/many 2000")
    try:
        assert back_up(FIRST, "now-hourly")["error"] == ""
        aside = {"assets_restore_path": "many", "assets_restore_to": "/var/www/aside"}
        play("restore", "--limit", FIRST, assets_backup={"period": "hourly"}, **aside)
        before = run("show /var/www/html/many")
        assert json.loads(before)["files"] == 2000
        assert run("show /var/www/aside/many") == before
    finally:
        BED.on(FIRST, "rm -rf /var/www/html/many /var/www/aside")


def test_i7_restore_leaves_alone_what_lies_in_buckets() -> None:
    said = play(
        "restore",
        "--limit",
        FIRST,
        check=False,
        assets_settings=PERSISTING,
        assets_backup={"period": "hourly"},
        assets_restore_path="images/00",
    )
    assert "images lies in a bucket, into which only all of it is brought back" in said
    alone = {"assets_settings": PERSISTING, "assets_backup": {"period": "hourly"}, "assets_restore_path": "images"}
    assert "build1 fills, and that host takes no part" in play("restore", "--limit", FIRST, check=False, **alone)
    play("restore", "--limit", FIRST, assets_restore_to="/var/www/aside", **alone)
    beside = "cd /var/www/aside/images && find . -type f -print0; rm -r /var/www/aside"
    images = files(CORPUS / "site/var/www/html/images")
    assert set(BED.on(FIRST, beside).split("\0")[:-1]) == {f"./{name}" for name in images}


def test_deploy_from_a_period_fills_the_bucket_from_the_newest_backup_that_has_the_assets() -> None:
    play("deploy", "--limit", "build1", assets_settings=PERSISTING, assets_backup={"period": "hourly"})
    images = files(CORPUS / "site/var/www/html/images")
    stored = BED.objects(f"{SLUG}-assets-images")
    small = {key: path for key, path in images.items() if path.stat().st_size < 1 << 20}
    assert {key for key in stored if not key.endswith("/")} == set(images)
    assert all(stored[key]["ETag"].strip('"') == md5(path.read_bytes()) for key, path in small.items())
    again = play("deploy", "--limit", "build1", assets_settings=PERSISTING, assets_backup={"period": "hourly"})
    assert recap(again)["build1"]["changed"] == 0
    assert BED.on("build1", "ls -A /var/tmp | grep adt-assets || true") == ""


def test_i4_restore_brings_assets_back_into_their_bucket_and_replaces_nothing_newer_without_being_told() -> None:
    bucket, wanted = f"{SLUG}-assets-images", files(CORPUS / "site/var/www/html/images")
    gone, edited, later = "deep/er/and/deeper/still.jpg", "50% off+more%2F.jpg", "later.jpg"

    def restore(*options: str, **variables: Any) -> str:
        given = {"assets_settings": PERSISTING, "assets_backup": {"period": "hourly"}, "assets_restore_path": "images"}
        return play("restore", "--limit", f"build1,{FIRST}", *options, **given, **variables)

    def etags() -> dict[str, str]:
        return {key: entry["ETag"] for key, entry in BED.objects(bucket).items() if key not in (gone, later)}

    def edit(key: str, body: bytes) -> None:
        BED.s3.put_object(Bucket=bucket, Key=key, Body=body)

    before = etags()
    BED.s3.delete_object(Bucket=bucket, Key=gone)
    edit(edited, b"edited")
    edit(later, b"later")
    said = restore(check=False)
    assert f"1 files in {bucket} were changed after the backup" in said and edited in said
    assert gone not in BED.objects(bucket)
    edit(edited, wanted[edited].read_bytes())
    assert recap(restore("--check"))["build1"]["changed"] == 1
    assert gone not in BED.objects(bucket)
    assert recap(restore())["build1"]["changed"] == 1
    assert etags() == before
    assert BED.s3.get_object(Bucket=bucket, Key=gone)["Body"].read() == wanted[gone].read_bytes()
    assert recap(restore())["build1"]["changed"] == 0
    edit(edited, b"edited again")
    restore(assets_restore_newer=True)
    assert etags() == before
    assert BED.s3.get_object(Bucket=bucket, Key=later)["Body"].read() == b"later"
    (saved,) = (key for key in BED.objects(f"{SLUG}-assets-catalog") if key.startswith("replaced/"))
    assert saved.endswith(f"/{bucket}/{edited}")
    assert BED.s3.get_object(Bucket=f"{SLUG}-assets-catalog", Key=saved)["Body"].read() == b"edited again"


def test_t8_deploy_streams_a_backup_that_the_build_machine_has_no_room_for() -> None:
    settings = {**PERSISTING, "directories_to_mount": "media/videos"}
    small = {"assets_settings": settings, "assets_backup": {"period": "hourly"}, "webroot_backup_scratch": "/srv/small"}
    BED.on("build1", "mkdir -p /srv/small && mount -t tmpfs -o size=1m tmpfs /srv/small")
    try:
        said = play("deploy", "--limit", "build1", **small)
        assert BED.on("build1", "ls -A /srv/small") == ""
    finally:
        BED.on("build1", "umount /srv/small && rmdir /srv/small")
    assert "is streamed out of its snapshot" in said and "there is no room for the backup: /srv/small" in said
    assert set(files(CORPUS / "site/var/www/html/media/videos")) == set(BED.objects(f"{SLUG}-assets-media-videos"))


def test_h18_deploy_takes_the_newest_whole_archive_that_another_tool_has_left() -> None:
    bucket, name = f"{SLUG}-hourly", "applicationsourcecode.tar.gz"
    packed = subprocess.run(["tar", "-C", CORPUS / "site/var/www/html", "-cz", "."], check=True, stdout=PIPE).stdout
    BED.s3.create_bucket(Bucket=bucket)
    try:
        BED.s3.put_object(Bucket=bucket, Key=f"{name}.BACKUP", Body=packed)
        time.sleep(1.1)  # objects' times are whole seconds
        BED.s3.put_object(Bucket=bucket, Key=name, Body=packed[: len(packed) // 2])
        wanted = {"bucket": SLUG, "period": "hourly"}
        said = play("deploy", "--limit", "build1", assets_settings=PERSISTING, assets_backup=wanted)
    finally:
        for key in BED.objects(bucket):
            BED.s3.delete_object(Bucket=bucket, Key=key)
        BED.s3.delete_bucket(Bucket=bucket)
    assert f"Taken: s3://{bucket}/{name}.BACKUP" in said
    assert f"s3://{bucket}/{name} is cut" in said
    assert files(CORPUS / "site/var/www/html/images").keys() <= BED.objects(f"{SLUG}-assets-images").keys()


def test_deploy_takes_the_archive_that_is_stored_beside_a_backup(everything_saved: str) -> None:
    bucket, name = f"{ARCHIVE}-hourly", "applicationsourcecode.tar.gz"
    stored = re.search(rf"as an archive in s3://{bucket}/({name}\.\d{{8}}T\d{{6}}Z) ", everything_saved)
    assert stored and {name, stored[1]} <= BED.objects(bucket).keys()
    wanted = {"bucket": ARCHIVE, "period": "hourly"}
    said = play("deploy", "--limit", "build1", assets_settings=PERSISTING, assets_backup=wanted)
    assert f"Taken: s3://{bucket}/{name}" in said
    assert files(CORPUS / "site/var/www/html/images").keys() <= BED.objects(f"{SLUG}-assets-images").keys()


def test_restore_brings_assets_of_several_buckets_back_from_an_archive() -> None:
    buckets = [f"{SLUG}-assets-images{number}" for number in (1, 2)]
    merged = {**PERSISTING, "directories_to_mount": "merge=images2"}
    wanted = {key: md5(path.read_bytes()) for key, path in files(CORPUS / "site/var/www/html/images").items()}
    given = {"assets_settings": merged, "assets_backup": BACKUP, "assets_restore_path": "images"}

    def restore(**variables: Any) -> str:
        return play("restore", "--limit", f"build1,{FIRST}", **given, **variables)

    def stored() -> dict[str, str]:
        found = [(key, one) for bucket in buckets for key, one in BED.objects(bucket).items()]
        return {key: one["ETag"].strip('"') for key, one in found if not key.endswith("/")}

    assert recap(restore())["build1"]["changed"] > 0
    assert stored() == wanted
    first, second = (sorted(BED.objects(bucket)) for bucket in buckets)
    assert first and second and not set(first) & set(second)
    BED.s3.delete_object(Bucket=buckets[1], Key=second[0])
    BED.s3.put_object(Bucket=buckets[0], Key=first[0], Body=b"edited")
    restore(assets_restore_newer=True)
    assert stored() == wanted


def test_restore_brings_a_directory_outside_of_the_webroot_back_from_an_archive() -> None:
    outside = {**PERSISTING, "directories_to_mount": "/var/www/private"}
    given = {"assets_settings": outside, "assets_backup": BACKUP, "assets_restore_path": "/var/www/private"}
    play("restore", "--limit", f"build1,{FIRST}", **given)
    stored = BED.objects(f"{SLUG}-assets-var-www-private")
    private = files(CORPUS / "site/var/www/private")
    assert {key: one["ETag"].strip('"') for key, one in stored.items()} == {
        key: md5(path.read_bytes()) for key, path in private.items()
    }


def test_deploy_from_a_period_without_such_a_backup_says_why() -> None:
    wanted = {"period": "hourly", "before": "2020-01-01"}
    said = play("deploy", "--limit", "build1", check=False, assets_settings=PERSISTING, assets_backup=wanted)
    assert "None of the 0 announced hourly backups" in said


def test_deploy_from_a_period_refuses_a_directory_outside_of_the_webroot_before_anything_is_touched() -> None:
    buckets = BED.buckets()
    outside = {**PERSISTING, "directories_to_mount": "images:/var/www/private"}
    said = play("deploy", "--limit", "build1", check=False, assets_settings=outside, assets_backup={"period": "hourly"})
    assert "/var/www/private lies outside of /var/www/html, so that no temporal backup has it" in said
    assert recap(said)["build1"]["changed"] == 0
    assert BED.buckets() == buckets
