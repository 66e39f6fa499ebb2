# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role on its own: what it stored, read back by clients that are not ours."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from corpus import files
from scenario import BED, DIRECTORIES, IMAGES, Directory, prediction_errors

SLUG = "www-store-example-com-assets"
BUCKETS = {f"{SLUG}-{directory.bucket.split('-assets-')[1]}": directory for directory in DIRECTORIES}
EACH_BUCKET = pytest.mark.parametrize("bucket", BUCKETS)
GALLERY = [f"{SLUG}-gallery{number}" for number in (1, 2, 3)]


def client_environment() -> dict[str, str]:
    """What the command-line clients need; the keys go through the environment, never through arguments."""
    remote = {
        "RCLONE_CONFIG_BED_TYPE": "s3",
        "RCLONE_CONFIG_BED_PROVIDER": "SeaweedFS",
        "RCLONE_CONFIG_BED_ENDPOINT": BED.env["S3_ENDPOINT"],
        "RCLONE_CONFIG_BED_ENV_AUTH": "true",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    }
    return {**os.environ, **BED.env, **remote}


def read_back(command: list[str], target: Path) -> dict[str, bytes]:
    """Run a client that copies a bucket into ``target``; the files it brought, by key."""
    target.mkdir()
    subprocess.run(command, env=client_environment(), check=True, stdout=subprocess.DEVNULL)
    return {key: path.read_bytes() for key, path in files(target).items()}


def expected(directory: Directory) -> dict[str, bytes]:
    """The files of a directory in the backup, by key."""
    return {key: path.read_bytes() for key, path in directory.files.items()}


@EACH_BUCKET
def test_h1_aws_reads_back_every_byte(bucket: str, tmp_path: Path) -> None:
    target = tmp_path / "aws"
    command = [
        "aws",
        "--endpoint-url",
        BED.env["S3_ENDPOINT"],
        "s3",
        "cp",
        "--recursive",
        f"s3://{bucket}/",
        str(target),
    ]
    assert read_back(command, target) == expected(BUCKETS[bucket])


@EACH_BUCKET
def test_h1_rclone_reads_back_every_byte(bucket: str, tmp_path: Path) -> None:
    target = tmp_path / "rclone"
    assert read_back(["rclone", "copy", f"bed:{bucket}", str(target)], target) == expected(BUCKETS[bucket])


@EACH_BUCKET
def test_h1_s5cmd_reads_back_every_byte(bucket: str, tmp_path: Path) -> None:
    target = tmp_path / "s5cmd"
    command = ["s5cmd", "--endpoint-url", BED.env["S3_ENDPOINT"], "cp", f"s3://{bucket}/*", f"{target}/"]
    assert read_back(command, target) == expected(BUCKETS[bucket])


@EACH_BUCKET
def test_mode_and_time_of_each_file_are_kept_as_metadata(bucket: str) -> None:
    for key, path in BUCKETS[bucket].files.items():
        stored = BED.s3.head_object(Bucket=bucket, Key=key)["Metadata"]
        assert int(stored["mode"]) == path.stat().st_mode, key
        assert int(stored["mtime"]) == int(path.stat().st_mtime), key


def test_content_types() -> None:
    kinds = {"00/picture-000.jpg": "image/jpeg", "empty.txt": "text/plain"}
    for key, kind in kinds.items():
        assert BED.s3.head_object(Bucket=f"{SLUG}-images", Key=key)["ContentType"] == kind


def test_nothing_but_the_directory_lies_in_its_bucket() -> None:
    for bucket, directory in BUCKETS.items():
        assert {key for key in BED.objects(bucket) if not key.endswith("/")} == set(directory.files)


def test_several_buckets_share_the_files_of_a_directory(tmp_path: Path) -> None:
    found = [read_back(["rclone", "copy", f"bed:{name}", str(tmp_path / name)], tmp_path / name) for name in GALLERY]
    assert {**found[0], **found[1], **found[2]} == expected(IMAGES)
    assert all(found) and sum(map(len, found)) == len(IMAGES.files)


def test_check_mode_predicted_what_the_first_run_changed() -> None:
    assert prediction_errors() == []
