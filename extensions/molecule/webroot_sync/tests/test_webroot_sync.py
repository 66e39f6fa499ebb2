# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three webroots that are kept the same, and what happens to one without the others losing anything (H20, T12)."""

from __future__ import annotations

import hashlib
import random
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from reader import Reader
from scenario import BED, SOAK, WEBSERVERS, answered, prediction_errors, wait_until
from synced import (
    BEYOND,
    CHANGES,
    CONVERGE,
    HERE,
    OWN,
    PROGRAM,
    QUIET_SECONDS,
    ROOT,
    SETTINGS,
    SYNCED,
    THERE,
    UNIT,
    has,
    in_order,
    play,
    state,
    tree,
    trees,
    wait_for_the_same,
    write,
)

__all__ = ["in_order"]


@contextmanager
def served(host: str, *names: str) -> Iterator[None]:
    """A webserver answers for files of the webroot, as they are, all the time that the block runs."""
    files = {name: hashlib.sha256(BED.fetch(host, name) or b"").hexdigest() for name in names}
    with answered([Reader(f"http://{BED.address(host)}", files)]):
        yield


def test_check_mode_predicted_what_the_first_run_changed() -> None:
    assert prediction_errors() == []


def test_the_playbook_configures_and_refuses_what_it_does_not_know() -> None:
    BED.playbook("adt.assets.sync", SETTINGS, "--check")
    refused = BED.playbook("adt.assets.sync", {**SETTINGS, "assets_sync": "reset"}, check=False)
    assert refused.returncode
    assert "configure (the default), release or heal" in refused.stdout


def test_those_that_joined_have_everything_and_what_they_had_is_kept() -> None:
    here = tree(HERE)
    assert len([name for name in here if name.startswith("files/") and name.endswith(".txt")]) == 600
    for host in (THERE, BEYOND):
        assert not has(host, "deleted-long-ago.txt")
        assert BED.on(host, "cat /var/www/.html-sync/aside/*/deleted-long-ago.txt") == "old\n"


def test_owner_modes_and_links_are_right_everywhere() -> None:
    for found in trees():
        assert found["files/1/1.txt"].startswith("f 640 www-data:www-data")
        assert found["files/2"].startswith("d 750 www-data:www-data")
        assert found["themes"] == "l 777 www-data:www-data wp-content/themes"
        assert "img1/beside.txt" in found
    assert BED.fetch(THERE, "files/3/3.txt") == b"3\n"


@pytest.mark.parametrize("name", OWN)
def test_h16_what_is_excluded_stays_each_webservers_own(name: str) -> None:
    for host in WEBSERVERS[:3]:
        assert BED.on(host, f"cd {ROOT} && cat {shlex.quote(name)}/own.txt") == f"{host}\n"


@CHANGES
def test_an_edit_arrives_within_5_seconds_and_a_delete_within_15() -> None:
    write(THERE, "files/new ö [1].txt", "new")
    wait_until(lambda: has(HERE, "files/new ö [1].txt") and has(BEYOND, "files/new ö [1].txt"), 5)
    began = time.monotonic()
    BED.on(HERE, f"rm {ROOT}/files/new*")
    wait_until(lambda: not has(THERE, "files/new ö [1].txt") and not has(BEYOND, "files/new ö [1].txt"), 15)
    assert time.monotonic() - began < 15


@CHANGES
def test_h20_emptied_at_once_or_while_stopped_nothing_is_deleted_elsewhere_and_a_play_heals() -> None:
    before = tree(HERE)
    BED.on(BEYOND, f"systemctl stop {UNIT}; rm -rf {SYNCED}; systemctl start {UNIT}")
    BED.on(THERE, f"rm -rf {SYNCED}")
    time.sleep(QUIET_SECONDS)
    assert tree(HERE) == before
    assert state(THERE)["problem"]
    assert "index.php" in state(BEYOND)["held_because"]
    shown = BED.playbook("adt.assets.status", SETTINGS).stdout
    assert "index.php" in shown
    play("heal")
    assert trees() == [before] * 3


