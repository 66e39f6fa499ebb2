# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes while nobody looks: at a start, behind the guard's back, or for too long (H20)."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from scenario import BED, SOAK, wait_until
from synced import (
    BEYOND,
    CHANGES,
    CONVERGE,
    HERE,
    PROGRAM,
    QUIET_SECONDS,
    ROOT,
    SETTINGS,
    THERE,
    UNIT,
    has,
    in_order,
    state,
    tree,
    trees,
    wait_for_the_same,
    write,
)

__all__ = ["in_order"]

KEPT = "/var/tmp/kept"
LIST = "/var/lib/adt-webroot-sync/list.json"
ROUNDS = 60 if SOAK else 4
# A file about every 5 ms, as on a busy disk.
SLOW_RM = f"cd {ROOT} && find files -name '*.txt' | while read -r name; do rm -- \"$name\"; sleep 0.002; done"


def keep(host: str) -> None:
    BED.on(host, f"rm -rf {KEPT}; cp -a {ROOT}/files {KEPT}")


def put_back(host: str) -> None:
    """What is missing, as it was: then nothing is held any more, and nothing is to be passed on."""
    BED.on(host, f"cp -a --no-clobber {KEPT}/. {ROOT}/files/")
    wait_until(lambda: not state(host)["held_files"], 20, lambda: str(state(host)))


def journal(host: str, since: str) -> str:
    return BED.on(host, f"journalctl -u {UNIT} -o cat --since {since}")


def now(host: str) -> str:
    """The time there, as journalctl takes it."""
    return "@" + BED.on(host, "date +%s").strip()


