# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site's whole life, by the playbooks alone: one test per step, in the order of the guide "The whole workflow".

A real WordPress begins with its uploads on three webservers' disks, moves them into a bucket, gets another webserver,
loses one, and then all of them. Each test begins where the one before it has ended.
"""

from __future__ import annotations

import subprocess
import threading
import urllib.error
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import wordpress
import yaml
from backups import Backups
from editor import BUCKET, SITE, editor, everywhere, visitor
from lab import TESTS
from scenario import BED, FOLDER, Directory, in_front, recap, wait_until, webroot

THREE = ("web1", "web2", "web3")
FOUR = (*THREE, "web4")
LEFT = FOUR[1:]
BACKUPS = Backups(SITE)
UPLOADS = Directory("/var/www/html/wp-content/uploads", BUCKET)
LEAVES_OUT = ["wp-content/uploads"]
PROVISION = str(Path(__file__).parents[1] / "webservers.yml")
DUMP = "/var/backups/site/database.sql"
DATABASE = "--defaults-extra-file=/etc/mysql/site.cnf"
# What the site's administrator has in the group's variables.
VARIABLES = {
    "assets_backup_password": "What opens the backups of this site",
    "webroot_backup_hook": f"umask 077; mkdir -p {Path(DUMP).parent}; "
    f"mariadb-dump {DATABASE} --single-transaction --result-file={DUMP} wordpress",
    "webroot_backup_extra_paths": [str(Path(DUMP).parent)],
}
HOURLY = {"assets_backup": {"period": "hourly"}}
published: set[str] = set()  # the addresses of all pictures that visitors have seen


def play(name: str, *options: str, template: str = "persisting", **variables: Any) -> str:
    """What a playbook says."""
    file = FOLDER / "wordpress" / f"{template}.tmpl"
    return BED.playbook(f"adt.assets.{name}", {"assets_template": str(file), **VARIABLES, **variables}, *options).stdout


def resize(webservers: int) -> None:
    """Buy webservers, or lose the last of them with all that they have."""
    command = [str(TESTS / "bed" / "bed"), "up", "--name", BED.name, "--webservers", str(webservers)]
    subprocess.run(command, check=True)


def upload(host: str, name: str) -> set[str]:
    """Publish a picture on one webserver; its addresses and those of its thumbnails."""
    there = editor(host)
    return there.files(there.upload(f"{name}.png", wordpress.picture(shade=len(published) % 256))["id"])


def publish(pictures: Iterable[str], hosts: Iterable[str]) -> None:
    """These pictures, and all before them, are seen on these webservers; so is the page that the database has."""
    published.update(pictures)
    everywhere(published, tuple(hosts))
    for host in hosts:
        assert b"A site with pictures" in visitor(host).get("")


def keys(urls: Iterable[str]) -> set[str]:
    """Pictures' keys in the bucket."""
    return {url.split("/wp-content/uploads/")[1] for url in urls}


def listed(snapshot: str, host: str) -> set[str]:
    """The paths of a backup, as restic alone lists them."""
    return set(BACKUPS.restic(host, f"ls {snapshot}").splitlines())


def is_mounted(host: str) -> bool:
    return in_front(host, UPLOADS).startswith("fuse")


def are_the_same(hosts: Iterable[str]) -> bool:
    """Whether webservers have the same webroot, with what is mounted: files, modes, owners and contents."""
    with ThreadPoolExecutor() as threads:
        first, *others = threads.map(webroot, hosts)
    return others == [first] * len(others)


def test_1_the_baseline_keeps_the_webroots_and_uploads_of_all_the_same() -> None:
    assert BUCKET not in BED.buckets()
    assert not any(is_mounted(host) for host in THREE)
    there = editor(THREE[0])
    publish(there.files(there.find(wordpress.PUBLISHED)["id"]), THREE)
    publish(upload("web3", "before anything"), THREE)
    wait_until(lambda: are_the_same(THREE))


def test_2_h16_an_hourly_backup_of_the_baseline_has_all_assets_and_the_database() -> None:
    play("backup", template="baseline")
    record = BACKUPS.announced("hourly")[0]
    assert record["excludes"] == []
    found = listed(record["snapshot"], record["host"])
    assert {f"{UPLOADS.path}/{key}" for key in keys(published)} <= found
    assert {"/var/www/html/wp-config.php", DUMP} <= found


def test_3_and_4_offline_the_assets_move_from_the_hourly_backup_into_a_bucket_that_all_webservers_mount() -> None:
    late = upload("web2", "after the backup")
    wait_until(lambda: are_the_same(THREE))
    before = webroot("web1")
    for host in THREE:
        BED.on(host, "systemctl stop nginx")
    play("deploy", **HOURLY)
    for host in THREE:
        assert is_mounted(host)
        BED.on(host, "systemctl start nginx")
    publish(late, THREE)
    assert keys(published) <= BED.objects(BUCKET).keys()
    for host in THREE:
        assert webroot(host, *LEAVES_OUT) == {
            name: what for name, what in before.items() if not name.startswith(LEAVES_OUT[0])
        }
        assert f"/{LEAVES_OUT[0]}" in BED.on(host, "cat /var/www/html/.stignore").splitlines()


