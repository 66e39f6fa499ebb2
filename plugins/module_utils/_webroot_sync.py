# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Syncthing on a webserver, and shows it only such changes of the webroot as may be passed on.

Role webroot_sync installs this file on webservers as the program of one service (`webroot_sync.py VERB`), beside
guard.py, webroot.py, syncthing.py and inotify.py. It needs nothing but Python's standard library.

    when Syncthing starts     it would look at everything. So it finds the folder shut, that is without its marker, and
                              nobody to talk to; then the webroot is compared with the last good list, as later
    while it runs             inotify says what changed; the guard decides what Syncthing is asked to look at
    a host that joins         gets everything into a directory beside the webroot, which then takes the old files' place
    a host that has joined    has a list, and Syncthing's index. Whoever lost one of them may not pass old files on: it
                              is refused until it joins anew
"""

from __future__ import annotations

import argparse
import contextlib
import grp
import json
import os
import pwd
import secrets
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple

HERE = Path(__file__).resolve().parent
if (HERE / "guard.py").exists():
    sys.path.insert(0, str(HERE))
    import guard as guards
    import inotify
    import syncthing
    import webroot as webroots
else:
    from ansible_collections.adt.assets.plugins.module_utils import _guard as guards
    from ansible_collections.adt.assets.plugins.module_utils import _inotify as inotify
    from ansible_collections.adt.assets.plugins.module_utils import _syncthing as syncthing
    from ansible_collections.adt.assets.plugins.module_utils import _webroot as webroots

CONFIG_DIR = Path("/etc/adt-webroot-sync")
STATE_DIR = Path("/var/lib/adt-webroot-sync")
RUN_DIR = Path("/run/adt-webroot-sync")

SETTINGS = CONFIG_DIR / "settings.json"
KEY = CONFIG_DIR / "api.key"
HOME = STATE_DIR / "syncthing"  # Syncthing's own: keys, index
LIST = STATE_DIR / "list.json"
JOINING = STATE_DIR / "joining"  # how far it has come, while there is no index, or one of what the webroot isn't yet
STATE = RUN_DIR / "state.json"
RELEASE = RUN_DIR / "release"

LOOK_SECONDS = 1.0
ASK_SECONDS = 2.0
KEEP_SECONDS = 30.0
HELD_ASKED_SECONDS = 10.0  # how often Syncthing is asked whether what is held is gone by others' doing
START_SECONDS = 120.0
REFUSED_SECONDS = 3.0
STALE_SECONDS = 60.0
RELEASE_SECONDS = 120.0
STUCK_SECONDS = 60.0  # something is wrong, and nothing has come for so long
WHOLE_ASKS, EMPTY_ASKS = 3, 10
NAMES_SHOWN = 20

SEEDING, GETTING, EXCHANGING = "seeding", "getting", "exchanging"


class SyncError(Exception):
    """What is wrong and what to do, in words for a user."""


class Config(NamedTuple):
    """What role webroot_sync has written (templates/settings.json.j2)."""

    webroot: str
    kept: str
    user: str
    group: str
    host: syncthing.Peer
    peers: list[syncthing.Peer]
    port: int
    api_port: int
    excludes: list[str]
    patterns: list[str]
    pages: list[str]
    limit: guards.Limit
    away_seconds: int

    @property
    def owner(self) -> webroots.User:
        return webroots.User(pwd.getpwnam(self.user).pw_uid, grp.getgrnam(self.group).gr_gid)

    @property
    def fresh(self) -> str:
        """Where a host that joins gets everything, on the webroot's file system."""
        return os.path.join(self.kept, "joining")

    @property
    def ignored(self) -> bytes:
        """The content of .stignore."""
        return "".join(f"{pattern}\n" for pattern in self.patterns).encode()

    def as_user(self, *command: str, given: bytes = b"") -> None:
        """Do something where the webserver's user may write, without root's rights. Raises SyncError."""
        done = subprocess.run(
            command,
            input=given,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
            umask=0o077,
            cwd="/",
            **self._identity(),
        )
        if done.returncode:
            raise SyncError(done.stderr.decode(errors="replace").strip() or f"{command[0]} failed")

    def _identity(self) -> dict[str, Any]:
        return {"user": self.owner.uid, "group": self.owner.gid, "extra_groups": []}

    def run_syncthing(self) -> subprocess.Popen[bytes]:
        command = ["syncthing", "serve", "--no-browser", "--no-restart", "--no-upgrade", "--logflags=0"]
        # What a hardened host gives services as a home is none of Syncthing's business.
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(HOME), "STNODEFAULTFOLDER": "1"}
        return subprocess.Popen([*command, f"--home={HOME}"], env=env, umask=0o022, cwd="/", **self._identity())


