# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mount table, readiness and retention. Real mounts are exercised by the molecule scenarios."""

from __future__ import annotations

import datetime
import http.server
import os
import socketserver
import threading
import time
from pathlib import Path

import pytest
import yaml

from ansible_collections.adt.assets.plugins.module_utils import _mount
from ansible_collections.adt.assets.plugins.module_utils._mount import MountError

IMAGES = "/var/www/html/images"
BENEATH = "/run/adt-assets/beneath/var-www-html-images"
BRIDGE = "/run/adt-assets/bridge/var-www-html-images"

ROOT_LINE = b"160 132 0:55 / / rw,relatime shared:53 - overlay overlay rw,lowerdir=/x\n"
BENEATH_LINE = b"355 164 0:55 /var/www/html/images " + BENEATH.encode() + b" rw,relatime - overlay overlay rw\n"
FLOOR_LINE = b"807 160 0:55 /var/www/html/images /var/www/html/images ro,nosuid,nodev shared:660 - overlay overlay rw\n"
FUSE_LINE = b"1034 807 0:184 / /var/www/html/images rw,nosuid,nodev shared:681 - fuse.anytool store:bucket rw\n"
BESIDE_LINE = b"1100 200 0:190 / " + BRIDGE.encode() + b" rw,nosuid,nodev - fuse.anytool store:bucket ro\n"
BRIDGE_LINE = b"1101 1034 0:190 / /var/www/html/images rw,nosuid,nodev shared:690 - fuse.anytool store:bucket ro\n"


def look(*lines: bytes) -> _mount.State:
    return _mount.look(_mount.parse_mountinfo(b"".join(lines)), IMAGES, BENEATH, BRIDGE)


def test_names_are_unescaped_and_bytes_that_are_no_utf8_survive():
    line = (
        rb"36 35 98:0 /a\040b /mnt/tab\011line\012back\134slash" + b"\xff rw,nosuid master:1 - ext4 /dev/x\\040y rw\n"
    )
    (mount,) = _mount.parse_mountinfo(line)
    assert mount.root == "/a b"
    assert os.fsencode(mount.point) == b"/mnt/tab\tline\nback\\slash\xff"
    assert mount.source == "/dev/x y"
    assert mount.options == ("rw", "nosuid")


def test_a_line_without_optional_fields_is_read():
    (mount,) = _mount.parse_mountinfo(b"36 35 98:0 / /mnt rw - ext4 /dev/x rw\n")
    assert (mount.fstype, mount.source) == ("ext4", "/dev/x")


def test_the_stack_follows_parents_and_not_the_order_of_lines():
    mounts = _mount.parse_mountinfo(FUSE_LINE + ROOT_LINE + FLOOR_LINE)
    assert [mount.id for mount in _mount.stack(mounts, IMAGES)] == [807, 1034]


def test_local_files_have_no_floor_and_nothing_in_front():
    state = look(ROOT_LINE)
    assert state == _mount.State(beneath=None, floor=False, fuse=None, foreign=None, inside=())


def test_floor_and_mount_are_told_apart():
    assert look(ROOT_LINE, BENEATH_LINE, FLOOR_LINE).fuse is None
    state = look(ROOT_LINE, BENEATH_LINE, FLOOR_LINE, FUSE_LINE)
    assert state.floor and state.fuse and state.fuse.fstype == "fuse.anytool" and state.foreign is None


