# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that read and write the files of an asset directory have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Where the files are."""

    DOCUMENTATION = r"""
options:
  buckets:
    description:
      - The asset directory's bucket, or its buckets in the order of the plan.
      - A file that lies in one of them stays there, and what was deleted there stays deleted.
        Only what is new is spread over them, by a digest of its key, so that the same key always goes to the same one.
      - Of a key that lies in several of them the first one's object counts. There is a warning that names them.
    type: list
    elements: str
    required: true
    aliases: [bucket]
"""
