# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who copies: asset_sync, and all that does the same work otherwise, each as its own documentation advises.

The work: a backup lies in S3, its asset directory ``images`` goes into a bucket. What can't read an archive fetches it,
unpacks it, and copies the tree.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from measure import Run, measure
from places import REGION, Place

SITE = "bench.example.com"
FLOORS = Path(__file__).with_name("floors.py")
MODULES = "ansible_collections.{}.plugins.modules.{}"
# The fastest settings that were found for many small files.
RCLONE_TUNED = ["--s3-no-head", "--no-update-modtime", "--s3-no-check-bucket", "--buffer-size=64k"]
sys.path.append(os.environ["ADT_TREE"])
# Python finds adt.assets beside the collections that the virtual environment has.
PATHS = {"PYTHONPATH": f"{os.environ['ADT_TREE']}:{os.environ.get('PYTHONPATH', '')}"}
WITHOUT_OBSTORE = (
    "import runpy, sys; sys.modules['obstore'] = None; runpy.run_module(sys.argv.pop(1), run_name='__main__')"
)


class Task(NamedTuple):
    """One copy: ``endpoint`` is where clients go, which may be farther than the place; ``src`` is s3:// or a path."""

    place: Place
    endpoint: str
    src: str
    bucket: str
    catalog: str
    work: Path
    far: bool


Contender = Callable[[Task], Run]


def claim(task: Task) -> None:
    """Say whose the bucket is, as asset_bucket does when it makes one."""
    from ansible_collections.adt.assets.plugins.module_utils._catalog import Catalog
    from ansible_collections.adt.assets.plugins.module_utils._store import Store

    Catalog(Store(task.place.client), task.catalog).write_owner(task.bucket, SITE, "images")


def asset_sync(task: Task, obstore: bool = True) -> Run:
    """The module as Ansible runs it on a host."""
    from_s3 = task.src.startswith("s3://")
    args = {
        "src": task.src,
        "archive_path": "images" if from_s3 else "",
        "bucket": task.bucket,
        "site": SITE,
        "directory": "images",
        "catalog": task.catalog,
        "endpoint_url": task.endpoint,
        "access_key": task.place.env["AWS_ACCESS_KEY_ID"],
        "secret_key": task.place.env["AWS_SECRET_ACCESS_KEY"],
        "region": REGION,
    }
    start = ["-m"] if obstore else ["-c", WITHOUT_OBSTORE]
    return run_module(task, MODULES.format("adt.assets", "asset_sync"), args, start)


def with_boto3(task: Task) -> Run:
    """The same where obstore isn't installed."""
    return asset_sync(task, obstore=False)


def run_module(task: Task, module: str, args: Mapping[str, object], start: list[str]) -> Run:
    """Run an Ansible module by itself."""
    file = task.work / "args.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": args}))
    return measure([[sys.executable, *start, module, str(file)]], PATHS)


def module_seconds(run: Run) -> float:
    """What a run of asset_sync says that its own work took."""
    return float(json.loads(run.said[run.said.index('{"') :].splitlines()[0])["seconds"])


def rclone(task: Task) -> Run:
    """Fetch the archive, unpack it, sync the tree: rclone with the settings that were fastest."""
    remote, transfers = rclone_remote(task), 128 if task.far else 32
    scratch, packed = scratch_of(task)
    # Without --checksum a second run asks for the mtime of each object by itself.
    tuned = [f"--transfers={transfers}", f"--checkers={transfers}", "--checksum", *RCLONE_TUNED]
    fetch = ["rclone", "copyto", remote + task.src[len("s3://") :], str(packed), "--multi-thread-streams=4"]
    sync = ["rclone", "sync", str(scratch / "images"), remote + task.bucket, *tuned]
    return measure([fetch, untar(packed, scratch), sync], {**task.place.env, "RCLONE_CONFIG": os.devnull})


def rclone_archive(task: Task) -> Run:
    """rclone's own way from an archive to a bucket, without a disk."""
    remote = rclone_remote(task)
    transfers = 128 if task.far else 32
    extract = [
        "rclone", "archive", "extract", remote + task.src[len("s3://") :], remote + task.bucket,
        f"--transfers={transfers}", *RCLONE_TUNED,
    ]  # fmt: skip
    return measure([extract], {**task.place.env, "RCLONE_CONFIG": os.devnull})


def rclone_remote(task: Task) -> str:
    return f":s3,provider=Other,env_auth=true,force_path_style=true,endpoint='{task.endpoint}':"


