# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New keys in the inventory, and the role once more: every mount uses them, and nobody notices."""

from __future__ import annotations

from pathlib import Path

from scenario import BED, IMAGES, PRIVATE, WEBSERVERS, in_front, readers, upload, wait_until

CONVERGE = Path(__file__).parent.parent / "converge.yml"
# No floor has it: it answers only where a mount always does.
UPLOADED = "uploaded-after-the-cutover.txt"
WAITING = "written-before-the-keys-changed.txt"
PENDING = f"sudo -u www-data sh -c 'echo waiting > {IMAGES.path}/{WAITING}'"


def processes(host: str) -> list[str]:
    """The process numbers of the mounts."""
    return BED.on(host, f"systemctl show -P MainPID {IMAGES.unit} {PRIVATE.unit}").split()


def holders(host: str, text: str) -> list[str]:
    """Files and environments on a host in which a key stands."""
    places = "/etc/adt-assets /etc/systemd/system /proc/[0-9]*/environ"
    # sudo keeps the command line in the environment: written like this, it doesn't find itself.
    pattern = f"{text[:-1]}[{text[-1]}]"
    return BED.on(host, f"grep -rlas -- '{pattern}' {places} || true").split()


def test_t17_every_mount_uses_new_keys_without_a_bad_answer_or_a_lost_upload() -> None:
    old, new = BED.env["AWS_ACCESS_KEY_ID"], BED.env["BED_NEXT_ACCESS_KEY"]
    keys = {"bed_s3_access_key": new, "bed_s3_secret_key": BED.env["BED_NEXT_SECRET_KEY"]}
    before = {host: processes(host) for host in WEBSERVERS}
    upload(UPLOADED, b"new")
    with readers(uploaded={UPLOADED: b"new"}):
        BED.on("web2", PENDING)
        BED.playbook(str(CONVERGE), keys)
    wait_until(lambda: WAITING in BED.objects(IMAGES.bucket))
    assert BED.s3.get_object(Bucket=IMAGES.bucket, Key=WAITING)["Body"].read() == b"waiting\n"
    for host in WEBSERVERS:
        assert not set(processes(host)) & set(before[host])
        assert all(in_front(host, directory).startswith("fuse") for directory in (IMAGES, PRIVATE))
        assert holders(host, old) == []
        assert BED.on(host, "systemctl list-units --failed --plain --no-legend 'adt-assets-*'") == ""
        assert len(holders(host, new)) >= 2
    BED.on("web2", f"rm {IMAGES.path}/{WAITING} {IMAGES.path}/{UPLOADED}")
