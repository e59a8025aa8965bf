"""A small parent with random weights and BN statistics, two kernel sizes, and stages with and without a stride."""

import numpy as np

from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.models.network import Network, get_arrays
from scarlet_tf.parents.parent import Parent
from scarlet_tf.space.spec import Conventions, InvertedResidualSpec, NetworkSpec

SIZE, CLASSES = 32, 7


def block(index, channels, out_channels, kernel_size, stride=1, expansion=6, **fields):
    """An inverted residual block with a shortcut where shapes allow."""
    return InvertedResidualSpec(
        f"block_{index:02d}",
        channels,
        channels * expansion,
        out_channels,
        kernel_size,
        stride,
        residual=stride == 1 and channels == out_channels,
        activation="relu6",
        expand=expansion > 1,
        **fields,
    )


def toy_spec(**fields) -> NetworkSpec:
    blocks = (
        block(0, 8, 16, 3, 2),
        block(1, 16, 16, 3),
        block(2, 16, 24, 5, 2),
        block(3, 24, 24, 5),
        block(4, 24, 32, 3),
    )
    conventions = Conventions("same", 1e-3, 0.99)
    spec = NetworkSpec((SIZE, SIZE, 3), CLASSES, 8, 2, 8, blocks, 64, conventions=conventions)
    return spec.replace(**fields)


def toy_parent(spec: NetworkSpec | None = None, seed: int = 0) -> Parent:
    rng = np.random.default_rng(seed)
    spec = spec or toy_spec()
    arrays = {}
    for name, array in get_arrays(Network(spec, seed=seed)).items():
        if name.endswith(("gamma", "moving_variance")):
            array = rng.uniform(0.5, 1.5, array.shape)
        elif name.endswith(("beta", "moving_mean", "bias")):
            array = rng.normal(0, 0.3, array.shape)
        arrays[name] = np.asarray(array, np.float32)
    return Parent("toy", spec, arrays, Preprocessing(spec.input_shape[0]))


def toy_images(rng, count: int = 16) -> np.ndarray:
    return rng.normal(size=(count, SIZE, SIZE, 3)).astype(np.float32)
