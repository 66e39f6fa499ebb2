# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From members to the bucket: decide, announce, write, confirm. Also what would be done, in check mode."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Mapping
from typing import NamedTuple

from ._backup import Backup
from ._catalog import Catalog
from ._crew import Crew
from ._decide import ENTRIES, SAVE, Entry, Facts, Verdict, decide, is_ours, may_prune
from ._directory import UNREAD
from ._headers import headers
from ._journal import Journal, Write
from ._large import Content, Difference, PartSender, compare_parts, content_of, pieces, split_parts
from ._members import KEY_MAX, Member
from ._shelf import TEXT, Shelf
from ._store import Listed, StoreError
from ._tally import Tally
from ._tar import Reader
from ._upload import MIB, SMALL_MAX, Raced, Uploader, md5, part_size

BATCH_COUNT = 256
BATCH_BYTES = 4 * MIB
# Bytes that are held at most: a batch, the largest small member, and enough on their way to fill the connections.
BUDGET = 24 * MIB
# What a member costs in memory besides its bytes.
OVERHEAD = 1024


class Board(NamedTuple):
    """All that a run knows when it begins. ``stamp`` is the time that is written for what this run writes."""

    there: Mapping[str, Listed]
    entries: Mapping[str, Entry]
    last: str
    backup: Backup
    stamp: str
    on_conflict: str
    check: bool


class Item(NamedTuple):
    """A small member with its bytes."""

    member: Member
    body: bytes


class Planned(NamedTuple):
    """A write that was decided."""

    item: Item
    digest: str
    verdict: Verdict


class Side(NamedTuple):
    """The places in the catalog for what must not get lost: ``replaced`` and ``conflicts`` are prefixes with a date."""

    catalog: Catalog
    uploader: Uploader
    replaced: str
    conflicts: str
    host: str


class _Group:
    """Tells the journal when a whole batch is written."""

    def __init__(self, journal: Journal, number: int, count: int) -> None:
        self._journal, self._number, self._left = journal, number, count
        self._lock = threading.Lock()

    def done(self) -> None:
        with self._lock:
            self._left -= 1
            last = not self._left
        if last:
            self._journal.done(self._number)


