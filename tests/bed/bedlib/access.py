# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How tests and people reach a bed: SSH key, inventory, ssh_config, S3 keys, a file of exports."""

from __future__ import annotations

import json
import shlex
import shutil

import network
from common import Bed, run, write_private

ACCESS_KEY = "ADTBEDACCESSKEY01"
# A canary: found anywhere but in a 0600 credentials file, a secret has leaked; and every character of it is special
# to some shell, INI, JSON, URL or systemd syntax. Without | and ', which site templates themselves cannot hold, and
# without a space: s3fs refuses a passwd_file with one ("invalid line in passwd file, found whitespace character").
SECRET_KEY = 'C4nary/s3&cret+pct%dollar$dq"bs\\end#hash'
# Those that the same identity changes to; with what the first can't have, as no template and no passwd_file brings it.
NEXT_ACCESS_KEY = "ADTBEDACCESSKEY02"
NEXT_SECRET_KEY = "C4nary 2nd/s3'cret|pipe+pct%dollar$dq\"bs\\end#hash&"
DENIED_ACCESS_KEY = "ADTBEDDENIED0001"
DENIED_SECRET_KEY = "C4nary-of-one-who-may-do-nothing"
REGION = "us-east-1"
EVERYTHING = ["Admin", "Read", "Write", "List", "Tagging"]


def _endpoint(bed: Bed, port: int) -> str:
    return f"http://{network.address(bed, bed.find_host('store'))}:{port}"


def endpoint(bed: Bed) -> str:
    """Through nginx, which logs every request."""
    return _endpoint(bed, 8333)


def write(bed: Bed) -> None:
    """Write every file; keys and addresses stay as long as the bed lives."""
    _write_key(bed)
    _write_identities(bed)
    write_private(bed.state / "ssh_config", _ssh_config(bed))
    write_private(bed.state / "inventory.yml", _inventory(bed))
    write_private(bed.state / "env", _exports(bed))


def _write_key(bed: Bed) -> None:
    key = bed.state / "id_ed25519"
    if not key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", bed.label, "-f", key])
    for host in bed.hosts:
        folder = bed.host_dir(host.name)
        folder.mkdir(parents=True, exist_ok=True)
        # sshd reads the keys on behalf of `admin`.
        shutil.copyfile(key.with_suffix(".pub"), folder / "authorized_keys")
        write_private(folder / "address", f"BED_ADDRESS={network.address(bed, host)}\n", 0o644)


def _write_identities(bed: Bed) -> None:
    def identity(name: str, actions: list, keys: dict) -> dict:
        credentials = [{"accessKey": access_key, "secretKey": secret_key} for access_key, secret_key in keys.items()]
        return {"name": name, "credentials": credentials, "actions": actions}

    identities = [
        identity("bed", EVERYTHING, {ACCESS_KEY: SECRET_KEY, NEXT_ACCESS_KEY: NEXT_SECRET_KEY}),
        identity("denied", [], {DENIED_ACCESS_KEY: DENIED_SECRET_KEY}),
    ]
    for host in bed.hosts:
        if host.group == "store":
            write_private(bed.host_dir(host.name) / "s3.json", json.dumps({"identities": identities}, indent=1))


def _ssh_options(bed: Bed) -> dict:
    return {
        "User": "admin",
        "IdentityFile": str(bed.state / "id_ed25519"),
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
    }


def _ssh_config(bed: Bed) -> str:
    lines = []
    for host in bed.hosts:
        names = host.name if host.group == "webservers" else f"{host.name} {host.group}"
        lines += [f"Host {names}", f"    HostName {network.address(bed, host)}"]
    lines.append("Host *")
    lines += [f"    {key} {value}" for key, value in _ssh_options(bed).items()]
    return "\n".join(lines) + "\n"


def _inventory(bed: Bed) -> str:
    # Connection variables are those of a group of their own: `all` would give them to localhost too.
    options = _ssh_options(bed)
    connection = {
        "ansible_user": options["User"],
        "ansible_become": True,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": options["IdentityFile"],
        "ansible_ssh_common_args": " ".join(
            f"-o {key}={options[key]}"
            for key in ("IdentitiesOnly", "StrictHostKeyChecking", "UserKnownHostsFile", "LogLevel")
        ),
        "ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=300s",
        "ansible_control_path_dir": str(bed.run / "cp"),
        "ansible_pipelining": True,
        "asset_runtime_pip_extra_args": "--no-index --find-links /srv/wheels",
    }
    everyone = {
        "bed_name": bed.name,
        "bed_s3_endpoint": endpoint(bed),
        "bed_s3_direct": _endpoint(bed, 8334),
        "bed_s3_region": REGION,
        "bed_s3_access_key": ACCESS_KEY,
        "bed_s3_secret_key": SECRET_KEY,
        "bed_s3_next_access_key": NEXT_ACCESS_KEY,
        "bed_s3_next_secret_key": NEXT_SECRET_KEY,
        "bed_s3_denied_access_key": DENIED_ACCESS_KEY,
        "bed_s3_denied_secret_key": DENIED_SECRET_KEY,
        "bed_s3_log": str(s3_log(bed)),
    }
    groups: dict = {}
    for host in bed.hosts:
        hosts = groups.setdefault(host.group, {"hosts": {}})["hosts"]
        hosts[host.name] = {"ansible_host": network.address(bed, host)}
    return _yaml({"all": {"vars": everyone, "children": {"bed": {"vars": connection, "children": groups}}}})


def _yaml(value: dict, indent: str = "") -> str:
    """A dict of dicts and scalars as YAML; a scalar in JSON is one in YAML too."""
    text = ""
    for key, item in value.items():
        if isinstance(item, dict):
            text += f"{indent}{key}:\n{_yaml(item, indent + '  ')}"
        else:
            text += f"{indent}{key}: {json.dumps(item)}\n"
    return text


def s3_log(bed: Bed) -> object:
    """The access log of the S3 endpoint, readable on the machine itself."""
    return bed.state / "log" / "s3.log"


def _exports(bed: Bed) -> str:
    values = {
        "S3_ENDPOINT": endpoint(bed),
        "S3_DIRECT": _endpoint(bed, 8334),
        "S3_LOG": s3_log(bed),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "BED_NEXT_ACCESS_KEY": NEXT_ACCESS_KEY,
        "BED_NEXT_SECRET_KEY": NEXT_SECRET_KEY,
        "BED_DENIED_ACCESS_KEY": DENIED_ACCESS_KEY,
        "BED_DENIED_SECRET_KEY": DENIED_SECRET_KEY,
        "BED_INVENTORY": bed.state / "inventory.yml",
    }
    return "".join(f"export {key}={shlex.quote(str(value))}\n" for key, value in values.items())
