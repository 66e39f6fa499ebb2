# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain archives of a webroot on a real store: whole and found again, or not there at all (H17, H18, I5)."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from time import monotonic, sleep
from types import SimpleNamespace

import pytest
from conftest import module_path
from faulty import FaultyStore
from test_catalog import open_store

from ansible_collections.adt.assets.plugins.module_utils import _webroot_backup
from ansible_collections.adt.assets.plugins.module_utils._backup import SourceError
from ansible_collections.adt.assets.plugins.module_utils._backups import Announced
from ansible_collections.adt.assets.plugins.module_utils._progress import Work
from ansible_collections.adt.assets.plugins.module_utils._store import StoreError
from ansible_collections.adt.assets.plugins.module_utils._webroot_archive import (
    NAME,
    Webroot,
    dated,
    forget_archives,
    store_archive,
)

TIMES = [f"2026-11-23T{hour:02}:17:00Z" for hour in range(5)]
SIZE = 20_000_000  # three parts
# A tar that writes half an archive first.
CUT = 'head -c 20000000 /dev/urandom; echo "tar: ./x: Cannot open: Permission denied" >&2; exit 2'


# A process of its own that stores an archive, to be killed.
STORER = """
import json, sys
from test_catalog import open_store
from ansible_collections.adt.assets.plugins.module_utils._progress import Work
from ansible_collections.adt.assets.plugins.module_utils._webroot_archive import Webroot, store_archive
options, bucket, webroot, time = json.load(sys.stdin)
store_archive(open_store(options), bucket, Webroot(*webroot), time, Work())
"""


@pytest.fixture
def webroot(tmp_path):
    root = tmp_path / "html"
    for name in ("index.php", ".htaccess", "images/a.jpg", "img[1]/b.jpg", "img1/c.jpg", "new\nline", "-rf", "Grüße"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "large.bin").write_bytes(os.urandom(SIZE))
    return Webroot(str(root), ["img[1]"], 8, SIZE)


@pytest.fixture
def store(s3_options):
    return open_store(s3_options)


def keys(client, bucket):
    return [each["Key"] for each in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


def uploads(client, bucket):
    return client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])


@pytest.fixture
def broken_tar(tmp_path, monkeypatch):
    """Puts a script in the place of tar, for what a real one does once in a blue moon."""

    def put(script):
        (tmp_path / "tar").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "tar").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return put


def test_h17_what_was_stored_is_whole_and_archive_info_finds_it(client, hourly, webroot, store, run_module):
    archived = store_archive(store, hourly, webroot, TIMES[0], Work())
    assert archived.src == f"s3://{hourly}/{dated(TIMES[0])}" and archived.notes == []
    assert keys(client, hourly) == [NAME, dated(TIMES[0])]
    body = client.get_object(Bucket=hourly, Key=NAME)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        names = {member.name for member in archive if member.isfile()}
        assert archive.extractfile("./.htaccess").read() == b".htaccess"
    assert names == {f"./{name}" for name in (".htaccess", "-rf", "Grüße", "index.php", "large.bin", "new\nline")} | {
        "./images/a.jpg",
        "./img1/c.jpg",
    }
    wanted = {"bucket": hourly.removesuffix("-hourly"), "period": "hourly", "directories": ["images"]}
    found = run_module("archive_info", wanted)["newest"]
    # Stored in the same second, either may be the newest.
    assert found["src"] in (archived.src, f"s3://{hourly}/{NAME}")
    assert (found["size"], found["webroot"]) == (archived.bytes, "")


def test_old_archives_go_and_the_toolkits_own_stay(client, hourly, webroot, store):
    client.put_object(Bucket=hourly, Key=f"{NAME}.BACKUP", Body=b"theirs")
    small = webroot._replace(excludes=["large.bin"])
    for time in TIMES:
        store_archive(store, hourly, small, time, Work())
        forget_archives(store, hourly, 2)
    assert keys(client, hourly) == [NAME, *map(dated, TIMES[-2:]), f"{NAME}.BACKUP"]


