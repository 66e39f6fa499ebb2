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
# No floor has it: it answers only where a mount always does.
NEWEST = "uploaded-after-the-last-cutover.txt"


def fuse_types(directory: Directory) -> set[str]:
    """What is in front of a directory on the webservers."""
    return {in_front(host, directory) for host in WEBSERVERS}


def local_files(host: str, directory: Directory) -> set[str]:
    """The files of a directory that isn't mounted."""
    assert in_front(host, directory) == ""
    return set(BED.on(host, f"cd {directory.path} && find . -type f -printf '%P\\n'").splitlines())


def test_a_bucket_that_would_be_left_behind_is_told_before_another_is_made() -> None:
    elsewhere = f"{SLUG}-elsewhere"
    done = deploy(check=False, assets_buckets={"images": elsewhere})
    assert done.returncode != 0
    assert IMAGES.bucket in done.stdout and elsewhere in done.stdout and "would be missing" in done.stdout
    assert elsewhere not in BED.buckets()


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


def test_i2_h14_nobody_misses_an_asset_or_an_upload_when_the_tool_is_changed_and_a_directory_taken_out() -> None:
    upload(NEWEST, b"newest")
    with (
        other_template("two", DIRECTORIES_TO_MOUNT="images:media/videos") as template,
        readers(*CHANGED, uploaded={NEWEST: b"newest"}),
    ):
        BED.on("web1", f"sudo -u www-data sh -c 'echo waiting > {VIDEOS.path}/{UPLOADED}'")
        done = deploy(assets_template=str(template), assets_tool="s3fs")
    assert PRIVATE.path in done.stdout
    assert fuse_types(IMAGES) == fuse_types(VIDEOS) == {"fuse.s3fs"}
    assert BED.s3.get_object(Bucket=VIDEOS.bucket, Key=UPLOADED)["Body"].read() == b"waiting\n"
    for host in WEBSERVERS:
        assert set(PRIVATE.files) <= local_files(host, PRIVATE)
    assert set(PRIVATE.files) <= set(BED.objects(PRIVATE.bucket)), "the bucket stays"
