# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole flow, from the hourly backup to mounted buckets, as it stands after converge and idempotence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scenario import (
    BED,
    DIRECTORIES,
    IMAGES,
    NOT_THERE,
    PRIVATE,
    VARIABLES,
    VIDEOS,
    WEBSERVERS,
    Directory,
    changed,
    md5,
    prediction_errors,
    runs,
    writes_of_second_run,
)

EACH_DIRECTORY = pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda directory: directory.bucket)
EACH_WEBSERVER = pytest.mark.parametrize("webserver", WEBSERVERS)


@EACH_DIRECTORY
def test_h1_every_file_of_the_backup_is_in_its_bucket(directory: Directory) -> None:
    stored = BED.objects(directory.bucket)
    want = directory.files
    assert want, "the corpus has no files for this directory"
    assert {key for key in stored if not key.endswith("/")} == set(want)
    for key, file in want.items():
        body = BED.s3.get_object(Bucket=directory.bucket, Key=key)["Body"].read()
        assert body == file.read_bytes(), key


@EACH_DIRECTORY
@EACH_WEBSERVER
def test_h8_each_directory_is_mounted_at_its_own_place(directory: Directory, webserver: str) -> None:
    assert BED.on(webserver, f"findmnt -rno FSTYPE --mountpoint {directory.path} | tail -1").startswith("fuse")
    for key, file in list(directory.files.items())[:10]:
        seen = BED.on(webserver, f"md5sum < {directory.path}/{_quoted(key)}").split()[0]
        assert seen == md5(file.read_bytes()), key


@EACH_WEBSERVER
def test_h9_dotfiles_are_served_from_the_bucket_too(webserver: str) -> None:
    assert BED.fetch(webserver, "images/.htaccess") == (IMAGES.source / ".htaccess").read_bytes()


@EACH_WEBSERVER
def test_every_name_is_served_through_nginx(webserver: str) -> None:
    for key, file in IMAGES.files.items():
        assert BED.fetch(webserver, f"images/{key}") == file.read_bytes(), key


@EACH_WEBSERVER
def test_what_lies_beside_the_directories_stays_local(webserver: str) -> None:
    assert BED.fetch(webserver, "media/readme.txt") == b"beside the videos, not mounted"
    assert BED.fetch(webserver, "index.php") == NOT_THERE


@EACH_WEBSERVER
def test_the_private_directory_is_not_in_the_webroot(webserver: str) -> None:
    assert BED.fetch(webserver, "private/doc-1.pdf") == NOT_THERE
    assert BED.on(webserver, f"ls {PRIVATE.path} | wc -l").strip() == str(len(PRIVATE.files))


def test_a_file_written_on_one_webserver_is_served_by_the_other() -> None:
    BED.on("web1", f"sudo -u www-data sh -c 'echo fresh > {IMAGES.path}/fresh.txt'")
    BED.on("web2", f"for i in $(seq 40); do [ -e {IMAGES.path}/fresh.txt ] && exit; sleep 0.5; done; exit 1")
    assert BED.fetch("web2", "images/fresh.txt") == b"fresh\n"
    BED.on("web1", f"rm {IMAGES.path}/fresh.txt")


def test_i3_a_second_deploy_changes_nothing_anywhere() -> None:
    assert changed(runs()[2]) == {}
    assert writes_of_second_run() == []


def test_status_shows_every_mount_as_a_table_and_as_json(tmp_path: Path) -> None:
    written = tmp_path / "status.json"
    done = BED.playbook("adt.assets.status", {**VARIABLES, "assets_status_json": str(written)})
    rows = {
        (host["host"], mount["path"]): mount for host in json.loads(written.read_text()) for mount in host["mounts"]
    }
    assert set(rows) == {(host, directory.path) for host in WEBSERVERS for directory in DIRECTORIES}
    for (host, path), mount in rows.items():
        assert (mount["unit_state"], mount["floor"], mount["answers"]) == ("active", True, True), (host, path)
        line = next(line for line in done.stdout.splitlines() if host in line and f"{path} " in line)
        assert "yes" in line


def test_the_settings_and_the_playbook_of_the_readme_are_valid(tmp_path: Path) -> None:
    text = Path(__file__).parents[4].joinpath("README.md").read_text()
    settings, playbook = [block.split("```")[0] for block in text.split("```yaml\n")[1:]]
    (tmp_path / "site.yml").write_text(playbook)
    (tmp_path / "vars.yml").write_text(settings)
    done = BED.playbook("adt.assets.validate", {}, "-e", f"@{tmp_path / 'vars.yml'}")
    assert "www-example-com-assets-var-www-private" in done.stdout
    BED.playbook(str(tmp_path / "site.yml"), {}, "--syntax-check")


def test_check_mode_predicted_what_the_first_run_changed() -> None:
    assert prediction_errors() == []


def test_multipart_objects_are_whole() -> None:
    clip = VIDEOS.files["clip one.mp4"]
    assert BED.objects(VIDEOS.bucket)["clip one.mp4"]["Size"] == clip.stat().st_size
    assert BED.fetch("web2", "media/videos/clip one.mp4") == clip.read_bytes()


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "'\\''") + "'"
