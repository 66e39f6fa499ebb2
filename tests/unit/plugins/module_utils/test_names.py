# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from ansible_collections.adt.assets.plugins.module_utils._names import (
    bucket_flaw,
    bucket_name,
    catalog_name,
    directory_id,
    distinct_id,
    exclude_patterns,
    unit_name,
)
from ansible_collections.adt.assets.plugins.module_utils._syncthing import (
    Api,
    Peer,
    Settings,
    SyncthingError,
    settings_file,
)

AWKWARD = [
    "img[1]", "img1", "a b", "aXb", "*", "?", "x", "{x}", "!x", "#x", "$x", "line\nbreak", "back\\slash", "back[\\]",
    "- x", "+ x", "a.b", "é", "~", "'q'", '"q"', "[", "]", "\\", "\\*", "dir*/sub", "images",
]  # fmt: skip
NAMES = st.text(alphabet="[]*?\\{}!#$ a1-^\n+,'\".~é", min_size=1, max_size=8).filter(lambda n: n not in (".", ".."))


@pytest.mark.parametrize(
    "directory, bucket",
    [
        ("images", "www-example-com-assets-images"),
        ("wp-content/uploads", "www-example-com-assets-wp-content-uploads"),
        ("sites/default/files", "www-example-com-assets-sites-default-files"),
        ("/var/www/private", "www-example-com-assets-var-www-private"),
        ("Media_Files/../x//", "www-example-com-assets-media-files-x"),
        ("WHOLE-WEBROOT", "www-example-com-assets-whole-webroot"),
    ],
)
def test_h5_bucket_names_follow_one_rule(directory, bucket):
    assert bucket_name(directory, "www.example.com") == bucket


def test_bucket_names_are_the_toolkits_for_ordinary_directories():
    for directory in ("images", "media/videos", "moodledata/filedir", "wp-content/uploads"):
        toolkit = re.sub("--", "-", f"shop.example.org-assets-{directory}".replace(".", "-").replace("/", "-"))
        assert bucket_name(directory, "shop.example.org") == toolkit


def test_h5_long_names_are_cut_and_stay_apart():
    one, two = (bucket_name("media/" + "x" * 60 + end, "www.example.com") for end in "ab")
    assert one != two
    assert len(one) == len(two) == 63
    assert one[:54] == two[:54] == "www-example-com-assets-media-xxxxxxxxxxxxxxxxxxxxxxxxx"


def test_h5_a_name_may_have_63_characters_and_no_more():
    assert bucket_name("x" * 40, "www.example.com") == "www-example-com-assets-" + "x" * 40
    assert len(bucket_name("x" * 41, "www.example.com")) == 63


def test_names_without_a_letter_get_a_digest():
    assert bucket_name("画像", "x.org") != bucket_name("映像", "x.org")
    assert re.fullmatch("x-org-assets-[0-9a-f]{8}", bucket_name("画像", "x.org"))


@pytest.mark.parametrize("directory, site", [("", "x.org"), ("/", "x.org"), ("images", ""), ("images", "..")])
def test_bucket_name_needs_both(directory, site):
    with pytest.raises(ValueError, match="needs a directory and a site"):
        bucket_name(directory, site)


@given(directory=st.text(min_size=1), site=st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,80}[a-z0-9])?", fullmatch=True))
def test_h5_bucket_names_are_valid(directory, site):
    assume(directory.strip("/"))
    assume(not site.startswith(("xn--", "sthree-", "amzn-s3-demo-")))
    name = bucket_name(directory, site)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", name)
    assert bucket_flaw(name) is None or directory.lower().endswith("s3alias")
    assert re.fullmatch(r"[a-z0-9-]{1,63}", directory_id(directory))
    assert re.fullmatch(r"[a-z0-9-]{1,63}", distinct_id(directory))
    assert distinct_id(directory) != directory_id(directory)


@pytest.mark.parametrize(
    "name", ["ab", "A-b", "a_b", "-ab", "ab-", "a" * 64, "a..b", "1.2.3.4", "xn--abc", "a-s3alias", "a b"]
)
def test_bucket_flaw_knows_s3s_rules(name):
    assert bucket_flaw(name)


