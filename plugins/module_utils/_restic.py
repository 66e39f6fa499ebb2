# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restic, from 0.14 on, with a repository in S3: how it is called, and what it does not say by itself.

Secrets go through its environment, which only its user can read; none stands in an argument.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from ._backup import SourceError
from ._progress import Amount
from ._store import Store

FOLDER = "restic"  # of the bucket
LOCKED_SECONDS = 900.0  # how long to wait for another host that checks, prunes or forgets
PIECE = 1024 * 1024
STOP_SECONDS = 10.0  # until what doesn't stop is killed
UNREADABLE = 3  # exit code: a snapshot was saved, and lacks files
SHOWN = 5


class Repository(NamedTuple):
    """Where the backups are, and what opens them. ``password``: the words themselves, or ``@`` and a file with them."""

    endpoint_url: str
    bucket: str
    region: str
    virtual: bool
    ca_bundle: str
    password: str
    access_key: str
    secret_key: str
    session_token: str
    cache: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """restic's own; nothing of the caller's can send it elsewhere. Times are in UTC."""
        word = {"RESTIC_PASSWORD": self.password}
        if self.password.startswith("@"):
            word = {"RESTIC_PASSWORD_FILE": self.password[1:]}
        given = {
            "PATH": os.environ.get("PATH", os.defpath),
            "TZ": "UTC",
            "RESTIC_REPOSITORY": f"s3:{self.endpoint_url}/{self.bucket}/{FOLDER}",
            "RESTIC_CACHE_DIR": self.cache,
            "RESTIC_PROGRESS_FPS": "1",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SESSION_TOKEN": self.session_token,
            "AWS_DEFAULT_REGION": self.region,
            **word,
        }
        return {name: value for name, value in given.items() if value}

    @property
    def arguments(self) -> list[str]:
        """What every call begins with."""
        style = "dns" if self.virtual else "path"
        trusted = ["--cacert", self.ca_bundle] if self.ca_bundle else []
        uncached = [] if self.cache else ["--no-cache"]
        return ["restic", "-o", f"s3.bucket-lookup={style}", *trusted, *uncached]


def repository_of(store: Store, bucket: str, password: str, cache: str = "") -> Repository:
    """The repository in a bucket of a store, with the credentials that the store has."""
    keys = store.credentials()
    return Repository(
        endpoint_url=store.endpoint_url,
        bucket=bucket,
        region=store.region,
        virtual=store.bucket_url(bucket) != f"{store.endpoint_url}/{bucket}",
        ca_bundle=store.ca_bundle,
        password=password,
        access_key=keys.access_key,
        secret_key=keys.secret_key,
        session_token=keys.token or "",
        cache=cache,
    )


class ResticError(SourceError):
    """restic failed. ``code``: its exit code; ``output``: what it printed."""

    def __init__(self, message: str, code: int, output: bytes) -> None:
        super().__init__(message)
        self.code, self.output = code, output


