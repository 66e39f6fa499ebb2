# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a webroot's changes may be passed on. The real Syncthing is in the molecule scenario webroot_sync."""

from __future__ import annotations

import stat

import pytest

from ansible_collections.adt.assets.plugins.module_utils import _guard
from ansible_collections.adt.assets.plugins.module_utils._guard import Entry, Guard, Limit

FILE = Entry(stat.S_IFREG | 0o644, 10, 1, True)
DIRECTORY = Entry(stat.S_IFDIR | 0o755, 0, 0, True)
LINK = Entry(stat.S_IFLNK | 0o777, 0, 0, True)
LIMIT = Limit(least=20, percent=5, seconds=3600)


def site(files: int = 1000) -> dict[str, Entry]:
    """Files in ten directories, and the entry page."""
    listing = {f"d{at}": DIRECTORY for at in range(10)}
    return {**listing, **{f"d{at % 10}/f{at}": FILE for at in range(files)}, "index.php": FILE}


def guard(files: int = 1000) -> Guard:
    return Guard(site(files), LIMIT, ["index.php", "index.html"])


def lose(guard: Guard, names: list[str], began: float = 0.0, each: float = 0.0) -> float:
    """Have files vanish one after the other; when the last one did."""
    for at, name in enumerate(names):
        guard.saw(name, None, began + at * each)
    return began + max(len(names) - 1, 0) * each


def decide(guard: Guard, now: float) -> list[str]:
    """What the service does: it decides when it is time, and shows what it may."""
    if not guard.is_settled(now):
        return []
    names = guard.losses(now)
    guard.knows_gone(names, now)
    return names


FILES = [name for name, entry in site().items() if not entry.is_directory and name != "index.php"]


def test_an_edit_is_shown_as_soon_as_it_has_settled():
    it = guard()
    it.saw("d1/new", FILE, 10.0)
    assert it.changes(10.1) == []
    assert it.changes(10.31) == ["d1/new"]
    it.knows("d1/new", FILE)
    assert it.changes(11) == []


def test_a_file_that_is_written_all_the_time_is_shown_now_and_then():
    it = guard()
    for tenth in range(21):
        it.saw("d1/log", FILE._replace(size=tenth + 1), tenth / 10)
    assert it.changes(2.05) == ["d1/log"]


def test_what_is_as_it_was_is_not_shown():
    it = guard()
    it.saw("d1/f1", FILE, 0)
    assert it.changes(5) == []


def test_a_single_delete_is_shown_when_it_has_been_quiet():
    it = guard()
    lose(it, ["d1/f1"])
    assert not it.is_settled(1.9)
    assert decide(it, 2.0) == ["d1/f1"]
    assert it.lost() == []
    assert "d1/f1" not in it.listing


def test_t12_a_delete_is_shown_in_time_while_others_come_all_the_time():
    it = guard()
    end = lose(it, FILES[:9], each=1.0)
    assert decide(it, end) == sorted(FILES[:9])


@pytest.mark.parametrize("each", [0.0, 0.001, 0.02, 0.15])
@pytest.mark.parametrize("page_first", [True, False])
def test_h20_an_emptied_webroot_is_held_however_fast_it_went(each, page_first):
    it = guard()
    names = ["index.php", *FILES] if page_first else [*FILES, "index.php"]
    for at, name in enumerate(names):
        it.saw(name, None, at * each)
        if at % 10 == 0:
            assert decide(it, at * each) == []
    assert decide(it, len(names) * each + 10) == []
    assert it.held
    assert it.weight() == 1001


def test_h20_a_trickle_of_deletes_stops_at_the_limit():
    it = guard()
    shown = []
    for at, name in enumerate(FILES):
        it.saw(name, None, at * 3.0)
        shown += decide(it, at * 3.0 + 2.5)
    assert len(shown) <= LIMIT.files(1011)
    assert it.held


def test_a_trickle_goes_on_when_the_time_is_over():
    it = guard()
    lose(it, FILES[:45])
    assert len(decide(it, 5)) == 45
    lose(it, FILES[45:60], began=10)
    assert decide(it, 15) == []
    assert "3 may be" in it.held
    assert len(decide(it, 3700)) == 15
    assert not it.held


@pytest.mark.parametrize(("files", "most"), [(10, 20), (1000, 50), (50_000, 2500)])
def test_the_limit_is_a_number_or_a_share(files, most):
    assert LIMIT.files(files) == most


def test_h20_a_directory_weighs_what_it_held():
    it = guard()
    it.saw("d1", None, 0.0)
    assert it.weight() == 100
    assert decide(it, 3) == []
    assert it.lost() == ["d1"]


def test_a_directory_and_what_it_held_are_shown_as_one():
    it = guard(100)
    lose(it, ["d1", *(name for name in it.listing if name.startswith("d1/"))])
    assert decide(it, 3) == ["d1"]
    assert not any(name.startswith("d1") for name in it.listing)


@pytest.mark.parametrize(
    "now",
    [FILE._replace(size=0), FILE._replace(mode=stat.S_IFREG, readable=False), LINK, DIRECTORY],
    ids=["empty", "unreadable", "link", "directory"],
)
def test_t12_what_is_cut_unreadable_or_replaced_is_as_good_as_gone(now):
    it = guard()
    for name in FILES:
        it.saw(name, now, 0.0)
    assert it.changes(5) == []
    assert decide(it, 5) == []
    assert it.held
    few = guard()
    few.saw("d1/f1", now, 0.0)
    assert decide(few, 5) == ["d1/f1"]


