# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is about to write, told to the catalog before it writes: so a killed run's writes are known as ours.

Each batch of writes is one small object ``intents/<bucket>/<run>/<number>.json``. It also says which earlier batches
are done, which tells a key that was never written from one that a user has deleted since.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ._backup import Backup, format_time
from ._catalog import Catalog
from ._crew import Crew
from ._decide import ENTRIES, Entry
from ._shelf import Shelf
from ._store import Listed, StoreError

FORMAT = 1
KEEP_SECONDS = 86400


class Write(NamedTuple):
    """``digest`` is the ETag that the object will have."""

    key: str
    size: int
    digest: str
    parts: str = ""


class Log(NamedTuple):
    """One batch of a run, as it was found in the catalog. ``mtime`` is when it was written (store's clock)."""

    name: str
    time: str
    mtime: str
    done: bool
    writes: tuple[Write, ...]
    prunes: tuple[str, ...]


class Journal:
    """The intents of this run; usable from many threads."""

    def __init__(self, catalog: Catalog, bucket: str, backup: Backup) -> None:
        self._catalog = catalog
        self._backup = backup
        self._prefix = f"{intents_prefix(bucket)}{format_time(time.time())}-{secrets.token_hex(4)}/"
        self._lock = threading.Lock()
        self._count = 0
        self._done: list[int] = []

    def intend(self, writes: Iterable[Write], prunes: Iterable[str] = ()) -> int:
        """Record what will be written or removed; returns the batch's number, for done()."""
        with self._lock:
            self._count += 1
            number = self._count
            done = list(self._done)
        record = {
            "format": FORMAT,
            "backup": self._backup.identity,
            "time": self._backup.time,
            "done": done,
            "writes": list(writes),
            "prunes": list(prunes),
        }
        self._catalog.put(f"{self._prefix}{number:06d}.json", json.dumps(record, separators=(",", ":")).encode())
        return number

    def done(self, number: int) -> None:
        """All of a batch is in the bucket."""
        with self._lock:
            self._done.append(number)

    def flush(self) -> None:
        """Tell the catalog which batches are done; for a run that ends without a manifest."""
        if self._count:
            self.intend(())

    def remove(self, crew: Crew) -> None:
        """Let a crew remove it all: the manifest knows it now."""
        for number in range(1, self._count + 1):
            crew.give(self._catalog.delete, f"{self._prefix}{number:06d}.json")
        crew.wait()


def intents_prefix(bucket: str) -> str:
    """Where the intents for a bucket lie in the catalog."""
    return f"intents/{bucket}/"


def read_logs(catalog: Catalog, bucket: str, since: str = "") -> list[Log]:
    """What runs that never wrote their manifest (or are at work now) have intended, oldest first.

    Runs that began before ``since`` are left out: they wrote into an earlier bucket of that name.
    """
    found = []
    done: set[tuple[str, int]] = set()
    for listed, body in _records(catalog, bucket, since):
        run, number = listed.key.rsplit("/", 1)
        try:
            record = json.loads(body)
            writes = tuple(Write(*row) for row in record["writes"])
            done.update((run, at) for at in record["done"])
            found.append((run, int(number[:-5]), record["time"], listed, writes, tuple(record["prunes"])))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{listed.key} of catalog {catalog.bucket} is damaged ({error}): delete it and run again")
    found.sort(key=lambda item: item[:2])
    return [Log(i[3].key, i[2], i[3].mtime, (i[0], i[1]) in done, i[4], i[5]) for i in found]


def _records(catalog: Catalog, bucket: str, since: str) -> Iterator[tuple[Listed, bytes]]:
    """The batches with their content.

    A listing that ends early would hide some: where there are any, two are made, and the batch after each run's last is
    asked for by name.
    """
    listed = {entry.key: entry for entry in catalog.list(intents_prefix(bucket))}
    if listed:
        listed.update((entry.key, entry) for entry in catalog.list(intents_prefix(bucket)))
    recent = [entry for key, entry in listed.items() if key.rsplit("/", 2)[1] >= since[:19]]
    lasts = {entry.key.rpartition("/")[0]: entry for entry in sorted(recent)}
    for entry in recent:
        answer = catalog.get(entry.key)
        if answer is not None:
            yield entry, answer[0]
    for run, last in lasts.items():
        number = int(last.key.rpartition("/")[2][:-5]) + 1
        while (answer := catalog.get(key := f"{run}/{number:06d}.json")) is not None:
            yield last._replace(key=key), answer[0]
            number += 1


def recall(logs: Iterable[Log], entries: Mapping[str, Entry], there: Mapping[str, Listed]) -> Shelf[Entry]:
    """The manifest entries that unfinished runs would have made.

    ``entries`` is the manifest, ``there`` what lies in the bucket. A write counts when the bucket holds just that, or
    when it is known to have been done.
    """
    found = Shelf(ENTRIES)
    for log in logs:
        for write in log.writes:
            known = found.get(write.key) or entries.get(write.key)
            listed = there.get(write.key)
            holds = listed is not None and listed.etag == write.digest
            if known and listed and known.etag == listed.etag:
                continue
            if known and (known.etag, known.time) == (write.digest, log.time):
                continue
            if known and not holds and log.time < known.time:
                continue
            if holds or log.done:
                found[write.key] = Entry(write.size, write.digest, write.digest, log.time, write.parts)
        for key in log.prunes:
            known = found.get(key) or entries.get(key)
            if known and key not in there and (known.time, known.pruned) < (log.time, True):
                found[key] = known._replace(pruned=True, time=log.time, seen=0)
    return found


def settled(log: Log, entries: Mapping[str, Entry], now: float, conditional: bool = True) -> bool:
    """Whether a log tells nothing any more that the manifest doesn't, or is too old to matter.

    Where writes aren't ``conditional``, a run that may be at work still could write over a newer object.
    """
    if log.mtime[:19] < format_time(now - KEEP_SECONDS)[:19]:
        return True
    if not (conditional or log.done or not (log.writes or log.prunes)):
        return False
    known = [entries.get(write.key) for write in log.writes]
    return all(
        entry is not None and (entry.etag == write.digest or entry.time > log.time)
        for entry, write in zip(known, log.writes)
    ) and all(key not in entries or entries[key].pruned or entries[key].time > log.time for key in log.prunes)
