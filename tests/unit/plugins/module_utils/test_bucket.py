# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What asset_bucket decides, from states alone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from ansible_collections.adt.assets.plugins.module_utils._bucket import Request, State, advice, plan
from ansible_collections.adt.assets.plugins.module_utils._catalog import Owner
from ansible_collections.adt.assets.plugins.module_utils._store import StoreError

STORE = SimpleNamespace(endpoint_url="https://s3.example.com")
ASKED = Request("b-images", "www.example.com", "images", "b-catalog")
OURS = Owner("www.example.com", "images", "https://s3.example.com", "2026-01-31T10:00:00Z")
MISSING = State(exists=False, versioning=False, public_access_block=False, tags={})
HELD = State(
    exists=True,
    record=OURS,
    claim=OURS,
    versioning=False,
    public_access_block=True,
    tags={"team": "web"},
    sample="a.jpg",
)
GONE = {"state": "absent", "delete_contents": True, "confirm": "b-images"}


def test_a_bucket_as_it_should_be_is_left():
    assert plan(ASKED, HELD, STORE) == HELD
    assert plan(replace(ASKED, state="absent"), MISSING, STORE) == MISSING


def test_a_missing_bucket_gets_owner_tags_and_block():
    after = plan(ASKED, MISSING, STORE)
    assert after.exists and after.record.same("www.example.com", "images") and after.claim.same(*after.record[:2])
    assert after.public_access_block is True and after.versioning is False


def test_a_store_without_tags_and_block_is_not_asked_for_them():
    after = plan(ASKED, replace(MISSING, tags=None, public_access_block=None), STORE)
    assert after.claim is None and after.public_access_block is None
    assert "public access block" in advice(ASKED, replace(MISSING, public_access_block=None))[0]


@pytest.mark.parametrize("option", [{"versioning": True}, {"tags": {"a": "b"}}, {"public_access_block": True}])
def test_a_setting_that_the_store_lacks_is_an_error_when_asked_for(option):
    bare = replace(HELD, versioning=None, tags=None, public_access_block=None)
    with pytest.raises(StoreError, match="leave the option"):
        plan(replace(ASKED, **option), bare, STORE)


@pytest.mark.parametrize("other", [Owner("www.example.com", "media-images"), Owner("example.org", "images")])
@pytest.mark.parametrize("where", ["record", "claim"])
@pytest.mark.parametrize("asked", [{}, {"state": "absent"}, GONE])
def test_h5_t16_another_owner_in_either_place_is_refused(other, where, asked):
    state = replace(HELD, **{where: other})
    with pytest.raises(StoreError) as caught:
        plan(replace(ASKED, **asked), state, STORE)
    assert str(other) in str(caught.value) and "directory 'images' of site 'www.example.com'" in str(caught.value)


@pytest.mark.parametrize("where", ["record", "claim"])
def test_a_bucket_of_another_is_taken_over_only_when_told(where):
    after = plan(replace(ASKED, force_owner=True), replace(HELD, **{where: Owner("example.org", "images")}), STORE)
    assert after.record.same("www.example.com", "images") and after.claim.same("www.example.com", "images")


def test_a_record_without_its_bucket_still_keeps_the_name():
    with pytest.raises(StoreError, match="belongs to"):
        plan(ASKED, replace(MISSING, record=Owner("example.org", "images")), STORE)


def test_a_bucket_of_nobody_is_adopted_when_empty_or_told():
    nobody = replace(HELD, record=None, claim=None)
    assert plan(ASKED, replace(nobody, sample=None), STORE).record
    with pytest.raises(StoreError, match="force_owner: true"):
        plan(ASKED, nobody, STORE)
    assert plan(replace(ASKED, force_owner=True), nobody, STORE).record


def test_h3_a_bucket_of_nobody_is_not_deleted_even_when_empty():
    with pytest.raises(StoreError, match="doesn't know whose it is"):
        plan(replace(ASKED, **GONE), replace(HELD, record=None, claim=None, sample=None), STORE)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"delete_contents": True},
        {"confirm": "b-images"},
        {"delete_contents": True, "confirm": ""},
        {"delete_contents": True, "confirm": "b-image"},
        {"force_owner": True, "confirm": "b-images"},
    ],
)
def test_h3_contents_are_deleted_only_when_both_options_say_so(said):
    with pytest.raises(StoreError, match="nothing was deleted"):
        plan(replace(ASKED, state="absent", **said), HELD, STORE)
    assert plan(replace(ASKED, **GONE), HELD, STORE).exists is False


def test_an_empty_bucket_of_ours_goes_without_more_words():
    after = plan(replace(ASKED, state="absent"), replace(HELD, sample=None), STORE)
    assert not after.exists and after.record is None


def test_views_hold_nothing_that_a_prediction_cannot_know():
    predicted = plan(ASKED, MISSING, STORE)
    made = replace(predicted, record=OURS, claim=OURS, sample="a.jpg")
    assert predicted.view() == made.view()
