"""ControllerMutation: an LSTM that proposes genes and learns from accuracies by proximal policy optimisation (PPO)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from scarlet_tf.search.arrays import decode_array, encode_array
from scarlet_tf.search.genomes import decode, encode
from scarlet_tf.search.mutation_config import PPOConfig
from scarlet_tf.search.operators import Operator
from scarlet_tf.search.policy import LSTMPolicy
from scarlet_tf.space import SearchSpace


class ControllerMutation(Operator):
    """Genes drawn by a policy that is rewarded with the accuracy of the networks it leads to [v2; details: readings].

    The policy goes through the layers; what it sees of a layer is the gene that the child of crossover has there. In
    `config.genes` layers, drawn uniformly, it draws the gene anew (possibly the same); the others stay. After each
    generation it takes `config.epochs` steps of Adam on the clipped objective over the children it made that were
    evaluated. Children that were refused or failed teach nothing.

    The reward is the accuracy minus a moving average of the accuracies of its children so far, which begins with the
    mean of the first generation. It is not scaled: Adam's steps hardly depend on its size.

    space: what genomes are of. seed: of the first weights.
    """

    def __init__(self, space: SearchSpace, config: PPOConfig | None = None, seed: int = 0):
        self.config, self.seed = config or PPOConfig(), seed
        self._policy = LSTMPolicy(space.num_layers, space.num_choices, self.config.units, seed)
        self._trainer = PPOTrainer(self._policy, self.config)
        self.baseline: float | None = None
        # By child: the genome it was made from, and the layers whose genes were drawn. The probabilities of these
        # genes need not be kept, because the weights stay as they are until the children are told.
        self._made: dict[str, tuple[str, list[int]]] = {}

    def mutate(self, genome, rng, context):
        count = len(genome) if self.config.genes is None else min(self.config.genes, len(genome))
        layers = np.sort(rng.choice(len(genome), count, replace=False))
        child = self._policy.sample(genome, layers, rng)
        origin, line = encode(np.stack([genome, child]))
        self._made.setdefault(line, (origin, layers.tolist()))
        return child

    def tell(self, genomes: np.ndarray, metrics: Sequence[Mapping | None]) -> None:
        results = dict(zip(encode(genomes), metrics, strict=True))
        known = {line: float(found["accuracy"]) for line in self._made if (found := results.get(line)) is not None}
        if known:
            self._learn(list(known), np.array(list(known.values())))
        self._made = {}

    def get_config(self) -> dict:
        return {**super().get_config(), **dataclasses.asdict(self.config), "seed": self.seed}

    def state_dict(self) -> dict:
        return {
            "baseline": self.baseline,
            "made": {line: list(record) for line, record in self._made.items()},
            "variables": [encode_array(array) for array in self._trainer.get_variables()],
        }

    def load_state_dict(self, state: Mapping) -> None:
        self.baseline = state["baseline"]
        self._made = {line: (origin, layers) for line, (origin, layers) in state["made"].items()}
        self._trainer.set_variables([decode_array(value) for value in state["variables"]])

    def _learn(self, children: list[str], accuracies: np.ndarray) -> None:
        mean = float(accuracies.mean())
        baseline = mean if self.baseline is None else self.baseline
        origins, layers = zip(*(self._made[line] for line in children), strict=True)
        drawn = np.zeros((len(children), self._policy.num_layers), bool)
        for row, columns in zip(drawn, layers, strict=True):
            row[columns] = True
        self._trainer.update(_genomes(origins), _genomes(children), drawn, accuracies - baseline)
        decay = self.config.baseline_decay
        self.baseline = decay * baseline + (1 - decay) * mean


class PPOTrainer:
    """Trains the weights of an LSTMPolicy, in Keras and TensorFlow, and keeps Adam's moments.

    The gradient is of one `tf.while_loop`, not of unrolled steps: then no sum has more than two terms in an order that
    TensorFlow does not fix, and one state gives the same bits.
    """

    def __init__(self, policy: LSTMPolicy, config: PPOConfig):
        self._policy, self._epochs = policy, config.epochs
        # Keras draws seeds from Python's global random state where none is given; the weights are set below.
        recurrent = keras.layers.LSTM(
            policy.units,
            kernel_initializer="zeros",
            recurrent_initializer="zeros",
            return_sequences=True,
            use_cudnn=False,
            seed=0,
            dtype="float32",
        )
        head = keras.layers.Dense(policy.num_choices, kernel_initializer="zeros", dtype="float32")
        steps = (policy.num_layers, policy.num_inputs)
        self.model = keras.Sequential([keras.Input(steps), recurrent, head])
        self.model.set_weights(policy.weights)
        self._optimizer = keras.optimizers.Adam(config.learning_rate)
        self._optimizer.build(self.model.trainable_variables)
        self._step = self._compiled_step(config.clip)

    def update(self, genomes: np.ndarray, actions: np.ndarray, drawn: np.ndarray, rewards: np.ndarray) -> None:
        """Learns from `actions` [N, num_layers], of which those that are `drawn`, bool, were rewarded with `rewards` [N]."""
        data = (
            self._policy.inputs(genomes, actions),
            actions.astype(np.int32),
            self._policy.log_probabilities(genomes, actions),
            drawn.astype(np.float32),
            rewards.astype(np.float32)[:, None],
        )
        tensors = [tf.constant(array) for array in data]
        for _ in range(self._epochs):
            self._step(*tensors)
        self._policy.weights = self.model.get_weights()

    def get_variables(self) -> list[np.ndarray]:
        """Weights, then the optimizer's step, rate and moments."""
        return [keras.ops.convert_to_numpy(variable) for variable in self._variables()]

    def set_variables(self, arrays: Sequence[np.ndarray]) -> None:
        """Inverse of `get_variables`."""
        for variable, array in zip(self._variables(), arrays, strict=True):
            variable.assign(array)
        self._policy.weights = self.model.get_weights()

    def _variables(self) -> list:
        return [*self.model.trainable_variables, *self._optimizer.variables]

    def _compiled_step(self, clip: float):
        steps, inputs = self._policy.num_layers, self._policy.num_inputs
        weights = self.model.trainable_variables

        def step(inputs, actions, old_log_probabilities, drawn, rewards):
            with tf.GradientTape() as tape:
                loss = clipped_loss(self.model(inputs), actions, old_log_probabilities, drawn, rewards, clip)
            self._optimizer.apply(tape.gradient(loss, weights), weights)

        each = tf.TensorSpec((None, steps), tf.float32)
        # With the number of children open, one trace serves every generation.
        signature = [
            tf.TensorSpec((None, steps, inputs), tf.float32),
            tf.TensorSpec((None, steps), tf.int32),
            each,
            each,
            tf.TensorSpec((None, 1), tf.float32),
        ]
        return tf.function(step, input_signature=signature, autograph=False)


def clipped_loss(logits, actions, old_log_probabilities, drawn, rewards, clip: float):
    """Minus the mean of PPO's clipped objective over the steps that were drawn.

    min(r A, clip(r, 1 - clip, 1 + clip) A) with r the new over the old probability of the action and A the reward.
    logits: [N, L, M]; actions: int [N, L]; old_log_probabilities: [N, L]; drawn: 0 or 1 [N, L]; rewards: [N, 1].
    """
    chosen = ops.one_hot(actions, logits.shape[-1])
    ratio = ops.exp(ops.sum(ops.log_softmax(logits) * chosen, axis=-1) - old_log_probabilities)
    objective = ops.minimum(ratio * rewards, ops.clip(ratio, 1 - clip, 1 + clip) * rewards)
    return -ops.sum(objective * drawn) / ops.sum(drawn)


def _genomes(lines: Sequence[str]) -> np.ndarray:
    return np.array([decode(line) for line in lines], np.int64)
