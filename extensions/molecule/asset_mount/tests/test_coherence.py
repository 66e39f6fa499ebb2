# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Webservers tell each other what changed (T21), so that mounts need no S3 for what they know (T5)."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import quantiles

import pytest
from fleet import Server, Writer, change_and_wait
from scenario import (
    BED,
    COHERENCE,
    IMAGES,
    NOT_THERE,
    PRIVATE,
    SOAK,
    TABLE,
    WEBSERVERS,
    look_anew,
    program,
    readers,
    upload,
    wait_until,
    without_s3,
)

pytestmark = pytest.mark.skipif(not TABLE["remote_control"], reason="its mounts can't be told anything")
HERE, THERE = WEBSERVERS[:2]
KINDS = ("uploaded", "overwritten", "deleted")
# T21: seconds for 99 of 100 changes.
TARGETS = {"uploaded": 2.0, "overwritten": 5.0, "deleted": 5.0}
# T21 asks for 500 operations.
FILES = 167 if SOAK else 15
# T5 asks for 60 s.
OUTAGE_SECONDS = 60 if SOAK else 15


def unsure(host: str) -> str | None:
    """Why a webserver may notice others' changes late, as status says."""
    return json.loads(program(host, IMAGES, "status"))["unsure"]


@contextmanager
def cut_off() -> Iterator[None]:
    """The webservers can't reach each other inside the block."""
    address = BED.address(THERE)
    BED.on(HERE, f"ip route add unreachable {address}")
    try:
        yield
    finally:
        BED.on(HERE, f"ip route del unreachable {address}")


def requests_for_images(seconds: float) -> list[str]:
    """What reaches the store for the bucket in some seconds."""
    before = len(BED.requests())
    time.sleep(seconds)
    return [line for line in BED.requests()[before:] if f"/{IMAGES.bucket}" in line]


def shown(answer: bytes | None) -> str:
    """An answer, with what it repeats left out."""
    return re.sub(r"(.+?)\1+", r"\1…", repr(answer))


