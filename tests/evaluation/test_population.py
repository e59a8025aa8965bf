"""Populations against the supernet's own call, path by path, on random weights and statistics."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import images_and_labels, randomise_supernet, skip_unless_computed, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.evaluation.batch_norm import moving_statistics, recalibrate
from scarlet_tf.evaluation.population import Populations
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.choices import Choice, Stage

PATHS = [(0, 1, 2, 3), (0, 1, 2, 0), (0, 3, 1, 1), (2, 1, 0, 1)]


def make(rng, **options):
    supernet = Supernet(tiny_space(), num_classes=5, **options)
    randomise_supernet(supernet, rng)
    return supernet


def batches(rng, *sizes, soft=False):
    """Batches of those sizes; `soft`: labels are shares."""
    found = []
    for size in sizes:
        images, labels = images_and_labels(rng, size)
        labels = rng.dirichlet(np.ones(5), size).astype(np.float32) if soft else rng.permutation(labels)
        found.append((tf.constant(images), tf.constant(labels)))
    return found


def one_by_one(supernet, path, recalibration, validation):
    """(accuracy, loss, logits) of one path by the supernet's own call; puts the statistics back."""
    statistics = moving_statistics(supernet)
    before = [np.array(v) for v in statistics]
    if recalibration is not None:
        recalibrate(lambda x: supernet(x, path, training=True), recalibration, statistics)
    logits = np.concatenate([supernet(images, path) for images, _ in validation]).astype(np.float64)
    for variable, value in zip(statistics, before, strict=True):
        variable.assign(value)
    labels = np.concatenate([labels for _, labels in validation])
    shares = np.eye(5)[labels] if labels.ndim == 1 else labels
    log_shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    accuracy = np.mean(logits.argmax(axis=1) == shares.argmax(axis=1))
    return accuracy, -np.mean((shares * log_shares).sum(axis=1)), logits


@pytest.mark.parametrize(
    ("skip", "recalibrated", "paths"),
    [("let", True, PATHS), ("identity", True, PATHS[1:3]), ("relu", False, PATHS[1:3])],
)
def test_figures_are_those_of_the_paths_one_by_one(rng, skip, recalibrated, paths):
    supernet = make(rng, skip=skip)
    recalibration = batches(rng, 8, 8, 3) if recalibrated else None
    validation = batches(rng, 8, 5)
    found = Populations(supernet).measure(paths, recalibration, validation)
    for path, figures in zip(paths, found, strict=True):
        accuracy, loss, _ = one_by_one(supernet, path, recalibration, validation)
        assert (figures["accuracy"], figures["num_examples"]) == (accuracy, 13)
        assert figures["loss"] == pytest.approx(loss, rel=1e-5)


def test_soft_labels_are_scored_as_shares(rng):
    supernet, validation = make(rng), batches(rng, 8, 3, soft=True)
    found = Populations(supernet).measure(PATHS[:2], None, validation)
    for path, figures in zip(PATHS[:2], found, strict=True):
        accuracy, loss, _ = one_by_one(supernet, path, None, validation)
        assert figures["accuracy"] == accuracy and figures["loss"] == pytest.approx(loss, rel=1e-5)


# Half precision rounds at other places where operations are compiled together: a few of bfloat16's last bits.
@pytest.mark.parametrize(
    ("policy", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.03), ("mixed_float16", 0.004)]
)
def test_logits_are_those_of_the_supernet(rng, policy, tolerance):
    skip_unless_computed(policy)
    supernet, recalibration, validation = make(rng, dtype=policy), batches(rng, 8, 8), batches(rng, 8)
    found = Populations(supernet).logits(PATHS[1:3], recalibration, validation[0][0])
    for path, logits in zip(PATHS[1:3], found, strict=True):
        _, _, expected = one_by_one(supernet, path, recalibration, validation)
        assert logits.dtype == tf.float32
        np.testing.assert_allclose(logits, expected, atol=tolerance * np.abs(expected).max())


