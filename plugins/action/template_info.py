# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that template_info does; it runs on the controller, where the template is."""

from __future__ import annotations

from typing import Any, Optional

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.adt.assets.plugins.module_utils._applications import load_applications
from ansible_collections.adt.assets.plugins.module_utils._plan import KEYS, SECRETS, Options, Outcome, make_plan
from ansible_collections.adt.assets.plugins.module_utils._tables import TableError
from ansible_collections.adt.assets.plugins.module_utils._template import (
    MAX_BYTES,
    Problem,
    Template,
    parse_template,
    template_from_values,
)
from ansible_collections.adt.assets.plugins.module_utils._tools import BuildStyle, load_tools, read_buildstyles
from ansible_collections.adt.assets.plugins.plugin_utils._files import read_file

SETTINGS = {key.lower(): {"type": "raw", "no_log": key in SECRETS} for key in KEYS}
ARGUMENTS: dict[str, Any] = {
    "path": {"type": "str"},
    "content": {"type": "str", "no_log": True},
    **SETTINGS,
    "webroot": {"type": "str", "default": Options.webroot},
    "tool": {"type": "str"},
    "buildstyles": {"type": "str"},
    "buckets": {"type": "dict", "default": {}},
    "dotted_directories": {"type": "str", "choices": ["auto", "separator", "literal"], "default": "auto"},
    "webservers": {"type": "int", "default": 1},
    "offloaded_by": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {name: {"type": "str", "required": True} for name in ("title", "path", "host")},
    },
}


class ActionModule(ActionBase):
    """Reads a template and returns its plan."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """The module's result; see its documentation."""
        super().run(tmp, task_vars)
        _checked, args = self.validate_argument_spec(ARGUMENTS)
        try:
            outcome = self._outcome(args)
        except TableError as error:
            raise AnsibleActionFail(str(error)) from error
        told: dict[str, Any] = {"changed": False, "warnings": outcome.warnings, "advice": outcome.advice}
        if outcome.problems:
            problems = [problem.as_dict() for problem in outcome.problems]
            return {**told, "failed": True, "msg": message(outcome), "problems": problems}
        return {**told, "plan": outcome.plan}

    def _outcome(self, args: dict[str, Any]) -> Outcome:
        template = self._template(args)
        style: Optional[BuildStyle] = None
        problems: list[Problem] = []
        if args["buildstyles"] and not args["tool"]:
            style, problems = read_buildstyles(self._read(args["buildstyles"]), args["buildstyles"])
        options = Options(
            webroot=args["webroot"],
            tool=args["tool"] or None,
            buildstyles=style,
            buildstyles_file=args["buildstyles"],
            buckets=args["buckets"],
            dotted_directories=args["dotted_directories"],
            webservers=args["webservers"],
            offloaded_by=args["offloaded_by"],
        )
        outcome = make_plan(template, options, load_tools(), load_applications())
        return Outcome(outcome.plan, outcome.warnings, outcome.advice, [*outcome.problems, *problems])

    def _template(self, args: dict[str, Any]) -> Template:
        settings = {key.upper(): args[key] for key in SETTINGS if args.get(key) is not None}
        if bool(args["path"]) + bool(args["content"]) + bool(settings) != 1:
            raise AnsibleActionFail("give the template as path or as content, or the settings as options: one of these")
        if args["path"]:
            return parse_template(self._read(args["path"]), args["path"])
        if args["content"]:
            return parse_template(args["content"].encode("utf-8", "surrogateescape"), "content")
        return template_from_values(settings)

    def _read(self, path: str) -> bytes:
        return read_file(self._loader, self._task.get_search_path(), path, MAX_BYTES)


def message(outcome: Outcome) -> str:
    """All problems, one a line."""
    count = len(outcome.problems)
    head = "1 problem" if count == 1 else f"{count} problems"
    return "\n".join([f"{head} with the settings of this site:", *(str(problem) for problem in outcome.problems)])
