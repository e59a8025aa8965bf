"""Keras layers of the supernet."""

from scarlet_tf.layers.spec_block import ChoiceBlock, SpecBlock, Stem, Tail

__all__ = ["ChoiceBlock", "SpecBlock", "Stem", "Tail"]
