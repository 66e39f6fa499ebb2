# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy in front of the store that fails on purpose: what providers do on a bad day, on loopback only."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
import time
from email.utils import formatdate
from typing import NamedTuple, Optional
from urllib.parse import parse_qs, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

HEAD_MAX = 1 << 20
HOURS = 13 * 3600
REFUSALS = {"500": "InternalError", "503": "SlowDown", "429": "TooManyRequests"}
# What each fault does, for those who choose some. "Done" is that the store has done what was asked.
FAULTS = {
    "500": "500 InternalError, nothing done",
    "503": "503 SlowDown, nothing done",
    "429": "429, nothing done",
    "skew": "403 RequestTimeTooSkewed, nothing done",
    "date": "done; the answer's Date is 13 hours off",
    "lose": "done, and then 503",
    "reset-request": "cut at any byte of the request; the store has got what came until then",
    "reset-answer": "done, and then cut at any byte of the answer",
    "stall": "accepted and never answered, nothing done",
    "stall-answer": "done; the answer stops at any byte",
    "cut": "done; the body ends earlier than its length says",
    "short": "done; the body is cut and its length says the same",
    "corrupt": "a bit of the request's body is flipped on its way",
    "etag": "done; the answer has another ETag",
    "error-200": "200 with an error as the body to CompleteMultipartUpload, nothing done",
    "error-200-done": "the same, and it was done",
    "early": "a listing's page that ends early, and says that it is the last",
    "twice": "a listing's page that was sent before",
    "slow": "done, after up to 0.2 s",
}


class Message(NamedTuple):
    """A request or an answer: first line, headers, body."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    def head(self, length: Optional[int]) -> bytes:
        """The head as bytes; ``length`` None leaves the headers as they are."""
        headers = self.headers
        if length is not None:
            headers = [pair for pair in headers if pair[0].lower() not in ("content-length", "transfer-encoding")]
            headers = [*headers, ("Content-Length", str(length))]
        return "\r\n".join([self.line, *(f"{name}: {value}" for name, value in headers), "", ""]).encode("latin-1")


class Reset(Exception):
    """The client's connection is to be cut hard."""


