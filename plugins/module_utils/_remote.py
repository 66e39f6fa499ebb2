# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes of an object, in order, read by ranges ahead of need."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ._backup import SourceError
from ._store import Store, error_code, explain
from ._upload import MIB, TRIES, is_awkward, is_final

RANGE = 2 * MIB
AHEAD = 4
_CHANGED = frozenset({"412", "PreconditionFailed"})
_GONE = frozenset({"404", "NoSuchKey"})


class RemoteFile:
    """One version of an object: every request demands the ETag that was seen first."""

    def __init__(self, store: Store, bucket: str, key: str, etag: str, size: int) -> None:
        self._store = store
        self._bucket, self._key, self._etag, self._size = bucket, key, etag, size
        self._obstore: Any = None if is_awkward(key) else store.obstore(bucket)

    def pieces(self) -> Iterator[bytes]:
        """The whole object. A read that breaks is repeated; raises SourceError when the object changes meanwhile."""
        pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="fetch")
        waiting: deque[Future[bytes]] = deque()
        try:
            for start in range(0, self._size, RANGE):
                waiting.append(pool.submit(self._range, start, min(start + RANGE, self._size)))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _range(self, start: int, end: int) -> bytes:
        error: Exception = OSError("its answers are cut")
        for _attempt in self._store.tries(TRIES):
            try:
                body = self._get(start, end)
                if len(body) == end - start:
                    return body
            except Exception as caught:
                error = caught
                if error_code(caught) in _CHANGED | _GONE:
                    raise SourceError("was replaced or removed while it was read: run again")
                if is_final(caught):
                    break
        what = f"can't read the backup s3://{self._bucket}/{self._key}"
        raise explain(error, what, self._store.endpoint_url) from error

    def _get(self, start: int, end: int) -> bytes:
        if self._obstore is not None:
            options = {"if_match": f'"{self._etag}"', "range": (start, end)}
            return bytes(self._obstore.get(self._key, options=options).bytes())
        answer = self._store.client.get_object(
            Bucket=self._bucket, Key=self._key, IfMatch=f'"{self._etag}"', Range=f"bytes={start}-{end - 1}"
        )
        return answer["Body"].read()
