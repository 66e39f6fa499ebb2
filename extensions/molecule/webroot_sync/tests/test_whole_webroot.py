# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site whose webroots were the same by Syncthing, and that changes to one bucket for all (WHOLE-WEBROOT)."""

from __future__ import annotations

from collections.abc import Iterator
from subprocess import PIPE, run

import pytest
from scenario import BED, Directory, in_front, recap, wait_until
from synced import ALL, HERE, NO_MORE, ROOT, THERE, UNIT, is_synced, state, tree

SITE = "www.synced.example.com"
WEBROOT = Directory(ROOT, "www-synced-example-com-assets-whole-webroot")
BACKUPS = "sync-backups"
WHOLE = {
    "persist_assets_to_cloud": 1,
    "build_archive_choice": "hourly",
    "sync_webroots": 1,
    "directories_to_mount": "WHOLE-WEBROOT",
    "website_url": SITE,
    "s3_host_base": BED.env["S3_ENDPOINT"],
    "s3_location": "us-east-1",
}
VARIABLES = {
    "assets_settings": WHOLE,
    "assets_access_key": BED.env["AWS_ACCESS_KEY_ID"],
    "assets_secret_key": BED.env["AWS_SECRET_ACCESS_KEY"],
    "assets_backup": f"s3://{BACKUPS}/backup.tar.gz",
}
NOTHING = "there is nothing left to sync"


@pytest.fixture(scope="module", autouse=True)
def backup() -> Iterator[None]:
    """A backup of the site, as it is on all webservers, without what is Syncthing's."""
    tar = ["ssh", "-F", str(BED.ssh_config), HERE, f"sudo tar -C {ROOT} --exclude .stfolder --exclude .stignore -cz ."]
    packed = run(tar, check=True, stdout=PIPE).stdout
    BED.s3.create_bucket(Bucket=BACKUPS)
    BED.s3.put_object(Bucket=BACKUPS, Key="backup.tar.gz", Body=packed)
    yield
    variables = {key: value for key, value in VARIABLES.items() if key != "assets_backup"}
    BED.playbook("adt.assets.unmount", variables)
    for bucket in [name for name in BED.buckets() if name.startswith("www-synced-")] + [BACKUPS]:
        BED.remove_bucket(bucket)


def test_check_mode_says_what_would_be_done_and_what_can_not_be_done_leaves_the_sync_alone() -> None:
    said = BED.playbook("adt.assets.deploy", VARIABLES, "--check").stdout
    assert NOTHING in said
    refused = BED.playbook("adt.assets.deploy", {**VARIABLES, "assets_tool": "goofys"}, check=False)
    assert refused.returncode
    for host in ALL:
        assert state(host)["running"]
        assert in_front(host, WEBROOT) == ""


def test_h20_while_deletes_are_held_nothing_is_changed_anywhere() -> None:
    before = tree(HERE)
    BED.on(THERE, f"rm -rf /var/tmp/held; cp -a {ROOT}/files /var/tmp/held; rm -rf {ROOT}/files/*")
    wait_until(lambda: state(THERE)["held_files"] > 0, 60)
    for variables in (VARIABLES, NO_MORE):
        refused = BED.playbook("adt.assets.deploy", variables, check=False)
        assert refused.returncode
        assert f"on {THERE}, and held back from the other webservers" in " ".join(refused.stdout.split())
        for host in ALL:
            assert state(host)["running"]
            assert in_front(host, WEBROOT) == ""
    BED.on(THERE, f"cp -a --no-clobber /var/tmp/held/. {ROOT}/files/")
    wait_until(lambda: [tree(host) for host in ALL] == [before] * 3 and not state(THERE)["held_files"], 30)


def test_the_bucket_takes_the_place_of_the_sync() -> None:
    """It ends before the mount: beneath it or through it, it would copy what all share from one to the other."""
    BED.on(THERE, f"systemctl stop {UNIT}; sudo -u www-data sh -c 'echo late > {ROOT}/late.txt'")
    before = tree(THERE)
    said = BED.playbook("adt.assets.deploy", VARIABLES).stdout
    assert NOTHING in said
    for host in ALL:
        assert in_front(host, WEBROOT)
        assert not is_synced(host)
        wait_until(lambda host=host: BED.fetch(host, "late.txt") == b"late\n")
        assert tree(host).keys() >= {name for name in before if name.startswith("files/")}
    again = BED.playbook("adt.assets.deploy", VARIABLES).stdout
    assert all(counters["changed"] == 0 for counters in recap(again).values()), again


def test_nothing_can_be_synced_released_or_healed_then() -> None:
    assert NOTHING in BED.playbook("adt.assets.sync", VARIABLES).stdout
    for asked in ("release", "heal"):
        refused = BED.playbook("adt.assets.sync", {**VARIABLES, "assets_sync": asked}, check=False)
        assert refused.returncode
        assert NOTHING in refused.stdout
    assert not any(is_synced(host) for host in ALL)
