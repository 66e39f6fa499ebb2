# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TCP proxy that hands on every reply later, as a store far away would: python delay.py HOST PORT MILLISECONDS.

It prints the port it listens at. Only replies are held back, each piece by the same time, so nothing is made slower
than it is far: neither is throughput limited (up to WINDOW bytes on their way per connection) nor does one connection
wait for another. One thread on purpose: with one delay for all, what comes first is due first.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import time
from collections import deque

PIECE = 256 * 1024
WINDOW = 16 * 1024 * 1024


class End:
    """One end of a connection: what waits to be sent to it, and the other end."""

    def __init__(self, sock: socket.socket, delay: float) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.delay = delay  # of what comes from here
        self.waiting: deque[bytes] = deque()
        self.pending = 0  # bytes that came from the other end and aren't sent yet
        self.other: End
        self.read_all = False
        self.closing = False
        self.closed = False
        self.mask = 0


class Proxy:
    """Listens, connects, hands on."""

    def __init__(self, address: tuple[str, int], delay: float) -> None:
        self._address = address
        self._delay = delay
        self._selector = selectors.DefaultSelector()
        self._late: deque[tuple[float, End, bytes]] = deque()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        """Work until the process is ended."""
        while True:
            wait = max(0.0, self._late[0][0] - time.monotonic()) if self._late else None
            for key, events in self._selector.select(wait):
                if key.data is None:
                    self._accept()
                    continue
                if events & selectors.EVENT_WRITE:
                    self._flush(key.data)
                if events & selectors.EVENT_READ:
                    self._read(key.data)
            now = time.monotonic()
            while self._late and self._late[0][0] <= now:
                _due, end, data = self._late.popleft()
                self._send(end, data)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            near = End(self._listener.accept()[0], 0)
            far = End(socket.create_connection(self._address), self._delay)
            near.other, far.other = far, near
            self._watch(near)
            self._watch(far)

    def _watch(self, end: End) -> None:
        """Ask for the events that an end can use now."""
        mask = selectors.EVENT_WRITE if end.waiting else 0
        if not end.read_all and end.other.pending < WINDOW:
            mask |= selectors.EVENT_READ
        if end.closed or mask == end.mask:
            return
        if not end.mask:
            self._selector.register(end.sock, mask, end)
        elif not mask:
            self._selector.unregister(end.sock)
        else:
            self._selector.modify(end.sock, mask, end)
        end.mask = mask

    def _read(self, end: End) -> None:
        if end.closed:
            return
        try:
            data = end.sock.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        end.read_all = not data
        end.other.pending += len(data)
        if end.delay:
            self._late.append((time.monotonic() + end.delay, end.other, data))
        else:
            self._send(end.other, data)
        self._watch(end)

    def _send(self, end: End, data: bytes) -> None:
        """Hand on; nothing means that the other end has said all."""
        if end.closed:
            return
        if data:
            end.waiting.append(data)
        else:
            end.closing = True
        self._flush(end)

    def _flush(self, end: End) -> None:
        try:
            while end.waiting:
                sent = end.sock.send(end.waiting[0])
                end.pending -= sent
                if sent < len(end.waiting[0]):
                    end.waiting[0] = end.waiting[0][sent:]
                    break
                end.waiting.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._close(end)
            self._close(end.other)
            return
        if end.closing and not end.waiting:
            with contextlib.suppress(OSError):
                end.sock.shutdown(socket.SHUT_WR)
            if end.read_all:
                self._close(end)
                self._close(end.other)
                return
        self._watch(end)
        self._watch(end.other)

    def _close(self, end: End) -> None:
        if not end.closed:
            if end.mask:
                self._selector.unregister(end.sock)
            end.closed = True
            end.sock.close()


def main() -> None:
    """Serve until ended."""
    host, port, milliseconds = sys.argv[1:]
    proxy = Proxy((host, int(port)), float(milliseconds) / 1000)
    print(proxy.port, flush=True)
    proxy.run()


if __name__ == "__main__":
    main()