def test_t12_an_unreadable_directory_weighs_what_it_holds():
    it = guard()
    it.saw("d1", DIRECTORY._replace(mode=stat.S_IFDIR, readable=False), 0.0)
    assert decide(it, 5) == []
    assert it.weight() == 100


def test_h20_without_its_entry_page_nothing_is_shown_at_all():
    it = guard()
    it.saw("index.php", None, 0.0)
    it.saw("d1/new", FILE, 0.0)
    assert decide(it, 5) == []
    assert it.changes(5) == []
    assert "index.php" in it.held
    it.saw("index.php", FILE, 6.0)
    assert it.changes(6) == ["d1/new"]


def test_an_entry_page_that_never_was_is_not_missed():
    it = Guard({"d1/f1": FILE}, LIMIT, ["index.php"])
    lose(it, ["d1/f1"])
    assert decide(it, 3) == ["d1/f1"]


def test_edits_go_on_while_deletes_are_held_but_not_of_directories():
    it = guard()
    lose(it, FILES[:100])
    assert decide(it, 3) == []
    it.saw("d1/new", FILE, 3.0)
    it.saw("d1", DIRECTORY._replace(mode=stat.S_IFDIR | 0o775), 3.0)
    assert it.changes(4) == ["d1/new"]  # showing d1 would show what it has lost


def test_what_is_released_is_shown_and_nothing_that_is_lost_later():
    it = guard()
    lose(it, ["index.php", *FILES[:100]])
    assert decide(it, 3) == []
    it.release()
    lose(it, [FILES[200]], began=4)
    assert decide(it, 8) == sorted(["index.php", *FILES[:100]])
    assert it.lost() == [FILES[200]]


def test_h20_what_comes_back_file_by_file_is_not_deleted_as_it_passes_the_limit():
    it = guard()
    lose(it, FILES[:200])
    assert decide(it, 5) == []
    for at, name in enumerate(FILES[:190]):
        it.saw(name, FILE, 10 + at)
        assert decide(it, 10 + at) == []
    assert it.held
    assert decide(it, 210) == []
    assert len(decide(it, 260)) == 10


def test_what_is_back_is_forgotten():
    it = guard()
    lose(it, FILES)
    assert decide(it, 5) == []
    for name in FILES:
        it.saw(name, FILE, 6.0)
    assert not it.is_settled(10)
    assert it.losses(10) == []
    assert not it.held


def test_what_others_have_deleted_costs_nothing():
    it = guard()
    lose(it, FILES[:500])
    it.knows_gone(FILES[:500], 1.0, ours=False)
    assert it.lost() == []
    assert it.spent(1.0) == 0


def test_a_file_that_came_and_went_is_asked_about():
    """Its directory may have been shown while it was there."""
    it = guard()
    it.saw("d1/short", FILE, 0.0)
    it.saw("d1/short", None, 0.1)
    assert it.changes(5) == []
    assert it.lost() == ["d1/short"]
    assert it.weight() == 1


def test_many_edits_are_shown_in_parts():
    it = guard()
    for at in range(500):
        it.saw(f"d1/new{at:03}", FILE, 0.0)
    first = it.changes(1.0)
    assert len(first) == _guard.BATCH
    for name in first:
        it.knows(name, FILE)
    assert not set(it.changes(1.0)) & set(first)


def test_h20_syncthing_could_find_what_was_in_a_missing_directory_when_that_is_too_much():
    it = guard()
    lose(it, [name for name in FILES if name.startswith("d1/")])
    assert not it.is_exposed(1)  # the directory is there
    it.saw("d1", None, 1.0)
    assert it.is_exposed(1)
    assert decide(it, 5) == []
    assert it.absent() == {"d1": 0o755}
    it.saw("d1", DIRECTORY, 6.0)  # made anew, empty
    assert not it.is_exposed(6)
    assert it.held or decide(it, 9) == []


def test_a_small_directory_that_is_gone_exposes_nothing_until_the_limit_is_used_up():
    it = guard(100)
    it.saw("d1", None, 0.0)
    assert not it.is_exposed(1)
    assert decide(it, 3) == ["d1"]
    assert not it.absent()
    it.saw("d2", None, 4.0)
    it.saw("d3", None, 4.0)
    assert it.is_exposed(4)


def test_directories_below_a_missing_one_are_missing_too_and_what_is_back_is_not():
    it = Guard({"a": DIRECTORY, "a/b": DIRECTORY, "a/b/f": FILE, "c": DIRECTORY}, LIMIT)
    it.saw("a", None, 0.0)
    it.saw("c", LINK, 0.0)
    assert it.absent() == {"a": 0o755, "a/b": 0o755}
    it.saw("a", DIRECTORY, 1.0)
    assert it.absent() == {}


def test_h20_without_its_entry_page_a_missing_directory_exposes_what_was_in_it_however_little():
    it = guard()
    lose(it, ["index.php", "d1"])
    assert it.is_exposed(0)


def test_a_hold_ends_when_everything_is_back():
    it = guard()
    lose(it, FILES[:100])
    assert decide(it, 3) == []
    for name in FILES[:100]:
        it.saw(name, FILE, 4.0)
    assert not it.held
    lose(it, [FILES[0]], began=5.0)
    assert decide(it, 8.0) == [FILES[0]]  # and not only after a calm minute


def test_topmost_names_are_not_confused_by_their_beginnings():
    assert _guard.topmost(["a", "a/b", "ab", "b/c/d", "b/c"]) == ["a", "ab", "b/c"]
