# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: bucket_moves
short_description: The asset directories that move to other buckets
version_added: 0.1.0
description:
  - Compares the buckets that webservers show with those of a plan, and says from which buckets the files of a directory
    have to be copied into the plan's.
  - Fails when webservers show different buckets, or when some of the plan's buckets are shown and others left behind.
author:
  - adt.assets contributors (@adt-assets)
options:
  _input:
    description: The directories of a plan.
    type: list
    elements: dict
    required: true
  mounts:
    description: The RV(adt.assets.mount_info#module:mounts) of all webservers.
    type: list
    elements: dict
    required: true
positional: _input, mounts
seealso:
  - module: adt.assets.mount_info
  - module: adt.assets.asset_copy
"""

EXAMPLES = r"""
- name: Show which directories move
  ansible.builtin.debug:
    msg: "{{ directories | adt.assets.bucket_moves(mounts) }}"  # {'images': ['old']}
  vars:
    directories: [{name: images, path: /var/www/html/images, buckets: [new]}]
    mounts: [{name: images, buckets: [old], floor: true, fuse: fuse.rclone, read_only: false}]
"""

RETURN = r"""
_value:
  description: The buckets that are left, by the name of the directory.
  type: dict
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.adt.assets.plugins.module_utils import _moves


def bucket_moves(directories: list[dict[str, Any]], mounts: list[dict[str, Any]]) -> dict[str, list[str]]:
    """As module_utils/_moves.py has it."""
    try:
        return _moves.bucket_moves(directories, mounts)
    except ValueError as error:
        raise AnsibleFilterError(f"bucket_moves: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"bucket_moves": bucket_moves}
