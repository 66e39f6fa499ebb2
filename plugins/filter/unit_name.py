# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: unit_name
short_description: A path as systemd writes it in the name of a unit
version_added: 0.1.0
description:
  - Escapes an absolute path as C(systemd-escape --path) does.
author:
  - adt.assets contributors (@adt-assets)
options:
  _input:
    description: The path.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Restart the mount of a directory
  ansible.builtin.systemd_service:
    # adt-assets-var-www-html-wp\x2dcontent.service
    name: "adt-assets-{{ '/var/www/html/wp-content' | adt.assets.unit_name }}.service"
    state: restarted
"""

RETURN = r"""
_value:
  description: The escaped path.
  type: str
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.adt.assets.plugins.module_utils import _names


def unit_name(path: str) -> str:
    """As module_utils/_names.py has it."""
    try:
        return _names.unit_name(path)
    except ValueError as error:
        raise AnsibleFilterError(f"unit_name: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"unit_name": unit_name}
