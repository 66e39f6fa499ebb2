# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: a WordPress site whose uploads move from two webservers' disks into one S3 bucket, with nothing faked.

``up`` starts the test bed under the name ``demo``, makes the site and an hourly backup of it, runs the ``deploy``
playbook and shows what came of it. The bed stays; ``down`` ends it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import site_files
from lab import Bed

TOP = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ["ADT_CACHE"])
BED = Bed("demo")
SITE = "www.example.org"
BACKUP_BUCKET = "www-example-org-hourly"
BACKUP_KEY = "www.example.org-hourly.tar.gz"
UPLOADS = "wp-content/uploads"
WEBSERVERS = ("web1", "web2")


def say(text: str = "") -> None:
    """Print a line at once, so that it stands before what a child process prints."""
    print(text, flush=True)


def bed_command(command: str) -> None:
    """Run a command of the test bed on the demo's own bed."""
    subprocess.run([TOP / "tests" / "bed" / "bed", command, "--name", BED.name], check=True)


def publish_site(site: Path) -> None:
    """Put the whole site, uploads included, on both webservers' disks, as a deployment without S3 has it."""
    as_root = ["--rsync-path", "sudo rsync", "-e", f"ssh -F {BED.ssh_config}"]
    for host in WEBSERVERS:
        leave_out = ["--exclude", f"/{UPLOADS}/*"] if mounted(host) else []
        owner = ["--chown=www-data:www-data"]
        subprocess.run(["rsync", "-a", *as_root, *owner, *leave_out, f"{site}/", f"{host}:/var/www/html/"], check=True)


def mounted(host: str) -> bool:
    """Whether the uploads of a webserver come from the bucket already."""
    return "fuse" in BED.on(host, f"findmnt -rno FSTYPE --mountpoint /var/www/html/{UPLOADS} || true")


def back_up(site: Path) -> int:
    """Make the hourly backup as the toolkit did: a tar.gz of the webroot in a bucket. Gives its size in bytes."""
    client = BED.s3
    if BACKUP_BUCKET not in BED.buckets():
        client.create_bucket(Bucket=BACKUP_BUCKET)
    archive = site.parent / "backup.tar.gz"
    if not archive.exists():
        subprocess.run(["tar", "-C", str(site), "-czf", str(archive), "."], check=True)
    try:
        client.head_object(Bucket=BACKUP_BUCKET, Key=BACKUP_KEY)
    except client.exceptions.ClientError:
        client.upload_file(str(archive), BACKUP_BUCKET, BACKUP_KEY)
    return archive.stat().st_size


