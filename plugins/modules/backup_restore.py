#!/usr/bin/python
# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A temporal backup of a site, or directories of it, into a new directory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_restore
short_description: Restores a temporal backup of a site's webroot into a new directory
version_added: 0.1.0
description:
  - Restores a snapshot that role P(adt.assets.webroot_backup#role) has made, or directories of it, with restic, which
    must be installed. Each file is verified.
  - Nothing that is there is ever overwritten. Whether there is room is looked at first.
options:
  bucket:
    description: The bucket of the site's backups.
    type: str
    required: true
  password:
    description: What opens them.
    type: str
    required: true
  snapshot:
    description: The snapshot's id, from M(adt.assets.backup_info).
    type: str
    required: true
  webroot:
    description: The webroot as the backup has it, the first of RV(adt.assets.backup_info#module:newest)'s paths.
    type: str
    required: true
  directories:
    description:
      - Only these directories below the webroot, or absolute paths that were saved besides it.
    type: list
    elements: str
    default: []
  dest:
    description: Where to restore to. Must be missing, or an empty directory.
    type: path
    required: true
extends_documentation_fragment:
  - adt.assets.progress
  - adt.assets.store
  - amazon.aws.common.modules
  - amazon.aws.region.modules
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
author:
  - adt.assets contributors (@adt-assets)
"""

EXAMPLES = r"""
- name: Bring the themes of a backup back, beside the webroot
  adt.assets.backup_restore:
    bucket: www-example-com-assets-backups
    password: "{{ vault_backup_password }}"
    snapshot: "{{ found.newest.snapshot }}"
    webroot: "{{ found.newest.paths | first }}"
    directories: [wp-content/themes]
    dest: /var/tmp/restored
    endpoint_url: https://s3.example.com
    access_key: "{{ s3_access_key }}"
    secret_key: "{{ s3_secret_key }}"
"""

RETURN = r"""
path:
  description: Where the webroot lies now.
  returned: success
  type: str
  sample: /var/tmp/restored/var/www/html
files:
  description: How many files were restored, or would be.
  returned: success
  type: int
bytes:
  description: Their size.
  returned: success
  type: int
kind:
  description:
    - Of what kind a failure is, V(room), V(missing), V(denied), V(unreachable), V(conflict), V(source) or V(other).
    - With V(room) there is too little of it for the backup. M(adt.assets.asset_sync) needs none.
  returned: failure
  type: str
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._options import PROGRESS, answer
from ..module_utils._progress import Work, on_file, told
from ..module_utils._restic import Restic, repository_of
from ..module_utils._restore import Order, restore
from ..module_utils._store import argument_spec, store_from_module


def main() -> None:
    """Run the module."""
    spec = {
        "bucket": {"type": "str", "required": True},
        "password": {"type": "str", "required": True, "no_log": True},
        "snapshot": {"type": "str", "required": True},
        "webroot": {"type": "str", "required": True},
        "directories": {"type": "list", "elements": "str", "default": []},
        "dest": {"type": "path", "required": True},
    }
    module = AnsibleAWSModule(argument_spec={**argument_spec(), **PROGRESS, **spec}, supports_check_mode=True)
    params = module.params

    def work() -> dict[str, Any]:
        store = store_from_module(module)
        restic = Restic(repository_of(store, params["bucket"], params["password"]))
        order = Order(
            params["snapshot"], params["webroot"], tuple(params["directories"]), params["dest"], module.check_mode
        )
        work = Work()
        with told(on_file(work, params["progress_file"] or "")):
            return restore(restic, order, work)

    answer(module, work)


if __name__ == "__main__":
    main()
