import json

import keras
import numpy as np
import pytest
from tiny import images_and_labels, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.betanas.derive import derive
from scarlet_tf.betanas.training import train_betanas
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.metric_table import MetricTable, parts
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training.checkpoints import Checkpoints

pytestmark = pytest.mark.both_modes

SPACE = tiny_space(stages=(Stage(8, 1, 2), Stage(12, 2, 1)), choices=(Choice(2, 3), Choice(3, 5), Choice()))
CONFIG = {"epochs": 4, "batch_size": 8, "learning_rate": 0.05, "checkpoint_seconds": 0}
BETANAS = {"learning_rate": 0.05, "drop_margin": 0.1, "drop_checks": 12}


def supernet(**options):
    return Supernet(SPACE, num_classes=5, seed=0, **options)


def images(seed=0, count=48):
    return images_and_labels(np.random.default_rng(seed), count)


def search(**betanas):
    return {"algorithm": "betanas", "upper_bounds": {}, "betanas": {**BETANAS, **betanas}}


def train(net=None, settings=None, config=None, **options):
    net = net or supernet()
    return net, train_betanas(net, images(), images(1), {**CONFIG, **(config or {})}, settings or search(), **options)


class Watch(keras.callbacks.Callback):
    """Keeps the supernet's variables behind every step, and what the checkpoints say."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_train_begin(self, logs=None):
        self.found = [self.values()]
        self.states = []

    def values(self):
        return {v.path: np.array(v) for v in (*self.model.variables, *self.model.optimizer.variables)}

    def on_train_batch_end(self, batch, logs=None):
        self.found.append(self.values())
        self.states.append((sorted(logs), newest(self.folder)))


def newest(folder):
    path = Checkpoints(folder).paths()[-1]
    with np.load(path) as archive:
        return json.loads(archive["__meta__"].tobytes().decode())


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("betanas")
    net = supernet()
    watch = Watch(folder / "supernet")
    _, figures = train(net, run_dir=folder, callbacks=(watch,))
    return net, figures, watch, folder


def test_phases_touch_only_their_own_variables(watched):
    """Importance steps leave weights, statistics and momentums alone; weight steps leave the importances."""
    _, _, watch, _ = watched
    kinds = []
    for step, (before, after) in enumerate(zip(watch.found, watch.found[1:], strict=False)):
        keys, _ = watch.states[step]
        moved = [path for path in before if not np.array_equal(before[path], after[path])]
        if "held_out_loss" in keys:
            kinds.append("i")
            assert moved == []
        else:
            kinds.append("w")
            assert any("stem" in path for path in moved) and any("tail" in path for path in moved)
    assert "".join(kinds) == "wwwwww" + "wi" * 9
    states = [meta["state"] for _, meta in watch.states[1:]]  # a step's checkpoint is there behind the next one
    for kind, before, after in zip(kinds[1:], states, states[1:], strict=False):
        changed = before["alpha"] != after["alpha"]
        assert changed == (kind == "i")


def test_choices_that_were_not_drawn_get_no_update_and_dropped_ones_none_ever_again(watched):
    net, figures, watch, _ = watched
    dropped = np.array(figures["importances"]["dropped_at"])
    assert (dropped >= 0).any()
    for layer, block in enumerate(net.choice_blocks):
        for choice, candidate in enumerate(block.candidates):
            kernels = [v.path for v in candidate.trainable_variables if v.name == "kernel"]
            moves = [
                step
                for step, (a, b) in enumerate(zip(watch.found, watch.found[1:], strict=False))
                if any(not np.array_equal(a[path], b[path]) for path in kernels)
            ]
            assert len(moves) == figures["importances"]["trained"][layer][choice]
            at = dropped[layer, choice]
            assert at < 0 or not moves or max(moves) <= at


def test_each_weight_step_trains_one_choice_of_each_layer(watched):
    _, figures, _, _ = watched
    np.testing.assert_array_equal(np.sum(figures["importances"]["trained"], axis=1), 15)


def test_the_history_tells_how_it_went(watched):
    _, figures, _, _ = watched
    last = figures["history"][-1]
    assert last["alpha"] == figures["importances"]["alpha"]
    assert last["trained"] == figures["importances"]["trained"]
    assert {"loss", "accuracy", "held_out_loss", "held_out_accuracy", "mean_cost"} <= set(last)
    assert "held_out_loss" not in figures["history"][0]  # the warm-up
    assert figures["steps"] == 24


def test_figures_are_means_over_their_own_steps(watched):
    """An epoch's mean of the held-out accuracy lies between 0 and 1 and is a multiple of 1 / (steps * batch)."""
    _, figures, _, _ = watched
    for row in figures["history"][2:]:
        for name in ("accuracy", "held_out_accuracy"):
            assert row[name] * 24 == pytest.approx(round(row[name] * 24), abs=1e-4)


