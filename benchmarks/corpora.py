# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is copied: backups whose asset directory is images/, the same on every machine, kept in the cache.

All but the pictures come out of a seeded generator. The pictures are those of two Debian packages, which is the nearest
to a real site's that can be had without asking anybody for his.
"""

from __future__ import annotations

import io
import os
import random
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(os.environ["ADT_CACHE"]) / "bench"
EPOCH = 1_700_000_000
PACKAGES = ("plasma-workspace-wallpapers", "openclipart-png")
PICTURES = {".jpg", ".jpeg", ".png", ".svg", ".webp", ".gif"}


class Corpus(NamedTuple):
    """A backup: how many files it has, and their bytes unpacked."""

    name: str
    packed: Path
    files: int
    size: int


def sizes(*groups: tuple[int, int]) -> Callable[[random.Random], list[int]]:
    """The bytes of each file: for each group so many, of so many bytes on average, mixed."""

    def draw(dice: random.Random) -> list[int]:
        found = [dice.randint(mean // 2, mean * 3 // 2) for count, mean in groups for _file in range(count)]
        dice.shuffle(found)
        return found

    return draw


GENERATED = {
    "20kB": sizes((20_000, 20_000)),
    "200kB": sizes((2_000, 200_000)),
    "mixed": sizes((4_000, 20_000), (1_500, 200_000), (95, 2_000_000), (5, 32_000_000)),
    "64MB": sizes((20, 64_000_000)),
    "1k": sizes((1_000, 20_000)),
    "100k": sizes((100_000, 200)),
    "1M": sizes((1_000_000, 200)),
}
NAMES = [*GENERATED, "pictures"]


def corpus(name: str) -> Corpus:
    """A corpus by its name, made when the cache hasn't got it."""
    packed = FOLDER / f"{name}-1.tar.gz"
    if not packed.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        part = packed.with_suffix(".part")
        with tarfile.open(part, "w:gz", compresslevel=1) as tar:
            if name == "pictures":
                add_pictures(tar)
            else:
                add_generated(tar, name)
        part.rename(packed)
    count = FOLDER / f"{name}-1.count"
    if not count.exists():
        with tarfile.open(packed) as tar:
            found = [member.size for member in tar if member.isfile()]
        count.write_text(f"{len(found)} {sum(found)}")
    files, size = (int(word) for word in count.read_text().split())
    return Corpus(name, packed, files, size)


def add_generated(tar: tarfile.TarFile, name: str) -> None:
    """Files that hardly shrink, as pictures do: a tenth of each is compressible."""
    dice = random.Random(name)
    for number, length in enumerate(GENERATED[name](dice)):
        info = tarfile.TarInfo(f"images/{number % 40:02}/{number // 1000}/picture {number}.jpg")
        body = dice.randbytes(length - length // 10) + bytes(length // 10)
        info.size, info.mtime, info.mode = len(body), EPOCH + number, 0o644
        tar.addfile(info, io.BytesIO(body))


def add_pictures(tar: tarfile.TarFile) -> None:
    """The pictures of the packages, fetched by apt and never installed."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        os.chmod(scratch, 0o777)  # apt fetches as a user of its own
        subprocess.run(["apt-get", "-q", "download", *PACKAGES], cwd=scratch, check=True)
        for package in sorted(Path(scratch).glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(package), scratch], check=True)
        for path in pictures_below(Path(scratch)):
            name = path.relative_to(Path(scratch) / "usr/share")
            tar.add(path, f"images/{name}", recursive=False)


def pictures_below(top: Path) -> Iterator[Path]:
    """Regular files that are pictures, in a fixed order."""
    for path in sorted(top.rglob("*")):
        if path.suffix.lower() in PICTURES and path.is_file() and not path.is_symlink():
            yield path


def unpacked(of: Corpus) -> Path:
    """The same files as a directory."""
    folder = FOLDER / f"{of.name}-1"
    if not folder.exists():
        part = FOLDER / f"{of.name}-1.part"
        part.mkdir(exist_ok=True)
        subprocess.run(["tar", "-xzf", str(of.packed), "-C", str(part)], check=True)
        part.rename(folder)
    return folder / "images"
