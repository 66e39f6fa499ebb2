# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleError

from ansible_collections.adt.assets.plugins.lookup.template_value import pick
from ansible_collections.adt.assets.plugins.module_utils._template import parse_template

TEXT = b"""
export ONE='a'
export CHAIN='CANARY1|CANARY2|'
export SECRET='CANARY & / + % " $x {{ y }}'
export EMPTY=""
export SHELL="CANARY$(id)"
export TWICE=CANARY1
export TWICE=CANARY2
"""


def get(key, store=None, text=TEXT):
    return pick(parse_template(text, "site.tmpl"), key, store)


def test_values_are_given_whole_or_by_store():
    assert get("ONE") == get("ONE", 0) == "a"
    assert get("CHAIN") == "CANARY1|CANARY2|"
    assert get("CHAIN", 1) == "CANARY2"
    assert get("SECRET", 0) == 'CANARY & / + % " $x {{ y }}'


@pytest.mark.parametrize(
    "key, store, message",
    [
        ("ABSENT", None, "ABSENT is not set in site.tmpl"),
        ("EMPTY", 0, "EMPTY is not set in site.tmpl"),
        ("CHAIN", 2, "has no part 2: it has 3 part"),
        ("CHAIN", -1, "has no part -1"),
        ("ONE", 1, "has no part 1"),
        ("SHELL", None, "site.tmpl:6: SHELL: would be put together by a shell"),
        ("TWICE", 0, "site.tmpl:8: TWICE: has different values on lines 7, 8"),
    ],
)
def test_t17_errors_never_show_a_value(key, store, message):
    with pytest.raises(AnsibleError, match=message) as error:
        get(key, store)
    assert "CANARY" not in str(error.value)


def test_a_broken_file_gives_no_value():
    with pytest.raises(AnsibleError, match="NUL byte"):
        get("ONE", text=TEXT + b"\0")
