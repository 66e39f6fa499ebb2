# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The members of a source, checked as they come: who belongs, who is refused, what is missing."""

from __future__ import annotations

from ._backup import SourceError
from ._members import Member, Missing, Names, Refusal, Rules, admit
from ._tar import DIRECTORY, HARDLINK, Raw

REFUSALS_SHOWN = 20


class Survey:
    """Goes along with one pass over a source.

    ``directories`` and ``links`` are what can only be dealt with at its end.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._names = Names()
        self._missing = Missing(rules)
        self._found = not rules.root
        self.refused: list[Refusal] = []
        self._refused_bytes = 0
        self.directories: dict[str, Member] = {}
        self.links: list[Member] = []

    def take(self, raw: Raw) -> Member | None:
        """The file or symbolic link that an entry is; None for everything that isn't stored now, or never."""
        member = admit(raw, self._rules)
        if member is None:
            self._missing.outside(raw)
            return None
        if isinstance(member, Member):
            self._found = True
            member = self._names.clash(member) or member
        if isinstance(member, Refusal):
            self.refused.append(member)
            self._refused_bytes += raw.size
            return None
        if member.kind == DIRECTORY:
            self.directories[member.path] = member
            return None
        if member.kind == HARDLINK:
            self.links.append(member)
            return None
        return member

    def finish(self) -> None:
        """At the end of the pass. Raises SourceError when the directory is missing or members were refused."""
        targets = {link.path: link.target for link in self.links}
        for link in self.links:
            if not self._names.is_file(self.content_of(link, targets)):
                reason = f"is a hard link to {link.target!r}, which is no file of the asset directory in the backup"
                self.refused.append(Refusal(link.path, reason))
        if self.refused:
            shown = "; ".join(str(refusal) for refusal in self.refused[:REFUSALS_SHOWN])
            more = len(self.refused) - REFUSALS_SHOWN
            raise SourceError(
                f"has {len(self.refused)} member(s) that can't be stored: {shown}"
                + (f"; and {more} more" if more > 0 else ""),
                (len(self.refused), self._refused_bytes),
            )
        if not self._found:
            raise SourceError(self._missing.message())

    @staticmethod
    def content_of(link: Member, targets: dict[str, str]) -> str:
        """The path of the file whose content a hard link has; links may lead to links."""
        path = link.target
        for _step in range(len(targets)):
            if path not in targets:
                break
            path = targets[path]
        return path

    def linked(self) -> dict[str, list[Member]]:
        """The hard links by the path of the file whose content they have."""
        targets = {link.path: link.target for link in self.links}
        found: dict[str, list[Member]] = {}
        for link in self.links:
            found.setdefault(self.content_of(link, targets), []).append(link)
        return found

    def empty_directories(self) -> list[Member]:
        """The directories that only a marker can keep."""
        return [member for path, member in self.directories.items() if path and self._names.is_empty(member)]