def test_the_catalog_has_a_name_like_a_directory():
    assert catalog_name("www.example.com") == "www-example-com-assets-catalog"


def systemd_escape(path):
    done = subprocess.run(["systemd-escape", "--path", "--", path], capture_output=True, check=False)
    return done.stdout.decode("ascii").removesuffix("\n") if done.returncode == 0 else None


@settings(max_examples=150, deadline=None)
@given(
    st.text(
        alphabet=st.one_of(st.characters(exclude_characters="\0", codec="utf-8"), st.sampled_from("/.-\\_: a")),
        max_size=40,
    )
)
@example("")
@example("/")
@example(".hidden/-x")
@example("a/./b//c/")
@example("a/../b")
@example("x" * 255)
@example("x" * 256)
@example("é" * 128)
@example("\udcff latin")
def test_unit_name_is_systemds(tail):
    path = "/" + tail
    try:
        ours = unit_name(path)
    except ValueError:
        ours = None
    assert ours == systemd_escape(os.fsencode(path))


@pytest.mark.parametrize("path", ["images", "", "./x", "/a/../b", "/a\0b"])
def test_unit_name_needs_an_absolute_plain_path(path):
    with pytest.raises(ValueError, match="path"):
        unit_name(path)


def make_tree(root, names):
    """Every name at the top and once more below 'keep', where no anchored pattern may reach."""
    for name in names:
        for parent in ("", "keep"):
            directory = root / parent / name
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "file").write_text(name)


def files_below(root):
    return {os.path.relpath(os.path.join(top, f), root) for top, _dirs, files in os.walk(root) for f in files}


def rsync(source, target, patterns):
    excludes = [f"--exclude={pattern}" for pattern in patterns]
    subprocess.run(["rsync", "-a", *excludes, f"{source}/", f"{target}/"], check=True)


def tar(source, target, patterns):
    archive = target.parent / "archive.tar"
    excludes = [f"--exclude={pattern}" for pattern in patterns]
    subprocess.run(["tar", "-C", source, *excludes, "-cf", archive, "."], check=True)
    subprocess.run(["tar", "-C", target, "-xf", archive], check=True)


def rclone(source, target, patterns):
    excludes = [word for pattern in patterns for word in ("--exclude", pattern)]
    command = ["rclone", "copy", "--config", os.devnull, *excludes, source, target]
    subprocess.run(command, check=True, capture_output=True)


def restic(source, target, patterns):
    env = {**os.environ, "RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": str(target.parent / "repository")}
    excludes = [word for pattern in patterns for word in ("--exclude", pattern)]
    restored = target.parent / "restored"
    for command in (["init"], ["backup", source, *excludes], ["restore", "latest", "--target", restored]):
        subprocess.run(["restic", "--no-cache", "-q", *command], check=True, capture_output=True, env=env)
    target.rmdir()
    shutil.move(f"{restored}{source}", target)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def syncthing(source, target, patterns):
    home = target.parent / "home"
    started = {"capture_output": True, "text": True, "env": {**os.environ, "HOME": str(home)}}
    subprocess.run(["syncthing", "generate", f"--home={home}", "--no-default-folder"], check=True, **started)
    told = subprocess.run(["syncthing", "--device-id", f"--home={home}"], check=True, **started).stdout
    own = Peer("one", told.split()[-1], "")
    wanted = Settings(own, [], str(source), False, str(home / "versions"), free_port(), free_port())
    (home / "config.xml").write_bytes(settings_file(wanted, "key", "password"))
    (source / ".stfolder").mkdir()
    (source / ".stignore").write_text("".join(f"{pattern}\n" for pattern in patterns))
    api = Api(wanted.api_port, "key")
    command = ["syncthing", "serve", "--no-browser", "--no-restart", f"--home={home}"]
    with subprocess.Popen(command, env=started["env"], stdout=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 60
            while True:
                with suppress(SyncthingError):
                    api.ping()
                    break
                assert time.monotonic() < until, "Syncthing doesn't come up"
                time.sleep(0.1)
            api.scan([])
            taken = [name for name in files_below(source) if api.known(name)]
        finally:
            server.terminate()
    (source / ".stignore").unlink()
    (source / ".stfolder").rmdir()
    for name in taken:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, target / name)


