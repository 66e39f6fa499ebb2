# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an object carries besides its bytes: type and the metadata that mount tools read."""

from __future__ import annotations

import mimetypes
import posixpath
import stat
from typing import NamedTuple

from ._members import Member
from ._tar import DIRECTORY, SYMLINK

DIRECTORY_TYPE = "application/x-directory"
DEFAULT_TYPE = "application/octet-stream"
# Python's own table only, not the machine's, so that every build machine says the same; and what it lacks.
_TYPES = mimetypes.MimeTypes(filenames=())
_MORE = {
    ".avif": "image/avif",
    ".eot": "application/vnd.ms-fontobject",
    ".flac": "audio/flac",
    ".heic": "image/heic",
    ".ico": "image/x-icon",
    ".jfif": "image/jpeg",
    ".js": "text/javascript",
    ".m4a": "audio/mp4",
    ".m4v": "video/x-m4v",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mkv": "video/x-matroska",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".otf": "font/otf",
    ".svgz": "image/svg+xml",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}


class Headers(NamedTuple):
    """Content-Type and metadata (names without ``x-amz-meta-``)."""

    content_type: str
    metadata: dict[str, str]


def content_type(key: str) -> str:
    """The media type of a file by the end of its name."""
    ending = posixpath.splitext(key)[1].lower()
    return _MORE.get(ending) or _TYPES.types_map[1].get(ending) or DEFAULT_TYPE


def headers(member: Member) -> Headers:
    """The headers of a member: st_mode as a decimal number, epoch seconds, as s3fs and rclone read them."""
    key = member.key
    if member.kind == DIRECTORY:
        kind, media = stat.S_IFDIR | member.mode, DIRECTORY_TYPE
    elif member.kind == SYMLINK and key == member.path:
        kind, media = stat.S_IFLNK | 0o777, DEFAULT_TYPE
    elif member.kind == SYMLINK:
        kind, media = stat.S_IFREG | 0o644, DEFAULT_TYPE
    else:
        kind, media = stat.S_IFREG | member.mode, content_type(key)
    metadata = {"mode": kind, "uid": member.uid, "gid": member.gid, "mtime": member.mtime}
    return Headers(media, {name: str(value) for name, value in metadata.items()})
