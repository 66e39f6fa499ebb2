# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that look for a temporal backup have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Which backups come into question."""

    DOCUMENTATION = r"""
options:
  period:
    description: Only backups of this period. Of whichever there are when unset.
    type: str
    choices: [hourly, daily, weekly, monthly, bimonthly]
  before:
    description:
      - Only backups made, or archives stored, at this point in time or before (ISO 8601, UTC when it names no zone).
    type: str
"""
