# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings in, the plan of a site's assets out, or everything that is wrong with them at once. Pure; runs nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Optional

from ._applications import NONE, Application
from ._names import backups_name, bucket_flaw, bucket_name, catalog_name, directory_id, distinct_id, unit_name, within
from ._template import Problem, Template
from ._tools import BuildStyle, Tool

PERSIST = "PERSIST_ASSETS_TO_DATASTORE"
PERSIST_OLD = "PERSIST_ASSETS_TO_CLOUD"
DIRECTORIES = "DIRECTORIES_TO_MOUNT"
WHOLE_WEBROOT = "WHOLE-WEBROOT"
SECRETS = ("S3_ACCESS_KEY", "S3_SECRET_KEY")
KEYS = (
    PERSIST,
    PERSIST_OLD,
    "BUILD_ARCHIVE_CHOICE",
    "BUILD_CHOICE",
    DIRECTORIES,
    "SYNC_WEBROOTS",
    "APPLICATION",
    "WEBSITE_URL",
    *SECRETS,
    "S3_HOST_BASE",
    "S3_LOCATION",
)

# In the order of the older BUILD_CHOICE, 0 to 6.
PERIODS = ("virgin", "baseline", "hourly", "daily", "weekly", "monthly", "bimonthly")
# s3cmd's words for a location, which templates use, and the regions that they mean to S3.
REGIONS = {"": "us-east-1", "US": "us-east-1", "EU": "eu-west-1"}

_SYSTEM_TREES = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/usr",
    "/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd", "/var/lock", "/var/run",
)  # fmt: skip
_SYSTEM_DIRECTORIES = (
    "/", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var",  # noqa: S108
    "/var/cache", "/var/lib", "/var/log",
    "/var/spool", "/var/tmp", "/var/www",  # noqa: S108
)  # fmt: skip
# What a unit's name may have (255) without the longest thing that roles put around an escaped path.
_UNIT_ROOM = 220

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_ENDPOINT = re.compile(r"(https?://)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?")
_MERGE = re.compile(r"merge=(.*?)([0-9])?", re.DOTALL)
_INNER_DOT = re.compile(r"(?<=[^.])\.(?=[^.])")


@dataclass(frozen=True)
class Options:
    """What the template doesn't say.

    ``buildstyles`` is what ``read_buildstyles`` found in ``buildstyles_file``. ``offloaded_by`` are those of the plan's
    ``offload_plugins`` that webservers have, as dictionaries with ``title``, ``path`` and ``host``.
    """

    webroot: str = "/var/www/html"
    tool: Optional[str] = None
    buildstyles: Optional[BuildStyle] = None
    buildstyles_file: Optional[str] = None
    buckets: dict[str, Any] = field(default_factory=dict)
    dotted_directories: str = "auto"
    webservers: int = 1
    offloaded_by: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """``plan`` is None when there are problems. Nothing in here holds a secret."""

    plan: Optional[dict[str, Any]]
    warnings: list[str]
    advice: list[str]
    problems: list[Problem]


@dataclass(frozen=True)
class _Directory:
    written: str
    path: str
    archive_path: str
    merge: int = 1
    whole_webroot: bool = False
    inside: bool = True

    @property
    def source(self) -> str:
        """What its bucket and its id are named after."""
        if self.whole_webroot:
            return WHOLE_WEBROOT
        return self.archive_path if self.inside else self.path


class _Refused(Exception):
    """A path that is not taken: (what is wrong, what to write)."""


@dataclass
class _Notes:
    """What is said about the settings while the plan is made."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)


class _Reader:
    """Values of a template's keys, and what is wrong with them.

    A strict reader is for keys that are needed. The other one is for keys that are not: what can't be read is as
    good as absent, and its complaints are only warnings.
    """

    def __init__(self, template: Template, notes: _Notes, strict: bool) -> None:
        self.template = template
        self.notes = notes
        self.strict = strict
        self.broken: set[str] = set()

    def get(self, key: str) -> str:
        """The value; empty when it is absent, empty or can't be used (which is then a problem). Ask once a key."""
        value, problems = self.template.value(key)
        if problems:
            self.broken.add(key)
        if self.strict:
            self.notes.problems += problems
        return value

    def fault(self, key: str, message: str, fix: str) -> None:
        """Note what is wrong with a key, and that its value can't be used."""
        self.broken.add(key)
        problem = Problem(key, message, fix, self.template.line(key), self.template.file)
        if self.strict:
            self.notes.problems.append(problem)
        else:
            self.notes.warnings.append(str(problem))

    def need(self, key: str, why: str, example: str) -> None:
        """Note that a key has no value, unless a problem with it is already known or nobody needs it."""
        if self.strict and key not in self.broken:
            self.fault(key, f"is not set, and {why}", self.write(key, example))

    def write(self, key: str, value: str) -> str:
        """How the user writes a setting, in the form that is in use."""
        return f"write export {key}={quoted(value)}" if self.template.file else f"write {key.lower()}: {quoted(value)}"

    def place(self, key: str) -> str:
        """The key and where it is set, for problems that are about two of them."""
        line = self.template.line(key)
        return f"{key} (line {line})" if line else key


