# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of facts that roles and planning share: YAML files with one entry each. Only the controller reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

TABLES = Path(__file__).resolve().parents[2] / "roles" / "asset_mount" / "vars"

_Row = TypeVar("_Row")


class TableError(Exception):
    """A table is missing or wrong: a mistake in the collection or in a table that somebody added."""


def read_tables(directory: Path, top: str, make: Callable[[Any], _Row]) -> list[_Row]:
    """What ``make`` makes of the entry ``top`` of each ``*.yml`` in a directory, in the order of their names.

    ``make`` raises KeyError, TypeError, AttributeError, ValueError or re.error for what is wrong with an entry.
    TableError, which names the file, when a table can't be read or is wrong.
    """
    rows = []
    for table in sorted(directory.glob("*.yml")):
        content = _content(table)
        if not isinstance(content, dict) or list(content) != [top]:
            raise TableError(f"the table {table} needs {top}, and nothing beside it")
        try:
            rows.append(make(content[top]))
        except (KeyError, TypeError, AttributeError, ValueError, re.error) as error:
            raise TableError(f"the table {table} is wrong: {error!r}") from error
    return rows


def _content(table: Path) -> Any:
    # Modules that share this package must not need PyYAML.
    import yaml

    try:
        return yaml.safe_load(table.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise TableError(f"the table {table} cannot be read: {error}") from error
