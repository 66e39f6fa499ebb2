# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 store: the lister against servers that misbehave, and errors in plain words."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, SSLError

from ansible_collections.adt.assets.plugins.module_utils import _store
from ansible_collections.adt.assets.plugins.module_utils._store import (
    Listed,
    Store,
    StoreError,
    check_endpoint,
    client_config,
    explain,
    parse_listing,
    settle_environment,
)

SECRET = "s/e&c+r%e|t\"'$ x"


def listing(*keys, token=None, encoded=True):
    """A ListObjectsV2 answer as S3 servers write it."""
    entries = "".join(
        f"<Contents><Key>{key}</Key><ETag>&#34;0cc1&#34;</ETag><Size>7</Size>"
        "<LastModified>2026-01-31T10:00:00Z</LastModified></Contents>"
        for key in keys
    )
    more = "<IsTruncated>false</IsTruncated>"
    if token is not None:
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
    kind = "<EncodingType>url</EncodingType>" if encoded else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"{entries}{more}{kind}</ListBucketResult>"
    ).encode()


class Server(ThreadingHTTPServer):
    """An S3 server that gives the prepared (status, body) answers in turn, the last one for ever."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = []
        self.queries = []


class Handler(BaseHTTPRequestHandler):
    """Answers GETs."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.queries.append(parse_qs(urlsplit(self.path).query))
        status, body = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        promised = len(body)
        if status == "cut":
            status, body = 200, body[: len(body) // 2]
        self.send_response(status)
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        self.wfile.write(body)
        if len(body) < promised:
            self.close_connection = True

    def log_message(self, *_args):
        """Say nothing."""


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def store(server, monkeypatch):
    monkeypatch.setattr(_store.time, "sleep", lambda _seconds: None)
    return new_store(f"http://127.0.0.1:{server.server_port}")


def new_store(endpoint_url, **options):
    client = boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id="AK",
        aws_secret_access_key=SECRET,
        region_name="eu-west-3",
        config=client_config("auto"),
    )
    return Store(client, **options)


def test_keys_are_exact():
    keys = ["a+b%2Bc%25d", "%C3%A9/x", "a//b", "/abs", "dir/", "ctl%01x", "new%0Aline", "%3C%26%3E"]
    page, token = parse_listing(listing(*keys))
    assert [entry.key for entry in page] == ["a b+c%d", "é/x", "a//b", "/abs", "dir/", "ctl\x01x", "new\nline", "<&>"]
    assert page[0] == Listed("a b+c%d", 7, "0cc1", "2026-01-31T10:00:00Z")
    assert token is None


def test_keys_of_a_store_that_ignores_the_encoding_are_left_alone():
    page, _token = parse_listing(listing("a+b%2B", encoded=False))
    assert page[0].key == "a+b%2B"


def test_pages_are_followed_to_the_end(server, store):
    server.answers = [(200, listing("a", token="t1")), (200, listing("b", token="t2")), (200, listing("c"))]
    assert [entry.key for entry in store.list("bucket", "pre fix/")] == ["a", "b", "c"]
    assert [query.get("continuation-token") for query in server.queries] == [None, ["t1"], ["t2"]]
    assert all(query["prefix"] == ["pre fix/"] for query in server.queries)


@pytest.mark.parametrize(
    "answers",
    [
        [listing("a", token="t1"), listing("b", token="t1"), listing("c")],  # the token stands still
        [listing("a", token="t1"), listing("a", token="t2"), listing("c")],  # the page comes twice
        [listing("a", token=""), listing("c")],  # more is promised, but not how to get it
        [b"<html><body>Welcome</body></html>"],
        [b"hello"],
    ],
)
def test_t4_a_listing_that_may_lack_keys_is_an_error(server, store, answers):
    server.answers = [(200, body) for body in answers]
    with pytest.raises(StoreError, match="can't list bucket b0") as caught:
        list(store.list("b0"))
    assert "run again" in str(caught.value)


def test_t4_a_cut_or_failing_answer_is_asked_again(server, store):
    error = b"<Error><Code>InternalError</Code></Error>"
    server.answers = [("cut", listing("a")), (503, b""), (200, error), (200, listing("a")[:-30]), (200, listing("a"))]
    assert [entry.key for entry in store.list("b0")] == ["a"]
    assert len(server.queries) == 5


def test_t3_a_store_that_only_fails_is_a_clear_error_after_bounded_tries(server, store):
    server.answers = [(503, b"<Error><Code>SlowDown</Code></Error>")]
    with pytest.raises(StoreError, match="the store is failing, also after several tries"):
        list(store.list("b0"))
    assert len(server.queries) == _store.ATTEMPTS


def test_t16_a_missing_bucket_is_told_at_once(server, store):
    server.answers = [(404, b"<Error><Code>NoSuchBucket</Code></Error>")]
    with pytest.raises(StoreError, match="the bucket doesn't exist") as caught:
        list(store.list("b0"))
    assert caught.value.kind == "missing" and len(server.queries) == 1


def test_t4_an_error_that_comes_as_success_is_an_error(server, store):
    server.answers = [(200, b"<Error><Code>AccessDenied</Code></Error>")]
    with pytest.raises(StoreError) as caught:
        list(store.list("b0"))
    assert caught.value.kind == "denied" and len(server.queries) == 1


