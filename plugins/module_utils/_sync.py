# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sync: list once, decide for each member, write, confirm, and only then tell the manifest.

``run`` is the engine's one seam: a Job in, a result for Ansible out. The steps are in files of their own: _source,
_scene, _inflate, _tar, _survey, _feed, _router (with _spread), _pipeline (with _decide), _upload, _manifest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, NamedTuple

from ._backup import Backup, SourceError
from ._crew import Crew, connections
from ._decide import ENTRIES, KEEP, SAVE, Entry, Facts, decide, is_ours, may_prune
from ._feed import count_on, feed, look_through
from ._journal import Journal, settled
from ._manifest import Change, Manifest
from ._members import Rules
from ._pipeline import BATCH_BYTES, BUDGET, Pipeline, Side
from ._progress import Amount, Progress, Status, Work, on_file, told
from ._router import Router
from ._scene import Branch, Job, Scene, look
from ._shelf import Shelf, joined
from ._spread import twins_warning
from ._store import Listed, Store, StoreError
from ._tally import KEYS_SHOWN, Tally, add_up, sample
from ._upload import Uploader

# What can come of a member.
DEALT = ("uploaded", "updated", "unchanged", "kept", "kept_deleted", "saved")


class Lane(NamedTuple):
    """The way to one of the buckets."""

    branch: Branch
    uploader: Uploader
    journal: Journal
    pipeline: Pipeline


class Outcome(NamedTuple):
    """What came of one of the buckets. ``there``: what lies in it now. ``learns``: its manifest changes."""

    branch: Branch
    tally: Tally
    there: Mapping[str, Listed]
    learns: bool


class Done(NamedTuple):
    """What a run has done, or would do."""

    outcomes: list[Outcome]
    engine: str
    conditional: bool


def run(job: Job, store: Store, warn: Callable[[str], None]) -> dict[str, Any]:
    """Do it. Raises SourceError and StoreError; then the manifests claim nothing, and another run converges."""
    started = time.monotonic()
    store.retries()
    work = Work()
    tallies: list[Tally] = []
    try:
        with told(on_file(work, job.progress_file)):
            scene = look(job, store)
            done = _by_manifest(scene) or _by_reading(scene, work, tallies, warn)
    except (SourceError, StoreError) as error:
        error.summary = {**_summary_of_failure(error, tallies), "retried": store.retries()}
        raise
    _warn_of_state(scene, done.outcomes, warn)
    return {**_result(scene, done), "seconds": round(time.monotonic() - started, 3)}


def _summary_of_failure(error: SourceError | StoreError, tallies: list[Tally]) -> dict[str, dict[str, int]]:
    """What was done nevertheless, and what can't be."""
    count, size = error.refused if isinstance(error, SourceError) else (0, 0)
    return {**add_up(tallies or [Tally()]), "refused": {"count": count, "bytes": size}}


# nothing to read


def _by_manifest(scene: Scene) -> Done | None:
    """What there is without reading the backup: when just this one was synced last and nothing has to be written."""
    if not scene.source.stable or scene.job.on_conflict == SAVE:
        return None
    outcomes = []
    for branch in scene.branches:
        known = branch.file.base.knows(scene.synced, scene.job.shard) and not branch.recalled
        tally = _tally_by_manifest(branch, scene.job) if known else None
        if tally is None:
            return None
        outcomes.append(Outcome(branch, tally, branch.board.there, False))
    engine = "none: the manifest knows this backup, so it was not read"
    return Done(outcomes, engine, scene.catalog.conditional_writes(probe=False))


def _tally_by_manifest(branch: Branch, job: Job) -> Tally | None:
    """What a run would do in a bucket; None when something has to be written there."""
    board, tally = branch.board, Tally()
    for key, entry, listed in joined(board.entries, board.there):
        if entry is None:
            continue
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
    return tally


# reading


