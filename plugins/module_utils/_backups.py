# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporal backups of a webroot as the site's catalog knows them: which were announced, and whose turn it is.

    backups/<period>/<time>-<snapshot>.json    a backup that is whole and was read back; nothing else counts as one
    backups/turns/<period>.json                who makes, or has made, the backup of which slot of the calendar

A slot is a period of the calendar in UTC, by the store's clock: hosts whose clocks differ agree on it.
"""

from __future__ import annotations

import datetime
import email.utils
import json
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from ._backup import SourceError
from ._catalog import FORMAT, Catalog
from ._names import within
from ._store import Store, StoreError

with suppress(ImportError):  # reported by AnsibleAWSModule, which needs boto3 itself
    from botocore.exceptions import ClientError

# How many backups of each period are kept.
KEEP = {"hourly": 24, "daily": 7, "weekly": 5, "monthly": 12, "bimonthly": 6}
CHECK = "check"  # the slot in which the repository is checked, a week long
BACKUPS_DIRECTORY = "@backups"  # whose the repository's bucket is, in its ownership record
PREFIX = "backups/"

# A turn whose holder was silent for so long is another host's; it says three times in that time that it's there.
TURN_SECONDS = 180
POLL_SECONDS = 10.0
# S3 itself refuses at 15 minutes, and restic removes the locks of others after 30 by this clock.
CLOCK_SECONDS = 600

_UTC = datetime.timezone.utc
_DAYS = {"weekly": 7, CHECK: 7}


def slot_of(period: str, moment: datetime.datetime) -> str:
    """When the period of the calendar began in which a moment lies: ``2026-11-23T20:00:00Z``. Weeks begin on Monday."""
    begin = moment.astimezone(_UTC).replace(minute=0, second=0, microsecond=0)
    if period != "hourly":
        begin = begin.replace(hour=0)
    if _DAYS.get(period) == 7:
        begin -= datetime.timedelta(days=begin.weekday())
    elif period == "monthly":
        begin = begin.replace(day=1)
    elif period == "bimonthly":
        begin = begin.replace(day=1, month=(begin.month - 1) // 2 * 2 + 1)
    return begin.strftime("%Y-%m-%dT%H:%M:%SZ")


# ---------------------------------------------------------------- announced backups


class Announced(NamedTuple):
    """One backup. ``time`` in UTC by the store's clock; ``paths`` that it has; ``excludes`` below the first of them."""

    period: str
    time: str
    snapshot: str
    host: str
    paths: list[str]
    excludes: list[str]
    files: int
    bytes: int
    restic: str

    @property
    def key(self) -> str:
        """Where the catalog has it."""
        return f"{PREFIX}{self.period}/{self.time}-{self.snapshot[:8]}.json"

    def has(self, directory: str) -> bool:
        """Whether a directory below the webroot wasn't left out, or an absolute path was saved besides the webroot."""
        if directory.startswith("/"):
            return any(within(directory, path) for path in self.paths[1:])
        return not any(f"{directory}/".startswith(f"{left}/") for left in self.excludes)


def render_announced(backup: Announced) -> bytes:
    """A record as the catalog keeps it."""
    return json.dumps({"format": FORMAT, **backup._asdict()}, indent=1, sort_keys=True).encode()


def parse_announced(body: bytes, key: str) -> Announced:
    """Read a record; raises StoreError when it is damaged or from a newer version of this collection."""
    try:
        record = json.loads(body)
        if record.pop("format") == FORMAT:
            return Announced(**record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"the record of a backup {key} is damaged ({error!r}): delete it from the catalog") from error
    raise StoreError(f"{key} has another format than {FORMAT}, which this adt.assets knows: use a newer one")


def announce(catalog: Catalog, backup: Announced) -> None:
    """From now on it counts."""
    catalog.put(backup.key, render_announced(backup), if_none_match=True)


def read_announced(catalog: Catalog, period: str = "") -> list[Announced]:
    """All that were announced, of one period or of all of them, the newest first. Raises StoreError."""
    found = []
    for name in [period] if period else KEEP:
        for listed in list(catalog.list(f"{PREFIX}{name}/")):
            body = catalog.get(listed.key)
            if body:  # else it was forgotten in this moment
                found.append(parse_announced(body[0], listed.key))
    return sorted(found, key=lambda backup: backup.time, reverse=True)


def made_before(found: Iterable[Announced], before: str) -> list[Announced]:
    """Those that were made at a point in time (empty for now) or before; to the second, which is what they know."""
    return [backup for backup in found if not before or backup.time[:19] <= before[:19]]


def newest(found: Iterable[Announced], directories: Collection[str] = ()) -> Announced | None:
    """The newest that has all these directories of the webroot."""
    fit = (backup for backup in found if all(backup.has(directory) for directory in directories))
    return max(fit, key=lambda backup: backup.time, default=None)


def outlived(announced: list[Announced], keep: int) -> list[Announced]:
    """Those of one period beyond the newest ``keep``."""
    return sorted(announced, key=lambda backup: backup.time, reverse=True)[keep:]


def unannounced(snapshots: Iterable[dict[str, Any]], announced: Iterable[Announced], period: str) -> list[str]:
    """Snapshots of a period that don't count: forgotten ones, and those of runs that were broken off."""
    good = {backup.snapshot for backup in announced}
    return [each["id"] for each in snapshots if period in (each.get("tags") or []) and each["id"] not in good]


# ---------------------------------------------------------------- time


