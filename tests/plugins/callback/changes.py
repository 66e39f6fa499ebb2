# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback for the tests: which task changed which host, so that a check-mode run can be compared with a real one."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: changes
type: notification
short_description: Write the changed tasks of each run to a file
description:
  - Appends one JSON line a run to the file named by E(ADT_CHANGES), with its begin and end in whole seconds (UTC), the
    tasks of each host and what they changed.
requirements:
  - E(ADT_CHANGES) is set.
"""


def now() -> str:
    """The time as the store's access log has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())


class CallbackModule(CallbackBase):
    """Collects ``{host: [[task, changed], …]}`` and appends it at the end of the run."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "changes"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.ran: dict[str, list[tuple[str, bool]]] = {}
        self.playbook = ""
        self.began = now()

    def v2_playbook_on_start(self, playbook):
        self.playbook = os.path.basename(playbook._file_name)

    def v2_runner_on_ok(self, result):
        task = (result._task.get_name(), bool(result._result.get("changed")))
        self.ran.setdefault(result._host.get_name(), []).append(task)

    def v2_playbook_on_stats(self, stats):
        target = os.environ.get("ADT_CHANGES")
        if not target:
            return
        record = {
            "playbook": self.playbook,
            "check": bool(context.CLIARGS.get("check")),
            "began": self.began,
            "ended": now(),
            "ran": self.ran,
        }
        with Path(target).open("a", encoding="utf-8") as out:
            out.write(json.dumps(record) + "\n")
