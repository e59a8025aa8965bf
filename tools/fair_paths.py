"""The spaces that fair steps are measured on, the networks of one step and what it costs. Imports no framework's kernels.

Shared by bench_fair_step.py, under TensorFlow, and bench_gpu.py, under JAX.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from scarlet_tf.cli.init_choices import PARENT_SHARES
from scarlet_tf.parents.around import space_around
from scarlet_tf.parents.layouts import layers
from scarlet_tf.parents.parent import Parent
from scarlet_tf.parents.published import PUBLISHED
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.cost import count_spec, stem_cost
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import NetworkSpec

NUM_CLASSES = 1000
Skip = Literal["let", "shortcut"]


def space_named(name: str) -> SearchSpace:
    """A published space, the one around EfficientNet-Lite0 with whole blocks, or one of two layers and two choices."""
    if name == "tiny":
        stages, choices = (Stage(8, 2, 2),), (Choice(2, 3), Choice())
        return SearchSpace(name, stages, choices, stem_channels=8, first_channels=8, tail_channels=16, input_size=16)
    if name != "lite0":
        return SearchSpace.from_name(name)
    model = next(model for model in PUBLISHED if model.name == "efficientnet-lite0")
    spec, _ = layers(model, NUM_CLASSES)
    return space_around(Parent(name, spec, {}, model.preprocessing), shares=PARENT_SHARES)


def skip_of(name: str) -> Skip:
    """The form of a space's skips: around a parent, as in runs from one, the identity where shapes allow."""
    return "shortcut" if name == "lite0" else "let"


def path_specs(space: SearchSpace, paths, shape: tuple[int, int, int], skip: Skip, num_classes: int = NUM_CLASSES):
    """The stand-alone networks of paths [m, num_layers], with the supernet's skips."""
    architectures = (Architecture(tuple(int(choice) for choice in path), space) for path in paths)
    return [architecture.lower(shape, num_classes, skip=skip) for architecture in architectures]


def fair_multiply_adds(space: SearchSpace, specs: Sequence[NetworkSpec], batch_size: int) -> int:
    """Multiply-adds of a fair step that trains `specs`.

    Those of convolutions, squeeze-and-excitation and the classifier, three times (forward, gradient of the inputs, gradient
    of the weights), for every image and path; the stem counts once, not once a path, and the gradient of the images, which
    nobody needs, does not count.
    """
    ends = space.ends(specs[0].input_shape)
    image_gradient = stem_cost(ends.replace(first_channels=None)).multiply_adds
    shared = stem_cost(ends).multiply_adds
    paths = sum(count_spec(spec).multiply_adds - shared for spec in specs)
    return batch_size * (3 * (paths + shared) - image_gradient)
