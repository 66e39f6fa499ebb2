# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members on their way to several buckets: each to the pipeline of its home."""

from __future__ import annotations

from collections.abc import Sequence

from ._members import Member
from ._pipeline import Pipeline
from ._shard import Shard
from ._spread import Holding, home
from ._tar import Reader
from ._upload import SMALL_MAX


class Router:
    """Takes members as a pipeline does, those of a share; ``holdings`` and ``pipelines`` are in the order of the
    buckets.
    """

    def __init__(self, holdings: Sequence[Holding], pipelines: Sequence[Pipeline], shard: Shard) -> None:
        self._holdings = holdings
        self._pipelines = pipelines
        self._shard = shard

    def take(self, member: Member, reader: Reader) -> None:
        """Deal with a member; its content is read before this returns."""
        if not self._shard.has(member.key):
            return
        if member.size > SMALL_MAX:
            self.flush()  # a part may need the whole budget, so that nothing may be held back meanwhile
        self._pipelines[home(member.key, self._holdings)].take(member, reader)

    def knows(self, path: bytes, size: int, stamp: str) -> bool:
        """Whether the file of that path is as it was when it was read last, and nothing is to be done with it; or is of
        another share.
        """
        try:
            key = path.decode()
        except UnicodeDecodeError:
            return False
        if not self._shard.has(key):
            return True
        return self._pipelines[home(key, self._holdings)].knows(key, size, stamp)

    def flush(self) -> None:
        """Let the members that were taken so far be written."""
        for pipeline in self._pipelines:
            pipeline.flush()

    def prune(self) -> None:
        """Remove what is ours, unchanged, and not in this backup. Only after all of the backup has been taken."""
        for pipeline in self._pipelines:
            pipeline.prune()

    def give_up(self) -> None:
        """After a failure: leave no half uploads, and tell the journals what is done."""
        for pipeline in self._pipelines:
            pipeline.give_up()
