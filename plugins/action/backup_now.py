# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of that name, and lets the play's output say how far the backup is."""

from __future__ import annotations

from typing import Any

from ansible_collections.adt.assets.plugins.module_utils._backup_now import progress_of
from ansible_collections.adt.assets.plugins.plugin_utils._progress import ToldAction


class ActionModule(ToldAction):
    """backup_now with the progress of its service, which is another process and knows where to say it."""

    def _status(self) -> tuple[str, dict[str, Any]]:
        return progress_of(str(self._task.args.get("result", ""))), self._task.args
