"""Published networks whose checkpoints can be read: structure, conventions and images of each.

A file of tensors says nothing of strides, padding, activations, BN's epsilon or the images that it was trained on; those are
here. Facts from the papers and from the libraries that publish the files: timm, torchvision, EfficientNet-PyTorch.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from scarlet_tf.data.data_config import Normalization
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.models.foreign.block_string import BlockString
from scarlet_tf.models.foreign.networks import network_from_blocks
from scarlet_tf.space.choices import rounded_channels
from scarlet_tf.space.spec import Conventions, NetworkSpec

TENSORFLOW = Conventions(padding="same", bn_epsilon=1e-3, bn_momentum=0.99)
PYTORCH = Conventions()
_LARGE_EPSILON = Conventions(bn_epsilon=1e-3)  # PyTorch's padding, TensorFlow's epsilon

Stages = tuple[str | tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Family:
    """The structure of a network: block strings in timm's notation, one or more for each stage, and options.

    `options` are further arguments of `network_from_blocks`.
    """

    stages: Stages
    options: Mapping[str, Any]

    @property
    def depths(self) -> list[int]:
        """Blocks of each stage; the tail, if it is a string of its own, is none."""
        strings = [[stage] if isinstance(stage, str) else stage for stage in self.stages]
        parsed = [[BlockString.parse(text) for text in stage] for stage in strings]
        return [sum(block.repeats for block in stage) for stage in parsed if stage[0].kind != "cn"]

    def wider(self, factor: float, stem: bool = True, tail: bool = True) -> Family:
        """The family with `factor` times the channels, rounded to multiples of 8; a tail never becomes narrower."""
        widths = {"width_multiplier": factor}
        if stem:
            widths["stem_channels"] = rounded_channels(self.options.get("stem_channels", 32) * factor)
        if tail and "tail_channels" in self.options:
            widths["tail_channels"] = rounded_channels(self.options["tail_channels"] * max(factor, 1.0))
        return dataclasses.replace(self, options={**self.options, **widths})

    def deeper(self, factor: float) -> Family:
        """The family with `factor` times the blocks, rounded up, in all stages but the first and the last."""
        first, *middle, last = self.stages
        more = [
            re.sub(r"_r(\d+)_", lambda found: f"_r{math.ceil(int(found[1]) * factor)}_", str(stage)) for stage in middle
        ]
        return dataclasses.replace(self, stages=(first, *more, last))

    def minimal(self) -> Family:
        """MobileNetV3's simple variant: filters of 3 x 3, ReLU, no squeeze-and-excitation."""

        def simple(stage):
            if isinstance(stage, tuple):
                return tuple(map(simple, stage))
            return re.sub(r"_k5_", "_k3_", re.sub(r"_se[\d.]+|_nre", "", stage))

        return Family(tuple(map(simple, self.stages)), {**self.options, "activation": "relu"})


@dataclasses.dataclass(frozen=True, eq=False)
class Published:
    """A published network.

    Args:
        name: that of the model in its library, such as "tf_efficientnet_lite0".
        layout: of the keys of its state dict, see layouts.py.
        family: its structure.
        conventions: padding, and BN's epsilon and momentum.
        preprocessing: of its images.
    """

    name: str
    layout: str
    family: Family
    conventions: Conventions
    preprocessing: Preprocessing

    def spec(self, num_classes: int | None = 1000) -> NetworkSpec:
        """The network as the block strings say; its first block is not yet part of the stem."""
        side = self.preprocessing.image_size
        return network_from_blocks(
            self.family.stages,
            **self.family.options,
            input_shape=(side, side, 3),
            num_classes=num_classes,
            conventions=self.conventions,
        )


# -- Structures -----------------------------------------------------------------------------------------------------

