# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that work on an asset directory's bucket have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Whose the bucket is, and where that is written."""

    DOCUMENTATION = r"""
options:
  site:
    description: The site that owns the bucket, such as V(www.example.com).
    type: str
    required: true
  directory:
    description:
      - The asset directory that the bucket is for, by its name in the plan, such as V(images).
      - V(@catalog) for the catalog bucket itself.
    type: str
    required: true
  catalog:
    description: The site's catalog bucket, which says whose each bucket is and what was copied into it.
    type: str
    required: true
"""
