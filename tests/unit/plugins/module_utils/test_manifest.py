# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest: what is written is read, several runs' changes meet, and intents of killed runs are recalled."""

from __future__ import annotations

import gzip
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.adt.assets.plugins.module_utils._backup import format_time
from ansible_collections.adt.assets.plugins.module_utils._decide import Entry
from ansible_collections.adt.assets.plugins.module_utils._journal import Log, Write, recall, settled
from ansible_collections.adt.assets.plugins.module_utils._manifest import (
    Change,
    Manifest,
    Shares,
    Synced,
    merge,
    parse,
    render,
)
from ansible_collections.adt.assets.plugins.module_utils._shard import Shard
from ansible_collections.adt.assets.plugins.module_utils._store import Listed, StoreError

MONDAY, TUESDAY = "2026-06-01", "2026-06-02"
SYNCED = Synced("file:/b:1:2", "images|rclonelink")

digests = st.sampled_from(["a" * 32, "b" * 32, "c" * 32 + "-3", ""])
entries = st.builds(
    Entry,
    st.integers(0, 2**45),
    digests,
    digests,
    st.sampled_from([MONDAY, TUESDAY, ""]),
    st.sampled_from(["", "d" * 64]),
    st.booleans(),
    st.integers(0, 2),
)
manifests = st.builds(
    Manifest,
    st.dictionaries(st.text(min_size=1), entries, max_size=6),
    st.sampled_from(["", MONDAY]),
    st.sampled_from([None, SYNCED]),
    st.sampled_from([None, Shares(SYNCED, 3, (1, 3))]),
)


@given(manifests)
def test_what_is_written_is_read(manifest):
    assert parse(render(manifest), "b") == manifest
    assert render(parse(render(manifest), "b")) == render(manifest)


# With names: gzip writes the time into its header, and the tests' names must be the same in every worker.
@pytest.mark.parametrize(
    "body",
    [b"", b"x", render(Manifest({}))[:-5], gzip.compress(b"{}"), gzip.compress(b'{"format":1,"times":[]}\n[1]')],
    ids=["empty", "no gzip", "cut", "no head", "no entry"],
)
def test_t18_a_damaged_manifest_is_an_error(body):
    with pytest.raises(StoreError, match=r"manifests/b\.jsonl\.gz is damaged"):
        parse(body, "b")


def test_a_manifest_from_the_future():
    with pytest.raises(StoreError, match=r"update adt\.assets"):
        parse(gzip.compress(b'{"format":2}'), "b")


def entry(digest, etag=None, time=MONDAY, **more):
    return Entry(1, digest, digest if etag is None else etag, time, **more)


def test_t9_two_late_syncs_add_up():
    base = Manifest({"old": entry("o", seen=1)}, MONDAY, SYNCED)
    first = merge(base, base, Change({"a": entry("a")}), lambda key: None)
    both = merge(first, base, Change({"b": entry("b")}), lambda key: None)
    assert set(both.entries) == {"old", "a", "b"}
    assert both.synced == SYNCED
    assert both.entries["old"].seen == 1


def test_a_whole_manifest_forgets_the_rest_but_not_what_another_run_writes_meanwhile():
    base = Manifest({"old": entry("o"), "k": entry("k")}, MONDAY, SYNCED)
    change = Change({"k": entry("m", time=TUESDAY)}, TUESDAY, sees=True, whole=True)
    assert merge(base, base, change, lambda key: None) == Manifest({"k": entry("m", time=TUESDAY)}, TUESDAY, None)
    newest = base._replace(entries={**base.entries, "late": entry("l")})
    assert set(merge(newest, base, change, lambda key: None).entries) == {"k", "late"}


def test_t9_of_two_writers_of_a_key_the_bucket_says_who_was_last():
    base = Manifest({})
    theirs = Manifest({"k": entry("t", time=TUESDAY)})
    change = Change({"k": entry("m", time=MONDAY)})
    assert merge(theirs, base, change, lambda key: "m").entries["k"].digest == "m"
    assert merge(theirs, base, change, lambda key: "t").entries["k"].digest == "t"
    assert merge(theirs, base, change, lambda key: None).entries["k"].digest == "t"


def test_t9_what_someone_wrote_beats_what_someone_only_saw():
    theirs = Manifest({"k": entry("t")})
    change = Change({"k": entry("m", etag="", time=TUESDAY)})
    assert merge(theirs, Manifest({}), change, lambda key: "t").entries["k"].etag == "t"


def test_t9_a_disturbed_run_does_not_count_as_having_seen_all():
    base = Manifest({}, "", None)
    change = Change({"a": entry("a", seen=1)}, TUESDAY, SYNCED, sees=True)
    assert merge(base, base, change, lambda key: None).synced == SYNCED
    assert merge(Manifest({"b": entry("b")}), base, change, lambda key: None).synced is None


def test_last_never_goes_back():
    base = Manifest({}, TUESDAY)
    assert merge(base, base, Change({}, MONDAY, SYNCED, sees=True), lambda key: None).last == TUESDAY


def test_a_run_that_saw_all_ends_what_others_saw():
    base = Manifest({"gone": entry("g", seen=1), "k": entry("k", seen=1)}, MONDAY, SYNCED)
    change = Change({"k": entry("k", seen=1)}, TUESDAY, SYNCED, sees=True)
    assert [found.seen for found in merge(base, base, change, lambda key: None).entries.values()] == [0, 1]


def share(number, key, time=TUESDAY, synced=SYNCED):
    """What share ``number`` of two changes."""
    return Change({key: entry(key, time=time, seen=1)}, time, synced, sees=True, shard=Shard(number, 2))


KEYS = [next(str(n) for n in range(99) if Shard(number, 2).has(str(n))) for number in (1, 2)]


