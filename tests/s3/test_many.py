# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A large site into its bucket and back, byte and mode exact (T20). Full counts with ADT_SOAK (``make soak``)."""

from __future__ import annotations

import os
import random
import stat
import time
from pathlib import Path

import pytest

pytest.register_assert_rewrite("assets")
from assets import pack

pytest_plugins = ["assets"]
FILES, DOTFILES = (100_000, 4_000) if os.environ.get("ADT_SOAK") else (1_000, 40)
MODES = (0o644, 0o600, 0o664, 0o755, 0o444, 0o640)
# No backslash: this store takes it for a slash (test_faults.py).
WORDS = ("plain", "with space", "new\nline", "naïve", "日本語", "a+b%2F", "-rf", "*?[1]", "'\"&;$(x)")
File = tuple[bytes, int]


def fill(images: Path) -> dict[str, File]:
    """So many files, some of them dotfiles; their bytes and modes."""
    rng, made = random.Random(20), {}
    for number in range(FILES):
        dot = "." if number % (FILES // DOTFILES) == 0 else ""
        name = f"{number % 100}/{dot}{rng.choice(WORDS)} {number}"
        made[name] = rng.randbytes(rng.randrange(200)), rng.choice(MODES)
    for name in {os.path.dirname(name) for name in made}:
        (images / name).mkdir(parents=True)
    for name, (body, mode) in made.items():
        (images / name).write_bytes(body)
        (images / name).chmod(mode)
    return made


def files(top: Path) -> dict[str, File]:
    """The bytes and modes of all files below a directory."""
    paths = [path for path in top.rglob("*") if path.is_file()]
    return {str(path.relative_to(top)): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) for path in paths}


def test_t20_many_files_come_back_byte_and_mode_exact(assets, tmp_path):
    made = fill(tmp_path / "site" / "images")
    assert sum(Path(name).name.startswith(".") for name in made) == DOTFILES
    backup, dest, began = pack(tmp_path / "site"), tmp_path / "dest", time.monotonic()
    synced = assets.module("asset_sync", src=str(backup), archive_path="images")
    assert synced["summary"]["uploaded"]["count"] == FILES
    compared = assets.module("asset_compare", src=str(backup), archive_path="images", digest="read")
    assert compared["identical"] and compared["counts"]["same"] == FILES
    assert assets.module("asset_fetch", dest=str(dest))["summary"]["fetched"]["count"] == FILES
    assert files(dest) == made
    assert not assets.module("asset_sync", src=str(backup), archive_path="images")["changed"]
    print(f"T20: {FILES} files, {DOTFILES} dotfiles: byte and mode exact, {time.monotonic() - began:.0f} s", flush=True)