def test_what_lies_on_a_mount_is_the_hosts_own_only_where_it_shows_its_directories():
    own = (
        b"1040 1034 0:55 /var/lib/adt-assets/images/own/cache " + IMAGES.encode() + b"/cache rw - overlay overlay rw\n"
    )
    copy = own.replace(b"1040 1034", b"1041 1034").replace(b"own/cache", b"code/lib").replace(b"cache rw", b"lib ro")
    inner = own.replace(b"1040 1034", b"1042 1041").replace(b"/cache", b"/lib/tmp")
    foreign = own.replace(b"1040 1034", b"1043 1034").replace(b"/var/lib/adt-assets/images/own", b"/srv")
    mounts = _mount.parse_mountinfo(b"".join([inner, own, FUSE_LINE, ROOT_LINE, copy, foreign]))
    config = _mount.Config("images", IMAGES)
    there = [mount for mount in _mount._lying_on(mounts, 1034) if _mount._shows(mount, config, "(own|code)/.+")]
    assert sorted(mount.id for mount in there) == [1040, 1041, 1042]
    assert [mount.id for mount in there].index(1041) < [mount.id for mount in there].index(1042)
    wanted = {
        "cache": (config.own / "cache", False),
        "lib": (config.copies / "lib", True),
        "lib/tmp": (config.own / "lib/tmp", False),
    }
    assert _mount._as_wanted(config, there, wanted)
    assert not _mount._as_wanted(config, there, {**wanted, "lib": (config.copies / "lib", False)})
    assert not _mount._as_wanted(config, there, {"cache": wanted["cache"]})
    assert not _mount._as_wanted(config, [*there, there[0]], wanted), "one of them lies on another"


def test_the_bridge_in_front_is_not_taken_for_the_mount():
    before = [ROOT_LINE, BENEATH_LINE, FLOOR_LINE, FUSE_LINE, BESIDE_LINE]
    assert look(*before).mounted
    state = look(*before, BRIDGE_LINE)
    assert state.bridged and not state.mounted
    again = FUSE_LINE.replace(b"1034 807 0:184", b"1200 1101 0:195")
    state = look(*before, BRIDGE_LINE, again)
    assert state.mounted, "the mount in front of the bridge"
    assert state.above == 3, "the old mount, the bridge and the new one"


def test_a_bridge_that_has_lost_its_other_end_is_what_a_dead_mount_is():
    state = look(ROOT_LINE, BENEATH_LINE, FLOOR_LINE, FUSE_LINE, BRIDGE_LINE)
    assert state.mounted, "it can be taken away"


def test_h13_a_mount_without_our_floor_is_foreign():
    fuse = FUSE_LINE.replace(b"1034 807", b"1034 160")
    state = look(ROOT_LINE, fuse)
    assert state.foreign and not state.floor


def test_a_writable_bind_mount_is_no_floor():
    assert not look(ROOT_LINE, BENEATH_LINE, FLOOR_LINE.replace(b" ro,", b" rw,")).floor


def test_local_files_that_lie_on_fuse_are_not_taken_for_the_bucket():
    beneath = BENEATH_LINE.replace(b"0:55", b"0:77").replace(b"overlay", b"fuse.cluster")
    floor = FLOOR_LINE.replace(b"0:55", b"0:77").replace(b"overlay", b"fuse.cluster")
    state = look(ROOT_LINE, beneath, floor)
    assert state.floor and state.fuse is None


def test_other_mounts_inside_are_seen():
    assert look(ROOT_LINE, b"900 160 0:9 / /var/www/html/images/cache rw - tmpfs t rw\n").inside == (IMAGES + "/cache",)
    assert look(ROOT_LINE, b"900 160 0:9 / /var/www/html/images2 rw - tmpfs t rw\n").inside == ()


# ---------------------------------------------------------------- work with a time limit


def test_h15_what_hangs_is_given_up():
    began = time.monotonic()
    with pytest.raises(MountError, match="no answer within"):
        _mount.limited(lambda: time.sleep(60), 0.3)
    assert time.monotonic() - began < 5


