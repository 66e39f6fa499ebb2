# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the collection and let galaxy-importer judge it; any warning or error of its log fails."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

CONFIG = """[galaxy-importer]
RUN_ANSIBLE_TEST = False
RUN_ANSIBLE_DOC = True
RUN_ANSIBLE_LINT = False
CHECK_REQUIRED_TAGS = True
REQUIRE_V1_OR_GREATER = False
CHECK_CHANGELOG = True
CHECK_RUNTIME_FILE = True
"""


def main() -> int:
    """0 when the importer takes the collection without a warning."""
    staged = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch, "importer.cfg")
        config.write_text(CONFIG)
        subprocess.run(["ansible-galaxy", "collection", "build", "--output-path", scratch, str(staged)], check=True)
        (artifact,) = Path(scratch).glob("adt-assets-*.tar.gz")
        done = subprocess.run(
            [sys.executable, "-m", "galaxy_importer.main", str(artifact)],
            cwd=scratch,
            env={**os.environ, "GALAXY_IMPORTER_CONFIG": str(config)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    print(done.stdout)
    complaints = [line for line in done.stdout.splitlines() if line.startswith(("WARNING", "ERROR"))]
    print("\n".join(["complaints:", *complaints]) if complaints else "no complaint")
    return 1 if done.returncode or complaints else 0


if __name__ == "__main__":
    sys.exit(main())