class Pipeline:
    """Takes members in the order of the source. ``changes`` is what the manifest will learn from it.

    It holds back at most ``batch`` bytes, so that it can write them together.
    """

    def __init__(
        self, board: Board, uploader: Uploader, journal: Journal, side: Side, crew: Crew, *, batch: int
    ) -> None:
        self._board = board
        self._uploader = uploader
        self._journal = journal
        self._side = side
        self._crew = crew
        self._batch_max = batch
        self._batch: list[Item] = []
        self._batch_bytes = 0
        self._open_uploads: dict[str, tuple[Uploader, str]] = {}
        self._saved: set[tuple[str, str]] | None = None
        self._lock = threading.Lock()
        self.tally = Tally()
        self.changes = Shelf(ENTRIES)
        self.written = Shelf(TEXT)
        self.raced = 0

    # in

    def take(self, member: Member, reader: Reader) -> None:
        """Deal with a member; its content is read before this returns."""
        if reader is UNREAD:
            known = self._board.entries[member.key]
            self._note(member, self._verdict_unread(known, member.key), Content(known.digest, known.parts))
            return
        if member.size > SMALL_MAX:
            self._large(member, reader)
            return
        cost = member.size + OVERHEAD
        # What is held back in the batch never fills the budget alone (see BUDGET), so this wait ends.
        self._crew.claim(cost)
        self._batch.append(Item(member, reader.read(member.size)))
        self._batch_bytes += cost
        if len(self._batch) >= BATCH_COUNT or self._batch_bytes >= self._batch_max:
            self.flush()

    def knows(self, key: str, size: int, stamp: str) -> bool:
        """Whether a file's content is known by its size and stamp, and nothing is to be written of it."""
        known = self._board.entries.get(key)
        if known is None or not known.stamp or (known.size, known.stamp) != (size, stamp):
            return False
        verdict = self._verdict_unread(known, key)
        return not (verdict.writes or verdict.adopt or verdict.action == "saved")

    def _verdict_unread(self, known: Entry, key: str) -> Verdict:
        there = self._board.there.get(key)
        return self._verdict(key, is_ours(there.etag if there else None, known), known.digest)

    def flush(self) -> None:
        """Let the members that were taken so far be written."""
        if self._batch:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            self._crew.give(self._decide_batch, batch)

    def give_up(self) -> None:
        """After a failure: leave no half uploads, and tell the journal what is done."""
        with contextlib.suppress(StoreError):  # what led here is the error to tell
            self._journal.flush()
        for key, (uploader, upload) in list(self._open_uploads.items()):
            uploader.abort(key, upload)

    # decide

    def _facts(self, key: str, same: bool, digest: str) -> Facts:
        board = self._board
        there, known = board.there.get(key), board.entries.get(key)
        same_as_known = known is not None and known.etag != "" and known.digest == digest
        return Facts(there.etag if there else None, known, same, same_as_known, board.backup.time, board.last)

    def _verdict(self, key: str, same: bool, digest: str) -> Verdict:
        return decide(self._facts(key, same, digest), self._board.on_conflict)

    def _same(self, key: str, size: int, digest: str) -> bool:
        """Whether the bucket holds just this small content."""
        there = self._board.there.get(key)
        if there is None or there.size != size:
            return False
        if there.etag == digest:
            return True
        known = self._board.entries.get(key)
        if is_ours(there.etag, known):
            return known is not None and known.digest == digest
        # The ETag of a multipart object says nothing about its bytes.
        return "-" in there.etag and md5(self._uploader.read(key, there.etag, 0, size)) == digest

    def _decide_batch(self, batch: list[Item]) -> None:
        planned: list[Planned] = []
        for item in batch:
            key = item.member.key
            digest = md5(item.body)
            try:
                verdict = self._verdict(key, self._same(key, len(item.body), digest), digest)
            except Raced:
                verdict = Verdict("kept")
            if verdict.writes and not self._board.check:
                planned.append(Planned(item, digest, verdict))
                continue
            if verdict.action == "saved":
                verdict = self._save_small(item, digest, verdict)
            self._note(item.member, verdict, Content(digest, ""))
            self._crew.free(len(item.body) + OVERHEAD)
        if planned:
            number = self._journal.intend(Write(p.item.member.key, len(p.item.body), p.digest) for p in planned)
            group = _Group(self._journal, number, len(planned))
            for plan in planned:
                self._crew.give(self._write_small, plan, group)

    # write

    def _write_small(self, plan: Planned, group: _Group) -> None:
        (member, body), digest, verdict = plan
        there = self._board.there.get(member.key)
        try:
            self._keep_replaced(member.key, verdict)
            etag = self._uploader.put(member.key, body, digest, headers(member), there.etag if there else None)
            self._wrote(member, verdict, Content(digest, ""), etag)
        except Raced as raced:
            self._lost_race(member, Content(digest, ""), raced)
        group.done()
        self._crew.free(len(body) + OVERHEAD)

    def _keep_replaced(self, key: str, verdict: Verdict) -> None:
        if verdict.copy_first:
            there = self._board.there[key]
            to_key = dated(self._side.replaced, tail(self._uploader.bucket, key, self._side.replaced))
            self._uploader.copy(there, self._side.uploader, to_key)

    def _wrote(self, member: Member, verdict: Verdict, content: Content, etag: str) -> None:
        self.written[member.key] = etag
        self._count(member, verdict)
        seen = 0 if self._board.on_conflict == SAVE else 1
        self.changes[member.key] = Entry(
            member.size, content.digest, etag, self._board.stamp, content.parts, False, seen, member.stamp
        )

    def _lost_race(self, member: Member, content: Content, raced: Raced) -> None:
        """Someone else wrote or removed the key while we were at it: theirs is newer."""
        with self._lock:
            self.raced += 1
        self._note(member, Verdict("kept" if raced.there else "kept_deleted"), content)

    def _count(self, member: Member, verdict: Verdict) -> None:
        action = {"upload": "uploaded", "update": "updated"}.get(verdict.action, verdict.action)
        self.tally.add(action, member.key, member.size)

    def _note(self, member: Member, verdict: Verdict, content: Content) -> None:
        """Count a verdict that writes nothing (or would, in check mode), and tell the manifest."""
        self._count(member, verdict)
        key, board = member.key, self._board
        known, there = board.entries.get(key), board.there.get(key)
        fresh = 0 if board.on_conflict == SAVE else 1
        if verdict.writes or known is None or (verdict.adopt and there is not None):
            etag = there.etag if there and verdict.adopt else ""
            self.changes[key] = Entry(
                member.size, content.digest, etag, board.stamp, content.parts, False, fresh, member.stamp
            )
        elif board.on_conflict != SAVE:
            # What users have made anew isn't pruned any more: when they delete it, it stays deleted.
            pruned = known.pruned and there is None
            same = known.digest == content.digest
            stamp = (member.stamp or known.stamp) if same else ""
            self.changes[key] = known._replace(seen=1 if same else 2, pruned=pruned, stamp=stamp)

    # files that lost against the bucket, kept in the catalog

    def _is_saved(self, key: str, digest: str) -> bool:
        """Whether the same bytes were saved by an earlier run of this host."""
        with self._lock:
            if self._saved is None:
                self._saved = set(saved_conflicts(self._side.catalog, self._uploader.bucket, self._side.host))
        return (tail(self._uploader.bucket, key, self._side.conflicts), digest) in self._saved

    def _save_small(self, item: Item, digest: str, verdict: Verdict) -> Verdict:
        key = item.member.key
        if self._is_saved(key, digest):
            return Verdict("kept" if key in self._board.there else "kept_deleted")
        if not self._board.check:
            to_key = dated(self._side.conflicts, tail(self._uploader.bucket, key, self._side.conflicts))
            self._side.uploader.put(to_key, item.body, digest, headers(item.member), None)
        return verdict

    # large members

    def _large(self, member: Member, reader: Reader) -> None:
        self._crew.claim(0)  # raises what has failed meanwhile
        key, board = member.key, self._board
        there = board.there.get(key)
        if board.on_conflict == SAVE:
            self._large_saved(member, reader)
        elif there is None or there.size != member.size:
            verdict = self._verdict(key, False, "")
            if verdict.writes:
                self._send_large(member, reader, verdict, None)
            else:
                self._note(member, verdict, self._read_large(member, reader))
        else:
            self._compare_large(member, reader, there)

    def _read_large(self, member: Member, reader: Reader) -> Content:
        return content_of([md5(body) for body in pieces(reader, member.size)])

    def _large_saved(self, member: Member, reader: Reader) -> None:
        """Late files come from a directory, so they can be read twice."""
        key = member.key
        there = self._board.there.get(key)
        content = self._read_large(member, reader)
        reader.rewind()  # type: ignore[attr-defined]
        same = there is not None and there.size == member.size and self._same_large(member, content, there)
        verdict = self._verdict(key, same, content.digest)
        if verdict.action == "saved" and self._is_saved(key, content.digest):
            verdict = Verdict("kept" if there else "kept_deleted")
        if verdict.writes or verdict.action == "saved":
            self._send_large(member, reader, verdict, None)
        else:
            self._note(member, verdict, content)

    def _same_large(self, member: Member, content: Content, there: Listed) -> bool:
        known = self._board.entries.get(member.key)
        if there.etag == content.digest or is_ours(there.etag, known):
            return there.etag == content.digest or (known is not None and known.digest == content.digest)
        return all(
            self._equals_bucket(member, there, number, digest)
            for number, digest in enumerate(split_parts(content.parts))
        )

    def _equals_bucket(self, member: Member, there: Listed, number: int, digest: str) -> bool:
        step = part_size(member.size)
        start = number * step
        size = min(step, member.size - start)
        self._crew.claim(size)
        try:
            return md5(self._uploader.read(member.key, there.etag, start, size)) == digest
        except Raced:
            return False
        finally:
            self._crew.free(size)

    def _compare_large(self, member: Member, reader: Reader, there: Listed) -> None:
        """Same size as the bucket's object: only its parts tell, and they are compared while they are read."""
        key = member.key
        known = self._board.entries.get(key)
        different = self._verdict(key, False, "")
        expected = split_parts(known.parts) if known and is_ours(there.etag, known) else []
        count = -(-member.size // part_size(member.size))
        by_etag = there.etag.endswith(f"-{count}") and not different.writes

        def equal(number: int, size: int, digest: str) -> bool:
            if expected:
                return expected[number] == digest
            return by_etag or self._equals_bucket(member, there, number, digest)

        found = compare_parts(reader, member.size, equal, stop=different.writes)
        if isinstance(found, Difference):
            self._send_large(member, reader, different, found)
            return
        same, content = found
        if by_etag and not expected:
            same = there.etag == content.digest
        self._note(member, self._verdict(key, same, content.digest), content)

    def _send_large(self, member: Member, reader: Reader, verdict: Verdict, found: Difference | None) -> None:
        if self._board.check:
            self._note(member, verdict, Content("", ""))
            return
        saved = verdict.action == "saved"
        uploader = self._side.uploader if saved else self._uploader
        key = member.key
        if saved:
            key = dated(self._side.conflicts, tail(self._uploader.bucket, key, self._side.conflicts))
        try:
            self._keep_replaced(member.key, verdict)
            sender = PartSender(self._crew, uploader, key, headers(member))
            self._open_uploads[key] = (uploader, sender.upload)
            start = self._send_equal_parts(member, sender, found) if found else 0
        except Raced as raced:
            self._lost_race(member, self._read_rest(member, reader, found), raced)
            return
        for body in pieces(reader, member.size, start, self._crew.claim):
            sender.send(body, md5(body))
            del body  # one part less in memory while the next is read
        sender.close(lambda etags: self._finish_large(member, verdict, sender, etags))

    def _read_rest(self, member: Member, reader: Reader, found: Difference | None) -> Content:
        if found is None:
            return self._read_large(member, reader)
        start = min(member.size, (len(found.before) + 1) * part_size(member.size))
        rest = [md5(body) for body in pieces(reader, member.size, start)]
        return content_of([*found.before, found.digest, *rest])

    def _send_equal_parts(self, member: Member, sender: PartSender, found: Difference) -> int:
        """Send the parts that were found equal, from the bucket, and the first that was not; how far that goes."""
        there, step = self._board.there[member.key], part_size(member.size)
        for number, digest in enumerate(found.before):
            self._crew.claim(step)
            sender.send(self._uploader.read(member.key, there.etag, number * step, step), digest)
        self._crew.claim(len(found.body))
        sender.send(found.body, found.digest)
        return len(found.before) * step + len(found.body)

    def _finish_large(self, member: Member, verdict: Verdict, sender: PartSender, etags: list[str]) -> None:
        content = content_of(sender.digests)
        there = self._board.there.get(member.key)
        key, uploader = sender.key, sender.uploader
        if verdict.action == "saved":
            uploader.finish(key, sender.upload, etags, None)
            self._note(member, verdict, content)
        else:
            number = self._journal.intend([Write(key, member.size, content.digest, content.parts)])
            try:
                etag = uploader.finish(key, sender.upload, etags, there.etag if there else None)
                self._wrote(member, verdict, content, etag)
            except Raced as raced:
                uploader.abort(key, sender.upload)
                self._lost_race(member, content, raced)
            self._journal.done(number)
        self._open_uploads.pop(key, None)

    # prune

    def prune(self) -> None:
        """Remove what is ours, unchanged, and not in this backup. Only after all of the backup has been taken."""
        board = self._board
        gone = [
            key
            for key, entry in board.entries.items()
            if key not in self.changes and key in board.there
            and may_prune(board.there[key].etag, entry, board.backup.time, board.last)
        ]  # fmt: skip
        number = self._journal.intend((), gone) if gone and not board.check else 0
        for key in gone:
            self._crew.give(self._prune_one, key)
        self._crew.wait()
        if number:
            self._journal.done(number)

    def _prune_one(self, key: str) -> None:
        board = self._board
        there = board.there[key]
        try:
            if not board.check:
                self._uploader.remove(key, there.etag)
        except Raced:
            with self._lock:
                self.raced += 1
            return
        self.tally.add("pruned", key, there.size)
        self.changes[key] = board.entries[key]._replace(pruned=True, time=board.stamp, seen=0)


def tail(bucket: str, key: str, prefix: str) -> str:
    """How a bucket's key is called below a prefix of the catalog: too long ones are cut and closed with a hash."""
    name = f"{bucket}/{key}"
    room = KEY_MAX - len(prefix.encode()) - 1
    if len(name.encode()) <= room:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()
    return name.encode()[: room - len(digest) - 1].decode("utf-8", "ignore") + "-" + digest


def dated(prefix: str, name: str) -> str:
    """A key below a prefix with a date."""
    return f"{prefix}/{name}"


def saved_conflicts(catalog: Catalog, bucket: str, host: str = "") -> list[tuple[str, str]]:
    """What was saved for a bucket, of one host or of all: names as tail() makes them, with their digests."""
    found = []
    for listed in catalog.list(f"conflicts/{host}/" if host else "conflicts/"):
        name = listed.key.split("/", 3)[-1]
        if name.startswith(bucket + "/"):
            found.append((name, listed.etag))
    return found
