# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Webservers tell each other which files changed, so that a mount may remember its directories for an hour.

Role asset_mount installs this file on webservers beside mount.py (_mount.py) as the program of one service per host. It
needs nothing but Python's standard library and Linux 5.12.

    what changes here     inotify on the mount; a file is told of when its upload has ended, and announced before
    how it is told        TCP to each peer; both ends prove that they know a key made of the site's S3 secret, each
                          message is authenticated and numbered. Names of files travel readably, contents never
    what is left behind   rclone calls an upload off whose file is renamed or deleted meanwhile; what has arrived in the
                          bucket all the same would come back under the old name, and is deleted
    what a peer does      has its mount forget the directory, and the kernel the name. An overwritten file changes
                          while nobody has it open, and who opens it then has to wait: nobody sees the size that it
                          had with the content that it has

A mount that can't be told of everything (a peer isn't heard, or sees nothing itself) forgets all its directories every
FORGET_SECONDS: as coherent as a mount that nobody tells anything, and as costly.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import errno
import fcntl
import hashlib
import hmac
import http.client
import json
import os
import queue
import re
import signal
import socket
import stat
import struct
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Callable, NamedTuple

HERE = Path(__file__).resolve().parent
if (HERE / "mount.py").exists():
    sys.path.insert(0, str(HERE))
    import inotify
    import mount as mounts
else:
    from ansible_collections.adt.assets.plugins.module_utils import _inotify as inotify
    from ansible_collections.adt.assets.plugins.module_utils import _mount as mounts

SITES_DIR = Path("/etc/adt-assets/coherence")

BEAT_SECONDS = 1.0  # a peer hears something at least this often
DEAF_SECONDS = 3.0  # after which a peer that says nothing isn't heard any more
FORGET_SECONDS = 5.0
REFRESH_SECONDS = 600.0  # a site's directories may be many
# rclone forgets a directory that it hasn't read for two hours, and a watch on a forgotten one notices nothing.
REFRESH_EVERY = 1800.0
BATCH_SECONDS = (0.05, 1.0)  # how long changes are gathered: for one name, and at most
SETTLE_SECONDS = 0.3  # after close(2), the mount tool learns of it a little later
UPLOAD_SECONDS = 0.7  # a file waits for longer than this: rclone's --vfs-write-back, less what a notice takes
GONE_SECONDS = 2.0  # a file is away from the mount tool's cache before the kernel says that it was deleted
LEFT_SECONDS = (0.5, 3.0, 15.0)  # when to look for what an upload that was called off has left, after that
# When to try again to have a mount forget: rclone keeps what is read just now. One that was opened before, and is read
# for the first time after it was forgotten, comes back: only what stays forgotten for CALM_SECONDS is.
AGAIN_SECONDS = (0.3, 1.0, 2.0, 4.0, 8.0, 16.0)
CALM_SECONDS = 1.5
# Overwritten files: how long to wait for those who read one, how long others may have to wait then, how many at once.
BUSY_SECONDS = 0.5
HELD_SECONDS = 2.0
HELD_MAX = 200
CLOSED_SECONDS = 0.5  # how long to wait for the mount to close what nobody reads any more
LIST_SECONDS = (0.0, 0.05, 0.2)  # when to have the mount list again while it still has the old one
REMEMBERED_SECONDS = 65.0  # the kernel looks a name up anew a minute after rclone has made it
NAMES_MAX = 5000  # more names than this in one message are told as "everything"
FRAME_MAX = 4 << 20
HELLO_MAX = 4096

# A mount's names that changed, with what they are now: None is gone, else how its cache knows the new content ("": not
# at all). Instead of names, None: everything may have changed.
Names = dict[str, "str | None"]
Changes = dict[str, "Names | None"]  # by mount
Announced = dict[str, "list[str]"]  # names that will change, by mount


# ---------------------------------------------------------------- messages


def site_key(keys: dict[str, str], catalog: str) -> bytes:
    """What the webservers of a site share, without being the S3 secret itself."""
    return hmac.new(keys["secret_key"].encode(), b"adt.assets coherence\0" + catalog.encode(), hashlib.sha256).digest()


class Link:
    """One end of a connection on which every message is authenticated and numbered (JSON, HMAC-SHA256)."""

    def __init__(self, connection: socket.socket, key: bytes, sends: bytes, receives: bytes) -> None:
        self.connection = connection
        self._key = key
        self._labels = {True: sends, False: receives}
        self._counts = {True: 0, False: 0}

    def _seal(self, outgoing: bool, body: bytes) -> bytes:
        count = struct.pack(">Q", self._counts[outgoing])
        self._counts[outgoing] += 1
        return hmac.new(self._key, self._labels[outgoing] + count + body, hashlib.sha256).digest()

    def send(self, message: Any) -> None:
        body = json.dumps(message).encode()
        self.connection.sendall(struct.pack(">I", len(body)) + body + self._seal(True, body))

    def receive(self) -> Any:
        """The peer's next message. Raises OSError: it ended, was late, or is not authentic."""
        return self.open(*receive_frame(self.connection, FRAME_MAX))

    def open(self, body: bytes, seal: bytes) -> Any:
        if not hmac.compare_digest(seal, self._seal(False, body)):
            raise PermissionError("a message isn't authentic: do both webservers have the same S3 secret?")
        return json.loads(body)


