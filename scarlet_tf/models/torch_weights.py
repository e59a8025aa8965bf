"""load_torch_weights and save_torch_weights: networks from the authors' PyTorch code, and back to it."""

from __future__ import annotations

import dataclasses

import keras

from scarlet_tf.errors import InputError
from scarlet_tf.models.network import Arrays, Network, get_arrays, set_arrays
from scarlet_tf.models.torch_files import read_state_dict, write_state_dict
from scarlet_tf.models.torch_layout import from_state_dict, to_state_dict, torch_key
from scarlet_tf.spec import PYTORCH, InvertedResidualSpec

_FIRST = "stem_conv/kernel"


def load_torch_weights(model: keras.Model, path, skip_classifier: bool = False) -> None:
    """Load the weights of a PyTorch checkpoint of the same network into `model`.

    Args:
        model: a Network, or a published network built on an `input_tensor`; with LETs folded.
        path: `.pth`, `.pt`, `.pth.tar`, `.pt.tar` (PyTorch; the extra "torch"), `.safetensors` or `.npz`. PyTorch's
            files may hold the state dict under "model_state", as the authors' do, "state_dict" or "model".
        skip_classifier: leave the checkpoint's classifier out; the model's, if it has one, is unchanged.

    The authors' evaluation code scales images by ImageNet's mean and deviation: `normalization: imagenet`, not "-1..1".

    Raises InputError, with the model unchanged, unless every tensor of the file and of the model is used exactly once
    (but for BN's `num_batches_tracked`); it lists what is missing, unexpected or of the wrong shape.
    """
    arrays, state = _arrays(model), read_state_dict(path)
    if skip_classifier:
        arrays = {name: array for name, array in arrays.items() if not name.startswith("classifier/")}
        state = {key: array for key, array in state.items() if "classifier" not in key.split(".")}
    headless = not skip_classifier and "classifier/kernel" not in arrays
    what = f"{path}: does not fit {model.name}" + (
        ", which has no classifier (see skip_classifier)" if headless else ""
    )
    loaded = from_state_dict(state, arrays, what)
    set_arrays(model, get_arrays(model) | loaded)


def save_torch_weights(model: keras.Model, path) -> None:
    """Write the weights of `model` for the authors' PyTorch code, atomically; inverse of `load_torch_weights`.

    The ending of `path` selects the format; a `.pth.tar` file holds the state dict under "model_state", where the
    authors' evaluation code looks for it. BN's `num_batches_tracked` are written as 0. Raises InputError for a network
    that the layout cannot express. FairNAS' own code calls the classifier "classifier.1", which is not written.
    """
    write_state_dict(path, to_state_dict(_arrays(model)))


def _arrays(model: keras.Model) -> Arrays:
    """The network's weights; layers in front of its stem belong to the maker of the `input_tensor`."""
    arrays = get_arrays(model) if isinstance(model, keras.Model) else {}
    if _FIRST not in arrays:
        raise InputError(
            f"{getattr(model, 'name', model)}: expected a network of this package, with the layer stem_conv"
        )
    if isinstance(model, Network):
        _check_layout(model)
    names = list(arrays)
    arrays = {name: arrays[name] for name in names[names.index(_FIRST) :]}
    for name in arrays:
        if torch_key(name) is None:
            advice = "; fold the LETs first" if "_let/" in name else ""
            raise InputError(f"{model.name}: {name}: the layout of the PyTorch networks has no place for it{advice}")
    return arrays


def _check_layout(network: Network) -> None:
    """The authors' networks have PyTorch's conventions, and their blocks add their input wherever shapes allow.

    Folding can leave one here that does not.
    """
    if network.spec.conventions != dataclasses.replace(PYTORCH, bn_momentum=network.spec.conventions.bn_momentum):
        raise InputError(
            f"{network.name}: expected padding and BN epsilon of {PYTORCH}, got {network.spec.conventions}"
        )
    for block in network.spec.blocks:
        if not isinstance(block, InvertedResidualSpec):
            continue
        if block.residual != (block.stride == 1 and block.in_channels == block.out_channels):
            raise InputError(
                f"{network.name}: {block.name}: a PyTorch block of its shape has a shortcut, this one has none"
            )
