# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a webroot's changes Syncthing may be shown now, and what is held back and why. No I/O; time is passed in.

Syncthing passes every delete on, and can't be told a limit. So it looks at nothing by itself, but at the names that a
guard names: edits at once, and what is lost (gone, cut to nothing, unreadable) after some quiet seconds, when it is
little. Role webroot_sync installs this file on webservers beside its program.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

SETTLE_SECONDS = (0.3, 2.0)  # an edit is waited for: after its last notice, and at most
QUIET_SECONDS = 2.0  # nothing more has been lost for so long,
PATIENCE_SECONDS = 8.0  # or the first was lost so long ago
CALM_SECONDS = 60.0  # when something is held, and then becomes less: nothing more has come back for so long
BATCH = 200


class Entry(NamedTuple):
    """A name of the webroot: what it is, and whether its user can read it."""

    mode: int
    size: int
    mtime: int  # nanoseconds
    readable: bool

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


Listing = dict[str, Entry]  # by path below the webroot


def is_lost(before: Entry, now: Entry | None) -> bool:
    """Whether it is gone, or as good as gone: something else now, cut to nothing, or unreadable."""
    return (
        now is None
        or stat.S_IFMT(now.mode) != stat.S_IFMT(before.mode)
        or (before.size > 0 and now.size == 0)
        or (before.readable and not now.readable)
    )


class Limit(NamedTuple):
    """How many files may be lost without being held: some, or a share of all, within some time."""

    least: int = 20
    percent: float = 5.0
    seconds: float = 3600.0

    def files(self, total: int) -> int:
        return max(self.least, int(total * self.percent / 100))


def topmost(names: Iterable[str]) -> list[str]:
    """Those that are not below another of them."""
    given = set(names)
    return sorted(name for name in given if not is_below(name, given))


def is_below(name: str, given: set[str]) -> bool:
    above = os.path.dirname(name)
    while above:
        if above in given:
            return True
        above = os.path.dirname(above)
    return False


def weigh(lost: Iterable[str], listing: Listing) -> int:
    """How many files are lost with some names, of which some may never have been listed."""
    given = set(lost)
    below = any(listing[name].is_directory for name in given if name in listing)
    unlisted = sum(name not in listing for name in given)
    if not below:
        return unlisted + sum(name in listing for name in given)
    files = (name for name, entry in listing.items() if not entry.is_directory)
    return unlisted + sum(name in given or is_below(name, given) for name in files)


