# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs do with files, done below a mount of one host and looked at through a mount of another.

Runs on the hosts (`python3 operations.py do|see FOLDER`), so it needs nothing but Python's standard library.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Callable

LARGE = 40 << 20
LONG_AGO = 1_000_000_000
UPLOAD_SECONDS = 4  # until a tool that uploads after close() has uploaded a small file


class Unseen(Exception):
    """The other host doesn't see what was done."""


def expect(true: bool) -> None:
    """Raises Unseen."""
    if not true:
        raise Unseen


def pattern(size: int) -> bytes:
    """Bytes that are different in every block."""
    return b"".join(hashlib.sha512(number.to_bytes(8, "big")).digest() * 1024 for number in range(size // 65536))


def do_append(folder: Path) -> None:
    """Add to a file that is there already."""
    (folder / "append").write_bytes(b"one")
    with (folder / "append").open("ab") as file:
        file.write(b"two")


def do_modify(folder: Path) -> None:
    """Write in the middle of a file that is there already."""
    (folder / "modify").write_bytes(b"a" * 9000)
    with (folder / "modify").open("r+b") as file:
        file.seek(4000)
        file.write(b"b")


def do_truncate(folder: Path) -> None:
    """Cut a file that was uploaded."""
    (folder / "truncate").write_bytes(b"0123456789")
    time.sleep(UPLOAD_SECONDS)
    os.truncate(folder / "truncate", 5)


def do_rename(folder: Path) -> None:
    """Give a file another name."""
    (folder / "rename-from").write_bytes(b"moved")
    os.rename(folder / "rename-from", folder / "rename-to")


def do_replace(folder: Path) -> None:
    """Put a new file in the place of another, as programs do that never want to show half a file."""
    (folder / "replace").write_bytes(b"old")
    (folder / "replace.new").write_bytes(b"new and longer")
    os.replace(folder / "replace.new", folder / "replace")


def do_rename_directory(folder: Path) -> None:
    """Give a directory with something in it another name."""
    (folder / "directory").mkdir()
    (folder / "directory" / "file").write_bytes(b"inside")
    os.rename(folder / "directory", folder / "directory-2")


def do_chmod(folder: Path) -> None:
    """Change a file's mode."""
    (folder / "chmod").write_bytes(b"x")
    os.chmod(folder / "chmod", 0o640)


def do_mtime(folder: Path) -> None:
    """Change a file's time."""
    (folder / "mtime").write_bytes(b"x")
    os.utime(folder / "mtime", (LONG_AGO, LONG_AGO))


def do_case(folder: Path) -> None:
    """Write two files whose names differ only in case."""
    (folder / "Case").write_bytes(b"upper")
    (folder / "case").write_bytes(b"lower")


def do_delete(folder: Path) -> None:
    """Delete a file."""
    (folder / "delete").write_bytes(b"x")
    os.unlink(folder / "delete")


def see_rename(folder: Path) -> None:
    """The file has its new name, and only that."""
    expect((folder / "rename-to").read_bytes() == b"moved" and not (folder / "rename-from").exists())


def see_rename_directory(folder: Path) -> None:
    """The directory has its new name, and only that."""
    expect((folder / "directory-2" / "file").read_bytes() == b"inside" and not (folder / "directory" / "file").exists())


Work = Callable[[Path], object]
OPERATIONS: dict[str, tuple[Work, Work]] = {
    "create": (
        lambda folder: (folder / "create").write_bytes(b"created"),
        lambda folder: expect((folder / "create").read_bytes() == b"created"),
    ),
    "append": (do_append, lambda folder: expect((folder / "append").read_bytes() == b"onetwo")),
    "modify": (
        do_modify,
        lambda folder: expect((folder / "modify").read_bytes() == b"a" * 4000 + b"b" + b"a" * 4999),
    ),
    "truncate": (do_truncate, lambda folder: expect((folder / "truncate").read_bytes() == b"01234")),
    "rename": (do_rename, see_rename),
    "replace": (do_replace, lambda folder: expect((folder / "replace").read_bytes() == b"new and longer")),
    "rename_directory": (do_rename_directory, see_rename_directory),
    "delete": (do_delete, lambda folder: expect(not (folder / "delete").exists())),
    "chmod": (do_chmod, lambda folder: expect((folder / "chmod").stat().st_mode & 0o777 == 0o640)),
    "mtime": (do_mtime, lambda folder: expect(int((folder / "mtime").stat().st_mtime) == LONG_AGO)),
    "symlink": (
        lambda folder: os.symlink("create", folder / "symlink"),
        lambda folder: expect(os.readlink(folder / "symlink") == "create"),
    ),
    "case": (
        do_case,
        lambda folder: expect(((folder / "Case").read_bytes(), (folder / "case").read_bytes()) == (b"upper", b"lower")),
    ),
    "large_file": (
        lambda folder: (folder / "large").write_bytes(pattern(LARGE)),
        lambda folder: expect((folder / "large").read_bytes() == pattern(LARGE)),
    ),
}


def main(phase: str, folder: Path) -> dict[str, str]:
    """What became of each operation: empty when it went well, otherwise the error's name."""
    said = {}
    if phase == "do":
        folder.mkdir()
    for name, works in OPERATIONS.items():
        try:
            works[("do", "see").index(phase)](folder)
            said[name] = ""
        except OSError as error:
            said[name] = errno.errorcode.get(error.errno or 0, str(error))
        except Unseen:
            said[name] = "unseen"
    return said


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
