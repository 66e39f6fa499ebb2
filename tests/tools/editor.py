# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the scenario ``wordpress`` share: its site, an editor on each webserver, and what visitors see."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from scenario import BED, DEFAULT_TOOL, FOLDER, WEBSERVERS, wait_until
from wordpress import WordPress

SITE = "www.wordpress.example.com"
BUCKET = "www-wordpress-example-com-assets-wp-content-uploads"
WHOLE_BUCKET = "www-wordpress-example-com-assets-whole-webroot"
SEEN_SECONDS = 10.0  # both webservers show what one of them was given
# What a webserver has made itself the kernel there knows for a minute, also when another one deletes it.
OWN_SECONDS = 70.0


@cache
def visitor(host: str) -> WordPress:
    """Somebody at a webserver who is not logged in."""
    return WordPress(BED.address(host), SITE)


@cache
def _logged_in() -> WordPress:
    first = WordPress(BED.address(WEBSERVERS[0]), SITE)
    first.log_in()
    return first


@cache
def editor(host: str) -> WordPress:
    """The editor at a webserver, logged in once at the first.

    A log-in at another would end the first one's session: each PHP hashes the password again as its own release does.
    """
    return WordPress(BED.address(host), SITE, _logged_in().cookies)


def editors() -> tuple[WordPress, WordPress]:
    """The editor at each of two webservers."""
    return editor(WEBSERVERS[0]), editor(WEBSERVERS[1])


def everywhere(urls: Iterable[str], hosts: Sequence[str] = WEBSERVERS) -> None:
    """All webservers soon serve each of these pictures, with the same bytes."""
    for url in urls:
        for host in hosts:
            _wait_for(200, host, url, SEEN_SECONDS)
        bodies = {visitor(host).get(url) for host in hosts}
        assert len(bodies) == 1 and bodies.pop().startswith(b"\x89PNG"), f"{url} isn't one picture"


def nowhere(urls: Iterable[str], seconds: float = SEEN_SECONDS) -> None:
    """Both webservers answer 404 to each of these pictures, after some seconds at the latest."""
    for url in urls:
        for host in WEBSERVERS:
            _wait_for(404, host, url, seconds)


def _wait_for(status: int, host: str, url: str, seconds: float) -> None:
    wait_until(lambda: visitor(host).status(url) == status, seconds, lambda: f"{host} never said {status} to {url}")


def deploy(template: str, tool: str = DEFAULT_TOOL, **more: Any) -> subprocess.CompletedProcess[str]:
    """Deploy with one of the scenario's templates (``uploads``, ``whole``), from the backup."""
    backup = {"assets_backup": "s3://wordpress-backups/backup.tar.gz"}
    return BED.playbook("adt.assets.deploy", {**_settings(template, tool), **backup, **more})


def unmount(template: str, tool: str = DEFAULT_TOOL) -> None:
    """The way back, likewise."""
    BED.playbook("adt.assets.unmount", _settings(template, tool))


def _settings(template: str, tool: str) -> dict[str, Any]:
    file = FOLDER / "wordpress" / f"{template}.tmpl"
    return {"assets_template": str(file), "assets_tool": tool, **BED.built(tool)}
