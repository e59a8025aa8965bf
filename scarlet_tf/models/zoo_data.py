"""The published networks as rows of a table: architectures, scaling, and their authors' figures with the source."""

from __future__ import annotations

import dataclasses

from scarlet_tf.scaling import EFFICIENTNET, Coefficients, scale
from scarlet_tf.space import Architecture, Choice, SearchSpace, Stage


@dataclasses.dataclass(frozen=True)
class Published:
    """Published figures of a network: costs, ImageNet accuracies in percent, and their source. None: not stated."""

    multiply_adds: float | None
    params: float | None
    top1: float
    top5: float | None
    source: str


@dataclasses.dataclass(frozen=True)
class ZooEntry:
    """One published network.

    constructor: its name in scarlet_tf; encoding: the choices in `space`, which `scaling` then enlarges; reading: the part
    that nobody published, so that it is ours; note: a further remark on the figures.
    """

    constructor: str
    title: str
    space: SearchSpace
    encoding: str
    published: Published
    scaling: Coefficients = EFFICIENTNET["b0"]
    reading: str = ""
    note: str = ""

    @property
    def searched(self) -> Architecture:
        """The encoding in its space, before scaling."""
        return Architecture.parse(self.encoding, self.space)

    @property
    def architecture(self) -> Architecture:
        """The network itself; its space's input_size is the size of its images."""
        wanted = self.scaling
        return scale(self.searched, wanted.width_multiplier, wanted.depth_multiplier, input_size=wanted.input_size)


_S1, _S2 = SearchSpace.from_name("s1", activation="relu6"), SearchSpace.from_name("s2")
# Its stem with the first bottleneck (expansion 1, 16 channels) is the stem of every network here.
_MOBILENET_V2_STAGES = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
_MOBILENET_V2 = SearchSpace(
    "mobilenet_v2", tuple(Stage(*row) for row in _MOBILENET_V2_STAGES), (Choice(6, 3),), activation="relu6"
)

_SCARLET = "SCARLET-NAS (arXiv 1908.06022, 2019), table 3"
_SCARLET_SCALED = "SCARLET-NAS (arXiv 1908.06022v3, 2019), abstract"
_FAIRNAS = "FairNAS (arXiv 1907.01845), table 2"
_SCARLET_A = "4,8,2,5,7,3,7,0,5,4,2,5,0,5,7,9,1,7,11"
_HAND_SCALED = (
    "the authors scaled SCARLET-A by hand and published no recipe; here it has the coefficients of EfficientNet-{}, and"
    " scale_depth's choices in the added layers"
)

ZOO: dict[str, ZooEntry] = {
    "scarlet_a": ZooEntry("ScarletA", "SCARLET-A", _S2, _SCARLET_A, Published(365e6, 6.7e6, 76.9, 93.4, _SCARLET)),
    "scarlet_b": ZooEntry(
        "ScarletB",
        "SCARLET-B",
        _S2,
        "1,3,1,11,0,2,11,1,12,2,1,1,11,1,9,9,12,11,9",
        Published(329e6, 6.5e6, 76.3, 93.0, _SCARLET),
        note="the published table says 329 M multiply-adds, the published code counts to 327 M; the gap is unexplained",
    ),
    "scarlet_c": ZooEntry(
        "ScarletC",
        "SCARLET-C",
        _S2,
        "3,1,3,12,12,0,11,1,1,2,5,4,1,5,1,12,7,11,9",
        Published(280e6, 6.0e6, 75.6, 92.6, _SCARLET),
    ),
    "scarlet_a2": ZooEntry(
        "ScarletA2",
        "SCARLET-A2",
        _S2,
        _SCARLET_A,
        Published(None, None, 79.5, None, _SCARLET_SCALED),
        EFFICIENTNET["b2"],
        reading=_HAND_SCALED.format("B2"),
    ),
    "scarlet_a4": ZooEntry(
        "ScarletA4",
        "SCARLET-A4",
        _S2,
        _SCARLET_A,
        Published(4.2e9, 27.8e6, 82.3, None, f"{_SCARLET_SCALED}; its costs: Papers with Code, ImageNet"),
        EFFICIENTNET["b4"],
        reading=_HAND_SCALED.format("B4"),
        note="Papers with Code lists 27.8 M params and 8.4 GFLOPs, which count two a multiply-add: its rows of SCARLET-B and"
        " SCARLET-C say 0.658 and 0.560",
    ),
    "fairnas_a": ZooEntry(
        "FairNASA",
        "FairNAS-A",
        _S1,
        "2,0,2,3,5,0,0,5,5,1,3,1,1,3,3,5,3,5,4",
        Published(388e6, 4.6e6, 75.3, 92.4, _FAIRNAS),
    ),
    "fairnas_b": ZooEntry(
        "FairNASB",
        "FairNAS-B",
        _S1,
        "1,0,1,0,3,1,2,0,3,1,0,3,2,0,5,4,5,3,4",
        Published(345e6, 4.5e6, 75.1, 92.3, _FAIRNAS),
    ),
    "fairnas_c": ZooEntry(
        "FairNASC",
        "FairNAS-C",
        _S1,
        "1,0,2,0,0,0,0,0,0,3,0,0,0,0,5,5,3,3,4",
        Published(321e6, 4.4e6, 74.7, 92.1, _FAIRNAS),
    ),
    "mobilenet_v2": ZooEntry(
        "MobileNetV2",
        "MobileNetV2",
        _MOBILENET_V2,
        ",".join("0" * _MOBILENET_V2.num_layers),
        Published(
            300e6, 3.4e6, 72.0, 91.0, "MobileNetV2 (arXiv 1801.04381, 2018), table 4; its top-5: FairNAS, table 2"
        ),
        note="symmetric padding and BN epsilon 1e-5 as everywhere here; keras.applications has the network with others",
    ),
}