def quoted(value: str) -> str:
    """A value in double quotes, as a template has it."""
    return '"' + re.sub(r'([$`"\\])', r"\\\1", value) + '"'


def shown(value: str) -> str:
    """A value that is no secret, for a message: printable and short."""
    return repr(value if len(value) <= 80 else value[:79] + "…")


def make_plan(
    template: Template, options: Options, tools: dict[str, Tool], applications: dict[str, Application]
) -> Outcome:
    """The plan that a template (or ``template_from_values``) and the options make, by the rules of the template guide.

    ``applications`` has one for ``none``. Reports every problem at once. Raises nothing.
    """
    notes = _Notes(problems=list(template.problems))
    always = _Reader(template, notes, True)
    persist = _persist(always)
    reader = always if persist else _Reader(template, notes, False)
    site = _site(reader)
    webroot = _webroot(options.webroot, notes)
    tool, install = _tool(options, tools, notes)
    application = _application(reader, applications)
    plan: dict[str, Any] = {
        "site": site or None,
        "webroot": webroot,
        "persist": persist,
        "sync_webroots": _flag(always, "SYNC_WEBROOTS"),
        "backup_period": _period(always, persist),
        "catalog": catalog_name(site) if site else None,
        "tool": tool.name if tool else None,
        "tool_install": install,
        "application": application.name,
        "directories": [],
        "local_directories": [],
        "code_directories": [],
        "offload_plugins": [],
        "stores": _stores(reader),
        "excludes": [],
        "warnings": notes.warnings,
        "advice": notes.advice,
    }
    if persist:
        directories = _directories(reader, webroot, options.dotted_directories)
        chosen = _chosen(directories, options.buckets, notes)
        buckets = _buckets(reader, directories, site or "site", chosen)
        _check_tool(reader, directories, tool, application)
        _check_local(notes, directories, application)
        plan["directories"] = _described(directories, buckets, chosen)
        plan["excludes"] = [d.archive_path for d in directories if d.inside and not d.whole_webroot]
        plan["offload_plugins"] = [
            {"title": plugin.title, "path": f"{webroot}/{plugin.path}"} for plugin in application.offload_plugins
        ]
        if any(d.whole_webroot for d in directories):
            plan["local_directories"] = list(application.local_directories)
            plan["code_directories"] = list(application.code_directories)
    elif reader.get(DIRECTORIES):
        notes.warnings.append(f"{DIRECTORIES} is set but {PERSIST} is 0: no directory is put into S3 or mounted")
    _judge(plan, options.webservers, notes)
    if persist:
        _missing_uploads(notes, plan, application)
    problems = sorted(notes.problems, key=lambda problem: (problem.file is None, problem.line or 0))
    if options.offloaded_by and persist:
        plan = _left_alone(plan, options.offloaded_by)
    return Outcome(None if problems else plan, plan["warnings"], plan["advice"], problems)


def _left_alone(plan: dict[str, Any], plugins: list[dict[str, str]]) -> dict[str, Any]:
    """The plan of a site whose application keeps its uploads in an object store by itself: nothing is mounted."""
    hosts: dict[str, list[str]] = {}
    for plugin in plugins:
        hosts.setdefault(f"{plugin['title']} in {plugin['path']}", []).append(plugin["host"])
    found = "; ".join(f"{what} on {', '.join(names)}" for what, names in hosts.items())
    why = f"nothing is mounted: a plugin of {plan['application']} keeps uploads in an object store ({found})"
    lists = ("directories", "excludes", "local_directories", "code_directories", "offload_plugins")
    nothing: dict[str, Any] = {name: [] for name in lists}
    return {**plan, **nothing, "persist": False, "warnings": [why], "advice": []}


