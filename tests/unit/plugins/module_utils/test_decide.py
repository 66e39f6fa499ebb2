# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who wins: the design's table, and what must hold for every state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.adt.assets.plugins.module_utils._decide import (
    KEEP,
    OVERWRITE,
    RESTORE,
    SAVE,
    Entry,
    Facts,
    Verdict,
    decide,
    may_prune,
)

MONDAY, TUESDAY, WEDNESDAY = "2026-06-01", "2026-06-02", "2026-06-03"
OURS = Entry(1, "a", "a", TUESDAY)
FOREIGN = Entry(1, "a", "", TUESDAY)
PRUNED = Entry(1, "a", "a", TUESDAY, pruned=True)


def facts(there=None, known=None, *, same=False, same_as_known=False, time=WEDNESDAY, last=TUESDAY):
    return Facts(there, known, same, same_as_known, time, last)


TABLE = [
    ("absent in bucket and manifest: uploaded", facts(), KEEP, Verdict("upload")),
    ("absent everywhere, older backup: still only added", facts(time=MONDAY), KEEP, Verdict("upload")),
    ("ours, unchanged, newer backup differs: updated", facts("a", OURS), KEEP, Verdict("update")),
    ("H2 older backup than the entry's: kept", facts("a", OURS, time=MONDAY), KEEP, Verdict("kept")),
    ("same time as the entry's: kept", facts("a", OURS, time=TUESDAY), KEEP, Verdict("kept")),
    ("H2 older than the last one synced: kept", facts("a", OURS._replace(time=MONDAY), time="2026-06-01T12"), KEEP,
     Verdict("kept")),
    ("H7 changed in the bucket: kept", facts("b", OURS), KEEP, Verdict("kept")),
    ("in the bucket, never ours: kept", facts("b"), KEEP, Verdict("kept")),
    ("never ours, though the manifest knows the key: kept", facts("b", FOREIGN), KEEP, Verdict("kept")),
    ("H7 deleted in the bucket: stays deleted", facts(None, OURS), KEEP, Verdict("kept_deleted")),
    ("foreign, then deleted: stays deleted", facts(None, FOREIGN), KEEP, Verdict("kept_deleted")),
    ("pruned, back in a newer backup: uploaded", facts(None, PRUNED), KEEP, Verdict("upload")),
    ("pruned, older backup: stays away", facts(None, PRUNED, time=MONDAY), KEEP, Verdict("kept_deleted")),
    ("same bytes, ours: unchanged", facts("a", OURS, same=True), KEEP, Verdict("unchanged")),
    ("same bytes, unknown: adopted", facts("b", None, same=True), KEEP, Verdict("unchanged", adopt=True)),
    ("same bytes, changed since: adopted", facts("b", OURS, same=True), KEEP, Verdict("unchanged", adopt=True)),
    ("same bytes, once foreign: adopted", facts("b", FOREIGN, same=True), KEEP, Verdict("unchanged", adopt=True)),
    ("restore over a user's change: copied first", facts("b", OURS), OVERWRITE, Verdict("update", copy_first=True)),
    ("restore from an older backup: copied first", facts("a", OURS, time=MONDAY), OVERWRITE,
     Verdict("update", copy_first=True)),
    ("restore of a deleted key", facts(None, OURS), OVERWRITE, Verdict("upload")),
    ("restore, same bytes", facts("a", OURS, same=True), OVERWRITE, Verdict("unchanged")),
    ("I4 careful restore over a user's change: kept", facts("b", OURS), RESTORE, Verdict("kept")),
    ("I4 careful restore over a user's file: kept", facts("b"), RESTORE, Verdict("kept")),
    ("I4 careful restore from an older backup: kept", facts("a", OURS, time=MONDAY), RESTORE, Verdict("kept")),
    ("careful restore of what came from an older backup", facts("a", OURS), RESTORE, Verdict("update")),
    ("careful restore of a deleted key", facts(None, OURS), RESTORE, Verdict("upload")),
    ("careful restore of a key that was foreign, then deleted", facts(None, FOREIGN), RESTORE, Verdict("upload")),
    ("careful restore, same bytes", facts("b", OURS, same=True), RESTORE, Verdict("unchanged", adopt=True)),
    ("late file, new: uploaded", facts(), SAVE, Verdict("upload")),
    ("late file, deleted by a user: stays deleted", facts(None, OURS, same_as_known=True), SAVE,
     Verdict("kept_deleted")),
    ("late change of a deleted file: saved", facts(None, OURS), SAVE, Verdict("saved")),
    ("H7 late file is what we wrote, bucket changed since: kept", facts("b", OURS, same_as_known=True), SAVE,
     Verdict("kept")),
    ("late file differs from both: saved", facts("b", OURS), SAVE, Verdict("saved")),
    ("late file differs from what we wrote: saved, never updates", facts("a", OURS), SAVE, Verdict("saved")),
    ("late file, bucket has another: saved", facts("b"), SAVE, Verdict("saved")),
    ("late file, same bytes", facts("a", OURS, same=True, same_as_known=True), SAVE, Verdict("unchanged")),
]  # fmt: skip


