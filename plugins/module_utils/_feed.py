# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All members of a source, one after the other, to whoever takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ._directory import NOTHING
from ._members import Member, Rules
from ._progress import Amount, Count, Work
from ._source import Source, naming
from ._survey import Survey
from ._tar import SYMLINK, Reader
from ._upload import SMALL_MAX


class Taker(Protocol):
    """Takes members; their content is read before take() returns."""

    def take(self, member: Member, reader: Reader) -> None:
        """One file, symbolic link, hard link as a file, or directory marker."""


def check_first(source: Source, rules: Rules, found: Callable[[Member], None] = lambda member: None) -> None:
    """Find what can't be stored before anything is done, where the source can be read twice. Raises SourceError.

    ``found`` is told of each member, of a hard link without its size.
    """
    if source.two_passes:
        with naming(source.name):
            survey = Survey(rules)
            for raw, _reader in source.entries(read=False):
                member = survey.take(raw)
                if member is not None:
                    found(member)
            survey.finish()
            for member in (*survey.links, *survey.empty_directories()):
                found(member)


def look_through(source: Source, rules: Rules, work: Work, has: Callable[[str], bool] = lambda key: True) -> None:
    """check_first(), and how much there is of the keys that are wanted, where the source can be read twice."""
    count = Count()

    def found(member: Member) -> None:
        if has(member.key):
            count.add(member.size)

    work.go_on("looking through the backup", count.amount)
    check_first(source, rules, found)
    work.whole = lambda: count.amount() if source.two_passes else None


def count_on(source: Source, work: Work, phase: str, done: Callable[[], Amount]) -> None:
    """After look_through(): from here on members are done one by one."""

    def guess() -> Amount | None:
        part = source.part_read()
        return Amount(*(round(number / part) for number in done())) if part else None

    work.done, work.phase = done, phase
    if not source.two_passes:
        work.whole, work.estimated = guess, True


def feed(source: Source, rules: Rules, taker: Taker) -> Survey:
    """Give every member to a taker. What is wrong with the source raises SourceError, at its end at latest."""
    survey = Survey(rules)
    with naming(source.name):
        for raw, reader in source.entries():
            member = survey.take(raw)
            if member is not None:
                taker.take(member, _Text(member.target.encode()) if member.kind == SYMLINK else reader)
        survey.finish()
        _feed_links(source, rules, survey, taker)
    for marker in survey.empty_directories():
        taker.take(marker, NOTHING)
    return survey


class _Text:
    """Bytes as content."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def read(self, count: int) -> bytes:
        return self._body


def _feed_links(source: Source, rules: Rules, survey: Survey, taker: Taker) -> None:
    """Hard links are copies of a content that has passed by: read the source again for those that it has."""
    waiting = survey.linked()
    while waiting:
        again = Survey(rules)
        for raw, reader in source.entries():
            member = again.take(raw)
            links = waiting.get(member.path, []) if member is not None else []
            if member is None or not links:
                continue
            if member.size <= SMALL_MAX:
                body = reader.read(member.size)
                for link in links:
                    taker.take(link._replace(size=member.size), _Text(body))
                links.clear()
            else:
                taker.take(links.pop()._replace(size=member.size), reader)
        waiting = {path: links for path, links in waiting.items() if links}