def _flag(reader: _Reader, key: str) -> bool:
    value = reader.get(key)
    if value not in ("", "0", "1"):
        reader.fault(key, f"{shown(value)} is neither 0 nor 1", reader.write(key, "0") + ' or "1"')
    return value == "1"


def _persist(reader: _Reader) -> bool:
    """Whether assets go to S3. An unusable value counts as yes, so that all other problems are found too."""
    values = {key: reader.get(key) for key in (PERSIST_OLD, PERSIST)}
    for key, value in values.items():
        if value == "2":
            message = "2 was an old mode that copied files by polling; it lost some and is not supported"
            reader.fault(key, message, reader.write(key, "1") + " to mount the directories from S3")
        elif value not in ("", "0", "1"):
            reader.fault(key, f"{shown(value)} is neither 0 nor 1", reader.write(key, "0") + ' or "1"')
    if "" not in values.values() and values[PERSIST] != values[PERSIST_OLD]:
        message = f"does not agree with {reader.place(PERSIST_OLD)}, which is the same setting by its older name"
        reader.fault(PERSIST, message, "give both the same value, or keep only this one")
    return any(value not in ("", "0") for value in values.values()) or bool(reader.broken & {PERSIST, PERSIST_OLD})


def _period(reader: _Reader, persist: bool) -> Optional[str]:
    new, old = "BUILD_ARCHIVE_CHOICE", "BUILD_CHOICE"
    period, number = reader.get(new), reader.get(old)
    if period and period not in PERIODS:
        reader.fault(new, f"{shown(period)} is none of {', '.join(PERIODS)}", reader.write(new, "hourly"))
    if number and not re.fullmatch("[0-6]", number):
        reader.fault(old, f"{shown(number)} is no number from 0 to 6", f"remove it: {new} is enough")
    if reader.broken & {new, old}:
        return None
    by_number = PERIODS[int(number)] if number else None
    if period and by_number and period != by_number:
        fix = f"{reader.write(old, str(PERIODS.index(period)))}, or remove it"
        reader.fault(old, f"{number} means {by_number}, but {reader.place(new)} says {period}", fix)
    chosen = period or by_number
    if persist and chosen in ("virgin", "baseline"):
        key, source = PERSIST if reader.template.of(PERSIST) else PERSIST_OLD, new if period else old
        message = f"must be 0 with {reader.place(source)} {chosen}: only a temporal backup has assets that can go to S3"
        reader.fault(key, message, f"{reader.write(key, '0')}, or name a temporal backup in {source}")
    return chosen


def _webroot(text: str, notes: _Notes) -> str:
    path = "/" + "/".join(part for part in text.split("/") if part)
    flaw = None
    if not text.startswith("/") or {".", ".."} & set(path.split("/")) or _unprintable(path):
        flaw = "must be an absolute path without '.', '..' and control characters"
    elif _system(path):
        flaw = f"{shown(path)} is or holds files of the system"
    if not flaw:
        return path
    fix = f"write the site's document root, such as {Options.webroot}"
    notes.problems.append(Problem("webroot", flaw, fix))
    return Options.webroot


def _site(reader: _Reader) -> str:
    key = "WEBSITE_URL"
    value = reader.get(key)
    if not value:
        reader.need(key, "it names the site's buckets", "www.example.com")
        return ""
    site = value.lower()
    if len(site) > 253 or not _HOST.fullmatch(site):
        reader.fault(
            key,
            f"{shown(value)} is not a host name",
            reader.write(key, "www.example.com")
            + ", without https:// and path (a name with non-ASCII letters as xn--…)",
        )
        return ""
    if bucket_flaw(catalog_name(site)):
        reader.fault(key, "S3 keeps bucket names that begin like this for itself", "use another name of the site")
        return ""
    return site


