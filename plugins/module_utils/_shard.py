# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The share of an asset directory that one of several build machines copies."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from ._backup import SourceError
from ._shelf import Kind, Shelf

COUNT_MAX = 64
_Value = TypeVar("_Value")


class Shard(NamedTuple):
    """Share ``number`` (from 1) of ``total``. A key is in the same one on every host and in every version."""

    number: int
    total: int

    def has(self, key: str) -> bool:
        """Whether a key is in this share."""
        return self.total == 1 or zlib.crc32(key.encode("utf-8", "surrogatepass")) % self.total == self.number - 1

    def of(self, kind: Kind[_Value], found: Mapping[str, _Value]) -> Shelf[_Value]:
        """What is known by key, for the keys of this share."""
        return Shelf(kind, ((key, value) for key, value in found.items() if self.has(key)))

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


ALL = Shard(1, 1)


def parse_shard(text: str) -> Shard:
    """The share that ``2/3`` means; all of it when empty. Raises SourceError for anything else."""
    if not text:
        return ALL
    found = re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", text, re.ASCII)
    number, count = (int(part) for part in found.groups()) if found else (0, 0)
    if not 1 <= number <= count <= COUNT_MAX:
        raise SourceError(f"shard must be like 2/3, the second share of three (of {COUNT_MAX} at most), not {text!r}")
    return Shard(number, count)
