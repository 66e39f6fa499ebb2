# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who wins: what happens to one key, given what is in the bucket, what we know of it, and what the backup has.

Pure. Nothing newer is overwritten or removed by something older, and nothing deleted returns.
"""

from __future__ import annotations

from typing import NamedTuple

from ._shelf import Kind

KEEP, RESTORE, OVERWRITE, SAVE = "keep", "restore", "overwrite", "save"
# A deliberate restore is the newest word, whatever the age of the backup that it takes.
DELIBERATE = (RESTORE, OVERWRITE)


class Entry(NamedTuple):
    """What the manifest says about a key.

    ``etag`` is the ETag of what we wrote or found equal to a backup's; empty when the bucket's object never was ours.
    ``size`` and ``digest`` are of that content, or else of the backup's; the digest is the ETag that S3 gives to it:
    the MD5, for a large member that of its parts' MD5s (``parts``, joined). ``time`` is that of the backup it came
    from. ``pruned``: we removed it. ``seen``: in the backup that was synced last, 1 with this content, 2 with another,
    0 not at all. ``stamp``: that of the file in a directory which had this content; empty when it isn't known.
    """

    size: int
    digest: str
    etag: str
    time: str
    parts: str = ""
    pruned: bool = False
    seen: int = 0
    stamp: str = ""


ENTRIES: Kind[Entry] = Kind(8, tuple, lambda key, row: Entry._make(row))


class Verdict(NamedTuple):
    """``action``: upload, update, unchanged, kept, kept_deleted or saved. ``adopt``: the manifest takes the bucket's
    object for ours. ``copy_first``: what is replaced goes to the catalog first.
    """

    action: str
    adopt: bool = False
    copy_first: bool = False

    @property
    def writes(self) -> bool:
        """Whether the backup's bytes are to be written into the bucket."""
        return self.action in ("upload", "update")


class Facts(NamedTuple):
    """``there``: ETag of the bucket's object, None without one. ``known``: the manifest's entry. ``same``: the bucket's
    bytes are the backup's. ``same_as_known``: what we once wrote there is the backup's. ``time``: the backup's;
    ``last``: that of the newest backup that was ever synced, empty for none.
    """

    there: str | None
    known: Entry | None
    same: bool
    same_as_known: bool
    time: str
    last: str


def is_ours(there: str | None, known: Entry | None) -> bool:
    """Whether the bucket still has exactly what we wrote or adopted."""
    return there is not None and known is not None and known.etag != "" and known.etag == there


def decide(facts: Facts, on_conflict: str) -> Verdict:
    """What to do with a key that the backup has. ``on_conflict`` is keep, restore, overwrite or save."""
    if facts.there is None:
        return _absent(facts, on_conflict)
    if facts.same:
        return Verdict("unchanged", adopt=not is_ours(facts.there, facts.known))
    if on_conflict == SAVE:
        return Verdict("kept" if facts.known and facts.same_as_known else "saved")
    if is_ours(facts.there, facts.known) and _newer(facts):
        return Verdict("update")
    if on_conflict == OVERWRITE:
        return Verdict("update", copy_first=True)
    return Verdict("kept")


def _absent(facts: Facts, on_conflict: str) -> Verdict:
    known = facts.known
    if known is None or on_conflict in DELIBERATE:
        return Verdict("upload")
    if known.pruned and _newer(facts):
        return Verdict("upload")  # we removed it, and a newer backup has it again
    if on_conflict == SAVE and not facts.same_as_known:
        return Verdict("saved")
    return Verdict("kept_deleted")


def _newer(facts: Facts) -> bool:
    return facts.known is not None and facts.time > facts.known.time and facts.time >= facts.last


def may_prune(there: str | None, known: Entry, time: str, last: str) -> bool:
    """Whether a key that the backup lacks may be removed: ours, unchanged, and from an older backup than this."""
    return is_ours(there, known) and not known.pruned and time > known.time and time >= last
