# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site whose webroots are to be kept the same no more, and then again (SYNC_WEBROOTS)."""

from __future__ import annotations

from scenario import BED, recap
from synced import (
    ALL,
    CHANGES,
    CONVERGE,
    HERE,
    NO_MORE,
    ROOT,
    THERE,
    has,
    in_order,
    is_synced,
    state,
    tree,
    wait_for_the_same,
    write,
)

__all__ = ["in_order"]


def deploy(variables: dict) -> dict[str, dict[str, int]]:
    """What a deploy counted, by host."""
    return recap(BED.playbook("adt.assets.deploy", variables).stdout)


def test_a_sync_that_the_template_does_not_ask_for_is_not_begun() -> None:
    refused = BED.playbook("adt.assets.sync", NO_MORE, check=False)
    assert refused.returncode
    assert "SYNC_WEBROOTS is 0" in refused.stdout


@CHANGES
def test_deploy_ends_the_sync_of_its_webroot_only_and_it_can_begin_again() -> None:
    deploy({**NO_MORE, "assets_webroot": "/srv/another"})
    assert all(state(host)["running"] for host in ALL)

    before = tree(THERE)
    ended = deploy(NO_MORE)
    assert not any(is_synced(host) for host in ALL)
    assert all(ended[host]["changed"] for host in ALL)
    assert all(counters["changed"] == 0 for counters in deploy(NO_MORE).values())
    assert tree(THERE) == before

    write(HERE, "apart.txt", "apart")
    BED.playbook(CONVERGE, {})
    wait_for_the_same()
    assert has(THERE, "apart.txt")
    BED.on(HERE, f"rm -f {ROOT}/apart.txt")
