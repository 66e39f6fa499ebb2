# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An asset bucket as it is, as it should be, and the way from one to the other.

Everything that is reported (changed, diff, the answer in check mode) comes from the two states; applying only
walks from one to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Optional
from urllib.parse import urlsplit

from ._catalog import (
    CATALOG_DIRECTORY,
    DIRECTORY_TAG,
    SITE_TAG,
    STORE_KEY,
    Catalog,
    Owner,
    foreign,
    owner_key,
    read_tags,
    utc_now,
)
from ._journal import intents_prefix
from ._manifest import manifest_key
from ._progress import shares_prefix, status_key
from ._store import DEFAULT_REGION, Store, StoreError, error_code

with suppress(ImportError):  # reported by AnsibleAWSModule, which needs boto3 itself
    from botocore.exceptions import ClientError

MISSING_BUCKET_CODES = frozenset({"NoSuchBucket", "404"})
# What stores say about settings that they don't have, or that this key may not see.
NOT_TOLD_CODES = frozenset({"NotImplemented", "501", "MethodNotAllowed", "405", "AccessDenied", "403"})
BLOCK = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
DELETE_BATCH = 1000


@dataclass(frozen=True)
class Request:
    """What the user asks for; the module's options of the same names."""

    name: str
    site: str
    directory: str
    catalog: str
    state: str = "present"
    versioning: Optional[bool] = None
    public_access_block: Optional[bool] = None
    tags: Optional[dict[str, Any]] = None
    force_owner: bool = False
    delete_contents: bool = False
    confirm: Optional[str] = None

    @property
    def owner(self) -> Owner:
        """Who the bucket is to belong to."""
        return Owner(self.site, self.directory)


@dataclass(frozen=True)
class State:
    """A bucket as the store and the catalog know it. None for a setting: the store doesn't tell.

    ``record`` is the owner by the catalog, ``claim`` the owner by the bucket's own tags. ``sample`` is a key that the
    bucket holds (a deleted one too, where versions keep it). ``memory`` are the catalog's objects about the
    bucket's contents, looked for only where the bucket is missing or is to go.
    """

    exists: bool
    record: Optional[Owner] = None
    claim: Optional[Owner] = None
    versioning: Optional[bool] = None
    public_access_block: Optional[bool] = None
    tags: Optional[dict[str, str]] = None
    sample: Optional[str] = None
    memory: tuple[str, ...] = ()

    def view(self) -> dict[str, Any]:
        """What a diff shows: nothing that differs between a prediction and the run after it."""
        if not self.exists:
            owner = str(self.record) if self.record else None
            return {"exists": False, "owner": owner, "remembered": list(self.memory)}
        return {
            "exists": True,
            "owner": str(self.record) if self.record else None,
            "owner_by_tags": str(self.claim) if self.claim else None,
            "versioning": self.versioning,
            "public_access_block": self.public_access_block,
            "tags": self.tags,
        }


# Reading


def read(store: Store, request: Request) -> State:
    """The bucket's present state. Raises StoreError; a missing bucket or catalog is a state, not an error."""
    record = Catalog(store, request.catalog).read_owner(request.name)
    exists, sample = _look_inside(store, request)
    tags = read_tags(store, request.name) if exists else {}
    own = dict(tags) if tags is not None else None
    claim = None
    if own and SITE_TAG in own:
        claim = Owner(own.pop(SITE_TAG), own.pop(DIRECTORY_TAG, ""))
    return State(
        exists=exists,
        record=record,
        claim=claim,
        versioning=_read_versioning(store, request.name),
        public_access_block=_read_block(store, request.name),
        tags=own,
        sample=sample,
        memory=() if exists and request.state == "present" else _memory(store, request),
    )


def _look_inside(store: Store, request: Request) -> tuple[bool, Optional[str]]:
    """Whether the bucket exists, and a key that is in it."""
    with store.errors(f"can't use bucket {request.name}"):
        try:
            return True, next((key for key, _version in _contents(store, request)), None)
        except ClientError as error:
            if error_code(error) in MISSING_BUCKET_CODES:
                return False, None
            raise