def zombie() -> int:
    """A child of this process that has ended and was not waited for; 0 for none."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0]
    except ChildProcessError:
        return 0


def test_no_child_is_left_behind_however_often_a_mount_is_asked():
    for _look in range(20):
        assert _mount.limited(lambda: 1, 5) == 1
    with pytest.raises(MountError):
        _mount.limited(lambda: time.sleep(60), 0.1)
    time.sleep(0.5)
    assert _mount.limited(lambda: 1, 5) == 1
    assert zombie() == 0


def test_results_and_errors_come_back():
    assert _mount.limited(lambda: {"a": [1, "é"]}, 5) == {"a": [1, "é"]}
    with pytest.raises(MountError, match="No such file"):
        _mount.limited(lambda: os.stat("/nonexistent/file"), 5)


def test_a_child_that_dies_is_an_error():
    with pytest.raises(MountError, match="without an answer"):
        _mount.limited(lambda: os._exit(3), 5)


# ---------------------------------------------------------------- reading through


def test_one_readable_file_is_proof(tmp_path: Path):
    (tmp_path / "b").write_text("x")
    _mount.read_through(str(tmp_path), ["deleted-just-now", "b"])


def test_h15_an_empty_mount_on_a_bucket_with_files_is_no_answer(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        _mount.read_through(str(tmp_path), ["a", "b"])


def test_an_empty_bucket_is_fine_when_the_directory_can_be_listed(tmp_path: Path):
    _mount.read_through(str(tmp_path), [])
    with pytest.raises(FileNotFoundError):
        _mount.read_through(str(tmp_path / "gone"), [])


def test_keys_become_names_only_where_a_mount_shows_them_so():
    keys = ["a/b.jpg", "dir/", "../../etc/passwd", "/abs", "x//y", "link.rclonelink", "./z"]
    assert _mount.shown_as(keys, "rclonelink") == ["a/b.jpg", "link"]
    assert _mount.shown_as(keys, "object") == ["a/b.jpg", "link.rclonelink"]


def test_a_link_counts_without_being_followed(tmp_path: Path):
    (tmp_path / "link").symlink_to("/nonexistent")
    _mount.read_through(str(tmp_path), ["link"])


@pytest.mark.parametrize("token", ["", "a/token+="])
def test_h23_the_signature_is_the_one_of_botocore(token: str):
    auth = pytest.importorskip("botocore.auth")
    request_type = pytest.importorskip("botocore.awsrequest").AWSRequest
    credentials = pytest.importorskip("botocore.credentials").Credentials
    keys = {"access_key": "AK", "secret_key": "s/e&c+r%e|t\"'$ x=", "session_token": token}
    url = "http://127.0.0.1:8333/some-bucket?encoding-type=url&list-type=2&max-keys=20"
    theirs = request_type("GET", url)
    auth.S3SigV4Auth(credentials("AK", keys["secret_key"], token or None), "s3", "eu-west-1").add_auth(theirs)
    now = datetime.datetime.strptime(theirs.context["timestamp"], "%Y%m%dT%H%M%SZ")
    ours = _mount.sign("GET", url, "eu-west-1", keys, now)
    assert ours["authorization"].split("Signature=")[1] == theirs.headers["Authorization"].split("Signature=")[1]


def test_buckets_are_addressed_by_path_or_by_host():
    store = {"endpoint_url": "https://s3.example.com:9000/base/"}
    assert _mount.bucket_url(store, "b") == "https://s3.example.com:9000/base/b"
    assert _mount.bucket_url({**store, "addressing_style": "virtual"}, "b") == "https://b.s3.example.com:9000/base/"


# ---------------------------------------------------------------- retention


@pytest.mark.parametrize(
    ("in_front", "recorded", "absent_before", "verdict"),
    [
        ("same", True, False, "delete"),
        ("same", False, False, "delete"),
        ("different", True, False, "delete"),
        ("different", False, False, "keep"),
        ("missing", True, False, "vanished"),
        ("missing", True, True, "delete"),
        ("missing", False, False, "keep"),
        ("missing", False, True, "keep"),
    ],
)
def test_h9_only_what_was_accounted_for_is_deleted(in_front: str, recorded: bool, absent_before: bool, verdict: str):
    assert _mount.decide(in_front, recorded, absent_before) == verdict


@pytest.mark.parametrize(
    ("vanished", "files", "refused"), [(20, 20, False), (21, 20, True), (50, 1000, False), (51, 1000, True)]
)
def test_h2_many_vanished_files_are_not_believed(vanished: int, files: int, refused: bool):
    assert _mount.too_many(vanished, files) is refused


class Site:
    """Two plain directories stand for the local files beneath and the bucket in front."""

    def __init__(self, top: Path) -> None:
        self.beneath, self.front = top / "beneath", top / "front"
        self.beneath.mkdir()
        self.front.mkdir()

    def put(self, side: Path, name: str, text: str) -> None:
        (side / name).parent.mkdir(parents=True, exist_ok=True)
        (side / name).write_text(text)

    def both(self, name: str, text: str = "same") -> None:
        self.put(self.beneath, name, text)
        self.put(self.front, name, text)

    def record(self, absent: list[str] | None = None) -> dict[str, object]:
        files = {name: _mount._mark(status) for name, status in _mount.local_files(str(self.beneath))}
        return {"files": files, "absent": absent or [], "since": 1.0}

    def judge(self, record: dict[str, object]) -> dict[str, str]:
        verdicts = _mount.judge(str(self.beneath), str(self.front), record)
        return {name: verdict for name, (verdict, _mark) in verdicts.items()}

    def left(self) -> list[str]:
        return sorted(name for name, _status in _mount.local_files(str(self.beneath)))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_h9_dotfiles_and_awkward_names_are_treated_like_any_other(site: Site):
    names = [".htaccess", "-rf", "a b/né\nw", "deep/er/x.jpg", os.fsdecode(b"\xff.jpg")]
    for name in names:
        site.both(name)
    record = site.record()
    assert set(site.judge(record)) == set(names)
    assert _mount.delete_beneath(str(site.beneath), _mount.judge(str(site.beneath), str(site.front), record)) == 5
    assert list(site.beneath.iterdir()) == []


def test_i1_a_file_that_changed_since_the_cutover_stays(site: Site):
    site.both("changed")
    site.both("appeared")
    record = site.record()
    del record["files"]["appeared"]  # type: ignore[attr-defined]
    site.put(site.beneath, "changed", "written beneath")
    site.put(site.beneath, "appeared", "written beneath")
    assert site.judge(record) == {"changed": "keep", "appeared": "keep"}


def test_what_a_user_edited_or_deleted_in_the_bucket_goes_beneath(site: Site):
    for name in ("edited", "deleted", "conflict"):
        site.both(name)
    (site.front / "conflict").unlink()
    record = site.record(absent=["conflict"])
    site.put(site.front, "edited", "newer")
    (site.front / "deleted").unlink()
    assert site.judge(record) == {"edited": "delete", "deleted": "vanished", "conflict": "delete"}


def test_same_size_and_other_bytes_is_different(site: Site):
    site.both("a", "12345")
    record = {"files": {}, "absent": [], "since": 1.0}
    site.put(site.front, "a", "12354")
    assert site.judge(record) == {"a": "keep"}


def test_links_are_compared_by_their_text_and_never_followed(site: Site, tmp_path: Path):
    (tmp_path / "outside").write_text("same")
    site.put(site.front, "file", "same")
    for name, ours, theirs in (("link", "x", "x"), ("other", "x", "y")):
        (site.beneath / name).symlink_to(ours)
        (site.front / name).symlink_to(theirs)
    site.put(site.beneath, "real", "same")
    (site.front / "real").symlink_to(tmp_path / "outside")
    verdicts = site.judge({"files": {}, "absent": [], "since": 1.0})
    assert verdicts == {"link": "delete", "other": "keep", "real": "keep"}


def test_h21_a_directory_link_in_front_is_not_walked_through(site: Site):
    site.put(site.beneath, "d/x", "same")
    (site.front / "d").symlink_to(site.beneath / "d")
    assert site.judge({"files": {}, "absent": [], "since": 1.0}) == {"d/x": "keep"}


def test_pipes_stay(site: Site):
    os.mkfifo(site.beneath / "pipe")
    os.mkfifo(site.front / "pipe")
    assert site.judge(site.record()) == {"pipe": "keep"}


def test_what_changes_between_looking_and_deleting_stays(site: Site):
    site.both("a")
    site.both("b")
    verdicts = _mount.judge(str(site.beneath), str(site.front), site.record())
    site.put(site.beneath, "a", "written just now")
    assert _mount.delete_beneath(str(site.beneath), verdicts) == 1
    assert site.left() == ["a"]


def test_a_read_error_in_front_is_no_verdict(site: Site):
    site.both("a")
    with pytest.raises(OSError):
        _mount.judge(str(site.beneath), str(site.front / "unmounted"), site.record())
    assert site.left() == ["a"]


# ---------------------------------------------------------------- the record of the cutover


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _mount.Config:
    monkeypatch.setattr(_mount, "STATE_DIR", tmp_path / "state")
    path = tmp_path / "images"
    path.mkdir()
    return _mount.Config(name="images", path=str(path))


def test_files_that_come_after_the_record_are_found(config: _mount.Config):
    Path(config.path, "old").write_text("1")
    assert _mount.take_record(config) == {"files": 1}
    assert _mount.late_files(config)["late"] == 0
    Path(config.path, "new").write_text("2")
    Path(config.path, "old").write_text("3")
    assert _mount.late_files(config) == {"late": 2, "names": ["new", "old"]}


def test_i1_late_files_are_accounted_for_as_they_were_copied(config: _mount.Config):
    _mount.take_record(config)
    for name in ("a", "deep/b"):
        Path(config.path, name).parent.mkdir(exist_ok=True)
        Path(config.path, name).write_text(name)
    os.utime(Path(config.path, "a"), (1, 1))
    Path(config.path, "link").symlink_to("a")
    copied = _mount.copy_late_files(config)
    assert copied["late"] == 3
    assert Path(copied["copied_to"], "deep/b").read_text() == "deep/b"
    assert Path(copied["copied_to"], "a").stat().st_mtime == 1
    assert os.readlink(Path(copied["copied_to"], "link")) == "a"
    Path(config.path, "a").write_text("written again, after the copy")
    _mount.account_late_files(config)
    assert list(_mount._came_late(config)) == ["a"]
    assert not Path(copied["copied_to"]).exists()


def test_retention_begins_once_and_knows_what_the_bucket_lacked(config: _mount.Config):
    Path(config.path, "a").write_text("1")
    Path(config.path, "gone").write_text("1")
    _mount.take_record(config)
    Path(config.path, "gone").unlink()
    since = _mount.complete_record(config)["since"]
    assert _mount.read_record(config)["absent"] == ["gone"]
    assert _mount.complete_record(config)["since"] == since


def test_h7_retire_touches_nothing_without_a_floor(config: _mount.Config):
    Path(config.path, "a").write_text("1")
    assert _mount.retire(config) == {"deleted": 0, "kept": 0}
    assert Path(config.path, "a").exists()


def test_settings_of_another_version_are_read(config: _mount.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_mount, "CONFIG_DIR", tmp_path)
    (tmp_path / "x.json").write_text('{"path": "/x", "buckets": ["b"], "something_new": 1}')
    assert _mount.load_config("x") == _mount.Config(name="x", path="/x", buckets=("b",))
    with pytest.raises(MountError, match="no asset directory"):
        _mount.load_config("y")


def test_a_symbolic_link_on_the_way_is_a_problem(tmp_path: Path):
    (tmp_path / "real" / "images").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    nothing = _mount.State(None, False, None, None, ())
    real = os.path.realpath(tmp_path)
    assert _mount.path_problems(f"{real}/real/images", nothing) == []
    assert "symbolic link" in _mount.path_problems(f"{real}/link/images", nothing)[0]
    assert "symbolic link" in _mount.path_problems(f"{real}/link", nothing)[0]


def test_pending_is_zero_where_close_uploads_and_unknown_where_nobody_tells():
    assert _mount.pending(_mount.Config("n", "/p", write_back=False)) == 0
    assert _mount.pending(_mount.Config("n", "/p", write_back=True)) is None
    asked = {"socket": "/nonexistent.sock", "request": "x", "count": ["a.b"]}
    with pytest.raises(MountError, match="pending"):
        _mount.pending(_mount.Config("n", "/p", write_back=True, remote_control=asked))


def test_pending_is_zero_after_an_fsync_where_that_uploads(tmp_path: Path):
    config = _mount.Config("n", str(tmp_path), write_back=True, fsync_uploads=True)
    assert _mount.pending(config) == 0
    with pytest.raises(MountError, match="not everything is uploaded"):
        _mount.pending(config._replace(path=str(tmp_path / "gone")))


def cached(tmp_path: Path, **notes: str) -> _mount.Config:
    """A directory whose tool keeps these notes about its cached files."""
    folder = tmp_path / "meta" / "store" / "bucket" / "deep"
    folder.mkdir(parents=True)
    for name, note in notes.items():
        (folder / name).write_text(note)
    return _mount.Config(
        "n",
        str(tmp_path),
        cache=str(tmp_path),
        waits_in_cache={"folder": "meta", "depth": 2, "key": "Dirty"},
    )


def test_h12_the_cache_says_which_files_wait_and_what_cannot_be_read_counts_as_waiting(tmp_path: Path):
    config = cached(tmp_path, clean='{"Dirty": false}', waits='{"Dirty": true}', torn='{"Dir', old="{}")
    assert _mount.waiting_in_cache(config) == ["deep/torn", "deep/waits"]
    assert _mount.waiting_in_cache(config._replace(waits_in_cache=None)) == []
    assert _mount.waiting_in_cache(config._replace(cache=str(tmp_path / "gone"))) == []


def test_h12_draining_what_is_not_mounted_names_what_waits_and_says_what_to_do(tmp_path: Path):
    config = cached(tmp_path, waits='{"Dirty": true}')
    with pytest.raises(MountError, match=r"nothing is mounted.*deep/waits.*Start adt-assets-n.service"):
        _mount.drain(config, 60)
    (tmp_path / "meta/store/bucket/deep/waits").unlink()
    assert _mount.drain(config, 60) == {"pending": 0}


def test_h14_draining_allows_writes_again_when_it_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = cached(tmp_path, waits='{"Dirty": true}')
    fuse = _mount.Mount(1, 0, "0:1", "/", str(tmp_path), ("rw",), "fuse.x", "x")
    monkeypatch.setattr(_mount.Config, "state", lambda _config: _mount.State(None, True, fuse, None, ()))
    turns: list[bool] = []
    monkeypatch.setattr(_mount, "set_read_only", lambda _config, read_only: turns.append(read_only))
    with pytest.raises(MountError, match=r"not uploaded after 1 s: deep/waits\. Writes are allowed again"):
        _mount.drain(config, 1)
    assert turns == [True, False]


class Scene:
    """One mounted directory as the watch meets it; what its questions are answered, and what it did."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fuse: int | None = 7
        self.alive = True
        self.process: str | None = None
        self.look_up: str | None = None
        self.s3: dict[str, str] = {}  # why a bucket can't be asked; all of them by the name of none
        self.failed: int | None = None
        self.buckets: tuple[str, ...] = ("bucket",)
        self.taken_away = ""
        self.forgot = 0
        self.unit = {"ActiveState": "deactivating", "Result": "signal", "MainPID": "4711"}
        self.killed: list[tuple[int, int]] = []
        self.known = _mount.Watched()
        monkeypatch.setattr(_mount, "STATE_DIR", tmp_path)
        monkeypatch.setattr(_mount.Config, "state", lambda config: self.state())
        monkeypatch.setattr(_mount, "is_alive", lambda path: self.answer(self.process, self.alive))
        monkeypatch.setattr(_mount, "look_up_nothing", lambda path: self.answer(self.look_up))
        monkeypatch.setattr(_mount, "try_buckets", lambda config, _s=0: [self.ask(name) for name in config.buckets])
        monkeypatch.setattr(_mount, "failed_requests", lambda config: self.failed)
        monkeypatch.setattr(_mount, "_take_away", lambda config, why: setattr(self, "taken_away", why))
        monkeypatch.setattr(_mount, "forget", lambda config: setattr(self, "forgot", self.forgot + 1))
        monkeypatch.setattr(_mount, "unit_states", lambda units: {units[0]: self.unit})
        monkeypatch.setattr(_mount.os, "kill", lambda process, signal: self.killed.append((process, signal)))

    def answer(self, error: str | None, result: object = None) -> object:
        if error:
            raise MountError(error)
        return result

    def ask(self, bucket: str) -> tuple[list[str], str]:
        return [], self.s3.get(bucket, self.s3.get("", ""))

    def state(self) -> _mount.State:
        mount = None if self.fuse is None else _mount.Mount(self.fuse, 1, "0:1", "/", "/p", (), "fuse.x", "b")
        return _mount.State(None, True, mount, None, ())

    def look(self, times: int = 1) -> str:
        """What was remembered last after some looks."""
        config = _mount.Config("p", "/p", self.buckets)
        for _time in range(times):
            self.known = _mount.watch_once(config, self.known)
        return (_mount.last_event(config) or {"what": ""})["what"]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


