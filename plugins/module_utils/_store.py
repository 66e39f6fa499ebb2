# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One S3 endpoint: the boto3 client, an exact lister, obstore for bulk data, and errors in plain words.

boto3 does the control work, obstore carries data. Both get the same endpoint and the same credentials, so that
no environment variable can send one of them elsewhere.
"""

from __future__ import annotations

import datetime
import os
import random
import re
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Optional
from urllib.parse import unquote_plus, urlsplit

from ._shelf import Kind, Shelf, joined

try:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
        ProfileNotFound,
        SSLError,
    )
    from botocore.exceptions import ConnectionError as BotoConnectionError
    from botocore.httpsession import URLLib3Session
    from botocore.utils import get_environ_proxies
    from urllib3.exceptions import HTTPError
except ImportError:  # reported by AnsibleAWSModule, which needs boto3 itself
    pass

CONNECT_SECONDS = 5
READ_SECONDS = 60
STALL_SECONDS = 20
ATTEMPTS = 12
RETRY_SECONDS = 180
CONNECTIONS = 128
LOST_SHOWN = 10
LISTINGS = 5
# Of what a listing lacks so many are asked for by name: spread evenly, and the last, where a listing ends early.
PROBES = 16
# SeaweedFS keeps such keys under other names, and markers it doesn't list; it answers for them all the same.
_RENAMED = re.compile(r"^/|/$|//|\\")
ROUND_TRIPS = 3
DEFAULT_REGION = "us-east-1"
RETRYABLE_STATUS = frozenset({429, 500, 502, 503, 504})
RETRYABLE_CODES = frozenset({"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling"})

_CHECK_KEYS = "check access_key and secret_key"
_CHECK_RIGHTS = "check access_key, secret_key and what this key is allowed to do with the bucket"
_ELSEWHERE = ("other", "the bucket lies in another region or at another endpoint", "check region and endpoint_url")
_OVERTAKEN = ("conflict", "someone else wrote it in the meantime", "run again when no other run is at work")
_NOT_OFFERED = ("other", "the store doesn't offer this", "leave the option out for this store")
_BUSY = ("other", "the store is failing, also after several tries", "look at the store's health, then run again")
# What an S3 error code means for a user: its kind, the reason, what to do.
_CODES: dict[str, tuple[str, str, str]] = {
    "InvalidAccessKeyId": ("denied", "the access key isn't accepted", _CHECK_KEYS),
    "SignatureDoesNotMatch": ("denied", "the secret key doesn't fit the access key", _CHECK_KEYS),
    "InvalidToken": ("denied", "the session token isn't accepted", "check session_token, or leave it out"),
    "ExpiredToken": ("denied", "the session token has expired", "get new temporary credentials"),
    "AccessDenied": ("denied", "access is denied", _CHECK_RIGHTS),
    "403": ("denied", "access is denied", _CHECK_RIGHTS),
    "401": ("denied", "the credentials aren't accepted", _CHECK_KEYS),
    "RequestTimeTooSkewed": (
        "denied",
        "the clocks of this host and of the store differ too much",
        "set this host's clock (timedatectl set-ntp true)",
    ),
    "AuthorizationHeaderMalformed": ("denied", "the store expects another region", "check region"),
    "PermanentRedirect": _ELSEWHERE,
    "301": _ELSEWHERE,
    "NoSuchBucket": (
        "missing",
        "the bucket doesn't exist",
        "check its name, or make it with adt.assets.asset_bucket",
    ),
    "NoSuchKey": ("missing", "the object doesn't exist", "check its key"),
    "404": ("missing", "nothing of that name is there", "check the names of bucket and key"),
    "PreconditionFailed": _OVERTAKEN,
    "ConditionalRequestConflict": _OVERTAKEN,
    "412": _OVERTAKEN,
    "BucketAlreadyExists": (
        "conflict",
        "the name is taken by another account of this store",
        "choose another bucket name for this directory",
    ),
    "BucketNotEmpty": ("conflict", "the bucket isn't empty", "see delete_contents of adt.assets.asset_bucket"),
    "InvalidBucketName": ("other", "the store refuses this bucket name", "use 3 to 63 of a-z, 0-9 and -"),
    "NotImplemented": _NOT_OFFERED,
    "501": _NOT_OFFERED,
}
# Texts of network errors, by urllib3 as well as by obstore: pattern, reason, what to do; the first that fits.
_NETWORK = (
    (
        r"SSL|TLS|[Cc]ertificate|InvalidContentType",
        "TLS fails ({error})",
        "check https or http in endpoint_url, and aws_ca_bundle for a private certificate authority",
    ),
    (
        r"lookup address|getaddrinfo|NameResolution|Name or service not known|dns error",
        "its host name isn't known",
        "check endpoint_url and this host's DNS",
    ),
    (
        r"[Rr]efused",
        "nothing answers there (connection refused)",
        "check endpoint_url, and that the store is running",
    ),
    (
        r"ConnectionError|ConnectionClosed|Timeout|HTTPClientError|OSError|error sending request|timed out",
        "it can't be reached ({error})",
        "check endpoint_url and the network",
    ),
)


class StoreError(Exception):
    """A failure in words for a user: what, where, why, what to do. Holds no secrets.

    ``kind`` is ``missing``, ``denied``, ``unreachable``, ``conflict`` or ``other``.
    """

    summary: dict[str, Any] | None = None

    def __init__(self, message: str, kind: str = "other") -> None:
        super().__init__(message)
        self.kind = kind


class Listed(NamedTuple):
    """One object of a listing: exact key, bytes, ETag without quotes, modification time as the store wrote it."""

    key: str
    size: int
    etag: str
    mtime: str


LISTING: Kind[Listed] = Kind(3, lambda listed: listed[1:], lambda key, row: Listed(key, *row))
Page = tuple[list[Listed], Optional[str]]


def argument_spec() -> dict[str, Any]:
    """The options that every S3 module has beside those of amazon.aws."""
    return {"addressing_style": {"type": "str", "choices": ["auto", "path", "virtual"], "default": "auto"}}


def error_code(error: BaseException) -> str:
    """The S3 error code (``NoSuchKey``) of a boto3 or obstore error; else its HTTP status as text; else empty."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        code = str(response.get("Error", {}).get("Code", ""))
        return code or str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    text = _plain(error)
    found = re.search(r"<Code>([A-Za-z0-9]+)</Code>", text) or re.search(r"status code: (\d{3})", text)
    if found:
        return found.group(1)
    name = type(error).__name__
    obstore_names = {"AlreadyExistsError": "412", "PreconditionError": "412", "PermissionDeniedError": "403"}
    return obstore_names.get(name, "401" if name == "UnauthenticatedError" else "")