@pytest.mark.parametrize("host", [THERE, BEYOND])  # which have different versions of Syncthing
@CHANGES
def test_h20_what_vanishes_while_the_service_starts_is_deleted_nowhere_else(host: str) -> None:
    """Syncthing looks at everything when it starts, which the guard can't foresee."""
    before, choose = tree(HERE), random.Random(6)
    keep(host)
    for _round in range(ROUNDS // 2):
        BED.on(host, f"systemctl restart --no-block {UNIT}; sleep {choose.uniform(0, 2):.2f}; {SLOW_RM}")
        wait_until(lambda: state(host)["held_files"] == 600, 20, lambda: str(state(host)))
        for other in {HERE, THERE, BEYOND} - {host}:
            assert tree(other) == before
        put_back(host)


@CHANGES
def test_h20_edits_by_others_in_directories_that_are_held_arrive_and_delete_nothing() -> None:
    """Syncthing makes a missing directory anew for them, and would then find that all else in it is missing."""
    keep(THERE)
    BED.on(THERE, f"rm -rf {ROOT}/files/[1-6]")
    wait_until(lambda: state(THERE)["held_files"] == 300, 15)
    for number in range(1, 7):
        write(BEYOND, f"files/{number}/{number + 12}.txt", "edited")
    before = tree(BEYOND)
    wait_until(lambda: all(has(THERE, f"files/{number}/{number + 12}.txt") for number in range(1, 7)), 15)
    time.sleep(QUIET_SECONDS)
    assert tree(HERE) == before
    assert tree(BEYOND) == before
    put_back(THERE)


@CHANGES
def test_h20_edits_by_others_while_their_directories_are_being_deleted_delete_nothing() -> None:
    before = {name for name in tree(HERE) if name.startswith("files")}
    edits = "for n in $(seq 60); do echo $n > files/$((n % 6 + 1))/$((n % 6 + 13)).txt; sleep 0.1; done"
    keep(THERE)
    with ThreadPoolExecutor() as threads:
        edited = threads.submit(BED.on, HERE, f"cd {ROOT} && {edits}")
        time.sleep(2)
        BED.on(THERE, f"rm -rf {ROOT}/files/[1-6]")
        edited.result()
    time.sleep(QUIET_SECONDS)
    assert {name for name in tree(HERE) if name.startswith("files")} == before
    assert {name for name in tree(BEYOND) if name.startswith("files")} == before
    put_back(THERE)


@CHANGES
def test_one_that_was_away_too_long_or_whose_index_is_empty_pushes_nothing_and_joins_anew() -> None:
    """Without an index Syncthing takes a folder for a new one, and would bring back what others have deleted."""
    BED.on(BEYOND, f"systemctl stop {UNIT}; touch -d '7 days ago 1 hour ago' {LIST}")
    BED.on(THERE, f"systemctl stop {UNIT}; find /var/lib/adt-webroot-sync/syncthing/index-* -type f -delete")
    for host in (THERE, BEYOND):
        BED.on(host, f"cd {ROOT} && echo old > files/7/7.txt && echo old > old.txt && rm files/8/8.txt")
    BED.on(HERE, f"rm {ROOT}/files/9/9.txt")
    time.sleep(QUIET_SECONDS)
    before = tree(HERE)
    BED.on(THERE, f"systemctl start {UNIT}")
    BED.on(BEYOND, f"systemctl start {UNIT}")
    wait_until(lambda: "away for 7 days" in state(BEYOND)["problem"], 20, lambda: str(state(BEYOND)))
    wait_until(lambda: "lost its index" in state(THERE)["problem"], 20, lambda: str(state(THERE)))
    time.sleep(QUIET_SECONDS)
    assert not state(BEYOND)["running"]
    assert tree(HERE) == before
    BED.playbook(CONVERGE, {})
    assert trees() == [before] * 3
    for host in (THERE, BEYOND):
        assert "old.txt" in BED.on(host, "ls $(ls -d /var/www/.html-sync/aside/* | tail -1)")
    BED.on(HERE, f"sudo -u www-data sh -c 'echo 9 > {ROOT}/files/9/9.txt'")


@CHANGES
def test_one_that_was_away_for_less_gets_what_it_missed_and_passes_on_what_changed_there() -> None:
    BED.on(BEYOND, f"systemctl stop {UNIT}; touch -d '6 days ago' {LIST}")
    write(BEYOND, "files/7/7.txt", "newer")
    BED.on(HERE, f"rm {ROOT}/files/9/9.txt")
    wait_until(lambda: not has(THERE, "files/9/9.txt"), 15)
    BED.on(BEYOND, f"systemctl start {UNIT}")
    wait_until(lambda: not has(BEYOND, "files/9/9.txt") and BED.on(HERE, f"cat {ROOT}/files/7/7.txt") == "newer\n", 15)
    BED.on(HERE, f"sudo -u www-data sh -c 'echo 9 > {ROOT}/files/9/9.txt'")


@contextmanager
def stopped(host: str) -> Iterator[None]:
    """The guard notices nothing inside the block, and more happens than the kernel keeps for it."""
    pid = int(BED.on(host, f"systemctl show -p MainPID --value {UNIT}"))
    assert pid
    BED.on(host, f"kill -STOP {pid}")
    try:
        most = int(BED.on(host, "cat /proc/sys/fs/inotify/max_queued_events"))
        # In turn, as the kernel keeps equal notices only once.
        BED.on(
            host,
            f"cd {ROOT} && python3 -c 'for n in range({most}): "
            'open("files/0/108.txt", "a").close(); open("files/0/12.txt", "a").close()\'',
        )
        yield
    finally:
        BED.on(host, f"kill -CONT {pid}")


@CHANGES
def test_when_the_kernel_has_dropped_notices_everything_is_compared_anew() -> None:
    before, began = tree(HERE), now(THERE)
    with stopped(THERE):
        made = "mkdir -p late/dir && echo l > late/dir/l; echo e > files/1/13.txt"
        BED.on(THERE, f"cd {ROOT} && sudo -u www-data sh -c '{made}'")
        BED.on(THERE, f"cd {ROOT}/files && rm 2/14.txt && mv 3/3.txt 3/moved.txt && chmod 600 4/4.txt")
        write(HERE, "meanwhile.txt", "by another")
        time.sleep(3)
        assert not has(HERE, "late")
    wait_until(lambda: has(HERE, "late/dir/l") and not has(HERE, "files/2/14.txt"), 20)
    wait_for_the_same()
    assert "notices were lost" in journal(THERE, began)
    after = tree(HERE)
    changed = {"files/1/13.txt", "files/2/14.txt", "files/3/3.txt", "files/3/moved.txt", "files/4/4.txt"}
    assert {name for name in before if before[name] != after.get(name)} == changed - {"files/3/moved.txt"}
    assert after.keys() - before.keys() == {"late", "late/dir", "late/dir/l", "files/3/moved.txt", "meanwhile.txt"}
    for name in ("rm -r late files/3/moved.txt meanwhile.txt", "chmod 644 files/4/4.txt"):
        BED.on(HERE, f"cd {ROOT} && {name}")
    for name, text in {"files/1/13.txt": "13", "files/2/14.txt": "14", "files/3/3.txt": "3"}.items():
        write(HERE, name, text)


@CHANGES
def test_h20_deletes_whose_notices_were_dropped_are_held_like_others() -> None:
    before, began = tree(HERE), now(THERE)
    keep(THERE)
    with stopped(THERE):
        BED.on(THERE, f"cd {ROOT} && rm -r files/[1-3] && echo new > new.txt && chown www-data: new.txt")
    wait_until(lambda: state(THERE)["held_files"] == 150, 20, lambda: str(state(THERE)))
    assert "notices were lost" in journal(THERE, began)
    wait_until(lambda: has(HERE, "new.txt") and has(BEYOND, "new.txt"), 10)
    time.sleep(QUIET_SECONDS)
    for found in (tree(HERE), tree(BEYOND)):
        found.pop("new.txt")
        assert found == before
    put_back(THERE)
    BED.on(THERE, f"rm {ROOT}/new.txt")
    wait_until(lambda: not has(BEYOND, "new.txt"), 30)


@contextmanager
def few_watches(host: str, number: int) -> Iterator[None]:
    """The service starts with that many watches at most, in a user namespace as the sysctl is the machine's."""
    folder = f"/run/systemd/system/{UNIT}.service.d"
    inside = f"echo {number} > /proc/sys/user/max_inotify_watches; exec {PROGRAM} run"
    maps = "--map-users=0,0,65536 --map-groups=0,0,65536"
    drop_in = f"[Service]\nExecStart=\nExecStart=/usr/bin/unshare --user {maps} /bin/sh -c '{inside}'\n"
    BED.on(host, f"mkdir -p {folder}; printf %b {drop_in!r} > {folder}/few.conf; systemctl daemon-reload")
    BED.on(host, f"systemctl restart {UNIT}")
    try:
        yield
    finally:
        BED.on(host, f"rm -r {folder}; systemctl daemon-reload; systemctl restart {UNIT}")


@CHANGES
def test_too_few_watches_are_told_and_nothing_is_passed_on_unseen() -> None:
    before = tree(HERE)
    watched = 1 + sum(what.startswith("d ") for what in before.values())
    with few_watches(THERE, 5):
        wait_until(lambda: "max_user_watches" in state(THERE)["problem"], 15, lambda: str(state(THERE)))
        assert "max_user_watches" in BED.playbook("adt.assets.status", SETTINGS).stdout
        keep(THERE)
        BED.on(THERE, f"rm -r {ROOT}/files/[1-6]")
        write(HERE, "files/1/13.txt", "edited")
        time.sleep(QUIET_SECONDS)
        assert state(THERE)["running"]
        assert tree(HERE).keys() == tree(BEYOND).keys() == before.keys()
        put_back(THERE)
    # Enough for what is there, and not for what comes.
    with few_watches(THERE, watched + 1):
        wait_until(lambda: not state(THERE)["problem"], 15, lambda: str(state(THERE)))
        BED.on(THERE, f"sudo -u www-data mkdir -p {ROOT}/more/and/more")
        wait_until(lambda: "max_user_watches" in state(THERE)["problem"], 15, lambda: str(state(THERE)))
        BED.on(THERE, f"rm -r {ROOT}/more")
        wait_until(lambda: not state(THERE)["problem"], 15, lambda: str(state(THERE)))
    write(HERE, "files/1/13.txt", "13")
