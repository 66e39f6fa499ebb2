# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that makes temporal backups of a webroot on a webserver, with restic, into the site's bucket.

Role webroot_backup installs it with the files that it imports, and runs it from systemd's timers:

    PERIOD        the backup of this slot of the calendar, unless another webserver makes or has made it
    now-PERIOD    one more, now
    check         once a week: read a share of all data, and remove what no backup needs any more
    init          make the repository, once

All webservers run it. The first of them makes the backup, the next when that one is away or has failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ._backup import SourceError
from ._backup_now import progress_of
from ._backups import (
    CHECK,
    KEEP,
    PREFIX,
    Announced,
    Clock,
    Turns,
    announce,
    outlived,
    read_announced,
    store_clock,
    unannounced,
    written,
)
from ._catalog import Catalog
from ._names import exclude_patterns
from ._progress import Amount, StatusFile, Work, on_file, told
from ._restic import FOLDER, UNREADABLE, Restic, ResticError, progress, repository_of, summary
from ._store import Store, StoreError, client_config
from ._webroot_archive import Archived, Webroot, forget_archives, forget_unfinished, store_archive

with suppress(ImportError):  # the program runs where asset_runtime has provided it
    import boto3

NOW = "now-"
CACHE_FREE = 256 * 1024 * 1024
SHARES = 7  # of the data; each check reads one
STOPPED = "it was stopped, or took longer than it may (webroot_backup_timeout)"
TAKEOVER_MAX = 1800  # seconds until also the last of the webservers has a go; the slot's end is farther


class Settings(NamedTuple):
    """What role webroot_backup writes. ``hosts``: all webservers, the first makes the backups while it can.

    ``archive``: what the names of the buckets for plain archives begin with, empty for none.
    """

    site: str
    catalog: str
    bucket: str
    host: str
    hosts: list[str]
    webroot: str
    excludes: list[str]
    extra_paths: list[str]
    hook: str
    archive: str
    keep: dict[str, int]
    takeover: int
    store: dict[str, Any]
    credentials: str
    cache: str
    results: str

    @property
    def patience(self) -> float:
        """How long this host leaves the backup to those before it in the list."""
        rank = self.hosts.index(self.host) if self.host in self.hosts else len(self.hosts)
        return rank * min(self.takeover, TAKEOVER_MAX / len(self.hosts))


class Site(NamedTuple):
    """The site with all that is needed to work on its backups."""

    settings: Settings
    store: Store
    catalog: Catalog
    clock: Clock
    restic: Restic
    work: Work


def open_site(settings: Settings, work: Work) -> Site:
    """Look at the store and at the clock. Raises StoreError and SourceError."""
    # systemd hands credentials over in a place of the service's own.
    credentials = Path(os.environ.get("CREDENTIALS_DIRECTORY", settings.credentials))
    keys = json.loads((credentials / "backup-keys.json").read_text(encoding="utf-8"))
    given = settings.store
    client = boto3.client(
        "s3",
        endpoint_url=given["endpoint_url"],
        region_name=given["region"],
        aws_access_key_id=keys["access_key"],
        aws_secret_access_key=keys["secret_key"],
        aws_session_token=keys["session_token"] or None,
        verify=given["ca_bundle"] or True,
        config=client_config(given["addressing_style"]),
    )
    store = Store(client, given["addressing_style"] == "virtual", given["ca_bundle"] or True)
    store.check_reachable()
    clock = store_clock(store, settings.catalog)
    clock.require_right(settings.host)
    password = f"@{credentials / 'backup-password'}"
    # restic tries for a quarter of an hour to write into a cache that is full.
    cache = settings.cache if shutil.disk_usage(settings.cache).free >= CACHE_FREE else ""
    repository = repository_of(store, settings.bucket, password, cache)
    return Site(settings, store, Catalog(store, settings.catalog), clock, Restic(repository), work)


# ---------------------------------------------------------------- a backup


def make(site: Site, period: str, forced: bool) -> dict[str, Any]:
    """One backup, announced; or why none was needed. Raises SourceError or StoreError when it failed.

    A plain archive that fails is an ``error`` of its own: the backup stays announced, and nobody needs to make another.
    """
    settings, work = site.settings, site.work
    work.go_on("waiting for its turn")
    turns = Turns(site.catalog, site.clock, settings.host, period)
    what = turns.take(0 if forced else settings.patience, forced)
    if what != "take":
        return {"announced": None, "skipped": what}
    with turns.held():
        backup = back_up(site, period)
        turns.require()
        announce(site.catalog, backup)
        # Still in this host's turn: what isn't announced could be another's snapshot otherwise.
        work.go_on("forgetting old backups")
        problem = forget_old(site, backup)
        archived = archive(site, backup) if settings.archive else {}
    return {"announced": {**backup._asdict(), "key": backup.key}, "problem": problem, **archived}


