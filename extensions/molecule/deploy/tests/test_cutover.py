# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images' way back, everything that can go wrong on the way to the bucket, and the cutover again.

Readers ask both webservers for images 50 times a second. The tests are steps of one story and run in their order.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scenario import (
    BED,
    CATALOG,
    DEFAULT_TOOL,
    DIRECTORIES,
    IMAGES,
    ONCE,
    SOAK,
    TOOL,
    WEBSERVERS,
    deploy,
    in_front,
    other_template,
    readers,
    recap,
    unmount,
    wait_until,
    writes_seen,
)

LATE = "late.txt"
EDITED = ".htaccess"
HERE = ("--limit", "webservers")
# The tasks that are steps. A run is killed before each of them in `make soak`, before some in `make test`, and with the
# default tool only: the steps are the same for all.
STEPS_BACK = (
    "Refuse writes and wait for uploads",
    "Copy what came last",
    "Compare the copy with the bucket",
    "Stop the mount and its timer",
    "Stop the floor",
    "Remove its units, settings and cache",
)
STEPS_THERE = (
    "Copy late files into the bucket",
    "Compare the local files with the bucket",
    "Make local files read-only beneath",
    "Take what came in the meantime",
    "Mount the bucket and wait until it answers",
    "Begin the retention time",
    "Let the mount come back at boot",
)


QUICK = {
    "Copy what came last",
    "Stop the floor",
    "Take what came in the meantime",
    "Begin the retention time",
}


def killed_before(steps: tuple[str, ...]) -> list[str]:
    """The steps before which a run is killed, in their order."""
    if TOOL != DEFAULT_TOOL:
        return []
    return [step for step in steps if SOAK or step in QUICK]


@pytest.fixture(scope="module", autouse=True)
def images() -> Iterator[dict[str, str]]:
    """Variables of a plan with the images only: the other directories stay mounted, and the runs are short."""
    with other_template("images", DIRECTORIES_TO_MOUNT="images") as template:
        yield {"assets_template": str(template), "assets_unlisted": "keep"}
    if not all(in_front(host) for host in WEBSERVERS):
        deploy()


def test_t2_h10_i2_nobody_misses_an_asset_on_a_way_back_that_is_killed_between_its_steps(images) -> None:
    with readers(EDITED):
        for step in killed_before(STEPS_BACK):
            unmount(kill_before=step, **images)
        unmount(**images)
    for host in WEBSERVERS:
        assert in_front(host) == ""
        count = BED.on(host, f"find {IMAGES.path} -type f | wc -l").strip()
        assert int(count) == len(IMAGES.files)
        assert BED.on(host, f"stat -c %U {IMAGES.path}").strip() == "www-data"
        for other in set(DIRECTORIES) - {IMAGES}:
            assert in_front(host, other).startswith("fuse")


@ONCE
def test_a_full_disk_on_the_webserver_is_told_before_anything_changes(images) -> None:
    BED.on("web1", "mount -t tmpfs -o size=64M full /var/cache/adt-assets")
    try:
        done = deploy("--limit", "web1", check=False, **images)
    finally:
        BED.on("web1", "umount -l /var/cache/adt-assets")
    assert done.returncode != 0
    assert "64.00 MB" in done.stdout and "asset_mount_cache_min_free" in done.stdout
    assert in_front("web1") == ""


def test_h10_a_mount_that_does_not_answer_leaves_the_local_files_serving(images) -> None:
    broken = f"/etc/systemd/system/{IMAGES.unit}.d"
    text = r"[Service]\nType=exec\nExecStart=\nExecStart=/bin/sleep infinity\n"
    BED.on("web2", f"mkdir -p {broken} && printf '{text}' > {broken}/broken.conf && systemctl daemon-reload")
    try:
        with readers(EDITED):
            done = deploy("--limit", "web2", check=False, **images)
    finally:
        BED.on("web2", f"rm -r {broken} && systemctl daemon-reload")
    assert done.returncode != 0
    assert "could not be put in front" in done.stdout
    assert in_front("web2") == ""


def test_check_mode_touches_nothing(images) -> None:
    look = "find /etc /usr/local /opt /var/lib/adt-assets /var/www -newer /tmp/before; findmnt -rn"
    for host in WEBSERVERS:
        BED.on(host, "touch /tmp/before; sleep 1")
    before = [BED.on(host, look, check=False) for host in WEBSERVERS]
    with writes_seen() as writes:
        done = deploy("--check", "--diff", **images)
    assert writes == []
    assert [BED.on(host, look, check=False) for host in WEBSERVERS] == before
    assert all(recap(done.stdout)[host]["changed"] for host in WEBSERVERS), done.stdout


def test_t2_h10_i2_nobody_misses_an_asset_during_a_cutover_that_is_killed_between_its_steps(images) -> None:
    BED.on("web1", f"sudo -u www-data sh -c 'echo late > {IMAGES.path}/{LATE}'")
    BED.on("web2", f"sudo -u www-data sh -c 'echo edited here > {IMAGES.path}/{EDITED}'")
    with readers(EDITED):
        for step in killed_before(STEPS_THERE):
            deploy(*HERE, kill_before=step, **images)
        deploy(*HERE, **images)
    assert all(in_front(host).startswith("fuse") for host in WEBSERVERS)
    wait_until(lambda: BED.fetch("web2", f"images/{LATE}") == b"late\n")
    BED.on("web1", f"rm {IMAGES.path}/{LATE}")


def test_h7_h9_a_late_edit_was_saved_and_the_buckets_file_stayed_in_front() -> None:
    body = (IMAGES.source / EDITED).read_bytes()
    assert BED.s3.get_object(Bucket=IMAGES.bucket, Key=EDITED)["Body"].read() == body
    assert BED.fetch("web2", f"images/{EDITED}") == body
    saved = [name for name in BED.objects(CATALOG) if name.startswith("conflicts/") and name.endswith(f"/{EDITED}")]
    assert {BED.s3.get_object(Bucket=CATALOG, Key=name)["Body"].read() for name in saved} == {b"edited here\n"}
