# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: bucket_name
short_description: The bucket of an asset directory
version_added: 0.1.0
description:
  - Makes the name of the bucket of a site's asset directory, C(<site>-assets-<directory>), as a valid S3 name of at
    most 63 characters.
  - Different directories can get the same name. M(adt.assets.template_info) looks for that, so take the names from
    its plan where there is one.
author:
  - adt.assets contributors (@adt-assets)
positional: _input, site
options:
  _input:
    description: The directory, as in C(DIRECTORIES_TO_MOUNT).
    type: str
    required: true
  site:
    description: The host name of the site.
    type: str
    required: true
seealso:
  - module: adt.assets.template_info
"""

EXAMPLES = r"""
- name: Show a bucket
  ansible.builtin.debug:
    msg: "{{ 'media/videos' | adt.assets.bucket_name('www.example.com') }}"  # www-example-com-assets-media-videos
"""

RETURN = r"""
_value:
  description: The name.
  type: str
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.adt.assets.plugins.module_utils import _names


def bucket_name(directory: str, site: str) -> str:
    """As module_utils/_names.py has it."""
    try:
        return _names.bucket_name(directory, site)
    except ValueError as error:
        raise AnsibleFilterError(f"bucket_name: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"bucket_name": bucket_name}