class FaultyStore:
    """Forwards to ``endpoint``. ``faults`` maps (fault, method) to its share of requests, ``only`` those with this in
    their URI; method ``*`` is any. It may be changed while it runs.

    ``keys`` (access and secret key) with ``page`` makes listings come in pages of so many keys.
    """

    def __init__(
        self,
        endpoint: str,
        faults: dict[tuple[str, str], float],
        only: str = "",
        *,
        seed: int = 2,
        page: int = 0,
        keys: tuple[str, str] = ("", ""),
    ) -> None:
        self.target = urlsplit(endpoint)
        self.faults = faults
        self.only = only
        self.page = page
        self.injected: dict[str, int] = {}
        self.requests = 0
        self._keys = keys
        self._random = random.Random(seed)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._pages: dict[str, Message] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._client, "127.0.0.1", 0, limit=HEAD_MAX, backlog=512)
        )
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def close(self) -> None:
        """End; what is open is cut."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    # choice

    def _choose(self, method: str, uri: str) -> str:
        """The fault for a request, or nothing."""
        if self.only not in uri:
            return ""
        dice = self._random.random()
        for (fault, of), share in self.faults.items():
            if of in (method, "*") and self._fits(fault, method, uri):
                if dice < share:
                    return fault
                dice -= share
        return ""

    def _fits(self, fault: str, method: str, uri: str) -> bool:
        if fault.startswith("error-200"):
            return method == "POST" and "uploadId=" in uri
        if fault in ("early", "twice"):
            return method == "GET" and "list-type=2" in uri and "max-keys=" not in uri
        return True

    def _count(self, fault: str) -> None:
        self.injected[fault] = self.injected.get(fault, 0) + 1

    # connections

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve(reader, writer):
                pass
        except Reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or we have
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection goes on."""
        request = await _read_head(reader)
        if request is None:
            return False
        self.requests += 1
        method, uri, _version = request.line.split(" ")
        fault = self._choose(method, uri)
        length = int(request.header("content-length") or 0)
        if request.header("expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if fault == "reset-request":
            await self._reset_request(request, reader, length)
        request = request._replace(body=await reader.readexactly(length))
        if fault == "stall":
            self._count(fault)
            await reader.read()
            return False
        answer, fault = await self._answer(request, method, uri, fault)
        return await self._send(answer, method, fault, reader, writer)

    async def _reset_request(self, request: Message, reader: asyncio.StreamReader, length: int) -> None:
        self._count("reset-request")
        head = request.head(None)
        at = self._random.randrange(len(head) + length)
        if at > len(head):
            sent = head + await reader.readexactly(at - len(head))
            _reader, upstream = await asyncio.open_connection(self.target.hostname, self.target.port)
            upstream.write(sent)
            await upstream.drain()
            upstream.close()
        raise Reset

    async def _answer(self, request: Message, method: str, uri: str, fault: str) -> tuple[Message, str]:
        """The answer, and the fault that is left to be done to its bytes."""
        if fault in REFUSALS:
            self._count(fault)
            return _error(int(fault), REFUSALS[fault]), ""
        if fault == "skew":
            self._count(fault)
            return _error(403, "RequestTimeTooSkewed", formatdate(time.time() + HOURS, usegmt=True)), ""
        if fault == "error-200":
            self._count(fault)
            return _error(200, "InternalError"), ""
        if fault == "corrupt" and request.body:
            self._count(fault)
            at = self._random.randrange(len(request.body))
            request = request._replace(body=_flip(request.body, at, 1 << self._random.randrange(8)))
        listing = method == "GET" and "list-type=2" in uri and "max-keys=" not in uri
        answer = await self._forward(self._paged(request, uri) if listing and self.page else request, method)
        if fault == "lose":
            self._count(fault)
            return _error(503, "SlowDown"), ""
        if fault == "error-200-done":
            self._count(fault)
            return _error(200, "InternalError"), ""
        if listing:
            answer = self._listing(answer, uri, fault)
        return self._changed(answer, fault), fault

    def _paged(self, request: Message, uri: str) -> Message:
        """The same listing with fewer keys, signed anew."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(uri).query, keep_blank_values=True).items()}
        query["max-keys"] = str(self.page)
        url = f"http://{self.target.netloc}{urlsplit(uri).path}"
        signed = AWSRequest("GET", url, params=query)
        S3SigV4Auth(Credentials(*self._keys), "s3", "us-east-1").add_auth(signed)
        ready = signed.prepare()
        parts = urlsplit(ready.url)
        headers = [("Host", self.target.netloc), *((name, str(value)) for name, value in ready.headers.items())]
        return Message(f"GET {parts.path}?{parts.query} HTTP/1.1", headers, b"")

    def _listing(self, answer: Message, uri: str, fault: str) -> Message:
        query = parse_qs(urlsplit(uri).query)
        of = f"{urlsplit(uri).path}?{query.get('prefix', [''])[0]}"
        before = self._pages.get(of) if "continuation-token" in query else None
        self._pages[of] = answer
        if fault == "twice" and before is not None:
            self._count(fault)
            return before
        if fault == "early":
            return self._early(answer)
        return answer

    def _early(self, answer: Message) -> Message:
        found = list(re.finditer(rb"<Contents>.*?</Contents>", answer.body, re.DOTALL))
        more = b"<IsTruncated>true</IsTruncated>" in answer.body
        if len(found) < 2 and not more:
            return answer
        self._count("early")
        keep = len(found) if more else self._random.randrange(1, len(found))
        body = answer.body[: found[keep - 1].end()] + answer.body[found[-1].end() :]
        body = re.sub(rb"<NextContinuationToken>.*?</NextContinuationToken>", b"", body)
        return answer._replace(body=body.replace(b"<IsTruncated>true<", b"<IsTruncated>false<"))

    def _changed(self, answer: Message, fault: str) -> Message:
        """The answer with another ETag or Date, or a body that is too short."""
        headers, body = answer.headers, answer.body
        if fault == "date":
            headers = [pair for pair in headers if pair[0].lower() != "date"]
            headers = [*headers, ("Date", formatdate(time.time() + HOURS, usegmt=True))]
        elif fault == "etag":
            false = f'"{self._random.randbytes(16).hex()}"'
            headers = [(name, false if name.lower() == "etag" else value) for name, value in headers]
            if b"<CompleteMultipartUploadResult" in body:
                body = re.sub(rb"<ETag>.*?</ETag>", f"<ETag>{false}</ETag>".encode(), body)
        elif fault == "short" and body:
            body = body[: self._random.randrange(len(body))]
        if (headers, body) != (answer.headers, answer.body):
            self._count(fault)
        return answer._replace(headers=headers, body=body)

    async def _send(
        self, answer: Message, method: str, fault: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        length = len(answer.body)
        if method == "HEAD":
            length, answer = int(answer.header("content-length") or 0), answer._replace(body=b"")
        whole = answer.head(length) + answer.body
        if fault == "slow":
            self._count(fault)
            await asyncio.sleep(self._random.uniform(0, 0.2))
        elif fault == "cut" and answer.body:
            self._count(fault)
            writer.write(whole[: -self._random.randint(1, len(answer.body))])
            await writer.drain()
            return False
        elif fault in ("reset-answer", "stall-answer"):
            self._count(fault)
            writer.write(whole[: self._random.randrange(len(whole))])
            await writer.drain()
            if fault == "stall-answer":
                await reader.read()
                return False
            await asyncio.sleep(0.002)  # a reset overtakes what was sent just before
            raise Reset
        writer.write(whole)
        await writer.drain()
        return True

    async def _forward(self, request: Message, method: str) -> Message:
        """The store's answer. Connections are kept."""
        while True:
            kept = bool(self._idle)
            reader, writer = (
                self._idle.pop()
                if kept
                else await asyncio.open_connection(self.target.hostname, self.target.port, limit=HEAD_MAX)
            )
            headers = [pair for pair in request.headers if pair[0].lower() not in ("expect", "connection")]
            writer.write(request._replace(headers=headers).head(None) + request.body)
            try:
                answer = await _read_head(reader)
            except OSError:
                answer = None
            if answer is not None:
                break
            writer.close()
            if not kept:
                raise ConnectionError("the store doesn't answer")
        answer = answer._replace(body=await _read_body(reader, answer, method))
        if answer.header("connection").lower() == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return answer


async def _read_head(reader: asyncio.StreamReader) -> Optional[Message]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    line, *rest = head[:-4].decode("latin-1").split("\r\n")
    pairs = (text.partition(":") for text in rest)
    return Message(line, [(name, value.strip()) for name, _colon, value in pairs], b"")


async def _read_body(reader: asyncio.StreamReader, answer: Message, method: str) -> bytes:
    status = answer.line.split(" ")[1]
    if method == "HEAD" or status in ("204", "304"):
        return b""
    if answer.header("transfer-encoding").lower() != "chunked":
        return await reader.readexactly(int(answer.header("content-length") or 0))
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readline()
    return body


def _error(status: int, code: str, date: str = "") -> Message:
    body = f"<Error><Code>{code}</Code><Message>not now</Message></Error>".encode()
    headers = [("Content-Type", "application/xml"), ("Date", date or formatdate(usegmt=True))]
    return Message(f"HTTP/1.1 {status} Failing", headers, body)


def _flip(body: bytes, at: int, bit: int) -> bytes:
    return body[:at] + bytes([body[at] ^ bit]) + body[at + 1 :]