def _by_reading(scene: Scene, work: Work, tallies: list[Tally], warn: Callable[[str], None]) -> Done:
    job, catalog = scene.job, scene.catalog
    rules = Rules(scene.source.root, job.symlinks)
    look_through(scene.source, rules, work, job.shard.has)
    conditional = catalog.conditional_writes(probe=not job.check)
    crew = Crew(job.workers or connections(scene.store.round_trip()), BUDGET)
    lanes = _lanes(scene, conditional, crew)
    router = Router(scene.holdings, [lane.pipeline for lane in lanes], job.shard)
    tallies += [lane.pipeline.tally for lane in lanes]
    _count_on(scene, tallies, work)
    try:
        places = [] if job.check else [Status(catalog, lane.branch.bucket, job.shard) for lane in lanes]
        with told([Progress(work, place) for place in places]):
            _read(scene, rules, router, crew)
            work.phase = "ending"
            after = [_confirm(scene, lane) for lane in lanes]
            learns = [_conclude(scene, lane, crew) for lane in lanes]
    except BaseException as error:
        crew.end()
        if not isinstance(error, StoreError) or error.kind == "conflict":  # else the store would have to be waited for
            router.give_up()
        raise
    finally:
        crew.end()
    _warn_of_risks(lanes, job, warn)
    ends = zip(lanes, after, learns)
    outcomes = [Outcome(lane.branch, lane.pipeline.tally, there, learned) for lane, there, learned in ends]
    return Done(outcomes, lanes[0].uploader.engine, all(lane.uploader.conditional for lane in lanes))


