# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import posixpath
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.adt.assets.plugins.module_utils._applications import load_applications
from ansible_collections.adt.assets.plugins.module_utils._names import bucket_flaw
from ansible_collections.adt.assets.plugins.module_utils._plan import Options
from ansible_collections.adt.assets.plugins.module_utils._plan import make_plan as _make_plan
from ansible_collections.adt.assets.plugins.module_utils._template import parse_template, template_from_values
from ansible_collections.adt.assets.plugins.module_utils._tools import BuildStyle, Tool, load_tools

GUIDE = Path(__file__).parents[4] / "docs" / "docsite" / "rst" / "guide_mount_tools.rst"
WORKS = dict.fromkeys(
    ("append", "modify", "truncate", "rename", "replace", "rename_directory", "symlink", "case"), "yes"
)
NOTES = {"whole_webroot": "pages take their time"}
TOOLS = {
    "alpha": Tool("alpha", True, ("alpha",), (), {"whole_webroot": "yes", "merge": "yes"}, WORKS),
    "beta": Tool(
        "beta", False, ("beta", "bet"), ("binary", "repo"), {"whole_webroot": "no", "merge": "no"}, WORKS, NOTES
    ),
    "gamma": Tool("gamma", False, ("gamma",), (), {"whole_webroot": "warn", "merge": "warn"}, WORKS, NOTES),
    "delta": Tool("delta", False, ("delta",), (), {"whole_webroot": "yes", "merge": "no"}, WORKS, NOTES),
    "epsilon": Tool(
        "epsilon",
        False,
        ("epsilon",),
        (),
        {},
        {**WORKS, "append": "refused", "modify": "ignored", "symlink": "refused"},
    ),
}
APPLICATIONS = load_applications()
SETTINGS = {
    "PERSIST_ASSETS_TO_DATASTORE": "1",
    "BUILD_ARCHIVE_CHOICE": "hourly",
    "DIRECTORIES_TO_MOUNT": "images",
    "SYNC_WEBROOTS": "1",
    "APPLICATION": "joomla",
    "WEBSITE_URL": "www.example.com",
    "S3_ACCESS_KEY": "CANARYACCESS",
    "S3_SECRET_KEY": "CANARYSECRET",
    "S3_HOST_BASE": "s3.example.com",
    "S3_LOCATION": "eu-1",
}


def make_plan(template, options, tools):
    return _make_plan(template, options, tools, APPLICATIONS)


def render(changes):
    wanted = {**SETTINGS, **changes}
    lines = [f"export {key}='{value}'" for key, value in wanted.items() if value is not None]
    return "\n".join(lines).encode()


def outcome(changes=None, tools=None, **options):
    return make_plan(parse_template(render(changes or {}), "site.tmpl"), Options(**options), tools or TOOLS)


def plan(changes=None, **options):
    result = outcome(changes, **options)
    assert [str(problem) for problem in result.problems] == []
    return result.plan


def problems(changes=None, **options):
    result = outcome(changes, **options)
    assert result.plan is None
    return [str(problem) for problem in result.problems]


def directories(text, **options):
    return plan({"DIRECTORIES_TO_MOUNT": text, "APPLICATION": None}, **options)["directories"]


def test_the_plan_of_the_design():
    assert plan() == {
        "site": "www.example.com",
        "webroot": "/var/www/html",
        "persist": True,
        "sync_webroots": True,
        "backup_period": "hourly",
        "catalog": "www-example-com-assets-catalog",
        "tool": "alpha",
        "tool_install": None,
        "application": "joomla",
        "directories": [
            {
                "name": "images",
                "path": "/var/www/html/images",
                "archive_path": "images",
                "buckets": ["www-example-com-assets-images"],
                "whole_webroot": False,
            }
        ],
        "local_directories": [],
        "code_directories": [],
        "offload_plugins": [
            {"title": "Amazon S3 Filesystem for Joomla", "path": "/var/www/html/plugins/filesystem/s3"}
        ],
        "stores": [{"endpoint_url": "https://s3.example.com", "region": "eu-1"}],
        "excludes": ["images"],
        "warnings": [],
        "advice": [],
    }


def test_plain_variables_make_the_same_plan():
    plain = template_from_values({**SETTINGS, "PERSIST_ASSETS_TO_DATASTORE": True, "DIRECTORIES_TO_MOUNT": ["images"]})
    assert make_plan(plain, Options(), TOOLS).plan == plan()


def test_plain_variables_have_problems_with_the_options_name():
    found = make_plan(template_from_values({"PERSIST_ASSETS_TO_CLOUD": True}), Options(), TOOLS).problems
    assert [str(problem) for problem in found] == [
        'option website_url: is not set, and it names the site\'s buckets; write website_url: "www.example.com"',
        'option s3_host_base: is not set, and it says where the buckets are; write s3_host_base: "s3.example.com"',
        "option directories_to_mount: is not set, and PERSIST_ASSETS_TO_DATASTORE is 1; "
        'write directories_to_mount: "images"',
    ]


