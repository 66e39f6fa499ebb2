# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies at a mountpoint: local files, their read-only floor, a FUSE mount in front; and what may be done there.

Module mount_info imports this file; role asset_mount also installs it on webservers as the program that the units
call (`mount.py VERB NAME`). So it is one file, needs nothing but Python's standard library, and names no mount tool.

    PATH      where the site looks          FUSE (the bucket) > floor (local files, read-only) > local files
    beneath   the way to the local files    a private, writable bind mount, reachable for root only
    bridge    another mount of the bucket   in front, read-only, only while the mount itself is replaced
    own       directories of this host      in front of some of the bucket's: caches, and copies of code
"""

from __future__ import annotations

import argparse
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
import re
import select
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, NamedTuple
from urllib.parse import quote, unquote_plus, urlsplit

CONFIG_DIR = Path("/etc/adt-assets/mounts")
RUN_DIR = Path("/run/adt-assets")
STATE_DIR = Path("/var/lib/adt-assets")
CACHE_DIR = Path("/var/cache/adt-assets")

# linux/mount.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_PRIVATE = 1, 2, 4, 8, 32, 4096, 1 << 18
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

ANSWER_SECONDS = 10.0
READY_SECONDS = 45.0
BUSY_SECONDS = 60.0
FLUSH_SECONDS = 30.0
LEAVE_SECONDS = 20.0
KEYS_ASKED = 20
KEYS_MAX = 1000  # a page of a listing
NAMES_SHOWN = 20
REACH_SECONDS = 30.0
NAMES_MAX = 5000
LATE_SECONDS = 10.0
CHUNK = 1 << 20

# The watch: how often it asks whether a mount's process answers, and how long that may take; every which time it looks
# something up, which may cost S3 requests; after how many failures of either in a row the process is killed.
LOOK_SECONDS = 1.0
ALIVE_SECONDS = 2.5
LOOK_UP_EVERY = 5
FAILURES = 3
# A look-up that takes HANG_SECONDS has the process killed at once when that does nothing for a second (IDLE_SECONDS of
# CPU time at most) and S3 answers others within SOON_SECONDS. One that works may have to list a large directory.
HANG_SECONDS = 4.0
IDLE_SECONDS = 0.03
SOON_SECONDS = 2.0
LOOK_UP_SECONDS = 30.0


class MountError(Exception):
    """What is wrong and what to do, in words for a user; never holds a secret."""


class TooLong(MountError):
    """There was no answer in time."""


class Wedged(MountError):
    """There was no answer in time, and nobody works on one."""


# ---------------------------------------------------------------- the mount table


class Mount(NamedTuple):
    """One line of /proc/self/mountinfo (proc(5))."""

    id: int
    parent: int
    device: str
    root: str
    point: str
    options: tuple[str, ...]
    fstype: str
    source: str


def unescape(field: bytes) -> str:
    """Undo the kernel's octal escapes (space, tab, newline, backslash); bytes that aren't UTF-8 become surrogates."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field))


def parse_mountinfo(text: bytes) -> list[Mount]:
    mounts = []
    for line in text.splitlines():
        fields = line.split(b" ")
        kind = fields.index(b"-", 6)  # optional fields stand between the options and the dash
        mounts.append(
            Mount(
                id=int(fields[0]),
                parent=int(fields[1]),
                device=fields[2].decode(),
                root=unescape(fields[3]),
                point=unescape(fields[4]),
                options=tuple(fields[5].decode().split(",")),
                fstype=fields[kind + 1].decode(),
                source=unescape(fields[kind + 2]),
            )
        )
    return mounts


def read_mounts() -> list[Mount]:
    return parse_mountinfo(Path("/proc/self/mountinfo").read_bytes())


def stack(mounts: list[Mount], point: str) -> list[Mount]:
    """All mounts at one point, the lowest first: each lies on its parent."""
    here = {mount.id: mount for mount in mounts if mount.point == point}
    above = {mount.parent: mount for mount in here.values()}
    lowest = [mount for mount in here.values() if mount.parent not in here]
    ordered: list[Mount] = []
    for mount in lowest:
        step: Mount | None = mount
        while step is not None and step not in ordered:
            ordered.append(step)
            step = above.get(step.id)
    return ordered


def is_fuse(mount: Mount) -> bool:
    return mount.fstype == "fuse" or mount.fstype.startswith("fuse.")


class State(NamedTuple):
    """What the mount table says about one asset directory."""

    beneath: Mount | None  # the writable way to the local files
    floor: bool
    fuse: Mount | None  # in front; dead or alive
    foreign: Mount | None  # a FUSE mount that isn't above a floor of ours
    inside: tuple[str, ...]  # other mounts below the path: a floor would hide them
    bridged: bool = False  # what is in front is the bridge
    above: int = 0  # mounts above the floor: dead ones may lie beneath the one in front

    @property
    def mounted(self) -> bool:
        """Whether the mount itself is in front."""
        return self.fuse is not None and not self.bridged


def look(mounts: list[Mount], path: str, beneath: str, bridge: str = "") -> State:
    local = (stack(mounts, beneath) or [None])[-1]  # type: ignore[list-item]
    beside = (stack(mounts, bridge) or [None])[-1]  # type: ignore[list-item]
    layers = stack(mounts, path)

    def is_floor(mount: Mount) -> bool:
        return local is not None and (mount.device, mount.root) == (local.device, local.root)

    floors = [at for at, mount in enumerate(layers) if is_floor(mount) and "ro" in mount.options]
    top = layers[-1] if layers else None
    fuse = top if top is not None and is_fuse(top) and not is_floor(top) else None
    return State(
        beneath=local,
        floor=bool(floors),
        fuse=fuse,
        foreign=None if floors else fuse,
        inside=tuple(sorted({mount.point for mount in mounts if mount.point.startswith(path.rstrip("/") + "/")})),
        bridged=fuse is not None and beside is not None and fuse.device == beside.device,
        above=len(layers) - 1 - floors[-1] if floors else 0,
    )


# ---------------------------------------------------------------- one directory's settings


