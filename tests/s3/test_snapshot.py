# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Streamed out of restic's snapshot, or restored first: the same objects. And what can't be streamed, or is damaged."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from assets import contents, counts

from ansible_collections.adt.assets.plugins.module_utils._restic import FOLDER, Restic, repository_of, summary
from ansible_collections.adt.assets.plugins.module_utils._snapshot import parse_place

pytest_plugins = ["assets"]

PASSWORD = "pass $x '\"word"


class Repository:
    """A repository of its own, which restic itself writes."""

    def __init__(self, store, bucket):
        self.bucket = bucket
        self.client = store.client
        self.restic = Restic(repository_of(store, bucket, PASSWORD))
        self.restic.run("init")

    def back_up(self, webroot):
        """What asset_sync is to be given."""
        told = summary(self.restic.run("backup", "--json", "--time", "2026-11-23 20:17:00", str(webroot)))
        return {
            "src": f"restic://{self.bucket}/{self.restic.snapshots(told['snapshot_id'])[0]['id']}{webroot}",
            "src_password": PASSWORD,
        }

    def _cat(self, *what):
        return json.loads(self.restic.run("cat", *what))

    def blobs(self, kind):
        """The blobs of a kind: their ids, packs, and where in those they are."""
        indexes = self.restic.run("list", "index").decode().split()
        packs = [pack for index in indexes for pack in self._cat("index", index)["packs"]]
        return {blob["id"]: (pack["id"], blob) for pack in packs for blob in pack["blobs"] if blob["type"] == kind}

    def tree(self, src, path):
        """The blob that has the entries of a directory."""
        found = self._cat("snapshot", parse_place(src).snapshot)["tree"]
        for part in Path(path).parts[1:]:
            found = next(node["subtree"] for node in self._cat("blob", found)["nodes"] if node["name"] == part)
        return self.blobs("tree")[found]

    def flip(self, pack, blob):
        """Damage a blob by one bit."""
        key = f"{FOLDER}/data/{pack[:2]}/{pack}"
        body = bytearray(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        body[blob["offset"] + blob["length"] // 2] ^= 1
        self.client.put_object(Bucket=self.bucket, Key=key, Body=bytes(body))


@pytest.fixture
def repository(assets, client, new_name):
    bucket = new_name("repository")
    client.create_bucket(Bucket=bucket)
    return Repository(assets.store, bucket)


@pytest.fixture
def odd(site):
    """The site with what is hard to stream."""
    images = site / "images"
    (images / ("é" * 100) / ("l" * 200)).mkdir(parents=True)
    (images / ("é" * 100) / ("l" * 200) / "*").write_text("far away")
    for name in ("new\nline", "-rf", "img[1]", "\N{REPLACEMENT CHARACTER}", "GNU.sparse"):
        (images / name).write_text(name)
    os.link(images / "-rf", images / "hard")
    (images / "target").symlink_to("t" * 150)
    (images / "large").write_bytes(os.urandom(1 << 20) * 20)
    with (images / "holes").open("wb") as file:
        file.truncate(500_000)
        file.seek(300_000)
        file.write(b"data")
    os.setxattr(images / "img[1]", "user.origin", b"new\nline\xff")
    os.utime(images / "img[1]", ns=(1_700_000_000_700_000_000,) * 2)
    os.utime(images / "-rf", (4e9, 4e9))
    os.chown(images / "hard", 3_000_000, 4_000_000)
    return site


def stored(assets):
    """Every object, with all that it carries but its time of upload."""
    found = {}
    for key, body in assets.objects().items():
        head = assets.client.head_object(Bucket=assets.bucket, Key=key)
        found[key] = body, head["ContentType"], head["Metadata"]
    return found


def test_t20_a_streamed_snapshot_gives_what_a_restored_one_gives(assets, odd, repository, run_module, tmp_path):
    source = repository.back_up(odd)
    place = parse_place(source["src"])
    wanted = {"bucket": place.bucket, "snapshot": place.snapshot, "webroot": place.webroot, "password": PASSWORD}
    restored = run_module("backup_restore", {**wanted, "dest": str(tmp_path / "scratch"), "directories": ["images"]})[
        "path"
    ]
    assert assets.sync(restored, backup_time="2026-11-23T20:17:00Z")["changed"]
    by_restore = stored(assets)
    assert {key: body for key, (body, _type, _metadata) in by_restore.items()} == contents(odd / "images")
    assets.forget()
    predicted = assets.sync(**source, check=True)
    result = assets.sync(**source)
    assert result["backup"] == {"identity": source["src"], "time": "2026-11-23T20:17:00.000000Z"}
    assert result["summary"] == predicted["summary"]
    assert stored(assets) == by_restore
    for other in (source, {"src": restored}):
        assert assets.engine("asset_compare", archive_path="images", digest="read", **other)["identical"]
    again = assets.sync(**source)
    assert not again["changed"]
    assert again["engine"].startswith("none")


def test_i6_the_module_streams_and_says_no_secret(assets, site, repository):
    source = repository.back_up(site)
    result = assets.module("asset_sync", archive_path="images", **source)
    assert counts(result) == {"uploaded": len(contents(site / "images"))}
    assert PASSWORD not in json.dumps(result)
    assert assets.objects() == contents(site / "images")


def test_the_whole_webroot_can_be_restored_and_streamed(assets, site, repository, run_module, tmp_path):
    source = repository.back_up(site)
    place = parse_place(source["src"])
    wanted = {"bucket": place.bucket, "snapshot": place.snapshot, "webroot": place.webroot, "password": PASSWORD}
    restored = run_module("backup_restore", {**wanted, "dest": str(tmp_path / "scratch"), "directories": ["."]})["path"]
    assert contents(Path(restored)) == contents(site)
    assets.sync(**source, archive_path=".")
    assert assets.objects() == contents(site)


def test_an_empty_directory_is_no_error(assets, site, repository):
    assert counts(assets.sync(**repository.back_up(site), archive_path="images/empty/too")) == {}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"archive_path": "media"}, "has no directory '/.*/media'"),
        ({"archive_path": "index.php"}, "has a file at '/.*/index.php'"),
        ({"archive_path": "link"}, "has a symlink at"),
        ({"src_password": "another"}, "can't be read: restic snapshots failed .*: .*wrong password"),
        ({"src_password": ""}, "needs src_password"),
        ({"src": f"restic://BUCKET/{'0' * 64}/srv"}, "is no snapshot of that repository"),
        ({"src": f"restic://BUCKET-missing/{'0' * 64}/srv"}, "can't be read"),
    ],
)
def test_h1_what_cannot_be_streamed_says_why(assets, site, repository, change, problem):
    (site / "link").symlink_to("images")
    given = {**repository.back_up(site), **change}
    message = assets.failing_sync(**{**given, "src": given["src"].replace("BUCKET", repository.bucket)})
    assert re.search(problem, message.replace("symbolic link", "symlink"))
    assert not assets.has_manifest()


