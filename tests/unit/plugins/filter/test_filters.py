# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.adt.assets.plugins.filter import bucket_moves, bucket_name, exclude_patterns, unit_name


def call(module, *args, **kwargs):
    (function,) = module.FilterModule().filters().values()
    return function(*args, **kwargs)


def test_filters_give_what_module_utils_give():
    assert call(bucket_name, "media/videos", "www.example.com") == "www-example-com-assets-media-videos"
    images = {"name": "images", "path": "/images", "buckets": ["new"]}
    mount = {"name": "images", "buckets": ["old"], "floor": True, "fuse": "fuse.rclone", "read_only": False}
    assert call(bucket_moves, [images], [mount]) == {"images": ["old"]}
    assert call(unit_name, "/var/www/html/wp-content") == "var-www-html-wp\\x2dcontent"
    assert call(exclude_patterns, ["img[1]"], "rsync") == ["/img\\[1\\]"]
    assert call(exclude_patterns, ["img[1]"], "restic", root="/srv") == ["/srv/img\\[1\\]"]


@pytest.mark.parametrize(
    "module, args", [(bucket_name, ("", "x")), (unit_name, ("relative",)), (exclude_patterns, (["/x"], "tar"))]
)
def test_wrong_input_is_a_filter_error_that_names_the_filter(module, args):
    with pytest.raises(AnsibleFilterError, match=module.__name__.rsplit(".", maxsplit=1)[-1]):
        call(module, *args)
