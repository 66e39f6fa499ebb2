# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Syncthing's settings file and its REST API. Role webroot_sync installs this file on webservers beside its program."""

from __future__ import annotations

import http.client
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

FOLDER = "webroot"
VERSION = "36"  # of the settings file, Syncthing 1.19's; later ones read it, too


class SyncthingError(Exception):
    """It doesn't answer, or not as it should."""


class Peer(NamedTuple):
    """Another webserver: the ID that its key gives it, and where it listens."""

    name: str
    id: str
    address: str


class Settings(NamedTuple):
    """What differs from one webserver to another.

    ``takes_only``: it passes on nothing that it finds in ``path``. Otherwise it talks to nobody until ``Api.resume``.
    """

    host: Peer
    peers: list[Peer]
    path: str
    takes_only: bool
    versions: str
    port: int
    api_port: int


def settings_file(settings: Settings, key: str, password: str) -> bytes:
    """The settings file. Its watcher and its rescans are off, and nothing outside the webservers is asked or told."""
    root = ET.Element("configuration", version=VERSION)
    kind = "receiveonly" if settings.takes_only else "sendreceive"
    folder = ET.SubElement(
        root, "folder", {**_FOLDER, "id": FOLDER, "label": FOLDER, "path": settings.path, "type": kind}
    )
    for device in (settings.host, *settings.peers):
        ET.SubElement(folder, "device", id=device.id)
    _fill(folder, {"minDiskFree": "1", "markerName": ".stfolder", "autoNormalize": "false", "maxConflicts": "10"})
    versioning = ET.SubElement(folder, "versioning", type="simple")
    ET.SubElement(versioning, "param", key="keep", val="5")
    _fill(versioning, {"fsPath": settings.versions, "fsType": "basic"})
    for device in (settings.host, *settings.peers):
        element = ET.SubElement(root, "device", id=device.id, name=device.name, compression="metadata")
        is_peer = device is not settings.host
        address = f"tcp://{_bracketed(device.address)}:{settings.port}" if is_peer else "dynamic"
        _fill(element, {"address": address, "paused": str(is_peer and not settings.takes_only).lower()})
    gui = ET.SubElement(root, "gui", enabled="true", tls="false")
    # Without a user everybody on the host could use the API; the key is the only way in.
    _fill(gui, {"address": f"127.0.0.1:{settings.api_port}", "user": "adt-assets", "password": password, "apikey": key})
    _fill(ET.SubElement(root, "options"), {"listenAddress": f"tcp://:{settings.port}", **_OPTIONS})
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root)


_FOLDER = {"rescanIntervalS": "0", "fsWatcherEnabled": "false", "ignorePerms": "false"}
_OPTIONS = {
    "globalAnnounceEnabled": "false",
    "localAnnounceEnabled": "false",
    "relaysEnabled": "false",
    "natEnabled": "false",
    "startBrowser": "false",
    "reconnectionIntervalS": "5",
    "urAccepted": "-1",
    "autoUpgradeIntervalH": "0",
    "crashReportingEnabled": "false",
    "setLowPriority": "false",
}


def _fill(parent: ET.Element, values: dict[str, str]) -> None:
    for name, value in values.items():
        ET.SubElement(parent, name).text = value


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


class Api:
    """The running Syncthing of this host. All methods raise SyncthingError."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key

    def _ask(self, method: str, path: str, seconds: float = 60.0, **query: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=seconds)
        try:
            # A file's name may hold bytes that are no text.
            asked = f"/rest/{path}?{urlencode(query, doseq=True, errors='surrogateescape')}"
            connection.request(method, asked, headers={"X-API-Key": self._key})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == http.client.NOT_FOUND:
                return None
            if answer.status != http.client.OK:
                raise SyncthingError(f"Syncthing answers {answer.status} to {method} {path}: {body[:200]!r}")
            return json.loads(body) if body.strip() else None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SyncthingError(f"Syncthing doesn't answer {method} {path}: {error}")
        finally:
            connection.close()

    def ping(self) -> None:
        self._ask("GET", "system/ping", 5.0)

    def resume(self) -> None:
        """Have it talk to its peers."""
        self._ask("POST", "system/resume")

    def has_looked(self) -> bool:
        """Whether it has ever looked at the folder."""
        last = self._ask("GET", "stats/folder").get(FOLDER, {}).get("lastScan", "")
        return bool(last) and int(last[:4]) > 2000  # never is in the year 1 or 1970

    def scan(self, names: Sequence[str]) -> None:
        """Have it look at these names, and wait until it has."""
        self._ask("POST", "db/scan", 600.0, folder=FOLDER, sub=names)

    def status(self) -> dict[str, Any]:
        """How the folder is doing."""
        return dict(self._ask("GET", "db/status", folder=FOLDER) or {})

    def known(self, name: str) -> dict[str, Any] | None:
        """What it knows about a file of this host; None when nothing."""
        answer = self._ask("GET", "db/file", folder=FOLDER, file=name)
        return dict(answer["local"]) if answer else None

    def connected(self, peers: Iterable[Peer]) -> dict[str, bool]:
        """Which peers it is connected to."""
        connections = self._ask("GET", "system/connections")["connections"]
        return {peer.name: bool(connections.get(peer.id, {}).get("connected")) for peer in peers}

    def errors(self) -> list[str]:
        """Files that it can't send or receive, and why."""
        answer = self._ask("GET", "folder/errors", folder=FOLDER) or {}
        return [f"{error['path']}: {error['error']}" for error in answer.get("errors") or []]

    def looks_by_itself(self) -> bool:
        """Whether somebody has switched its watcher or its rescans on."""
        folder = self._ask("GET", f"config/folders/{FOLDER}") or {}
        return bool(folder.get("fsWatcherEnabled")) or folder.get("rescanIntervalS", 0) != 0