@CHANGES
def test_h20_emptied_slowly_or_by_half_nothing_is_deleted_elsewhere_and_edits_go_on() -> None:
    before = tree(BEYOND)
    BED.on(THERE, f"rm -rf {ROOT}/files/[1-6]")
    # The entry page last, and some hundred files in the time in which a single delete is waited for.
    BED.on(HERE, f"cd {ROOT} && find files -name '*.txt' | while read -r name; do rm -- \"$name\"; sleep 0.02; done")
    write(THERE, "written-meanwhile.txt", "news")
    wait_until(lambda: has(BEYOND, "written-meanwhile.txt"), 5)
    time.sleep(QUIET_SECONDS)
    assert {name: what for name, what in tree(BEYOND).items() if name != "written-meanwhile.txt"} == before
    assert state(THERE)["held_files"] == 300
    assert state(HERE)["held_files"] >= 300
    assert "held back" in BED.on(HERE, f"journalctl -u {UNIT} -o cat")
    play("heal")
    wait_for_the_same()
    assert {name: what for name, what in tree(HERE).items() if name != "written-meanwhile.txt"} == before


@CHANGES
def test_t12_an_unmounted_or_unreadable_webroot_deletes_nothing_elsewhere_and_is_in_order_again_afterwards() -> None:
    before = tree(HERE)
    BED.on(THERE, f"mount -t tmpfs none {ROOT} && chown www-data:www-data {ROOT}")
    BED.on(BEYOND, f"chmod 000 {ROOT}")
    try:
        wait_until(lambda: bool(state(THERE)["problem"] and state(BEYOND)["problem"]), 10)
        assert "another file system" in state(THERE)["problem"]
        assert "can't read" in state(BEYOND)["problem"]
        time.sleep(QUIET_SECONDS)
        assert tree(HERE) == before
    finally:
        BED.on(THERE, f"umount {ROOT}")
        BED.on(BEYOND, f"chmod 755 {ROOT}")
    write(THERE, "again.txt", "in order")
    wait_until(lambda: has(HERE, "again.txt") and has(BEYOND, "again.txt"), 15)


@CHANGES
def test_t12_files_cut_to_nothing_and_unreadable_directories_are_held() -> None:
    before = tree(HERE)
    BED.on(THERE, f"find {ROOT}/files/[1-4] -name '*.txt' -exec truncate -s 0 {{}} +")
    BED.on(BEYOND, f"chmod 000 {ROOT}/files/*")
    time.sleep(QUIET_SECONDS)
    assert tree(HERE) == before
    assert state(THERE)["held_files"] == 200
    assert state(BEYOND)["held_files"] == 600
    play("heal")
    assert trees() == [before] * 3


@CHANGES
def test_what_was_meant_is_released_by_a_play() -> None:
    BED.on(THERE, f"rm -r {ROOT}/files/0 {ROOT}/files/1 {ROOT}/files/2")
    wait_until(lambda: state(THERE)["held_files"] == 150, 15)
    assert has(HERE, "files/0")
    assert "'files/0'" in BED.on(THERE, f"journalctl -u {UNIT} -o cat | grep 'held back' | tail -1")
    shown = BED.playbook("adt.assets.status", SETTINGS).stdout
    assert next(line for line in shown.splitlines() if THERE in line and "150" in line)
    play("release")
    wait_until(lambda: not has(HERE, "files/0") and not has(BEYOND, "files/2"), 20)
    assert has(HERE, "files/3/3.txt")


@CHANGES
def test_a_webserver_that_left_is_forgotten_and_one_that_lost_its_index_pushes_nothing_and_joins_anew() -> None:
    """The latter as one from an old image: its files may be older than what others have deleted."""
    before = tree(HERE)
    BED.playbook(CONVERGE, {"webroot_sync_webservers": [HERE, THERE]}, "--limit", f"{HERE},{THERE}")
    wait_until(lambda: state(HERE)["peers"] == {THERE: True} and state(THERE)["peers"] == {HERE: True}, 20)
    wait_until(lambda: not any(state(BEYOND)["peers"].values()), 20)
    write(BEYOND, "outside.txt", "not passed on")
    BED.on(BEYOND, f"systemctl stop {UNIT}; rm -rf /var/lib/adt-webroot-sync/syncthing/index-*")
    BED.on(BEYOND, f"cd {ROOT} && echo old > returned.txt && echo older > files/3/3.txt && systemctl start {UNIT}")
    wait_until(lambda: "lost its index" in state(BEYOND)["problem"], 10)
    with served(BEYOND, "index.php", "files/4/4.txt"):
        BED.playbook(CONVERGE, {})
    assert trees() == [before] * 3
    assert "returned.txt" in BED.on(BEYOND, "ls /var/www/.html-sync/aside/*")
    wait_until(lambda: state(HERE)["peers"] == {THERE: True, BEYOND: True}, 30)


