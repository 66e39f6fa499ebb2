# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of a webroot that another tool has put into a bucket, and which of them is the newest that is whole.

A toolkit that many sites come from keeps one bucket for each period, ``www-example-com-hourly``, and renames the last
good archive before it uploads the next: what it was called gets one more suffix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from ._backup import SourceError, parse_time
from ._inflate import NO_LIMITS
from ._members import parse_root, parts_of
from ._source import SourceOptions, open_source
from ._store import Listed, Store, StoreError
from ._tar import DIRECTORY

Parts = tuple[bytes, ...]

_ARCHIVE = re.compile(r"\.(?:tgz|tar(?:\.(?:gz|zst))?)(?:\.[^./]+)*$")
DEPTH_MAX = 3  # directories above the webroot in an archive


class Archive(NamedTuple):
    """``time``: when it was stored, in UTC. ``problem``: why it can't be used, empty when it can; then ``webroot`` is
    where the webroot lies in it, empty for its root.
    """

    src: str
    time: str
    size: int
    problem: str
    webroot: str


def bucket_of(store: Store, bucket: str, period: str) -> str:
    """The bucket of a period, where ``bucket`` is what their names begin with; else that itself."""
    if period and not bucket.endswith(f"-{period}"):
        try:
            next(iter(store.list(f"{bucket}-{period}")), None)
            return f"{bucket}-{period}"
        except StoreError as error:
            if error.kind != "missing":
                raise
    return bucket


def candidates(found: Iterable[Listed], before: str) -> list[Listed]:
    """The archives among some objects that were stored at a point in time (empty for now) or before, newest first."""
    archives = (listed for listed in found if _ARCHIVE.search(listed.key))
    dated = [(parse_time(listed.mtime), listed) for listed in archives]
    return [listed for time, listed in sorted(dated, reverse=True) if not before or time[:19] <= before[:19]]


def look(store: Store, bucket: str, before: str, directories: Sequence[str]) -> Iterator[Archive]:
    """The archives of a bucket, the newest first, each read to its end, until one can be used. Raises StoreError."""
    for listed in candidates(store.list(bucket), before):
        src, webroot, problem = f"s3://{bucket}/{listed.key}", "", ""
        try:
            webroot = place_of_webroot(store, src, directories)
        except SourceError as error:
            problem = str(error)
        yield Archive(src, parse_time(listed.mtime), listed.size, problem, webroot)
        if not problem:
            return


def place_of_webroot(store: Store, src: str, directories: Sequence[str]) -> str:
    """Where in an archive the webroot with these directories lies: its root, or below a directory that holds all of it.

    Raises SourceError when it isn't whole or has none.
    """
    wanted = [parse_root(directory) for directory in directories]
    places: list[set[Parts]] = [set() for _root in wanted]
    holds_all: Parts | None = None
    for raw, _reader in open_source(SourceOptions(src, (), "", NO_LIMITS), store).entries(read=False):
        parts = tuple(parts_of(raw.name))
        if raw.kind != DIRECTORY:
            holds_all = parts[:-1] if holds_all is None else shared(holds_all, parts)
        for root, found in zip(wanted, places):
            for depth in range(min(DEPTH_MAX, len(parts) - len(root)) + 1):
                if parts[depth : depth + len(root)] == root:
                    found.add(parts[:depth])
    above = holds_all or ()
    fit = [above[:depth] for depth in range(len(above) + 1) if all(above[:depth] in found for found in places)]
    if not fit:
        lacking = [directory for directory, found in zip(directories, places) if not found] or directories
        raise SourceError(f"has no webroot with {', '.join(lacking)}")
    return b"/".join(fit[0]).decode(errors="surrogateescape")


def shared(one: Parts, other: Parts) -> Parts:
    """What two paths begin with."""
    return tuple(a for a, _b in takewhile(lambda pair: pair[0] == pair[1], zip(one, other)))
