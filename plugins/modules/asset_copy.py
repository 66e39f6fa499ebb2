#!/usr/bin/python
# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An asset directory from its buckets into others."""

from __future__ import annotations

DOCUMENTATION = r"""
module: asset_copy
short_description: Copy an asset directory from its bucket, or buckets, into others
version_added: 0.1.0
description:
  - Makes the new buckets of an asset directory what the old ones show, with everything that is known of it. What users
    have deleted stays deleted, and what they have changed is kept, when the next backup is copied into the new ones.
  - The store copies by itself, no content passes through this host. Content types and metadata are kept.
  - Run it while the old buckets are in use, and once more when nobody writes into them any more. The second run copies
    what has changed since.
  - The old buckets are never changed. The new ones must not be in use yet.
    What is overwritten or removed in them is kept in the catalog, below C(replaced/).
options:
  from_buckets:
    description:
      - The old bucket, or buckets in the order of the plan. They must belong to the same O(directory).
      - Of a key that lies in several of them the first one's object is copied. There is a warning that names them.
    type: list
    elements: str
    required: true
  buckets:
    description:
      - The new bucket, or buckets in the order of the plan, none of them in O(from_buckets).
        In check mode they may be missing.
      - Files are spread over several of them by a digest of the key, as M(adt.assets.asset_sync) spreads new ones.
    type: list
    elements: str
    required: true
    aliases: [bucket]
  workers:
    description: How many objects are copied at once.
    type: int
    default: 32
extends_documentation_fragment:
  - adt.assets.owner
  - adt.assets.progress
  - adt.assets.store
  - amazon.aws.common.modules
  - amazon.aws.region.modules
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Lists at most 100 keys of each kind for each new bucket.
notes:
  - Objects are the same when their size and ETag are. The store may give a large object's copy another ETag. Such a
    copy counts as the same until the old object is written again.
seealso:
  - module: adt.assets.asset_bucket
  - module: adt.assets.asset_sync
author:
  - adt.assets contributors (@adt-assets)
"""

EXAMPLES = r"""
- name: Copy the images into their new bucket
  adt.assets.asset_copy:
    from_buckets: [www-example-com-images]
    bucket: www-example-com-assets-images
    site: www.example.com
    directory: images
    catalog: www-example-com-assets-catalog
  register: copy

- name: Spread one bucket over three
  adt.assets.asset_copy:
    from_buckets: [www-example-com-assets-media]
    buckets: [www-example-com-assets-media-1, www-example-com-assets-media-2, www-example-com-assets-media-3]
    site: www.example.com
    directory: media
    catalog: www-example-com-assets-catalog
"""

RETURN = r"""
complete:
  description: Whether the new buckets are what the old ones showed. V(false) when RV(summary) has C(raced); run again.
  returned: success
  type: bool
summary:
  description:
    - Count and bytes of what was C(copied), C(updated), C(unchanged) and C(removed) from the new buckets (or would be).
    - C(raced) was changed by someone else meanwhile and left to the next run, C(retried) had to be asked for again.
  returned: success
  type: dict
  sample: {"copied": {"count": 3, "bytes": 70000}, "unchanged": {"count": 297, "bytes": 6000000}}
seconds:
  description: How long it took.
  returned: success
  type: float
kind:
  description: Of what kind a failure is, V(source), V(missing), V(denied), V(unreachable), V(conflict) or V(other).
  returned: failure
  type: str
"""

from ansible.module_utils.common.warnings import warn
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._copy import run
from ..module_utils._options import BUCKETS, PROGRESS, answer, move_from
from ..module_utils._store import argument_spec, store_from_module


def main() -> None:
    """Run the module."""
    spec = {
        "from_buckets": {"type": "list", "elements": "str", "required": True},
        "workers": {"type": "int", "default": 32},
    }
    spec = {**argument_spec(), **BUCKETS, **PROGRESS, **spec}
    module = AnsibleAWSModule(argument_spec=spec, supports_check_mode=True)
    answer(module, lambda: run(move_from(module), store_from_module(module), warn))


if __name__ == "__main__":
    main()
