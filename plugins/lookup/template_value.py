# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: template_value
short_description: Read one value, such as a secret, out of a site's template
version_added: 0.1.0
description:
  - Reads a site's template on the controller and returns the value of one key. Nothing in the template is executed.
  - For the secrets of a template, which M(adt.assets.template_info) never returns. Use it where the value is needed,
    not in C(set_fact).
  - Errors never show the value.
author:
  - adt.assets contributors (@adt-assets)
options:
  _terms:
    description:
      - The template, a file on the controller, and the key. The file is found as M(adt.assets.template_info) finds it.
    type: list
    elements: str
    required: true
  store:
    description:
      - Take one part of a value that has one for each store, separated by V(|). V(0) is the primary.
      - Without it, the whole value is returned.
    type: int
seealso:
  - module: adt.assets.template_info
"""

EXAMPLES = r"""
- name: Mount with the credentials of the primary store
  ansible.builtin.include_role:
    name: adt.assets.asset_mount
  vars:
    assets_access_key: "{{ lookup('adt.assets.template_value', 'site.tmpl', 'S3_ACCESS_KEY', store=0) }}"
    assets_secret_key: "{{ lookup('adt.assets.template_value', 'site.tmpl', 'S3_SECRET_KEY', store=0) }}"
"""

RETURN = r"""
_raw:
  description: The value, the only element.
  type: list
  elements: str
"""

from typing import Any, Optional

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.adt.assets.plugins.module_utils._template import MAX_BYTES, Template, parse_template
from ansible_collections.adt.assets.plugins.plugin_utils._files import read_file


class LookupModule(LookupBase):
    """One value of a template."""

    def run(self, terms: list[str], variables: Optional[dict[str, Any]] = None, **kwargs: Any) -> list[str]:
        """AnsibleError says why there is no such value, without showing one."""
        self.set_options(var_options=variables, direct=kwargs)
        if len(terms) != 2:
            raise AnsibleError("template_value takes a template and a key")
        path, key = terms
        variables = variables or {}
        search_path = variables.get("ansible_search_path") or [self.get_basedir(variables)]
        template = parse_template(read_file(self._loader, search_path, path, MAX_BYTES), path)
        return [pick(template, key, self.get_option("store"))]


def pick(template: Template, key: str, store: Optional[int]) -> str:
    """The value, or its part for one store."""
    value, problems = template.value(key)
    problems = [*template.problems, *problems]
    if problems:
        raise AnsibleError("\n".join(str(problem) for problem in problems))
    if not value:
        raise AnsibleError(f"{key} is not set in {template.file}")
    if store is None:
        return value
    parts = value.split("|")
    if not 0 <= store < len(parts) or not parts[store]:
        raise AnsibleError(f"{key} in {template.file} has no part {store}: it has {len(parts)} part(s), counted from 0")
    return parts[store]
