# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sync: list once, decide for each member, write, confirm, and only then tell the manifest.

``run`` is the engine's one seam: a Job in, a result for Ansible out. The steps are in files of their own: _source,
_inflate, _tar, _survey, _feed, _pipeline (with _decide), _upload, _manifest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ._backup import Backup, SourceError, format_time
from ._catalog import Catalog, Owner
from ._crew import Crew
from ._decide import KEEP, OVERWRITE, SAVE, Entry, Facts, decide, is_ours, may_prune
from ._feed import check_first, feed
from ._inflate import Limits
from ._journal import Journal, Log, read_logs, recall, settled
from ._manifest import Change, Manifest, ManifestFile, Synced
from ._members import Rules, parse_root
from ._pipeline import BUDGET, Board, Pipeline, Side
from ._progress import Progress
from ._source import Source, SourceOptions, open_source
from ._store import Listed, Store, StoreError
from ._tally import Tally, sample
from ._upload import Uploader

LOST_SHOWN = 10


class Job(NamedTuple):
    """What a sync is asked to do; the module's options, checked."""

    src: str
    archive_path: str
    bucket: str
    site: str
    directory: str
    catalog: str
    backup_time: str
    on_conflict: str
    host_label: str
    prune: bool
    symlinks: str
    workers: int
    limits: Limits
    check: bool


class Scene(NamedTuple):
    """What a run found when it began."""

    job: Job
    store: Store
    catalog: Catalog
    source: Source
    file: ManifestFile
    logs: list[Log]
    board: Board
    recalled: dict[str, Entry]


def run(job: Job, store: Store, warn: Callable[[str], None]) -> dict[str, Any]:
    """Do it. Raises SourceError and StoreError; then the manifest claims nothing, and another run converges."""
    started = time.monotonic()
    scene = _look(job, store)
    result = _by_manifest(scene) or _by_reading(scene, warn)
    gone = result["summary"]["kept_deleted"]["count"]
    if gone and not scene.board.there:
        # Users may have deleted every file; but more likely somebody emptied the bucket or made it anew.
        warn(
            f"bucket {job.bucket} is empty, and {gone} object(s) that were copied into it stay deleted: if they should "
            "be there, run asset_sync with on_conflict: overwrite"
        )
    return {**result, "seconds": round(time.monotonic() - started, 3)}


def _look(job: Job, store: Store) -> Scene:
    catalog = Catalog(store, job.catalog)
    owner = owned_bucket(catalog, job.bucket, job.site, job.directory, job.check)
    exists = owner is not None
    root = parse_root(job.archive_path)
    source = open_source(SourceOptions(job.src, root, job.backup_time, job.limits), store)
    if job.on_conflict == SAVE and (source.stable or job.prune):
        raise SourceError("on_conflict: save is for the late files of a directory, and doesn't go with prune")
    there = {listed.key: listed for listed in store.list(job.bucket)} if exists else {}
    file = ManifestFile(catalog, job.bucket)
    manifest = file.read()
    logs = read_logs(catalog, job.bucket, owner.created) if owner is not None else []
    recalled = recall(logs, manifest.entries, {key: listed.etag for key, listed in there.items()})
    entries = {**manifest.entries, **recalled} if recalled else manifest.entries
    stamp = source.backup.time
    if job.on_conflict == OVERWRITE:
        # A deliberate restore is the newest word, whatever the age of the backup that it takes.
        stamp = max(stamp, format_time(time.time()))
    board = Board(there, entries, manifest.last, source.backup, stamp, job.on_conflict, job.check)
    return Scene(job, store, catalog, source, file, logs, board, recalled)


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


# nothing to read


def _synced(scene: Scene) -> Synced:
    return Synced.of(scene.source.backup, scene.job.archive_path, scene.job.symlinks)


def _by_manifest(scene: Scene) -> dict[str, Any] | None:
    """The result without reading the backup: when just this one was synced last and nothing has to be written."""
    board, job = scene.board, scene.job
    manifest = scene.file.base
    if not scene.source.stable or scene.recalled or manifest.synced != _synced(scene) or job.on_conflict == SAVE:
        return None
    tally = Tally()
    for key, entry in board.entries.items():
        listed = board.there.get(key)
        there = listed.etag if listed else None
        if not entry.seen:
            if job.prune and may_prune(there, entry, board.backup.time, board.last):
                return None
            continue
        same = entry.seen == 1 and is_ours(there, entry)
        verdict = decide(Facts(there, entry, same, entry.seen == 1, board.backup.time, board.last), job.on_conflict)
        if verdict.writes or verdict.adopt:
            return None
        tally.add(verdict.action, key, entry.size)
    conditional = scene.catalog.conditional_writes(probe=False)
    engine = "none: the manifest knows this backup, so it was not read"
    return {**_result(scene, tally, False, board.there), "engine": engine, "conditional_writes": conditional}


# reading


