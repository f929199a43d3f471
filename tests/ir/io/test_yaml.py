import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexit.errors import SpecError
from flexit.ir.io.source import MAX_BYTES
from flexit.ir.io.yaml import MAX_NODES, read
from flexit.ir.language.written import Written

SCALARS = {
    "no": "no", "yes": "yes", "on": "on", "1_000": "1_000", "1e-4": 1e-4, "1.": 1.0, ".5": 0.5, "0777": 777, "0o17": 15,
    "0x1F": 31, "+3": 3, "-2.5E+1": -25.0, "true": True, "False": False, "~": None, "NULL": None, "12:30": "12:30",
    "2001-01-01": "2001-01-01", '"8"': "8", "'null'": "null", "1e": "1e", "0b1": "0b1", "=": "=", "[]": [], "{}": {},
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_core_schema(text, value):
    found = read(f"a: {text}").plain()["a"]
    assert found == value and type(found) is (Written if isinstance(value, dict) else type(value))


def test_every_value_and_key_knows_its_place():
    root = read("a: 1\nb:\n  c: [x, {d: 2}]\n", "f.yaml")
    c = root.entries["b"].entries["c"]
    assert (root.entries["b"].keys["c"].line, root.entries["b"].keys["c"].column) == (3, 3)
    assert (c.mark.line, c.mark.column, c.dotted) == (3, 6, "b.c")
    inner = c.value[1].entries["d"]
    assert (inner.mark.column, inner.key.column, inner.dotted, inner.mark.file) == (14, 11, "b.c[1].d", "f.yaml")


def test_aliases_and_merge_keys():
    root = read("x: &a {k: 1, m: {n: 2}}\ny: {<<: *a, k: 3}\nz: {k: 4, <<: [*a, {p: 5, k: 6}]}\nw: *a\n")
    assert root.plain() == {
        "x": {"k": 1, "m": {"n": 2}}, "y": {"k": 3, "m": {"n": 2}}, "z": {"k": 4, "m": {"n": 2}, "p": 5},
        "w": {"k": 1, "m": {"n": 2}},
    }  # fmt: skip
    inherited = root.entries["y"].entries["m"].entries["n"]
    assert inherited.dotted == "y.m.n" and inherited.mark.line == 1


def test_a_quoted_merge_key_is_a_key():
    assert read('"<<": {a: 1}').plain() == {"<<": {"a": 1}}


CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\ufeff\ufffe\uffff")
NUMBERS = st.integers(-(2**31) + 1, 2**31 - 1) | st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.text("abc <\\\"'é{[:#", max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(CHARACTERS, max_size=20),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(KEYS, inside, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.text("abcdé:", min_size=1, max_size=8), JSON, max_size=4),
    st.sampled_from([None, 2, "\t"]),
    st.booleans(),
)
def test_json_is_read_as_json(data, indent, ascii_only):
    assert read(json.dumps(data, indent=indent, ensure_ascii=ascii_only)).plain() == data


def test_json_escapes():
    assert read(r'{"a": "😀 \/ \u00e9 \n", "b": 1E3}').plain() == {"a": "\U0001f600 / é \n", "b": 1000.0}


def test_halves_of_characters():
    assert read(r'{"\ud83d\ude00": "\ud83d\ude00"}').plain() == {"\U0001f600": "\U0001f600"}
    with pytest.raises(SpecError) as caught:
        read('a: "\\ud800"\n"\\udfff": 1\nb: ["\\ud83dx\\ude00", "\\ude00\\ud83d", "x\\0"]')
    problems = caught.value.problems
    assert [(problem.code, problem.line, problem.column) for problem in problems] == [
        ("FX0101", 1, 4), ("FX0101", 2, 1), ("FX0101", 3, 5), ("FX0101", 3, 22),
        ("FX0101", 3, 38),
    ]  # fmt: skip
    assert [problem.found for problem in problems[::4]] == ["U+D800, half of a character", "U+0000"]


ESCAPES = {
    'a: 1\nb: [x, "\\UFFFFFFFF"]': (2, 9, "expected at most \\U0010FFFF; found \\UFFFFFFFF"),
    'a: "\n\\U00110000"': (2, 1, "found \\U00110000"),
    'a: "\\U0010FFFF\n\\U00110000"': (2, 1, "found \\U00110000"),
    'a: 1\nb: "\\q"': (2, 6, "found unknown escape character 'q'"),
    'a: "\\xZZ"': (1, 7, "expected escape sequence of 2"),
}


@pytest.mark.parametrize(("text", "told"), ESCAPES.items())
def test_escapes(text, told):
    with pytest.raises(SpecError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert (problem.code, problem.line, problem.column) == ("FX0102", *told[:2])
    assert told[2] in str(problem)
    assert problem.cure.startswith("write \\\\ for a backslash")


def test_a_byte_order_mark_is_no_content():
    assert read(b"\xef\xbb\xbfa: 1").plain() == {"a": 1}


HOSTILE = [
    b"\xff\xfe", b"a: \x00", "a: [/x]\x1b[31m", "[" * 1000, "{" * 500, "- " * 5000, "? " * 5000, "&a [*a]",
    "a: &a {<<: *a}", "a: *b", "*x : 1", "!!python/object/apply:os.system ['true']", "a: !<x%ff> 1",
    'a: "\\UFFFFFFFF"', 'a: "\\xZZ"', "a: 'x", "a: |\n\tx", "%YAML 9.9\n---\na: 1", "%TAG ! x\n---\na: 1",
    "---\na: 1\n---\nb: 1", "a: b: c", "a:\n  - b\n c: d", "@", "`", "a: %b", "{a: 1, a: 1}", "? [1]\n: 2",
    "a: {<<: 1}", "a: 1" + "0" * 6000, "a: 1e" + "9" * 400, "a: .inf", "&", "*", "!", "a: &a", "{}: 1", "", "...",
    "\ufeff", "a: \ud800", "<<: *x", "a: [1, 2", "}", "]", ": :", "- - -\n-",
]  # fmt: skip


def problems_of(text):
    """What a text is refused for; nothing where it is read."""
    try:
        read(text)
    except SpecError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:20]))
