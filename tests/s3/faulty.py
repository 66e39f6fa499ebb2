# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy in front of the store that fails on purpose: what providers do on a bad day, on loopback only."""

from __future__ import annotations

import http.client
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

UNAVAILABLE = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class FaultyStore(ThreadingHTTPServer):
    """Forwards to ``endpoint``. ``faults`` maps (fault, method) to its share of requests, ``only`` those with this in
    their URI.

    refuse: 503, nothing done. lose: done, and then 503. reset: done, and then the connection is cut. cut: the
    answer's body ends too early. corrupt: a bit of the request's body is flipped on its way.
    """

    daemon_threads = True

    def __init__(self, endpoint: str, faults: dict[tuple[str, str], float], only: str = "", seed: int = 1) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(endpoint)
        self.faults = faults
        self.only = only
        self.injected: dict[str, int] = {}
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def choose(self, method: str, uri: str) -> str:
        """The fault for a request, or nothing."""
        if self.only not in uri:
            return ""
        with self._lock:
            dice = self._random.random()
            for (fault, of), share in self.faults.items():
                if of == method:
                    if dice < share:
                        self.injected[fault] = self.injected.get(fault, 0) + 1
                        return fault
                    dice -= share
        return ""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that we cut ourselves are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyStore

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.choose(self.command, self.path)
        if fault == "refuse":
            self._answer(503, UNAVAILABLE)
            return
        if fault == "corrupt" and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        connection = http.client.HTTPConnection(self.server.target.hostname or "", self.server.target.port)
        connection.request(self.command, self.path, body, dict(self.headers))  # Host too: it is signed
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if fault == "lose":
            self._answer(503, UNAVAILABLE)
        elif fault == "reset":
            self.close_connection = True
            self.connection.close()
        else:
            self._answer(answer.status, content, answer.getheaders(), cut=fault == "cut")

    def _answer(self, status: int, content: bytes, headers: Any = (), cut: bool = False) -> None:
        self.send_response_only(status)
        length = len(content)
        for name, value in headers:
            if name.lower() == "content-length":
                length = int(value)
            elif name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _forward
