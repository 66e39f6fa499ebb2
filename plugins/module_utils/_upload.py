# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects into a bucket, each confirmed by its digest, and only where the bucket is as it was when we decided.

obstore carries what it carries faithfully; boto3 the awkward keys and large members. Every answer that leaves the
outcome open is settled by asking the store what it holds.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ._headers import DEFAULT_TYPE, Headers
from ._store import RETRYABLE_CODES, Listed, Store, error_code, explain

MIB = 1024 * 1024
SMALL_MAX = 16 * MIB
PART_SIZE = 8 * MIB
PARTS_MAX = 10000
# CopyObject ends at 5 GB; what the store has to answer at once should take it seconds.
COPY_MAX = 512 * MIB
COPY_PART = 256 * MIB
# What an object carries besides its bytes: boto3's names in the answer to HEAD, and in a request to write.
CARRIED = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Metadata")
# With the pauses between them about a minute, which is longer than most stores are away.
TRIES = 16
LOOKS = 8
# obstore strips slashes at the ends of a key, and refuses the rest.
_AWKWARD = re.compile(r"^/|/$|//|(^|/)\.\.?(/|$)|[\x00-\x1f\x7f]")
_CONFLICTS = frozenset({"412", "409", "PreconditionFailed", "ConditionalRequestConflict"})
_GONE = frozenset({"404", "NoSuchKey"})
_FINAL = frozenset(
    {
        "400",
        "401",
        "403",
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "ExpiredToken",
        "NoSuchBucket",
        "KeyTooLongError",
        "InvalidRequest",
        "InvalidArgument",
        "ExistingObjectIsFile",
        "ExistingObjectIsDirectory",
        "EntityTooLarge",
        "NotImplemented",
        "501",
        "QuotaExceeded",
    }
)


def is_final(error: BaseException) -> bool:
    """Whether another try is useless: what is refused stays so, and boto3 asks an overloaded store often enough."""
    code = error_code(error)
    by_boto3 = isinstance(getattr(error, "response", None), dict)
    return code in _FINAL or (by_boto3 and (code in RETRYABLE_CODES or (code.isdigit() and int(code) >= 500)))


class Raced(Exception):
    """Someone else has written or removed the key since we decided. ``there``: the ETag now, None when it is gone."""

    def __init__(self, there: str | None) -> None:
        super().__init__(there)
        self.there = there