def test_several_directories():
    found = directories("images:media/videos:/var/www/private")
    assert [(d["name"], d["path"], d["archive_path"], d["buckets"]) for d in found] == [
        ("images", "/var/www/html/images", "images", ["www-example-com-assets-images"]),
        ("media-videos", "/var/www/html/media/videos", "media/videos", ["www-example-com-assets-media-videos"]),
        ("var-www-private", "/var/www/private", "var/www/private", ["www-example-com-assets-var-www-private"]),
    ]


def test_h16_excludes_come_from_the_plan_and_stay_literal():
    made = plan({"DIRECTORIES_TO_MOUNT": "img[1]:a b:/var/www/private:/var/www/html/in"})
    assert made["excludes"] == ["img[1]", "a b", "in"]


def test_an_absolute_path_below_the_webroot_is_an_ordinary_directory():
    assert (
        directories("/var/www/html/images")
        == directories("images/")
        == directories("//var//www/html/images/")
        == directories("images")
    )
    assert directories("/srv/www/img", webroot="/srv/www/")[0]["archive_path"] == "img"


def test_merge_makes_several_buckets():
    (found,) = directories("merge=media/images3")
    assert found["path"] == "/var/www/html/media/images"
    assert found["name"] == "media-images"
    assert found["buckets"] == [f"www-example-com-assets-media-images{n}" for n in (1, 2, 3)]
    (single,) = directories("merge=photos201")
    assert (single["path"], single["buckets"]) == ("/var/www/html/photos20", ["www-example-com-assets-photos201"])


@pytest.mark.parametrize(
    "entry", ["merge=", "merge=3", "merge=images", "merge=images0", "merge=webroot3", "merge=WHOLE-WEBROOT3"]
)
def test_merge_needs_a_name_and_a_digit(entry):
    (problem,) = problems({"DIRECTORIES_TO_MOUNT": entry})
    assert problem.startswith("site.tmpl:3: DIRECTORIES_TO_MOUNT: ")


def test_the_whole_webroot():
    made = plan({"DIRECTORIES_TO_MOUNT": "WHOLE-WEBROOT"})
    assert made["directories"] == [
        {
            "name": "whole-webroot",
            "path": "/var/www/html",
            "archive_path": ".",
            "buckets": ["www-example-com-assets-whole-webroot"],
            "whole_webroot": True,
        }
    ]
    assert made["excludes"] == []
    assert "nothing left to sync" in made["warnings"][0]
    assert "replicate" in made["advice"][0]
    assert plan({"DIRECTORIES_TO_MOUNT": "WHOLE-WEBROOT", "SYNC_WEBROOTS": "0"})["warnings"] == []


@pytest.mark.parametrize(
    "text", ["WHOLE-WEBROOT:images", "images:WHOLE-WEBROOT", "whole-webroot", "/var/www/html", "/var/www/html/"]
)
def test_the_whole_webroot_stands_alone_and_by_its_word(text):
    (problem,) = problems({"DIRECTORIES_TO_MOUNT": text})
    assert "WHOLE-WEBROOT" in problem


@pytest.mark.parametrize(
    "entry, part",
    [
        ("", "is not set"),
        (":images", "empty entry"),
        ("images:", "empty entry"),
        ("images::media", "empty entry"),
        (".", "'.' or '..'"),
        ("..", "'.' or '..'"),
        ("../private", "'.' or '..'"),
        ("images/../../etc", "'.' or '..'"),
        ("./images", 'write "images"'),
        ("/var/www/html/../../../etc", "'.' or '..'"),
        ("/", "the whole machine"),
        ("//", "the whole machine"),
        ("/etc", "directory of the system"),
        ("/etc/nginx", "directory of the system"),
        ("/usr/share/wordpress", "directory of the system"),
        ("/boot/x", "directory of the system"),
        ("/dev/shm", "directory of the system"),
        ("/proc/1", "directory of the system"),
        ("/sys", "directory of the system"),
        ("/run/user", "directory of the system"),
        ("/lib64", "directory of the system"),
        ("/var", "holds the webroot"),
        ("/var/www", "holds the webroot"),
        ("/var/lib", "directory of the system"),
        ("/home", "directory of the system"),
        ("/opt/", "directory of the system"),
        ("/srv", "directory of the system"),
        ("/root", "directory of the system"),
        (" images", "white space"),
        ("images ", 'write "images"'),
        ("a\tb", "control character"),
        ("a\x7fb", "control character"),
        ("a\u2028b", "control character"),
        ("x" * 300, "too long"),
        ("/".join(["x" * 50] * 5), "too long"),
        ("images:images", "are the same directory"),
        ("images:images/", "are the same directory"),
        ("images:/var/www/html/images", "are the same directory"),
        ("media:media/videos", "one lies in the other"),
        ("media/videos:media", "one lies in the other"),
        ("/srv/a/b:/srv/a", "one lies in the other"),
        ("merge=images3:images", "are the same directory"),
        ("/srv/assets:srv/assets", "would both be taken from 'srv/assets' of the backup"),
    ],
)
def test_t15_hostile_paths_are_refused_with_a_line(entry, part):
    (problem,) = problems({"DIRECTORIES_TO_MOUNT": entry})
    assert problem.startswith("site.tmpl:3: DIRECTORIES_TO_MOUNT: ")
    assert part in problem


