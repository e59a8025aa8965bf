"""Run in a process of its own: networks of Keras 3 against their Keras 2 copies. Prints one JSON object a network."""

import json

import numpy as np
from tiny import randomised, tiny_space

from scarlet_tf.models.foreign.networks import network_from_blocks
from scarlet_tf.models.network import Network, get_arrays, set_arrays
from scarlet_tf.optimization.keras2_copy import build_keras2_copy, get_keras2_arrays
from scarlet_tf.optimization.tasks import pointwise_layers
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import NetworkSpec

SKIP = 3


def specs() -> dict[str, NetworkSpec]:
    """Paths with squeeze-and-excitation, 7x7, LETs, identities with a stride and with padded channels, other activations."""
    rng = np.random.default_rng(0)
    large = SearchSpace.from_name("s2", width_multiplier=0.25, input_size=32)  # with S1's choices among its own
    found = {"s2": large.sample(rng).lower((32, 32, 3), 5, dropout=0.2)}
    space = tiny_space()
    found["lets"] = Architecture((SKIP, 1, SKIP, 1), space).lower((8, 8, 3), 5, skip="let")
    found["relu"] = Architecture((2, SKIP, SKIP, 0), space).lower((8, 8, 3), 5, skip="relu")
    # Identities before a shortcut: pixels are dropped and channels padded by operations of their own.
    found["identities"] = Architecture((SKIP, 1, SKIP, 2), space).lower((8, 8, 3), 5, skip="identity")
    found["relu6"] = Architecture((0, 1, 2, 1), tiny_space(activation="relu6")).lower((8, 8, 3), 5)
    found["foreign"] = network_from_blocks(
        ["ds_r1_k3_s1_c16_se0.25", "ir_r2_k7_s2_e3_c24_se0.25_nhs", "ds_r1_k5_s2_c24_nr6"],
        stem_channels=16,
        tail_channels=32,
        head_channels=24,
        activation="relu",
        input_shape=(16, 16, 3),
        num_classes=5,
    )
    found["efficientnet"] = network_from_blocks(
        ["ds_r1_k3_s1_c16_se0.25", "ir_r1_k5_s2_e3_c24_se0.25", "ir_r1_k7_s2_e3_c24"],
        stem_channels=16,
        tail_channels=32,
        activation="silu",
        se_activation="silu",
        input_shape=(16, 16, 3),
        num_classes=5,
        conventions={"padding": "same", "bn_epsilon": 1e-3},
    )
    return found


def main() -> None:
    rng = np.random.default_rng(1)
    for name, spec in specs().items():
        network = Network(spec, seed=0)
        arrays = randomised(get_arrays(network), rng)
        set_arrays(network, arrays)
        copy = build_keras2_copy(spec, arrays)
        images = rng.normal(size=(4, *spec.input_shape)).astype(np.float32)
        logits, answer = np.asarray(network(images, training=False)), copy(images, training=False).numpy()
        split = build_keras2_copy(spec, arrays, for_xnnpack=True)
        back = get_keras2_arrays(copy)
        print(
            json.dumps(
                {
                    "name": name,
                    "difference": float(np.abs(logits - answer).max()),
                    "split_difference": float(np.abs(logits - split(images, training=False).numpy()).max()),
                    "strips": sum("_strip_" in layer.name for layer in split.layers),
                    "spread": float(logits.std()),
                    "kinds": sorted({type(layer).__name__ for layer in copy.layers}),
                    "not_there": sorted(pointwise_layers(spec) - {layer.name for layer in copy.layers}),
                    "same_weights": all(np.array_equal(back[k], arrays[k].astype(np.float32)) for k in arrays),
                }
            )
        )


if __name__ == "__main__":
    main()
