# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.adt.assets.plugins.module_utils import _crew
from ansible_collections.adt.assets.plugins.module_utils._crew import connections


@pytest.mark.parametrize(
    ("round_trip", "expected"), [(0.0, 32), (0.0005, 32), (0.005, 32), (0.01, 64), (0.02, 128), (0.3, 128)]
)
def test_a_store_far_away_gets_more_connections(round_trip: float, expected: int) -> None:
    assert connections(round_trip) == expected


ALLOCATE = """
import ctypes, threading
from ansible_collections.adt.assets.plugins.module_utils._crew import Crew

crew, together = Crew(16, 0), threading.Barrier(16)
libc = ctypes.CDLL(None)


def allocate():
    together.wait()
    held = [bytearray(100_000) for _time in range(10)]
    together.wait()


for _thread in range(16):
    crew.give(allocate)
crew.wait()
libc.malloc_stats()
"""


def test_threads_take_their_memory_from_the_same_few_heaps() -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(_crew.__file__).parents[5])}
    done = subprocess.run([sys.executable, "-c", ALLOCATE], check=True, stderr=subprocess.PIPE, text=True, env=env)
    heaps = done.stderr.count("Arena ")
    if not heaps:
        pytest.skip("this C library has no heaps for threads")
    assert heaps <= 2
