# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes files on one webserver of a bed, and measures how long others go on serving what was there before."""

from __future__ import annotations

import http.client
import json
import shlex
import subprocess
import threading
import time
from dataclasses import dataclass, field

from lab import Bed
from scenario import NOT_THERE

WEBROOT = "/var/www/html"
# Runs on the host for as long as its standard input is open, as the site's user: one operation per line.
WRITER = """
import json, os, sys
for line in sys.stdin:
    path, body = json.loads(line)
    if body is None:
        os.unlink(path)
    else:
        with open(path, "w") as file:
            file.write(body)
    print("done", flush=True)
"""


class Writer:
    """Changes files on a host without the delay of a new connection each time."""

    def __init__(self, bed: Bed, host: str) -> None:
        program = f"sudo -u www-data python3 -c {shlex.quote(WRITER)}"
        command = ["ssh", "-F", str(bed.ssh_config), host, program]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def change(self, path: str, body: str | None) -> float:
        """Write a file, or delete it (None); when that was done (time.monotonic())."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([path, body]) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n", f"{path} could not be changed"
        return time.monotonic()

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)


@dataclass
class Server:
    """One webserver, and what it answered until it answered as expected."""

    address: str
    at: float = float("inf")
    others: list[bytes | None] = field(default_factory=list)
    broken: int = 0  # answers that ended before the length that they announced

    def ask(self, path: str) -> bytes | None:
        """A file's body, None when it isn't there. OSError for other answers, IncompleteRead for a broken one."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status not in (200, 404):
            raise OSError(f"status {answer.status}")
        return None if answer.status == 404 or body == NOT_THERE else body

    def wait_for(self, path: str, expected: bytes | None, seconds: float) -> None:
        """Ask again and again until it answers as expected."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                answer = self.ask(path)
                if answer == expected:
                    self.at = time.monotonic()
                    return
                if answer not in self.others:
                    self.others.append(answer)
            except http.client.IncompleteRead:
                self.broken += 1
            time.sleep(0.02)


def change_and_wait(writer: Writer, path: str, body: str | None, servers: list[Server], seconds: float = 30.0) -> float:
    """The seconds until all servers show a change of a file below the webroot; infinite when one didn't in time.

    What they answered before that is kept with them.
    """
    expected = None if body is None else body.encode()
    done = writer.change(f"{WEBROOT}/{path}", body)
    threads = [threading.Thread(target=server.wait_for, args=(f"/{path}", expected, seconds)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(server.at for server in servers) - done
