"""Keras layers of the supernet."""

from scarlet_tf.layers.choice_block import ChoiceBlock
from scarlet_tf.layers.spec_block import SpecBlock, Stem, Tail

__all__ = ["ChoiceBlock", "SpecBlock", "Stem", "Tail"]
