# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back: from the buckets to local files. Plan, look whether there is room, move aside, write, check."""

from __future__ import annotations

import datetime
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ._backup import SourceError, parse_time
from ._catalog import Catalog
from ._crew import Crew
from ._download import Object, known_digest
from ._large import content_of
from ._members import LINK_SUFFIX, link_problem
from ._names import within
from ._progress import Amount, Count, Work, on_file, told
from ._store import Listed, Store, StoreError
from ._tally import KEYS_SHOWN, sample
from ._tree import Attributes, Tree, is_leftover, path_problem
from ._union import Union
from ._upload import MIB, SMALL_MAX, Raced, md5, part_size

BUDGET = 32 * MIB
SHOWN = 10
# Room that is to be left on the disk, and what a file takes besides its bytes.
SPARE = 32 * MIB
BLOCK = 4096
ACTIONS = ("fetched", "replaced", "unchanged", "aside")


class Errand(NamedTuple):
    """What is to be fetched; the module's options, checked. ``uid`` and ``gid`` are for objects that don't say.

    ``only``: directories that it is about, all when empty; ``without``: directories that it isn't about.
    """

    dest: str
    buckets: tuple[str, ...]
    site: str
    directory: str
    catalog: str
    symlinks: str
    aside: str
    uid: int
    gid: int
    workers: int
    check: bool
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    progress_file: str = ""

    def concerns(self, path: str) -> bool:
        """Whether the errand is about a path."""
        chosen = not self.only or any(within(path, directory) for directory in self.only)
        return chosen and not any(within(path, directory) for directory in self.without)


class Wish(NamedTuple):
    """What should be at a path: a file, a link (kept as NAME.rclonelink) or a directory (kept as a marker)."""

    path: str
    kind: str
    listed: Listed


class Plan(NamedTuple):
    """What there is to do. ``extra`` are paths that the bucket doesn't have."""

    fetch: list[Wish]
    replace: list[Wish]
    directories: list[Wish]
    unchanged: list[Wish]
    extra: list[str]
    leftovers: list[str]
    extra_bytes: int


def wishes(there: Mapping[str, Listed], symlinks: str) -> list[Wish]:
    """Pure: what the objects of a bucket should become. Raises SourceError for keys that can't be paths."""
    found: dict[str, Wish] = {}
    problems = []
    for key, listed in there.items():
        wish = _wish(key, listed, symlinks)
        problem = path_problem(wish.path)
        if problem:
            problems.append(f"{key!r} {problem}")
        elif wish.path in found:
            problems.append(f"{key!r} and {found[wish.path].listed.key!r} would be the same file")
        found.setdefault(wish.path, wish)
    for path, wish in found.items():
        above = _first_file_above(path, found)
        if above:
            problems.append(f"{wish.listed.key!r} lies in {above!r}, which is a file")
    if problems:
        shown = "; ".join(sorted(problems)[:SHOWN])
        raise SourceError(f"{len(problems)} object(s) of the bucket can't be files: {shown}; rename them there")
    return sorted(found.values())


def _wish(key: str, listed: Listed, symlinks: str) -> Wish:
    if key.endswith("/"):
        return Wish(key[:-1], "directory", listed)
    if symlinks == "rclonelink" and key.endswith(LINK_SUFFIX):
        return Wish(key[: -len(LINK_SUFFIX)], "link", listed)
    return Wish(key, "file", listed)


def _first_file_above(path: str, found: dict[str, Wish]) -> str:
    above = path.rpartition("/")[0]
    while above:
        if above in found and found[above].kind != "directory":
            return above
        above = above.rpartition("/")[0]
    return ""


def run(errand: Errand, store: Store, warn: Callable[[str], None]) -> dict[str, Any]:
    """Do it. Raises SourceError and StoreError; every file is then as it was, or as the bucket has it."""
    started, work = time.monotonic(), Work()
    with told(on_file(work, errand.progress_file)):
        result = _run(errand, store, warn, work)
    return {**result, "seconds": round(time.monotonic() - started, 3)}