def _receive_exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1 << 16))
        if not part:
            raise ConnectionResetError("the connection was closed")
        parts += part
    return bytes(parts)


def receive_frame(connection: socket.socket, limit: int) -> tuple[bytes, bytes]:
    """A message and its seal, not checked yet. Raises OSError."""
    size = struct.unpack(">I", _receive_exactly(connection, 4))[0]
    if size > limit:
        raise PermissionError(f"a message of {size} bytes is refused")
    return _receive_exactly(connection, size), _receive_exactly(connection, 32)


NONCE = 32


def greet(connection: socket.socket, key: bytes, catalog: str, host: str) -> Link:
    """The connecting end's part of making each other known. Raises OSError."""
    theirs, ours = _receive_exactly(connection, NONCE), os.urandom(NONCE)
    link = Link(connection, hmac.new(key, theirs + ours, hashlib.sha256).digest(), b"client", b"server")
    connection.sendall(ours)
    link.send({"site": catalog, "host": host})
    link.receive()
    return link


def welcome(connection: socket.socket, keys: dict[str, bytes]) -> tuple[Link, str, str]:
    """The listening end's part: the link, the site and the peer's host name; to be answered by one message of ours.

    Raises OSError, PermissionError for one that doesn't know the site's key.
    """
    ours = os.urandom(NONCE)
    connection.sendall(ours)
    theirs = _receive_exactly(connection, NONCE)
    body, seal = receive_frame(connection, HELLO_MAX)
    try:
        catalog = str(json.loads(body)["site"])
        key = keys[catalog]
    except (ValueError, KeyError, TypeError):
        raise PermissionError("a greeting names no site of this host")
    link = Link(connection, hmac.new(key, ours + theirs, hashlib.sha256).digest(), b"server", b"client")
    return link, catalog, str(link.open(body, seal)["host"])


# ---------------------------------------------------------------- what changes on this host


class Upload(NamedTuple):
    """What arrives in the bucket when a file is uploaded: under which key, and from when (ns) its content may be."""

    key: str
    moments: frozenset[int]


class Waiting:
    """Names that changed here and may be told of only when they are in the bucket."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._uploads: dict[str, Upload] = {}  # as they were seen last
        self._gone: dict[str, float] = {}  # which of them are in the cache no longer, and since when

    def __bool__(self) -> bool:
        return bool(self._since)

    def add(self, names: Iterable[str], now: float) -> None:
        for name in names:
            self._since.pop(name, None)
            self._since[name] = now

    def newest(self) -> list[str]:
        return list(self._since)[-HELD_MAX:]

    def below(self, folder: str) -> list[str]:
        return [name for name in self._since if name.startswith(folder + "/")]

    def drop(self, names: Iterable[str], now: float) -> dict[str, Upload]:
        """They are gone; returns those whose upload may have begun."""
        begun = {}
        for name in names:
            self._gone.pop(name, None)
            since, upload = self._since.pop(name, now), self._uploads.pop(name, None)
            if upload and now - since >= UPLOAD_SECONDS:
                begun[name] = upload
        return begun

    def done(self, config: mounts.Config, now: float) -> Names:
        """Those that wait no longer."""
        settled = [name for name, since in self._since.items() if now - since >= SETTLE_SECONDS]
        clean = {}
        for name in settled:
            with contextlib.suppress(ValueError):  # the note is just being written, and may come to say anything
                key, note = cached(config, name)
                if not note and name in self._uploads:
                    # Deleted or renamed, as we are about to hear; or uploaded, and evicted from the cache.
                    if now - self._gone.setdefault(name, now) >= GONE_SECONDS:
                        clean[name] = note
                elif not is_dirty(config, note):
                    clean[name] = note
                elif "ModTime" in note:
                    self._gone.pop(name, None)
                    before = self._uploads.get(name, Upload(key, frozenset())).moments
                    self._uploads[name] = Upload(key, before | {nanoseconds(note["ModTime"])})
        if clean:
            queued = queued_uploads(config)
            clean = {name: note for name, note in clean.items() if name not in queued}
        for name in clean:
            del self._since[name]
            self._uploads.pop(name, None)
            self._gone.pop(name, None)
        return {name: str(note.get("Fingerprint", "")) for name, note in clean.items()}


def cached(config: mounts.Config, name: str) -> tuple[str, dict[str, Any]]:
    """A file's key, and what the mount tool's cache has noted about it: nothing when it has none.

    Raises ValueError for half a note.
    """
    noted = config.waits_in_cache or {}
    top = Path(config.cache, noted["folder"])
    ends = ["", "." + config.symlinks] if config.symlinks == "rclonelink" else [""]
    for base in top.glob("/".join(["*"] * int(noted["depth"]))):
        for end in ends:
            with contextlib.suppress(OSError):  # not there
                return name + end, json.loads((base / (name + end)).read_bytes())
    return name, {}


def cache_note(config: mounts.Config, name: str) -> dict[str, Any]:
    """What the mount tool's cache has noted about a file. Raises ValueError for half a note."""
    return cached(config, name)[1]


