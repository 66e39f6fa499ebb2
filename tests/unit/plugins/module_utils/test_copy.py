# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory into other buckets: what counts as the same, and what the new manifests know."""

from __future__ import annotations

import pytest

from ansible_collections.adt.assets.plugins.module_utils._copy import alike, at_home, carried_over
from ansible_collections.adt.assets.plugins.module_utils._decide import Entry
from ansible_collections.adt.assets.plugins.module_utils._spread import spread
from ansible_collections.adt.assets.plugins.module_utils._store import Listed

EARLY, LATE = "2026-06-01T00:00:00Z", "2026-06-01T00:00:01Z"
PLAIN, OTHER, PARTS, COPIED = "a" * 32, "b" * 32, "c" * 32 + "-75", "d" * 32 + "-2"
SIZE = 600 * 2**20


def listed(etag, mtime=EARLY, size=SIZE):
    return Listed("k", size, etag, mtime)


def entry(digest, etag):
    return Entry(SIZE, digest, etag, EARLY)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (listed(PLAIN), listed(PLAIN), True),
        (listed(PLAIN, LATE), listed(PLAIN), True),
        (listed(PLAIN), listed(PLAIN, size=1), False),
        (listed(PLAIN), listed(OTHER, LATE), False),
        (listed(PARTS), listed(COPIED, LATE), True),
        (listed(PARTS), listed(PLAIN, LATE), True),
        (listed(PLAIN), listed(COPIED, LATE), True),
        (listed(PARTS), listed(COPIED, LATE, size=1), False),
        (listed(PARTS, LATE), listed(COPIED), False),
        # Written again in the second of the copy.
        (listed(PARTS, LATE), listed(COPIED, LATE), False),
    ],
)
def test_same_by_listings(old, new, same):
    assert alike(old, new, None, None) is same


def test_same_by_manifests_whatever_the_store_made_of_the_etags():
    old, new = listed(PARTS, LATE), listed(COPIED)
    assert alike(old, new, entry(PARTS, PARTS), entry(PARTS, COPIED))
    assert not alike(old, new, entry(PARTS, PARTS), entry(OTHER, COPIED))
    # A user's object in either place: the manifests speak of another one.
    assert not alike(old, new, entry(OTHER, OTHER), entry(OTHER, COPIED))
    assert not alike(old, new, entry(PARTS, PARTS), entry(PARTS, OTHER))


def test_i4_what_is_ours_stays_ours_and_nothing_else_becomes_it():
    ours = entry(PARTS, PARTS)
    assert carried_over(ours, listed(PARTS), COPIED) == entry(PARTS, COPIED)
    assert carried_over(ours, listed(OTHER), COPIED) == ours  # changed by users
    assert carried_over(ours, None, None) == ours  # deleted by users
    assert carried_over(ours, listed(PARTS), None) == ours  # not copied, as it was changed meanwhile
    foreign = entry(PARTS, "")
    assert carried_over(foreign, listed(PARTS), COPIED) == foreign


def test_every_key_is_at_home_in_one_bucket():
    found = {f"k{number}": number for number in range(99)}
    homes = at_home(found, 3)
    assert {key: value for home in homes for key, value in home.items()} == found
    assert all(spread(key, 3) == at for at, home in enumerate(homes) for key in home)
    assert at_home(found, 1) == [found]
