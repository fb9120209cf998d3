#!/usr/bin/env python3
"""Renders published chat templates with Python's jinja2, as transformers does it, and expressions
that show single features: `make_vectors.py FOLDER NAME.jinja ... | xz -9e > vectors.txt.xz`.

Records, each a line and then so many bytes and a newline:
`template NAME BYTES`, `case NAME BYTES` (JSON variables), and `output BYTES` or `fails 0`."""
import datetime
import json
import os
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox
from jinja2 import nodes

NOW = datetime.datetime(2024, 7, 26, 13, 5, 9)


class Generation(jinja2.ext.Extension):  # {% generation %} is transformers'; it only marks
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = lambda f: NOW.strftime(f)

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Tells the weather in a \"place\" <now>",
    "parameters": {"type": "object", "properties": {
        "place": {"type": "string", "description": "a city, e.g. Zürich"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "default": 3}, "exact": {"type": "boolean"},
        "hours": {"type": "array", "items": {"type": "number"}}},
        "required": ["place"]}}}
ADD = {"type": "function", "function": {"name": "add", "description": "", "parameters": {
    "type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
    "required": ["a", "b"]}}}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"id": "abcdef123", "type": "function",
        "function": {"name": "get_weather", "arguments": {"place": "Zürich", "days": 2}}}]}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def user(text):
    return {"role": "user", "content": text}


