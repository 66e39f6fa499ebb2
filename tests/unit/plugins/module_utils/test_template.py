# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.adt.assets.plugins.module_utils._template import (
    MAX_BYTES,
    parse_template,
    template_from_values,
)


def parse(text):
    return parse_template(text if isinstance(text, bytes) else text.encode(), "site.tmpl")


def values(text):
    return {a.key: a.value for a in parse(text).assignments}


def flaw(text, key="K"):
    """The flaw of the only assignment of a key, and its line."""
    (assignment,) = parse(text).of(key)
    assert assignment.value is None
    assert assignment.fix
    return assignment.flaw, assignment.line


@pytest.mark.parametrize(
    "line, value",
    [
        ('export K="v"', "v"),
        ("export K='v'", "v"),
        ("export K=v", "v"),
        ("K=v", "v"),
        ('\texport  K="v"  ', "v"),
        ("export K=", ""),
        ('export K=""', ""),
        ("export K=''", ""),
        ("export K=  # comment", ""),
        ('export K="v" #MANDATORY', "v"),
        ('export K="v"#comment', "v"),
        ("export K=v # it's a comment; with $(things)", "v"),
        ("export K=v#w", "v#w"),
        ('export K="a # b"', "a # b"),
        ('export K="images:media/videos:/var/www/private"', "images:media/videos:/var/www/private"),
        (r'export K="a\"b\\c\$d\`e\f"', r'a"b\c$d`e\f'),
        (r"export K='a\"b $x `c` $(d)'", r"a\"b $x `c` $(d)"),
        ('export K="it\'s"', "it's"),
        ("export K='say \"so\"'", 'say "so"'),
        ('export K="a&b/c+d%e|f"', "a&b/c+d%e|f"),
        ("export K=a/b:c.d-e_f,g@h%i", "a/b:c.d-e_f,g@h%i"),
        ('export K="ünï"', "ünï"),
        ('export K="v" #### CUSTOMISE ME ####', "v"),
    ],
)
def test_every_form_of_an_assignment(line, value):
    assert values(line) == {"K": value}


@pytest.mark.parametrize(
    "line", ["#export K=v", "  # K=v", "read K", "export K", "K", "[ K=v ]", 'echo "K=v"', "K =v", "3K=v"]
)
def test_what_is_no_assignment_does_not_count(line):
    assert values(line) == {}


@pytest.mark.parametrize(
    "line, part",
    [
        ('export K="$HOME/x"', "put together by a shell"),
        ('export K="${X}"', "put together by a shell"),
        ("export K=$X", "put together by a shell"),
        ('export K="`id`"', "put together by a shell"),
        ("export K=$(id)", "put together by a shell"),
        ('export K="a$(id)b"', "put together by a shell"),
        (r'export K="\\$(id)"', "put together by a shell"),
        ("export K=`id`", "put together by a shell"),
        ("export K=#### CUSTOMISE ME ####", "placeholder"),
        ('export K="#### CUSTOMISE ME ####"', "placeholder"),
        ("export K='####CUSTOMIZE ME####'", "placeholder"),
        ('export K="Customise_me"', "placeholder"),
        ('export K="a"; rm -rf /', "followed by something else"),
        ('export K="a" b', "followed by something else"),
        ("export K=a b", "followed by something else"),
        ("export K=a;reboot", "followed by something else"),
        ("export K=a&&reboot", "followed by something else"),
        ("export K=a|tee x", "followed by something else"),
        ('export K="a"b', "followed by something else"),
        ("export K=\"a\"'b'", "followed by something else"),
        ("export K=(a b)", "followed by something else"),
        ("export K=a'b'", "a shell would change"),
        (r"export K=a\ b", "a shell would change"),
        ("export K=~/x", "a shell would change"),
        ("export K=a:~/x", "a shell would change"),
        ("export K=#x", "a shell would change"),
        ("export K=v\\", "a shell would change"),
        ('export K="a', "quote is not closed"),
        ("export K='a", "quote is not closed"),
        (r'export K="a\"', "quote is not closed"),
        ('export K="a\0b"', "not UTF-8 text"),
    ],
)
def test_t14_flawed_values_are_told_with_their_line(line, part):
    what, number = flaw(f"\n\n{line}\nexport OTHER=x\n")
    assert part in what
    assert number == 3


def test_crlf_and_bom_are_no_part_of_values():
    text = b"\xef\xbb\xbfexport A=\"1\"\r\nexport B=2\r\nexport C='3' # x\r\nD=\r\n"
    assert values(text) == {"A": "1", "B": "2", "C": "3", "D": ""}


def test_only_plain_assignments_of_a_script_count():
    script = """#!/bin/sh
if ( [ "$WEBSITE_URL" = "" ] )
then
    export SITE="a.example.com"   # the indented ones count
else
    read answer
    while ( [ "$answer" != "Y" ] ) ; do read answer ; done
fi
[ -z "$X" ] && export LATER="x"
: ${DEFAULT:=x}
case $x in a) ONE=1 ;; esac
"""
    assert values(script) == {"SITE": "a.example.com"}


def test_t14_a_second_setting_on_a_line_is_not_lost():
    for line in ('export A="1" K="2"', 'export A="1"; export K="2"', "A=1&&K=2", "A=1;K=2"):
        assert flaw(line)[0] == "is set on the same line as something else"
    assert values("export A='x=1 K=2' # K=3") == {"A": "x=1 K=2"}


def test_t14_lines_inside_a_quoted_value_are_not_taken_for_settings():
    text = 'export NOTES="first\nexport K="v"\nexport AFTER=1\n'
    assert flaw(text) == ("this line lies inside the quoted value of NOTES that begins on line 1", 2)
    assert flaw(text, "NOTES") == ("the value's quote is not closed on its line", 1)
    assert values(text)["AFTER"] == "1"


