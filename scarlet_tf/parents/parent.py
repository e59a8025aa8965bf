"""Parent: a network with trained weights, from which a search starts, and what its images have to be."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable

import keras
import numpy as np

from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.models.network import Arrays, Network, set_arrays
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.spec import NetworkSpec


@dataclasses.dataclass(frozen=True, eq=False)
class Parent:
    """A network with trained weights.

    Args:
        name: for people, such as "lite0".
        spec: of the network as it was published, with its own input shape and classes; num_classes None without a head.
        arrays: its weights under the names of a Network's, such as "block_03_expand/kernel".
        preprocessing: of the images that it was trained on.
        source: where the weights come from, for the certificate.
    """

    name: str
    spec: NetworkSpec
    arrays: Arrays
    preprocessing: Preprocessing
    source: str = ""

    def network(self, input_shape: tuple[int, int, int] | None = None) -> Network:
        """The Keras network with its weights and its own head; logits [B, num_classes] of images [B, H, W, C].

        input_shape: (height, width, channels) of the images, by default the published one. Images are normalised as
        `preprocessing` says.
        """
        spec = self.spec if input_shape is None else self.spec.replace(input_shape=input_shape)
        network = Network(spec, name=self.name)
        set_arrays(network, self.arrays)
        return network

    @classmethod
    def from_keras(
        cls,
        model: keras.Model,
        preprocessing: Preprocessing | None = None,
        name: str | None = None,
        channel_order: str = "rgb",
    ) -> Parent:
        """The parent with structure and weights of a functional or sequential Keras model.

        Families: MobileNetV2, MobileNetV3, EfficientNet (not its fused blocks), EfficientNet-Lite and others of the same blocks.
        Layers are known by what they compute and how they are connected, not by their names. A softmax at the end is dropped.

        Args:
            preprocessing: of its images, red first; by default what the model's own layers do in front of the first
            convolution, such as Rescaling and Normalization.
            name: for people; by default the model's.
            channel_order: "rgb", or "bgr" if the model takes images whose first channel is blue.

        InputError names the layer that the package's networks cannot express, and the reason.
        """
        from scarlet_tf.parents.keras_models import from_keras  # which makes parents, and so imports this module

        return from_keras(model, preprocessing, name, channel_order)

    @classmethod
    def from_file(cls, path, model: str | None = None, preprocessing: Preprocessing | None = None) -> Parent:
        """The parent in a file.

        Args:
            path: a checkpoint of a published network (`.pth`, `.pt`, `.pth.tar`, `.safetensors` or `.npz`) in the layout of timm,
                torchvision or EfficientNet-PyTorch; a whole Keras model (`.keras` or `.h5`), such as retrain/model.keras
                of a run; or a run folder.
            model: the published network's name, such as "tf_efficientnet_lite0". By default it is recognised by the names and
                shapes of the tensors and, where these fit several networks, by the name of the file or its folders.
            preprocessing: of its images; by default those of the published network's first weights for ImageNet, of the Keras
                model's own layers, or of the run.

        Strides, padding, activations and BN's epsilon are not in a checkpoint: they are the published network's.
        Nothing in a checkpoint is executed. InputError names the file and the tensors that are missing, unexpected or of the
        wrong shape.
        """
        from scarlet_tf.parents.loading import from_file  # which makes parents, and so imports this module

        return from_file(path, model, preprocessing)

    def warm_start(self, supernet: Supernet, batches: Iterable | None = None) -> None:
        """Give every choice of `supernet` the weights that this parent has for it: see parents.warm_start."""
        from scarlet_tf.parents.warm_start import warm_start  # which imports this module

        warm_start(supernet, self, batches)

    def narrowed(self, multiplier: float) -> Parent:
        """This parent with `multiplier` times the channels of stem and blocks, the most important ones, above 0 and up to 1.

        Widths are rounded to multiples of 8 and not increased. Channels to which blocks with shortcuts add are sorted together,
        by what the blocks give to them and what their readers take; hidden ones by what they contribute to their block's
        output. Those that are kept keep their weights, and the tail its width; what the others gave on average goes into the
        means of batch normalisation. With 1 it is the same function, with its channels sorted.

        InputError for blocks that `space_around` refuses, and where a block without a shortcut would come to read as many
        channels as it writes.
        """
        from scarlet_tf.parents.narrowing import narrowed  # which makes parents, and so imports this module

        return narrowed(self, multiplier)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits that change whenever structure, weights or preprocessing do."""
        digest = hashlib.sha256(
            json.dumps([self.spec.to_dict(), self.preprocessing.to_dict()], sort_keys=True).encode()
        )
        for name in sorted(self.arrays):
            digest.update(name.encode() + np.ascontiguousarray(self.arrays[name]).tobytes())
        return digest.hexdigest()[:12]