class Changes:
    """Changes files on webservers chosen at random, and keeps what the others answered meanwhile."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self.broken = dict.fromkeys(KINDS, 0)  # answers that ended early
        self.cut = 0  # answers with one content and the other's size
        self.wrong: list[str] = []
        self._choose = random.Random(21)
        self._addresses = {host: BED.address(host) for host in WEBSERVERS}
        self._writers = {host: Writer(BED, host) for host in WEBSERVERS}

    def __enter__(self) -> Changes:
        wait_until(lambda: unsure(HERE) == unsure(THERE) == "")
        return self

    def __exit__(self, *_error: object) -> None:
        for writer in self._writers.values():
            writer.close()

    def make(self, kind: str, name: str, before: bytes | None) -> bytes | None:
        """Change a file and ask the others for it until they serve what it is now, which is returned."""
        host = self._choose.choice(WEBSERVERS)
        others = [Server(address) for other, address in self._addresses.items() if other != host]
        body = None if kind == "deleted" else f"{kind} " * self._choose.randrange(1, 3000)
        self.seconds[kind].append(change_and_wait(self._writers[host], f"images/{name}", body, others))
        self.broken[kind] += sum(server.broken for server in others)
        after = None if body is None else body.encode()
        for answer in (answer for server in others for answer in server.others if answer != before):
            if kind == "overwritten" and answer and any(version.startswith(answer) for version in (before, after)):
                self.cut += 1
            else:
                sizes = [None if body is None else len(body) for body in (before, after, answer)]
                self.wrong.append(f"{name} {kind}: of {sizes[0]} and {sizes[1]} bytes {sizes[2]}: {shown(answer)}")
        return after

    def worst(self) -> dict[str, float]:
        """The seconds of 99 of 100 changes."""
        return {
            kind: round(quantiles(seconds, n=100, method="inclusive")[98], 2)
            for kind, seconds in self.seconds.items()
            if len(seconds) > 1
        }


def test_t21_what_changes_on_one_webserver_is_served_by_others_in_time_and_nothing_else() -> None:
    """While each change is asked for up to 50 times a second, the hardest case for what a mount remembers.

    What is deleted may break off: its size was asked for before it was gone.
    """
    with Changes() as changes:
        for number in range(FILES):
            now: bytes | None = None
            for kind in KINDS:
                now = changes.make(kind, f"t21-{number}.txt", now)
    worst = changes.worst()
    print(worst, f"{changes.cut} cut, broken off: {changes.broken}")
    assert changes.wrong == []
    assert changes.cut == changes.broken["uploaded"] == changes.broken["overwritten"] == 0
    assert all(worst[kind] <= TARGETS[kind] for kind in KINDS), worst


def test_t21_a_directory_that_is_made_filled_renamed_and_deleted_is_the_same_on_the_others() -> None:
    make = "mkdir -p made/deep && echo deep > made/deep/file.txt"
    BED.on(HERE, f"cd {IMAGES.path} && sudo -u www-data sh -c '{make}'")
    wait_until(lambda: BED.fetch(THERE, "images/made/deep/file.txt") == b"deep\n", 5)
    BED.on(HERE, f"sudo -u www-data mv {IMAGES.path}/made {IMAGES.path}/moved")
    wait_until(lambda: BED.fetch(THERE, "images/moved/deep/file.txt") == b"deep\n", 5)
    wait_until(lambda: BED.fetch(THERE, "images/made/deep/file.txt") == NOT_THERE, 5)
    BED.on(THERE, f"sudo -u www-data rm -r {IMAGES.path}/moved")
    wait_until(lambda: BED.fetch(HERE, "images/moved/deep/file.txt") == NOT_THERE, 5)


def test_t21_what_is_done_in_a_directory_that_another_made_is_told_too_also_after_everything_was_forgotten() -> None:
    deep = f"{IMAGES.path}/theirs/deep"
    for _time in ("first", "again"):  # the second one has the name of the first one, which the other has removed
        BED.on(THERE, f"sudo -u www-data sh -c 'mkdir -p {deep} && echo 1 > {deep}/one.txt'")
        wait_until(lambda: BED.fetch(HERE, "images/theirs/deep/one.txt") == b"1\n", 5)
        for name in ("two", "three"):
            BED.on(HERE, f"sudo -u www-data sh -c 'echo {name} > {deep}/{name}.txt'")
            wait_until(lambda name=name: BED.fetch(THERE, f"images/theirs/deep/{name}.txt") == f"{name}\n".encode(), 5)
            look_anew(*WEBSERVERS)
            program(HERE, IMAGES, "status")
        BED.on(THERE, f"sudo -u www-data rm -r {IMAGES.path}/theirs")
        wait_until(lambda: BED.fetch(HERE, "images/theirs/deep/one.txt") == NOT_THERE, 5)


def test_warm_serving_costs_no_request_to_s3() -> None:
    wait_until(lambda: unsure(HERE) == unsure(THERE) == "")
    with readers():
        time.sleep(10)
        assert requests_for_images(15) == []


def test_t21_without_the_channel_changes_are_seen_some_seconds_later_and_status_says_so() -> None:
    with cut_off():
        wait_until(lambda: THERE in (unsure(HERE) or "") and HERE in (unsure(THERE) or ""), 15)
        began = time.monotonic()
        upload("while-cut-off.txt", b"seen all the same")
        assert time.monotonic() - began < 12
        BED.on(THERE, f"sudo -u www-data rm {IMAGES.path}/while-cut-off.txt")
        wait_until(lambda: BED.fetch(HERE, "images/while-cut-off.txt") == NOT_THERE, 15)
    wait_until(lambda: unsure(HERE) == unsure(THERE) == "", 15)


def test_what_comes_into_the_bucket_otherwise_is_shown_when_the_service_is_reloaded() -> None:
    BED.s3.put_object(Bucket=IMAGES.bucket, Key="by-others.txt", Body=b"by others")
    assert BED.fetch(HERE, "images/by-others.txt") == NOT_THERE
    look_anew(HERE)
    wait_until(lambda: BED.fetch(HERE, "images/by-others.txt") == b"by others", 5)
    BED.on(HERE, f"sudo -u www-data rm {IMAGES.path}/by-others.txt")


def test_a_service_that_hangs_or_dies_is_started_again_and_changes_are_noticed_then() -> None:
    for signal in ("KILL", "STOP"):
        BED.on(THERE, f"systemctl kill --signal {signal} {COHERENCE}")
        upload(f"while-{signal}.txt", b"seen all the same")
        wait_until(lambda: unsure(HERE) == unsure(THERE) == "", 60)
        BED.on(HERE, f"rm {IMAGES.path}/while-{signal}.txt")


def test_i6_the_key_is_in_no_file_that_others_can_read_and_in_no_journal() -> None:
    secret = BED.env["AWS_SECRET_ACCESS_KEY"]
    readable = BED.on(HERE, "cat /etc/adt-assets/coherence/* /run/adt-assets/coherence.json")
    journal = BED.on(HERE, f"journalctl --no-pager -u {COHERENCE}")
    assert secret not in readable + journal


def test_t5_without_s3_what_is_known_is_served_pages_go_on_and_it_recovers_by_itself() -> None:
    wait_until(lambda: unsure(HERE) == unsure(THERE) == "")
    BED.s3.put_object(Bucket=IMAGES.bucket, Key="cold.jpg", Body=b"never asked for")
    look_anew(*WEBSERVERS)
    with readers():  # warm
        time.sleep(10)
    with ExitStack() as outage:
        with readers():
            for host in WEBSERVERS:
                outage.enter_context(without_s3(host))
            end = time.monotonic() + OUTAGE_SECONDS
            while time.monotonic() < end:
                began = time.monotonic()
                assert BED.fetch(HERE, "index.php") == NOT_THERE
                assert time.monotonic() - began < 2, "a page without assets had to wait"
                time.sleep(0.5)
        began = time.monotonic()
        assert BED.fetch(HERE, "images/cold.jpg", 90) is None, "an error, and not that there is no such file"
        assert time.monotonic() - began < 60
    wait_until(lambda: BED.fetch(HERE, "images/cold.jpg") == b"never asked for", 30)
    BED.on(HERE, f"rm {IMAGES.path}/cold.jpg")


def test_a_directory_of_several_buckets_is_told_of_too() -> None:
    BED.on(HERE, f"echo new > {PRIVATE.path}/told.txt")
    wait_until(lambda: BED.on(THERE, f"cat {PRIVATE.path}/told.txt 2>/dev/null || true") == "new\n", 5)
    BED.on(THERE, f"rm {PRIVATE.path}/told.txt")
    wait_until(lambda: BED.on(HERE, f"ls {PRIVATE.path}/told.txt 2>/dev/null || true") == "", 5)


def off_keys() -> set[str]:
    return {key for key in BED.objects(IMAGES.bucket) if key.startswith("off-")}


def call_off_uploads() -> None:
    """Rename and delete files while S3 has their content, and has not said so yet."""
    names = ("off-deleted", "off-moved", "off-again")
    write = "; ".join(f"echo {name} > {name}" for name in names)
    BED.on(HERE, f"ls {IMAGES.path}")  # else it is listed when S3 doesn't answer
    BED.on("store1", "systemctl kill --signal=STOP seaweedfs")
    try:
        BED.on(HERE, f"cd {IMAGES.path}; {write}; sleep 1.5; rm {names[0]}; mv {names[1]} off-kept; rm {names[2]}")
        BED.on(HERE, f"cd {IMAGES.path}; ln -s off-kept off-link; sleep 1.5; rm off-link; echo new > {names[2]}")
    finally:
        BED.on("store1", "systemctl kill --signal=CONT seaweedfs")


def test_i4_an_upload_that_was_called_off_leaves_nothing_that_comes_back() -> None:
    keys, deleted = {"off-kept", "off-again"}, {"off-deleted", "off-moved", "off-link.rclonelink"}
    never = set(deleted)
    for _time in range(10):  # S3 keeps most of what was called off, but not always all
        before = len(BED.requests())
        call_off_uploads()
        wait_until(lambda: keys <= off_keys())  # what was sent last
        wait_until(lambda: keys == off_keys(), explain=lambda: f"left in the bucket: {off_keys() - keys}")
        requests = "\n".join(BED.requests()[before:])
        never -= {key for key in deleted if f" DELETE /{IMAGES.bucket}/{key}?" in requests}
        if not never:
            break
        BED.on(HERE, f"cd {IMAGES.path}; rm off-kept off-again")
    assert not never, "it was never left in the bucket, or never deleted"
    look_anew(*WEBSERVERS)
    listed = f"cd {IMAGES.path}; ls | grep ^off-; cat off-kept off-again"
    for host in WEBSERVERS:
        wait_until(lambda host=host: BED.on(host, listed) == "off-again\noff-kept\noff-moved\nnew\n")
    BED.on(HERE, f"cd {IMAGES.path}; rm off-kept off-again")


@contextmanager
def uploads_beside() -> Iterator[None]:
    """Others upload files into the same directory, so that it is listed again and again."""
    stop = threading.Event()
    writers = [Writer(BED, host) for host in WEBSERVERS]

    def upload_them() -> None:
        number = 0
        while not stop.wait(0.1):
            number += 1
            writers[number % len(writers)].change(f"{IMAGES.path}/t21-beside-{number % 20}.txt", f"{number} " * 100)

    thread = threading.Thread(target=upload_them)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for writer in writers:
            writer.close()
        # One that is deleted here while it is uploaded there is asked for again for half a minute.
        all_of_them = f"{IMAGES.path}/t21-beside-*.txt"
        wait_until(lambda: len({BED.on(host, f"cat {all_of_them}") for host in WEBSERVERS}) == 1)
        BED.on(HERE, f"rm {all_of_them}")


def test_t21_a_file_is_overwritten_under_its_readers_as_a_whole_also_when_others_beside_it_change() -> None:
    with Changes() as changes, uploads_beside():
        now = changes.make("uploaded", "t21-again.txt", None)
        for _time in range(FILES):
            now = changes.make("overwritten", "t21-again.txt", now)
    BED.on(HERE, f"rm {IMAGES.path}/t21-again.txt")
    print(changes.worst(), f"{changes.cut} cut, broken off: {changes.broken}")
    assert changes.wrong == []
    assert changes.cut == changes.broken["overwritten"] == 0
