# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes of a backup is what the service says now, never what it said earlier."""

from __future__ import annotations

import json

import pytest

from ansible_collections.adt.assets.plugins.module_utils._backup import SourceError
from ansible_collections.adt.assets.plugins.module_utils._backup_now import make_backup, progress_of

UNIT = "adt-assets-backup-x@now-hourly.service"


def test_what_the_service_says_is_returned(tmp_path):
    result, commands = tmp_path / "now-hourly.json", []

    def run(command):
        commands.append(command)
        result.write_text(json.dumps({"announced": None, "error": "no"}))
        return 1, "", "Job failed"

    assert make_backup(run, UNIT, str(result)) == {"announced": None, "error": "no"}
    assert commands == [["systemctl", "start", UNIT]]


@pytest.mark.parametrize("left", ["", "{"])
def test_i5_what_it_said_earlier_does_not_count(tmp_path, left):
    result = tmp_path / "now-hourly.json"
    result.write_text(json.dumps({"announced": {}, "error": ""}))
    (tmp_path / progress_of("now-hourly.json")).write_text("left")

    def run(_command):
        if left:
            result.write_text(left)
        return 5, "", "Unit not found.\n"

    with pytest.raises(SourceError, match=r"doesn't say how its backup went \(Unit not found.\): look at journalctl"):
        make_backup(run, UNIT, str(result))
    assert not (tmp_path / progress_of("now-hourly.json")).exists()
