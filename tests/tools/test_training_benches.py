"""What the benchmarks of training and search compute from their measurements."""

import pytest
from photographs import installed_lite
from tiny import tiny_space

import bench_fair_step
import bench_search
from scarlet_tf.space.choices import Choice, Stage


def one_layer(choices):
    return tiny_space(stages=(Stage(8, 1, 2),), choices=choices, tail_channels=16, stem_stride=2)


def test_multiply_adds_of_a_step_by_hand():
    """8 x 8 pixels, 4 x 4 after the stem of 8 and 8 channels, 2 x 2 after the layer; two paths, batch 3."""
    bench = bench_fair_step.Bench(one_layer((Choice(2, 3), Choice())), pixels=8, batch_size=3)
    conv, rest_of_stem = 27 * 8 * 16, (9 * 8 + 8 * 8) * 16
    block = 8 * 16 * 16 + 9 * 16 * 4 + 16 * 8 * 4
    let = 8 * 8 * 4
    tail = 8 * 16 * 4 + 16 * bench_fair_step.NUM_CLASSES
    assert bench.multiply_adds() == 3 * (2 * conv + 3 * (rest_of_stem + block + let + 2 * tail))


def test_skips_that_are_the_identity_cost_nothing():
    """As in the space around a parent: 8 to 8 channels on 4 x 4 pixels."""
    space = tiny_space(stages=(Stage(8, 1, 1),), choices=(Choice(2, 3), Choice()), tail_channels=16, stem_stride=2)
    plain, around = (bench_fair_step.Bench(space, 8, 3, skip) for skip in ("let", "shortcut"))
    assert plain.multiply_adds() - around.multiply_adds() == 3 * 3 * (8 * 8 * 16)


def test_lite0_is_the_space_of_runs_from_it():
    installed_lite(0)
    space = bench_fair_step.space_named("lite0")
    assert [choice.label for choice in space.choices] == ["100%K3", "100%K5", "skip"]
    assert (space.activation, space.conventions.padding, space.num_layers) == ("relu6", "same", 15)


def test_share_is_of_the_matrix_product_in_the_same_round():
    times = {
        "multiply_adds": 10 * bench_fair_step.MATRIX**3,
        "seconds": {"lanes": [20.0, 40.0, 40.0], "matmul": [1.0, 1.0, 2.0]},
    }
    found = bench_fair_step.speed(times, "lanes")
    assert found["share"] == pytest.approx(0.5)  # of 0.5, 0.25 and 0.5
    assert found["gflops"] == pytest.approx(2 * 10 * 2048**3 / 40 / 1e9)
    assert found["matmul_gflops"] == pytest.approx(2 * 2048**3 / 1e9)


def test_ratios_name_every_rival_that_was_measured():
    seconds = {"lanes": [2.0, 4.0], "own": [1.0, 2.0], "keras": [4.0, 8.0]}
    assert bench_fair_step.ratios(seconds, "lanes").keys() == {
        "ratio",
        "ratio_over_own",
        "rounds_ratio_over_own",
        "ratio_over_keras",
        "rounds_ratio_over_keras",
    }
    found = bench_fair_step.ratios(seconds | {"torch": [8.0, 8.0]}, "lanes")
    assert (found["ratio"], found["ratio_over_own"], found["ratio_over_torch"]) == (0.5, 2, 0.375)


def test_search_and_stock_keras_tuner_are_compared_at_the_same_number_of_trials(tmp_path):
    config = bench_search.SearchConfig(population_size=10, generations=12, mutation={"kind": "uniform"})
    ours = bench_search.measure(config, str(tmp_path))
    trials = ours["figures"]["trials"]
    assert trials > 100
    whole = bench_search.stock(trials, seconds=60)
    assert (whole["figures"]["trials"], whole["figures"]["complete"]) == (trials, True)
    found = bench_search.with_ratios(ours, whole)
    assert found["ratio_trials"] == trials
    mine, theirs = ours["figures"]["cpu_ms_per_trial_8400"], whole["figures"]["cpu_ms_per_trial_8400"]
    assert found["ratio_to_keras_tuner"] == pytest.approx(mine / theirs)


def test_a_rival_that_is_stopped_says_so_and_is_compared_where_it_got_to():
    rival = bench_search.stock(500, seconds=0)
    assert rival["figures"]["trials"] == 1
    assert not rival["figures"]["complete"]
    assert rival["figures"]["cpu_ms_per_trial_8400"] is None
    ours = {"figures": {}, "milliseconds": {50: 1.0, 1000: 2.0, 8400: 3.0}}
    theirs = {"milliseconds": {50: 10.0, 1000: 8.0, 4300: 5.0, 4333: 5.0}}
    assert bench_search.with_ratios(ours, theirs) == {
        "ratio_to_keras_tuner": 0.25,
        "ratio_trials": 1000,
        "ratio_to_keras_tuner_1000": 0.25,
    }
