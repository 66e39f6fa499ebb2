# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the controller, found and read the same way by every plugin that runs there."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleError, AnsibleFileNotFound


def read_file(loader: Any, search_path: list[str], path: str, limit: int) -> bytes:
    """At most ``limit`` + 1 bytes of a file; a file that Ansible Vault has encrypted is decrypted.

    Looked for as Ansible does (``files/`` of role and play, then beside them), then in the current directory: playbooks
    of a collection are not where their user is. AnsibleError, which names the path, when it can't be read.
    """
    try:
        found = loader.path_dwim_relative_stack(search_path, "files", path)
    except AnsibleFileNotFound:
        found = os.path.abspath(os.path.expanduser(path))
    try:
        with open(loader.get_real_file(found), "rb") as opened:
            return opened.read(limit + 1)
    except AnsibleFileNotFound:
        raise AnsibleError(f"{path} cannot be read on the controller: there is no such file") from None
    except OSError as error:
        raise AnsibleError(f"{path} cannot be read on the controller: {error.strerror}") from None
