# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a restore is, by what its process has written, and has read again to verify."""

from __future__ import annotations

import json
import threading
import time

import pytest

from ansible_collections.adt.assets.plugins.module_utils._progress import Work
from ansible_collections.adt.assets.plugins.module_utils._restic import Repository, Restic
from ansible_collections.adt.assets.plugins.module_utils._restore import Order, restore

SIZE = 3_000_000
# It goes on when it is told to: through a file, as a real one takes its time.
SCRIPT = """#!/usr/bin/python3
import os, sys, time
from pathlib import Path

def wait(name):
    Path(name).touch()
    while not os.path.exists(name + ".seen"):
        time.sleep(0.02)

if "ls" in sys.argv:
    print('{listed}')
else:
    place = Path("{dest}/html/large")
    place.parent.mkdir(parents=True)
    place.write_bytes(bytes({size}))
    wait("{top}/restored")
    print("verifying files in somewhere", flush=True)
    time.sleep(0.2)
    place.read_bytes()
    wait("{top}/verified")
"""


@pytest.fixture
def restic(tmp_path, monkeypatch):
    listed = json.dumps({"type": "file", "path": "/html/large", "size": SIZE})
    names = {"listed": listed, "dest": str(tmp_path / "dest"), "size": str(SIZE), "top": str(tmp_path)}
    script = SCRIPT
    for name, value in names.items():
        script = script.replace("{" + name + "}", value)
    (tmp_path / "restic").write_text(script)
    (tmp_path / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Restic(Repository("https://s3.example.com", "bucket", "us-east-1", False, "", "word", "KEY", "secret", ""))


def test_what_was_restored_and_then_verified_is_counted(tmp_path, restic):
    work, told = Work(), {}
    order = Order("abc", "/html", (), str(tmp_path / "dest"), False)
    thread = threading.Thread(target=lambda: told.update(restore(restic, order, work)))
    thread.start()
    seen = []
    for name in ("restored", "verified"):
        deadline = time.monotonic() + 20
        while not (tmp_path / name).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        whole = work.whole()
        seen.append((work.phase, work.done().bytes // SIZE, whole.bytes if whole else 0, work.estimated))
        (tmp_path / f"{name}.seen").touch()
    thread.join()
    assert seen == [("restoring", 1, SIZE, True), ("verifying", 1, SIZE, True)]
    assert (told["files"], told["bytes"]) == (1, SIZE)
