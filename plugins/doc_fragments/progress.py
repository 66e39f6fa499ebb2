# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that may work for long have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """How they say how far they are."""

    DOCUMENTATION = r"""
options:
  progress_file:
    description:
      - A file on the host of the module to which it writes how far it is, as JSON, every second.
      - In a play this is set for you, and the play's output says how far it is.
      - The file must not exist, and is removed at the end.
    type: path
notes:
  - While it works, the play's output says every few seconds what is done and left, the rate, and the time to go. The
    variable C(assets_progress_seconds) says how often, 8 by default, 0 for never.
"""
