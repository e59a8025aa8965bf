"""The tensors of published networks, recorded from timm 1.0.31 and torchvision 0.29.1.

How many there are without BN's counters, and the beginning of the SHA-256 of the sorted lines "<key> <shape>".
"""

import hashlib


def recorded(shapes):
    """The record of {key: shape}."""
    lines = sorted(f"{key} {tuple(shape)}" for key, shape in shapes.items() if not key.endswith("num_batches_tracked"))
    return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


TENSORS = {
    "timm mobilenetv2_035": (262, "ed816f9042b21a34"),
    "timm mobilenetv2_050": (262, "36938b01e146a8ca"),
    "timm mobilenetv2_075": (262, "17791d530b2e6c7d"),
    "timm mobilenetv2_100": (262, "5a95ee06712e31e9"),
    "timm mobilenetv2_140": (262, "cd6c57550c255624"),
    "timm mobilenetv2_110d": (337, "ce0496e95a226425"),
    "timm mobilenetv2_120d": (397, "35f79e643eec36d7"),
    "timm mobilenetv3_large_075": (266, "6e3daee2dbd48424"),
    "timm mobilenetv3_large_100": (266, "3dba8ad57b7701f1"),
    "timm mobilenetv3_small_050": (210, "4815df373659835a"),
    "timm mobilenetv3_small_075": (210, "b82ba8b91b66a23c"),
    "timm mobilenetv3_small_100": (210, "fefefaa6b0100de1"),
    "timm efficientnet_b0": (311, "f62a5c98a74c6670"),
    "timm mnasnet_100": (262, "2c1a5b8767360528"),
    "timm semnasnet_075": (279, "756e4b5b27e0ddc0"),
    "timm semnasnet_100": (279, "fa67c0998910515a"),
    "timm mnasnet_small": (272, "23382d4222619d74"),
    "timm spnasnet_100": (322, "335fb9fbcaa04d9b"),
    "timm fbnetc_100": (327, "d53c2cadcfe62545"),
    "timm tf_mobilenetv3_large_075": (266, "6e3daee2dbd48424"),
    "timm tf_mobilenetv3_large_100": (266, "3dba8ad57b7701f1"),
    "timm tf_mobilenetv3_small_075": (210, "b82ba8b91b66a23c"),
    "timm tf_mobilenetv3_small_100": (210, "fefefaa6b0100de1"),
    "timm tf_mobilenetv3_large_minimal_100": (234, "a13eb42ce831ebe8"),
    "timm tf_mobilenetv3_small_minimal_100": (174, "02a55ceed308c43c"),
    "timm tf_efficientnet_b0": (311, "f62a5c98a74c6670"),
    "timm efficientnet_lite0": (247, "9e9d040635458c95"),
    "timm efficientnet_lite1": (322, "85f30215ecea7367"),
    "timm efficientnet_lite2": (322, "89a99274af6a9632"),
    "timm efficientnet_lite3": (367, "e1bd45460c6a9e30"),
    "timm efficientnet_lite4": (457, "175b131df5e0b714"),
    "timm tf_efficientnet_lite0": (247, "9e9d040635458c95"),
    "timm tf_efficientnet_lite1": (322, "85f30215ecea7367"),
    "timm tf_efficientnet_lite2": (322, "89a99274af6a9632"),
    "timm tf_efficientnet_lite3": (367, "e1bd45460c6a9e30"),
    "timm tf_efficientnet_lite4": (457, "175b131df5e0b714"),
    "torchvision mobilenet_v2": (262, "d613ea65450d5318"),
    "torchvision mobilenet_v3_large": (266, "2af4cb8a399e8d82"),
    "torchvision mobilenet_v3_small": (210, "c5aae8a56256fe35"),
    "torchvision efficientnet_b0": (311, "b5ec7b4b5e4fedbb"),
    "torchvision mnasnet0_5": (262, "04f736ea0d1f331f"),
    "torchvision mnasnet0_75": (262, "a9980c48af58deee"),
    "torchvision mnasnet1_0": (262, "b1a4ee79a5b4a56d"),
    "torchvision mnasnet1_3": (262, "239bd12a70848219"),
}
