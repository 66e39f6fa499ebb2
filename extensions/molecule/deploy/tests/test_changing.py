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
    VIDEOS,
    WEBSERVERS,
    Directory,
    deploy,
    in_front,
    other_template,
    readers,
    wait_until,
)

pytestmark = ONCE

UPLOADED = "uploaded-before-the-change.txt"


def fuse_types(directory: Directory) -> set[str]:
    """What is in front of a directory on the webservers."""
    return {in_front(host, directory) for host in WEBSERVERS}


def local_files(host: str, directory: Directory) -> set[str]:
    """The files of a directory that isn't mounted."""
    assert in_front(host, directory) == ""
    return set(BED.on(host, f"cd {directory.path} && find . -type f -printf '%P\\n'").splitlines())


def test_i2_nobody_misses_an_asset_when_the_site_goes_back_to_local_files() -> None:
    BED.on("web1", f"sudo -u www-data sh -c 'echo new > {IMAGES.path}/{UPLOADED}'")
    wait_until(lambda: UPLOADED in BED.objects(IMAGES.bucket))
    with (
        other_template("local", PERSIST_ASSETS_TO_CLOUD="0") as template,
        readers(),
    ):
        deploy(assets_template=str(template))
    for host in WEBSERVERS:
        for directory in DIRECTORIES:
            assert set(directory.files) <= local_files(host, directory)
        assert UPLOADED in local_files(host, IMAGES)
        assert BED.on(host, "ls /etc/adt-assets /etc/systemd/system/adt-assets* 2>/dev/null || true") == ""
    assert set(IMAGES.files) <= set(BED.objects(IMAGES.bucket)), "the bucket stays"


def test_i2_two_directories_are_put_in_front_with_another_tool() -> None:
    with other_template("two", DIRECTORIES_TO_MOUNT="images:media/videos") as template, readers():
        deploy(assets_template=str(template), assets_tool="s3fs")
    assert fuse_types(IMAGES) == fuse_types(VIDEOS) == {"fuse.s3fs"}
    assert fuse_types(PRIVATE) == {""}


def test_i2_the_tool_is_changed_and_a_directory_added_under_load() -> None:
    with readers():
        deploy()
    assert {kind for directory in DIRECTORIES for kind in fuse_types(directory)} == {"fuse.rclone"}
    for host in WEBSERVERS:
        wait_until(lambda host=host: BED.fetch(host, f"images/{UPLOADED}") == b"new\n")


def test_i2_a_directory_that_is_taken_out_of_the_plan_comes_back_to_the_disk() -> None:
    with other_template("less", DIRECTORIES_TO_MOUNT="images:media/videos") as template, readers():
        done = deploy(assets_template=str(template))
    assert PRIVATE.path in done.stdout
    assert fuse_types(IMAGES) == fuse_types(VIDEOS) == {"fuse.rclone"}
    for host in WEBSERVERS:
        assert set(PRIVATE.files) <= local_files(host, PRIVATE)
    assert set(PRIVATE.files) <= set(BED.objects(PRIVATE.bucket))
    deploy()
    assert fuse_types(PRIVATE) == {"fuse.rclone"}
    BED.on("web1", f"rm {IMAGES.path}/{UPLOADED}")
