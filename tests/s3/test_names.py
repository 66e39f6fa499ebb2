# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of name and file: what lands is what was packed, for others' clients, too."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.register_assert_rewrite("assets")
from assets import contents, counts, pack

pytest_plugins = ["assets"]
LONGEST = "/".join(["a" * 255, "ü" * 127 + "b", "c" * 255, "d" * 253, "ee"])
NAMES = [
    "a b", " leading", "trailing ", "a+b", "a%2Fb", "%", "*", "a*b?c[1]", "-rf", "--", "#x?y=1&z", "quote'\"",
    "~", "~tilde", ".dot", "..dots", "...", "dot.", "a;b,c", "$(id)`id`", "{a}", "<b>&amp;", "a:b", "a|b", "^", "@",
    "caf\u00e9", "cafe\u0301", "日本語.jpg", "😀", "\u200b", "\ufeffbom", "NAME.jpg", "name.jpg", "Name.JPG",
    "deep/.hidden/+/%2F/*", LONGEST,
]  # fmt: skip
# rclone shows such names with stand-ins, which the mount doesn't take back.
LINES = ["tab\there", "new\nline", "return\rhere"]
STAND_INS = str.maketrans({number: 0x2400 + number for number in range(32)})
# What XML can't hold comes through no mount.
CONTROL = "\x01\x1f\x7f"


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """A webroot whose images have every name, and files of every kind."""
    assert len(LONGEST.encode()) == 1024
    images = tmp_path / "site" / "images"
    for number, name in enumerate([*NAMES, *LINES, CONTROL]):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(f"{number}: {name}".encode())
    (images / "empty").touch()
    (images / "nothing" / "in here").mkdir(parents=True)
    os.link(images / "a b", images / "z hard")
    (images / "link").symlink_to("a b")
    with (images / "holes").open("wb") as file:
        file.truncate(300000)
        file.seek(200000)
        file.write(b"data")
    return tmp_path / "site"


@contextmanager
def mounted(tool: str, bucket: str, bed: dict[str, str], tmp_path: Path) -> Iterator[Path]:
    """A bucket as a mount tool of this machine shows it."""
    top, keys = tmp_path / tool, tmp_path / f"{tool}.keys"
    top.mkdir()
    keys.write_text(f"{bed['AWS_ACCESS_KEY_ID']}:{bed['AWS_SECRET_ACCESS_KEY']}")
    keys.chmod(0o600)
    remote = f":s3,provider=Other,env_auth=true,force_path_style=true,endpoint='{bed['S3_ENDPOINT']}':{bucket}"
    command = {
        "rclone": ["rclone", "mount", remote, top, "--read-only", "--daemon", "--vfs-links"],
        "s3fs": ["s3fs", bucket, top, "-o", f"url={bed['S3_ENDPOINT']},use_path_request_style,passwd_file={keys},ro"],
    }[tool]  # fmt: skip
    subprocess.run(command, env={**os.environ, **bed, "RCLONE_CONFIG": os.devnull}, check=True)
    try:
        deadline = time.monotonic() + 20
        while not os.path.ismount(top) and time.monotonic() < deadline:
            time.sleep(0.05)
        yield top
    finally:
        subprocess.run(["fusermount3", "-u", "-z", top], check=True)


def test_t20_every_name_and_file_is_the_same_in_the_bucket_and_through_two_mounts(assets, names, bed, tmp_path):
    images = names / "images"
    wanted = contents(images)
    assets.sync(pack(names, "backup.tar.gz", 0, ".", "--sparse"))
    assert assets.objects() == wanted
    for digest in ("manifest", "read"):
        compared = assets.engine("asset_compare", src=str(names), archive_path="images", digest=digest)
        assert compared["identical"] and compared["counts"]["same"] == len(wanted)

    files = {str(path.relative_to(images)): path for path in images.rglob("*") if path.is_file()}
    del files[CONTROL]
    with mounted("rclone", assets.bucket, bed, tmp_path) as top:
        for name, path in files.items():
            assert (top / name.translate(STAND_INS)).read_bytes() == path.read_bytes(), name
        assert (top / "link").readlink() == Path("a b") and (top / "nothing" / "in here").is_dir()
    with mounted("s3fs", assets.bucket, bed, tmp_path) as top:
        for name, path in files.items():
            shown = "link.rclonelink" if name == "link" else name
            assert (top / shown).read_bytes() == (b"a b" if name == "link" else path.read_bytes()), name
        assert (top / "nothing" / "in here").is_dir()

    assert not assets.sync(pack(names, "again.tar.zst", entry="images"))["summary"]["uploaded"]["count"]
    assert counts(assets.sync(names)) == {"unchanged": len(wanted)}
    assets.delete(CONTROL)  # alone, as the XML of a deletion of many can't hold it


def tar_of(path: Path, *names: bytes) -> Path:
    """An archive with names that no file system has to take."""
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as tar:
        for name in names:
            info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name))
    return path


def test_t20_names_that_mean_the_same_path_are_stored_as_a_file_system_has_them(assets, tmp_path):
    packed = tar_of(tmp_path / "b.tar.gz", b"images/a//b", b"./images/./c", b"images/.d/./e", b"images//f")
    assets.sync(packed)
    assert set(assets.objects()) == {"a/b", "c", ".d/e", "f"}


REFUSED = {
    b"images/" + b"x/" * 512 + b"y": "1024 bytes",
    b"images/" + b"z" * 256: "255 bytes",
    b"images/not-utf8-\xff\xfe": "isn't UTF-8",
    b"/images/absolute": "absolute name",
    b"images/../up": "'..' in its name",
    b"images/a//same": "the same key",
}


def test_t20_names_that_cannot_be_stored_are_all_told_before_anything_is_written(assets, tmp_path):
    packed = tar_of(tmp_path / "b.tar.gz", b"images/good", b"images/a/same", *REFUSED)
    assets.mark_log()
    failed = assets.module("asset_sync", ok=False, src=str(packed), archive_path="images")
    for name, reason in REFUSED.items():
        shown = name.removeprefix(b"images/").replace(b"//", b"/").decode("utf-8", "backslashreplace")
        assert repr(shown)[1:-1] in failed["msg"] and reason in failed["msg"], name
    assert failed["summary"]["refused"] == {"count": len(REFUSED), "bytes": sum(map(len, REFUSED))}
    assert failed["summary"]["uploaded"]["count"] == 0
    assert assets.requests("PUT", "POST", "DELETE", buckets=(assets.bucket,)) == []


def test_t20_files_that_change_while_their_directory_is_read_land_whole_or_not_at_all(assets, site):
    """One file is replaced all the time, others come and go; what lands was there once, as a whole."""
    images, ended = site / "images", threading.Event()
    versions = {bytes([65 + number]) * (10000 + number) for number in range(8)}
    moments = versions | {b""}  # what was there at some moment

    def change() -> None:
        while not ended.is_set():
            for number, body in enumerate(sorted(versions)):
                (images / "next").write_bytes(body)
                (images / "next").rename(images / "replaced")
                (images / f"come-{number}").write_bytes(body)
                (images / f"come-{number}").unlink()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _round in range(5):
            result = assets.engine("asset_sync", ok=None, src=str(site), archive_path="images")
            if result.get("failed"):
                assert "is being written" in result["msg"]
    finally:
        ended.set()
        thread.join()
    found = assets.objects()
    changed = {key: body for key, body in found.items() if key.startswith(("next", "replaced", "come-"))}
    assert set(changed.values()) <= moments
    (images / "next").unlink(missing_ok=True)
    assets.sync(site)
    assert assets.objects()["replaced"] == (images / "replaced").read_bytes()
