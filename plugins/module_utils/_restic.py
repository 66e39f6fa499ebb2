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
import subprocess
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ._backup import SourceError
from ._store import Store

FOLDER = "restic"  # of the bucket
LOCKED_SECONDS = 900.0  # how long to wait for another host that checks, prunes or forgets
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
            "RESTIC_PROGRESS_FPS": "0.1",
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


def repository_of(store: Store, bucket: str, password: str, ca_bundle: str, cache: str = "") -> Repository:
    """The repository in a bucket of a store, with the credentials that the store has."""
    keys = store.credentials()
    return Repository(
        endpoint_url=store.endpoint_url,
        bucket=bucket,
        region=store.region,
        virtual=store.bucket_url(bucket) != f"{store.endpoint_url}/{bucket}",
        ca_bundle=ca_bundle,
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
            done = self._start(arguments)
            if done.returncode == 0:
                return done.stdout
            locked = b"already locked" in done.stderr and time.monotonic() - began < LOCKED_SECONDS
            if not locked:
                raise self._error(arguments, done.returncode, done.stdout, done.stderr)
            time.sleep(random.uniform(2, 10))  # noqa: S311

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

    def read(self, snapshot: str, path: str) -> bytes:
        """One file of a snapshot."""
        return self.run("dump", "--no-cache", snapshot, path)

    def _start(self, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
        repository = self._repository
        try:
            return subprocess.run(
                [*repository.arguments, *arguments],
                env=repository.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        except FileNotFoundError:
            raise SourceError("restic isn't installed on this host: install the package restic")

    def _error(self, arguments: tuple[str, ...], code: int, output: bytes, errors: bytes) -> ResticError:
        lines = [line for line in errors.decode(errors="replace").splitlines() if line.strip()]
        told = "; ".join(dict.fromkeys(_plain(line) for line in lines[-SHOWN:]))
        where = f"{self._repository.bucket} at {self._repository.endpoint_url}"
        return ResticError(f"restic {arguments[0]} failed with {where} (exit code {code}): {told}", code, output)


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