def _by_reading(scene: Scene, warn: Callable[[str], None]) -> dict[str, Any]:
    job, catalog = scene.job, scene.catalog
    rules = Rules(scene.source.root, job.symlinks)
    if scene.source.two_passes:
        check_first(scene.source, rules)
    conditional = catalog.conditional_writes(probe=not job.check)
    uploader = Uploader(scene.store, job.bucket, conditional)
    journal = Journal(catalog, job.bucket, Backup(scene.source.backup.identity, scene.board.stamp))
    crew = Crew(job.workers, BUDGET)
    pipeline = Pipeline(scene.board, uploader, journal, _side(scene), crew)
    progress = Progress(catalog, job.bucket, lambda: _progress(pipeline))
    if not job.check:
        progress.start()
    state = "failed"
    try:
        _read(scene, rules, pipeline, crew)
        after = _confirm(scene, pipeline)
        changed = _conclude(scene, pipeline, journal, uploader)
        state = "done"
    except BaseException as error:
        crew.end()
        if not isinstance(error, StoreError) or error.kind == "conflict":  # else the store would have to be waited for
            pipeline.give_up()
        raise
    finally:
        crew.end()
        if not job.check:
            progress.finish(state)
    pipeline.tally.set("retried", uploader.retried, uploader.retried_bytes)
    _warn_of_risks(pipeline, uploader, job, warn)
    result = _result(scene, pipeline.tally, changed, after)
    return {**result, "engine": uploader.engine, "conditional_writes": uploader.conditional}


def _side(scene: Scene) -> Side:
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    host = scene.job.host_label.replace("/", "-") or "unknown"
    uploader = Uploader(scene.store, scene.catalog.bucket, False)
    return Side(scene.catalog, uploader, f"replaced/{now}", f"conflicts/{host}/{now}", host)


def _progress(pipeline: Pipeline) -> dict[str, Any]:
    actions = ("uploaded", "updated", "unchanged", "kept", "kept_deleted", "saved")
    return {"count": pipeline.tally.count(*actions), "bytes": pipeline.tally.size(*actions)}


def _read(scene: Scene, rules: Rules, pipeline: Pipeline, crew: Crew) -> None:
    feed(scene.source, rules, pipeline)
    pipeline.flush()
    crew.wait()
    if scene.job.prune:
        pipeline.prune()


# the end


def _confirm(scene: Scene, pipeline: Pipeline) -> dict[str, Listed]:
    """Look at the bucket once more: everything that was written must be listed under its own name."""
    if scene.job.check or not (pipeline.written or pipeline.tally.count("pruned")):
        return scene.board.there
    after = {listed.key: listed for listed in scene.store.list(scene.job.bucket)}
    lost = [key for key in pipeline.written if key not in after]
    if lost:
        shown = ", ".join(repr(key) for key in sorted(lost)[:LOST_SHOWN])
        raise StoreError(
            f"{len(lost)} object(s) were written to bucket {scene.job.bucket} at {scene.store.endpoint_url} and aren't "
            f"listed there: {shown}; either someone deleted them meanwhile (then run again), or the store changes such "
            "names (then rename the files)"
        )
    return after


def _conclude(scene: Scene, pipeline: Pipeline, journal: Journal, uploader: Uploader) -> bool:
    """Write the manifest, then forget the intents; whether the manifest changes (or would)."""
    change = _change(scene, pipeline)
    changes = scene.file.would_change(change)
    if scene.job.check:
        return changes
    if changes:
        scene.file.write(change, uploader.etag)
    journal.remove()
    now = time.time()
    for log in scene.logs:
        if settled(log, scene.file.base.entries, now):
            scene.catalog.delete(log.name)
    return changes


def _change(scene: Scene, pipeline: Pipeline) -> Change:
    job, source, base = scene.job, scene.source, scene.file.base
    entries = {**scene.recalled, **pipeline.changes}
    if job.on_conflict == SAVE:
        return Change(entries)
    complete = source.stable and not pipeline.raced
    touched = pipeline.tally.wrote or any(entry != _seen_as_before(entry, base, key) for key, entry in entries.items())
    if not source.stable and not touched:
        # A directory has no identity: without news only the time is kept since when it is as it is.
        return Change({}, max(base.last, source.newest_change()))
    last = scene.board.stamp if pipeline.tally.wrote or job.on_conflict == KEEP else source.newest_change()
    return Change(entries, last, _synced(scene) if complete else None, sees=True)


def _seen_as_before(entry: Entry, base: Manifest, key: str) -> Entry | None:
    known = base.entries.get(key)
    return known._replace(seen=entry.seen) if known else None


def _warn_of_risks(pipeline: Pipeline, uploader: Uploader, job: Job, warn: Callable[[str], None]) -> None:
    if not uploader.conditional and pipeline.tally.wrote and not job.check:
        warn(
            "this store doesn't honour conditional writes: nothing protects the bucket from another run, or from a "
            "user's upload of the same name, in the very moment of writing"
        )
    if pipeline.raced:
        warn(f"{pipeline.raced} key(s) were changed by someone else during this run and were left as they are")


def _result(scene: Scene, tally: Tally, manifest_changes: bool, there: dict[str, Listed]) -> dict[str, Any]:
    return {
        "changed": tally.wrote or manifest_changes,
        "summary": tally.summary(),
        "diff": tally.diff(scene.job.bucket, manifest_changes),
        "sample": sample(there),
        "backup": {"identity": scene.source.backup.identity, "time": scene.source.backup.time},
    }