def test_5_uploads_on_any_webserver_are_in_the_bucket_and_seen_on_all() -> None:
    publish(upload("web1", "on one"), THREE)
    with ThreadPoolExecutor() as threads:
        pictures = threads.map(lambda host: upload(host, f"on {host} at once"), THREE)
    publish(set().union(*pictures), THREE)
    wait_until(lambda: keys(published) <= BED.objects(BUCKET).keys())


def test_6_h16_the_next_hourly_backup_leaves_them_out_although_nobody_told_it() -> None:
    before = BACKUPS.announced("hourly")
    BACKUPS.forget_turn("hourly")  # an hour later
    told = BACKUPS.back_up("web1", "hourly")
    assert told["error"] == ""
    record = BACKUPS.announced("hourly")[0]
    assert record not in before
    assert record["excludes"] == LEAVES_OUT
    found = listed(record["snapshot"], "web1")
    assert not [path for path in found if path.startswith(UPLOADS.path)]
    assert {"/var/www/html/wp-config.php", DUMP} <= found
    # One that still has them is found, however many came after it.
    again = play("deploy", "--limit", "build1", **HOURLY)
    assert recap(again)["build1"]["changed"] == 0


def test_7_a_fourth_webserver_joins_with_all_that_the_others_have() -> None:
    resize(len(FOUR))
    BED.playbook(PROVISION, {}, "--limit", "web4")
    assert BED.on("web4", "ls -A /var/www/html") == ""
    play("deploy", "--limit", "webservers")
    assert is_mounted("web4")
    publish(upload("web4", "on the fourth"), FOUR)
    wait_until(lambda: are_the_same(FOUR))


def test_8_h14_a_webserver_that_is_drained_while_uploads_come_loses_none_and_is_forgotten() -> None:
    accepted: set[str] = set()
    stop = threading.Event()

    def keep_uploading() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                accepted.update(upload("web1", f"in flight {number}"))
            except (AssertionError, urllib.error.HTTPError):
                return  # refused: the drain has begun

    thread = threading.Thread(target=keep_uploading)
    thread.start()
    wait_until(lambda: bool(accepted))
    try:
        play("drain", "--limit", "web1")
    finally:
        stop.set()
        thread.join()
    assert not is_mounted("web1")
    assert keys(accepted) <= BED.objects(BUCKET).keys()
    publish(accepted, LEFT)
    # Switched off, and taken out of the inventory.
    BED.on("web1", (TESTS / "tools" / "reset_webserver.sh").read_text() + "systemctl stop nginx")
    without = yaml.safe_load(BED.inventory.read_text())
    del without["all"]["children"]["bed"]["children"]["webservers"]["hosts"]["web1"]
    BED.inventory = FOLDER / "without-web1.yml"
    BED.inventory.write_text(yaml.safe_dump(without))
    play("deploy", "--limit", "webservers")
    publish(upload("web3", "without the first"), LEFT)
    wait_until(lambda: are_the_same(LEFT))
    play("backup", "--limit", "webservers")
    assert BACKUPS.announced("hourly")[0]["host"] == "web2"
    assert "hourly" in BED.on("web4", f"systemctl list-timers --no-legend '{BACKUPS.unit}@*'")


def test_9_i5_all_webservers_are_lost_and_rebuilt_from_the_backup_and_the_bucket_byte_for_byte() -> None:
    publish(upload("web4", "after the last backup"), LEFT)
    wait_until(lambda: are_the_same(LEFT))
    before, objects = webroot("web2"), BED.objects(BUCKET)
    resize(1)
    resize(len(FOUR))
    BED.on("build1", "mariadb --execute 'DROP DATABASE wordpress; CREATE DATABASE wordpress'")
    BED.playbook(PROVISION, {})
    assert BED.on("web2", "ls -A /var/www/html /etc/adt-assets /var/lib/adt-assets 2>/dev/null || true").split() == [
        "/var/www/html:"
    ]
    play("restore", "--limit", "web2", **HOURLY)
    play("restore", "--limit", "web2", **HOURLY, assets_restore_path=str(Path(DUMP).parent))
    BED.on("web2", f"mariadb {DATABASE} wordpress < {DUMP}")
    play("deploy", "--limit", "webservers")
    for host in LEFT:
        assert is_mounted(host)
        assert webroot(host) == before
    assert {key: entry["ETag"] for key, entry in BED.objects(BUCKET).items()} == {
        key: entry["ETag"] for key, entry in objects.items()
    }
    publish(upload("web4", "after all"), LEFT)
