# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of long work: done, left, rate, time to go; a look that fails ends nothing."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.adt.assets.plugins.module_utils._progress import (
    Amount,
    Count,
    Io,
    Progress,
    StatusFile,
    Work,
    io_of,
    on_file,
    outlook,
    told,
)
from ansible_collections.adt.assets.plugins.plugin_utils._progress import Teller, duration, line, parse


def record(done, whole, before, seconds, *, estimated=False, phase="copying"):
    told = outlook(Amount(*done), Amount(*whole) if whole else None, (0.0, Amount(*before)), seconds)
    return {"phase": phase, "seconds": seconds, **Amount(*done).record(), **told, "estimated": estimated}


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (
            record((12300, 240 * 2**20), (20000, 400 * 2**20), (0, 0), 10),
            "copying, 10 s until now; 12,300 files (240.00 MB) done; 7,700 (160.00 MB) left; 1,230 files/s, "
            "24.00 MB/s; about 7 s to go",
        ),
        (
            record((100, 2**20), (1000, 2**30), (90, 0), 2, estimated=True),
            "copying, 2 s until now; 100 files (1.00 MB) done; about 900 (1023.00 MB) left; 5 files/s, 512.00 KB/s; "
            "about 34 min 6 s to go",
        ),
        (record((0, 0), None, (0, 0), 70, phase="listing"), "listing, 1 min 10 s until now"),
        (
            record((0, 3 * 2**20), (0, 9 * 2**20), (0, 0), 3, estimated=True, phase="restoring"),
            "restoring, 3 s until now; 3.00 MB done; about 6.00 MB left; 1.00 MB/s; about 6 s to go",
        ),
        (record((5, 0), (5, 0), (5, 0), 3), "copying, 3 s until now; 5 files (0.00 Bytes) done; 0 (0.00 Bytes) left"),
    ],
)
def test_a_status_in_words(told, text):
    assert line(json.loads(json.dumps(told))) == text


def test_durations():
    assert [duration(seconds) for seconds in (0, 59.4, 60, 3599, 7500)] == [
        "0 s", "59 s", "1 min 0 s", "59 min 59 s", "2 h 5 min",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "cat: no such file", "[1]", '{"half":'])
def test_what_is_no_status(text):
    assert parse(text) is None


def test_a_look_that_fails_is_tried_again():
    said, texts = [], iter([OSError("gone"), "", json.dumps(record((1, 1), None, (0, 0), 1)), "half"])

    def read():
        text = next(texts, "")
        if isinstance(text, OSError):
            raise text
        return text

    with Teller(read, said.append, 0.02):
        deadline = time.monotonic() + 5
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(said) == 1 and "1 files" in said[0]


def test_i6_the_file_is_for_its_user_alone_and_follows_no_link(tmp_path: Path):
    path, other = tmp_path / "status", tmp_path / "other"
    other.write_text("precious")
    place = StatusFile(str(path))
    place.write({"a": 1})
    assert json.loads(path.read_text()) == {"a": 1} and path.stat().st_mode & 0o777 == 0o600
    place.end({})
    assert not path.exists()
    path.symlink_to(other)
    place.write({"a": 1})
    assert other.read_text() == "precious" and not path.is_symlink()
    os.symlink(other, f"{path}.part")
    place.write({"a": 2})
    assert other.read_text() == "precious" and json.loads(path.read_text()) == {"a": 1}


def test_short_work_leaves_no_trace(tmp_path: Path):
    progress = Progress(Work(), StatusFile(str(tmp_path / "status")))
    progress.start()
    progress.finish("done")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_a_killed_run_has_left_hinders_nobody(tmp_path: Path):
    place = StatusFile(str(tmp_path / "status"))
    for name in ("status", "status.part"):
        (tmp_path / name).write_text("left")
    place.remove()
    place.write({"a": 1})
    assert json.loads((tmp_path / "status").read_text()) == {"a": 1}


def test_work_in_a_block_is_told_in_a_file_where_one_is_named(tmp_path: Path):
    assert on_file(Work(), "") == []
    path, work, count = tmp_path / "status", Work(), Count()
    with told(on_file(work, str(path))):
        for size in (3, 4):
            count.add(size)
        work.go_on("reading", count.amount, Amount(5, 10))
        deadline = time.monotonic() + 5
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        said = parse(path.read_text())
    assert said and (said["phase"], said["count"], said["bytes"]) == ("reading", 2, 7)
    assert said["left"] == {"count": 3, "bytes": 3} and not said["estimated"]
    assert not path.exists()


def test_what_a_process_reads_and_writes_is_counted():
    process = subprocess.Popen(["true"])
    process.wait()
    assert io_of(process.pid) == Io(0, 0)
    before = io_of(os.getpid())
    with open(os.devnull, "wb", buffering=0) as sink, open("/dev/zero", "rb", buffering=0) as source:
        sink.write(source.read(1_000_000))
    after = io_of(os.getpid())
    assert after.read - before.read >= 1_000_000 <= after.written - before.written
