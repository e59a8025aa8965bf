"""Keras layers of the supernet."""

from scarlet_tf.layers.choice_block import ChoiceBlock
from scarlet_tf.layers.inverted_residual import InvertedResidual
from scarlet_tf.layers.skip import Skip
from scarlet_tf.layers.squeeze_excite import SqueezeExcite
from scarlet_tf.layers.stem import Stem
from scarlet_tf.layers.tail import Tail

__all__ = ["ChoiceBlock", "InvertedResidual", "Skip", "SqueezeExcite", "Stem", "Tail"]
