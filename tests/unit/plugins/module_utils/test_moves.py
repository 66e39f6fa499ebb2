# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.adt.assets.plugins.module_utils._moves import bucket_moves

IMAGES = {"name": "images", "path": "/images", "buckets": ["new"]}
VIDEOS = {"name": "videos", "path": "/videos", "buckets": ["videos"]}


def mount(*buckets, name="images", read_only=False, floor=True, fuse="fuse.rclone"):
    return {"name": name, "buckets": list(buckets), "floor": floor, "fuse": fuse, "read_only": read_only}


@pytest.mark.parametrize(
    ("mounts", "moves"),
    [
        ([], {}),
        ([mount("new"), mount("new")], {}),
        ([mount("old"), mount("old"), mount("videos", name="videos")], {"images": ["old"]}),
        ([mount("old"), mount(), mount("old", floor=False, fuse=None)], {"images": ["old"]}),  # others have none yet
        ([mount("one", "two")], {"images": ["one", "two"]}),
        ([mount("old", read_only=True), mount("new")], {}),  # a run that was broken off
        ([mount("old", fuse=None), mount("new")], {}),  # drained
    ],
)
def test_what_moves(mounts, moves):
    assert bucket_moves([IMAGES, VIDEOS], mounts) == moves


def test_to_more_buckets_than_before_nothing_has_to_be_copied():
    several = {**IMAGES, "buckets": ["old", "more"]}
    assert bucket_moves([several], [mount("old")]) == {}


@pytest.mark.parametrize(
    ("mounts", "why"),
    [
        ([mount("old"), mount("older")], "another webserver shows older"),
        ([mount("old"), mount("new")], "both are written to"),
        ([mount("new", "old")], "or none of them"),
    ],
)
def test_h10_moves_that_could_lose_something_are_refused(mounts, why):
    with pytest.raises(ValueError, match=why):
        bucket_moves([IMAGES], mounts)
