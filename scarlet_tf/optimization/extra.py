"""The packages of the extra `optimization`."""

from __future__ import annotations

import importlib.util

from scarlet_tf.errors import InputError

PACKAGES = ("tensorflow_model_optimization", "tf_keras")


def check_extra() -> None:
    """Raise InputError with the install command if a package is missing; imports none of them."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"quantisation-aware training and pruning need {' and '.join(missing)}, which is not installed:"
            " pip install 'scarlet_tf[optimization]'"
        )
