"""The rules of YAML, and that the writer and both of PyYAML's parsers agree with them on every string."""

import json
import math
import random

import pytest
import yaml

from scarlet_tf.base import yaml_files
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.yaml_files import parse_yaml, read_yaml, to_yaml

WORDS = """
0908 1e3 12e03 0x1F 0o17 1_000 1:30 .inf -.INF .nan nan inf 1. .5 +1 -0 00 1e400 2026-11-29 2026-11-29T10:00:00Z
~ null Null yes no on off y n true False = << - ? : -- --- ... -a ?a :a a: a:b #x a#b !tag &a *a %x @x `x`
[ ] { } , [a] {a: 1} | > ' " \\ 'a' "a" \\n é → 🙂 𝔸 ß
"""
NASTY = [*WORDS.split(), "", " ", "\u00a0", "\n", "\t", " lead", "trail ", "- a", "a: b", "? a", "a #x", "--- a"]
NASTY += ["a\nb", "a\n\n b\n", "\n\n", "\r", "a\r\nb", "\tx", "... a", "%YAML 1.2", "a\u2028b\u0085c", "x: " * 50]
NASTY += ["\x00", "\x07", "\x1b[31mred", "\x7f", "\x85", "\x9b", "\u2028", "\u2029", "\ufeff", "\u202e", "\uffff"]
NASTY += ["a" * 2000, "word " * 400, "9" * 5000, "1" * 200 + "e9"]
NUMBERS = [0, -3, 10**18, 2**64, 10**299, 1.0, -0.0, 0.1, 1e-5, 1e17, 1e300, 5e-324, math.inf, -math.inf]
VALUES = [*NUMBERS, True, False, None, [], {}]


@pytest.fixture(params=["as built", "pure"])
def parser(request, monkeypatch):
    """PyYAML's parser in C where there is one, and the one in Python, which must agree."""
    if request.param == "pure":
        monkeypatch.setattr(yaml_files, "_PARSER", yaml.SafeLoader)


def same(left, right) -> bool:
    """Equal in types and signs, too: 1 is not 1.0, nor 0.0 -0.0."""
    return repr(left) == repr(right)


@pytest.mark.parametrize("compact", [False, True])
def test_every_string_comes_back_as_value_key_and_list_item(parser, compact):
    for text in NASTY:
        value = {text: text, "k": [text, [text, {text: [text]}]]}
        assert same(parse_yaml(to_yaml(value, compact), "t"), value), repr(text)
        assert same(parse_yaml(to_yaml(text, compact), "t"), text), repr(text)


def test_random_strings_come_back(parser):
    rng = random.Random(0)
    letters = list("""ab01.:-_ \t\n\r#'"\\!&*%@`<>|=~[]{},?+eE\x1b\x85\u2028é🙂""")
    for _ in range(1500):
        text = "".join(rng.choices(letters, k=rng.randrange(8)))
        value = {"k": text, text + "x": [text]}
        assert same(parse_yaml(to_yaml(value), "t"), value), repr(text)


@pytest.mark.parametrize("compact", [False, True])
def test_numbers_booleans_null_and_nested_lists_come_back(parser, compact):
    for value in (*VALUES, VALUES, {"a": VALUES, 1: {None: [[], [[1], {}]]}, False: 2.5}):
        assert same(parse_yaml(to_yaml(value, compact), "t"), value)
    assert math.isnan(parse_yaml(to_yaml(math.nan), "t"))


