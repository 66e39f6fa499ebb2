# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory from its buckets into others of the same store, with all that is known of it. No content comes here.

The new buckets become what the old ones show; whatever else lies in them goes to the catalog. Nothing is written into
the old ones. ``run`` is the seam: a Move in, a result for Ansible out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ._catalog import Catalog
from ._crew import Crew
from ._decide import Entry, is_ours
from ._download import known_digest
from ._manifest import Change
from ._pipeline import dated, tail
from ._progress import Amount, Progress, Status, Work, on_file, told
from ._scene import Known, know, owned_bucket
from ._spread import Holding, gather, overlay, spread, twins_warning
from ._store import Listed, Store
from ._tally import Tally, add_up
from ._upload import Raced, Uploader

ACTIONS = ("copied", "updated", "unchanged", "removed", "raced")
DEALT = ("copied", "updated", "unchanged")
CHANGES = ("copied", "updated", "removed")


class Move(NamedTuple):
    """What a copy is asked to do; the module's options, checked. Both lists of buckets are in the plan's order."""

    from_buckets: tuple[str, ...]
    buckets: tuple[str, ...]
    site: str
    directory: str
    catalog: str
    workers: int
    check: bool
    progress_file: str


class Old(NamedTuple):
    """The old buckets together. ``shown``: what a mount shows; ``entries``: what is known, also of what is gone."""

    listings: list[Mapping[str, Listed]]
    uploaders: list[Uploader]
    shown: Mapping[str, Listed]
    entries: Mapping[str, Entry]
    last: str

    def of(self, key: str) -> Uploader:
        """What copies a key that is shown."""
        return next(uploader for uploader, there in zip(self.uploaders, self.listings) if key in there)


class New(NamedTuple):
    """One of the new buckets. ``wanted`` and ``entries`` are of the keys whose home it is; ``etags``: by key, that of
    the object here that is like the old one.
    """

    bucket: str
    known: Known
    wanted: dict[str, Listed]
    entries: dict[str, Entry]
    uploader: Uploader
    tally: Tally
    etags: dict[str, str]


def run(move: Move, store: Store, warn: Callable[[str], None]) -> dict[str, Any]:
    """Do it. Raises SourceError and StoreError; the old buckets are never changed, and another run converges."""
    started, work = time.monotonic(), Work()
    with told(on_file(work, move.progress_file)):
        result = _run(move, store, warn, work)
    return {**result, "seconds": round(time.monotonic() - started, 3)}


def _run(move: Move, store: Store, warn: Callable[[str], None], work: Work) -> dict[str, Any]:
    catalog = Catalog(store, move.catalog)
    owners = [catalog.require_owner(bucket, move.site, move.directory) for bucket in move.from_buckets]
    to_owners = [owned_bucket(catalog, bucket, move.site, move.directory, move.check) for bucket in move.buckets]
    conditional = catalog.conditional_writes(probe=not move.check)
    found = [know(catalog, bucket, owner) for bucket, owner in zip(move.from_buckets, owners)]
    old = _together(found, [Uploader(store, bucket, conditional) for bucket in move.from_buckets])
    homes = zip(at_home(old.shown, len(move.buckets)), at_home(old.entries, len(move.buckets)))
    news = []
    for bucket, owner, (wanted, entries) in zip(move.buckets, to_owners, homes):
        known, uploader = know(catalog, bucket, owner), Uploader(store, bucket, conditional)
        news.append(New(bucket, known, wanted, entries, uploader, Tally(ACTIONS, CHANGES), {}))
    learns = _Copy(move, catalog, old, news).run(work)
    _warn(move, old, news, warn)
    return {
        "changed": any(new.tally.wrote for new in news) or any(learns),
        "complete": not any(new.tally.count("raced") for new in news),
        "summary": {**add_up([new.tally for new in news]), "retried": store.retries()},
        "diff": [new.tally.diff(new.bucket, learned) for new, learned in zip(news, learns)],
    }


def _together(found: Sequence[Known], uploaders: list[Uploader]) -> Old:
    listings = [known.there for known in found]
    gathered = gather([Holding(known.there, known.entries) for known in found])
    last = max(known.file.base.last for known in found)
    return Old(listings, uploaders, overlay(listings), overlay(holding.entries for holding in gathered), last)