def nanoseconds(moment: str) -> int:
    """Since 1970, of a moment in RFC 3339, with up to nine digits of a second as Go writes it. Raises ValueError."""
    found = re.fullmatch(r"([\d-]{10}T[\d:]{8})(?:\.(\d{1,9}))?(?:Z|([+-]\d\d:\d\d))", moment)
    if not found:
        raise ValueError(f"{moment!r} is no moment")
    seconds = datetime.datetime.fromisoformat(found[1] + (found[3] or "+00:00")).timestamp()
    return int(seconds) * 10**9 + int((found[2] or "").ljust(9, "0"))


def is_dirty(config: mounts.Config, note: dict[str, Any]) -> bool:
    """Whether a file has to be uploaded."""
    return bool(note.get((config.waits_in_cache or {})["key"]))


def queued_uploads(config: mounts.Config) -> set[str]:
    """The names that the mount is going to upload. Raises OSError when it doesn't say."""
    answer = ask_mount(config, "queue")
    ends = "." + config.symlinks
    listed = [str(item["name"]) for item in answer.get("queue") or []]
    return {*listed, *(name[: -len(ends)] for name in listed if name.endswith(ends))}


def ask_mount(config: mounts.Config, what: str, question: dict[str, Any] | None = None, seconds: float = 5.0) -> Any:
    """An answer of the mount's remote control. Raises OSError."""
    try:
        request = (config.remote_control or {})[what]
        return json.loads(mounts.tell_mount(config, "POST", request, question, seconds))
    except (KeyError, ValueError, http.client.HTTPException) as error:
        raise ConnectionError(f"{config.path}: the mount doesn't answer ({error})")


def has_arrived(config: mounts.Config, upload: Upload) -> bool:
    """Whether an object is what this host has uploaded: rclone notes when a file's content is from. Raises OSError."""
    asked = {"fs": (config.remote_control or {})["remote"], "remote": upload.key, "opt": {"metadata": True}}
    found = ask_mount(config, "look", asked)["item"] or {}
    moment = (found.get("Metadata") or {}).get("mtime")
    return moment is not None and nanoseconds(moment) in upload.moments


def delete_arrived(config: mounts.Config, upload: Upload) -> None:
    """Delete an object without asking whether the mount knows it. Raises OSError."""
    ask_mount(config, "delete", {"fs": (config.remote_control or {})["remote"], "remote": upload.key})


def read_ahead(config: mounts.Config) -> None:
    """Have the mount read all its directories, and wait for it. Raises OSError."""
    ask_mount(config, "refresh", {"recursive": "true"}, REFRESH_SECONDS)


# ---------------------------------------------------------------- what changed elsewhere

# The numbers are the same on all of Linux's architectures; linux/mount.h, linux/fcntl.h.
SYS_OPEN_TREE, SYS_MOUNT_SETATTR = 428, 442
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC, AT_EMPTY_PATH, AT_FDCWD, MOUNT_ATTR_RDONLY = 1, os.O_CLOEXEC, 0x1000, -100, 1


@contextlib.contextmanager
def read_only_view(path: str) -> Iterator[int]:
    """A descriptor of what is mounted at a path, by a mount of our own that refuses writes. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(SYS_OPEN_TREE, AT_FDCWD, os.fsencode(path), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "open_tree", path)
    try:
        wish = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
        if libc.syscall(SYS_MOUNT_SETATTR, fd, b"", AT_EMPTY_PATH, wish, len(wish)) < 0:
            raise OSError(ctypes.get_errno(), "mount_setattr", path)
        yield fd
    finally:
        os.close(fd)


def look_up_anew(root: int, name: str) -> bool:
    """Have the kernel ask the mount again for a name, which it may remember for a minute; whether it is there.

    mkdir(2) of a name always asks the file system, and on a read-only mount it can't do more. Raises OSError.
    """
    folder = mounts.open_folder(root, os.path.dirname(name))
    if folder is None:
        return False
    try:
        os.mkdir(os.path.basename(name), dir_fd=folder)
    except FileExistsError:
        return True
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
    finally:
        os.close(folder)
    return False


def open_file(root: int, name: str) -> int:
    """A file for reading. Raises OSError."""
    folder = mounts.open_folder(root, os.path.dirname(name))
    if folder is None:
        raise FileNotFoundError(name)
    try:
        file = os.open(os.path.basename(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise IsADirectoryError(name)
    return file


def read_one_byte(root: int, name: str) -> None:
    """Have the mount look at a file's content. Raises OSError."""
    file = open_file(root, name)
    try:
        os.read(file, 1)
    finally:
        os.close(file)


