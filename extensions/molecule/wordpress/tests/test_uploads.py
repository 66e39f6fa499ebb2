# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real WordPress whose uploads lie in a bucket: what an editor does on one webserver, visitors see on both."""

from __future__ import annotations

import wordpress
from editor import BUCKET, OWN_SECONDS, deploy, editors, everywhere, nowhere
from scenario import BED

PICTURES = 5  # thumbnail, medium, medium_large, large, and the picture itself


def test_a_picture_of_the_backup_is_served_by_both_with_its_thumbnails():
    editor, _other = editors()
    files = editor.files(editor.find(wordpress.PUBLISHED)["id"])
    assert len(files) == PICTURES
    everywhere(files)
    keys = {url.split("/wp-content/uploads/")[1] for url in files}
    assert keys <= BED.objects(BUCKET).keys()


def test_h7_a_picture_is_uploaded_on_one_webserver_edited_and_deleted_on_the_other_and_stays_deleted():
    web1, web2 = editors()
    uploaded = web1.upload("uploaded on web1.png", wordpress.picture(shade=50))
    first = web1.files(uploaded["id"])
    assert len(first) == PICTURES
    everywhere(first)

    edited = web2.rotate(uploaded["id"])
    second = web2.files(edited["id"])
    assert (edited["width"], edited["height"]) == (uploaded["height"], uploaded["width"])
    assert not first & second
    everywhere(second)

    of_backup = web2.find(wordpress.PUBLISHED)
    old = web2.files(of_backup["id"])
    for picture in (uploaded, of_backup):
        web2.delete(picture["id"])
    nowhere(old)
    deploy("uploads")
    gone = old | first | second
    nowhere(gone, OWN_SECONDS)
    assert not {url.split("/wp-content/uploads/")[1] for url in gone} & BED.objects(BUCKET).keys()