def _contents(store: Store, request: Request) -> Iterator[tuple[str, Optional[str]]]:
    """Key and version of all that a bucket holds, deleted objects' old versions and delete markers too.

    Versions are asked first: SeaweedFS deletes a versioned bucket with all its versions without a word. What a
    catalog holds about itself isn't contents.
    """
    own = {STORE_KEY, owner_key(request.name)} if request.name == request.catalog else set()
    try:
        for page in store.client.get_paginator("list_object_versions").paginate(Bucket=request.name):
            for entry in page.get("Versions", []) + page.get("DeleteMarkers", []):
                if entry["Key"] not in own:
                    yield entry["Key"], entry["VersionId"]
    except ClientError as error:
        if error_code(error) not in {"NotImplemented", "501"}:
            raise
    for page in store.client.get_paginator("list_objects_v2").paginate(Bucket=request.name):
        for entry in page.get("Contents", []):
            if entry["Key"] not in own:
                yield entry["Key"], None


def _ask(store: Store, what: str, absent: frozenset[str], ask: Callable[[], Optional[bool]]) -> Optional[bool]:
    """A yes or no setting: False for ``absent`` codes and a missing bucket, None when the store doesn't tell."""
    with store.errors(f"can't read {what}"):
        try:
            return ask()
        except ClientError as error:
            code = error_code(error)
            if code in absent | MISSING_BUCKET_CODES:
                return False
            if code in NOT_TOLD_CODES:
                return None
            raise


def _read_versioning(store: Store, name: str) -> Optional[bool]:
    def ask() -> bool:
        return store.client.get_bucket_versioning(Bucket=name).get("Status") == "Enabled"

    return _ask(store, f"the versioning of bucket {name}", frozenset(), ask)


def _read_block(store: Store, name: str) -> Optional[bool]:
    def ask() -> Optional[bool]:
        answer = store.client.get_public_access_block(Bucket=name).get("PublicAccessBlockConfiguration")
        return all(answer.get(part) for part in BLOCK) if answer is not None else None

    absent = frozenset({"NoSuchPublicAccessBlockConfiguration"})
    return _ask(store, f"the public access block of bucket {name}", absent, ask)


def _memory(store: Store, request: Request) -> tuple[str, ...]:
    catalog = Catalog(store, request.catalog)
    places = (
        manifest_key(request.name),
        status_key(request.name),
        shares_prefix(request.name),
        intents_prefix(request.name),
    )
    try:
        return tuple(listed.key for place in places for listed in catalog.list(place))
    except StoreError as error:
        if error.kind == "missing":  # there is no catalog
            return ()
        raise


# Planning


def plan(request: Request, state: State, store: Store) -> State:
    """The state that the request leads to; raises StoreError where it must be refused. Nothing is written."""
    _check_owner(request, state, store)
    return _plan_absent(request, state, store) if request.state == "absent" else _plan_present(request, state, store)


def _check_owner(request: Request, state: State, store: Store) -> None:
    """Refuse what belongs to someone else, and what nobody said it belongs to."""
    if request.force_owner:
        return
    for owner in (state.record, state.claim):
        if owner is not None and not owner.same(request.site, request.directory):
            raise foreign(store, request.name, owner, request.site, request.directory)
    unknown = state.exists and state.record is None and state.claim is None
    if unknown and (state.sample is not None or request.state == "absent"):
        held = f"holds {state.sample!r}" if state.sample is not None else "exists"
        raise StoreError(
            f"bucket {request.name} at {store.endpoint_url} {held}, and catalog {request.catalog} doesn't know whose "
            f"it is; if it is meant for {request.owner}, say so with force_owner: true",
            "conflict",
        )


def _plan_present(request: Request, state: State, store: Store) -> State:
    owner = request.owner
    ours = replace(
        state,
        exists=True,
        record=state.record if state.record and state.record.same(*owner[:2]) else owner,
        claim=state.claim if state.tags is None or (state.claim and state.claim.same(*owner[:2])) else owner,
        memory=(),
    )
    if request.versioning is not None:
        _need(state.versioning, "versioning", request, store)
        ours = replace(ours, versioning=request.versioning)
    if request.tags is not None:
        _need(state.tags, "tags", request, store)
        _check_tags(request.tags)
        ours = replace(ours, tags={key: str(value) for key, value in request.tags.items()})
    if request.public_access_block is False and state.public_access_block is None:
        pass  # what isn't there can't block
    elif request.public_access_block is not None:
        _need(state.public_access_block, "public_access_block", request, store)
        ours = replace(ours, public_access_block=request.public_access_block)
    elif state.public_access_block is not None:
        ours = replace(ours, public_access_block=True)
    return ours


