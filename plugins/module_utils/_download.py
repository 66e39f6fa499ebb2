# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects out of a bucket: whole ones, ranges, and their digests, always of the version that was listed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ._decide import Entry, is_ours
from ._large import content_of
from ._store import Listed, Store, error_code, explain
from ._upload import SMALL_MAX, TRIES, Raced, is_awkward, is_final, md5, part_size

_CHANGED = frozenset({"412", "PreconditionFailed", "404", "NoSuchKey"})


class Object(NamedTuple):
    """Bytes (of a whole object or a range) and the object's metadata, names without ``x-amz-meta-``."""

    body: bytes
    metadata: dict[str, str]


class Downloader:
    """Reads from one bucket; usable from many threads."""

    def __init__(self, store: Store, bucket: str) -> None:
        self._store = store
        self.bucket = bucket
        self._obstore = store.obstore(bucket)
        self.engine = "obstore" if self._obstore is not None else "boto3 (slow: install obstore on this host)"

    def get(self, listed: Listed, start: int = 0, end: int | None = None) -> Object:
        """An object, or bytes ``start`` to before ``end`` of it. Raises Raced when it isn't the listed one any more."""
        wanted = (listed.size if end is None else end) - start
        error: Exception = OSError("its answers are cut")
        for _attempt in self._store.tries(TRIES):
            try:
                found = self._get(listed, start, start + wanted)
                if len(found.body) == wanted:
                    return found
            except Exception as caught:
                if error_code(caught) in _CHANGED or isinstance(caught, FileNotFoundError):
                    raise Raced(None)
                error = caught
                if is_final(caught):
                    break
        raise explain(error, f"can't read {self.bucket}/{listed.key}", self._store.endpoint_url) from error

    def _get(self, listed: Listed, start: int, end: int) -> Object:
        whole = end - start == listed.size  # also of an empty object, which has no ranges
        etag = f'"{listed.etag}"'
        if self._obstore is not None and not is_awkward(listed.key):
            options: dict[str, Any] = {"if_match": etag}
            if not whole:
                options["range"] = (start, end)
            result = self._obstore.get(listed.key, options=options)
            metadata = {str(name).lower(): str(value) for name, value in result.attributes.items()}
            return Object(bytes(result.bytes()), metadata)
        extra = {} if whole else {"Range": f"bytes={start}-{end - 1}"}
        answer = self._store.client.get_object(Bucket=self.bucket, Key=listed.key, IfMatch=etag, **extra)
        return Object(answer["Body"].read(), {name.lower(): value for name, value in answer["Metadata"].items()})

    def tells_md5(self, listed: Listed) -> bool:
        """Whether the store's ETag of an object is made of MD5s; under SSE-KMS and SSE-C it isn't."""
        with self._store.errors(f"can't look at {self.bucket}/{listed.key}"):
            answer = self._store.client.head_object(Bucket=self.bucket, Key=listed.key)
        return "kms" not in answer.get("ServerSideEncryption", "") and "SSECustomerAlgorithm" not in answer

    def list(self, key: str) -> Iterator[Listed]:
        """The objects whose keys begin with ``key``."""
        return self._store.list(self.bucket, key)

    def digest(self, listed: Listed) -> str:
        """The digest (see Entry) of what an object really holds, by reading it."""
        if listed.size <= SMALL_MAX:
            return md5(self.get(listed).body)
        step = part_size(listed.size)
        ends = [min(start + step, listed.size) for start in range(0, listed.size, step)]
        return content_of([md5(self.get(listed, end - ((end - 1) % step + 1), end).body) for end in ends]).digest


def known_digest(listed: Listed, known: Entry | None) -> str:
    """The digest of an object by its ETag and the manifest; empty when only reading it would tell."""
    if known is not None and is_ours(listed.etag, known):
        return known.digest
    if listed.size <= SMALL_MAX:
        return "" if "-" in listed.etag else listed.etag
    count = -(-listed.size // part_size(listed.size))
    return listed.etag if listed.etag.endswith(f"-{count}") else ""
