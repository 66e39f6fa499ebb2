# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input: each gets a message that names what is wrong, and nothing is half done.

The site of the scenario is deployed and stays so; every bad run is one more ``deploy`` of it or of a second site.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator

import pytest
from scenario import BED, CORPUS, IMAGES, ONCE, SITE, TOOL, WEBSERVERS, deploy, other_template, recap, writes_seen

pytestmark = ONCE
OTHER = f"www.other-{TOOL}.example.com"
WEBROOT = "/var/www/other"
OTHER_BUCKETS = [f"{OTHER.replace('.', '-')}-assets-{name}" for name in ("images", "catalog")]


@pytest.fixture
def other_site() -> Iterator[dict[str, object]]:
    """Variables of a second site that was never deployed; its buckets are removed afterwards."""
    with other_template("other", WEBSITE_URL=OTHER, DIRECTORIES_TO_MOUNT="images") as template:
        yield {"assets_template": str(template), "assets_webroot": WEBROOT}
    for bucket in OTHER_BUCKETS:
        BED.remove_bucket(bucket)


def refused(*words: str, **variables: object) -> str:
    """Deploy with these variables; it must fail, say the words, and write nothing to any bucket. Gives the output."""
    with writes_seen() as writes:
        done = deploy(check=False, **variables)
    flat = " ".join(done.stdout.split())
    assert done.returncode != 0, done.stdout
    for word in words:
        assert word in flat, f"{word!r} is missing in:\n{done.stdout}"
    assert "Traceback" not in done.stdout, done.stdout
    assert writes == []
    return done.stdout


def test_a_missing_backup(other_site: dict[str, object]) -> None:
    refused("nothere.tar.gz", assets_backup="s3://corpus-backups/nothere.tar.gz", **other_site)
    assert not set(OTHER_BUCKETS) & set(BED.buckets())


def test_h1_a_backup_without_the_directory(other_site: dict[str, object]) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("elsewhere/file.txt"))
    BED.s3.put_object(Bucket="corpus-backups", Key="without.tar.gz", Body=archive.getvalue())
    refused("images", "without.tar.gz", assets_backup="s3://corpus-backups/without.tar.gz", **other_site)


def test_a_truncated_archive_is_never_a_success(other_site: dict[str, object]) -> None:
    whole = (CORPUS / "backup.tar.gz").read_bytes()
    BED.s3.put_object(Bucket="corpus-backups", Key="truncated.tar.gz", Body=whole[: len(whole) // 2])
    done = deploy(check=False, assets_backup="s3://corpus-backups/truncated.tar.gz", **other_site)
    assert done.returncode != 0
    assert "truncated" in done.stdout
    assert not set(OTHER_BUCKETS) & set(BED.buckets())


def test_h6_an_archive_with_a_hostile_member(other_site: dict[str, object]) -> None:
    archive = io.BytesIO()
    with gzip.open(archive, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("images/fine.txt"))
        tar.addfile(tarfile.TarInfo("images/../../etc/cron.d/evil"))
    BED.s3.put_object(Bucket="corpus-backups", Key="hostile.tar.gz", Body=archive.getvalue())
    done = deploy(check=False, assets_backup="s3://corpus-backups/hostile.tar.gz", **other_site)
    assert done.returncode != 0
    assert "images/../../etc/cron.d/evil" in done.stdout


def test_a_wrong_key_is_named_and_the_secret_is_not() -> None:
    secret = "a secret canary 4711"
    said = refused("the access key isn't accepted", assets_access_key="NOSUCHKEY", assets_secret_key=secret)
    assert secret not in said


def test_an_unreachable_endpoint_is_an_error_in_seconds(other_site: dict[str, object]) -> None:
    refused("127.0.0.1:9", assets_endpoint_url="http://127.0.0.1:9", **other_site)


def test_t16_a_bucket_of_another_site(other_site: dict[str, object]) -> None:
    before = BED.objects(IMAGES.bucket)
    refused(IMAGES.bucket, SITE, assets_buckets={"images": IMAGES.bucket}, **other_site)
    assert BED.objects(IMAGES.bucket) == before


def test_h11_t16_a_mistyped_bucket_is_refused_and_never_made_by_a_mount(other_site: dict[str, object]) -> None:
    mistyped = f"{IMAGES.bucket}-mistyped"
    done = deploy("--limit", "webservers", check=False, assets_buckets={"images": mistyped}, **other_site)
    assert done.returncode != 0
    assert f"{WEBROOT}/images needs {mistyped}, which doesn't exist" in " ".join(done.stdout.split())
    assert mistyped not in BED.buckets()
    assert BED.on("web1", f"ls {WEBROOT} 2>&1", check=False).endswith("No such file or directory\n")


def test_t15_a_directory_behind_a_symbolic_link_is_refused_on_the_webserver() -> None:
    for host in WEBSERVERS:
        BED.on(host, "ln -sfn /var/www/html /var/www/linked")
    try:
        done = deploy("--limit", "webservers", check=False, assets_webroot="/var/www/linked")
    finally:
        for host in WEBSERVERS:
            BED.on(host, "rm /var/www/linked")
    assert done.returncode != 0
    assert "/var/www/linked/images goes through a symbolic link (to /var/www/html/images)" in " ".join(
        done.stdout.split()
    )


def test_where_a_plugin_offloads_nothing_is_mounted_and_no_bucket_is_made(other_site: dict[str, object]) -> None:
    plugin = f"{WEBROOT}/plugins/filesystem/s3"
    nowhere = {**other_site, "assets_backup": "s3://corpus-backups/nothere.tar.gz"}
    BED.on("web2", f"mkdir -p {plugin}")
    try:
        done = deploy(**nowhere)
        refused("nothere.tar.gz", assets_offload_check=False, **nowhere)
    finally:
        BED.on("web2", f"rm -r {WEBROOT}")
    assert f"Amazon S3 Filesystem for Joomla in {plugin} on web2" in " ".join(done.stdout.split())
    assert {host: counters["changed"] for host, counters in recap(done.stdout).items()} == {
        "web1": 0,
        "web2": 0,
        "build1": 0,
    }
    assert not set(OTHER_BUCKETS) & set(BED.buckets())