# ---------------------------------------------------------------- nobody reads while content changes

FAN_CLOEXEC, FAN_CLASS_CONTENT, FAN_MARK_ADD, FAN_OPEN_PERM = 1, 4, 1, 0x10000  # linux/fanotify.h


@contextlib.contextmanager
def nobody_reads(root: int, names: Iterable[str]) -> Iterator[dict[str, int]]:
    """Let nobody have these files open inside the block: who opens one waits until its end, HELD_SECONDS at most.

    Yields descriptors of those that are held; not those that are read for longer than BUSY_SECONDS.
    """
    files: dict[str, int] = {}
    gates: list[int] = []
    late = threading.Timer(HELD_SECONDS, _let_in, [gates])
    try:
        for name in names:
            with contextlib.suppress(OSError):  # there is none, or no file
                files[name] = open_file(root, name)
        held = shut(files, gates)
        if held:
            late.start()
        yield held
    finally:
        late.cancel()
        _let_in(gates)
        for file in files.values():
            with contextlib.suppress(OSError):  # it is closed all the same
                os.close(file)


def shut(files: dict[str, int], gates: list[int]) -> dict[str, int]:
    """Have all who open these files wait at a gate, when nobody has one open; those that are held."""
    busy_until = time.monotonic() + BUSY_SECONDS
    while files:
        try:
            gates.append(gate(files.values()))
        except OSError:  # a kernel without such gates, or too many of them
            return {}
        free = {name: file for name, file in files.items() if is_alone(file)}
        if len(free) == len(files):
            break
        _let_in(gates)
        if time.monotonic() < busy_until:
            time.sleep(0.003)
        else:
            files = free
    return files


def gate(files: Iterable[int]) -> int:
    """A descriptor: until it is closed, also by the end of this process, open(2) of the files waits. Raises OSError.

    That is fanotify(7), whose questions are never answered. A lease would refuse an open with O_NONBLOCK, as nginx's.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, os.O_RDONLY | os.O_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "fanotify_init")
    for file in files:
        if libc.fanotify_mark(fd, FAN_MARK_ADD, ctypes.c_uint64(FAN_OPEN_PERM), file, None) < 0:
            code = ctypes.get_errno()
            os.close(fd)
            raise OSError(code, "fanotify_mark")
    return fd


def is_alone(file: int) -> bool:
    """Whether nobody else has a file open, or is just opening it: only then the kernel grants a lease for writing."""
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:  # others: a file system without leases, where nobody knows
        return error.errno != errno.EAGAIN
    return True


def is_closed(config: mounts.Config, name: str) -> bool:
    """Whether the mount has closed its copy of a file, which it does a little after the last of those who read it."""
    noted = config.waits_in_cache or {"depth": 0}
    for base in Path(config.cache).glob("/".join(["*"] * (1 + int(noted["depth"])))):  # its content, and its note
        with contextlib.suppress(OSError):  # there is none
            file = os.open(base / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if not is_alone(file):
                    return False
            finally:
                os.close(file)
    return True


def _let_in(gates: list[int]) -> None:
    with contextlib.suppress(IndexError):  # two threads may do this at once
        while True:
            os.close(gates.pop())


def size_told(what: str | None) -> int | None:
    """A file's size by its fingerprint, where that says it."""
    size = (what or "").split(",")[0]
    return int(size) if size.isdecimal() else None


# ---------------------------------------------------------------- one site's peers


class Heard(NamedTuple):
    """What a peer said last."""

    at: float
    sees: dict[str, bool]  # mount → whether it notices all changes there
    soon: Announced


class Site:
    """The webservers that share a plan."""

    def __init__(self, catalog: str, host: str, peers: dict[str, str], port: int, keys: Path) -> None:
        self.catalog = catalog
        self.host = host
        self.peers = peers
        self.port = port
        self.keys = keys
        self.heard: dict[str, Heard] = {}
        self.sees: dict[str, bool] = {}
        self.unsent = {peer: Unsent() for peer in peers}

    def key(self) -> bytes:
        return site_key(json.loads(self.keys.read_text(encoding="utf-8")), self.catalog)

    def tell(self, mount: str, names: Names | None, soon: list[str]) -> None:
        """These names changed here, and others will when their upload has ended."""
        for unsent in self.unsent.values():
            unsent.add(mount, names, soon)

    def announced(self, mount: str) -> set[str]:
        """The names that will change elsewhere, and do when their directory is listed before that is told."""
        return {name for heard in list(self.heard.values()) for name in heard.soon.get(mount, [])}

    def why_unsure(self, mount: str, now: float) -> str:
        """Why changes of this mount's files elsewhere may go unnoticed here; empty when they can't."""
        for peer in sorted(self.peers):
            heard = self.heard.get(peer)
            if heard is None or now - heard.at > DEAF_SECONDS:
                return f"{peer} ({self.peers[peer]}, port {self.port}) isn't heard"
            if not heard.sees.get(mount, True):
                return f"{peer} doesn't notice its own changes (yet)"
        return ""


