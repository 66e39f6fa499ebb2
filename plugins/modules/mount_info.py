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
    description:
      - The site's plan, as M(adt.assets.template_info) returns it. Only RV(ignore:plan.directories) and
        RV(ignore:plan.catalog) are used.
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
    buckets:
      description: The buckets that are (or were last) in front, whatever the plan says now. Empty when none ever was.
      type: list
      elements: str
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
    bridge:
      description: Whether a second mount of the bucket is there, for as long as the first one is replaced.
      type: bool
    beneath:
      description: Where the local files are reachable while the bucket is in front.
      type: str
    local_path:
      description: Where the local files are reachable now, RV(mounts[].beneath) or RV(mounts[].path).
      type: str
    answers:
      description:
        - Whether something that is known to be in each bucket can be read through the mount, and a name that can't be
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
    unsure:
      description:
        - Why changes that were made on other webservers may be noticed some seconds late, in words. Empty when they are
          noticed at once; V(none) where webservers don't tell each other.
      type: str
    event:
      description: What happened to the mount last by itself, such as its end, and when (seconds since 1970).
      type: dict
      sample: {time: 1795300000.0, what: the bucket is in front}
    problems:
      description: What is wrong, in words.
      type: list
      elements: str
unlisted:
  description:
    - Directories of the same site (by RV(ignore:plan.catalog)) that this host mounts, or did, and that the plan doesn't
      name. The same as RV(mounts), and more.
  returned: success
  type: list
  elements: dict
  contains:
    directory:
      description: The directory's entry in the plan by which it was mounted.
      type: dict
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


def look_at(directories: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """What _mount.describe says about each of these entries of a plan."""
    configs = [config_of(directory["path"]) for directory in directories]
    states = _mount.unit_states([config.unit for config in configs]) if configs else {}
    return [
        {"name": directory["name"], **_mount.describe(config, states.get(config.unit, {}), seconds)}
        for directory, config in zip(directories, configs)
    ]


def unlisted(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries, in the plans of that time, of directories of the same site that the plan has no more."""
    listed = {unit_name(directory["path"]) for directory in plan.get("directories") or []}
    names = sorted({path.stem for path in _mount.CONFIG_DIR.glob("*.json")} - listed)
    configs = [_mount.load_config(name) for name in names]
    return [config.directory for config in configs if config.directory and config.catalog == plan.get("catalog")]


def main() -> None:
    module = AnsibleModule(
        argument_spec={"plan": {"type": "dict", "required": True}, "timeout": {"type": "int", "default": 10}},
        supports_check_mode=True,
    )
    plan, seconds = module.params["plan"], module.params["timeout"]
    try:
        mounts = look_at(plan.get("directories") or [], seconds)
        others = unlisted(plan)
        left = [{"directory": other, **seen} for other, seen in zip(others, look_at(others, seconds))]
    except (KeyError, OSError) as error:
        module.fail_json(msg=f"the mounts can't be looked at: {error}")
    module.exit_json(changed=False, mounts=mounts, unlisted=left)


if __name__ == "__main__":
    main()
