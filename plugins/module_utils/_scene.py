# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sync is asked to do, and what it finds when it begins: the source, the buckets, and what is known of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import NamedTuple, Optional

from ._backup import SourceError, format_time
from ._catalog import Catalog, Owner
from ._decide import DELIBERATE, ENTRIES, SAVE, Entry
from ._inflate import Limits
from ._journal import Log, read_logs, recall
from ._manifest import Manifest, ManifestFile, Synced
from ._members import parse_root
from ._pipeline import Board
from ._shard import Shard
from ._shelf import Shelf
from ._source import Source, SourceOptions, open_source
from ._spread import Holding, gather
from ._store import LISTING, Listed, Store, StoreError


class Job(NamedTuple):
    """What a sync is asked to do; the module's options, checked. ``buckets`` are one directory, in the plan's order."""

    src: str
    src_password: str
    archive_path: str
    buckets: tuple[str, ...]
    site: str
    directory: str
    catalog: str
    backup_time: str
    on_conflict: str
    host_label: str
    prune: bool
    shard: Shard
    progress_file: str
    symlinks: str
    workers: Optional[int]
    limits: Limits
    read_all: bool
    check: bool


class Known(NamedTuple):
    """A bucket with what is known of it. ``recalled`` is what the manifest doesn't know, because the run that wrote it
    never ended; ``entries`` is both.
    """

    there: Mapping[str, Listed]
    file: ManifestFile
    logs: list[Log]
    recalled: Mapping[str, Entry]
    entries: Mapping[str, Entry]


class Branch(NamedTuple):
    """One of the buckets; see Known. Only the keys of the job's share are known here."""

    bucket: str
    file: ManifestFile
    logs: list[Log]
    recalled: Mapping[str, Entry]
    board: Board


class Scene(NamedTuple):
    """What a run found when it began."""

    job: Job
    store: Store
    catalog: Catalog
    source: Source
    branches: list[Branch]

    @property
    def synced(self) -> Synced:
        """What the manifests say once all of this source was synced."""
        return Synced.of(self.source.backup, self.job.archive_path, self.job.symlinks, self.job.buckets)

    @property
    def holdings(self) -> list[Holding]:
        """The buckets, to tell a key's home."""
        return [Holding(branch.board.there, branch.board.entries) for branch in self.branches]


def look(job: Job, store: Store) -> Scene:
    """Make sure of the buckets' owner, open the source, list the buckets, read their manifests. Writes nothing."""
    catalog = Catalog(store, job.catalog)
    owners = [owned_bucket(catalog, bucket, job.site, job.directory, job.check) for bucket in job.buckets]
    root = parse_root(job.archive_path)
    source = open_source(SourceOptions(job.src, root, job.backup_time, job.limits, job.src_password), store)
    if job.on_conflict == SAVE and (source.stable or job.prune):
        raise SourceError("on_conflict: save is for the late files of a directory, and doesn't go with prune")
    now = format_time(time.time()) if job.on_conflict in DELIBERATE else ""
    board = Board({}, {}, "", source.backup, max(source.backup.time, now), job.on_conflict, job.check)
    branches = [_branch(catalog, board, bucket, owner, job.shard) for bucket, owner in zip(job.buckets, owners)]
    return _as_one(Scene(job, store, catalog, source, branches))


def owned_bucket(catalog: Catalog, bucket: str, site: str, directory: str, check: bool) -> Owner | None:
    """Make sure that a bucket is this directory's; None when it doesn't exist, which only check mode accepts."""
    try:
        return catalog.require_owner(bucket, site, directory)
    except StoreError as error:
        if not check or error.kind != "missing":
            raise
    try:
        next(iter(catalog.store.list(bucket)), None)
    except StoreError as error:
        if error.kind == "missing":
            return None
        raise
    raise StoreError(f"bucket {bucket} exists, but catalog {catalog.bucket} doesn't say whose it is", "conflict")


def know(catalog: Catalog, bucket: str, owner: Owner | None) -> Known:
    """List a bucket and read what is known of it; ``owner`` is None when it doesn't exist."""
    file = ManifestFile(catalog, bucket)
    manifest = file.read()
    logs = read_logs(catalog, bucket, owner.created) if owner is not None else []
    there = catalog.store.list_whole(bucket, lambda: _wrote(manifest, logs)) if owner is not None else Shelf(LISTING)
    recalled = recall(logs, manifest.entries, there)
    entries = manifest.entries
    if recalled:
        entries = Shelf(ENTRIES, chain(entries.items(), recalled.items()))
    return Known(there, file, logs, recalled, entries)


def _wrote(manifest: Manifest, logs: list[Log]) -> Iterator[str]:
    """The keys that were written into a bucket, and are there unless users have deleted them."""
    yield from (key for key, entry in manifest.entries.items() if entry.etag and not entry.pruned)
    yield from (write.key for log in logs if log.done for write in log.writes)


def _branch(catalog: Catalog, board: Board, bucket: str, owner: Owner | None, shard: Shard) -> Branch:
    there, file, logs, recalled, entries = know(catalog, bucket, owner)
    if shard.total > 1:  # what is known of other keys is for other runs, which may be at work now
        recalled, entries = shard.of(ENTRIES, recalled), shard.of(ENTRIES, entries)
    return Branch(bucket, file, logs, recalled, board._replace(there=there, entries=entries, last=file.base.last))


def _as_one(scene: Scene) -> Scene:
    """What is known of a key belongs to its home, and an old backup is old for all buckets."""
    last = max(branch.board.last for branch in scene.branches)
    branches = [
        branch._replace(board=branch.board._replace(entries=holding.entries, last=last))
        for branch, holding in zip(scene.branches, gather(scene.holdings))
    ]
    return scene._replace(branches=branches)
