# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts and bytes of a run, and the keys that a diff shows."""

from __future__ import annotations

from ansible_collections.adt.assets.plugins.module_utils._store import Listed
from ansible_collections.adt.assets.plugins.module_utils._tally import ACTIONS, KEYS_SHOWN, Tally, add_up, sample


def test_a_summary_has_counts_and_bytes_of_every_action():
    first, second = Tally(), Tally()
    for tally, size in ((first, 10), (second, 5)):
        for number, action in enumerate(ACTIONS):
            for key in range(number):
                tally.add(action, f"{action}{key}", size)
    assert add_up([first, second]) == {
        action: {"count": 2 * number, "bytes": 15 * number} for number, action in enumerate(ACTIONS)
    }


def test_a_diff_lists_the_first_keys_of_each_kind_and_counts_the_rest():
    tally = Tally()
    for number in range(KEYS_SHOWN + 7):
        for action in ("uploaded", "updated", "pruned", "kept"):
            tally.add(action, f"{action}/{number:03}", 1)
    tally.add("saved", "saved/1", 1)
    diff = tally.diff("bucket", True)
    before, after = diff["before"].splitlines(), diff["after"].splitlines()
    assert len(before) == 2 * KEYS_SHOWN and before[0] == "updated/000" and before[-1] == "pruned/099"
    assert len(after) == 2 * KEYS_SHOWN + 5 and after[0] == "uploaded/000 (uploaded)"
    more = [f"… and 7 more {action}" for action in ("uploaded", "updated", "pruned")]
    assert [line for line in after if line.startswith("…")] == more
    assert "saved/1 (saved)" in after and after[-1] == "(manifest)"


def test_what_is_kept_is_named_up_to_a_number():
    tally = Tally()
    for number in reversed(range(KEYS_SHOWN + 7)):
        tally.add("kept", f"{number:03}", 1)
    assert (tally.kept[0], len(tally.kept), tally.wrote) == ("000", KEYS_SHOWN, False)


def test_the_sample_is_the_first_key_that_every_client_can_read_and_a_dotfile_only_where_there_is_nothing_else():
    unfit = [Listed("a//b", 1, "", ""), Listed("0", 0, "", ""), Listed("a.rclonelink", 1, "", "")]
    dotfiles = [Listed(".b", 1, "", ""), Listed("0/.a", 1, "", "")]
    assert sample(unfit) is None
    assert sample([*unfit, *dotfiles]) == ".b"
    assert sample([*dotfiles, Listed("c", 1, "", ""), *unfit, Listed("b", 1, "", "")]) == "b"
