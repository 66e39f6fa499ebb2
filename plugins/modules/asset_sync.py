#!/usr/bin/python
# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a backup to the bucket of an asset directory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: asset_sync
short_description: Copy an asset directory out of a backup into its bucket
version_added: 0.1.0
description:
  - Reads a backup of a website (archive, archive in S3, directory, or snapshot) and copies one asset directory into
    its bucket.
  - What users have changed or deleted in the bucket stays so. Nothing older overwrites or deletes anything newer.
  - A manifest in the catalog says for each key what was written, and from which backup. It decides who wins.
  - Every object is confirmed by its digest. A backup that is damaged or cut is an error.
  - A run that was killed converges when it is run again.
  - The same archive or snapshot again, with nothing to do, is not read at all.
options:
  backup_time:
    description:
      - When the backup was made, as an ISO 8601 time, in UTC unless it names a zone.
      - By default the archive's modification time, or the snapshot's time. For a directory it is now.
      - A backup older than the last one that was copied never overwrites anything.
    type: str
  on_conflict:
    description:
      - V(keep) lets the bucket win wherever it was changed since it was written from a backup.
      - >-
        V(restore) is for a deliberate restore. What was deleted in the bucket comes back. Where it was changed since,
        or has something newer, it wins, and RV(kept) names that.
      - >-
        V(overwrite) is for one at any price. The backup wins wherever it has a file, also against deletions.
        What it replaces is first copied into the catalog, below C(replaced/).
      - >-
        V(save) is for the late files of a webserver. New ones are uploaded. One that differs from the bucket and from
        what was written there is saved in the catalog, below C(conflicts/), and the bucket stays as it is. O(src) must
        be a directory.
    type: str
    choices: [keep, restore, overwrite, save]
    default: keep
  host_label:
    description: The name below C(conflicts/) with O(on_conflict=save). The host's name by default.
    type: str
  prune:
    description:
      - Remove from the bucket what was written from an older backup, is unchanged, and is not in this one.
      - What users have uploaded is never removed.
    type: bool
    default: false
  shard:
    description:
      - The share of the directory that this run copies, such as V(2/3) for the second of three. At most 64.
      - All of it by default.
      - Lets several build machines copy the same backup at the same time. They share the work by a digest of each key,
        which is the same on every host.
      - Each share is told, pruned, and copied again by itself. The bucket holds the whole backup when all of them have
        been copied.
      - All shares must have the same backup of the same time. For a file or a directory on several hosts, set
        O(backup_time).
    type: str
  read_all:
    description:
      - Read every file of a directory that is O(src).
      - >-
        By default a file isn't read whose size, mtime and ctime are those that it had when an earlier run read it,
        as long as there is nothing to do with what it had then.
    type: bool
    default: false
  workers:
    description:
      - How many connections carry data.
      - By default 32, and up to 128 for a store that is far away. How far is measured.
    type: int
extends_documentation_fragment:
  - adt.assets.owner
  - adt.assets.buckets
  - adt.assets.source
  - adt.assets.progress
  - adt.assets.store
  - amazon.aws.common.modules
  - amazon.aws.region.modules
attributes:
  check_mode:
    support: full
    details:
      - Reads all that a real run would read, and returns the same summary and diff. Nothing is written.
      - A bucket that doesn't exist yet counts as an empty one.
  diff_mode:
    support: full
    details: Lists at most 100 keys of each kind.
notes:
  - Long work also writes its progress to C(status/BUCKET.json) in the catalog, with O(shard) to
    C(status/BUCKET/NUMBER-COUNT.json).
  - What it has to know of more than some ten thousand files goes into a temporary database, so that memory does not
    grow with their number. That takes about 1 KB for each file in the temporary directory of the host, which the
    environment variable E(TMPDIR) names, else C(/var/tmp); no content is ever written there.
seealso:
  - module: adt.assets.asset_compare
  - module: adt.assets.asset_fetch
author:
  - adt.assets contributors (@adt-assets)
"""

EXAMPLES = r"""
- name: Copy the images of the last hourly backup into their bucket
  adt.assets.asset_sync:
    src: s3://www-example-com-backups/hourly/webroot.tar.gz
    archive_path: images
    bucket: www-example-com-assets-images
    site: www.example.com
    directory: images
    catalog: www-example-com-assets-catalog
    endpoint_url: https://s3.example.com
    access_key: "{{ s3_access_key }}"
    secret_key: "{{ s3_secret_key }}"