@pytest.mark.parametrize(
    "entry",
    [
        "images2:images",
        "/home/site/assets",
        "/srv/x",
        "/opt/a/b",
        "/var/lib/site",
        "/etcetera",
        "/usrlocal/x",
        "a b",
        "*",
        "img[1]",
        "$x",
        "-rf",
        "~",
        "é",
        "..x",
        ".well-known",
        "a;b",
        "images:imagesx/y",
    ],
)
def test_t15_odd_paths_are_handled_exactly(entry):
    wanted = [part if part.startswith("/") else f"/var/www/html/{part}" for part in entry.split(":")]
    assert [d["path"] for d in directories(entry)] == wanted


def test_a_directory_that_holds_the_webroot_is_refused():
    (problem,) = problems({"DIRECTORIES_TO_MOUNT": "/home/site"}, webroot="/home/site/www")
    assert "holds the webroot" in problem


@pytest.mark.parametrize(
    "pair",
    [
        "media/images:media-images",
        "media.images:media/images",
        "Images:images",
        "a_b:a.b",
        "images1:merge=images2",
        "catalog",
        "backups",
    ],
)
def test_h5_directories_that_would_share_a_bucket_are_refused(pair):
    (problem,) = problems({"DIRECTORIES_TO_MOUNT": pair})
    assert "would share the bucket www-example-com-assets-" in problem
    assert "option buckets: {" in problem
    for entry in pair.split(":"):
        assert repr(entry) in problem


def test_h5_var_www_private_in_the_webroot_and_at_the_root_never_share_a_bucket():
    (problem,) = problems({"DIRECTORIES_TO_MOUNT": "/var/www/private:var/www/private"})
    assert "'/var/www/private' and 'var/www/private'" in problem


@pytest.mark.parametrize("key", ["media-images", "/var/www/html/media-images", "media-images/"])
def test_h5_a_bucket_can_be_chosen(key):
    one, two = directories("media/images:media-images", buckets={key: "my.bucket"})
    assert (one["name"], one["buckets"]) == ("media-images", ["www-example-com-assets-media-images"])
    assert two["buckets"] == ["my.bucket"]
    assert two["name"].startswith("media-images-")


def test_chosen_buckets_of_a_merged_directory():
    (found,) = directories("merge=images2", buckets={"merge=images2": ["one", "two"]})
    assert found["buckets"] == ["one", "two"]


@pytest.mark.parametrize(
    "buckets, part",
    [
        ({"media": "x-bucket"}, "'media' is not among the directories; write it as in DIRECTORIES_TO_MOUNT: 'images'"),
        ({"images": "Bad_Name"}, "'Bad_Name' is not 3 to 63"),
        ({"images": ["one", "two"]}, "has 2 name(s) for 1 bucket(s)"),
        ({"images": "www-example-com-assets-catalog"}, "would share the bucket"),
    ],
)
def test_h5_a_wrong_choice_of_a_bucket_is_a_problem(buckets, part):
    (problem,) = problems(buckets=buckets)
    assert part in problem


def test_h5_long_names_are_valid_and_differ():
    one, two = directories(f"{'x' * 60}/a:{'x' * 60}/b")
    assert one["buckets"] != two["buckets"]
    assert max(len(name) for d in (one, two) for name in (*d["buckets"], d["name"])) <= 63


def test_dots_of_the_older_spelling_are_separators():
    old = {"PERSIST_ASSETS_TO_DATASTORE": None, "PERSIST_ASSETS_TO_CLOUD": "1"}
    made = plan({**old, "DIRECTORIES_TO_MOUNT": "wp-content.uploads:.x.y:a.b/c.d:merge=m.n2"})
    assert [d["archive_path"] for d in made["directories"]] == ["wp-content/uploads", ".x/y", "a.b/c.d", "m/n"]
    assert len([w for w in made["warnings"] if "was read as" in w]) == 3
    assert "'wp-content.uploads' was read as 'wp-content/uploads'" in made["warnings"][0]


def test_dots_of_the_newer_spelling_are_dots():
    assert (
        plan({"DIRECTORIES_TO_MOUNT": "wp-content.uploads"})["directories"][0]["archive_path"] == "wp-content.uploads"
    )


@pytest.mark.parametrize("how, path", [("separator", "files/d"), ("literal", "files.d")])
@pytest.mark.parametrize("key", ["PERSIST_ASSETS_TO_DATASTORE", "PERSIST_ASSETS_TO_CLOUD"])
def test_how_dots_are_read_can_be_chosen(key, how, path):
    changes = {"PERSIST_ASSETS_TO_DATASTORE": None, key: "1", "DIRECTORIES_TO_MOUNT": "files.d", "APPLICATION": None}
    made = plan(changes, dotted_directories=how)
    assert made["directories"][0]["archive_path"] == path
    assert made["warnings"] == []