class Clock:
    """The store's time, asked for once. ``offset``: seconds by which this host's clock is ahead of it."""

    def __init__(self, at: datetime.datetime, local: float | None = None) -> None:
        self._at = at
        self._since = time.monotonic()
        self.offset = (time.time() if local is None else local) - at.timestamp()

    def now(self) -> datetime.datetime:
        """What the store's clock shows now."""
        return self._at + datetime.timedelta(seconds=time.monotonic() - self._since)

    def require_right(self, host: str) -> None:
        """Raise SourceError when this host's clock is so wrong that a backup would suffer from it."""
        if abs(self.offset) > CLOCK_SECONDS:
            direction = "ahead of" if self.offset > 0 else "behind"
            raise SourceError(
                f"the clock of {host} is {abs(self.offset) / 60:.0f} minutes {direction} the store's: set it "
                "(timedatectl set-ntp true); other webservers make the backup meanwhile"
            )


def store_clock(store: Store, bucket: str) -> Clock:
    """The clock of a store, by the Date that its answers carry. Raises StoreError."""
    with store.errors(f"can't use bucket {bucket}"):
        try:
            return _clock_of(store.client.head_bucket(Bucket=bucket))
        except ClientError as error:
            # What was signed at a wrong time is refused like a wrong key; the answer tells them apart.
            clock = _clock_of(error.response)
            if abs(clock.offset) <= CLOCK_SECONDS:
                raise
            return clock


def _clock_of(answer: Any) -> Clock:
    return Clock(email.utils.parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]))


def written(moment: datetime.datetime) -> str:
    """A time as records have it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# ---------------------------------------------------------------- whose turn it is


class Turn(NamedTuple):
    """What is known of a period's present slot. ``tried``: hosts that failed.

    ``state``: ``running`` (but free for others after ``until``), ``made`` or ``failed``.
    """

    slot: str
    host: str
    state: str
    until: str
    tried: list[str]


def decide(turn: Turn | None, slot: str, host: str, now: str, forced: bool = False) -> str:
    """What a host does: ``take`` the turn, ``wait`` for another that is at it, or leave it as ``made`` or ``tried``.

    ``forced``: make another one, also when there is one.
    """
    if turn is None:
        return "take"
    if turn.state == "running" and now < turn.until:
        return "wait"
    if forced or turn.slot < slot:
        return "take"
    if turn.slot > slot or turn.state == "made":
        return "made"
    return "tried" if host in turn.tried else "take"


class Turns:
    """One host's part in making the backups of a period."""

    def __init__(self, catalog: Catalog, clock: Clock, host: str, period: str) -> None:
        self._catalog, self._clock = catalog, clock
        self.host, self.period = host, period
        self._key = f"{PREFIX}turns/{period}.json"
        self._etag = ""
        self._turn: Turn | None = None
        self._lock = threading.Lock()

    def take(self, patience: float, forced: bool = False) -> str:
        """Wait for ``patience`` seconds for another host to do it, then take the turn; returns what decide() says."""
        begin = time.monotonic()
        while True:
            found = self._read()
            now = self._clock.now()
            slot = slot_of(self.period, now)
            what = decide(found, slot, self.host, written(now), forced)
            tried = found.tried if found and found.slot == slot else []
            # Whoever comes first in the list has it, unless it failed.
            if what in ("made", "tried"):
                return what
            if what == "take" and (forced or tried or time.monotonic() - begin >= patience):
                if self._write(Turn(slot, self.host, "running", "", tried)):
                    return what
            else:
                time.sleep(POLL_SECONDS)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Say from time to time that this host is at it; afterwards, that it has made it, or that it failed."""
        ended = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(ended,), daemon=True)
        keeper.start()
        state = "failed"
        try:
            yield
            state = "made"
        finally:
            ended.set()
            keeper.join()
            with suppress(StoreError):  # what went wrong before is the error to tell; a turn that nobody ends runs out
                self._end(state)

    def require(self) -> None:
        """Raise StoreError when another host has taken over meanwhile, which this one was too slow for."""
        with self._lock:
            if self._turn is None or not self._write(self._turn):
                raise StoreError(
                    f"another webserver has taken over the {self.period} backup from {self.host}", "conflict"
                )

    def _keep(self, ended: threading.Event) -> None:
        while not ended.wait(TURN_SECONDS / 4):
            try:
                self.require()
            except StoreError as error:
                if error.kind == "conflict":
                    return  # require() says so again before anything is announced

    def _end(self, state: str) -> None:
        with self._lock:
            if self._turn is not None:
                tried = self._turn.tried + ([self.host] if state == "failed" else [])
                self._write(self._turn._replace(state=state, tried=tried))

    def _read(self) -> Turn | None:
        found = self._catalog.get(self._key)
        self._etag = found[1] if found else ""
        try:
            return Turn(**json.loads(found[0])) if found else None
        except (ValueError, TypeError):
            return None  # only a memory of what can be found out again

    def _write(self, turn: Turn) -> bool:
        """Whether nobody else has written since this host has read or written it."""
        until = written(self._clock.now() + datetime.timedelta(seconds=TURN_SECONDS))
        turn = turn._replace(until=until)
        body = json.dumps(turn._asdict(), indent=1).encode()
        try:
            self._etag = self._catalog.put(self._key, body, if_match=self._etag or None, if_none_match=not self._etag)
        except StoreError as error:
            if error.kind != "conflict":
                raise
            return False
        self._turn = turn
        return True