class Config(NamedTuple):
    """What role asset_mount has written about one directory (CONFIG_DIR/NAME.json)."""

    name: str  # the path, escaped as in unit names
    path: str
    buckets: tuple[str, ...] = ()  # shown as one; none: this host has no settings for the directory (yet)
    catalog: str = ""  # the site's
    directory: dict[str, Any] | None = None  # the plan's entry
    store: dict[str, Any] | None = None  # endpoint_url, region, addressing_style, validate_certs, ca_bundle
    credential: str = ""  # root-only file as the tool wants it
    keys: str = ""  # root-only file, JSON: access_key, secret_key, session_token
    symlinks: str = "none"
    keep_local: float = 0  # seconds
    write_back: bool = False  # uploads follow after close()
    fsync_uploads: bool = False  # an fsync of the whole directory returns after every upload was tried
    retry_seconds: float = 0.0  # after which such uploads that failed are tried again
    cache: str = ""  # the tool's own directory
    waits_in_cache: dict[str, Any] | None = None  # folder, depth, key: where the cache notes what has to be uploaded
    # socket, request, count; metrics, failures; refresh, forget, queue; look, delete, remote
    remote_control: dict[str, Any] | None = None
    local: tuple[str, ...] = ()  # directories below the path that each webserver needs its own of
    code: tuple[str, ...] = ()  # directories below the path that are to be read from a copy

    @property
    def source(self) -> str:
        """What the mount shows, for a message."""
        return ("bucket " if len(self.buckets) == 1 else "buckets ") + ", ".join(self.buckets)

    @property
    def beneath(self) -> str:
        return str(RUN_DIR / "beneath" / self.name)

    @property
    def bridge(self) -> str:
        return str(RUN_DIR / "bridge" / self.name)

    @property
    def started_with(self) -> Path:
        return STATE_DIR / self.name / "mounted.json"

    @property
    def record(self) -> Path:
        return STATE_DIR / self.name / "cutover.json"

    @property
    def unit(self) -> str:
        return f"adt-assets-{self.name}.service"

    @property
    def event(self) -> Path:
        return STATE_DIR / self.name / "event.json"

    @property
    def own(self) -> Path:
        """Where the directories are that this webserver has of its own: below ``local``."""
        return STATE_DIR / self.name / "own"

    @property
    def copies(self) -> Path:
        """Where the copies of code are, which asset_fetch makes."""
        return STATE_DIR / self.name / "code"

    @property
    def copied(self) -> Path:
        """Which of them are whole."""
        return STATE_DIR / self.name / "code.json"

    @property
    def late(self) -> Path:
        return STATE_DIR / self.name / "late"

    @property
    def late_marks(self) -> Path:
        return STATE_DIR / self.name / "late.json"

    def state(self) -> State:
        return look(read_mounts(), self.path, self.beneath, self.bridge)

    def local_path(self) -> str:
        """Where the local files can be reached and written now."""
        return self.beneath if self.state().beneath else self.path


def load_config(name: str) -> Config:
    """Raises MountError when this host has no such directory."""
    try:
        return _config(name, CONFIG_DIR / (name + ".json"))
    except FileNotFoundError:
        raise MountError(f"no asset directory {name} on this host: {CONFIG_DIR} has no settings for it")


def _config(name: str, file: Path) -> Config:
    settings = json.loads(file.read_text(encoding="utf-8"))
    # Another version may have written it; older Ansible makes strings of numbers.
    known = {key: value for key, value in settings.items() if key in Config._fields}
    numbers = {key: float(known[key]) for key in ("keep_local", "retry_seconds") if key in known}
    lists = {key: tuple(known.get(key, ())) for key in ("buckets", "local", "code")}
    return Config(**{**known, **numbers, **lists, "name": name})


def as_started(config: Config) -> Config:
    """The settings that the mount was started with last: another tool may have been chosen since."""
    try:
        return _config(config.name, config.started_with)
    except FileNotFoundError:
        return config


# ---------------------------------------------------------------- work that may hang in the kernel


# Children that hang in the kernel, until they have ended after all: nobody else would take them off the process table.
_given_up: list[int] = []


def limited(work: Callable[[], Any], seconds: float) -> Any:
    """The JSON-able result of work(), done in a forked child that is given up after some seconds.

    A call into FUSE may hang where no signal reaches it; then the child is lost and we go on.
    Raises TooLong, or MountError with what work() raised.
    """
    _given_up[:] = [lost for lost in _given_up if os.waitpid(lost, os.WNOHANG) == (0, 0)]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(work, writer)
    os.close(writer)
    answer = b""
    deadline = time.monotonic() + seconds
    try:
        while True:
            if not select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
                os.kill(child, signal.SIGKILL)
                _given_up.append(child)
                raise TooLong(f"no answer within {seconds:.0f} s")
            block = os.read(reader, CHUNK)
            if not block:
                break
            answer += block
    finally:
        os.close(reader)
    os.waitpid(child, 0)  # it has said all, and is ending
    result = json.loads(answer or b'{"error": "the probe ended without an answer"}')
    if "error" in result:
        raise MountError(result["error"])
    return result["value"]


def _answer(work: Callable[[], Any], writer: int) -> None:
    """The child of limited(): never returns, holds none of the parent's streams."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        try:
            result = {"value": work()}
        except Exception as error:  # whatever it is, the parent reports it
            result = {"error": str(error) or type(error).__name__}
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(result).encode())
    finally:
        os._exit(0)


# ---------------------------------------------------------------- asking the bucket itself


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sign(method: str, url: str, region: str, keys: dict[str, str], now: datetime.datetime) -> dict[str, str]:
    """Headers of an S3 request without a body (AWS Signature Version 4); the query must be sorted and quoted."""
    parts = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    empty = hashlib.sha256(b"").hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": empty, "x-amz-date": stamp}
    if keys.get("session_token"):
        headers["x-amz-security-token"] = keys["session_token"]
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join([method, parts.path or "/", parts.query, lines, names, empty])
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = ("AWS4" + keys["secret_key"]).encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"{keys['access_key']}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return headers


def bucket_url(store: dict[str, Any], bucket: str) -> str:
    parts = urlsplit(store["endpoint_url"])
    if store.get("addressing_style") == "virtual":
        return f"{parts.scheme}://{bucket}.{parts.netloc}{parts.path.rstrip('/')}/"
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/{quote(bucket)}"


def _tls(store: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=store.get("ca_bundle") or None)
    if not store.get("validate_certs", True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


_REFUSED = {
    403: "S3 refuses the credentials: check the access key and the secret key",
    404: "the bucket does not exist: run the build machine's part first, or check the bucket's name",
}


def ask_buckets(config: Config, seconds: float = 5.0) -> list[list[str]]:
    """A few of the keys that each bucket holds. Raises MountError: one of them is unreachable, missing or refused."""
    answers = try_buckets(config, seconds)
    for _keys, why in answers:
        if why:
            raise MountError(why)
    return [keys for keys, _why in answers]


def try_buckets(config: Config, seconds: float = 5.0) -> list[tuple[list[str], str]]:
    """For each bucket: a few of its keys, and why it could not be asked. All are asked at the same time."""

    def ask(bucket: str) -> tuple[list[str], str]:
        try:
            return list(_list_page(config, bucket, seconds, KEYS_ASKED)[0]), ""
        except MountError as error:
            return [], str(error)

    with ThreadPoolExecutor(len(config.buckets) or 1) as pool:
        return list(pool.map(ask, config.buckets))


def list_buckets(config: Config, seconds: float = 30.0) -> dict[str, int]:
    """Every key of the buckets and its size in bytes. Raises MountError as ask_buckets does; seconds are per page."""
    found: dict[str, int] = {}
    for bucket in reversed(config.buckets):  # a mount shows the first one's file
        token: str | None = ""
        while token is not None:
            page, token = _list_page(config, bucket, seconds, KEYS_MAX, token)
            found |= page
    return found


def _list_page(
    config: Config, bucket: str, seconds: float, count: int, token: str = ""
) -> tuple[dict[str, int], str | None]:
    """Keys with sizes, and what the next page is asked for with."""
    keys = json.loads(Path(config.keys).read_text(encoding="utf-8"))
    store = config.store or {}
    query = {"encoding-type": "url", "list-type": "2", "max-keys": str(count)}
    if token:
        query["continuation-token"] = token
    asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(query.items()))
    url = f"{bucket_url(store, bucket)}?{asked}"
    now = datetime.datetime.now(datetime.timezone.utc)
    headers = sign("GET", url, store.get("region") or "us-east-1", keys, now)
    where = f"bucket {bucket} at {store['endpoint_url']}"
    try:
        tls = [urllib.request.HTTPSHandler(context=_tls(store))] if url.startswith("https:") else []
        opener = urllib.request.build_opener(*tls)
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the endpoint is the administrator's setting
        with opener.open(request, timeout=seconds) as response:
            listing = ET.fromstring(response.read())  # noqa: S314 - the store is trusted with the data, too
    except urllib.error.HTTPError as error:
        raise MountError(f"{where}: {_REFUSED.get(error.code, f'S3 answers {error.code}')}")
    except (OSError, http.client.HTTPException, ET.ParseError) as error:
        raise MountError(f"{where}: S3 can't be reached ({getattr(error, 'reason', error)})")
    found = {
        unquote_plus(item.findtext("{*}Key") or ""): int(item.findtext("{*}Size") or 0)
        for item in listing.iterfind("{*}Contents")
    }
    return found, listing.findtext("{*}NextContinuationToken") or None


def shown_as(keys: list[str], symlinks: str) -> list[str]:
    """The file names under which a mount shows these keys; keys that it may show otherwise are left out."""
    suffix = "." + symlinks
    names = [key[: -len(suffix)] if symlinks == "rclonelink" and key.endswith(suffix) else key for key in keys]
    return [name for name in names if is_plain(name)]


def is_plain(name: str) -> bool:
    """Whether a relative name leads nowhere else."""
    return not {"", ".", ".."} & set(name.split("/")) and "\0" not in name


# ---------------------------------------------------------------- does the mount answer?


def look_up_nothing(path: str) -> None:
    """Look for a file that can't be there: no cache knows the answer. Raises OSError."""
    try:
        os.lstat(os.path.join(path, f".adt-assets-{uuid.uuid4().hex}"))
    except FileNotFoundError:
        return
    raise OSError(f"{path} claims to hold a file with a random name")