def at_home(found: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Pure. What there is by key, for each of so many buckets what is at home there."""
    homes: list[dict[str, Any]] = [{} for _bucket in range(count)]
    for key, value in found.items():
        homes[spread(key, count)][key] = value
    return homes


def alike(old: Listed, new: Listed, old_entry: Entry | None, new_entry: Entry | None) -> bool:
    """Pure. Whether two objects have the same bytes, as far as listings and manifests tell."""
    if old.size != new.size:
        return False
    digest = known_digest(old, old_entry)
    if old.etag == new.etag or (digest and digest == known_digest(new, new_entry)):
        return True
    # The ETag of a large copy says nothing of its bytes; then it is the copy until the old object is written again.
    return "-" in old.etag + new.etag and new.mtime > old.mtime


def carried_over(entry: Entry, there: Listed | None, etag: str | None) -> Entry:
    """Pure. An entry for a new bucket, where the copy of the old object has this ETag: still ours when that was."""
    return entry._replace(etag=etag) if there and etag and is_ours(there.etag, entry) else entry


class _Copy:
    """Carries it out, or finds out what would be done."""

    def __init__(self, move: Move, catalog: Catalog, old: Old, news: list[New]) -> None:
        self._move, self._catalog, self._old, self._news = move, catalog, old, news
        self._side = Uploader(catalog.store, catalog.bucket, False)
        self._replaced = f"replaced/{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"

    def run(self, work: Work) -> list[bool]:
        """For each new bucket whether its manifest changes (or would). ``work``: all of them together."""
        self._count_on(self._news, work)
        with told([] if self._move.check else [self._progress(new) for new in self._news]):
            crew = Crew(self._move.workers, 0)
            try:
                self._remove_surplus(crew)
                self._copy(crew)
                return [self._conclude(new) for new in self._news]
            finally:
                crew.end()

    def _progress(self, new: New) -> Progress:
        work = Work()
        self._count_on([new], work)
        return Progress(work, Status(self._catalog, new.bucket))

    @staticmethod
    def _count_on(news: Sequence[New], work: Work) -> None:
        def done() -> Amount:
            return Amount(sum(new.tally.count(*DEALT) for new in news), sum(new.tally.size(*DEALT) for new in news))

        sizes = [wanted.size for new in news for wanted in new.wanted.values()]
        work.go_on("copying", done, Amount(len(sizes), sum(sizes)))

    def _remove_surplus(self, crew: Crew) -> None:
        """Before anything is copied, as a file can stand where a directory is to be."""
        for new in self._news:
            for key, listed in new.known.there.items():
                if key not in new.wanted:
                    crew.give(self._remove, new, listed)
        crew.wait()

    def _remove(self, new: New, listed: Listed) -> None:
        try:
            if not self._move.check:
                self._keep(new, listed)
                new.uploader.remove(listed.key, listed.etag)
            new.tally.add("removed", listed.key, listed.size)
        except Raced:
            new.tally.add("raced", listed.key, listed.size)

    def _keep(self, new: New, listed: Listed) -> None:
        to_key = dated(self._replaced, tail(new.bucket, listed.key, self._replaced))
        new.uploader.copy(listed, self._side, to_key)

    def _copy(self, crew: Crew) -> None:
        for new in self._news:
            for key, wanted in new.wanted.items():
                there = new.known.there.get(key)
                if there and self._alike(new, wanted, there) and there.mtime > wanted.mtime:
                    self._note(new, "unchanged", wanted, there.etag)
                else:
                    crew.give(self._one, new, wanted, there)
        crew.wait()

    def _alike(self, new: New, wanted: Listed, there: Listed) -> bool:
        key = wanted.key
        return alike(wanted, there, self._old.entries.get(key), new.known.entries.get(key))

    def _one(self, new: New, wanted: Listed, there: Listed | None) -> None:
        source = self._old.of(wanted.key)
        try:
            if there and self._alike(new, wanted, there) and source.carried(wanted) == new.uploader.carried(there):
                self._note(new, "unchanged", wanted, there.etag)
                return
            etag = wanted.etag
            if not self._move.check:
                if there:
                    self._keep(new, there)
                etag = source.copy(wanted, new.uploader, wanted.key)
            self._note(new, "updated" if there else "copied", wanted, etag)
        except Raced:
            new.tally.add("raced", wanted.key, wanted.size)

    def _note(self, new: New, action: str, wanted: Listed, etag: str) -> None:
        new.etags[wanted.key] = etag
        new.tally.add(action, wanted.key, wanted.size)

    def _conclude(self, new: New) -> bool:
        """Look at the bucket once more, then write its manifest; whether that changes (or would)."""
        if new.tally.wrote and not self._move.check:
            self._catalog.store.confirm(new.bucket, new.etags)
        old, file = self._old, new.known.file
        entries = {
            key: carried_over(entry, old.shown.get(key), new.etags.get(key)) for key, entry in new.entries.items()
        }
        change = Change(entries, old.last, sees=True, whole=True)
        changes, _news = file.would_change(change)
        if self._move.check:
            return changes
        if changes:
            file.write(change, new.uploader.etag)
        for log in new.known.logs:  # what a run has left unfinished here is mirrored away
            self._catalog.delete(log.name)
        return changes


def _warn(move: Move, old: Old, news: list[New], warn: Callable[[str], None]) -> None:
    twins = twins_warning(move.from_buckets, old.listings)
    if twins:
        warn(twins)
    raced = sum(new.tally.count("raced") for new in news)
    if raced:
        warn(f"{raced} key(s) were changed by someone else during this run and were left as they are: run again")
