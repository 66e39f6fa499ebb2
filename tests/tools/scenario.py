# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the molecule scenarios share: the bed, the site that was deployed, and what it must look like."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import corpus
import pytest
import yaml
from lab import TESTS, Bed
from reader import Reader, digests


def table(tool: str) -> dict[str, Any]:
    """What a mount tool can and cannot do, as the role has it."""
    return yaml.safe_load((TESTS.parent / f"roles/asset_mount/vars/tools/{tool}.yml").read_text())["__asset_mount_tool"]


BED = Bed(os.environ["ADT_BED"])
DEFAULT_TOOL = "rclone"
TOOL = os.environ.get("ADT_TOOL") or DEFAULT_TOOL
TABLE = table(TOOL)
# Full counts, for `make soak`.
SOAK = bool(os.environ.get("ADT_SOAK"))
ONCE = pytest.mark.skipif(TOOL != DEFAULT_TOOL, reason="the same for every tool: runs with the default one")
SITE = f"www.{TOOL}.example.com"
SLUG = SITE.replace(".", "-")
CATALOG = f"{SLUG}-assets-catalog"
FOLDER = Path(os.environ["ADT_CACHE"], "molecule", BED.name)
CORPUS = FOLDER / "corpus"
TEMPLATE = FOLDER / f"{TOOL}.tmpl"
BACKUP = "s3://corpus-backups/backup.tar.gz"
WEBSERVERS = BED.hosts("webservers")
NOT_THERE = b"php answers"  # what a webserver answers where there is no file
READ_ONLY = "Read-only file system"  # what a write says where the floor is in front
COHERENCE = "adt-assets-coherence"  # the service by which webservers tell each other of changes
RATE = 50.0  # requests a second to each webserver, in tests that look for bad answers
WEBSERVER_HOSTS = [f"ssh://{host}?ssh_config={BED.ssh_config}&sudo=true" for host in WEBSERVERS]


@dataclass(frozen=True)
class Directory:
    """One asset directory: where it is mounted, its bucket, and the files of the backup that belong in it."""

    path: str
    bucket: str

    @property
    def name(self) -> str:
        """Its path as systemd-escape writes one without special characters."""
        return self.path.strip("/").replace("/", "-")

    @property
    def unit(self) -> str:
        """Its systemd service."""
        return f"adt-assets-{self.name}.service"

    @property
    def source(self) -> Path:
        """Its place in the corpus."""
        return CORPUS / "site" / self.path.lstrip("/")

    @property
    def files(self) -> dict[str, Path]:
        """Key in the bucket to file in the corpus."""
        return corpus.files(self.source)


IMAGES = Directory("/var/www/html/images", f"{SLUG}-assets-images")
VIDEOS = Directory("/var/www/html/media/videos", f"{SLUG}-assets-media-videos")
PRIVATE = Directory("/var/www/private", f"{SLUG}-assets-var-www-private")
DIRECTORIES = (IMAGES, VIDEOS, PRIVATE)
VARIABLES = {"assets_template": str(TEMPLATE), "assets_tool": TOOL, "assets_backup": BACKUP}


def deploy(*options: str, check: bool = True, kill_before: str = "", **variables: Any):
    """Run the ``deploy`` playbook of the scenario's site, with variables of its own on top."""
    given = {**VARIABLES, **variables}
    return BED.playbook("adt.assets.deploy", given, *options, check=check, kill_before=kill_before)


def unmount(*options: str, kill_before: str = "", **variables: Any):
    """Run the ``unmount`` playbook of the scenario's site, likewise."""
    return BED.playbook("adt.assets.unmount", {**VARIABLES, **variables}, *options, kill_before=kill_before)


@contextmanager
def other_template(name: str, **changes: str) -> Iterator[Path]:
    """The scenario's template with other values for some of its settings, in a private file."""
    text = TEMPLATE.read_text()
    for key, value in changes.items():
        text, found = re.subn(rf"^export {key}=.*$", f'export {key}="{value}"', text, flags=re.MULTILINE)
        assert found, f"the template has no {key}"
    path = TEMPLATE.with_name(f"{name}-{TOOL}.tmpl")
    path.touch(mode=0o600)
    path.write_text(text)
    try:
        yield path
    finally:
        path.unlink()


def md5(body: bytes) -> str:
    """The digest that S3 gives as the ETag of a single PUT."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def recap(output: str) -> dict[str, dict[str, int]]:
    """The play recap of ansible-playbook's output: host to counters."""
    hosts = {}
    for line in output[output.rindex("PLAY RECAP") :].splitlines():
        host, found, counters = line.partition(": ok=")
        if found:
            hosts[host.strip()] = {key: int(value) for key, value in (w.split("=") for w in f"ok={counters}".split())}
    return hosts


@contextmanager
def writes_seen() -> Iterator[list[str]]:
    """Collects the PUT, POST and DELETE requests for the site's buckets that reach the store inside the block."""
    before = len(BED.requests())
    seen: list[str] = []
    yield seen
    seen += writes(BED.requests()[before:])


def writes(requests: list[str]) -> list[str]:
    """Those lines of the store's log that are PUT, POST and DELETE requests for the site's buckets."""
    return [line for line in requests if f"/{SLUG}-" in line and line.split()[1] in ("PUT", "POST", "DELETE")]


def writes_of_second_run() -> list[str]:
    """The writes that reached the store during the second run (molecule's idempotence)."""
    run = runs()[2]
    return writes([line for line in BED.requests() if run["began"] < line.split()[0] <= run["ended"]])