def read_through(path: str, names: list[str]) -> None:
    """Read one of these files below path, and look for one that can't be there. Raises OSError."""
    failure: OSError | None = None
    for name in names:
        try:
            _read_some(os.path.join(path, name))
            break
        except OSError as error:  # a user may have deleted it just now
            failure = error
    else:
        os.listdir(path)  # an empty bucket has nothing else to ask for
        if failure is not None:
            raise failure
    look_up_nothing(path)


def read_from_each(config: Config, path: str, asked: list[list[str]]) -> None:
    """Read something that each bucket holds, below path. Raises OSError."""
    for keys in asked:
        read_through(path, shown_as(keys, config.symlinks))


def _read_some(path: str) -> None:
    if stat.S_ISLNK(os.lstat(path).st_mode):
        os.readlink(path)
        return
    with open(path, "rb", buffering=0) as file:
        file.read(4096)


def prove(config: Config, seconds: float = ANSWER_SECONDS, bridge: bool = False) -> float:
    """Seconds that reads of something known to be in each bucket took, through the mount (or the bridge).

    What is known to be there comes from the buckets themselves, so that an empty mount on a missing bucket is noticed
    and an emptied bucket isn't taken for one. Tries again until the time is up: directory caches lag behind.
    Raises MountError.
    """
    deadline = time.monotonic() + seconds
    path = config.bridge if bridge else config.path
    while True:
        left = max(0.5, deadline - time.monotonic())
        try:
            if not (stack(read_mounts(), path) if bridge else config.state().mounted):
                raise MountError(f"nothing is mounted at {path}")
            asked = limited(lambda: ask_buckets(config), left)
            began = time.monotonic()
            limited(lambda: read_from_each(config, path, asked), min(left, ANSWER_SECONDS))  # noqa: B023 - used at once
            return time.monotonic() - began
        except MountError as error:
            if time.monotonic() + 0.5 >= deadline:
                raise MountError(f"{path} does not answer from {config.source}: {error}")
        if not bridge:  # that has just listed the bucket
            forget(as_started(config))  # what the bucket was filled with from elsewhere
        time.sleep(0.5)


def ready(config: Config) -> dict[str, Any]:
    """Wait until a mount that has just been started answers, and remember the settings that it was started with."""
    took = prove(config, READY_SECONDS)
    config.started_with.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(CONFIG_DIR / (config.name + ".json"), config.started_with)
    return {"seconds": round(took, 3)}


def pending(config: Config) -> int | None:
    """How many files wait to be uploaded, after pressing for it where that can be done; None when the tool can't say.

    Raises MountError when it should have.
    """
    if not config.write_back:
        return 0  # a writer's close() returns after the upload
    if config.fsync_uploads:
        try:
            limited(lambda: flush(config.path), FLUSH_SECONDS)
        except MountError as error:
            raise MountError(f"{config.path}: not everything is uploaded ({error})")
        return 0
    if not config.remote_control:
        return None
    try:
        answer = json.loads(tell_mount(config, "POST", config.remote_control["request"]))
        return sum(int(_dig(answer, where)) for where in config.remote_control["count"])
    except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
        raise MountError(f"{config.path}: the mount doesn't say what is pending ({error})")


def flush(path: str) -> None:
    """Have the file system at path write out all that waits; whether it says what failed is its own affair."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def reach(config: Config) -> dict[str, Any]:
    """Ask the buckets themselves whether they are there. Raises MountError.

    A mount that systemd starts again and again waits here for S3, the longer the more often it failed, but not at boot.
    """
    failed = int(unit_states([config.unit]).get(config.unit, {}).get("NRestarts") or 0)
    deadline = time.monotonic() + min(REACH_SECONDS, 2.0**failed - 1)
    while True:
        try:
            return {"keys": sum(map(len, limited(lambda: ask_buckets(config), ANSWER_SECONDS)))}
        except MountError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(2)


def is_mounted(config: Config) -> bool:
    """Whether a mount with a living process is in front. Raises MountError when that can't be told."""
    return config.state().fuse is not None and limited(lambda: is_alive(config.path), ANSWER_SECONDS)


def waiting_in_cache(config: Config) -> list[str]:
    """The files that the tool's cache says have to be uploaded, whether the mount runs or not."""
    if not config.waits_in_cache:
        return []
    top = Path(config.cache, config.waits_in_cache["folder"])
    names = []
    for note in sorted(path for path in top.rglob("*") if path.is_file()):
        try:
            waits = json.loads(note.read_bytes()).get(config.waits_in_cache["key"])
        except (FileNotFoundError, ValueError):  # it was uploaded just now, or is being written
            waits = note.exists()
        if waits:
            names.append("/".join(note.relative_to(top).parts[int(config.waits_in_cache["depth"]) :]))
    return names


def unlike_buckets(config: Config, seconds: float) -> list[str]:
    """Files that the mount shows, and the buckets lack or have with another size.

    Raises MountError when the mount hasn't shown all of them after some seconds.
    """
    shown = limited(lambda: {name: status.st_size for name, status in local_files(config.path)}, seconds)
    there = list_buckets(config)
    return sorted(name for name, size in shown.items() if there.get(name) != size)


def not_uploaded(config: Config, seconds: float) -> list[str]:
    """What isn't in the bucket yet, by name where that is quickly known.

    Raises MountError when nobody can tell, or not within some seconds.
    """
    if not is_mounted(config):
        return waiting_in_cache(config)
    count = pending(config)
    if count is None:
        raise MountError(f"{config.path}: the mount can't say what is pending")
    if count:
        return [f"{count} files"]
    if not config.fsync_uploads:
        return waiting_in_cache(config)
    # What failed while S3 was away is tried again after a while, and only the bucket tells whether it worked.
    ask_buckets(config)
    time.sleep(config.retry_seconds)
    pending(config)
    return unlike_buckets(config, seconds)