class Unsent:
    """What one peer has yet to be told."""

    def __init__(self) -> None:
        self._changes: Changes = {}
        self._soon: Announced = {}
        self._announce = False
        self._news = threading.Condition()

    def add(self, mount: str, names: Names | None, soon: list[str]) -> None:
        with self._news:
            if names != {}:
                before = self._changes.get(mount, {})
                together = None if names is None or before is None else {**before, **names}
                self._changes[mount] = together if together is None or len(together) <= NAMES_MAX else None
            self._announce |= soon != self._soon.get(mount, [])
            self._soon[mount] = soon
            self._news.notify()

    def take(self, seconds: float) -> tuple[Changes, Announced]:
        """Everything, after waiting for the first of it, and a little for more."""
        with self._news:
            waited = self._news.wait_for(lambda: self._changes or self._announce, seconds)
        if waited:
            time.sleep(BATCH_SECONDS[0])
        with self._news:  # at once: what is no longer announced is told
            taken, self._changes, self._announce = self._changes, {}, False
            return taken, dict(self._soon)


def count(changes: Changes) -> int:
    return sum(NAMES_MAX if names is None else len(names) for names in changes.values())


# ---------------------------------------------------------------- one mount


class Check(NamedTuple):
    """A name that changed elsewhere, and shall not be seen as it was."""

    due: float
    since: float  # when it was told of, or seen wrong
    tries: int
    what: str | None

    def after(self, wrong: bool, now: float) -> Check | None:
        """What is left to do when it was looked at."""
        if wrong and self.tries < len(AGAIN_SECONDS):
            return Check(now + AGAIN_SECONDS[self.tries], now, self.tries + 1, self.what)
        if wrong or now - self.since >= CALM_SECONDS:
            return None
        return self._replace(due=self.since + CALM_SECONDS)


class Left(NamedTuple):
    """An upload that was called off, and may have left something in the bucket."""

    upload: Upload
    since: float
    tries: int = 0

    def due(self) -> float:
        return self.since + LEFT_SECONDS[self.tries]


