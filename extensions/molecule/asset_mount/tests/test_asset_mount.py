# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role on its own, with each tool of the matrix: mounts over floors, on Debian 12 and 13."""

from __future__ import annotations

import base64
import io
import tarfile

import probe
import pytest
from scenario import BED, IMAGES, PRIVATE, TABLE, WEBSERVER_HOSTS, WEBSERVERS, Directory, md5, prediction_errors

testinfra_hosts = WEBSERVER_HOSTS
EACH_DIRECTORY = pytest.mark.parametrize("directory", (IMAGES, PRIVATE), ids=lambda directory: directory.path)
LATE = {f"late-{host}.txt" for host in WEBSERVERS}


def bed_name(host) -> str:
    """The webserver's name in the bed."""
    return host.check_output("hostname")


def escaped(host, directory: Directory) -> str:
    """The directory's path as systemd writes it in the names of units."""
    return host.check_output("systemd-escape --path %s", directory.path)


def plain(text: str) -> str:
    """Text without the backslashes that a file's format may have put into a secret."""
    return text.replace("\\", "")


@EACH_DIRECTORY
def test_the_bucket_lies_over_a_floor(host, directory: Directory) -> None:
    types = host.check_output("findmnt -rno FSTYPE,OPTIONS --mountpoint %s", directory.path).splitlines()
    assert types[-1].split()[0] in TABLE["fuse_types"]
    assert len(types) == 2
    assert "ro" in types[0].split()[1].split(",")
    for option in ("nosuid", "nodev"):
        assert option in types[-1].split()[1].split(",")


@EACH_DIRECTORY
def test_the_service_runs_and_starts_at_boot(host, directory: Directory) -> None:
    name = escaped(host, directory)
    service = host.service(f"adt-assets-{name}.service")
    assert service.is_running
    assert service.is_enabled
    assert host.service(f"adt-assets-retire@{name}.timer").is_running


def test_the_webserver_starts_after_the_mounts(host) -> None:
    assert "adt-assets.target" in host.check_output("systemctl show -P After nginx").split()


@EACH_DIRECTORY
def test_every_file_is_there_byte_for_byte(host, directory: Directory) -> None:
    listed = host.check_output("cd %s && find . -type f -exec md5sum -z {} + | tr '\\0' '\\n'", directory.path)
    seen = dict(reversed(line.split("  ./", 1)) for line in listed.splitlines())
    late = LATE if directory is IMAGES else set()
    assert {name: digest for name, digest in seen.items() if name not in late} == {
        name: md5(file.read_bytes()) for name, file in directory.files.items()
    }


def test_late_files_of_every_webserver_went_up(host) -> None:
    for name in LATE:
        assert host.file(f"{IMAGES.path}/{name}").exists
    assert set(BED.objects(IMAGES.bucket)) >= LATE


def test_the_webserver_user_can_write(host) -> None:
    name = f"{IMAGES.path}/by-www-data-{bed_name(host)}.txt"
    host.run_test("sudo -u www-data sh -c 'echo new > %s'", name)
    assert host.check_output("cat %s", name) == "new"
    assert host.run("rm %s", name).rc == 0


def test_a_service_with_a_private_tmp_sees_the_bucket(host) -> None:
    pid = host.check_output("systemctl show -P MainPID witness")
    assert "fuse" in host.check_output("nsenter -m -t %s findmnt -rno FSTYPE --mountpoint %s", pid, IMAGES.path)


def test_h23_credentials_are_in_root_only_files_and_nowhere_else(host) -> None:
    secret = BED.env["AWS_SECRET_ACCESS_KEY"]
    packed = host.check_output("tar -C / -c etc/adt-assets etc/systemd/system 2>/dev/null | base64")
    holders = 0
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed))) as files:
        for file in (member for member in files if member.isfile()):
            if plain(secret) in plain(files.extractfile(file).read().decode(errors="replace")):
                assert (file.mode, file.uid) == (0o600, 0), file.name
                holders += 1
    assert holders == 2, "the site has its tool's credentials and the program's"
    for shown in (
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' '",
        "journalctl --no-pager -o cat",
        "systemctl show 'adt-assets-*'",
    ):
        assert plain(secret) not in plain(host.run(shown).stdout), shown


def test_mode_and_time_show_through_the_mount_where_the_tool_keeps_them(host) -> None:
    kept = TABLE["operations"]
    listed = host.check_output("cd %s && find . -type f -printf '%%m %%Ts %%s %%P\\n'", PRIVATE.path)
    seen = {
        name: (int(mode, 8), int(time), int(size)) for mode, time, size, name in map(str.split, listed.splitlines())
    }
    assert set(seen) == set(PRIVATE.files)
    for key, file in PRIVATE.files.items():
        mode, time, size = seen[key]
        status = file.stat()
        assert size == status.st_size, key
        if kept["chmod"] == "yes":
            assert mode == status.st_mode & 0o777, key
        if kept["mtime"] == "yes":
            assert time == int(status.st_mtime), key


def test_the_tools_table_says_what_programs_can_do() -> None:
    assert probe.operations() == TABLE["operations"]


def test_check_mode_predicted_what_the_first_run_changed() -> None:
    assert prediction_errors() == []
