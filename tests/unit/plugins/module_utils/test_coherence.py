# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What webservers tell each other. Real mounts and real peers are in the molecule scenario asset_mount."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.adt.assets.plugins.module_utils import _coherence, _mount
from ansible_collections.adt.assets.plugins.module_utils._coherence import Check, Heard, Link, Site

SITE = "www-example-com-assets-catalog"
KEYS = {"access_key": "AK", "secret_key": "a secret"}
KEY = _coherence.site_key(KEYS, SITE)


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.settimeout(2)
    return ours, theirs


def meet(client_key: bytes, server_keys: dict[str, bytes], catalog: str = SITE) -> tuple[object, object]:
    """What greet() and welcome() come to: links, or what was raised."""
    near, far = pair()
    results: list[object] = [None, None]

    def run(at: int, work):
        try:
            results[at] = work()
        except OSError as error:
            results[at] = error
            (near, far)[at].close()

    def answer():
        link, site, host = _coherence.welcome(far, server_keys)
        link.send({})
        return link, site, host

    threads = [
        threading.Thread(target=run, args=(0, lambda: _coherence.greet(near, client_key, catalog, "web1"))),
        threading.Thread(target=run, args=(1, answer)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results[0], results[1]


def test_two_webservers_of_a_site_understand_each_other():
    link, (other, site, host) = meet(KEY, {SITE: KEY})
    assert (site, host) == (SITE, "web1")
    link.send({"changed": {"m": {"a\udcff": None}}})
    assert other.receive() == {"changed": {"m": {"a\udcff": None}}}
    other.send({})
    assert link.receive() == {}


def test_one_that_does_not_know_the_secret_is_refused_by_either_end():
    wrong = _coherence.site_key({**KEYS, "secret_key": "another"}, SITE)
    for client, server in ((wrong, KEY), (KEY, wrong)):
        near, far = meet(client, {SITE: server})
        assert isinstance(far, PermissionError)
        assert isinstance(near, OSError)


def test_the_key_is_not_the_secret_and_differs_between_sites():
    assert b"a secret" not in KEY
    assert _coherence.site_key(KEYS, "other") != KEY


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"site": "unknown"}', b"not json", b'{"site": 1}'])
def test_a_greeting_that_names_no_site_is_refused(body):
    near, far = pair()
    near.sendall(os.urandom(_coherence.NONCE) + len(body).to_bytes(4, "big") + body + bytes(32))
    with pytest.raises(PermissionError):
        _coherence.welcome(far, {SITE: KEY})


def links() -> tuple[Link, Link, socket.socket, socket.socket]:
    near, far = pair()
    return Link(near, b"k", b"client", b"server"), Link(far, b"k", b"server", b"client"), near, far


def recorded(connection: socket.socket) -> bytes:
    return connection.recv(1 << 16)


@pytest.mark.parametrize("tamper", ["flip", "replay", "reflect", "long"])
def test_messages_that_are_changed_repeated_sent_back_or_too_long_are_refused(tamper):
    client, server, near, far = links()
    client.send({"changed": 1})
    message = recorded(far)
    if tamper == "flip":
        near.sendall(message.replace(b"1", b"2"))
    if tamper == "replay":
        near.sendall(message + message)
        assert server.receive() == {"changed": 1}
    if tamper == "long":
        near.sendall((_coherence.FRAME_MAX + 1).to_bytes(4, "big"))
    if tamper == "reflect":
        far.sendall(message)
        server = client
    with pytest.raises(PermissionError):
        server.receive()


def test_a_connection_that_ends_in_a_message_is_an_error():
    client, server, near, far = links()
    client.send({"changed": 1})
    message = recorded(far)
    near.sendall(message[:10])
    near.close()
    with pytest.raises(ConnectionResetError):
        server.receive()


# What is told, and when.


@pytest.fixture
def config(tmp_path):
    notes = tmp_path / "vfsMeta/store/bucket"
    notes.mkdir(parents=True)
    waits = {"folder": "vfsMeta", "depth": 2, "key": "Dirty"}
    return _mount.Config("n", "/p", symlinks="rclonelink", cache=str(tmp_path), waits_in_cache=waits)


def note(config: _mount.Config, name: str, **content: object) -> None:
    Path(config.cache, "vfsMeta/store/bucket", name).write_text(json.dumps(content))


def test_a_file_is_told_of_when_it_is_in_the_bucket(config, monkeypatch):
    queued = {"in queue"}
    monkeypatch.setattr(_coherence, "queued_uploads", lambda _config: queued)
    waiting = _coherence.Waiting()
    waiting.add(["dirty", "clean", "no note", "in queue", "link"], 100.0)
    note(config, "dirty", Dirty=True)
    note(config, "clean", Dirty=False, Fingerprint="1,abc")
    note(config, "link.rclonelink", Dirty=True)
    assert waiting.done(config, 100.1) == {}, "the mount tool may not know of it yet"
    assert waiting.done(config, 101.0) == {"clean": "1,abc", "no note": ""}
    note(config, "dirty", Dirty=False, Fingerprint="2,def")
    note(config, "link.rclonelink", Dirty=False)
    queued.clear()
    assert waiting.done(config, 102.0) == {"dirty": "2,def", "in queue": "", "link": ""}
    assert not waiting


def test_t21_half_a_note_is_no_word_that_a_file_is_in_the_bucket(config, monkeypatch):
    monkeypatch.setattr(_coherence, "queued_uploads", lambda _config: set())
    waiting = _coherence.Waiting()
    waiting.add(["half"], 100.0)
    Path(config.cache, "vfsMeta/store/bucket/half").write_text('{"Dirty": ')
    assert waiting.done(config, 101.0) == {}
    note(config, "half", Dirty=True)
    assert waiting.done(config, 102.0) == {}
    note(config, "half", Dirty=False, Fingerprint="1,abc")
    assert waiting.done(config, 103.0) == {"half": "1,abc"}


def test_i4_of_what_is_removed_while_it_may_be_uploaded_it_is_known_what_may_arrive(config, monkeypatch):
    monkeypatch.setattr(_coherence, "queued_uploads", lambda _config: set())
    waiting = _coherence.Waiting()
    waiting.add(["d/slow", "link", "soon", "done"], 100.0)
    Path(config.cache, "vfsMeta/store/bucket/d").mkdir()
    note(config, "d/slow", Dirty=True, ModTime="2026-11-29T02:36:59.05999017Z")
    note(config, "link.rclonelink", Dirty=True, ModTime="2026-11-29T03:37:00+01:00")
    note(config, "soon", Dirty=True, ModTime="2026-11-29T02:37:00Z")
    note(config, "done", Dirty=False)
    waiting.done(config, 100.4)
    note(config, "d/slow", Dirty=True, ModTime="2026-11-29T02:37:01.5Z")
    waiting.done(config, 100.4)
    assert waiting.drop(["soon"], 100.5) == {}, "its upload hasn't begun"
    assert waiting.below("d") == ["d/slow"]
    second = 1795919820 * 10**9
    assert waiting.drop(["d/slow", "link", "done", "other"], 101.0) == {
        "d/slow": _coherence.Upload("d/slow", frozenset({second - 940009830, second + 15 * 10**8})),
        "link": _coherence.Upload("link.rclonelink", frozenset({second})),
    }
    assert waiting.drop(["d/slow"], 101.0) == {}


def test_i4_what_is_away_from_the_cache_may_be_deleted_and_is_waited_for_until_the_kernel_says_so(config, monkeypatch):
    monkeypatch.setattr(_coherence, "queued_uploads", lambda _config: set())
    waiting = _coherence.Waiting()
    names = ("deleted", "evicted", "again")
    waiting.add(names, 100.0)
    for name in names:
        note(config, name, Dirty=True, ModTime="2026-11-29T02:37:00Z")
    assert waiting.done(config, 101.0) == {}
    for name in names:
        Path(config.cache, "vfsMeta/store/bucket", name).unlink()
    assert waiting.done(config, 101.1) == {}
    note(config, "again", Dirty=True, ModTime="2026-11-29T02:37:02Z")
    assert waiting.done(config, 101.2) == {}
    assert list(waiting.drop(["deleted"], 101.2)) == ["deleted"]
    Path(config.cache, "vfsMeta/store/bucket/again").unlink()
    assert waiting.done(config, 101.1 + _coherence.GONE_SECONDS) == {"evicted": ""}
    assert waiting.newest() == ["again"]
    assert waiting.done(config, 101.2 + 2 * _coherence.GONE_SECONDS) == {"again": ""}
    assert not waiting


@pytest.mark.parametrize(
    ("item", "arrived"),
    [
        (None, False),
        ({"Size": 3}, False),
        ({"Metadata": {"mtime": "2026-11-29T02:37:00.000000001Z"}}, True),
        ({"Metadata": {"mtime": "2026-11-29T02:37:00.000000002Z"}}, False),
    ],
)
def test_i4_only_what_this_host_has_uploaded_itself_is_taken_for_it(config, monkeypatch, item, arrived):
    monkeypatch.setattr(_coherence, "ask_mount", lambda _config, _what, _asked: {"item": item})
    ours = config._replace(remote_control={"remote": "store:bucket"})
    upload = _coherence.Upload("a", frozenset({_coherence.nanoseconds("2026-11-29T02:37:00.000000001Z")}))
    assert _coherence.has_arrived(ours, upload) == arrived


@pytest.mark.parametrize("moment", ["", "2026-11-29", "2026-13-29T02:37:00Z", "2026-11-29T02:37:00"])
def test_what_is_no_moment_is_an_error(moment):
    with pytest.raises(ValueError, match=r"no moment|month"):
        _coherence.nanoseconds(moment)


def test_what_one_peer_has_yet_to_be_told_is_gathered_and_too_much_becomes_everything():
    unsent = _coherence.Unsent()
    assert unsent.take(0) == ({}, {})
    unsent.add("m", {"a": "1", "b": None}, [])
    unsent.add("m", {"a": None}, [])
    unsent.add("other", None, [])
    unsent.add("other", {"c": "1"}, [])
    assert unsent.take(0)[0] == {"m": {"a": None, "b": None}, "other": None}
    assert unsent.take(0)[0] == {}
    unsent.add("m", dict.fromkeys(map(str, range(_coherence.NAMES_MAX + 1))), [])
    assert unsent.take(0)[0] == {"m": None}


def test_t21_what_will_change_is_announced_at_once_and_until_it_is_told():
    unsent = _coherence.Unsent()

    def take() -> tuple[object, object, bool]:
        began = time.monotonic()
        return *unsent.take(0.5), time.monotonic() - began < 0.4

    unsent.add("m", {}, ["a"])
    assert take() == ({}, {"m": ["a"]}, True)
    unsent.add("m", {}, ["a"])
    assert take() == ({}, {"m": ["a"]}, False), "nothing is new"
    unsent.add("m", {"a": "1"}, [])
    assert take() == ({"m": {"a": "1"}}, {"m": []}, True)


def site(**peers: str) -> Site:
    return Site(SITE, "web1", peers, 8768, Path("/nowhere"))


def test_nothing_is_unsure_without_peers_or_while_all_are_heard_and_see():
    assert site().why_unsure("m", 10.0) == ""
    ours = site(web2="10.0.0.2")
    ours.heard["web2"] = Heard(9.0, {"m": True}, {})
    assert ours.why_unsure("m", 10.0) == ""
    assert ours.why_unsure("not mounted there", 10.0) == ""


@pytest.mark.parametrize(
    "heard, why",
    [
        (None, "isn't heard"),
        (Heard(1.0, {"m": True}, {}), "isn't heard"),
        (Heard(9.0, {"m": False}, {}), "doesn't notice"),
    ],
)
def test_a_peer_that_is_silent_or_blind_makes_unsure_by_name(heard, why):
    ours = site(web2="10.0.0.2", web3="10.0.0.3")
    ours.heard["web3"] = Heard(9.0, {"m": True}, {})
    if heard:
        ours.heard["web2"] = heard
    told = ours.why_unsure("m", 10.0)
    assert "web2" in told and why in told and "web3" not in told


def test_t21_what_others_will_change_is_known_while_they_are_heard():
    ours = site(web2="10.0.0.2")
    ours.heard = {"web2": Heard(9.0, {}, {"m": ["b"], "other": ["c"]}), "web3": Heard(9.0, {}, {})}
    assert ours.announced("m") == {"b"}
    ours.heard.clear()
    assert ours.announced("m") == set()


def test_of_very_many_files_that_wait_the_newest_are_announced():
    waiting = _coherence.Waiting()
    waiting.add(map(str, range(_coherence.HELD_MAX)), 1.0)
    waiting.add(["new", "0"], 2.0)
    assert waiting.newest() == [*map(str, range(2, _coherence.HELD_MAX)), "new", "0"]


# Looking whether a mount has forgotten.


def test_a_name_is_looked_at_until_it_stays_as_it_is_now():
    told = Check(due=100.0, since=100.0, tries=0, what=None)
    wrong = told.after(True, 100.1)
    assert wrong == Check(100.1 + _coherence.AGAIN_SECONDS[0], 100.1, 1, None)
    calm = wrong.after(False, 100.4)
    assert calm == wrong._replace(due=100.1 + _coherence.CALM_SECONDS)
    assert calm.after(False, calm.due) is None
    back = calm.after(True, calm.due)
    assert back is not None and back.tries == 2 and back.since == calm.due


@pytest.mark.parametrize(
    "case",
    [
        (True, None, {}, True),
        (False, None, {}, False),
        (False, "", {}, True),
        (False, "2,new", {}, True),
        (True, "", {"Fingerprint": "1,old"}, False),
        (True, "2,new", {}, False),
        (True, "2,new", {"Fingerprint": "2,new"}, False),
        (True, "2,new", {"Fingerprint": "1,old"}, True),
        (True, "2,new", {"Fingerprint": "1,old", "Dirty": True}, False),
    ],
)
def test_t21_what_is_not_as_a_peer_said_is_wrong_unless_it_changed_here(config, monkeypatch, case):
    there, told, noted, wrong = case
    monkeypatch.setattr(_coherence, "look_up_anew", lambda _root, _name: there)
    monkeypatch.setattr(_coherence, "read_one_byte", lambda _root, _name: None)
    if noted:
        note(config, "name", **noted)
    assert _coherence.Directory._is_wrong(config, 0, "name", told) is wrong


def test_a_name_that_is_wrong_for_ever_is_given_up():
    check: Check | None = Check(0.0, 0.0, 0, None)
    for tries in range(len(_coherence.AGAIN_SECONDS)):
        assert check is not None and check.tries == tries
        check = check.after(True, check.due)
    assert check is not None and check.after(True, check.due) is None


# Nobody reads while content changes.


@pytest.fixture
def root(tmp_path):
    """A directory with files "a" and "b", where the kernel lets us hold readers back."""
    for name in "ab":
        (tmp_path / name).write_text(name)
    fd = os.open(tmp_path, os.O_RDONLY)
    file = _coherence.open_file(fd, "a")
    try:
        os.close(_coherence.gate([file]))
    except OSError:
        pytest.skip("needs root and fanotify(7)")
    finally:
        os.close(file)
    yield fd
    os.close(fd)


class Opener(threading.Thread):
    """Opens a file as nginx does, and says when it has."""

    def __init__(self, root: int, name: str) -> None:
        super().__init__(daemon=True)
        self.opened = threading.Event()
        self._root, self._name = root, name
        self.start()

    def run(self) -> None:
        file = os.open(self._name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=self._root)
        self.opened.set()
        os.close(file)


def test_t21_who_opens_a_file_waits_while_it_is_held_also_with_o_nonblock(root):
    with _coherence.nobody_reads(root, ["a", "not there"]) as held:
        opener, other = Opener(root, "a"), Opener(root, "b")
        assert list(held) == ["a"]
        assert other.opened.wait(5)
        assert not opener.opened.wait(0.3)
    assert opener.opened.wait(5)


def test_t21_a_file_is_held_when_its_last_reader_is_done(root):
    reader = os.open("a", os.O_RDONLY, dir_fd=root)
    closer = threading.Timer(0.1, os.close, [reader])
    closer.start()
    with _coherence.nobody_reads(root, ["a"]) as held:
        assert list(held) == ["a"] and closer.finished.is_set()


def test_t21_a_file_that_is_read_for_long_is_not_held_and_keeps_no_other_from_it(root, monkeypatch):
    monkeypatch.setattr(_coherence, "BUSY_SECONDS", 0.1)
    reader = os.open("a", os.O_RDONLY, dir_fd=root)
    with _coherence.nobody_reads(root, ["a", "b"]) as held:
        assert list(held) == ["b"]
        assert Opener(root, "a").opened.wait(5)
    os.close(reader)


def test_t21_whether_the_mount_has_closed_its_copy_is_known(root, config):
    copy = Path(config.cache, "vfs/store/bucket/[a]")
    assert _coherence.is_closed(config, "[a]"), "there is none"
    copy.parent.mkdir(parents=True)
    with copy.open("w"):
        assert not _coherence.is_closed(config, "[a]")
    assert _coherence.is_closed(config, "[a]")


def test_nobody_waits_for_longer_than_some_seconds(root, monkeypatch):
    monkeypatch.setattr(_coherence, "HELD_SECONDS", 0.2)
    with _coherence.nobody_reads(root, ["a"]):
        assert Opener(root, "a").opened.wait(5), "nobody is held back for ever"


def test_where_the_kernel_can_hold_nobody_back_content_changes_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("a")
    monkeypatch.setattr(_coherence, "gate", lambda _files: os.close(-1))
    root = os.open(tmp_path, os.O_RDONLY)
    with _coherence.nobody_reads(root, ["a"]) as held:
        assert held == {}
    os.close(root)


@pytest.mark.parametrize("told, size", [("12,2026-01-01", 12), ("", None), (None, None), ("?,1", None)])
def test_a_fingerprint_tells_the_size(told, size):
    assert _coherence.size_told(told) == size


@pytest.mark.parametrize("name", ["", "/etc", "a//b", "../a", "a/..", "./a", "a\0b", "a/"])
def test_h21_names_from_elsewhere_that_lead_somewhere_else_are_dropped(name):
    assert not _mount.is_plain(name)
    assert _mount.is_plain("a/.b/…c")


def test_where_the_service_stopped_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(_mount, "RUN_DIR", tmp_path)
    config = _mount.Config("n", "/p")
    assert _mount.why_unsure(config) is None
    told = tmp_path / "coherence.json"
    told.write_text('{"unsure": {"n": ""}}')
    assert _mount.why_unsure(config) == ""
    assert _mount.why_unsure(config._replace(name="another")) is None
    os.utime(told, (time.time() - 60, time.time() - 60))
    assert "doesn't run" in str(_mount.why_unsure(config))
