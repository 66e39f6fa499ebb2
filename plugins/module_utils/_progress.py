# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far long work is, for those who wait for it: as a status in the catalog, and as a file on the host."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, NamedTuple, Protocol

from ._catalog import Catalog, utc_now
from ._shard import ALL, Shard
from ._store import StoreError

FIRST_SECONDS = 8.0
EVERY_SECONDS = 5.0
FILE_SECONDS = 1.0
# The rate is that of the last so many looks.
LOOKS = 20


class Amount(NamedTuple):
    """Files, and their bytes. No files but bytes: only those can be counted."""

    files: int
    bytes: int

    def record(self) -> dict[str, int]:
        """As summaries have it."""
        return {"count": self.files, "bytes": self.bytes}


class Count:
    """Files and bytes that are done one by one, by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._amount = Amount(0, 0)

    def add(self, size: int) -> None:
        """One more file, of so many bytes."""
        with self._lock:
            self._amount = Amount(self._amount.files + 1, self._amount.bytes + size)

    def amount(self) -> Amount:
        """All until now."""
        return self._amount


class Io(NamedTuple):
    """Bytes that a process has read and written, from and to wherever."""

    read: int
    written: int


def io_of(pid: int) -> Io:
    """What a process of this host has read and written until now; nothing when it's gone."""
    try:
        text = Path(f"/proc/{pid}/io").read_text(encoding="ascii")
    except OSError:
        return Io(0, 0)
    values = dict(line.split(": ") for line in text.splitlines())
    return Io(int(values["rchar"]), int(values["wchar"]))


def io_of_all(pid: int) -> Io:
    """The same of a process with its children, and theirs."""
    found = io_of(pid)
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return found
    for child in map(io_of_all, map(int, children)):
        found = Io(found.read + child.read, found.written + child.written)
    return found


class Work:
    """How far a run is: the run sets it, a Progress reads it.

    ``whole`` is what there is to do in all, None while that isn't known; ``estimated`` when it is only a guess.
    """

    def __init__(self) -> None:
        self.phase = "listing"
        self.done: Callable[[], Amount] = lambda: Amount(0, 0)
        self.whole: Callable[[], Amount | None] = lambda: None
        self.estimated = False

    def go_on(
        self,
        phase: str,
        done: Callable[[], Amount] = lambda: Amount(0, 0),
        whole: Amount | None = None,
        estimated: bool = False,
    ) -> None:
        """Another phase, with all that is known of it."""
        self.done, self.whole, self.estimated = done, lambda: whole, estimated
        self.phase = phase


class Place(Protocol):
    """Where progress is told: ``first`` and then ``every`` so many seconds."""

    first: float
    every: float

    def write(self, record: dict[str, Any]) -> None:
        """Tell how far it is."""

    def end(self, record: dict[str, Any]) -> None:
        """Tell how it ended; only after write()."""


def status_key(bucket: str, shard: Shard = ALL) -> str:
    """Where the status of a bucket's sync lies in the catalog."""
    return f"status/{bucket}.json" if shard == ALL else f"{shares_prefix(bucket)}{shard.number}-{shard.total}.json"


def shares_prefix(bucket: str) -> str:
    """Where the statuses of those lie that copy shares of a bucket."""
    return f"status/{bucket}/"


class Status:
    """A status object in the catalog."""

    def __init__(self, catalog: Catalog, bucket: str, shard: Shard = ALL) -> None:
        self.first, self.every = FIRST_SECONDS, EVERY_SECONDS
        self._catalog = catalog
        self._key = status_key(bucket, shard)

    def write(self, record: dict[str, Any]) -> None:
        """See Place."""
        with suppress(StoreError):  # progress is a courtesy; the work itself says what is wrong with the store
            self._catalog.put(self._key, json.dumps(record, sort_keys=True).encode())

    end = write


class StatusFile:
    """A file on this host, that is there only while the work goes on."""

    def __init__(self, path: str) -> None:
        self.first = self.every = FILE_SECONDS
        self._path = path

    def write(self, record: dict[str, Any]) -> None:
        """See Place."""
        part = f"{self._path}.part"
        with suppress(OSError):
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(record, file)
            os.replace(part, self._path)

    def end(self, _record: dict[str, Any]) -> None:
        """See Place."""
        self.remove()

    def remove(self) -> None:
        """Also what was left when its writer was killed."""
        for path in (self._path, f"{self._path}.part"):
            with suppress(OSError):
                os.unlink(path)


class Progress:
    """Tells of work in one place every few seconds; short work leaves no trace."""

    def __init__(self, work: Work, place: Place) -> None:
        self._work = work
        self._place = place
        self._started = time.monotonic()
        self._begun = utc_now()
        self._looks: deque[tuple[float, Amount]] = deque(maxlen=LOOKS)
        self._phase = ""
        self._end = threading.Event()
        self._wrote = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def finish(self, state: str) -> None:
        """Tell the last word, when there was a first one."""
        self._end.set()
        self._thread.join()
        if self._wrote:
            self._place.end(self._record(state))

    def _run(self) -> None:
        wait = self._place.first
        while not self._end.wait(wait):
            self._place.write(self._record("running"))
            self._wrote = True
            wait = self._place.every

    def _record(self, state: str) -> dict[str, Any]:
        work, now = self._work, time.monotonic()
        phase, done, whole = work.phase, work.done(), work.whole()
        if phase != self._phase:
            self._phase = phase
            self._looks.clear()
        self._looks.append((now, done))
        record = {
            "state": state,
            "started": self._begun,
            "time": utc_now(),
            "seconds": round(now - self._started, 1),
            "phase": phase,
            **done.record(),
        }
        return {**record, **outlook(done, whole, self._looks[0], now), "estimated": bool(whole and work.estimated)}


def outlook(done: Amount, whole: Amount | None, before: tuple[float, Amount], now: float) -> dict[str, Any]:
    """Pure. What is left, the rates per second since ``before`` (a time with what was done then), the seconds to go.

    What isn't known is None.
    """
    seconds = max(now - before[0], 0.001)
    rates = Amount(*(round((new - old) / seconds) for new, old in zip(done, before[1])))
    left = Amount(*(max(0, there - new) for there, new in zip(whole, done))) if whole else None
    waits = [rest / rate for rest, rate in zip(left or (), rates) if rate]
    return {
        "left": left.record() if left else None,
        "per_second": rates.record(),
        "seconds_left": round(max(waits)) if waits else None,
    }


def on_file(work: Work, path: str) -> list[Progress]:
    """For told(): in a file of this host, where one is named."""
    return [Progress(work, StatusFile(path))] if path else []


@contextmanager
def told(progresses: Collection[Progress]) -> Iterator[None]:
    """Tell of the work in the block while it goes on, and how it ended."""
    for progress in progresses:
        progress.start()
    state = "failed"
    try:
        yield
        state = "done"
    finally:
        for progress in progresses:
            progress.finish(state)
