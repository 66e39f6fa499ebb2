# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""module archive_info: which of the archives that another tool has left in a bucket is taken (H17, H18)."""

from __future__ import annotations

import io
import tarfile
import time

import pytest

NAME = "applicationsourcecode.tar.gz"
WEBROOT = ("index.php", "images/a.jpg", "templates/images/b.png", ".htaccess")


def packed(*names: str, above: str = "") -> bytes:
    """A gzipped tar archive of small files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(f"{above}{name}")
            member.size = 1000
            archive.addfile(member, io.BytesIO(b"x" * 1000))
    return out.getvalue()


@pytest.fixture
def find(run_module, hourly):
    """Runs the module for the period's bucket."""

    def run(*directories, **options):
        given = {"bucket": hourly.removesuffix("-hourly"), "period": "hourly", "directories": list(directories)}
        return run_module("archive_info", {**given, **options})

    return run


def put(client, bucket, *archives):
    """Store archives, one after the other: times of objects are whole seconds."""
    for number, (key, body) in enumerate(archives):
        time.sleep(1.1 if number else 0)
        client.put_object(Bucket=bucket, Key=key, Body=body)


def test_h18_the_newest_whole_archive_is_taken_also_when_it_was_renamed(client, hourly, find):
    whole = packed(*WEBROOT)
    put(client, hourly, (f"{NAME}.OLD", whole), (f"{NAME}.BACKUP", whole), (NAME, whole[: len(whole) // 2]))
    found = find("images")
    assert found["newest"]["src"] == f"s3://{hourly}/{NAME}.BACKUP"
    cut, taken = found["archives"]
    assert cut["src"].endswith(NAME) and cut["problem"] and taken["problem"] == ""
    put(client, hourly, (NAME, whole))
    assert find("images")["newest"]["src"] == f"s3://{hourly}/{NAME}"


def test_h17_an_archive_that_lacks_a_directory_is_passed_over(client, hourly, find):
    put(client, hourly, ("a.tgz", packed(*WEBROOT)), ("b.tgz", packed("z/last.php", "z/rest.php")))
    found = find("images")
    assert found["newest"]["src"].endswith("/a.tgz")
    assert "has no webroot with images" in found["archives"][0]["problem"]
    assert find("images", "media/videos")["newest"] is None


@pytest.mark.parametrize("above", ["", "./", "html/", "tmp/backup/"])
def test_the_webroot_lies_at_the_root_or_below(client, hourly, find, above):
    put(client, hourly, (NAME, packed(*WEBROOT, above=above)), ("notes.txt", b"no archive"))
    assert find("images")["newest"]["webroot"] == above.strip("./")


def test_a_directory_of_the_same_name_deeper_in_the_webroot_is_not_taken_for_it(client, hourly, find):
    put(client, hourly, (NAME, packed("index.php", "templates/images/b.png")))
    assert find("images")["newest"] is None


def test_a_point_in_time_and_the_bucket_itself(client, hourly, find):
    put(client, hourly, (NAME, packed(*WEBROOT)))
    assert find("images", before="2020-01-01")["archives"] == []
    assert find("images", bucket=hourly, period="hourly")["newest"]
    assert find("images", bucket="no-such-bucket-anywhere")["kind"] == "missing"
