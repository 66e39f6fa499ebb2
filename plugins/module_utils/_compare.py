# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source against the buckets of a directory, by digest. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ._catalog import Catalog
from ._crew import Crew
from ._decide import Entry
from ._download import known_digest
from ._feed import count_on, feed, look_through
from ._inflate import Limits
from ._large import content_of, pieces
from ._manifest import Synced
from ._members import Member, Rules, parse_root
from ._pipeline import saved_conflicts
from ._progress import Amount, Count, Work, on_file, told
from ._source import SourceOptions, open_source
from ._store import Listed, Store
from ._tally import sample
from ._tar import Reader
from ._union import Union
from ._upload import MIB, SMALL_MAX, Raced, md5

BUDGET = 32 * MIB
SHOWN = 100


class Question(NamedTuple):
    """What is to be compared; the module's options, checked."""

    src: str
    src_password: str
    archive_path: str
    buckets: tuple[str, ...]
    site: str
    directory: str
    catalog: str
    symlinks: str
    workers: int
    limits: Limits
    read: bool
    accept_history: bool
    accept_kept: bool
    progress_file: str


class Has(NamedTuple):
    """What the source has under a key."""

    size: int
    digest: str


class Findings(NamedTuple):
    """Keys by what was found. ``history``: not in the bucket as the source has them, but accounted for by what was
    there once, or by what won against them.
    """

    same: list[str]
    missing: list[str]
    different: list[str]
    extra: list[str]
    history: list[str]


class _Digests:
    """Takes members and keeps only their digests."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self.found: dict[str, Has] = {}
        self.count = Count()

    def take(self, member: Member, reader: Reader) -> None:
        self.count.add(member.size)
        if member.size > SMALL_MAX:
            content = content_of([md5(body) for body in pieces(reader, member.size)])
            self.found[member.key] = Has(member.size, content.digest)
            return
        self._crew.claim(member.size + 1024)
        self._crew.give(self._small, member.key, reader.read(member.size))

    def _small(self, key: str, body: bytes) -> None:
        self.found[key] = Has(len(body), md5(body))
        self._crew.free(len(body) + 1024)


def run(question: Question, store: Store, warn: Callable[[str], None]) -> dict[str, Any]:
    """Compare. Raises SourceError and StoreError when either side can't be read."""
    started, work = time.monotonic(), Work()
    with told(on_file(work, question.progress_file)):
        found = _compare(question, store, warn, work)
    return {**found, "seconds": round(time.monotonic() - started, 3)}


def _compare(question: Question, store: Store, warn: Callable[[str], None], work: Work) -> dict[str, Any]:
    catalog = Catalog(store, question.catalog)
    root = parse_root(question.archive_path)
    source = open_source(SourceOptions(question.src, root, "", question.limits, question.src_password), store)
    union = Union(catalog, question.buckets, question.site, question.directory)
    crew = Crew(question.workers, BUDGET)
    try:
        rules = Rules(source.root, question.symlinks)
        look_through(source, rules, work)
        digests = _Digests(crew)
        count_on(source, work, "reading the backup", digests.count.amount)
        survey = feed(source, rules, digests)
        crew.wait()
        held = _bucket_digests(digests.found, union, _BucketReader(union, crew, question.read), work)
    finally:
        crew.end()
    directories = {f"{path}/" for path in survey.directories}
    findings = compare(digests.found, held, set(union.there), directories)
    if question.accept_history:
        digest = {key: has.digest for key, has in digests.found.items()}
        saved = {found for bucket in question.buckets for found in saved_conflicts(catalog, bucket)}
        findings = excuse(
            findings,
            lambda key: (
                was_there(union.entries.get(key), digest[key])
                or any((f"{bucket}/{key}", digest[key]) in saved for bucket in question.buckets)
            ),
        )
    synced = Synced.of(source.backup, question.archive_path, question.symlinks, question.buckets)
    if question.accept_kept and (not source.stable or all(known.synced == synced for known in union.manifests)):
        findings = excuse(findings, lambda key: was_kept(union.entries.get(key)))
    if union.twins:
        warn(union.twins)
    return _result(findings, digests.found, union.there, question)


