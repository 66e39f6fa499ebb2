#!/usr/bin/python
# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archives of a webroot that another tool has put into a bucket."""

from __future__ import annotations

DOCUMENTATION = r"""
module: archive_info
short_description: Finds the newest whole archive of a webroot in a bucket
version_added: 0.1.0
description:
  - Looks for the archives of a webroot (C(.tar.gz), C(.tgz), C(.tar.zst), C(.tar)) that another tool has put into a
    bucket, and reads the newest to its end. When it isn't whole, or lacks one of the directories, it takes the one
    before, and so on.
  - An archive that was renamed by one more suffix, such as C(applicationsourcecode.tar.gz.BACKUP), is one, too.
options:
  bucket:
    description:
      - The bucket, or what the names of the buckets begin with that there are for the periods, such as
        C(www-example-com) for C(www-example-com-hourly).
    type: str
    required: true
  directories:
    description:
      - Directories below the webroot that the archive must have, such as V(images).
      - They also tell where in it the webroot lies.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - adt.assets.period
  - adt.assets.store
  - amazon.aws.common.modules
  - amazon.aws.region.modules
attributes:
  check_mode:
    support: full
    details: This module changes nothing.
  diff_mode:
    support: none
seealso:
  - module: adt.assets.backup_info
author:
  - adt.assets contributors (@adt-assets)
"""

EXAMPLES = r"""
- name: Look for the newest hourly archive that has the images
  adt.assets.archive_info:
    bucket: www-example-com
    period: hourly
    directories: [images]
    endpoint_url: https://s3.example.com
    access_key: "{{ s3_access_key }}"
    secret_key: "{{ s3_secret_key }}"
  register: found

- name: Stop without one
  ansible.builtin.assert:
    that: found.newest is not none
"""

RETURN = r"""
archives:
  description: The archives that were looked at, the newest first.
  returned: success
  type: list
  elements: dict
  contains: &archive
    src:
      description: The archive, as O(adt.assets.asset_sync#module:src) takes it.
      type: str
      sample: s3://www-example-com-hourly/applicationsourcecode.tar.gz
    time:
      description: When it was stored, in UTC.
      type: str
    size:
      description: Its size in bytes.
      type: int
    problem:
      description: Why it can't be used. Empty when it can.
      type: str
    webroot:
      description: Where the webroot lies in it. Empty for its root.
      type: str
      sample: tmp/backup
newest:
  description: The newest that can be used, V(null) when none can.
  returned: success
  type: dict
  contains: *archive
kind:
  description: Of what kind a failure is, V(missing), V(denied), V(unreachable), V(conflict), V(source) or V(other).
  returned: failure
  type: str
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._archives import bucket_of, look
from ..module_utils._options import PERIOD, answer, before_from
from ..module_utils._store import argument_spec, store_from_module


def main() -> None:
    """Run the module."""
    spec = {
        "bucket": {"type": "str", "required": True},
        **PERIOD,
        "directories": {"type": "list", "elements": "str", "default": []},
    }
    module = AnsibleAWSModule(argument_spec={**argument_spec(), **spec}, supports_check_mode=True)
    params = module.params

    def work() -> dict[str, Any]:
        store = store_from_module(module)
        bucket = bucket_of(store, params["bucket"], params["period"])
        archives = [archive._asdict() for archive in look(store, bucket, before_from(module), params["directories"])]
        return {"archives": archives, "newest": next((each for each in archives if not each["problem"]), None)}

    answer(module, work)


if __name__ == "__main__":
    main()
