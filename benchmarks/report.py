# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From runs to a table, and to what was promised: P1 to P6."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Optional

import rst
from contenders import AWS, BOTO3, FETCH, OURS, PUT, RCLONE, S3_SYNC, S5CMD, UPLOAD, module_seconds
from measure import Run

AGAIN = ", nothing changed"
FLOORS = (FETCH, UPLOAD, PUT)


class Case(NamedTuple):
    """What was copied, to where, and how far away that is (ms)."""

    corpus: str
    place: str
    delay: int

    def __str__(self) -> str:
        return f"{self.corpus}, {self.place}" + (f", {self.delay} ms away" if self.delay else "")


WEED, MEMORY = Case("20kB", "SeaweedFS", 0), Case("20kB", "in memory", 0)


class Results:
    """All runs of a benchmark: by case and contender, with the number of files of each case."""

    def __init__(self) -> None:
        self.runs: dict[Case, dict[str, list[Run]]] = {}
        self.files: dict[Case, int] = {}
        self.failures: list[str] = []
        self.requests: dict[str, int] = {}
        self.again_requests: dict[str, int] = {}

    def add(self, case: Case, files: int, name: str, run: Run) -> None:
        """Note a run."""
        self.files[case] = files
        self.runs.setdefault(case, {}).setdefault(name, []).append(run)

    def best(self, case: Case, name: str) -> Optional[Run]:
        """The fastest run of a contender; None without one."""
        return min(self.runs.get(case, {}).get(name, []), key=lambda run: run.wall, default=None)

    def ratio(self, case: Case, name: str, against: str) -> Optional[float]:
        """How many times as long another took."""
        mine, theirs = self.best(case, name), self.best(case, against)
        return theirs.wall / mine.wall if mine and theirs else None


def table(results: Results) -> str:
    """Every case with its contenders: the best of the runs, and the largest memory of all."""
    head = ["What, and where", "By", "Runs", "Wall s", "Ratio", "CPU s", "CPU µs a file", "Peak MiB"]
    rows = []
    for case, runs in results.runs.items():
        for name, found in runs.items():
            best = min(found, key=lambda run: run.wall)
            against = OURS + AGAIN if name.endswith(AGAIN) else OURS
            ratio = results.ratio(case, against, name)
            rows.append([
                str(case), name, str(len(found)), f"{best.wall:.2f}", f"{ratio:.2f}" if ratio else "",
                f"{best.cpu:.1f}", f"{best.cpu / results.files[case] * 1e6:.0f}", f"{max(r.rss for r in found):.0f}",
            ])  # fmt: skip
    return rst.table(head, rows)


def requests_table(results: Results) -> str:
    """Requests for 1,000 new files of 20 kB, fetching the backup included."""
    rows = [[name, str(count)] for name, count in results.requests.items()]
    rows += [[f"{name} (20,000 files)", str(count)] for name, count in results.again_requests.items()]
    return rst.table(["By", "Requests"], rows)


class Target(NamedTuple):
    """``least``: a ratio that must be reached; else ``most``, a value that must not be exceeded."""

    number: str
    what: str
    value: Optional[float]
    bound: float
    least: bool = True

    @property
    def met(self) -> Optional[bool]:
        """None when it wasn't measured."""
        if self.value is None:
            return None
        return self.value >= self.bound if self.least else self.value <= self.bound


def targets(results: Results) -> list[Target]:
    """What was promised, and what was measured."""
    found = [
        *(
            Target("P1", f"SeaweedFS: times faster than {name}", results.ratio(WEED, OURS, name), bound)
            for name, bound in ((RCLONE, 1.5), (S5CMD, 2.5), (AWS, 5.0), (S3_SYNC, 8.0))
        ),
        Target("P1", "SeaweedFS: the module's own work, times the upload alone", own_work(results, WEED), 1.35, False),
        Target("P2", f"in memory: times faster than {RCLONE}", results.ratio(MEMORY, OURS, RCLONE), 3),
        Target("P2", f"in memory: times faster than {S3_SYNC}", results.ratio(MEMORY, OURS, S3_SYNC), 25),
        Target("P3", "20 ms away: times faster than rclone --transfers 128", far(results), 2),
        Target("P4", f"mixed: times faster than {RCLONE}", shape(results, "mixed", RCLONE), 3),
        Target("P4", f"200 kB files: times faster than {RCLONE}", shape(results, "200kB", RCLONE), 2.5),
        Target("P4", "64 MB files: times faster than the best peer", shape(results, "64MB", None), 2),
    ]
    return found + nothing_changed(results, WEED) + frugality(results)