def _stores(reader: _Reader) -> list[dict[str, str]]:
    chains = {key: reader.get(key) for key in (*SECRETS, "S3_HOST_BASE", "S3_LOCATION")}
    hosts = chains["S3_HOST_BASE"].split("|")
    if not chains["S3_HOST_BASE"]:
        reader.need("S3_HOST_BASE", "it says where the buckets are", "s3.example.com")
        return []
    for key, value in chains.items():
        parts = value.split("|")
        if value and "S3_HOST_BASE" not in reader.broken and len(parts) != len(hosts):
            message = f"has {len(parts)} part(s) between |, and S3_HOST_BASE has {len(hosts)}"
            fix = "write one part for each store, in the same order"
            if key in SECRETS:
                fix += " (a secret that has a | in it: leave both keys out and give them as variables)"
            reader.fault(key, message, fix)
        if value and "" in parts:
            reader.fault(key, "has an empty part between |", "write one value for each store, or remove the |")
    _check_secrets(reader, chains)
    endpoints = [_endpoint(reader, host) for host in hosts]
    locations = chains["S3_LOCATION"].split("|") if chains["S3_LOCATION"] else [""] * len(hosts)
    for location in locations:
        if not re.fullmatch(r"[A-Za-z0-9_-]*", location):
            reader.fault("S3_LOCATION", f"{shown(location)} is not a region", reader.write("S3_LOCATION", "us-east-1"))
    if reader.broken & set(chains):
        return []
    return [{"endpoint_url": url, "region": REGIONS.get(name, name)} for url, name in zip(endpoints, locations)]


def _check_secrets(reader: _Reader, chains: dict[str, str]) -> None:
    absent = [key for key in SECRETS if not chains[key] and key not in reader.broken]
    if len(absent) == 1:
        other = next(key for key in SECRETS if key not in absent)
        reader.need(absent[0], f"{other} is", "…")
    elif absent and reader.strict and reader.template.file:
        reader.notes.advice.append(
            "the template has no S3_ACCESS_KEY and S3_SECRET_KEY: the credentials have to come from elsewhere"
        )


def _endpoint(reader: _Reader, host: str) -> str:
    match = _ENDPOINT.fullmatch(host)
    if not match or not (match.group(2).startswith("[") or _HOST.fullmatch(match.group(2).lower())):
        if host:
            # Not shown: somebody may have written a user and password into it.
            example = reader.write("S3_HOST_BASE", "s3.example.com")
            reader.fault("S3_HOST_BASE", "has a part that is not host, host:port or http(s)://host:port", example)
        return ""
    return (match.group(1) or "https://") + match.group(2) + (match.group(3) or "")


def _application(reader: _Reader, applications: dict[str, Application]) -> Application:
    value = reader.get("APPLICATION") or NONE
    if value.lower() not in applications:
        known = ", ".join(applications)
        reader.fault("APPLICATION", f"{shown(value)} is none of {known}", reader.write("APPLICATION", NONE))
        return applications[NONE]
    return applications[value.lower()]


def _tool(options: Options, tools: dict[str, Tool], notes: _Notes) -> tuple[Optional[Tool], Optional[str]]:
    """The mount tool: the option's, else that of buildstyles.dat, else the default; and how that file installs it."""
    known = f"write one of {', '.join(sorted(tools))}"
    style = options.buildstyles
    if options.tool:
        if options.tool not in tools:
            notes.problems.append(Problem("tool", f"{shown(options.tool)} is no mount tool that is known here", known))
        return tools.get(options.tool), None
    if style is None:
        return next((tool for tool in tools.values() if tool.default), None), None
    for tool in tools.values():
        if style.tool in (tool.name, *tool.buildstyles_names):
            if style.install is not None and style.install not in tool.buildstyles_words:
                message = f"{tool.name} can't be installed by {shown(style.install)} here"
                words = " or ".join(f"DATASTOREMOUNTTOOL:{style.tool}:{word}" for word in tool.buildstyles_words)
                fix = f"write {words}, or choose the tool by the option tool"
                notes.problems.append(Problem("DATASTOREMOUNTTOOL", message, fix, style.line, options.buildstyles_file))
            return tool, style.install
    message = f"{shown(style.tool)} is no mount tool that is known here"
    notes.problems.append(Problem("DATASTOREMOUNTTOOL", message, known, style.line, options.buildstyles_file))
    return None, None


