# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real site on disk, out of Debian packages: WordPress as the webroot and pictures as its uploads."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

WORDPRESS = "wordpress"
PICTURES = "tuxpaint-stamps-default"  # some 800 drawings and photographs in nested folders
WANTED = 360
# What uploads are called in real life; each stands in for a picture's own name.
AWKWARD_NAMES = (
    "a name with spaces.png",
    "Grüße aus Köln.png",
    "写真 1.png",
    ".hidden.png",
    "50% off+more.png",
    "it's [new].png",
)


def make(folder: Path) -> Path:
    """The webroot, made in ``folder`` unless it is there already. Raises CalledProcessError when a download fails."""
    site = folder / "site"
    if (folder / ".complete").exists():
        return site
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(
        unpack(WORDPRESS, folder) / "usr/share/wordpress", site, symlinks=True, ignore=leave_out_links_to_the_system
    )
    fill_uploads(site / "wp-content/uploads", unpack(PICTURES, folder))
    for package in (WORDPRESS, PICTURES):
        shutil.rmtree(folder / package)
    (folder / ".complete").touch()
    return site


def leave_out_links_to_the_system(folder: str, names: list[str]) -> set[str]:
    """Debian's WordPress links to libraries outside the webroot, which a site on a webserver has as files."""
    return {name for name in names if os.path.islink(os.path.join(folder, name))}


def unpack(package: str, folder: Path) -> Path:
    """Download a Debian package and unpack it, without installing it."""
    target = folder / package
    target.mkdir()
    subprocess.run(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package], cwd=target, check=True)
    (deb,) = target.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", str(deb), str(target)], check=True)
    deb.unlink()
    return target


def fill_uploads(uploads: Path, unpacked: Path) -> None:
    """Lay the pictures out as WordPress does, by year and month, with subfolders and awkward names among them."""
    found = sorted(path for path in unpacked.rglob("*.png") if path.is_file())[:WANTED]
    for number, picture in enumerate(found):
        month = uploads / "2026" / f"{number % 12 + 1:02}" / picture.parent.name
        month.mkdir(parents=True, exist_ok=True)
        name = AWKWARD_NAMES[number // 40] if number % 40 == 0 and number // 40 < len(AWKWARD_NAMES) else picture.name
        shutil.copy2(picture, month / name)
    # Forbids running PHP below the uploads: losing it is a security hole (H9).
    (uploads / ".htaccess").write_text('<FilesMatch "\\.php$">\n    Require all denied\n</FilesMatch>\n')


def pictures(uploads: Path) -> list[str]:
    """The names of all pictures, relative to the uploads, in a stable order."""
    return sorted(str(path.relative_to(uploads)) for path in uploads.rglob("*.png"))