def back_up(site: Site, period: str) -> Announced:
    """A snapshot that is whole and was read back; one that isn't is forgotten."""
    settings, restic, work = site.settings, site.restic, site.work
    webroot = Path(settings.webroot).resolve()
    _require_files(webroot)
    if settings.hook:
        work.go_on("running webroot_backup_hook")
        _run_hook(settings.hook)
    paths = [str(webroot), *settings.extra_paths]
    for path in settings.extra_paths:  # restic only says so, and succeeds
        if not os.path.lexists(path):
            raise SourceError(f"{path} is missing, so nothing is backed up: look at webroot_backup_extra_paths")
    restic.run("unlock")  # locks of this host's processes that were killed
    began = site.clock.now()
    excludes = exclude_patterns(settings.excludes, "restic", str(webroot))
    arguments = [
        *("--json", "--one-file-system", "--tag", period, "--host", settings.host),
        *("--time", began.strftime("%Y-%m-%d %H:%M:%S")),
        *(word for pattern in excludes for word in ("--exclude", pattern)),
        *("--", *paths),
    ]
    try:
        done = summary(restic.watch(_watched(work), "backup", *arguments))
        work.go_on("reading back")
        count, size = read_back(restic, done)
    except ResticError as error:
        _forget_partial(restic, summary(error.output))
        if error.code == UNREADABLE:
            raise SourceError(f"files of {settings.webroot} can't be read, so nothing is announced: {error}") from error
        raise
    snapshot = restic.snapshots(done["snapshot_id"])[0]["id"]
    return Announced(
        period, written(began), snapshot, settings.host, paths, settings.excludes, count, size, restic.version()
    )


def _watched(work: Work) -> Callable[[bytes], bool]:
    """Takes what restic says of how far a backup is out of what it says."""
    amounts = [Amount(0, 0), Amount(0, 0)]
    work.go_on("saving", lambda: amounts[0])
    # It still counts what there is while it saves already, so that there is more left than it knows.
    work.whole, work.estimated = lambda: amounts[1] if amounts[1].files else None, True

    def keep(line: bytes) -> bool:
        found = progress(line)
        if found:
            amounts[:] = found
        return not found

    return keep


def read_back(restic: Restic, told: dict[str, Any]) -> tuple[int, int]:
    """Files and bytes of a snapshot as the repository has it, after its listing and one of its files were read."""
    files = restic.files(told["snapshot_id"])
    if len(files) < told["files_new"] + told["files_changed"] + told["files_unmodified"]:
        raise ResticError(f"the snapshot {told['snapshot_id']} has {len(files)} files, fewer than were saved", 1, b"")
    if not files:
        raise SourceError("there is no file to back up, so nothing is announced")
    path, size = random.choice(files)  # noqa: S311
    if len(restic.read(told["snapshot_id"], path)) != size:
        raise ResticError(f"{path} can't be read back from snapshot {told['snapshot_id']}", 1, b"")
    return len(files), sum(size for _path, size in files)


def _require_files(webroot: Path) -> None:
    """An emptied webroot would take the place of good backups, one by one."""
    try:
        if any(webroot.iterdir()):
            return
        reason = "is empty"
    except OSError as error:
        reason = f"can't be read ({error.strerror})"
    raise SourceError(f"the webroot {webroot} {reason}, so nothing is backed up: look what has happened to it")