def _check_tool(reader: _Reader, directories: list[_Directory], tool: Optional[Tool], application: Application) -> None:
    """Hold what the directories and the application ask for against what the tool's table says it can do."""
    if tool is None or not directories:
        return
    asked = {"whole_webroot": any(d.whole_webroot for d in directories), "merge": any(d.merge > 1 for d in directories)}
    words = {"whole_webroot": WHOLE_WEBROOT, "merge": "merge="}
    for capability in (name for name, wanted in asked.items() if wanted):
        what, note = words[capability], tool.capability_notes.get(capability)
        because = f": {note}" if note else ""
        if tool.can(capability) == "no":
            message = f"{what} is not possible with the mount tool {tool.name}{because}"
            reader.fault(DIRECTORIES, message, "choose another tool, or name directories one by one")
        elif tool.can(capability) == "warn":
            said = f"{what} with the mount tool {tool.name} is slow or incomplete{because}"
            reader.notes.warnings.append(f"{DIRECTORIES}: {said}")
        elif note:
            reader.notes.advice.append(f"{what} with the mount tool {tool.name}{because}")
    _check_writing(reader.notes, directories, tool, application)
    naming = tool.lacks(("rename", "replace", "rename_directory", "symlink", "case"))
    if naming:
        reader.notes.advice.append(
            f"the mount tool {tool.name} can't do {', '.join(naming)} in the mounted directories"
        )


def _check_local(notes: _Notes, directories: list[_Directory], application: Application) -> None:
    """Notice what an application has its caches in below a mounted directory; in the whole webroot they stay local."""
    local = _inside(application.local_directories, directories)
    if local and not any(d.whole_webroot for d in directories):
        where = f"{application.title} has caches, logs or sessions in {', '.join(local)}, inside a mounted directory"
        notes.advice.append(f"{where}: let its settings put them on the local disk")


def _check_writing(notes: _Notes, directories: list[_Directory], tool: Tool, application: Application) -> None:
    """Notice a tool that can't change files: a warning where the application does that, or nothing is known of it."""
    missing = tool.lacks(("append", "modify", "truncate"))
    if not missing:
        return
    programs = "programs that add to files or change them in place"
    unable = f"the mount tool {tool.name} can't do {', '.join(missing)}: {programs} fail or lose what they write"
    appended = _inside(application.appends, directories) if "append" in missing else []
    if appended:
        where = f"{application.title} or its plugins add to files in {', '.join(appended)}"
        notes.warnings.append(f"{DIRECTORIES}: {unable}, and {where}")
    elif application.name == NONE:
        notes.warnings.append(f"{DIRECTORIES}: {unable}")
    else:
        notes.advice.append(f"{unable}; {application.title} without plugins does not")


def _inside(paths: Iterable[str], directories: list[_Directory]) -> list[str]:
    """Those of some paths below the webroot that lie in one of the directories."""
    mounted = [d for d in directories if d.inside]
    return [path for path in paths if any(d.whole_webroot or within(path, d.archive_path) for d in mounted)]


def _directories(reader: _Reader, webroot: str, dotted: str) -> list[_Directory]:
    text = reader.get(DIRECTORIES)
    if not text:
        reader.need(DIRECTORIES, f"{PERSIST} is 1", "images")
        return []
    separator = dotted == "separator" or (dotted == "auto" and bool(reader.template.of(PERSIST_OLD)))
    found: list[_Directory] = []
    for entry in text.split(":"):
        try:
            directory = _directory(entry, webroot, separator)
        except _Refused as refused:
            reader.fault(DIRECTORIES, *refused.args)
            continue
        if separator and dotted == "auto" and directory.written != entry:
            reader.notes.warnings.append(
                f"{DIRECTORIES}: {shown(entry)} was read as {shown(directory.written)}, as templates with the older "
                f"{PERSIST_OLD} mean it (dotted_directories: literal keeps the dots)"
            )
        found.append(directory)
    if len(found) > 1 and any(d.whole_webroot for d in found):
        reader.fault(DIRECTORIES, f"{WHOLE_WEBROOT} has to stand alone", reader.write(DIRECTORIES, WHOLE_WEBROOT))
        return [d for d in found if d.whole_webroot][:1]
    return _apart(reader, found)


