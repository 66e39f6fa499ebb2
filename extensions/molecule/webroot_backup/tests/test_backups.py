# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups that the role's timers make: what they hold, when they don't count, and which webserver makes them."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from backups import (
    CATALOG,
    PASSWORD,
    RESULTS,
    SLUG,
    UNIT,
    announced,
    back_up,
    changed_settings,
    cut,
    damaged,
    forget_turn,
    packs,
    restic,
    slowed,
    snapshots,
)
from scenario import BED, SOAK, WEBSERVERS, prediction_errors, without_s3

FIRST, SECOND = WEBSERVERS[:2]
ROUNDS = 100 if SOAK else 1
# Seconds of an hour that are enough for a round, so that all of it is in one slot.
SLOT_LEFT = 60
# Names of which each has broken a backup somewhere, with contents, modes and links.
ODD = r"""
import os, pathlib
root = pathlib.Path("/var/www/html/odd")
root.mkdir(exist_ok=True)
for name in ["a b", "new\nline", "Grüße", "-rf", "#x", "!x", ".hidden", "*", "$HOME", "\\", "x[1]"]:
    (root / name).write_text(name)
    (root / name).chmod(0o640)
    os.utime(root / name, (1.7e9, 1.7e9))
if not (root / "link").is_symlink():
    (root / "link").symlink_to("a b")
(root / "empty").mkdir(mode=0o750, exist_ok=True)
"""
# Every file below a directory by name, kind, mode, owner, time, target and content.
MANIFEST = (
    "cd {} && find . -mindepth 1 \\( {} \\) -prune -o -printf '%p %y %m %u %g %Ts %l\\0' | sort -z | tr '\\0\\n' '\\n?'"
    " && find . \\( {} \\) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum"
)
LEFT_OUT = " -o ".join(f"-path '{path}'" for path in ("./images", "./img[[]1]", "./$x", "./a b"))


def manifest(host: str, root: str) -> str:
    return BED.on(host, MANIFEST.format(root, LEFT_OUT, LEFT_OUT))


def error_of(host: str, what: str = "now-monthly") -> str:
    """Why a backup was not announced; nothing may be left of it."""
    before = announced(), snapshots()
    told = back_up(host, what)
    assert (announced(), snapshots()) == before
    return told["error"]


def test_check_mode_predicted_what_the_first_run_changed() -> None:
    assert prediction_errors() == []


@pytest.fixture(scope="module", autouse=True)
def timers() -> Iterator[dict[str, str]]:
    """What systemd says of each webserver's timers, which rest while the tests do their work."""
    shown = {host: BED.on(host, f"systemctl list-timers --no-legend '{UNIT}@*'") for host in WEBSERVERS}
    for host in WEBSERVERS:
        BED.on(host, f"systemctl stop '{UNIT}@*.timer'")
    yield shown
    for host in WEBSERVERS:
        BED.on(host, f"systemctl start $(systemctl list-unit-files --no-legend '{UNIT}@*.timer' | cut -d' ' -f1)")


def test_all_webservers_have_the_timers(timers: dict[str, str]) -> None:
    for shown in timers.values():
        for period in ("hourly", "daily", "weekly", "monthly", "bimonthly", "check"):
            assert f"{UNIT}@{period}.timer" in shown


def test_i5_t20_an_announced_backup_is_whole_and_restorable_by_restic_alone() -> None:
    BED.on(FIRST, f"python3 -c {shlex.quote(ODD)}")
    told = back_up(FIRST, "now-hourly")
    assert told["error"] == "" and told["problem"] == ""
    snapshot = told["announced"]["snapshot"]
    assert announced("hourly")[0]["snapshot"] == snapshot
    # By another version of restic, on another host.
    restic(SECOND, f"restore {snapshot} --target /var/tmp/restored")
    try:
        assert manifest(SECOND, "/var/tmp/restored/var/www/html") == manifest(FIRST, "/var/www/html")
        assert BED.on(SECOND, "cat /var/tmp/restored/var/backups/site/database.sql") == "a dump\n"
    finally:
        BED.on(SECOND, "rm -rf /var/tmp/restored")


