#!/usr/bin/python
# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mount_info
short_description: Tells the state of a site's asset mounts on a webserver
version_added: 0.1.0
description:
  - Looks at every asset directory of a plan on the host that runs the module, and says what serves it, whether it
    answers from its bucket, and what is wrong.
  - Asks a mount in processes of its own, with a time limit. A mount that hangs in the kernel can't hang the module.
author:
  - adt.assets contributors (@adt-assets)
options:
  plan:
    description: The site's plan, as M(adt.assets.template_info) returns it. Only RV(ignore:plan.directories) is used.
    type: dict
    required: true
  timeout:
    description: Seconds that each mount gets to answer.
    type: int
    default: 10
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
    details: This module changes nothing.
  diff_mode:
    description: Returns details on what has changed (or would change) when in diff mode.
    support: none
notes:
  - Needs root, to read the credentials with which it asks the bucket what a mount should show.
seealso:
  - module: adt.assets.template_info
"""

EXAMPLES = r"""
- name: Look at the mounts
  adt.assets.mount_info:
    plan: "{{ assets_plan }}"
  become: true
  register: mounts

- name: Every directory answers from its bucket
  ansible.builtin.assert:
    that: mounts.mounts | rejectattr('answers') | length == 0
"""

RETURN = r"""
mounts:
  description: One entry per directory of the plan, in its order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The directory's name in the plan.
      type: str
      sample: images
    path:
      description: Where the directory lies.
      type: str
      sample: /var/www/html/images
    exists:
      description: Whether anything lies at the path.
      type: bool
    unit:
      description: The systemd unit of the mount.
      type: str
      sample: adt-assets-var-www-html-images.service
    unit_state:
      description: Its state as systemd says, V(not-found) without a unit, V(unknown) where systemd can't be asked.
      type: str
      sample: active
    enabled:
      description: Whether the unit starts at boot.
      type: bool
    stale:
      description: Whether the unit or its credentials were written after the mount was started.
      type: bool
    floor:
      description: Whether the read-only floor of local files lies beneath.
      type: bool
    fuse:
      description: Type of the mount in front, dead or alive; V(none) when local files are in front.
      type: str
      sample: fuse.rclone
    read_only:
      description: Whether the mount in front refuses writes, which a way back that was broken off leaves.
      type: bool
    beneath:
      description: Where the local files are reachable while the bucket is in front.
      type: str
    local_path:
      description: Where the local files are reachable now, RV(mounts[].beneath) or RV(mounts[].path).
      type: str
    answers:
      description:
        - Whether something that is known to be in the bucket can be read through the mount, and a name that can't be
          there is reported missing. V(none) when nothing is mounted.
      type: bool
    answer_seconds:
      description: How long that took.
      type: float
    pending:
      description: Files that wait to be uploaded; V(none) when nothing is mounted or the mount doesn't say.
      type: int
    space:
      description: The local file system that holds the mount's cache.
      type: dict
      contains:
        path:
          description: The directory that was asked.
          type: str
        free:
          description: Free bytes.
          type: int
        total:
          description: Bytes in all.
          type: int
    kept_local:
      description: Whether local files are there, in front or beneath.
      type: bool
    since:
      description: When the cutover was completed, in seconds since 1970; V(none) when it wasn't.
      type: float
    event:
      description: What happened to the mount last by itself, such as its end, and when (seconds since 1970).
      type: dict
      sample: {time: 1795300000.0, what: the bucket is in front}
    problems:
      description: What is wrong, in words.
      type: list
      elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.adt.assets.plugins.module_utils import _mount
from ansible_collections.adt.assets.plugins.module_utils._names import unit_name


def config_of(path: str) -> _mount.Config:
    try:
        return _mount.load_config(unit_name(path))
    except _mount.MountError:  # never mounted here
        return _mount.Config(name=unit_name(path), path=path)


def main() -> None:
    module = AnsibleModule(
        argument_spec={"plan": {"type": "dict", "required": True}, "timeout": {"type": "int", "default": 10}},
        supports_check_mode=True,
    )
    directories: list[dict[str, Any]] = module.params["plan"].get("directories") or []
    units = [f"adt-assets-{unit_name(directory['path'])}.service" for directory in directories]
    states = _mount.unit_states(units) if units else {}
    try:
        mounts = [
            {
                "name": directory["name"],
                **_mount.describe(config_of(directory["path"]), states.get(unit, {}), module.params["timeout"]),
            }
            for directory, unit in zip(directories, units)
        ]
    except (KeyError, OSError) as error:
        module.fail_json(msg=f"the mounts can't be looked at: {error}")
    module.exit_json(changed=False, mounts=mounts)


if __name__ == "__main__":
    main()
