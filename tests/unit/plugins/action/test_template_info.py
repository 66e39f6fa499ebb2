# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import yaml

from ansible_collections.adt.assets.plugins.action.template_info import ARGUMENTS, message
from ansible_collections.adt.assets.plugins.module_utils._applications import load_applications
from ansible_collections.adt.assets.plugins.module_utils._plan import KEYS, SECRETS, Options, make_plan
from ansible_collections.adt.assets.plugins.module_utils._template import parse_template
from ansible_collections.adt.assets.plugins.modules.template_info import DOCUMENTATION


def test_the_documentation_has_the_options_that_there_are():
    documented = yaml.safe_load(DOCUMENTATION)["options"]
    compared = ("type", "default", "choices")
    assert {name: {k: v for k, v in option.items() if k in compared} for name, option in documented.items()} == {
        name: {k: v for k, v in option.items() if k in compared} for name, option in ARGUMENTS.items()
    }


def test_every_key_of_a_template_is_an_option_and_secrets_are_not_logged():
    assert {key.lower() for key in KEYS} < ARGUMENTS.keys()
    assert all(ARGUMENTS[key.lower()]["no_log"] for key in SECRETS)
    assert ARGUMENTS["content"]["no_log"]


def test_the_message_has_every_problem_on_a_line():
    template = parse_template(b"PERSIST_ASSETS_TO_CLOUD=2\nSYNC_WEBROOTS=2\nBUILD_CHOICE=9\n", "t")
    outcome = make_plan(template, Options(), {}, load_applications())
    lines = message(outcome).splitlines()
    assert lines[0] == f"{len(outcome.problems)} problems with the settings of this site:"
    assert lines[1:] == [str(problem) for problem in outcome.problems]
    assert len(lines) > 4
