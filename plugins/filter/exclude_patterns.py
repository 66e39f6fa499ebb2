# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: exclude_patterns
short_description: Patterns that keep asset directories out of backups and syncs
version_added: 0.1.0
description:
  - Makes a pattern of each directory, in the form of a tool, that excludes exactly this directory and what is in it.
    C(img[1]) excludes C(img[1]), not C(img1).
  - For V(rsync), V(tar), V(rclone) and V(restic) each pattern is the value of one C(--exclude), given as an argument.
    In a file of patterns, line breaks and some signs would mean something else.
  - C(tar) must be called as C(tar -C WEBROOT .). For V(syncthing) each pattern is a line of C(.stignore).
author:
  - adt.assets contributors (@adt-assets)
positional: _input, tool
options:
  _input:
    description: Directories relative to the webroot, the C(excludes) of a plan.
    type: list
    elements: str
    required: true
  tool:
    description: The tool that excludes.
    type: str
    choices: [rclone, restic, rsync, syncthing, tar]
    required: true
  root:
    description: The webroot. V(restic) needs it, since its patterns are absolute.
    type: str
    default: ""
seealso:
  - module: adt.assets.template_info
"""

EXAMPLES = r"""
- name: Show arguments for restic
  ansible.builtin.debug:
    msg: "--exclude={{ item }}"
  loop: "{{ plan.excludes | adt.assets.exclude_patterns('restic', root=plan.webroot) }}"
"""

RETURN = r"""
_value:
  description: The patterns, in the order of the directories.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.adt.assets.plugins.module_utils import _names


def exclude_patterns(excludes: list[str], tool: str, root: str = "") -> list[str]:
    """As module_utils/_names.py has it."""
    try:
        return _names.exclude_patterns(excludes, tool, root)
    except ValueError as error:
        raise AnsibleFilterError(f"exclude_patterns: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"exclude_patterns": exclude_patterns}