class Kill(keras.callbacks.Callback):
    """Raises behind so many steps what no training catches: nothing is saved that was not before."""

    left = 15

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("killed")


def test_a_killed_training_ends_bit_by_bit_the_same(watched, tmp_path):
    """Weights, alphas, Adam's moments, counts and drops, after a kill in the midst of the phases."""
    net, figures, _, folder = watched
    with pytest.raises(RuntimeError, match="killed"):
        train(run_dir=tmp_path, callbacks=(Kill(),))
    assert newest(tmp_path / "supernet")["step"] == 14  # a step's checkpoint is there behind the next one
    resumed, again = train(run_dir=tmp_path)
    assert again["importances"] == figures["importances"]
    assert again["history"] == figures["history"]
    assert newest(tmp_path / "supernet")["state"] == newest(folder / "supernet")["state"]
    for one, other in zip(net.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)


def test_a_finished_training_is_read_back(watched):
    net, figures, _, folder = watched
    again, found = train(run_dir=folder)
    assert found == figures
    np.testing.assert_array_equal(again.variables[0], net.variables[0])


def test_other_settings_are_refused(watched):
    *_, folder = watched
    with pytest.raises(InputError, match="it belongs to another run: settings"):
        train(settings=search(cost_weight=0.5), run_dir=folder)


@pytest.mark.slow
def test_two_replicas_find_the_importances_of_one_within_rounding(two_replicas):
    """BN normalises each replica's own half of the batch, so the first step of the importances is compared in its sign."""
    settings, config = search(warmup=0, drop=False), {"epochs": 1}  # six steps
    with two_replicas.scope():
        net = supernet()
    figures = train_betanas(net, images(), images(1), {**CONFIG, **config}, settings, strategy=two_replicas)
    _, expected = train(settings=settings, config=config)
    assert figures["importances"]["trained"] == expected["importances"]["trained"]
    one, other = (np.array(found["importances"]["alpha"]) for found in (figures, expected))
    assert np.abs(one).max() > 0.05
    assert (np.sign(one) == np.sign(other)).mean() > 0.7


def test_gradient_driven_sampling_draws_by_the_importances():
    settings = search(sampling="importances", drop=False, learning_rate=0.5, warmup=0)
    _, figures = train(settings=settings, config={"epochs": 12})
    found = figures["importances"]
    leading = np.argmax(found["alpha"], axis=1)
    shares = np.array(found["trained"]) / 36
    assert shares[np.arange(3), leading].mean() > 0.5


def test_drops_leave_a_network_within_the_bounds(tmp_path):
    """Everything is below the threshold, so all would go that may."""
    settings = {**search(drop_checks=24, drop_below=9.0, drop_margin=0.0), "upper_bounds": {"multiply_adds": 62_000}}
    net, figures = train(settings=settings, config={"epochs": 2})
    left = (np.array(figures["importances"]["dropped_at"]) < 0).sum(axis=1)
    assert left.min() == 1 and left.sum() < 6
    result = derive(net, figures["importances"], images(1), settings, tmp_path, images())
    assert result.picks[0].multiply_adds < 62_000


