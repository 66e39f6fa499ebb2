# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""H7 and H23 on the deployed site; see README.md."""

from __future__ import annotations

from scenario import BED, CATALOG, IMAGES, WEBSERVERS, deploy, md5, wait_until

PHP = b"php answers"  # what nginx says where there is no file
READABLE = (
    "find /etc /run /tmp /var/lib /opt/adt-assets -xdev -name site-packages -prune -o "
    "-type f -perm /044 -size -1024k -exec cat {} +"
)
SECRET_PLACES = ("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", "journalctl --no-pager -o cat", READABLE)


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
        wait_until(lambda host=host: BED.fetch(host, f"images/{deleted}") == PHP)


def test_h23_no_secret_is_shown_even_with_vvv() -> None:
    secret = BED.env["AWS_SECRET_ACCESS_KEY"]
    done = deploy("-vvv", "--diff")
    encoded = secret.replace("\\", "\\\\").replace('"', '\\"')
    assert secret not in done.stdout
    assert encoded not in done.stdout
    for host in (*WEBSERVERS, "build1"):
        for place in SECRET_PLACES:
            assert secret not in BED.on(host, place, check=False), f"{host}: {place}"


EDITED = ".htaccess"


def test_h7_h9_a_late_edit_was_saved_and_the_buckets_file_stayed_in_front() -> None:
    body = (IMAGES.source / EDITED).read_bytes()
    assert BED.s3.get_object(Bucket=IMAGES.bucket, Key=EDITED)["Body"].read() == body
    assert BED.fetch("web2", f"images/{EDITED}") == body
    saved = [name for name in BED.objects(CATALOG) if name.startswith("conflicts/") and name.endswith(f"/{EDITED}")]
    assert {BED.s3.get_object(Bucket=CATALOG, Key=name)["Body"].read() for name in saved} == {b"edited here\n"}
