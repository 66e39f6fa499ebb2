# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where is copied to: the bed's SeaweedFS, and a server that keeps all in memory; near, or behind the delay proxy."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from lab import Bed

BED = Bed(os.environ["ADT_BED"])
DELAY = Path(__file__).with_name("delay.py")
REGION = "us-east-1"


class Place:
    """An S3 endpoint with its keys, and the buckets that were made there. ``env`` is what clients are told."""

    def __init__(self, name: str, endpoint: str, access_key: str, secret_key: str) -> None:
        self.name = name
        self.endpoint = endpoint
        self.env = {
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }
        config: Any = {"s3": {"addressing_style": "path"}, "max_pool_connections": 32}
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name=REGION,
            config=Config(request_checksum_calculation="when_required", **config),
        )
        self._buckets: list[str] = []

    def bucket(self, hint: str) -> str:
        """A new, empty bucket."""
        name = f"bench{secrets.token_hex(3)}-{hint}"
        self.client.create_bucket(Bucket=name)
        self._buckets.append(name)
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
        self._buckets.remove(name)
        return len(keys)

    def clear(self) -> None:
        """Remove all buckets that were made here."""
        for name in list(self._buckets):
            self.remove(name)

    @contextmanager
    def far(self, milliseconds: int) -> Iterator[str]:
        """An endpoint of the same place whose every reply comes so much later."""
        if not milliseconds:
            yield self.endpoint
            return
        host, port = self.endpoint.removeprefix("http://").split(":")
        command = [sys.executable, str(DELAY), host, port, str(milliseconds)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
            assert proxy.stdout is not None
            try:
                yield f"http://127.0.0.1:{int(proxy.stdout.readline())}"
            finally:
                proxy.terminate()


def seaweedfs(logged: bool = False) -> Place:
    """The bed's store: past its proxy, or ``logged`` through it, which writes a line for every request."""
    env = BED.env
    endpoint = env["S3_ENDPOINT" if logged else "S3_DIRECT"]
    return Place("SeaweedFS", endpoint, env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])


@contextmanager
def in_memory() -> Iterator[Place]:
    """gofakes3, which keeps everything in memory: the fastest of the servers that were tried (see the guide)."""
    program = BED.built("gofakes3")["asset_mount_install_source"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, "-backend", "memory", "-host", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            place = Place("in memory", f"http://127.0.0.1:{port}", "bench", "bench-secret")
            for _attempt in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield place
        finally:
            server.kill()
