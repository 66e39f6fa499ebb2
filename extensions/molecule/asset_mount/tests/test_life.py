# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mount lives through.

Its process dies or hangs (T6), its webserver is drained (T7) and reboots (T19), with and without S3.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from scenario import BED, IMAGES, READ_ONLY, SOAK, TABLE, WEBSERVERS, in_front, program, told, wait_until, without_s3

HOST = "web2"
PICTURE = "00/picture-000.jpg"
REPAIR_SECONDS = 15
# T7 asks for 200 rounds over the four tools.
ROUNDS = 50 if SOAK else 2
WRITER = f"""
cd {IMAGES.path} && rm -f /tmp/written
for number in $(seq 200); do
    head -c $((number % 40 * 10000 + 1)) /dev/urandom > /tmp/one
    cp /tmp/one by-{{round}}-$number.bin && echo "by-{{round}}-$number.bin $(md5sum < /tmp/one)" >> /tmp/written
done
true
"""


def served() -> bytes | None:
    """What the webserver answers for a picture that is in the bucket and beneath."""
    return BED.fetch(HOST, f"images/{PICTURE}")


def process() -> str:
    """The process number of the mount; 0 while there is none."""
    return BED.on(HOST, f"systemctl show -P MainPID {IMAGES.unit}").strip()


def write(name: str) -> str:
    """What writing a file as the webserver's user says."""
    return BED.on(HOST, f"sudo -u www-data sh -c 'echo {name} > {IMAGES.path}/{name}' 2>&1", check=False)


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
    wait_until(lambda: "is in front" in told(HOST, IMAGES), 5)
    journal = BED.on(HOST, "journalctl --no-pager -o cat -u adt-assets-watch")
    assert {"KILL": "the mount ended", "STOP": "did not answer"}[signal] in journal


@contextmanager
def unheard() -> Iterator[None]:
    """S3 accepts what mount tools ask inside the block, and never answers them; others are answered."""
    config = "/etc/nginx/sites-enabled/s3.conf"
    server = "import socket, time; socket.create_server((str(), 8335), backlog=512); time.sleep(1e6)"
    tools = "if ($http_user_agent !~* (python|boto)) { proxy_pass http://127.0.0.1:8335; }"
    BED.on(
        "store1",
        f"""systemd-run --quiet --collect --unit silent python3 -c '{server}'
        cp {config} /tmp/s3.conf && sed -i 's#location / {{#& {tools}#' {config} && systemctl reload nginx""",
    )
    try:
        yield
    finally:
        BED.on("store1", f"cp /tmp/s3.conf {config}; systemctl stop silent; systemctl restart nginx")


@pytest.mark.skipif(bool(TABLE["remote_control"]), reason="it knows which names there are, and doesn't ask S3")
def test_t6_a_mount_in_which_look_ups_hang_is_ended_in_time_while_s3_answers_others() -> None:
    before = process()
    journal = f"journalctl --no-pager -o cat -u 'adt-assets-*' --since=@{time.time():.0f}"
    with unheard():
        wait_until(
            lambda: f"{IMAGES.path}: the mount did not answer" in BED.on(HOST, journal),
            REPAIR_SECONDS,
            lambda: BED.on(HOST, f"{journal} | tail"),
        )
    wait_until(lambda: process() not in (before, "0"), 60)
    for host in WEBSERVERS:  # it happened to all
        wait_until(
            lambda host=host: in_front(host).startswith("fuse"),
            90,  # a start that had begun meanwhile gives up after 45 s
            lambda host=host: BED.on(host, f"{journal} | tail -40"),
        )
    wait_until(lambda: served() == (IMAGES.source / PICTURE).read_bytes(), 60)


def test_t7_h14_a_webserver_that_is_drained_while_files_are_written_loses_none() -> None:
    for number in range(ROUNDS):
        writer = WRITER.format(round=number)
        BED.on(HOST, f"systemd-run --quiet --collect --unit writer --uid www-data bash -c {shlex.quote(writer)}")
        time.sleep(1.5)
        assert json.loads(program(HOST, IMAGES, "drain", "--seconds 120")) == {"pending": 0}
        assert READ_ONLY in write("too-late")
        BED.on(HOST, f"systemctl stop writer; systemctl stop {IMAGES.unit}")
        written = [line.split() for line in BED.on(HOST, "cat /tmp/written").splitlines()]
        assert len(written) > 3, "nobody was writing"
        there = BED.objects(IMAGES.bucket)
        lost = [name for name, digest, _dash in written if name not in there or digest not in there[name]["ETag"]]
        assert lost == []
        assert READ_ONLY in write("beneath"), "a write fell beneath the mountpoint"
        BED.on(HOST, f"systemctl start {IMAGES.unit}; rm -f {IMAGES.path}/by-*")


@pytest.mark.skipif(not TABLE["waits_in_cache"], reason="its uploads end before close() does, or live in its memory")
def test_h12_what_waits_to_be_uploaded_is_named_and_never_thrown_away() -> None:
    BED.on(HOST, f"ls {IMAGES.path}")  # what is in the directory stays known for some seconds
    with without_s3(HOST):
        assert write("waiting.txt") == ""
        said = program(HOST, IMAGES, "drain", "--seconds 3", check=False)
        assert "waiting.txt" in said and "Writes are allowed again" in said
        assert READ_ONLY not in write("waiting.txt"), "writes are still refused"
        BED.on(HOST, f"systemctl stop {IMAGES.unit}")
        said = program(HOST, IMAGES, "drain", check=False)
        assert "waiting.txt" in said and "nothing is mounted" in said
    BED.on(HOST, f"systemctl start {IMAGES.unit}")
    wait_until(lambda: "waiting.txt" in BED.objects(IMAGES.bucket))
    assert json.loads(program(HOST, IMAGES, "drain")) == {"pending": 0}
    program(HOST, IMAGES, "writable")
    BED.on(HOST, f"rm {IMAGES.path}/waiting.txt")


def test_t19_the_mounts_come_back_after_a_reboot() -> None:
    BED.restart(HOST)
    assert in_front(HOST).startswith("fuse")
    assert served() == (IMAGES.source / PICTURE).read_bytes()


def test_t19_a_reboot_without_s3_serves_local_files_writes_nothing_beneath_and_recovers() -> None:
    with without_s3(HOST):
        began = time.monotonic()
        BED.restart(HOST)
        assert time.monotonic() - began < 120, "boot was blocked"
        assert not in_front(HOST).startswith("fuse")
        assert served() == (IMAGES.source / PICTURE).read_bytes()
        assert READ_ONLY in write("beneath"), "a write fell beneath the mountpoint"
    wait_until(lambda: in_front(HOST).startswith("fuse"), 30)