def test_other_readers_take_written_strings_for_strings():
    for text in NASTY:
        assert yaml.safe_load(to_yaml({"k": text})) == {"k": text}
    assert to_yaml({"k": "0o17"}) == "k: '0o17'\n"  # a number in YAML 1.2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[010, 08, 1_000, -5, +5]", [10, 8, 1000, -5, 5]),
        ("[4e-5, 1e3, 1., .5, -1.5E+2, 1e-5]", [4e-5, 1000.0, 1.0, 0.5, -150.0, 1e-5]),
        ("[0x1F, 0o17, 1:30, 1_0.5, 60M, _1, 1_]", ["0x1F", "0o17", "1:30", "1_0.5", "60M", "_1", "1_"]),
        ("[yes, No, on, OFF, y, n, 2026-11-29, =]", ["yes", "No", "on", "OFF", "y", "n", "2026-11-29", "="]),
        ("[true, TRUE, False, tRue]", [True, True, False, "tRue"]),
        ("[~, null, NULL, nUll, '']", [None, None, None, "nUll", ""]),
        ("a:\nb: ''", {"a": None, "b": ""}),
        ("['0908', \"1e3\", !!str 12, ! 12]", ["0908", "1e3", "12", "12"]),
        ("", None),
        ("# only a comment", None),
        ("\ufeffa: 1"[1:], {"a": 1}),
        ('{"a": [1, {"b": "c\\/d"}]}', {"a": [1, {"b": "c/d"}]}),
        ("%YAML 1.2\n---\na: 1\n...\n", {"a": 1}),
        ("1: a\n1.5: b\nnull: c\ntrue_: d", {1: "a", 1.5: "b", None: "c", "true_": "d"}),
    ],
)
def test_rules(parser, text, value):
    assert same(parse_yaml(text, "t"), value)


