# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""asset_sync against rclone on the same work: a backup in S3 whose asset directory goes into a bucket.

Needs a bed (``make bed-up``). Rounds are interleaved, every run gets a fresh bucket, and what arrived is counted.
Wall seconds are of whole processes, start-up included; peak RSS is that of the largest process.

    make bench                                     # 20,000 files of 20 KB
    python benchmarks/sync.py --files 20 --size 64000000 --rounds 1
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

CACHE = Path(os.environ["ADT_CACHE"])
BED = CACHE / "beds" / os.environ["ADT_BED"]
SITE = "bench.example.com"
RCLONE_TUNED = [
    "--transfers=32", "--checkers=32", "--s3-no-head", "--no-update-modtime", "--s3-no-check-bucket",
    "--buffer-size=64k",
]  # fmt: skip


class Run(NamedTuple):
    """What one run took: wall seconds, CPU seconds, MiB of the largest process."""

    wall: float
    cpu: float
    rss: float


class Peak:
    """A process's peak RSS in MiB. Not ru_maxrss: that begins with the size of the process that forked."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            found = re.search(r"VmHWM:\s+(\d+) kB", self._read())
            # The first moment may still be that of the parent.
            self._peak = int(found.group(1)) if found else self._peak

    def _read(self) -> str:
        try:
            return self._status.read_text()
        except OSError:
            return ""

    def end(self) -> float:
        """The peak, after the process has ended."""
        self._ended.set()
        self._thread.join()
        return self._peak / 1024


class Bench:
    """The store, and buckets that are removed at the end."""

    def __init__(self, work: Path) -> None:
        import boto3
        from botocore.config import Config

        self.work = work
        self.env = bed_environment()
        self.endpoint = self.env["S3_DIRECT"]
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            region_name=self.env["AWS_DEFAULT_REGION"],
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=32),
        )
        self.buckets: list[str] = []

    def bucket(self, hint: str) -> str:
        name = f"bench{secrets.token_hex(3)}-{hint}"
        self.client.create_bucket(Bucket=name)
        self.buckets.append(name)
        return name

    def remove(self, name: str) -> int:
        """Empty and delete a bucket; how many objects it had."""
        keys = []
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=name):
            keys += [{"Key": entry["Key"]} for entry in page.get("Contents", [])]

        def drop(part: list[dict[str, str]]) -> None:
            self.client.delete_objects(Bucket=name, Delete={"Objects": part, "Quiet": True})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(drop, [keys[at : at + 500] for at in range(0, len(keys), 500)]))
        self.client.delete_bucket(Bucket=name)
        self.buckets.remove(name)
        return len(keys)

    def measure(self, *commands: list[str], **env: str) -> Run:
        """Run commands one after the other."""
        started, cpu, rss = time.monotonic(), 0.0, 0.0
        for command in commands:
            with (self.work / "log").open("wb") as log:
                child = subprocess.Popen(
                    command, env={**os.environ, **self.env, **env}, stdout=log, stderr=subprocess.STDOUT
                )
                peak = Peak(child.pid)
                _pid, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                sys.exit(f"{shlex.join(command)} failed:\n{(self.work / 'log').read_text()[-2000:]}")
            cpu += usage.ru_utime + usage.ru_stime
            rss = max(rss, peak.end())
        return Run(time.monotonic() - started, cpu, rss)


def bed_environment() -> dict[str, str]:
    """What the bed's ``env`` file exports."""
    if not (BED / "env").exists():
        sys.exit(f"no bed at {BED}: start one with `make bed-up`")
    words = [word for line in (BED / "env").read_text().splitlines() for word in shlex.split(line, comments=True)]
    return dict(word.split("=", 1) for word in words if "=" in word)


