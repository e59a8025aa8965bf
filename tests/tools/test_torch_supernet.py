"""The supernet in PyTorch that the fair step is compared with is ours."""

import numpy as np
import pytest
from tiny import randomise_supernet, tiny_space

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'scarlet_tf[torch]'")

from bench_fair_step import space_facts  # noqa: E402
from scarlet_tf.models.supernet import Supernet  # noqa: E402
from scarlet_tf.space.cost import block_cost, stem_cost, tail_cost  # noqa: E402
from scarlet_tf.space.lowering import block_spec  # noqa: E402
from scarlet_tf.space.search_space import SearchSpace  # noqa: E402
from torch_supernet import FairStep, TorchSupernet  # noqa: E402

CLASSES = 5


def with_weights_of(supernet: Supernet) -> TorchSupernet:
    """The twin, whose entries have the same order as our weights."""
    twin = TorchSupernet(space_facts(supernet.space), CLASSES)
    entries = [value for key, value in twin.state_dict().items() if not key.endswith("num_batches_tracked")]
    weights = [weight for layer in supernet.chain for weight in layer.weights]
    for entry, weight in zip(entries, weights, strict=True):
        array = np.asarray(weight)
        if array.ndim == 4:
            array = array.transpose((2, 3, 0, 1) if "depthwise" in weight.path else (3, 2, 0, 1))
        array = array.T if array.ndim == 2 else array
        assert tuple(entry.shape) == array.shape, weight.path
        entry.copy_(torch.tensor(array))
    return twin


@pytest.mark.parametrize("overrides", [{}, {"stem_stride": 2, "activation": "relu6"}])
def test_paths_answer_as_ours_with_the_same_weights(rng, overrides):
    space = tiny_space(**overrides)
    supernet = Supernet(space, (16, 16, 3), CLASSES)
    randomise_supernet(supernet, rng)
    twin = with_weights_of(supernet)
    images = rng.normal(size=(4, 16, 16, 3)).astype(np.float32)
    for path in ((0, 1, 2, 3), (3, 2, 1, 0)):
        ours = np.asarray(supernet(images, path, training=True))  # as in a step: BN by the batch
        with torch.no_grad():
            theirs = twin(torch.tensor(images.transpose(0, 3, 1, 2)), path).numpy()
        # Both compute in float32 in different orders, and each BN divides by the deviation of what it gets.
        np.testing.assert_allclose(theirs, ours, atol=1e-4 * np.abs(ours).max(), rtol=0)
        assert np.abs(ours - ours[::-1]).max() > 0.1 * np.abs(ours).max()


@pytest.mark.parametrize("name", ["s1", "s2"])
def test_published_supernets_have_as_many_parameters(name):
    space = SearchSpace.from_name(name)
    fixed = space.ends((2, 2, 3))
    ends = stem_cost(fixed) + tail_cost(fixed, (1, 1), space.layers[-1].out_channels)
    blocks = [block_spec(space, layer, c, layer.in_channels, "let") for layer in space.layers for c in space.choices]
    with torch.device("meta"):  # which allocates nothing
        twin = TorchSupernet(space_facts(space), 1000)
    expected = ends.params + sum(block_cost(block, (1, 1)).params for block in blocks)
    assert sum(parameter.numel() for parameter in twin.parameters()) == expected


def test_a_step_moves_by_the_sum_of_the_paths_gradients():
    paths = [[(i + layer) % 4 for layer in range(4)] for i in range(4)]
    case = {"space": space_facts(tiny_space()), "paths": paths, "pixels": 8, "batch_size": 4, "num_classes": CLASSES}
    step = FairStep(case)
    classifier = step.supernet.classifier.weight
    before, expected = classifier.detach().clone(), 0
    for path in paths:
        loss = torch.nn.functional.cross_entropy(step.supernet(step.images, path), step.labels)
        expected = expected + torch.autograd.grad(loss, classifier)[0]
    found = step()
    assert found["seconds"] > 0
    # The moved weights are rounded to float32: about 1e-8 for weights of 0.25.
    torch.testing.assert_close(before - classifier, 0.001 * expected, atol=1e-7, rtol=1e-3)