def test_merge_keys(parser):
    head = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\n"
    read = parse_yaml(
        head + "one: {<<: *b, y: 5}\ntwo:\n  z: 0\n  <<: [*b, *m]\nthree: {<<: {q: 1}}\nfour: {<<: []}\n", "t"
    )
    assert read["one"] == {"x": 1, "y": 5}
    assert read["two"] == {"x": 1, "y": 2, "z": 0}  # the own key, then the first of the list
    assert (read["three"], read["four"]) == ({"q": 1}, {})
    assert parse_yaml("'<<': 1\nvalue: <<", "t") == {"<<": 1, "value": "<<"}


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
MERGE_BOMB = "a0: &a0 {k: 1}\n" + "".join(
    f"a{i}: &a{i}\n  <<: [{', '.join([f'*a{i - 1}'] * 10)}]\n  k{i}: 1\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", r"key 'a' is given twice \(line 3, column 1\)"),
        ("x: {1: a, 1.0: b}", r"key 1.0 is given twice \(line 1, column 11\)"),
        ("{<<: {a: 1}, <<: {b: 1}}", r"key '<<' is given twice"),
        ("a: {<<: 3}", r"'<<' stands before what is neither .* \(line 1, column 5\)"),
        ("a: {<<: [3]}", r"'<<' stands before what is neither"),
        ("a: &x\n  - *x", r"\*x stands inside the value that it names \(line 2, column 5\)"),
        ("&x {<<: *x}", r"\*x stands inside the value"),
        ("a: *y", r"\*y is not defined above \(line 1, column 4\)"),
        ("[" * 20_000, r"nest"),
        ("[" * 101 + "]" * 101, r"nested more than 100 deep \(line 1, column 101\)"),
        ("{a: " * 20_000, r"nest"),
        ("- " * 20_000, r"nest"),
        (BOMB, r"aliases repeat more than 10,000 values \(line 4"),
        (MERGE_BOMB, r"aliases repeat more than 10,000 values"),
        ("a: " + "1" * 5000, r"an integer has more than 300 digits: 1{20}\.\.\. \(line 1, column 4\)"),
        ("a: 1e" + "9" * 5000, r"the number 1e9{18} is beyond the greatest float"),
        ("a: !!python/object/apply:os.getcwd []", r"the tag '!!python/object/apply:os.getcwd' is unknown here"),
        ("a: !tag x", r"the tag '!tag' is unknown here; leave it out \(line 1, column 4\)"),
        ("[1]: 2", r"a list is no key"),
        ("{{a: 1}: 2}", r"a mapping is no key"),
        ("a: 1\n---\nb: 2", r"a second document begins; one is read \(line 2, column 1\)"),
        ("a: b: c", r"mapping values are not allowed .*\(line 1, column 5\)"),
        ("a:\n\t- 1", r"\(line 2, column 1\)"),
        ("a: 1\nb: \x1b[31m", r"the character U\+001B is not allowed unless it is escaped .*\(line 2, column 4\)"),
        ("a\x00", r"U\+0000"),
        ("a\udcff", r"U\+DCFF"),
        ("a\u2028b", r"U\+2028"),
        ('"\\udcff"', r"\(line 1"),
        ("name: [", r"\(line"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_its_place(parser, text, problem):
    with pytest.raises(InputError, match=rf"^my\.yaml: expected YAML: .*{problem}") as caught:
        parse_yaml(text, "my.yaml")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_honest_aliases_are_read(parser):
    text = "a: &a [1, 2]\n" + "\n".join(f"k{i}: *a" for i in range(1000))
    assert parse_yaml(text, "t")["k999"] == [1, 2]
    assert parse_yaml("[" * 100 + "]" * 100, "t")


def test_both_parsers_read_the_configurations_alike(monkeypatch, pytestconfig):
    paths = sorted(pytestconfig.rootpath.glob("configs/**/*.yaml"))
    read = [read_yaml(path) for path in paths]
    monkeypatch.setattr(yaml_files, "_PARSER", yaml.SafeLoader)
    assert len(paths) > 10 and same([read_yaml(path) for path in paths], read)


def test_files(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"

    def refused(content, message):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"a\.yaml: {message}"):
            read_yaml(path)

    refused(b"a: 1\nb: caf\xe9\n", r"expected a YAML file in UTF-8, got byte 0xe9 in line 2$")
    refused("a: 1".encode("utf-16"), r"expected a YAML file in UTF-8, got byte 0xff in line 1$")
    refused(b"a: \0", r"expected YAML: the character U\+0000 .*\(line 1, column 4\)")
    with monkeypatch.context() as patch:
        patch.setattr(yaml_files, "_MOST_BYTES", 2**20)
        refused(b"#" * (2**20 + 1), "expected a YAML file of at most 1 MiB, got more")
    with pytest.raises(InputError, match=r": expected a readable YAML file: Is a directory"):
        read_yaml(tmp_path)
    with pytest.raises(InputError, match=r"no\.yaml: expected a readable YAML file: No such file or directory"):
        read_yaml(tmp_path / "no.yaml")
    with pytest.raises(InputError, match=r"expected a readable YAML file: .*null"):
        read_yaml("a\0b.yaml")
    with pytest.raises(InputError, match=r"expected a readable YAML file: File name too long"):
        read_yaml("a" * 300 + ".yaml")
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: '2'\r\n")
    assert read_yaml(path) == {"a": 1, "b": "2"}
    path.write_bytes(b"")
    assert read_yaml(str(path)) is None


def test_a_file_that_may_not_be_read(monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(InputError, match=r"a\.yaml: expected a readable YAML file: Permission denied"):
        read_yaml("a.yaml")


def test_text_that_utf_8_cannot_hold_is_not_written():
    with pytest.raises(InputError, match=r"'a\\udcff': expected text that a file in UTF-8 can hold"):
        to_yaml({"name": "a\udcff"})


def test_what_json_writes_is_read_alike(parser):
    value = {"a": [1, -2.5e-7, True, None, "x\ty\\", {"b": {}}, "é"], "": []}
    for indent in (None, 1):
        assert same(parse_yaml(json.dumps(value, indent=indent), "t"), value)


def test_a_value_on_one_line_stands_behind_a_key(parser):
    for value in [*NASTY, *VALUES, NASTY, {"a": ["b, c", {"d]": "e}"}]}]:
        line = yaml_files.to_yaml_line(value)
        assert "\n" not in line
        assert same(parse_yaml(f"a:\n  b: {line}\n  c: 1\n", "t"), {"a": {"b": value, "c": 1}}), repr(value)
    assert [yaml_files.to_yaml_line(value) for value in ("a b", "0908", 1e-4, None)] == [
        "a b",
        "'0908'",
        "0.0001",
        "null",
    ]
