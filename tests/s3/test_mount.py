# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the program on webservers asks a real S3 server itself."""

from __future__ import annotations

import json

import pytest

from ansible_collections.adt.assets.plugins.module_utils import _mount

NAMES = ("a", "deep/b", "with space+plus.txt", "100%/ü & \"'.jpg", "e", "f", "g")


@pytest.fixture
def config(s3_options, client, new_name, tmp_path) -> _mount.Config:
    """A directory whose bucket holds some awkward names."""
    bucket = new_name("mount")
    client.create_bucket(Bucket=bucket)
    for size, name in enumerate(NAMES):
        client.put_object(Bucket=bucket, Key=name, Body=b"x" * size)
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({name: s3_options[name] for name in ("access_key", "secret_key")}))
    store = {"endpoint_url": s3_options["endpoint_url"], "region": s3_options["region"], "addressing_style": "path"}
    return _mount.Config("n", "/n", buckets=(bucket,), store=store, keys=str(keys))


@pytest.mark.parametrize("page", [1, 3, len(NAMES), 1000])
def test_every_key_is_listed_with_its_size_page_by_page(config, monkeypatch, page):
    monkeypatch.setattr(_mount, "KEYS_MAX", page)
    assert _mount.list_buckets(config) == {name: size for size, name in enumerate(NAMES)}


def test_h15_a_bucket_that_is_missing_or_refuses_is_told_apart(config, tmp_path):
    assert [set(keys) for keys in _mount.ask_buckets(config)] == [set(NAMES)]
    with pytest.raises(_mount.MountError, match="does not exist"):
        _mount.ask_buckets(config._replace(buckets=(*config.buckets, config.buckets[0] + "-not")))
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"access_key": "nobody", "secret_key": "nothing"}))
    with pytest.raises(_mount.MountError, match="refuses the credentials"):
        _mount.ask_buckets(config._replace(keys=str(wrong)))
