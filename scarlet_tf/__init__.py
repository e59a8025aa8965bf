"""scarlet_tf: from a dataset and a budget to the best compact vision network for a phone.

The public names stand in `__init__.pyi`; each loads at its first use: NumPy's import takes longer than `scarlet --help`,
TensorFlow's seconds.
"""

from __future__ import annotations

import lazy_loader

from scarlet_tf.registration import register_with_keras

register_with_keras()

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str):
    if name != "__version__":
        return _load(name)
    from importlib import metadata

    globals()[name] = metadata.version("scarlet_tf")
    return globals()[name]
