# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell as JSON where the runtime is to be, whether it is there and works, and whether it can be made.

Arguments: the path ("" for the default of this user), and the name of the file that marks a complete runtime.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

root = os.geteuid() == 0
default = Path("/opt/adt-assets/venv") if root else Path.home() / ".local/share/adt-assets/venv"
path = Path(sys.argv[1]) if sys.argv[1] else default
python = path / "bin" / "python"

# A new release of the system brings a new Python: the packages of the old one are then out of its sight.
ready = (path / sys.argv[2]).exists() and python.exists()
if ready:
    ready = subprocess.run([python, "-c", "import boto3, zstandard"], capture_output=True, check=False).returncode == 0

print(
    json.dumps(
        {
            "path": str(path),
            "python": str(python),
            "ready": ready,
            "stale": not ready and (path / sys.argv[2]).exists(),
            # Making it empties the directory: never one that holds something else.
            "foreign": path.exists() and any(path.iterdir()) and not (path / "pyvenv.cfg").exists(),
            "root": root,
            "can_make": importlib.util.find_spec("ensurepip") is not None,
        }
    )
)
