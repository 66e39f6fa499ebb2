# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""asset_sync against all that does the same work: a backup in S3 whose asset directory goes into a bucket.

Needs a bed (``make bed-up``). Rounds are interleaved, every run gets a fresh bucket, and what arrived is counted.
Without options everything is measured, and the guide about speed is written.

    make bench
    python benchmarks/sync.py --corpus 64MB --only ours,rclone --rounds 1      # prints, and leaves the guide as it is
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Optional

import corpora
import report
import rst
from contenders import CONTENDERS, FETCH, LIST, OURS, RCLONE, SHORT, Task, claim
from measure import Failed, Run
from places import BED, Place, in_memory, seaweedfs
from report import AGAIN, Case, Results

GUIDE = Path(__file__).resolve().parent.parent / "docs/docsite/rst/guide_speed.rst"
FAST = ["ours", "boto3", "rclone", "s5cmd"]
EVERYONE = list(SHORT)
PEERS = [name for name in EVERYONE if SHORT[name] not in report.FLOORS]
HALVES = [name for name in EVERYONE if SHORT[name] in report.HALVES]
DIRECTORY = "directory of 100,000 files"
# Corpus, place, delay in milliseconds, and who takes part.
CASES = [
    ("20kB", "SeaweedFS", 0, EVERYONE),
    ("20kB", "in memory", 0, EVERYONE),
    ("20kB", "in memory", 20, FAST + HALVES),
    ("20kB", "SeaweedFS", 20, FAST),
    ("mixed", "in memory", 0, PEERS + HALVES),
    ("200kB", "in memory", 0, PEERS + HALVES),
    ("64MB", "in memory", 0, PEERS + HALVES),
    ("pictures", "SeaweedFS", 0, PEERS),
    ("pictures", "in memory", 0, PEERS),
    ("100k", "in memory", 0, ["ours"]),
    ("1M", "in memory", 0, ["ours"]),
    (DIRECTORY, "in memory", 0, []),
]
# One round of these takes minutes, and tells enough.
MANY = ("100k", "1M")
ARCHIVE = "hourly.tar.gz"


class Bench:
    """Runs contenders and keeps what they took."""

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self._options = options
        self._work = work
        self.results = Results()

    def chosen(self, names: list[str], number: int) -> list[str]:
        """Who takes part in a round."""
        only = self._options.only or names
        return [SHORT[name] for name in names if name in only and not (number and name in self._options.once)]

    def measure_case(self, place: Place, name: str, delay: int, names: list[str]) -> None:
        """All rounds of a case."""
        corpus = corpora.corpus(name)
        case = Case(name, place.name, delay)
        link = self._work / "tree"
        link.unlink(missing_ok=True)
        if "upload" in names:
            link.symlink_to(corpora.unpacked(corpus).parent)
        backups, catalog = place.bucket("backups"), place.bucket("catalog")
        place.client.upload_file(str(corpus.packed), backups, ARCHIVE)
        with place.far(delay) as endpoint:
            for number in range(1 if name in MANY else self._options.rounds):
                for who in self.chosen(names, number):
                    task = self.task(place, endpoint, f"s3://{backups}/{ARCHIVE}", catalog)
                    self.run(case, corpus.files, who, task, again=who in (OURS, RCLONE) and not delay)
        place.clear()

    def task(self, place: Place, endpoint: str, src: str, catalog: str) -> Task:
        """A copy into a bucket of its own."""
        task = Task(place, endpoint, src, place.bucket("images"), catalog, self._work, endpoint != place.endpoint)
        claim(task)
        return task

    def run(self, case: Case, files: int, who: str, task: Task, again: bool) -> None:
        """One run with a count of what arrived, and a second one where nothing changed."""
        arrived: Optional[int] = None
        try:
            self.note(case, files, who, CONTENDERS[who](task))
            if again:
                self.note(case, files, who + AGAIN, CONTENDERS[who](task))
            if again and who == OURS:
                self.note(case, files, LIST, CONTENDERS[LIST](task))
            arrived = task.place.remove(task.bucket)
            if who != FETCH and arrived != files:
                raise Failed(f"it brought {arrived} of {files} files")
        except Failed as error:
            print(f"{case}: {who} failed: {error}", file=sys.stderr, flush=True)
            self.results.failures.append(f"{case}: {who}")
            if arrived is None:
                task.place.remove(task.bucket)

    def note(self, case: Case, files: int, who: str, run: Run) -> None:
        """Keep a run, and say so."""
        self.results.add(case, files, who, run)
        print(f"{case}: {who}: {run.wall:.2f} s, CPU {run.cpu:.2f} s, {run.rss:.0f} MiB", file=sys.stderr, flush=True)

    def measure_directory(self, place: Place) -> None:
        """A directory of many small files: how long the second run takes, in which nothing changed."""
        corpus = corpora.corpus("100k")
        folder, catalog = corpora.unpacked(corpus), place.bucket("catalog")
        case = Case(DIRECTORY, place.name, 0)
        task = self.task(place, place.endpoint, str(folder), catalog)
        self.note(case, corpus.files, OURS, CONTENDERS[OURS](task))
        for _round in range(self._options.rounds):
            self.note(case, corpus.files, OURS + AGAIN, CONTENDERS[OURS](task))
        place.clear()

    def count_requests(self) -> None:
        """What 1,000 files cost in requests, and a second run of ours over 20,000."""
        place = seaweedfs(logged=True)
        for name, who in (("1k", self.chosen(PEERS, 0)), ("20kB", [OURS])):
            corpus = corpora.corpus(name)
            backups, catalog = place.bucket("backups"), place.bucket("catalog")
            place.client.upload_file(str(corpus.packed), backups, ARCHIVE)
            for contender in who:
                task = self.task(place, place.endpoint, f"s3://{backups}/{ARCHIVE}", catalog)
                first, again = self._requests(contender, task)
                if name == "1k":
                    self.results.requests[contender] = first
                else:
                    self.results.again_requests[contender + AGAIN] = again
            place.clear()

    def _requests(self, who: str, task: Task) -> tuple[int, int]:
        counts = []
        for _run in range(2):
            before = len(BED.requests())
            CONTENDERS[who](task)
            counts.append(len(BED.requests()) - before)
        return counts[0], counts[1]


