# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.adt.assets.plugins.module_utils._tables import TableError
from ansible_collections.adt.assets.plugins.module_utils._tools import BuildStyle, load_tools, read_buildstyles

GUIDE = Path(__file__).parents[4] / "docs" / "docsite" / "rst" / "guide_mount_tools.rst"
TABLE = """
__asset_mount_tool:
  name: alpha
  default: true
  buildstyles_names: [alpha, alf]
  buildstyles_methods: {repo: package, binary: url}
  install_methods: {url: {}, package: {packages: [alpha]}}
  capabilities: {whole_webroot: yes, merge: no, untrusted_certificates: warn}
  capability_notes: {whole_webroot: slow}
  operations: {create: yes, append: refused}
  command: ["{{ binary }}"]
"""


def test_tables_are_read_from_a_directory(tmp_path):
    (tmp_path / "alpha.yml").write_text(TABLE)
    (tmp_path / "beta.yml").write_text(TABLE.replace("alpha", "beta").replace("default: true", "default: false"))
    tools = load_tools(tmp_path)
    assert list(tools) == ["alpha", "beta"]
    assert tools["alpha"].default
    assert tools["alpha"].buildstyles_names == ("alpha", "alf")
    assert tools["alpha"].buildstyles_words == ("repo", "binary")
    assert [tools["alpha"].can(what) for what in ("whole_webroot", "merge", "untrusted_certificates", "flying")] == [
        "yes", "no", "warn", "no",
    ]  # fmt: skip
    assert tools["alpha"].capability_notes == {"whole_webroot": "slow"}
    assert tools["alpha"].lacks(("create", "append", "flying")) == ["append", "flying"]


@pytest.mark.parametrize(
    "text, message",
    [
        (TABLE.replace("default: true", "default: false"), "exactly one tool table"),
        (TABLE.replace("  name: alpha\n", ""), "KeyError"),
        (TABLE.replace("__asset_mount_tool", "tool"), "needs __asset_mount_tool"),
        (TABLE.replace("binary: url", "binary: magic"), "map no word to a method"),
        (TABLE.replace("repo: package", "magic: package"), "map no word to a method"),
        ("[", "cannot be read"),
        ("just text", "needs __asset_mount_tool"),
        ("", "needs __asset_mount_tool"),
        (TABLE + "more: x\n", "nothing beside it"),
    ],
)
def test_a_wrong_table_is_named(tmp_path, text, message):
    (tmp_path / "alpha.yml").write_text(text)
    with pytest.raises(TableError, match=message):
        load_tools(tmp_path)


def test_no_table_at_all_is_an_error(tmp_path):
    with pytest.raises(TableError, match="exactly one"):
        load_tools(tmp_path)


def test_the_collections_own_tables_can_be_planned_with():
    for tool in load_tools().values():
        assert {tool.can("whole_webroot"), tool.can("merge")} <= {"yes", "warn", "no"}
        assert set(tool.operations.values()) <= {"yes", "refused", "ignored"}


def test_the_guide_says_what_the_tables_say():
    """The guide's table of operations as `make capabilities` writes it: a head of tool names, then a row for each."""
    rows = [row.split("\n     - ") for row in GUIDE.read_text().split("\n   * - ")[1:]]
    names = next(row for row in rows if row[0] == "Operation")[1:]
    tools = load_tools()
    assert sorted(name.strip() for name in names) == sorted(tools)
    for position, name in enumerate(names, 1):
        said = {row[0].strip("`"): row[position].split()[0] for row in rows if row[0].startswith("``")}
        assert said == tools[name.strip()].operations


def test_the_guide_says_what_a_whole_webroot_costs():
    said = {"yes": "supported", "warn": "with a warning", "no": "refused"}
    for tool in load_tools().values():
        cells = (tool.name, said[tool.can("whole_webroot")], tool.capability_notes["whole_webroot"])
        assert "   * - " + "\n     - ".join(cells) + "\n" in GUIDE.read_text()


def test_buildstyles_names_the_tool_and_how_it_is_installed():
    text = (
        b"#DATASTOREMOUNTTOOL:s3fs:repo\nDATASTORETOOL:s3cmd\nDATASTOREMOUNTTOOL:alf:binary\r\nWEBSERVER:nginx:repo\n"
    )
    assert read_buildstyles(text, "buildstyles.dat") == (BuildStyle("alf", "binary", 3), [])
    assert read_buildstyles(b"DATASTOREMOUNTTOOL:alf", "b")[0] == BuildStyle("alf", None, 1)
    assert read_buildstyles(b"\xff\0nothing", "b") == (None, [])


def test_buildstyles_problems_have_a_line():
    text = b"DATASTOREMOUNTTOOL:alf:magic\nDATASTOREMOUNTTOOL:alf:magic\nDATASTOREMOUNTTOOL:beta:repo\n"
    _style, problems = read_buildstyles(text, "buildstyles.dat")
    assert [str(problem) for problem in problems] == [
        "buildstyles.dat:3: DATASTOREMOUNTTOOL: names another mount tool than line 1; keep one of the lines",
        "buildstyles.dat:1: DATASTOREMOUNTTOOL: 'magic' is no way to install a tool; "
        "write DATASTOREMOUNTTOOL:alf: and one of repo, binary, source, script",
    ]
