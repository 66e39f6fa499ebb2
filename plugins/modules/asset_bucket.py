#!/usr/bin/python
# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asset buckets and who owns them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: asset_bucket
short_description: Make or remove the S3 bucket of an asset directory
version_added: 0.1.0
description:
  - Makes the bucket of one asset directory of a site, and records in the site's catalog whose bucket it is.
  - Tags the bucket itself with its site and directory, where the store has tags, so that other sites see it.
  - The catalog itself is made when it is missing.
  - A bucket of another site or of another directory is refused, before anything is written.
  - A bucket that isn't empty is never deleted unless O(delete_contents) and O(confirm) both say so.
options:
  name:
    description: Name of the bucket, usually from RV(adt.assets.template_info#module:plan).
    type: str
    required: true
  state:
    description: Whether the bucket is to be there.
    type: str
    choices: [present, absent]
    default: present
  versioning:
    description: Whether the store keeps old versions of objects. Left as it is when unset.
    type: bool
  public_access_block:
    description:
      - Whether the store refuses to make the bucket or its objects public.
      - When unset, access is blocked where the store offers that, and there is a warning where it doesn't.
      - With V(true), a store that doesn't offer it is an error.
    type: bool
  tags:
    description:
      - The bucket's tags, all of them. Those that name its owner are added. Left as they are when unset.
    type: dict
  force_owner:
    description:
      - Take the bucket over from another site or directory, or adopt one that isn't empty and has no owner.
      - An empty bucket without an owner is adopted anyway.
    type: bool
    default: false
  delete_contents:
    description:
      - With O(state=absent), delete the bucket with all objects in it and all their versions.
      - Only together with O(confirm).
    type: bool
    default: false
  confirm:
    description: The bucket's name once more, to confirm O(delete_contents).
    type: str
extends_documentation_fragment:
  - adt.assets.owner
  - adt.assets.store
  - amazon.aws.common.modules
  - amazon.aws.region.modules
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
author:
  - adt.assets contributors (@adt-assets)
"""

EXAMPLES = r"""
- name: A bucket for the images of a site
  adt.assets.asset_bucket:
    name: www-example-com-assets-images
    site: www.example.com
    directory: images
    catalog: www-example-com-assets-catalog
    endpoint_url: https://s3.example.com
    access_key: "{{ s3_access_key }}"
    secret_key: "{{ s3_secret_key }}"

- name: All buckets of a plan
  adt.assets.asset_bucket:
    name: "{{ item.buckets | first }}"
    site: "{{ plan.site }}"
    directory: "{{ item.name }}"
    catalog: "{{ plan.catalog }}"
    versioning: true
  loop: "{{ plan.directories }}"

- name: Delete a bucket with everything in it
  adt.assets.asset_bucket:
    name: www-example-com-assets-images
    site: www.example.com
    directory: images
    catalog: www-example-com-assets-catalog
    state: absent
    delete_contents: true
    confirm: www-example-com-assets-images
"""

RETURN = r"""
bucket:
  description: The bucket's name.
  returned: success
  type: str
exists:
  description: Whether the bucket exists now. In check mode nothing is made, so a new bucket is V(false).
  returned: success
  type: bool
owner:
  description: Whose bucket it is (or would be), V(null) when it has none.
  returned: success
  type: dict
  sample: {site: www.example.com, directory: images, store: "https://s3.example.com", created: "2026-01-31T10:00:00Z"}
versioning:
  description: Whether old versions are kept, V(null) when the store doesn't tell.
  returned: success
  type: bool
public_access_block:
  description: Whether public access is blocked, V(null) when the store doesn't tell.
  returned: success
  type: bool
tags:
  description: The bucket's tags without those that name its owner, V(null) when the store doesn't tell.
  returned: success
  type: dict
conditional_writes:
  description:
    - Whether the store is known to honour conditional writes.
    - Without them several runs at once aren't protected from each other.
  returned: success
  type: bool
kind:
  description: Of what kind a failure is, V(missing), V(denied), V(unreachable), V(conflict) or V(other).
  returned: failure
  type: str
"""

from typing import Any

from ansible.module_utils.common.warnings import warn
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._bucket import Request, run
from ..module_utils._options import OWNER, answer
from ..module_utils._store import argument_spec, store_from_module


def main() -> None:
    """Run the module."""
    spec = {
        "name": {"type": "str", "required": True},
        **OWNER,
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "versioning": {"type": "bool"},
        "public_access_block": {"type": "bool"},
        "tags": {"type": "dict"},
        "force_owner": {"type": "bool", "default": False},
        "delete_contents": {"type": "bool", "default": False},
        "confirm": {"type": "str"},
    }
    module = AnsibleAWSModule(argument_spec={**argument_spec(), **spec}, supports_check_mode=True)
    request = Request(**{option: module.params[option] for option in spec})

    def work() -> dict[str, Any]:
        outcome = run(store_from_module(module), request, module.check_mode)
        for text in outcome.warnings:
            warn(text)  # module.warn of amazon.aws passes warnings in a way that ansible-core deprecates
        return outcome.result(request)

    answer(module, work)


if __name__ == "__main__":
    main()
