# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A webroot as a plain ``tar.gz`` in a bucket, for a toolkit that many sites come from: streamed, without the disk.

    applicationsourcecode.tar.gz                    the newest, which that toolkit looks for
    applicationsourcecode.tar.gz.20260131T231705Z   each that is kept, by when its backup was begun

An archive comes under the dated name first, and only when it is whole; then the store copies it. So the last good one
is never renamed or removed before there is a newer one (H18), and there is never a part of one.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import IO, NamedTuple, cast

from ._backup import SourceError
from ._crew import Crew
from ._headers import Headers
from ._large import PartSender
from ._names import exclude_patterns
from ._progress import Amount, Work, io_of
from ._store import Listed, Store
from ._upload import Uploader, md5, part_size

NAME = "applicationsourcecode.tar.gz"
THREADS = 3  # each holds a part
TAR_BLOCKS = 3 * 512  # what a file takes at most besides its bytes, unless its name is long
CHANGED = 1  # exit code: a file became another while it was read; the archive is whole
SHOWN = 5

_DATED = re.compile(re.escape(NAME) + r"\.\d{8}T\d{6}Z")


class Webroot(NamedTuple):
    """What is archived: directories below ``path`` are left out; about so many files and bytes are left."""

    path: str
    excludes: Sequence[str]
    files: int
    bytes: int


class Archived(NamedTuple):
    """``src`` as the modules take it; ``notes``: what tar said of files that changed while it read them."""

    src: str
    bytes: int
    notes: list[str]


def dated(time: str) -> str:
    """The key of the archive of a backup that was begun at a time, as records have that."""
    return f"{NAME}.{re.sub('[:-]', '', time)}"


def outlived_archives(keys: Sequence[str], keep: int) -> list[str]:
    """Pure. The dated ones beyond the newest ``keep``; what others have left in the bucket is theirs."""
    return sorted(key for key in keys if _DATED.fullmatch(key))[:-keep]


def unfinished(keys: Iterable[str], time: str) -> set[str]:
    """Pure. Of the keys that are being uploaded those of older backups, which only a run that was killed has left.

    ``time`` is that of the backup whose turn it is: nobody else stores archives of its period meanwhile. Uploads below
    the name that the toolkit has, too, may be the toolkit's.
    """
    return {key for key in keys if _DATED.fullmatch(key) and key < dated(time)}


def tar_command(webroot: Webroot) -> list[str]:
    """One run of tar for all names, however many (H17)."""
    excludes = [f"--exclude={pattern}" for pattern in exclude_patterns(list(webroot.excludes), "tar")]
    return ["tar", "--create", "--gzip", "--one-file-system", *excludes, f"--directory={webroot.path}", "--file=-", "."]


def store_archive(store: Store, bucket: str, webroot: Webroot, time: str, work: Work) -> Archived:
    """Archive a webroot. Raises SourceError and StoreError; then no object has come."""
    uploader, key = Uploader(store, bucket, conditional=False), dated(time)
    step = part_size(webroot.bytes + webroot.files * TAR_BLOCKS)
    crew = Crew(THREADS, THREADS * step)
    sender = PartSender(crew, uploader, key, Headers("application/gzip", {}))
    etags: list[str] = []
    try:
        size, notes = _send(webroot, sender, crew, step, work)
        sender.close(lambda sent: etags.append(uploader.finish(key, sender.upload, sent, None)))
        crew.wait()
    except BaseException:
        crew.end()  # no part may come after the end
        uploader.abort(key, sender.upload)
        raise
    crew.end()
    work.go_on("copying the archive")
    uploader.copy(Listed(key, size, etags[0], ""), uploader, NAME)
    return Archived(f"s3://{bucket}/{key}", size, notes)


def _send(webroot: Webroot, sender: PartSender, crew: Crew, step: int, work: Work) -> tuple[int, list[str]]:
    """Give all that tar writes to the crew; the size, and what tar noted. Raises SourceError unless it is whole."""
    size = 0
    said: deque[bytes] = deque(maxlen=SHOWN)
    # Nothing of the caller's may change what tar does (TAR_OPTIONS), nor how it says it.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    command = tar_command(webroot)
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as tar:
        work.go_on("archiving", lambda: Amount(0, io_of(tar.pid).read), Amount(0, webroot.bytes), estimated=True)
        output, errors = cast(IO[bytes], tar.stdout), cast(IO[bytes], tar.stderr)
        listener = threading.Thread(target=said.extend, args=(errors,), daemon=True)
        listener.start()
        while True:
            crew.claim(step)
            body = output.read(step)
            if not body:
                break
            size += len(body)
            sender.send(body, md5(body))
        listener.join()
    notes = [line.decode(errors="replace").strip() for line in said]
    if tar.returncode not in (0, CHANGED):
        raise SourceError(f"tar failed with {webroot.path} (exit code {tar.returncode}): {'; '.join(notes)}")
    return size, notes if tar.returncode == CHANGED else []


def forget_archives(store: Store, bucket: str, keep: int) -> None:
    """Remove those that have outlived their period. Raises StoreError."""
    for key in outlived_archives([listed.key for listed in store.list(bucket, NAME)], keep):
        with store.errors(f"can't delete {bucket}/{key}"):
            store.client.delete_object(Bucket=bucket, Key=key)


def forget_unfinished(store: Store, bucket: str, time: str) -> None:
    """Have the store throw away what runs before the backup of a time were killed over: it would keep (and charge for)
    the parts for ever, and lists them nowhere else. Raises StoreError.
    """
    with store.errors(f"can't look for unfinished uploads in {bucket}"):
        pages = store.client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=f"{NAME}.")
        found = [(each["Key"], each["UploadId"]) for page in pages for each in page.get("Uploads", [])]
        ours = unfinished((key for key, _upload in found), time)
        for key, upload in found:
            if key in ours:
                store.client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