def test_hostile_text_is_refused_or_read(text):
    for problem in problems_of(text):
        assert problem.code.startswith("FX01")
        assert problem.line and problem.column
        assert all(char.isprintable() or char == "\n" for char in str(problem))


@settings(max_examples=300, deadline=None)
@given(st.text("{}[]:,-?*&!|>'\"%@`#<~ \n\tabx0=.\\u\u2028", max_size=40) | st.binary(max_size=30))
def test_any_text_is_refused_or_read(text):
    assert all(problem.code.startswith("FX01") and problem.line and problem.column for problem in problems_of(text))


def test_several_problems_at_once():
    with pytest.raises(SpecError) as caught:
        read("a: 1\na: 2\nb: !x 3\nc: .nan\n")
    assert [problem.code for problem in caught.value.problems] == ["FX0103", "FX0104", "FX0106"]


def test_bounds():
    ones = ", ".join(["1"] * (MAX_NODES - 4))
    assert len(read(f"a: [{ones}]").plain()["a"]) == MAX_NODES - 4
    for text in (f"a: [{ones}, 1, 1, 1]", "a: " + "[" * 64 + "]" * 64, "#" * (MAX_BYTES + 1), b"#" * (MAX_BYTES + 1)):
        with pytest.raises(SpecError) as caught:
            read(text)
        assert caught.value.code == "FX0105"
    assert read("a: " + "[" * 63 + "]" * 63)


@pytest.mark.parametrize("count", [2, 5, 16])
def test_aliases_nest_no_deeper_than_what_is_written(count):
    def tower(depth):
        levels = [f"x0: &x0 {'{a: ' * 30}1{'}' * 30}"]
        levels += [f"x{n}: &x{n} {'{a: ' * depth}*x{n - 1}{'}' * depth}" for n in range(1, count + 1)]
        return "\n".join(levels)

    assert read(tower(1)).plain()
    with pytest.raises(SpecError, match="nested too deeply") as caught:
        read(tower(-(-60 // count)))
    assert caught.value.code == "FX0105"
    merged = "a: &a " + "{b: " * 40 + "1" + "}" * 40 + "\nc: " + "{d: " * 40 + "{<<: *a}" + "}" * 40
    with pytest.raises(SpecError, match="nested too deeply"):
        read(merged)


K = MAX_BYTES - 16
LARGE = {
    "numbers": "[" + "1," * (K // 2), "brackets": "[" * K, "dashes": "- " * (K // 2), "comment": "#" * K,
    "blank": "\n" * K, "words": "a: " + "x " * (K // 2), "quoted": 'a: "' + "\\n" * (K // 2),
    "literal": "a: |\n" + " x\n" * (K // 3), "folded": "a: '" + "x\n\n" * (K // 3),
    "object": "{" + ",".join(f'"a{i}":{i}' for i in range(K // 14)),
    "mapping": "\n".join(f"a{i}: 1" for i in range(K // 11)),
    "anchors": "[" + ",".join(f"&a{i} 1" for i in range(K // 10)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE.keys())
def test_large_texts_are_answered_quickly(text):
    start = time.process_time()
    problems_of(text[:MAX_BYTES])
    assert time.process_time() - start < 2


@pytest.mark.parametrize("layers", ['{"::2": odd}', "{1:: odd}", "\n  ::2: odd", "\n  :2: odd", "\n  1:3: odd"])
def test_ranges_are_keys(layers):
    (key,) = read(f"layers: {layers}").plain()["layers"]
    assert key in ("::2", "1:", ":2", "1:3")


@pytest.mark.parametrize("text", ["a: [1,\n2\n", "a: {b: [1,\n  2 # two\n\n# the end\n", "a:\n  'text\n\n", "a:\n  [x"])
def test_what_is_left_open_is_cited_where_the_text_ends(text):
    (found,) = problems_of(text)
    assert (found.line, found.found) == (2, "the end of the document")
