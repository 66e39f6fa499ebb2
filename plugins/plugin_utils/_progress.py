# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a play's output says while a module works for long."""

from __future__ import annotations

import copy
import json
import secrets
import shlex
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Optional

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.text.formatters import bytes_to_human
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

SECONDS = 8.0
VARIABLE = "assets_progress_seconds"


class ToldAction(ActionBase):
    """Runs the module of the action's name with progress; without it where the task is asynchronous, as then nobody
    waits.
    """

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

    def _status(self) -> tuple[str, dict[str, Any]]:
        """The file in which the module says how far it is, and the options that it's given for that."""
        # Nobody can guess the name; the module makes it anew, for its own user alone, and removes it.
        path = f"/tmp/adt-assets-{secrets.token_hex(16)}.json"  # noqa: S108
        return path, {**self._task.args, "progress_file": path}

    def _seconds(self, task_vars: dict[str, Any]) -> float:
        try:
            return float(self._templar.template(task_vars.get(VARIABLE, SECONDS)))
        except (TypeError, ValueError):
            raise AnsibleActionFail(f"{VARIABLE} must be a number of seconds, or 0 for no progress") from None

    def _told(self, task_vars: dict[str, Any], seconds: float) -> dict[str, Any]:
        path, arguments = self._status()
        what = self._task.args.get("directory", self._task.action.rpartition(".")[2])
        where = f"{task_vars.get('inventory_hostname', '')}: {what}"
        other = self._with_own_connection()

        def read() -> str:
            return other._low_level_execute_command(f"cat {shlex.quote(path)}")["stdout"]

        def say(text: str) -> None:
            Display().display(f"{where}: {text}")

        with Teller(read, say, seconds):
            return self._execute_module(module_args=arguments, task_vars=task_vars)

    def _with_own_connection(self) -> ToldAction:
        """The same to look with while this one waits: a connection and its become know one command at a time."""
        other = copy.copy(self)
        other._connection = copy.copy(self._connection)
        other._connection.become = copy.copy(self._connection.become)
        return other


class Teller:
    """Reads a status every few seconds (``read`` gives its text, empty when there is none) and says what it means."""

    def __init__(self, read: Callable[[], str], say: Callable[[str], None], seconds: float) -> None:
        self._read, self._say, self._seconds = read, say, seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Teller:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join(self._seconds)

    def _run(self) -> None:
        while not self._end.wait(self._seconds):
            with suppress(Exception):  # a look that fails is tried again; the work itself tells what is wrong
                record = parse(self._read())
                if record and not self._end.is_set():
                    self._say(line(record))


def parse(text: str) -> Optional[dict[str, Any]]:
    """The status in what was read; None when there is none."""
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def line(record: dict[str, Any]) -> str:
    """Pure. A status in words: what is done, what is left, the rate, the time to go."""
    words = [f"{record['phase']}, {duration(record['seconds'])} until now"]
    left, rate, about = record["left"], record["per_second"], "about " if record["estimated"] else ""
    # Where only bytes can be counted, there are no files before the end nor after it.
    files = bool(record["count"] or rate["count"] or (left and left["count"]))
    if record["count"] or record["bytes"]:
        words.append(f"{_amount(record, files, ' files')} done")
    if left:
        words.append(f"{about}{_amount(left, files)} left")
    if rate["count"] or rate["bytes"]:
        per_second = f"{bytes_to_human(rate['bytes'])}/s"
        words.append(f"{rate['count']:,} files/s, {per_second}" if files else per_second)
    if record["seconds_left"] is not None:
        words.append(f"about {duration(record['seconds_left'])} to go")
    return "; ".join(words)


def _amount(amount: dict[str, Any], files: bool, unit: str = "") -> str:
    size = bytes_to_human(amount["bytes"])
    return f"{amount['count']:,}{unit} ({size})" if files else size


def duration(seconds: float) -> str:
    """Pure. ``42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
