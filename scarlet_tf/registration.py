"""Registration of this package's classes with Keras, so that `import scarlet_tf` suffices to load saved models.

Keras looks classes up in `keras.saving.get_custom_objects()` and imports no module that a file names. Registering the classes
means importing them, and with them Keras and its backend, which takes seconds. So stand-ins are registered, each of which
imports its class when a file needs it: at once if Keras is imported already, else as soon as it is.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys

CLASSES = {
    "scarlet_tf.layers.core": ("Activation", "BatchNormalization", "Conv2D", "DepthwiseConv2D", "Subsample"),
    "scarlet_tf.layers.spec_block": ("ChoiceBlock", "SpecBlock", "Stem", "Tail"),
    "scarlet_tf.layers.split_depthwise": ("SplitDepthwiseConv2D",),
    "scarlet_tf.models.detection": ("BoxLoss", "HeatmapLoss"),
    "scarlet_tf.models.features": ("DetectionHead", "FeatureFusion", "SegmentationHead", "SeparableConv"),
    "scarlet_tf.models.network": ("Network",),
    "scarlet_tf.models.supernet": ("FairAccuracy", "FairCrossentropy", "FairLanes", "Supernet"),
    "scarlet_tf.training.optimizers": ("MomentumSGD", "WarmUp"),
}


class _StandIn:
    """The part of a registered class that Keras needs to load an object. The class replaces it once it is imported."""

    def __init__(self, module: str, name: str):
        self._module, self._name = module, name

    def from_config(self, *args, **kwargs):
        return getattr(importlib.import_module(self._module), self._name).from_config(*args, **kwargs)


def register() -> None:
    """Register a stand-in for every class that is not registered itself; Keras must be imported."""
    objects = sys.modules["keras"].saving.get_custom_objects()
    for module, names in CLASSES.items():
        for name in names:
            objects.setdefault(f"scarlet_tf>{name}", _StandIn(module, name))


class _WhenKerasComes(importlib.abc.MetaPathFinder):
    """Import finder that leaves Keras' import unchanged and registers after it."""

    looking = False

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "keras" or self.looking:
            return None
        self.looking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.looking = False
        if spec is not None and spec.loader is not None:
            run = self._and_register(spec.loader.exec_module)
            spec.loader.exec_module = run  # type: ignore[method-assign]
        return spec

    def _and_register(self, execute):
        def run(module):
            execute(module)
            register()

        return run


def register_with_keras() -> None:
    """Register now, or when Keras is imported."""
    if "keras" in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _WhenKerasComes())
