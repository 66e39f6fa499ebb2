# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a webserver for assets at a steady rate, checks every answer's bytes, and prints what it saw as JSON.

    reader.py http://HOST/images DIGESTS.json --rate 50 --seconds 60     # DIGESTS.json: {"path": "sha256"}
    reader.py --digests DIRECTORY > DIGESTS.json

Without --seconds it goes on until SIGTERM or SIGINT. Requests start on time whether or not earlier ones are answered.
Exit status 1 when any answer was bad. For tests; needs nothing but Python.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import itertools
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

REQUEST_SECONDS = 15
WORKERS = 64
SAMPLES = 20


def digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def ask(base: str, path: str, digest: str) -> str:
    """What came: "good", or what is wrong with it."""
    parts = urlsplit(base)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=REQUEST_SECONDS)
    try:
        connection.request("GET", f"{parts.path}/{quote(path)}", headers={"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    if answer.status != 200:
        return f"status {answer.status}"
    return "good" if hashlib.sha256(body).hexdigest() == digest else f"wrong bytes ({len(body)})"


class Reader:
    def __init__(self, base: str, files: dict[str, str]) -> None:
        self.base, self.files = base, files
        self.seen: Counter[str] = Counter()
        self.samples: list[str] = []
        self.slowest = 0.0
        self.lock = threading.Lock()

    def one(self, path: str) -> None:
        began = time.time()
        result = ask(self.base, path, self.files[path])
        took = time.time() - began
        with self.lock:
            self.slowest = max(self.slowest, took)
            self.seen[result] += 1
            if result != "good" and len(self.samples) < SAMPLES:
                self.samples.append(f"{time.strftime('%H:%M:%S', time.localtime(began))} {path!r}: {result}")

    def run(self, rate: float, seconds: float | None, stop: threading.Event) -> None:
        paths = sorted(self.files)
        random.shuffle(paths)
        began = time.monotonic()
        with ThreadPoolExecutor(WORKERS) as pool:
            for number, path in enumerate(itertools.cycle(paths)):
                due = began + number / rate
                if (seconds is not None and due - began >= seconds) or stop.wait(max(0.0, due - time.monotonic())):
                    break
                pool.submit(self.one, path)

    def report(self) -> dict[str, object]:
        good = self.seen["good"]
        total = sum(self.seen.values())
        bad = {what: count for what, count in self.seen.items() if what != "good"}
        return {
            "good": good,
            "bad": total - good,
            "kinds": bad,
            "samples": self.samples,
            "slowest_seconds": round(self.slowest, 3),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", help="address below which the files are")
    parser.add_argument("manifest", nargs="?", type=Path, help="JSON file: path -> SHA-256")
    parser.add_argument("--digests", type=Path, metavar="DIRECTORY", help="print the digests of a directory's files")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, help="how long; default: until a signal")
    options = parser.parse_args()
    if options.digests:
        json.dump(digests(options.digests), sys.stdout, indent=1)
        return 0
    if not options.base or not options.manifest:
        parser.error("an address and a manifest are needed")
    reader = Reader(options.base.rstrip("/"), json.loads(options.manifest.read_text(encoding="utf-8")))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    reader.run(options.rate, options.seconds, stop)
    report = reader.report()
    json.dump(report, sys.stdout, indent=1)
    print(flush=True)
    return 1 if report["bad"] else 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