def test_an_apostrophe_that_nothing_closes_swallows_nothing():
    assert values("export A='x\nexport B=2\n") == {"A": None, "B": "2"}


def test_duplicates_are_all_kept_with_their_lines():
    found = parse('K="a"\nK="b"\nexport K=a\n').of("K")
    assert [(a.value, a.line) for a in found] == [("a", 1), ("b", 2), ("a", 3)]


def test_t14_nul_and_other_encodings_are_problems_with_a_line():
    template = parse(b"A=1\nB='\0'\nC='\xff'\nD='\xfe'\n")
    assert [str(p) for p in template.problems] == [
        "site.tmpl:2: this line has a NUL byte in it; remove it, or save the file as UTF-8 text",
        "site.tmpl:3: this line is not UTF-8 text; save the file as UTF-8",
    ]
    assert [a.value for a in template.assignments] == ["1", None, None, None]
    assert parse('A="1"\n'.encode("utf-16")).problems


def test_t14_ten_megabytes_are_refused_unread():
    template = parse(b'K="v"\n' * (10 * MAX_BYTES // 6))
    assert template.assignments == ()
    assert "larger than 1024 KiB" in str(template.problems[0])
    assert not parse(b"#" * MAX_BYTES).problems


@pytest.mark.parametrize(
    "line", ['A="\n', "A='\n", 'A="\\"\n', "A='\"\n", "A=\n", '"', "A=\\\n", "A=1 B=" * 9 + "\n", "\n"]
)
def test_t14_the_largest_template_is_read_in_a_moment(line):
    data = (line * (MAX_BYTES // len(line))).encode()
    began = time.process_time()
    parse(data)
    assert time.process_time() - began < 20


def test_t14_nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    marker = tmp_path / "marker"
    hostile = [
        f"$(touch {marker})",
        f"`touch {marker}`",
        f"x; touch {marker}",
        f"x\n touch {marker}\n",
        f"() {{ touch {marker}; }}",
    ]
    text = "\n".join(f"export K{n}={quote}{h}{quote}" for n, h in enumerate(hostile) for quote in ('"', "'", ""))
    parse(f"touch {marker}\n{text}\n$(touch {marker})\n")
    assert not marker.exists()
    subprocess.run(["sh", "-c", text], capture_output=True, check=False)
    assert marker.exists(), "the template is not hostile: a shell does nothing with it"


def test_secrets_do_not_show_in_a_repr():
    template = parse("export S3_SECRET_KEY='canary'\n")
    assert "canary" not in repr(template)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_t14_any_bytes_can_be_parsed(data):
    template = parse_template(data, "x")
    assert all(1 <= a.line <= data.count(b"\n") + 1 for a in template.assignments)
    assert all(a.flaw and a.fix for a in template.assignments if a.value is None)


SHELLISH = st.text(alphabet="AK=\"'\\$`#; \t\n\rexport()&|<>~{}é\0\ufeff\u2028", max_size=60)


@settings(deadline=None, max_examples=300)
@given(SHELLISH)
def test_t14_any_text_can_be_parsed(text):
    template = parse(text)
    assert all(a.flaw for a in template.assignments if a.value is None)


KEYS = st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True)
PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), max_size=20).filter(
    lambda text: not re.search("#{3}|customi[sz]e", text, re.IGNORECASE)
)


def double(text):
    return '"' + re.sub(r'([$`"\\])', r"\\\1", text) + '"'


def forms(text):
    found = [double(text)]
    if "'" not in text:
        found.append(f"'{text}'")
    if re.fullmatch(r"[A-Za-z0-9_/:.,@%+-]*", text):
        found.append(text)
    return st.sampled_from(found)


@settings(deadline=None)
@given(st.data(), st.dictionaries(KEYS, PLAIN, max_size=6))
def test_what_is_written_is_read_back(data, wanted):
    lines = []
    for key, text in wanted.items():
        export = data.draw(st.sampled_from(["", "export ", "  export "]))
        tail = data.draw(st.sampled_from(["", " ", " # comment with 'quotes' and $x", "\t#"]))
        lines.append(f"{export}{key}={data.draw(forms(text))}{tail}")
    bom, newline = data.draw(st.sampled_from(["", "\ufeff"])), data.draw(st.sampled_from(["\n", "\r\n"]))
    template = parse(bom + newline.join([*lines, ""]))
    assert template.problems == ()
    assert {a.key: a.value for a in template.assignments} == wanted
    assert [a.line for a in template.assignments] == list(range(1, len(wanted) + 1))


SH_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


@settings(deadline=None, max_examples=100)
@given(SH_TEXT, st.sampled_from(['"', "'", ""]))
def test_a_value_that_is_taken_is_the_shells(text, quote):
    """Whatever is read without a flaw, a real shell reads as the same value (a # right behind a quote aside)."""
    line = f"K={quote}{text}{quote}"
    (assignment,) = parse(line).of("K") or [None]
    if assignment is None or assignment.value is None or (quote and re.search(re.escape(quote) + "#", line)):
        return
    script = f'set -f\n{line}\nprintf %s "$K"'
    shell = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=False, cwd="/", env={"PATH": ""})
    assert shell.stdout.decode() == assignment.value


def test_plain_variables_become_the_same_settings():
    template = template_from_values({"A": True, "B": False, "C": 1, "D": ["images", "a/b"], "E": None, "F": "x"})
    assert {a.key: a.value for a in template.assignments} == {
        "A": "1", "B": "0", "C": "1", "D": "images:a/b", "E": "", "F": "x",
    }  # fmt: skip
    assert template_from_values({"A": ["a:b"]}).of("A")[0].flaw == "has an item with a ':' in it"
