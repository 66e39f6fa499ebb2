# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of temporal backups share: backups made, restic alone, and settings changed for a while."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from lab import TESTS
from scenario import BED, WEBSERVERS

SITE = "www.backup.example.com"
SLUG = SITE.replace(".", "-")
CATALOG = f"{SLUG}-assets-catalog"
BUCKET = f"{SLUG}-assets-backups"
UNIT = f"adt-assets-backup-{CATALOG}"
RESULTS = f"/var/lib/adt-assets/backups/{CATALOG}"
SETTINGS = f"/etc/adt-assets/backups/{CATALOG}.json"
CREDENTIALS = f"/etc/adt-assets/credentials/{CATALOG}"
SCENARIO = TESTS.parent / "extensions/molecule/webroot_backup"
PASSWORD = yaml.safe_load((SCENARIO / "vars/site.yml").read_text())["password"]
# restic as an administrator would call it on a webserver.
RESTIC = f"""
import json, os, sys
keys = json.load(open("{CREDENTIALS}/backup-keys.json"))
os.environ.update(AWS_ACCESS_KEY_ID=keys["access_key"], AWS_SECRET_ACCESS_KEY=keys["secret_key"])
os.environ.update(RESTIC_PASSWORD_FILE="{CREDENTIALS}/backup-password")
os.environ.update(RESTIC_REPOSITORY="s3:{BED.env["S3_ENDPOINT"]}/{BUCKET}/restic")
os.execvp("sh", ["sh", "-c", "restic --no-cache -o s3.bucket-lookup=path " + sys.argv[1]])
"""


def back_up(host: str, what: str) -> dict[str, Any]:
    """Have a webserver's service make a backup, or check; what it says of that."""
    start = f"rm -f {RESULTS}/{what}.json; systemctl start {UNIT}@{what}.service; cat {RESULTS}/{what}.json"
    return json.loads(BED.on(host, start))


def restic(host: str, command: str) -> str:
    """What restic prints on a webserver."""
    return BED.on(host, f"python3 -c {shlex.quote(RESTIC)} {shlex.quote(command)}")


def snapshots() -> set[str]:
    """The ids of all snapshots of the repository, announced or not."""
    return {each["id"] for each in json.loads(restic(WEBSERVERS[0], "snapshots --json")) or []}


def announced(period: str = "") -> list[dict[str, Any]]:
    """The records in the catalog, of one period or of all, the newest first."""
    keys = [key for key in BED.objects(CATALOG) if key.startswith(f"backups/{period}") and "Z-" in key]
    found = [json.loads(BED.s3.get_object(Bucket=CATALOG, Key=key)["Body"].read()) for key in keys]
    return sorted(found, key=lambda record: record["time"], reverse=True)


def forget_turn(period: str) -> None:
    """As if nobody had done anything yet in this slot of the calendar."""
    BED.s3.delete_object(Bucket=CATALOG, Key=f"backups/turns/{period}.json")


@contextmanager
def changed_settings(host: str, **changes: Any) -> Iterator[None]:
    """Other settings of the program on one webserver inside the block."""
    before = BED.on(host, f"cat {SETTINGS}")
    try:
        _write(host, json.dumps({**json.loads(before), **changes}))
        yield
    finally:
        _write(host, before)


def _write(host: str, text: str) -> None:
    BED.on(host, f"printf %s {shlex.quote(text)} > {SETTINGS}")
