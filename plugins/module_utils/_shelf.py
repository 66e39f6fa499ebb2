# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of any number of keys, in bounded memory: beyond some thousands it goes into a temporary database.

SQLite unlinks such a database as soon as it is open, so nothing stays behind, however the run ends. It has names, sizes
and digests, never contents.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, Optional, TypeVar

from ._backup import SourceError

# So many values are held by all shelves together (some 300 bytes each), and by one at least: a run over 20,000 files
# in which nothing changed needs no database.
NEAR_MAX, NEAR_MIN = 45_000, 5_000
# Written, read ahead, and remembered at once by a shelf that has spilled.
WRITTEN_TOGETHER, READ_TOGETHER, REMEMBERED = 4096, 1000, 512
CACHE_KIB = 2048
_Value = TypeVar("_Value")
_Other = TypeVar("_Other")
_MISSING: Any = object()


@dataclass(frozen=True)
class Kind(Generic[_Value]):
    """What a shelf holds: ``pack`` makes a tuple of so many ``columns`` of a value, ``unpack`` a value of its key and
    that tuple.
    """

    columns: int
    pack: Callable[[_Value], tuple[Any, ...]]
    unpack: Callable[[str, tuple[Any, ...]], _Value]


TEXT: Kind[str] = Kind(1, lambda text: (text,), lambda key, row: row[0])


class _Held:
    """How many values all shelves hold in memory."""

    def __init__(self) -> None:
        self.count = 0
        self.lock = threading.Lock()

    def add(self, count: int) -> None:
        with self.lock:
            self.count += count


_HELD = _Held()


class Shelf(MutableMapping[str, _Value]):
    """Values by key, in the order of keys; usable from many threads. Nothing can be removed.

    Raises SourceError when there is no room for the temporary database.
    """

    def __init__(self, kind: Kind[_Value], values: Iterable[tuple[str, _Value]] = ()) -> None:
        self._kind = kind
        self._near: dict[str, _Value] = {}
        self._recent: dict[str, _Value] = {}
        self._base: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        self._counted = 0
        marks = ", ".join("?" * (kind.columns + 1))
        self._insert = f"INSERT OR REPLACE INTO shelf VALUES ({marks})"  # noqa: S608 - nothing but question marks
        for key, value in values:
            self[key] = value

    def __del__(self) -> None:
        _HELD.add(-self._counted)

    def __setitem__(self, key: str, value: _Value) -> None:
        with self._lock:
            near = self._near
            near[key] = value
            if self._base is not None:
                self._recent.pop(key, None)
                if len(near) >= WRITTEN_TOGETHER:
                    self._spill()
            elif len(near) - self._counted >= READ_TOGETHER:
                _HELD.add(len(near) - self._counted)
                self._counted = len(near)
                if len(near) >= NEAR_MIN and _HELD.count > NEAR_MAX:
                    self._spill()

    def __delitem__(self, key: str) -> None:
        raise TypeError("nothing can be removed from a shelf")

    def __getitem__(self, key: str) -> _Value:
        found = self._find(key)
        if found is _MISSING:
            raise KeyError(key)
        return found

    def get(self, key: str, default: Any = None) -> Any:
        found = self._find(key)
        return default if found is _MISSING else found

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._find(key) is not _MISSING

    def __len__(self) -> int:
        with self._lock:
            if self._base is None:
                return len(self._near)
            return int(_rows(self._spill(), "SELECT count(*) FROM shelf")[0][0])

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None

    def __iter__(self) -> Iterator[str]:
        for key, _value in self._in_order():
            yield key

    def items(self) -> Any:
        """Keys and values, in the order of keys; also while it changes."""
        return self._in_order()

    def values(self) -> Any:
        """The values, in the order of their keys; also while it changes."""
        return (value for _key, value in self._in_order())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return all(mine == theirs for _key, mine, theirs in joined(self, other))

    __hash__ = None  # type: ignore[assignment]

    def _find(self, key: str) -> Any:
        found = self._near.get(key, _MISSING)
        if found is not _MISSING or self._base is None:
            return found
        with self._lock:
            found = self._near.get(key, self._recent.get(key, _MISSING))
            if found is _MISSING:
                rows = _rows(self._base, "SELECT * FROM shelf WHERE key = ?", _encoded(key))
                if len(self._recent) >= REMEMBERED:
                    self._recent.clear()
                if rows:
                    found = self._recent[key] = self._kind.unpack(key, rows[0][1:])
        return found

    def _in_order(self) -> Iterator[tuple[str, _Value]]:
        with self._lock:
            near = sorted(self._near) if self._base is None else None
        if near is not None:
            yield from ((key, self[key]) for key in near)
            return
        unpack, query, last = self._kind.unpack, "SELECT * FROM shelf WHERE key >= ? ORDER BY key LIMIT ?", b""
        while True:
            with self._lock:
                rows = _rows(self._spill(), query, last, READ_TOGETHER)
            for row in rows:
                key = row[0].decode("utf-8", "surrogatepass")
                yield key, unpack(key, row[1:])
            if len(rows) < READ_TOGETHER:
                return
            query, last = query.replace(">=", ">"), rows[-1][0]

    # the database

    def _spill(self) -> sqlite3.Connection:
        """Write what is held; the lock is held. The database."""
        pack, base = self._kind.pack, self._base
        if base is None:
            base = self._base = self._opened()
            _HELD.add(-self._counted)
            self._counted = 0
        if not self._near:
            return base
        rows = sorted(((_encoded(key), *pack(value)) for key, value in self._near.items()), key=lambda row: row[0])
        try:
            base.execute("BEGIN")  # all at once take a quarter less time
            base.executemany(self._insert, rows)
            base.execute("COMMIT")
        except sqlite3.Error as error:
            raise _no_room(error)
        self._near = {}
        return base

    def _opened(self) -> sqlite3.Connection:
        try:
            base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            base.execute("PRAGMA journal_mode = OFF")
            base.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            columns = "".join(f", v{number}" for number in range(self._kind.columns))
            base.execute(f"CREATE TABLE shelf (key BLOB PRIMARY KEY{columns}) WITHOUT ROWID")
        except sqlite3.Error as error:
            raise _no_room(error)
        return base