_TAIL = {"tail_channels": 1280}
_V3 = {
    "activation": "hard_swish",
    "stem_channels": 16,
    "se_from": "expanded",
    "se_divisor": 8,
    "se_gate": "hard_sigmoid",
}
MOBILENET_V2 = Family(
    (
        "ds_r1_k3_s1_c16",
        "ir_r2_k3_s2_e6_c24",
        "ir_r3_k3_s2_e6_c32",
        "ir_r4_k3_s2_e6_c64",
        "ir_r3_k3_s1_e6_c96",
        "ir_r3_k3_s2_e6_c160",
        "ir_r1_k3_s1_e6_c320",
    ),
    {"activation": "relu6", **_TAIL},
)
MOBILENET_V3_LARGE = Family(
    (
        "ds_r1_k3_s1_c16_nre",
        ("ir_r1_k3_s2_e4_c24_nre", "ir_r1_k3_s1_e3_c24_nre"),
        "ir_r3_k5_s2_e3_c40_se0.25_nre",
        ("ir_r1_k3_s2_e6_c80", "ir_r1_k3_s1_e2.5_c80", "ir_r2_k3_s1_e2.3_c80"),
        "ir_r2_k3_s1_e6_c112_se0.25",
        "ir_r3_k5_s2_e6_c160_se0.25",
        "cn_r1_k1_s1_c960",
    ),
    {**_V3, "head_channels": 1280},
)
MOBILENET_V3_SMALL = Family(
    (
        "ds_r1_k3_s2_c16_se0.25_nre",
        ("ir_r1_k3_s2_e4.5_c24_nre", "ir_r1_k3_s1_e3.67_c24_nre"),
        ("ir_r1_k5_s2_e4_c40_se0.25", "ir_r2_k5_s1_e6_c40_se0.25"),
        "ir_r2_k5_s1_e3_c48_se0.25",
        "ir_r3_k5_s2_e6_c96_se0.25",
        "cn_r1_k1_s1_c576",
    ),
    {**_V3, "head_channels": 1024},
)
EFFICIENTNET_LITE = Family(
    (
        "ds_r1_k3_s1_c16",
        "ir_r2_k3_s2_e6_c24",
        "ir_r2_k5_s2_e6_c40",
        "ir_r3_k3_s2_e6_c80",
        "ir_r3_k5_s1_e6_c112",
        "ir_r4_k5_s2_e6_c192",
        "ir_r1_k3_s1_e6_c320",
    ),
    {"activation": "relu6", **_TAIL},
)
EFFICIENTNET_B0 = Family(
    tuple(f"{stage}_se0.25" for stage in EFFICIENTNET_LITE.stages),
    {"activation": "silu", "se_activation": "silu", **_TAIL},
)
MNASNET_B1 = Family(
    (
        "ds_r1_k3_s1_c16_noskip",
        "ir_r3_k3_s2_e3_c24",
        "ir_r3_k5_s2_e3_c40",
        "ir_r3_k5_s2_e6_c80",
        "ir_r2_k3_s1_e6_c96",
        "ir_r4_k5_s2_e6_c192",
        "ir_r1_k3_s1_e6_c320_noskip",
    ),
    _TAIL,
)
MNASNET_A1 = Family(
    (
        "ds_r1_k3_s1_c16_noskip",
        "ir_r2_k3_s2_e6_c24",
        "ir_r3_k5_s2_e3_c40_se0.25",
        "ir_r4_k3_s2_e6_c80",
        "ir_r2_k3_s1_e6_c112_se0.25",
        "ir_r3_k5_s2_e6_c160_se0.25",
        "ir_r1_k3_s1_e6_c320",
    ),
    _TAIL,
)
MNASNET_SMALL = Family(
    (
        "ds_r1_k3_s1_c8",
        "ir_r1_k3_s2_e3_c16",
        "ir_r2_k3_s2_e6_c16",
        "ir_r4_k5_s2_e6_c32_se0.25",
        "ir_r3_k3_s1_e6_c32_se0.25",
        "ir_r3_k5_s2_e6_c88_se0.25",
        "ir_r1_k3_s1_e6_c144",
    ),
    {"stem_channels": 8, **_TAIL},
)
SINGLE_PATH_NAS = Family(
    (
        "ds_r1_k3_s1_c16_noskip",
        "ir_r3_k3_s2_e3_c24",
        ("ir_r1_k5_s2_e6_c40", "ir_r3_k3_s1_e3_c40"),
        ("ir_r1_k5_s2_e6_c80", "ir_r3_k3_s1_e3_c80"),
        ("ir_r1_k5_s1_e6_c96", "ir_r3_k5_s1_e3_c96"),
        "ir_r4_k5_s2_e6_c192",
        "ir_r1_k3_s1_e6_c320_noskip",
    ),
    _TAIL,
)
FBNET_C = Family(
    (
        "ir_r1_k3_s1_e1_c16",
        ("ir_r1_k3_s2_e6_c24", "ir_r2_k3_s1_e1_c24"),
        ("ir_r1_k5_s2_e6_c32", "ir_r1_k5_s1_e3_c32", "ir_r1_k5_s1_e6_c32", "ir_r1_k3_s1_e6_c32"),
        ("ir_r1_k5_s2_e6_c64", "ir_r1_k5_s1_e3_c64", "ir_r2_k5_s1_e6_c64"),
        ("ir_r3_k5_s1_e6_c112", "ir_r1_k5_s1_e3_c112"),
        "ir_r4_k5_s2_e6_c184",
        "ir_r1_k3_s1_e6_c352",
    ),
    {"stem_channels": 16, "tail_channels": 1984},
)

# -- Networks -------------------------------------------------------------------------------------------------------

