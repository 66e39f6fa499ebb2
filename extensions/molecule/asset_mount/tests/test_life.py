# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mount lives through: its process dies or hangs (T6), its webserver reboots with and without S3 (T19)."""

from __future__ import annotations

import json
import time

import pytest
from scenario import BED, IMAGES, in_front, wait_until

HOST = "web2"
PICTURE = "00/picture-000.jpg"
REPAIR_SECONDS = 15


def served() -> bytes | None:
    """What the webserver answers for a picture that is in the bucket and beneath."""
    return BED.fetch(HOST, f"images/{PICTURE}")


def process() -> str:
    """The process number of the mount; 0 while there is none."""
    return BED.on(HOST, f"systemctl show -P MainPID {IMAGES.unit}").strip()


def told() -> str:
    """What ``status`` says has happened last."""
    name = IMAGES.unit.removeprefix("adt-assets-").removesuffix(".service")
    return json.loads(BED.on(HOST, f"python3 -I /usr/local/lib/adt-assets/mount.py status {name}"))["event"]["what"]


@pytest.mark.parametrize("signal", ["KILL", "STOP"])
def test_t6_a_mount_whose_process_dies_or_hangs_is_repaired_in_time_and_that_is_told(signal: str) -> None:
    before = process()
    BED.on(HOST, f"kill -{signal} {before}")
    wait_until(
        lambda: process() not in (before, "0") and in_front(HOST).startswith("fuse"),
        REPAIR_SECONDS,
        lambda: BED.on(HOST, "journalctl --no-pager -n 40 -u 'adt-assets-*'"),
    )
    assert served() == (IMAGES.source / PICTURE).read_bytes()
    wait_until(lambda: "is in front" in told(), 5)
    journal = BED.on(HOST, "journalctl --no-pager -o cat -u adt-assets-watch")
    assert {"KILL": "the mount ended", "STOP": "did not answer"}[signal] in journal


def test_t19_the_mounts_come_back_after_a_reboot() -> None:
    BED.restart(HOST)
    assert in_front(HOST).startswith("fuse")
    assert served() == (IMAGES.source / PICTURE).read_bytes()


def test_t19_a_reboot_without_s3_serves_local_files_writes_nothing_beneath_and_recovers() -> None:
    store = BED.address("store1")
    BED.on(HOST, f"ip route add unreachable {store}")
    try:
        began = time.monotonic()
        BED.restart(HOST)
        assert time.monotonic() - began < 120, "boot was blocked"
        assert not in_front(HOST).startswith("fuse")
        assert served() == (IMAGES.source / PICTURE).read_bytes()
        assert "Read-only file system" in BED.on(HOST, f"sudo -u www-data touch {IMAGES.path}/beneath 2>&1 || true"), (
            "a write fell beneath the mountpoint"
        )
    finally:
        BED.on(HOST, f"ip route del unreachable {store}")
    wait_until(lambda: in_front(HOST).startswith("fuse"), 30)
