# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two build machines at once, one with an older backup, and a user (T9). Full counts with ADT_SOAK (``make soak``)."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

pytest.register_assert_rewrite("assets")
from assets import Assets, archive, store_at

pytest_plugins = ["assets"]
SOAK = bool(os.environ.get("ADT_SOAK"))
RACES = 200 if SOAK else 2
FILES = 150
SUNDAY, MONDAY, TUESDAY = "2026-05-31T00:00:00Z", "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"

Contents = dict[str, bytes]


def build(url: str, s3_options: dict[str, str], target: dict[str, Any], *run: Any) -> Any:
    """What a build machine does; its result, also of a failure. ``run``: backup, its time, when to begin."""
    src, when, at = run
    store = store_at(url, s3_options)
    assets = Assets(None, store.client, target["buckets"][0], target["catalog"], {})
    assets.store = store
    time.sleep(max(0.0, at - time.time()))
    return assets.sync(src, ok=None, backup_time=when)


class Race:
    """A race for a bucket, and what is true after it."""

    def __init__(self, assets: Assets, s3_options: dict[str, str], work: Any) -> None:
        self.assets, self.s3_options, self.work = assets, s3_options, work
        self.seen: Counter[str] = Counter()
        self._pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))

    def run(self, number: int) -> None:
        """Sunday's backup is in the bucket in every other race; then Monday's and Tuesday's come at once."""
        rng = random.Random(number)
        sunday = {f"{at:03}.jpg": f"sunday {at}".encode() for at in range(FILES)}
        monday = self._next(sunday, "monday", rng)
        tuesday = self._next(monday, "tuesday", rng)
        self.assets.forget()
        if number % 2:
            self.assets.sync(self._pack("sunday", sunday), backup_time=SUNDAY)
        key = rng.choice(sorted(monday.keys() & tuesday.keys()))
        results = self._both(monday, tuesday, key, rng)
        self._judge(monday, tuesday, key, results)

    def _next(self, before: Contents, day: str, rng: random.Random) -> Contents:
        changed = {key: f"{day} {key}".encode() for key in before if rng.random() < 0.7}
        return {**before, **changed, **{f"{day}{at}.jpg": day.encode() for at in range(20)}}

    def _pack(self, day: str, contents: Contents) -> str:
        path = self.work / f"{day}.tar"
        path.write_bytes(archive(contents, "w:"))
        return str(path)

    def _both(self, monday: Contents, tuesday: Contents, key: str, rng: random.Random) -> list[Any]:
        start = time.time() + 0.2
        target, url = self.assets.target, self.assets.store.endpoint_url
        jobs = [
            self._pool.submit(
                build, url, self.s3_options, target, self._pack(day, contents), when, start + rng.uniform(0, 0.3)
            )
            for day, contents, when in (("monday", monday, MONDAY), ("tuesday", tuesday, TUESDAY))
        ]
        time.sleep(max(0.0, start + rng.uniform(0, 1) - time.time()))
        self.assets.edit(key, b"uploaded by a user")
        return [job.result() for job in jobs]

    def _judge(self, monday: Contents, tuesday: Contents, key: str, results: list[Any]) -> None:
        newer = results[1]
        found = self.assets.objects()
        for result in results:
            self.seen["failed"] += bool(result.get("failed"))
            if result.get("failed"):
                assert "run again" in result["msg"] or "someone else" in result["msg"], result["msg"]
        stale = [name for name, body in tuesday.items() if found.get(name) not in (body, b"uploaded by a user")]
        told = newer.get("failed") or newer["summary"]["kept"]["count"] + newer["summary"]["kept_deleted"]["count"]
        self.seen["races"] += 1
        self.seen["with older files left"] += bool(stale)
        self.seen["older files left"] += len(stale)
        self.seen["older over newer"] += bool(stale) and (told is not True and len(stale) > told)
        self.seen["user's upload lost"] += found[key] != b"uploaded by a user"
        self._converges(monday, tuesday, key, found[key])

    def _converges(self, monday: Contents, tuesday: Contents, key: str, at_key: bytes) -> None:
        """One more run of the newer leaves nothing older, and the older changes nothing any more."""
        users = {key: at_key} if at_key == b"uploaded by a user" else {}
        wanted = {**monday, **tuesday, **users}
        again = self.assets.sync(self.work / "tuesday.tar", backup_time=TUESDAY)
        found = self.assets.objects()
        late = {name for name in found if name.startswith("monday")} ^ {n for n in wanted if n.startswith("monday")}
        wrong = [name for name in wanted if found.get(name) != wanted[name] and name not in late]
        assert not wrong, ([(name, found.get(name), wanted[name]) for name in wrong[:5]], again["summary"])
        self.assets.sync(self.work / "monday.tar", ok=None, backup_time=MONDAY)
        after = self.assets.objects()
        assert all(after[name] == body for name, body in found.items())

    def report(self, store: str) -> None:
        print(f"T9 on {store}: {dict(self.seen)}", flush=True)

    def end(self) -> None:
        self._pool.shutdown()


@pytest.fixture
def races(request, tmp_path, s3_options):
    found = []

    def begin(assets: Assets, options: dict[str, str]) -> Race:
        found.append(Race(assets, options, tmp_path))
        return found[-1]

    yield begin
    for race in found:
        race.end()


def test_t9_nothing_newer_is_lost_where_writes_are_conditional(assets, races, s3_options):
    race = races(assets, s3_options)
    for number in range(RACES):
        race.run(number)
        if number % 20 == 19 or number + 1 == RACES:
            race.report("SeaweedFS")
    assert not race.seen["older over newer"] and not race.seen["user's upload lost"]


def test_t9_without_conditional_writes(unconditional, races, s3_options):
    """Then an older file may win a race; but one more run always mends that."""
    race = races(unconditional, s3_options)
    for number in range(RACES):
        race.run(number)
        if number % 20 == 19 or number + 1 == RACES:
            race.report("a store without conditional writes")
