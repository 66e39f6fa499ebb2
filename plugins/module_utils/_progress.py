# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of long work as a small object in the catalog: visible from anywhere, with no way back to the controller."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Callable

from ._catalog import Catalog, utc_now
from ._store import StoreError

FIRST_SECONDS = 8
EVERY_SECONDS = 5


def status_key(bucket: str) -> str:
    """Where the status of a bucket's sync lies in the catalog."""
    return f"status/{bucket}.json"


class Progress:
    """Writes ``look()`` every few seconds once the work takes long; short work leaves no trace."""

    def __init__(self, catalog: Catalog, bucket: str, look: Callable[[], dict[str, Any]]) -> None:
        self._catalog = catalog
        self._key = status_key(bucket)
        self._look = look
        self._started = time.monotonic()
        self._begun = utc_now()
        self._end = threading.Event()
        self._wrote = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def finish(self, state: str) -> None:
        """Write the last word, when there was a first one."""
        self._end.set()
        self._thread.join()
        if self._wrote:
            self._write(state)

    def _run(self) -> None:
        wait = FIRST_SECONDS
        while not self._end.wait(wait):
            self._write("running")
            wait = EVERY_SECONDS

    def _write(self, state: str) -> None:
        seconds = round(time.monotonic() - self._started, 1)
        record = {"state": state, "started": self._begun, "time": utc_now(), "seconds": seconds, **self._look()}
        try:
            self._catalog.put(self._key, json.dumps(record, sort_keys=True).encode())
            self._wrote = True
        except StoreError:
            pass  # progress is a courtesy; the work itself says what is wrong with the store
