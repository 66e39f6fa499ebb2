# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Podman with storage, run-time files and settings of the bed's own: a user's podman is never touched."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import namespace
from common import RUN, Bed, run, write_private

SETTINGS = """\
[containers]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "crun"
"""


@dataclass(frozen=True)
class Podman:
    """One storage of containers (`root`) and one of images that it only reads (`images`)."""

    bed: Bed
    root: Path

    @property
    def images(self) -> Path:
        return image_store(self.bed)

    def argv(self, *words: object) -> list:
        """The whole command line; to be run from anywhere on the machine."""
        # Podman remembers in a storage which run-time directory it belongs to: one for the images of all beds.
        run_dir = self.bed.run / "podman" if self.root != self.images else RUN / "images"
        settings = self.bed.run / "containers.conf"
        if not settings.exists():
            write_private(settings, SETTINGS)
        argv = [*namespace.enter(self.bed), "env", f"CONTAINERS_CONF={settings}", "podman"]
        argv += ["--root", self.root, "--runroot", run_dir / "run", "--tmpdir", run_dir / "tmp"]
        argv += ["--network-config-dir", run_dir / "net", "--storage-driver", "overlay"]
        if self.root != self.images:
            argv += ["--storage-opt", f"additionalimagestore={self.images}"]
        return [str(word) for word in [*argv, *words]]

    def run(self, *words: object, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess:
        return run(self.argv(*words), check=check, timeout=timeout)


def image_store(bed: Bed) -> Path:
    return bed.cache / "bed-images"


def containers_of(bed: Bed) -> Podman:
    return Podman(bed, bed.state / "podman")


def images_of(bed: Bed) -> Podman:
    return Podman(bed, image_store(bed))