def test_t6_a_mount_that_answers_is_left_alone_and_needs_no_words(scene: Scene):
    assert scene.look(3 * _mount.LOOK_UP_EVERY) == ""
    assert scene.killed == []


@pytest.mark.parametrize("s3", [{}, {"": "down"}])
def test_t6_a_process_that_does_not_answer_is_killed_whatever_s3_does(scene: Scene, s3: dict[str, str]):
    scene.look(2)
    scene.process, scene.s3 = "no answer within 2 s", s3
    scene.look(_mount.FAILURES - 1)
    assert scene.killed == []
    assert "no answer within 2 s" in scene.look()
    assert scene.killed == [(4711, 9)]
    scene.process, scene.alive = None, False
    assert "no answer within 2 s" in scene.look()
    scene.alive = True
    assert scene.look() == "the bucket is in front"


def test_t6_one_slow_answer_is_forgiven(scene: Scene):
    for _time in range(5):
        scene.process = "slow"
        scene.look(_mount.FAILURES - 1)
        scene.process = None
        scene.look()
    assert scene.killed == []


def test_t5_a_mount_that_can_not_look_things_up_is_killed_only_when_s3_answers_others(scene: Scene):
    scene.look_up, scene.s3 = "down", {"": "down"}
    assert "S3 can't be reached" in scene.look(5 * _mount.LOOK_UP_EVERY)
    assert scene.killed == []
    scene.look_up, scene.s3 = None, {}
    assert scene.look(2 * _mount.LOOK_UP_EVERY) == "S3 answers again"
    scene.look_up = "refused"
    scene.look(_mount.LOOK_UP_EVERY + _mount.FAILURES - 2)
    assert scene.killed == []
    assert "refused" in scene.look()
    assert len(scene.killed) == 1


