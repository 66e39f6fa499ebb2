# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What whole processes take, start-up included: wall and CPU seconds, and the memory of the largest."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """What one run took: wall seconds, CPU seconds, MiB of the largest process, and what the last one printed."""

    wall: float
    cpu: float
    rss: float
    said: str = ""


class Failed(Exception):
    """A contender that didn't do its work, and what it said."""


class Peak:
    """The peak RSS in MiB of the largest of a process and its children.

    Not ru_maxrss: that begins with the size of the process that forked.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak: dict[int, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            for pid in [self._pid, *children(self._pid)]:
                found = re.search(r"VmHWM:\s+(\d+) kB", read(Path(f"/proc/{pid}/status")))
                # The first moment may still be that of the parent.
                if found:
                    self._peak[pid] = int(found.group(1))

    def end(self) -> float:
        """The peak, after the process has ended."""
        self._ended.set()
        self._thread.join()
        return max(self._peak.values(), default=0) / 1024


def children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    found = []
    for child in read(Path(f"/proc/{pid}/task/{pid}/children")).split():
        found += [int(child), *children(int(child))]
    return found


def read(path: Path) -> str:
    """A file of /proc; nothing when the process has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


def measure(commands: list[list[str]], env: Mapping[str, str], seconds: float = 1800) -> Run:
    """Run commands one after the other. Raises Failed when one of them fails or takes longer than ``seconds``."""
    started, cpu, rss, said = time.monotonic(), 0.0, 0.0, ""
    for command in commands:
        with tempfile.TemporaryFile() as log:
            child = subprocess.Popen(command, env={**os.environ, **env}, stdout=log, stderr=subprocess.STDOUT)
            peak = Peak(child.pid)
            timer = threading.Timer(seconds, child.kill)
            timer.start()
            _pid, status, usage = os.wait4(child.pid, 0)
            timer.cancel()
            child.returncode = os.waitstatus_to_exitcode(status)
            log.seek(0)
            said = log.read().decode(errors="replace")
        if child.returncode:
            raise Failed(f"{shlex.join(command)} ended with {child.returncode}:\n{said[-2000:]}")
        cpu += usage.ru_utime + usage.ru_stime
        rss = max(rss, peak.end())
    return Run(time.monotonic() - started, cpu, rss, said)
