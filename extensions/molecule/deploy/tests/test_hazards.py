# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shell toolkit lost, asked of the deployed site: each test is named after its hazard."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from scenario import (
    BED,
    DIRECTORIES,
    FOLDER,
    IMAGES,
    NOT_THERE,
    ONCE,
    SITE,
    TEMPLATE,
    WEBSERVERS,
    deploy,
    md5,
    other_template,
    wait_until,
    writes_seen,
)

pytestmark = ONCE

READABLE = (
    "find /etc /run /tmp /var/lib /opt/adt-assets -xdev -name site-packages -prune -o "
    "-type f -perm /044 -size -1024k -exec cat {} +"
)
SECRET_PLACES = ("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", "journalctl --no-pager -o cat", READABLE)


@pytest.fixture
def older_backup() -> Iterator[str]:
    """A backup from long before the scenario's, which holds one file only, with other bytes."""
    archive = FOLDER / "older.tar.gz"
    file = FOLDER / "older.jpg"
    file.write_bytes(b"as it was long ago")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(file, arcname="images/00/picture-000.jpg")
        for name in ("media/videos/clip-2.mp4", "var/www/private/doc-1.pdf"):
            tar.add(file, arcname=name)
    BED.s3.upload_file(str(archive), "corpus-backups", "older.tar.gz")
    yield "s3://corpus-backups/older.tar.gz"
    BED.s3.delete_object(Bucket="corpus-backups", Key="older.tar.gz")


def test_h2_an_older_backup_deletes_and_overwrites_nothing(older_backup: str) -> None:
    before = {directory.bucket: BED.objects(directory.bucket) for directory in DIRECTORIES}
    with writes_seen() as writes:
        deploy(assets_backup=older_backup, assets_backup_time="2020-01-01T00:00:00Z")
    assert [line for line in writes if "-assets-catalog" not in line] == []
    assert {directory.bucket: BED.objects(directory.bucket) for directory in DIRECTORIES} == before


def test_h4_the_template_is_never_executed() -> None:
    marker = FOLDER / "executed"
    hostile = TEMPLATE.with_name("hostile.tmpl")
    hostile.touch(mode=0o600)
    hostile.write_text(TEMPLATE.read_text() + f'\ntouch {marker}\nexport X="$(touch {marker})"\n`touch {marker}`\n')
    done = BED.playbook("adt.assets.validate", {"assets_template": str(hostile)})
    assert SITE in done.stdout
    assert not marker.exists()
    hostile.unlink()


def test_h5_two_directories_never_share_a_bucket() -> None:
    with other_template("clash", DIRECTORIES_TO_MOUNT="media/images:media-images") as clash:
        done = deploy(check=False, assets_template=str(clash))
    assert done.returncode != 0
    assert "media/images" in done.stdout and "media-images" in done.stdout and str(clash) in done.stdout


def test_h16_a_backup_by_the_plans_excludes_leaves_mounted_directories_out() -> None:
    listed = FOLDER / "backup.list"
    BED.playbook(str(Path(__file__).parent.parent / "backup.yml"), {"template": str(TEMPLATE), "listed": str(listed)})
    taken = listed.read_text().splitlines()
    assert "./media/readme.txt" in taken
    assert not [name for name in taken if "picture-" in name or name.endswith((".mp4", ".pdf"))]


def test_h7_a_users_edit_stays_and_a_deleted_file_does_not_come_back() -> None:
    edited, deleted = "00/picture-010.jpg", "00/picture-020.jpg"
    BED.on("web1", f"cd {IMAGES.path} && sudo -u www-data sh -c 'echo edited > {edited}; rm -f {deleted}'")
    wait_until(lambda: deleted not in BED.objects(IMAGES.bucket))
    wait_until(lambda: BED.objects(IMAGES.bucket)[edited]["ETag"].strip('"') == md5(b"edited\n"))
    deploy()
    assert BED.s3.get_object(Bucket=IMAGES.bucket, Key=edited)["Body"].read() == b"edited\n"
    assert deleted not in BED.objects(IMAGES.bucket)
    for host in WEBSERVERS:
        wait_until(lambda host=host: BED.fetch(host, f"images/{edited}") == b"edited\n")
        wait_until(lambda host=host: BED.fetch(host, f"images/{deleted}") == NOT_THERE)


def test_h23_no_secret_is_shown_even_with_vvv() -> None:
    secret = BED.env["AWS_SECRET_ACCESS_KEY"]
    done = deploy("-vvv", "--diff")
    encoded = secret.replace("\\", "\\\\").replace('"', '\\"')
    assert secret not in done.stdout
    assert encoded not in done.stdout
    for host in (*WEBSERVERS, "build1"):
        for place in SECRET_PLACES:
            assert secret not in BED.on(host, place, check=False), f"{host}: {place}"