@pytest.mark.parametrize("key", ["PERSIST_ASSETS_TO_DATASTORE", "PERSIST_ASSETS_TO_CLOUD"])
def test_both_spellings_of_persist(key):
    base = {"PERSIST_ASSETS_TO_DATASTORE": None}
    assert plan({**base, key: "1"})["persist"] is True
    assert plan({**base, key: "0", "DIRECTORIES_TO_MOUNT": ""})["persist"] is False
    assert plan({**base, "DIRECTORIES_TO_MOUNT": ""})["persist"] is False
    assert "old mode that copied files by polling" in problems({**base, key: "2"})[0]
    assert "'yes' is neither 0 nor 1" in problems({**base, key: "yes"})[0]


def test_both_spellings_must_agree():
    assert plan({"PERSIST_ASSETS_TO_CLOUD": "1"})["persist"] is True
    (problem,) = problems({"PERSIST_ASSETS_TO_CLOUD": "0"})
    assert problem == (
        "site.tmpl:1: PERSIST_ASSETS_TO_DATASTORE: does not agree with PERSIST_ASSETS_TO_CLOUD (line 11), which is "
        "the same setting by its older name; give both the same value, or keep only this one"
    )


@pytest.mark.parametrize(
    "number, name", list(enumerate(["virgin", "baseline", "hourly", "daily", "weekly", "monthly", "bimonthly"]))
)
def test_build_choice_counts_the_periods(number, name):
    off = {"PERSIST_ASSETS_TO_DATASTORE": "0"}
    assert plan({**off, "BUILD_ARCHIVE_CHOICE": None, "BUILD_CHOICE": str(number)})["backup_period"] == name
    assert plan({**off, "BUILD_ARCHIVE_CHOICE": name, "BUILD_CHOICE": str(number)})["backup_period"] == name
    other = "daily" if name == "hourly" else "hourly"
    (problem,) = problems({**off, "BUILD_ARCHIVE_CHOICE": other, "BUILD_CHOICE": str(number)})
    assert f"{number} means {name}, but BUILD_ARCHIVE_CHOICE (line 2) says {other}" in problem


def test_wrong_periods():
    found = problems({"BUILD_ARCHIVE_CHOICE": "Hourly", "BUILD_CHOICE": "7"})
    assert ["'Hourly' is none of" in found[0], "'7' is no number from 0 to 6" in found[1]] == [True, True]


@pytest.mark.parametrize(
    "changes",
    [
        {"BUILD_ARCHIVE_CHOICE": "virgin"},
        {"BUILD_ARCHIVE_CHOICE": "baseline"},
        {"BUILD_ARCHIVE_CHOICE": None, "BUILD_CHOICE": "0"},
    ],
)
def test_virgin_and_baseline_must_not_persist(changes):
    (problem,) = problems(changes)
    assert problem.startswith("site.tmpl:1: PERSIST_ASSETS_TO_DATASTORE: must be 0 with BUILD_")


def test_directories_without_persist_are_a_warning_and_no_mounts():
    made = plan({"PERSIST_ASSETS_TO_DATASTORE": "0"})
    assert (made["directories"], made["excludes"]) == ([], [])
    assert "no directory is put into S3" in made["warnings"][0]
    assert made["stores"] == [{"endpoint_url": "https://s3.example.com", "region": "eu-1"}]


def test_what_is_not_needed_may_be_unusable():
    placeholders = dict.fromkeys(
        ["WEBSITE_URL", "S3_HOST_BASE", "S3_ACCESS_KEY", "APPLICATION"], "#### CUSTOMISE ME ####"
    )
    made = plan({"PERSIST_ASSETS_TO_DATASTORE": "0", "DIRECTORIES_TO_MOUNT": "", **placeholders})
    assert (made["site"], made["catalog"], made["stores"], made["warnings"]) == (None, None, [], [])
    assert len(problems(placeholders)) == 4
    warned = plan({"PERSIST_ASSETS_TO_DATASTORE": "0", "DIRECTORIES_TO_MOUNT": "", "WEBSITE_URL": "https://x.org"})
    assert "not a host name" in warned["warnings"][0]


def test_sync_webroots():
    assert "'2' is neither 0 nor 1" in problems({"SYNC_WEBROOTS": "2"})[0]
    assert plan({"SYNC_WEBROOTS": None})["sync_webroots"] is False
    off = {"PERSIST_ASSETS_TO_DATASTORE": "0", "DIRECTORIES_TO_MOUNT": ""}
    assert "nothing keeps users' uploads the same" in plan({**off, "SYNC_WEBROOTS": "0"}, webservers=2)["warnings"][0]
    assert plan({**off, "SYNC_WEBROOTS": "0"}, webservers=1)["warnings"] == []
    assert plan({**off, "SYNC_WEBROOTS": "1"}, webservers=2)["warnings"] == []
    assert plan({"SYNC_WEBROOTS": "0"}, webservers=2)["warnings"] == []