def drain(config: Config, seconds: float) -> dict[str, Any]:
    """Refuse writes through the mount, then wait until every file is in the bucket.

    Raises MountError after some seconds, with the names of what isn't; writes are allowed again then.
    """
    config = as_started(config)
    mounted = is_mounted(config)
    if mounted:
        set_read_only(config, True)
    deadline = time.monotonic() + seconds
    while True:
        why = ""
        try:
            names = not_uploaded(config, max(FLUSH_SECONDS, deadline - time.monotonic()))
            if not names:
                return {"pending": 0}
        except MountError as error:
            names, why = [], f" ({error})"
        if time.monotonic() >= deadline or not mounted:
            break
        time.sleep(0.5)
    names = waiting_in_cache(config) or names or ["nobody can tell what"]
    listed = ", ".join(names[:NAMES_SHOWN]) + ", …" * (len(names) > NAMES_SHOWN)
    if not mounted:
        raise MountError(
            f"{config.path}: nothing is mounted, and files wait to be uploaded: {listed}{why}. "
            f"Start {config.unit} when S3 answers, and try again"
        )
    set_read_only(config, False)
    raise MountError(
        f"{config.path}: not uploaded after {seconds:.0f} s: {listed}{why}. "
        "Writes are allowed again; nothing was taken away"
    )


def _dig(answer: Any, where: str) -> Any:
    for part in where.split("."):
        answer = answer[part]
    return answer


def tell_mount(
    config: Config, method: str, request: str, question: dict[str, Any] | None = None, seconds: float = 5.0
) -> bytes:
    """What the mount's process answers to a request on its socket. Raises OSError or HTTPException."""
    connection = http.client.HTTPConnection("localhost", timeout=seconds)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.settimeout(seconds)
        unix.connect((config.remote_control or {})["socket"])
        connection.sock = unix
        body = json.dumps(question or {}) if method == "POST" else None
        connection.request(method, "/" + request, body=body, headers={"Content-Type": "application/json"})
        return connection.getresponse().read()


# ---------------------------------------------------------------- changing the mount table


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mount(source: str, target: str, flags: int) -> None:
    # mount(2) itself: mount(8) canonicalizes paths, which hangs or fails on a dead FUSE mount
    if _libc().mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def _remount(target: str, read_only: bool) -> None:
    _mount("none", target, MS_REMOUNT | MS_NOSUID | MS_NODEV | (MS_RDONLY if read_only else 0))


def _detach(target: str) -> None:
    if _libc().umount2(os.fsencode(target), MNT_DETACH | UMOUNT_NOFOLLOW):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def _root_only(path: Path) -> str:
    for part in (RUN_DIR, path.parent, path):
        part.mkdir(mode=0o700, exist_ok=True)
    return str(path)


def release(config: Config) -> None:
    """Take FUSE mounts away from the path, dead or alive, busy or not; never the floor, nor what lay there before.

    The bridge stays, and so does what it hides: that can't be taken away from behind it. What is left of a mount that
    failed stays while no local files are kept beneath: it answers with errors, an empty directory would say that there
    are no files.
    """
    state = config.state()
    failed = os.environ.get("SERVICE_RESULT", "success") != "success"
    if failed and state.floor and not has_files(config.beneath):
        return
    while state.floor and state.mounted:
        # Without a look in between: a dead one would be in front as long as that takes.
        for _layer in range(state.above):
            _detach(config.path)
        state = config.state()


def floor_up(config: Config) -> None:
    """Bind the local files read-only over themselves; what is mounted on top later can fail without losing a write."""
    state = config.state()
    if state.floor:
        return
    if state.fuse is not None:
        raise MountError(f"{config.path}: {state.fuse.source} ({state.fuse.fstype}) is mounted here; unmount it first")
    if state.inside:
        raise MountError(f"{config.path} has other mounts inside ({', '.join(state.inside)}); unmount them first")
    beneath = _root_only(Path(config.beneath))
    if state.beneath is None:
        _mount(config.path, beneath, MS_BIND)
        _mount("none", beneath, MS_PRIVATE)  # else what is mounted in front appears here, too
    _bind(config, beneath, config.path, read_only=True)


def _bind(config: Config, source: str, target: str, read_only: bool) -> None:
    """Show a local directory at another place.

    The mount gets its options elsewhere and is then put in place: there is no instant with a writable floor, and the
    copies in the mount namespaces of sandboxed services, which no later remount reaches, are read-only, too.
    """
    stage = _root_only(RUN_DIR / "stage" / config.name)
    for _left in stack(read_mounts(), stage):
        _detach(stage)
    _mount(source, stage, MS_BIND)
    _mount("none", stage, MS_PRIVATE)
    options = stack(read_mounts(), stage)[-1].options
    noexec = MS_NOEXEC if "noexec" in options else 0
    _mount("none", stage, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | noexec | (MS_RDONLY if read_only else 0))
    _mount(stage, target, MS_BIND)
    _detach(stage)
    os.rmdir(stage)


def floor_down(config: Config) -> None:
    """Give the local files back, writable. Refuses while something is mounted in front."""
    state = config.state()
    if state.fuse is not None and state.floor:
        if limited(lambda: is_alive(config.path), ALIVE_SECONDS):
            raise MountError(f"{config.path}: {state.fuse.fstype} is still mounted in front; stop its unit first")
        release(config)
    if state.floor:
        _detach(config.path)
    if state.beneath is not None:
        _detach(config.beneath)
        os.rmdir(config.beneath)


def stop(config: Config) -> None:
    """Take the mount from the path while its process lives, so that whoever reads a file now can finish.

    Behind the bridge nobody reads, and the process would take the bridge away instead of its mount: it is killed.
    """
    release(config)
    process = os.environ.get("MAINPID", "")
    if process and config.state().bridged:
        os.kill(int(process), signal.SIGKILL)
    deadline = time.monotonic() + LEAVE_SECONDS
    while process and Path("/proc", process).exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def put_bridge(config: Config) -> None:
    """Put the bridge in front of the mount, read-only, and wait until nobody reads from the mount any more."""
    behind = config.state()
    if behind.bridged:
        return
    if behind.fuse is None:
        raise MountError(f"nothing is mounted at {config.path}")
    prove(config, READY_SECONDS, bridge=True)
    _remount(config.bridge, True)
    _mount("none", config.bridge, MS_PRIVATE)  # else what is mounted in front later appears there, too
    _mount(config.bridge, config.path, MS_BIND)
    _wait_until_unused(behind.fuse.device)


def leave_bridge(config: Config) -> None:
    """Wait until nobody reads from the bridge, which the mount is in front of again."""
    for bridge in stack(read_mounts(), config.bridge)[-1:]:
        _wait_until_unused(bridge.device)


def clear_bridge(config: Config) -> None:
    """Make the place of the bridge, with nothing mounted there."""
    for _left in stack(read_mounts(), config.bridge):
        _detach(config.bridge)
    _root_only(Path(config.bridge))