def test_all_of_many_batches_count(rng):
    """The first eight are far from the last eight: a path's statistics are the mean of both, as those of the path alone."""
    supernet, validation = make(rng), batches(rng, 8)
    first, last = batches(rng, *[4] * 8), batches(rng, *[4] * 8)
    recalibration = [*((3 * images + 2, labels) for images, labels in first), *last]
    found = Populations(supernet).logits(PATHS[:1], recalibration, validation[0][0])[0]
    for expected, equal in ((recalibration, True), (recalibration[::-1], True), (last, False)):
        logits = one_by_one(supernet, PATHS[0], expected, validation)[2]
        # float32 sums of sixteen terms in two orders, through eight layers
        assert np.allclose(found, logits, atol=1e-4 * np.abs(logits).max()) == equal


def test_what_a_path_answers_does_not_depend_on_its_company_bit_by_bit(rng):
    supernet, recalibration, validation = make(rng), batches(rng, 8, 8, 3), batches(rng, 8, 3)
    together, others = Populations(supernet), Populations(supernet)
    figures = together.measure(PATHS, recalibration, validation)
    logits = together.logits(PATHS, recalibration, validation[0][0])
    for paths in ([PATHS[2]], PATHS[::-1], PATHS[1:3]):
        for populations in (together, others):  # the functions compiled for all four paths, and for those that come
            places = [PATHS.index(path) for path in paths]
            assert populations.measure(paths, recalibration, validation) == [figures[i] for i in places]
            for i, found in zip(places, populations.logits(paths, recalibration, validation[0][0]), strict=True):
                np.testing.assert_array_equal(found, logits[i])


def test_weights_are_read_anew_for_each_population(rng):
    supernet, validation = make(rng), batches(rng, 8)
    populations = Populations(supernet)
    before = populations.measure(PATHS, None, validation)
    randomise_supernet(supernet, rng)
    after = populations.measure(PATHS, None, validation)
    assert after == Populations(supernet).measure(PATHS, None, validation) != before


def test_the_supernet_is_left_alone_also_when_images_fail(rng):
    supernet, recalibration = make(rng), batches(rng, 8, 8)
    before = [np.array(v) for v in supernet.variables]

    def broken():
        yield batches(rng, 8)[0]
        raise OSError("a torn image")

    for first, second in ((recalibration, broken()), (broken(), recalibration)):
        with pytest.raises(OSError, match="torn"):
            Populations(supernet).measure(PATHS, first, second)
    for variable, value in zip(supernet.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_layers_of_one_configuration_share_a_trace(rng, monkeypatch):
    calls = []
    whole = keras.layers.Layer.stateless_call
    monkeypatch.setattr(
        keras.layers.Layer, "stateless_call", lambda layer, *a, **k: calls.append(layer.name) or whole(layer, *a, **k)
    )
    supernet = Supernet(tiny_space(stages=(Stage(8, 4, 1),), choices=(Choice(2, 3), Choice(2, 7))), num_classes=5)
    populations = Populations(supernet)
    populations.measure([(0, 0, 0, 0), (1, 1, 1, 1)], None, batches(rng, 8, 3))
    populations.measure([(0, 1, 0, 1)], None, batches(rng, 5))
    assert sorted(calls) == ["choice_00", "choice_01", "stem", "tail"]


def test_no_images_are_refused(rng):
    populations = Populations(make(rng))
    with pytest.raises(InputError, match="at least one validation image"):
        populations.measure(PATHS, None, [])
    with pytest.raises(InputError, match="recalibration: expected at least one batch"):
        populations.measure(PATHS, [], batches(rng, 8))


def test_progress_counts_paths_times_batches(rng):
    steps = []
    Populations(make(rng)).measure(PATHS, batches(rng, 8, 8), batches(rng, 8), lambda: steps.append(1))
    assert len(steps) == len(PATHS) * 3


def test_bytes_needed_are_outputs_at_open_branches_and_statistics(rng):
    """One path, 10 images: the stem's output and the first layer's; 2 statistics a channel of each batch normalisation."""
    populations = Populations(make(rng))
    stem, first = 8 * 8 * 8, 4 * 4 * 8
    channels = (8 + 8 + 8) + (16 + 16 + 8) + 16  # stem, choice 0 of the first layer, tail; the other layers are skipped
    assert populations.bytes_needed([(0, 3, 3, 3)], 10) == 4 * (10 * (stem + first) + 2 * channels)
    assert populations.bytes_needed(PATHS, 10) > populations.bytes_needed(PATHS[:2], 10)
