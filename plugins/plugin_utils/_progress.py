# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a play's output says while a module works for long."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Optional

from ansible.module_utils.common.text.formatters import bytes_to_human


class Teller:
    """Reads a status every few seconds (``read`` gives its text, empty when there is none) and says what it means."""

    def __init__(self, read: Callable[[], str], say: Callable[[str], None], seconds: float) -> None:
        self._read, self._say, self._seconds = read, say, seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Teller:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join(self._seconds)

    def _run(self) -> None:
        while not self._end.wait(self._seconds):
            with suppress(Exception):  # a look that fails is tried again; the work itself tells what is wrong
                record = parse(self._read())
                if record and not self._end.is_set():
                    self._say(line(record))


def parse(text: str) -> Optional[dict[str, Any]]:
    """The status in what was read; None when there is none."""
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def line(record: dict[str, Any]) -> str:
    """Pure. A status in words: what is done, what is left, the rate, the time to go."""
    words = [f"{record['phase']}, {duration(record['seconds'])} until now"]
    if record["count"]:
        words.append(f"{record['count']:,} files ({bytes_to_human(record['bytes'])}) done")
    left, rate, about = record["left"], record["per_second"], "about " if record["estimated"] else ""
    if left:
        words.append(f"{about}{left['count']:,} ({bytes_to_human(left['bytes'])}) left")
    if rate["count"] or rate["bytes"]:
        words.append(f"{rate['count']:,} files/s, {bytes_to_human(rate['bytes'])}/s")
    if record["seconds_left"] is not None:
        words.append(f"about {duration(record['seconds_left'])} to go")
    return "; ".join(words)


def duration(seconds: float) -> str:
    """Pure. ``42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