def _lanes(scene: Scene, conditional: bool, crew: Crew) -> list[Lane]:
    side, count = _side(scene), len(scene.branches)
    lanes = []
    for branch in scene.branches:
        uploader = Uploader(scene.store, branch.bucket, conditional, looks=True)
        stamped = Backup(scene.source.backup.identity, branch.board.stamp)
        journal = Journal(scene.catalog, branch.bucket, stamped)
        pipeline = Pipeline(branch.board, uploader, journal, side, crew, batch=BATCH_BYTES // count)
        lanes.append(Lane(branch, uploader, journal, pipeline))
    return lanes


def _side(scene: Scene) -> Side:
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    host = scene.job.host_label.replace("/", "-") or "unknown"
    uploader = Uploader(scene.store, scene.catalog.bucket, False)
    return Side(scene.catalog, uploader, f"replaced/{now}", f"conflicts/{host}/{now}", host)


def _count_on(scene: Scene, tallies: list[Tally], work: Work) -> None:
    def done() -> Amount:
        return Amount(sum(tally.count(*DEALT) for tally in tallies), sum(tally.size(*DEALT) for tally in tallies))

    count_on(scene.source, work, "copying", done)


def _read(scene: Scene, rules: Rules, router: Router, crew: Crew) -> None:
    if not scene.job.read_all:
        scene.source.pass_over(router.knows)
    feed(scene.source, rules, router)
    router.flush()
    crew.wait()
    if scene.job.prune:
        router.prune()


# the end


def _confirm(scene: Scene, lane: Lane) -> Mapping[str, Listed]:
    """Look at the bucket once more: everything that was written must be listed under its own name."""
    pipeline = lane.pipeline
    if scene.job.check or not (pipeline.written or pipeline.tally.count("pruned")):
        return lane.branch.board.there
    after = scene.store.confirm(lane.branch.bucket, pipeline.written)
    pairs = joined(pipeline.written, after)
    pipeline.raced += sum(listed is None or listed.etag != etag for _key, etag, listed in pairs if etag is not None)
    return after


def _conclude(scene: Scene, lane: Lane, crew: Crew) -> bool:
    """Write the manifest, then forget the intents; whether the manifest changes (or would)."""
    file, job = lane.branch.file, scene.job
    change = _change(scene, lane)
    changes, learns = file.would_change(change)
    if job.check:
        return learns
    if changes:
        file.write(change, lane.uploader.etag)
    conditional, now = scene.catalog.conditional_writes(), time.time()
    if conditional:
        lane.journal.remove(crew)
    else:
        lane.journal.flush()  # another run may overwrite the manifest; the next one recalls what that has lost
    for log in lane.branch.logs:
        if settled(log, file.base.entries, now, conditional):
            crew.give(scene.catalog.delete, log.name)
    crew.wait()
    return learns


def _change(scene: Scene, lane: Lane) -> Change:
    (branch, _uploader, _journal, pipeline), job, source = lane, scene.job, scene.source
    base, entries = branch.file.base, pipeline.changes
    for key, entry in branch.recalled.items():
        entries.setdefault(key, entry)
    if job.on_conflict == SAVE:
        return Change(entries, shard=job.shard)
    complete = source.stable and not pipeline.raced
    if not source.stable and not pipeline.tally.wrote and not _tells_news(entries, base):
        # A directory has no identity: without news only the time is kept since when it is as it is, and the stamps.
        known = ((key, before, now) for key, before, now in joined(base.entries, entries) if before and now)
        stamped = Shelf(ENTRIES, ((key, before._replace(stamp=now.stamp)) for key, before, now in known))
        return Change(stamped, max(base.last, source.newest_change()))
    last = branch.board.stamp if pipeline.tally.wrote or job.on_conflict == KEEP else source.newest_change()
    return Change(entries, last, scene.synced if complete else None, sees=True, shard=job.shard)


def _tells_news(entries: Mapping[str, Entry], base: Manifest) -> bool:
    """Whether entries say more than the manifest, apart from which backup has them, and from stamps."""
    return any(
        now is not None and (before is None or before._replace(seen=now.seen, stamp=now.stamp) != now)
        for _key, before, now in joined(base.entries, entries)
    )


def _warn_of_risks(lanes: list[Lane], job: Job, warn: Callable[[str], None]) -> None:
    wrote = [lane for lane in lanes if lane.pipeline.tally.wrote]
    if any(not lane.uploader.conditional for lane in wrote) and not job.check:
        warn(
            "this store doesn't honour conditional writes: nothing protects the bucket from another run, or from a "
            "user's upload of the same name, in the very moment of writing"
        )
    raced = sum(lane.pipeline.raced for lane in lanes)
    if raced:
        warn(f"{raced} key(s) were changed by someone else during this run and were left as they are")


def _warn_of_state(scene: Scene, outcomes: list[Outcome], warn: Callable[[str], None]) -> None:
    for branch, tally, _there, _learns in outcomes:
        gone = tally.count("kept_deleted")
        if gone and not branch.board.there:
            # Users may have deleted every file; but more likely somebody emptied the bucket or made it anew.
            warn(
                f"bucket {branch.bucket} is empty, and {gone} object(s) that were copied into it stay deleted: if they "
                "should be there, run asset_sync with on_conflict: overwrite"
            )
    twins = twins_warning(scene.job.buckets, [outcome.there for outcome in outcomes])
    if twins:
        warn(twins)


def _result(scene: Scene, done: Done) -> dict[str, Any]:
    return {
        "changed": any(outcome.tally.wrote or outcome.learns for outcome in done.outcomes),
        "summary": {**add_up([outcome.tally for outcome in done.outcomes]), "retried": scene.store.retries()},
        "diff": [outcome.tally.diff(outcome.branch.bucket, outcome.learns) for outcome in done.outcomes],
        "kept": sorted(chain.from_iterable(outcome.tally.kept for outcome in done.outcomes))[:KEYS_SHOWN],
        "sample": sample(chain.from_iterable(outcome.there.values() for outcome in done.outcomes)),
        "backup": {"identity": scene.source.backup.identity, "time": scene.source.backup.time},
        "engine": done.engine,
        "conditional_writes": done.conditional,
    }
