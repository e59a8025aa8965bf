"""Published networks whose checkpoints can be read: structure, conventions and images of each.

A file of tensors says nothing of strides, padding, BN's epsilon or the images that it was trained on; those are here.
Facts from the papers and from the libraries that publish the files: timm, torchvision, EfficientNet-PyTorch.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from scarlet_tf.data.data_config import Normalization
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.models.foreign.networks import network_from_blocks
from scarlet_tf.space.spec import Conventions, NetworkSpec

TENSORFLOW = Conventions(padding="same", bn_epsilon=1e-3, bn_momentum=0.99)
PYTORCH = Conventions()

Stages = tuple[str | tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Published:
    """A published network.

    Args:
        name: that of the model in its library, such as "tf_efficientnet_lite0".
        layout: of the keys of its state dict, see layouts.py.
        stages: block strings in timm's notation, one or more for each stage.
        options: further arguments of `network_from_blocks`.
        conventions: padding, and BN's epsilon and momentum.
        preprocessing: of its images.
    """

    name: str
    layout: str
    stages: Stages
    options: Mapping[str, Any]
    conventions: Conventions
    preprocessing: Preprocessing

    def spec(self, num_classes: int | None = 1000) -> NetworkSpec:
        """The network as the block strings say; its first block is not yet part of the stem."""
        side = self.preprocessing.image_size
        return network_from_blocks(
            self.stages,
            **self.options,
            input_shape=(side, side, 3),
            num_classes=num_classes,
            conventions=self.conventions,
        )


def _deeper(stages: Stages, factor: float) -> Stages:
    """The stages but the first and last with `factor` times the blocks, rounded up, as EfficientNet-Lite is scaled."""
    middle = [
        re.sub(r"_r(\d+)_", lambda found: f"_r{math.ceil(int(found[1]) * factor)}_", str(stage))
        for stage in stages[1:-1]
    ]
    return (stages[0], *middle, stages[-1])


_EFFICIENTNET: Stages = (
    "ds_r1_k3_s1_c16",
    "ir_r2_k3_s2_e6_c24",
    "ir_r2_k5_s2_e6_c40",
    "ir_r3_k3_s2_e6_c80",
    "ir_r3_k5_s1_e6_c112",
    "ir_r4_k5_s2_e6_c192",
    "ir_r1_k3_s1_e6_c320",
)
# Width and depth of EfficientNet-Lite0 to 4, the side of the image, and how many pixels more are there before the crop.
_LITE = {0: (1.0, 1.0, 224), 1: (1.0, 1.1, 240), 2: (1.1, 1.2, 260), 3: (1.2, 1.4, 280), 4: (1.4, 1.8, 300)}
_LITE_MARGIN = 32


def _lite(number: int, name: str, layout: str, conventions: Conventions, normalization: Normalization) -> Published:
    width, depth, side = _LITE[number]
    options = {"activation": "relu6", "width_multiplier": width}
    images = Preprocessing(side, side / (side + _LITE_MARGIN), normalization)
    return Published(name, layout, _deeper(_EFFICIENTNET, depth), options, conventions, images)


PUBLISHED = {
    model.name: model
    for model in (*(_lite(n, f"efficientnet-lite{n}", "efficientnet_pytorch", TENSORFLOW, "lite") for n in range(5)),)
}
