# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of that name, and lets the play's output say how far it is."""

from __future__ import annotations

from ansible_collections.adt.assets.plugins.plugin_utils._progress import ToldAction


class ActionModule(ToldAction):
    """asset_copy with progress."""
