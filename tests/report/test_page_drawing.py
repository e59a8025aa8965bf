"""The drawing of an architecture, counted against one made by hand."""

import xml.etree.ElementTree as ElementTree

import pytest
from made_run import ARCHITECTURE, SPACE

from scarlet_tf.report.drawing import BARS, draw, drawn_layers, in_words, kernel_classes
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.search_space import Architecture, SearchSpace


@pytest.fixture(scope="module")
def svg():
    return ElementTree.fromstring(draw(Architecture(ARCHITECTURE, SPACE), 8, "a", "a <title>"))


def parts(svg, tag, name):
    return [part for part in svg.iter(tag) if name in part.get("class", "").split()]


def test_each_layer_that_is_no_skip_has_a_bar_and_a_skip_has_a_gap(svg):
    assert len(svg.findall("g")) == 4
    assert [len(group.findall("rect")) for group in svg.findall("g")] == [1, 0, 1, 1]
    assert [text.text for text in parts(svg, "text", "skip")] == ["skip"]


def test_colour_and_text_are_the_kernel_and_height_is_the_expansion(svg):
    bars = parts(svg, "rect", "bar")
    assert [bar.get("class") for bar in bars] == ["bar kernel-1", "bar kernel-0", "bar kernel-2"]
    assert [text.text for text in parts(svg, "text", "kernel")] == ["5×5", "3×3", "7×7"]
    heights = [float(bar.get("height")) for bar in bars]
    assert heights == pytest.approx([BARS, BARS * 2 / 3, BARS * 2 / 3], abs=0.1)
    assert [text.text for text in parts(svg, "text", "expansion")] == ["3", "2", "2"]


def test_only_layers_with_squeeze_and_excitation_are_marked(svg):
    marked = [len(parts(group, "circle", "se")) for group in svg.findall("g")]
    assert marked == [1, 0, 0, 0]


def test_a_dashed_line_stands_where_the_pixels_become_fewer(svg):
    lines = [len(parts(group, "line", "downsampling")) for group in svg.findall("g")]
    assert lines == [1, 0, 0, 0]
    sizes = parts(svg, "text", "size")
    assert [text.text for text in sizes] == ["8 px", "4 px"]
    assert float(sizes[1].get("x")) - float(sizes[0].get("x")) >= 40  # neither is written over the other


def test_stages_are_labelled_with_their_channels(svg):
    assert [text.text for text in parts(svg, "text", "channels")] == ["8 ch", "12 ch"]


def test_the_alternative_says_every_layer_in_words(svg):
    assert svg.get("role") == "img" and svg.get("aria-labelledby") == "a-title a-desc"
    assert svg.find("title").text == "a <title>"
    assert svg.find("desc").text == in_words(Architecture(ARCHITECTURE, SPACE), 8)
    assert in_words(Architecture(ARCHITECTURE, SPACE), 8) == (
        "layer 1: 5 x 5, expansion 3, squeeze-and-excitation, from 8 to 4 pixels; layer 2: skipped;"
        " layer 3: 3 x 3, expansion 2; layer 4: 7 x 7, expansion 2."
    )


def test_sides_are_rounded_up_as_the_convolutions_do_it():
    space = SearchSpace.from_name("s1")
    sizes = [layer.size for layer in drawn_layers(Architecture((6,) * 19, space), 225)]
    assert [sizes[0], sizes[2], sizes[6], sizes[14], sizes[18]] == [57, 29, 15, 8, 8]


def test_kernels_without_a_usual_colour_get_one_of_their_own():
    space = SearchSpace("wide", (Stage(8, 1, 1),), tuple(Choice(2, size) for size in (1, 3, 5, 9)))
    classes = kernel_classes(space)
    assert classes[3] == "kernel-0" and classes[5] == "kernel-1"
    assert len(set(classes.values())) == 4
