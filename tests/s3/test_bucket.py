# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""asset_bucket against a real S3 server."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

SITE = "www.example.com"


@pytest.fixture(scope="module")
def catalog(client):
    """A catalog that the tests of this module share: each bucket costs the server seven volumes."""
    from conftest import remove_bucket

    name = f"t{time.time_ns() % 10**8}-catalog"
    yield name
    remove_bucket(client, name)


@pytest.fixture
def bucket(run_module, new_name, catalog):
    """Call asset_bucket for a fresh bucket of directory images; options may be given."""
    name = new_name("images")

    def call(check: bool = False, env=None, **options):
        args = {"name": name, "site": SITE, "directory": "images", "catalog": catalog, **options}
        return run_module("asset_bucket", args, check=check, env=env)

    call.name = name
    return call


def buckets(client):
    return {entry["Name"] for entry in client.list_buckets()["Buckets"]}


def test_present_predicts_makes_records_and_then_rests(bucket, client, catalog):
    predicted = bucket(check=True)
    assert predicted["changed"] and not predicted["exists"]
    assert bucket.name not in buckets(client)

    made = bucket()
    assert made["changed"] and made["exists"]
    assert made["diff"] == predicted["diff"]
    assert made["owner"]["site"] == SITE and made["owner"]["directory"] == "images"
    record = json.loads(client.get_object(Bucket=catalog, Key=f"owners/{bucket.name}.json")["Body"].read())
    assert set(record) == {"format", "site", "directory", "store", "created"}
    assert made["conditional_writes"] is True

    again = bucket()
    assert not again["changed"] and again["diff"] == {"before": {}, "after": {}}


def test_h3_a_bucket_with_files_survives_every_answer_but_both(bucket, client):
    bucket()
    client.put_object(Bucket=bucket.name, Key="a/b c.jpg", Body=b"picture")
    for halfway in (
        {},
        {"delete_contents": True},
        {"confirm": bucket.name},
        {"delete_contents": True, "confirm": "no"},
        {"delete_contents": False, "confirm": bucket.name, "force_owner": True},
    ):
        for check in (True, False):
            refused = bucket(check=check, state="absent", **halfway)
            assert refused["failed"] and refused["kind"] == "conflict"
            assert f"confirm: {bucket.name}" in refused["msg"] and "a/b c.jpg" in refused["msg"]
    assert client.get_object(Bucket=bucket.name, Key="a/b c.jpg")["Body"].read() == b"picture"

    both = {"state": "absent", "delete_contents": True, "confirm": bucket.name}
    assert bucket(check=True, **both)["changed"]
    assert bucket.name in buckets(client)
    gone = bucket(**both)
    assert gone["changed"] and not gone["exists"]
    assert bucket.name not in buckets(client)
    assert not bucket(**both)["changed"]


def test_h3_a_versioned_bucket_whose_files_were_all_deleted_is_not_empty(bucket, client):
    assert bucket(versioning=True)["versioning"] is True
    client.put_object(Bucket=bucket.name, Key="old", Body=b"1")
    client.delete_object(Bucket=bucket.name, Key="old")
    refused = bucket(state="absent")
    assert refused["failed"] and "isn't empty" in refused["msg"]
    assert bucket.name in buckets(client)
    assert bucket(state="absent", delete_contents=True, confirm=bucket.name)["changed"]
    assert bucket.name not in buckets(client)


def test_h5_t16_a_bucket_of_another_directory_is_refused_with_both_names(bucket, client):
    bucket()
    for check in (True, False):
        for state in ("present", "absent"):
            refused = bucket(check=check, directory="media-images", state=state)
            assert refused["failed"] and refused["kind"] == "conflict"
            assert "'images' of site 'www.example.com'" in refused["msg"]
            assert "'media-images' of site 'www.example.com'" in refused["msg"]
            assert "force_owner: true" in refused["msg"]
    taken = bucket(directory="media-images", force_owner=True)
    assert taken["changed"] and taken["owner"]["directory"] == "media-images"
    assert bucket()["failed"]


def test_h5_t16_a_bucket_of_another_site_is_refused_although_its_catalog_is_another(bucket, run_module, new_name):
    bucket()
    other = {"name": bucket.name, "site": "other.example.org", "directory": "images", "catalog": new_name("catalog")}
    refused = run_module("asset_bucket", other)
    assert refused["failed"]
    assert "'www.example.com'" in refused["msg"] and "'other.example.org'" in refused["msg"]


