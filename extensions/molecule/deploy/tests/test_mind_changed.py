# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changing one's mind on a live site: each change is one run of ``deploy``, and nobody gets a bad answer.

The tests are steps of one story and run in their order.
"""

from __future__ import annotations

from scenario import (
    BED,
    DIRECTORIES,
    IMAGES,
    ONCE,
    PRIVATE,
    READ_ONLY,
    SLUG,
    VIDEOS,
    WEBSERVERS,
    Directory,
    deploy,
    in_front,
    other_template,
    readers,
    upload,
)

pytestmark = ONCE

# What test_hazards.py has edited and deleted.
CHANGED = ("00/picture-010.jpg", "00/picture-020.jpg")
UPLOADED = "uploaded-after-the-cutover.txt"
NEW = {UPLOADED: b"new"}
DELETED = CHANGED[1]
ELSEWHERE = f"{SLUG}-elsewhere"
PARTS = (f"{IMAGES.bucket}1", f"{IMAGES.bucket}2")
WAITING = "waits-when-writes-are-refused.txt"
# No floor has it: it answers only where a mount always does.
NEWEST = "uploaded-after-the-last-cutover.txt"


def fuse_types(directory: Directory) -> set[str]:
    """What is in front of a directory on the webservers."""
    return {in_front(host, directory) for host in WEBSERVERS}


def local_files(host: str, directory: Directory) -> set[str]:
    """The files of a directory that isn't mounted."""
    assert in_front(host, directory) == ""
    return set(BED.on(host, f"cd {directory.path} && find . -type f -printf '%P\\n'").splitlines())


def shown(host: str) -> str:
    """What a webserver has mounted at the images."""
    return BED.on(host, f"findmnt -rno SOURCE --mountpoint {IMAGES.path} | tail -1").strip()


def write_late(name: str) -> None:
    """Write an image that isn't in its bucket yet when the next command runs."""
    BED.on("web1", f"sudo -u www-data sh -c 'echo late > {IMAGES.path}/{name}'")


def test_a_bucket_that_would_be_left_behind_is_told_before_another_is_made() -> None:
    done = deploy(check=False, assets_buckets={"images": ELSEWHERE})
    assert done.returncode != 0
    assert IMAGES.bucket in done.stdout and ELSEWHERE in done.stdout and "would be missing" in done.stdout
    one = deploy("--limit", "build,web1", check=False, assets_buckets={"images": ELSEWHERE}, assets_move_buckets=True)
    assert one.returncode != 0 and "web2 takes no part" in one.stdout
    assert ELSEWHERE not in BED.buckets()


def test_i2_nobody_misses_an_asset_when_the_site_goes_back_to_local_files() -> None:
    upload(UPLOADED, b"new")
    with other_template("local", PERSIST_ASSETS_TO_CLOUD="0") as template, readers(*CHANGED, uploaded=NEW):
        deploy(assets_template=str(template))
    for host in WEBSERVERS:
        for directory in DIRECTORIES:
            assert set(directory.files) - set(CHANGED) <= local_files(host, directory)
        assert BED.on(host, "ls -d /etc/adt-assets /etc/systemd/system/adt-assets* 2>/dev/null || true") == ""


def test_i2_nobody_misses_an_asset_when_all_directories_are_put_in_front_again() -> None:
    with readers(*CHANGED, uploaded=NEW):
        deploy()
    assert {kind for directory in DIRECTORIES for kind in fuse_types(directory)} == {"fuse.rclone"}


def test_i2_i4_nobody_misses_an_asset_or_an_upload_when_a_directory_moves_to_another_bucket() -> None:
    with readers(*CHANGED, uploaded=NEW):
        write_late(WAITING)
        deploy(assets_buckets={"images": ELSEWHERE}, assets_move_buckets=True)
    assert {ELSEWHERE in shown(host) for host in WEBSERVERS} == {True}
    there = set(BED.objects(ELSEWHERE))
    assert there == set(BED.objects(IMAGES.bucket)), "the old bucket stays"
    assert WAITING in there and DELETED not in there


def test_i2_i4_nor_when_one_bucket_becomes_two_in_a_run_that_was_killed_and_run_again() -> None:
    settings = {"DIRECTORIES_TO_MOUNT": "merge=images2:media/videos:/var/www/private"}
    with other_template("two-buckets", **settings) as template, readers(*CHANGED, uploaded=NEW):
        write_late("late-" + WAITING)
        move = {"assets_template": str(template), "assets_move_buckets": True}
        deploy(kill_before="Write the settings", **move)
        refused = BED.on("web2", f"touch {IMAGES.path}/lost 2>&1 || true")
        assert READ_ONLY in refused, "into a bucket that is left"
        deploy(**move)
    upload("after-" + WAITING, b"after")
    parts = [set(BED.objects(part)) for part in PARTS]
    assert min(map(len, parts)) > 10 and not parts[0] & parts[1]
    assert parts[0] | parts[1] == {*BED.objects(ELSEWHERE), "after-" + WAITING}
    assert "late-" + WAITING in parts[0] | parts[1] and DELETED not in parts[0] | parts[1]


def test_i2_h14_nobody_misses_an_asset_or_an_upload_when_the_tool_is_changed_and_a_directory_taken_out() -> None:
    upload(NEWEST, b"newest")
    with (
        other_template("two", DIRECTORIES_TO_MOUNT="images:media/videos") as template,
        readers(*CHANGED, uploaded={NEWEST: b"newest"}),
    ):
        BED.on("web1", f"sudo -u www-data sh -c 'echo waiting > {VIDEOS.path}/{UPLOADED}'")
        done = deploy(assets_template=str(template), assets_tool="s3fs", assets_move_buckets=True)
    assert PRIVATE.path in done.stdout
    assert fuse_types(IMAGES) == fuse_types(VIDEOS) == {"fuse.s3fs"}
    assert {"after-" + WAITING, NEWEST} <= set(BED.objects(IMAGES.bucket)), "the images are back in one bucket"
    assert DELETED not in BED.objects(IMAGES.bucket)
    assert BED.s3.get_object(Bucket=VIDEOS.bucket, Key=UPLOADED)["Body"].read() == b"waiting\n"
    for host in WEBSERVERS:
        assert set(PRIVATE.files) <= local_files(host, PRIVATE)
    assert set(PRIVATE.files) <= set(BED.objects(PRIVATE.bucket)), "the bucket stays"
