# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much slower a real WordPress answers with files in a bucket than from a local disk, and what that asks of S3.

Writes the guide when all ways were measured.

Needs a bed (``make bed-up``). The site of the scenario ``wordpress`` is deployed in each way that there is; the same
webserver serves a copy of it from its disk at another port. Both are asked in turns: what else the machine does meets
both. Cold: nothing is in the mount's cache or PHP's. The requests to S3 hold those of the watch.

    make bench-pages
    python benchmarks/pages.py --views 20 --only "rclone, code copied"
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

TOP = Path(__file__).resolve().parent.parent
os.environ.setdefault("ADT_BED", "test")

import editor
import rst
from lab import TESTS
from scenario import BED
from wordpress import WordPress

GUIDE = TOP / "docs/docsite/rst/guide_mount_tools.rst"
HOST = "web1"
LOCAL_PORT = 81
PAGES = {"front page": "", "wp-admin": "wp-admin/index.php", "media library": "wp-admin/upload.php?mode=list"}
COLD_ROUNDS = 3
IDLE_SECONDS = 20


class Way(NamedTuple):
    """One way to deploy the site: its template, the mount tool, and variables."""

    template: str
    tool: str
    variables: dict[str, Any]

    @property
    def unit(self) -> str:
        """The service of its mount."""
        directory = {"uploads": "wp\\x2dcontent-uploads", "whole": ""}[self.template]
        return "adt-assets-var-www-html" + f"-{directory}" * bool(directory) + ".service"

    @property
    def bucket(self) -> str:
        return {"uploads": editor.BUCKET, "whole": editor.WHOLE_BUCKET}[self.template]


WAYS = {
    **{f"uploads, {tool}": Way("uploads", tool, {}) for tool in ("rclone", "s3fs", "geesefs", "goofys")},
    **{f"whole webroot, {tool}": Way("whole", tool, {}) for tool in ("s3fs", "geesefs", "rclone")},
    "whole webroot, rclone, no coherence": Way("whole", "rclone", {"asset_mount_coherence": False}),
    "whole webroot, rclone, code copied": Way("whole", "rclone", {"assets_local_code": True}),
}


def prepare() -> None:
    """Make the site on the bed, and serve a copy of it from the disk of the same webserver."""
    env = {**os.environ, "ADT_TOOL": "rclone", "ADT_BED_KEEP": "1"}
    for step in ("reset", "prepare"):
        subprocess.run(["molecule", step, "-s", "wordpress"], cwd=TOP, env=env, check=True, stdout=sys.stderr)
    BED.on(
        HOST,
        f"""set -e
        mkdir -p /srv/local && rsync -a --delete /var/www/html/ /srv/local/
        sed -e 's/listen 80 default_server/listen {LOCAL_PORT} default_server/' -e '/listen \\[::\\]/d' \\
            -e 's|/var/www/html|/srv/local|' /etc/nginx/sites-enabled/site.conf >/etc/nginx/sites-enabled/local.conf
        systemctl reload nginx""",
    )


def deploy(way: Way) -> None:
    """Deploy the site in one way; nothing is left of the one before."""
    for host in BED.hosts("webservers"):
        BED.on(host, (TESTS / "tools" / "reset_webserver.sh").read_text())
    editor.deploy(way.template, way.tool, asset_mount_keep_local="24h", **way.variables)


def make_cold(way: Way) -> None:
    """Empty the mount's cache and PHP's, and wait until the directories are read ahead where the flags say so."""
    BED.on(
        HOST,
        f"systemctl stop '{way.unit}' && rm -rf /var/cache/adt-assets/{way.bucket}/vfs*; systemctl start '{way.unit}'"
        " && systemctl restart 'php*-fpm'",
    )
    time.sleep(3)


def seconds(browser: WordPress, page: str) -> float:
    """How long one page takes."""
    began = time.perf_counter()
    browser.get(page)
    return time.perf_counter() - began