class Directory:
    """One mount of this host: notices what changes through it, and forgets what changed elsewhere."""

    def __init__(self, name: str, site: Site) -> None:
        self.name = name
        self.site = site
        self.why = "it was just started"
        self._stale = True  # something was told and couldn't be forgotten yet
        self._forgotten = 0.0
        self._folders: Callable[[], list[str]] = list
        self._made: dict[str, float] = {}  # names that the kernel may remember, and when they came
        self._heard: queue.SimpleQueue[Names | None] = queue.SimpleQueue()
        self._queued: Names = {}  # heard of, and not forgotten yet
        self._told: queue.SimpleQueue[Names | None] = queue.SimpleQueue()  # where to look for directories to watch
        self._checks: dict[str, Check] = {}
        self._left: dict[str, Left] = {}
        self._swept: queue.SimpleQueue[str] = queue.SimpleQueue()  # names of which something was left
        self._news = threading.Condition()
        self._holding = threading.Lock()  # two that open a file would wait for each other
        for work in (self._watch, self._keep, self._obey, self._check, self._sweep):
            threading.Thread(target=self._for_ever, args=(work,), daemon=True).start()

    def _for_ever(self, work: Callable[[], None]) -> None:
        said = ""
        while (mounts.CONFIG_DIR / (self.name + ".json")).exists():
            try:
                work()
            except (OSError, ValueError, mounts.MountError) as error:
                if str(error) != said:  # once, not every second
                    mounts.report(f"{self.name}: {error}")
                said = str(error)
                time.sleep(1)

    def _config(self) -> mounts.Config:
        return mounts.as_started(mounts.load_config(self.name))

    # what changed elsewhere

    def hear(self, names: Names | None) -> None:
        """These names changed elsewhere, or everything may have."""
        self._queued.update(names or {})
        self._heard.put(names)

    def _obey(self) -> None:
        """Forget what was heard of: in a thread of its own, as a peer waits for our answer, and this for readers."""
        with contextlib.suppress(queue.Empty):
            names = self._heard.get(timeout=60)
            self._forget(names)
            self._told.put(names)  # only now its directories are there
            for name in names or {}:
                self._queued.pop(name, None)

    def _forget(self, names: Names | None, tries: int = 0) -> None:
        """Have the mount forget these names, or everything, and look that it did, until all tries are made."""
        try:
            if names is not None:
                self._list_anew({os.path.dirname(name) for name in names}, names)
            elif self._folders():
                # By name: what is forgotten as a whole is another directory afterwards, and isn't watched any more.
                self._list_anew(set(self._folders()), {})
            else:
                self._forget_all()
        except (OSError, mounts.MountError):  # none is there, or it hangs
            self._stale = True
        now = time.monotonic()
        with self._news:
            self._checks |= {name: Check(now, now, tries, what) for name, what in (names or {}).items()}
            self._news.notify_all()

    def _forget_all(self) -> None:
        """Have the mount forget directories whose names aren't known here. Raises OSError."""
        config = self._config()
        if config.local + config.code:  # what is mounted on a directory that is forgotten goes with it
            read_ahead(config)
        else:
            ask_mount(config, "forget")

    def _list_anew(self, folders: set[str], names: Names) -> None:
        """Have the mount list directories anew, while nobody reads what was, or may already be, overwritten in them."""
        config = self._config()
        soon = {*self.site.announced(self.name), *list(self._queued)}
        soon = {name for name in soon if os.path.dirname(name) in folders}
        overwritten = dict.fromkeys([*(name for name, what in names.items() if what is not None), *soon])
        if not overwritten or not config.state().mounted:
            self._forget_in(folders)
            return
        at_once = list(overwritten)[:HELD_MAX]
        with self._holding, read_only_view(config.path) as root, nobody_reads(root, at_once) as held:
            sizes = {name: size_told(names.get(name)) for name in held}
            closed_until = time.monotonic() + CLOSED_SECONDS
            while not all(is_closed(config, name) for name in held) and time.monotonic() < closed_until:
                time.sleep(0.003)
            for pause in LIST_SECONDS:
                time.sleep(pause)
                self._forget_in(folders)
                with contextlib.suppress(OSError):  # else it is looked at again later
                    for name in held:
                        look_up_anew(root, name)
                    if all(sizes[name] in (None, os.fstat(file).st_size) for name, file in held.items()):
                        break

    def _forget_in(self, folders: Iterable[str]) -> None:
        """Have the mount list directories anew when they are needed next."""
        named = {f"file{at}": os.path.join(folder, "any") for at, folder in enumerate(sorted(folders))}
        if named:
            ask_mount(self._config(), "forget", named)

    def _check(self) -> None:
        """Look whether names that changed elsewhere are seen as they are now; try again for those that aren't."""
        with self._news:
            self._news.wait_for(lambda: self._checks, 60)
            now = time.monotonic()
            due = {name: check for name, check in self._checks.items() if check.due <= now}
        if due:
            wrong = self._wrong(due)
            if wrong:
                self._list_anew({os.path.dirname(name) for name in wrong}, {name: due[name].what for name in wrong})
            with self._news:
                for name, check in due.items():
                    if self._checks.get(name) is check:  # else it changed again meanwhile
                        del self._checks[name]
                        left = check.after(name in wrong, time.monotonic())
                        if left:
                            self._checks[name] = left
        time.sleep(0.05)

    def _drop_checks(self, names: list[str]) -> None:
        """They changed here since."""
        with self._news:
            for name in names:
                self._checks.pop(name, None)

    def _wrong(self, due: dict[str, Check]) -> set[str]:
        config = self._config()
        if not config.state().mounted or not config.waits_in_cache:
            return set()
        wrong = set()
        with read_only_view(config.path) as root:
            for name, check in due.items():
                try:
                    if self._is_wrong(config, root, name, check.what):
                        wrong.add(name)
                except (OSError, ValueError):
                    wrong.add(name)
        return wrong

    @staticmethod
    def _is_wrong(config: mounts.Config, root: int, name: str, what: str | None) -> bool:
        there = look_up_anew(root, name)
        note = cache_note(config, name) if there else {}
        if is_dirty(config, note):
            return False  # it has changed here since
        if what is None:
            return there
        if not there:
            return True
        if not what or not note or note.get("Fingerprint") == what:
            return False
        read_one_byte(root, name)
        return cache_note(config, name).get("Fingerprint") != what

    def _keep(self) -> None:
        """Forget everything from time to time while something may go unnoticed."""
        self.why = self.site.why_unsure(self.name, time.monotonic())
        if (self.why or self._stale) and time.monotonic() - self._forgotten >= FORGET_SECONDS:
            config = self._config()
            if config.state().mounted and config.remote_control:
                self._forgotten = time.monotonic()
                self._stale = False
                self._forget(None)
                # Nobody knows whether those are still there.
                self._forget({name: "" for name in list(self._made) if name not in self._checks}, len(AGAIN_SECONDS))
        for name, at in list(self._made.items()):
            if time.monotonic() - at > REMEMBERED_SECONDS:
                self._made.pop(name, None)
        time.sleep(0.5)

    # what changes here

    def _watch(self) -> None:
        """For as long as one mount is in front."""
        config = self._config()
        state = config.state()
        if not state.mounted or state.fuse is None:
            self.site.sees.pop(self.name, None)
        else:
            self.site.sees[self.name] = False
            if config.remote_control and config.waits_in_cache:
                read_ahead(config)
                with inotify.Inotify() as notify:
                    self._notice(config, state.fuse.id, inotify.Tree(config.path, notify), notify)
        time.sleep(1)

    def _sweep_later(self, begun: dict[str, Upload], now: float) -> None:
        if begun:
            with self._news:
                self._left |= {name: Left(upload, now) for name, upload in begun.items()}
                self._news.notify_all()

    def _drop_left(self, names: list[str]) -> None:
        """They are there again, and their uploads replace what was left."""
        if self._left:  # only who notices adds to it, which is who asks here
            with self._news:
                for name in names:
                    self._left.pop(name, None)

    def _sweep(self) -> None:
        """Delete what uploads that were called off have left in the bucket: names that are gone would come back."""
        with self._news:
            self._news.wait_for(lambda: self._left, 60)
            now = time.monotonic()
            due = {name: left for name, left in self._left.items() if left.due() <= now}
        for name, left in due.items():
            config = self._config()
            arrived = has_arrived(config, left.upload)
            with self._news:
                if self._left.get(name) is not left:  # it is there again, and replaces what was left
                    continue
                if arrived or left.tries + 1 == len(LEFT_SECONDS):
                    del self._left[name]
                else:
                    self._left[name] = left._replace(tries=left.tries + 1)
            if arrived:
                delete_arrived(config, left.upload)
                self._forget({name: None})
                self._swept.put(name)
        time.sleep(0.1)

    def _notice(self, config: mounts.Config, mount: int, tree: inotify.Tree, notify: inotify.Inotify) -> None:
        self._folders = tree.folders
        tree.add("")
        waiting = Waiting()
        waiting.add(mounts.waiting_in_cache(config), time.monotonic())
        self.site.sees[self.name] = True
        self.site.tell(self.name, None, waiting.newest())  # what happened before the watch
        looked = refreshed = time.monotonic()
        while not tree.blind:
            gone: Names = {}
            now = time.monotonic()
            if now - refreshed >= REFRESH_EVERY:
                refreshed = now
                read_ahead(config)
                self._told.put(None)
            while not self._told.empty():
                waiting.add(tree.add_missing(self._told.get()), now)
            for event in notify.read(0.1 if waiting else 1.0):
                names = tree.names(event)
                if event.mask & (inotify.IN_DELETE | inotify.IN_MOVED_FROM):
                    gone |= dict.fromkeys(names)
                    moved = event.mask & inotify.IN_ISDIR and event.mask & inotify.IN_MOVED_FROM
                    inside = [name for folder in names for name in waiting.below(folder)] if moved else []
                    begun = waiting.drop([*names, *inside], now)
                    self._drop_checks(names)
                    self._sweep_later(begun, now)
                else:
                    waiting.add(names, now)
                    self._drop_left(names)
                if event.mask & (inotify.IN_CREATE | inotify.IN_MOVED_TO) and len(self._made) < NAMES_MAX:
                    self._made.update(dict.fromkeys(names, now))
            while not self._swept.empty():
                gone[self._swept.get()] = None
            told = gone | waiting.done(config, time.monotonic())
            self.site.tell(self.name, told, waiting.newest())
            if now - looked >= 1:
                looked = now
                front = config.state()
                if front.fuse is None or front.fuse.id != mount:
                    break
        self._folders = list


