# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a bucket: for each key what we wrote, and from which backup. One compressed object in the catalog.

It is written last, as changes merged onto the newest one, so that several runs can end at the same time.
"""

from __future__ import annotations

import gzip
import io
import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from ._backup import Backup
from ._catalog import Catalog
from ._decide import ENTRIES, Entry
from ._members import parse_root
from ._shard import ALL, COUNT_MAX, Shard
from ._shelf import Shelf, in_order, joined
from ._store import StoreError, delay

FORMAT = 1
MERGES = 2 * COUNT_MAX
LINES_TOGETHER = 1000


class Synced(NamedTuple):
    """The backup that was synced completely last, and the options that decide what that means."""

    identity: str
    options: str

    @classmethod
    def of(cls, backup: Backup, archive_path: str, symlinks: str, buckets: Sequence[str]) -> Synced:
        """The same for every way to write ``archive_path``. Another set of buckets is another sync."""
        siblings = f"|{' '.join(buckets)}" if len(buckets) > 1 else ""
        return cls(backup.identity, f"{b'/'.join(parse_root(archive_path)).decode()}|{symlinks}{siblings}")


class Shares(NamedTuple):
    """The backup that is being synced in ``total`` shares, and the numbers of those that are complete."""

    synced: Synced
    total: int
    done: tuple[int, ...]


class Manifest(NamedTuple):
    """``last``: time of the newest backup that was ever synced, empty for none. ``synced``: None when a run must look
    at its backup again. ``shares``: None unless some, but not all shares of a backup were synced last.
    """

    entries: Mapping[str, Entry]
    last: str = ""
    synced: Synced | None = None
    shares: Shares | None = None

    def knows(self, synced: Synced, shard: Shard) -> bool:
        """Whether this share of a backup is what was synced last, so that it need not be read again."""
        shares = self.shares
        if shares and (shares.synced, shares.total) == (synced, shard.total):
            return shard.number in shares.done
        return self.synced == synced


class Change(NamedTuple):
    """What a run adds to the manifest. ``sees``: it read a whole backup, so ``seen`` of all other keys ends.
    ``whole``: these are all entries there should be, so that what the manifest says of other keys is forgotten.
    ``shard``: the run saw only the keys of this share.
    """

    entries: Mapping[str, Entry]
    last: str = ""
    synced: Synced | None = None
    sees: bool = False
    whole: bool = False
    shard: Shard = ALL


def manifest_key(bucket: str) -> str:
    """Where the manifest of a bucket lies in the catalog."""
    return f"manifests/{bucket}.jsonl.gz"


def render(manifest: Manifest) -> bytes:
    """The manifest as it is stored. Equal manifests are equal bytes."""
    times = sorted({entry.time for entry in manifest.entries.values()})
    number = {time: at for at, time in enumerate(times)}
    head = {"format": FORMAT, "last": manifest.last, "synced": manifest.synced, "times": times}
    if manifest.shares:
        head["shares"] = manifest.shares
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", 5, packed, mtime=0) as file:
        for line in chain([json.dumps(head, sort_keys=True)], _lines(manifest, number)):
            file.write(line.encode("utf-8", "surrogatepass") + b"\n")
    return packed.getvalue()


def _lines(manifest: Manifest, number: dict[str, int]) -> Iterator[str]:
    for key, entry in in_order(manifest.entries):
        etag = 0 if entry.etag == entry.digest else entry.etag
        line = [key, entry.size, entry.digest, etag, number[entry.time], entry.seen, int(entry.pruned), entry.parts]
        line.append(entry.stamp)
        while len(line) > 5 and not line[-1]:
            line.pop()
        yield json.dumps(line, ensure_ascii=False, separators=(",", ":"))


def parse(body: bytes, bucket: str) -> Manifest:
    """Read a stored manifest. Raises StoreError when it is damaged or from a newer version."""
    key = manifest_key(bucket)
    try:
        file = gzip.GzipFile(fileobj=io.BytesIO(body))
        head = json.loads(file.readline())
        if head["format"] != FORMAT:
            raise StoreError(
                f"{key} has format {head['format']!r}, this version of adt.assets knows {FORMAT}: update adt.assets"
            )
        times = head["times"]
        entries = Shelf(ENTRIES, ((row[0], _entry(row, times)) for row in _rows(file)))
        synced = Synced(*head["synced"]) if head["synced"] else None
        return Manifest(entries, head["last"], synced, _shares(head.get("shares")))
    except (ValueError, KeyError, TypeError, IndexError, EOFError, OSError, zlib.error) as error:
        raise StoreError(
            f"the manifest {key} is damaged ({error}): delete it from the catalog and run again; "
            "everything that differs from the backup then stays as it is in the bucket"
        )


def _rows(file: gzip.GzipFile) -> Iterator[list[Any]]:
    while lines := list(islice(file, LINES_TOGETHER)):
        yield from json.loads(b"[" + b",".join(line for line in lines if line.strip()) + b"]")


def _shares(found: list[Any] | None) -> Shares | None:
    return Shares(Synced(*found[0]), int(found[1]), tuple(found[2])) if found else None


def _entry(row: list[Any], times: list[str]) -> Entry:
    size, digest, etag, time = row[1:5]
    seen, pruned, parts, stamp = (row[5:] + [0, 0, "", ""][len(row) - 5 :])[:4]
    return Entry(size, digest, digest if etag == 0 else etag, times[time], parts, bool(pruned), seen, stamp)


def merge(newest: Manifest, base: Manifest, change: Change, settle: Callable[[str], str | None]) -> Manifest:
    """The newest manifest with a run's changes, which were made while looking at ``base``.

    Where another run changed the same key meanwhile, the bucket tells who is right: ``settle(key)`` is the ETag of
    what lies there now. Another run's changes also mean that nobody has seen the whole: ``synced`` ends.
    """
    merged = _merged(newest, base, change, settle)
    entries = Shelf(ENTRIES, ((key, entry) for key, _theirs, entry in merged if entry is not None))
    return _headed(newest, base, change)._replace(entries=entries)


def _headed(newest: Manifest, base: Manifest, change: Change) -> Manifest:
    """What the merged manifest is besides its entries."""
    synced, shares = _seen_whole(newest, base, change) if change.sees else (newest.synced, newest.shares)
    return Manifest(newest.entries, max(newest.last, change.last), synced, shares)


def _merged(
    newest: Manifest, base: Manifest, change: Change, settle: Callable[[str], str | None]
) -> Iterator[tuple[str, Entry | None, Entry | None]]:
    """Every key, what the newest manifest says of it, and what the merged one will; None for nothing."""
    for key, theirs, mine in joined(newest.entries, change.entries):
        before = theirs if newest is base else base.entries.get(key)
        if mine is not None and (theirs is None or theirs in (before, mine) or _wins(mine, theirs, settle(key))):
            yield key, theirs, mine
        elif change.whole and theirs == before:
            yield key, theirs, None
        elif theirs is not None and theirs.seen and change.sees and change.shard.has(key):
            yield key, theirs, theirs._replace(seen=0)
        else:
            yield key, theirs, theirs


def _seen_whole(newest: Manifest, base: Manifest, change: Change) -> tuple[Synced | None, Shares | None]:
    """What is known to be synced completely after a run that saw a whole backup, or its share of it."""
    synced, shard = change.synced, change.shard
    if synced is None or not _undisturbed(newest, base, shard):
        return None, None
    if shard.total > 1 and newest.synced == synced:
        return synced, None
    done = {shard.number}
    if newest.shares and (newest.shares.synced, newest.shares.total) == (synced, shard.total):
        done.update(newest.shares.done)
    if len(done) == shard.total:
        return synced, None
    return None, Shares(synced, shard.total, tuple(sorted(done)))


def _undisturbed(newest: Manifest, base: Manifest, shard: Shard) -> bool:
    if newest is base or newest == base:
        return True
    pairs = joined(newest.entries, base.entries)
    return shard.total > 1 and all(now == before for key, now, before in pairs if shard.has(key))


def _wins(mine: Entry, theirs: Entry, there: str | None) -> bool:
    if there is not None and (mine.etag == there) != (theirs.etag == there):
        return mine.etag == there
    if bool(mine.etag) != bool(theirs.etag):
        return bool(mine.etag)
    return mine.time > theirs.time


class ManifestFile:
    """A bucket's manifest in the catalog."""

    def __init__(self, catalog: Catalog, bucket: str) -> None:
        self._catalog = catalog
        self._bucket = bucket
        self._key = manifest_key(bucket)
        self._etag: str | None = None
        self.base = Manifest({})

    def read(self) -> Manifest:
        """The newest manifest; an empty one when there is none."""
        found = self._catalog.get(self._key)
        body, self._etag = found if found else (b"", None)
        self.base = parse(body, self._bucket) if found else Manifest({})
        return self.base

    def would_change(self, change: Change) -> tuple[bool, bool]:
        """Whether writing these changes would make another manifest than the one that was read; and whether there is
        more new in it than stamps, which only spare the next run work.
        """
        base, stamps = self.base, False
        if _headed(base, base, change) != base:
            return True, True
        for _key, before, after in _merged(base, base, change, lambda key: None):
            if after == before:
                continue
            if before is None or after is None or after._replace(stamp=before.stamp) != before:
                return True, True
            stamps = True
        return stamps, False

    def write(self, change: Change, settle: Callable[[str], str | None]) -> None:
        """Merge changes onto the newest manifest. Raises StoreError of kind conflict when others never stop writing."""
        base = newest = self.base
        for attempt in range(MERGES):
            merged = merge(newest, base, change, settle)
            try:
                if merged != newest or self._etag is None:
                    self._etag = self._catalog.put(
                        self._key, render(merged), if_match=self._etag, if_none_match=self._etag is None
                    )
                self.base = merged
                return
            except StoreError as error:
                if error.kind != "conflict" or attempt + 1 == MERGES:
                    raise
            time.sleep(delay(min(attempt, 3) - 1))
            newest = self.read()
