# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose turn it is to make a backup, and what module backup_info says of those that were made, on a real store."""

from __future__ import annotations

import datetime
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from faulty import FaultyStore
from test_catalog import open_store

from ansible_collections.adt.assets.plugins.module_utils import _backups
from ansible_collections.adt.assets.plugins.module_utils._backups import Announced, Turns, announce, store_clock
from ansible_collections.adt.assets.plugins.module_utils._catalog import Catalog
from ansible_collections.adt.assets.plugins.module_utils._store import StoreError
from ansible_collections.adt.assets.plugins.module_utils._webroot_backup import forget_old

HOSTS = ["web1", "web2", "web3", "web4", "web5"]
ROUNDS = 100 if os.environ.get("ADT_SOAK") else 20


@pytest.fixture
def catalog(s3_options, client, new_name):
    name = new_name("catalog")
    client.create_bucket(Bucket=name)
    return Catalog(open_store(s3_options), name)


def turns_of(catalog, host, period="hourly"):
    return Turns(Catalog(catalog.store, catalog.bucket), store_clock(catalog.store, catalog.bucket), host, period)


def backup(hour, excludes=(), period="hourly"):
    when = f"2026-11-23T{hour:02}:17:00Z"
    return Announced(period, when, f"{hour:02}" * 32, "web1", ["/var/www/html"], list(excludes), 3, 12, "0.18.0")


def test_t11_the_stores_clock_decides(catalog):
    clock = store_clock(catalog.store, catalog.bucket)
    assert abs(clock.offset) < 60
    assert abs(clock.now().timestamp() - time.time()) < 60


def test_t10_five_hosts_in_the_same_second_take_one_turn(catalog, monkeypatch):
    monkeypatch.setattr(_backups, "POLL_SECONDS", 0.05)
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    catalog.conditional_writes()
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        for number in range(ROUNDS):
            together = threading.Barrier(len(HOSTS))

            def one(host, number=number, together=together):
                clock = _backups.Clock(begin + datetime.timedelta(hours=number))
                turns = Turns(Catalog(catalog.store, catalog.bucket), clock, host, "hourly")
                together.wait()
                what = turns.take(0)
                if what == "take":
                    with turns.held():
                        turns.require()
                return what

            assert sorted(pool.map(one, HOSTS)) == ["made"] * 4 + ["take"]


def test_the_next_takes_over_from_a_host_that_fell_silent(catalog, monkeypatch):
    monkeypatch.setattr(_backups, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(_backups, "TURN_SECONDS", 3)
    silent, other = turns_of(catalog, "web1"), turns_of(catalog, "web2")
    assert silent.take(0) == "take"
    began = time.monotonic()
    assert other.take(0) == "take"
    assert time.monotonic() - began > 1
    with pytest.raises(StoreError, match="another webserver has taken over the hourly backup from web1"):
        silent.require()
    with pytest.raises(StoreError), silent.held():
        silent.require()
    other.require()  # what the first one has to say about its end changes nothing


def test_a_host_that_works_long_keeps_its_turn(catalog, monkeypatch):
    monkeypatch.setattr(_backups, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(_backups, "TURN_SECONDS", 3)
    slow, other = turns_of(catalog, "web1"), turns_of(catalog, "web2")
    assert slow.take(0) == "take"
    with slow.held(), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.take, 0)
        time.sleep(6)
        assert not waiting.done()
        slow.require()
        slow._end("made")
        assert waiting.result() == "made"


def test_a_host_that_failed_does_not_try_again_and_the_next_does_at_once(catalog):
    failing, other = turns_of(catalog, "web1"), turns_of(catalog, "web2")
    assert failing.take(0) == "take"
    with pytest.raises(OSError, match="disk full"), failing.held():
        raise OSError("disk full")
    assert turns_of(catalog, "web1").take(0) == "tried"
    assert other.take(3600) == "take"
    with other.held():
        pass
    assert turns_of(catalog, "web1").take(0) == "made"
    assert turns_of(catalog, "web1").take(0, forced=True) == "take"


def test_backup_info_lists_what_was_announced_and_finds_the_newest(catalog, run_module):
    for one in (backup(1), backup(2, excludes=["images"]), backup(3, excludes=["images"], period="daily")):
        announce(catalog, one)
    with pytest.raises(StoreError):
        announce(catalog, backup(1)._replace(files=4))
    found = run_module("backup_info", {"catalog": catalog.bucket})
    assert [each["time"][11:13] for each in found["backups"]] == ["03", "02", "01"]
    assert found["newest"]["period"] == "daily"
    assert run_module("backup_info", {"catalog": catalog.bucket, "period": "hourly"})["newest"]["time"][11:13] == "02"
    wanted = {"catalog": catalog.bucket, "directories": ["images"]}
    assert run_module("backup_info", wanted, check=True)["newest"]["time"][11:13] == "01"
    wanted = {"catalog": catalog.bucket, "before": "2026-11-23T02:17:00+01:00"}
    assert [each["time"][11:13] for each in run_module("backup_info", wanted)["backups"]] == ["01"]
    assert run_module("backup_info", {"catalog": catalog.bucket, "period": "weekly"})["newest"] is None
    assert "isn't a time" in run_module("backup_info", {"catalog": catalog.bucket, "before": "yesterday"})["msg"]


class Snapshots:
    """A repository's snapshots, of which some are forgotten."""

    def __init__(self, *made):
        self.made = made
        self.forgotten = []

    def snapshots(self):
        return [{"id": each.snapshot, "tags": [each.period]} for each in self.made]

    def run(self, *arguments):
        self.forgotten.append(arguments)


def test_i5_a_listing_that_ends_early_has_no_announced_backup_forgotten(catalog, s3_options):
    made = [backup(1), backup(2), backup(3)]
    for each in made:
        announce(catalog, each)
    broken_off = backup(4)
    restic = Snapshots(*made, broken_off)
    keys = (s3_options["access_key"], s3_options["secret_key"])
    proxy = FaultyStore(s3_options["endpoint_url"], {("early", "*"): 1.0}, keys=keys)
    short = Catalog(open_store({**s3_options, "endpoint_url": proxy.url}), catalog.bucket)
    settings = SimpleNamespace(keep={})
    assert "lacks" in forget_old(SimpleNamespace(settings=settings, catalog=short, restic=restic), made[-1])
    proxy.close()
    assert proxy.injected["early"] > 0 and restic.forgotten == []
    assert forget_old(SimpleNamespace(settings=settings, catalog=catalog, restic=restic), made[-1]) == ""
    assert restic.forgotten == [("forget", broken_off.snapshot)]
