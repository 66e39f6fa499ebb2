# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How restic is called, and what is made of its answers."""

from __future__ import annotations

import json
import signal
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.adt.assets.plugins.module_utils import _restic
from ansible_collections.adt.assets.plugins.module_utils._backup import SourceError
from ansible_collections.adt.assets.plugins.module_utils._progress import Amount
from ansible_collections.adt.assets.plugins.module_utils._restic import (
    Repository,
    Restic,
    ResticError,
    progress,
    summary,
)

REPOSITORY = Repository(
    endpoint_url="https://s3.example.com",
    bucket="www-example-com-assets-backups",
    region="eu-central-1",
    virtual=False,
    ca_bundle="",
    password="pass word",
    access_key="KEY",
    secret_key="a/b&c%d'$e",
    session_token="",
    cache="/var/cache/restic",
)


def stand_in(tmp_path, monkeypatch, script: str) -> Restic:
    """A repository whose restic is a shell script: errors that a real one has once in a blue moon."""
    program = tmp_path / "restic"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Restic(REPOSITORY)


def test_h23_secrets_stand_in_the_environment_alone():
    environment = REPOSITORY.environment
    assert environment["AWS_SECRET_ACCESS_KEY"] == "a/b&c%d'$e"
    assert environment["RESTIC_PASSWORD"] == "pass word"
    assert "AWS_SESSION_TOKEN" not in environment
    assert not {"a/b&c%d'$e", "pass word", "KEY"} & set(REPOSITORY.arguments)


def test_a_password_in_a_file_is_left_there():
    environment = REPOSITORY._replace(password="@/run/credentials/x").environment
    assert environment["RESTIC_PASSWORD_FILE"] == "/run/credentials/x"
    assert "RESTIC_PASSWORD" not in environment


def test_h19_restic_counts_in_utc_and_nothing_of_the_environment_sends_it_elsewhere(monkeypatch):
    monkeypatch.setenv("RESTIC_REPOSITORY", "/elsewhere")
    monkeypatch.setenv("AWS_PROFILE", "someone")
    environment = REPOSITORY.environment
    assert environment["TZ"] == "UTC"
    assert environment["RESTIC_REPOSITORY"] == "s3:https://s3.example.com/www-example-com-assets-backups/restic"
    assert "AWS_PROFILE" not in environment


def test_arguments_name_the_bucket_as_the_store_wants_it():
    assert REPOSITORY.arguments == ["restic", "-o", "s3.bucket-lookup=path"]
    other = REPOSITORY._replace(virtual=True, ca_bundle="/etc/ca.pem", cache="")
    assert other.arguments == ["restic", "-o", "s3.bucket-lookup=dns", "--cacert", "/etc/ca.pem", "--no-cache"]


def test_the_summary_is_the_last_word():
    lines = [{"message_type": "status"}, {"message_type": "summary", "snapshot_id": "abc"}]
    assert summary("\n".join(map(json.dumps, lines)).encode())["snapshot_id"] == "abc"
    assert summary(json.dumps(lines[0]).encode()) == {}
    assert summary(b"Fatal: no repository") == {}


# As 0.14 and 0.18 say it: the first before it has looked around.
FIRST = {"message_type": "status", "percent_done": 0}
LATER = {"percent_done": 0.5, "total_files": 20, "files_done": 9, "total_bytes": 4000, "bytes_done": 2000}


def test_how_far_a_backup_is_stands_in_its_status_lines():
    def said(record):
        return json.dumps(record, separators=(",", ":")).encode() + b"\n"

    assert progress(said(FIRST)) == (Amount(0, 0), Amount(0, 0))
    assert progress(said({**FIRST, **LATER})) == (Amount(9, 2000), Amount(20, 4000))
    assert progress(said({"message_type": "summary", "files_new": 3})) is None
    assert progress(b"open repository\n") is None


def test_what_is_printed_is_seen_at_once_and_only_what_counts_is_kept(tmp_path, monkeypatch):
    """The script goes on only when its first line was seen."""
    script = f"echo status; while [ ! -e {tmp_path}/seen ]; do sleep 0.05; done; echo summary; exit $1"
    restic, pids = stand_in(tmp_path, monkeypatch, script), []

    def keep(line):
        (tmp_path / "seen").touch()
        return line != b"status\n"

    monkeypatch.setattr(Repository, "arguments", property(lambda _self: ["restic"]))
    assert restic.watch(keep, "0", started=pids.append) == b"summary\n"
    assert len(pids) == 1
    (tmp_path / "seen").unlink()
    with pytest.raises(ResticError) as caught:
        restic.watch(keep, "3")
    assert (caught.value.code, caught.value.output) == (3, b"summary\n")


