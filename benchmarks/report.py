# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From runs to a table, and to what was promised: P1 to P6."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Optional

import rst
from contenders import AWS, BOTO3, FETCH, LIST, OURS, PUT, RCLONE, S3_SYNC, S5CMD, UPLOAD, module_seconds
from measure import Run

AGAIN = ", nothing changed"
HALVES = (FETCH, UPLOAD)
FLOORS = (*HALVES, PUT, LIST)


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

    def allowed(self, case: Case, against: str) -> Optional[float]:
        """How many times as long another took as the longer half of the work alone; None where no half was run."""
        ratios = [ratio for half in HALVES if (ratio := self.ratio(case, half, against)) is not None]
        return min(ratios, default=None)

    def in_turn(self, case: Case, against: str) -> Optional[float]:
        """How many times as long another took as both halves of the work in turn; None where one was not run."""
        walls = [run.wall for half in HALVES if (run := self.best(case, half))]
        theirs = self.best(case, against)
        return theirs.wall / sum(walls) if theirs and len(walls) == len(HALVES) else None


def table(results: Results) -> str:
    """Every case with its contenders: the best of the runs, and the largest memory of all."""
    head = ["What, and where", "By", "Runs", "Wall s", "Ratio", "CPU s", "CPU µs a file", "Peak MiB"]
    rows = []
    for case, runs in results.runs.items():
        for name, found in runs.items():
            best = min(found, key=lambda run: run.wall)
            against = OURS + AGAIN if name.endswith(AGAIN) or name == LIST else OURS
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
    """``least``: a ratio that must be reached; else a value that must not be exceeded. ``allowed``: what a run of the
    floor alone would have, the best that there can be. ``in_turn``: what both floors would have, one after the other.
    """

    number: str
    what: str
    value: Optional[float]
    bound: float
    least: bool = True
    allowed: Optional[float] = None
    in_turn: Optional[float] = None

    @property
    def met(self) -> Optional[bool]:
        """None when it wasn't measured."""
        if self.value is None:
            return None
        return self.value >= self.bound if self.least else self.value <= self.bound


def targets(results: Results) -> list[Target]:
    """What was promised, and what was measured."""

    def faster(number: str, where: str, case: Case, name: str, bound: float, *, called: str = "") -> Target:
        title, ratio = f"{where}: times faster than {called or name}", results.ratio(case, OURS, name)
        return Target(number, title, ratio, bound, True, results.allowed(case, name), results.in_turn(case, name))

    large = Case("64MB", "in memory", 0)

    return [
        *(faster("P1", "SeaweedFS", WEED, *goal) for goal in ((RCLONE, 1.5), (S5CMD, 2.5), (AWS, 5.0), (S3_SYNC, 8.0))),
        Target(
            "P1", "SeaweedFS: the module's own work, times the upload alone", own_work(results, WEED), 1.35, False, 1
        ),
        *(faster("P2", "in memory", MEMORY, *goal) for goal in ((RCLONE, 3), (S3_SYNC, 25))),
        faster("P3", "20 ms away", Case("20kB", "in memory", 20), RCLONE, 2, called="rclone --transfers 128"),
        faster("P4", "mixed", Case("mixed", "in memory", 0), RCLONE, 3),
        faster("P4", "200 kB files", Case("200kB", "in memory", 0), RCLONE, 2.5),
        faster("P4", "64 MB files", large, best_peer(results, large), 2, called="the best peer"),
        *nothing_changed(results, WEED),
        *frugality(results),
    ]


def own_work(results: Results, case: Case) -> Optional[float]:
    ours, floor = results.runs.get(case, {}).get(OURS), said_seconds(results, case, UPLOAD)
    return min(map(module_seconds, ours)) / floor if ours and floor else None


def said_seconds(results: Results, case: Case, floor: str) -> Optional[float]:
    """The least that a floor says it took, without the start of its process; None without a run."""
    return min((float(run.said) for run in results.runs.get(case, {}).get(floor, [])), default=None)


def best_peer(results: Results, case: Case) -> str:
    """Who is fastest of all others; rclone when nobody else was run."""
    walls = {
        name: run.wall for name in results.runs.get(case, {}) if is_peer(name) and (run := results.best(case, name))
    }
    return min(walls, key=walls.__getitem__, default=RCLONE)


def is_peer(name: str) -> bool:
    return name not in (OURS, BOTO3, *FLOORS) and not name.endswith(AGAIN)


def nothing_changed(results: Results, case: Case) -> list[Target]:
    again = results.runs.get(case, {}).get(OURS + AGAIN, [])
    seconds = min(map(module_seconds, again), default=None)
    listed = said_seconds(results, case, LIST)
    return [
        Target("P5", "nothing changed: seconds of the module's own work", seconds, 0.7, False, listed),
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
    """What the least costs by itself, and how far from it we are."""
    return "\n".join(text for text in (_limits_of_time(results), _limits_of_cpu(results)) if text)


def _limits_of_time(results: Results) -> str:
    shares = [f"{ours:.2f} ({case})" for case in results.runs if (ours := results.in_turn(case, OURS)) is not None]
    if not shares:
        return ""
    return (
        f"What limits P1 to P4: {OURS} takes so many times as long as both floors in turn: {', '.join(shares)}. Less "
        "than 1 needs cores that are free for one while the other and the store are at work.\n"
    )


def _limits_of_cpu(results: Results) -> str:
    runs = [run for name in (OURS, PUT, FETCH) if (run := results.best(MEMORY, name))]
    if len(runs) < 3:
        return ""
    ours, put, fetch = (f"{run.cpu / results.files[MEMORY] * 1e6:.0f}" for run in runs)
    return (
        f"What limits P6: of the {ours} µs of CPU that {OURS} takes for a file of 20 kB, obstore's put takes "
        f"{put} by itself, from memory and with nothing else to do, and to fetch and inflate takes {fetch} (each with "
        "the start of a process). What is left is the tar, MD5, decisions, the journal, the listing that confirms, and "
        "the manifest.\n"
    )


def targets_table(found: Iterable[Target]) -> str:
    """Each promise with what was measured."""
    rows = []
    for target in found:
        value = "not measured" if target.value is None else f"{target.value:.2f}"
        floors = ["" if floor is None else f"{floor:.2f}" for floor in (target.allowed, target.in_turn)]
        met = {True: "met", False: "**not met**", None: ""}[target.met]
        bound = f"{'≥' if target.least else '≤'} {target.bound:g}"
        rows.append([target.number, target.what, bound, value, *floors, met])
    return rst.table(["", "What", "Target", "Measured", "The floor alone", "Both floors in turn", ""], rows)
