# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of reStructuredText, and the part of a guide that a program writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A list-table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [head, *rows]:
        lines += [f"   {'* -' if number == 0 else '  -'} {cell}" for number, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def write_between(guide: Path, command: str, text: str) -> None:
    """Replace what stands between the two marks of ``command`` in a guide."""
    begin, end = f".. what follows is written by {command}\n", f".. end of what {command} writes\n"
    before, found, rest = guide.read_text().partition(begin)
    if not found:
        raise ValueError(f"{guide} has no line {begin!r}")
    guide.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")
