# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each mount tool can do and what it costs, measured between two webservers and written into the guide.

Needs a bed (``make bed-up``). Each tool is mounted by the asset_mount scenario, with the flags that the role gives it.

    make capabilities
    python benchmarks/capabilities.py rclone s3fs      # print some tools' measurements, leave the guide as it is
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rst

TOP = Path(__file__).resolve().parent.parent
TOOLS = sorted(path.stem for path in (TOP / "roles/asset_mount/vars/tools").glob("*.yml"))
GUIDE = TOP / "docs/docsite/rst/guide_mount_tools.rst"


def measure(tool: str) -> dict[str, Any]:
    """Mount the scenario's directories with a tool, probe them, and take the mounts away."""
    env = {**os.environ, "ADT_TOOL": tool, "ADT_BED": os.environ.get("ADT_BED", "test"), "ADT_BED_KEEP": "1"}
    for step in ("reset", "converge"):
        subprocess.run(["molecule", step, "-s", "asset_mount"], cwd=TOP, env=env, check=True, stdout=sys.stderr)
    probe = [sys.executable, str(TOP / "tests/tools/probe.py")]
    shown = subprocess.run(probe, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    subprocess.run(["molecule", "cleanup", "-s", "asset_mount"], cwd=TOP, env=env, check=True, stdout=sys.stderr)
    return json.loads(shown)


def answer(worked: bool, seconds: float) -> str:
    """How an outage was met."""
    return f"{'works' if worked else 'fails'}, {seconds:.0f} s"


def delay(seconds: float | None) -> str:
    """How long something took; None when it was given up."""
    return "more than 120" if seconds is None else f"{seconds:.0f}"


def page(measured: dict[str, dict[str, Any]]) -> str:
    """The measured part of the guide."""
    tools = list(measured)

    def row(title: str, show: Callable[[dict[str, Any]], str]) -> list[str]:
        return [title, *(show(measured[tool]) for tool in tools)]

    names = list(measured[tools[0]]["operations"])
    operations = [row(f"``{name}``", lambda of, name=name: of["operations"][name]) for name in names]
    outage = {"warm": "a file read before", "cold": "another file", "new": "writing a file"}
    figures = [
        row("S3 requests for 100 missing names, asked for again", lambda of: str(of["requests_for_missing"])),
        *(
            row(f"Seconds until another webserver sees a file {key}", lambda of, key=key: delay(of["delays"][key]))
            for key in ("created", "changed", "deleted")
        ),
        row("Memory at most (MiB)", lambda of: str(of["memory"])),
        *(
            row(f"S3 unreachable: {what}", lambda of, key=key: answer(*of["outage"][key]))
            for key, what in outage.items()
        ),
    ]
    return rst.table(["Operation", *tools], operations) + "\n" + rst.table(["Measured", *tools], figures)


def main() -> None:
    """Measure, print, and write the guide when all tools were measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tools", nargs="*", metavar="TOOL", help=f"of {', '.join(TOOLS)}; all by default")
    chosen = parser.parse_args().tools
    if not set(chosen) <= set(TOOLS):
        parser.error(f"no such tool; there are {', '.join(TOOLS)}")
    text = page({tool: measure(tool) for tool in chosen or TOOLS})
    print(text)
    if not chosen:
        rst.write_between(GUIDE, "make capabilities", text)


if __name__ == "__main__":
    main()