@CHANGES
def test_a_webserver_that_is_killed_while_it_joins_has_what_the_others_have_in_the_end() -> None:
    before = tree(HERE)
    BED.on(BEYOND, f"systemctl stop {UNIT}; {PROGRAM} join; rm {ROOT}/files/5/5.txt; systemctl start {UNIT}")
    for _time in range(3):
        wait_until(lambda: state(BEYOND)["joining"] and state(BEYOND)["running"], 20)
        BED.on(BEYOND, f"systemctl kill --signal KILL {UNIT}")
    # As one that is killed while it puts in place what it has got: nobody knows what is whose.
    BED.on(BEYOND, f"systemctl stop {UNIT}; printf exchanging > /var/lib/adt-webroot-sync/joining")
    BED.on(BEYOND, f"rm -r /var/www/.html-sync/joining/files {ROOT}/files; systemctl start {UNIT}")
    BED.on(BEYOND, f"{PROGRAM} wait 60")
    assert trees() == [before] * 3


@CHANGES
def test_random_changes_on_all_webservers_end_in_the_tree_that_was_meant() -> None:
    """Nobody changes what another has changed in the last seconds, as then nobody could say what was meant."""
    choose = random.Random(20)
    hosts = WEBSERVERS[:3]
    expected: dict[str, str] = {}
    touched: dict[str, tuple[float, str]] = {}
    BED.on(HERE, f"sudo -u www-data mkdir {ROOT}/random")
    wait_until(lambda: all(has(host, "random") for host in hosts), 10)
    steps = 900 if SOAK else 90
    for step in range(steps):
        host = choose.choice(hosts)
        free = [name for name in expected if time.monotonic() - touched[name][0] > 8 or touched[name][1] == host]
        kind = choose.choice(["create", "create", "edit", "rename", "delete"]) if free else "create"
        name = choose.choice(free) if kind != "create" else f"random/f{step}"
        if kind in ("create", "edit"):
            expected[name] = f"{kind} {step}"
            write(host, name, expected[name])
        elif kind == "rename":
            BED.on(host, f"cd {ROOT} && mv {name} random/r{step}")
            expected[f"random/r{step}"] = expected.pop(name)
            touched[f"random/r{step}"] = (time.monotonic(), host)
        else:
            BED.on(host, f"rm {ROOT}/{name}")
            del expected[name]
        touched[name] = (time.monotonic(), host)
        if step == steps // 3:
            BED.on(THERE, f"systemctl restart --no-block {UNIT}")
        if step == steps // 2:
            BED.restart(BEYOND)
    wait_for_the_same()
    found = BED.on(HERE, f"cd {ROOT} && grep -r . random")
    assert dict(line.split(":", 1) for line in found.splitlines()) == expected


def test_h23_keys_are_for_root_and_syncthing_only() -> None:
    key = BED.on(HERE, "cat /etc/adt-webroot-sync/api.key").strip()
    assert key not in BED.on(HERE, "ps -eo args; journalctl -o cat --no-pager")
    assert BED.on(HERE, "stat -c '%a %U' /etc/adt-webroot-sync/api.key").split() == ["600", "root"]
    assert BED.on(HERE, "stat -c '%a %U' /var/lib/adt-webroot-sync/syncthing").split() == ["700", "www-data"]
    readable = BED.on(HERE, f"grep -rlF -e {key} -e 'PRIVATE KEY' /etc/adt-webroot-sync /var/lib/adt-webroot-sync")
    for file in readable.splitlines():
        assert BED.on(HERE, f"stat -c %a {file}").strip() == "600", file


@pytest.mark.parametrize("host", WEBSERVERS[:2])
def test_syncthings_api_needs_its_key_and_is_not_on_the_network(host: str) -> None:
    ask = "curl -s -o /dev/null -w '%{http_code}' --max-time 5"
    assert BED.on(host, f"{ask} http://127.0.0.1:8384/rest/config") in ("401", "403")
    assert BED.on(host, f"{ask} http://{BED.address(host)}:8384/", check=False) == "000"
    listening = BED.on(host, "ss -Hlntup | grep syncthing | awk '{print $1, $5}'")
    assert sorted(set(listening.splitlines())) == ["tcp *:22000", "tcp 127.0.0.1:8384"]
