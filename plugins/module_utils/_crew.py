# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads that share work, with a bound on the bytes they hold."""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Callable
from typing import Any

NEAR, FAR = 32, 128
# 20 ms away a store is kept busy by 128 connections; up to 5 ms away more than 32 gain nothing.
PER_SECOND = 6400
# malloc.h: so many heaps at most. With one for each thread, what some have freed isn't there for the others, which is a
# fifth of all memory with large files.
M_ARENA_MAX, ARENAS = -8, 2


def connections(round_trip: float) -> int:
    """How many connections keep a store busy that takes ``round_trip`` seconds to answer."""
    return max(NEAR, min(FAR, int(round_trip * PER_SECOND)))


class Crew:
    """A crew of threads. The first exception of a task ends the work of all, and is raised where the work is given out.

    Bytes are claimed before they are read and freed when they are sent, so that memory stays bounded.
    """

    def __init__(self, threads: int, budget: int) -> None:
        self._tasks: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._state = threading.Condition()
        self._waiting = 0
        self._held = 0
        self._budget = budget
        self._error: BaseException | None = None
        share_memory()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _number in range(threads)]
        for thread in self._threads:
            thread.start()

    def give(self, task: Callable[..., None], *arguments: Any) -> None:
        """Let some thread run ``task(*arguments)``; tasks may give out more tasks."""
        with self._state:
            self._waiting += 1
        self._tasks.put((task, arguments))

    def claim(self, size: int) -> None:
        """Wait until so many bytes may be held; more than the whole budget may be held alone. Raises a task's error."""
        with self._state:
            while self._error is None and self._held and self._held + size > self._budget:
                self._state.wait()
            self._raise()
            self._held += size

    def free(self, size: int) -> None:
        """Hold so many bytes less."""
        with self._state:
            self._held -= size
            self._state.notify_all()

    def wait(self) -> None:
        """Wait until all tasks are done. Raises a task's error."""
        with self._state:
            while self._waiting:
                self._state.wait()
            self._raise()

    def end(self) -> None:
        """Drop the tasks that haven't begun, wait for those that have, and end the threads."""
        with self._state:
            if self._error is None and self._waiting:
                self._error = RuntimeError("the work was ended")
            self._state.notify_all()
        for _thread in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            job = self._tasks.get()
            if job is None:
                return
            try:
                if self._error is None:
                    job[0](*job[1])
            except BaseException as error:  # obstore's panics are no Exceptions
                with self._state:
                    self._error = self._error or error
            finally:
                del job
                with self._state:
                    self._waiting -= 1
                    if not self._waiting or self._error is not None:
                        self._state.notify_all()


def share_memory() -> None:
    """Have all threads of this process take memory from the same heaps. Only glibc has one for each of them."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_ARENA_MAX, ARENAS)
