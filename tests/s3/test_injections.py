# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of fault, again and again: under a backup, under a newer one with users in between, and when nothing
changed (T3, T4). A run may fail, but it must never claim what isn't so. Full counts with ADT_SOAK (``make soak``).
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.register_assert_rewrite("assets")
from assets import Assets, archive
from faulty import FAULTS, FaultyStore

from ansible_collections.adt.assets.plugins.module_utils._catalog import Catalog
from ansible_collections.adt.assets.plugins.module_utils._manifest import ManifestFile
from ansible_collections.adt.assets.plugins.module_utils._store import Store
from ansible_collections.adt.assets.plugins.module_utils._upload import PART_SIZE, SMALL_MAX, md5, multipart_etag

pytest_plugins = ["assets"]
SOAK = bool(os.environ.get("ADT_SOAK"))
INJECTIONS, PARTS = (10_000, 4) if SOAK else (50, 1)
FILES = 100
# A listing comes in pages of so many keys, so that there are several.
PAGE = 40
MONDAY, TUESDAY = "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"
LARGE = random.Random(1).randbytes(SMALL_MAX + 1000)

Contents = dict[str, bytes]


def digest(body: bytes) -> str:
    """The ETag that the bucket has for these bytes."""
    if len(body) <= SMALL_MAX:
        return md5(body)
    return multipart_etag([md5(body[at : at + PART_SIZE]) for at in range(0, len(body), PART_SIZE)])


class Trial:
    """Syncs through a failing store, and what must hold after each."""

    def __init__(self, assets: Assets, proxy: FaultyStore, backups: str, sound: Store) -> None:
        self.assets, self.proxy, self.backups = assets, proxy, backups
        self.faulty, self.sound = assets.store, sound
        self.outcomes: Counter[str] = Counter()
        self._there: Contents = {}
        self.prefix = ""

    def sync(self, contents: Contents, when: str, wanted: Contents, users: Contents, again: bool = False) -> None:
        """One sync of a backup; ``wanted`` is what the bucket must hold if it succeeds, ``users`` what is theirs."""
        if not again:
            self.assets.client.put_object(Bucket=self.backups, Key="b.tar.gz", Body=archive(contents))
        source = f"s3://{self.backups}/b.tar.gz"
        self.assets.store = self.faulty
        result = self.assets.sync(source, ok=None, backup_time=when)
        self.assets.store = self.sound
        if result.get("failed"):
            self.outcomes["failed"] += 1
            self._nothing_false(wanted, users)
            result = self.assets.sync(source, backup_time=when)
        else:
            self.outcomes["succeeded"] += 1
            self.outcomes["retried"] += result["summary"]["retried"]["count"]
            if result["warnings"]:
                self.outcomes["succeeded with a warning"] += 1
        self._holds(wanted, result)
        self._manifest_is_right(contents, wanted, users, result)
        compared = self.assets.engine(
            "asset_compare", src=source, archive_path="images", digest="read", accept_kept=True, accept_history=True
        )
        assert compared["identical"], (compared["different"], compared["extra"], result["warnings"], result["summary"])
        self._there = wanted

    def _objects(self) -> Contents:
        bucket, client = self.assets.bucket, self.assets.client
        with ThreadPoolExecutor(8) as pool:
            keys = [listed.key for listed in self.sound.list(bucket, self.prefix)]
            return dict(zip(keys, pool.map(lambda key: client.get_object(Bucket=bucket, Key=key)["Body"].read(), keys)))

    def _nothing_false(self, wanted: Contents, users: Contents) -> None:
        """After a failure: each object is as it was or as it is to be, nothing else; and what is users' is theirs."""
        found = self._objects()
        for key, body in found.items():
            assert body in (self._there.get(key), wanted.get(key)), f"{key} has bytes that nobody wrote"
        assert self._there.keys() <= found.keys(), "objects are gone"
        for key, body in users.items():
            assert found[key] == body, f"the user's {key} is gone"

    def _holds(self, wanted: Contents, result: Any) -> None:
        found = self._objects()
        assert sorted(found) == sorted(wanted), (result["warnings"], self.proxy.faults, self.outcomes)
        wrong = [(key, len(body), len(found[key])) for key, body in wanted.items() if found[key] != body]
        assert not wrong, (wrong[:3], result["warnings"], self.proxy.faults, self.outcomes)

    def _manifest_is_right(self, contents: Contents, wanted: Contents, users: Contents, result: Any) -> None:
        entries = ManifestFile(Catalog(self.sound, self.assets.catalog), self.assets.bucket).read().entries
        raced = any("someone else" in warning for warning in result["warnings"])
        for key in contents.keys() & wanted.keys() - users.keys():
            there, entry = digest(wanted[key]), entries[key]
            # A key that seemed to be another's is known as it was before; the next run takes it over.
            before = {"", digest(self._there[key])} if raced and key in self._there else {""} if raced else set()
            assert entry.etag in {there, *before}, (key, entry, result)
            assert entry.digest == (entry.etag or there)


