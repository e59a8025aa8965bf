"""LSTMPolicy: the controller's policy in NumPy, which samples one genome in a fraction of a call into Keras."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scarlet_tf.search.operators import draw


class LSTMPolicy:
    """A one-layer LSTM with a softmax over the choices, one step a layer of the genome.

    The state of a step is the layer and the genome's gene there, beside the action of the step before; each comes as
    one-hot, D = num_layers + num_choices + (num_choices + 1) inputs in all. The last of them stands for "no action
    yet" [reading of the encoding]. Weights are as in Keras' LSTM and Dense: kernel [D, 4 units] with gates i, f, c, o,
    recurrent kernel [units, 4 units], bias [4 units]; kernel [units, num_choices], bias [num_choices]; all float32.

    A new policy draws all choices equally often, because its last layer begins with zeros [reading].
    """

    def __init__(self, num_layers: int, num_choices: int, units: int, seed: int = 0):
        self.num_layers, self.num_choices, self.units = num_layers, num_choices, units
        self.num_inputs = num_layers + 2 * num_choices + 1
        self.weights = self._initial_weights(np.random.Generator(np.random.PCG64(seed)))

    def sample(self, genome: np.ndarray, layers: Sequence[int] | np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A copy of the genome [num_layers] in which the genes of `layers`, which rise, are the policy's actions.

        In the other layers the gene itself counts as the action.
        """
        child = np.array(genome, np.int64)
        drawn = set(map(int, layers))
        state, previous = self._start(1), self.num_choices
        for layer in range(max(drawn, default=-1) + 1):
            state = self._step(state, layer, child[layer], previous)
            if layer in drawn:
                child[layer] = draw(np.exp(self._log_softmax(state[0])[0]), rng)
            previous = child[layer]
        return child

    def log_probabilities(self, genomes: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Log-probabilities [N, num_layers] of `actions` given `genomes`, both [N, num_layers], and the actions before."""
        rows = np.arange(len(genomes))
        result = np.empty(genomes.shape, np.float32)
        state, previous = self._start(len(genomes)), np.full(len(genomes), self.num_choices)
        for layer in range(self.num_layers):
            state = self._step(state, layer, genomes[:, layer], previous)
            previous = actions[:, layer]
            result[:, layer] = self._log_softmax(state[0])[rows, previous]
        return result

    def inputs(self, genomes: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """The one-hot inputs of all steps, float32 [N, num_layers, D]."""
        count, num_layers = genomes.shape
        first = np.full((count, 1), self.num_choices)
        previous = np.concatenate([first, actions[:, :-1]], axis=1)
        result = np.zeros((count, num_layers, self.num_inputs), np.float32)
        for columns in self._columns(np.arange(num_layers), genomes, previous):
            np.put_along_axis(result, np.broadcast_to(columns, genomes.shape)[..., None], 1, axis=2)
        return result

    def _columns(self, layer, gene, previous) -> tuple:
        """Indices of the three inputs that are 1."""
        return layer, self.num_layers + gene, self.num_layers + self.num_choices + previous

    def _start(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        return (np.zeros((count, self.units), np.float32),) * 2

    def _step(self, state, layer, gene, previous) -> tuple[np.ndarray, np.ndarray]:
        """(h, c), each [N, units], after one step; a product with a one-hot input is a row of the kernel."""
        (h, c), (kernel, recurrent, bias) = state, self.weights[:3]
        gates = sum(kernel[columns] for columns in self._columns(layer, gene, previous)) + h @ recurrent + bias
        i, f, candidate, o = np.split(gates, 4, axis=-1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(candidate)
        return _sigmoid(o) * np.tanh(c), c

    def _log_softmax(self, h) -> np.ndarray:
        logits = h @ self.weights[3] + self.weights[4]
        logits = logits - logits.max(axis=-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))

    def _initial_weights(self, rng) -> list[np.ndarray]:
        units, bound = self.units, self.units**-0.5
        forget = np.repeat([0.0, 1.0, 0.0, 0.0], units)  # 1 at the forget gate, as in Keras
        weights = [
            rng.uniform(-bound, bound, (self.num_inputs, 4 * units)),
            rng.uniform(-bound, bound, (units, 4 * units)),
            forget,
            np.zeros((units, self.num_choices)),
            np.zeros(self.num_choices),
        ]
        return [array.astype(np.float32) for array in weights]


def _sigmoid(x):
    # In the form with tanh nothing overflows.
    return 0.5 * (1 + np.tanh(0.5 * x))