def load_config() -> Config:
    """Raises SyncError."""
    try:
        told = json.loads(SETTINGS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SyncError("this webserver's webroot isn't synced: run role webroot_sync")
    told["host"] = syncthing.Peer(**told["host"])
    told["peers"] = [syncthing.Peer(**peer) for peer in told["peers"]]
    told["limit"] = guards.Limit(**told["limit"])
    return Config(**told)


def report(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def shown(names: list[str]) -> str:
    """Some names, for people."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(repr(name) for name in names[:NAMES_SHOWN]) + more


# ---------------------------------------------------------------- joining


def has_index() -> bool:
    return any(HOME.glob("index-*"))


def stage() -> str:
    """How far joining has come; empty when the host has joined, or never began."""
    try:
        return JOINING.read_text(encoding="ascii")
    except FileNotFoundError:
        return ""


def why_not_joined(config: Config) -> str:
    """Why this host's files may not be passed on; empty when they may, or when it is getting the others'."""
    try:
        away = time.time() - LIST.stat().st_mtime
    except FileNotFoundError:
        return "it has not joined the others"
    if webroots.read_list(LIST) is None:
        return "the list of what its webroot held can't be read"
    if not has_index() and not stage():
        return "Syncthing has lost its index"
    if away > config.away_seconds:
        return f"it was away for {away / 86400:.0f} days"
    return ""


def seed(config: Config) -> dict[str, Any]:
    """Make this host's files those that all others get."""
    skip = webroots.skipping(config.excludes)
    _forget_index()
    JOINING.write_text(SEEDING, encoding="ascii")
    webroots.write_list(LIST, webroots.walk(config.webroot, config.owner, skip))
    return {}


def join(config: Config) -> dict[str, Any]:
    """Have Syncthing begin with nothing, so that it gets everything from the others; until then the files stay.

    Raises SyncError.
    """
    mounted = webroots.mounts_inside(
        config.webroot, webroots.skipping(config.excludes), Path("/proc/self/mountinfo").read_bytes()
    )
    if mounted:
        raise SyncError(
            f"something is mounted inside {config.webroot}, at {shown(mounted)}, and would be synced: "
            "leave it out with webroot_sync_excludes, or unmount it"
        )
    own(config, check=False)  # a directory above an excluded one stays, and has to take files
    _forget_index()
    config.as_user("rm", "-rf", "--", config.fresh)
    JOINING.write_text(GETTING, encoding="ascii")
    webroots.write_list(LIST, {})
    return {}


def _forget_index() -> None:
    for index in HOME.glob("index-*"):
        subprocess.run(["rm", "-rf", "--", str(index)], check=True)


def _write_index_through() -> None:
    for folder, _folders, files in os.walk(HOME):
        for name in files if os.path.basename(folder).startswith("index-") else []:
            with contextlib.suppress(FileNotFoundError):
                file = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)


def own(config: Config, check: bool) -> dict[str, Any]:
    """Give everything to the user that syncs it; say what wasn't theirs."""
    owner, skip = config.owner, webroots.skipping(config.excludes)
    given = []
    for path, folder, name in webroots.foreign(config.webroot, owner, skip):
        given.append(path)
        if not check:
            os.chown(name, owner.uid, owner.gid, dir_fd=folder, follow_symlinks=False)
    return {"given": given[:NAMES_SHOWN], "count": len(given)}


def make_keys(config_user: str, group: str) -> dict[str, Any]:
    """Syncthing's key pair and the API's key, where they are missing; the ID that others know this host by."""
    owner: dict[str, Any] = {"user": config_user, "group": group, "extra_groups": [], "cwd": "/", "umask": 0o077}
    made = not (HOME / "cert.pem").exists()
    if made:
        command = ["syncthing", "generate", f"--home={HOME}", "--no-default-folder"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **owner)
    if not KEY.exists():
        made = True
        with os.fdopen(os.open(KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(secrets.token_hex(32))
    asked = ["syncthing", "--device-id", f"--home={HOME}"]
    told = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True, **owner).stdout
    return {"made": made, "id": told.split()[-1]}


# ---------------------------------------------------------------- the service


class Service:
    """Syncthing as a child of ours, and the guard over what it is shown."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.owner = config.owner
        self.skip = webroots.skipping(config.excludes)
        self.stopping = False
        self.api = syncthing.Api(config.api_port, KEY.read_text(encoding="ascii"))
        self.state: dict[str, Any] = {"running": False, "problem": "", "held": [], "held_files": 0, "let_go": 0}
        self._device = 0
        self._whole = 0  # how often in a row nothing was missing
        self._shut = False
        self._remade: set[str] = set()
        self._child: subprocess.Popen[bytes] | None = None
        self._said: dict[str, Any] = {}
        self._kept = self._asked = self._looked = self._decided = self._held_asked = 0.0
        self._notify = inotify.Inotify(also=inotify.IN_ATTRIB)
        self._tree = inotify.Tree(config.webroot, self._notify, self.skip)
        self._guard = guards.Guard({}, config.limit)

    def run(self) -> None:
        """Until systemd ends it, or Syncthing ends by itself: then systemd starts it again, with all checks."""
        signal.signal(signal.SIGTERM, self._stop)
        inotify.notify_systemd("READY=1")
        if stage() == EXCHANGING:  # nobody knows how far it came; what was there is set aside
            join(self.config)
        if stage() == GETTING:
            self._get_everything()
        if stage() == SEEDING:  # perhaps a first look that was broken off; nobody was told anything
            seed(self.config)
        self._wait_until(self._admit)
        if self.stopping:
            return
        try:
            self._start_shut()
            while not self.stopping:
                self._turn()
        finally:
            self._end()
        self._keep_list(time.monotonic())

    def _wait_until(self, good: Callable[[], bool]) -> None:
        while not self.stopping and not good():
            self._write_state()
            inotify.notify_systemd("WATCHDOG=1")
            time.sleep(REFUSED_SECONDS)

    def _stop(self, _signal: int, _frame: object) -> None:
        self.stopping = True

    def _say(self, what: str, value: Any, text: str = "") -> None:
        """One line in the journal each time that something is other than before."""
        if self._said.get(what) != value:
            self._said[what] = value
            if text:
                report(text)

    def _set_problem(self, problem: str) -> None:
        self.state["problem"] = problem
        self._say("problem", problem, f"nothing is passed on: {problem}" if problem else "changes are passed on")

    # joining

    def _get_everything(self) -> None:
        """Into a directory beside the webroot, which serves what it has until then."""
        config = self.config
        self.state["joining"] = True
        try:
            self._start(config.fresh, takes_only=True)
            while not self.stopping and not self._has_everything():
                self._check_child()
                inotify.notify_systemd("WATCHDOG=1")
                self._write_state()
                time.sleep(ASK_SECONDS)
        finally:
            self._end()
        if not self.stopping:
            self._put_in_place()

    def _has_everything(self) -> bool:
        self.state["files"] = self._ask()
        if not self.state["complete"]:
            return False
        if self.state["files"] or not webroots.walk(self.config.webroot, self.owner, self.skip):
            return True
        self.state["errors"] = ["the other webservers have no files at all, and this one keeps what it has"]
        return False

    def _put_in_place(self) -> None:
        config = self.config
        known = webroots.walk(config.fresh, self.owner, self.skip)
        aside = os.path.join(config.kept, "aside", time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
        JOINING.write_text(EXCHANGING, encoding="ascii")
        try:
            config.as_user(sys.executable, "-I", __file__, "exchange", aside)
        except SyncError as error:
            self._set_problem(f"the others' files can't be put in place; what was there is in {aside}: {error}")
            self._wait_until(lambda: False)
            return
        webroots.write_list(LIST, known)
        config.as_user("rm", "-rf", "--", config.fresh)
        JOINING.unlink()
        self._whole = 0
        self.state |= {"joining": False, "complete": False, "aside": aside if os.path.isdir(aside) else None}
        there = f"; what lay in {config.webroot} is in {aside}" if self.state["aside"] else ""
        report(f"has all that the others have{there}")

    # before the start

    def _admit(self) -> bool:
        """Whether Syncthing may be started."""
        problem = why_not_joined(self.config)
        if problem:
            problem += ": run playbook adt.assets.sync, which sets its files aside and gets the others'"
        else:
            problem = self._root_problem()
        self._set_problem(problem)
        return not problem

    def _watch_anew(self) -> None:
        os.close(self._notify.fd)
        self._notify = inotify.Inotify(also=inotify.IN_ATTRIB)
        self._tree = inotify.Tree(self.config.webroot, self._notify, self.skip)
        self._tree.add("")

    def _root_problem(self) -> str:
        """What is wrong with the webroot as a whole."""
        root = self.config.webroot
        try:
            status = os.stat(root)
        except OSError as error:
            return f"the webroot can't be looked at: {error}"
        if not stat.S_ISDIR(status.st_mode):
            return f"{root} is no directory"
        if not webroots.can_read(status, self.owner):
            return f"{self.config.user} can't read {root}"
        if webroots.fuse_at(root, Path("/proc/self/mountinfo").read_bytes()):
            return f"a bucket, or what else a program shows, is mounted at {root}: there is nothing to sync"
        return self._running_problem(root, status) if self._child else ""

    def _running_problem(self, root: str, status: os.stat_result) -> str:
        if status.st_dev != self._device:
            return f"another file system lies at {root}"
        if not self._shut and not os.path.isdir(os.path.join(root, webroots.MARKER)):
            return f"{webroots.MARKER} is gone from {root}"
        try:
            ignored = Path(root, webroots.PATTERNS).read_bytes()
        except OSError:
            ignored = b""
        return "" if ignored == self.config.ignored else f"{webroots.PATTERNS} in {root} is not as it was written"

    # while it runs

    def _start_shut(self) -> None:
        """Have Syncthing look at nothing by itself, and talk to nobody until that is certain."""
        config = self.config
        before = {name: entry for name, entry in (webroots.read_list(LIST) or {}).items() if not self.skip(name)}
        self._guard = guards.Guard(before, config.limit, config.pages)
        self._device = os.stat(config.webroot).st_dev
        self._set_shut(True)
        self._start(config.webroot)
        if stage() == SEEDING:
            self._wait_for_first_look()
        else:
            self._wait_until_refused()
        if self.stopping:
            return
        JOINING.unlink(missing_ok=True)
        self._tree.blind = True  # everything has to be compared
        self.api.resume()

    def _wait_for_first_look(self) -> None:
        """Without an index Syncthing opens the folder itself and looks at all, and can miss nothing."""
        self._shut = False
        while not self.stopping and not self.api.has_looked():
            self._check_child()
            inotify.notify_systemd("WATCHDOG=1")
            self._set_problem(self.api.status().get("error") or "")
            self._write_state()
            time.sleep(0.5)

    def _wait_until_refused(self) -> None:
        """Until Syncthing has found the folder shut. Where it has no index any more, it has opened it."""
        until = time.monotonic() + START_SECONDS
        while not self.stopping:
            if os.path.lexists(os.path.join(self.config.webroot, webroots.MARKER)):
                self._end()
                _forget_index()
                raise SyncError("Syncthing has lost its index")
            if self.api.status().get("state") == "error":
                return
            self._check_child()
            if time.monotonic() > until:
                raise SyncError("Syncthing doesn't say that the folder is shut")
            time.sleep(0.1)

    def _set_shut(self, shut: bool) -> None:
        """In a folder without its marker Syncthing looks at nothing and writes nothing."""
        marker = os.path.join(self.config.webroot, webroots.MARKER)
        self._shut = shut
        if shut:
            try:
                os.rmdir(marker)  # at once
            except OSError:
                self.config.as_user("rm", "-rf", "--", marker)
        else:
            self.config.as_user("mkdir", "-p", "--", marker)
            self.api.scan([webroots.PATTERNS])  # nothing of the webroot: it only finds that the folder is open again

    def _start(self, path: str, takes_only: bool = False) -> None:
        config = self.config
        if takes_only:
            config.as_user("mkdir", "-p", "--", os.path.join(path, webroots.MARKER))
        config.as_user("tee", "--", os.path.join(path, webroots.PATTERNS), given=config.ignored)
        config.as_user("mkdir", "-p", "--", os.path.join(config.kept, "versions"))
        settings = syncthing.Settings(
            config.host, config.peers, path, takes_only, f"{config.kept}/versions", config.port, config.api_port
        )
        file = syncthing.settings_file(settings, KEY.read_text(encoding="ascii"), secrets.token_hex(32))
        config.as_user("tee", "--", str(HOME / "config.xml"), given=file)
        self._child = config.run_syncthing()
        until = time.monotonic() + START_SECONDS
        while not self.stopping:
            try:
                self.api.ping()
                break
            except syncthing.SyncthingError as error:
                self._check_child()
                if time.monotonic() > until:
                    raise SyncError(f"Syncthing doesn't come up: {error}")
                time.sleep(0.2)
        self.state["running"] = True

    def _check_child(self) -> None:
        if self._child and self._child.poll() is not None:
            raise SyncError(f"Syncthing ended by itself ({self._child.returncode})")

    def _end(self) -> None:
        if self._child and self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(30)
            except subprocess.TimeoutExpired:
                self._child.kill()
        self._child = None
        self.state["running"] = False
        self._write_state()

    def _turn(self) -> None:
        """One round: what changed, what may be shown."""
        self._check_child()
        inotify.notify_systemd("WATCHDOG=1")
        try:
            for event in self._notify.read(0.2):
                for name in self._tree.names(event):
                    self._look(name)
                if event.mask & inotify.IN_Q_OVERFLOW:
                    report("notices were lost, as too much happened at a time: everything is compared anew")
        except OSError as error:  # the mount went away, or a new directory can't be watched
            if not isinstance(error, ConnectionAbortedError) and not inotify.limit_reached(error):
                raise
            self._tree.blind = True
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS or (self._tree.blind and not self.state["problem"]):
            self._looked = now
            problem = self._root_problem()
            self._tree.blind = self._tree.blind or bool(self.state["problem"])
            self._set_problem(problem or (self._look_anew() if self._tree.blind else ""))
        if not self.state["problem"]:
            self._guard_folder(now)
            self._show(now)
        if now - self._asked >= ASK_SECONDS:
            self._asked = now
            self._ask()
            self.state["files"] = len(self._guard.listing)
            if now - self._kept >= KEEP_SECONDS:
                self._keep_list(now)
            self._write_state()

    def _look(self, name: str) -> None:
        self._guard.saw(name, webroots.look(self.config.webroot, name, self.owner), time.monotonic())

    def _look_anew(self) -> str:
        """Compare everything: notices may have been missed. What is wrong when that can't be done."""
        try:
            self._watch_anew()
        except OSError as error:
            problem = inotify.limit_reached(error)
            if not problem:
                raise
            if not self._shut:  # nobody would see what others' edits may bring to light
                self._set_shut(True)
            self._tree.blind = True
            return problem
        found = webroots.walk(self.config.webroot, self.owner, self.skip)
        now = time.monotonic()
        for name in {*found, *self._guard.listing}:
            self._guard.saw(name, found.get(name), now)
        return ""

    def _guard_folder(self, now: float) -> None:
        """Shut the folder while Syncthing could find by itself what is held, and open it otherwise."""
        exposed = self._guard.is_exposed(now)
        if exposed != self._shut:
            self._set_shut(exposed)

    def _show(self, now: float) -> None:
        if (RELEASE.exists() or self._guard.is_settled(now)) and now - self._decided >= LOOK_SECONDS:
            self._decided = now
            # What Syncthing is doing now may be what is missing here.
            if self.api.status().get("state") in ("idle", "error"):
                self._show_losses(now)
        self._note_held()
        if self._shut:
            return
        entries = {}
        for name in self._guard.changes(now):
            entry = webroots.look(self.config.webroot, name, self.owner)
            if entry is None or (name in self._guard.listing and guards.is_lost(self._guard.listing[name], entry)):
                self._guard.saw(name, entry, now)
            else:
                entries[name] = entry
        if entries:
            self.api.scan(list(entries))
            for name, entry in entries.items():
                self._learn(name, entry)

    def _learn(self, name: str, entry: guards.Entry) -> None:
        """Syncthing has looked at it; a directory that is new to us with all that is in it."""
        is_new = name not in self._guard.listing
        self._guard.knows(name, entry)
        if entry.is_directory and is_new:
            with contextlib.suppress(OSError):
                for below, found in webroots.walk(self.config.webroot, self.owner, self.skip, name).items():
                    if not self._guard.is_pending(below):
                        self._guard.knows(below, found)

    def _show_losses(self, now: float) -> None:
        if self._take_release():
            self._unmake_directories()
            self._look_anew()
            report(f"released: {self._guard.weight()} files that are gone, empty or unreadable here will be elsewhere")
            self._guard.release()
        elif not self._guard.held or now - self._held_asked >= max(HELD_ASKED_SECONDS, self._guard.weight() / 20):
            self._held_asked = now
            self._forgo_others()
        names = self._guard.losses(now)
        weight = guards.weigh(names, self._guard.listing)
        if names and self._shut:
            self._set_shut(False)
        elif self._shut and self._guard.held and not self._guard.missing_pages():
            self._remake_directories()
        for at in range(0, len(names), guards.BATCH):
            self.api.scan(names[at : at + guards.BATCH])
        if not names:
            return
        self._guard.knows_gone(names, now)
        for name in names:
            entry = webroots.look(self.config.webroot, name, self.owner)
            if entry:
                self._guard.knows(name, entry)
        self.state["let_go"] += weight
        report(f"passed on as gone, empty or unreadable, {weight} files: {shown(names)}")
        self._keep_list(now)

    def _remake_directories(self) -> None:
        """Make what is gone anew, empty, so that Syncthing needn't (Guard.is_exposed), and edits go on."""
        folders = self._guard.absent()
        self.config.as_user(sys.executable, "-I", __file__, "remake", given=json.dumps(folders).encode())
        self._remade.update(folders)
        for name in [name for name in self._guard.listing if name in folders or guards.is_below(name, {*folders})]:
            self._look(name)

    def _unmake_directories(self) -> None:
        given = json.dumps(sorted(self._remade)).encode()
        self.config.as_user(sys.executable, "-I", __file__, "unmake", given=given)
        self._remade.clear()

    def _forgo_others(self) -> None:
        """Take off the losses what Syncthing has itself removed here, as others did."""
        top = set(self._guard.lost())
        asked = [name for name in self._guard.listing if name in top or guards.is_below(name, top)]
        gone = []
        for name in {*asked, *top}:
            entry = webroots.look(self.config.webroot, name, self.owner)
            known = self.api.known(name)
            if entry is None and (known is None or known["deleted"]):
                gone.append(name)
            elif entry and known and _is_as_known(entry, known):
                self._guard.knows(name, entry)
        self._guard.knows_gone(gone, time.monotonic(), ours=False)

    def _note_held(self) -> None:
        held = self._guard.held
        names = self._lost_names() if held else []
        self.state["held"] = names[:NAMES_SHOWN]
        self.state["held_files"] = self._guard.weight() if held else 0
        self.state["held_because"] = held
        self._say("held", bool(held), f"held back: {held}: {shown(names)}" if held else "")

    def _lost_names(self) -> list[str]:
        """What is lost, with the directories that were made anew in the place of all that was in them."""
        lost = self._guard.lost()
        above = {name[:at] for name in lost for at, letter in enumerate(name) if letter == "/"}
        return guards.topmost([*lost, *(self._remade & above)])

    @staticmethod
    def _take_release() -> bool:
        with contextlib.suppress(FileNotFoundError):
            RELEASE.unlink()
            return True
        return False

    # what others may know

    def _ask(self) -> int:
        """How Syncthing is doing; how many files and directories it has."""
        status = self.api.status()
        peers = self.api.connected(self.config.peers)
        errors = [*self.api.errors(), *([status["error"]] if status.get("error") and not self._shut else [])]
        if self.api.looks_by_itself():
            errors.append("Syncthing's watcher or rescans were switched on: restart adt-webroot-sync")
        self.state |= {"peers": peers, "errors": errors[:NAMES_SHOWN], "needs": status.get("needTotalItems", 0)}
        # The index of a peer comes in parts, and there is none yet when it has just been connected.
        whole = any(peers.values()) and status.get("state") == "idle" and not self.state["needs"]
        self._whole = self._whole + 1 if whole else 0
        self.state["complete"] = self._whole >= (WHOLE_ASKS if status.get("globalFiles") else EMPTY_ASKS)
        for peer, is_connected in peers.items():
            self._say(f"peer {peer}", is_connected, f"{peer} is {'connected' if is_connected else 'not connected'}")
        self._say("errors", errors, f"Syncthing can't do all: {shown(errors)}" if errors else "")
        return int(status.get("localFiles", 0)) + int(status.get("localDirectories", 0))

    def _keep_list(self, now: float) -> None:
        self._kept = now
        if self._guard.altered:
            self._guard.altered = False
            _write_index_through()  # the list says nothing that the index wouldn't know after a power cut
            webroots.write_list(LIST, self._guard.listing)
        os.utime(LIST)  # it says until when this host was there

    def _write_state(self) -> None:
        self.state["deciding"] = self._tree.blind or bool(self._guard.lost() and not self._guard.held)
        fresh = STATE.with_suffix(".new")
        fresh.write_text(json.dumps({**self.state, "time": time.time()}), encoding="utf-8")
        os.replace(fresh, STATE)


def _is_as_known(entry: guards.Entry, known: dict[str, Any]) -> bool:
    """Whether a file that is there is what Syncthing knows, and so was made by it."""
    kind = {stat.S_IFDIR: "DIRECTORY", stat.S_IFLNK: "SYMLINK"}.get(stat.S_IFMT(entry.mode), "FILE")
    if known["deleted"] or kind not in known["type"]:
        return False
    if kind == "SYMLINK":
        return True
    same_mode = int(known["permissions"], 8) == stat.S_IMODE(entry.mode) & 0o777
    return same_mode and (kind == "DIRECTORY" or known["size"] == entry.size)


# ---------------------------------------------------------------- the verbs

VERBS = ["seed", "join", "own", "foreign", "exchange", "remake", "unmake", "state", "release", "wait"]


def state(config: Config) -> dict[str, Any]:
    """How the sync is doing on this host."""
    why = why_not_joined(config)
    told: dict[str, Any] = {
        "host": config.host.name,
        "webroot": config.webroot,
        "joined": not why and stage() not in (GETTING, EXCHANGING),
        "why_not_joined": why,
        "joining": False,
    }
    try:
        last = json.loads(STATE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        last = {}
    if time.time() - last.get("time", 0) > STALE_SECONDS:
        last = {"running": False, "problem": why or "the service adt-webroot-sync doesn't run"}
    return {**told, "held": [], "held_files": 0, "peers": {}, "errors": [], "needs": 0, **last}


def release(config: Config) -> dict[str, Any]:
    """Have everything passed on that is held, and wait for it. Raises SyncError."""
    asked = time.time()
    RELEASE.touch()
    while time.time() - asked < RELEASE_SECONDS:
        time.sleep(0.5)
        now = state(config)
        if now.get("time", 0) > asked and not RELEASE.exists() and not now["held_files"] and not now["problem"]:
            return {"let_go": now.get("let_go", 0)}
    raise SyncError(f"not everything could be released: {state(config)['problem'] or 'Syncthing is busy'}")


def wait(config: Config, seconds: int) -> dict[str, Any]:
    """Wait until this host has all that a peer has. Raises SyncError."""
    began = came = time.monotonic()
    before: Any = None
    while True:
        told = state(config)
        if told["joined"] and told["running"] and not told["problem"] and told.get("complete"):
            return {"files": told["files"], "aside": told.get("aside")}
        now = time.monotonic()
        if told.get("files") != before:
            before, came = told.get("files"), now
        if now - began > seconds or ((told["errors"] or told["problem"]) and now - came > STUCK_SECONDS):
            missing = f"{told['needs']} files are missing" if told["needs"] else "no other webserver is connected"
            raise SyncError(f"it doesn't have everything: {'; '.join(told['errors']) or told['problem'] or missing}")
        time.sleep(1)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["run", "keys", *VERBS])
    parser.add_argument("words", nargs="*")
    given = parser.parse_args(arguments)
    try:
        if given.verb == "keys":
            told = make_keys(*given.words)
        else:
            config = load_config()
            if given.verb == "run":
                Service(config).run()
                return 0
            if given.verb == "exchange":
                webroots.exchange(config.webroot, config.excludes, config.fresh, *given.words)
                return 0
            if given.verb in ("remake", "unmake"):
                {"remake": webroots.remake, "unmake": webroots.unmake}[given.verb](config.webroot, json.load(sys.stdin))
                return 0
            if given.verb == "wait":
                told = wait(config, int(given.words[0]))
            elif given.verb in ("own", "foreign"):
                told = own(config, given.verb == "foreign")
            else:
                told = {"seed": seed, "join": join, "state": state, "release": release}[given.verb](config)
    except (SyncError, syncthing.SyncthingError, OSError, subprocess.CalledProcessError) as error:
        limit = inotify.limit_reached(error) if isinstance(error, OSError) else ""
        report(f"webroot_sync: {limit or error}")
        return 1
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
