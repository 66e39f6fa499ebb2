# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small site with everything that goes wrong in real ones, the same on every run, and its backup.

``python corpus.py FOLDER`` makes ``FOLDER/site`` (the root of a webserver's file system: ``var/www/html`` and
``var/www/private``) and ``FOLDER/backup.tar.gz`` as the toolkit made it: the webroot's contents at the archive's root,
absolute directories below their path.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

SEED = 20260101
EPOCH = 1_700_000_000
MULTIPART = 20 * 1024 * 1024  # above the engine's limit for one PUT
AWKWARD = (
    ".htaccess",
    "..double.dot.start",
    "a name with spaces.jpg",
    "Grüße aus Köln.jpg",
    "写真 1.jpg",
    "50% off+more%2F.jpg",
    "it's [new] {1} $x.jpg",
    "-rf.jpg",
    "#hash!.jpg",
    "deep/er/and/deeper/still.jpg",
    "empty.txt",
)


def make(folder: Path) -> None:
    """Make the site and its backup in ``folder``, anew."""
    shutil.rmtree(folder, ignore_errors=True)
    dice = random.Random(SEED)
    webroot = folder / "site/var/www/html"
    private = folder / "site/var/www/private"
    for number in range(120):
        write(
            webroot / "images" / f"{number % 10:02}" / f"picture-{number:03}.jpg",
            dice.randbytes(dice.randrange(40_000)),
        )
    for name in AWKWARD:
        write(webroot / "images" / name, b"" if name == "empty.txt" else dice.randbytes(2_000))
    (webroot / "images/an empty directory").mkdir()
    write(webroot / "media/videos/clip one.mp4", dice.randbytes(MULTIPART))
    write(webroot / "media/videos/clip-2.mp4", dice.randbytes(300_000))
    write(webroot / "media/readme.txt", b"beside the videos, not mounted")
    for number in range(20):
        write(private / f"doc-{number}.pdf", dice.randbytes(5_000), mode=0o640)
    write(webroot / "index.html", b"<h1>A page without assets</h1>")
    write(webroot / "index.php", b"<?php echo 'php answers';")
    set_times(folder / "site")
    archive = folder / "backup.tar.gz"
    names = sorted(entry.name for entry in webroot.iterdir())
    subprocess.run(
        ["tar", "-czf", str(archive), "-C", str(webroot), *names, "-C", str(folder / "site"), "var/www/private"],
        check=True,
    )


def write(path: Path, body: bytes, mode: int = 0o644) -> None:
    """One file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    path.chmod(mode)


def set_times(root: Path) -> None:
    """Give every file a modification time of its own, in the past."""
    for number, path in enumerate(sorted(root.rglob("*"))):
        os.utime(path, (EPOCH + number * 60, EPOCH + number * 60))


def files(folder: Path) -> dict[str, Path]:
    """All regular files below ``folder`` by their relative name, as keys of a bucket are called."""
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    make(Path(sys.argv[1]))
