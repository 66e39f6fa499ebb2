# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of the work by themselves, which no way can be faster than. Keys come from the environment.

floors.py ENDPOINT fetch s3://BUCKET/KEY      # read an archive and unpack it, write nothing
floors.py ENDPOINT upload FOLDER BUCKET       # put the files of a folder, check nothing
floors.py ENDPOINT put FOLDER BUCKET          # put as many bytes under the same names from memory, read no file
floors.py ENDPOINT list BUCKET                # list what is in a bucket, read no manifest
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import obstore

from ansible_collections.adt.assets.plugins.module_utils._crew import connections
from ansible_collections.adt.assets.plugins.module_utils._inflate import Limits, inflate
from ansible_collections.adt.assets.plugins.module_utils._remote import RemoteFile
from ansible_collections.adt.assets.plugins.module_utils._store import Store, client_config

MEMORY = 1 << 20  # more than the largest file that is put from memory


def fetch(store: Store, src: str) -> None:
    """Read and unpack."""
    bucket, _slash, key = src.removeprefix("s3://").partition("/")
    head = store.client.head_object(Bucket=bucket, Key=key)
    file = RemoteFile(store, bucket, key, head["ETag"].strip('"'), head["ContentLength"])
    for _piece in inflate(file.pieces(), Limits()):
        pass


def upload(store: Store, folder: Path, bucket: str, body: Callable[[Path], bytes]) -> None:
    """Put every file, with what ``body`` has for it."""
    there = store.obstore(bucket)

    def put(path: Path) -> None:
        obstore.put(there, path.relative_to(folder).as_posix(), body(path), use_multipart=False)

    paths = [path for path in folder.rglob("*") if path.is_file()]
    workers = connections(store.round_trip())
    started = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        for _done in pool.map(put, paths):
            pass
    print(time.monotonic() - started)


def list_bucket(store: Store, bucket: str) -> None:
    """List every object."""
    started = time.monotonic()
    for _object in store.list(bucket):
        pass
    print(time.monotonic() - started)


def main() -> None:
    """Do one part; upload, put and list say how many seconds it took by itself."""
    endpoint, what, *words = sys.argv[1:]
    store = Store(boto3.client("s3", endpoint_url=endpoint, config=client_config("auto")))
    if what == "fetch":
        fetch(store, words[0])
    elif what == "list":
        list_bucket(store, words[0])
    elif what == "upload":
        upload(store, Path(words[0]), words[1], Path.read_bytes)
    else:
        noise = os.urandom(MEMORY)
        upload(store, Path(words[0]), words[1], lambda path: noise[: path.stat().st_size])


if __name__ == "__main__":
    main()
