# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths, and names made from them: buckets, ids, systemd units, exclude patterns. Pure; no other place makes one."""

from __future__ import annotations

import hashlib
import re
from typing import Callable, Optional

BUCKET_MAX = 63
CATALOG = "catalog"
BACKUPS = "backups"

_DIGEST = 8
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IPV4 = re.compile(r"\d+\.\d+\.\d+\.\d+")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_RESERVED_STARTS = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_ENDS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def within(inner: str, outer: str) -> bool:
    """Whether a path is another one, or lies below it; both without a slash at the end."""
    return inner == outer or inner.startswith(outer + "/")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]


def _dashed(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _fit(name: str) -> str:
    """Cut what is too long for a bucket; a digest of all of it keeps it apart from others with the same start."""
    if len(name) <= BUCKET_MAX:
        return name
    return name[: BUCKET_MAX - _DIGEST - 1].rstrip("-") + "-" + _digest(name)


def _plain(directory: str) -> str:
    """The path without empty parts and without the slashes around it."""
    return "/".join(part for part in directory.split("/") if part)


def directory_id(directory: str) -> str:
    """The stable id of an asset directory: ``media-videos`` for ``media/videos``.

    At most 63 characters of ``[a-z0-9-]``. A path in which nothing of that is left is named by a digest.
    """
    source = _plain(directory)
    return _fit(_dashed(source) or _digest(source))


def distinct_id(directory: str) -> str:
    """An id for a directory whose ordinary id another one has: the same with a digest of the path."""
    head = directory_id(directory)[: BUCKET_MAX - _DIGEST - 1].rstrip("-")
    return f"{head}-{_digest(directory)}"


def bucket_name(directory: str, site: str) -> str:
    """The bucket of a site's asset directory, ``<site>-assets-<directory>``, as a valid S3 name.

    Compatible with the names that the toolkit made for ordinary directories. Different directories can get the same
    name (``media/images``, ``media-images``): whoever makes a plan looks for that. ValueError when either is empty.
    """
    source = _plain(directory)
    if not source or not _dashed(site):
        raise ValueError("a bucket name needs a directory and a site")
    return _fit(f"{_dashed(site)}-assets-{_dashed(source) or _digest(source)}")


def catalog_name(site: str) -> str:
    """The bucket of a site's catalog."""
    return bucket_name(CATALOG, site)


def backups_name(site: str) -> str:
    """The bucket of a site's temporal backups."""
    return bucket_name(BACKUPS, site)


def bucket_flaw(name: str) -> Optional[str]:
    """What is wrong with a bucket name by S3's rules, or None. Dots are allowed, as S3 does."""
    if not _BUCKET.fullmatch(name):
        return "is not 3 to 63 of a-z, 0-9, dot and hyphen, with a letter or digit at both ends"
    if ".." in name or _IPV4.fullmatch(name):
        return "has two dots in a row or looks like an IP address"
    if name.startswith(_RESERVED_STARTS) or name.endswith(_RESERVED_ENDS):
        return "has a beginning or an end that S3 keeps for itself"
    return None


def unit_name(path: str) -> str:
    """The absolute path as systemd writes it in a unit's name, the same as ``systemd-escape --path``.

    ValueError for a path that is not absolute, has a ``..`` in it or is longer than a file system takes.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not path.startswith("/") or ".." in parts:
        raise ValueError("a unit's name needs an absolute path without '..'")
    raw = "/".join(parts).encode("utf-8", "surrogateescape")
    if b"\0" in raw or any(len(part) > 255 for part in raw.split(b"/")) or len(raw) > 4094:
        raise ValueError("the path is longer than a file system takes, or has a NUL in it")
    if not raw:
        return "-"
    escaped = re.sub(rb"[^A-Za-z0-9:_./]", lambda m: b"\\x%02x" % m.group()[0], raw)
    if escaped.startswith(b"."):
        escaped = b"\\x2e" + escaped[1:]
    return escaped.replace(b"/", b"-").decode("ascii")


def _escaped(path: str, special: str) -> str:
    return "".join("\\" + char if char in special else char for char in path)


def _restic(path: str, root: str) -> str:
    if not root.startswith("/"):
        raise ValueError("restic's patterns are absolute: give the directory that is backed up as root")
    return _escaped(f"{root.rstrip('/')}/{path}", "*?[]\\")


def _rsync(path: str, _root: str) -> str:
    # rsync takes a backslash literally in a pattern without wildcards, and as an escape in one with.
    return "/" + (_escaped(path, "*?[]\\") if re.search(r"[*?\[]", path) else path)


def _tar(path: str, _root: str) -> str:
    return "./" + _escaped(path, "*?[]\\")


def _rclone(path: str, _root: str) -> str:
    # rclone has stand-ins for control characters inside, and quotes names that really have such a stand-in.
    if re.search(r"[\x00-\x1f\x7f\u2400-\u2421\u201b\uff0f]", path):
        raise ValueError("rclone cannot exclude a path with control characters, or its stand-ins for them, in it")
    return "/" + _escaped(path, "*?[]{}\\") + "/**"


def _syncthing(path: str, _root: str) -> str:
    # A line of .stignore: nothing stands for a line break, and Syncthing trims what a line ends with.
    if "\n" in path or path != path.rstrip():
        raise ValueError("Syncthing cannot ignore a path with a line break in it or white space at its end")
    return "/" + _escaped(path, "*?[]{}!#\\")


_PATTERNS: dict[str, Callable[[str, str], str]] = {
    "rclone": _rclone,
    "restic": _restic,
    "rsync": _rsync,
    "syncthing": _syncthing,
    "tar": _tar,
}


def exclude_patterns(excludes: list[str], tool: str, root: str = "") -> list[str]:
    """Patterns that exclude exactly these directories (paths relative to ``root``) and what is in them, one for each.

    ``rsync``, ``rclone``, ``restic``, ``tar``: each is the value of one ``--exclude``, given as an argument (in a file
    of patterns, line breaks, ``#`` and ``$`` would mean something); tar must run with ``-C root .``. ``syncthing``:
    each is a line of ``.stignore``. ``restic`` needs ``root``, an absolute real path.
    ValueError for an unknown tool, a path that is not relative and plain, or one that the tool can't name.
    """
    if tool not in _PATTERNS:
        raise ValueError(f"exclude patterns are known for {', '.join(sorted(_PATTERNS))}, not for {tool}")
    for path in excludes:
        if "\0" in path or not all(part not in ("", ".", "..") for part in path.split("/")):
            raise ValueError("an exclude is a path relative to the webroot, without '.', '..' and empty parts")
    return [_PATTERNS[tool](path, root) for path in excludes]