- name: Copy what a webserver has received since that backup
  adt.assets.asset_sync:
    src: /var/www/html/images
    bucket: www-example-com-assets-images
    site: www.example.com
    directory: images
    catalog: www-example-com-assets-catalog
    on_conflict: save

- name: Bring back what was deleted since the first of May
  adt.assets.asset_sync:
    src: /backups/webroot-2026-05-01.tar.gz
    archive_path: images
    bucket: www-example-com-assets-images
    site: www.example.com
    directory: images
    catalog: www-example-com-assets-catalog
    on_conflict: restore

- name: Put everything back as it was on the first of May
  adt.assets.asset_sync:
    src: /backups/webroot-2026-05-01.tar.gz
    archive_path: images
    bucket: www-example-com-assets-images
    site: www.example.com
    directory: images
    catalog: www-example-com-assets-catalog
    on_conflict: overwrite

- name: Copy the images of a temporal backup that this host has no room for
  adt.assets.asset_sync:
    src: "restic://www-example-com-assets-backups/{{ found.newest.snapshot }}{{ found.newest.paths | first }}"
    src_password: "{{ vault_backup_password }}"
    archive_path: images
    bucket: www-example-com-assets-images
    site: www.example.com
    directory: images
    catalog: www-example-com-assets-catalog

- name: Copy a large site from all hosts of the play at once
  adt.assets.asset_sync:
    src: s3://www-example-com-backups/hourly/webroot.tar.gz
    archive_path: images
    bucket: www-example-com-assets-images
    site: www.example.com
    directory: images
    catalog: www-example-com-assets-catalog
    shard: "{{ ansible_play_hosts_all.index(inventory_hostname) + 1 }}/{{ ansible_play_hosts_all | length }}"
"""

RETURN = r"""
summary:
  description:
    - Count and bytes of what was done (or would be).
    - >-
      C(uploaded) new keys, C(updated) from a newer backup, C(unchanged), C(kept) as the bucket has them,
      C(kept_deleted), C(saved) in the catalog, C(pruned), C(refused) members, and C(retried) requests.
    - When it fails, what was done until then, and how many members can't be stored.
  returned: always, but for wrong options
  type: dict
  sample: {"uploaded": {"count": 20000, "bytes": 400000000}, "kept": {"count": 2, "bytes": 40000}}
kept:
  description: Keys that stay as the bucket has them, although the backup has other contents, at most 100.
  returned: success
  type: list
  elements: str
engine:
  description: The client that carried the data.
  returned: success
  type: str
  sample: obstore 0.12.1
seconds:
  description: How long it took.
  returned: success
  type: float
sample:
  description: A key that exists in the bucket now, V(null) when there is none. Good for a test whether a mount works.
  returned: success
  type: str
conditional_writes:
  description: Whether the store protects keys from being changed by someone else in the moment of writing.
  returned: success
  type: bool
backup:
  description: Identity and time (UTC) of the backup.
  returned: success
  type: dict
kind:
  description: Of what kind a failure is, V(source), V(missing), V(denied), V(unreachable), V(conflict) or V(other).
  returned: failure
  type: str
"""

from ansible.module_utils.common.warnings import warn
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._options import PROGRESS, TARGET, answer, job_from
from ..module_utils._store import argument_spec, store_from_module
from ..module_utils._sync import run


def main() -> None:
    """Run the module."""
    spec = {
        "backup_time": {"type": "str"},
        "on_conflict": {"type": "str", "choices": ["keep", "restore", "overwrite", "save"], "default": "keep"},
        "host_label": {"type": "str"},
        "prune": {"type": "bool", "default": False},
        "shard": {"type": "str"},
        "read_all": {"type": "bool", "default": False},
        "workers": {"type": "int"},
    }
    spec = {**argument_spec(), **TARGET, **PROGRESS, **spec}
    module = AnsibleAWSModule(argument_spec=spec, supports_check_mode=True)
    answer(module, lambda: run(job_from(module), store_from_module(module), warn))


if __name__ == "__main__":
    main()
