# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""T19: webservers that reboot, with and without S3."""

from __future__ import annotations

import time

from scenario import BED, IMAGES

HOST = "web2"
PICTURE = "00/picture-000.jpg"


def served() -> bytes | None:
    """What the webserver answers for a picture that is in the bucket and beneath."""
    return BED.fetch(HOST, f"images/{PICTURE}")


def in_front() -> bool:
    """Whether the bucket lies in front."""
    return "fuse" in BED.on(HOST, f"findmnt -rno FSTYPE --mountpoint {IMAGES.path} | tail -1", check=False)


def test_t19_the_mounts_come_back_after_a_reboot() -> None:
    BED.restart(HOST)
    assert in_front()
    assert served() == (IMAGES.source / PICTURE).read_bytes()


def test_t19_a_reboot_without_s3_serves_local_files_writes_nothing_beneath_and_recovers() -> None:
    store = BED.address("store1")
    BED.on(HOST, f"ip route add unreachable {store}")
    try:
        began = time.monotonic()
        BED.restart(HOST)
        assert time.monotonic() - began < 120, "boot was blocked"
        assert not in_front()
        assert served() == (IMAGES.source / PICTURE).read_bytes()
        assert "Read-only file system" in BED.on(HOST, f"sudo -u www-data touch {IMAGES.path}/beneath 2>&1 || true"), (
            "a write fell beneath the mountpoint"
        )
    finally:
        BED.on(HOST, f"ip route del unreachable {store}")
    end = time.monotonic() + 30
    while not in_front():
        assert time.monotonic() < end, "the mount did not come back"
        time.sleep(0.5)