def test_t13_what_dump_would_make_other_files_of_is_named(assets, site, repository):
    os.mkfifo(site / "images" / "pipe")
    (site / "images" / "su").touch()
    (site / "images" / "su").chmod(0o4755)
    os.symlink("/etc/passwd", site / "images" / "out")
    for name in (b"bad\xff", b"bad\xfe"):  # the listing has one name for both
        Path(os.fsdecode(os.fsencode(site / "images") + b"/" + name)).touch()
    message = assets.failing_sync(**repository.back_up(site), check=True)
    assert "has 5 member(s) that can't be stored" in message
    for name in ("images/pipe' is a fifo", "images/su", "images/out", "bad\\\\xff"):
        assert name in message


def test_t18_a_damaged_pack_is_found_by_looking_before_anything_is_written(assets, site, repository):
    (site / "images" / "large").write_bytes(os.urandom(3_000_000))
    source = repository.back_up(site)
    repository.flip(*max(repository.blobs("data").values(), key=lambda each: each[1]["length"]))
    for check in (True, False):
        assert "can't be read: restic dump failed" in assets.failing_sync(**source, check=check)
    assert not assets.has_manifest()


def test_t18_a_directory_that_dump_leaves_out_without_a_word_is_an_error(assets, site, repository, monkeypatch):
    source = repository.back_up(site)
    damaged = repository.tree(source["src"], site / "images" / "2026")
    real = Restic.dump

    def dump(restic, *what):
        """The store loses it after it was listed."""
        repository.flip(*damaged)
        done = b"".join(real(restic, *what))
        assert done.endswith(bytes(1024))
        yield done

    monkeypatch.setattr(Restic, "dump", dump)
    assert re.search(
        "lacks [0-9]+ of the files that it should have, such as", assets.failing_sync(**source, check=True)
    )
