# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One asset directory of a site on the real store, for the tests of sync, compare, copy and fetch."""

from __future__ import annotations

import io
import json
import os
import random
import secrets
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from conftest import module_path, remove_bucket
from faulty import FaultyStore

from ansible_collections.adt.assets.plugins.module_utils import _compare, _copy, _fetch, _shelf, _store, _sync
from ansible_collections.adt.assets.plugins.module_utils._backup import SourceError
from ansible_collections.adt.assets.plugins.module_utils._catalog import STORE_KEY, Catalog
from ansible_collections.adt.assets.plugins.module_utils._options import errand_from, job_from, move_from, question_from
from ansible_collections.adt.assets.plugins.module_utils._store import Store, StoreError, client_config

SITE = "www.example.com"
ACTIONS = ("uploaded", "updated", "unchanged", "kept", "kept_deleted", "saved", "pruned")


# The modules' defaults.
DEFAULTS: dict[str, Any] = {
    "archive_path": "",
    "src_password": None,
    "progress_file": None,
    "symlinks": "rclonelink",
    "max_unpacked": 1 << 40,
    "max_ratio": 200,
}
ENGINES: dict[str, Any] = {
    "asset_sync": (
        job_from,
        _sync.run,
        {
            "backup_time": None,
            "on_conflict": "keep",
            "host_label": None,
            "prune": False,
            "shard": None,
            "read_all": False,
            "workers": 8,
        },
    ),
    "asset_compare": (
        question_from,
        _compare.run,
        {"digest": "manifest", "accept_history": False, "accept_kept": False, "workers": 8},
    ),
    "asset_copy": (move_from, _copy.run, {"workers": 8}),
    "asset_fetch": (
        errand_from,
        _fetch.run,
        {"aside": None, "owner": "root", "group": "root", "only": [], "without": [], "workers": 8},
    ),
}


class Assets:
    """The bucket of directory ``images``, its modules, and what really is in it."""

    def __init__(self, run_module: Any, client: Any, bucket: str, catalog: str, bed: dict[str, str]) -> None:
        self.run_module = run_module
        self.client = client
        self.store = Store(client)
        self.bucket = bucket
        self.catalog = catalog
        self._log = Path(bed.get("S3_LOG", os.devnull))
        self._log_at = 0
        self.target: dict[str, Any] = {"buckets": [bucket], "site": SITE, "directory": "images", "catalog": catalog}

    def module(self, name: str, ok: bool = True, check: bool = False, env: Any = None, **options: Any) -> Any:
        """Run a module as Ansible does; ``ok`` False expects a failure."""
        result = self.run_module(name, {**self.target, **options}, check=check, env=env)
        assert bool(result.get("failed")) is not ok, result.get("msg", result)
        return result

    def engine(self, name: str, ok: bool | None = True, check: bool = False, **options: Any) -> Any:
        """The same without a process of its own, which takes longer to start than most of these tests need.

        ``ok`` None: it may fail or not.
        """
        make, work, defaults = ENGINES[name]
        warnings: list[str] = []
        module = SimpleNamespace(params={**DEFAULTS, **defaults, **self.target, **options}, check_mode=check)
        try:
            result = {**work(make(module), self.store, warnings.append), "warnings": warnings}
        except (SourceError, StoreError) as error:
            result = {"failed": True, "msg": str(error)}
        assert ok is None or bool(result.get("failed")) is not ok, result.get("msg", result)
        return result

    def sync(self, src: Any, **options: Any) -> Any:
        """asset_sync of ``images`` in a source."""
        return self.engine("asset_sync", src=str(src), **{"archive_path": "images", **options})

    def failing_sync(self, src: Any, **options: Any) -> str:
        """The message of an asset_sync that must fail."""
        return self.sync(src, ok=False, **options)["msg"]

    def objects(self, bucket: str = "") -> dict[str, bytes]:
        """Every object with its bytes, read by boto3."""
        bucket = bucket or self.bucket
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {key: self.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def catalog_keys(self, prefix: str) -> list[str]:
        """Keys of the catalog below a prefix."""
        answer = self.client.list_objects_v2(Bucket=self.catalog, Prefix=prefix)
        return [entry["Key"] for entry in answer.get("Contents", [])]

    def has_manifest(self) -> bool:
        """Whether a sync claims anything about this bucket."""
        return bool(self.catalog_keys(f"manifests/{self.bucket}"))

    def intents(self) -> list[str]:
        """Intents that no run has cleared."""
        return self.catalog_keys(f"intents/{self.bucket}/")

    def edit(self, key: str, body: bytes) -> None:
        """What a user does through a mount."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def delete(self, key: str) -> None:
        """What a user does through a mount."""
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def forget(self) -> None:
        """Bucket and catalog as they were at first."""
        self.empty()
        for prefix in ("manifests/", "intents/", "status/"):
            for key in self.catalog_keys(f"{prefix}{self.bucket}"):
                self.client.delete_object(Bucket=self.catalog, Key=key)

    def empty(self, bucket: str = "") -> None:
        """Remove all objects, many at once."""
        bucket = bucket or self.bucket
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            keys = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
            if keys:
                self.client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})

    def _lines_of_log(self) -> list[str]:
        """The server's log up to now: it has one worker, which logs requests in the order of their ends."""
        assert self._log.is_file(), "this needs the bed's access log"
        mark = f"mark-{secrets.token_hex(8)}"
        with suppress(ClientError):
            self.client.head_bucket(Bucket=mark)
        end = time.monotonic() + 10
        while mark not in (text := self._log.read_text()):
            assert time.monotonic() < end, "the server doesn't log what it is asked"
            time.sleep(0.01)
        return text[: text.index(mark)].splitlines()

    def mark_log(self) -> None:
        """From here on count requests."""
        self._log_at = len(self._lines_of_log())

    def requests(self, *methods: str, buckets: tuple[str, ...] = ()) -> list[str]:
        """The requests (method and URI) for the bucket and the catalog since mark_log(), from the server's own log."""
        found = [line.split(" ")[1:3] for line in self._lines_of_log()[self._log_at : -1]]
        starts = tuple(f"/{name}" for name in buckets or (self.bucket, self.catalog))
        return [f"{method} {uri}" for method, uri in found if method in methods and uri.startswith(starts)]


def spawn(
    assets: Assets, s3_options: dict[str, str], work: Path, src: Path, stdout: int = subprocess.PIPE, **options: Any
) -> subprocess.Popen:
    """A sync as a process of its own, for those that run at once or are killed."""
    args = {**s3_options, **assets.target, "src": str(src), "archive_path": "images", **options}
    file = work / f"args-{time.time_ns()}.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": args}))
    env = {"PYTHONPATH": module_path(), "PATH": os.environ["PATH"], "HOME": str(work)}
    command = [sys.executable, "-m", "ansible_collections.adt.assets.plugins.modules.asset_sync", str(file)]
    return subprocess.Popen(command, env=env, stdout=stdout, stderr=subprocess.STDOUT)