@pytest.mark.parametrize(
    "application, missing",
    [
        ("joomla", "images"),
        ("WordPress", "wp-content/uploads"),
        ("drupal", "sites/default/files"),
        ("moodle", "moodledata/filedir"),
        ("opensocial", "sites/default/files, /var/www/private"),
    ],
)
def test_advice_when_an_applications_uploads_stay_behind(application, missing):
    (advice,) = plan({"APPLICATION": application, "DIRECTORIES_TO_MOUNT": "media"})["advice"]
    assert missing in advice
    for covered in (
        missing.replace(", ", ":"),
        "WHOLE-WEBROOT:"[:-1] if "," not in missing else missing.replace(", ", ":"),
    ):
        made = plan({"APPLICATION": application, "DIRECTORIES_TO_MOUNT": covered})
        assert not [a for a in made["advice"] if "uploads" in a]


def test_an_unknown_application_is_a_problem():
    (problem,) = problems({"APPLICATION": "wordpres"})
    assert "'wordpres' is none of drupal, joomla, moodle, none, opensocial, wordpress" in problem


@pytest.mark.parametrize(
    "url",
    [
        "https://www.example.com",
        "www.example.com/",
        "a b",
        "www.ex_ample.com",
        "ünï.org",
        "-a.org",
        "a..b",
        "x" * 64,
        "a." * 130 + "b",
    ],
)
def test_website_url_is_a_host_name(url):
    (problem,) = problems({"WEBSITE_URL": url})
    assert "is not a host name" in problem


def test_website_url_has_no_upper_case():
    assert plan({"WEBSITE_URL": "WWW.Example.COM"}) == plan()
    assert "keeps bucket names" in problems({"WEBSITE_URL": "sthree-x.org"})[0]


def test_chains_of_stores():
    made = plan(
        {
            "S3_ACCESS_KEY": "a|b|c",
            "S3_SECRET_KEY": "x|y|z",
            "S3_HOST_BASE": "http://127.0.0.1:8333|https://h.org/|[::1]:9000",
            "S3_LOCATION": "US|EU|fsn1",
        }
    )
    assert made["stores"] == [
        {"endpoint_url": "http://127.0.0.1:8333", "region": "us-east-1"},
        {"endpoint_url": "https://h.org", "region": "eu-west-1"},
        {"endpoint_url": "https://[::1]:9000", "region": "fsn1"},
    ]
    assert plan({"S3_LOCATION": None})["stores"][0]["region"] == "us-east-1"


@pytest.mark.parametrize(
    "changes, key, part",
    [
        ({"S3_ACCESS_KEY": "a|b"}, "S3_ACCESS_KEY", "has 2 part(s) between |, and S3_HOST_BASE has 1"),
        ({"S3_SECRET_KEY": "a|b"}, "S3_SECRET_KEY", "a secret that has a | in it"),
        ({"S3_LOCATION": "a|b"}, "S3_LOCATION", "has 2 part(s)"),
        ({"S3_LOCATION": "a b"}, "S3_LOCATION", "is not a region"),
        ({"S3_ACCESS_KEY": ""}, "S3_ACCESS_KEY", "is not set, and S3_SECRET_KEY is"),
        ({"S3_SECRET_KEY": None}, "S3_SECRET_KEY", "is not set, and S3_ACCESS_KEY is"),
        ({"S3_HOST_BASE": None}, "S3_HOST_BASE", "is not set"),
        ({"S3_HOST_BASE": "ftp://h"}, "S3_HOST_BASE", "has a part that is not host"),
        ({"S3_HOST_BASE": "h/bucket"}, "S3_HOST_BASE", "has a part that is not host"),
        ({"S3_HOST_BASE": "a.org:b.org"}, "S3_HOST_BASE", "has a part that is not host"),
        ({"S3_HOST_BASE": "CANARYUSER:CANARYSECRET@h.org"}, "S3_HOST_BASE", "has a part that is not host"),
    ],
)
def test_wrong_stores(changes, key, part):
    (problem,) = problems(changes)
    assert f": {key}: " in problem
    assert part in problem
    assert "CANARY" not in problem


def test_an_empty_part_of_a_chain_is_a_problem():
    found = problems({"S3_ACCESS_KEY": "a|", "S3_SECRET_KEY": "a|b", "S3_HOST_BASE": "x|y", "S3_LOCATION": "|r"})
    assert [problem.split(": ")[1] for problem in found] == ["S3_ACCESS_KEY", "S3_LOCATION"]


def test_credentials_may_come_from_elsewhere():
    made = plan({"S3_ACCESS_KEY": None, "S3_SECRET_KEY": ""})
    assert "have to come from elsewhere" in made["advice"][0]


