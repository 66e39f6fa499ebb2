# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known about applications, read on the controller from their profiles. Names no application but ``none``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._tables import TABLES, TableError, read_tables

PROFILES = TABLES / "applications"
NONE = "none"

_TOP = "__asset_mount_application"


@dataclass(frozen=True)
class Upload:
    """Files that an application makes: ``pattern`` matches their whole path, from the webroot or absolute."""

    what: str
    pattern: re.Pattern[str]
    example: str


@dataclass(frozen=True)
class OffloadPlugin:
    """A plugin that keeps uploads in an object store, and its directory below the webroot."""

    title: str
    path: str


@dataclass(frozen=True)
class Application:
    """A profile. Paths are relative to the webroot; those of ``asset_directories`` may also be absolute.

    ``asset_directories``: where its users' uploads are. ``local_directories``: sessions, caches, temporary files and
    logs, which each webserver has its own of. ``code_directories``: what changes only when the application is deployed
    or updated. ``appends``: files or directories below which the application adds to files that are there.
    """

    name: str
    title: str
    asset_directories: tuple[str, ...]
    uploads: tuple[Upload, ...]
    local_directories: tuple[str, ...]
    code_directories: tuple[str, ...]
    appends: tuple[str, ...]
    offload_plugins: tuple[OffloadPlugin, ...]


def load_applications(directory: Path = PROFILES) -> dict[str, Application]:
    """All profiles by name. TableError when one is wrong or there is none for ``none``."""
    applications = {profile.name: profile for profile in read_tables(directory, _TOP, _application)}
    if NONE not in applications:
        raise TableError(f"{directory} has no profile of the name {NONE}")
    return applications


def _application(entry: Any) -> Application:
    unknown = set(entry) - set(Application.__dataclass_fields__)
    if unknown:
        raise ValueError(f"nobody knows {', '.join(sorted(unknown))}")
    return Application(
        name=_text(entry["name"]),
        title=_text(entry["title"]),
        asset_directories=_paths(entry["asset_directories"], absolute=True),
        uploads=tuple(
            Upload(_text(upload["what"]), re.compile(_text(upload["pattern"])), _text(upload["example"]))
            for upload in entry["uploads"]
        ),
        local_directories=_paths(entry["local_directories"]),
        code_directories=_paths(entry["code_directories"]),
        appends=_paths(entry["appends"]),
        offload_plugins=tuple(
            OffloadPlugin(_text(plugin["title"]), _path(plugin["path"])) for plugin in entry["offload_plugins"]
        ),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a text")
    return value


def _paths(values: Any, absolute: bool = False) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise ValueError(f"{values!r} is not a list of paths")
    return tuple(_path(value, absolute) for value in values)


def _path(value: Any, absolute: bool = False) -> str:
    path = _text(value)
    if {"", ".", ".."} & set((path[1:] if absolute and path.startswith("/") else path).split("/")):
        raise ValueError(f"{path!r} is not a plain path below the webroot")
    return path
