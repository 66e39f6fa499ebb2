# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One directory of two buckets (merge=), with the tools that can show them as one; the others refuse it."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from scenario import (
    BED,
    PRIVATE,
    READ_ONLY,
    SITE,
    SLUG,
    TABLE,
    WEBSERVERS,
    in_front,
    look_anew,
    program,
    told,
    wait_until,
    without_s3,
)

BUCKETS = tuple(f"{PRIVATE.bucket}{number}" for number in (1, 2))
MERGES = TABLE["capabilities"]["merge"] == "yes"
MERGED = pytest.mark.skipif(not MERGES, reason="this tool refuses several buckets")
HERE, THERE = WEBSERVERS[:2]
STORE_CONF = "/etc/nginx/sites-enabled/s3.conf"
# Looks at every file of a directory again and again: which names were missing at any time, and which errors there were.
LOOK = """
import collections, errno, json, os, sys, time
folder, names = sys.argv[1], sys.argv[2:]
said = collections.Counter()
while not os.path.exists("/tmp/enough"):
    for name in names:
        try:
            with open(os.path.join(folder, name), "rb") as file:
                file.read(1)
        except OSError as error:
            said[errno.errorcode[error.errno]] += 1
    time.sleep(0.05)
print(json.dumps(said))
"""


def holders(key: str) -> list[str]:
    """The buckets in which a key lies."""
    return [bucket for bucket in BUCKETS if key in BED.objects(bucket)]


def shown(host: str, name: str) -> str:
    """What a webserver reads from a file of the directory; empty when it isn't there."""
    return BED.on(host, f"cat {shlex.quote(f'{PRIVATE.path}/{name}')} 2>/dev/null", check=False)


def write(host: str) -> str:
    """What writing a new file says; empty when it was written."""
    return BED.on(host, f"touch {PRIVATE.path}/beneath 2>&1", check=False)


def listed_anew() -> bool:
    """Have the mount ask its buckets again: what it remembers needs none of them, and hides no fault."""
    look_anew(HERE)
    return True


@contextmanager
def bucket_answers(bucket: str, code: int) -> Iterator[None]:
    """The store answers every request for one bucket with an error inside the block."""
    fault = f"    location ~ ^/{bucket}(/|$) {{ return {code}; }} # fault"
    BED.on("store1", f"sed -i {shlex.quote(f'/location . {{/i {fault}')} {STORE_CONF} && nginx -s reload")
    try:
        yield
    finally:
        BED.on("store1", f"sed -i '/# fault/d' {STORE_CONF} && nginx -s reload")


def unnoticed() -> int:
    """How often the second bucket's files may be missing: a listing lacks them until the watch looks, and the mount's
    way back is a moment without anything, 3 s in all; 20 rounds a second."""
    return 3 * 20 * len(BED.objects(BUCKETS[1]))


@contextmanager
def looking(host: str) -> Iterator[dict[str, int]]:
    """Looks at every file of the backup inside the block; afterwards holds how often which error came."""
    names = shlex.join(sorted(PRIVATE.files))
    BED.on(host, f"rm -f /tmp/enough; printf %s {shlex.quote(LOOK)} > /tmp/look.py")
    run = "systemd-run --quiet --collect --unit look -p StandardOutput=truncate:/tmp/looked python3 /tmp/look.py"
    BED.on(host, f"{run} {PRIVATE.path} {names}")
    errors: dict[str, int] = {}
    try:
        yield errors
    finally:
        BED.on(host, "touch /tmp/enough; while systemctl is-active --quiet look; do sleep 0.1; done")
    errors |= json.loads(BED.on(host, "cat /tmp/looked"))


@pytest.mark.skipif(MERGES, reason="this tool merges")
def test_a_tool_that_can_not_merge_says_so_before_anything_is_touched() -> None:
    before = BED.on(HERE, "ls -l --time-style=full-iso /etc/adt-assets/mounts /etc/systemd/system")
    plan = {"site": SITE, "persist": True, "catalog": f"{SLUG}-assets-catalog", "tool": TABLE["name"], "stores": []}
    plan["directories"] = [{"name": PRIVATE.name, "path": PRIVATE.path, "buckets": list(BUCKETS)}]
    variables = {"scenario_plan": plan, "private_bucket": PRIVATE.bucket}
    playbook = Path(__file__).parent.parent / "converge.yml"
    done = BED.playbook(str(playbook), variables, "--limit", HERE, check=False)
    assert done.returncode != 0
    assert "can't show as one directory" in " ".join(done.stdout.split())
    assert BED.on(HERE, "ls -l --time-style=full-iso /etc/adt-assets/mounts /etc/systemd/system") == before


@MERGED
def test_the_backup_is_spread_and_every_file_lies_in_one_bucket() -> None:
    held = [{key for key in BED.objects(bucket) if not key.endswith("/")} for bucket in BUCKETS]
    assert all(held)
    assert held[0] & held[1] == set()
    assert held[0] | held[1] == set(PRIVATE.files)


