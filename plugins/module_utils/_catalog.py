# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site's catalog: the private bucket with ownership records, manifests and status.

Who owns a bucket is written in two places: a record in the owner's catalog, and tags on the bucket itself where the
store has tags. The tags are what another site sees, which looks into a catalog of its own.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from ._store import ATTEMPTS, Listed, Store, StoreError, error_code
from ._upload import content_md5, md5

with suppress(ImportError):  # reported by AnsibleAWSModule, which needs boto3 itself
    from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError
    from urllib3.exceptions import HTTPError

    # The last is what breaks off in the body of an error: botocore lets it through.
    BODY_ERRORS = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError, HTTPError)

FORMAT = 1
CATALOG_DIRECTORY = "@catalog"
STORE_KEY = "store.json"
SITE_TAG = "adt-assets-site"
DIRECTORY_TAG = "adt-assets-directory"
MISSING_CODES = frozenset({"NoSuchKey", "NoSuchBucket", "404"})
DAMAGED_CODES = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch"})
CONFLICT_CODES = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
# What stores that don't know a condition answer to it.
UNKNOWN_CONDITION_CODES = frozenset({"NotImplemented", "501", "InvalidArgument", "InvalidRequest", "400"})
# What stores without bucket tags, or keys without the right to read them, answer.
NO_TAGS_CODES = frozenset({"NotImplemented", "501", "AccessDenied", "403", "MethodNotAllowed", "405"})


class Owner(NamedTuple):
    """Whose bucket it is: site, directory (the plan's name for it), the store's endpoint, when recorded (UTC)."""

    site: str
    directory: str
    store: str = ""
    created: str = ""

    def same(self, site: str, directory: str) -> bool:
        """Whether this names that site and directory. The endpoint may differ: one store can have several."""
        return (self.site, self.directory) == (site, directory)

    def __str__(self) -> str:
        what = "the catalog" if self.directory == CATALOG_DIRECTORY else f"directory {self.directory!r}"
        return f"{what} of site {self.site!r}"