def _plain(error: BaseException) -> str:
    """An error's own text; obstore appends a dump of its internals, which nobody should have to read."""
    return str(error).split("\n\nDebug source:", maxsplit=1)[0].strip()


def explain(error: BaseException, what: str, endpoint_url: str) -> StoreError:
    """Turn a boto3, obstore, socket or TLS error into a StoreError.

    ``what`` says what failed, without a full stop ("can't read bucket x"); the endpoint, the reason and the remedy
    are added here.
    """
    if isinstance(error, StoreError):
        return error
    kind, reason, todo = _reason(error)
    return StoreError(f"{what} at {endpoint_url}: {reason}; {todo}", kind)


def _reason(error: BaseException) -> tuple[str, str, str]:
    code = error_code(error)
    if code in _CODES:
        return _CODES[code]
    if code in RETRYABLE_CODES or (code.isdigit() and int(code) in RETRYABLE_STATUS):
        return _BUSY
    if code:
        message = getattr(error, "response", {}).get("Error", {}).get("Message", "")
        return "other", f"the store answers {code}{': ' + message if message else ''}", "see the store's documentation"
    return _network_reason(error)


def _network_reason(error: BaseException) -> tuple[str, str, str]:
    text = _shorten(_plain(error))
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return "denied", "there are no complete credentials", "set access_key and secret_key, or profile"
    if isinstance(error, ProfileNotFound):
        return "denied", text, "check profile"
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
    cause = getattr(error, "kwargs", {}).get("error", "")  # botocore's own text says less than this
    for pattern, reason, todo in _NETWORK:
        if re.search(pattern, f"{kinds} {error!s} {cause}"):
            return "unreachable", reason.format(error=text), todo
    return "other", text, "this was not expected: please report it"


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:297] + "..."