def _wait_until_unused(device: str) -> None:
    """Until nobody has a file of a file system open, or LEAVE_SECONDS."""
    deadline = time.monotonic() + LEAVE_SECONDS
    while _is_used(device) and time.monotonic() < deadline:
        time.sleep(0.1)


def _is_used(device: str) -> bool:
    """Whether any process has a file of a file system open, in whatever mount namespace; asks the kernel only."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            mounts = parse_mountinfo((process / "mountinfo").read_bytes())
            lines = {f"mnt_id:\t{mount.id}" for mount in mounts if mount.device == device}
            for opened in (process / "fdinfo").iterdir() if lines else ():  # proc_pid_fdinfo(5)
                if lines & set(opened.read_text(encoding="ascii", errors="replace").splitlines()):
                    return True
    return False


def set_read_only(config: Config, read_only: bool) -> None:
    """Refuse writes through the mount, in every mount namespace; waits for files that are being written."""
    state = config.state()
    if state.fuse is None:
        raise MountError(f"nothing is mounted at {config.path}")
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            _remount(config.path, read_only)
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise MountError(f"{config.path} can't be made read-only: {error.strerror}; somebody keeps a file open")
        time.sleep(0.5)


# ---------------------------------------------------------------- directories of this host in front of the bucket's


def put_own(config: Config) -> dict[str, Any]:
    """Put this host's own directories in front of the mount, and take those away that shouldn't be there.

    They go with the mount: whoever takes that away takes away what lies on it.
    """
    with open(_root_only(RUN_DIR / "own") + f"/{config.name}.lock", "wb") as lock:  # the watch does it, too
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _put_own(config)


def _put_own(config: Config) -> dict[str, Any]:
    state = config.state()
    if not state.mounted or state.fuse is None:
        return {"changed": False}
    wanted = {path: (config.own / path, False) for path in config.local}
    wanted.update({path: (config.copies / path, True) for path in _whole_copies(config)})
    for path in config.local:
        _make_own(config, path)
    there = [mount for mount in _lying_on(read_mounts(), state.fuse.id) if _shows(mount, config, "(own|code)/.+")]
    if _as_wanted(config, there, wanted):
        return {"changed": False}
    for mount in reversed(there):
        try:
            _detach(mount.point)
        except OSError as error:
            # The kernel may have done it: when a directory below it was looked up anew, and had become another one.
            if error.errno != errno.EINVAL:
                raise
    limited(lambda: _make_places(config), ANSWER_SECONDS)
    for path, (source, read_only) in sorted(wanted.items()):  # what lies in another one comes after it
        _bind(config, str(source), os.path.join(config.path, path), read_only)
    mounts = read_mounts()
    there = _lying_on(mounts, state.fuse.id)
    for mount in reversed(mounts):
        inside = mount.point.startswith(config.path + "/") and _shows(mount, config, "(own|code)/.+")
        if inside and mount not in there:  # the bucket's mount has ended meanwhile
            _detach(mount.point)
    return {"changed": True}


def put_copies(config: Config) -> dict[str, Any]:
    """The copies of code are whole and as the bucket has them: use them."""
    write_json(config.copied, {"directories": [path for path in config.code if (config.copies / path).is_dir()]})
    return put_own(config)


def _whole_copies(config: Config) -> list[str]:
    """Only those that are still wanted: what isn't grows old, and has to be copied again before it is used again."""
    try:
        known = json.loads(config.copied.read_text(encoding="utf-8"))["directories"]
    except FileNotFoundError:
        return []
    whole = [path for path in known if path in config.code]
    if len(whole) < len(known):
        write_json(config.copied, {"directories": whole})
    return whole


