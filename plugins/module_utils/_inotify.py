# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service that watches directories needs of Linux: inotify(7) for whole trees, and sd_notify(3).

Roles install this file on hosts beside their programs; it needs nothing but Python's standard library.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Callable, NamedTuple

# inotify(7)
IN_MODIFY, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 2, 8, 0x40, 0x80, 0x100, 0x200
IN_ATTRIB = 4
IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED, IN_ISDIR = 0x2000, 0x4000, 0x8000, 1 << 30
IN_ONLYDIR, IN_DONT_FOLLOW, IN_EXCL_UNLINK = 1 << 24, 1 << 25, 1 << 26
WANTED = IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
EVENT = struct.Struct("iIII")


class Event(NamedTuple):
    watch: int
    mask: int
    name: str


def limit_reached(error: OSError) -> str:
    """Which limit of the kernel's is too small, in words for a user; empty when it is something else."""
    names = {errno.ENOSPC: "max_user_watches", errno.EMFILE: "max_user_instances"}
    name = names.get(error.errno or 0)
    if not name:
        return ""
    with contextlib.suppress(OSError):
        name += f" ({Path('/proc/sys/fs/inotify', name).read_text().strip()})"
    return (
        f"fs.inotify.{name} is used up: raise it in /etc/sysctl.d. It has to be larger than the number of directories "
        "that all programs on this host watch"
    )


class Inotify:
    """The kernel's notices of changes in directories: those of WANTED, and ``also`` others."""

    def __init__(self, also: int = 0) -> None:
        self._mask = WANTED | also | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._checked(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify")

    def __enter__(self) -> Inotify:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self.fd)

    @staticmethod
    def _checked(result: int, what: str) -> int:
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), what)
        return result

    def add(self, path: str) -> int:
        """Watch a directory. Raises OSError; ENOSPC: fs.inotify.max_user_watches is too small."""
        return self._checked(self._libc.inotify_add_watch(self.fd, os.fsencode(path), self._mask), path)

    def remove(self, watch: int) -> None:
        """Watch a directory no longer; it may be gone."""
        self._libc.inotify_rm_watch(self.fd, watch)

    def read(self, seconds: float) -> Iterator[Event]:
        """What happened; nothing after some seconds in which nothing did."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return
        block = os.read(self.fd, 1 << 20)
        at = 0
        while at < len(block):
            watch, mask, _cookie, size = EVENT.unpack_from(block, at)
            at += EVENT.size
            yield Event(watch, mask, os.fsdecode(block[at : at + size].split(b"\0", 1)[0]))
            at += size


class Tree:
    """All directories below one but those to skip, watched; says which names changed, relative to it."""

    def __init__(self, root: str, notify: Inotify, skip: Callable[[str], bool] = lambda _name: False) -> None:
        self.root = root
        self.blind = False  # changes may have been missed: everything has to be looked at anew
        self._notify = notify
        self._skip = skip
        self._folders: dict[int, str] = {}

    def folders(self) -> list[str]:
        return list(self._folders.values())

    def add_missing(self, names: Iterable[str] | None) -> list[str]:
        """Watch the directories that these names are in or are, or all, where they aren't watched as they are now.

        What those hold: others made them, and what was done in them since may be unknown.
        """
        before = dict(self._folders)
        held: list[str] = []
        if names is None:
            self._folders = {}
            held = self.add("")
            self._drop(before.keys() - self._folders.keys())
        else:
            above = {"/".join(name.split("/")[:depth]) for name in names for depth in range(1, name.count("/") + 2)}
            for folder in sorted(above):
                if self._is_missing(folder):
                    held += self.add(folder)
        known = {folder for watch, folder in self._folders.items() if watch in before}
        return [name for name in held if os.path.dirname(name) not in known]

    def _is_missing(self, folder: str) -> bool:
        """Whether a directory is there and isn't watched.

        One that others have removed and made again is another one under the same name, and nothing has told of that.
        """
        path = os.path.join(self.root, folder)
        watch = -1
        if os.path.isdir(path) and not os.path.islink(path):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                watch = self._notify.add(path)  # the one that it has, where it is watched
        if self._folders.get(watch) == folder:
            return False
        inside = folder + "/"
        self._drop({old for old, name in self._folders.items() if name == folder or name.startswith(inside)})
        return watch >= 0

    def _drop(self, watches: Iterable[int]) -> None:
        for watch in watches:
            self._folders.pop(watch, None)
            self._notify.remove(watch)

    def add(self, relative: str) -> list[str]:
        """Watch a directory and all below it. What it holds: the changes that came before the watch."""
        held: list[str] = []
        todo = [relative]
        while todo:
            folder = todo.pop()
            path = os.path.join(self.root, folder)
            try:
                self._folders[self._notify.add(path)] = folder
                with os.scandir(path) as entries:
                    for entry in entries:
                        name = os.path.join(folder, entry.name)
                        if self._skip(name):
                            continue
                        held.append(name)
                        if entry.is_dir(follow_symlinks=False):
                            todo.append(name)
            except (FileNotFoundError, NotADirectoryError):
                continue  # it is gone again, and that has its own notice
        return held

    def names(self, event: Event) -> list[str]:
        """The names that changed by it. Raises ConnectionAbortedError when the file system went away."""
        if event.mask & IN_UNMOUNT:
            raise ConnectionAbortedError("the mount went away")
        if event.mask & IN_Q_OVERFLOW:
            self.blind = True
            return []
        if event.mask & IN_IGNORED:
            self._folders.pop(event.watch, None)
            return []
        folder = self._folders.get(event.watch)
        if folder is None or not event.name:  # what happens to a directory itself, the one above says by name
            return []
        name = os.path.join(folder, event.name)
        if self._skip(name):
            return []
        if event.mask & IN_ISDIR and event.mask & (IN_CREATE | IN_MOVED_TO):
            return [name, *self.add(name)]
        return [name]


def notify_systemd(what: str) -> None:
    """sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.sendto(what.encode(), "\0" + address[1:] if address.startswith("@") else address)