def many(site: Path, count: int, seed: int, size: int) -> None:
    """Fill a webroot with so many files of so many bytes; others with another seed."""
    images = site / "images" / "many"
    images.mkdir(exist_ok=True)
    rng = random.Random(seed)
    for number in range(count):
        (images / f"{number}.jpg").write_bytes(rng.randbytes(size))


def store_at(url: str, s3_options: dict[str, str]) -> Store:
    """The engine's store, as it makes it itself, behind another address."""
    client = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=s3_options["access_key"],
        aws_secret_access_key=s3_options["secret_key"],
        region_name=s3_options["region"],
        config=client_config("path"),
    )
    return Store(client)


def archive(contents: dict[str, bytes], mode: str = "w:gz") -> bytes:
    """A backup of a site with these images."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode, format=tarfile.USTAR_FORMAT) as tar:
        for name, body in contents.items():
            member = tarfile.TarInfo(f"images/{name}")
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return packed.getvalue()


def counts(result: Any) -> dict[str, int]:
    """The summary's counts that aren't zero."""
    return {name: result["summary"][name]["count"] for name in ACTIONS if result["summary"][name]["count"]}


def pack(site: Path, name: str = "backup.tar.gz", mtime: int = 0, entry: str = ".", *options: str) -> Path:
    """A backup of a webroot, as the toolkit makes them, or with more options of tar; ``mtime`` sets its time."""
    packed = site.parent / name
    flags = {"gz": ["-z"], "zst": ["-I", "zstd"], "tar": []}[name.rpartition(".")[2]]
    subprocess.run(["tar", "-c", *options, *flags, "-f", packed, "-C", site, entry], check=True)
    if mtime:
        os.utime(packed, (mtime, mtime))
    return packed


def contents(images: Path) -> dict[str, bytes]:
    """What the bucket of a directory should hold."""
    found = {}
    for path in images.rglob("*"):
        key = str(path.relative_to(images))
        if path.is_symlink():
            found[key + ".rclonelink"] = os.fsencode(path.readlink())
        elif path.is_file():
            found[key] = path.read_bytes()
        elif not any(path.iterdir()):
            found[key + "/"] = b""
    return found


@pytest.fixture(scope="module")
def catalog(client: Any) -> Iterator[str]:
    """A catalog that the tests of a module share: each bucket costs the server seven volumes."""
    name = f"t{time.time_ns() % 10**9}-catalog"
    client.create_bucket(Bucket=name)
    yield name
    remove_bucket(client, name)


@pytest.fixture
def assets(run_module: Any, client: Any, new_name: Any, catalog: str, bed: dict[str, str]) -> Iterator[Assets]:
    """A fresh bucket for directory images."""
    found = Assets(run_module, client, new_name("images"), catalog, bed)
    client.create_bucket(Bucket=found.bucket)
    Catalog(found.store, catalog).write_owner(found.bucket, SITE, "images")
    yield found
    found.empty()


@pytest.fixture
def plain_store(tmp_path: Path, run_module: Any, bed: dict[str, str]) -> Iterator[Assets]:
    """`rclone serve s3`: a store that accepts conditions and honours none."""
    for name in ("bucket", "catalog"):
        (tmp_path / "served" / name).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    keys = {"access_key": "anaccesskey", "secret_key": "asecretkey", "region": "us-east-1"}
    command = [
        "rclone", "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", "anaccesskey,asecretkey",
        "--vfs-cache-mode", "off", str(tmp_path / "served"),
    ]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    store = store_at(f"http://127.0.0.1:{port}", keys)
    for _attempt in range(50):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    found = Assets(run_module, store.client, "bucket", "catalog", bed)
    Catalog(store, "catalog").write_owner("bucket", SITE, "images")
    yield found
    server.terminate()
    server.wait()


@pytest.fixture(autouse=True)
def small_shelves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of few files does here what one of a million does; whole processes (module, spawn) have the real bounds."""
    for name, value in {
        "NEAR_MAX": 4,
        "NEAR_MIN": 2,
        "WRITTEN_TOGETHER": 5,
        "READ_TOGETHER": 3,
        "REMEMBERED": 4,
    }.items():
        monkeypatch.setattr(_shelf, name, value)