def test_h16_the_plans_directories_are_left_out_literally_and_also_unmounted() -> None:
    told = back_up(FIRST, "now-hourly")
    shown = restic(FIRST, f"ls {told['announced']['snapshot']}").splitlines()
    for left_out in ("images", "img[1]", "$x", "a b"):
        assert not [line for line in shown if line.startswith(f"/var/www/html/{left_out}/")]
        assert f"/var/www/html/{left_out}" not in shown
    for kept in ("img1", "ab", "images2"):
        assert f"/var/www/html/{kept}/file.txt" in shown


def test_i5_a_file_that_cannot_be_read_announces_nothing() -> None:
    # root reads everything, unless it may not.
    drop_in = f"/run/systemd/system/{UNIT}@now-monthly.service.d"
    limit = "[Service]\\nCapabilityBoundingSet=~CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH\\n"
    unreadable = "/var/www/html/unreadable.txt"
    BED.on(FIRST, f"mkdir -p {drop_in} && printf '{limit}' > {drop_in}/limit.conf && systemctl daemon-reload")
    BED.on(FIRST, f"install -m 0600 -o www-data /dev/null {unreadable}")
    try:
        error = error_of(FIRST)
    finally:
        BED.on(FIRST, f"rm -r {drop_in} {unreadable} && systemctl daemon-reload")
    assert "can't be read, so nothing is announced" in error
    assert unreadable in error


def test_i5_a_path_that_is_missing_announces_nothing() -> None:
    with changed_settings(FIRST, extra_paths=["/var/backups/site", "/var/backups/missing"]):
        assert "/var/backups/missing is missing" in error_of(FIRST)


def test_i5_a_hook_that_fails_announces_nothing() -> None:
    with changed_settings(FIRST, hook="echo no database >&2; exit 4"):
        assert "webroot_backup_hook ended with exit code 4" in error_of(FIRST)


def test_t8_a_dump_that_fills_the_disk_announces_nothing() -> None:
    BED.on(FIRST, "mkdir -p /var/backups/small && mount -t tmpfs -o size=1m tmpfs /var/backups/small")
    try:
        hook = "head -c 5000000 /dev/zero > /var/backups/small/dump"
        with changed_settings(FIRST, hook=hook, extra_paths=["/var/backups/small"]):
            assert "webroot_backup_hook ended" in error_of(FIRST)
    finally:
        BED.on(FIRST, "umount /var/backups/small")


def test_t8_a_full_cache_makes_no_backup_that_is_not_whole() -> None:
    BED.on(FIRST, "mount -t tmpfs -o size=16k tmpfs /var/cache/adt-assets/restic")
    try:
        told = back_up(FIRST, "now-monthly")
    finally:
        BED.on(FIRST, "umount /var/cache/adt-assets/restic")
    if not told["error"]:
        restic(SECOND, f"restore {told['announced']['snapshot']} --target /var/tmp/restored && rm -r /var/tmp/restored")


def test_i5_an_archive_that_fails_is_an_error_and_the_backup_stays_announced() -> None:
    with changed_settings(FIRST, archive=f"{SLUG}-missing"):
        told = back_up(FIRST, "now-monthly")
    assert "the backup is announced, but its archive in" in told["error"]
    assert "the bucket doesn't exist" in told["error"]
    assert BED.on(FIRST, f"systemctl is-failed {UNIT}@now-monthly.service") == "failed\n"
    assert announced("monthly")[0]["snapshot"] == told["announced"]["snapshot"]
    assert back_up(SECOND, "monthly")["skipped"] == "made"


def test_t12_an_emptied_webroot_takes_no_good_backups_place() -> None:
    BED.on(FIRST, "mkdir -p /var/www/emptied")
    with changed_settings(FIRST, webroot="/var/www/emptied"):
        assert "the webroot /var/www/emptied is empty" in error_of(FIRST)
    with changed_settings(FIRST, webroot="/var/www/nowhere"):
        assert "can't be read (No such file or directory)" in error_of(FIRST)


def test_a_store_that_is_away_is_a_clear_error() -> None:
    before = announced()
    with without_s3(FIRST):
        told = back_up(FIRST, "now-monthly")
    assert "can't use the S3 store at" in told["error"]
    assert announced() == before