def _bucket_digests(wanted: dict[str, Has], union: Union, reader: _BucketReader, work: Work) -> dict[str, Has]:
    """What the buckets hold under the keys that the source has: by ETag and manifest, or by reading."""
    there = [listed for key in wanted if (listed := union.there.get(key))]
    whole = Amount(len(there), sum(listed.size for listed in there))
    work.go_on("comparing with the bucket", reader.count.amount, whole)
    for listed in there:
        digest = "" if reader.always else known_digest(listed, union.entries.get(listed.key))
        if digest or (listed.size != wanted[listed.key].size and not reader.always):
            reader.hold(listed, digest)
        else:
            reader.look(listed)
    reader.crew.wait()
    return reader.held


class _BucketReader:
    """Reads objects for their digests; ``always`` whatever else is known."""

    def __init__(self, union: Union, crew: Crew, always: bool) -> None:
        self._union = union
        self.crew = crew
        self.always = always
        self.held: dict[str, Has] = {}
        self.count = Count()

    def hold(self, listed: Listed, digest: str) -> None:
        self.held[listed.key] = Has(listed.size, digest)
        self.count.add(listed.size)

    def look(self, listed: Listed) -> None:
        self.crew.claim(min(listed.size, SMALL_MAX))
        self.crew.give(self._look, listed)

    def _look(self, listed: Listed) -> None:
        try:
            self.hold(listed, self._union.of(listed.key).digest(listed))
        except Raced:
            self.hold(listed, "changed while it was read")
        self.crew.free(min(listed.size, SMALL_MAX))


def compare(source: dict[str, Has], held: dict[str, Has], there: set[str], directories: set[str]) -> Findings:
    """Pure. A marker of a directory that the source has is no extra, whoever made it."""
    same = sorted(key for key, has in source.items() if held.get(key) == has)
    missing = sorted(key for key in source if key not in there)
    different = sorted(key for key, has in source.items() if key in there and held.get(key) != has)
    extra = sorted(key for key in there if key not in source and key not in directories)
    return Findings(same, missing, different, extra, [])


def excuse(findings: Findings, accounted: Callable[[str], bool]) -> Findings:
    """Pure. Take missing and different keys that are accounted for as history."""
    return findings._replace(
        missing=[key for key in findings.missing if not accounted(key)],
        different=[key for key in findings.different if not accounted(key)],
        history=findings.history + [key for key in findings.missing + findings.different if accounted(key)],
    )


def was_there(known: Entry | None, digest: str) -> bool:
    """Whether these bytes were in the bucket once, by the manifest; a user has changed or deleted them since."""
    return known is not None and known.etag != "" and known.digest == digest


def was_kept(known: Entry | None) -> bool:
    """Whether the sync that saw a whole backup last left this key as the bucket has it, against the backup's bytes."""
    return known is not None and (known.seen == 2 or (known.seen == 1 and known.etag == ""))


def _result(
    findings: Findings, source: dict[str, Has], there: Mapping[str, Listed], question: Question
) -> dict[str, Any]:
    extra_matters = findings.extra and not (question.accept_history or question.accept_kept)
    return {
        "changed": False,
        "identical": not (findings.missing or findings.different or extra_matters),
        "counts": {
            "source": len(source),
            "bucket": len(there),
            "same": len(findings.same),
            "missing": len(findings.missing),
            "different": len(findings.different),
            "extra": len(findings.extra),
            "history": len(findings.history),
        },
        "missing": findings.missing[:SHOWN],
        "different": findings.different[:SHOWN],
        "extra": findings.extra[:SHOWN],
        "sample": sample(there.values()),
    }
