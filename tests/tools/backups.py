# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of temporal backups share: backups made, restic alone, and settings changed for a while."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml
from lab import TESTS
from scenario import BED, WEBSERVERS

# restic as an administrator would call it on a webserver.
RESTIC = """
import json, os, sys
keys = json.load(open("{credentials}/backup-keys.json"))
os.environ.update(AWS_ACCESS_KEY_ID=keys["access_key"], AWS_SECRET_ACCESS_KEY=keys["secret_key"])
os.environ.update(RESTIC_PASSWORD_FILE="{credentials}/backup-password")
os.environ.update(RESTIC_REPOSITORY="s3:{endpoint}/{bucket}/restic")
os.execvp("sh", ["sh", "-c", "restic --no-cache -o s3.bucket-lookup=path " + sys.argv[1]])
"""


@dataclass(frozen=True)
class Backups:
    """The backups of one site."""

    site: str

    @property
    def slug(self) -> str:
        return self.site.replace(".", "-")

    @property
    def catalog(self) -> str:
        return f"{self.slug}-assets-catalog"

    @property
    def bucket(self) -> str:
        return f"{self.slug}-assets-backups"

    @property
    def unit(self) -> str:
        return f"adt-assets-backup-{self.catalog}"

    @property
    def results(self) -> str:
        return f"/var/lib/adt-assets/backups/{self.catalog}"

    def back_up(self, host: str, what: str) -> dict[str, Any]:
        """Have a webserver's service make a backup, or check; what it says of that."""
        result = f"{self.results}/{what}.json"
        start = f"rm -f {result}; systemctl start {self.unit}@{what}.service; cat {result}"
        return json.loads(BED.on(host, start))

    def restic(self, host: str, command: str) -> str:
        """What restic prints on a webserver."""
        credentials = f"/etc/adt-assets/credentials/{self.catalog}"
        script = RESTIC.format(credentials=credentials, endpoint=BED.env["S3_ENDPOINT"], bucket=self.bucket)
        return BED.on(host, f"python3 -c {shlex.quote(script)} {shlex.quote(command)}")

    def announced(self, period: str = "") -> list[dict[str, Any]]:
        """The records in the catalog, of one period or of all, the newest first."""
        keys = [key for key in BED.objects(self.catalog) if key.startswith(f"backups/{period}") and "Z-" in key]
        found = [json.loads(BED.s3.get_object(Bucket=self.catalog, Key=key)["Body"].read()) for key in keys]
        return sorted(found, key=lambda record: record["time"], reverse=True)

    def forget_turn(self, period: str) -> None:
        """As if nobody had done anything yet in this slot of the calendar."""
        BED.s3.delete_object(Bucket=self.catalog, Key=f"backups/turns/{period}.json")


# The site of the scenario webroot_backup.
SITE = "www.backup.example.com"
_ITS = Backups(SITE)
SLUG, CATALOG, BUCKET, UNIT, RESULTS = _ITS.slug, _ITS.catalog, _ITS.bucket, _ITS.unit, _ITS.results
SETTINGS = f"/etc/adt-assets/backups/{CATALOG}.json"
SCENARIO = TESTS.parent / "extensions/molecule/webroot_backup"
PASSWORD = yaml.safe_load((SCENARIO / "vars/site.yml").read_text())["password"]
back_up, restic, announced, forget_turn = _ITS.back_up, _ITS.restic, _ITS.announced, _ITS.forget_turn


def snapshots() -> set[str]:
    """The ids of all snapshots of the repository, announced or not."""
    return {each["id"] for each in json.loads(restic(WEBSERVERS[0], "snapshots --json")) or []}


@contextmanager
def changed_settings(host: str, **changes: Any) -> Iterator[None]:
    """Other settings of the program on one webserver inside the block."""
    before = BED.on(host, f"cat {SETTINGS}")
    try:
        _write(host, json.dumps({**json.loads(before), **changes}))
        yield
    finally:
        _write(host, before)


@contextmanager
def slowed(host: str) -> Iterator[None]:
    """restic sends and receives 5 MB/s on a host inside the block, and rsync takes its time before it begins."""
    programs = {
        "restic": 'exec /usr/bin/restic --limit-upload 5000 --limit-download 5000 "$@"',
        "rsync": 'sleep 2; exec /usr/bin/rsync "$@"',
    }
    for name, line in programs.items():
        BED.on(
            host,
            f"printf '#!/bin/sh\\n%s\\n' {shlex.quote(line)} > /usr/local/bin/{name}; chmod +x /usr/local/bin/{name}",
        )
    try:
        yield
    finally:
        BED.on(host, f"cd /usr/local/bin && rm {' '.join(programs)}")


@contextmanager
def damaged(key: str, damage: Callable[[bytes], bytes]) -> Iterator[None]:
    """An object of the repository has other bytes inside the block."""
    body = BED.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    BED.s3.put_object(Bucket=BUCKET, Key=key, Body=damage(body))
    try:
        yield
    finally:
        BED.s3.put_object(Bucket=BUCKET, Key=key, Body=body)


def flipped(body: bytes) -> bytes:
    """With one bit in its middle another."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def cut(body: bytes) -> bytes:
    """The first half."""
    return body[: len(body) // 2]


def packs() -> dict[str, int]:
    """Where the repository keeps the files' contents: keys and sizes."""
    return {key: entry["Size"] for key, entry in BED.objects(BUCKET).items() if key.startswith("restic/data/")}


def _write(host: str, text: str) -> None:
    BED.on(host, f"printf %s {shlex.quote(text)} > {SETTINGS}")
