# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person at a WordPress site, who has nothing but HTTP: the forms and the requests of wp-admin's own pages.

``python wordpress.py ADDRESS SITE`` installs the WordPress that the webserver at ADDRESS has for SITE, and publishes a
picture called like ``PUBLISHED``.
"""

from __future__ import annotations

import http.cookiejar
import json
import re
import struct
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zlib
from typing import Any

USER = "editor"
PASSWORD = "An editor's pass+word, 1 of many"
PUBLISHED = "published"
REQUEST_SECONDS = 60


class WordPress:
    """A browser that reaches the site ``site`` on the webserver at ``address``, whatever DNS says of it.

    With the cookies of another one it is the same browser, whose load balancer chose another webserver.
    """

    def __init__(self, address: str, site: str, cookies: http.cookiejar.CookieJar | None = None) -> None:
        self.cookies = http.cookiejar.CookieJar() if cookies is None else cookies
        self.home = f"http://{site}"
        # A webserver takes a request as a proxy does: absolute addresses, cookies and redirects stay the site's.
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({"http": f"http://{address}"}),
            urllib.request.HTTPCookieProcessor(self.cookies),
        )

    def get(self, path: str) -> bytes:
        """The body of a page or file; ``path`` may be an address of the site. Raises HTTPError on 4xx and 5xx."""
        with self.opener.open(urllib.parse.urljoin(f"{self.home}/", path), timeout=REQUEST_SECONDS) as answer:
            return answer.read()

    def status(self, path: str) -> int:
        """The HTTP status of a page or file."""
        try:
            self.get(path)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def post(self, path: str, picture: tuple[str, bytes] | None = None, **fields: object) -> str:
        """Send a form, with a picture (name and bytes) as its file ``async-upload``; the answer's body."""
        kind, body = form({name: str(value) for name, value in fields.items()}, picture)
        request = urllib.request.Request(f"{self.home}/{path}", body, {"Content-Type": kind})
        with self.opener.open(request, timeout=REQUEST_SECONDS) as answer:
            return answer.read().decode()

    def install(self) -> None:
        """Fill in the installation's form."""
        said = self.post(
            "wp-admin/install.php?step=2",
            weblog_title="A site with pictures",
            user_name=USER,
            admin_password=PASSWORD,
            admin_password2=PASSWORD,
            admin_email="editor@example.com",
            blog_public=0,
            language="",
        )
        assert "wp-login.php" in said, f"WordPress was not installed:\n{said}"

    def log_in(self) -> None:
        """Log in, and look whether wp-admin lets us in."""
        self.get("wp-login.php")  # sets the cookie by which WordPress sees that cookies work
        self.post("wp-login.php", log=USER, pwd=PASSWORD, testcookie=1, redirect_to=f"{self.home}/wp-admin/")
        page = self.get("wp-admin/").decode()
        assert 'id="adminmenu"' in page, f"wp-admin does not let {USER} in:\n{page[:2000]}"

    def nonce(self, page: str) -> str:
        """What the form of a page of wp-admin wants to see again."""
        body = self.get(f"wp-admin/{page}").decode()
        found = re.search(r'name="_wpnonce" value="(\w+)"', body)
        assert found, f"{page} has no form:\n{body[:2000]}"
        return found.group(1)

    def choose_permalinks(self) -> None:
        """Name pages by their title, as most sites do: WordPress answers 404 then to what isn't there."""
        page = "options-permalink.php"
        structure = "/%postname%/"
        self.post(f"wp-admin/{page}", permalink_structure=structure, selection=structure, _wpnonce=self.nonce(page))

    def upload(self, name: str, body: bytes) -> dict[str, Any]:
        """Upload a picture as the media page does; the attachment as ``attachment`` gives it."""
        nonce = self.nonce("media-new.php")
        sent = {"name": name, "action": "upload-attachment", "_wpnonce": nonce}
        return success(self.post("wp-admin/async-upload.php", (name, body), **sent))

    def attachment(self, number: int) -> dict[str, Any]:
        """What the media library knows of a picture: ``id``, ``width``, …, and the ``nonces`` of what it offers."""
        return success(self.post("wp-admin/admin-ajax.php", action="get-attachment", id=number))

    def find(self, name: str) -> dict[str, Any]:
        """The first attachment that the media library's search finds."""
        said = self.post("wp-admin/admin-ajax.php", **{"action": "query-attachments", "query[s]": name})
        return success(said)[0]

    def files(self, number: int) -> set[str]:
        """The addresses of a picture and of all its sizes."""
        item = json.loads(self.get(f"?rest_route=/wp/v2/media/{number}"))
        return {item["source_url"], *(size["source_url"] for size in item["media_details"]["sizes"].values())}

    def rotate(self, number: int) -> dict[str, Any]:
        """Turn a picture and all its sizes by 90 degrees in the image editor; the attachment afterwards."""
        success(
            self.post(
                "wp-admin/admin-ajax.php",
                action="image-editor",
                postid=number,
                do="save",
                target="all",
                history='[{"r":90}]',
                context="edit-attachment",
                _ajax_nonce=self.attachment(number)["nonces"]["edit"],
            )
        )
        return self.attachment(number)

    def delete(self, number: int) -> None:
        """Delete a picture for good, as the media library does."""
        nonce = self.attachment(number)["nonces"]["delete"]
        said = self.post("wp-admin/admin-ajax.php", action="delete-post", id=number, _wpnonce=nonce)
        assert said == "1", f"the picture was not deleted: {said}"


def success(said: str) -> Any:
    """What an AJAX answer carries; an AssertionError when it says anything but success."""
    answer = json.loads(said)
    assert answer["success"], f"WordPress refused: {said}"
    return answer["data"]


def form(fields: dict[str, str], picture: tuple[str, bytes] | None) -> tuple[str, bytes]:
    """Content type and body of a form, as a browser sends it."""
    if picture is None:
        return "application/x-www-form-urlencoded", urllib.parse.urlencode(fields).encode()
    boundary = uuid.uuid4().hex
    parts = [f'Content-Disposition: form-data; name="{key}"\r\n\r\n{value}'.encode() for key, value in fields.items()]
    name, body = picture
    head = f'Content-Disposition: form-data; name="async-upload"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'
    parts.append(head.encode() + body)
    lines = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), part) for part in parts)
    return f"multipart/form-data; boundary={boundary}", lines + b"--%s--\r\n" % boundary.encode()


def picture(width: int = 1200, height: int = 800, shade: int = 0) -> bytes:
    """A PNG that is large enough for WordPress to make all its sizes of it; ``shade`` (0-255) tells two apart."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(
        b"\0" + b"".join(bytes((x * 255 // width, y * 255 // height, shade)) for x in range(width))
        for y in range(height)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def main() -> None:
    """Install WordPress and publish a picture."""
    there = WordPress(*sys.argv[1:])
    there.install()
    there.log_in()
    there.choose_permalinks()
    there.upload(f"{PUBLISHED}.png", picture())


if __name__ == "__main__":
    main()