def system(text):
    return {"role": "system", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


CASES = {
    "one": dict(messages=[user("Hello, wörld!")], add_generation_prompt=True),
    "one-open": dict(messages=[user(" Hello \n")]),
    "system": dict(messages=[system("Be brief."), user("Hi\n\nthere"), assistant("Yes?"),
                             user("2 < 3 & 'x' \"y\"?")], add_generation_prompt=True),
    "turns": dict(messages=[user("a"), assistant("b"), user("c"), assistant("d "), user("e"),
                            assistant("f")], add_generation_prompt=False),
    "thought": dict(messages=[user("a"), assistant("<think>\nhm\n</think>\n\nb"), user("c")],
                    add_generation_prompt=True, enable_thinking=False),
    "tools": dict(messages=[system("Use tools."), user("Weather?")], tools=[WEATHER, ADD],
                  add_generation_prompt=True),
    "tool-turn": dict(messages=[user("Weather?"), CALL,
                                {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef123",
                                 "content": "{\"sky\": \"blue\"}"},
                                assistant("It is blue."), user("Thanks")], tools=[WEATHER],
                      add_generation_prompt=True),
    "parts": dict(messages=[{"role": "user", "content": [{"type": "text", "text": "one"},
                                                         {"type": "text", "text": "two"}]}],
                  add_generation_prompt=True),
    "wrong-order": dict(messages=[assistant("a"), user("b"), user("c")]),
    "documents": dict(messages=[user("What?")], add_generation_prompt=True,
                      documents=[{"doc_id": 1, "title": "T", "text": "Text.", "contents": "Text."}]),
}

# One feature each; every line is a template of its own.
FEATURES = r"""
{{ 1 + 2 * 3 ** 2 - 7 // 2 % 3 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** -1 }} {{ 1e16 }} {{ 1.5e-7 }} {{ 0.1 + 0.2 }} {{ 100.0 }} {{ 1_000 }}
{{ "a" ~ 1 ~ none ~ true ~ [1, "x", 2.0, none] ~ {"k": 'it\'s', "q": "\"'"} }} {{ "a" "b" }} {{ 'x' * 3 }} {{ [1] * 2 + [3] }}
{{ "%s is %d%%" % ("x", 5) }} {{ "{} {} {n} {{}}".format(1, 2, n=3) }}{{ "{1}{0}".format("a", 2) }} {{ "%s" % "y" }}
{{ not a or b and c }} {{ a or "x" }} {{ 1 and 0 }} {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ "1" == 1 }} {{ "a" < "b" }} {{ [1,2] < [1,3] }}
{{ 2 in [1,2] }} {{ "ell" in "hello" }} {{ "k" in {"k": 1} }} {{ 3 not in [1] }} {{ "x" in nothing }} {{ not "x" in "y" }}
{{ "yes" if 1 else "no" }} {{ "yes" if 0 }} {{ 1 if 0 else 2 if 0 else 3 }} {{ (1, 2) | length }} {{ () | length }} {{ (1) }}
{{ text[1:3] }} {{ text[-2:] }} {{ text[::-1] }} {{ text[:-1] }} {{ list[1:] }} {{ list[::2] }} {{ list[-1] }} {{ list[5:] }} {{ text[0] }} {{ list[:2][0] }} {{ list[10] }}
{{ text.upper() }} {{ text.strip("h o") }} {{ "  x ".strip() }} {{ "xxaxx".lstrip("x") }} {{ text.split("l") }} {{ " a  b ".split() }} {{ "a,b,c".split(",", 1) }} {{ "a,b,c".rsplit(",", 1) }} {{ "a b c".split(None, 1) }}
{{ text.startswith("he") }} {{ text.endswith(("x", "o")) }} {{ text.replace("l", "L", 1) }} {{ "abc".replace("", "-") }} {{ text.find("l") }} {{ text.rfind("l") }} {{ text.count("l") }} {{ "a\nb\r\nc".splitlines() }} {{ "ab".title() }} {{ "hello world it's".title() }} {{ "HELLO".capitalize() }}
{{ "-".join(["a", "b"]) }} {{ "12".isdigit() }} {{ "x".isdigit() }} {{ "abc".isalpha() }} {{ "prefix".removeprefix("pre") }} {{ "".join([]) }}
{{ d.k }} {{ d["k"] }} {{ d.missing }} {{ d.get("k") }} {{ d.get("z", 5) }} {{ d.get("z") }} {{ d.items() | list }} {{ d.keys() | list }} {{ d.values() | list }} {{ d | length }} {{ d | items | list }}
{{ list | join(", ") }} {{ list | first }} {{ list | last }} {{ list | sum }} {{ list | max }} {{ list | min }} {{ list | reverse | list }} {{ "abc" | reverse }} {{ list | sort(reverse=true) }} {{ ["b", "A", "c"] | sort }} {{ [3, 1, 3] | unique | list }}
{{ rows | map(attribute="n") | list }} {{ rows | selectattr("n", "equalto", 2) | list }} {{ rows | rejectattr("n", "gt", 1) | map(attribute="s") | join }} {{ rows | selectattr("s") | list | length }} {{ ["a", "B"] | map("upper") | list }} {{ [1,2,3,4] | select("even") | list }} {{ [0,1,"",none] | select | list }} {{ [1,2] | reject("odd") | list }} {{ rows | sort(attribute="n") | map(attribute="s") | list }} {{ rows | map(attribute="z", default="?") | list }}
{{ "x" | default("y") }} {{ nothing | default("y") }} {{ "" | default("y", true) }} {{ nothing | d }} {{ none | default("y") }} {{ 5 | string | length }} {{ "7" | int + 1 }} {{ "x" | int }} {{ "x" | int(9) }} {{ "2.5" | float }} {{ 3.7 | int }} {{ 2.5 | round }} {{ 2.567 | round(2) }} {{ 2.1 | round(0, "ceil") }} {{ -3 | abs }} {{ (-3) | abs }}
{{ d | tojson }} {{ [1, 2.5, "ü\n", none, true] | tojson }} {{ d | tojson(indent=2) }} {{ [] | tojson(indent=4) }} {{ {"b": {"c": []}, "a": {}} | tojson(indent=4) }} {{ "é😀\u2028" | tojson(ensure_ascii=true) }} {{ {"b": 1, "a": 2} | tojson(sort_keys=true) }} {{ "\u0007</" | tojson }}
{{ "<a href=\"x\">'&" | escape }} {{ "a\nb\n\nc" | indent(2) }} {{ "a\nb" | indent(2, true) }} {{ " x " | trim }} {{ "xax" | trim("x") }} {{ "abc" | upper | lower | capitalize }} {{ "aXbX" | replace("X", "-") }} {{ {"b": 2, "A": 1} | dictsort }} {{ {"b": 1, "a": 2} | dictsort(false, "value") }} {{ "abc" | list }} {{ "häß" | length }}
{{ x is defined }} {{ nothing is defined }} {{ nothing is undefined }} {{ none is none }} {{ x is not none }} {{ 1 is number }} {{ true is number }} {{ 1 is integer }} {{ true is integer }} {{ 1.0 is float }} {{ "s" is string }} {{ d is mapping }} {{ list is sequence }} {{ d is sequence }} {{ "s" is iterable }} {{ 3 is odd }} {{ 4 is divisibleby 2 }} {{ 4 is divisibleby(3) }} {{ 1 is eq 1 }} {{ 1 is in [1] }} {{ true is true }} {{ 1 is true }} {{ false is boolean }} {{ "a" is lower }} {{ range is callable }} {{ 2 is gt 1 }} {{ 1 is sameas true }}
{% for i in range(3) %}{{ loop.index }}/{{ loop.length }}{{ "," if not loop.last }}{% endfor %} {% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %} {% for x in [] %}a{% else %}none{% endfor %} {% for x in list if x > 1 %}{{ x }}{{ loop.first }}{{ loop.revindex }}{% endfor %} {% for x in list %}{{ loop.previtem }}|{{ loop.nextitem }}|{{ loop.cycle("a", "b") }} {% endfor %}
{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %} {% for i in range(2) %}{% for j in range(2) %}{{ loop.index0 }}{{ i }}{{ j }} {% endfor %}{% endfor %} {{ range(5, 0, -2) | list }} {% for a, b in [[1, 2]] %}{{ a }}{{ b }}{% endfor %}
{% set a = 1 %}{% for i in [1] %}{% set a = 2 %}{{ a }}{% endfor %}{{ a }} {% set ns = namespace(n=0, s="") %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% set ns.s = ns.s ~ i %}{% endfor %}{{ ns.n }}{{ ns.s }} {% set b, c = 1, 2 %}{{ b }}{{ c }} {% set t = (1, 2, 3) %}{{ t[1] }} {% set block %}x{{ a }}y{% endset %}{{ block }}{{ block | upper }} {% set f | upper | trim %} abc {% endset %}{{ f }}
{% if a is not defined %}{% set z = 1 %}{% elif b %}b{% elif c %}c{% else %}d{% endif %}{{ z }} {% if 0 %}a{% elif 0 %}b{% elif 1 %}c{% elif 1 %}d{% else %}e{% endif %} tail
{% macro m(a, b=2, *, c=3) %}{{ a }}{% endmacro %}
{% macro m(a, b=2, c="z") %}[{{ a }}{{ b }}{{ c }}{{ d.k }}]{% endmacro %}{{ m(1) }}{{ m(1, c=5) }}{{ m(1, 9, 8) }}{{ m() }}{{ m(b=1, a=0) }} {% macro r(n) %}{{ n }}{% if n > 0 %}{{ r(n - 1) }}{% endif %}{% endmacro %}{{ r(4) }} {% set later = 5 %}{% macro see() %}{{ later }}{% endmacro %}{{ see() }}
{% macro box(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call box("b") %}inside{% endcall %} {% filter upper %}abc{{ x }}{% endfilter %} {% with q = 3, r = 4 %}{{ q + r }}{% endwith %}{{ q }} {% raw %}{{ not }} {% if %}{% endraw %} {# a comment #}{% generation %}g{% endgeneration %}
{{ strftime_now("%Y-%m-%d %H:%M:%S %B %b %A %a %d %I %p %y %%") }} {{ raise_exception("no") if false }} {{ dict(a=1, b=2) }} {{ namespace(a=1).a }} {{ {"a": 1}["a"] }} {{ [[1, 2], [3]][0][1] }} {{ {"a": {"b": "c"}}.a.b }} {{ "a" if d.k == "v" and d.n else "b" }}
{{ nothing.attribute }}
{{ nothing() }}
{{ "a" + 1 }}
{{ 1 + none }}
{{ list.append(4) }}
{{ 1 / 0 }}
{{ x | nosuchfilter }}
{{ raise_exception("because") }}
{{ "a" < 1 }}
{{ [1, 2 }}
{% if x %}open
{{ x is nosuchtest }}
{% for a, b in [[1]] %}{% endfor %}
{{ "é😀x"[1] }}{{ "é😀x"[::-1] }}{{ "é😀x" | length }}{{ "\u00e9\x41\t|" }}{{ 'a\'b' }}{{ "\\n" }} {{ none }} {{ true }} {{ [true, none] }}
{{ {"a": 1} == {"a": 1.0} }} {{ [1, [2]] == [1, [2]] }} {{ {} == [] }} {{ "" == none }} {{ nothing == none }} {{ 1 != 2 }} {{ 'x' != nothing }} {{ {"a":1,"b":2} == {"b":2,"a":1} }}
{{ messages[0]["role"] }} {{ messages[0].content }} {{ messages | length }} {{ messages[-1].role }} {{ messages[1:] | length }} {{ messages | map(attribute="content") | join("|") }} {{ messages | selectattr("role", "eq", "user") | list | length }} {{ (messages | first).role }}
"""

# Templates of several lines: white space control.
LAYOUTS = [
    "a\n{% if x %}\n  b\n{% endif %}\nc\n",
    "a\n  {%- if x -%}\n  b\n  {%- endif %}\nc\n\n",
    "  {% set y = 1 %}\n  {{ y }}  \n\t{% if y %}\t\nz{% endif %}  \nend",
    "x {% if x %} y {% endif %} z\n   {# gone #}\nq {# stays #} r\n{#- eats -#}\n  s",
    "a {%+ if x %} b{% endif +%}\nc\n  {%+ if x %}d{% endif %}\n",
    "{% for i in list %}\n  * {{ i }}\n{% endfor %}\n\n{{- x -}}\n\n  y\n",
    "{{ x }}\n{{ x }}  \n  {{- x }}\n{%- for i in list -%}\n {{ i }}\n{%- endfor -%}\n.\n",
    "{% raw %}\n  {{ x }}\n{% endraw %}\ny{%- raw -%}  z  {%- endraw -%}  w\n",
    "{% macro m(a) -%}\n  <{{ a }}>\n{%- endmacro %}\n{{ m(1) }}\n{%- set q %}\n  in\n{% endset %}\n[{{ q }}]\n",
    "\n\n  {% if x %}\n\n  a\n\n  {% endif %}\n\n", "{% if x %}{% endif %}\n{% if x %}\n{% endif %}\r\nend\r\n",
]
VARIABLES = dict(x="X", text="hello", list=[1, 2, 3], d={"k": "v", "n": 1}, a="", b=0, c=1,
                 rows=[{"n": 2, "s": "b"}, {"n": 1, "s": "a"}, {"n": 3, "s": ""}],
                 messages=[user("q"), assistant("r")])


def record(kind, data):
    data = data.encode()
    sys.stdout.buffer.write(("%s %d\n" % (kind, len(data))).encode() + data + b"\n")


def case(template, name, variables):
    record("case " + name, json.dumps(variables, ensure_ascii=False))
    try:
        if template is None:
            raise ValueError
        record("output", template.render(**variables))
    except Exception as e:
        print(name, repr(e)[:150], file=sys.stderr)
        record("fails", "")


def compile(name, source):
    record("template " + name, source)
    try:
        return environment.from_string(source)
    except Exception as e:
        print(name, repr(e)[:150], file=sys.stderr)
        return None


for name in sys.argv[2:]:
    with open(os.path.join(sys.argv[1], name), encoding="utf-8", newline="") as f:
        template = compile(name[:-6], f.read())
    for key, variables in CASES.items():
        case(template, key, {**variables, **TOKENS})
for i, source in enumerate(FEATURES.strip("\n").split("\n") + LAYOUTS):
    case(compile("feature-%d" % (i + 1), source), "feature", VARIABLES)