def some_faults(number: int, rng: random.Random) -> dict[tuple[str, str], float]:
    """One kind of fault often, two others now and then; each kind has its turn."""
    kinds = list(FAULTS)
    share = {"early": 0.5, "twice": 0.3, "error-200": 0.5, "error-200-done": 0.5, "skew": 0.02}
    if not SOAK:
        return {(kind, "*"): share.get(kind, 0.15) / 10 if kind != "early" else 0.3 for kind in kinds}
    often = kinds[number % len(kinds)]
    rare = rng.sample(kinds, 3)
    return {**{(kind, "*"): 0.04 for kind in rare}, (often, "*"): share.get(often, rng.uniform(0.1, 0.35))}


@pytest.mark.parametrize("part", range(PARTS))
def test_t4_no_fault_passes_unnoticed(assets, through, client, new_name, *, hurried, monkeypatch, part):
    backups = new_name("backups")
    client.create_bucket(Bucket=backups)
    sound = assets.store
    proxy = through({}, page=PAGE)
    trial = Trial(assets, proxy, backups, sound)
    started, number = time.monotonic(), part * len(FAULTS)
    while sum(proxy.injected.values()) < INJECTIONS // PARTS:
        rng = random.Random(f"{part} {number}")
        assets.forget()
        trial._there = {}
        without_obstore = number % 5 == 4
        with monkeypatch.context() as patch:
            if without_obstore:
                patch.setattr(Store, "obstore", lambda self, bucket: None)
            one_site(trial, number, rng)
        number += 1
        if number % 10 == 0 or sum(proxy.injected.values()) >= INJECTIONS // PARTS:
            print(
                f"T4, part {part}: {sum(proxy.injected.values())} injections in {proxy.requests} requests,",
                f"0 undetected; {dict(trial.outcomes)}; {dict(sorted(proxy.injected.items()))};",
                f"{time.monotonic() - started:.0f} s",
                flush=True,
            )


def one_site(trial: Trial, number: int, rng: random.Random) -> None:
    """A backup, users, a newer backup, and that again."""
    # A write that was given up can still arrive when the bucket has been emptied for the next site.
    trial.prefix = f"{number}-"
    monday = {f"{number}-{at:03}.jpg": rng.randbytes(rng.randrange(1, 3000)) for at in range(FILES)}
    if number % 4 == 0:
        monday[f"{number}-film.mp4"] = LARGE
    trial.proxy.faults = some_faults(number, rng)
    trial.sync(monday, MONDAY, monday, {})

    deleted, edited, *changed = rng.sample(sorted(monday)[:FILES], 40)
    users = {edited: b"edited by a user", f"{number}-upload.jpg": b"uploaded by a user"}
    for key, body in users.items():
        trial.assets.edit(key, body)
    trial.assets.delete(deleted)
    trial._there = {key: body for key, body in {**monday, **users}.items() if key != deleted}
    tuesday = {**monday, **{key: rng.randbytes(100) for key in changed}}
    tuesday.update({f"{number}-new{at}.jpg": rng.randbytes(200) for at in range(10)})
    if f"{number}-film.mp4" in tuesday:
        tuesday[f"{number}-film.mp4"] = LARGE[:-1] + b"!"
    wanted = {key: body for key, body in {**tuesday, **users}.items() if key != deleted}
    trial.sync(tuesday, TUESDAY, wanted, users)
    trial.sync(tuesday, TUESDAY, wanted, users, again=True)


def test_t3_a_store_that_is_away_for_a_while(assets, through, tmp_path, request):
    """It answers 503 to all for 30 s in the middle of a run: that is waited for."""
    seconds = 30 if SOAK else 0.4
    if not SOAK:
        request.getfixturevalue("hurried")
    contents = {f"{number}.jpg": os.urandom(500) for number in range(2000)}
    packed = tmp_path / "b.tar.gz"
    packed.write_bytes(archive(contents))
    sound = assets.store
    proxy = through({})

    def outage() -> None:
        while proxy.requests < 300:
            time.sleep(0.01)
        proxy.faults = {("503", "*"): 1.0}
        time.sleep(seconds)
        proxy.faults = {}

    threading.Thread(target=outage, daemon=True).start()
    started = time.monotonic()
    result = assets.sync(packed)
    took = time.monotonic() - started
    print(f"T3: away for {seconds} s: {took:.0f} s, {result['summary']['retried']['count']} retries")
    assert took > seconds and proxy.injected["503"] > 0
    assert 0 < result["summary"]["retried"]["count"] < proxy.injected["503"] * 2
    assert proxy.injected["503"] < 8 * 16 + 100, "the store that is away is asked too often"
    assets.store = sound
    assert {listed.key: listed.etag for listed in sound.list(assets.bucket)} == {
        key: md5(body) for key, body in contents.items()
    }
