# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real modules against the real S3 server of a bed (ADT_BED names it, ``test`` by default)."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

TREE = Path(os.environ["ADT_TREE"])
BED = Path(os.environ["ADT_CACHE"]) / "beds" / os.environ.get("ADT_BED", "test")


def bed_environment() -> dict[str, str]:
    """What the bed's ``env`` file exports."""
    env: dict[str, str] = {}
    for line in (BED / "env").read_text().splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["export"]:
            words = words[1:]
        env.update(word.split("=", 1) for word in words if "=" in word)
    return env


@pytest.fixture(scope="session")
def bed() -> dict[str, str]:
    """The bed's S3 settings: S3_ENDPOINT, S3_DIRECT, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION."""
    if not (BED / "env").exists():
        pytest.fail(f"no bed at {BED}: start one with `make bed-up`, or name another with ADT_BED")
    return bed_environment()


@pytest.fixture(scope="session")
def endpoint(bed: dict[str, str]) -> str:
    """The S3 endpoint's URL."""
    return bed["S3_ENDPOINT"]


@pytest.fixture(scope="session")
def s3_options(bed: dict[str, str]) -> dict[str, str]:
    """The S3 options of every module."""
    return {
        "endpoint_url": bed["S3_ENDPOINT"],
        "access_key": bed["AWS_ACCESS_KEY_ID"],
        "secret_key": bed["AWS_SECRET_ACCESS_KEY"],
        "region": bed["AWS_DEFAULT_REGION"],
    }


@pytest.fixture(scope="session")
def client(s3_options: dict[str, str]) -> Any:
    """A plain boto3 client, independent of the collection's own."""
    return boto3.client(
        "s3",
        endpoint_url=s3_options["endpoint_url"],
        aws_access_key_id=s3_options["access_key"],
        aws_secret_access_key=s3_options["secret_key"],
        region_name=s3_options["region"],
        config=Config(s3={"addressing_style": "path"}, retries={"mode": "standard"}),
    )


def remove_bucket(client: Any, bucket: str) -> None:
    """Empty and delete a bucket, with all versions; nothing happens when it is gone."""
    try:
        pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket)
        for page in pages:
            for entry in page.get("Versions", []) + page.get("DeleteMarkers", []):
                client.delete_object(Bucket=bucket, Key=entry["Key"], VersionId=entry["VersionId"])
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                client.delete_object(Bucket=bucket, Key=entry["Key"])
        client.delete_bucket(Bucket=bucket)
    except client.exceptions.NoSuchBucket:
        pass


@pytest.fixture
def new_name(client: Any) -> Iterator[Callable[[str], str]]:
    """Gives fresh bucket names; the buckets made under them are removed after the test."""
    names: list[str] = []

    def make(hint: str = "bucket") -> str:
        names.append(f"t{secrets.token_hex(4)}-{hint}")
        return names[-1]

    yield make
    for name in names:
        remove_bucket(client, name)


@pytest.fixture
def hourly(client: Any, new_name: Callable[[str], str]) -> str:
    """A site's bucket for hourly archives, named as the toolkit does."""
    name = f"{new_name('site')}-hourly"
    client.create_bucket(Bucket=name)
    return name


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run_module(s3_options: dict[str, str], tmp_path: Path) -> Run:
    """Runs a module of this collection in a process of its own and returns its result.

    ``run_module(name, args, check=False, options=…, env=…)``: ``options`` replaces S3 options, ``env`` adds to the
    environment. Nothing of the test's own environment is passed on but what Python needs.
    """

    def run(
        name: str,
        args: dict[str, Any],
        check: bool = False,
        options: dict[str, str] | None = None,
        env: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        internal = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_tmpdir": str(tmp_path)}
        params = {**s3_options, **(options or {}), **args, **internal}
        arguments = tmp_path / f"{name}-{secrets.token_hex(4)}.json"
        arguments.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": params}))
        done = subprocess.run(
            [sys.executable, "-m", f"ansible_collections.adt.assets.plugins.modules.{name}", str(arguments)],
            env={"PYTHONPATH": module_path(), "PATH": os.environ["PATH"], "HOME": str(tmp_path), **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            result = json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"{name} gave no result:\n{done.stdout}\n{done.stderr}") from None
        result.pop("invocation", None)
        # ansible-core 2.19 returns warnings as events, older ones as text.
        events = result.get("warnings", [])
        result["warnings"] = [event if isinstance(event, str) else event["event"]["msg"] for event in events]
        return result

    return run


def module_path() -> str:
    """Where Python finds this collection and amazon.aws."""
    installed = next(Path(os.environ["ADT_VENV"]).glob("lib/python3*/site-packages"))
    return f"{TREE}{os.pathsep}{installed}"
