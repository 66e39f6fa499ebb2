# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several buckets as one directory: which of them is the home of a key. Pure.

A mount shows all of them at once, and of a key that lies in several the first one's object. It may also have put a
file into another bucket than we would. So what is listed stays where it is, and what users have deleted stays deleted
where it was; only a key that nobody knows is spread by its name.
"""

from __future__ import annotations

import hashlib
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ._decide import ENTRIES, Entry
from ._shelf import Shelf
from ._store import Listed

SHOWN = 10


class Holding(NamedTuple):
    """What lies in one of the buckets, and what is known of keys in it (by its manifest and unfinished runs)."""

    there: Mapping[str, Listed]
    entries: Mapping[str, Entry]


def spread(key: str, count: int) -> int:
    """The number (from 0) of the bucket for a key that nobody knows: the same on every host and in every version."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % count


def home(key: str, holdings: Sequence[Holding]) -> int:
    """The number of a key's bucket, the same whether or not gather() was there before."""
    if len(holdings) == 1:
        return 0
    at = _listed_at(key, holdings)
    if at is not None:
        return at
    knowing = _knowing(key, holdings)
    return _newest(key, knowing, None, holdings) if knowing else spread(key, len(holdings))


def gather(holdings: Sequence[Holding]) -> list[Holding]:
    """Move what is known of each key to its home, for a key that users have moved to another bucket.

    It then counts as it would in a single bucket: changed by users, unless its ETag is still the one that we know.
    """
    if len(holdings) == 1:
        return list(holdings)
    gathered = [Shelf(ENTRIES) for _holding in holdings]
    for at, holding in enumerate(holdings):
        for key in holding.entries:
            knowing = _knowing(key, holdings)
            if knowing[0] != at:
                continue
            listed = _listed_at(key, holdings)
            newest = _newest(key, knowing, listed, holdings)
            gathered[newest if listed is None else listed][key] = holdings[newest].entries[key]
    return [Holding(holding.there, entries) for holding, entries in zip(holdings, gathered)]


def _listed_at(key: str, holdings: Sequence[Holding]) -> int | None:
    return next((at for at, holding in enumerate(holdings) if key in holding.there), None)


def _knowing(key: str, holdings: Sequence[Holding]) -> list[int]:
    return [at for at, holding in enumerate(holdings) if key in holding.entries]


def _newest(key: str, knowing: list[int], listed: int | None, holdings: Sequence[Holding]) -> int:
    """Who has the newest word on a key. Of equally new ones, a deletion by users counts more than our pruning."""

    def rank(at: int) -> tuple[str, bool, bool]:
        entry = holdings[at].entries[key]
        return entry.time, not entry.pruned, at == listed

    return max(knowing, key=rank)


def overlay(maps: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Several mappings as one; of a key in several it has the first one's value."""
    return ChainMap(*maps)  # type: ignore[arg-type]  # which it would only want in order to write


def twins(buckets: Sequence[str], listings: Sequence[Mapping[str, Listed]]) -> dict[str, list[str]]:
    """Keys that lie in several buckets, with those. Markers aren't meant: each bucket has those of its directories."""
    found: dict[str, list[str]] = {}
    for at, listing in enumerate(listings[:-1]):
        for key in listing:
            if key not in found and not key.endswith("/") and any(key in other for other in listings[at + 1 :]):
                found[key] = [bucket for bucket, other in zip(buckets, listings) if key in other]
    return found


def twins_warning(buckets: Sequence[str], listings: Sequence[Mapping[str, Listed]]) -> str:
    """What to tell about keys in several buckets; empty when there are none."""
    found = twins(buckets, listings)
    if not found:
        return ""
    shown = "; ".join(f"{key!r} in {' and '.join(found[key])}" for key in sorted(found)[:SHOWN])
    return (
        f"{len(found)} key(s) of this directory lie in several of its buckets: {shown}; the first one's object counts, "
        "the others are left as they are: delete or rename them"
    )