def test_secrets_are_nowhere_in_a_result():
    for changes in ({}, {"S3_SECRET_KEY": "CANARY|SECRET"}, {"S3_SECRET_KEY": "CANARYSECRET\nexport X"}):
        assert "CANARY" not in repr(outcome(changes))
    twice = render({}) + b"\nexport S3_SECRET_KEY='CANARY2'\nexport S3_ACCESS_KEY=\"$CANARY\""
    found = make_plan(parse_template(twice, "t"), Options(), TOOLS)
    assert len(found.problems) == 2
    assert "CANARY" not in repr(found)


def test_duplicates_with_two_values_are_a_problem_in_needed_keys_only():
    twice = (
        render({}) + b"\nexport WEBSITE_URL=www.example.com\nexport OTHER=1\nexport OTHER=2\nexport SYNC_WEBROOTS=0\n"
    )
    found = make_plan(parse_template(twice, "t"), Options(), TOOLS).problems
    assert [str(problem) for problem in found] == [
        "t:14: SYNC_WEBROOTS: has different values on lines 4, 14; keep one of them"
    ]


def test_all_problems_are_told_at_once_in_the_files_order():
    found = problems(
        {
            "PERSIST_ASSETS_TO_DATASTORE": "2",
            "BUILD_ARCHIVE_CHOICE": "never",
            "DIRECTORIES_TO_MOUNT": "/etc:..:media:media/x",
            "SYNC_WEBROOTS": "x",
            "APPLICATION": "x",
            "WEBSITE_URL": "",
            "S3_ACCESS_KEY": "#### CUSTOMISE ME ####",
            "S3_HOST_BASE": "",
        },
        tool="omega",
        webroot="relative",
        buckets={"x": "y"},
    )
    assert [problem.split(": ")[0] for problem in found] == [
        "site.tmpl:1",
        "site.tmpl:2",
        *["site.tmpl:3"] * 3,
        "site.tmpl:4",
        "site.tmpl:5",
        "site.tmpl:6",
        "site.tmpl:7",
        "site.tmpl:9",
        "option webroot",
        "option tool",
        "option buckets",
    ]


def test_problems_are_data_too():
    found = outcome({"SYNC_WEBROOTS": "x"}).problems[0].as_dict()
    assert found == {
        "file": "site.tmpl",
        "line": 4,
        "key": "SYNC_WEBROOTS",
        "message": "'x' is neither 0 nor 1",
        "fix": 'write export SYNC_WEBROOTS="0" or "1"',
    }


@pytest.mark.parametrize("webroot", ["html", "/", "/etc/www", "/var/www", "/var/../x", "/a\nb", ""])
def test_t15_a_hostile_webroot_is_refused(webroot):
    (problem,) = problems(webroot=webroot)
    assert problem.startswith("option webroot: ")


def test_the_tool_is_the_options_then_buildstyles_then_the_default():
    style = {"buildstyles": BuildStyle("bet", "binary", 7), "buildstyles_file": "buildstyles.dat"}
    assert (plan(**style)["tool"], plan(**style)["tool_install"]) == ("beta", "binary")
    assert (plan(tool="gamma", **style)["tool"], plan(tool="gamma", **style)["tool_install"]) == ("gamma", None)
    known = "is no mount tool that is known here; write one of alpha, beta, delta, epsilon, gamma"
    (problem,) = problems(buildstyles=BuildStyle("x", None, 7), buildstyles_file="buildstyles.dat")
    assert problem == f"buildstyles.dat:7: DATASTOREMOUNTTOOL: 'x' {known}"
    (problem,) = problems(tool="bet")
    assert problem == f"option tool: 'bet' {known}"


def test_a_way_to_install_that_the_tool_has_not_is_refused_with_those_it_has():
    style = {"buildstyles": BuildStyle("bet", "source", 7), "buildstyles_file": "buildstyles.dat"}
    assert problems(**style) == [
        "buildstyles.dat:7: DATASTOREMOUNTTOOL: beta can't be installed by 'source' here; write "
        "DATASTOREMOUNTTOOL:bet:binary or DATASTOREMOUNTTOOL:bet:repo, or choose the tool by the option tool"
    ]
    assert plan(tool="beta", **style)["tool_install"] is None
    assert plan(buildstyles=BuildStyle("bet", None, 7))["tool"] == "beta"


@pytest.mark.parametrize(
    "text, word, note", [("WHOLE-WEBROOT", "WHOLE-WEBROOT", ": pages take their time"), ("merge=images2", "merge=", "")]
)
def test_what_a_tool_cannot_do_is_said_before_anything_happens(text, word, note):
    changes = {"DIRECTORIES_TO_MOUNT": text, "SYNC_WEBROOTS": "0", "APPLICATION": None}
    (problem,) = problems(changes, tool="beta")
    assert f"{word} is not possible with the mount tool beta{note};" in problem
    (warning,) = plan(changes, tool="gamma")["warnings"]
    assert warning.endswith(f"{word} with the mount tool gamma is slow or incomplete{note}")
    assert plan(changes, tool="alpha")["warnings"] == []


