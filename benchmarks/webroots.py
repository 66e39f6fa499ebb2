# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How soon an edit is on the other webservers, and what keeping webroots the same takes in memory and time.

Needs a bed with three webservers (``tests/bed/bed up --webservers 3``), whose webroots are emptied. One gets files, the
others get them from it by playbook sync. Then files are overwritten on each webserver in turn, at random moments, while
the others look every 5 ms whether they have the new content. All hosts have the machine's clock.

    make bench-webroots
    python benchmarks/webroots.py --files 5000 --edits 90
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median, quantiles

os.environ.setdefault("ADT_BED", "test")

from lab import TESTS
from scenario import BED

WEBSERVERS = BED.hosts("webservers")[:3]
ROOT = "/var/www/html/files"
SETTINGS = {"assets_settings": {"persist_assets_to_cloud": 0, "build_archive_choice": "hourly", "sync_webroots": 1}}
LOST_SECONDS = 60
MAKE = f"""
import os, random
size = random.Random(6)
for number in range(FILES):
    folder = f"{ROOT}/{{number // 200}}"
    if number % 200 == 0:
        os.makedirs(folder)
    with open(f"{{folder}}/{{number}}.php", "wb") as out:
        out.write(b"x" * size.randrange(200, 20000))
"""
# Both print for each edit when it was made, or came.
WRITE = f"""
import json, random, time
wait, made = random.Random(), []
for number in range(FIRST, FIRST + COUNT):
    time.sleep(wait.uniform(0.2, 1.0))
    with open(f"{ROOT}/{{number // 200}}/{{number}}.php", "w") as out:
        out.write(f"edit {{number}} TOKEN")
    made.append(time.time())
print(json.dumps(made))
"""
LOOK = f"""
import json, time
came = []
for number in range(FIRST, FIRST + COUNT):
    end, found = time.time() + SECONDS, None
    while found is None and time.time() < end:
        try:
            with open(f"{ROOT}/{{number // 200}}/{{number}}.php") as file:
                found = time.time() if file.read(200) == f"edit {{number}} TOKEN" else None
        except OSError:
            pass
        time.sleep(0.005)
    came.append(found)
print(json.dumps(came))
"""


def program(text: str, **values: object) -> str:
    """A command that runs a program with values in the places of the words in capitals."""
    for name, value in values.items():
        text = text.replace(name, str(value))
    return f"sudo -u www-data python3 - <<'END'\n{text}\nEND"


def prepare(files: int) -> float:
    """Begin anew; the seconds of the playbook's first run."""
    for host in WEBSERVERS:
        BED.on(host, (TESTS / "tools" / "reset_webserver.sh").read_text())
        BED.on(host, "find /var/www/html -mindepth 1 -delete; chown www-data: /var/www/html")
    BED.on(WEBSERVERS[0], program(MAKE, FILES=files))
    began = time.monotonic()
    BED.playbook("adt.assets.sync", SETTINGS)
    return time.monotonic() - began


def edit(writer: str, first: int, count: int) -> list[float | None]:
    """Overwrite files on one webserver; for each edit and other webserver the seconds until it came, or None."""
    numbers = {"FIRST": first, "COUNT": count, "TOKEN": time.time_ns(), "SECONDS": LOST_SECONDS}
    others = [host for host in WEBSERVERS if host != writer]
    with ThreadPoolExecutor() as threads:
        looking = [threads.submit(BED.on, host, program(LOOK, **numbers)) for host in others]
        made = json.loads(BED.on(writer, program(WRITE, **numbers)))
        came = [json.loads(each.result()) for each in looking]
    return [then - at if then else None for each in came for at, then in zip(made, each)]


def memory(host: str) -> dict[str, float]:
    """What the program and Syncthing hold on a webserver, in MiB."""
    text = BED.on(
        host,
        "for pid in $(cat /sys/fs/cgroup/system.slice/adt-webroot-sync.service/cgroup.procs);"
        " do grep -hE '^(Name|VmRSS)' /proc/$pid/status; done",
    )
    words = text.split()
    names, sizes = words[1::5], words[3::5]
    return {name: int(size) / 1024 for name, size in zip(names, sizes)}


def main() -> None:
    """Prepare, edit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=50_000, help="in the webroot")
    parser.add_argument("--edits", type=int, default=500, help="on all webservers together")
    options = parser.parse_args()
    if len(WEBSERVERS) < 3:
        parser.error("the bed has less than three webservers: tests/bed/bed up --webservers 3")
    print(f"{options.files} files: first run of playbook sync {prepare(options.files):.0f} s", flush=True)
    count = -(-options.edits // len(WEBSERVERS))
    delays = [delay for at, host in enumerate(WEBSERVERS) for delay in edit(host, at * count, count)]
    known = [delay for delay in delays if delay is not None]
    print(
        f"{count * len(WEBSERVERS)} edits, seconds until each of two others had it: p50 {median(known):.2f},"
        f" p99 {quantiles(known, n=100)[-1]:.2f}, longest {max(known):.2f}; not within {LOST_SECONDS} s:"
        f" {len(delays) - len(known)}"
    )
    for host in WEBSERVERS:
        print(f"{host}: " + ", ".join(f"{name} {size:.0f} MiB" for name, size in memory(host).items()))


if __name__ == "__main__":
    main()
