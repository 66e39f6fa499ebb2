# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has the service of role webroot_backup make a backup, and waits for its end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ._backup import SourceError


def progress_of(result: str) -> str:
    """Pure. Where the service says how far it is while it works, beside the file with what came of it."""
    return f"{result}.progress"


def make_backup(run_command: Callable[[list[str]], tuple[int, str, str]], unit: str, result: str) -> dict[str, Any]:
    """What came of it, as the service says, also of one that failed. Raises SourceError when it says nothing."""
    for path in (result, progress_of(result)):  # an earlier one's
        with suppress(FileNotFoundError):
            os.unlink(path)
    _code, _output, errors = run_command(["systemctl", "start", unit])
    try:
        found: dict[str, Any] = json.loads(Path(result).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        said = f" ({errors.strip()})" if errors.strip() else ""
        raise SourceError(f"{unit} doesn't say how its backup went{said}: look at journalctl -u {unit}")
    return found
