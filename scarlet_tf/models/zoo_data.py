"""The published networks as rows of a table: encodings, costs as published, accuracies with their source."""

from __future__ import annotations

import dataclasses

from scarlet_tf.space import Architecture, SearchSpace


@dataclasses.dataclass(frozen=True)
class ZooEntry:
    """One published network. Accuracies are ImageNet top-1 and top-5 in percent, as published."""

    space_name: str
    encoding: str
    published_multiply_adds: float
    published_params: float
    top1: float | None
    top5: float | None
    source: str
    activation: str = "hard_swish"
    note: str = ""

    @property
    def architecture(self) -> Architecture:
        """The encoding in its space, with the network's own activation."""
        return Architecture.parse(self.encoding, SearchSpace.from_name(self.space_name, activation=self.activation))


_SCARLET = "SCARLET-NAS (2019), table of ImageNet results"
_FAIRNAS = "FairNAS (2019), table of ImageNet results"
ZOO: dict[str, ZooEntry] = {
    "scarlet_a": ZooEntry("s2", "4,8,2,5,7,3,7,0,5,4,2,5,0,5,7,9,1,7,11", 365e6, 6.7e6, 76.9, 93.4, _SCARLET),
    "scarlet_b": ZooEntry(
        "s2",
        "1,3,1,11,0,2,11,1,12,2,1,1,11,1,9,9,12,11,9",
        329e6,
        6.5e6,
        76.3,
        93.0,
        _SCARLET,
        note="the published table says 329 M multiply-adds, the published code counts to 327 M; the gap is unexplained",
    ),
    "scarlet_c": ZooEntry("s2", "3,1,3,12,12,0,11,1,1,2,5,4,1,5,1,12,7,11,9", 280e6, 6.0e6, 75.6, 92.6, _SCARLET),
    "fairnas_a": ZooEntry("s1", "2,0,2,3,5,0,0,5,5,1,3,1,1,3,3,5,3,5,4", 388e6, 4.6e6, 75.3, None, _FAIRNAS, "relu6"),
    "fairnas_b": ZooEntry("s1", "1,0,1,0,3,1,2,0,3,1,0,3,2,0,5,4,5,3,4", 345e6, 4.5e6, None, None, _FAIRNAS, "relu6"),
    "fairnas_c": ZooEntry("s1", "1,0,2,0,0,0,0,0,0,3,0,0,0,0,5,5,3,3,4", 321e6, 4.4e6, None, None, _FAIRNAS, "relu6"),
}