def test_t6_a_look_up_that_hangs_while_s3_answers_ends_an_idle_process_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_mount, "HANG_SECONDS", 0.2)
    monkeypatch.setattr(_mount, "LOOK_UP_SECONDS", 0.2)
    monkeypatch.setattr(_mount, "look_up_nothing", lambda path: time.sleep(5))
    cpu = iter(range(1000))
    monkeypatch.setattr(_mount, "cpu_seconds", lambda config: next(cpu))
    scene.look(_mount.LOOK_UP_EVERY)
    mount = (4711, 9)
    assert mount not in scene.killed, "it works on something"
    monkeypatch.setattr(_mount, "cpu_seconds", lambda config: 0.5)
    scene.s3 = {"": "down"}
    assert "S3 can't be reached" in scene.look()
    assert mount not in scene.killed
    scene.s3 = {}
    assert any("its process does nothing" in scene.look() for _look in range(_mount.LOOK_UP_EVERY))
    assert mount in scene.killed


def test_t6_the_time_that_a_process_has_computed_is_read(monkeypatch: pytest.MonkeyPatch):
    config = _mount.Config("p", "/p")
    monkeypatch.setattr(_mount, "unit_states", lambda units: {units[0]: {"MainPID": str(os.getpid())}})
    before = _mount.cpu_seconds(config)
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    assert 0.2 < _mount.cpu_seconds(config) - before < 5
    monkeypatch.setattr(_mount, "unit_states", lambda units: {})
    assert _mount.cpu_seconds(config) == 0.0


