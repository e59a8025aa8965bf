"""The study of networks right after the warm start: which there are, and that they are scored as networks of their own are."""

import contextlib
import io
import sys
from unittest import mock

import numpy as np
import pytest
from photographs import installed_lite
from toy_parent import CLASSES, SIZE, toy_images, toy_parent

import study_warm_start
from scarlet_tf.evaluation.evaluator import path_network
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.parents.around import parent_path, space_around
from scarlet_tf.space.cost import count_spec
from scarlet_tf.space.search_space import Architecture


@pytest.fixture(scope="module")
def parent():
    return toy_parent()


@pytest.fixture(scope="module")
def supernet(parent):
    return Supernet(space_around(parent), (SIZE, SIZE, 3), CLASSES, skip="shortcut")


def test_every_layer_is_replaced_by_all_that_it_may_be(parent, supernet):
    """Layers 2 and 3 have 5 x 5 filters, 1 and 3 shortcuts; choices are 100% of 3 x 3 and 5 x 5, 50% of both, and the skip."""
    kinds = study_warm_start.replacements(supernet, parent_path(parent, supernet.space).choices)
    assert kinds == {
        "half": {0: 2, 1: 2, 2: 3, 3: 3, 4: 2},
        "LET": {0: 4, 2: 4, 4: 4},
        "skip": {1: 4, 3: 4},
        "small kernel": {2: 0, 3: 0},
        "half and small kernel": {2: 2, 3: 2},
    }
    networks = study_warm_start.subnetworks(kinds, draws=3, seed=0)
    assert len([kind for kind, change in networks if len(change) == 1]) == 14
    assert ("LET", {0: 4, 2: 4, 4: 4}) in networks
    several = networks[14:]
    assert all(kind == "mixed" or change.items() <= kinds[kind].items() for kind, change in several)
    assert len([1 for kind, change in several if kind == "mixed" and len(change) == 5]) >= 3
    assert networks == study_warm_start.subnetworks(kinds, draws=3, seed=0)


def test_counts_are_those_of_networks_that_are_built(parent, supernet, rng):
    images, labels = toy_images(rng, 24), rng.integers(CLASSES, size=24)
    labels[:12] = np.argmax(parent.network()(images[:12]), axis=1)
    found = study_warm_start.study(parent, images, labels, draws=1, seed=0)
    own = parent_path(parent, supernet.space).choices
    parent.warm_start(supernet, [(images, labels)])

    def right(choices, batches):
        network = path_network(supernet, Architecture(choices, supernet.space), batches)
        return int(np.sum(np.argmax(network(images), axis=1) == labels))

    rows = {(row["kind"], tuple(row["layers"])): row["right"] for row in found}
    assert rows["parent", ()][0] >= 12
    for key, choices in {("parent", ()): own, ("skip", (1,)): (0, 4, 1, 1, 0), ("half", (2,)): (0, 0, 3, 1, 0)}.items():
        assert rows[key] == (right(choices, None), right(choices, [(images, labels)]))


def test_a_whole_parent_is_scored_as_it_is(rng):
    parent, images = toy_parent(), toy_images(rng)
    labels = np.argmax(parent.network()(images), axis=1)
    found = study_warm_start.whole(parent, images, labels)
    assert (found["kind"], found["right"][0]) == ("toy", 16)
    assert found["multiply_adds"] == count_spec(parent.spec).multiply_adds


def refused(*arguments):
    """What the tool says at the command line."""
    with (
        mock.patch.object(sys, "argv", ["study_warm_start.py", *arguments]),
        contextlib.redirect_stderr(io.StringIO()) as errors,
        pytest.raises(SystemExit, match="2"),
    ):
        study_warm_start.main()
    return errors.getvalue()


def test_bad_input_is_named(tmp_path):
    expected = "--data-dir: expected a folder with 63 files photos/n*.jpg, found 0"
    assert expected in refused("--data-dir", str(tmp_path))
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(63):
        (folder / f"n{number:02d}.jpg").touch()
    installed_lite(0)
    assert "image_size: expected" in refused("--data-dir", str(tmp_path), "--pixels", "0")