class Restic:
    """One repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def run(self, *arguments: str) -> bytes:
        """What restic prints. Waits while the repository is locked by another host; raises ResticError."""
        began = time.monotonic()
        while True:
            done = self._start(subprocess.run, arguments, capture_output=True, check=False)
            if done.returncode == 0:
                return done.stdout
            if not _is_locked(done.stderr, began):
                raise self._error(arguments, done.returncode, done.stdout, done.stderr)
            _wait_for_lock()

    def watch(
        self, keep: Callable[[bytes], bool], *arguments: str, started: Callable[[int], None] = lambda pid: None
    ) -> bytes:
        """As run(), while ``keep`` is given each line when it's printed, and says whether it is returned in the end.

        ``started`` is told the number of restic's process.
        """
        kept: list[bytes] = []
        try:
            with closing(self._pieces(arguments, lambda output: output.readline(), started)) as lines:
                kept.extend(line for line in lines if keep(line))
        except ResticError as error:
            error.output = b"".join(kept)
            raise
        return b"".join(kept)

    def stream(self, *arguments: str) -> Generator[bytes, None, None]:
        """The same in pieces, as they come; the error is raised at their end. A reader that stops early ends restic."""
        return self._pieces(arguments, lambda output: output.read(PIECE), lambda pid: None)

    def _pieces(
        self, arguments: tuple[str, ...], take: Callable[[Any], bytes], started: Callable[[int], None]
    ) -> Generator[bytes, None, None]:
        began = time.monotonic()
        printed = False
        while True:
            with tempfile.TemporaryFile() as errors:  # a pipe could fill up, and restic would wait
                process = self._start(subprocess.Popen, arguments, stdout=subprocess.PIPE, stderr=errors)
                started(process.pid)
                with process, _ended(process):
                    while piece := take(process.stdout):
                        printed = True
                        yield piece
                errors.seek(0)
                said = errors.read()
            if process.returncode == 0:
                return
            if printed or not _is_locked(said, began):
                raise self._error(arguments, process.returncode, b"", said)
            _wait_for_lock()

    def records(self, *arguments: str) -> Iterator[dict[str, Any]]:
        """What restic prints as one JSON object a line."""
        for line in self.run(*arguments).splitlines():
            yield json.loads(line)

    def version(self) -> str:
        """Such as 0.18.0."""
        return self.run("version").split()[1].decode()

    def exists(self) -> bool:
        """Whether there is a repository that the password opens. Raises ResticError when it can't be told."""
        try:
            self.run("cat", "config")
        except ResticError as error:
            if "unable to open config file" in str(error) or "repository does not exist" in str(error):
                return False
            raise
        return True

    def snapshots(self, *ids: str) -> list[dict[str, Any]]:
        """All snapshots, or those of these ids."""
        return json.loads(self.run("snapshots", "--json", *ids) or b"[]") or []

    def files(self, snapshot: str) -> list[tuple[str, int]]:
        """Path and size of each file of a snapshot, read from the repository and not from this host's memory of it."""
        found = self.records("ls", "--json", "--no-cache", snapshot)
        return [(each["path"], each.get("size", 0)) for each in found if each.get("type") == "file"]

    def nodes(self, snapshot: str, top: str) -> Iterator[dict[str, Any]]:
        """A directory of a snapshot, and whatever lies in it, as files() reads it; nothing where there is none."""
        found = self.records("ls", "--json", "--recursive", "--no-cache", snapshot, top)
        return (each for each in found if each.get("struct_type") == "node")

    def dump(self, snapshot: str, top: str) -> Generator[bytes, None, None]:
        """What lies in a directory of a snapshot, as a tar archive. See _snapshot for what it isn't."""
        return self.stream("dump", "--no-cache", "--archive", "tar", snapshot, top)

    def read(self, snapshot: str, path: str) -> bytes:
        """One file of a snapshot."""
        return self.run("dump", "--no-cache", snapshot, path)

    def _start(self, call: Callable[..., Any], arguments: tuple[str, ...], **others: Any) -> Any:
        repository = self._repository
        words = [*repository.arguments, *arguments]
        try:
            return call(words, env=repository.environment, stdin=subprocess.DEVNULL, **others)
        except FileNotFoundError:
            raise SourceError("restic isn't installed on this host: install the package restic")

    def _error(self, arguments: tuple[str, ...], code: int, output: bytes, errors: bytes) -> ResticError:
        lines = [line for line in _without_stack(errors.decode(errors="replace").splitlines()) if line.strip()]
        told = "; ".join(dict.fromkeys(_plain(line) for line in lines[-SHOWN:]))
        where = f"{self._repository.bucket} at {self._repository.endpoint_url}"
        return ResticError(f"restic {arguments[0]} failed with {where} (exit code {code}): {told}", code, output)


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """restic has ended after the block. When it is stopped it takes its lock away, which others would wait for."""
    try:
        yield
        process.wait()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # 0.14 leaves its lock behind on SIGTERM
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _is_locked(errors: bytes, began: float) -> bool:
    """Whether another host has the repository to itself, and is worth waiting for."""
    return b"already locked" in errors and time.monotonic() - began < LOCKED_SECONDS


def _wait_for_lock() -> None:
    time.sleep(random.uniform(2, 10))  # noqa: S311


def summary(output: bytes) -> dict[str, Any]:
    """The last words of ``backup --json``; empty when it didn't come so far."""
    for line in reversed(output.splitlines()):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("message_type") == "summary":
            return record
    return {}


def progress(line: bytes) -> tuple[Amount, Amount] | None:
    """How far ``backup --json`` is, where a line tells that: what is done, and what there is as far as it knows."""
    if not line.startswith(b'{"message_type":"status"'):
        return None
    found: dict[str, int] = json.loads(line)
    done = Amount(found.get("files_done", 0), found.get("bytes_done", 0))
    return done, Amount(found.get("total_files", 0), found.get("total_bytes", 0))


def _without_stack(lines: list[str]) -> list[str]:
    """What a program in Go says before it says where in its source it was; each place's second line is indented."""
    for at, line in enumerate(lines):
        if line.startswith(("goroutine ", "\t")):
            return lines[: at - line.startswith("\t")]
    return lines


def _plain(line: str) -> str:
    """An error's text, which newer versions wrap into JSON when JSON was asked for."""
    try:
        record = json.loads(line)
    except ValueError:
        return line.strip()
    if not isinstance(record, dict):
        return line.strip()
    error = record.get("error")
    return (
        " ".join(
            str(part)
            for part in (
                record.get("item"),
                error.get("message") if isinstance(error, dict) else error,
                record.get("message"),
            )
            if part
        )
        or line.strip()
    )
