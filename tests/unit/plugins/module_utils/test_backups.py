# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Announced backups, slots of the calendar, and whose turn it is."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from ansible_collections.adt.assets.plugins.module_utils._backup import SourceError
from ansible_collections.adt.assets.plugins.module_utils._backups import (
    CLOCK_SECONDS,
    KEEP,
    Announced,
    Clock,
    Turn,
    decide,
    made_before,
    newest,
    outlived,
    parse_announced,
    render_announced,
    slot_of,
    unannounced,
)
from ansible_collections.adt.assets.plugins.module_utils._store import StoreError

UTC = datetime.timezone.utc
ROLE = Path(__file__).resolve().parents[4] / "roles/webroot_backup"
CALENDAR = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__webroot_backup_calendar"]


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def backup(time: str, period: str = "hourly", excludes: tuple[str, ...] = ()) -> Announced:
    snapshot = time[:13].encode().hex()
    return Announced(period, time, snapshot, "web1", ["/var/www/html"], list(excludes), 3, 12, "0.14.0")


OLD = backup("2026-11-23T18:17:00Z")
MIDDLE = backup("2026-11-23T19:17:00Z")
NEW = backup("2026-11-23T20:17:00Z", excludes=("images",))


# slots


@pytest.mark.parametrize(
    ("period", "begins"),
    [
        ("hourly", "2026-11-25T20:00:00Z"),
        ("daily", "2026-11-25T00:00:00Z"),
        ("weekly", "2026-11-23T00:00:00Z"),
        ("check", "2026-11-23T00:00:00Z"),
        ("monthly", "2026-11-01T00:00:00Z"),
        ("bimonthly", "2026-11-01T00:00:00Z"),
    ],
)
def test_a_slot_is_named_by_its_begin(period, begins):
    assert slot_of(period, at("2026-11-25T20:59:59+00:00")) == begins


def test_weeks_and_months_reach_over_the_turn_of_the_year():
    assert slot_of("weekly", at("2027-01-01T12:00:00+00:00")) == "2026-12-28T00:00:00Z"
    assert slot_of("bimonthly", at("2026-12-31T23:59:59+00:00")) == "2026-11-01T00:00:00Z"
    assert slot_of("bimonthly", at("2027-01-01T00:00:00+00:00")) == "2027-01-01T00:00:00Z"


def test_h19_t11_a_slot_is_the_same_in_every_time_zone_and_dst_makes_none_twice():
    berlin = datetime.timezone(datetime.timedelta(hours=13, minutes=45))
    moment = at("2026-10-25T00:30:00+00:00")
    assert slot_of("hourly", moment.astimezone(berlin)) == slot_of("hourly", moment)
    # Clocks go back in Europe at 01:00 UTC: 02:30 local comes twice, and is two hours.
    assert slot_of("hourly", at("2026-10-25T02:30:00+02:00")) != slot_of("hourly", at("2026-10-25T02:30:00+01:00"))


def firings(period: str, zone: str, count: int = 30) -> list[datetime.datetime]:
    """When systemd starts a timer, on a host of a time zone, from the days before a change of summer time on."""
    command = [
        "systemd-analyze",
        "calendar",
        f"--iterations={count}",
        "--base-time=2026-10-24 00:00:00 UTC",
        CALENDAR[period],
    ]
    shown = subprocess.run(
        command, env={"TZ": zone, "PATH": "/usr/bin:/bin", "LC_ALL": "C"}, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    found = re.findall(r"\(in UTC\): \w+ (\S+) (\S+) UTC", shown)
    return [at(f"{day}T{clock}+00:00") for day, clock in found]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
@pytest.mark.parametrize("period", CALENDAR)
def test_t11_timers_begin_once_in_each_slot_and_a_clock_that_is_off_changes_nothing(period):
    fired = firings(period, "Europe/Berlin")
    assert len(fired) == 30
    slots = [slot_of(period, moment) for moment in fired]
    assert len(set(slots)) == 30
    for seconds in (-CLOCK_SECONDS, CLOCK_SECONDS + 60):  # the last is a timer's random delay
        shifted = [slot_of(period, moment + datetime.timedelta(seconds=seconds)) for moment in fired]
        assert shifted == slots


# records


def test_a_record_is_read_as_it_was_written():
    assert parse_announced(render_announced(NEW), NEW.key) == NEW
    assert NEW.key == f"backups/hourly/2026-11-23T20:17:00Z-{NEW.snapshot[:8]}.json"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"format": 1, "period": "hourly"}', b"\xff"])
