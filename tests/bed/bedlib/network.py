# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bridge, one network namespace per host, and the way out: all named after the bed or in its
directory, so that `down` finds and removes exactly what `up` made, whatever state it is in.

Podman's own networks leave chains and allocation files behind and pick names by themselves.
"""

from __future__ import annotations

import ipaddress
import json
import shlex
from pathlib import Path
from typing import Optional

import namespace
from common import POSSIBLE, RUN, Bed, BedError, Host, locked, run

POOL = ipaddress.IPv4Network("10.213.0.0/16")
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
FORWARD_WAS_OFF = RUN / "ip_forward-was-off"


def _bridge(bed: Bed) -> Optional[ipaddress.IPv4Interface]:
    """The bridge's own address, the first of the subnet; None when there is no bridge."""
    shown = run(["ip", "-j", "-4", "addr", "show", "dev", bed.label], check=False)
    for link in json.loads(shown.stdout or "[]"):
        for address in link.get("addr_info", []):
            return ipaddress.IPv4Interface(f"{address['local']}/{address['prefixlen']}")
    return None


def _subnet(bed: Bed) -> ipaddress.IPv4Network:
    bridge = _bridge(bed)
    if bridge is None:
        raise BedError(f"bed {bed.name} has no network: run `bed up --name {bed.name}`")
    return bridge.network


def address(bed: Bed, host: Host) -> str:
    """The host's address; the bed must have its bridge."""
    return str(_subnet(bed).network_address + host.octet)


def _free_subnet() -> ipaddress.IPv4Network:
    routes = json.loads(run(["ip", "-j", "-4", "route", "show", "table", "all"]).stdout)
    taken = [ipaddress.ip_network(r["dst"], strict=False) for r in routes if r["dst"] != "default"]
    for subnet in POOL.subnets(new_prefix=24):
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise BedError(f"every network of {POOL} is in use on this machine")


def _rules(bed: Bed, subnet: object) -> list:
    """(table, chain, rule) that let the hosts reach the outside, behind the machine's address."""
    ours = ["-m", "comment", "--comment", bed.label]
    return [
        ("nat", "POSTROUTING", ["-s", str(subnet), "!", "-d", str(subnet), *ours, "-j", "MASQUERADE"]),
        ("filter", "FORWARD", ["-i", bed.label, *ours, "-j", "ACCEPT"]),
        ("filter", "FORWARD", ["-o", bed.label, *ours, "-j", "ACCEPT"]),
    ]


def create(bed: Bed) -> None:
    """Make the bridge and the way out, where there are none."""
    with locked(RUN / "network.lock"):
        if _bridge(bed) is None:
            run(["ip", "link", "delete", bed.label], check=False)
            subnet = _free_subnet()
            run(["ip", "link", "add", bed.label, "type", "bridge"])
            run(["ip", "addr", "add", f"{subnet.network_address + 1}/24", "dev", bed.label])
            run(["ip", "link", "set", bed.label, "up"])
        for table, chain, rule in _rules(bed, _subnet(bed)):
            if run(["iptables", "-w", "-t", table, "-C", chain, *rule], check=False).returncode:
                run(["iptables", "-w", "-t", table, "-I", chain, *rule])
        if FORWARD.read_text(encoding="ascii").strip() == "0":
            FORWARD_WAS_OFF.touch()
            FORWARD.write_text("1", encoding="ascii")


def handle(bed: Bed, host: Host) -> Path:
    """The file of the host's network namespace: not in /run/netns, which `ip netns` turns into a mount that stays."""
    return bed.run / "net" / host.name


def connect(bed: Bed, host: Host) -> None:
    """Make the host's network namespace anew, with eth0 on the bridge."""
    subnet = _subnet(bed)
    disconnect(bed, host)
    netns = handle(bed, host)
    netns.parent.mkdir(exist_ok=True, mode=0o700)
    netns.touch()
    inside = namespace.enter(bed)
    run([*inside, "unshare", f"--net={netns}", "true"])
    # The third octet tells the beds apart: "7.web1.adt" fits into the 15 characters of a name.
    outer = f"{subnet.network_address.packed[2]}.{host.name}.adt"
    run(["ip", "link", "delete", outer], check=False)
    # Made from the IP address: others remember one that has changed for a minute, and a host may be made anew.
    mac = ":".join(f"{byte:02x}" for byte in (2, 0, *ipaddress.IPv4Address(address(bed, host)).packed))
    peer = ["peer", "name", "eth0", "address", mac, "netns", netns]
    run([*inside, "ip", "link", "add", outer, "type", "veth", *peer])
    run(["ip", "link", "set", outer, "master", bed.label, "up"])
    for words in (
        ["link", "set", "lo", "up"],
        ["addr", "add", f"{address(bed, host)}/24", "dev", "eth0"],
        ["link", "set", "eth0", "up"],
        ["route", "add", "default", "via", str(subnet.network_address + 1)],
    ):
        run([*inside, "nsenter", f"--net={netns}", "ip", *words])


def disconnect(bed: Bed, host: Host) -> None:
    """Remove the host's network namespace, and its cable with it."""
    netns = handle(bed, host)
    run([*namespace.enter(bed), "umount", "--quiet", netns], check=False)
    netns.unlink(missing_ok=True)


def destroy(bed: Bed) -> None:
    for host in POSSIBLE:
        disconnect(bed, host)
    run(["ip", "link", "delete", bed.label], check=False)
    for table in ("nat", "filter"):
        for line in run(["iptables", "-w", "-t", table, "-S"]).stdout.splitlines():
            words = shlex.split(line)
            if words[0] == "-A" and "--comment" in words and words[words.index("--comment") + 1] == bed.label:
                run(["iptables", "-w", "-t", table, "-D", *words[1:]])
    with locked(RUN / "network.lock"):
        if FORWARD_WAS_OFF.exists() and not _other_bridges(bed):
            FORWARD.write_text("0", encoding="ascii")
            FORWARD_WAS_OFF.unlink()


def _other_bridges(bed: Bed) -> bool:
    links = json.loads(run(["ip", "-j", "link", "show", "type", "bridge"]).stdout or "[]")
    return any(link.get("ifname", "").startswith("adt-") and link["ifname"] != bed.label for link in links)
