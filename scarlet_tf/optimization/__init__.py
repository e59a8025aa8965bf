"""Quantisation-aware training and pruning by tensorflow-model-optimization, which works on tf_keras models only.

Networks here are Keras 3, so a copy in Keras 2 (tf_keras) is built and trained in a separate process (`worker`): the user's
Keras, environment and TensorFlow are not affected. Weights are sent there and returned by name.
"""