def utc_now() -> str:
    """The time as it is written into the catalog: 2026-01-31T23:59:59Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def owner_key(bucket: str) -> str:
    """Where the ownership record of a bucket lies."""
    return f"owners/{bucket}.json"


def parse_owner(body: bytes, key: str) -> Owner:
    """Read an ownership record; raises StoreError when it is damaged or from a newer version of this collection."""
    try:
        record = json.loads(body)
        version = record["format"]
        if version == FORMAT:
            return Owner(str(record["site"]), str(record["directory"]), str(record["store"]), str(record["created"]))
    except (ValueError, KeyError, TypeError) as error:
        remedy = "write it anew with adt.assets.asset_bucket and force_owner"
        raise StoreError(f"the ownership record {key} is damaged ({error!r}): {remedy}") from error
    raise StoreError(f"{key} has format {version!r}, this adt.assets knows only {FORMAT}: use a newer one")


def render_owner(owner: Owner) -> bytes:
    """The ownership record as it is stored."""
    return json.dumps({"format": FORMAT, **owner._asdict()}, indent=1, sort_keys=True).encode()


def foreign(store: Store, bucket: str, owner: Owner, site: str, directory: str) -> StoreError:
    """The error about a bucket that belongs to someone else: whose it is, who asked, what to do."""
    return StoreError(
        f"bucket {bucket} at {store.endpoint_url} belongs to {owner}, not to {Owner(site, directory)}; give this "
        f"directory another bucket (option buckets), or take {bucket} over with adt.assets.asset_bucket and "
        "force_owner: true",
        "conflict",
    )


class Catalog:
    """The catalog bucket of a site on a store."""

    def __init__(self, store: Store, bucket: str) -> None:
        self.store = store
        self.bucket = bucket
        self._conditional: bool | None = None

    # objects

    def get(self, key: str) -> tuple[bytes, str] | None:
        """An object's bytes and its ETag, as put() takes it; None when the object or the catalog is missing."""
        with self.store.errors(f"can't read {key} of catalog {self.bucket}"):
            error: Exception = OSError("its answers don't fit their ETag")
            for _attempt in self.store.tries(ATTEMPTS):
                try:
                    answer = self.store.client.get_object(Bucket=self.bucket, Key=key)
                    body = answer["Body"].read()
                    if _fits(body, answer):
                        return body, answer["ETag"]
                except ClientError as caught:
                    if error_code(caught) in MISSING_CODES:
                        return None
                    raise
                except BODY_ERRORS as caught:  # botocore retries requests, but not the reading of answers
                    error = caught
            raise error

    def put(self, key: str, body: bytes, if_match: str | None = None, if_none_match: bool = False) -> str:
        """Write an object and return its ETag.

        ``if_match``: only when the present object has this ETag; ``if_none_match``: only when there is none. Raises
        StoreError of kind ``conflict`` otherwise. On a store without conditional writes the condition is checked
        before writing, which leaves a gap.
        """
        condition = {"IfMatch": if_match} if if_match else {"IfNoneMatch": "*"} if if_none_match else {}
        what = f"can't write {key} of catalog {self.bucket}"
        with self.store.errors(what):
            if condition and not self.conditional_writes():
                self._check_condition(key, what, if_match)
                condition = {}
            try:
                return self._put(key, body, condition)
            except ClientError as error:
                if error_code(error) not in CONFLICT_CODES:
                    raise
                # A retry of a write that had succeeded meets the object that it made itself.
                present = self.get(key)
                if present is None or present[0] != body:
                    raise
                return present[1]

    def _put(self, key: str, body: bytes, condition: dict[str, str]) -> str:
        for _attempt in self.store.tries(ATTEMPTS, len(body)):
            try:
                answer = self.store.client.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=body,
                    ContentType=_content_type(key),
                    ContentMD5=content_md5(md5(body)),
                    **condition,
                )
                if _fits(body, answer):
                    return answer["ETag"]
            except ClientError as error:
                if error_code(error) not in DAMAGED_CODES:
                    raise
        raise OSError("the store holds other bytes than were sent: its disk or the network damages data")

    def _check_condition(self, key: str, what: str, if_match: str | None) -> None:
        present = self.get(key)
        if (present[1] if present else None) != if_match:
            raise StoreError(f"{what} at {self.store.endpoint_url}: someone else wrote it; run again", "conflict")

    def delete(self, key: str) -> None:
        """Remove an object; one that is gone already is fine."""
        with self.store.errors(f"can't delete {key} of catalog {self.bucket}"):
            try:
                self.store.client.delete_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if error_code(error) not in MISSING_CODES:
                    raise

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """The objects below a prefix."""
        return self.store.list(self.bucket, prefix)

    # conditional writes

    def conditional_writes(self, probe: bool = True) -> bool:
        """Whether the store honours If-None-Match and If-Match.

        Known from ``store.json``, per endpoint; else found out by writing to the catalog and remembered there. With
        ``probe`` False nothing is written, and what isn't known counts as no.
        """
        if self._conditional is None:
            known = self._read_stores().get(self.store.endpoint_url, {}).get("conditional_writes")
            if known is None and not probe:
                return False
            self._conditional = self._probe_and_remember() if known is None else bool(known)
        return self._conditional

    def _read_stores(self) -> dict[str, Any]:
        found = self.get(STORE_KEY)
        try:
            stores = json.loads(found[0])["stores"] if found else {}
        except (ValueError, KeyError, TypeError):
            return {}  # only a memory of what can be found out again
        return stores if isinstance(stores, dict) else {}

    def _probe_and_remember(self) -> bool:
        honoured = self._probe()
        stores = self._read_stores()
        stores[self.store.endpoint_url] = {"conditional_writes": honoured, "checked": utc_now()}
        body = json.dumps({"format": FORMAT, "stores": stores}, indent=1, sort_keys=True).encode()
        with self.store.errors(f"can't write {STORE_KEY} of catalog {self.bucket}"):
            self._put(STORE_KEY, body, {})
        return honoured

    def _probe(self) -> bool:
        """A second create and an update of something else must both be refused."""
        key = f"probe-{secrets.token_hex(8)}"
        with self.store.errors(f"can't probe catalog {self.bucket}"):
            try:
                return (
                    self._accepts(key, {"IfNoneMatch": "*"})
                    and not self._accepts(key, {"IfNoneMatch": "*"})
                    and not self._accepts(key, {"IfMatch": '"00000000000000000000000000000000"'})
                )
            finally:
                self.delete(key)

    def _accepts(self, key: str, condition: dict[str, str]) -> bool:
        try:
            self._put(key, secrets.token_bytes(8), condition)
            return True
        except ClientError as error:
            if error_code(error) in CONFLICT_CODES | UNKNOWN_CONDITION_CODES:
                return False
            raise

    # ownership

    def read_owner(self, bucket: str) -> Owner | None:
        """The owner of a bucket by this catalog's record; None when there is no record (or no catalog)."""
        found = self.get(owner_key(bucket))
        return parse_owner(found[0], owner_key(bucket)) if found else None

    def write_owner(self, bucket: str, site: str, directory: str, force: bool = False) -> Owner:
        """Record a bucket's owner; without ``force`` only where there is no record of another.

        Raises StoreError of kind ``conflict`` when another run has recorded another owner in the meantime.
        """
        owner = Owner(site, directory, self.store.endpoint_url, utc_now())
        try:
            self.put(owner_key(bucket), render_owner(owner), if_none_match=not force)
            return owner
        except StoreError as error:
            present = self.read_owner(bucket) if error.kind == "conflict" else None
            if present is None:
                raise
            self._refuse_other(bucket, present, site, directory)
            return present

    def drop_owner(self, bucket: str) -> None:
        """Forget who owns a bucket."""
        self.delete(owner_key(bucket))

    def claimed_by(self, bucket: str) -> Owner | None:
        """The owner of a bucket by its own tags; None without such tags or where the store doesn't tell."""
        tags = read_tags(self.store, bucket)
        if not tags or SITE_TAG not in tags:
            return None
        return Owner(tags[SITE_TAG], tags.get(DIRECTORY_TAG, ""))

    def require_owner(self, bucket: str, site: str, directory: str) -> Owner:
        """Make sure that a bucket exists and belongs to a site's directory; else StoreError says whose it is."""
        owner = self.read_owner(bucket)
        if owner is not None:
            self._refuse_other(bucket, owner, site, directory)
        require_bucket(self.store, bucket)
        claim = self.claimed_by(bucket)
        if claim is not None:
            self._refuse_other(bucket, claim, site, directory)
        if owner is None:
            raise StoreError(
                f"bucket {bucket} at {self.store.endpoint_url} has no ownership record in catalog {self.bucket}; "
                f"if it is meant for {Owner(site, directory)}, let adt.assets.asset_bucket make or adopt it",
                "missing",
            )
        return owner

    def _refuse_other(self, bucket: str, owner: Owner, site: str, directory: str) -> None:
        if not owner.same(site, directory):
            raise foreign(self.store, bucket, owner, site, directory)


def require_bucket(store: Store, bucket: str) -> None:
    """Raise StoreError when a bucket doesn't exist or can't be read."""
    with store.errors(f"can't use bucket {bucket}"):
        store.client.list_objects_v2(Bucket=bucket, MaxKeys=1)


def read_tags(store: Store, bucket: str) -> dict[str, str] | None:
    """A bucket's tags; None where the store has none to tell (not offered, or not allowed)."""
    with store.errors(f"can't read the tags of bucket {bucket}"):
        try:
            tags = store.client.get_bucket_tagging(Bucket=bucket).get("TagSet")
        except ClientError as error:
            if error_code(error) == "NoSuchTagSet":
                return {}
            if error_code(error) in NO_TAGS_CODES:
                return None
            raise
    return None if tags is None else {tag["Key"]: tag["Value"] for tag in tags}


def _fits(body: bytes, answer: dict[str, Any]) -> bool:
    """Whether an answer's ETag is that of these bytes. Under SSE-KMS it tells nothing."""
    return "kms" in answer.get("ServerSideEncryption", "") or answer["ETag"].strip('"') == md5(body)


def _content_type(key: str) -> str:
    return "application/json" if key.endswith(".json") else "application/octet-stream"