def test_i5_a_tar_that_fails_leaves_the_last_good_archive_and_nothing_else(client, hourly, webroot, store, broken_tar):
    store_archive(store, hourly, webroot._replace(excludes=["large.bin"]), TIMES[0], Work())
    before = client.get_object(Bucket=hourly, Key=NAME)["Body"].read()
    broken_tar(CUT)
    with pytest.raises(SourceError, match=r"exit code 2\): tar: ./x: Cannot open: Permission denied"):
        store_archive(store, hourly, webroot, TIMES[1], Work())
    assert keys(client, hourly) == [NAME, dated(TIMES[0])]
    assert client.get_object(Bucket=hourly, Key=NAME)["Body"].read() == before
    assert uploads(client, hourly) == []


def test_a_file_that_changes_while_it_is_read_is_named(hourly, webroot, store, broken_tar):
    broken_tar('/usr/bin/tar "$@"; echo "tar: ./log: file changed as we read it" >&2; exit 1')
    archived = store_archive(store, hourly, webroot, TIMES[0], Work())
    assert archived.notes == ["tar: ./log: file changed as we read it"]


def test_i5_an_upload_that_breaks_leaves_nothing(client, hourly, webroot, s3_options, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    faults = {("500", "PUT"): 1.0}
    proxy = FaultyStore(s3_options["endpoint_url"], faults, only="partNumber=2")
    with pytest.raises(StoreError, match="part"):
        store_archive(open_store({**s3_options, "endpoint_url": proxy.url}), hourly, webroot, TIMES[0], Work())
    proxy.close()
    assert proxy.injected["500"] > 0
    assert keys(client, hourly) == [] and uploads(client, hourly) == []


def killed_over_an_archive(client, bucket, options, webroot, when):
    """Kill a process that stores an archive once the store has a part of it; the upload that it leaves."""
    path = f"{module_path()}{os.pathsep}{os.path.dirname(__file__)}"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": path}
    with subprocess.Popen([sys.executable, "-c", STORER], env=env, stdin=subprocess.PIPE, text=True) as process:
        process.stdin.write(json.dumps([options, bucket, webroot, when]))
        process.stdin.close()
        end = monotonic() + 30
        while not any(parts(client, bucket, each) for each in uploads(client, bucket)):
            assert process.poll() is None and monotonic() < end
            sleep(0.05)
        process.send_signal(signal.SIGKILL)
    (left,) = uploads(client, bucket)
    return left["UploadId"]


def parts(client, bucket, upload):
    return client.list_parts(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]).get("Parts", [])


def archive(bucket, webroot, store, when):
    """What the program says of the archive of a backup."""
    settings = SimpleNamespace(archive=bucket.removesuffix("-hourly"), keep={})
    made = Announced("hourly", when, "1" * 64, "web1", [webroot.path], ["large.bin"], 8, 100, "0.18.0")
    return _webroot_backup.archive(SimpleNamespace(settings=settings, store=store, work=Work()), made)


def test_what_a_killed_archive_left_goes_with_the_next_and_uploads_of_others_stay(
    client, hourly, webroot, s3_options, broken_tar
):
    broken_tar("head -c 20000000 /dev/urandom; while echo; do sleep 0.1; done")
    killed = killed_over_an_archive(client, hourly, s3_options, webroot, TIMES[0])
    broken_tar('exec /usr/bin/tar "$@"')
    others = {
        client.create_multipart_upload(Bucket=hourly, Key=key)["UploadId"]
        for key in (NAME, f"{NAME}.BACKUP", dated(TIMES[3]), f"old/{dated(TIMES[0])}")
    }
    assert archive(hourly, webroot, open_store(s3_options), TIMES[1])["archive"]["notes"] == []
    left = uploads(client, hourly)
    for each in left:
        client.abort_multipart_upload(Bucket=hourly, Key=each["Key"], UploadId=each["UploadId"])
    assert {each["UploadId"] for each in left} == others and killed not in others


def test_a_store_that_lists_no_uploads_gets_its_archive_and_a_note(hourly, webroot, s3_options):
    proxy = FaultyStore(s3_options["endpoint_url"], {("skew", "GET"): 1.0}, only="uploads")
    told = archive(hourly, webroot, open_store({**s3_options, "endpoint_url": proxy.url}), TIMES[1])
    proxy.close()
    assert "can't look for unfinished uploads" in told["archive"]["notes"][0]