def backup_of_a_slot() -> dict[str, Any]:
    """What was announced when all webservers' timers went off in the same second: one backup, which is whole."""
    left = 3600 - time.time() % 3600
    if left < SLOT_LEFT:  # the next hour is another slot, with a backup of its own
        time.sleep(left)
    before = announced("hourly")
    forget_turn("hourly")
    with ThreadPoolExecutor(len(WEBSERVERS)) as pool:
        told = list(pool.map(lambda host: back_up(host, "hourly"), WEBSERVERS))
    assert [one["error"] for one in told] == [""] * len(WEBSERVERS)
    assert sorted(one.get("skipped", "") for one in told) == [""] + ["made"] * (len(WEBSERVERS) - 1)
    (new,) = [one for one in announced("hourly") if one not in before]
    listed = map(json.loads, restic(FIRST, f"ls --json {new['snapshot']}").splitlines())
    webroot, *besides = new["paths"]
    left_out = (f"{webroot}/{name}".replace("[", "[[]") for name in new["excludes"])
    finds = [f"find {webroot} {''.join(f'-path {shlex.quote(path)} -prune -o ' for path in left_out)}-type f -print0"]
    finds += [f"find {path} -type f -print0" for path in besides]
    there = BED.on(new["host"], " && ".join(finds)).split("\0")[:-1]
    assert sorted(one["path"] for one in listed if one.get("type") == "file") == sorted(there)
    assert new["files"] == len(there)
    return new


def test_t10_all_webservers_in_the_same_second_make_one_backup_of_a_slot() -> None:
    assert backup_of_a_slot()["host"] == FIRST


def test_t10_webservers_that_leave_it_to_nobody_make_one_backup_of_a_slot() -> None:
    with ExitStack() as changed:
        for host in WEBSERVERS:
            changed.enter_context(changed_settings(host, takeover=0))
        makers = Counter(backup_of_a_slot()["host"] for _round in range(ROUNDS))
    print(f"{ROUNDS} rounds with {len(WEBSERVERS)} webservers, backups made by each: {dict(makers)}")


@pytest.mark.parametrize(
    "periods", [["now-hourly"] * len(WEBSERVERS), ["now-hourly", "now-daily", "now-weekly", "now-monthly"]]
)
def test_t10_backups_in_the_same_second_are_not_in_each_others_way(periods: list[str]) -> None:
    with ThreadPoolExecutor(len(WEBSERVERS)) as pool:
        told = list(pool.map(back_up, WEBSERVERS, periods))
    for one in told:
        assert one["error"] == "" and one["problem"] == ""
    assert {one["announced"]["snapshot"] for one in told} <= snapshots()


def test_the_next_takes_over_from_a_webserver_that_is_away_or_fails() -> None:
    forget_turn("weekly")
    assert back_up(SECOND, "weekly")["announced"]["host"] == SECOND
    assert back_up(FIRST, "weekly")["skipped"] == "made"
    forget_turn("weekly")
    with changed_settings(FIRST, hook="exit 4"):
        assert back_up(FIRST, "weekly")["error"]
        assert back_up(FIRST, "weekly")["skipped"] == "tried"
    assert back_up(SECOND, "weekly")["announced"]["host"] == SECOND


@pytest.mark.parametrize("host", [FIRST, SECOND])
def test_a_backup_says_how_far_it_is(host: str) -> None:
    """By both versions of restic."""
    BED.on(host, "head -c 30000000 /dev/urandom > /var/www/html/progress.bin")
    far, seen = f"{RESULTS}/now-monthly.json.progress", []
    look = f"for i in $(seq 600); do cat {far} 2>/dev/null && echo; sleep 0.2; [ -e /run/seen ] && break; done; :"
    try:
        changes = {"hook": "sleep 2", "extra_paths": [], "archive": ""}
        with ThreadPoolExecutor(1) as pool, slowed(host), changed_settings(host, **changes):
            looking = pool.submit(BED.on, host, f"rm -f /run/seen; {look}")
            told = back_up(host, "now-monthly")
            BED.on(host, "touch /run/seen")
            seen = [json.loads(line) for line in looking.result().splitlines() if line]
    finally:
        BED.on(host, "rm /var/www/html/progress.bin")
    assert told["error"] == ""
    assert {"running webroot_backup_hook", "saving"} <= {one["phase"] for one in seen}
    saving = [one for one in seen if one["phase"] == "saving"]
    # What restic has read counts as done, before it has sent all of it.
    done = [one["bytes"] for one in saving]
    assert done == sorted(done) and done[-1] > 0, repr(done)
    assert done[-1] + saving[-1]["left"]["bytes"] >= 30_000_000
    assert saving[-1]["estimated"] and any(one["seconds_left"] is not None for one in saving)
    assert BED.on(host, f"ls {far}* 2>/dev/null || true") == ""


