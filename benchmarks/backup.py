# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A webroot of many small files backed up and restored: by role webroot_backup, by tar and gzip into S3, and by rsync.

Needs a bed (``make bed-up``). All work on the same webserver, in turns, and what comes back is compared with what was
there: bytes, modes, owners, times, links. Ours makes backups as its timer does, announced after they were read back,
and restores as module backup_restore does, each file verified. The second time nothing has changed. rsync has a
directory of the same disk to copy to, and no store.

    make bench-backups
    python benchmarks/backup.py --files 2000       # prints, and leaves the guide as it is
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parent.parent
os.environ.setdefault("ADT_BED", "test")

import rst
from backups import BUCKET, SETTINGS, UNIT, changed_settings
from lab import TESTS
from measure import Run
from scenario import BED
from sync import machine

GUIDE = TOP / "docs/docsite/rst/guide_backups.rst"
HOST = "web1"
FILES = 100_000
WORK = "/srv/backups-bench"
LIBRARY = "/usr/local/lib/adt-assets/backup"
OURS, AGAIN = "role webroot_backup", "the same, nothing has changed"
TAR, RSYNC = "tar, gzip, upload by boto3", "rsync to the same disk"

# What runs on the webserver: the program, its restore, and a plain copy of a stream to and from S3.
RESTORE = """
import json, sys
from pathlib import Path
from adt_assets._progress import Work
from adt_assets._restore import Order, restore
from adt_assets._webroot_backup import Settings, open_site
settings = Settings(**json.loads(Path(sys.argv[1]).read_text()))
announced = json.loads(Path(settings.results, "now-hourly.json").read_text())["announced"]
order = Order(announced["snapshot"], settings.webroot, (), sys.argv[2], False)
restore(open_site(settings, Work()).restic, order, Work())
"""
STREAM = """
import json, shutil, sys
from pathlib import Path
from adt_assets._progress import Work
from adt_assets._webroot_backup import Settings, open_site
settings = Settings(**json.loads(Path(sys.argv[1]).read_text()))
client = open_site(settings, Work()).store.client
if sys.argv[2] == "up":
    client.upload_fileobj(sys.stdin.buffer, settings.bucket, "bench.tar.gz")
else:
    shutil.copyfileobj(client.get_object(Bucket=settings.bucket, Key="bench.tar.gz")["Body"], sys.stdout.buffer)
"""
MEASURE = """
import json, sys
import measure
print(json.dumps(measure.measure([json.loads(sys.argv[1])], {})))
"""


class Row(NamedTuple):
    """One contender: what its backup and its restore took, and whether all came back."""

    who: str
    backup: Run
    restored: Run | None = None
    exact: str = ""


def prepare(files: int) -> None:
    """The role with a repository on the webserver, and the webroot there."""
    env = {**os.environ, "ADT_TOOL": "rclone", "ADT_BED_KEEP": "1"}
    for step in ("reset", "converge"):
        subprocess.run(["molecule", step, "-s", "webroot_backup"], cwd=TOP, env=env, check=True, stdout=sys.stderr)
    for host in BED.hosts("webservers"):
        BED.on(host, f"systemctl stop '{UNIT}@*.timer'")
    modules = TOP / "plugins/module_utils"
    send(f"{WORK}/bin/measure.py", TOP / "benchmarks/measure.py")
    send(f"{WORK}/bin/many.py", TESTS / "tools/many.py")
    send(f"{WORK}/bin/adt_assets/_restore.py", modules / "_restore.py")
    BED.on(HOST, f"cp -n {LIBRARY}/adt_assets/*.py {WORK}/bin/adt_assets/ && mkdir -p {WORK}/home")
    BED.on(HOST, f"python3 {WORK}/bin/many.py make {WORK}/html {files}")


def send(path: str, source: Path) -> None:
    """Put a file of the project on the webserver."""
    BED.on(HOST, f"mkdir -p {Path(path).parent} && printf %s {shlex.quote(source.read_text())} > {path}")