def write_template() -> Path:
    """The site's template; it holds keys, so only its owner may read it."""
    env = BED.env
    template = BED.folder / "site.tmpl"
    with os.fdopen(os.open(template, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(
            f'export WEBSITE_URL="{SITE}"\n'
            'export APPLICATION="wordpress"\n'
            'export BUILD_ARCHIVE_CHOICE="hourly"\n'
            'export PERSIST_ASSETS_TO_CLOUD="1"\n'
            f'export DIRECTORIES_TO_MOUNT="{UPLOADS}"\n'
            'export SYNC_WEBROOTS="0"\n'
            f"export S3_ACCESS_KEY='{env['AWS_ACCESS_KEY_ID']}'\n"
            f"export S3_SECRET_KEY='{env['AWS_SECRET_ACCESS_KEY']}'\n"
            f'export S3_HOST_BASE="{env["S3_ENDPOINT"]}"\n'
            f'export S3_LOCATION="{env["AWS_DEFAULT_REGION"]}"\n'
        )
    return template


def playbook(name: str, template: Path, *extra: str) -> None:
    """Run one of the collection's playbooks as a user does."""
    command = [
        "ansible-playbook",
        f"adt.assets.{name}",
        "-i",
        str(BED.inventory),
        "-e",
        f"assets_template={template}",
    ]
    subprocess.run([*command, *extra], check=True)


def show_same_picture(picture: str, site: Path) -> None:
    """Show that both webservers serve one picture byte for byte; fail when they don't."""
    want = hashlib.sha256((site / UPLOADS / picture).read_bytes()).hexdigest()
    say("The same picture, from both webservers, out of the bucket:")
    for host in WEBSERVERS:
        body = BED.fetch(host, f"{UPLOADS}/{picture}")
        got = hashlib.sha256(body or b"").hexdigest()
        verdict = "as in the backup" if got == want else "WRONG"
        say(f"  {BED.url(host, f'{UPLOADS}/{picture}')}\n    {len(body or b'')} bytes, sha256 {got[:16]}… {verdict}")
        if got != want:
            raise SystemExit("demo: that is not the picture of the backup")


def show_shared_write() -> None:
    """Write a file on one webserver and wait until the other serves it."""
    name = f"{UPLOADS}/written-on-web1-{int(time.time())}.txt"
    BED.on("web1", f"sudo -u www-data sh -c 'echo hello from web1 > /var/www/html/{name}'")
    began = time.monotonic()
    while (body := BED.fetch("web2", name)) is None:
        if time.monotonic() - began > 60:
            raise SystemExit(f"demo: {BED.url('web2', name)} did not appear within a minute")
        time.sleep(0.5)
    say(f"\nA file written on web1 is served by web2 after {time.monotonic() - began:.1f} s:")
    say(f"  {BED.url('web2', name)}  ->  {body.decode().strip()}")


def show_buckets() -> None:
    """Name every bucket with what is in it."""
    say(f"\nThe buckets at {BED.env['S3_ENDPOINT']} (keys: {BED.folder / 'env'}):")
    for bucket in BED.buckets():
        sizes = [item["Size"] for item in BED.objects(bucket).values()]
        say(f"  {bucket:<48} {len(sizes):>6} objects {sum(sizes) / 1e6:>8.1f} MB")


def up() -> None:
    """Bring the demo up, end to end."""
    began = time.monotonic()
    say("1. Start an S3 server, two webservers and a build machine")
    bed_command("up")
    say("\n2. Make the site: Debian's WordPress, with pictures as its uploads")
    site = site_files.make(CACHE / "demo")
    pictures = site_files.pictures(site / UPLOADS)
    publish_site(site)
    say(f"   {len(pictures)} pictures in {UPLOADS}, on the disk of each webserver")
    say("\n3. Make an hourly backup of it, a tar.gz in S3")
    size = back_up(site)
    say(f"   s3://{BACKUP_BUCKET}/{BACKUP_KEY}, {size / 1e6:.1f} MB")
    template = write_template()
    say(f"\n4. Deploy: ansible-playbook adt.assets.deploy -i {BED.inventory} -e assets_template={template}")
    playbook("deploy", template, "-e", f"assets_backup=s3://{BACKUP_BUCKET}/{BACKUP_KEY}")
    say("\n5. What came of it")
    show_same_picture(next(name for name in pictures if " " in name), site)
    show_shared_write()
    show_buckets()
    say()
    playbook("status", template)
    say(f"Done in {time.monotonic() - began:.0f} s. The bed goes on running:")
    say(f"  log in:   ssh -F {BED.ssh_config} web1")
    status = f"ansible-playbook adt.assets.status -i {BED.inventory} -e assets_template={template}"
    say(f"  status:   . tests/env.sh; {status}")
    say("  stop it:  make demo-down")


def main() -> None:
    """Entry point of ``make demo`` and ``make demo-down``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["up", "down"])
    if parser.parse_args().what == "down":
        bed_command("down")
        return
    try:
        up()
    except subprocess.CalledProcessError as error:
        sys.exit(f"demo: {shlex.join(map(str, error.cmd))} failed with {error.returncode}; 'make demo-down' cleans up")


if __name__ == "__main__":
    main()