def test_the_derived_network_is_the_most_important_choice_of_each_layer(watched, tmp_path):
    net, figures, _, _ = watched
    result = derive(net, figures["importances"], images(1), search(), tmp_path, images())
    dropped = np.array(figures["importances"]["dropped_at"]) >= 0
    best = np.where(dropped, -np.inf, figures["importances"]["alpha"]).argmax(axis=1)
    assert result.picks[0].architecture == Architecture(tuple(best), SPACE)
    written = json.loads((tmp_path / "pareto.json").read_text())
    assert written["picks"] == [{"name": "0", **result.picks[0].to_dict()}]
    assert written["search"]["algorithm"] == "betanas"
    assert len(written["hypervolume"]) == 1 and 0 <= written["hypervolume"][0] < 1


def test_named_picks_are_the_most_probable_within_their_bounds(watched, tmp_path, caplog):
    net, *_ = watched
    alpha = [[3.0, 1.0, 0.0], [0.0, 2.0, 1.9], [0.5, 2.0, 0.0]]
    importances = {"alpha": alpha, "dropped_at": [[-1, -1, 5], [-1, -1, -1], [-1, -1, -1]]}
    free = derive(net, importances, images(1), search(), tmp_path, images()).picks[0]
    assert free.architecture.choices == (0, 1, 1)
    picks = {"small": {"multiply_adds": free.multiply_adds}, "none": {"multiply_adds": 10.0}, "own": "0,0,0"}
    result = derive(net, importances, images(1), {**search(), "picks": picks}, tmp_path, images())
    assert result.names == ["small", "own"]
    assert result.picks[0].architecture.choices == (0, 2, 1)  # what costs the least importance
    assert result.picks[0].multiply_adds < free.multiply_adds
    assert result.picks[1].architecture.choices == (0, 0, 0)
    assert "search.picks.none: no network of the remaining choices" in caplog.text


@pytest.mark.parametrize(
    ("config", "betanas", "message"),
    [
        ({"monitor_paths": 4}, {}, r"supernet\.monitor_paths: expected 0"),
        ({"sampling": "sandwich", "distillation": 0.5}, {}, r"supernet\.distillation: expected 0 with betanas"),
        ({}, {"cost": "latency_ms"}, r"search\.betanas\.cost: expected one of"),
        ({}, {"warmup": 1.0}, r"search\.betanas\.warmup: expected"),
        ({}, {"drop_checks": 0}, r"search\.betanas\.drop_checks: expected"),
        ({}, {"sampling": "fair"}, r"search\.betanas\.sampling: expected one of"),
        ({}, {"cost_reference": 0}, r"search\.betanas\.cost_reference: expected a number > 0"),
        ({}, {"margin": 1}, r"search\.betanas\.margin: unknown key"),
        ({"batch_size": 49}, {}, r"batch_size"),
    ],
)
def test_bad_settings_are_named(config, betanas, message):
    with pytest.raises(InputError, match=message):
        train(settings=search(**betanas), config=config)


def test_the_cost_may_be_a_measured_latency(tmp_path):
    """The first choice of each layer takes a hundred times as long, which the cross-entropy does not know."""
    entries = {key: [100.0 if " k3 " in key else 1.0] for key, _, _ in parts(SPACE, 8, 5)}
    MetricTable(SPACE, 8, 5, ["latency_ms"], entries).save(tmp_path / "table.json")
    settings = search(cost="latency_ms", cost_weight=50.0, warmup=0, drop=False)
    _, figures = train(settings={**settings, "table": str(tmp_path / "table.json")}, config={"epochs": 2})
    alpha = np.array(figures["importances"]["alpha"])
    assert (alpha.argmin(axis=1) == 0).all()
    assert figures["history"][-1]["mean_cost"] < figures["history"][0]["mean_cost"]


def test_lanes_give_way_to_single_paths_and_are_told(watched, caplog):
    _, figures, _, folder = watched  # a finished training, to which execution is immaterial
    _, found = train(config={"execution": "lanes"}, run_dir=folder)
    assert found["importances"] == figures["importances"]
    assert "supernet.execution: sequential" in caplog.text


def test_held_out_images_fewer_than_a_batch_are_named():
    with pytest.raises(InputError, match=r"supernet\.batch_size: expected at most the 6 held-out images, got 8"):
        train_betanas(supernet(), images(), images(1, 6), CONFIG, search())
