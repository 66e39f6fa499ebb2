# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that modules share, the work that they ask for, and how a module ends."""

from __future__ import annotations

import grp
import platform
import pwd
from collections.abc import Callable
from typing import Any

from ._backup import SourceError, parse_time
from ._backups import KEEP
from ._compare import Question
from ._copy import Move
from ._fetch import Errand
from ._inflate import Limits
from ._scene import Job
from ._shard import parse_shard
from ._store import StoreError
from ._tree import path_problem

WORKERS_MAX = 256
# The doc fragments owner.py, buckets.py, period.py, progress.py and source.py say what these mean.
OWNER: dict[str, Any] = {name: {"type": "str", "required": True} for name in ("site", "directory", "catalog")}
BUCKETS: dict[str, Any] = {
    "buckets": {"type": "list", "elements": "str", "required": True, "aliases": ["bucket"]},
    **OWNER,
}
PROGRESS: dict[str, Any] = {"progress_file": {"type": "path"}}
PERIOD: dict[str, Any] = {"period": {"type": "str", "choices": list(KEEP)}, "before": {"type": "str"}}
SYMLINKS: dict[str, Any] = {"type": "str", "choices": ["rclonelink", "object", "refuse"], "default": "rclonelink"}
TARGET: dict[str, Any] = {
    **BUCKETS,
    "src": {"type": "str", "required": True},
    "src_password": {"type": "str", "no_log": True},
    "archive_path": {"type": "str", "default": ""},
    "symlinks": SYMLINKS,
    "max_unpacked": {"type": "int", "default": 1 << 40},
    "max_ratio": {"type": "int", "default": 200},
}


def answer(module: Any, work: Callable[[], dict[str, Any]]) -> None:
    """End a module with the result of its work, or with the error and its kind."""
    try:
        result = work()
    except (SourceError, StoreError) as error:
        module.fail_json(msg=str(error), kind=error.kind, **({"summary": error.summary} if error.summary else {}))
    module.exit_json(**result)


def before_from(module: Any) -> str:
    """The point in time that a module's options ask for, as format_time() writes it, or "". Raises SourceError."""
    given = module.params["before"]
    return parse_time(given) if given else ""


def check_workers(workers: int | None) -> None:
    """Raise SourceError for a number of workers that makes no sense; None leaves it to the module."""
    if workers is not None and not 1 <= workers <= WORKERS_MAX:
        raise SourceError(f"workers must be 1 to {WORKERS_MAX}, not {workers}")


def _common(params: dict[str, Any]) -> dict[str, Any]:
    """What every module that works on the buckets of a directory is asked. Raises SourceError."""
    check_workers(params["workers"])
    names = ("workers", *OWNER)
    return {
        "buckets": _buckets("buckets", params["buckets"]),
        "progress_file": params["progress_file"] or "",
        **{name: params[name] for name in names},
    }


def _buckets(option: str, names: list[str]) -> tuple[str, ...]:
    if not names or "" in names:
        raise SourceError(f"{option} must name the bucket of the directory, or all of them")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise SourceError(f"{option} names {twice} twice")
    return tuple(names)


def question_from(module: Any) -> Question:
    """The comparison that a module's options ask for. Raises SourceError for values that make no sense."""
    params = module.params
    return Question(
        **_common(params),
        **{name: params[name] for name in ("src", "archive_path", "symlinks", "accept_history", "accept_kept")},
        src_password=params["src_password"] or "",
        limits=Limits(params["max_unpacked"], params["max_ratio"]),
        read=params["digest"] == "read",
    )


def job_from(module: Any) -> Job:
    """The sync that a module's options ask for. Raises SourceError for values that make no sense."""
    params = module.params
    given = params["backup_time"]
    return Job(
        **_common(params),
        **{name: params[name] for name in ("src", "archive_path", "symlinks", "on_conflict", "prune", "read_all")},
        src_password=params["src_password"] or "",
        backup_time=parse_time(given) if given else "",
        host_label=params["host_label"] or platform.node(),
        shard=parse_shard(params["shard"] or ""),
        limits=Limits(params["max_unpacked"], params["max_ratio"]),
        check=module.check_mode,
    )


def errand_from(module: Any) -> Errand:
    """The fetch that a module's options ask for. Raises SourceError for values that make no sense."""
    params = module.params
    return Errand(
        **_common(params),
        dest=params["dest"],
        symlinks=params["symlinks"],
        aside=params["aside"] or "",
        uid=_number("owner", params["owner"], lambda name: pwd.getpwnam(name).pw_uid),
        gid=_number("group", params["group"], lambda name: grp.getgrnam(name).gr_gid),
        check=module.check_mode,
        only=_below("only", params["only"]),
        without=_below("without", params["without"]),
    )


def _below(option: str, paths: list[str]) -> tuple[str, ...]:
    """Directories below another one, without slashes at their ends. Raises SourceError."""
    for path in paths:
        problem = path_problem(path.rstrip("/"))
        if problem:
            raise SourceError(f"{option} has {path!r}, which {problem}; name directories such as wp-content/themes")
    return tuple(path.rstrip("/") for path in paths)


def move_from(module: Any) -> Move:
    """The copy that a module's options ask for. Raises SourceError for values that make no sense."""
    params = module.params
    move = Move(
        **_common(params), from_buckets=_buckets("from_buckets", params["from_buckets"]), check=module.check_mode
    )
    both = next((name for name in move.buckets if name in move.from_buckets), None)
    if both:
        raise SourceError(f"{both} is in from_buckets and in buckets: a bucket can't be copied into itself")
    return move


def _number(option: str, value: str, look_up: Callable[[str], int]) -> int:
    try:
        return int(value) if value.isdigit() else look_up(value)
    except KeyError:
        raise SourceError(f"{option} {value!r} doesn't exist on this host")
