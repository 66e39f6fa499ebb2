# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which asset directories move to other buckets, by what the webservers show and what the plan has. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def bucket_moves(directories: Iterable[dict[str, Any]], mounts: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """The buckets that files have to be copied from, by the name of the directory; empty when none moves.

    ``directories`` are the plan's, ``mounts`` those of all webservers, as mount_info has them. Where some show the
    plan's buckets already, an earlier run has copied everything, and the others may not write any more.

    Raises ValueError for moves that could lose something.
    """
    there = [mount for mount in mounts if mount["floor"] and mount["buckets"]]
    found = {
        directory["name"]: _moves_from(directory, [mount for mount in there if mount["name"] == directory["name"]])
        for directory in directories
    }
    return {name: buckets for name, buckets in found.items() if buckets}


def _moves_from(directory: dict[str, Any], mounts: list[dict[str, Any]]) -> list[str]:
    wanted = directory["buckets"]
    old = [mount for mount in mounts if not set(mount["buckets"]) <= set(wanted)]
    if not old:
        return []
    shown = old[0]["buckets"]
    what = f"{directory['path']} shows {', '.join(shown)}, and the plan has {', '.join(wanted)}"
    others = [mount["buckets"] for mount in old if mount["buckets"] != shown]
    if others:
        raise ValueError(f"{what}; another webserver shows {', '.join(others[0])}: deploy all with one plan first")
    if set(shown) & set(wanted):
        raise ValueError(f"{what}: name all of the buckets that are shown, and more, or none of them")
    if len(old) == len(mounts):
        return list(shown)
    if any(mount["fuse"] and not mount["read_only"] for mount in old):
        raise ValueError(
            f"{what}, which another webserver shows already, and both are written to: run the way back "
            "(adt.assets.unmount) with the old plan on those that show the old ones"
        )
    return []
