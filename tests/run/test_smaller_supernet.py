"""Supernets of fewer pixels and channels than the networks that are found with them."""

import numpy as np
import pytest
from test_pipeline import config
from test_sizes import SMALL

import scarlet_tf as st
from scarlet_tf.base.errors import InputError
from scarlet_tf.config.run_time import stage_seconds
from scarlet_tf.run.folder import Run, open_existing
from scarlet_tf.run.methods import SupernetSearch, trained_supernet
from scarlet_tf.run.stages import run_all, run_ranking
from scarlet_tf.search.run import SearchResult


def smaller(**changes):
    supernet = {"image_size": 8, "width_multiplier": 0.5, **changes.pop("supernet", {})}
    data = {**SMALL, "image_size": 12}
    return config(data=data, supernet=supernet, **changes)


def test_the_supernet_alone_sees_small_images_and_has_few_channels(tmp_path):
    run = Run(smaller(), tmp_path)
    own = run.of_supernet
    assert own.input_shape == (8, 8, 3) and run.input_shape == (12, 12, 3) and own.of_supernet is own.of_supernet
    assert own.data.train.batches(4).element_spec[0].shape[1:3] == (8, 8)
    assert own.config.space.width_multiplier == 0.5 and run.config.space.width_multiplier == 1
    assert (own.config.space.tail_channels, run.config.space.tail_channels) == (8, 16)
    np.testing.assert_array_equal(own.data.validation.labels, run.data.validation.labels)
    supernet, _ = trained_supernet(run)
    assert supernet.image_shape == (8, 8, 3) and supernet.space == own.config.space
    same = Run(config(data=SMALL), tmp_path / "same")
    assert same.of_supernet is same


def test_the_forecast_scales_what_follows_the_supernet():
    """A step of the small supernet takes as long as that of a whole one: the networks to be found take longer then."""
    examples, steps = {"train": 1000, "validation": 100}, (0.0, 0.1)
    whole, small = (stage_seconds(one, examples, 10, *steps) for one in (config(data={"image_size": 12}), smaller()))
    assert small["train-supernet"] == whole["train-supernet"] and small["search"] == pytest.approx(whole["search"])
    assert small["retrain"] > 2 * whole["retrain"]


@pytest.mark.slow
def test_costs_and_the_network_found_are_of_the_whole_size(tmp_path):
    export = {"formats": ["float32"], "saved_model": False, "benchmark_threads": 0, "verification_examples": 20}
    wanted = smaller(
        search={"upper_bounds": {"multiply_adds": 400_000}, "recalibration_batches": 1},
        retrain={"optimizer": "sgd", "warmup_epochs": 0, "recalibration_batches": 0},
        race={"finalists": 2, "rivals": ["random"], "rungs": [1.0]},
        export=export,
        ranking={"architectures": 3, "strata": 1, "epochs": 1, "recalibration_batches": 1},
    )
    run_all(wanted, tmp_path / "run")
    run = open_existing(tmp_path / "run")
    found = run.get(SearchResult)
    for one in found.pareto:
        assert one.multiply_adds == st.count(one.architecture, 12, 10).multiply_adds < 400_000
    assert found.details["input_size"] == 12
    assert run.network.spec.input_shape == (12, 12, 3)
    ranked = run_ranking(wanted, tmp_path / "run")
    assert len(ranked["networks"]) == 3 and set(ranked["tau"]) == {
        "loss",
        "predicted",
        "recalibrated",
        "running",
        "score",
    }
    first = ranked["networks"][0]
    path = st.Architecture.parse(first["architecture"], run.config.space)
    assert first["multiply_adds"] == st.count(path, 12, 10).multiply_adds


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"input_sizes": [8, 12]}}, "with search.input_sizes, got 0.5"),
        ({"search": {"halving_loss": 0.03}}, "with search.halving_loss, got 0.5"),
        ({"search": {"algorithm": "betanas", "picks": 1}}, "with search.algorithm: betanas, which weighs its costs"),
        (
            {"retrain": {"init": "supernet"}, "supernet": {"width_multiplier": 1}},
            "with retrain.init: supernet, whose weights the network takes, got 8",
        ),
    ],
)
def test_what_needs_the_networks_own_supernet_is_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=rf"supernet\.\w+: expected the network's own {message}"):
        SupernetSearch().examine(Run(smaller(**changes), tmp_path))


@pytest.mark.parametrize("value", [{"image_size": 4}, {"width_multiplier": 0}, {"width_multiplier": "half"}])
def test_values_out_of_range_are_named(value):
    with pytest.raises(InputError, match=f"supernet.{next(iter(value))}"):
        smaller(supernet=value)