@pytest.mark.parametrize(("state", "policy", "verdict"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_table(state, policy, verdict):
    assert decide(state, policy) == verdict


times = st.sampled_from(["", MONDAY, TUESDAY, WEDNESDAY])
entries = st.builds(
    Entry, st.just(1), st.sampled_from("ab"), st.sampled_from(["", "a", "b"]), times, st.just(""), st.booleans()
)


@st.composite
def states(draw):
    there = draw(st.sampled_from([None, "a", "b", "c"]))
    known = draw(st.none() | entries)
    return Facts(
        there, known, there is not None and draw(st.booleans()), known is not None and draw(st.booleans()),
        draw(times), draw(times),
    )  # fmt: skip


@given(states())
def test_h7_keep_never_touches_what_others_wrote(state):
    verdict = decide(state, KEEP)
    if state.there is not None and (state.known is None or state.known.etag != state.there):
        assert not verdict.writes


@given(states())
def test_i4_keep_never_lets_the_older_win(state):
    verdict = decide(state, KEEP)
    if verdict.action == "update":
        assert state.known is not None
        assert state.time > state.known.time
        assert state.time >= state.last


@given(states())
def test_i4_nothing_deleted_returns(state):
    if state.there is None and state.known is not None and not state.known.pruned:
        assert decide(state, KEEP).action == "kept_deleted"
        assert not decide(state, SAVE).writes


@given(states())
def test_save_never_changes_an_object(state):
    verdict = decide(state, SAVE)
    assert verdict.action != "update"
    if state.there is not None:
        assert not verdict.writes


@given(states())
def test_i4_restore_replaces_what_keep_would_replace_and_brings_back_what_overwrite_would(state):
    verdict = decide(state, RESTORE)
    assert verdict == decide(state, KEEP if state.there is not None else OVERWRITE)


@given(states())
def test_overwrite_keeps_a_copy_of_what_keep_would_have_kept(state):
    verdict = decide(state, OVERWRITE)
    if verdict.action == "update" and not decide(state, KEEP).writes:
        assert verdict.copy_first
    assert not (verdict.copy_first and state.there is None)


@given(states(), st.sampled_from([KEEP, RESTORE, OVERWRITE, SAVE]))
def test_equal_bytes_are_never_written(state, policy):
    if state.same:
        assert decide(state, policy).action == "unchanged"


@given(entries, st.sampled_from([None, "a", "b", "c"]), times, times)
def test_prune_only_removes_what_is_ours_unchanged_and_older(entry, there, time, last):
    if may_prune(there, entry, time, last):
        assert there is not None
        assert there == entry.etag
        assert time > entry.time
        assert time >= last
        assert not entry.pruned
