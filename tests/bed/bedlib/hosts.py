# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers that stand for hosts: systemd as PID 1, privileged, one network namespace each."""

from __future__ import annotations

import json
import resource
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import access
import downloads
import network
from common import FILES, POSSIBLE, Bed, BedError, Host, run, say
from podman import containers_of

READY_SECONDS = 90
# A healthy host's systemd answers after a second or two.
SILENT_SECONDS = 30
# Without the first, LoadCredential= gives an empty directory, and mounts don't reach sandboxed services.
# Of those that one user may have on a machine, each host's systemd and udev take about seven; the default is 128.
WATCHES = Path("/proc/sys/fs/inotify/max_user_instances")
WATCHES_WANTED = 1024
START = "mount --make-rshared / && sh /srv/bed/files/prepare.sh {group} && exec /sbin/init"


def states(bed: Bed) -> dict:
    """Host name → podman's word for its container's state; hosts without a container are missing.

    `lost` is one that podman believes to run while nothing of it does: what ended it ended podman's monitor, too.
    """
    listed = json.loads(containers_of(bed).run("ps", "--all", "--format", "json").stdout or "[]")
    by_name = {item["Names"][0]: _state(item) for item in listed}
    return {h.name: by_name[bed.container(h.name)] for h in bed.hosts if bed.container(h.name) in by_name}


def _state(listed: dict) -> str:
    if listed["State"] != "running":
        return listed["State"]
    first = Path("/proc", str(listed["Pid"]))
    try:
        # The number may be another process's by now; one that has ended but isn't yet waited for has no command line.
        runs = listed["Id"] in (first / "cgroup").read_text() and (first / "cmdline").read_text()
    except OSError:
        runs = False
    return "running" if runs else "lost"


def start_all(bed: Bed) -> None:
    """Create what is missing, start what has stopped, leave alone what runs; return when all are ready."""
    now = states(bed)
    if int(WATCHES.read_text(encoding="ascii")) < WATCHES_WANTED:
        WATCHES.write_text(str(WATCHES_WANTED), encoding="ascii")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: _start(bed, host, now.get(host.name)), bed.hosts))
        list(pool.map(lambda host: wait_for_systemd(bed, host, fresh=now.get(host.name) != "running"), bed.hosts))
    _wait_for_store(bed)


def _start(bed: Bed, host: Host, state: object) -> None:
    podman = containers_of(bed)
    name = bed.container(host.name)
    if state == "running":
        return
    if state in ("exited", "stopped"):
        podman.run("start", name)
        return
    podman.run("rm", "--force", "--ignore", name)
    network.connect(bed, host)
    podman.run("run", "--detach", *_options(bed, host), downloads.image_name(host.suite), "sh", "-c",
               START.format(group=host.group))  # fmt: skip


def _options(bed: Bed, host: Host) -> list:
    options = ["--name", bed.container(host.name), "--hostname", host.name, "--systemd=always", "--privileged"]
    options += ["--pids-limit=0", f"--cgroup-parent=/{bed.label}"]
    options += ["--network", f"ns:{network.handle(bed, host)}"]
    for limit, wish in (("nofile", 16384), ("nproc", 16384), ("memlock", 65536)):
        options.append(f"--ulimit={limit}={_at_most(limit, wish)}")
    # A container's own limits are podman's 1048576 otherwise: not every machine may raise its own that far.
    for other in POSSIBLE:  # also those that come later
        options += ["--add-host", f"{other.name}:{network.address(bed, other)}"]
    mounts = {
        FILES: "/srv/bed/files:ro",
        bed.host_dir(host.name): "/srv/bed/host:ro",
        downloads.wheel_dir(bed): "/srv/wheels:ro",
    }
    if downloads.CERTIFICATES.exists():
        mounts[downloads.CERTIFICATES] = "/srv/bed/ca.crt:ro"
    if host.group == "store":
        log = Path(str(access.s3_log(bed))).parent
        log.mkdir(parents=True, exist_ok=True)
        mounts[downloads.weed_dir(bed)] = "/srv/bed/bin:ro"
        mounts[log] = "/var/log/nginx"
    for source, target in mounts.items():
        options += ["--volume", f"{source}:{target}"]
    return options


def _at_most(limit: str, wish: int) -> str:
    _soft, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{limit.upper()}"))
    value = wish if hard == resource.RLIM_INFINITY else min(wish, hard)
    return f"{value}:{value}"


def wait_for_systemd(bed: Bed, host: Host, fresh: bool) -> None:
    """Return when the host's systemd says `running`. Failed units are an error, or after work on the host, a remark."""
    podman, name = containers_of(bed), bed.container(host.name)
    end = time.monotonic() + READY_SECONDS
    silent_until = time.monotonic() + SILENT_SECONDS
    said = ""
    while time.monotonic() < end:
        asked = podman.run("exec", name, "systemctl", "is-system-running", check=False)
        said = asked.stdout.strip()
        if said == "running":
            return
        if said == "degraded":
            failed = podman.run("exec", name, "systemctl", "--failed", "--plain", "--no-legend", check=False).stdout
            if fresh:
                raise BedError(f"{host.name} came up with failed units:\n{failed}")
            say(f"{host.name} runs, with failed units:\n{failed.rstrip()}")
            return
        if states(bed).get(host.name) != "running":
            raise BedError(f"{host.name} ended right after its start:\n{_log(bed, host)}")
        if not said and time.monotonic() > silent_until:
            raise BedError(
                f"{host.name}: no systemd after {SILENT_SECONDS} s: {asked.stderr.strip()}\n{_log(bed, host)}"
            )
        time.sleep(0.2)
    raise BedError(f"{host.name} isn't up after {READY_SECONDS} s: systemd says {said}\n{_log(bed, host)}")


def _log(bed: Bed, host: Host) -> str:
    """What the host wrote before its journal began, and what runs there."""
    told = [containers_of(bed).run(word, bed.container(host.name), check=False) for word in ("logs", "top")]
    return "\n".join((done.stdout + done.stderr)[-2000:] for done in told)


def _wait_for_store(bed: Bed) -> None:
    """S3 answers (403 to one without keys), and the first volume can be written."""
    store = access.endpoint(bed)
    for url in (f"{store}/", f"{store.rsplit(':', 1)[0]}:9333/dir/assign"):
        end = time.monotonic() + READY_SECONDS
        while not _answers(url):
            if time.monotonic() > end:
                raise BedError(f"no S3 server answers at {url}: see `bed exec store -- journalctl -u seaweedfs`")
            time.sleep(0.1)


def _answers(url: str) -> bool:
    # The bed's addresses are the machine's own: never through a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return b'"error"' not in answer.read(4096)
    except urllib.error.HTTPError as error:
        return error.code == 403
    except OSError:
        return False


def remove(bed: Bed, host: Host) -> None:
    """Take one host away with all that is on it."""
    containers_of(bed).run("rm", "--force", "--ignore", "--time", "0", bed.container(host.name))
    network.disconnect(bed, host)


def remove_all(bed: Bed) -> None:
    podman = containers_of(bed)
    if podman.root.exists():
        podman.run("rm", "--force", "--all", "--time", "0", check=False)
    for socket in (bed.run / "cp").glob("*"):
        run(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "bed"], check=False)
