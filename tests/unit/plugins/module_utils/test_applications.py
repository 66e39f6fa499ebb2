# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.adt.assets.plugins.module_utils._applications import PROFILES, load_applications
from ansible_collections.adt.assets.plugins.module_utils._tables import TableError

APPLICATIONS = load_applications()
GUIDE = Path(__file__).parents[4] / "docs" / "docsite" / "rst" / "guide_applications.rst"
PROFILE = r"""
__asset_mount_application:
  name: none
  title: Shop
  asset_directories: [media, /srv/private]
  uploads: [{what: a file, pattern: 'media/[0-9]+\.jpg', example: media/1.jpg}]
  local_directories: [var/cache]
  code_directories: [app]
  appends: [media/log.txt]
  offload_plugins: [{title: S3 for shops, path: app/code/s3}]
"""


def listed(paths):
    return ", ".join(f"``{path}``" for path in paths) or "none"


def items(pairs):
    return "".join(f"  - {what}: ``{path}``\n" for what, path in pairs)


def section(application):
    """What the guide says of a profile."""
    title = application.title
    return f"""\
{title}
{"-" * len(title)}

``APPLICATION="{application.name}"``

- Users' uploads: {listed(application.asset_directories)}

{items((upload.what, upload.example) for upload in application.uploads)}
- Each webserver needs its own: {listed(application.local_directories)}
- Code: {listed(application.code_directories)}
- It or its plugins add to files in: {listed(application.appends)}
- Plugins that are looked for:

{items((plugin.title, plugin.path) for plugin in application.offload_plugins)}"""


def test_every_application_of_the_toolkit_has_a_profile():
    assert set(APPLICATIONS) == {"joomla", "wordpress", "drupal", "moodle", "opensocial", "none"}
    assert [table.stem for table in sorted(PROFILES.glob("*.yml"))] == list(APPLICATIONS)


@pytest.mark.parametrize("name", sorted(set(APPLICATIONS) - {"none"}))
def test_a_profile_fits_together(name):
    application = APPLICATIONS[name]
    assert application.asset_directories and application.offload_plugins and application.uploads
    for upload in application.uploads:
        assert upload.pattern.fullmatch(upload.example), upload.what
        assert upload.example.startswith(tuple(f"{directory}/" for directory in application.asset_directories))
    for path in (*application.code_directories, *(plugin.path for plugin in application.offload_plugins)):
        assert not [local for local in application.local_directories if f"{path}/".startswith(f"{local}/")], path


@pytest.mark.parametrize(
    "name, path, what",
    [
        ("wordpress", "wp-content/uploads/2024/05/a b.tar.gz", ["a file from the media library"]),
        (
            "wordpress",
            "wp-content/uploads/2024/05/x-150x150.webp",
            ["a file from the media library", "its thumbnails"],
        ),
        ("wordpress", "wp-content/uploads/wc-logs/fatal.log", []),
        ("drupal", "sites/default/files/php/twig/x.php", []),
        ("moodle", "moodledata/filedir/da/39/ad39a3ee5e6b4b0d3255bfef95601890afd80709", []),
        ("opensocial", "/var/www/private/2024-05/minutes.pdf", ["a private file"]),
    ],
)
def test_what_an_upload_looks_like(name, path, what):
    assert [upload.what for upload in APPLICATIONS[name].uploads if upload.pattern.fullmatch(path)] == what


@pytest.mark.parametrize("name", sorted(set(APPLICATIONS) - {"none"}))
def test_the_guide_says_what_the_profiles_say(name):
    assert section(APPLICATIONS[name]) in GUIDE.read_text()


def test_a_profile_of_ones_own(tmp_path):
    (tmp_path / "shop.yml").write_text(PROFILE)
    shop = load_applications(tmp_path)["none"]
    assert shop.asset_directories == ("media", "/srv/private")
    assert shop.offload_plugins[0].path == "app/code/s3"


@pytest.mark.parametrize(
    "wrong, right, message",
    [
        ("__asset_mount_application", "application", "needs __asset_mount_application"),
        ("name: none", "name: shop", "has no profile of the name none"),
        ("  title: Shop\n", "", "title"),
        ("title: Shop", "title: 5", "5 is not a text"),
        ("appends:", "append:", "nobody knows append"),
        ("local_directories: [var/cache]", "local_directories: var/cache", "not a list of paths"),
        ("var/cache", "/var/cache", "'/var/cache' is not a plain path below the webroot"),
        ("var/cache", "../cache", "is not a plain path"),
        ("app/code/s3", "app/code/s3/", "is not a plain path"),
        ("[app]", "[1]", "1 is not a text"),
        ("[0-9]+", "[0-9", "unterminated character set"),
        ("{what: a file, ", "{", "what"),
    ],
)
def test_a_wrong_profile_is_named_and_what_is_wrong_with_it(tmp_path, wrong, right, message):
    assert wrong in PROFILE
    (tmp_path / "shop.yml").write_text(PROFILE.replace(wrong, right, 1))
    with pytest.raises(TableError, match=message) as error:
        load_applications(tmp_path)
    assert str(tmp_path) in str(error.value)
