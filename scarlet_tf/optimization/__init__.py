"""Quantisation-aware training and pruning by tensorflow-model-optimization, which works on tf_keras models only.

Networks here are Keras 3, so a twin in tf_keras is built and trained in a process of its own (`worker`): the user's Keras,
environment and TensorFlow stay what they were. Weights go there and come back by name.
"""
