# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role asset_store on three build machines at once, over SSH, against one that does it all.

With ``bed up --build 3`` these are three hosts, as ``make soak`` has them; else one host under three names.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.register_assert_rewrite("assets")
from assets import SITE, counts, pack
from conftest import BED

from ansible_collections.adt.assets.plugins.module_utils._catalog import Catalog

pytest_plugins = ["assets"]
MONDAY = 1780300000
COUNT = 5000 if os.environ.get("ADT_SOAK") else 300

# How far the work is: what is done, and what is left.
FAR = (
    r"^\w+: images: copying, .* until now; ([\d,]+) files \(.*\) done; (?:about )?([\d,]+) \(.*\) left; "
    r".* files/s, .* to go$"
)
PLAY = {
    "name": "Fill the buckets on all build machines",
    "hosts": "three",
    "gather_facts": True,
    "any_errors_fatal": True,
    "tasks": [
        {  # so that it isn't made three times at once where the hosts are one
            "name": "Make the runtime",
            "ansible.builtin.include_role": {"name": "adt.assets.asset_runtime"},
            "when": "inventory_hostname == ansible_play_hosts_all[0]",
        },
        {
            "name": "Fill the buckets",
            "ansible.builtin.include_role": {"name": "adt.assets.asset_store"},
            "vars": {
                "asset_store_hosts": "{{ ansible_play_hosts_all }}",
                "asset_store_access_key": "{{ bed_s3_access_key }}",
                "asset_store_secret_key": "{{ bed_s3_secret_key }}",
                "asset_store_endpoint_url": "{{ bed_s3_endpoint }}",
                "asset_store_region": "{{ bed_s3_region }}",
                "asset_store_workers": 1,
            },
        },
    ],
}


def build_machines() -> dict[str, Any]:
    """Three hosts of the bed's group build, or one with three names."""
    told = subprocess.run(
        ["ansible-inventory", "-i", BED / "inventory.yml", "--list"], check=True, stdout=subprocess.PIPE
    )
    inventory = json.loads(told.stdout)
    names = sorted(inventory["build"]["hosts"])
    hosts = [inventory["_meta"]["hostvars"][names[number % len(names)]] for number in range(3)]
    return {"three": {"hosts": {f"b{number}": host for number, host in enumerate(hosts, 1)}}}


def run_play(tmp_path: Any, variables: dict[str, Any], play: Any, hosts: Any) -> str:
    """The output of a play."""
    for name, content in (("play", [play]), ("hosts", hosts), ("vars", variables)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        (tmp_path / f"{name}.json").chmod(0o600)
    command = ["ansible-playbook", "-i", "hosts.json", "-e", "@vars.json", "play.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def listing(assets: Any, bucket: str) -> dict[str, str]:
    return {listed.key: listed.etag for listed in assets.store.list(bucket)}


def test_three_build_machines_fill_a_bucket_as_one_does_with_no_key_twice(assets, site, client, new_name, tmp_path):
    rng = random.Random(1)
    for number in range(COUNT):
        (site / "images" / f"{number:05}.jpg").write_bytes(rng.randbytes(300))
    packed = pack(site, mtime=MONDAY)
    backups, shared, catalog = new_name("backups"), new_name("shared"), new_name("shared-catalog")
    client.create_bucket(Bucket=backups)
    client.upload_file(str(packed), backups, "webroot.tar.gz")
    one = assets.sync(packed, workers=32)

    directory = {"name": "images", "path": "/var/www/html/images", "archive_path": "images", "buckets": [shared]}
    plan = {"site": SITE, "persist": True, "tool": "rclone", "catalog": catalog, "directories": [directory]}
    variables = {
        "asset_store_plan": plan,
        "asset_store_backup": f"s3://{backups}/webroot.tar.gz",
        "assets_progress_seconds": 1,
    }
    assets.mark_log()
    output = run_play(tmp_path, variables, PLAY, build_machines())
    put = Counter(line.split(" ")[1].partition("?")[0] for line in assets.requests("PUT", buckets=(shared,)))
    del put[f"/{shared}"]  # the bucket itself
    expected = listing(assets, assets.bucket)
    assert listing(assets, shared) == expected
    assert set(put.values()) == {1} and len(put) == len(expected) == counts(one)["uploaded"]

    reports = re.findall(rf"images -> {shared}: ([\d]+) uploaded .* share (\d)/3", output)
    assert sorted(number for _count, number in reports) == ["1", "2", "3"], output
    assert sum(int(count) for count, _number in reports) == len(expected)
    if os.environ.get("ADT_SOAK"):
        assert len(re.findall(FAR, output, re.MULTILINE)) > 3
        again = run_play(tmp_path, variables, PLAY, build_machines())
        assert "changed=0" in again and not re.search(r"changed=[1-9]", again)
    assets.empty(shared)


class FarStore:
    """Forwards to the store, as if that were on another continent: each piece of an answer comes 40 ms later."""

    def __init__(self, endpoint: str) -> None:
        self._target = urlsplit(endpoint)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _address = self._server.accept()
            store = socket.create_connection((self._target.hostname, self._target.port))
            for source, sink, delay in ((client, store, 0), (store, client, 0.04)):
                threading.Thread(target=self._carry, args=(source, sink, delay), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket, delay: float) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                time.sleep(delay)
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)


def test_a_play_says_how_far_long_work_is(assets, site, s3_options, new_name, tmp_path):
    """Sync, comparison, copy and fetch of the same files, with a store that is far away."""
    for number in range(150):  # so many that two reports fit in, also when the first comes late
        (site / "images" / f"{number}.jpg").write_bytes(os.urandom(500))
    other = new_name("other")
    assets.client.create_bucket(Bucket=other)
    Catalog(assets.store, assets.catalog).write_owner(other, SITE, "images")
    slow = {**s3_options, "endpoint_url": FarStore(s3_options["endpoint_url"]).url, "workers": 1}
    source = {"src": str(site), "archive_path": "images"}
    modules = {
        "asset_sync": source,
        "asset_compare": {**source, "digest": "read"},
        "asset_copy": {"from_buckets": [assets.bucket], "buckets": [other]},
        "asset_fetch": {"dest": str(tmp_path / "fetched")},
    }
    tasks = [{f"adt.assets.{name}": {**assets.target, **slow, **more}} for name, more in modules.items()]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    variables = {"ansible_python_interpreter": sys.executable, "assets_progress_seconds": 1}
    output = run_play(tmp_path, variables, play, {"all": {"hosts": {"localhost": {}}}})
    for phase in ("copying", "comparing with the bucket", "copying", "fetching"):
        began = re.search(FAR.replace("copying", phase), output, re.MULTILINE)
        assert began, f"{phase}\n{output}"
        task, more, output = output[began.start() :].partition("TASK [")
        output = more + output
        said = re.findall(FAR.replace("copying", phase), task, re.MULTILINE)
        assert len(said) > 1, task
        done, left = zip(*((int(done), int(left)) for done, left in said))
        assert list(done) == sorted(done) and len({sum(pair) for pair in zip(done, left)}) == 1, task
    assert not [name for name in os.listdir("/tmp") if name.startswith("adt-assets-") and name.endswith(".json")]
