# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup: its identity and its time, and how times are written so that they compare as text."""

from __future__ import annotations

import datetime
import re
from typing import Any, NamedTuple

_UTC = datetime.timezone.utc
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(\.\d{1,6})?\d*)?\s*(Z|z|[+-]\d\d:?\d\d)?")


class SourceError(Exception):
    """Something about the backup itself, in words for a user: which file or member, what is wrong, what to do.

    ``kind`` as modules return it. ``refused``: how many members can't be stored, and their bytes. ``summary``: what was
    done before.
    """

    kind = "source"
    summary: dict[str, Any] | None = None

    def __init__(self, message: str, refused: tuple[int, int] = (0, 0)) -> None:
        super().__init__(message)
        self.refused = refused


class Backup(NamedTuple):
    """``identity`` changes when the backup does; ``time`` is UTC as format_time() writes it, so later is greater."""

    identity: str
    time: str


def format_time(seconds: float) -> str:
    """Epoch seconds as 2026-01-31T23:59:59.000000Z; fixed width, so that texts compare as times do."""
    moment = datetime.datetime.fromtimestamp(seconds, _UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> str:
    """An ISO 8601 date or time in any zone (UTC when it names none) as format_time() writes it.

    Raises SourceError for anything else.
    """
    found = _ISO.fullmatch(text.strip())
    try:
        if not found:
            raise ValueError(text)
        day, clock, fraction, zone = found.groups()
        clock = clock or "00:00:00"
        clock = clock if clock.count(":") == 2 else clock + ":00"
        zone = "+00:00" if zone in (None, "Z", "z") else zone[:3] + ":" + zone[-2:]
        moment = datetime.datetime.fromisoformat(f"{day}T{clock}{(fraction or '.0').ljust(7, '0')}{zone}")
        return moment.astimezone(_UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (ValueError, OverflowError):
        raise SourceError(f"backup_time {text!r} isn't a time: write it like 2026-01-31T23:59:59Z")