def _directory(entry: str, webroot: str, separator: bool) -> _Directory:
    """One entry of DIRECTORIES_TO_MOUNT; _Refused says what is wrong with it."""
    if not entry:
        raise _Refused("has an empty entry", "remove the ':' too many")
    if _unprintable(entry):
        raise _Refused(f"{shown(entry)} has a control character in it", "rename the directory, or leave it out")
    if entry != entry.strip():
        raise _Refused(f"{shown(entry)} begins or ends with white space", f"write {quoted(entry.strip())}")
    if entry == WHOLE_WEBROOT:
        return _Directory(entry, webroot, ".", whole_webroot=True)
    merge, name = _merge(entry)
    if name.upper() == WHOLE_WEBROOT:
        raise _Refused(f"{shown(entry)} is no directory", f"write {WHOLE_WEBROOT}, alone")
    # An entry with slashes already says where its directories end.
    name = _INNER_DOT.sub("/", name) if separator and "/" not in name else name
    written = name if merge == 1 and not entry.startswith("merge=") else f"merge={name}{merge}"
    path = _path(name, webroot)
    inside = path.startswith(webroot + "/")
    archive_path = path[len(webroot) + 1 :] if inside else path[1:]
    return _Directory(written, path, archive_path, merge, inside=inside)


def _merge(entry: str) -> tuple[int, str]:
    """(number of buckets, name) of an entry, ``merge=NAMEn`` or plain."""
    match = _MERGE.fullmatch(entry)
    if not match:
        return 1, entry
    name, number = match.groups()
    if not name or number in (None, "0"):
        flaw = f"{shown(entry)} is not merge= with a name and a digit from 1 to 9"
        raise _Refused(flaw, "write merge=images3 for three buckets")
    if name == "webroot":
        # The toolkit's word for something that is not built here: the whole webroot from several buckets.
        raise _Refused(f"{shown(entry)} would be the whole webroot in several buckets", f"write {WHOLE_WEBROOT}")
    return int(number), name


def _path(name: str, webroot: str) -> str:
    """The absolute path of an entry, without doubled or trailing slashes."""
    parts = [part for part in name.split("/") if part]
    if not parts:
        raise _Refused("'/' is the whole machine", "name a directory of the site")
    if {".", ".."} & set(parts):
        plain = "/".join(part for part in parts if part != ".")
        fix = f"write {quoted(plain)}" if plain and ".." not in parts else "write the path without them"
        raise _Refused(f"{shown(name)} has '.' or '..' in it", fix)
    path = "/" + "/".join(parts)
    path = path if name.startswith("/") else webroot + path
    if path == webroot:
        raise _Refused(f"{shown(name)} is the webroot itself", f"write {WHOLE_WEBROOT}")
    if webroot.startswith(path + "/"):
        raise _Refused(f"{shown(path)} holds the webroot", f"write {WHOLE_WEBROOT}, or directories below the webroot")
    if _system(path):
        flaw = f"{shown(path)} is a directory of the system, or holds or belongs to one"
        raise _Refused(flaw, "name a directory that has only assets")
    try:
        too_long = len(unit_name(path)) > _UNIT_ROOM
    except ValueError:
        too_long = True
    if too_long:
        raise _Refused(f"{shown(path)} is too long for a systemd unit's name", "use a shorter path")
    return path


def _system(path: str) -> bool:
    """Whether a path is, or holds, or lies in, a directory that belongs to the system."""
    if path in _SYSTEM_DIRECTORIES:
        return True
    return any(path == tree or path.startswith(tree + "/") or tree.startswith(path + "/") for tree in _SYSTEM_TREES)


def _unprintable(text: str) -> bool:
    return any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text)


def _apart(reader: _Reader, directories: list[_Directory]) -> list[_Directory]:
    """The directories of which none is another one or lies in another one, on the webserver and in the backup."""
    kept: list[_Directory] = []
    for directory in directories:
        clash = next((other for other in kept if _overlap(directory, other)), None)
        if clash is None:
            kept.append(directory)
            continue
        both = f"{shown(clash.written)} and {shown(directory.written)}"
        if directory.path == clash.path:
            reader.fault(DIRECTORIES, f"{both} are the same directory", "name it once")
        elif within(directory.path, clash.path) or within(clash.path, directory.path):
            reader.fault(
                DIRECTORIES, f"{both}: one lies in the other", "keep only the outer one, or only the inner one"
            )
        else:
            place = shown(min(directory.archive_path, clash.archive_path, key=len))
            reader.fault(DIRECTORIES, f"{both} would both be taken from {place} of the backup", "keep only one of them")
    return kept


def _overlap(one: _Directory, two: _Directory) -> bool:
    pairs = ((one.path, two.path), (one.archive_path, two.archive_path))
    return any(within(a, b) or within(b, a) for a, b in pairs)


