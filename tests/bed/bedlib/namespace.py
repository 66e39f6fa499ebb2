# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed's private mount namespace, only where the machine's cgroups aren't cgroup2 alone.

crun refuses the "hybrid" layout (v1 and v2 side by side). In a namespace of its own a bed mounts
pure cgroup2; a bind mount of the namespace's file keeps it alive between commands.
"""

from __future__ import annotations

import os
from pathlib import Path

from common import Bed, BedError, run

CGROUP = Path("/sys/fs/cgroup")


def is_pure() -> bool:
    """True when /sys/fs/cgroup is one cgroup2 tree, as systemd's "unified" layout has it."""
    return run(["stat", "-f", "-c", "%T", CGROUP]).stdout.strip() == "cgroup2fs"


def _handle(bed: Bed) -> Path:
    return bed.run / "mnt"


def mounted(path: Path) -> bool:
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        return any(line.split()[4] == str(path) for line in lines)


def exists(bed: Bed) -> bool:
    """A bed on a pure machine has no namespace, and then needs none."""
    return is_pure() or mounted(_handle(bed))


def enter(bed: Bed) -> list:
    """What to put before a command that shall run where the bed's containers are."""
    return ["nsenter", f"--mount={_handle(bed)}", "--"] if mounted(_handle(bed)) else []


def create(bed: Bed) -> None:
    if is_pure() or mounted(_handle(bed)):
        return
    # The directory must be a private mount, or the kernel refuses to bind the namespace's file there.
    if not mounted(bed.run):
        run(["mount", "--bind", bed.run, bed.run])
    run(["mount", "--make-private", bed.run])
    _handle(bed).touch()
    script = f"umount -R {CGROUP} && mount -t cgroup2 cgroup2 {CGROUP}"
    run(["unshare", f"--mount={_handle(bed)}", "--propagation", "private", "sh", "-c", script])


def kill_leftovers(bed: Bed) -> None:
    """End whatever still runs in the bed's cgroups, and remove these."""
    top = CGROUP / bed.label
    kill = f"test ! -d {top} || {{ echo 1 >{top}/cgroup.kill; find {top} -depth -type d -exec rmdir {{}} +; }}"
    for _attempt in range(20):
        if run([*enter(bed), "sh", "-c", kill], check=False).returncode == 0:
            return
        run(["sleep", "0.1"])
    raise BedError(f"processes in {top} cannot be ended")


def unmount_storage(bed: Bed) -> None:
    """Unmount what an ended podman left mounted below the bed's directories (where the machine sees it)."""
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        paths = [line.split()[4] for line in lines]
    for path in reversed(paths):
        if path.startswith((f"{bed.state}/", f"{bed.run}/")) and path != str(_handle(bed)):
            run(["umount", "--lazy", path], check=False)


def destroy(bed: Bed) -> None:
    for path in (_handle(bed), bed.run):
        while mounted(path):
            run(["umount", path])
    if _handle(bed).exists():
        os.unlink(_handle(bed))