# ---------------------------------------------------------------- the service


class Agent:
    """All sites and mounts of this host."""

    def __init__(self, sites: list[Site]) -> None:
        self.sites = {site.catalog: site for site in sites}
        self.directories: dict[str, Directory] = {}

    def run(self) -> None:
        """Until the sites are others: systemd starts it again."""
        mounts.RUN_DIR.mkdir(mode=0o700, exist_ok=True)  # at boot it comes with the first floor
        signal.signal(signal.SIGIO, signal.SIG_IGN)  # what a lease that is broken says
        signal.signal(signal.SIGHUP, lambda _signal, _frame: self.forget_all())
        for port in sorted({site.port for site in self.sites.values() if site.peers}):
            threading.Thread(target=self._listen, args=(port,), daemon=True).start()
        for site in self.sites.values():
            for peer in site.peers:
                threading.Thread(target=self._talk, args=(site, peer), daemon=True).start()
        self._try_gate()
        inotify.notify_systemd("READY=1")
        while {path.stem for path in SITES_DIR.glob("*.json")} == set(self.sites):
            self._adopt()
            self._write_status()
            inotify.notify_systemd("WATCHDOG=1")
            time.sleep(1)

    @staticmethod
    def _try_gate() -> None:
        try:
            with Path(__file__).open("rb") as any_file:
                os.close(gate([any_file.fileno()]))
        except OSError as error:
            mounts.report(f"readers can't be held back, and may be served once what was overwritten half ({error})")

    def forget_all(self) -> None:
        """What an administrator asks for who changed a bucket from elsewhere."""
        for directory in list(self.directories.values()):
            directory.hear(None)

    def _adopt(self) -> None:
        """Begin with mounts that came, and end with those that went."""
        known = self.directories.items()
        self.directories = {name: it for name, it in known if (mounts.CONFIG_DIR / (name + ".json")).exists()}
        for path in mounts.CONFIG_DIR.glob("*.json"):
            if path.stem not in self.directories:
                site = self.sites.get(mounts.load_config(path.stem).catalog)
                if site:
                    self.directories[path.stem] = Directory(path.stem, site)

    def _write_status(self) -> None:
        told = {name: directory.why for name, directory in self.directories.items()}
        mounts.write_json(mounts.RUN_DIR / "coherence.json", {"unsure": told})

    # to one peer

    def _talk(self, site: Site, peer: str) -> None:
        said = ""
        while True:
            site.unsent[peer].take(0)  # a peer that hears us anew forgets everything
            try:
                with socket.create_connection((site.peers[peer], site.port), timeout=DEAF_SECONDS) as connection:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    link = greet(connection, site.key(), site.catalog, site.host)
                    said = ""
                    mounts.report(f"{peer} is told of changes")
                    self._tell(site, peer, link)
            except (OSError, ValueError) as error:
                if str(error) != said:  # once, not every second
                    mounts.report(f"{peer} ({site.peers[peer]}, port {site.port}) can't be told of changes: {error}")
                said = str(error)
            time.sleep(BEAT_SECONDS)

    def _tell(self, site: Site, peer: str, link: Link) -> None:
        while True:
            began = time.monotonic()
            changes, soon = site.unsent[peer].take(BEAT_SECONDS)
            link.send({"sees": dict(site.sees), "soon": soon, "changed": changes})
            link.receive()
            # The more there is, the longer it is gathered: each message may cost the peer a listing.
            rest = min(BATCH_SECONDS[1], BATCH_SECONDS[0] * count(changes)) - (time.monotonic() - began)
            if changes and rest > 0:
                time.sleep(rest)

    # from peers

    def _listen(self, port: int) -> None:
        with socket.create_server(("", port), backlog=64) as server:
            while True:
                connection, address = server.accept()
                threading.Thread(target=self._hear, args=(connection, address[0]), daemon=True).start()

    def _hear(self, connection: socket.socket, address: str) -> None:
        with connection:
            connection.settimeout(DEAF_SECONDS)
            try:
                link, catalog, peer = welcome(connection, {name: site.key() for name, site in self.sites.items()})
                site = self.sites[catalog]
                if peer not in site.peers:
                    raise PermissionError(f"{peer} is no webserver of {catalog}")
            except (OSError, ValueError, KeyError) as error:
                mounts.report(f"{address} is not listened to: {error}")
                return
            try:
                self._obey(site, peer, link)
            except (OSError, ValueError, KeyError, TypeError) as error:
                mounts.report(f"{peer} isn't heard any more: {error}")
            site.heard.pop(peer, None)

    def _obey(self, site: Site, peer: str, link: Link) -> None:
        mounts.report(f"{peer} is heard")
        for directory in self._of(site):
            directory.hear(None)
        link.send({})
        soon: Announced = {}
        while True:
            message = link.receive()
            sees = dict(message["sees"])
            site.heard[peer] = Heard(time.monotonic(), sees, soon)
            for directory in self._of(site):
                if directory.name in message["changed"]:
                    names = message["changed"][directory.name]
                    directory.hear(
                        None if names is None else {name: what for name, what in names.items() if mounts.is_plain(name)}
                    )
            # Only now: what is no longer announced has just been heard of.
            told = message.get("soon", {})  # one that isn't deployed anew yet doesn't say it
            soon = {mount: [name for name in names if mounts.is_plain(name)] for mount, names in told.items()}
            site.heard[peer] = Heard(time.monotonic(), sees, soon)
            link.send({})

    def _of(self, site: Site) -> list[Directory]:
        return [directory for directory in list(self.directories.values()) if directory.site is site]


def read_sites() -> list[Site]:
    """What role asset_mount has written about the webservers of each site."""
    sites = []
    for path in sorted(SITES_DIR.glob("*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        sites.append(Site(path.stem, told["host"], told["peers"], int(told["port"]), Path(told["keys"])))
    return sites


if __name__ == "__main__":
    Agent(read_sites()).run()