def corpus(files: int, size: int) -> Path:
    """A seeded backup with ``files`` files of ``size`` bytes on average below images/, kept in the cache."""
    packed = CACHE / "bench" / f"corpus-{files}x{size}.tar.gz"
    if packed.exists():
        return packed
    packed.parent.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"{files}x{size}")
    part = packed.with_suffix(".part")
    with tarfile.open(part, "w:gz", compresslevel=1) as tar:
        for number in range(files):
            length = rng.randint(size // 2, size * 3 // 2)
            info = tarfile.TarInfo(f"images/{number % 40:02}/{number % 7}/picture {number}.jpg")
            # Pictures hardly shrink: a tenth of each is compressible.
            body = rng.randbytes(length - length // 10) + bytes(length // 10)
            info.size, info.mtime, info.mode = len(body), 1700000000 + number, 0o644
            tar.addfile(info, io.BytesIO(body))
    part.rename(packed)
    return packed


def ours(bench: Bench, archive: str, bucket: str, catalog: str) -> Run:
    """asset_sync as Ansible runs it on a host."""
    from ansible_collections.adt.assets.plugins.module_utils._catalog import Catalog
    from ansible_collections.adt.assets.plugins.module_utils._store import Store

    Catalog(Store(bench.client), catalog).write_owner(bucket, SITE, "images")
    args = {
        "src": archive,
        "archive_path": "images",
        "bucket": bucket,
        "site": SITE,
        "directory": "images",
        "catalog": catalog,
        "endpoint_url": bench.endpoint,
        "access_key": bench.env["AWS_ACCESS_KEY_ID"],
        "secret_key": bench.env["AWS_SECRET_ACCESS_KEY"],
        "region": bench.env["AWS_DEFAULT_REGION"],
    }
    file = bench.work / "args.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": args}))
    return bench.measure([sys.executable, "-m", "ansible_collections.adt.assets.plugins.modules.asset_sync", str(file)])


def rclone(bench: Bench, archive: str, bucket: str, catalog: str) -> Run:
    """Fetch the archive, unpack it, sync the tree: rclone with the settings that were fastest."""
    remote = f":s3,provider=Other,env_auth=true,force_path_style=true,endpoint='{bench.endpoint}':"
    scratch = bench.work / "scratch"
    scratch.mkdir()
    packed = scratch / "backup.tar.gz"
    result = bench.measure(
        ["rclone", "copyto", remote + archive[len("s3://") :], str(packed), "--multi-thread-streams=4"],
        ["tar", "-xzf", str(packed), "-C", str(scratch), "images"],
        ["rclone", "sync", str(scratch / "images"), remote + bucket, *RCLONE_TUNED],
        RCLONE_CONFIG=os.devnull,
    )
    shutil.rmtree(scratch)
    return result


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20000)
    parser.add_argument("--size", type=int, default=20000, help="bytes on average")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    packed = corpus(options.files, options.size)
    contenders = {"asset_sync": ours, "rclone copy + tar + rclone sync": rclone}
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    again: list[Run] = []
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(Path(work))
        try:
            backups, catalog = bench.bucket("backups"), bench.bucket("catalog")
            bench.client.upload_file(str(packed), backups, "hourly.tar.gz")
            archive = f"s3://{backups}/hourly.tar.gz"
            for number in range(options.rounds):
                for name, contender in contenders.items():
                    bucket = bench.bucket("images")
                    run = contender(bench, archive, bucket, catalog)
                    runs[name].append(run)
                    print(f"round {number + 1}: {name}: {run.wall:.2f} s, {run.rss:.0f} MiB", file=sys.stderr)
                    if contender is ours:
                        again.append(ours(bench, archive, bucket, catalog))
                    arrived = bench.remove(bucket)
                    if arrived != options.files:
                        sys.exit(f"{name} brought {arrived} of {options.files} files")
        finally:
            for name in list(bench.buckets):
                bench.remove(name)
    report(options, packed, {**runs, "asset_sync, nothing changed": again})


def report(options: argparse.Namespace, packed: Path, runs: dict[str, list[Run]]) -> None:
    """Best of the rounds, and how the others compare with asset_sync."""
    best = {name: min(found, key=lambda run: run.wall) for name, found in runs.items()}
    packed_size = packed.stat().st_size / 1e6
    print(f"{options.files} files of {options.size} bytes, {packed_size:.0f} MB packed, best of {options.rounds}")
    print(f"{'':34}{'wall s':>8}{'ratio':>8}{'CPU s':>8}{'RSS MiB':>9}")
    for name, run in best.items():
        rss = max(found.rss for found in runs[name])
        ratio = run.wall / best["asset_sync"].wall
        print(f"{name:34}{run.wall:8.2f}{ratio:8.2f}{run.cpu:8.2f}{rss:9.0f}")


if __name__ == "__main__":
    main()