def _run_hook(command: str) -> None:
    done = subprocess.run(["/bin/sh", "-ec", command], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if done.returncode:
        raise SourceError(
            f"webroot_backup_hook ended with exit code {done.returncode}, so nothing is backed up: the journal says why"
        )


def _forget_partial(restic: Restic, told: dict[str, Any]) -> None:
    if told.get("snapshot_id"):
        restic.run("forget", told["snapshot_id"])


def forget_old(site: Site, made: Announced) -> str:
    """Forget what has outlived its period, and what doesn't count; returns what went wrong with that, if anything.

    ``made``: the newest of its period, by which a listing that ends early is known: what it lacks seems not to count.
    The records go first: what is announced is there.
    """
    period = made.period
    try:
        found = read_announced(site.catalog, period)
        if made not in found:
            raise StoreError(f"the store's listing of catalog {site.catalog.bucket} lacks what was just announced")
        gone = outlived(found, site.settings.keep.get(period, KEEP[period]))
        for backup in gone:
            site.catalog.delete(backup.key)
        left = unannounced(site.restic.snapshots(), [each for each in found if each not in gone], period)
        if left:
            site.restic.run("forget", *left)
    except (SourceError, StoreError) as error:
        return f"old backups weren't forgotten: {error}"
    return ""


def archive(site: Site, made: Announced) -> dict[str, Any]:
    """The webroot of an announced backup as a plain archive, too: where, what was noted, or what went wrong.

    Without the extra paths: a database's dump doesn't belong into what is unpacked as a webroot.
    """
    settings, bucket = site.settings, f"{site.settings.archive}-{made.period}"
    webroot = Webroot(made.paths[0], made.excludes, made.files, made.bytes)
    try:
        archived = store_archive(site.store, bucket, webroot, made.time, site.work)
        forget_archives(site.store, bucket, settings.keep.get(made.period, KEEP[made.period]))
        archived = _forget_unfinished(site.store, bucket, made.time, archived)
    except (SourceError, StoreError, OSError) as error:
        reason = str(error)
    except KeyboardInterrupt:
        reason = STOPPED
    else:
        return {"archive": archived._asdict()}
    return {"error": f"the backup is announced, but its archive in {bucket} isn't as it should be: {reason}"}


def _forget_unfinished(store: Store, bucket: str, time: str, archived: Archived) -> Archived:
    """Some stores can't list uploads, which makes no archive worse: then it is only noted."""
    try:
        forget_unfinished(store, bucket, time)
    except StoreError as error:
        return archived._replace(notes=[*archived.notes, str(error)])
    return archived


# ---------------------------------------------------------------- the repository


def init(site: Site) -> dict[str, Any]:
    """Make the repository unless it is there; two that do that at once would destroy it, so it is somebody's turn."""
    turns = Turns(site.catalog, site.clock, site.settings.host, "init")
    turns.take(0, forced=True)
    with turns.held():
        changed = not site.restic.exists()
        if changed:
            site.restic.run("init")
            _keep_copy(site)
    return {"changed": changed}


def _keep_copy(site: Site) -> None:
    """Nothing repairs these two when they are damaged. They are no use without the password."""
    for name in ("config", "keys/"):
        for listed in list(site.store.list(site.settings.bucket, f"{FOLDER}/{name}")):
            body = Catalog(site.store, site.settings.bucket).get(listed.key)
            if body:
                site.catalog.put(f"{PREFIX}repository/{listed.key}", body[0])


def check(site: Site) -> dict[str, Any]:
    """Read the structure and a share of the data, and remove what no snapshot needs. Raises ResticError."""
    turns = Turns(site.catalog, site.clock, site.settings.host, CHECK)
    what = turns.take(site.settings.patience)
    if what != "take":
        return {"checked": None, "skipped": what}
    with turns.held():
        site.work.go_on("checking")
        share = site.clock.now().isocalendar()[1] % SHARES + 1
        site.restic.run("unlock")
        site.restic.run("check", "--quiet", f"--read-data-subset={share}/{SHARES}")
        site.restic.run("prune", "--quiet")  # only where all is well
    return {"checked": f"{share}/{SHARES}"}


# ---------------------------------------------------------------- the program


def carry_out(what: str, site: Site) -> dict[str, Any]:
    """What the program is called for."""
    if what in ("check", "init"):
        return check(site) if what == "check" else init(site)
    return make(site, what.removeprefix(NOW), what.startswith(NOW))


def main(arguments: list[str]) -> int:
    """Do it, say how it went to the journal, and leave that for those who ask; 0 also when another webserver did it."""
    parser = argparse.ArgumentParser(prog="webroot_backup", description="Makes temporal backups of a webroot.")
    parser.add_argument("settings", type=Path)
    parser.add_argument("what", choices=[*KEEP, *(NOW + period for period in KEEP), "check", "init"])
    options = parser.parse_args(arguments)
    settings = Settings(**json.loads(options.settings.read_text(encoding="utf-8")))
    began, work = time.time(), Work()
    result = str(Path(settings.results, f"{options.what}.json"))
    StatusFile(progress_of(result)).remove()  # one that was killed has left it
    try:
        with told(on_file(work, progress_of(result))):
            outcome = {"error": "", **carry_out(options.what, open_site(settings, work))}
    except (SourceError, StoreError, OSError) as error:
        outcome = {"error": str(error)}
    except KeyboardInterrupt:
        outcome = {"error": STOPPED}
    outcome.update(began=int(began), seconds=round(time.time() - began, 1))
    said = json.dumps(outcome) + "\n"
    Path(result).write_text(said, encoding="utf-8")
    sys.stdout.write(said)
    return 1 if outcome["error"] else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
