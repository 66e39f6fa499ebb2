# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The home of a key among several buckets."""

from __future__ import annotations

from collections import Counter

import pytest

from ansible_collections.adt.assets.plugins.module_utils._decide import Entry
from ansible_collections.adt.assets.plugins.module_utils._spread import Holding, gather, home, spread, twins_warning
from ansible_collections.adt.assets.plugins.module_utils._store import Listed

OURS = Entry(1, "d", "d", "2026-01-01")
NEWER = OURS._replace(time="2026-01-02")


def holding(*there: str, **entries: Entry) -> Holding:
    return Holding({key: Listed(key, 1, "d", "") for key in there}, entries)


def test_a_new_key_goes_to_the_same_bucket_for_ever():
    # These are in real buckets: they must never change.
    keys = ("a.jpg", "2026/05/ü b+%2F.jpg", "dir/", "\udcff")
    assert [spread(key, 4) for key in keys] == [2, 1, 1, 1]
    assert [spread(key, 9) for key in keys] == [4, 3, 3, 5]


def test_names_are_spread_evenly():
    counts = Counter(spread(f"2026/05/picture-{number}.jpg", 4) for number in range(4000))
    assert min(counts.values()) > 900


@pytest.mark.parametrize("where", range(3))
def test_what_is_listed_is_at_home_there_whoever_else_knows_it(where):
    holdings = [holding(k=NEWER) for _bucket in range(3)]
    holdings[where].there["k"] = Listed("k", 1, "d", "")
    assert home("k", holdings) == where
    assert [dict(found.entries) for found in gather(holdings)] == [
        {"k": NEWER} if at == where else {} for at in range(3)
    ]


def test_what_nobody_lists_is_at_home_where_it_was():
    assert home("k", [holding(), holding(), holding(k=OURS)]) == 2
    assert home("k", [holding(k=OURS), holding(k=NEWER)]) == 1
    assert home("k", [holding(k=NEWER._replace(pruned=True)), holding(k=NEWER)]) == 1
    assert home("k", [holding(k=OURS), holding(k=OURS)]) == 0


def test_the_newest_word_on_a_key_goes_along_with_it():
    found = gather([holding("k", k=OURS), holding(k=NEWER, other=OURS), holding("other")])
    assert [one.entries for one in found] == [{"k": NEWER}, {}, {"other": OURS}]
    own = OURS._replace(etag="own")
    assert gather([holding(k=OURS), holding("k", k=own)])[1].entries == {"k": own}


def test_a_key_in_several_buckets_is_told_but_no_directory_marker():
    buckets, holdings = ["b1", "b2", "b3"], [holding("k", "d/"), holding("d/"), holding("k", "x")]
    listings = [one.there for one in holdings]
    told = twins_warning(buckets, listings)
    assert "1 key(s)" in told and "'k' in b1 and b3" in told
    assert home("k", holdings) == 0
    assert not twins_warning(buckets[1:], listings[1:])
