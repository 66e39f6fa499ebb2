# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what the mount tool of the asset_mount scenario can do, between two webservers that have the mounts."""

from __future__ import annotations

import base64
import json
import secrets
import time
from pathlib import Path

from scenario import BED, IMAGES, WEBSERVERS, md5, wait_until, without_s3

PROGRAM = Path(__file__).with_name("operations.py")
SEEN_SECONDS = 120  # longer than any tool's caches


def _run(host: str, phase: str, folder: str) -> dict[str, str]:
    packed = base64.b64encode(PROGRAM.read_bytes()).decode()
    BED.on(host, f"echo {packed} | base64 -d > /tmp/operations.py")
    return json.loads(BED.on(host, f"sudo -u www-data python3 /tmp/operations.py {phase} {folder}"))


def operations() -> dict[str, str]:
    """Each operation: yes, refused (an error), or ignored (no error, but the other webserver doesn't see it done)."""
    here, there = WEBSERVERS[:2]
    folder = f"{IMAGES.path}/probe-{secrets.token_hex(4)}"
    done = _run(here, "do", folder)
    last = f"{folder.rpartition('/')[2]}/large"
    wait_until(lambda: last in BED.objects(IMAGES.bucket), SEEN_SECONDS)
    time.sleep(3)
    wait_until(lambda: BED.on(there, f"stat -c %s {folder}/create 2>&1", check=False).strip() == "7", SEEN_SECONDS)
    seen = _run(there, "see", folder)
    BED.on(here, f"rm -r {folder}", check=False)
    return {name: "refused" if done[name] else "ignored" if seen[name] else "yes" for name in done}


def requests_for_missing() -> int:
    """Requests to S3 for 100 look-ups of names that aren't there, asked for a second time at once."""
    host = WEBSERVERS[0]
    ask = f"for n in $(seq 100); do stat {IMAGES.path}/00/missing-$n.jpg; done >/dev/null 2>&1; true"
    BED.on(host, ask)
    before = len(BED.requests())
    BED.on(host, ask)
    return sum(f"/{IMAGES.bucket}" in line for line in BED.requests()[before:])


def delays() -> dict[str, float | None]:
    """Seconds until a webserver that serves a directory sees what another one does there; the longest of three files.

    ``created``: a name that was asked for before. ``changed``: other bytes in a file that was read before. ``deleted``.
    None: it never did while it was asked once a second for two minutes.
    """
    here, there = WEBSERVERS[:2]
    folder = f"{IMAGES.path}/delays-{secrets.token_hex(4)}"
    files = " ".join(f"{folder}/{number}" for number in range(3))
    BED.on(here, f"sudo -u www-data mkdir {folder}")
    wait_until(lambda: "yes" in BED.on(there, f"test -d {folder} && echo yes", check=False), SEEN_SECONDS)
    look = f"cat {files} 2>/dev/null | md5sum"
    steps = {
        "created": f"for file in {files}; do echo one > $file; done",
        "changed": f"for file in {files}; do echo another > $file; done",
        "deleted": f"rm {files}",
    }
    shown = {"created": "one\n" * 3, "changed": "another\n" * 3, "deleted": ""}
    seconds: dict[str, float | None] = {}
    for name, command in steps.items():
        BED.on(there, look)
        began = time.monotonic()
        BED.on(here, f"sudo -u www-data bash -c '{command}'")
        digest = md5(shown[name].encode())
        while not (seen := BED.on(there, look).startswith(digest)) and time.monotonic() < began + SEEN_SECONDS:
            time.sleep(1)
        seconds[name] = round(time.monotonic() - began, 1) if seen else None
    BED.on(here, f"rmdir {folder}", check=False)
    return seconds


def outage() -> dict[str, tuple[bool, float]]:
    """What works while S3 can't be reached, and in how many seconds it answers.

    ``warm``: a file that was read before. ``cold``: one that wasn't. ``new``: a file that is written.
    """
    host = WEBSERVERS[0]
    warm, cold = [f"{IMAGES.path}/{name}" for name in sorted(IMAGES.files) if name.startswith("00/picture")][:2]
    ask = {"warm": f"cat {warm}", "cold": f"cat {cold}", "new": f"sh -c 'echo x > {IMAGES.path}/00/in-outage.txt'"}
    BED.on(host, f"ls -l {IMAGES.path}/00; cat {warm}")
    answers = {}
    with without_s3(host):
        for name, command in ask.items():
            began = time.monotonic()
            said = BED.on(host, f"timeout 60 sudo -u www-data {command} >/dev/null 2>&1; echo $?")
            answers[name] = (said.strip() == "0", round(time.monotonic() - began, 1))
    return answers


def memory() -> int:
    """The most memory that the mount process has had, in MiB."""
    pid = BED.on(WEBSERVERS[0], f"systemctl show -P MainPID {IMAGES.unit}").strip()
    return int(BED.on(WEBSERVERS[0], f"grep VmHWM /proc/{pid}/status").split()[1]) // 1024


if __name__ == "__main__":
    measured = {
        "operations": operations(),
        "requests_for_missing": requests_for_missing(),
        "delays": delays(),
        "memory": memory(),
        "outage": outage(),
    }
    print(json.dumps(measured, indent=1))