def python() -> str:
    """The Python that the role has provided on the webserver."""
    return BED.on(HOST, f"sed -n 's/^ExecStart=\\([^ ]*\\) .*/\\1/p' /etc/systemd/system/{UNIT}@.service").strip()


def measured(command: str) -> Run:
    """What a shell command takes on the webserver, with the processes that it starts."""
    words = json.dumps(["bash", "-eo", "pipefail", "-c", command])
    ask = f"python3 -c {shlex.quote(MEASURE)} {shlex.quote(words)}"
    return Run(*json.loads(BED.on(HOST, f"sync; cd {WORK}/bin && {ask}")))


def shown(place: str) -> dict[str, object]:
    """What there is of the tree in a directory of the webserver."""
    return json.loads(BED.on(HOST, f"python3 {WORK}/bin/many.py show {place}"))


def compare(place: str, before: dict[str, object]) -> str:
    """How like the webroot a restored directory is; then it goes."""
    found = shown(place)
    BED.on(HOST, f"rm -rf {WORK}/back && mkdir {WORK}/back")
    return "yes" if found == before else "times in whole seconds" if found["seconds"] == before["seconds"] else "no"


def run(files: int) -> list[Row]:
    """All contenders, one after the other."""
    before = shown(f"{WORK}/html")
    assert before["files"] == files
    program = f"{python()} -Es -m adt_assets._webroot_backup {SETTINGS} now-hourly"
    stream = f"{python()} -c {shlex.quote(STREAM)} {SETTINGS}"
    BED.on(HOST, f"mkdir -p {WORK}/back")
    first, again = measured(f"cd {LIBRARY}; {program}"), measured(f"cd {LIBRARY}; {program}")
    back = measured(f"{python()} -c {shlex.quote(RESTORE)} {SETTINGS} {WORK}/back")
    rows = [Row(OURS, first, back, compare(f"{WORK}/back{WORK}/html", before)), Row(AGAIN, again)]
    packed = measured(f"tar -C {WORK}/html -cz . | {stream} up")
    back = measured(f"{stream} down | tar -C {WORK}/back -xzp")
    rows.append(Row(TAR, packed, back, compare(f"{WORK}/back", before)))
    BED.s3.delete_object(Bucket=BUCKET, Key="bench.tar.gz")
    copied = measured(f"rsync -a {WORK}/html/ {WORK}/copy/")
    back = measured(f"rsync -a {WORK}/copy/ {WORK}/back/")
    rows.append(Row(RSYNC, copied, back, compare(f"{WORK}/back", before)))
    rows.append(Row(f"{RSYNC}, nothing has changed", measured(f"rsync -a {WORK}/html/ {WORK}/copy/")))
    return rows


def page(files: int, rows: list[Row]) -> str:
    """What is printed, and written into the guide."""
    ours = rows[0]
    assert ours.restored is not None
    cells = []
    for row in rows:
        cell = [row.who, f"{row.backup.wall:.1f}", f"{row.backup.wall / ours.backup.wall:.2f}", f"{row.backup.rss:.0f}"]
        back = row.restored
        cell += [f"{back.wall:.1f}", f"{back.wall / ours.restored.wall:.2f}", f"{back.rss:.0f}"] if back else ["–"] * 3
        cells.append([*cell, row.exact or "–"])
    head = ["who", "backup, s", "ratio", "MiB", "restore, s", "ratio", "MiB", "exact"]
    return (
        f"{files:,} files, {files // 25:,} of them dotfiles. {machine()}, webserver and store on the same machine.\n\n"
        + rst.table(head, cells)
    )


def main() -> None:
    """Run, print, and write the guide when it was about as many files as it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES)
    files = parser.parse_args().files
    try:
        prepare(files)
        with changed_settings(HOST, webroot=f"{WORK}/html", excludes=[], extra_paths=[], hook=""):
            rows = run(files)
    finally:
        BED.on(HOST, f"rm -rf {WORK}")
    text = page(files, rows)
    print(text)
    if files == FILES:
        rst.write_between(GUIDE, "make bench-backups", text)
    if rows[0].exact != "yes":
        sys.exit("what was restored isn't what was backed up")


if __name__ == "__main__":
    main()