def _buckets(
    reader: _Reader, directories: list[_Directory], site: str, chosen: dict[str, list[str]]
) -> dict[str, list[str]]:
    """Every directory's buckets by its path; two that would share one are a problem."""
    owners = {catalog_name(site): "the site's catalog", backups_name(site): "the site's temporal backups"}
    buckets: dict[str, list[str]] = {}
    for d in directories:
        sources = [f"{d.source}{n}" for n in range(1, d.merge + 1)] if d.written.startswith("merge=") else [d.source]
        names = chosen.get(d.path) or [bucket_name(source, site) for source in sources]
        for name in names:
            override = f"choose a name for one of them, as in the option buckets: {{{quoted(d.written)}: another-name}}"
            flaw = bucket_flaw(name)
            if name in owners:
                message = f"{shown(d.written)} and {shown(owners[name])} would share the bucket {name}"
                reader.fault(DIRECTORIES, message, override)
            elif flaw and d.path not in chosen:
                reader.fault(DIRECTORIES, f"{shown(d.written)}: the bucket name {name} {flaw}", override)
            owners.setdefault(name, d.written)
        buckets[d.path] = names
    return buckets


def _chosen(directories: list[_Directory], overrides: dict[str, Any], notes: _Notes) -> dict[str, list[str]]:
    """The user's own bucket names by path; several of them, as a list, for a merged directory."""
    chosen = {}
    for key, value in overrides.items():
        directory = next((d for d in directories if str(key).rstrip("/") in (d.written, d.path, d.archive_path)), None)
        names = [str(name) for name in value] if isinstance(value, (list, tuple)) else [str(value)]
        flaws = [f"{shown(name)} {bucket_flaw(name)}" for name in names if bucket_flaw(name)]
        if directory is None:
            known = ", ".join(shown(d.written) for d in directories) or "none"
            fix = f"write it as in {DIRECTORIES}: {known}"
            notes.problems.append(Problem("buckets", f"{shown(str(key))} is not among the directories", fix))
        elif flaws:
            notes.problems.append(Problem("buckets", "; ".join(flaws), "choose another name"))
        elif len(names) != directory.merge:
            message = f"{shown(str(key))} has {len(names)} name(s) for {directory.merge} bucket(s)"
            notes.problems.append(Problem("buckets", message, "give a list with one name for each bucket"))
        else:
            chosen[directory.path] = names
    return chosen


def _described(
    directories: list[_Directory], buckets: dict[str, list[str]], chosen: dict[str, list[str]]
) -> list[dict[str, Any]]:
    """The plan's entries. Where two would have one id, those with a bucket that the user chose get another one."""
    ids = [directory_id(d.source) for d in directories]
    return [
        {
            "name": distinct_id(d.source) if ids.count(name) > 1 and d.path in chosen else name,
            "path": d.path,
            "archive_path": d.archive_path,
            "buckets": buckets[d.path],
            "whole_webroot": d.whole_webroot,
        }
        for d, name in zip(directories, ids)
    ]


def _judge(plan: dict[str, Any], webservers: int, notes: _Notes) -> None:
    """What can be done and yet may not be meant."""
    if any(d["whole_webroot"] for d in plan["directories"]):
        if plan["sync_webroots"]:
            notes.warnings.append(f"SYNC_WEBROOTS is 1 with {WHOLE_WEBROOT}: there is nothing left to sync")
        notes.advice.append("the whole webroot is in S3, and backups hold no copy of it: replicate it to another store")
    if webservers > 1 and not plan["persist"] and not plan["sync_webroots"]:
        settings = f"{PERSIST} and SYNC_WEBROOTS are 0 on {webservers} webservers"
        notes.warnings.append(f"{settings}: nothing keeps users' uploads the same on them")


def _missing_uploads(notes: _Notes, plan: dict[str, Any], application: Application) -> None:
    mounted = [d["path"] for d in plan["directories"]]
    paths = {
        name: name if name.startswith("/") else f"{plan['webroot']}/{name}" for name in application.asset_directories
    }
    missing = [name for name, path in paths.items() if not any(within(path, outer) for outer in mounted)]
    if missing:
        where = f"{application.title} keeps its users' uploads in {', '.join(missing)}"
        notes.advice.append(f"{where}, which {DIRECTORIES} does not name: they stay on each webserver")