@pytest.fixture
def unconditional(assets: Assets) -> Iterator[Assets]:
    """A bucket on a store of which the catalog says that it doesn't honour conditions; it is sound in all else."""
    record = {"stores": {assets.store.endpoint_url: {"conditional_writes": False}}}
    assets.client.put_object(Bucket=assets.catalog, Key=STORE_KEY, Body=json.dumps(record).encode())
    yield assets
    assets.client.delete_object(Bucket=assets.catalog, Key=STORE_KEY)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses before another try are a fiftieth of the real ones, and a silent store is given up after 2 s."""
    monkeypatch.setattr(_store, "delay", lambda attempt, real=_store.delay: real(attempt) / 50)
    monkeypatch.setattr(_store, "STALL_SECONDS", 2)
    monkeypatch.setattr(_store, "READ_SECONDS", 2)


@pytest.fixture
def through(assets: Assets, s3_options: dict[str, str]) -> Iterator[Any]:
    """Puts a faulty store between the engine and the bed's: ``through(faults, …)`` as FaultyStore takes them."""
    proxies = []

    def put_between(faults: dict[tuple[str, str], float], only: str = "", **options: Any) -> FaultyStore:
        keys = (s3_options["access_key"], s3_options["secret_key"])
        proxies.append(FaultyStore(s3_options["endpoint_url"], faults, only, keys=keys, **options))
        assets.store = store_at(proxies[-1].url, s3_options)
        return proxies[-1]

    yield put_between
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A webroot with a small asset directory of all sorts."""
    images = tmp_path / "site" / "images"
    (images / "2026" / "05").mkdir(parents=True)
    (images / "empty" / "too").mkdir(parents=True)
    (tmp_path / "site" / "index.php").write_text("<?php")
    for number in range(12):
        (images / "2026" / f"p{number}.jpg").write_bytes(os.urandom(3000 * number + 1))
    (images / "2026" / "05" / "ü b+%2F.jpg").write_bytes(b"x")
    (images / ".htaccess").write_text("Deny from all")
    (images / "nothing").touch()
    (images / "2026" / "link").symlink_to("05/ü b+%2F.jpg")
    os.link(images / "2026" / "p5.jpg", images / "z-hard.jpg")
    (images / "2026" / "p1.jpg").chmod(0o640)
    os.utime(images / "2026" / "p1.jpg", (1700000000, 1700000000))
    return tmp_path / "site"
