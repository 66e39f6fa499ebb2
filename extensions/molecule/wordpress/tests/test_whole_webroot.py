# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same WordPress with its whole webroot in one bucket: every PHP file comes through the mount."""

from __future__ import annotations

import pytest
import wordpress
from editor import WHOLE_BUCKET, deploy, editors, everywhere, visitor
from lab import TESTS
from scenario import BED, SOAK, WEBSERVERS, Directory, in_front, table

WEBROOT = Directory("/var/www/html", WHOLE_BUCKET)
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
