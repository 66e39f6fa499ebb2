#!/usr/bin/python
# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the bucket of an asset directory back to a directory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: asset_fetch
short_description: Copy a bucket, or several, back into a directory
version_added: 0.1.0
description:
  - Makes a local directory equal to the bucket of an asset directory, which is the way back from a mounted bucket.
    Several buckets of one directory count as one.
  - Only what is missing or differs (by digest) is fetched. Each file appears whole or not at all.
  - Files that no bucket has are moved to O(aside), never deleted.
  - Looks for free space before it writes anything. Symbolic links in O(dest) are never followed.
options:
  dest:
    description: The directory, which is made when it is missing.
    type: path
    required: true
  aside:
    description:
      - Where files of O(dest) go that the bucket doesn't have. Outside of O(dest), best on the same file system.
      - Required when there are any.
    type: path
  owner:
    description: User (name or number) that owns files whose objects don't say so.
    type: str
    default: root
  group:
    description: Group (name or number) of files whose objects don't say so.
    type: str
    default: root
  symlinks:
    description: How symbolic links are stored in the bucket, see M(adt.assets.asset_sync).
    type: str
    choices: [rclonelink, object, refuse]
    default: rclonelink
  only:
    description:
      - Directories below O(dest) that this is about, such as V(wp-content/themes). What lies elsewhere in the bucket
        isn't fetched, and what lies elsewhere in O(dest) stays as it is.
    type: list
    elements: str
    default: []
  without:
    description: Directories below O(dest), or below those of O(only), that this isn't about.
    type: list
    elements: str
    default: []
  workers:
    description: How many objects are fetched at once.
    type: int
    default: 16
extends_documentation_fragment:
  - adt.assets.owner
  - adt.assets.progress
  - adt.assets.buckets
  - adt.assets.store
  - amazon.aws.common.modules
  - amazon.aws.region.modules
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Lists at most 100 paths.
seealso:
  - module: adt.assets.asset_sync
author:
  - adt.assets contributors (@adt-assets)
"""

EXAMPLES = r"""
- name: Bring the images back to the webserver
  adt.assets.asset_fetch:
    dest: /var/www/html/images
    bucket: www-example-com-assets-images
    site: www.example.com
    directory: images
    catalog: www-example-com-assets-catalog
    owner: www-data
    group: www-data
    aside: /var/lib/adt-assets/aside/images

- name: Have a copy of the application's code, and not of what users have uploaded
  adt.assets.asset_fetch:
    dest: /var/lib/code
    bucket: www-example-com-assets-whole-webroot
    only: [wp-admin, wp-includes]
    site: www.example.com
    directory: whole-webroot
    catalog: www-example-com-assets-catalog
    aside: /var/lib/code.old
"""

RETURN = r"""
summary:
  description: Count and bytes of what was C(fetched), C(replaced), C(unchanged) and moved C(aside) (or would be).
  returned: success
  type: dict
  sample: {"fetched": {"count": 3, "bytes": 70000}, "unchanged": {"count": 297, "bytes": 6000000}}
engine:
  description: The client that carried the data.
  returned: success
  type: str
seconds:
  description: How long it took.
  returned: success
  type: float
sample:
  description: A key that exists in the bucket, V(null) when there is none.
  returned: success
  type: str
kind:
  description: Of what kind a failure is, V(source), V(missing), V(denied), V(unreachable), V(conflict) or V(other).
  returned: failure
  type: str
"""

from ansible.module_utils.common.warnings import warn
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._fetch import run
from ..module_utils._options import BUCKETS, PROGRESS, SYMLINKS, answer, errand_from
from ..module_utils._store import argument_spec, store_from_module


def main() -> None:
    """Run the module."""
    spec = {
        "dest": {"type": "path", "required": True},
        "aside": {"type": "path"},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
        "symlinks": SYMLINKS,
        "only": {"type": "list", "elements": "str", "default": []},
        "without": {"type": "list", "elements": "str", "default": []},
        "workers": {"type": "int", "default": 16},
    }
    spec = {**argument_spec(), **BUCKETS, **PROGRESS, **spec}
    module = AnsibleAWSModule(argument_spec=spec, supports_check_mode=True)
    answer(module, lambda: run(errand_from(module), store_from_module(module), warn))


if __name__ == "__main__":
    main()