def s5cmd(task: Task) -> Run:
    """Fetch, unpack, sync with s5cmd."""
    scratch, packed = scratch_of(task)
    start = ["s5cmd", "--endpoint-url", task.endpoint]
    fetch = [*start, "cp", task.src, str(packed)]
    sync = [*start, "sync", f"{scratch}/images/", f"s3://{task.bucket}/"]
    return measure([fetch, untar(packed, scratch), sync], task.place.env)


def aws(task: Task) -> Run:
    """Fetch, unpack, sync with the AWS CLI."""
    scratch, packed = scratch_of(task)
    start = ["aws", "--endpoint-url", task.endpoint, "s3"]
    fetch = [*start, "cp", "--quiet", task.src, str(packed)]
    sync = [*start, "sync", "--quiet", f"{scratch}/images/", f"s3://{task.bucket}/"]
    return measure([fetch, untar(packed, scratch), sync], aws_environment(task))


def s3_sync(task: Task) -> Run:
    """Fetch with the AWS CLI, unpack, sync with the module that Ansible has for it."""
    scratch, packed = scratch_of(task)
    start = ["aws", "--endpoint-url", task.endpoint, "s3"]
    fetched = measure([[*start, "cp", "--quiet", task.src, str(packed)], untar(packed, scratch)], aws_environment(task))
    args = {
        "bucket": task.bucket,
        "file_root": f"{scratch}/images",
        "endpoint_url": task.endpoint,
        "access_key": task.place.env["AWS_ACCESS_KEY_ID"],
        "secret_key": task.place.env["AWS_SECRET_ACCESS_KEY"],
        "region": REGION,
    }
    synced = run_module(task, MODULES.format("community.aws", "s3_sync"), args, ["-m"])
    return Run(fetched.wall + synced.wall, fetched.cpu + synced.cpu, max(fetched.rss, synced.rss))


def aws_environment(task: Task) -> dict[str, str]:
    config = task.work / "aws"
    config.write_text("[default]\ns3 =\n  addressing_style = path\n  max_concurrent_requests = 32\n")
    return {**task.place.env, "AWS_CONFIG_FILE": str(config), "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}


def scratch_of(task: Task) -> tuple[Path, Path]:
    """An empty directory, and where the archive goes."""
    scratch = task.work / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    return scratch, scratch / "backup.tar.gz"


def untar(packed: Path, scratch: Path) -> list[str]:
    return ["tar", "-xzf", str(packed), "-C", str(scratch), "images"]


def fetch_and_inflate(task: Task) -> Run:
    """A floor: the archive is read and unpacked, nothing is written."""
    return measure([floor(task, "fetch", task.src)], {**PATHS, **task.place.env})


def upload(task: Task) -> Run:
    """A floor: the files are read from a tree that lies ready, and put, nothing else."""
    return measure([floor(task, "upload", f"{task.work}/tree/images", task.bucket)], {**PATHS, **task.place.env})


def put(task: Task) -> Run:
    """A floor: as many bytes are put under the same names, from memory."""
    return measure([floor(task, "put", f"{task.work}/tree/images", task.bucket)], {**PATHS, **task.place.env})


def list_bucket(task: Task) -> Run:
    """A floor: what the bucket has is listed, no manifest is read."""
    return measure([floor(task, "list", task.bucket)], {**PATHS, **task.place.env})


def floor(task: Task, *words: str) -> list[str]:
    return [sys.executable, str(FLOORS), task.endpoint, *words]


OURS, BOTO3, UPLOAD = "asset_sync", "asset_sync without obstore", "floor: upload only"
RCLONE, S3_SYNC, AWS, S5CMD = "rclone copy, tar, rclone sync", "aws s3 cp, tar, s3_sync", "aws s3", "s5cmd"
FETCH, PUT, LIST = "floor: fetch and inflate", "floor: put from memory", "floor: list the bucket"
CONTENDERS: dict[str, Contender] = {
    OURS: asset_sync,
    BOTO3: with_boto3,
    RCLONE: rclone,
    "rclone archive extract": rclone_archive,
    S5CMD: s5cmd,
    AWS: aws,
    S3_SYNC: s3_sync,
    FETCH: fetch_and_inflate,
    UPLOAD: upload,
    PUT: put,
    LIST: list_bucket,
}
SHORT = {
    "ours": OURS, "boto3": BOTO3, "rclone": RCLONE, "extract": "rclone archive extract", "s5cmd": S5CMD, "aws": AWS,
    "s3_sync": S3_SYNC, "fetch": FETCH, "upload": UPLOAD, "put": PUT,
}  # fmt: skip
