# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back and the cutover again, while readers ask both webservers for assets 50 times a second."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from reader import Reader, digests
from scenario import BED, CATALOG, DIRECTORIES, IMAGES, WEBSERVERS, deploy, recap, unmount, writes_seen

RATE = 50.0
LATE = "late.txt"
# The tasks of the way back and of the cutover that are steps: before each, a run is killed.
STEPS_BACK = (
    "Refuse writes through the mount",
    "Copy what came last",
    "Compare the copy with the bucket",
    "Stop the timer, the mount and then the floor",
    "Remove its units, settings, credentials and cache",
)
STEPS_THERE = (
    "Copy late files into the bucket",
    "Compare the local files with the bucket",
    "Make local files read-only beneath",
    "Take what came in the meantime",
    "Mount the bucket and wait until it answers",
    "Begin the retention time",
    "Delete local files when their time is up",
)


@contextmanager
def readers() -> Iterator[list[Reader]]:
    """Readers on every webserver while the block runs; a bad answer from any of them fails the test."""
    files = digests(IMAGES.source)
    running = [Reader(f"http://{BED.address(host)}/images", files) for host in WEBSERVERS]
    stop = threading.Event()
    threads = [threading.Thread(target=reader.run, args=(RATE, None, stop)) for reader in running]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for reader in running:
        seen = reader.report()
        assert seen["good"] > RATE, seen
        assert seen["bad"] == 0, seen


def in_front(host: str) -> str:
    """The type of file system that a webserver shows at the images."""
    return BED.on(host, f"findmnt -rno FSTYPE --mountpoint {IMAGES.path} | tail -1 || true").strip()


@pytest.fixture(scope="module", autouse=True)
def mounted_again_at_the_end() -> Iterator[None]:
    yield
    deploy()


def test_t2_h10_i2_nobody_misses_an_asset_on_a_way_back_that_is_killed_at_every_step() -> None:
    with readers():
        for step in STEPS_BACK:
            unmount(kill_before=step)
        unmount()
    assert [in_front(host) for host in WEBSERVERS] == ["", ""]
    for directory in DIRECTORIES:
        for host in WEBSERVERS:
            count = BED.on(host, f"find {directory.path} -type f | wc -l").strip()
            assert int(count) == len(directory.files), directory.path
            assert BED.on(host, f"stat -c %U {directory.path}").strip() == "www-data"


def test_check_mode_touches_nothing() -> None:
    look = "find /etc /usr/local /opt /var/lib/adt-assets /var/www -newer /tmp/before; findmnt -rn"
    for host in WEBSERVERS:
        BED.on(host, "touch /tmp/before; sleep 1")
    before = [BED.on(host, look, check=False) for host in WEBSERVERS]
    with writes_seen() as writes:
        done = deploy("--check", "--diff")
    assert writes == []
    assert [BED.on(host, look, check=False) for host in WEBSERVERS] == before
    assert all(recap(done.stdout)[host]["changed"] for host in WEBSERVERS), done.stdout


def test_t2_h10_i2_nobody_misses_an_asset_during_a_cutover_that_is_killed_at_every_step() -> None:
    BED.on("web1", f"sudo -u www-data sh -c 'echo late > {IMAGES.path}/{LATE}'")
    with readers():
        for step in STEPS_THERE:
            deploy("--limit", "webservers", kill_before=step)
        deploy()
    assert all(in_front(host).startswith("fuse") for host in WEBSERVERS)
    assert BED.fetch("web2", f"images/{LATE}") == b"late\n"
    BED.on("web1", f"rm {IMAGES.path}/{LATE}")


def test_h7_h9_a_late_edit_is_saved_and_the_buckets_file_stays_in_front() -> None:
    key = ".htaccess"
    in_bucket = BED.fetch("web1", f"images/{key}")
    unmount()
    BED.on("web2", f"sudo -u www-data sh -c 'echo edited here > {IMAGES.path}/{key}'")
    deploy()
    assert BED.fetch("web2", f"images/{key}") == in_bucket
    saved = [name for name in BED.objects(CATALOG) if name.startswith("conflicts/") and name.endswith(f"/{key}")]
    assert [BED.s3.get_object(Bucket=CATALOG, Key=name)["Body"].read() for name in saved] == [b"edited here\n"]


def test_h10_a_mount_that_does_not_answer_leaves_the_local_files_serving() -> None:
    unmount()
    BED.on("web2", "mv /dev/fuse /dev/fuse.away")
    try:
        with readers():
            done = deploy("--limit", "build,web2", check=False)
        assert done.returncode != 0
        assert "could not be put in front" in done.stdout
        assert in_front("web2") == ""
        assert BED.fetch("web2", "images/.htaccess") is not None
    finally:
        BED.on("web2", "mv /dev/fuse.away /dev/fuse")


def test_a_full_disk_on_the_webserver_is_told_before_anything_changes() -> None:
    unmount()
    BED.on("web1", "mkdir -p /var/cache/adt-assets && mount -t tmpfs -o size=64M full /var/cache/adt-assets")
    try:
        done = deploy("--limit", "webservers", check=False)
    finally:
        BED.on("web1", "umount /var/cache/adt-assets && rmdir /var/cache/adt-assets")
    assert done.returncode != 0
    assert "64.00 MB" in done.stdout and "asset_mount_cache_min_free" in done.stdout
    assert in_front("web1") == ""
