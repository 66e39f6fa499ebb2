# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running test bed as Python sees it: its hosts, its S3 store, and playbooks run against it."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config

TESTS = Path(__file__).resolve().parent.parent
CALLBACKS = TESTS / "plugins" / "callback"


class Bed:
    """The bed called ``name``; it must be up (``tests/bed/bed up --name NAME``)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = Path(os.environ["ADT_CACHE"], "beds", name)
        self.inventory = self.folder / "inventory.yml"
        self.ssh_config = self.folder / "ssh_config"

    @cached_property
    def env(self) -> dict[str, str]:
        """The bed's S3 endpoint and keys, as its ``env`` file exports them."""
        script = f"set -a; . {shlex.quote(str(self.folder / 'env'))}; env -0"
        shown = subprocess.run(
            ["env", "-i", "bash", "-c", script], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        return dict(line.split("=", 1) for line in shown.split("\0") if "=" in line)

    def hosts(self, group: str) -> list[str]:
        """The names of a group's hosts in the inventory."""
        children = yaml.safe_load(self.inventory.read_text())["all"]["children"]["bed"]["children"]
        return list(children[group]["hosts"])

    def on(self, host: str, command: str, check: bool = True) -> str:
        """What a shell command prints on a host, run as root, with ``\N{REPLACEMENT CHARACTER}`` for what isn't UTF-8.

        Raises CalledProcessError when it fails and ``check``.
        """
        remote = ["ssh", "-F", str(self.ssh_config), host, "sudo bash -c " + shlex.quote(command)]
        return subprocess.run(remote, check=check, stdout=subprocess.PIPE, text=True, errors="replace").stdout

    def restart(self, host: str) -> None:
        """Reboot a host: it goes down in order, and comes back with nothing but its disk."""
        bed = str(TESTS / "bed" / "bed")
        self.on(host, "systemctl poweroff --no-block")
        for _attempt in range(240):
            shown = subprocess.run([bed, "status", "--name", self.name], stdout=subprocess.PIPE, text=True, check=False)
            if re.search(rf"^{host} .* exited$", shown.stdout, re.MULTILINE):
                break
            time.sleep(0.25)
        subprocess.run([bed, "up", "--name", self.name], check=True)

    def built(self, tool: str) -> dict[str, str]:
        """Role asset_mount's variables for a mount tool that no distribution has, built on this machine; else none."""
        if not (TESTS / "bed" / "files" / "tools" / tool).is_dir():
            return {}
        command = [str(TESTS / "bed" / "bed"), "tool", "--name", self.name, tool]
        shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        digest, path = shown.splitlines()[-1].split("  ", 1)
        return {
            "asset_mount_install_method": "file",
            "asset_mount_install_source": path,
            "asset_mount_install_sha256": digest,
        }

    def address(self, host: str) -> str:
        """The IP address that the bed's ssh_config has for a host."""
        ask = ["ssh", "-G", "-F", str(self.ssh_config), host]
        shown = subprocess.run(ask, check=True, stdout=subprocess.PIPE, text=True).stdout
        return next(line.split()[1] for line in shown.splitlines() if line.startswith("hostname "))

    @cached_property
    def s3(self) -> Any:
        """A plain S3 client for the bed's store."""
        return boto3.client(
            "s3",
            endpoint_url=self.env["S3_ENDPOINT"],
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            region_name=self.env["AWS_DEFAULT_REGION"],
            config=Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"}),
        )

    def buckets(self) -> list[str]:
        """The names of all buckets."""
        return sorted(entry["Name"] for entry in self.s3.list_buckets()["Buckets"])

    def objects(self, bucket: str) -> dict[str, dict[str, Any]]:
        """All objects of a bucket by key, as ListObjectsV2 gives them."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {item["Key"]: item for page in pages for item in page.get("Contents", [])}

    def remove_bucket(self, bucket: str) -> None:
        """Delete a bucket with everything in it; fine when it is gone already."""
        if bucket not in self.buckets():
            return
        for key in self.objects(bucket):
            self.s3.delete_object(Bucket=bucket, Key=key)
        self.s3.delete_bucket(Bucket=bucket)

    def requests(self) -> list[str]:
        """The lines of the store's access log: ``time method uri status request_length bytes_sent``."""
        return self.on("store1", "cat /var/log/nginx/s3.log").splitlines()

    def playbook(
        self, name: str, variables: dict[str, Any], *options: str, check: bool = True, kill_before: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a playbook (``adt.assets.deploy`` or a path) against the bed's inventory as a user does.

        The variables go through a private file, so that nothing secret stands in a command line. ``kill_before``: the
        task before which the run is killed; an AssertionError when it never came there.
        """
        passed = self.folder / "variables.json"
        with os.fdopen(os.open(passed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(variables, out)
        command = ["ansible-playbook", name, "-i", str(self.inventory), "-e", f"@{passed}", *options]
        env = {**os.environ, "ADT_KILL_BEFORE": kill_before, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
        if kill_before:
            env |= {"ANSIBLE_CALLBACKS_ENABLED": "kill", "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS)}
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=env,
            start_new_session=bool(kill_before),
        )
        if kill_before:
            assert done.returncode == -signal.SIGKILL, f"{kill_before!r} never came:\n{done.stdout}"
        elif check and done.returncode:
            raise AssertionError(f"{shlex.join(command)} failed:\n{done.stdout}")
        return done

    def url(self, host: str, path: str) -> str:
        """Where a webserver serves a file of its webroot."""
        return f"http://{self.address(host)}/{urllib.parse.quote(path)}"

    def fetch(self, host: str, path: str, seconds: float = 10) -> bytes | None:
        """The body of a file that a webserver serves, or None when it answers with an error."""
        try:
            with urllib.request.urlopen(self.url(host, path), timeout=seconds) as answer:
                return answer.read()
        except (urllib.error.HTTPError, http.client.IncompleteRead):
            return None


if __name__ == "__main__":  # python lab.py BED PREFIX: remove every bucket whose name begins with PREFIX
    bed = Bed(sys.argv[1])
    for name in bed.buckets():
        if name.startswith(sys.argv[2]):
            bed.remove_bucket(name)
