# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that roles copy to hosts: with all that they import, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).resolve().parents[4]
MODULES = TOP / "plugins/module_utils"
PACKAGE = "ansible_collections.adt.assets.plugins.module_utils"


def imported(name, found):
    """A module and all that it imports from beside it."""
    found.add(name)
    for node in ast.walk(ast.parse((MODULES / f"{name}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and (node.level == 1 or str(node.module).startswith(PACKAGE)):
            module = (node.module or "").removeprefix(PACKAGE).lstrip(".")
            for other in [module] if module else [alias.name for alias in node.names]:
                if other not in found:
                    imported(other, found)
    return found


def listed_by_backup():
    variables = yaml.safe_load((TOP / "roles/webroot_backup/vars/main.yml").read_text())
    return variables["__webroot_backup_modules"]


def listed_by_task(file):
    tasks = yaml.safe_load((TOP / "roles" / file).read_text())
    (loop,) = [task["loop"] for task in tasks if "plugins/module_utils" in str(task)]
    return [name.removesuffix(".py") for name in loop]


@pytest.mark.parametrize(
    ("programs", "listed"),
    [
        (["_webroot_backup"], listed_by_backup()),
        (["_webroot_sync"], listed_by_task("webroot_sync/tasks/install.yml")),
        (["_mount", "_coherence"], listed_by_task("asset_mount/tasks/shared.yml")),
    ],
)
def test_a_program_comes_with_all_that_it_imports(programs, listed):
    wanted = set()
    for program in programs:
        imported(program, wanted)
    assert sorted(f"_{name}" for name in listed) == sorted(wanted)
