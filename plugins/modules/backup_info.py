#!/usr/bin/python
# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The temporal backups of a site."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: Lists the temporal backups of a site's webroot
version_added: 0.1.0
description:
  - Lists the backups that role P(adt.assets.webroot_backup#role) has announced in the site's catalog. One that isn't
    whole is never announced.
  - Says which of them is the newest, of a period, at a point in time, and with all the directories that are wanted.
options:
  catalog:
    description: The site's catalog bucket.
    type: str
    required: true
  directories:
    description:
      - Directories below the webroot that RV(newest) must have, such as V(images), or absolute paths that were saved
        besides it.
      - What lies in a bucket already isn't in newer backups.
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
author:
  - adt.assets contributors (@adt-assets)
"""

EXAMPLES = r"""
- name: Look for the newest hourly backup that still has the images
  adt.assets.backup_info:
    catalog: www-example-com-assets-catalog
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
backups:
  description: The announced backups, the newest first.
  returned: success
  type: list
  elements: dict
  contains: &backup
    period:
      description: Its period.
      type: str
      sample: hourly
    time:
      description: When it was begun, in UTC by the store's clock.
      type: str
      sample: "2026-01-31T23:17:05Z"
    snapshot:
      description: The id of restic's snapshot.
      type: str
    host:
      description: The webserver that made it.
      type: str
    paths:
      description: What it has. The first is the webroot.
      type: list
      elements: str
    excludes:
      description: Directories below the webroot that it leaves out.
      type: list
      elements: str
    files:
      description: How many files it has.
      type: int
    bytes:
      description: Their size.
      type: int
    restic:
      description: The version of restic that made it.
      type: str
newest:
  description: The newest that fits, V(null) when none does.
  returned: success
  type: dict
  contains: *backup
kind:
  description: Of what kind a failure is, V(missing), V(denied), V(unreachable), V(conflict), V(source) or V(other).
  returned: failure
  type: str
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._backups import made_before, newest, read_announced
from ..module_utils._catalog import Catalog
from ..module_utils._options import PERIOD, answer, before_from
from ..module_utils._store import argument_spec, store_from_module


def main() -> None:
    """Run the module."""
    spec = {
        "catalog": {"type": "str", "required": True},
        **PERIOD,
        "directories": {"type": "list", "elements": "str", "default": []},
    }
    module = AnsibleAWSModule(argument_spec={**argument_spec(), **spec}, supports_check_mode=True)
    params = module.params

    def work() -> dict[str, Any]:
        catalog = Catalog(store_from_module(module), params["catalog"])
        found = made_before(read_announced(catalog, params["period"] or ""), before_from(module))
        fit = newest(found, params["directories"])
        return {"backups": [backup._asdict() for backup in found], "newest": fit._asdict() if fit else None}

    answer(module, work)


if __name__ == "__main__":
    main()
