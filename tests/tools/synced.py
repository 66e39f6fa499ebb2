# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the scenario ``webroot_sync`` share: three webroots that are kept the same."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from subprocess import CalledProcessError

import pytest
from lab import TESTS
from scenario import BED, WEBSERVERS, wait_until, webroot

ALL = WEBSERVERS[:3]
HERE, THERE, BEYOND = ALL
ROOT = "/var/www/html"
UNIT = "adt-webroot-sync"
PROGRAM = "python3 -I /usr/local/lib/adt-webroot-sync/webroot_sync.py"
CONVERGE = str(TESTS.parent / "extensions/molecule/webroot_sync/converge.yml")
OWN = ["img[1]", "a b", "!x", "#x", "wp-content/uploads", "wp-content/cache"]
SETTINGS = {"assets_settings": {"persist_assets_to_cloud": 0, "build_archive_choice": "hourly", "sync_webroots": 1}}
NO_MORE = {"assets_settings": {**SETTINGS["assets_settings"], "sync_webroots": 0}}
QUIET_SECONDS = 10  # whatever would be passed on, has been by then
# All but what is mounted, as it is for those who may not delete there.
SYNCED = " ".join(
    f"{ROOT}/{name}" for name in ("files", "img1", "index.php", "themes", "wp-content/themes", ".stfolder", ".stignore")
)


def state(host: str) -> dict:
    return json.loads(BED.on(host, f"{PROGRAM} state"))


def is_synced(host: str) -> bool:
    """Whether something of the sync is on a webserver."""
    there = BED.on(host, f"ls -d /etc/systemd/system/{UNIT}.service {ROOT}/.stfolder {ROOT}/.stignore", check=False)
    running = BED.on(host, f"systemctl is-active {UNIT}; pgrep syncthing", check=False)
    return bool(there) or running.strip() not in ("inactive", "unknown")


def tree(host: str) -> dict[str, str]:
    """What a webserver's webroot holds, but for what is its own."""
    return webroot(host, *OWN)


def play(action: str) -> str:
    return BED.playbook("adt.assets.sync", {**SETTINGS, "assets_sync": action}).stdout


def trees() -> list[dict[str, str]]:
    with ThreadPoolExecutor() as threads:
        return list(threads.map(tree, ALL))


def differences() -> str:
    try:
        first, *others = trees()
    except CalledProcessError:
        return "a file went while it was read"
    return "; ".join(
        f"{host}: {sorted(set(first.items()) ^ set(other.items()))[:6]}"
        for host, other in zip(WEBSERVERS[1:], others)
        if other != first
    )


def wait_for_the_same(seconds: float = 30.0) -> None:
    wait_until(lambda: not differences(), seconds, differences)


def is_in_order(now: dict) -> bool:
    return (now["running"], now["problem"], now["held_files"], now["errors"]) == (True, "", 0, [])


@pytest.fixture
def in_order() -> Iterator[None]:
    """The test ends with webroots that are the same, and nothing held."""
    yield
    wait_for_the_same()
    for host in ALL:  # what Syncthing can't do at once, as a file changes again, it tries once more
        wait_until(lambda host=host: is_in_order(state(host)), 15, lambda host=host: f"{host}: {state(host)}")


CHANGES = pytest.mark.usefixtures("in_order")


def write(host: str, name: str, text: str) -> None:
    path = shlex.quote(f"{ROOT}/{name}")
    BED.on(host, f"echo {shlex.quote(text)} | sudo -u www-data tee {path} > /dev/null")


def has(host: str, name: str) -> bool:
    return "yes" in BED.on(host, f"[ -e {shlex.quote(f'{ROOT}/{name}')} ] && echo yes", check=False)