def _make_own(config: Config, path: str) -> None:
    """A directory of this host alone begins with what lay there before the bucket came."""
    own, before = config.own / path, Path(config.beneath, path)
    if own.is_dir():
        return
    own.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fresh = own.with_name(f".{own.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    if before.is_dir() and not before.is_symlink():
        _copy_tree(before, fresh)
    else:
        fresh.mkdir(mode=0o755)
        owner = os.stat(config.beneath)
        os.chown(fresh, owner.st_uid, owner.st_gid)
    fresh.rename(own)


def _copy_tree(source: Path, target: Path) -> None:
    """With owners, modes, times and links as they are."""
    subprocess.run(["cp", "--archive", "--", str(source), str(target)], check=True, capture_output=True)


def _make_places(config: Config) -> None:
    """In the bucket, and in a copy that will lie in front of that."""
    for path in config.local:
        os.makedirs(os.path.join(config.path, path), exist_ok=True)
        if any(path.startswith(code + "/") for code in config.code):
            (config.copies / path).mkdir(parents=True, exist_ok=True)


def _lying_on(mounts: list[Mount], below: int) -> list[Mount]:
    """The mounts that lie on another one, each after what it lies on."""
    direct = [mount for mount in mounts if mount.parent == below]
    return [found for mount in direct for found in [mount, *_lying_on(mounts, mount.id)]]


def _shows(mount: Mount, config: Config, pattern: str) -> bool:
    """Whether a mount shows a directory of STATE_DIR/NAME, which may lie on a file system of its own."""
    return re.search(f"/{re.escape(config.name)}/{pattern}$", mount.root) is not None


def _as_wanted(config: Config, there: list[Mount], wanted: dict[str, tuple[Path, bool]]) -> bool:
    shown = {os.path.relpath(mount.point, config.path): mount for mount in there}
    return sorted(wanted) == sorted(os.path.relpath(mount.point, config.path) for mount in there) and all(
        _shows(shown[path], config, re.escape(f"{source.relative_to(STATE_DIR / config.name)}"))
        and ("ro" in shown[path].options) == read_only
        for path, (source, read_only) in wanted.items()
    )


def bring_own_back(config: Config) -> None:
    """The way back: what this host has of its own takes the place of what the bucket has there."""
    for path in config.local:
        own, back = config.own / path, Path(config.beneath, path)
        if own.is_dir():
            shutil.rmtree(back, ignore_errors=True)
            back.parent.mkdir(parents=True, exist_ok=True)
            _copy_tree(own, back)


# ---------------------------------------------------------------- what lay here at cutover


def _mark(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def local_files(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every entry below root that isn't a directory, by its relative path."""
    for folder, folders, files, fd in os.fwalk(root):
        for name in sorted(folders + files):
            status = os.lstat(name, dir_fd=fd)
            if not stat.S_ISDIR(status.st_mode):
                yield os.path.normpath(os.path.join(os.path.relpath(folder, root), name)), status


def _names(root: str) -> set[str]:
    """What a directory tree shows, without asking for the status of each file (a request per file with some tools)."""
    return {
        os.path.normpath(os.path.join(os.path.relpath(folder, root), name))
        for folder, folders, files in os.walk(root, onerror=_fail)
        for name in folders + files
    }


def _fail(error: OSError) -> None:
    raise error


def has_files(root: str) -> bool:
    return next(local_files(root), None) is not None


def read_record(config: Config) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(config.record.read_text(encoding="ascii"))
        return record
    except FileNotFoundError:
        return {"files": {}, "absent": [], "since": None}


def _write_record(config: Config, record: dict[str, Any]) -> None:
    config.record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = config.record.with_suffix(".new")
    with open(fresh, "w", encoding="ascii") as file:  # json escapes what isn't ASCII, undecodable names included
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, config.record)


def take_record(config: Config) -> dict[str, Any]:
    """Remember the local files before they are compared with the bucket."""
    files = {name: _mark(status) for name, status in local_files(config.local_path())}
    _write_record(config, {"files": files, "absent": [], "since": None})
    return {"files": len(files)}


def _came_late(config: Config) -> dict[str, os.stat_result]:
    recorded = read_record(config)["files"]
    return {
        name: status
        for name, status in local_files(config.local_path())
        if recorded.get(name) != _mark(status) and stat.S_IFMT(status.st_mode) in (stat.S_IFREG, stat.S_IFLNK)
    }


def late_files(config: Config) -> dict[str, Any]:
    """Which local files appeared or changed after the record was taken; some thousand names at most."""
    late = _came_late(config)
    return {"late": len(late), "names": sorted(late)[:NAMES_MAX]}


def copy_late_files(config: Config) -> dict[str, Any]:
    """Copy them where they can be read in peace, with their metadata. Says where, and how many there are."""
    shutil.rmtree(config.late, ignore_errors=True)
    os.makedirs(config.late, mode=0o700)
    late = _came_late(config)
    for name, status in late.items():
        target = config.late / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(os.path.join(config.local_path(), name), target, follow_symlinks=False)
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    marks = {name: _mark(status) for name, status in late.items()}
    config.late_marks.write_text(json.dumps(marks), encoding="ascii")
    return {"late": len(late), "copied_to": str(config.late)}


def account_late_files(config: Config) -> None:
    """The copied late files are in the bucket: add them, as they were when they were copied, to the record."""
    record = read_record(config)
    record["files"].update(json.loads(config.late_marks.read_text(encoding="ascii")))
    _write_record(config, record)
    forget(as_started(config))
    shutil.rmtree(config.late)
    config.late_marks.unlink()


def complete_record(config: Config) -> dict[str, Any]:
    """The bucket is in front and answers: retention begins. Also remembers what it lacked from the start."""
    record = read_record(config)
    if record["since"] is None:
        front = _names(config.path)
        record.update(since=time.time(), absent=sorted(set(record["files"]) - front))
        _write_record(config, record)
    return {"since": record["since"]}


# ---------------------------------------------------------------- retention


def decide(in_front: str, recorded: bool, absent_before: bool) -> str:
    """What becomes of one local file beneath the mount: delete, vanished (delete unless there are many) or keep.

    in_front: same, different or missing. recorded: accounted for at cutover and unchanged since.
    """
    if in_front == "same":
        return "delete"
    if not recorded:
        return "keep"
    if in_front == "missing" and not absent_before:
        return "vanished"
    return "delete"


def too_many(vanished: int, files: int) -> bool:
    return vanished > max(20, files * 5 // 100)


def open_folder(root: int, relative: str) -> int | None:
    """A directory below root that is reached without following a link, or None."""
    fd = os.dup(root)
    for part in Path(relative).parts:
        try:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
        except (FileNotFoundError, NotADirectoryError):
            return None
        finally:
            os.close(fd)
        fd = below
    return fd


def _same_bytes(name: str, local: int, front: int) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    ours, theirs = (os.fdopen(os.open(name, flags, dir_fd=folder), "rb") for folder in (local, front))
    with ours, theirs:
        block = ours.read(CHUNK)
        while block and theirs.read(len(block)) == block:
            block = ours.read(CHUNK)
        return not block and not theirs.read(1)


def _compare(name: str, status: os.stat_result, local: int, front: int | None) -> str:
    try:
        if front is None:
            return "missing"
        there = os.lstat(name, dir_fd=front)
    except FileNotFoundError:
        return "missing"
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(there.st_mode):
        return "different"
    if stat.S_ISLNK(status.st_mode):
        same = os.readlink(name, dir_fd=local) == os.readlink(name, dir_fd=front)
    else:
        same = stat.S_ISREG(status.st_mode) and status.st_size == there.st_size and _same_bytes(name, local, front)
    return "same" if same else "different"


def judge(beneath: str, front: str, record: dict[str, Any]) -> dict[str, tuple[str, list[int]]]:
    """For every local file: what decide() says, and the mark that it had then. Any read error in front ends it."""
    absent = set(record["absent"])
    verdicts: dict[str, tuple[str, list[int]]] = {}
    root = os.open(front, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder, folders, files, local in os.fwalk(beneath):
            relative = os.path.relpath(folder, beneath)
            there = open_folder(root, relative)
            for name in folders + files:
                status = os.lstat(name, dir_fd=local)
                if stat.S_ISDIR(status.st_mode):
                    continue
                path = os.path.normpath(os.path.join(relative, name))
                accounted = stat.S_IFMT(status.st_mode) in (stat.S_IFREG, stat.S_IFLNK)
                recorded = accounted and record["files"].get(path) == _mark(status)
                in_front = _compare(name, status, local, there)
                verdicts[path] = (decide(in_front, recorded, path in absent), _mark(status))
            if there is not None:
                os.close(there)
    finally:
        os.close(root)
    return verdicts


def delete_beneath(beneath: str, verdicts: dict[str, tuple[str, list[int]]]) -> int:
    """Delete what was judged so and is still the same, and the directories that this empties."""
    deleted = 0
    for folder, folders, files, fd in os.fwalk(beneath, topdown=False):
        relative = os.path.relpath(folder, beneath)
        for name in files + folders:
            status = os.lstat(name, dir_fd=fd)
            if stat.S_ISDIR(status.st_mode):
                _remove_if_empty(name, fd)
                continue
            verdict = verdicts.get(os.path.normpath(os.path.join(relative, name)))
            if verdict and verdict[0] != "keep" and verdict[1] == _mark(status):
                os.unlink(name, dir_fd=fd)
                deleted += 1
    return deleted


def _remove_if_empty(name: str, fd: int) -> None:
    with contextlib.suppress(OSError):  # not empty: something in it stays
        os.rmdir(name, dir_fd=fd)


def retire(config: Config) -> dict[str, Any]:
    """After the retention time: delete the local files that the bucket has taken over.

    Raises MountError, and then has deleted nothing.
    """
    state = config.state()
    record = read_record(config)
    if not state.floor or state.beneath is None or not has_files(config.beneath):
        return {"deleted": 0, "kept": 0}
    if record["since"] is None:
        report(f"{config.path}: its cutover isn't complete; local files stay")
        return {"deleted": 0, "kept": len(record["files"])}
    if time.time() < record["since"] + config.keep_local:
        return {"deleted": 0, "kept": len(record["files"]), "until": record["since"] + config.keep_local}
    prove(config)
    verdicts = judge(config.beneath, config.path, record)
    vanished = sorted(path for path, (verdict, _mark_) in verdicts.items() if verdict == "vanished")
    if too_many(len(vanished), len(verdicts)):
        raise MountError(
            f"{config.path}: {len(vanished)} of {len(verdicts)} local files are gone from {config.source} since "
            f"the cutover ({', '.join(map(repr, vanished[:5]))} …); nothing is deleted until somebody has looked"
        )
    prove(config)  # it answered all the time, so what looked missing was missing
    deleted = delete_beneath(config.beneath, verdicts)
    kept = sorted(path for path, (verdict, _mark_) in verdicts.items() if verdict == "keep")
    for path in kept[:100]:
        report(f"{config.path}: {path!r} is not in {config.source}; the local file stays, in {config.beneath}")
    return {"deleted": deleted, "kept": len(kept)}


# ---------------------------------------------------------------- the watch


class Watched(NamedTuple):
    """What the watch remembers of a directory between two looks."""

    mount: int | None = None  # the FUSE mount in front, by its number in the mount table
    looks: int = 0
    silent: int = 0  # times in a row that its process did not answer
    wrong: int = 0  # times in a row that nothing could be looked up
    blamed: bool = False  # S3 was found to be down, and that was said
    failed: int | None = None  # requests to S3 that the mount has seen fail


def watch_once(config: Config, before: Watched) -> Watched:
    """Look at one directory; kill a mount that has failed several times in a row. systemd starts it again.

    A process that doesn't answer at all is at fault whatever S3 does; one that can't look things up, only when S3
    answers others.
    """
    state = config.state()
    now = before._replace(looks=before.looks + 1)
    if state.bridged:  # for as long as the mount is being replaced
        return now
    alive = False
    if state.fuse is not None and state.floor:
        try:
            alive = limited(lambda: is_alive(config.path), ALIVE_SECONDS)
        except MountError as error:
            return _kill_after(config, error, now._replace(silent=now.silent + 1))
    if state.fuse is None or not alive:
        if before.mount is not None:
            _tell_of_end(config)
        return Watched(looks=now.looks)
    if before.mount != state.fuse.id:
        if before.looks:
            remember(config, "the bucket is in front")
        now = Watched(state.fuse.id, now.looks)
    now = now._replace(silent=0)
    if len(config.buckets) > 1:
        now = _watch_branches(config, now)
    if now.mount is None or (now.looks % LOOK_UP_EVERY and not now.wrong):
        return now
    return _watch_deeper(config, now)


def _watch_branches(config: Config, now: Watched) -> Watched:
    """Take a mount of several buckets away when only some of them answer.

    Whatever merges them takes an error of one for the absence of its files: programs would be told that files don't
    exist which do.
    """
    failed = failed_requests(config)
    suspicious = now.looks % LOOK_UP_EVERY == 0 if failed is None else failed != now.failed
    if not suspicious:
        return now
    try:
        why = [why for _keys, why in limited(lambda: try_buckets(config), ANSWER_SECONDS) if why]
    except MountError:  # then none is known to answer
        return now
    if 0 < len(why) < len(config.buckets):
        _take_away(config, "; ".join(why))
        return Watched(looks=now.looks)
    if not why:
        forget(config)
    return now._replace(failed=failed)


def _watch_deeper(config: Config, now: Watched) -> Watched:
    try:
        _look_up(config)
    except MountError as error:
        asked = time.monotonic()
        try:
            limited(lambda: ask_buckets(config), ANSWER_SECONDS)
        except MountError:
            if not now.blamed:
                remember(config, "S3 can't be reached; what is cached goes on being served")
            return now._replace(wrong=0, blamed=True)
        if isinstance(error, Wedged) and time.monotonic() - asked < SOON_SECONDS:
            return _kill_because(config, str(error), now)
        return _kill_after(config, error, now._replace(wrong=now.wrong + 1))
    if now.blamed:
        remember(config, "S3 answers again")
    return now._replace(wrong=0, blamed=False)


def _look_up(config: Config) -> None:
    """Raises Wedged when nothing can be looked up and the process does nothing; MountError when it fails otherwise."""
    try:
        limited(lambda: look_up_nothing(config.path), HANG_SECONDS)
        return
    except TooLong as error:
        before = cpu_seconds(config)
        time.sleep(1)
        if cpu_seconds(config) - before <= IDLE_SECONDS:
            raise Wedged(f"{error}, its process does nothing, and S3 answers others")
    limited(lambda: look_up_nothing(config.path), LOOK_UP_SECONDS)


def cpu_seconds(config: Config) -> float:
    """How long the mount's process has computed so far (proc_pid_stat(5)); 0 when there is none."""
    process = unit_states([config.unit]).get(config.unit, {}).get("MainPID") or "0"
    try:
        fields = Path("/proc", process, "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def failed_requests(config: Config) -> int | None:
    """How many requests to S3 the mount has seen fail so far; None when it doesn't count them. Costs S3 nothing."""
    if not config.remote_control:
        return None
    try:
        told = tell_mount(config, "GET", config.remote_control["metrics"]).decode(errors="replace")
    except (OSError, http.client.HTTPException):  # a process that is silent is noticed elsewhere
        return None
    found = re.findall(config.remote_control["failures"], told, re.MULTILINE)
    return int(sum(map(float, found)))


def forget(config: Config) -> None:
    """Have the mount read its directories anew: what they hold has changed, or a request for it has failed.

    A mount that takes long for that goes on with it when nobody waits any more.
    """
    if config.remote_control:
        with contextlib.suppress(OSError, KeyError, http.client.HTTPException):  # then none is there, or it hangs
            # Not "forget": what is forgotten as a whole is another directory afterwards, which nobody watches.
            tell_mount(config, "POST", config.remote_control["refresh"], {"recursive": "true"})


def _take_away(config: Config, why: str) -> None:
    """Have local files answer, or errors, until every bucket does."""
    until = "local files answer, read-only," if has_files(config.beneath) else "every access fails"
    remember(config, f"{why}. Others answer, and files would seem to be missing: {until} until all buckets do")
    _kill(config)  # in order, it would still tell those who wait for an answer that there is no such file


def _kill(config: Config) -> None:
    """End the mount's process at once; systemd starts it again."""
    process = int(unit_states([config.unit]).get(config.unit, {}).get("MainPID") or 0)
    if process:
        os.kill(process, signal.SIGKILL)


def is_alive(path: str) -> bool:
    """Whether the process behind a mount answers, False when there is none any more. Raises OSError."""
    try:
        os.statvfs(path)
        return True
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            return False
        raise


def _kill_after(config: Config, error: MountError, now: Watched) -> Watched:
    if max(now.silent, now.wrong) < FAILURES:
        return now
    return _kill_because(config, f"{error}, {FAILURES} times", now)


def _kill_because(config: Config, why: str, now: Watched) -> Watched:
    remember(config, f"the mount did not answer ({why}); its process is killed and started again")
    _kill(config)
    return Watched(looks=now.looks)


def _tell_of_end(config: Config) -> None:
    unit = unit_states([config.unit]).get(config.unit, {})
    if unit.get("ActiveState") in ("inactive", "deactivating") and unit.get("Result") == "success":
        report(f"{config.path}: the mount was stopped")
    else:
        remember(config, "the mount ended; until it is back local files answer, read-only, or every access fails")


def remember(config: Config, what: str) -> None:
    """One line in the journal, and the same for `status`."""
    report(f"{config.path}: {what}")
    config.event.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(config.event, {"time": time.time(), "what": what})


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write a file so that nobody reads half of it."""
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(content), encoding="utf-8")
    os.replace(fresh, file)


def last_event(config: Config) -> dict[str, Any] | None:
    try:
        event: dict[str, Any] = json.loads(config.event.read_text(encoding="utf-8"))
        return event
    except FileNotFoundError:
        return None


def watch_directory(name: str) -> None:
    """Look at one directory for as long as this host has settings for it."""
    known = Watched()
    while (CONFIG_DIR / (name + ".json")).exists():
        try:
            config = load_config(name)
            known = watch_once(config, known)
            if known.mount is not None and config.local + config.code:
                keep_own(config, known.mount, LOOK_SECONDS)
                continue
        except (MountError, OSError, ValueError, subprocess.SubprocessError) as error:
            report(f"{name}: can't be looked at ({error})")
        time.sleep(LOOK_SECONDS)


def keep_own(config: Config, mount: int, seconds: float) -> None:
    """Spend some seconds; put this host's own directories in front of a mount again as soon as one is away.

    A directory that the mount tool has forgotten is looked up as another one. The kernel then takes away whatever was
    mounted on the former one, or below it (d_invalidate() in Linux's fs/dcache.c).
    """
    until = time.monotonic() + seconds
    with open("/proc/self/mountinfo", "rb") as table:
        changes = select.poll()
        changes.register(table, select.POLLPRI)  # proc(5)
        while True:
            state = config.state()
            if not state.bridged and state.fuse is not None and state.fuse.id == mount:
                put_own(config)
            left = until - time.monotonic()
            if left <= 0:
                return
            changes.poll(left * 1000)


def watch() -> None:
    """Look at every directory of this host, for ever; each in a process of its own, so that none waits for another."""
    children: dict[str, int] = {}
    while True:
        for name in {path.stem for path in CONFIG_DIR.glob("*.json")} - set(children):
            children[name] = os.fork()
            if children[name] == 0:
                try:
                    watch_directory(name)
                finally:
                    os._exit(0)
        children = {name: child for name, child in children.items() if os.waitpid(child, os.WNOHANG) == (0, 0)}
        time.sleep(LOOK_SECONDS)


# ---------------------------------------------------------------- what a person wants to know


def unit_states(units: list[str]) -> dict[str, dict[str, str]]:
    """systemd's properties of these units; empty where systemd can't be asked."""
    asked = (
        "Id,LoadState,ActiveState,Result,MainPID,NRestarts,UnitFileState,FragmentPath,ExecMainStartTimestampMonotonic"
    )
    try:
        answer = subprocess.run(
            ["systemctl", "show", "--property=" + asked, "--", *units],
            capture_output=True, timeout=20, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return {}
    blocks = os.fsdecode(answer).strip().split("\n\n")
    shown = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]
    return dict(zip(units, shown))


def is_stale(properties: dict[str, str], credential: Path) -> bool:
    """The running mount was started before its unit or its credentials were written."""
    started = int(properties.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    if properties.get("ActiveState") != "active" or not started:
        return False
    started += time.time() - time.monotonic()
    files = [Path(properties.get("FragmentPath") or "/dev/null"), credential]
    return any(path.is_file() and path.stat().st_mtime > started for path in files)


def path_problems(path: str, state: State) -> list[str]:
    problems = []
    above = os.path.dirname(path)
    mounted = bool(stack(read_mounts(), path))  # then it isn't a link, and lstat might hang
    if os.path.realpath(above) != above or (not mounted and os.path.islink(path)):
        real = os.path.realpath(above if mounted else path)
        problems.append(f"{path} goes through a symbolic link (to {real}); name the directory itself")
    if state.foreign:
        what = f"{state.foreign.source} ({state.foreign.fstype})"
        problems.append(f"{path}: {what} is mounted here, and not by this role; unmount it first")
    if state.inside and not state.floor:
        problems.append(f"{path} has other mounts inside ({', '.join(state.inside)}), which the bucket would hide")
    return problems


def _unit_state(properties: dict[str, str]) -> str:
    if properties.get("LoadState") == "not-found":
        return "not-found"
    return properties.get("ActiveState", "unknown")


def describe(config: Config, properties: dict[str, str], seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
    """Everything about one directory; each question to the mount has a time limit and a process of its own."""
    state = config.state()
    local = config.beneath if state.beneath else config.path
    problems = path_problems(config.path, state)
    answers: bool | None = None
    took: float | None = None
    waiting: int | None = None
    if state.fuse and config.buckets:
        try:
            took = round(prove(config, seconds), 3)
            waiting = pending(as_started(config))
        except (MountError, OSError) as error:
            problems.append(str(error))
        answers = took is not None
    looks_local = state.beneath is not None or state.fuse is None
    return {
        "path": config.path,
        "buckets": list((as_started(config) if state.floor else config).buckets),
        "exists": state.fuse is not None or os.path.lexists(config.path),
        "unit": config.unit,
        "unit_state": _unit_state(properties),
        "enabled": properties.get("UnitFileState") == "enabled",
        "stale": is_stale(properties, Path(config.credential)),
        "floor": state.floor,
        "fuse": state.fuse.fstype if state.fuse else None,
        "read_only": state.fuse is not None and "ro" in state.fuse.options,
        "bridge": bool(stack(read_mounts(), config.bridge)),
        "local_path": local,
        "beneath": config.beneath,
        "answers": answers,
        "answer_seconds": took,
        "pending": waiting,
        "space": space(CACHE_DIR),
        "kept_local": looks_local and os.path.isdir(local) and has_files(local),
        "since": read_record(config)["since"],
        "unsure": why_unsure(config) if state.mounted else None,
        "event": last_event(config),
        "problems": problems,
    }


def why_unsure(config: Config) -> str | None:
    """Why other webservers' changes may be noticed late, as the service says that hears of them (_coherence.py).

    Empty when they are noticed at once, None where no such service is.
    """
    file = RUN_DIR / "coherence.json"
    try:
        why = json.loads(file.read_text(encoding="utf-8"))["unsure"].get(config.name)
        late = time.time() - file.stat().st_mtime > LATE_SECONDS
    except FileNotFoundError:
        return None
    return "the service that tells webservers of changes doesn't run" if late else why


# ---------------------------------------------------------------- the program


def report(text: str) -> None:
    sys.stderr.write(text + "\n")


def space(path: Path) -> dict[str, Any]:
    """Bytes free and in all of the local file system on which path lies or will lie."""
    while not path.exists():
        path = path.parent
    usage = shutil.disk_usage(path)
    return {"path": str(path), "free": usage.free, "total": usage.total}


def status(config: Config) -> dict[str, Any]:
    return describe(config, unit_states([config.unit]).get(config.unit, {}))


VERBS: dict[str, Callable[[Config], Any]] = {
    "reach": reach,
    "ready": ready,
    "release": release,
    "stop": stop,
    "bridge": put_bridge,
    "bridge-leave": leave_bridge,
    "bridge-clear": clear_bridge,
    "own": put_own,
    "own-copies": put_copies,
    "own-back": bring_own_back,
    "floor-up": floor_up,
    "floor-down": floor_down,
    "writable": lambda config: set_read_only(config, False),
    "record": take_record,
    "late": late_files,
    "late-copy": copy_late_files,
    "late-done": account_late_files,
    "complete": complete_record,
    "retire": retire,
    "status": status,
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="mount.py", description="Works on one asset directory of this webserver.")
    parser.add_argument("verb", choices=[*VERBS, "drain", "watch"])
    parser.add_argument("name", nargs="?", help="the directory's path as systemd-escape --path writes it")
    parser.add_argument("--seconds", type=float, default=600, help="how long drain waits (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.verb == "watch":
        watch()
    if options.name is None:
        parser.error("which directory?")
    try:
        config = load_config(options.name)
        result = drain(config, options.seconds) if options.verb == "drain" else VERBS[options.verb](config)
    except (MountError, OSError) as error:
        report(str(error))
        return 1
    if result is not None:
        sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
