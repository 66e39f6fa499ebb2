#!/usr/bin/python
# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One temporal backup of a site, now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_now
short_description: Makes a temporal backup of a site's webroot now
version_added: 0.1.0
description:
  - Starts a service that role P(adt.assets.webroot_backup#role) has installed, and waits for its end. The role's
    C(tasks_from=now) uses this.
  - A backup that failed is no failure of this module. Look at RV(result).
options:
  unit:
    description: The service, such as C(adt-assets-backup-www-example-com-assets-catalog@now-hourly.service).
    type: str
    required: true
  result:
    description: The file on the host in which the service says how its backup went.
    type: path
    required: true
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Returns details on what has changed (or would change) when in diff mode.
    support: none
notes:
  - While it works, the play's output says every few seconds what is done and left, the rate, and the time to go. The
    variable C(assets_progress_seconds) says how often, 8 by default, 0 for never.
seealso:
  - module: adt.assets.backup_info
author:
  - adt.assets contributors (@adt-assets)
"""

EXAMPLES = r"""
- name: Make a backup
  adt.assets.backup_now:
    unit: adt-assets-backup-www-example-com-assets-catalog@now-hourly.service
    result: /var/lib/adt-assets/backups/www-example-com-assets-catalog/now-hourly.json
  register: made
"""

RETURN = r"""
result:
  description: What the service says. C(announced) is the backup, and C(error) what went wrong, or empty.
  returned: success, not in check mode
  type: dict
  sample: {"announced": {"period": "hourly", "files": 20000}, "error": "", "problem": "", "seconds": 9.3}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backup import SourceError
from ..module_utils._backup_now import make_backup


def main() -> None:
    """Run the module."""
    spec = {"unit": {"type": "str", "required": True}, "result": {"type": "path", "required": True}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        result = make_backup(module.run_command, module.params["unit"], module.params["result"])
    except (SourceError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, result=result)


if __name__ == "__main__":
    main()