# Width and depth of EfficientNet-Lite0 to 4, and the side of the images, in the authors' code and in timm.
_LITE = ((1.0, 1.0, 224, 224), (1.0, 1.1, 240, 240), (1.1, 1.2, 260, 260), (1.2, 1.4, 280, 300), (1.4, 1.8, 300, 380))


def _images(side: int = 224, normalization: Normalization = "imagenet") -> Preprocessing:
    """The central crop of side / (side + 32) of the shorter side, EfficientNet's rule; at 224 pixels, everybody's.

    EfficientNet-Lite was trained on images of bicubic interpolation.
    """
    resizing: Literal["bilinear", "bicubic"] = "bicubic" if normalization == "lite" else "bilinear"
    return Preprocessing(side, round(side / (side + 32), 3), normalization, resizing=resizing)


def _efficientnet_pytorch() -> Iterator[Published]:
    for number, (width, depth, side, _) in enumerate(_LITE):
        family = EFFICIENTNET_LITE.wider(width, stem=False, tail=False).deeper(depth)
        images = _images(side, "lite")
        yield Published(f"efficientnet-lite{number}", "efficientnet_pytorch", family, TENSORFLOW, images)
    yield Published("efficientnet-b0", "efficientnet_pytorch", EFFICIENTNET_B0, TENSORFLOW, _images())


def _timm() -> Iterator[Published]:
    v2, large, small = MOBILENET_V2, MOBILENET_V3_LARGE, MOBILENET_V3_SMALL
    plain = {
        **{f"mobilenetv2_{round(100 * width):03d}": v2.wider(width) for width in (0.35, 0.5, 0.75, 1.0, 1.4)},
        "mobilenetv2_110d": v2.wider(1.1, stem=False, tail=False).deeper(1.2),
        "mobilenetv2_120d": v2.wider(1.2, stem=False, tail=False).deeper(1.4),
        "mobilenetv3_large_075": large.wider(0.75),
        "mobilenetv3_large_100": large,
        "mobilenetv3_small_050": small.wider(0.5, stem=False),
        "mobilenetv3_small_075": small.wider(0.75),
        "mobilenetv3_small_100": small,
        "efficientnet_b0": EFFICIENTNET_B0,
        "mnasnet_100": MNASNET_B1,
        "semnasnet_075": MNASNET_A1.wider(0.75),
        "semnasnet_100": MNASNET_A1,
        "mnasnet_small": MNASNET_SMALL,
        "spnasnet_100": SINGLE_PATH_NAS,
    }
    for name, family in plain.items():
        yield Published(name, "timm", family, PYTORCH, _images())
    yield Published("fbnetc_100", "timm", FBNET_C, _LARGE_EPSILON, _images())
    for name in ("mobilenetv3_large_075", "mobilenetv3_large_100", "mobilenetv3_small_075", "mobilenetv3_small_100"):
        yield Published(f"tf_{name}", "timm", plain[name], TENSORFLOW, _images(normalization="inception"))
    for name, family in (("large", large), ("small", small)):
        images = _images(normalization="inception")
        yield Published(f"tf_mobilenetv3_{name}_minimal_100", "timm", family.minimal(), TENSORFLOW, images)
    yield Published("tf_efficientnet_b0", "timm", EFFICIENTNET_B0, TENSORFLOW, _images())
    for number, (width, depth, _, side) in enumerate(_LITE):
        family = EFFICIENTNET_LITE.wider(width, stem=False, tail=False).deeper(depth)
        yield Published(f"efficientnet_lite{number}", "timm", family, PYTORCH, _images(side))
        yield Published(f"tf_efficientnet_lite{number}", "timm", family, TENSORFLOW, _images(side, "inception"))


def _torchvision() -> Iterator[Published]:
    mnasnets = {"0_5": 0.5, "0_75": 0.75, "1_0": 1.0, "1_3": 1.3}
    for name, layout, family, conventions in (
        ("mobilenet_v2", "torchvision_v2", MOBILENET_V2, PYTORCH),
        ("mobilenet_v3_large", "torchvision_v3", MOBILENET_V3_LARGE, _LARGE_EPSILON),
        ("mobilenet_v3_small", "torchvision_v3", MOBILENET_V3_SMALL, _LARGE_EPSILON),
        ("efficientnet_b0", "torchvision_efficientnet", EFFICIENTNET_B0, PYTORCH),
        *(
            (f"mnasnet{name}", "torchvision_mnasnet", MNASNET_B1.wider(width, tail=False), PYTORCH)
            for name, width in mnasnets.items()
        ),
    ):
        yield Published(name, layout, family, conventions, _images())


PUBLISHED = (*_efficientnet_pytorch(), *_timm(), *_torchvision())