@contextmanager
def place_called(name: str) -> Iterator[Place]:
    """One of the two stores, without what was made there when the block ends."""
    with ExitStack() as stack:
        place = seaweedfs() if name == "SeaweedFS" else stack.enter_context(in_memory())
        try:
            yield place
        finally:
            place.clear()


def words(text: str) -> list[str]:
    return text.split(",")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=words, help=f"who takes part: {','.join(SHORT)}")
    parser.add_argument("--corpus", type=words, help=f"what is copied: {','.join(corpora.NAMES)}")
    parser.add_argument("--place", choices=["SeaweedFS", "in memory"], help="where to; both by default")
    parser.add_argument("--delay", type=int, help="only cases that are so many milliseconds away")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--once", type=words, default=[], help="who is so slow that one round will do")
    return parser.parse_args()


def wanted(options: argparse.Namespace) -> Iterator[tuple[str, str, int, list[str]]]:
    """The cases that the options ask for; a corpus that no case has is copied to memory."""
    cases = CASES
    for name in options.corpus or []:
        if name not in [case[0] for case in CASES]:
            cases = [*cases, (name, "in memory", 0, PEERS)]
    for case in cases:
        corpus, place, delay, _names = case
        if (
            corpus in (options.corpus or [corpus])
            and place == (options.place or place)
            and delay == (delay if options.delay is None else options.delay)
        ):
            yield case


def machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}"


def page(results: Results) -> str:
    """What is printed, and written into the guide."""
    return "\n".join([
        f"Measured on {machine()}, client and server on the same machine.\n",
        report.targets_table(report.targets(results)),
        report.limits(results),
        report.table(results),
        report.requests_table(results),
    ])  # fmt: skip


def main() -> None:
    """Run, print, and write the guide when everything was measured."""
    options = parse()
    subset = bool(options.only or options.corpus or options.place or options.delay is not None)
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(options, Path(work))
        for name, place, delay, names in wanted(options):
            with place_called(place) as there:
                if name == DIRECTORY:
                    bench.measure_directory(there)
                else:
                    bench.measure_case(there, name, delay, names)
        if not subset:
            bench.count_requests()
    text = page(bench.results)
    print(text)
    if bench.results.failures:
        sys.exit("failed: " + "; ".join(bench.results.failures))
    if not subset:
        rst.write_between(GUIDE, "make bench", text)


if __name__ == "__main__":
    main()
