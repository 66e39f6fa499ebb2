# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree of many small files, and what there is of it: run as root on a host of the bed, with its own Python.

``python many.py make ROOT COUNT`` makes COUNT files, the same on every run: one in 25 a dotfile, names with spaces,
line breaks and non-ASCII letters, several modes, owners and times, and some symlinks beside them.
``python many.py show ROOT`` prints as JSON how many files there are, and digests of all that is known of all of them:
``exact``, and ``seconds`` with times in whole seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

SEED = 20260101
EPOCH = 1_700_000_000
YEAR = 365 * 24 * 3600
PER_FOLDER = 200
SIZE_MAX = 4000
MODES = (0o644, 0o644, 0o640, 0o600, 0o444, 0o755)
OWNERS = (0, 33, 1000)
FORMS = ("file-{}.txt", "file-{}.jpg", "with spaces {}.txt", "Grüße {}.txt", "写真{}.jpg", "new\nline {}.txt")


def make(root: Path, count: int) -> None:
    """Make the tree; ``root`` must not be there."""
    chance = random.Random(SEED)
    folder = root
    for number in range(count):
        if number % PER_FOLDER == 0:
            folder = root / f"folder {number // PER_FOLDER}"
            folder.mkdir(parents=True, mode=0o755)
        name = f".dotfile-{number}" if number % 25 == 0 else chance.choice(FORMS).format(number)
        path = folder / name
        path.write_bytes(chance.randbytes(chance.randrange(SIZE_MAX)))
        _own(path, chance)
        path.chmod(chance.choice(MODES))
        if number % 100 == 0:
            (folder / f"link-{number}").symlink_to(name)
            _own(folder / f"link-{number}", chance)
    for folder in [*root.iterdir(), root]:
        _own(folder, chance)


def _own(path: Path, chance: random.Random) -> None:
    owner = chance.choice(OWNERS)
    os.chown(path, owner, owner, follow_symlinks=False)
    then = EPOCH * 10**9 + chance.randrange(YEAR * 10**9)
    os.utime(path, ns=(then, then), follow_symlinks=False)


def entries(root: str) -> Iterator[tuple[str, os.stat_result, str]]:
    """Path, status and content (its digest, or where a link leads) of all below a directory, by name."""
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted([*files, ".", *(each for each in folders if os.path.islink(os.path.join(folder, each)))]):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            yield os.path.relpath(path, root), status, content


def show(root: str) -> dict[str, object]:
    """What is printed."""
    files, exact, seconds = 0, hashlib.sha256(), hashlib.sha256()
    for path, status, content in entries(root):
        files += stat.S_ISREG(status.st_mode)
        known = [path, oct(status.st_mode), status.st_uid, status.st_gid, content]
        exact.update(repr([*known, status.st_mtime_ns]).encode("utf-8", "surrogateescape"))
        seconds.update(repr([*known, status.st_mtime_ns // 10**9]).encode("utf-8", "surrogateescape"))
    return {"files": files, "exact": exact.hexdigest(), "seconds": seconds.hexdigest()}


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        print(json.dumps(show(sys.argv[2])))