def test_an_endpoint_where_nothing_answers_is_told_at_once(monkeypatch):
    monkeypatch.setattr(_store.time, "sleep", lambda _seconds: None)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(StoreError, match="connection refused") as caught:
        new_store(f"http://127.0.0.1:{port}").check_reachable()
    assert caught.value.kind == "unreachable"


def test_any_answer_of_the_endpoint_will_do(server, store):
    server.answers = [(403, b"")]
    store.check_reachable()


def client_error(code, status=400):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Op")


class GenericError(Exception):
    """Stands for obstore's error of this name: obstore isn't there on every Python."""


OBSTORE_403 = """The operation lacked the necessary privileges to complete for path x: Error performing PUT \
http://h/b/x in 1.3ms - Server returned non-2xx status code: 403 Forbidden: <?xml version="1.0"?>
<Error><Code>InvalidAccessKeyId</Code></Error>

Debug source:
PermissionDenied { path: "x" }"""


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (client_error("InvalidAccessKeyId"), "denied", "check access_key and secret_key"),
        (client_error("SignatureDoesNotMatch"), "denied", "check access_key and secret_key"),
        (client_error("RequestTimeTooSkewed"), "denied", "set this host's clock"),
        (client_error("AccessDenied"), "denied", "what this key is allowed"),
        (client_error("403"), "denied", "what this key is allowed"),
        (client_error("NoSuchBucket"), "missing", "check its name"),
        (client_error("PreconditionFailed"), "conflict", "run again"),
        (client_error("Weird"), "other", "the store answers Weird"),
        (GenericError(OBSTORE_403), "denied", "check access_key and secret_key"),
        (
            GenericError("Generic S3 error: HTTP error: error sending request\n\nDebug source:\ndns error"),
            "unreachable",
            "DNS",
        ),
        (EndpointConnectionError(endpoint_url="http://h", error="Connection refused"), "unreachable", "is running"),
        (ConnectTimeoutError(endpoint_url="http://h"), "unreachable", "check endpoint_url and the network"),
        (SSLError(endpoint_url="https://h", error="self-signed certificate"), "unreachable", "aws_ca_bundle"),
        (ConnectionResetError("Connection reset by peer"), "unreachable", "the network"),
        (RuntimeError("odd"), "other", "odd"),
    ],
)
def test_errors_say_what_where_why_and_what_to_do(error, kind, words):
    told = explain(error, "can't write a.jpg to bucket b", "https://s3.example.com")
    assert told.kind == kind
    assert str(told).startswith("can't write a.jpg to bucket b at https://s3.example.com: ")
    assert words in str(told)
    assert "Debug source" not in str(told)


def test_an_explained_error_stays_as_it_is():
    error = StoreError("mine", "missing")
    assert explain(error, "x", "y") is error


@pytest.mark.parametrize(
    "url", ["s3.example.com", "ftp://h", "http://", "https://h/bucket", "https://u:p@h", "https://h?x"]
)
def test_an_endpoint_that_is_no_plain_url_is_refused(url):
    with pytest.raises(StoreError, match="write"):
        check_endpoint(url)


@pytest.mark.parametrize("url", [None, "https://s3.example.com", "http://10.0.0.1:8333/"])
def test_a_plain_endpoint_is_fine(url):
    check_endpoint(url)


def test_t17_keys_given_do_not_meet_the_token_or_profile_of_the_environment():
    environ = {"AWS_SESSION_TOKEN": "theirs", "AWS_PROFILE": "theirs"}
    params = {"access_key": "mine", "secret_key": SECRET, "session_token": "theirs", "profile": "theirs"}
    settle_environment(params, environ)
    assert params == {"access_key": "mine", "secret_key": SECRET, "session_token": None, "profile": None}
    assert "AWS_PROFILE" not in environ


def test_a_profile_given_does_not_meet_the_keys_of_the_environment():
    params = {"access_key": "theirs", "secret_key": "x", "session_token": "t", "profile": "mine"}
    settle_environment(params, {"AWS_ACCESS_KEY_ID": "theirs"})
    assert params == {"access_key": None, "secret_key": None, "session_token": None, "profile": "mine"}


def test_credentials_that_all_come_from_the_environment_stay_together():
    params = {"access_key": "theirs", "secret_key": "x", "session_token": "t", "profile": None}
    settle_environment(params, {"AWS_ACCESS_KEY_ID": "theirs", "AWS_SESSION_TOKEN": "t"})
    assert params["session_token"] == "t"


def test_buckets_are_addressed_by_path_or_by_host():
    by_path, by_host = new_store("http://h:1"), new_store("https://h:1", virtual=True)
    assert by_path.bucket_url("b0") == "http://h:1/b0"
    assert by_host.bucket_url("b0") == "https://b0.h:1"
    assert by_host.bucket_url("b.0") == "https://h:1/b.0"


def test_old_botocore_is_not_given_settings_that_it_does_not_know(monkeypatch):
    known = {**_store.Config.OPTION_DEFAULTS}
    del known["request_checksum_calculation"]
    monkeypatch.setattr(_store.Config, "OPTION_DEFAULTS", known)
    assert "request_checksum_calculation" not in vars(client_config("auto"))["_user_provided_options"]