def md5(data: bytes) -> str:
    """Hex MD5, which is what S3 answers as the ETag of a single put."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def content_md5(digest: str) -> str:
    """The header Content-MD5 for a body of this hex MD5: the store refuses another one."""
    return base64.b64encode(bytes.fromhex(digest)).decode()


def is_awkward(key: str) -> bool:
    """Whether obstore would rename or refuse a key."""
    return _AWKWARD.search(key) is not None


def part_size(size: int, least: int = PART_SIZE) -> int:
    """How large the parts of a member are: fixed, so that the ETag can be computed; more only beyond 10,000 parts."""
    return max(least, -(-size // (PARTS_MAX * MIB)) * MIB)


def multipart_etag(digests: Sequence[str]) -> str:
    """The ETag of a multipart object from the MD5s of its parts."""
    joined = b"".join(bytes.fromhex(digest) for digest in digests)
    return f"{md5(joined)}-{len(digests)}"


class Uploader:
    """Writes into one bucket; usable from many threads.

    ``conditional``: the store honours If-Match and If-None-Match. ``engine`` names the client that carries the data.
    ``looks``: where the store can't keep two runs apart, look at a key just before it is written.
    """

    def __init__(self, store: Store, bucket: str, conditional: bool, looks: bool = False) -> None:
        self._store = store
        self._client = store.client
        self.bucket = bucket
        self._obstore = store.obstore(bucket)
        self.conditional = conditional and self._knows_conditions()
        self._looks = looks and not self.conditional
        self.engine = self._engine()

    def _engine(self) -> str:
        if self._obstore is None:
            import boto3

            return f"boto3 {boto3.__version__} (slow: install obstore on this host)"
        import obstore

        return f"obstore {obstore.__version__}"

    def _knows_conditions(self) -> bool:
        """Older botocore can't ask for conditions."""
        model = self._client.meta.service_model
        operations = ("PutObject", "CompleteMultipartUpload")
        return all("IfMatch" in model.operation_model(name).input_shape.members for name in operations)

    def head(self, key: str) -> dict[str, Any] | None:
        """boto3's answer to HEAD, None when there is no such object."""
        try:
            return self._client.head_object(Bucket=self.bucket, Key=key)
        except Exception as error:
            if error_code(error) in _GONE:
                return None
            raise explain(error, f"can't look at {self.bucket}/{key}", self._store.endpoint_url) from error

    def etag(self, key: str, expected: Collection[str | None] | None = None) -> str | None:
        """The ETag that a key has now, None when there is no such object.

        Any other than those ``expected`` would be someone else's, who is given way to: two answers must agree on it.
        """
        found = self._etag(key)
        for _look in range(LOOKS):
            if expected is None or found in expected:
                break
            before, found = found, self._etag(key)
            if found == before:
                break
        return found

    def _etag(self, key: str) -> str | None:
        answer = self.head(key)
        return answer["ETag"].strip('"') if answer else None

    def put(self, key: str, body: bytes, digest: str, headers: Headers, replaces: str | None) -> str:
        """Write one object and return its ETag.

        ``replaces``: the ETag that the key must have now, None when there must be no object. Raises Raced when that
        isn't so (as far as the store can tell), StoreError when it can't be written.
        """
        what = f"can't write {self.bucket}/{key}"
        self._look(key, replaces, digest)
        for attempt in self._store.tries(TRIES, len(body)):
            try:
                etag = self._send(key, body, headers, replaces)
            except Exception as error:
                last = is_final(error) or attempt + 1 == TRIES
                # Another try of what has succeeded meets its own object, and then we look.
                unclear = last or error_code(error) in _CONFLICTS | _GONE
                if unclear and self._landed(key, digest, replaces, error):
                    return digest
                if last:
                    raise explain(error, what, self._store.endpoint_url) from error
            else:
                held = etag if etag == digest else self._held(key, digest, len(body))
                if held:
                    return held
                if attempt + 1 == TRIES:
                    raise explain(
                        OSError("the store holds other bytes than were sent: its disk or the network damages data"),
                        what,
                        self._store.endpoint_url,
                    )
                replaces = etag
        raise AssertionError("unreachable")

    def _look(self, key: str, replaces: str | None, digest: str) -> None:
        there = self.etag(key, (replaces, digest)) if self._looks else replaces
        if there not in (replaces, digest):
            raise Raced(there)

    def _landed(self, key: str, etag: str, replaces: str | None, error: Exception) -> bool:
        """Whether a write that failed has succeeded all the same. Raises Raced when someone else was first.

        A store may commit and then lose the answer; the retry then meets our own object.
        """
        code = error_code(error)
        if code in _FINAL:
            return False
        there = self.etag(key, (etag, replaces))
        if there == etag:
            return True
        if there != replaces and (code in _CONFLICTS or code in _GONE):
            raise Raced(there)
        return False

    def _held(self, key: str, digest: str, size: int) -> str:
        """After an answer with a strange ETag: the ETag of our bytes where the store holds them all the same, or "".

        Under SSE-KMS and SSE-C an ETag is no MD5; then the size has to do, and the checksum that went with the put.
        """
        answer = self.head(key)
        if answer is None or answer["ContentLength"] != size:
            return ""
        opaque = "kms" in answer.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in answer
        etag: str = answer["ETag"].strip('"')
        return etag if opaque or etag == digest else ""

    def _condition(self, replaces: str | None) -> dict[str, str]:
        if not self.conditional:
            return {}
        return {"IfMatch": f'"{replaces}"'} if replaces else {"IfNoneMatch": "*"}

    def _send(self, key: str, body: bytes, headers: Headers, replaces: str | None) -> str:
        if self._obstore is None or is_awkward(key) or len(body) > SMALL_MAX:
            answer = self._client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=body,
                ContentMD5=content_md5(md5(body)),
                ContentType=headers.content_type,
                Metadata=headers.metadata,
                **self._condition(replaces),
            )
            return answer["ETag"].strip('"')
        mode: Any = "overwrite"
        if self.conditional:
            mode = {"e_tag": f'"{replaces}"'} if replaces else "create"
        attributes = {"Content-Type": headers.content_type, **headers.metadata}
        result = self._obstore.put(key, body, attributes=attributes, mode=mode, use_multipart=False)
        return (result["e_tag"] or "").strip('"')

    # large members

    def begin(self, key: str, headers: Headers) -> str:
        """Start a multipart upload; returns its id."""
        with self._store.errors(f"can't write {self.bucket}/{key}"):
            answer = self._client.create_multipart_upload(
                Bucket=self.bucket, Key=key, ContentType=headers.content_type, Metadata=headers.metadata
            )
        return answer["UploadId"]

    def send_part(self, key: str, upload: str, number: int, body: bytes, digest: str) -> str:
        """Send part ``number`` (from 1) and return its ETag; raises StoreError."""
        what = f"can't write {self.bucket}/{key} (part {number})"
        error: Exception = OSError("the store holds other bytes than were sent: its disk or the network damages data")
        for _attempt in self._store.tries(TRIES, len(body)):
            try:
                answer = self._client.upload_part(
                    Bucket=self.bucket,
                    Key=key,
                    UploadId=upload,
                    PartNumber=number,
                    Body=io.BytesIO(body),  # botocore copies plain bytes once more
                    ContentMD5=content_md5(digest),
                )
                etag = answer["ETag"].strip('"')
                if etag == digest or "kms" in answer.get("ServerSideEncryption", ""):
                    return etag
            except Exception as caught:
                error = caught
                if is_final(caught):
                    break
        raise explain(error, what, self._store.endpoint_url) from error

    def finish(self, key: str, upload: str, etags: Sequence[str], replaces: str | None) -> str:
        """Complete a multipart upload and return its ETag; Raced and StoreError as in put()."""
        expected = multipart_etag(etags)
        self._look(key, replaces, expected)
        parts = [{"PartNumber": at, "ETag": f'"{etag}"'} for at, etag in enumerate(etags, 1)]
        for attempt in self._store.tries(TRIES):
            try:
                answer = self._client.complete_multipart_upload(
                    Bucket=self.bucket,
                    Key=key,
                    UploadId=upload,
                    MultipartUpload={"Parts": parts},
                    **self._condition(replaces),
                )
                etag = answer.get("ETag", "").strip('"')
                if etag == expected or self.etag(key) == expected:
                    return expected
                if "kms" in answer.get("ServerSideEncryption", ""):
                    return etag
                raise OSError(f"the store holds {etag}, not {expected}: its disk or the network damages data")
            except Exception as error:
                if self._landed(key, expected, replaces, error):
                    return expected
                useless = is_final(error) or error_code(error) == "NoSuchUpload" or isinstance(error, OSError)
                if useless or attempt + 1 == TRIES:
                    raise explain(error, f"can't write {self.bucket}/{key}", self._store.endpoint_url) from error
        raise AssertionError("unreachable")

    def abort(self, key: str, upload: str) -> None:
        """Throw away the parts of an upload that won't be completed; best effort."""
        with contextlib.suppress(Exception):  # what led here is the error to tell
            self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)

    # objects that are there already

    def read(self, key: str, etag: str, start: int, size: int) -> bytes:
        """Bytes of an object that must still have this ETag; raises Raced when it has another."""
        extra = {"Range": f"bytes={start}-{start + size - 1}"} if size else {}
        for _attempt in self._store.tries(TRIES):
            try:
                answer = self._client.get_object(Bucket=self.bucket, Key=key, IfMatch=f'"{etag}"', **extra)
                body = answer["Body"].read()
                if len(body) == size:
                    return body
                error: Exception = OSError("the answer was cut")
            except Exception as caught:
                if error_code(caught) in _CONFLICTS | _GONE:
                    raise Raced(self.etag(key))
                error = caught
                if is_final(caught):
                    break
        raise explain(error, f"can't read {self.bucket}/{key}", self._store.endpoint_url) from error

    def copy(self, listed: Listed, to: Uploader, to_key: str) -> str:
        """Copy an object into another bucket, and return its ETag there. The store does it: no content comes here.

        Raises Raced when the object isn't the listed one any more, StoreError when it can't be copied.
        """
        if listed.key.endswith("/") and not listed.size:  # SeaweedFS can't copy markers
            carried = self.carried(listed)
            headers = Headers(carried.get("ContentType", DEFAULT_TYPE), carried["Metadata"])
            return to.put(to_key, b"", md5(b""), headers, to.etag(to_key))
        if listed.size > COPY_MAX:
            return self._copy_parts(listed, to, to_key)
        answer = self._copying(self._client.copy_object, listed, listed.size, Bucket=to.bucket, Key=to_key)
        return answer["CopyObjectResult"]["ETag"].strip('"')

    def _copying(self, call: Callable[..., Any], listed: Listed, size: int, **arguments: Any) -> Any:
        """boto3's answer to a copy of ``size`` bytes of an object, which may take several tries."""
        source = {"Bucket": self.bucket, "Key": listed.key}
        for attempt in self._store.tries(TRIES, size):
            try:
                return call(CopySource=source, CopySourceIfMatch=f'"{listed.etag}"', **arguments)
            except Exception as error:
                if error_code(error) in _CONFLICTS | _GONE:
                    there = self.etag(listed.key, (listed.etag,))
                    if there != listed.etag:
                        raise Raced(there)
                if is_final(error) or attempt + 1 == TRIES:
                    what = f"can't copy {self.bucket}/{listed.key} to {arguments['Bucket']}"
                    raise explain(error, what, self._store.endpoint_url) from error
        raise AssertionError("unreachable")

    def carried(self, listed: Listed) -> dict[str, Any]:
        """What an object has besides its bytes (see CARRIED); raises Raced when it isn't the listed one any more."""
        answer = self.head(listed.key)
        there = answer["ETag"].strip('"') if answer else None
        if answer is None or there != listed.etag:
            raise Raced(there)
        return {name: answer[name] for name in CARRIED if name in answer}

    def _copy_parts(self, listed: Listed, to: Uploader, to_key: str) -> str:
        carried, before, step = self.carried(listed), to.etag(to_key), part_size(listed.size, COPY_PART)
        target = {"Bucket": to.bucket, "Key": to_key}
        with self._store.errors(f"can't write {to.bucket}/{to_key}"):
            target["UploadId"] = self._client.create_multipart_upload(**target, **carried)["UploadId"]
        parts = []
        try:
            for number, start in enumerate(range(0, listed.size, step), 1):
                end = min(start + step, listed.size)
                what = {**target, "PartNumber": number, "CopySourceRange": f"bytes={start}-{end - 1}"}
                answer = self._copying(self._client.upload_part_copy, listed, end - start, **what)
                parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
            return to.close_copy(target, parts, listed.size, before)
        except BaseException:
            to.abort(to_key, target["UploadId"])
            raise

    def close_copy(self, target: dict[str, str], parts: list[dict[str, Any]], size: int, before: str | None) -> str:
        """Complete a copy in parts and return its ETag, which only the store can tell. ``before``: the key's last."""
        key = target["Key"]
        error: Exception = OSError("the store holds another object than was copied")
        for _attempt in self._store.tries(TRIES):
            closed = False
            try:
                self._client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
                closed = True
            except Exception as caught:
                error = caught
            # A store may complete it and then lose the answer.
            there = self.head(key)
            etag = there["ETag"].strip('"') if there and there["ContentLength"] == size else ""
            if etag and (closed or (etag != before and etag.endswith(f"-{len(parts)}"))):
                return etag
            if closed or is_final(error) or error_code(error) == "NoSuchUpload":
                break
        raise explain(error, f"can't write {self.bucket}/{key}", self._store.endpoint_url) from error

    def remove(self, key: str, etag: str) -> None:
        """Delete an object that must still have this ETag; raises Raced when it has another."""
        there = self.etag(key, (etag,))
        if there != etag:
            raise Raced(there)
        known = self._client.meta.service_model.operation_model("DeleteObject").input_shape.members
        condition = {"IfMatch": f'"{etag}"'} if self.conditional and "IfMatch" in known else {}
        try:
            self._client.delete_object(Bucket=self.bucket, Key=key, **condition)
        except Exception as error:
            if error_code(error) in _CONFLICTS | _GONE:
                raise Raced(self.etag(key))
            raise explain(error, f"can't delete {self.bucket}/{key}", self._store.endpoint_url) from error
