# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares of a directory: each key is in exactly one, for ever, and they are of about the same size."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.adt.assets.plugins.module_utils._backup import SourceError
from ansible_collections.adt.assets.plugins.module_utils._shard import ALL, Shard, parse_shard
from ansible_collections.adt.assets.plugins.module_utils._shelf import TEXT


@given(st.text(), st.integers(1, 64))
def test_each_key_is_in_one_share(key, count):
    assert [Shard(number, count).has(key) for number in range(1, count + 1)].count(True) == 1


def test_a_key_is_in_the_same_share_in_every_version():
    found = [next(n for n in range(1, 8) if Shard(n, 7).has(key)) for key in ("a.jpg", "b/c", "ü", "\udcff")]
    assert found == [7, 7, 5, 1]


@pytest.mark.parametrize("name", ["{}.jpg", "2026/05/picture-{:06}.jpg", "{:032x}"])
@pytest.mark.parametrize("count", [2, 3, 4, 7, 16])
def test_shares_are_of_about_the_same_size(name, count):
    keys = [name.format(number) for number in range(20000)]
    sizes = Counter(next(n for n in range(1, count + 1) if Shard(n, count).has(key)) for key in keys)
    assert max(sizes.values()) / min(sizes.values()) < 1.25


def test_what_is_known_is_parted():
    known = {str(number): f"{number}" for number in range(100)}
    parts = [Shard(number, 3).of(TEXT, known) for number in (1, 2, 3)]
    assert {**parts[0], **parts[1], **parts[2]} == known and sum(map(len, parts)) == 100


def test_how_a_share_is_written():
    assert (parse_shard("2/3"), parse_shard(""), str(Shard(2, 3))) == (Shard(2, 3), ALL, "2/3")
    for text in ("0/3", "4/3", "x", "1/65", "1/3 ", "١/٣"):
        with pytest.raises(SourceError, match="shard"):
            parse_shard(text)
