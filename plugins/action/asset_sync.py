# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of that name, and lets the play's output say how far it is."""

from __future__ import annotations

import copy
import secrets
from typing import Any, Optional

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.adt.assets.plugins.plugin_utils._progress import Teller

SECONDS = 8.0
VARIABLE = "assets_progress_seconds"


class ActionModule(ActionBase):
    """asset_sync with progress; without it where the task is asynchronous, as then nobody waits."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """The module's result; see its documentation."""
        task_vars = task_vars or {}
        result = super().run(tmp, task_vars)
        seconds = self._seconds(task_vars)
        wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
        if wrap_async or not seconds or "progress_file" in self._task.args or self._task.no_log:
            result.update(self._execute_module(task_vars=task_vars, wrap_async=wrap_async))
        else:
            result.update(self._told(task_vars, seconds))
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _seconds(self, task_vars: dict[str, Any]) -> float:
        try:
            return float(self._templar.template(task_vars.get(VARIABLE, SECONDS)))
        except (TypeError, ValueError):
            raise AnsibleActionFail(f"{VARIABLE} must be a number of seconds, or 0 for no progress") from None

    def _told(self, task_vars: dict[str, Any], seconds: float) -> dict[str, Any]:
        # Nobody can guess the name; the module makes it anew, for its own user alone, and removes it.
        path = f"/tmp/adt-assets-{secrets.token_hex(16)}.json"  # noqa: S108
        where = f"{task_vars.get('inventory_hostname', '')}: {self._task.args.get('directory', '')}"
        other = self._with_own_connection()

        def read() -> str:
            return other._low_level_execute_command(f"cat {path}")["stdout"]

        def say(text: str) -> None:
            Display().display(f"{where}: {text}")

        with Teller(read, say, seconds):
            arguments = {**self._task.args, "progress_file": path}
            return self._execute_module(module_args=arguments, task_vars=task_vars)

    def _with_own_connection(self) -> ActionModule:
        """The same to look with while this one waits: a connection and its become know one command at a time."""
        other = copy.copy(self)
        other._connection = copy.copy(self._connection)
        other._connection.become = copy.copy(self._connection.become)
        return other
