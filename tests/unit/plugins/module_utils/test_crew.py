# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.adt.assets.plugins.module_utils._crew import connections


@pytest.mark.parametrize(
    ("round_trip", "expected"), [(0.0, 32), (0.0005, 32), (0.005, 32), (0.01, 64), (0.02, 128), (0.3, 128)]
)
def test_a_store_far_away_gets_more_connections(round_trip: float, expected: int) -> None:
    assert connections(round_trip) == expected
