# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A shelf is a dict in the order of its keys, in memory or not, for any number of threads; it leaves nothing behind."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.adt.assets.plugins.module_utils import _shelf
from ansible_collections.adt.assets.plugins.module_utils._backup import SourceError
from ansible_collections.adt.assets.plugins.module_utils._decide import ENTRIES, Entry
from ansible_collections.adt.assets.plugins.module_utils._shelf import TEXT, Shelf, joined
from ansible_collections.adt.assets.plugins.module_utils._store import LISTING, Listed

LIMITS = ("NEAR_MAX", "NEAR_MIN", "WRITTEN_TOGETHER", "READ_TOGETHER", "REMEMBERED")
texts = st.dictionaries(st.text(st.characters(exclude_categories=())), st.text(), max_size=40)


@pytest.fixture(params=["in memory", "in the database"], scope="module")
def where(request):
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "in memory":
            for name, value in zip(LIMITS, (0, 1, 3, 1, 2)):
                patch.setattr(_shelf, name, value)
        yield request.param


def spilled(shelf):
    return shelf._base is not None


@given(texts, texts)
def test_it_is_a_dict_in_the_order_of_keys(where, first, more):
    shelf = Shelf(TEXT, first.items())
    for key, value in more.items():
        shelf[key] = value
    wanted = {**first, **more}
    assert list(shelf.items()) == sorted(wanted.items()) and list(shelf) == sorted(wanted)
    assert list(shelf.values()) == [wanted[key] for key in sorted(wanted)]
    assert (len(shelf), bool(shelf)) == (len(wanted), bool(wanted))
    assert all(key in shelf and shelf[key] == shelf.get(key) == value for key, value in wanted.items())
    assert shelf == wanted and shelf == Shelf(TEXT, wanted.items())
    assert "\0 no key" not in shelf and shelf.get("\0 no key", 7) == 7
    if wanted:
        assert spilled(shelf) == (where == "in the database")


@given(texts, texts)
def test_joined_has_every_key_once_with_what_both_have_there(where, one, other):
    found = list(joined(Shelf(TEXT, one.items()), other))
    assert found == [(key, one.get(key), other.get(key)) for key in sorted({**one, **other})]


def test_what_is_known_of_keys_comes_back_as_it_was(where):
    entries = {"a": Entry(2**45, "d" * 32, "", "2026-06-01", "p", True, 2, "s"), "b\udcff": Entry(0, "", "e-3", "")}
    listing = {key: Listed(key, 7, "e", "2026-06-01T00:00:00Z") for key in ("ü", "a/b", "\n")}
    assert dict(Shelf(ENTRIES, entries.items())) == entries
    assert dict(Shelf(LISTING, listing.items())) == listing


def test_a_missing_key_is_an_error(where):
    with pytest.raises(KeyError, match="gone"):
        Shelf(TEXT, [("a", "1"), ("b", "2")])["gone"]
    with pytest.raises(TypeError, match="nothing can be removed"):
        del Shelf(TEXT, [("a", "1")])["a"]


def test_many_threads_write_and_read_while_it_is_walked(where):
    shelf, wrong = Shelf(TEXT), []

    def work(number):
        for at in range(300):
            key = f"{number}/{at:03}"
            shelf[key] = key
            if shelf.get(key) != key or shelf.get(f"{number}/{at // 2:03}") != f"{number}/{at // 2:03}":
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        keys = list(shelf)
        assert keys == sorted(set(keys))
    for thread in threads:
        thread.join()
    assert not wrong and list(shelf) == [f"{number}/{at:03}" for number in range(4) for at in range(300)]


def test_what_is_held_in_memory_has_a_bound_over_all_shelves(monkeypatch):
    monkeypatch.setattr(_shelf, "NEAR_MAX", 5000)
    monkeypatch.setattr(_shelf, "NEAR_MIN", 2000)
    before = _shelf._HELD.count
    monkeypatch.setattr(_shelf._HELD, "count", 0)
    shelves = [Shelf(TEXT, ((f"{number}", "") for number in range(4000))) for _shelf_number in range(3)]
    assert [spilled(shelf) for shelf in shelves] == [False, True, True]
    assert _shelf._HELD.count == 4000
    del shelves
    assert _shelf._HELD.count == 0
    monkeypatch.setattr(_shelf._HELD, "count", before)


def test_the_database_is_a_file_that_is_unlinked_already(monkeypatch):
    for name, value in zip(LIMITS, (0, 1, 100, 1, 2)):
        monkeypatch.setattr(_shelf, name, value)
    monkeypatch.setattr(_shelf, "CACHE_KIB", 16)
    shelf = Shelf(TEXT, ((f"{number:06}", "x" * 50) for number in range(20000)))
    open_files = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    assert [name for name in open_files if "etilqs_" in name]
    assert all(name.endswith(" (deleted)") for name in open_files if "etilqs_" in name)
    assert shelf["013579"] == "x" * 50


def test_no_room_is_an_error_that_says_what_to_do(monkeypatch):
    for name, value in zip(LIMITS, (0, 1, 3, 1, 2)):
        monkeypatch.setattr(_shelf, name, value)
    shelf = Shelf(TEXT, [("a", "1"), ("b", "2")])
    shelf._base.execute("PRAGMA max_page_count = 3")
    with pytest.raises(SourceError, match=r"database or disk is full; make room .* TMPDIR"):
        shelf.update((f"{number:06}", "x" * 500) for number in range(1000))