def test_t18_a_damaged_record_is_an_error(body):
    with pytest.raises(StoreError, match=r"backups/x\.json is damaged"):
        parse_announced(body, "backups/x.json")


def test_a_record_of_a_newer_version_is_left_to_that():
    with pytest.raises(StoreError, match="use a newer one"):
        parse_announced(json.dumps({"format": 2}).encode(), "backups/x.json")


def test_the_newest_is_chosen_by_time_and_by_what_it_has():
    found = [MIDDLE, NEW, OLD]
    assert newest(found) == NEW
    assert newest(made_before(found, "2026-11-23T19:59:59.000000Z")) == MIDDLE
    assert newest(made_before(found, "2026-11-23T19:17:00.000000Z")) == MIDDLE
    assert newest(found, directories=["images"]) == MIDDLE
    assert newest(found, directories=["images/2026"]) == MIDDLE
    assert newest(found, directories=["images2"]) == NEW
    assert newest(made_before(found, "2026-01-01T00:00:00.000000Z")) is None


@pytest.mark.parametrize(
    ("path", "has"),
    [
        ("/var/backups/site", True),
        ("/var/backups/site/database.sql", True),
        ("/var/backups/site2", False),
        ("/var/backups", False),
        ("/var/www/html/images", False),  # below the webroot is what the record's excludes say
    ],
)
def test_what_was_saved_besides_the_webroot_is_known_by_its_path(path, has):
    assert NEW._replace(paths=["/var/www/html", "/var/backups/site"]).has(path) is has


def test_the_oldest_are_forgotten_beyond_what_is_kept():
    assert outlived([OLD, NEW, MIDDLE], 2) == [OLD]
    assert outlived([OLD], KEEP["hourly"]) == []


def test_i5_snapshots_that_were_not_announced_do_not_count():
    snapshots = [
        {"id": NEW.snapshot, "tags": ["hourly"]},
        {"id": "broken off", "tags": ["hourly"]},
        {"id": "another's", "tags": ["daily"]},
        {"id": "a person's own"},
    ]
    assert unannounced(snapshots, [NEW, OLD], "hourly") == ["broken off"]


# whose turn it is

SLOT = "2026-11-23T20:00:00Z"
NOW = "2026-11-23T20:17:00Z"


@pytest.mark.parametrize(
    ("turn", "decision", "if_forced"),
    [
        (None, "take", "take"),
        (Turn("2026-11-23T19:00:00Z", "web1", "made", NOW, []), "take", "take"),
        (Turn("2026-11-23T19:00:00Z", "web1", "running", "2026-11-23T20:18:00Z", []), "wait", "wait"),
        (Turn(SLOT, "web1", "running", "2026-11-23T20:18:00Z", []), "wait", "wait"),
        (Turn(SLOT, "web1", "running", "2026-11-23T20:16:00Z", []), "take", "take"),
        (Turn(SLOT, "web1", "made", NOW, []), "made", "take"),
        (Turn(SLOT, "web1", "failed", NOW, ["web1"]), "take", "take"),
        (Turn(SLOT, "web1", "failed", NOW, ["web1", "web2"]), "tried", "take"),
        (Turn("2026-11-23T21:00:00Z", "web1", "made", NOW, []), "made", "take"),
    ],
)
def test_t10_one_host_makes_the_backup_of_a_slot_and_the_next_takes_over(turn, decision, if_forced):
    assert decide(turn, SLOT, "web2", NOW) == decision
    assert decide(turn, SLOT, "web2", NOW, forced=True) == if_forced


@pytest.mark.parametrize(("offset", "says"), [(13 * 3600, "780 minutes ahead of"), (-13 * 3600, "780 minutes behind")])
def test_t11_a_host_whose_clock_is_off_by_hours_leaves_it_to_others(offset, says):
    moment = at("2026-11-23T20:00:00+00:00")
    with pytest.raises(SourceError, match=f"the clock of web1 is {says} the store's.*timedatectl"):
        Clock(moment, moment.timestamp() + offset).require_right("web1")


@pytest.mark.parametrize("offset", [-300, 0, 300])
def test_t11_five_minutes_are_borne(offset):
    moment = at("2026-11-23T20:00:00+00:00")
    clock = Clock(moment, moment.timestamp() + offset)
    clock.require_right("web1")
    assert slot_of("hourly", clock.now()) == SLOT