@MERGED
def test_what_is_written_on_one_webserver_lies_in_one_bucket_and_is_seen_by_the_other() -> None:
    second = min(set(BED.objects(BUCKETS[1])))
    old = shown(HERE, second)
    for name, text in (("created.txt", "created"), ("there/deep.txt", "deep"), (second, "changed")):
        path = shlex.quote(f"{PRIVATE.path}/{name}")
        BED.on(HERE, f"mkdir -p $(dirname {path}); printf {text} > {path}")
    # As programs do that never want to show half a file.
    BED.on(HERE, f"cd {PRIVATE.path}; printf replaced > new.tmp; mv new.tmp there/deep.txt; mv created.txt renamed.txt")
    for name, text in (("renamed.txt", "created"), ("there/deep.txt", "replaced"), (second, "changed")):
        wait_until(lambda name=name, text=text: shown(THERE, name) == text)
        wait_until(lambda name=name: len(holders(name)) == 1, 5)
    assert holders(second) == [BUCKETS[1]], "a file that was changed has moved"
    # One that was renamed while it was uploaded is gone when that is noticed.
    wait_until(lambda: holders("created.txt") == holders("new.tmp") == [])
    BED.on(HERE, f"cd {PRIVATE.path}; rm -r renamed.txt there")
    BED.s3.put_object(Bucket=BUCKETS[1], Key=second, Body=PRIVATE.files[second].read_bytes())
    look_anew(*WEBSERVERS)
    assert old != "changed"


@MERGED
def test_a_directory_with_files_of_both_buckets_is_renamed_and_deleted_whole() -> None:
    for number, bucket in enumerate(BUCKETS):
        BED.s3.put_object(Bucket=bucket, Key=f"album/{number}.txt", Body=b"x")
    look_anew(*WEBSERVERS)
    wait_until(lambda: shown(HERE, "album/0.txt") == shown(HERE, "album/1.txt") == "x")
    BED.on(HERE, f"mv {PRIVATE.path}/album {PRIVATE.path}/book")
    wait_until(lambda: shown(THERE, "book/0.txt") == shown(THERE, "book/1.txt") == "x")
    wait_until(lambda: not shown(THERE, "album/0.txt"))
    assert [holders(f"book/{number}.txt") for number in range(2)] == [[bucket] for bucket in BUCKETS]
    BED.on(HERE, f"rm -r {PRIVATE.path}/book")
    wait_until(lambda: not any(key.startswith(("album", "book")) for bucket in BUCKETS for key in BED.objects(bucket)))


@MERGED
def test_h15_while_one_bucket_fails_local_files_answer_and_nothing_is_written_beneath() -> None:
    with looking(HERE) as errors:
        with bucket_answers(BUCKETS[1], 503):
            wait_until(lambda: listed_anew() and not in_front(HERE, PRIVATE).startswith("fuse"), 20)
            assert f"bucket {BUCKETS[1]}" in told(HERE, PRIVATE)
            assert READ_ONLY in write(HERE), "a write fell into a bare directory"
        wait_until(lambda: "is in front" in told(HERE, PRIVATE), 40)
    assert errors.get("ENOENT", 0) <= unnoticed()


@MERGED
def test_h15_while_one_bucket_refuses_and_no_local_files_are_kept_every_access_is_an_error() -> None:
    kept = f"/run/adt-assets/beneath/{PRIVATE.name}"
    missing = f"{PRIVATE.path}/{min(key for key in BED.objects(BUCKETS[1]) if key in PRIVATE.files)}"
    BED.on(HERE, f"mkdir /root/kept && mv {kept}/* /root/kept")
    try:
        with looking(HERE) as errors:
            with bucket_answers(BUCKETS[1], 403):
                wait_until(lambda: listed_anew() and f"bucket {BUCKETS[1]}" in told(HERE, PRIVATE), 20)
                for _time in range(3):
                    said = BED.on(HERE, f"cat {missing} 2>&1 >/dev/null", check=False)
                    assert said and "No such file" not in said
                    assert write(HERE), "a write fell into a bare directory"
                    time.sleep(1)
            wait_until(lambda: "is in front" in told(HERE, PRIVATE), 40)
    finally:
        BED.on(HERE, f"mv /root/kept/* {kept} && rmdir /root/kept")
    assert errors.get("ENOENT", 0) <= unnoticed()


@MERGED
def test_h12_what_waits_to_be_uploaded_is_named() -> None:
    BED.on(HERE, f"ls {PRIVATE.path}")  # what is in the directory stays known for some seconds
    with without_s3(HERE):
        BED.on(HERE, f"sudo -u www-data sh -c 'echo x > {PRIVATE.path}/waiting.txt'")
        assert "waiting.txt" in program(HERE, PRIVATE, "drain", "--seconds 3", check=False)
    wait_until(lambda: len(holders("waiting.txt")) == 1)
    assert json.loads(program(HERE, PRIVATE, "drain")) == {"pending": 0}
    program(HERE, PRIVATE, "writable")
    BED.on(HERE, f"rm {PRIVATE.path}/waiting.txt")
