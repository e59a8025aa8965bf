"""Numbers and results in words."""

import jinja2
import pytest

from scarlet_tf.base import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (words.percent(0.98199), "98.20 %"),
        (words.percent(None), "-"),
        (words.millions(365_300_000), "365.30 M"),
        (words.millions(999_999), "1.000 M"),
        (words.millions(5_000), "0.005 M"),
        (words.kibibytes(2_048), "2.0 KiB"),
        (words.kibibytes(3.5 * 2**20), "3.50 MiB"),
        (words.gibibytes(1.5 * 2**30), "1.50 GiB"),
        (words.duration(4.214), "4.21 s"),
        (words.duration(303), "5 min 3 s"),
        (words.duration(7_800), "2 h 10 min"),
        (words.plural(1, "network"), "1 network"),
        (words.plural(1_200, "network"), "1,200 networks"),
        (words.metric_text("accuracy", 0.5), "50.00 %"),
        (words.metric_text("latency_ms", 4.1234), "4.12 ms"),
        (words.metric_text("file_bytes", 1_536), "1.5 KiB"),
        (words.metric_text("energy", 0.123456), "0.1235"),
        (words.bound_text("accuracy", 0.5), "0.5"),
        (words.bound_text("params", 12_000), "0.01 M"),
        (words.bound_text("params", 9_999), "9999"),
        (words.bound_text("file_bytes", 1_536), "1536 bytes"),
        (words.interval({"median": 12.0, "low": 9.0, "high": 15.4}, ".0f"), "12 [9, 15]"),
        (words.interval({"median": 12.0, "low": 9.0, "high": None}, ".0f"), "12 [9, more]"),
        (words.interval({"median": None, "low": None, "high": None}, ".0f"), "not reached"),
        (words.interval(None, ".0f"), "-"),
    ],
)
def test_numbers_have_their_units(text, expected):
    assert text == expected


def test_nested_figures_become_rows():
    figures = {"a": {"b": 1.23456789, "c": None}, "d": [1, 2], "e": True}
    assert words.flat(figures) == [("a.b", "1.235"), ("d", "2 entries"), ("e", "True")]


def test_a_template_of_text_escapes_nothing_and_misses_nothing():
    filters = dict.fromkeys(("figure", "flat", "millions", "percent"), str)
    template = words.text_template("scarlet_tf.export", "certificate.md.j2", filters)
    with pytest.raises(jinja2.UndefinedError):
        template.render()
    assert not template.environment.autoescape and template.environment.keep_trailing_newline