def _run(errand: Errand, store: Store, warn: Callable[[str], None], work: Work) -> dict[str, Any]:
    union = Union(Catalog(store, errand.catalog), errand.buckets, errand.site, errand.directory)
    wanted = [wish for wish in wishes(union.there, errand.symlinks) if errand.concerns(wish.path)]
    tree = _open_dest(errand)
    crew = Crew(errand.workers, BUDGET)
    try:
        plan = _plan(errand, tree, wanted, union, crew, work=work)
        _check_aside(errand, plan)
        if tree is not None:
            _check_room(tree, plan)
        if tree is not None and not errand.check:
            _Fetch(errand, tree, union, crew).run(plan, work)
    finally:
        crew.end()
        if tree is not None:
            tree.close()
    if union.twins:
        warn(union.twins)
    return {**_result(plan, errand, union), "engine": union.engine}


def _open_dest(errand: Errand) -> Tree | None:
    """The destination; None in check mode when it doesn't exist."""
    dest = Path(errand.dest)
    try:
        if not dest.exists():
            if errand.check:
                return None
            dest.mkdir(parents=True)
            os.chown(dest, errand.uid, errand.gid)
        return Tree(dest)
    except OSError as error:
        raise SourceError(f"dest {errand.dest!r} can't be used: {error.strerror}")


# plan


def _plan(errand: Errand, tree: Tree | None, wanted: list[Wish], union: Union, crew: Crew, *, work: Work) -> Plan:
    plan = Plan([], [], [], [], [], [], 0)
    if tree is None:
        directories = [wish for wish in wanted if wish.kind == "directory"]
        return plan._replace(fetch=[wish for wish in wanted if wish.kind != "directory"], directories=directories)

    looked = Count()
    work.go_on("comparing", looked.amount, Amount(len(wanted), _size(wanted)))

    def look(wish: Wish) -> None:
        status = tree.status(wish.path)
        if wish.kind == "directory":
            (plan.unchanged if status and stat.S_ISDIR(status.st_mode) else plan.directories).append(wish)
        elif status is None or stat.S_ISDIR(status.st_mode):
            plan.fetch.append(wish)
        else:
            (plan.unchanged if _is_there(tree, wish, status, union) else plan.replace).append(wish)
        looked.add(wish.listed.size)

    for wish in wanted:
        crew.give(look, wish)
    crew.wait()
    paths = {wish.path for wish in wanted}
    size = 0
    for path, status in tree.walk():
        if stat.S_ISDIR(status.st_mode) or path in paths or not errand.concerns(path):
            continue
        (plan.leftovers if is_leftover(path) else plan.extra).append(path)
        size += status.st_size
    for part in (plan.fetch, plan.replace, plan.directories, plan.unchanged):
        part.sort()
    return plan._replace(extra_bytes=size)


def _is_there(tree: Tree, wish: Wish, status: os.stat_result, union: Union) -> bool:
    """Whether a path already is what the bucket has."""
    listed = wish.listed
    digest = known_digest(listed, union.entries.get(listed.key))
    if stat.S_ISLNK(status.st_mode):
        # As NAME.rclonelink or as an object of its own: the content is the target.
        return len(tree.target(wish.path)) == listed.size and md5(tree.target(wish.path)) == digest
    if wish.kind == "link":
        return False
    same = tree.holds(wish.path, listed.size, digest or listed.etag)
    if same is None:
        same = tree.digest(wish.path, listed.size) == union.of(listed.key).digest(listed)
    return same


