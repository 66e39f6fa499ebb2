# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what killed runs tell the next one."""

from __future__ import annotations

import pytest

from ansible_collections.adt.assets.plugins.module_utils._decide import Entry
from ansible_collections.adt.assets.plugins.module_utils._journal import Log, recall

MONDAY, TUESDAY, WEDNESDAY = "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z", "2026-06-03T00:00:00Z"
PRUNED_ON_TUESDAY = Log("intents/b/r/000001.json", TUESDAY, TUESDAY, False, (), ("a.jpg",))


def entry(time: str, pruned: bool) -> Entry:
    return Entry(1, "digest", "digest", time, pruned=pruned)


def test_a_removal_that_no_manifest_tells_is_recalled() -> None:
    found = recall([PRUNED_ON_TUESDAY], {"a.jpg": entry(MONDAY, False)}, {})
    assert found == {"a.jpg": entry(TUESDAY, True)}


@pytest.mark.parametrize("pruned", [True, False])
def test_i4_an_old_removal_says_nothing_of_what_is_newer(pruned: bool) -> None:
    """Of a key that a newer backup brought back and a user deleted, or that a newer run removed itself."""
    assert recall([PRUNED_ON_TUESDAY], {"a.jpg": entry(WEDNESDAY, pruned)}, {}) == {}