def settle_environment(params: MutableMapping[str, Any], environ: MutableMapping[str, str]) -> None:
    """Drop from both what the environment adds to credentials that were given as options.

    amazon.aws fills every option that is unset from the environment one by one, so keys from a playbook would meet
    the session token or the profile of whoever runs it; boto3 looks for that profile by itself too.
    """
    key, profile = params.get("access_key"), params.get("profile")
    keys_given = key and key not in _values(environ, "AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY")
    profile_given = profile and profile not in _values(environ, "AWS_PROFILE", "AWS_DEFAULT_PROFILE")
    if keys_given and params.get("session_token") in _values(environ, "AWS_SESSION_TOKEN"):
        params["session_token"] = None
    if keys_given and not profile_given:
        params["profile"] = None
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            environ.pop(name, None)
    elif profile_given and not keys_given:
        params.update(access_key=None, secret_key=None, session_token=None)


def _values(environ: MutableMapping[str, str], *names: str) -> list[str]:
    return [environ[name] for name in names if name in environ]


def check_endpoint(endpoint_url: str | None) -> None:
    """Refuse an endpoint that isn't a plain http(s) URL of a host. None means AWS itself."""
    if endpoint_url is None:
        return
    parts = urlsplit(endpoint_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StoreError(f"endpoint_url {endpoint_url!r} isn't a URL: write it like https://s3.example.com")
    if parts.path.strip("/") or parts.query or parts.username:
        shown = f"{parts.scheme}://{parts.hostname}"
        raise StoreError(f"endpoint_url {shown}…: write only scheme, host and port, without bucket, path or user")


def client_config(addressing_style: str) -> Any:
    """The botocore settings of our client.

    Checksums only where S3 requires them: boto3 >= 1.36 otherwise sends trailers that many stores refuse; older
    botocore doesn't know the setting. Configured endpoints (environment, ~/.aws/config) are ignored.
    """
    wanted: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "max_pool_connections": CONNECTIONS,
        # The Store repeats. botocore would stop to when many requests fail, and wouldn't count.
        "retries": {"mode": "standard", "total_max_attempts": 1},
        "s3": {"addressing_style": addressing_style},
        "ignore_configured_endpoint_urls": True,
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    known = Config.OPTION_DEFAULTS
    return Config(**{name: value for name, value in wanted.items() if name in known})


def store_from_module(module: Any) -> Store:
    """The store that a module's options (amazon.aws's and argument_spec()'s) describe, after one look at its endpoint.

    Raises StoreError when the endpoint can't be reached: at once, not after all the retries of a real request.
    """
    params = module.params
    check_endpoint(params.get("endpoint_url"))
    settle_environment(params, os.environ)
    style = params["addressing_style"]
    client = module.client("s3", config=client_config(style))
    custom = bool(params.get("endpoint_url"))
    store = Store(
        client,
        virtual=style == "virtual" or (style == "auto" and not custom),
        verify=(params.get("aws_ca_bundle") or True) if params.get("validate_certs", True) else False,
    )
    store.check_reachable()
    return store


def delay(attempt: int) -> float:
    """How long to wait before another try: exponentially longer, with full jitter, at most 10 seconds."""
    return random.uniform(0, min(10, 2**attempt))  # noqa: S311


class Store:
    """One S3 endpoint with its credentials.

    ``client`` is the boto3 client, ``endpoint_url`` where it really goes, ``region`` its region.
    """

    def __init__(self, client: Any, virtual: bool = False, verify: bool | str = True) -> None:
        """``virtual``: the bucket is part of the host name. ``verify``: True, False or a file of certificates."""
        self.client = client
        self.endpoint_url: str = client.meta.endpoint_url.rstrip("/")
        self.region: str = client.meta.region_name or DEFAULT_REGION
        self._virtual = virtual
        self._verify = verify
        self._http: Any = None
        self._lock = threading.Lock()
        self._retried = {"count": 0, "bytes": 0}
        client.meta.events.register("needs-retry.s3", self._after_try)

    def _after_try(
        self, response: Any, attempts: int, caught_exception: Any, request_dict: Any, **_others: Any
    ) -> float | None:
        """botocore tells of each of its tries, and is told after how many seconds it should try again."""
        began = request_dict["context"].setdefault("adt_began", time.monotonic())
        if attempts >= ATTEMPTS or time.monotonic() - began > RETRY_SECONDS:
            return None
        if response is None:
            passing = _may_repeat(caught_exception)
        else:
            status, code = response[0].status_code, response[1].get("Error", {}).get("Code")
            passing = status in RETRYABLE_STATUS or code in RETRYABLE_CODES
        if not passing:
            return None
        self._count_retry(0)
        return delay(attempts - 1)

    def _count_retry(self, size: int) -> None:
        with self._lock:
            self._retried["count"] += 1
            self._retried["bytes"] += size

    def tries(self, count: int, size: int = 0) -> Iterator[int]:
        """The numbers of so many tries of a request that sends ``size`` bytes; before each but the first it waits, and
        notes that it is repeated.
        """
        yield 0
        for attempt in range(1, count):
            self._count_retry(size)
            time.sleep(delay(attempt - 1))
            yield attempt

    def retries(self) -> dict[str, int]:
        """Count and bytes of the requests that were repeated since this was last asked."""
        with self._lock:
            found, self._retried = self._retried, {"count": 0, "bytes": 0}
        return found

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn whatever S3 work in the block raises into a StoreError about ``what``."""
        try:
            yield
        except (BotoCoreError, ClientError, HTTPClientError, HTTPError, OSError) as error:
            raise explain(error, what, self.endpoint_url) from error

    def check_reachable(self) -> None:
        """One unsigned request to the endpoint; any HTTP answer will do."""
        session = self._session()
        for attempt in range(3):
            try:
                session.send(AWSRequest("GET", self.endpoint_url + "/").prepare())
                return
            except (HTTPClientError, BotoConnectionError) as error:
                # A certificate doesn't get better by asking again.
                if attempt == 2 or isinstance(error, SSLError):
                    raise explain(error, "can't use the S3 store", self.endpoint_url) from error
                time.sleep(random.uniform(0.2, 0.6))  # noqa: S311

    def round_trip(self) -> float:
        """Seconds from a request to its answer at best, which is how far away the store is. Raises StoreError."""
        taken = []
        with self.errors("can't use the S3 store"):
            for _request in range(ROUND_TRIPS):
                started = time.monotonic()
                self._session().send(AWSRequest("GET", self.endpoint_url + "/").prepare())
                taken.append(time.monotonic() - started)
        return min(taken)

    def credentials(self) -> Any:
        """The credentials in force now, frozen; raises StoreError when there are none."""
        found = self.client._get_credentials()
        if found is None:
            raise explain(NoCredentialsError(), "can't sign requests", self.endpoint_url)
        return found.get_frozen_credentials()

    @property
    def ca_bundle(self) -> str:
        """The file of certificates that the store's is checked with, empty for the system's."""
        return self._verify if isinstance(self._verify, str) else ""

    def bucket_url(self, bucket: str) -> str:
        """Where requests for a bucket go. A dot in the name doesn't fit a wildcard certificate: then by path."""
        if not self._is_virtual(bucket):
            return f"{self.endpoint_url}/{bucket}"
        parts = urlsplit(self.endpoint_url)
        return f"{parts.scheme}://{bucket}.{parts.netloc}"

    def _is_virtual(self, bucket: str) -> bool:
        return self._virtual and "." not in bucket

    def _session(self) -> Any:
        if self._http is None:
            self._http = URLLib3Session(
                verify=self._verify,
                proxies=get_environ_proxies(self.endpoint_url),
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                max_pool_connections=4,
            )
        return self._http

    def list(self, bucket: str, prefix: str = "") -> Iterator[Listed]:
        """Every object of a bucket, in the store's order, with exact keys.

        boto3's own paginator is exact but ten times slower, obstore's is fast but renames keys. Raises StoreError;
        also when the store repeats a page or leaves one out, so that a caller never takes a part for the whole.
        """
        token = ""
        tokens: set[str] = set()
        first_keys: set[str] = set()
        while True:
            page, next_token = self._list_page(bucket, prefix, token)
            if page and page[0].key in first_keys:
                raise self._bad_listing(bucket, "the store sent the same page twice")
            if page:
                first_keys.add(page[0].key)
            yield from page
            if next_token is None:
                return
            if not next_token or next_token in tokens:
                raise self._bad_listing(bucket, "its continuation doesn't advance")
            tokens.add(next_token)
            token = next_token

    def list_whole(self, bucket: str, wrote: Callable[[], Iterable[str]]) -> Shelf[Listed]:
        """A bucket's objects by key, where some of what ``wrote`` names and the listing lacks is asked for by name.

        A listing that ends early would pass for users' deletions. Raises StoreError when it does so again and again.
        """
        for _attempt in self.tries(LISTINGS):
            there = Shelf(LISTING, ((listed.key, listed) for listed in self.list(bucket)))
            missing = sorted(key for key in wrote() if key not in there and not _RENAMED.search(key))
            asked = missing[:: -(-len(missing) // PROBES) or 1]
            if not any(self._exists(bucket, key) for key in [*asked, *missing[-1:]]):
                return there
        raise self._bad_listing(bucket, "objects that are there aren't listed")

    def _exists(self, bucket: str, key: str) -> bool:
        with self.errors(f"can't look at {bucket}/{key}"):
            try:
                self.client.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if error_code(error) not in ("404", "NoSuchKey"):
                    raise
                return False
        return True

    def confirm(self, bucket: str, written: Mapping[str, str]) -> Shelf[Listed]:
        """A bucket's objects by key. Raises StoreError when one that was written isn't listed under its own name."""
        after = self.list_whole(bucket, lambda: written)
        lost = [key for key, etag, listed in joined(written, after) if etag is not None and listed is None]
        if lost:
            shown = ", ".join(repr(key) for key in sorted(lost)[:LOST_SHOWN])
            raise StoreError(
                f"{len(lost)} object(s) were written to bucket {bucket} at {self.endpoint_url} and aren't listed "
                f"there: {shown}; either someone deleted them meanwhile (then run again), or the store changes such "
                "names (then rename the files)"
            )
        return after

    def _bad_listing(self, bucket: str, reason: str) -> StoreError:
        where = f"can't list bucket {bucket} at {self.endpoint_url}"
        return StoreError(f"{where}: {reason}; look at the store's health, then run again")

    def _list_page(self, bucket: str, prefix: str, token: str) -> Page:
        """One page, and the token of the next (None on the last); with retries, as GETs may always be repeated."""
        query = {"list-type": "2", "encoding-type": "url"}
        if prefix:
            query["prefix"] = prefix
        if token:
            query["continuation-token"] = token
        for attempt in self.tries(ATTEMPTS):
            try:
                return parse_listing(self._get(self.bucket_url(bucket), query))
            except (BotoCoreError, ClientError, HTTPClientError, ET.ParseError, ValueError) as error:
                if attempt + 1 == ATTEMPTS or not _may_repeat(error):
                    raise self._listing_error(bucket, error) from error
        raise AssertionError("unreachable")

    def _listing_error(self, bucket: str, error: Exception) -> StoreError:
        if isinstance(error, (ET.ParseError, ValueError)):
            return self._bad_listing(bucket, "the answer isn't a complete S3 listing")
        return explain(error, f"can't list bucket {bucket}", self.endpoint_url)

    def _get(self, url: str, query: dict[str, str]) -> bytes:
        request = AWSRequest("GET", url, params=query)
        S3SigV4Auth(self.credentials(), "s3", self.region).add_auth(request)
        response = self._session().send(request.prepare())
        if response.status_code != 200:
            raise _client_error(response.status_code, response.content)
        return response.content

    def obstore(self, bucket: str) -> Any:
        """An obstore S3Store for a bucket, or None when obstore isn't installed or can't do what this store needs.

        Everything that obstore would otherwise take from the environment is given: there the environment wins over
        what an argument leaves open, and AWS_ENDPOINT_URL_S3 would send the data to another server.
        """
        try:
            import obstore
            from obstore.store import S3Store
        except ImportError:
            return None
        # From 0.11 on it knows a variable that redirects it, a timeout that notices a stall, and certificates.
        modern = version_tuple(obstore.__version__) >= (0, 11)
        if isinstance(self._verify, str) and not modern:
            return None
        credentials = self.credentials()
        virtual = self._is_virtual(bucket)
        url = self.bucket_url(bucket) if virtual else self.endpoint_url
        redirect: dict[str, Any] = {"aws_endpoint_url_s3": url} if modern else {}
        return S3Store(
            bucket,
            endpoint=url,
            **redirect,
            region=self.region,
            access_key_id=credentials.access_key,
            secret_access_key=credentials.secret_key,
            session_token=credentials.token or "",
            skip_signature=False,
            unsigned_payload=False,
            virtual_hosted_style_request=virtual,
            s3_express=False,
            conditional_put="etag",
            # Without it SeaweedFS stores a body that was damaged on its way.
            checksum_algorithm="SHA256",
            client_options=self._obstore_client_options(modern),
            # Whoever calls repeats, where it is counted; obstore would do it in silence.
            retry_config={"max_retries": 0, "retry_timeout": datetime.timedelta(seconds=120)},
        )

    def _obstore_client_options(self, modern: bool) -> Any:
        options: dict[str, Any] = {
            "allow_http": self.endpoint_url.startswith("http://"),
            "connect_timeout": f"{CONNECT_SECONDS}s",
            "pool_max_idle_per_host": str(CONNECTIONS),
        }
        # ``timeout`` is for a whole request with its body: large, where a stall is noticed by itself.
        options.update({"timeout": "3600s", "read_timeout": f"{STALL_SECONDS}s"} if modern else {"timeout": "300s"})
        if self._verify is False:
            options["allow_invalid_certificates"] = True
        elif isinstance(self._verify, str):
            options["root_certificate"] = Path(self._verify).read_text(encoding="utf-8")
        return options


def version_tuple(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``0.12.1`` is (0, 12, 1)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _may_repeat(error: Exception) -> bool:
    if isinstance(error, ClientError):
        code = error_code(error)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return code in RETRYABLE_CODES or status in RETRYABLE_STATUS
    return not isinstance(error, (NoCredentialsError, SSLError))


def _client_error(status: int, body: bytes) -> Exception:
    """The ClientError that boto3 would have raised for an answer."""
    try:
        root: Any = ET.fromstring(body)  # noqa: S314
        code, message = root.findtext("{*}Code") or str(status), root.findtext("{*}Message") or ""
    except ET.ParseError:
        code, message = str(status), ""
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}, "ListObjectsV2"
    )


def parse_listing(body: bytes) -> Page:
    """The objects of one ListObjectsV2 answer and the token of the next page, None on the last one.

    Raises ET.ParseError on a cut answer, ValueError on one that isn't a listing, ClientError on an error that came
    with status 200. Keys are decoded only where the store says that it encoded them.
    """
    root = ET.fromstring(body)  # noqa: S314 - from the store that we trust with the data
    space = root.tag[: root.tag.index("}") + 1] if root.tag.startswith("{") else ""
    if root.tag == f"{space}Error":
        raise _client_error(200, body)
    if root.tag != f"{space}ListBucketResult":
        raise ValueError(f"not a listing: {root.tag}")
    encoded = root.findtext(f"{space}EncodingType") == "url"
    found = []
    for entry in root.iterfind(f"{space}Contents"):
        field = {child.tag[len(space) :]: child.text or "" for child in entry}
        key = unquote_plus(field["Key"], errors="surrogateescape") if encoded else field["Key"]
        found.append(Listed(key, int(field["Size"]), field.get("ETag", "").strip('"'), field.get("LastModified", "")))
    if root.findtext(f"{space}IsTruncated") != "true":
        return found, None
    return found, root.findtext(f"{space}NextContinuationToken") or ""
