# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all S3 modules have in common beside the options of amazon.aws."""

from __future__ import annotations


class ModuleDocFragment:
    """The S3 store."""

    DOCUMENTATION = r"""
options:
  addressing_style:
    description:
      - How a bucket is named in requests, V(path) is C(https://host/bucket), V(virtual) is C(https://bucket.host).
      - V(auto) uses V(path) with O(endpoint_url), and V(virtual) on AWS.
    type: str
    choices: [auto, path, virtual]
    default: auto
requirements:
  - boto3 and botocore on the host that runs the module. The role P(adt.assets.asset_runtime#role) provides them.
notes:
  - Credentials given as options are used as they are. A session token or a profile in the environment is
    not mixed into them.
  - With O(endpoint_url) no environment variable or configuration file can send requests to another endpoint.
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    description: Returns details on what has changed (or would change) when in diff mode.
"""