def _need(present: object, option: str, request: Request, store: Store) -> None:
    if present is None:
        raise StoreError(
            f"the store {store.endpoint_url} doesn't offer {option} for bucket {request.name}, or this access key may "
            f"not use it; leave the option {option} out"
        )


def _check_tags(tags: dict[str, Any]) -> None:
    for name in (SITE_TAG, DIRECTORY_TAG):
        if name in tags:
            raise StoreError(f"tag {name} is written by asset_bucket itself; leave it out of tags")


def _plan_absent(request: Request, state: State, store: Store) -> State:
    if state.exists and state.sample is not None:
        _check_delete(request, state.sample, store)
    return replace(state, exists=False, record=None, claim=None, sample=None, memory=())


def _check_delete(request: Request, sample: str, store: Store) -> None:
    if request.delete_contents and request.confirm == request.name:
        return
    raise StoreError(
        f"bucket {request.name} at {store.endpoint_url} isn't empty (it holds {sample!r}, perhaps as an old version); "
        "nothing was deleted. To delete it with everything in it, set delete_contents: true and "
        f"confirm: {request.name}",
        "conflict",
    )


def advice(request: Request, state: State) -> list[str]:
    """What a user should know although nothing is wrong."""
    notes = []
    if request.state == "present" and state.public_access_block is None and request.public_access_block is None:
        notes.append(
            "the store doesn't offer a public access block, or this access key may not see it: see to it by other "
            "means that buckets stay private, and set public_access_block: false"
        )
    if request.state == "present" and not state.exists and state.memory:
        notes.append(
            f"bucket {request.name} had been there before and is gone. It is made anew, and what the catalog remembers "
            "of its contents is set aside (lost/…), so that the next asset_sync fills it from the backup"
        )
    return notes


# Applying


def apply(store: Store, request: Request, before: State, after: State) -> None:
    """Lead the bucket from one state to the other; raises StoreError, also when another run got in between."""
    catalog = Catalog(store, request.catalog)
    if not after.exists:
        _remove(store, request, catalog, before)
        return
    if not before.exists:
        _set_aside(catalog, before.memory)
        _create(store, request.name)
    if before.record != after.record:
        catalog.write_owner(request.name, request.site, request.directory, force=request.force_owner)
    _apply_settings(store, request.name, before, after)
    catalog.require_owner(request.name, request.site, request.directory)


def _apply_settings(store: Store, name: str, before: State, after: State) -> None:
    client = store.client
    if (before.claim, before.tags) != (after.claim, after.tags):
        tags = dict(after.tags or {})
        if after.claim:
            tags.update({SITE_TAG: after.claim.site, DIRECTORY_TAG: after.claim.directory})
        pairs = [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
        with store.errors(f"can't tag bucket {name}"):
            client.put_bucket_tagging(Bucket=name, Tagging={"TagSet": pairs})
    if before.versioning != after.versioning:
        status = {"Status": "Enabled" if after.versioning else "Suspended"}
        with store.errors(f"can't set the versioning of bucket {name}"):
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration=status)
    if before.public_access_block != after.public_access_block:
        with store.errors(f"can't set the public access block of bucket {name}"):
            if after.public_access_block:
                block = dict.fromkeys(BLOCK, True)
                client.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=block)
            else:
                client.delete_public_access_block(Bucket=name)


def _create(store: Store, name: str) -> None:
    place: dict[str, Any] = {}
    # Only AWS has several regions behind one address; others may refuse the name of a region that isn't theirs.
    if _is_aws(store) and store.region != DEFAULT_REGION:
        place = {"CreateBucketConfiguration": {"LocationConstraint": store.region}}
    with store.errors(f"can't make bucket {name}"):
        try:
            store.client.create_bucket(Bucket=name, **place)
        except ClientError as error:
            # Someone was quicker, or a retry met its own success: who owns it is checked at the end.
            if error_code(error) != "BucketAlreadyOwnedByYou":
                raise