def test_t16_the_catalog_of_another_site_is_refused(bucket):
    bucket()
    refused = bucket(site="other.example.org")
    assert refused["failed"] and "the catalog of site 'www.example.com'" in refused["msg"]


def test_an_existing_bucket_without_owner_is_adopted_when_empty_and_else_only_when_told(bucket, client):
    client.create_bucket(Bucket=bucket.name)
    client.put_object(Bucket=bucket.name, Key="theirs", Body=b"1")
    refused = bucket()
    assert refused["failed"] and "'theirs'" in refused["msg"] and "force_owner: true" in refused["msg"]
    assert bucket(state="absent")["failed"]
    client.delete_object(Bucket=bucket.name, Key="theirs")
    assert bucket()["changed"]


def test_t9_two_directories_that_want_one_bucket_at_once_have_one_winner(bucket):
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda directory: bucket(directory=directory), ["images", "media-images"]))
    assert sorted(result.get("failed", False) for result in results) == [False, True], results
    (loser,) = [result for result in results if result.get("failed")]
    assert loser["kind"] == "conflict"


def test_a_lost_bucket_is_made_anew_and_its_manifest_set_aside(bucket, client, catalog):
    bucket()
    remembered = {f"manifests/{bucket.name}.jsonl.gz", f"intents/{bucket.name}/run/000001.json"}
    for key in remembered:
        client.put_object(Bucket=catalog, Key=key, Body=b"old")
    client.delete_bucket(Bucket=bucket.name)
    made = bucket()
    assert made["changed"] and any("set aside" in text for text in made["warnings"])
    left = {entry["Key"] for entry in client.list_objects_v2(Bucket=catalog)["Contents"] if bucket.name in entry["Key"]}
    assert not remembered & left
    assert len([key for key in left if key.startswith("lost/")]) == len(remembered)


def test_tags_and_versioning_are_set_shown_and_left(bucket, client):
    bucket(tags={"team": "web", "n": 1})
    both = {tag["Key"]: tag["Value"] for tag in client.get_bucket_tagging(Bucket=bucket.name)["TagSet"]}
    assert both["team"] == "web" and both["adt-assets-site"] == SITE
    assert not bucket()["changed"]
    changed = bucket(check=True, tags={"team": "ops"}, versioning=True)
    assert changed["diff"]["before"][bucket.name]["tags"] == {"team": "web", "n": "1"}
    assert changed["diff"]["after"][bucket.name]["tags"] == {"team": "ops"}
    assert changed["diff"]["after"][bucket.name]["versioning"] is True
    assert client.get_bucket_versioning(Bucket=bucket.name).get("Status") is None
    assert bucket(tags={"adt-assets-site": "x"})["failed"]


def test_a_public_access_block_that_the_store_lacks_is_a_warning_or_when_asked_for_an_error(bucket):
    assert any("public access block" in text for text in bucket()["warnings"])
    refused = bucket(public_access_block=True)
    assert refused["failed"] and "leave the option public_access_block out" in refused["msg"]
    accepted = bucket(public_access_block=False)
    assert not accepted["changed"] and not accepted["warnings"]


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"secret_key": "wr/ong&key"}, "denied", "check access_key and secret_key"),
        ({"access_key": "NOBODY"}, "denied", "the access key isn't accepted"),
        ({"endpoint_url": "http://127.0.0.1:1"}, "unreachable", "connection refused"),
        ({"endpoint_url": "http://no-such-host.invalid"}, "unreachable", "host name isn't known"),
        ({"endpoint_url": "s3.example.com"}, "other", "write it like https://"),
    ],
)
def test_t17_bad_access_is_told_in_seconds_without_secrets(bucket, options, kind, words, s3_options):
    began = time.monotonic()
    refused = bucket(**options)
    assert time.monotonic() - began < 15
    assert refused["failed"] and refused["kind"] == kind and words in refused["msg"]
    shown = json.dumps(refused)
    assert s3_options["secret_key"] not in shown and "wr/ong&key" not in shown


def test_the_environment_cannot_redirect_or_break_given_credentials(bucket, client):
    made = bucket(
        env={
            "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
            "AWS_URL": "http://127.0.0.1:1",
            "AWS_SESSION_TOKEN": "of-someone-else",
            "AWS_PROFILE": "nobody",
        }
    )
    assert made.get("exists"), made
    assert bucket.name in buckets(client)