def _check_aside(errand: Errand, plan: Plan) -> None:
    if plan.extra and not errand.aside:
        shown = ", ".join(repr(path) for path in plan.extra[:SHOWN])
        raise SourceError(
            f"dest {errand.dest!r} has {len(plan.extra)} file(s) that the bucket has lost or never had: {shown}; "
            "set aside to a directory that they may be moved to"
        )
    if errand.aside:
        dest, aside = Path(errand.dest).resolve(), Path(errand.aside).resolve()
        if aside == dest or dest in aside.parents or aside in dest.parents:
            raise SourceError(f"aside {errand.aside!r} must lie outside of dest {errand.dest!r}")


def _check_room(tree: Tree, plan: Plan) -> None:
    """Before anything is written: whether it fits."""
    coming = plan.fetch + plan.replace
    needed = sum(-(-wish.listed.size // BLOCK) * BLOCK for wish in coming) + BLOCK * len(coming)
    free, inodes = tree.space()
    if coming and needed + SPARE > free:
        raise SourceError(
            f"dest {str(tree.top)!r} has no room: {needed} bytes are needed (and {SPARE} to spare), {free} are free; "
            "make room and run again. Nothing was written."
        )
    if inodes is not None and len(coming) > inodes:
        raise SourceError(f"dest {str(tree.top)!r} has no room: {len(coming)} inodes are needed, {inodes} are free")


# apply


class _Fetch:
    """Carries a plan out."""

    def __init__(self, errand: Errand, tree: Tree, union: Union, crew: Crew) -> None:
        self._errand, self._tree, self._union, self._crew = errand, tree, union, crew
        self._count = Count()

    def run(self, plan: Plan, work: Work) -> None:
        coming = plan.fetch + plan.replace
        work.go_on("fetching", self._count.amount, Amount(len(coming), _size(coming)))
        for path in plan.leftovers:
            self._tree.remove(path)
        self._move_aside(plan)
        for wish in coming:
            cost = min(wish.listed.size, SMALL_MAX) + 1024
            self._crew.claim(cost)
            self._crew.give(self._one, wish, cost)
        self._crew.wait()
        for wish in plan.directories:
            metadata = {"mode": str(0o755), **self._get(wish.listed).metadata}
            self._tree.directory(wish.path, self._attributes(metadata, wish.listed))
        if plan.fetch or plan.replace or plan.extra:
            self._tree.flush()

    def _move_aside(self, plan: Plan) -> None:
        """What the bucket lacks, and directories that stand where it has files."""
        if plan.extra:
            top = Path(self._errand.aside)
            top.mkdir(parents=True, exist_ok=True, mode=0o700)
            aside = Tree(top)
            try:
                for path in plan.extra:
                    self._tree.move(path, aside, path)
            finally:
                aside.close()
        files = {wish.path for wish in plan.fetch}
        for path, status in list(self._tree.walk()):
            if stat.S_ISDIR(status.st_mode) and _is_at_or_below(path, files):
                self._tree.remove_directory(path)

    def _one(self, wish: Wish, cost: int) -> None:
        listed = wish.listed
        for _attempt in range(5):
            try:
                self._put(wish._replace(listed=listed))
                break
            except Raced:
                listed = self._again(wish)
        else:
            raise StoreError(f"{wish.listed.key!r} changes whenever it is read", "conflict")
        self._count.add(wish.listed.size)
        self._crew.free(cost)

    def _again(self, wish: Wish) -> Listed:
        """The newest version of an object that was changed while it was read."""
        listed = self._union.look_again(wish.listed.key)
        if listed is None:
            raise StoreError(f"{wish.listed.key!r} was deleted meanwhile: run again", "conflict")
        return listed

    def _get(self, listed: Listed, start: int = 0, end: int | None = None) -> Object:
        return self._union.of(listed.key).get(listed, start, end)

    def _put(self, wish: Wish) -> None:
        listed = wish.listed
        if listed.size > SMALL_MAX:
            self._put_large(wish)
            return
        body, metadata = self._get(listed)
        self._confirm(listed, md5(body))
        attributes = self._attributes(metadata, listed)
        if wish.kind == "link" or stat.S_ISLNK(_number(metadata.get("mode"))):
            problem = link_problem(wish.path, body)
            if problem:
                raise SourceError(f"object {listed.key!r} is a symbolic link to {body!r}, {problem}")
            self._tree.link(wish.path, body, attributes)
        else:
            self._tree.write(wish.path, [body], attributes)

    def _put_large(self, wish: Wish) -> None:
        listed, step = wish.listed, part_size(wish.listed.size)
        metadata: dict[str, str] = dict(self._get(listed, 0, 1).metadata)
        digests: list[str] = []

        def parts() -> Iterator[bytes]:
            for start in range(0, listed.size, step):
                body = self._get(listed, start, min(start + step, listed.size)).body
                digests.append(md5(body))
                yield body
            self._confirm(listed, content_of(digests).digest)

        self._tree.write(wish.path, parts(), self._attributes(metadata, listed))

    def _confirm(self, listed: Listed, digest: str) -> None:
        """Compare what was read with what the store or the manifest says, where either tells."""
        expected = known_digest(listed, self._union.entries.get(listed.key))
        downloader = self._union.of(listed.key)
        if expected and expected != digest and downloader.tells_md5(listed):
            raise StoreError(
                f"{downloader.bucket}/{listed.key} arrives with other bytes than the store says that it has "
                f"(MD5 {digest}, not {expected}): its disk or the network damages data"
            )

    def _attributes(self, metadata: dict[str, str], listed: Listed) -> Attributes:
        mode = _number(metadata.get("mode"))
        return Attributes(
            stat.S_IMODE(mode) & 0o777 or 0o644,
            _number(metadata.get("uid"), self._errand.uid),
            _number(metadata.get("gid"), self._errand.gid),
            _seconds(metadata.get("mtime"), listed),
        )


def _is_at_or_below(path: str, files: set[str]) -> bool:
    """Whether a directory stands where a file should be, or in one that does."""
    while path and path not in files:
        path = path.rpartition("/")[0]
    return bool(path)


def _number(text: str | None, otherwise: int = 0) -> int:
    try:
        return int(text) if text else otherwise
    except ValueError:
        return otherwise


def _seconds(text: str | None, listed: Listed) -> float:
    """mtime as s3fs and we write it (whole seconds) or as rclone does; else when the object was written."""
    try:
        return float(text) if text else _epoch(listed.mtime)
    except ValueError:
        return _epoch(listed.mtime)


def _epoch(text: str) -> float:
    return datetime.datetime.strptime(parse_time(text), "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def _result(plan: Plan, errand: Errand, union: Union) -> dict[str, Any]:
    parts = {"fetched": plan.fetch + plan.directories, "replaced": plan.replace, "unchanged": plan.unchanged}
    summary = {name: {"count": len(part), "bytes": _size(part)} for name, part in parts.items()}
    summary["aside"] = {"count": len(plan.extra), "bytes": plan.extra_bytes}
    after = [f"{wish.path} (fetched)" for wish in parts["fetched"]] + [f"{w.path} (replaced)" for w in plan.replace]
    before = [f"{wish.path}" for wish in plan.replace] + [f"{path} (to aside)" for path in plan.extra]
    return {
        "changed": bool(plan.fetch or plan.directories or plan.replace or plan.extra),
        "summary": summary,
        "diff": {
            "before": _lines(before),
            "after": _lines(after),
            "before_header": errand.dest,
            "after_header": errand.dest,
        },
        "sample": sample(union.there.values()),
    }


def _size(part: list[Wish]) -> int:
    return sum(wish.listed.size for wish in part)


def _lines(lines: list[str]) -> str:
    shown = lines[:KEYS_SHOWN]
    if len(lines) > len(shown):
        shown.append(f"… and {len(lines) - len(shown)} more")
    return "".join(f"{line}\n" for line in shown)
