#!/usr/bin/python
# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

# There is only documentation here: plugins/action/template_info.py does the work, on the controller.

DOCUMENTATION = r"""
module: template_info
short_description: Read a site's template and say what is to be done with its assets
version_added: 0.1.0
description:
  - Reads a site's template (C(export KEY="value") lines) and returns the plan that everything else in this collection
    is driven by. Which directories are mounted, from which buckets, on which stores.
  - R(The guide to the template, ansible_collections.adt.assets.docsite.guide_template) has all keys and their rules.
  - The template is read, never executed, and nothing in it is expanded.
  - All problems are reported at once, each with its line, what is wrong and what to write instead.
  - The same plan can be made from plain variables, by giving the settings as options.
  - Runs on the controller, and finds its files there. Files encrypted with Ansible Vault are decrypted.
  - Secrets are never returned. Use the lookup P(adt.assets.template_value#lookup) where one is needed.
author:
  - adt.assets contributors (@adt-assets)
options:
  path:
    description:
      - The template, a file on the controller. Looked for in C(files/) and beside the play or role, then in the current
        directory.
      - One of O(path), O(content) and the settings as options is required.
    type: str
  content:
    description: The text of a template.
    type: str
  persist_assets_to_datastore:
    description:
      - Whether directories are mounted from S3, V(0) or V(1).
      - Booleans and numbers are taken as well as text, here and in all settings.
    type: raw
  persist_assets_to_cloud:
    description: The older name of O(persist_assets_to_datastore). When both are given, they must agree.
    type: raw
  build_archive_choice:
    description:
      - Which backup the site is built from, V(virgin), V(baseline), V(hourly), V(daily), V(weekly), V(monthly) or
        V(bimonthly).
      - With V(virgin) and V(baseline) there are no assets to mount.
    type: raw
  build_choice:
    description: The older form of O(build_archive_choice), from V(0) for V(virgin) to V(6) for V(bimonthly).
    type: raw
  directories_to_mount:
    description:
      - The asset directories, separated by V(:), or a list of them. A leading V(/) makes a path absolute, others are
        below O(webroot).
      - V(WHOLE-WEBROOT), alone, stands for all of the webroot. V(merge=NAMEn) makes one directory of n buckets.
    type: raw
  sync_webroots:
    description: Whether the webservers keep their webroots the same, V(0) or V(1).
    type: raw
  application:
    description:
      - V(joomla), V(wordpress), V(drupal), V(moodle), V(opensocial) or V(none).
      - R(The guide to applications, ansible_collections.adt.assets.docsite.guide_applications) has what is
        known about each.
    type: raw
  website_url:
    description: The site's host name. Names its buckets.
    type: raw
  s3_access_key:
    description: Access keys of the stores, separated by V(|). Only their number is looked at.
    type: raw
  s3_secret_key:
    description: Secret keys of the stores, separated by V(|). Only their number is looked at.
    type: raw
  s3_host_base:
    description:
      - Endpoints of the stores, separated by V(|). The first is the primary, the others are replicas.
      - Without a scheme, C(https://) is meant.
    type: raw
  s3_location:
    description: Regions of the stores, separated by V(|). V(US) means C(us-east-1).
    type: raw
  webroot:
    description: The document root on the webservers.
    type: str
    default: /var/www/html
  tool:
    description: The mount tool. The default is that of O(buildstyles), or else the one that the collection prefers.
    type: str
  buildstyles:
    description: A C(buildstyles.dat) on the controller, whose line C(DATASTOREMOUNTTOOL:tool:how) names the mount tool.
    type: str
  buckets:
    description:
      - Names of buckets, by directory as it is written in O(directories_to_mount), where the computed one isn't wanted.
      - A list of names for a directory with V(merge=).
    type: dict
    default: {}
  dotted_directories:
    description:
      - How dots inside a directory without slashes are read. V(separator) makes C(wp-content/uploads) of
        C(wp-content.uploads).
      - V(auto) means V(separator) in settings with O(persist_assets_to_cloud), and V(literal) in others.
    type: str
    choices: [auto, separator, literal]
    default: auto
  webservers:
    description: How many webservers there are. Only for warnings.
    type: int
    default: 1
  offloaded_by:
    description:
      - Those of the plan's RV(plan.offload_plugins) that webservers have.
      - The playbook C(adt.assets.deploy) looks for them.
      - If there are any, RV(plan.persist) is false, nothing is mounted, and a warning says why.
    type: list
    elements: dict
    default: []
    suboptions:
      title:
        description: The plugin's name.
        type: str
        required: true
      path:
        description: Where it was found.
        type: str
        required: true
      host:
        description: The webserver that it was found on.
        type: str
        required: true
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Returns details on what has changed (or would change) when in diff mode.
    support: none
    details: Nothing is changed.
  action:
    description: Has a corresponding action plugin, so some options are looked at on the controller.
    support: full
    details: All of it runs on the controller. No connection to a host is made.
seealso:
  - plugin: adt.assets.template_value
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Read the template
  adt.assets.template_info:
    path: site.tmpl
    webservers: "{{ groups['webservers'] | length }}"
  register: assets

- name: Show what will be mounted
  ansible.builtin.debug:
    msg: "{{ item.path }} comes from {{ item.buckets | join(' + ') }}"
  loop: "{{ assets.plan.directories }}"
  loop_control:
    label: "{{ item.name }}"

- name: Make the same plan without a template
  adt.assets.template_info:
    persist_assets_to_datastore: true
    website_url: www.example.com
    directories_to_mount:
      - images
      - media/videos
    s3_host_base: s3.example.com
    s3_location: eu-central-1
    buckets:
      media/videos: example-videos
"""

