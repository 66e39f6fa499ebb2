# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much slower a real WordPress answers when its whole webroot comes out of a bucket, against a local disk.

Needs a bed (``make bed-up``). The site of the scenario ``wordpress`` is deployed with WHOLE-WEBROOT; the same webserver
serves a copy of it from its disk at another port. Both are asked in turns: what else the machine does meets both. Cold:
nothing is in the mount's cache or PHP's. The requests to S3 hold those of the watch.

    make bench-pages
    python benchmarks/pages.py --as-it-is --views 60     # measure what an earlier run has deployed
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

TOP = Path(__file__).resolve().parent.parent
os.environ.setdefault("ADT_BED", "test")

import editor
from scenario import BED
from wordpress import WordPress

HOST = "web1"
UNIT = "adt-assets-var-www-html.service"
LOCAL_PORT = 81
PAGES = {"front page": "", "wp-admin": "wp-admin/index.php", "media library": "wp-admin/upload.php?mode=list"}
COLD_ROUNDS = 3
IDLE_SECONDS = 20
# What remembering directories gives: as the role has it, and as it would be if somebody told the mount of changes.
SETTINGS = {
    "as deployed": "",
    "directory cache of 1 h": "s/--dir-cache-time=[0-9a-z]*/--dir-cache-time=1h/",
}


def deploy() -> None:
    """Make the site on the bed, and put its whole webroot into a bucket."""
    env = {**os.environ, "ADT_TOOL": "rclone", "ADT_BED_KEEP": "1"}
    for step in ("reset", "prepare"):
        subprocess.run(["molecule", step, "-s", "wordpress"], cwd=TOP, env=env, check=True, stdout=sys.stderr)
    editor.deploy("whole")


def serve_local_copy() -> None:
    """Serve the files beneath the mount, as they were before, from the disk of the same webserver."""
    BED.on(
        HOST,
        f"""set -e
        mkdir -p /srv/local && rsync -a --delete /run/adt-assets/beneath/var-www-html/ /srv/local/
        sed -e 's/listen 80 default_server/listen {LOCAL_PORT} default_server/' -e '/listen \\[::\\]/d' \\
            -e 's|/var/www/html|/srv/local|' /etc/nginx/sites-enabled/site.conf >/etc/nginx/sites-enabled/local.conf
        systemctl reload nginx""",
    )


@contextmanager
def mounted_with(setting: str) -> Iterator[None]:
    """The mount with other flags inside the block: a sed command for its unit, or nothing."""
    unit = f"/etc/systemd/system/{UNIT}"
    BED.on(HOST, f"cp {unit} /tmp/unit && sed -i '{setting}' {unit} && systemctl daemon-reload")
    make_cold()
    try:
        yield
    finally:
        BED.on(HOST, f"cp /tmp/unit {unit} && systemctl daemon-reload && systemctl restart {UNIT}")


def make_cold() -> None:
    """Empty the mount's cache and PHP's, and wait until the directories are read ahead where the flags say so."""
    BED.on(
        HOST,
        f"systemctl stop {UNIT} && rm -rf /var/cache/adt-assets/{editor.WHOLE_BUCKET}/vfs* && systemctl start {UNIT}"
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


def cold(browser: WordPress) -> float:
    """The median of the first page's seconds."""
    times = []
    for _round in range(COLD_ROUNDS):
        make_cold()
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


def measure(mounted: WordPress, local: WordPress, views: int) -> None:
    """Print the rows of one setting."""
    print(f"  first page, cold: {cold(mounted):.2f} s; S3 requests a minute without any page: {idle():.0f}")
    for name, page in PAGES.items():
        here, there = warm((local, mounted), page, views)
        asked = requests_per_thousand(mounted, page, views)
        print(
            f"  {name:<14} {median(here) * 1000:7.0f} {median(there) * 1000:8.0f} {median(there) / median(here):6.2f}"
            f" {p95(here) * 1000:10.0f} {p95(there) * 1000:8.0f} {p95(there) / p95(here):6.2f} {asked:12.0f}",
            flush=True,
        )


def main() -> None:
    """Deploy, measure with each setting, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=100, help="of each page, from each place")
    parser.add_argument("--as-it-is", action="store_true", help="the site is deployed already")
    options = parser.parse_args()
    if not options.as_it_is:
        deploy()
    serve_local_copy()
    mounted = WordPress(BED.address(HOST), editor.SITE)
    mounted.log_in()
    local = WordPress(f"{BED.address(HOST)}:{LOCAL_PORT}", editor.SITE, mounted.cookies)
    print("warm pages, ms   median: local  mounted  ratio   p95: local  mounted  ratio  S3 per 1,000")
    for title, setting in SETTINGS.items():
        print(f"{title}:")
        with mounted_with(setting):
            measure(mounted, local, options.views)
    BED.on(HOST, "rm -rf /srv/local /etc/nginx/sites-enabled/local.conf && systemctl reload nginx")


if __name__ == "__main__":
    main()
