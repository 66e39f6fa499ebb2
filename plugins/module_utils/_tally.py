# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run did, or would do: counts, bytes and keys. ``changed``, summary and diff all come from here."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from ._members import LINK_SUFFIX
from ._store import Listed
from ._upload import is_awkward

ACTIONS = ("uploaded", "updated", "unchanged", "kept", "kept_deleted", "saved", "pruned", "refused")
CHANGES = ("uploaded", "updated", "saved", "pruned")
REMOVALS = ("pruned", "removed")
KEPT = "kept"
KEYS_SHOWN = 100


class _First:
    """The first of any number of keys."""

    def __init__(self) -> None:
        self._keys: list[str] = []

    def add(self, key: str) -> None:
        self._keys.append(key)
        if len(self._keys) > 20 * KEYS_SHOWN:
            self._keys = self.keys

    @property
    def keys(self) -> list[str]:
        return sorted(self._keys)[:KEYS_SHOWN]


class Tally:
    """Counts per action; usable from many threads. ``changes`` are the actions that write."""

    def __init__(self, actions: Sequence[str] = ACTIONS, changes: Sequence[str] = CHANGES) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(actions, 0)
        self._bytes = dict.fromkeys(actions, 0)
        self._keys = {action: _First() for action in changes}
        self._kept = _First()

    def add(self, action: str, key: str, size: int) -> None:
        """Note what happened to a key."""
        with self._lock:
            self._counts[action] += 1
            self._bytes[action] += size
            if action in self._keys:
                self._keys[action].add(key)
            elif action == KEPT:
                self._kept.add(key)

    def count(self, *actions: str) -> int:
        """How many keys had one of these actions."""
        return sum(self._counts[action] for action in actions)

    def size(self, *actions: str) -> int:
        """The bytes of all keys that had one of these actions."""
        return sum(self._bytes[action] for action in actions)

    @property
    def kept(self) -> list[str]:
        """The first keys that stay as the bucket has them, although the backup has others."""
        return self._kept.keys

    @property
    def wrote(self) -> bool:
        """Whether anything but the manifest is (or would be) written."""
        return self.count(*self._keys) > 0

    def summary(self) -> dict[str, dict[str, int]]:
        """Counts and bytes per action."""
        return {action: {"count": count, "bytes": self._bytes[action]} for action, count in self._counts.items()}

    def diff(self, bucket: str, manifest_changes: bool) -> dict[str, Any]:
        """What Ansible shows with ``--diff``: before and after, as far as they differ."""
        before, after = [], []
        for action, found in self._keys.items():
            shown, count = found.keys, self.count(action)
            if action == "updated" or action in REMOVALS:
                before += [f"{key}" for key in shown]
            if action not in REMOVALS:
                after += [f"{key} ({action})" for key in shown]
            if count > len(shown):
                after.append(f"… and {count - len(shown)} more {action}")
        if manifest_changes:
            after.append("(manifest)")
        lines = {"before": before, "after": after}
        text = {name: "".join(f"{line}\n" for line in part) for name, part in lines.items()}
        return {**text, "before_header": bucket, "after_header": bucket}


def add_up(tallies: Sequence[Tally]) -> dict[str, dict[str, int]]:
    """Counts and bytes per action, over several buckets."""
    summaries = [tally.summary() for tally in tallies]
    return {
        action: {part: sum(summary[action][part] for summary in summaries) for part in ("count", "bytes")}
        for action in summaries[0]
    }


def sample(there: Iterable[Listed]) -> str | None:
    """A key that every client can read, for those who want to see whether a mount works."""
    best: tuple[bool, str] | None = None
    for listed in there:
        rank = ("/." in f"/{listed.key}", listed.key)  # webservers often refuse dotfiles
        if (best is None or rank < best) and listed.size and not listed.key.endswith(LINK_SUFFIX):
            best = best if is_awkward(listed.key) else rank
    return best[1] if best else None
