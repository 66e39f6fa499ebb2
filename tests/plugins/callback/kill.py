# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback for the tests: ends ansible-playbook as a power cut does, right before a task."""

from __future__ import annotations

import os
import signal

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: kill
type: notification
short_description: Kill the run before a task
description:
  - Sends SIGKILL to the run's process group before the first task whose name ends in E(ADT_KILL_BEFORE).
requirements:
  - E(ADT_KILL_BEFORE) is set.
"""


class CallbackModule(CallbackBase):
    """Waits for the task."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "kill"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task, is_conditional):
        before = os.environ.get("ADT_KILL_BEFORE")
        if before and task.get_name().endswith(before):
            os.killpg(os.getpgrp(), signal.SIGKILL)