def _rows(base: sqlite3.Connection, query: str, *values: Any) -> list[Any]:
    try:
        return base.execute(query, values).fetchall()
    except sqlite3.Error as error:
        raise _no_room(error)


def joined(
    one: Mapping[str, _Value], other: Mapping[str, _Other]
) -> Iterator[tuple[str, Optional[_Value], Optional[_Other]]]:
    """Every key of either, in the order of keys, with what both have there, None for nothing."""
    left, right = in_order(one), in_order(other)
    mine, theirs = next(left, None), next(right, None)
    while mine and theirs:
        if mine[0] < theirs[0]:
            yield mine[0], mine[1], None
            mine = next(left, None)
        elif theirs[0] < mine[0]:
            yield theirs[0], None, theirs[1]
            theirs = next(right, None)
        else:
            yield mine[0], mine[1], theirs[1]
            mine, theirs = next(left, None), next(right, None)
    for key, value in chain([mine] if mine else [], left):
        yield key, value, None
    for key, value_there in chain([theirs] if theirs else [], right):
        yield key, None, value_there


def in_order(found: Mapping[str, _Value]) -> Iterator[tuple[str, _Value]]:
    """Keys and values in the order of keys."""
    return iter(found.items()) if isinstance(found, Shelf) else iter(sorted(found.items()))


def _encoded(key: str) -> bytes:
    """So that bytes have the order of the texts."""
    return key.encode("utf-8", "surrogatepass")


def _no_room(error: sqlite3.Error) -> SourceError:
    return SourceError(
        f"is too large for the list of what it has: {error}; make room in the temporary directory of this host, about "
        "1 KB for each file, or set the environment variable TMPDIR to another one"
    )
