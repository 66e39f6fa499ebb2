#!/usr/bin/python
# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restored files into their place."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_place
short_description: Puts restored files into their place
version_added: 0.1.0
description:
  - Brings what M(adt.assets.backup_restore) has restored into a webroot, or elsewhere, with rsync, which must be
    installed. Files are compared by content. Those that came since stay.
  - Nothing is changed where that would replace a file by an older one, unless O(overwrite_newer).
options:
  src:
    description: The directory to take from, such as the webroot as it was restored.
    type: path
    required: true
  path:
    description: What to take, below O(src). All of it when empty.
    type: str
    default: ""
  dest:
    description: The directory that has, or gets, the same path.
    type: path
    required: true
  excludes:
    description: Directories below O(src) and O(dest) to leave alone, by their names and never as patterns.
    type: list
    elements: str
    default: []
  overwrite_newer:
    description: Whether files may be replaced that were changed after those that replace them.
    type: bool
    default: false
extends_documentation_fragment:
  - adt.assets.progress
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Returns details on what has changed (or would change) when in diff mode.
    support: none
seealso:
  - module: adt.assets.backup_restore
author:
  - adt.assets contributors (@adt-assets)
"""

EXAMPLES = r"""
- name: Put the themes of a backup into the webroot
  adt.assets.backup_place:
    src: "{{ restored.path }}"
    path: wp-content/themes
    dest: /var/www/html
"""

RETURN = r"""
changes:
  description: How many files and directories were changed, or would be.
  returned: success
  type: int
newer:
  description: Files of O(dest) that are newer than those of O(src), at most 10.
  returned: success
  type: list
  elements: str
newer_count:
  description: How many there are. Unless O(overwrite_newer), nothing was changed when there are any.
  returned: success
  type: int
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backup import SourceError
from ..module_utils._place import Placing, place
from ..module_utils._progress import Work, on_file, told


def main() -> None:
    """Run the module."""
    spec = {
        "src": {"type": "path", "required": True},
        "path": {"type": "str", "default": ""},
        "dest": {"type": "path", "required": True},
        "excludes": {"type": "list", "elements": "str", "default": []},
        "overwrite_newer": {"type": "bool", "default": False},
        "progress_file": {"type": "path"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    params, work = module.params, Work()
    names = ("src", "path", "dest", "excludes", "overwrite_newer")
    placing = Placing(**{name: params[name] for name in names}, check=module.check_mode)
    try:
        with told(on_file(work, params["progress_file"] or "")):
            result = place(placing, work)
    except (SourceError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
