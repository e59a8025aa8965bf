"""What a user's type checker finds in scarlet_tf: `make check` has mypy read this file, and nothing ever runs it.

mypy reports an `ignore` that nothing needs, so each one here states that a mistake is found.
"""

from __future__ import annotations

import pathlib
from typing import assert_type

import numpy as np

import scarlet_tf as st
from scarlet_tf import build_network
from scarlet_tf.models.foreign.networks import network_from_blocks
from scarlet_tf.race.config import RaceConfig
from scarlet_tf.results import RaceResult
from scarlet_tf.space.cost import Cost


def spaces_and_costs() -> Cost:
    space = st.SearchSpace.from_name("s2", input_size=96)
    architecture = space.sample(np.random.default_rng(0))
    assert_type(architecture, st.Architecture)
    assert_type(network_from_blocks(["ir_r2_k3_s2_e6_c24"]), st.NetworkSpec)
    assert_type(st.scale(architecture, width_multiplier=1.4), st.Architecture)
    st.count(architecture, input_size="96")  # type: ignore[arg-type]
    st.count_all()  # type: ignore[attr-defined]
    return st.count(architecture, input_size=96, num_classes=10)


def networks(architecture: st.Architecture, images: np.ndarray) -> None:
    network = st.build_network(architecture, input_shape=(96, 96, 3), num_classes=10)
    assert_type(network, st.Network)
    assert_type(build_network(network.spec), st.Network)
    folded, rows = st.fold(network)
    assert_type(folded, st.Network)
    assert_type([row.rule for row in rows], list[int])
    st.export_tflite(folded, pathlib.Path("model.tflite"), quantization="int8", representative_data=images)
    st.ScarletA(classes=10, pooling="avg")
    st.ScarletA(class_count=10)  # type: ignore[call-arg]
    assert_type(st.applications.zoo_names(), list[str])
    st.build_network(architecture, num_classes="10")  # type: ignore[arg-type]


def search(train: object, validation: object) -> list[st.Architecture]:
    supernet = st.Supernet("s1", (32, 32, 3), num_classes=10, skip="let")
    st.Supernet("s1", skip="nothing")  # type: ignore[arg-type]
    st.train_supernet(supernet, train, st.SupernetConfig(epochs=1, sampling="strict_fair"), run_dir="run")
    st.SupernetConfig(sampling="unfair")  # type: ignore[arg-type]
    found: st.SearchResult = st.search(supernet, validation, {"generations": 2}, run_dir="run")
    raced = st.race([found.best.architecture], train, validation, {"epochs": 2}, race_config=RaceConfig(rungs=(1.0,)))
    assert_type(raced, RaceResult)
    assert_type((raced.winner, raced.is_upset), tuple[str, bool])
    RaceConfig(judge="int4")  # type: ignore[arg-type]
    return [candidate.architecture for candidate in found.pareto]
