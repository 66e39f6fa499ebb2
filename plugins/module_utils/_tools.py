# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan has to know about mount tools, read on the controller from the role's tool tables. Names no tool."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from ._tables import TABLES, TableError, read_tables
from ._template import Problem

TOOLS = TABLES / "tools"
INSTALL_WORDS = ("repo", "binary", "source", "script")

_TOP = "__asset_mount_tool"
_MOUNT_TOOL = re.compile(r"\s*DATASTOREMOUNTTOOL:([^:#\s]+)(?::([^:#\s]*))?\s*(?:#.*)?")


@dataclass(frozen=True)
class Tool:
    """The part of a tool table that planning needs.

    ``capabilities``: what a plan may ask for, ``yes``, ``warn`` or ``no``; ``capability_notes``: why, or what it costs,
    for messages. ``operations``: what programs can do with
    files, ``yes``, ``refused`` (with an error) or ``ignored`` (without), as tests/tools/probe.py measures it.
    ``buildstyles_words``: how it can be installed, in the words of ``buildstyles.dat``.
    """

    name: str
    default: bool
    buildstyles_names: tuple[str, ...]
    buildstyles_words: tuple[str, ...]
    capabilities: dict[str, str]
    operations: dict[str, str]
    capability_notes: dict[str, str] = field(default_factory=dict)

    def can(self, capability: str) -> str:
        """``yes``, ``warn`` or ``no``; what a table doesn't say is ``no``."""
        return self.capabilities.get(capability, "no")

    def lacks(self, operations: Iterable[str]) -> list[str]:
        """Those of some operations that don't work."""
        return [name for name in operations if self.operations.get(name) != "yes"]


@dataclass(frozen=True)
class BuildStyle:
    """The mount tool that a ``buildstyles.dat`` names, and the word with which it says how that is installed."""

    tool: str
    install: Optional[str]
    line: int


def load_tools(directory: Path = TOOLS) -> dict[str, Tool]:
    """All tools by name, from ``*.yml`` in a directory. TableError when a table is wrong or none is the default."""
    tools = {tool.name: tool for tool in read_tables(directory, _TOP, _tool)}
    if sum(tool.default for tool in tools.values()) != 1:
        raise TableError(f"exactly one tool table in {directory} must have 'default: true'")
    return tools


def _tool(entry: Any) -> Tool:
    capabilities, operations = (
        {str(name): _word(value) for name, value in entry[part].items()} for part in ("capabilities", "operations")
    )
    names = tuple(str(name) for name in entry["buildstyles_names"])
    methods = entry["buildstyles_methods"].items()
    words = tuple(word for word, method in methods if word in INSTALL_WORDS and method in entry["install_methods"])
    if len(words) != len(methods):
        raise ValueError("buildstyles_methods map no word to a method")
    notes = {str(name): str(text) for name, text in entry.get("capability_notes", {}).items()}
    return Tool(str(entry["name"]), bool(entry.get("default", False)), names, words, capabilities, operations, notes)


def _word(value: Any) -> str:
    """YAML reads a bare ``yes`` or ``no`` as a boolean."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def read_buildstyles(data: bytes, file: str) -> tuple[Optional[BuildStyle], list[Problem]]:
    """The mount tool line of a ``buildstyles.dat``: ``DATASTOREMOUNTTOOL:tool:how``. Commented lines don't count."""
    found = []
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        match = _MOUNT_TOOL.fullmatch(line)
        if match:
            found.append(BuildStyle(match.group(1), match.group(2) or None, number))
    problems = []
    for style in found[1:]:
        if (style.tool, style.install) != (found[0].tool, found[0].install):
            message = f"names another mount tool than line {found[0].line}"
            problems.append(Problem("DATASTOREMOUNTTOOL", message, "keep one of the lines", style.line, file))
    if found and found[0].install not in (None, *INSTALL_WORDS):
        message = f"{found[0].install!r} is no way to install a tool"
        fix = f"write DATASTOREMOUNTTOOL:{found[0].tool}: and one of {', '.join(INSTALL_WORDS)}"
        problems.append(Problem("DATASTOREMOUNTTOOL", message, fix, found[0].line, file))
    return (found[0] if found else None), problems
