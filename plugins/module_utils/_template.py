# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a site's template without ever running it: bytes in, assignments and problems with their lines out. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Optional

MAX_BYTES = 1024 * 1024

_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_ANOTHER = re.compile(r"(?:^|[\s;&|])([A-Za-z_][A-Za-z0-9_]*)=")
_QUOTED = {
    '"': re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL),
    "'": re.compile(r"'([^']*)'"),
}
_CLOSING = {'"': re.compile(r'[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL), "'": re.compile(r"[^']*'")}
_REST = re.compile(r"[ \t]*(?:#.*)?", re.DOTALL)
_PLACEHOLDER = re.compile(r"#{3,}|customi[sz]e[\s_-]*me\b", re.IGNORECASE)
_DYNAMIC = re.compile(r"\\.|([$`])", re.DOTALL)

_QUOTE_IT = 'write the value in quotes: {key}="…"'


@dataclass(frozen=True)
class Problem:
    """Something the user has to change: where, what is wrong, what to write instead. Never holds a secret."""

    key: Optional[str]
    message: str
    fix: str
    line: Optional[int] = None
    file: Optional[str] = None

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        if self.file is None:
            return f"option {(self.key or '').lower()}: {self.message}; {self.fix}"
        return ": ".join(part for part in (where, self.key, f"{self.message}; {self.fix}") if part)

    def as_dict(self) -> dict[str, Any]:
        """For a module's result."""
        return {"file": self.file, "line": self.line, "key": self.key, "message": self.message, "fix": self.fix}


@dataclass(frozen=True)
class Assignment:
    """One ``KEY=value``. ``value`` is None when it can't be used; ``flaw`` then says why and ``fix`` what to write."""

    key: str
    line: Optional[int]
    value: Optional[str] = field(repr=False)
    flaw: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Template:
    """All assignments of a file in their order. A flaw matters only in a key that somebody needs."""

    file: Optional[str]
    assignments: tuple[Assignment, ...]
    problems: tuple[Problem, ...] = ()

    def of(self, key: str) -> list[Assignment]:
        """The assignments of one key."""
        return [a for a in self.assignments if a.key == key]

    def line(self, key: str) -> Optional[int]:
        """The last line that sets a key."""
        return next((a.line for a in reversed(self.of(key))), None)

    def value(self, key: str) -> tuple[str, list[Problem]]:
        """The value of a key, empty when it is absent or can't be used, and why it can't."""
        given = self.of(key)
        good = [a for a in given if a.value is not None]
        problems = [Problem(key, a.flaw, a.fix, a.line, self.file) for a in given if a.value is None]
        if len({a.value for a in good}) > 1:
            message = f"has different values on lines {', '.join(str(a.line) for a in good)}"
            problems.append(Problem(key, message, "keep one of them", good[-1].line, self.file))
        return ("" if problems or not good else good[0].value or ""), problems


def parse_template(data: bytes, file: str) -> Template:
    """Parse a template. Never raises; nothing in it is executed or expanded.

    Only plain assignments on a line of their own count (with or without ``export``, indented or not); whatever else a
    script has around them is passed over, without an attempt to understand it.
    """
    if len(data) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES // 1024} KiB: this is no template"
        return Template(file, (), (Problem(None, message, "name the site's template", None, file),))
    # Bytes that are not UTF-8 become lone surrogates, so that their lines can still be told from the good ones.
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    lines[0] = lines[0].lstrip("\ufeff")
    lines = [line[:-1] if line.endswith("\r") else line for line in lines]
    return Template(file, tuple(_assignments(lines)), tuple(_unreadable(lines, file)))


def template_from_values(values: dict[str, Any]) -> Template:
    """What a parsed file is, for settings that are plain variables: text, booleans, numbers, lists of directories."""
    return Template(None, tuple(_plain_assignment(key, value) for key, value in values.items()))


def _plain_assignment(key: str, value: Any) -> Assignment:
    if isinstance(value, bool):
        return Assignment(key, None, str(int(value)))
    if isinstance(value, (list, tuple)):
        texts = [str(item) for item in value]
        if any(":" in text for text in texts):
            return Assignment(
                key, None, None, "has an item with a ':' in it", "give every directory an item of its own"
            )
        return Assignment(key, None, ":".join(texts))
    return Assignment(key, None, "" if value is None else str(value))


def _unreadable(lines: list[str], file: str) -> list[Problem]:
    """One problem for the first line with a NUL, one for the first that is not UTF-8."""
    found = []
    for what, fix, broken in (
        ("has a NUL byte in it", "remove it, or save the file as UTF-8 text", _has_nul),
        ("is not UTF-8 text", "save the file as UTF-8", _not_utf8),
    ):
        line = next((number for number, text in enumerate(lines, 1) if broken(text)), None)
        if line is not None:
            found.append(Problem(None, f"this line {what}", fix, line, file))
    return found


def _has_nul(text: str) -> bool:
    return "\0" in text


def _not_utf8(text: str) -> bool:
    return not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text)


def _assignments(lines: list[str]) -> list[Assignment]:
    found: list[Assignment] = []
    number = 0
    while number < len(lines):
        match = _ASSIGNMENT.fullmatch(lines[number])
        number += 1
        if not match:
            continue
        key, rest = match.groups()
        if rest[:1] in _QUOTED and not _QUOTED[rest[0]].match(rest):
            closing = _closing_line(lines, number, rest[0])
            found.append(_unclosed(key, number, closing))
            found += _swallowed(lines, key, number, closing)
            number = closing
        else:
            found += _assignment(key, number, rest)
    return found


def _closing_line(lines: list[str], number: int, quote: str) -> int:
    """The number of the line that closes the quote opened in line ``number``; that line's own if none does."""
    for later in range(number, len(lines)):
        if _CLOSING[quote].match(lines[later]):
            return later + 1
    return number


def _unclosed(key: str, number: int, closing: int) -> Assignment:
    flaw = "the value's quote is not closed" + (" on its line" if closing > number else "")
    return Assignment(key, number, None, flaw, "close the quote at the end of the value, on the same line")


def _swallowed(lines: list[str], key: str, first: int, last: int) -> list[Assignment]:
    """Assignments in the middle of another's quoted value: a shell takes them for text, a reader for settings."""
    found = []
    for number in range(first + 1, last + 1):
        match = _ASSIGNMENT.fullmatch(lines[number - 1])
        if match:
            flaw = f"this line lies inside the quoted value of {key} that begins on line {first}"
            found.append(Assignment(match.group(1), number, None, flaw, f"close the quote on line {first}"))
    return found


def _assignment(key: str, number: int, rest: str) -> list[Assignment]:
    """The assignment at the start of a line, and a flawed one for every further one in the same line."""
    value, flaw, fix, tail = _read(rest)
    if _PLACEHOLDER.search(value):
        flaw, fix = "still has its placeholder", 'write the real value: {key}="…"'
    elif _has_nul(rest) or _not_utf8(rest):
        flaw, fix = "has bytes in it that are not UTF-8 text", "save the file as UTF-8"
    first = Assignment(key, number, None if flaw else value, flaw, fix.format(key=key))
    others = _ANOTHER.findall(tail) if flaw else []
    alone = "is set on the same line as something else", "give it a line of its own"
    return [first, *(Assignment(other, number, None, *alone) for other in others)]


def _read(rest: str) -> tuple[str, str, str, str]:
    """(value, flaw, fix, what follows) of the text behind ``KEY=``, whose quotes are known to be closed."""
    flaw = fix = ""
    quoted = _QUOTED[rest[0]].match(rest) if rest[:1] in _QUOTED else None
    if quoted:
        quote, value, end = rest[0], quoted.group(1), quoted.end()
    else:
        end = next((place for place, char in enumerate(rest) if char.isspace() or char in ";&|<>()"), len(rest))
        quote, value = "", rest[:end]
    tail = rest[end:]
    if quote != "'" and any(match.group(1) for match in _DYNAMIC.finditer(value)):
        flaw, fix = (
            "would be put together by a shell ($ or a backtick), and nothing is executed here",
            "write the value itself (a $ that belongs to it: in single quotes)",
        )
    elif not quote and re.search(r"[\"'\\~]|^#", value):
        flaw, fix = "has characters that a shell would change", _QUOTE_IT
    elif not _REST.fullmatch(tail):
        flaw, fix = "is followed by something else on its line", "put the whole value in quotes and remove the rest"
    if quote == '"':
        value = re.sub(r'\\([$`"\\])', r"\1", value)
    return value, flaw, fix, tail
