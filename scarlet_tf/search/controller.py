"""ControllerMutation: an LSTM that proposes genes and learns from accuracies by proximal policy optimisation (PPO).

All of it is NumPy in float64. A resumed search trains the controller again from the journal; sums of float64 differ by about
1e-15 between processors, so another one draws the same genes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from scarlet_tf.base.settings import BelowOne, Between, Count, Positive, validated
from scarlet_tf.search.algorithm import decode, encode
from scarlet_tf.search.mutation import Made, Mutation, draw
from scarlet_tf.search.objectives import score_of
from scarlet_tf.space.search_space import SearchSpace


@validated("search.mutation.ppo")
@dataclasses.dataclass(frozen=True)
class PPOConfig:
    """The controller and its training; no values are published [readings].

    Args:
        units: of the LSTM.
        learning_rate, clip: of Adam and of the clipped objective.
        epochs: steps of Adam over one generation's children of the controller.
        genes: genes of a child that the controller draws, in layers drawn uniformly; null: all of them.
        baseline_decay: of the moving average of rewards, per generation.
    """

    units: Count = 32
    learning_rate: Positive = 1e-3
    clip: Between = 0.2
    epochs: Count = 4
    genes: Count | None = 2
    baseline_decay: BelowOne = 0.9


class ControllerMutation(Mutation):
    """Genes drawn by a policy that is rewarded with the accuracy of the networks it leads to [v2; details: readings].

    The policy goes through the layers; what it sees of a layer is the gene that the child of crossover has there. In
    `config.genes` layers, drawn uniformly, it draws the gene again (possibly the same); the others stay. After each
    generation it takes `config.epochs` steps of Adam on the clipped objective over the children it made that were
    evaluated. Children that were refused or failed teach nothing.

    The reward is the accuracy minus a moving average of the accuracies of its children so far, which begins with the
    mean of the first generation. It is not scaled: Adam's steps hardly depend on its size.

    space: what genomes are of. seed: of the first weights.
    """

    def __init__(self, space: SearchSpace, config: PPOConfig | None = None, seed: int = 0):
        self.config, self.seed = config or PPOConfig(), seed
        self.policy = LSTMPolicy(space.num_layers, space.num_choices, self.config.units, seed)
        self._adam = Adam(self.policy.weights, self.config.learning_rate)
        self.baseline: float | None = None
        # The genome a child was made from, and the layers whose genes were drawn. The probabilities of these genes are not kept:
        # the weights stay as they are until the children are told, or change once for each generation ahead [reading].
        self._made = Made()

    def mutate(self, genome, rng, context):
        count = len(genome) if self.config.genes is None else min(self.config.genes, len(genome))
        layers = np.sort(rng.choice(len(genome), count, replace=False))
        child = self.policy.sample(genome, layers, rng)
        origin, line = encode(np.stack([genome, child]))
        self._made.add(line, (origin, layers.tolist()))
        return child

    def tell(self, genomes: np.ndarray, metrics: Sequence[Mapping | None]) -> None:
        results = dict(zip(encode(genomes), metrics, strict=True))
        made = self._made.take()
        known = {line: float(score_of(found)) for line in made if (found := results.get(line)) is not None}
        if known:
            self._learn([made[line] for line in known], list(known), np.array(list(known.values())))

    def remember(self, ahead: int) -> None:
        self._made.ahead = ahead

    def get_config(self) -> dict:
        return {**super().get_config(), **dataclasses.asdict(self.config), "seed": self.seed}

    def _learn(self, made: Sequence[tuple[str, list[int]]], children: list[str], accuracies: np.ndarray) -> None:
        mean = float(accuracies.mean())
        baseline = mean if self.baseline is None else self.baseline
        origins, layers = zip(*made, strict=True)
        drawn = np.zeros((len(children), self.policy.num_layers), bool)
        for row, columns in zip(drawn, layers, strict=True):
            row[columns] = True
        self.update(_genomes(origins), _genomes(children), drawn, accuracies - baseline)
        decay = self.config.baseline_decay
        self.baseline = decay * baseline + (1 - decay) * mean

    def update(self, genomes: np.ndarray, actions: np.ndarray, drawn: np.ndarray, rewards: np.ndarray) -> None:
        """Learn from `actions` [N, num_layers], of which those that are `drawn`, bool, were rewarded with `rewards` [N]."""
        old = None

        def slopes(new: np.ndarray) -> np.ndarray:
            nonlocal old
            old = new if old is None else old  # before the first step
            return clipped_loss(new, old, drawn, rewards[:, None], self.config.clip)[1]

        for _ in range(self.config.epochs):
            self._adam.step(self.policy.gradients(genomes, actions, slopes))


def clipped_loss(new, old, drawn, rewards, clip: float) -> tuple[float, np.ndarray]:
    """Minus the mean of PPO's clipped objective over the actions that were drawn, and its slopes by `new` [N, L].

    min(r A, clip(r, 1 - clip, 1 + clip) A) with r the new over the old probability of an action and A the reward.
    new, old: log-probabilities [N, L]; drawn: bool [N, L]; rewards: [N, 1].
    """
    ratio = np.exp(new - old)
    bounded = np.clip(ratio, 1 - clip, 1 + clip) * rewards
    objective = np.minimum(ratio * rewards, bounded)
    # Beyond the bounds, in the direction of the reward, the objective is flat.
    slopes = np.where(ratio * rewards <= bounded, ratio * rewards, 0.0)
    share = drawn / drawn.sum()
    return -float((objective * share).sum()), -slopes * share


class Adam:
    """Adam on `weights`, which it changes in place; as in Keras, with its constants."""

    def __init__(self, weights: Sequence[np.ndarray], learning_rate: float):
        self._weights, self._learning_rate, self._steps = weights, learning_rate, 0
        self._mean, self._square = ([np.zeros_like(array) for array in weights] for _ in range(2))

    def step(self, gradients: Sequence[np.ndarray]) -> None:
        """Take one step."""
        self._steps += 1
        rate = self._learning_rate * (1 - 0.999**self._steps) ** 0.5 / (1 - 0.9**self._steps)
        for weight, mean, square, gradient in zip(self._weights, self._mean, self._square, gradients, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            weight -= rate * mean / (np.sqrt(square) + 1e-7)


class LSTMPolicy:
    """A one-layer LSTM with a softmax over the choices, one step a layer of the genome.

    The state of a step is the layer and the genome's gene there, beside the action of the step before; each comes as
    one-hot, D = num_layers + num_choices + (num_choices + 1) inputs in all. The last of them stands for "no action
    yet" [reading of the encoding]. Weights are as in Keras' LSTM and Dense: kernel [D, 4 units] with gates i, f, c, o,
    recurrent kernel [units, 4 units], bias [4 units]; kernel [units, num_choices], bias [num_choices]; all float64.

    A new policy draws all choices equally often, because its last layer begins with zeros [reading].
    """

    def __init__(self, num_layers: int, num_choices: int, units: int, seed: int = 0):
        self.num_layers, self.num_choices, self.units = num_layers, num_choices, units
        self.num_inputs = num_layers + 2 * num_choices + 1
        rng, bound = np.random.Generator(np.random.PCG64(seed)), units**-0.5
        self.weights = [
            rng.uniform(-bound, bound, (self.num_inputs, 4 * units)),
            rng.uniform(-bound, bound, (units, 4 * units)),
            np.repeat([0.0, 1.0, 0.0, 0.0], units),  # 1 at the forget gate, as in Keras
            np.zeros((units, num_choices)),
            np.zeros(num_choices),
        ]
        self._scale = np.repeat([0.5, 0.5, 1.0, 0.5], units)

    def sample(self, genome: np.ndarray, layers: Sequence[int] | np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a copy of the genome [num_layers] in which the genes of `layers`, which rise, are the policy's actions.

        In the other layers the gene itself counts as the action.
        """
        child = np.array(genome, np.int64)
        drawn = set(map(int, layers))
        # As if no gene was drawn; a gene that is drawn changes what the next layer reads.
        projected = self._projected(np.arange(self.num_layers), child, self._previous(child[None])[0])
        h = c = np.zeros(self.units)
        for layer in range(max(drawn, default=-1) + 1):
            _, c, h = self._step(projected[layer], h, c)
            if layer in drawn:
                child[layer] = draw(np.exp(self._log_softmax(h)), rng)
                if layer + 1 < self.num_layers:
                    projected[layer + 1] = self._projected(layer + 1, child[layer + 1], child[layer])
        return child

    def log_probabilities(self, genomes: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Log-probabilities [N, num_layers] of `actions` given `genomes`, both [N, num_layers], and the actions before."""
        return self._forward(genomes, actions)[0]

    def gradients(self, genomes: np.ndarray, actions: np.ndarray, slopes_at) -> list[np.ndarray]:
        """Gradients of a loss by the weights; `slopes_at(log-probabilities)` gives the loss' slopes by these, [N, num_layers].

        Products are taken step by step: for large ones NumPy starts threads, which take longer here than the product.
        """
        chosen, log_softmax, states = self._forward(genomes, actions)
        kernel, recurrent, _, head, _ = self.weights
        logits = slopes_at(chosen)[..., None] * (np.eye(self.num_choices)[actions] - np.exp(log_softmax))
        gates = np.empty((*genomes.shape, 4 * self.units))  # slopes by the gates before their sigmoids
        by_kernel, by_recurrent, by_head = np.zeros_like(kernel), np.zeros_like(recurrent), np.zeros_like(head)
        inputs = self.inputs(genomes, actions)
        by_h = by_c = np.zeros((len(genomes), self.units))
        for layer in reversed(range(self.num_layers)):
            (i, f, g, o), c, h = states[layer]
            _, earlier_c, earlier_h = states[layer - 1] if layer else (None, np.zeros_like(c), np.zeros_like(h))
            squashed = np.tanh(c)
            by_h = by_h + logits[:, layer] @ head.T
            by_c = by_c + by_h * o * (1 - squashed**2)
            parts = (
                by_c * g * i * (1 - i),
                by_c * earlier_c * f * (1 - f),
                by_c * i * (1 - g**2),
                by_h * squashed * o * (1 - o),
            )
            gates[:, layer] = np.concatenate(parts, axis=1)
            by_kernel += inputs[:, layer].T @ gates[:, layer]
            by_recurrent += earlier_h.T @ gates[:, layer]
            by_head += h.T @ logits[:, layer]
            by_h, by_c = gates[:, layer] @ recurrent.T, by_c * f
        return [by_kernel, by_recurrent, gates.sum(axis=(0, 1)), by_head, logits.sum(axis=(0, 1))]

    def inputs(self, genomes: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """One-hot inputs of all steps, [N, num_layers, D]."""
        one_hot = np.eye(self.num_inputs)
        return sum(one_hot[rows] for rows in self._rows(np.arange(self.num_layers), genomes, self._previous(actions)))

    def _forward(self, genomes: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[tuple]]:
        """Log-probabilities of the actions [N, num_layers] and of all choices [..., num_choices], and each step's state."""
        projected = self._projected(np.arange(self.num_layers), genomes, self._previous(actions))
        h = c = np.zeros((len(genomes), self.units))
        states = []
        for layer in range(self.num_layers):
            gates, c, h = self._step(projected[:, layer], h, c)
            states.append((gates, c, h))
        log_softmax = self._log_softmax(np.stack([h for _, _, h in states], axis=1))
        return np.take_along_axis(log_softmax, actions[..., None], axis=2)[..., 0], log_softmax, states

    def _previous(self, actions: np.ndarray) -> np.ndarray:
        return np.concatenate([np.full((len(actions), 1), self.num_choices), actions[:, :-1]], axis=1)

    def _rows(self, layer, gene, previous) -> tuple:
        """Rows of the kernel whose inputs are 1."""
        return layer, self.num_layers + gene, self.num_layers + self.num_choices + previous

    def _projected(self, layer, gene, previous) -> np.ndarray:
        """Inputs times the kernel, and the bias, [..., 4 units]: a product with a one-hot input is a row of the kernel."""
        kernel, _, bias, _, _ = self.weights
        by_layer, by_gene, by_previous = self._rows(layer, gene, previous)
        return kernel[by_layer] + kernel[by_gene] + kernel[by_previous] + bias

    def _step(self, projected, h, c) -> tuple[tuple, np.ndarray, np.ndarray]:
        """Gates (i, f, g, o), c and h, each [..., units], after one step."""
        # Sigmoids in their form with tanh, in which nothing overflows: 0.5 tanh(0.5 x) + 0.5; g is the tanh itself.
        gates = np.tanh((projected + h @ self.weights[1]) * self._scale)
        gates = gates * self._scale + (1 - self._scale)
        units = self.units
        i, f, g, o = (gates[..., k * units : (k + 1) * units] for k in range(4))
        c = f * c + i * g
        return (i, f, g, o), c, o * np.tanh(c)

    def _log_softmax(self, h) -> np.ndarray:
        logits = h @ self.weights[3] + self.weights[4]
        logits = logits - logits.max(axis=-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def _genomes(lines: Sequence[str]) -> np.ndarray:
    return np.array([decode(line) for line in lines], np.int64)
