# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""asset_sync, as Ansible runs it, killed at any moment; users at work; and one more run (T1).

Full counts with ADT_SOAK (``make soak``).
"""

from __future__ import annotations

import os
import random
import subprocess
import time

import pytest

pytest.register_assert_rewrite("assets")
from assets import Assets, archive, spawn

from ansible_collections.adt.assets.plugins.module_utils._catalog import Catalog
from ansible_collections.adt.assets.plugins.module_utils._journal import read_logs
from ansible_collections.adt.assets.plugins.module_utils._manifest import ManifestFile
from ansible_collections.adt.assets.plugins.module_utils._upload import md5

pytest_plugins = ["assets"]
SOAK = bool(os.environ.get("ADT_SOAK"))
# 500 kills in two series, which can run side by side.
SERIES, KILLS, FILES = ((5, 6), 250, 10_000) if SOAK else ((5,), 2, 1_000)
# The part of the files that changes from backup to backup: so much that a run is mostly killed while it writes.
CHANGED = 0.2


@pytest.fixture(autouse=True)
def small_shelves() -> None:
    """None here: with those of assets.py, 10,000 files would take six times as long."""


class Site:
    """What the backups have, what users have made of it, and so what the bucket must hold."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.backup: dict[str, bytes] = {}
        self.users: dict[str, bytes] = {}
        self.deleted: set[str] = set()

    def next_backup(self, number: int) -> str:
        """Some of all files are other ones, some are new, the new ones of the last backup are gone; its time."""
        for at in range(FILES):
            key = f"{at % 50}/{at}.jpg"
            if not number or self.rng.random() < CHANGED:
                self.backup[key] = f"{key} of backup {number} ".encode() * self.rng.randrange(1, 20)
        self.backup = {key: body for key, body in self.backup.items() if not key.startswith("new/")}
        self.backup.update({f"new/{number}-{at}": os.urandom(100) for at in range(FILES // 20)})
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1780300000 + 3600 * number))

    @property
    def wanted(self) -> dict[str, str]:
        """The bucket's keys and ETags."""
        there = {**self.backup, **self.users}
        return {key: md5(body) for key, body in there.items() if key not in self.deleted}

    def users_work(self, assets: Assets, logs: list, known: set[str]) -> None:
        """Users change and delete what the killed run has written, as far as it did."""
        there = {listed.key: listed.etag for listed in assets.store.list(assets.bucket)}
        written = {write.key: log.done for log in logs for write in log.writes if there.get(write.key) == write.digest}
        written = {key: done for key, done in written.items() if key not in self.users}
        touched = sorted(written) or sorted(there.keys() - self.users.keys() - self.deleted)
        if not touched:
            return
        edited = self.rng.choice(touched)
        self.users[edited] = f"edited by a user {self.rng.random()}".encode()
        assets.edit(edited, self.users[edited])
        # Nobody can know of a new file that was written, deleted, and never reported as written.
        gone = [key for key in touched if key != edited and (written.get(key) or key in known)]
        if gone:
            deleted = self.rng.choice(gone)
            self.deleted.add(deleted)
            assets.delete(deleted)


@pytest.mark.parametrize("seed", SERIES)
def test_t1_one_run_after_a_kill_converges(assets, s3_options, bed, tmp_path, seed):
    rng = random.Random(seed)
    site, options = Site(rng), {**s3_options, "endpoint_url": bed["S3_DIRECT"]}
    backup, span, began, number, kills, wrote = tmp_path / "backup.tar", 0.0, time.monotonic(), 0, 0, 0
    while kills < KILLS:
        when = site.next_backup(number)
        number += 1
        backup.write_bytes(archive(site.backup, "w:"))
        known = set(ManifestFile(Catalog(assets.store, assets.catalog), assets.bucket).read().entries)
        before = set(assets.intents())
        process = spawn(assets, options, tmp_path, backup, subprocess.DEVNULL, backup_time=when, prune=True)
        started = time.monotonic()
        try:
            process.wait(rng.uniform(0.4, 1) * span if span else None)
            span = time.monotonic() - started  # the first run, and one that was faster than the kill
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            wrote += bool(set(assets.intents()) - before)
        logs = read_logs(Catalog(assets.store, assets.catalog), assets.bucket)
        site.users_work(assets, logs, known)
        if number % 2:  # the next run may be of a newer backup
            when = site.next_backup(number)
            number += 1
            backup.write_bytes(archive(site.backup, "w:"))
        result = assets.sync(backup, backup_time=when, prune=True)
        found = {listed.key: listed.etag for listed in assets.store.list(assets.bucket)}
        wanted = site.wanted
        wrong = {key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)}
        assert not wrong, (kills, sorted(wrong)[:5], result["summary"], result["warnings"])
        for key, body in rng.sample(sorted(site.users.items()), min(5, len(site.users))):
            if key not in site.deleted:
                assert assets.client.get_object(Bucket=assets.bucket, Key=key)["Body"].read() == body
        if kills % 10 == 9:
            assert not assets.sync(backup, backup_time=when, prune=True)["changed"]
            print(
                f"T1: {kills} kills with seed {seed}, {wrote} of them while it wrote, {time.monotonic() - began:.0f} s",
                flush=True,
            )
    print(f"T1: {kills} of {kills} kills with seed {seed} converged, of a run of {FILES} files, {wrote} while it wrote")