def test_what_a_whole_webroot_costs_is_advice_even_with_the_best_tool():
    changes = {"DIRECTORIES_TO_MOUNT": "WHOLE-WEBROOT", "SYNC_WEBROOTS": "0"}
    assert "WHOLE-WEBROOT with the mount tool delta: pages take their time" in plan(changes, tool="delta")["advice"]
    assert plan({"SYNC_WEBROOTS": "0"}, tool="delta")["advice"] == []


@pytest.mark.parametrize(
    "tool, said, words",
    [
        ("rclone", "advice", "take 1.6 to 1.8 times"),
        ("geesefs", "warnings", "take 4.0 times"),
        ("s3fs", "warnings", "take 4.4 times"),
    ],
)
def test_the_collections_own_tools_say_what_a_whole_webroot_costs(tool, said, words):
    changes = {"DIRECTORIES_TO_MOUNT": "WHOLE-WEBROOT", "SYNC_WEBROOTS": "0"}
    made = plan(changes, tools=load_tools(), tool=tool)
    assert len([line for line in made[said] if words in line and f"the mount tool {tool}" in line]) == 1


@pytest.mark.parametrize("tool", sorted(load_tools()))
def test_the_guide_says_what_can_be_mounted(tool):
    said = []
    for directories in ("images", "merge=images2", "WHOLE-WEBROOT"):
        changes = {"DIRECTORIES_TO_MOUNT": directories, "SYNC_WEBROOTS": "0", "APPLICATION": "wordpress"}
        found = outcome(changes, tools=load_tools(), tool=tool)
        warned = found.plan and any(f"the mount tool {tool}" in line for line in found.plan["warnings"])
        said.append("refused" if found.problems else "with a warning" if warned else "works")
    assert "   * - " + "\n     - ".join([tool, *said]) + "\n" in GUIDE.read_text()


def test_the_whole_webroot_is_refused_with_goofys_and_its_reason():
    (problem,) = problems(
        {"DIRECTORIES_TO_MOUNT": "WHOLE-WEBROOT", "SYNC_WEBROOTS": "0"}, tools=load_tools(), tool="goofys"
    )
    assert problem.startswith(
        "site.tmpl:3: DIRECTORIES_TO_MOUNT: WHOLE-WEBROOT is not possible with the mount tool goofys: "
    )
    assert "can't add to files" in problem


def test_operations_that_a_tool_cannot_do_are_a_warning_where_data_is_lost_and_otherwise_advice():
    made = plan({"APPLICATION": None}, tool="epsilon")
    (warning,) = made["warnings"]
    assert "the mount tool epsilon can't do append, modify: programs that add to files" in warning
    assert "the mount tool epsilon can't do symlink in the mounted directories" in made["advice"]
    local = plan({"APPLICATION": None, "PERSIST_ASSETS_TO_DATASTORE": "0"}, tool="epsilon")
    assert not [said for said in local["warnings"] + local["advice"] if "epsilon" in said]


def test_an_application_that_adds_to_files_is_a_warning_where_the_tool_cannot():
    wordpress = {"APPLICATION": "wordpress", "DIRECTORIES_TO_MOUNT": "wp-content/uploads"}
    (warning,) = plan(wordpress, tool="epsilon")["warnings"]
    assert "WordPress or its plugins add to files in wp-content/uploads/wc-logs" in warning
    assert "debug.log" not in warning
    assert plan(wordpress, tool="alpha")["warnings"] == []
    joomla = plan(tool="epsilon")
    assert joomla["warnings"] == []
    assert "can't do append, modify" in joomla["advice"][0]
    assert "Joomla without plugins does not" in joomla["advice"][0]


def test_directories_that_stay_local_belong_to_a_plan_of_the_whole_webroot():
    changes = {"APPLICATION": "wordpress", "DIRECTORIES_TO_MOUNT": "WHOLE-WEBROOT", "SYNC_WEBROOTS": "0"}
    assert plan(changes)["local_directories"] == list(APPLICATIONS["wordpress"].local_directories)
    assert plan(changes)["code_directories"] == list(APPLICATIONS["wordpress"].code_directories)
    uploads = plan({**changes, "DIRECTORIES_TO_MOUNT": "wp-content/uploads"})
    assert uploads["local_directories"] == uploads["code_directories"] == []


def test_caches_below_a_mounted_directory_are_advice():
    changes = {"APPLICATION": "drupal", "DIRECTORIES_TO_MOUNT": "sites/default/files"}
    (advice,) = plan(changes)["advice"]
    assert "Drupal has caches, logs or sessions in sites/default/files/php" in advice
    assert plan({"APPLICATION": "wordpress", "DIRECTORIES_TO_MOUNT": "wp-content/uploads"})["advice"] == []


