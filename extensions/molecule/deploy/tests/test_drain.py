# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Webservers that are drained before they are switched off, and come back."""

from __future__ import annotations

import subprocess

from scenario import BED, DIRECTORIES, IMAGES, ONCE, READ_ONLY, VARIABLES, deploy, in_front, recap

pytestmark = ONCE
HOST = "web2"


def drain(*options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the ``drain`` playbook of the scenario's site."""
    return BED.playbook("adt.assets.drain", VARIABLES, *options, check=check)


def test_nobody_drains_the_whole_site_by_mistake() -> None:
    done = drain(check=False)
    assert done.returncode != 0
    assert "--limit" in done.stdout and "assets_drain_all" in done.stdout
    assert all(in_front(HOST, directory).startswith("fuse") for directory in DIRECTORIES)


def test_h14_a_drained_webserver_has_everything_in_the_buckets_and_comes_back_with_deploy() -> None:
    changes = recap(drain("--check", "--limit", HOST).stdout)[HOST]["changed"]
    assert changes
    assert all(in_front(HOST, directory).startswith("fuse") for directory in DIRECTORIES)
    BED.on(HOST, f"sudo -u www-data sh -c 'echo last > {IMAGES.path}/last.txt'")
    drain("--limit", HOST)
    assert BED.s3.get_object(Bucket=IMAGES.bucket, Key="last.txt")["Body"].read() == b"last\n"
    for directory in DIRECTORIES:
        assert not in_front(HOST, directory).startswith("fuse")
        refused = BED.on(HOST, f"sudo -u www-data touch {directory.path}/beneath 2>&1", check=False)
        assert READ_ONLY in refused
    assert recap(drain("--limit", HOST).stdout)[HOST]["changed"] == 0
    deploy()
    assert all(in_front(HOST, directory).startswith("fuse") for directory in DIRECTORIES)
    BED.on("web1", f"rm {IMAGES.path}/last.txt")