def test_an_error_says_what_restic_said(tmp_path, monkeypatch):
    said = json.dumps({"message_type": "error", "error": {"message": "permission denied"}, "item": "/x"})
    restic = stand_in(tmp_path, monkeypatch, f"echo '{said}' >&2; exit 3")
    with pytest.raises(ResticError, match=r"restic backup failed .* \(exit code 3\): /x permission denied") as caught:
        restic.run("backup", "--json")
    assert caught.value.code == 3


def test_an_error_is_told_without_the_places_in_restics_source(tmp_path, monkeypatch):
    said = "decrypting blob 0b8e failed\nrestic/internal/walker.walk\n\twalker.go:102\nmain.main\n\tmain.go:98"
    with pytest.raises(ResticError, match=r"\(exit code 1\): decrypting blob 0b8e failed$"):
        stand_in(tmp_path, monkeypatch, f"printf '{said}' >&2; exit 1").run("ls")
    said = "panic: nil pointer\n\ngoroutine 1 [running]:\nmain.main()\n\tmain.go:98"
    with pytest.raises(ResticError, match=r"\(exit code 2\): panic: nil pointer$"):
        stand_in(tmp_path, monkeypatch, f"printf '{said}' >&2; exit 2").run("ls")


def test_t10_a_locked_repository_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    script = (
        f"[ -e {tmp_path}/again ] && exit 0; touch {tmp_path}/again; echo 'repository is already locked' >&2; exit 11"
    )
    stand_in(tmp_path, monkeypatch, script).run("forget", "abc")
    assert (tmp_path / "again").exists()


def test_a_stream_is_what_restic_prints_and_its_error_comes_at_the_end(tmp_path, monkeypatch):
    many = "head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero"
    assert sum(map(len, stand_in(tmp_path, monkeypatch, many).stream("dump"))) == 3_000_000
    pieces = stand_in(tmp_path, monkeypatch, "echo some; echo 'repository is already locked' >&2; exit 1").stream(
        "dump"
    )
    assert next(pieces) == b"some\n"
    with pytest.raises(ResticError, match=r"restic dump failed .* \(exit code 1\): repository is already locked"):
        next(pieces)


def test_t10_a_stream_waits_for_a_lock_before_it_begins(tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    script = f"[ -e {tmp_path}/again ] && exec echo all; touch {tmp_path}/again; echo 'is already locked' >&2; exit 11"
    assert b"".join(stand_in(tmp_path, monkeypatch, script).stream("dump")) == b"all\n"


@pytest.fixture
def interruptible():
    """A shell can't trap what was ignored when it began, as SIGINT is below a shell's ``&``."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("on_interrupt", ["touch {}/stopped; exit 130", ""])
def test_restic_ends_when_nobody_reads_on(tmp_path, monkeypatch, on_interrupt):
    monkeypatch.setattr(_restic, "STOP_SECONDS", 0.5)
    script = (
        f"trap '{on_interrupt.format(tmp_path)}' INT; echo $$ > {tmp_path}/pid; echo some; while :; do sleep 0.1; done"
    )
    with closing(stand_in(tmp_path, monkeypatch, script).stream("dump")) as pieces:
        monkeypatch.setattr(_restic, "PIECE", 5)
        assert next(pieces) == b"some\n"
    assert (tmp_path / "stopped").exists() is bool(on_interrupt)
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_a_missing_restic_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="install the package restic"):
        Restic(REPOSITORY).run("version")


@pytest.mark.parametrize("says", ["repository does not exist", "unable to open config file"])
def test_what_is_not_there_is_told_from_what_cannot_be_opened(tmp_path, monkeypatch, says):
    assert stand_in(tmp_path, monkeypatch, f"echo 'Fatal: {says}' >&2; exit 10").exists() is False
    with pytest.raises(ResticError, match="wrong password"):
        stand_in(tmp_path, monkeypatch, "echo 'Fatal: wrong password' >&2; exit 12").exists()