def test_a_mount_that_ends_and_comes_back_is_told(scene: Scene):
    scene.look()
    scene.fuse = None
    assert "ended" in scene.look(3)
    scene.fuse = 7  # the kernel uses numbers again
    assert scene.look() == "the bucket is in front"
    scene.alive = False
    assert "ended" in scene.look()


def test_a_mount_that_was_stopped_is_nothing_to_remember(scene: Scene):
    scene.look()
    scene.fuse, scene.unit["Result"] = None, "success"
    assert scene.look(3) == ""


@pytest.fixture
def merged(scene: Scene) -> Scene:
    scene.buckets = ("a", "b", "c")
    scene.failed = 0
    scene.look()
    scene.forgot = 0
    return scene


def test_h15_several_buckets_of_which_one_is_gone_are_taken_away_at_the_next_look(merged: Scene):
    merged.s3, merged.failed = {"b": "bucket b: refused"}, 1
    merged.look()
    assert (merged.taken_away, merged.forgot) == ("bucket b: refused", 0)


def test_h15_a_tool_that_does_not_count_failures_has_its_buckets_asked_now_and_then(merged: Scene):
    merged.failed, merged.s3, merged.look_up = None, {"b": "refused"}, "it was taken away just now"
    assert merged.look(_mount.LOOK_UP_EVERY - 1) == ""
    assert merged.taken_away == "refused"