def check_excludes(tool, run, tmp, names, excludes):
    source, target = tmp / "source", tmp / "target"
    for directory in (source, target):
        directory.mkdir(parents=True)
    make_tree(source, names)
    run(source, target, exclude_patterns(excludes, tool, str(source)))
    gone = {name for name in files_below(source) if any(name.startswith(exclude + "/") for exclude in excludes)}
    assert gone
    assert files_below(target) == files_below(source) - gone


@pytest.mark.parametrize("excluded", AWKWARD, ids=ascii)
@pytest.mark.parametrize("tool, run", [("rsync", rsync), ("tar", tar)])
def test_h16_excludes_are_literal(tool, run, excluded, tmp_path):
    check_excludes(tool, run, tmp_path, AWKWARD, [excluded])


@pytest.mark.skipif(not shutil.which("rclone"), reason="no rclone here")
@pytest.mark.parametrize("excluded", [name for name in AWKWARD if "\n" not in name], ids=ascii)
def test_h16_excludes_are_literal_to_rclone(excluded, tmp_path):
    check_excludes("rclone", rclone, tmp_path, AWKWARD, [excluded])


def test_h16_what_rclone_cannot_exclude_is_refused():
    for name in ("line\nbreak", "line\u240abreak"):
        with pytest.raises(ValueError, match="control characters"):
            exclude_patterns([name], "rclone")


@pytest.mark.skipif(not shutil.which("restic"), reason="no restic here")
@pytest.mark.parametrize("half", [0, 1])
def test_h16_excludes_are_literal_to_restic(half, tmp_path):
    check_excludes("restic", restic, tmp_path.resolve(), AWKWARD, AWKWARD[half::2])


@pytest.mark.skipif(not shutil.which("syncthing"), reason="no Syncthing here")
@pytest.mark.parametrize("half", [0, 1])
def test_h16_excludes_are_literal_to_syncthing(half, tmp_path):
    excluded = [name for name in AWKWARD[half::2] if "\n" not in name]
    check_excludes("syncthing", syncthing, tmp_path, AWKWARD, excluded)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(excluded=NAMES, others=st.lists(NAMES, max_size=6))
@pytest.mark.parametrize("tool, run", [("rsync", rsync), ("tar", tar)])
def test_h16_any_name_excludes_only_itself(tool, run, excluded, others, tmp_path_factory):
    assume("keep" not in (excluded, *others))
    check_excludes(tool, run, tmp_path_factory.mktemp("tree"), [excluded, *others], [excluded])


def test_h16_patterns_for_syncthing():
    names = ["img[1]", "a b", "{x}", "!x", "#x", "q*?", "images"]
    assert exclude_patterns(names, "syncthing") == [
        "/img\\[1\\]", "/a b", "/\\{x\\}", "/\\!x", "/\\#x", "/q\\*\\?", "/images",
    ]  # fmt: skip
    for name in ("line\nbreak", "end "):
        with pytest.raises(ValueError, match="Syncthing"):
            exclude_patterns([name], "syncthing")


def test_restic_is_told_where_the_webroot_is():
    assert exclude_patterns(["img[1]"], "restic", "/var/www/html/") == ["/var/www/html/img\\[1\\]"]
    with pytest.raises(ValueError, match="absolute"):
        exclude_patterns(["images"], "restic")


@pytest.mark.parametrize("path", ["", "/images", "a//b", "a/../b", ".", "images/"])
def test_excludes_are_relative_and_plain(path):
    with pytest.raises(ValueError, match="relative to the webroot"):
        exclude_patterns([path], "tar")


def test_an_unknown_tool_is_named():
    with pytest.raises(ValueError, match="not for cp"):
        exclude_patterns(["images"], "cp")