def _is_aws(store: Store) -> bool:
    host = urlsplit(store.endpoint_url).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _set_aside(catalog: Catalog, keys: tuple[str, ...]) -> None:
    """Move what the catalog knows of a bucket's contents: a new bucket of that name has lost nothing."""
    when = utc_now()
    for key in keys:
        found = catalog.get(key)
        if found is not None:
            catalog.put(f"lost/{when}/{key}", found[0])
            catalog.delete(key)


def _remove(store: Store, request: Request, catalog: Catalog, before: State) -> None:
    if before.exists:
        if before.sample is not None:
            _delete_contents(store, request)
        if request.name == request.catalog:
            for key in (STORE_KEY, owner_key(request.name)):
                catalog.delete(key)
        with store.errors(f"can't delete bucket {request.name}"):
            store.client.delete_bucket(Bucket=request.name)
    if request.name != request.catalog:
        _set_aside(catalog, before.memory)
        catalog.drop_owner(request.name)


def _delete_contents(store: Store, request: Request) -> None:
    with store.errors(f"can't delete the contents of bucket {request.name}"):
        contents = _contents(store, request)
        while True:
            batch = list(islice(contents, DELETE_BATCH))
            if not batch:
                break
            _delete_batch(store, request.name, batch)
        left = next((key for key, _version in _contents(store, request)), None)
    if left is not None:
        raise StoreError(
            f"bucket {request.name} at {store.endpoint_url} still holds {left!r}: someone writes into it; stop that, "
            "then run again",
            "conflict",
        )


def _delete_batch(store: Store, name: str, batch: list[tuple[str, Optional[str]]]) -> None:
    plain = []
    for key, version in batch:
        entry = {"Key": key, **({"VersionId": version} if version else {})}
        if key.isprintable():
            plain.append(entry)
        else:  # XML can't carry control characters
            store.client.delete_object(Bucket=name, **entry)
    if not plain:
        return
    answer = store.client.delete_objects(Bucket=name, Delete={"Objects": plain, "Quiet": True})
    if answer.get("Errors"):
        first = answer["Errors"][0]
        raise StoreError(
            f"can't delete {len(answer['Errors'])} objects of bucket {name} at {store.endpoint_url}, such as "
            f"{first.get('Key')!r}: {first.get('Code')} {first.get('Message', '')}; look at their locks and rights"
        )


# The module


@dataclass(frozen=True)
class Outcome:
    """What came of a request; ``steps`` are (bucket, before, after) of the catalog and the bucket."""

    steps: list[tuple[str, State, State]]
    exists: bool
    warnings: list[str]
    conditional_writes: bool

    def result(self, request: Request) -> dict[str, Any]:
        """The module's result."""
        changing = [(name, before, after) for name, before, after in self.steps if before != after]
        now = self.steps[-1][2]
        return {
            "changed": bool(changing),
            "bucket": request.name,
            "exists": self.exists,
            "owner": {key: value for key, value in now.record._asdict().items() if value} if now.record else None,
            "versioning": now.versioning,
            "public_access_block": now.public_access_block,
            "tags": now.tags,
            "conditional_writes": self.conditional_writes,
            "diff": {
                "before": {name: before.view() for name, before, _after in changing},
                "after": {name: after.view() for name, _before, after in changing},
            },
        }


def run(store: Store, request: Request, check_mode: bool) -> Outcome:
    """Do what is asked, or in check mode find out what would be done; raises StoreError."""
    steps: list[tuple[str, State, State]] = []
    warnings: list[str] = []
    exists = False
    # What is advised about the bucket holds for the catalog too.
    for part in _parts(request):
        before = read(store, part)
        after = plan(part, before, store)
        warnings = advice(part, before)
        exists = before.exists
        if before != after and not check_mode:
            apply(store, part, before, after)
            after = read(store, part)
            exists = after.exists
        steps.append((part.name, before, after))
    probe = request.state == "present" and not check_mode
    conditional = Catalog(store, request.catalog).conditional_writes(probe)
    return Outcome(steps, exists, warnings, conditional)


def _parts(request: Request) -> list[Request]:
    """The catalog first, where a bucket is to be made: ownership is recorded there."""
    if request.state == "absent" or request.name == request.catalog:
        return [request]
    return [Request(request.catalog, request.site, CATALOG_DIRECTORY, request.catalog), request]
