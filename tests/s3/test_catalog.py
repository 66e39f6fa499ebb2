# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store and the catalog against a real S3 server."""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest

from ansible_collections.adt.assets.plugins.module_utils._catalog import STORE_KEY, Catalog
from ansible_collections.adt.assets.plugins.module_utils._store import Store, StoreError, client_config

SITE = "www.example.com"


@pytest.fixture
def store(s3_options):
    return open_store(s3_options)


def open_store(options):
    client = boto3.client(
        "s3",
        endpoint_url=options["endpoint_url"],
        aws_access_key_id=options["access_key"],
        aws_secret_access_key=options["secret_key"],
        region_name=options["region"],
        config=client_config("auto"),
    )
    return Store(client)


@pytest.fixture
def catalog(store, client, new_name):
    name = new_name("catalog")
    client.create_bucket(Bucket=name)
    return Catalog(store, name)


def test_more_keys_than_a_page_holds_are_listed_exactly_and_obstore_reads_the_same(catalog, client, store):
    obstore = pytest.importorskip("obstore")
    keys = {f"many/{number:04}" for number in range(1100)}
    odd = {"a b+c%d", "é/ü ß.jpg", "q?&=<>", "ctl\x01x", "new\nline", "plus+", "dir with space/.htaccess"}
    data = store.obstore(catalog.bucket)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: obstore.put(data, key, b"1"), keys))
    for key in odd:
        client.put_object(Bucket=catalog.bucket, Key=key, Body=b"12")
    found = {listed.key: listed for listed in catalog.list()}
    assert set(found) == keys | odd
    assert found["plus+"].size == 2 and found["plus+"].etag == "c20ad4d76fe97759aa27a0c99bff6710"
    assert {listed.key for listed in catalog.list("many/")} == keys


def test_conditional_writes_are_found_out_once_and_remembered(catalog, client):
    assert catalog.conditional_writes() is True
    assert [entry["Key"] for entry in client.list_objects_v2(Bucket=catalog.bucket)["Contents"]] == [STORE_KEY]
    client.put_object(
        Bucket=catalog.bucket,
        Key=STORE_KEY,
        Body=json.dumps({"stores": {catalog.store.endpoint_url: {"conditional_writes": False}}}).encode(),
    )
    assert Catalog(catalog.store, catalog.bucket).conditional_writes() is False


def test_a_look_writes_nothing_to_find_out(catalog, client):
    assert catalog.conditional_writes(probe=False) is False
    assert client.list_objects_v2(Bucket=catalog.bucket)["KeyCount"] == 0


@pytest.fixture
def careless(tmp_path):
    """A catalog on a server that ignores conditions: rclone's, on a directory."""
    (tmp_path / "catalog").mkdir()
    options = {"access_key": "careless", "secret_key": "careless", "region": "us-east-1"}
    server = subprocess.Popen(
        ["rclone", "serve", "s3", "--addr", "127.0.0.1:0", "--auth-key", "careless,careless", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = next((found for line in server.stderr if (found := re.search(r"http://[\d.:]+", line))), None)
        assert address, "rclone serve s3 did not start"
        yield Catalog(open_store({**options, "endpoint_url": address.group()}), "catalog")
    finally:
        server.terminate()
        server.wait(10)
        server.stderr.close()


def test_a_store_that_ignores_conditions_is_found_out(careless):
    assert careless.conditional_writes() is False


@pytest.mark.parametrize("kind", ["catalog", "careless"])
def test_a_write_on_condition_never_replaces_what_it_has_not_seen(kind, request):
    catalog = request.getfixturevalue(kind)
    first = catalog.put("manifests/b.jsonl.gz", b"1", if_none_match=True)
    with pytest.raises(StoreError) as caught:
        catalog.put("manifests/b.jsonl.gz", b"2", if_none_match=True)
    assert caught.value.kind == "conflict"
    catalog.put("manifests/b.jsonl.gz", b"3", if_match=first)
    with pytest.raises(StoreError):
        catalog.put("manifests/b.jsonl.gz", b"4", if_match=first)
    assert catalog.get("manifests/b.jsonl.gz")[0] == b"3"


def test_t9_of_many_owners_at_once_one_wins(catalog):
    catalog.conditional_writes()

    def claim(number):
        try:
            catalog.write_owner("b0", SITE, f"directory-{number}")
            return True
        except StoreError as error:
            assert error.kind == "conflict" and "belongs to" in str(error)
            return False

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(claim, range(16))) == 1


def test_h11_t16_a_bucket_that_is_missing_is_refused_even_with_a_record(catalog, client, new_name):
    bucket = new_name("images")
    with pytest.raises(StoreError, match="the bucket doesn't exist") as caught:
        catalog.require_owner(bucket, SITE, "images")
    assert caught.value.kind == "missing"
    catalog.write_owner(bucket, SITE, "images")
    with pytest.raises(StoreError, match=r"can't use bucket .* the bucket doesn't exist"):
        catalog.require_owner(bucket, SITE, "images")
    client.create_bucket(Bucket=bucket)
    assert catalog.require_owner(bucket, SITE, "images").same(SITE, "images")
    with pytest.raises(StoreError, match=r"belongs to directory 'images'.*not to directory 'media'"):
        catalog.require_owner(bucket, SITE, "media")


def test_a_key_without_rights_is_told_so(bed, s3_options, catalog):
    denied = {"access_key": bed["BED_DENIED_ACCESS_KEY"], "secret_key": bed["BED_DENIED_SECRET_KEY"]}
    with pytest.raises(StoreError, match="access is denied") as caught:
        Catalog(open_store({**s3_options, **denied}), catalog.bucket).require_owner("b0", SITE, "images")
    assert caught.value.kind == "denied" and denied["secret_key"] not in str(caught.value)
