# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same WordPress with its whole webroot in one bucket: every PHP file comes through the mount."""

from __future__ import annotations

import pytest
import wordpress
import yaml
from editor import WHOLE_BUCKET, deploy, editors, everywhere, unmount, visitor
from lab import TESTS
from scenario import BED, READ_ONLY, SOAK, WEBSERVERS, Directory, in_front, recap, table, wait_until

WEBROOT = Directory("/var/www/html", WHOLE_BUCKET)
PROFILE = TESTS.parent / "roles/asset_mount/vars/applications/wordpress.yml"
LOCAL = yaml.safe_load(PROFILE.read_text())["__asset_mount_application"]["local_directories"]
# goofys is refused: its table says why, and a unit test compares that with what plans are told.
OTHERS = [pytest.param(tool, marks=pytest.mark.skipif(not SOAK, reason="make soak")) for tool in ("s3fs", "geesefs")]


@pytest.fixture(scope="module", params=["rclone", *OTHERS], autouse=True)
def tool(request: pytest.FixtureRequest) -> str:
    """Nothing is left of the other scenario's mounts; the bucket is in front of the webroot."""
    for host in WEBSERVERS:
        BED.on(host, (TESTS / "tools" / "reset_webserver.sh").read_text())
    deploy("whole", request.param)
    return request.param


@pytest.mark.parametrize("host", WEBSERVERS)
def test_pages_answer_out_of_the_bucket(host: str, tool: str) -> None:
    assert in_front(host, WEBROOT) in table(tool)["fuse_types"]
    assert b"A site with pictures" in visitor(host).get("")
    assert "wp-includes/version.php" in BED.objects(WHOLE_BUCKET)


def test_a_picture_uploaded_through_wp_admin_is_served_by_both_with_its_thumbnails(tool: str) -> None:
    web1, _web2 = editors()
    uploaded = web1.upload(f"in the webroot by {tool}.png", wordpress.picture(shade=90))
    files = web1.files(uploaded["id"])
    everywhere(files)
    assert {url.split("/wp-content/")[1] for url in files} <= {
        key.removeprefix("wp-content/") for key in BED.objects(WHOLE_BUCKET)
    }


def is_local(host: str, path: str) -> bool:
    """Whether a directory below the webroot is the webserver's own."""
    return (
        in_front(host, Directory(f"{WEBROOT.path}/{path}", WHOLE_BUCKET))
        == BED.on(host, "findmnt -rno FSTYPE /").strip()
    )


@pytest.mark.parametrize("host", WEBSERVERS)
def test_caches_are_each_webservers_own(host: str, tool: str) -> None:
    assert all(is_local(host, path) for path in LOCAL)
    page = f"{WEBROOT.path}/{LOCAL[0]}/{tool}.html"
    BED.on(host, f"echo {host} | sudo -u www-data tee {page}")
    assert f"{LOCAL[0]}/{tool}.html" not in BED.objects(WHOLE_BUCKET)
    assert BED.on(host, f"cat {page}").strip() == host


def test_what_is_local_stays_in_front_of_a_directory_that_is_looked_up_anew(tool: str) -> None:
    """The kernel takes away what is mounted on one that the mount has forgotten."""
    host = WEBSERVERS[0]
    look = f"ls {' '.join(f'{WEBROOT.path}/{path}' for path in ('wp-content', *LOCAL))} > /dev/null"
    BED.on(host, "systemctl restart adt-assets-coherence")
    for _moment in range(20):  # it forgets everything when it begins, and when its peers do
        BED.on(host, look)
        assert all(is_local(host, path) for path in LOCAL)
    if tool == "rclone":
        forget = "curl -sf -X POST --unix-socket /run/adt-assets/*.sock http://mount/vfs/forget"
        BED.on(host, f"{forget} && sleep 2 && {look}")
        wait_until(lambda: all(is_local(host, path) for path in LOCAL), 5)


def test_code_may_be_read_from_a_copy_that_follows_the_bucket(tool: str) -> None:
    host, code = WEBSERVERS[0], f"{WEBROOT.path}/wp-includes"
    BED.s3.put_object(Bucket=WHOLE_BUCKET, Key="wp-includes/old.php", Body=b"<?php")
    deploy("whole", tool, assets_local_code=True)
    assert all(is_local(host, path) for path in ("wp-includes", "wp-content/themes"))
    assert BED.on(host, f"cat {code}/old.php") == "<?php"
    assert b"A site with pictures" in visitor(host).get("")
    assert READ_ONLY in BED.on(host, f"touch {code}/x 2>&1 || true")
    # Somebody updates the application.
    version = BED.s3.get_object(Bucket=WHOLE_BUCKET, Key="wp-includes/version.php")["Body"].read()
    patched = f"// patched for {tool}\n"
    BED.s3.put_object(Bucket=WHOLE_BUCKET, Key="wp-includes/version.php", Body=version + patched.encode())
    BED.s3.delete_object(Bucket=WHOLE_BUCKET, Key="wp-includes/old.php")
    deploy("whole", tool, assets_local_code=True)
    assert BED.on(host, f"tail -n 1 {code}/version.php") == patched
    assert BED.on(host, f"cat {code}/old.php 2>/dev/null || true") == ""
    again = deploy("whole", tool, assets_local_code=True)
    assert all(counters["changed"] == 0 for counters in recap(again.stdout).values()), again.stdout


def test_t6_what_is_local_comes_back_with_a_mount_that_was_killed() -> None:
    host = WEBSERVERS[0]
    BED.on(host, f"systemctl kill --signal=KILL --kill-whom=main {WEBROOT.unit}")
    wait_until(lambda: all(is_local(host, path) for path in (*LOCAL, "wp-includes")))
    assert b"A site with pictures" in visitor(host).get("")


def test_the_way_back_brings_what_is_local(tool: str) -> None:
    unmount("whole", tool)
    for host in WEBSERVERS:
        assert in_front(host, WEBROOT) == ""
        assert BED.on(host, f"cat {WEBROOT.path}/{LOCAL[0]}/{tool}.html").strip() == host
        assert b"A site with pictures" in visitor(host).get("")