def warm(browsers: Iterable[WordPress], page: str, views: int) -> list[list[float]]:
    """The seconds of every view, for each browser; they take turns."""
    for browser in browsers:
        for _view in range(3):
            browser.get(page)
    taken: list[list[float]] = [[] for _browser in browsers]
    for _view in range(views):
        for times, browser in zip(taken, browsers):
            times.append(seconds(browser, page))
    return taken


def cold(way: Way, browser: WordPress) -> float:
    """The median of the first page's seconds."""
    times = []
    for _round in range(COLD_ROUNDS):
        make_cold(way)
        times.append(seconds(browser, ""))
    return median(times)


def requests_per_thousand(browser: WordPress, page: str, views: int) -> float:
    """Requests to S3 for 1,000 views of a warm page, by the store's access log."""
    before = len(BED.requests())
    for _view in range(views):
        browser.get(page)
    return (len(BED.requests()) - before) * 1000 / views


def idle() -> float:
    """Requests to S3 in a minute in which nobody asks for a page: the watch of both webservers."""
    before = len(BED.requests())
    time.sleep(IDLE_SECONDS)
    return (len(BED.requests()) - before) * 60 / IDLE_SECONDS


def p95(times: list[float]) -> float:
    return quantiles(times, n=20)[-1]


class Figures(NamedTuple):
    """What one way takes: of the first page, and between pages; and a row for each page."""

    cold: float
    idle: float
    pages: list[list[str]]


def measure(way: Way, mounted: WordPress, local: WordPress, pages: dict[str, str], views: int) -> Figures:
    """All figures of a way that is deployed."""
    first, between, rows = cold(way, mounted), idle(), []
    for name, page in pages.items():
        here, there = warm((local, mounted), page, views)
        asked = requests_per_thousand(mounted, page, views)
        row = [name]
        for figure in (median, p95):
            row += [f"{figure(here) * 1000:.0f}", f"{figure(there) * 1000:.0f}", f"{figure(there) / figure(here):.2f}"]
        rows.append([*row, f"{asked:.0f}"])
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    return Figures(first, between, rows)


def tables(measured: dict[str, Figures]) -> str:
    """What is printed, and written into the guide."""
    head = ["Way", "Page", "Median ms: local", "mounted", "Ratio", "p95 ms: local", "mounted", "Ratio"]
    rows = [[title, *row] for title, figures in measured.items() for row in figures.pages]
    besides = [[title, f"{figures.cold:.2f}", f"{figures.idle:.0f}"] for title, figures in measured.items()]
    return "\n".join([
        rst.table([*head, "S3 requests for 1,000 views"], rows),
        rst.table(["Way", "First page, cold: seconds", "S3 requests a minute without any page"], besides),
    ])  # fmt: skip


def main() -> None:
    """Deploy in each way, measure, print, and write the guide when all were measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=100, help="of each page, from each place")
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS), help="the ways to deploy (all)")
    options = parser.parse_args()
    prepare()
    measured = {}
    for title in options.only:
        way = WAYS[title]
        deploy(way)
        mounted = WordPress(BED.address(HOST), editor.SITE)
        mounted.log_in()
        local = WordPress(f"{BED.address(HOST)}:{LOCAL_PORT}", editor.SITE, mounted.cookies)
        print(f"{title}:", file=sys.stderr, flush=True)
        measured[title] = measure(way, mounted, local, {**PAGES, "picture": picture()}, options.views)
    BED.on(HOST, "rm -rf /srv/local /etc/nginx/sites-enabled/local.conf && systemctl reload nginx")
    text = tables(measured)
    print(text)
    if set(measured) == set(WAYS):
        rst.write_between(GUIDE, "make bench-pages", text)


def picture() -> str:
    """The address of a picture of the site, relative to the site's."""
    found = BED.on(HOST, "cd /srv/local && find wp-content/uploads -name '*.png' | sort | head -n 1")
    return found.strip()


if __name__ == "__main__":
    main()