def test_shares_that_end_in_any_order_make_a_whole():
    base = Manifest({"x": entry("x", seen=1)}, MONDAY, Synced("file:/a:1:2", "images|rclonelink"))
    for first, second in ((1, 2), (2, 1)):
        half = merge(base, base, share(first, KEYS[first - 1]), lambda key: None)
        assert (half.synced, half.shares) == (None, Shares(SYNCED, 2, (first,)))
        assert half.knows(SYNCED, Shard(first, 2)) and not half.knows(SYNCED, Shard(second, 2))
        assert not half.knows(SYNCED, Shard(1, 1)) and not half.knows(SYNCED, Shard(first, 3))
        whole = merge(half, base, share(second, KEYS[second - 1]), lambda key: None)  # which began when the first did
        assert (whole.synced, whole.shares) == (SYNCED, None)
        assert {key: found.seen for key, found in whole.entries.items()} == {"x": 0, KEYS[0]: 1, KEYS[1]: 1}


def test_shares_of_another_backup_begin_anew():
    base = Manifest({}, MONDAY, None, Shares(SYNCED, 2, (1,)))
    other = Synced("file:/other:1:2", "images|rclonelink")
    assert merge(base, base, share(2, "b", synced=other), lambda key: None).shares == Shares(other, 2, (2,))
    assert merge(base, base, Change({}, TUESDAY, SYNCED, sees=True), lambda key: None) == Manifest({}, TUESDAY, SYNCED)
    assert merge(base, base, Change({"late": entry("l")}), lambda key: None).shares == base.shares


def test_t9_a_share_whose_keys_someone_else_changed_meanwhile_is_not_complete():
    newest = Manifest({KEYS[0]: entry("other", time=TUESDAY)}, TUESDAY)
    assert merge(newest, Manifest({}), share(1, KEYS[0]), lambda key: None).shares is None
    assert merge(newest, Manifest({}), share(2, KEYS[1]), lambda key: None).shares == Shares(SYNCED, 2, (2,))


def log(*writes, done=False, time=MONDAY, mtime="2026-06-01T00:00:00Z", prunes=()):
    return Log("intents/b/run/000001.json", time, mtime, done, tuple(writes), tuple(prunes))


def lies(etag):
    """What lies in the bucket."""
    return {"k": Listed("k", 1, etag, "")}


def test_t1_what_a_killed_run_wrote_is_known_as_ours():
    logs = [log(Write("k", 1, "w"))]
    assert recall(logs, {}, lies("w")) == {"k": entry("w")}


def test_t1_what_a_killed_run_never_wrote_is_unknown():
    assert recall([log(Write("k", 1, "w"))], {}, {}) == {}
    assert recall([log(Write("k", 1, "w"))], {}, lies("user")) == {}
    assert recall([log(Write("k", 1, "w"))], {"k": entry("old")}, lies("old")) == {}


def test_i4_what_a_killed_run_wrote_and_a_user_deleted_stays_known():
    assert recall([log(Write("k", 1, "w"), done=True)], {}, {}) == {"k": entry("w")}
    assert recall([log(Write("k", 1, "w"), done=True)], {}, lies("user")) == {"k": entry("w")}


def test_an_old_log_does_not_undo_a_newer_manifest():
    known = {"k": entry("new", time=TUESDAY)}
    assert recall([log(Write("k", 1, "w"), done=True)], known, {}) == {}
    assert recall([log(Write("k", 1, "w"), done=True)], known, lies("new")) == {}


def test_prunes_of_a_killed_run_are_known():
    found = recall([log(prunes=["k"], time=TUESDAY)], {"k": entry("k", seen=1)}, {})
    assert found == {"k": entry("k", time=TUESDAY, pruned=True)}
    assert recall([log(prunes=["k"])], {"k": entry("k")}, lies("k")) == {}


@pytest.mark.parametrize("pruned", [True, False])
def test_i4_an_old_prune_says_nothing_of_what_is_newer(pruned):
    """Of a key that a newer backup brought back and a user deleted, or that a newer run removed itself."""
    assert recall([log(prunes=["k"])], {"k": entry("k", time=TUESDAY, pruned=pruned)}, {}) == {}


def test_what_the_manifest_knows_already_is_not_recalled():
    """Else a run would have to read its backup only because a log is still there."""
    known = {"k": entry("w", seen=1)}
    assert recall([log(Write("k", 1, "w"), done=True)], known, {}) == {}
    assert recall([log(prunes=["k"])], {"k": entry("k", pruned=True)}, {}) == {}


def test_t9_a_log_whose_run_may_be_at_work_is_kept_where_writes_are_not_conditional():
    now = time.time()
    fresh, known = format_time(now), {"k": entry("x", time=TUESDAY)}
    assert not settled(log(Write("k", 1, "w"), mtime=fresh), known, now, conditional=False)
    assert settled(log(Write("k", 1, "w"), mtime=fresh, done=True), known, now, conditional=False)
    assert settled(log(mtime=fresh), {}, now, conditional=False)
    assert settled(log(Write("k", 1, "w"), mtime=format_time(now - 100000)), known, now, conditional=False)


def test_logs_are_dropped_when_the_manifest_knows_it_all():
    now = time.time()
    fresh = format_time(now)
    assert settled(log(Write("k", 1, "w"), mtime=fresh), {"k": entry("w")}, now)
    assert settled(log(Write("k", 1, "w"), mtime=fresh), {"k": entry("x", time=TUESDAY)}, now)
    assert not settled(log(Write("k", 1, "w"), mtime=fresh), {}, now)
    assert not settled(log(Write("k", 1, "w"), mtime=fresh), {"k": entry("x")}, now)
    assert settled(log(Write("k", 1, "w"), mtime=format_time(now - 100000)), {}, now)
