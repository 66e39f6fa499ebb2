# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the test bed."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import access
import downloads
import hosts
import namespace
import network
from common import MOST, RUN, SIZE, Bed, BedError, cache_dir, locked, make_bed, say, write_private
from podman import containers_of

COMMANDS = {
    "podman": "podman",
    "crun": "crun",
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "nsenter": "util-linux",
}


def check_machine() -> None:
    """Say all that this machine lacks, and how to get it."""
    if sys.version_info < (3, 11):
        raise BedError("needs Python 3.11 or newer")
    if os.geteuid() != 0:
        raise BedError("needs root: it makes mounts, network interfaces and containers. Run it with sudo.")
    if not Path("/dev/fuse").exists():
        raise BedError("/dev/fuse is missing: the hosts mount FUSE file systems. Try `modprobe fuse`.")
    missing = sorted({package for command, package in COMMANDS.items() if not shutil.which(command)})
    if missing:
        raise BedError(f"programs are missing: apt-get install --no-install-recommends {' '.join(missing)}")


def is_there(bed: Bed) -> bool:
    """Whether the bed's run-time files and name space exist, so that its podman can be asked."""
    return bed.run.exists() and namespace.exists(bed)


def up(bed: Bed, wanted: dict[str, int]) -> None:
    """Bring a bed up with so many hosts of some groups, and of the others with as many as it has; the last go first."""
    check_machine()
    size = bed.size | wanted
    if bed.state.exists() and (not is_there(bed) or "lost" in hosts.states(bed).values()):
        remove(bed)  # what a reboot, an ended `up` or the end of all processes has left
    before = bed.hosts if bed.state.exists() else []
    bed.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(bed.state / "size.json", json.dumps(size))
    for host in before:
        if host not in bed.hosts:
            hosts.remove(bed, host)
    bed.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    (bed.run / "cp").mkdir(exist_ok=True, mode=0o700)
    namespace.create(bed)
    downloads.prepare(bed)
    network.create(bed)
    access.write(bed)
    hosts.start_all(bed)
    say(f"{bed.name} is up: inventory {bed.state / 'inventory.yml'}, S3 at {access.endpoint(bed)}")


def down(bed: Bed) -> None:
    check_machine()
    remove(bed)
    say(f"{bed.name} is down")


def remove(bed: Bed) -> None:
    """Remove all of a bed, also of one that is half there."""
    bed.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    hosts.remove_all(bed)
    namespace.kill_leftovers(bed)
    network.destroy(bed)
    namespace.unmount_storage(bed)
    namespace.destroy(bed)
    shutil.rmtree(bed.run)
    shutil.rmtree(bed.state, ignore_errors=False) if bed.state.exists() else None


def status(bed: Bed) -> int:
    """Print one line per host; 0 when all run."""
    check_machine()
    found = hosts.states(bed) if is_there(bed) else {}
    if not found:
        say(f"{bed.name} is down")
        return 1
    for host in bed.hosts:
        print(f"{host.name:8} {network.address(bed, host):15} {host.suite:9} {found.get(host.name, 'missing')}")
    print(f"S3       {access.endpoint(bed)}")
    print(f"files    {bed.state}")
    return 0 if all(found.get(host.name) == "running" for host in bed.hosts) else 1


def execute(bed: Bed, name: str, command: list) -> None:
    """Become the command in the host's container, as root and without SSH."""
    check_machine()
    host = bed.find_host(name)
    if not is_there(bed):
        raise BedError(f"{bed.name} is down: run `bed up --name {bed.name}`")
    options = ["--interactive", "--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else ["--interactive"]
    argv = containers_of(bed).argv("exec", *options, bed.container(host.name), *(command or ["bash"]))
    os.chdir("/")
    os.execvp(argv[0], argv)


def tool(bed: Bed, name: str) -> None:
    """Print the SHA-256 and the path of a mount tool that is built from source, as sha256sum does."""
    check_machine()
    if not is_there(bed):
        raise BedError(f"{bed.name} is down: run `bed up --name {bed.name}`")
    path = downloads.build_tool(bed, name)
    print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}")


def clean_cache() -> None:
    check_machine()
    cache = cache_dir()
    beds = sorted(path.parent.name for path in (cache / "beds").glob("*/podman"))
    if beds:
        raise BedError(f"beds use the cache: first run `bed down` for {', '.join(beds)}")
    for path in [cache / "bed-images", cache / "wheels", *cache.glob("bed-weed-*"), *cache.glob("bed-tool-*")]:
        shutil.rmtree(path, ignore_errors=True)
    say("the cache is empty: the next `up` downloads everything again")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bed", description="The test bed: hosts with systemd, and an S3 server.")
    default = os.environ.get("ADT_BED", "test")
    commands = parser.add_subparsers(dest="command", required=True)
    texts = {
        "up": "start the bed, or what is missing of it",
        "down": "stop it and remove everything but the cache",
        "status": "show its hosts; exit code 0 when all run",
        "exec": "run a command in a host, as root",
        "tool": "print the SHA-256 and the path of a mount tool that no distribution has; build it when it is missing",
    }
    for command, text in texts.items():
        sub = commands.add_parser(command, help=text)
        sub.add_argument("--name", default=default, help="name of the bed (default: $ADT_BED, else test)")
        if command == "up":
            for group, count in SIZE.items():
                number = sub.add_argument(f"--{group}", type=int, choices=range(1, MOST + 1), metavar="NUMBER")
                number.help = f"how many hosts in the group {group} (default: what the bed has, or {count})"
        if command == "exec":
            sub.add_argument("host", help="its name (store1, web1 …), or its group where that has but one")
            sub.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="default: a shell")
        if command == "tool":
            sub.add_argument("tool", choices=downloads.tool_names())
    commands.add_parser("clean-cache", help="remove the base images and downloads")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    try:
        if given.command == "clean-cache":
            clean_cache()
            return 0
        bed = make_bed(given.name)
        if given.command == "exec":
            execute(bed, given.host, given.words[1:] if given.words[:1] == ["--"] else given.words)
        if given.command == "status":
            return status(bed)
        if given.command == "tool":
            tool(bed, given.tool)
            return 0
        with locked(RUN / f"{bed.name}.lock"):
            if given.command == "up":
                up(bed, {group: count for group in SIZE if (count := getattr(given, group))})
            else:
                down(bed)
    except (BedError, OSError) as error:
        print(f"bed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bed: interrupted; `bed down` removes what is there, `bed up` goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
