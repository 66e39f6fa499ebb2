#!/usr/bin/python
# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup or a directory against a bucket."""

from __future__ import annotations

DOCUMENTATION = r"""
module: asset_compare
short_description: Compare an asset directory with its bucket by digest
version_added: 0.1.0
description:
  - Says which files of a directory or a backup are missing in the bucket or differ, and what the bucket has besides.
    Several buckets of one directory count as one.
  - Compares contents, never times. Changes nothing.
options:
  digest:
    description:
      - V(manifest) trusts the store's ETags, and the manifest for objects that are as they were written.
        What neither tells is read.
      - V(read) reads every object of the bucket that the source has.
    type: str
    choices: [manifest, read]
    default: manifest
  accept_history:
    description:
      - >-
        Also accept a file whose bytes were in the bucket once, and which a user has changed or deleted there since,
        or which was saved in the catalog below C(conflicts/). Objects that only the bucket has are then fine, too.
      - This is the question whether a local directory can be let go.
    type: bool
    default: false
  accept_kept:
    description:
      - >-
        Also accept a file that M(adt.assets.asset_sync) left out of the bucket when it copied this same source as the
        last one, because the bucket's object is newer. Objects that only the bucket has are then fine, too.
      - This is the question whether a backup was copied.
    type: bool
    default: false
  workers:
    description: How many objects are read at once.
    type: int
    default: 16
extends_documentation_fragment:
  - adt.assets.owner
  - adt.assets.buckets
  - adt.assets.source
  - adt.assets.progress
  - adt.assets.store
  - amazon.aws.common.modules
  - amazon.aws.region.modules
attributes:
  check_mode:
    support: full
    details: Never changes anything.
  diff_mode:
    support: none
seealso:
  - module: adt.assets.asset_sync
author:
  - adt.assets contributors (@adt-assets)
"""

EXAMPLES = r"""
- name: Is everything of the local directory safe?
  adt.assets.asset_compare:
    src: /var/www/html/images
    bucket: www-example-com-assets-images
    site: www.example.com
    directory: images
    catalog: www-example-com-assets-catalog
    accept_history: true
  register: comparison
  failed_when: not comparison.identical

- name: Read every object back and compare it with the backup
  adt.assets.asset_compare:
    src: /backups/webroot.tar.gz
    archive_path: images
    bucket: www-example-com-assets-images
    site: www.example.com
    directory: images
    catalog: www-example-com-assets-catalog
    digest: read
"""

RETURN = r"""
identical:
  description:
    - Whether nothing is missing or different, and the bucket has nothing besides.
    - With O(accept_history) or O(accept_kept) whether every file of the source is accounted for.
  returned: success
  type: bool
counts:
  description: How many keys source and bucket have, and how many are same, missing, different, extra, or history.
  returned: success
  type: dict
  sample: {source: 300, bucket: 301, same: 300, missing: 0, different: 0, extra: 1, history: 0}
missing:
  description: Keys that only the source has, at most 100.
  returned: success
  type: list
  elements: str
different:
  description: Keys whose contents differ, at most 100.
  returned: success
  type: list
  elements: str
extra:
  description: Keys that only the bucket has, at most 100.
  returned: success
  type: list
  elements: str
sample:
  description: A key that exists in the bucket, V(null) when there is none.
  returned: success
  type: str
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

from ..module_utils._compare import run
from ..module_utils._options import PROGRESS, TARGET, answer, question_from
from ..module_utils._store import argument_spec, store_from_module


def main() -> None:
    """Run the module."""
    spec = {
        "digest": {"type": "str", "choices": ["manifest", "read"], "default": "manifest"},
        "accept_history": {"type": "bool", "default": False},
        "accept_kept": {"type": "bool", "default": False},
        "workers": {"type": "int", "default": 16},
    }
    spec = {**argument_spec(), **TARGET, **PROGRESS, **spec}
    module = AnsibleAWSModule(argument_spec=spec, supports_check_mode=True)
    answer(module, lambda: run(question_from(module), store_from_module(module), warn))


if __name__ == "__main__":
    main()
