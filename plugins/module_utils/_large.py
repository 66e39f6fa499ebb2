# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Large members: sent in parts while they are read, and compared part by part with what the bucket has.

A member that is equal to the bucket's object is never sent, and none is ever held whole.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ._crew import Crew
from ._headers import Headers
from ._tar import Reader
from ._upload import Uploader, md5, multipart_etag, part_size


class Content(NamedTuple):
    """What was learnt by reading a whole large member: its digest (see Entry) and its parts' MD5s, joined."""

    digest: str
    parts: str


def content_of(parts: list[str]) -> Content:
    """The digest of a large member from the MD5s of its parts."""
    return Content(multipart_etag(parts), "".join(parts))


def split_parts(joined: str) -> list[str]:
    """The single MD5s of Entry.parts."""
    return [joined[at : at + 32] for at in range(0, len(joined), 32)]


def pieces(reader: Reader, size: int, start: int = 0, claim: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """The parts of a member whose first ``start`` bytes have been read; ``claim`` is asked before each is read."""
    step = part_size(size)
    while start < size:
        count = min(step, size - start)
        if claim is not None:
            claim(count)
        yield reader.read(count)
        start += count


class PartSender:
    """One multipart upload whose parts are sent by a crew. ``then(etags)`` runs when all of them are there."""

    def __init__(self, crew: Crew, uploader: Uploader, key: str, headers: Headers) -> None:
        self._crew, self.uploader, self.key = crew, uploader, key
        self.upload = uploader.begin(key, headers)
        self.digests: list[str] = []
        self._etags: dict[int, str] = {}
        self._lock = threading.Lock()
        self._open = 1
        self._then: Callable[[list[str]], None] = lambda etags: None

    def send(self, body: bytes, digest: str) -> None:
        """Give the next part to the crew; its bytes must have been claimed."""
        self.digests.append(digest)
        with self._lock:
            self._open += 1
        self._crew.give(self._send, len(self.digests), body, digest)

    def close(self, then: Callable[[list[str]], None]) -> None:
        """No more parts follow."""
        self._then = then
        self._one_less()

    def _send(self, number: int, body: bytes, digest: str) -> None:
        self._etags[number] = self.uploader.send_part(self.key, self.upload, number, body, digest)
        self._crew.free(len(body))
        self._one_less()

    def _one_less(self) -> None:
        with self._lock:
            self._open -= 1
            if self._open:
                return
        self._crew.give(self._then, [self._etags[number] for number in sorted(self._etags)])


class Difference(NamedTuple):
    """Where a member first differs from the bucket's object: the part with its MD5, and those before it."""

    before: list[str]
    body: bytes
    digest: str


def compare_parts(
    reader: Reader, size: int, equal: Callable[[int, int, str], bool], stop: bool
) -> Difference | tuple[bool, Content]:
    """Read a member and compare its parts: ``equal(number from 0, bytes, MD5)``.

    With ``stop``, ends at the first difference; else reads on, and returns whether all were equal, and the content.
    """
    digests: list[str] = []
    same = True
    for body in pieces(reader, size):
        digest = md5(body)
        if same and not equal(len(digests), len(body), digest):
            same = False
            if stop:
                return Difference(digests, body, digest)
        digests.append(digest)
    return same, content_of(digests)