RETURN = r"""
plan:
  description: The plan. The other modules and roles take it as it is.
  returned: success
  type: dict
  contains:
    site:
      description: The host name of the site, or none when nothing is mounted and none is given.
      type: str
      sample: www.example.com
    webroot:
      description: The document root.
      type: str
      sample: /var/www/html
    persist:
      description: Whether directories are mounted from S3.
      type: bool
    sync_webroots:
      description: Whether the webservers keep their webroots the same.
      type: bool
    backup_period:
      description: Which backup the site is built from, if the settings say so.
      type: str
      sample: hourly
    catalog:
      description: The bucket with the site's records.
      type: str
      sample: www-example-com-assets-catalog
    tool:
      description: The mount tool.
      type: str
    tool_install:
      description:
        - How C(buildstyles.dat) says that the tool is installed (C(repo), C(binary), C(source), C(script)).
        - None when the tool doesn't come from there.
      type: str
    application:
      description: The application, V(none) if unknown.
      type: str
    directories:
      description: The asset directories.
      type: list
      elements: dict
      contains:
        name:
          description: A stable id.
          type: str
          sample: media-videos
        path:
          description: Where it is on the webservers.
          type: str
          sample: /var/www/html/media/videos
        archive_path:
          description: Where it is in a backup of the webroot, V(.) for all of it.
          type: str
          sample: media/videos
        buckets:
          description: Its bucket, or its buckets in their order.
          type: list
          elements: str
          sample: [www-example-com-assets-media-videos]
        whole_webroot:
          description: Whether it is the webroot itself.
          type: bool
    local_directories:
      description:
        - With V(WHOLE-WEBROOT), directories relative to the webroot that each webserver needs its own of (sessions,
          caches, temporary files, logs), by the profile of the application.
      type: list
      elements: str
      sample: [wp-content/cache]
    code_directories:
      description:
        - With V(WHOLE-WEBROOT), directories relative to the webroot that change only when the application is deployed
          or updated. A webserver may read them from a copy of its own.
      type: list
      elements: str
      sample: [wp-includes]
    offload_plugins:
      description: Plugins of the application that keep uploads in an object store. With one, nothing should be mounted.
      type: list
      elements: dict
      contains:
        title:
          description: The plugin's name.
          type: str
          sample: WP Offload Media Lite
        path:
          description: The directory that it is in where it is installed.
          type: str
          sample: /var/www/html/wp-content/plugins/amazon-s3-and-cloudfront
    stores:
      description: The stores, the primary first.
      type: list
      elements: dict
      contains:
        endpoint_url:
          description: Where it is.
          type: str
          sample: https://s3.example.com
        region:
          description: Its region.
          type: str
          sample: us-east-1
    excludes:
      description:
        - The asset directories below the webroot, relative to it.
        - The filter P(adt.assets.exclude_patterns#filter) makes patterns of them.
      type: list
      elements: str
      sample: [images]
    warnings:
      description: As RV(warnings).
      type: list
      elements: str
    advice:
      description: As RV(advice).
      type: list
      elements: str
warnings:
  description: What can be done, and yet may not be meant.
  returned: always
  type: list
  elements: str
advice:
  description: What could be better.
  returned: always
  type: list
  elements: str
problems:
  description: All that is wrong. RV(ignore:msg) has the same as text.
  returned: failure
  type: list
  elements: dict
  contains:
    file:
      description: The template, or none for an option.
      type: str
    line:
      description: The line in it, or none when there isn't one.
      type: int
    key:
      description: The setting.
      type: str
    message:
      description: What is wrong.
      type: str
    fix:
      description: What to write instead.
      type: str
"""