def test_several_buckets_cost_nothing_while_no_request_fails(merged: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_mount, "try_buckets", lambda *_: pytest.fail("asked"))
    assert merged.look(3 * _mount.LOOK_UP_EVERY) == ""


def test_t5_several_buckets_stay_in_front_when_all_are_away_together(merged: Scene):
    merged.s3, merged.failed = {"": "down"}, 1
    merged.look()
    assert (merged.taken_away, merged.forgot) == ("", 0)


def test_a_request_that_failed_once_leaves_no_listing_without_its_files(merged: Scene):
    merged.failed = 1
    assert merged.look(3) == ""
    assert (merged.taken_away, merged.forgot) == ("", 1)


class Speaker(http.server.BaseHTTPRequestHandler):
    """A mount's process that tells how its requests went."""

    told = b"""# TYPE rclone_http_status_code counter
rclone_http_status_code{code="0",host="",method="GET"} 2
rclone_http_status_code{code="200",host="",method="GET"} 18
rclone_http_status_code{code="204",host="",method="DELETE"} 8
rclone_http_status_code{code="403",host="",method="GET"} 1
rclone_http_status_code{code="404",host="",method="GET"} 1
rclone_http_status_code{code="404",host="",method="HEAD"} 27
rclone_http_status_code{code="503",host="",method="HEAD"} 1
rclone_errors_total 9
"""

    def do_GET(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + self.told)

    def log_message(self, *_args: object) -> None:
        pass