def own_work(results: Results, case: Case) -> Optional[float]:
    ours, floor = (results.runs.get(case, {}).get(name) for name in (OURS, UPLOAD))
    if not ours or not floor:
        return None
    return min(map(module_seconds, ours)) / min(float(run.said) for run in floor)


def far(results: Results) -> Optional[float]:
    return results.ratio(Case("20kB", "in memory", 20), OURS, RCLONE)


def shape(results: Results, corpus: str, against: Optional[str]) -> Optional[float]:
    """Against one peer, or the best of all."""
    case = Case(corpus, "in memory", 0)
    if against:
        return results.ratio(case, OURS, against)
    peers = [name for name in results.runs.get(case, {}) if is_peer(name)]
    return min((ratio for name in peers if (ratio := results.ratio(case, OURS, name))), default=None)


def is_peer(name: str) -> bool:
    return name not in (OURS, BOTO3, *FLOORS) and not name.endswith(AGAIN)


def nothing_changed(results: Results, case: Case) -> list[Target]:
    again = results.runs.get(case, {}).get(OURS + AGAIN, [])
    seconds = min(map(module_seconds, again), default=None)
    return [
        Target("P5", "nothing changed: seconds of the module's own work", seconds, 0.7, False),
        Target(
            "P5",
            f"nothing changed: times faster than {RCLONE}",
            results.ratio(case, OURS + AGAIN, RCLONE + AGAIN),
            6,
        ),
    ]


def frugality(results: Results) -> list[Target]:
    ours = [(case, run) for case, runs in results.runs.items() for run in runs.get(OURS, [])]
    each = {case.corpus: run.cpu / results.files[case] * 1e6 for case, run in ours}
    grown = each["1M"] / each["100k"] if {"1M", "100k"} <= each.keys() else None
    small = [run.cpu / results.files[case] * 1e6 for case, run in ours if case.corpus == "20kB"]
    return [
        Target("P6", "µs of CPU a file of 20 kB, start-up included", min(small, default=None), 140, False),
        Target("P6", "1,000,000 files: CPU a file, times that of 100,000 files", grown, 1.2, False),
        Target("P6", "MiB at most, on every corpus", max((run.rss for _case, run in ours), default=None), 200, False),
    ]


def limits(results: Results) -> str:
    """What the least costs by itself: no way that uses these parts can go below."""
    each = {
        name: run.cpu / results.files[MEMORY] * 1e6
        for name in (OURS, *FLOORS)
        if (run := results.best(MEMORY, name)) is not None
    }
    if len(each) < 1 + len(FLOORS):
        return ""
    ours, put, fetch = (f"{each[name]:.0f}" for name in (OURS, PUT, FETCH))
    return (
        f"What limits P2 and P6: of the {ours} µs of CPU that {OURS} takes for a file of 20 kB, obstore's put takes "
        f"{put} by itself, from memory and with nothing else to do, and to fetch and inflate takes {fetch} (each with "
        "the start of a process). What is left is the tar, MD5, decisions, the journal, the listing that confirms, and "
        "the manifest.\n"
    )


def targets_table(found: Iterable[Target]) -> str:
    """Each promise with what was measured."""
    rows = []
    for target in found:
        value = "not measured" if target.value is None else f"{target.value:.2f}"
        met = {True: "met", False: "**not met**", None: ""}[target.met]
        rows.append([target.number, target.what, f"{'≥' if target.least else '≤'} {target.bound:g}", value, met])
    return rst.table(["", "What", "Target", "Measured", ""], rows)