def test_nothing_is_mounted_where_a_plugin_offloads_and_the_plan_says_why():
    plugin = plan()["offload_plugins"][0]
    made = plan(offloaded_by=[{**plugin, "host": "web1"}, {**plugin, "host": "web2"}])
    assert [made[key] for key in ("persist", "directories", "excludes", "offload_plugins", "advice")] == [
        False,
        [],
        [],
        [],
        [],
    ]
    assert made["warnings"] == [
        "nothing is mounted: a plugin of joomla keeps uploads in an object store (Amazon S3 Filesystem for Joomla in "
        "/var/www/html/plugins/filesystem/s3 on web1, web2)"
    ]
    assert (made["site"], made["catalog"]) == ("www.example.com", "www-example-com-assets-catalog")


def test_a_plugin_that_offloads_hides_no_problem_and_no_setting():
    found = [{"title": "x", "path": "/x", "host": "web1"}]
    assert len(problems({"SYNC_WEBROOTS": "x"}, offloaded_by=found)) == 1
    off = {"PERSIST_ASSETS_TO_DATASTORE": "0", "DIRECTORIES_TO_MOUNT": ""}
    assert plan(off, offloaded_by=found) == plan(off)
    assert plan(off)["offload_plugins"] == []


ENTRIES = st.one_of(
    st.sampled_from(
        [
            "images",
            "media/images",
            "media-images",
            "media",
            "/srv/x",
            "/var/www/private",
            "var/www/private",
            "catalog",
            "WHOLE-WEBROOT",
            "merge=images3",
            "images1",
            "..",
            "/etc",
            "a b",
            "img[1]",
            "wp.uploads",
            "",
        ]
    ),
    st.text(alphabet="aA1./-_ é[=\n*\\", max_size=12),
    st.text(st.characters(exclude_characters=":"), max_size=80),
)


@settings(deadline=None, max_examples=300)
@given(
    entries=st.lists(ENTRIES, min_size=1, max_size=5),
    site=st.sampled_from(["www.example.com", "x.org", "a" * 63 + ".example.com"]),
    old=st.booleans(),
)
@example(entries=["\ud800"], site="x.org", old=False)
def test_t15_any_list_of_paths_makes_a_sound_plan_or_problems(entries, site, old):
    key = "PERSIST_ASSETS_TO_CLOUD" if old else "PERSIST_ASSETS_TO_DATASTORE"
    values = {key: "1", "WEBSITE_URL": site, "S3_HOST_BASE": "h.org", "DIRECTORIES_TO_MOUNT": entries}
    result = make_plan(template_from_values(values), Options(), TOOLS)
    assert bool(result.plan) != bool(result.problems)
    json.dumps([str(problem) for problem in result.problems]).encode()
    if not result.plan:
        return
    found = result.plan["directories"]
    buckets = [bucket for d in found for bucket in d["buckets"]]
    assert len({*buckets, result.plan["catalog"]}) == len(buckets) + 1
    assert [bucket_flaw(bucket) for bucket in buckets] == [None] * len(buckets)
    assert len({d["name"] for d in found}) == len(found)
    for d in found:
        assert d["path"] == posixpath.normpath(d["path"])
        assert d["path"].startswith("/")
        assert not d["path"].startswith(("/etc/", "/usr/"))
        assert not any(d is not o and (d["path"] + "/").startswith(o["path"] + "/") for o in found)


@settings(deadline=None)
@given(
    values=st.dictionaries(
        st.sampled_from([*SETTINGS, "PERSIST_ASSETS_TO_CLOUD", "BUILD_CHOICE"]),
        st.one_of(
            st.sampled_from(list("012") + list(SETTINGS.values())), st.text(max_size=20), st.booleans(), st.none()
        ),
    ),
    webroot=st.sampled_from(["/var/www/html", "", "/", "x", "/\0"]),
    buckets=st.dictionaries(
        st.text(max_size=5), st.one_of(st.none(), st.text(max_size=5), st.lists(st.text(max_size=3)))
    ),
)
def test_t14_any_settings_make_a_plan_or_problems(values, webroot, buckets):
    result = make_plan(template_from_values(values), Options(webroot=webroot, buckets=buckets), TOOLS)
    assert bool(result.plan) != bool(result.problems)
    json.dumps([str(problem) for problem in result.problems]).encode()


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_t14_any_template_makes_a_plan_or_problems(data):
    result = make_plan(parse_template(render({}) + b"\n" + data, "t"), Options(), TOOLS)
    assert bool(result.plan) != bool(result.problems)


def test_h4_a_hostile_template_is_an_error_and_nothing_runs(tmp_path):
    marker = tmp_path / "marker"
    text = f'touch {marker}\nexport WEBSITE_URL="$(touch {marker})"\nexport DIRECTORIES_TO_MOUNT=`touch {marker}`\n'
    hostile = render({"WEBSITE_URL": None, "DIRECTORIES_TO_MOUNT": None}) + b"\n" + text.encode()
    found = make_plan(parse_template(hostile, "t"), Options(), TOOLS).problems
    assert [(problem.key, problem.line) for problem in found] == [("WEBSITE_URL", 10), ("DIRECTORIES_TO_MOUNT", 11)]
    assert not marker.exists()