class Guard:
    """The decisions about one webroot. ``listing``: its names as Syncthing knows them.

    ``pages``: without these, where they were, the site can't be meant: then nothing is shown at all.
    """

    def __init__(self, listing: Listing, limit: Limit, pages: Iterable[str] = ()) -> None:
        self.listing = listing
        self.held = ""  # why, when what is lost is held back
        self.altered = True  # the listing is other than it was kept
        self._limit = limit
        self._pages = set(pages)
        self._changed: dict[str, tuple[float, float]] = {}  # when it was noticed first, and last
        self._lost: dict[str, float] = {}
        self._absent: set[str] = set()  # directories that are not there at all
        self._moved = self._grown = 0.0  # when what is lost changed last, and became more
        self._weight: int | None = 0
        self._spent: deque[tuple[float, int]] = deque()
        self._released: set[str] = set()

    # what was noticed

    def saw(self, name: str, entry: Entry | None, now: float) -> None:
        """What is there now, or nothing."""
        before = self.listing.get(name)
        if entry is None and before is not None and before.is_directory:
            self._absent.add(name)
        else:
            self._absent.discard(name)
        if entry is None or (before is not None and is_lost(before, entry)):
            self._changed.pop(name, None)
            if name not in self._lost:
                self._lost[name] = self._moved = self._grown = now
                self._weight = None
            return
        if self._lost.pop(name, None) is not None:
            self._moved = now
            self._weight = None
            self._end_hold()
        if entry == before:
            self._changed.pop(name, None)
        else:
            self._changed[name] = (self._changed.get(name, (now,))[0], now)

    # what may be shown

    def changes(self, now: float) -> list[str]:
        """Edits to show now."""
        if self.missing_pages():
            return []
        settle, longest = SETTLE_SECONDS
        ready = (
            name for name, (first, last) in self._changed.items() if now - last >= settle or now - first >= longest
        )
        # A directory is shown with all that it holds, and what it doesn't hold any more.
        shown = [
            name for name in ready if not (self._lost and name in self.listing and self.listing[name].is_directory)
        ]
        return sorted(shown)[:BATCH]

    def lost(self) -> list[str]:
        return topmost(self._lost)

    def is_settled(self, now: float) -> bool:
        """Whether it is time to decide about what is lost."""
        oldest = min(self._lost.values(), default=now)
        return bool(self._lost) and (now - self._grown >= QUIET_SECONDS or now - oldest >= PATIENCE_SECONDS)

    def losses(self, now: float) -> list[str]:
        """What is lost and may be shown as lost now. Why the rest is held is in ``held``."""
        if self._released:
            names = topmost(self._released & set(self._lost))
            self._released.clear()
            self.held = ""
            return names
        if not self._lost:
            self.held = ""
            return []
        weight = self.weight()
        pages = self.missing_pages()
        limit = self._limit.files(len(self.listing)) - self.spent(now)
        if pages:
            self.held = f"{' and '.join(pages)} can't be read any more, is empty or gone"
        elif weight > limit:
            self.held = f"{weight} files are gone, empty or unreadable, and {max(limit, 0)} may be at a time"
        elif self.held and now - self._moved < CALM_SECONDS:
            return []  # what comes back file by file passes the limit on its way
        else:
            self.held = ""
        return [] if self.held else self.lost()

    def weight(self) -> int:
        """How many files are lost."""
        if self._weight is None:
            self._weight = weigh(self._lost, self.listing)
        return self._weight

    def spent(self, now: float) -> int:
        """How many losses were let through lately."""
        while self._spent and now - self._spent[0][0] > self._limit.seconds:
            self._spent.popleft()
        return sum(weight for _time, weight in self._spent)

    def missing_pages(self) -> list[str]:
        if self._released:
            return []
        return sorted(page for page in self._pages if page in self._lost and page in self.listing)

    def is_exposed(self, now: float) -> bool:
        """Whether Syncthing could find by itself what is held, or will be.

        When others' edits come in a directory that is gone, it makes it anew, and then looks at all that was in it.
        """
        if not self._absent:
            return False
        too_many = self.weight() > self._limit.files(len(self.listing)) - self.spent(now)
        return bool(self.held or self.missing_pages() or too_many)

    def absent(self) -> dict[str, int]:
        """The directories that are gone, with those below them, and their modes."""
        return {
            name: stat.S_IMODE(entry.mode)
            for name, entry in self.listing.items()
            if entry.is_directory and (name in self._absent or is_below(name, self._absent))
        }

    def release(self) -> None:
        """What is lost now was meant to go."""
        self._released = set(self._lost)

    # what Syncthing knows since

    def knows(self, name: str, entry: Entry) -> None:
        """It was shown as it is."""
        self.listing[name] = entry
        self.altered = True
        self._changed.pop(name, None)
        self._lost.pop(name, None)
        self._absent.discard(name)
        self._weight = None
        self._end_hold()

    def is_pending(self, name: str) -> bool:
        """Whether a decision about it is due."""
        return name in self._changed or name in self._lost

    def knows_gone(self, names: Iterable[str], now: float, ours: bool = True) -> None:
        """They were shown as lost, or were others' losses that came from Syncthing."""
        given = set(names)
        if ours and given:
            self._spent.append((now, weigh(given, self.listing)))
        self.altered = True
        gone = {name for name in {*self.listing, *self._lost} if name in given or is_below(name, given)}
        self._absent -= gone
        for name in gone:
            self.listing.pop(name, None)
            self._lost.pop(name, None)
        self._weight = None
        self._end_hold()

    def _end_hold(self) -> None:
        if not self._lost:
            self.held = ""