def test_old_backups_are_forgotten_by_period() -> None:
    with changed_settings(FIRST, keep={"hourly": 24, "daily": 2, "weekly": 5, "monthly": 12, "bimonthly": 6}):
        for _time in range(3):
            assert back_up(FIRST, "now-daily")["error"] == ""
    assert len(announced("daily")) == 2
    assert {one["snapshot"] for one in announced()} == snapshots()


@pytest.mark.parametrize(
    ("by", "problem"), [("+5m", ""), ("+13h", "780 minutes ahead of"), ("-13h", "780 minutes behind")]
)
def test_t11_a_wrong_clock_moves_no_backup_into_another_slot(by: str, problem: str) -> None:
    drop_in = f"/run/systemd/system/{UNIT}@now-monthly.service.d"
    program = BED.on(FIRST, f"sed -n 's/^ExecStart=//p' /etc/systemd/system/{UNIT}@.service").strip()
    lines = [
        "[Service]",
        "Environment=FAKETIME_DONT_FAKE_MONOTONIC=1",
        "ExecStart=",
        f"ExecStart=faketime -f {by} {program}",
    ]
    BED.on(FIRST, f"command -v faketime >/dev/null || apt-get -qq install faketime >/dev/null; mkdir -p {drop_in}")
    BED.on(FIRST, f"printf '%s\\n' {shlex.join(lines)} > {drop_in}/clock.conf && systemctl daemon-reload")
    try:
        if problem:
            assert f"the clock of {FIRST} is {problem} the store's" in error_of(FIRST)
            return
        began = BED.on(FIRST, "date -u +%FT%TZ").strip()
        told = back_up(FIRST, "now-monthly")
        assert began <= told["announced"]["time"] <= BED.on(FIRST, "date -u +%FT%TZ").strip()
    finally:
        BED.on(FIRST, f"rm -r {drop_in} && systemctl daemon-reload")


def test_t18_damaged_data_is_noticed_by_the_weekly_check() -> None:
    sizes = packs()
    forget_turn("check")
    with damaged(max(sizes, key=lambda key: sizes[key]), cut):
        assert "restic check failed" in back_up(FIRST, "check")["error"]
    forget_turn("check")
    assert back_up(FIRST, "check")["error"] == ""


def test_h23_secrets_are_nowhere_but_in_root_only_files() -> None:
    secrets = (PASSWORD, BED.env["AWS_SECRET_ACCESS_KEY"])
    for host in WEBSERVERS:
        said = BED.on(
            host, f"journalctl -u '{UNIT}@*' --no-pager; cat /etc/systemd/system/{UNIT}@*; cat {RESULTS}/*", check=False
        )
        modes = BED.on(host, f"stat -c %a:%U /etc/adt-assets/credentials/{CATALOG}/* /etc/adt-assets/backups/*").split()
        assert not [secret for secret in secrets if secret in said]
        assert set(modes) == {"600:root"}


def test_i6_no_secret_stands_in_a_command_line() -> None:
    watch = "for i in $(seq 200); do cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; sleep 0.02; done > /tmp/seen"
    seen = BED.on(FIRST, f"({watch}) & systemctl start {UNIT}@now-hourly; wait; cat /tmp/seen; rm /tmp/seen")
    assert "restic" in seen
    assert PASSWORD not in seen
    assert BED.env["AWS_SECRET_ACCESS_KEY"] not in seen