def test_failed_requests_are_those_that_no_healthy_bucket_answers_so(tmp_path: Path):
    table = Path(__file__).parents[4] / "roles/asset_mount/vars/tools/rclone.yml"
    control = yaml.safe_load(table.read_text())["__asset_mount_tool"]["remote_control"]
    config = _mount.Config("n", "/p", remote_control={**control, "socket": str(tmp_path / "s")})
    assert _mount.failed_requests(config) is None
    with socketserver.UnixStreamServer(str(tmp_path / "s"), Speaker) as server:
        threading.Thread(target=server.handle_request).start()
        assert _mount.failed_requests(config) == 5


@pytest.mark.parametrize("result,kept,stays", [("signal", False, True), ("signal", True, False), ("", False, False)])
def test_h15_a_dead_mount_is_left_in_front_of_an_empty_directory(
    config: _mount.Config, monkeypatch: pytest.MonkeyPatch, result: str, kept: bool, stays: bool
):
    if result:
        monkeypatch.setenv("SERVICE_RESULT", result)
    monkeypatch.setattr(_mount, "RUN_DIR", Path(config.path).parent)
    os.makedirs(config.beneath)
    if kept:
        Path(config.beneath, "file").write_text("x")
    layers = [_mount.Mount(1, 0, "0:1", "/", config.path, ("rw",), "fuse.x", "x")]
    monkeypatch.setattr(
        _mount.Config,
        "state",
        lambda _config: _mount.State(None, True, layers[0] if layers else None, None, (), above=len(layers)),
    )
    monkeypatch.setattr(_mount, "_detach", lambda _path: layers.pop())
    _mount.release(config)
    assert bool(layers) is stays