def runs() -> list[dict[str, Any]]:
    """The first runs since prepare (check mode, converge, converge again), as the ``changes`` callback wrote them."""
    records = [json.loads(line) for line in Path(os.environ["ADT_CHANGES"]).read_text().splitlines()]
    last_prepare = max(number for number, record in enumerate(records) if record["playbook"] == "prepare.yml")
    return records[last_prepare + 1 : last_prepare + 4]


def changed(run: dict[str, Any]) -> dict[str, list[str]]:
    """The tasks of a run that changed each host; hosts without any are left out."""
    by_host = {host: [name for name, changed in tasks if changed] for host, tasks in run["ran"].items()}
    return {host: names for host, names in by_host.items() if names}


def prediction_errors() -> list[str]:
    """Where check mode was wrong: a host, or a task that ran as often in both runs, with another number of changes.

    An AssertionError when these weren't check mode, a run that changed something, and one that changed nothing.
    """
    check, run, again = runs()
    assert [check["check"], run["check"], again["check"]] == [True, False, False]
    assert changed(run), "the first run changed nothing: there was nothing to predict"
    assert changed(again) == {}
    errors = [
        f"{host}: predicted as changed or not, and then otherwise" for host in set(changed(check)) ^ set(changed(run))
    ]
    for host, tasks in check["ran"].items():
        predicted, real = Counter(name for name, _c in tasks), Counter(name for name, _c in run["ran"].get(host, []))
        for name in predicted:
            said = sum(changed for task, changed in tasks if task == name)
            did = sum(changed for task, changed in run["ran"].get(host, []) if task == name)
            if predicted[name] == real[name] and said != did:
                errors.append(f"{host}: {name}: check mode said {said} changes, the run made {did}")
    return errors


def wait_until(
    true: Callable[[], bool], seconds: float = 40.0, explain: Callable[[], str] = lambda: "it did not come true in time"
) -> None:
    """Wait for a condition; an AssertionError with an explanation after some seconds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, explain()
        time.sleep(0.5)


@contextmanager
def readers(*without: str, uploaded: Mapping[str, bytes] = MappingProxyType({})) -> Iterator[None]:
    """Ask all webservers for images at a steady rate while the block runs; a bad answer from any fails the test.

    ``without``: images that aren't asked for, as they change meanwhile. ``uploaded``: others that are, name to content,
    such as files that came after the cutover and that no floor has.
    """
    files = {name: digest for name, digest in digests(IMAGES.source).items() if name not in without}
    files |= {name: hashlib.sha256(body).hexdigest() for name, body in uploaded.items()}
    with answered(Reader(f"http://{BED.address(host)}/images", files) for host in WEBSERVERS):
        yield


@contextmanager
def answered(readers: Iterable[Reader]) -> Iterator[None]:
    """Have readers ask at a steady rate while the block runs; a bad answer to any fails the test."""
    running, stop = list(readers), threading.Event()
    threads = [threading.Thread(target=reader.run, args=(RATE, None, stop)) for reader in running]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for reader in running:
        seen = reader.report()
        assert seen["good"] > RATE, seen
        assert seen["bad"] == 0, seen


def upload(name: str, body: bytes) -> None:
    """Write an image as the site's user on one webserver, and wait until all serve it. No floor has it."""
    text = shlex.quote(f"printf %s {shlex.quote(body.decode())} > {IMAGES.path}/{name}")
    BED.on(WEBSERVERS[0], f"sudo -u www-data sh -c {text}")
    for host in WEBSERVERS:
        wait_until(lambda host=host: BED.fetch(host, f"images/{name}") == body)


def look_anew(*hosts: str) -> None:
    """Have mounts forget what they know of their buckets, as an administrator does who has changed one."""
    for host in hosts:
        BED.on(host, f"systemctl reload {COHERENCE}")


def program(host: str, directory: Directory, verb: str, options: str = "", check: bool = True) -> str:
    """What the program on a webserver says to a verb, to either stream."""
    return BED.on(host, f"python3 -I /usr/local/lib/adt-assets/mount.py {verb} {directory.name} {options} 2>&1", check)


def told(host: str, directory: Directory) -> str:
    """What ``status`` says has happened to a mount last; empty when nothing has."""
    return (json.loads(program(host, directory, "status"))["event"] or {"what": ""})["what"]


@contextmanager
def without_s3(host: str) -> Iterator[None]:
    """A host can't reach S3 inside the block."""
    store = BED.address("store1")
    BED.on(host, f"ip route add unreachable {store}")
    try:
        yield
    finally:
        BED.on(host, f"ip route del unreachable {store}")


def in_front(host: str, directory: Directory = IMAGES) -> str:
    """The type of file system that a webserver shows at a directory; empty while nothing is mounted there."""
    return BED.on(host, f"findmnt -rno FSTYPE --mountpoint {directory.path} | tail -1 || true").strip()


def webroot(host: str, *without: str) -> dict[str, str]:
    """What a webserver's webroot holds: type, mode, owner, and digest or target. Without Syncthing's own."""
    pruned = "".join(f" -o -path {shlex.quote('./' + name.replace('[', chr(92) + '['))}" for name in without)
    # A transfer that was broken off leaves what it has for the next, which other webservers never see.
    own = f"-name .stfolder -o -name .stignore -o -name '.syncthing.*.tmp'{pruned}"
    find = f"find . -mindepth 1 \\( {own} \\) -prune -o"
    rows_and_sums = f"{find} -printf '%P\\t%y %m %u:%g %l\\n'; echo; {find} -type f -exec sha256sum -- {{}} +"
    listed, sums = BED.on(host, f"cd /var/www/html && {rows_and_sums}").split("\n\n")
    digests = {line[68:]: line[:64] for line in sums.splitlines()}
    rows = (line.split("\t") for line in listed.splitlines())
    return {name: f"{what}{digests.get(name, '')}" for name, what in rows}
