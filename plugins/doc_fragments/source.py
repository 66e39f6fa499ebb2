# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that read a backup have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """The source."""

    DOCUMENTATION = r"""
options:
  src:
    description:
      - The backup, an archive file or a directory on the host that runs the module, or V(s3://bucket/key) in the store.
      - >-
        Or V(restic://bucket/snapshot/var/www/html), a snapshot that role P(adt.assets.webroot_backup#role) has made,
        with its id in full and the webroot as it has it. restic streams it, so nothing of it needs room. That takes
        many times as long as restoring it (M(adt.assets.backup_restore)) and copying that directory.
      - Archives are V(.tar.gz), V(.tar.zst) or V(.tar), told by their first bytes. Nothing of them is unpacked on disk.
    type: str
    required: true
  src_password:
    description: What opens a snapshot that is O(src).
    type: str
  archive_path:
    description:
      - Where the asset directory lies in O(src), usually C(archive_path) of RV(adt.assets.template_info#module:plan).
      - A backup without this directory is an error.
      - Empty for the whole of O(src).
    type: str
    default: ""
  symlinks:
    description:
      - How symbolic links that stay inside the asset directory are stored.
      - V(rclonelink) is C(NAME.rclonelink), which rclone shows as a link with C(--vfs-links).
      - V(object) is an object of mode 41471 with the target as content, as s3fs has it.
      - With V(refuse) they are an error. Links out of the directory always are.
    type: str
    choices: [rclonelink, object, refuse]
    default: rclonelink
  max_unpacked:
    description: The most bytes that an archive may unpack to, V(0) for no limit. The default is 1 TiB.
    type: int
    default: 1099511627776
  max_ratio:
    description: How many times its own size an archive may unpack to once that is more than 256 MiB, V(0) for no limit.
    type: int
    default: 200
requirements:
  - obstore for speed. Without it boto3 carries the data, which is several times slower.
  - zstandard for V(.tar.zst).
  - restic for snapshots.
"""
